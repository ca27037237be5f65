"""Cameras: one small protocol, and an implementation for each kind.

A camera's methods block and are called from that camera's own thread only, never from the event loop; whoever calls
sets the limits. Frames come from a thread of the camera's own and are handed to a sink that never blocks or raises.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple, Protocol


class Frame(NamedTuple):
    """One encoded picture: H.264 Annex B, decodable in the order of arrival (no B-frames)."""

    data: bytes
    key: bool  # an IDR picture with its SPS and PPS in front: decoding can start here
    sensor_ns: int  # when the sensor saw it, on the machine's monotonic clock


Sink = Callable[[Frame], None]


def seen_us(frame: Frame) -> int | None:
    """When the sensor saw a frame, monotonic µs; None if its stamp is no time at all."""
    stamp: object = frame.sensor_ns  # what a driver says, whatever the type promises
    return stamp // 1000 if isinstance(stamp, int) and stamp >= 0 else None


@dataclass(frozen=True)
class CameraHealth:
    """What a camera knows of itself, for the heartbeat and for people."""

    model: str
    state: str  # closed, open (at rest, too), streaming, lost
    frames: int = 0  # handed to the sink since the last start
    note: str = ""
    temperature_c: float | None = None  # of its sensor, where it tells


class Camera(Protocol):
    """One camera of the pair. `open → start → stop → close`, again and again; it may `rest` before a start or after."""

    name: str  # left or right
    rate: Fraction  # frames per second it is asked for
    size: tuple[int, int]  # width and height of its encoded picture, pixels
    turned: int  # degrees clockwise by which it has turned that picture itself

    def open(self) -> None:
        """Take the device and set it up.

        Raises:
            CameraLost: it is not there or is held by somebody else.
        """

    def start(self, sink: Sink) -> None:
        """Begin to hand frames to `sink`; the first one is a key frame.

        Raises:
            CameraLost: it does not start.
        """

    def stop(self) -> None:
        """Hand over no more frames: when this returns, `sink` is not called again. Harmless if not started."""

    def rest(self) -> None:
        """Hand over no more frames, as `stop` does, but stay warm: where there is a sensor it goes on, and keeps
        its exposure settled for the next start.

        Raises:
            CameraLost: it is not open, or its sensor does not start.
        """

    def close(self) -> None:
        """Give the device back. Harmless if not open."""

    def health(self) -> CameraHealth:
        """How it is doing; callable from any thread."""
