"""From the cameras' pictures to the film's: which frame to show, and where its samples go.

Everything stays in YUV 4:2:0 planes; each sample is copied once, and only the strip where two views overlap is
computed. The film is BT.709, limited range; a camera that says it delivers full range is brought to it by a table.

Limits: views lie side by side, each overlapping its neighbours only; a source that names another matrix than BT.709
keeps its samples (the difference is a slight tint).
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from ezrec.domain.film import Canvas, View
from ezrec.media.overlay import Placed, blend

Plane = NDArray[np.uint8]

HYSTERESIS_US = 2000
"""A free-running camera keeps its rhythm unless another frame is nearer by more than this."""

BANDS = (38, 44)  # luma of the fill's two greys
BAND_PX = 48  # their width
CLOCKWISE = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}
FULL_RANGE = 2  # AVCOL_RANGE_JPEG


def pick(
    times_us: Sequence[int],
    targets_us: Sequence[int],
    period_us: float,
    hysteresis_us: int = HYSTERESIS_US,
) -> list[int]:
    """For each target the index of the frame to show, or -1 if there are no frames. Never goes backwards.

    It is the frame nearest to the target, unless the one after the frame last shown is at most `hysteresis_us` (and a
    quarter of `period_us`) farther away: so two clocks that drift against each other cross over once and do not
    flicker. Hence a frame is at most half the local frame distance plus `hysteresis_us` from its target.

    All times in µs on one clock, `times_us` sorted.
    """
    if not times_us:
        return [-1] * len(targets_us)
    slack = min(hysteresis_us, period_us / 4)
    times = np.asarray(times_us, np.int64)
    after = np.searchsorted(times, np.asarray(targets_us, np.int64)).tolist()
    chosen: list[int] = []
    last = len(times_us) - 1
    for target, at in zip(targets_us, after, strict=True):
        best = min(at, last)
        if best and abs(times_us[best - 1] - target) <= abs(times_us[best] - target):
            best -= 1
        if chosen:
            following = min(chosen[-1] + 1, last)
            if abs(times_us[following] - target) <= abs(times_us[best] - target) + slack:
                best = following
            best = max(best, chosen[-1])
        chosen.append(best)
    return chosen


def layout(
    sizes: Mapping[str, tuple[int, int]],
    rotations: Mapping[str, int] | None = None,
    layout: str = "side_by_side",
    overlap: float = 0.0,
) -> Canvas:
    """The canvas for cameras of these sizes (pixels as encoded), left to right.

    Views are scaled to the smallest height; widths, heights and overlaps are even. With "feather" neighbours overlap
    by the fraction `overlap` of the narrowest view. One camera: its own picture.
    """
    turns = {name: (rotations or {}).get(name, 0) for name in sizes}
    seen = {name: (h, w) if turns[name] % 180 else (w, h) for name, (w, h) in sizes.items()}
    height = max(min(h for _, h in seen.values()) // 2 * 2, 2)
    widths = {name: max(_even(w if h - height in (0, 1) else w * height / h), 2) for name, (w, h) in seen.items()}
    shared = round(overlap * min(widths.values()) / 2) * 2 if layout == "feather" else 0
    views: list[View] = []
    x = 0
    for name in sorted(sizes, key=lambda one: {"left": 0, "right": 2}.get(one, 1)):
        views.append(View(name, x, widths[name], height, turns[name]))
        x += widths[name] - shared
    return Canvas(x + shared, height, tuple(views))


def _even(pixels: float) -> int:
    return int(pixels) // 2 * 2


def planes_of(frame: VideoFrame) -> tuple[Plane, Plane, Plane]:
    """The three planes of a 4:2:0 frame as arrays that share its memory, without the padding of the lines."""
    found = []
    planes: Any = frame.planes
    for number, plane in enumerate(planes[:3]):
        width = frame.width if number == 0 else -(-frame.width // 2)
        height = frame.height if number == 0 else -(-frame.height // 2)
        found.append(np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[:height, :width])
    return found[0], found[1], found[2]


def _limited(offset: int, span: int, middle: int) -> Plane:
    """Full range to limited range, as a table (ITU-T H.273, 8.3)."""
    values = np.arange(256, dtype=np.float64)
    return np.clip(np.rint(offset + (values - middle) * span / 255), 0, 255).astype(np.uint8)


LIMITED_LUMA = _limited(16, 219, 0)
LIMITED_CHROMA = _limited(128, 224, 128)


def fit(
    frame: VideoFrame, width: int, height: int, rotation: int = 0, matrix: str = "ITU709"
) -> tuple[Plane, Plane, Plane]:
    """The planes of `frame`, turned by `rotation` degrees clockwise, at `width` x `height`, in limited range.

    `matrix` is the one the frame's samples were made with, by swscale's name. A frame that already has the wanted
    size, format and matrix is not copied.
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
        luma, blue, red = planes
        planes = (_table(luma, LIMITED_LUMA), _table(blue, LIMITED_CHROMA), _table(red, LIMITED_CHROMA))
    if rotation:
        luma, blue, red = planes
        planes = (_turned(luma, rotation), _turned(blue, rotation), _turned(red, rotation))
    return planes


def _table(plane: Plane, table: Plane) -> Plane:
    return cv2.LUT(plane, table).astype(np.uint8, copy=False)


def _turned(plane: Plane, rotation: int) -> Plane:
    return cv2.rotate(plane, CLOCKWISE[rotation]).astype(np.uint8, copy=False)


def black(frame: VideoFrame) -> VideoFrame:
    """Make the 4:2:0 `frame` black, in place."""
    for plane, value in zip(planes_of(frame), (16, 128, 128), strict=True):
        plane[:] = value
    return frame


class Composer:
    """Draws one picture after the other into one frame, which is overwritten by the next call.

    `frame` is drawn on from its upper left corner; it may be larger than the canvas.
    """

    def __init__(
        self,
        canvas: Canvas,
        logos: Sequence[Placed] = (),
        feather: bool = True,
        frame: VideoFrame | None = None,
    ) -> None:
        self._canvas = canvas
        self._logos = logos
        self._feather = feather
        self._frame = frame or black(VideoFrame(canvas.width, canvas.height, "yuv420p"))
        self._planes = planes_of(self._frame)
        self._strips = [_Strip(*pair) for pair in pairwise(canvas.views)]
        self._fill = _fill(canvas)

    def compose(self, pictures: Mapping[str, VideoFrame | None]) -> VideoFrame:
        """The film's picture of these camera pictures; the view of a camera without one is filled."""
        views = self._canvas.views
        fitted: list[tuple[Plane, Plane, Plane] | None] = []
        for view in views:
            source = pictures.get(view.camera)
            fitted.append(fit(source, view.width, view.height, view.rotation) if source is not None else None)
        for number, view in enumerate(views):
            self._copy(number, view, fitted)
        if self._feather:
            for strip, left, right in zip(self._strips, fitted[:-1], fitted[1:], strict=True):
                if left is not None and right is not None:
                    strip.blend(self._planes, left, right)
        for logo in self._logos:
            blend(self._planes, logo)
        return self._frame

    def _copy(self, number: int, view: View, fitted: Sequence[tuple[Plane, Plane, Plane] | None]) -> None:
        """Copy the part of a view, or of the fill, that no neighbour has a share in."""
        mine = fitted[number]
        start, end = 0, view.width
        if number:
            start += self._edges(number - 1, fitted)[1]
        if number < len(self._strips):
            end -= self._edges(number, fitted)[0]
        for index, target in enumerate(self._planes):
            step = 2 if index else 1
            rows, left = view.height // step, view.x // step
            span = slice(left + start // step, left + end // step)
            if mine is not None:
                target[:rows, span] = mine[index][:rows, start // step : end // step]
            else:
                target[:rows, span] = self._fill[:rows, span] if index == 0 else 128

    def _edges(self, number: int, fitted: Sequence[tuple[Plane, Plane, Plane] | None]) -> tuple[int, int]:
        """How many of a strip's columns are not the left view's to copy, and how many not the right view's."""
        width = self._strips[number].width
        left, right = fitted[number] is not None, fitted[number + 1] is not None
        if left and right and self._feather:
            return width, width
        if left and right:
            half = width // 4 * 2
            return width - half, half
        return (width, 0) if right else (0, width)


class _Strip:
    """The columns that two neighbouring views share, and the weights of their linear cross-fade."""

    def __init__(self, left: View, right: View) -> None:
        self.width = max(left.x + left.width - right.x, 0)
        self._x = right.x
        self._height = min(left.height, right.height)
        self._weights = []
        self._room = []
        for step in (1, 2, 2):
            columns = self.width // step
            rising = np.rint((np.arange(columns) + 0.5) * 256 / max(columns, 1)).astype(np.uint16)
            self._weights.append((256 - rising, rising))
            shape = (self._height // step, columns)
            self._room.append((np.empty(shape, np.uint16), np.empty(shape, np.uint16)))

    def blend(self, planes: Sequence[Plane], left: Sequence[Plane], right: Sequence[Plane]) -> None:
        """Cross-fade into `planes`: (left·(256 - w) + right·w + 128) >> 8, w rising from left to right."""
        if not self.width:
            return
        for index, target in enumerate(planes):
            step = 2 if index else 1
            rows, columns = self._height // step, self.width // step
            (falling, rising), (mixed, other) = self._weights[index], self._room[index]
            np.multiply(left[index][:rows, -columns:], falling, out=mixed)
            np.multiply(right[index][:rows, :columns], rising, out=other)
            mixed += other
            mixed += 128
            mixed >>= 8
            target[:rows, self._x // step : self._x // step + columns] = mixed


def _fill(canvas: Canvas) -> Plane:
    """The luma of a half that no camera saw: wide diagonal bands of two dark greys, calm and meant."""
    along = np.arange(canvas.width + canvas.height) // BAND_PX % 2
    row = np.asarray(BANDS, np.uint8)[along]
    return np.lib.stride_tricks.sliding_window_view(row, canvas.width)[: canvas.height]  # each line one sample on
