"""Views side by side, cross-faded where two of them overlap.

Each sample is copied once, and only the strip where two views overlap is computed.

Limits: each view overlaps its neighbours only.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from av.video.frame import VideoFrame

from ezrec.domain.film import Canvas, Rung, View
from ezrec.media.drawing import black, fill, fit
from ezrec.media.overlay import Placed, blend
from ezrec.pyav import Plane, Planes, planes_of

ORDER = {"left": 0, "right": 2}  # cameras from left to right; others stand between them


class SideBySide:
    """A `Geometry`. `feathered`: neighbours may overlap, and are cross-faded there."""

    def __init__(self, name: str, *, feathered: bool) -> None:
        self.name = name
        self._feathered = feathered

    def canvas(self, sizes: Mapping[str, tuple[int, int]], rotations: Mapping[str, int], overlap: float) -> Canvas:
        """See `Geometry.canvas`. Views are scaled to the smallest height; widths, heights and overlaps are even."""
        seen = {name: (h, w) if rotations.get(name, 0) % 180 else (w, h) for name, (w, h) in sizes.items()}
        height = max(min(h for _, h in seen.values()) // 2 * 2, 2)
        widths = {name: max(_even(w if h - height in (0, 1) else w * height / h), 2) for name, (w, h) in seen.items()}
        shared = round(overlap * min(widths.values()) / 2) * 2 if self._feathered else 0
        views: list[View] = []
        x = 0
        for name in sorted(sizes, key=lambda one: ORDER.get(one, 1)):
            views.append(View(name, x, widths[name], height, rotations.get(name, 0)))
            x += widths[name] - shared
        return Canvas(x + shared, height, tuple(views), self.name)

    def composer(self, canvas: Canvas, rung: Rung, logos: Sequence[Placed], frame: VideoFrame) -> "FlatComposer":
        """See `Geometry.composer`. Only the first rung is cross-faded."""
        return FlatComposer(canvas, logos, feather=rung is Rung.FULL, frame=frame)


def _even(pixels: float) -> int:
    return int(pixels) // 2 * 2


class FlatComposer:
    """A `Composer`: draws one picture after the other into one frame, which is overwritten by the next call.

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
        self._fill = fill(canvas)

    def compose(self, pictures: Mapping[str, VideoFrame | None]) -> VideoFrame:
        """The film's picture of these camera pictures; the view of a camera without one is filled."""
        views = self._canvas.views
        fitted: list[Planes | None] = []
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

    def _copy(self, number: int, view: View, fitted: Sequence[Planes | None]) -> None:
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

    def _edges(self, number: int, fitted: Sequence[Planes | None]) -> tuple[int, int]:
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
