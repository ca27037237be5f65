"""Picamera2 imports it for its ffmpeg output; nothing of it is ever called."""
