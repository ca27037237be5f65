"""The thread of a camera that makes its own pictures: each is made when it is due, encoded and handed on."""

import threading
from abc import ABC, abstractmethod
from fractions import Fraction

import av
import structlog

from ezrec.adapters.cameras import CameraHealth, Frame, Sink
from ezrec.adapters.cameras.synthetic.court import due_us, index_at
from ezrec.adapters.cameras.synthetic.encoder import H264Encoder
from ezrec.domain.clock import SECOND, Clock
from ezrec.domain.errors import CameraLost

log = structlog.get_logger(task="recording")

LONGEST_WAIT_S = 0.1
"""A camera that waits looks at its clock and at its orders at least this often."""

JOIN_S = 10.0
"""A thread that has not ended this long after it was told to is a bug, and said so."""


class PacedCamera(ABC):
    """A camera that makes its own pictures: a thread paces them on the clock, encodes and hands them to the sink.

    Frame n is due at n/rate on the monotonic clock, whenever the camera was started, so cameras of one rate are in
    step. A camera that falls behind leaves frames out: it never queues up.
    """

    model = "made up"
    turned = 0

    def __init__(self, name: str, *, size: tuple[int, int], rate: Fraction, bitrate: int, keyframe_s: float,
                 clock: Clock) -> None:
        """Set `name` (left or right), picture size in pixels, frames per second, bit/s, seconds between key frames."""
        self.name = name
        self.size = size
        self.rate = rate
        self._bitrate = bitrate
        self._keyframe_s = keyframe_s
        self._clock = clock
        self._encoder: H264Encoder | None = None
        self._thread: threading.Thread | None = None
        self._leave = threading.Event()
        self._state = "closed"
        self._note = ""
        self._frames = 0

    @abstractmethod
    def open(self) -> None:
        """See `Camera.open`. Sets the state to open."""

    @abstractmethod
    def _picture(self, index: int, us: int) -> av.VideoFrame | None:
        """The picture of frame `index`, due at `us`; None leaves the frame out. Raises CameraLost to end the stream."""

    def _grid(self) -> Fraction:
        """Frames per second as the camera's own clock counts them."""
        return self.rate

    def start(self, sink: Sink) -> None:
        """See `Camera.start`."""
        if self._state != "open":
            raise CameraLost(f"camera {self.name} is {self._state}, not open")
        self._leave.clear()
        self._frames, self._note = 0, ""
        self._encoder = H264Encoder(self.size, self.rate, self._bitrate, self._keyframe_s)
        self._state = "streaming"
        self._thread = threading.Thread(target=self._stream, args=(sink, self._encoder), name=f"camera-{self.name}",
                                        daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """See `Camera.stop`."""
        self._leave.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(JOIN_S)
            if thread.is_alive():
                raise CameraLost(f"camera {self.name} does not stop")
        if self._encoder is not None:
            self._encoder.close()
            self._encoder = None
        if self._state == "streaming":
            self._state = "open"

    def rest(self) -> None:
        """See `Camera.rest`: there is no sensor to keep warm."""
        self.stop()
        if self._state != "open":
            raise CameraLost(f"camera {self.name} is {self._state}, not open")

    def close(self) -> None:
        """See `Camera.close`."""
        self.stop()
        self._state = "closed"

    def health(self) -> CameraHealth:
        """See `Camera.health`."""
        return CameraHealth(self.model, self._state, self._frames, self._note)

    def _stream(self, sink: Sink, encoder: H264Encoder) -> None:
        """The thread's whole life."""
        try:
            self._pace(sink, encoder)
        except CameraLost as lost:
            self._note, self._state = str(lost), "lost"
        except Exception as error:  # whatever breaks a made-up camera must look like a lost one, not like silence
            log.exception("camera failed", camera=self.name)
            self._note, self._state = f"{type(error).__name__}: {error}", "lost"

    def _pace(self, sink: Sink, encoder: H264Encoder) -> None:
        """Make each frame when it is due, until told to leave."""
        grid: Fraction | None = None
        last = 0
        while not self._leave.is_set():
            now = self._clock.mono_us()
            if grid != self._grid():  # the first time, or the camera's clock runs differently now: join it where it is
                grid = self._grid()
                last = index_at(now, grid)
            index = index_at(now, grid)
            if index <= last:
                self._leave.wait(min((due_us(last + 1, grid) - now) / SECOND, LONGEST_WAIT_S))
                continue
            last = index
            us = due_us(index, grid)
            picture = self._picture(index, us)
            if picture is not None:
                self._hand_over(sink, encoder.encode(picture, us))

    def _hand_over(self, sink: Sink, frames: list[Frame]) -> None:
        """Give the frames to the sink; one that raises against its promise costs the frame, not the camera."""
        for frame in frames:
            if self._leave.is_set():
                return
            try:
                sink(frame)
            except Exception as error:  # the sink belongs to somebody else: a camera outlives it
                if not self._note:
                    log.exception("camera's sink failed", camera=self.name)
                self._note = f"sink failed: {type(error).__name__}: {error}"
            self._frames += 1
