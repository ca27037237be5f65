"""How cameras without hardware come to their stream: libx264 as a Pi 5 runs it, and the thread that feeds it in time.

A Pi 5 has no H.264 encoder of its own; picamera2 runs libx264 there (preset ultrafast, tune zerolatency), and so does
this, with one thread and one slice a picture. Pictures are YUV420 with even sides. There are no B-frames: each picture
comes out of the encoder in the call that put it in.
"""

import threading
from abc import ABC, abstractmethod
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import structlog

from ezrec.adapters.cameras import CameraHealth, Frame, Sink
from ezrec.adapters.cameras.synthetic.court import due_us, index_at
from ezrec.domain.clock import SECOND, Clock
from ezrec.domain.errors import CameraLost

if TYPE_CHECKING:  # where this type lives has changed between the versions of PyAV
    from av.video.codeccontext import VideoCodecContext

log = structlog.get_logger(task="recording")

LONGEST_WAIT_S = 0.1
"""A camera that waits looks at its clock and at its orders at least this often."""

JOIN_S = 10.0
"""A thread that has not ended this long after it was told to is a bug, and said so."""


def new_picture(size: tuple[int, int]) -> av.VideoFrame:
    """An empty YUV420 picture of `size` (width, height in pixels, even)."""
    return av.VideoFrame(size[0], size[1], "yuv420p")


class H264Encoder:
    """One libx264 stream: pictures in, Annex B frames out; SPS and PPS stand in front of every key frame."""

    def __init__(self, size: tuple[int, int], rate: Fraction, bitrate: int, keyframe_s: float) -> None:
        """Open the encoder.

        Args:
            size: width and height in pixels, even.
            rate: frames per second.
            bitrate: bit/s, the average that the encoder keeps to.
            keyframe_s: seconds of pictures from one key frame to the next.
        """
        context = av.CodecContext.create("libx264", "w")
        context.width, context.height = size
        context.pix_fmt = "yuv420p"
        context.time_base = Fraction(1, SECOND)
        context.framerate = rate
        context.bit_rate = bitrate
        context.gop_size = max(1, round(keyframe_s * rate))
        context.max_b_frames = 0
        context.thread_count = 1
        # scenecut=0: an unplanned key frame would split segments and cost bits at no use
        context.options = {"preset": "ultrafast", "tune": "zerolatency", "x264-params": "repeat-headers=1:scenecut=0"}
        self._context: VideoCodecContext | None = context
        self._zero_us: int | None = None

    def encode(self, picture: av.VideoFrame, us: int) -> list[Frame]:
        """Encode `picture`, seen at `us` (monotonic µs); its pts is overwritten."""
        if self._context is None:
            raise CameraLost("the encoder is closed")
        if self._zero_us is None:
            self._zero_us = us
        picture.time_base = Fraction(1, SECOND)
        picture.pts = us - self._zero_us
        return [Frame(bytes(packet), packet.is_keyframe, us * 1000) for packet in self._context.encode(picture)]

    def close(self) -> None:
        """Free the encoder; what it still holds is dropped. Harmless when closed."""
        self._context = None


class PacedCamera(ABC):
    """A camera that makes its own pictures: a thread paces them on the clock, encodes and hands them to the sink.

    Frame n is due at n/rate on the monotonic clock, whenever the camera was started, so cameras of one rate are in
    step. A camera that falls behind leaves frames out: it never queues up.
    """

    model = "made up"

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
