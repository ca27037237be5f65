"""A picture that shows people what a calibration is: common points, the panorama with its seam, and a grid on it."""

from pathlib import Path

import cv2
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from ezrec.domain.calibration import Calibration
from ezrec.domain.errors import BadMedia
from ezrec.domain.film import Canvas
from ezrec.files import put_in_place
from ezrec.media.encode import coded_frame, shown_part
from ezrec.media.panorama.calibrating import CommonView
from ezrec.media.panorama.composing import PanoramaComposer
from ezrec.media.panorama.maps import tables_of
from ezrec.media.panorama.matching import Matches
from ezrec.pyav import Planes, planes_of

WIDTH = 1600  # pixels
MOST = 120  # points that are drawn
GRID = 10  # columns
POINT, LINE, SEAM, NET = (80, 220, 80), (200, 160, 40), (40, 40, 240), (160, 160, 160)

Pixels = NDArray[np.uint8]


def draw(path: Path, canvas: Canvas, calibration: Calibration, seen: tuple[CommonView, CommonView],
         matches: Matches) -> None:
    """Write the picture as a JPEG; durable when this returns."""
    panorama = _bgr(panorama_of(canvas, calibration, seen))
    parts = [_points(seen, matches), _resized(panorama), _with_seam(_resized(panorama), calibration)]
    done, data = cv2.imencode(".jpg", np.concatenate(parts), [cv2.IMWRITE_JPEG_QUALITY, 88])
    if not done:
        raise BadMedia(f"{path}: the picture cannot be encoded as JPEG")
    with put_in_place(path) as temporary:
        Path(temporary).write_bytes(data.tobytes())


def panorama_of(canvas: Canvas, calibration: Calibration, seen: tuple[CommonView, CommonView]) -> VideoFrame:
    """The panorama of what both cameras saw (turned already)."""
    if canvas.calibration is None:
        raise BadMedia("the canvas names no calibration")
    composer = PanoramaComposer(canvas, calibration,
                                tables_of(calibration, canvas.width, canvas.height, canvas.calibration.sizes), (),
                                coded_frame(canvas))
    frames = {view.camera: _frame(one) for view, one in zip(canvas.views, seen, strict=True)}
    return shown_part(composer.compose(frames), canvas)


def _frame(seen: CommonView) -> VideoFrame:
    """A camera's picture as it would come from it: turned back."""
    turns = -seen.rotation // 90 % 4  # clockwise
    planes = Planes(*(np.ascontiguousarray(np.rot90(plane, -turns)) for plane in seen.planes))
    frame = VideoFrame(planes.y.shape[1], planes.y.shape[0], "yuv420p")
    for target, source in zip(planes_of(frame), planes, strict=True):
        target[:] = source
    return frame


def _bgr(frame: VideoFrame) -> Pixels:
    shown = frame.reformat(format="bgr24", src_colorspace="ITU709", src_color_range="MPEG", dst_color_range="JPEG")
    return np.asarray(shown.to_ndarray(), np.uint8)


def _resized(pixels: Pixels, width: int = WIDTH) -> Pixels:
    height = max(round(pixels.shape[0] * width / pixels.shape[1]), 1)
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _points(seen: tuple[CommonView, CommonView], matches: Matches) -> Pixels:
    """Both pictures beside each other with the points that they have in common."""
    height = round(WIDTH / sum(one.size[0] / one.size[1] for one in seen))
    views = []
    for one in seen:
        width = round(one.size[0] * height / one.size[1])
        frame = VideoFrame(*one.size, "yuv420p")
        for target, source in zip(planes_of(frame), one.planes, strict=True):
            target[:] = source
        views.append(np.asarray(cv2.resize(_bgr(frame), (width, height), interpolation=cv2.INTER_AREA), np.uint8))
    both = np.ascontiguousarray(_resized(np.concatenate(views, axis=1)))
    scales = [height / one.size[1] * WIDTH / sum(view.shape[1] for view in views) for one in seen]
    beside = round(views[0].shape[1] * WIDTH / sum(view.shape[1] for view in views))
    every = max(len(matches.left) // MOST, 1)
    for ours, theirs in zip(matches.left[::every], matches.right[::every], strict=True):
        a = (round(float(ours[0]) * scales[0]), round(float(ours[1]) * scales[0]))
        b = (round(float(theirs[0]) * scales[1]) + beside, round(float(theirs[1]) * scales[1]))
        cv2.line(both, a, b, LINE, 1, cv2.LINE_AA)
        for point in (a, b):
            cv2.circle(both, point, 3, POINT, 1, cv2.LINE_AA)
    return both


def _with_seam(panorama: Pixels, calibration: Calibration) -> Pixels:
    """The panorama with the seam and a grid, by which a crooked horizon or a bent line is seen."""
    shown = panorama.copy()
    height, width = shown.shape[:2]
    step = width / GRID
    for number in range(1, GRID):
        cv2.line(shown, (round(number * step), 0), (round(number * step), height), NET, 1)
    for number in range(1, int(height / step) + 1):
        cv2.line(shown, (0, round(number * step)), (width, round(number * step)), NET, 1)
    area, seam = calibration.area, np.asarray(calibration.seam)
    x = (seam - area.left) / area.width * width
    y = np.linspace(0, height - 1, len(seam))
    cv2.polylines(shown, [np.column_stack([x, y]).round().astype(np.int32)], False, SEAM, 2, cv2.LINE_AA)
    return shown
