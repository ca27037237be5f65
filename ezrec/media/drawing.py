"""A camera's picture made ready to be put onto the film, and what stands where no camera saw anything.

Everything stays in YUV 4:2:0 planes. The film is BT.709, limited range; a camera that says it delivers full range is
brought to it by a table.

Limits: a source that names another matrix than BT.709 keeps its samples (the difference is a slight tint).
"""

import numpy as np
from av.video.frame import VideoFrame

from ezrec.domain.film import Canvas
from ezrec.media import opencv as cv2
from ezrec.pyav import Plane, Planes, planes_of

BANDS = (38, 44)  # luma of the fill's two greys
BAND_PX = 48  # their width
FULL_RANGE = 2  # AVCOL_RANGE_JPEG


def _limited(offset: int, span: int, middle: int) -> Plane:
    """Full range to limited range, as a table (ITU-T H.273, 8.3)."""
    values = np.arange(256, dtype=np.float64)
    return np.clip(np.rint(offset + (values - middle) * span / 255), 0, 255).astype(np.uint8)


LIMITED_LUMA = _limited(16, 219, 0)
LIMITED_CHROMA = _limited(128, 224, 128)


def fit(
    frame: VideoFrame, width: int, height: int, rotation: int = 0, matrix: str | int = "ITU709", mirrored: bool = False
) -> Planes:
    """The planes of `frame`, turned by `rotation` degrees clockwise, at `width` x `height`, in limited range.

    `matrix` is the one the frame's samples were made with, by swscale's name or number; `mirrored`: left and right are
    exchanged before it is turned. A frame that already has the wanted size, format and matrix is not copied.
    """
    size = (height, width) if rotation % 180 else (width, height)
    full = frame.format.name.startswith("yuvj") or int(frame.color_range) == FULL_RANGE
    planar = frame.format.name in ("yuv420p", "yuvj420p")
    if not planar or (frame.width, frame.height) != size or matrix != "ITU709":
        frame = frame.reformat(
            *size,
            format="yuv420p",
            src_colorspace=matrix,
            dst_colorspace="ITU709",
            src_color_range="JPEG" if full else "MPEG",
            dst_color_range="MPEG",
            interpolation="BICUBIC",
        )
        full = False
    planes = planes_of(frame)
    if full:
        planes = Planes(_table(planes.y, LIMITED_LUMA), _table(planes.u, LIMITED_CHROMA),
                        _table(planes.v, LIMITED_CHROMA))
    if mirrored:
        planes = Planes(*(np.ascontiguousarray(plane[:, ::-1]) for plane in planes))
    if rotation:
        planes = Planes(*(_turned(plane, rotation) for plane in planes))
    return planes


def _table(plane: Plane, table: Plane) -> Plane:
    return np.asarray(cv2.LUT(plane, table), np.uint8)


def _turned(plane: Plane, rotation: int) -> Plane:
    clockwise = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}
    return np.asarray(cv2.rotate(plane, clockwise[rotation]), np.uint8)


def black(frame: VideoFrame) -> VideoFrame:
    """Make the 4:2:0 `frame` black, in place."""
    for plane, value in zip(planes_of(frame), (16, 128, 128), strict=True):
        plane[:] = value
    return frame


def fill(canvas: Canvas) -> Plane:
    """The luma of a half that no camera saw: wide diagonal bands of two dark greys, calm and meant."""
    along = np.arange(canvas.width + canvas.height) // BAND_PX % 2
    row = np.asarray(BANDS, np.uint8)[along]
    return np.lib.stride_tricks.sliding_window_view(row, canvas.width)[: canvas.height]  # each line one sample on
