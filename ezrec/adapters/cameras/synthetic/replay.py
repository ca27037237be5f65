"""Replay cameras: a video file played in real time, in a loop, as if a camera saw it.

Which picture of the file is shown follows from the monotonic clock alone, so the two files of a pair stay aligned
however late one of them starts (and stay aligned, if they are equally long). Pictures are decoded again in every round:
keeping them would take hundreds of MB. Files are played as a player would show them (`media/clip.py`).

Limits: a file whose rate varies is shown at its average rate.
"""

import math
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av

from ezrec.adapters.cameras.synthetic.encoder import new_picture
from ezrec.adapters.cameras.synthetic.frame_loop import PacedCamera
from ezrec.domain.clock import Clock
from ezrec.domain.errors import BadMedia, CameraLost
from ezrec.media.clip import ClipLook, look_at, pictures
from ezrec.media.colours import FilmColours
from ezrec.pyav import LibavError, Planes, opened, planes_of

if TYPE_CHECKING:
    from av.container import InputContainer

MOST_FPS = 240
SMALLEST, LARGEST = 2, 8192  # pixels along a side
SEEK_FRAMES = 50
"""A picture further ahead than this is looked for from its key frame, not by decoding all that lies between."""


@dataclass(frozen=True)
class Clip:
    """What a file must tell before it can be played."""

    size: tuple[int, int]  # as shown: upright, in square pixels, and made even
    rate: Fraction  # frames per second
    frames: int  # that are shown
    look: ClipLook


def inspect(path: Path) -> Clip:
    """Look at a file: its first picture is decoded, its packets are counted.

    Raises:
        BadMedia: it is missing, holds no video, or its video cannot be decoded; says which.
    """
    try:
        look = look_at(path)
        with opened(path) as container:
            stream = container.streams[look.stream]
            rate = stream.average_rate or stream.guessed_rate
            if not rate or not 0 < rate <= MOST_FPS:
                raise BadMedia(f"{path} does not tell a usable frame rate ({rate})")
            frames = sum(1 for packet in container.demux(stream) if packet.size and not packet.is_discard)
    except OSError as error:  # the disk's, or what libavformat makes of a file that is cut off
        raise BadMedia(f"{path} cannot be played: {error.strerror}") from error
    width, height = (round(side) for side in look.shown_size(look.width, look.height))
    if not (SMALLEST <= width <= LARGEST and SMALLEST <= height <= LARGEST):
        raise BadMedia(f"{path} has pictures of {width}x{height} pixels")
    return Clip((width // 2 * 2, height // 2 * 2), Fraction(rate), frames, look)


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
        self._file = ExitStack()
        self._container: InputContainer | None = None
        self._colours = FilmColours(self._clip.look)
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
                self._container = self._file.enter_context(opened(self._path))
            except (BadMedia, OSError) as error:
                raise CameraLost(f"{self._path} cannot be opened: {error}") from error
            picture = new_picture(self.size)
            self._canvas = picture, planes_of(picture)
        self._at = -1
        self._state = "open"

    def close(self) -> None:
        """Close the file."""
        super().close()
        self._decoded = iter(())
        self._file.close()
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
        except (LibavError, BadMedia) as error:
            raise CameraLost(f"{self._path} cannot be decoded: {error}") from error
        picture, planes = self._canvas
        if newest is not None:
            shown = self._colours.planes(newest, *self.size)
            for source, target in zip(shown, planes, strict=True):
                target[:] = source
        return picture

    def _seek(self, container: "InputContainer", wanted: int) -> None:
        """Go to the key frame at or before the `wanted` picture."""
        stream: Any = container.streams[self._clip.look.stream]
        time = self._clip.look.start + wanted / self.rate
        container.seek(math.floor(time / Fraction(stream.time_base)), stream=stream)
        self._decoded = self._numbered(stream)
        self._at = -1

    def _numbered(self, stream: Any) -> Iterator[tuple[int, av.VideoFrame]]:
        """Decode on from here: (the picture's number in the file by its time, picture)."""
        for time, _, picture in pictures(stream):
            yield round((time - self._clip.look.start) * self.rate), picture
