"""Picamera2 imports it for raw pictures; nothing of it is ever called, and the real one needs a compiler."""


class PICAM2DNG:
    pass
