"""Some moments of a camera: out of a still, out of a film, or out of kept footage."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from av.video.frame import VideoFrame

from ezrec.domain.errors import BadMedia
from ezrec.domain.film import Footage
from ezrec.media.decode import Reel
from ezrec.media.drawing import fit
from ezrec.media.overlay import LARGEST_BYTES
from ezrec.media.probe import video_of
from ezrec.pyav import Planes, opened

STILLS = (".jpg", ".jpeg", ".png", ".webp")
MOMENTS = 9
LARGEST = 40_000_000  # pixels


def moments_of(path: Path, rotation: int) -> list[Planes]:
    """Some pictures of a still or a film, evenly over it, turned by `rotation` degrees clockwise.

    Raises:
        BadMedia: it is neither, or cannot be read.
    """
    if path.suffix.lower() in STILLS:
        return [_still(path, rotation)]
    pictures = list(_of_film(path))
    if not pictures:
        raise BadMedia(f"{path}: no picture of it can be decoded")
    return [planes_turned(picture, rotation) for picture in pictures]


def moments_of_footage(camera: str, footage: Sequence[Footage], rotation: int) -> list[Planes]:
    """Some pictures of a camera's segments, evenly over them.

    Raises:
        BadMedia: none can be read.
    """
    chosen = [footage[int(at)] for at in np.unique(np.linspace(0, len(footage) - 1, MOMENTS).astype(int))]
    found = []
    for piece in chosen:
        picture = Reel(camera, [piece], 1.0).first_picture()
        if picture is not None:
            found.append(planes_turned(picture, rotation))
    if not found:
        raise BadMedia(f"none of the footage of camera {camera} can be read")
    return [moment for moment in found if moment.y.shape == found[-1].y.shape]


def planes_turned(picture: VideoFrame, rotation: int) -> Planes:
    """A picture's planes, turned, in limited range; both sides even."""
    size = picture.height // 2 * 2, picture.width // 2 * 2
    width, height = size if rotation % 180 else size[::-1]
    return Planes(*(np.array(plane) for plane in fit(picture, width, height, rotation)))


def _still(path: Path, rotation: int) -> Planes:
    try:
        content = path.read_bytes() if path.stat().st_size <= LARGEST_BYTES else b""
    except OSError as error:
        raise BadMedia(f"{path}: {error.strerror}") from error
    if not content:
        raise BadMedia(f"{path}: is empty or larger than {LARGEST_BYTES // 1_000_000} MB")
    try:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise BadMedia(f"{path}: cannot be decoded ({error.err})") from error
    if pixels is None or not 64 * 64 <= pixels.shape[0] * pixels.shape[1] <= LARGEST:
        raise BadMedia(f"{path}: is no picture, or of a size that no camera has")
    picture = VideoFrame.from_ndarray(np.ascontiguousarray(pixels, np.uint8), "bgr24")
    size = pixels.shape[1] // 2 * 2, pixels.shape[0] // 2 * 2
    made = picture.reformat(*size, "yuv420p", src_color_range="JPEG", dst_color_range="MPEG", dst_colorspace="ITU709")
    return planes_turned(made, rotation)


def _of_film(path: Path) -> Iterator[VideoFrame]:
    with opened(path) as container:
        stream = video_of(container, str(path))
        length = stream.duration or (int(container.duration / 1_000_000 / stream.time_base)
                                     if container.duration and stream.time_base else 0)
        begin = stream.start_time or 0
        for number in range(MOMENTS):
            at = begin + int(length * (number + 0.5) / MOMENTS)
            if length:
                container.seek(at, stream=stream)
            wanted = at if length else begin
            for frame in container.decode(stream):
                if frame.pts is None or frame.pts >= wanted:
                    yield frame
                    break
            if not length:
                return
