"""The duties, one file each. A task brings store, adapters and media together and knows nothing of queues."""
