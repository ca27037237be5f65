"""Picamera2 imports it for a preview on a screen; nothing of it is ever called."""


class _Formats(type):
    def __getattr__(cls, name: str) -> str:
        return name


class PixelFormat(metaclass=_Formats):
    pass
