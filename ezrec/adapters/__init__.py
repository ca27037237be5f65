"""The outside world: a small protocol each, and its implementations."""
