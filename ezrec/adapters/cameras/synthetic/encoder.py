"""How cameras without hardware come to their stream: libx264 as a Pi 5 runs it.

A Pi 5 has no H.264 encoder of its own; picamera2 runs libx264 there (preset ultrafast, tune zerolatency), and so does
this, with one thread and one slice a picture. Pictures are YUV420 with even sides. There are no B-frames: each picture
comes out of the encoder in the call that put it in.
"""

from fractions import Fraction
from typing import TYPE_CHECKING

import av
import structlog

from ezrec.adapters.cameras import Frame
from ezrec.domain.clock import SECOND
from ezrec.domain.errors import CameraLost

if TYPE_CHECKING:  # where this type lives has changed between the versions of PyAV
    from av.video.codeccontext import VideoCodecContext

log = structlog.get_logger(task="recording")

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
