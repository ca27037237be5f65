"""PyAV for all: where versions 12 to 19 differ, how every file is opened, the planes of a picture, its rotation.

Limits: only local files, only container formats that hold their own pictures. Playlists, concat scripts, stills and
text (which libavformat would gladly play as ANSI art) are refused, for a clip comes from outside.
"""

import errno
import math
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import av.error
import numpy as np
from av.container import InputContainer, OutputContainer
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from ezrec.domain.errors import BadMedia

LibavError = av.error.FFmpegError

DISK = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)
"""A disk's own troubles: they pass or are repaired, so they are not blamed on the file."""

FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mpegts,mpeg,avi,flv,asf,ogg,mxf"
"""Demuxers that may open a file, by libavformat's names."""


ANY_TAGS: dict[str, Any] = {"metadata_errors": "replace"} if int(av.__version__.partition(".")[0]) < 19 else {}
"""For `av.open`: tags may be in any encoding, and must not keep a film from being read. PyAV 19 does so by itself."""


Plane = NDArray[np.uint8]


class Planes(NamedTuple):
    """The planes of one YUV 4:2:0 picture: luma (height, width), chroma half of that, rounded up; all uint8."""

    y: Plane
    u: Plane
    v: Plane


def planes_of(frame: VideoFrame) -> Planes:
    """The planes of a 4:2:0 frame as arrays that share its memory, without the padding of the lines."""
    found = []
    planes: Any = frame.planes
    for number, plane in enumerate(planes[:3]):
        width = frame.width if number == 0 else -(-frame.width // 2)
        height = frame.height if number == 0 else -(-frame.height // 2)
        found.append(np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[:height, :width])
    return Planes(*found)


@contextmanager
def opened(path: str | Path, options: dict[str, str] | None = None) -> Iterator[InputContainer]:
    """Open `path` for reading and close it again.

    Raises:
        BadMedia: it is missing, empty, no file or in no accepted container; also any libavformat error in the block.
    """
    file = Path(path)
    try:
        status = file.stat()
    except OSError as error:
        raise BadMedia(f"{file}: {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode):  # opening a pipe might never end
        raise BadMedia(f"{file}: is not a file")
    if status.st_size == 0:
        raise BadMedia(f"{file}: is empty (0 bytes)")
    border = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
    try:
        with av.open(str(file), "r", options=border | (options or {}), **ANY_TAGS) as container:
            yield container
    except LibavError as error:
        raise translated(error, file, "cannot be read as a film") from error


def translated(error: LibavError, path: str | Path, complaint: str) -> Exception:
    """What to raise for `error` on `path`: an OSError if the disk is to blame, else BadMedia with the complaint."""
    if error.errno in DISK:
        return OSError(error.errno, error.strerror, str(path))
    return BadMedia(f"{path}: {complaint} ({error.strerror or error})")


def copied_stream(container: OutputContainer, template: Any) -> Any:
    """A stream of `container` for packets that are copied from the stream `template` (any kind)."""
    if hasattr(container, "add_stream_from_template"):  # PyAV 14 and newer
        # opaque: the codec's context is copied; otherwise PyAV 14 opens an encoder and takes its parameter sets
        return container.add_stream_from_template(template, opaque=True)
    outdated: Any = container.add_stream
    return outdated(template=template)


def shown_at(frame: Any) -> Fraction | None:
    """When a decoded picture or piece of sound is due, in s on its stream's clock; None if nothing tells.

    Old containers (AVI) tell times of decoding only.
    """
    stamp = frame.pts if frame.pts is not None else frame.dts
    return None if stamp is None or not frame.time_base else stamp * Fraction(frame.time_base)


class Orientation(NamedTuple):
    """How a stored picture is shown: mirrored left to right if so told, then turned clockwise by 0, 90, 180 or 270."""

    degrees: int = 0
    mirrored: bool = False


def orientation_of(frame: VideoFrame) -> Orientation:
    """How a player shows `frame`, by its display matrix.

    The matrix is nine native-endian int32 in rows (a b u, c d v, x y w); it takes a point (p, q), q downwards, to
    (ap + cq, bp + dq) (ISO/IEC 14496-12, 6.2.2; libavutil/display.h). Angles between are rounded to a quarter turn.

    Ask one picture of a clip, not each: asking ties a picture into a cycle, and its memory stays until Python looks.
    """
    found: Any = frame.side_data
    for side in (found[number] for number in range(len(found))):  # PyAV 19 gives types when asked for all
        if side.type.name == "DISPLAYMATRIX":
            a, b, _, c, d, *_ = struct.unpack("=9i", bytes(side))
            mirrored = a * d < b * c
            along = (-a, -b) if mirrored else (a, b)
            return Orientation(round(math.degrees(math.atan2(along[1], along[0])) / 90) * 90 % 360, mirrored)
    return Orientation()


def display_rotation(frame: VideoFrame) -> int:
    """By how many degrees clockwise a player turns `frame`: 0, 90, 180 or 270. See `orientation_of`."""
    return orientation_of(frame).degrees


def forget(container: OutputContainer) -> None:
    """Close `container` whose file nobody wants any more."""
    try:
        container.close()
    except (LibavError, ValueError):
        return  # an index that does not fit, or a header never written: of no interest, the file is going
