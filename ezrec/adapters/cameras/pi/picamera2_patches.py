"""Picamera2 with what it leaves to chance put right: opening, closing, its encoder's clock and its output.

A camera that could not be opened leaves nothing behind; one that is closed gives its buffers back; frames carry the
sensor's time from a moment that both cameras share, and go to an output that only hands them on.
"""

import atexit
import os
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import metadata
from typing import Any

import libcamera
import picamera2
from picamera2.encoders import H264Encoder, LibavH264Encoder
from picamera2.outputs import Output

from ezrec.adapters.cameras import Frame, Sink
from ezrec.domain.clock import SECOND

__all__ = ["FrameOutput", "H264Encoder", "LibavH264Encoder", "SensorTimeEncoder", "causes", "closed", "made",
           "versions"]


def versions() -> dict[str, str]:
    """Versions of what pictures come through: picamera2, libcamera, PyAV."""
    found = {"libcamera": str(getattr(libcamera, "__version__", None)
                              or getattr(libcamera.CameraManager, "version", "unknown"))}
    for name in ("picamera2", "av"):
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def made(place: int) -> Any:
    """Open Picamera2's camera of this place; one that fails leaves nothing behind, neither descriptor nor thread."""
    camera = picamera2.Picamera2.__new__(picamera2.Picamera2)
    try:
        camera.__init__(place)
    except BaseException:
        _tidy(camera)
        raise
    atexit.unregister(camera.close)  # it would wait for a camera that hangs when the process wants to leave
    _revive()
    return camera


def closed(camera: Any) -> None:
    """Close a camera, and give its buffers back now rather than when Python finds the time."""
    try:
        camera.close()
    finally:
        camera.allocator = None


def _revive() -> None:
    """The thread that fetches all cameras' requests ends at its first error; then start it again."""
    shared = picamera2.Picamera2._cm  # noqa: SLF001 - there is no other way to it
    if shared.running and not shared.thread.is_alive():
        shared.setup()


def _tidy(camera: Any) -> None:
    """Undo a half-made Picamera2, whose own `close` does not work yet."""
    shared = picamera2.Picamera2._cm  # noqa: SLF001
    number = getattr(camera, "camera_idx", None)
    if shared.cameras.get(number) is camera:  # up to 0.3.31 it is listed first
        shared.cleanup(number)
    if getattr(camera, "is_open", False):
        with suppress(Exception):
            camera.camera.release()
    camera.is_open, camera._preview = False, None  # noqa: SLF001 - its `__del__` closes what is open
    if hasattr(camera, "notifymeread"):
        camera.notifymeread.close()
        with suppress(OSError):
            os.close(camera.notifyme_w)


def causes(error: BaseException) -> str:
    """What happened, from the innermost cause outwards: Picamera2 wraps the word that matters."""
    said: list[str] = []
    at: BaseException | None = error
    while at is not None:
        said.append(str(at) or type(at).__name__)
        at = at.__cause__ or at.__context__
    return " (".join(dict.fromkeys(reversed(said))) + ")" * (len(dict.fromkeys(said)) - 1)


class SensorTimeEncoder(H264Encoder):  # type: ignore[misc]  # it is Picamera2's class, which brings no types
    """Picamera2's encoder, whose frames' times count from a moment that is chosen and not from its first frame."""

    def __init__(self, zero_us: int, **options: Any) -> None:
        """`zero_us` is that moment, monotonic µs."""
        self._zero_us = zero_us
        super().__init__(**options)

    @property
    def firsttimestamp(self) -> int:
        """What Picamera2 subtracts from sensor times, µs."""
        return self._zero_us

    @firsttimestamp.setter
    def firsttimestamp(self, _: int | None) -> None:
        """Picamera2 sets it at its start and with its first frame."""


class FrameOutput(Output):  # type: ignore[misc]
    """What the encoder puts out, handed to a sink frame by frame; it never raises."""

    def __init__(self, sink: Sink, zero_us: int, failed: Callable[[Exception], None]) -> None:
        """The encoder's times count from `zero_us` (monotonic); `failed` is told of an error of the sink."""
        super().__init__()
        self.frames = 0
        self.ended = False
        self._sink, self._zero_us, self._failed = sink, zero_us, failed
        self._shift_us: int | None = None
        self._begun = False

    def outputframe(self, frame: Any, keyframe: bool = True, timestamp: int | None = None,
                    packet: Any = None, audio: bool = False) -> None:  # noqa: ARG002 - Picamera2's signature
        """Take a frame; `timestamp` is in µs since `zero_us`."""
        if self.ended or timestamp is None or audio:
            return
        self._begun = self._begun or bool(keyframe)
        if not self._begun:
            return
        us = int(timestamp) + self._zero_us
        if self._shift_us is None:
            self._shift_us = asleep_us() if us > time.monotonic_ns() // 1000 + SECOND else 0
        try:
            self._sink(Frame(bytes(frame), bool(keyframe), (us - self._shift_us) * 1000))
        except Exception as error:  # noqa: BLE001 - one that raises would cost the encoder its frame
            self._failed(error)
        self.frames += 1


def asleep_us() -> int:
    """How far the boot clock, which libcamera may stamp frames with, is ahead of the monotonic one, in µs."""
    return (time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.monotonic_ns()) // 1000
