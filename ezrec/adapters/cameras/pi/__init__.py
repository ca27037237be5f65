"""A Raspberry Pi's cameras, through Picamera2. Only `factory` may be imported where Picamera2 is not installed."""
