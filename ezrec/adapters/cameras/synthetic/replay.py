"""Replay cameras: a video file played in real time, in a loop, as if a camera saw it.

Which picture of the file is shown follows from the monotonic clock alone, so the two files of a pair stay aligned
however late one of them starts (and stay aligned, if they are equally long). Pictures are decoded again in every round:
keeping them would take hundreds of MB. A file whose rate varies is shown at its average rate.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
import av.error
import numpy as np

from ezrec.adapters.cameras.synthetic.court import Luma
from ezrec.adapters.cameras.synthetic.encoder import new_picture
from ezrec.adapters.cameras.synthetic.frame_loop import PacedCamera
from ezrec.domain.clock import Clock
from ezrec.domain.errors import BadMedia, CameraLost
from ezrec.pyav import Planes, display_rotation, planes_of

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

MOST_FPS = 240
SEEK_FRAMES = 50
"""A picture further ahead than this is looked for from its key frame, not by decoding all that lies between."""


@dataclass(frozen=True)
class Clip:
    """What a file must tell before it can be played."""

    size: tuple[int, int]  # as shown: turned, and made even
    rate: Fraction  # frames per second
    frames: int
    turn: int  # quarter turns clockwise


def inspect(path: Path) -> Clip:
    """Look at a file: its first picture is decoded, its packets are counted.

    Raises:
        BadMedia: it is missing, holds no video, or its video cannot be decoded; says which.
    """
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise BadMedia(f"{path} holds no video")
            stream = container.streams.video[0]
            rate = stream.average_rate or stream.guessed_rate
            if not rate or not 0 < rate <= MOST_FPS:
                raise BadMedia(f"{path} does not tell a usable frame rate ({rate})")
            first = next(container.decode(stream), None)
            if first is None:
                raise BadMedia(f"{path} holds no picture that can be decoded")
            container.seek(0)
            frames = sum(1 for packet in container.demux(stream) if packet.size)
    except (OSError, av.error.FFmpegError) as error:
        raise BadMedia(f"{path} cannot be played: {error}") from error
    turn = display_rotation(first) // 90
    width, height = (first.height, first.width) if turn % 2 else (first.width, first.height)
    if width < 2 or height < 2:
        raise BadMedia(f"{path} has pictures of {width}x{height} pixels")
    return Clip((width // 2 * 2, height // 2 * 2), Fraction(rate), frames, turn)


class ReplayCamera(PacedCamera):
    """One file as a camera."""

    model = "replay"

    def __init__(self, name: str, path: Path, *, bitrate: int, keyframe_s: float, clock: Clock) -> None:
        """Look at the file `path`, which decides size and rate; `bitrate` in bit/s, `keyframe_s` between key frames.

        Raises:
            BadMedia: the file cannot be used.
        """
        self._clip = inspect(path)
        super().__init__(name, size=self._clip.size, rate=self._clip.rate, bitrate=bitrate, keyframe_s=keyframe_s,
                         clock=clock)
        self._path = path
        self._container: InputContainer | None = None
        self._decoded: Iterator[tuple[int, av.VideoFrame]] = iter(())
        self._at = -1  # the file's picture that was decoded last
        self._canvas: tuple[av.VideoFrame, Planes] | None = None

    def open(self) -> None:
        """Open the file.

        Raises:
            CameraLost: it is gone or has become unreadable since the camera was built.
        """
        if self._container is None:
            try:
                self._container = av.open(str(self._path))
            except (OSError, av.error.FFmpegError) as error:
                raise CameraLost(f"{self._path} cannot be opened: {error}") from error
            picture = new_picture(self.size)
            self._canvas = picture, planes_of(picture)
        self._at = -1
        self._state = "open"

    def close(self) -> None:
        """Close the file."""
        super().close()
        self._decoded = iter(())
        if self._container is not None:
            self._container.close()
        self._container = self._canvas = None

    def _picture(self, index: int, us: int) -> av.VideoFrame | None:  # noqa: ARG002  # the file knows no other time
        """The file's picture for frame `index`: the first one that is not earlier, or the file's last."""
        wanted = index % self._clip.frames
        if self._container is None or self._canvas is None:
            return None
        try:
            if self._at < 0 or wanted <= self._at or wanted > self._at + SEEK_FRAMES:
                self._seek(self._container, wanted)
            newest = None
            while self._at < wanted:
                step = next(self._decoded, None)
                if step is None:
                    break
                self._at, newest = step
        except av.error.FFmpegError as error:
            raise CameraLost(f"{self._path} cannot be decoded: {error}") from error
        picture, planes = self._canvas
        if newest is not None:
            _show(newest, planes, self._clip.turn)
        return picture

    def _seek(self, container: "InputContainer", wanted: int) -> None:
        """Go to the key frame at or before the `wanted` picture."""
        stream = container.streams.video[0]
        first = stream.start_time or 0
        if stream.time_base is not None:
            container.seek(first + math.floor(wanted / self.rate / stream.time_base), stream=stream)
        self._decoded = self._numbered(container, stream)
        self._at = -1

    def _numbered(self, container: "InputContainer", stream: "VideoStream") -> Iterator[tuple[int, av.VideoFrame]]:
        """Decode on from here: (the picture's number in the file by its time stamp, picture)."""
        first, base = stream.start_time or 0, stream.time_base or 1 / self.rate
        for picture in container.decode(stream):
            if picture.pts is not None:
                yield round((picture.pts - first) * base * self.rate), picture


def _show(picture: av.VideoFrame, planes: Planes, turn: int) -> None:
    """Copy a decoded picture into `planes`, turned clockwise; an odd last line or column is cut off."""
    upright = picture if picture.format.name == "yuv420p" else picture.reformat(format="yuv420p")
    for source, target in zip(planes_of(upright), planes, strict=True):
        turned: Luma = np.rot90(source, -turn)
        target[:] = turned[:target.shape[0], :target.shape[1]]
