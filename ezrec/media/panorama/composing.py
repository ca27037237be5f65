"""Draws panoramas: each camera's planes through its tables, a narrow blend along the seam, logos on top.

Only the columns that a camera gives are drawn. Between the lights that were measured at a chunk's beginning and at its
end the tones go evenly, so that nothing flickers and one chunk goes on where the one before ended.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from ezrec.domain.calibration import Calibration, Tone
from ezrec.domain.film import Canvas, Light
from ezrec.media.drawing import fill, fit
from ezrec.media.overlay import Placed, blend
from ezrec.media.panorama.lens import Array
from ezrec.media.panorama.maps import Tables, sampled
from ezrec.media.panorama.tones import means, toned
from ezrec.pyav import Plane, Planes, planes_of

BLEND = 20  # pixels across the seam
LOOK = 160  # pixels on both sides of the seam whose light is compared
EVERY = 2  # columns and lines of them
BLOCK = 6  # samples
FEWEST = 40  # blocks
MOST_LIGHT = 0.5  # of the logarithm of luma
MOST_COLOUR = 16.0

Words = NDArray[np.uint16]


class _Strip(NamedTuple):
    """The columns in which the seam lies, and how much of the right camera each sample has, of 256."""

    first: int
    end: int
    weights: tuple[Words, Words]  # for luma and for chroma


class PanoramaComposer:
    """A `Composer` for panoramas. Pictures must be asked for in order: the light goes on from one to the next."""

    def __init__(self, canvas: Canvas, calibration: Calibration, tables: tuple[Tables, Tables],
                 logos: Sequence[Placed], frame: VideoFrame) -> None:
        self._canvas = canvas
        self._calibration = calibration
        self._tables = tables
        self._logos = logos
        self._frame = frame
        self._planes = planes_of(frame)
        self._cameras = [view.camera for view in canvas.views]
        self._strip = _strip(calibration, tables, canvas)
        self._lights = (Light(), Light())
        self._ticks, self._tick = 1, 0
        self._fill = fill(canvas)

    def follow(self, first: Mapping[str, VideoFrame | None], last: Mapping[str, VideoFrame | None],
               ticks: int) -> tuple[Light, Light]:
        """Let the light go from that of `first` to that of `last` (a picture of each camera) in so many `ticks`."""
        found = self._measured(first), self._measured(last)
        self._lights = (found[0] or found[1] or Light(), found[1] or found[0] or Light())
        self._ticks, self._tick = ticks, 0
        return self._lights

    def compose(self, pictures: Mapping[str, VideoFrame | None]) -> VideoFrame:
        """The film's picture of these camera pictures; where no camera sees anything it is filled."""
        sources = [self._source(number, pictures.get(camera)) for number, camera in enumerate(self._cameras)]
        tones = self._tones(self._tick / self._ticks)
        self._tick += 1
        left, right = sources
        if left is not None and right is not None:
            self._both(left, right, tones)
        else:
            self._one(sources, tones)
        for logo in self._logos:
            blend(self._planes, logo)
        return self._frame

    def _source(self, camera: int, picture: VideoFrame | None) -> Planes | None:
        """A camera's planes as they come, neither turned nor scaled if they have the size that was asked for."""
        if picture is None or self._canvas.calibration is None:
            return None
        size, rotation = self._canvas.calibration.sizes[camera], self._canvas.views[camera].rotation
        return fit(picture, *(size[::-1] if rotation % 180 else size))

    def _both(self, left: Planes, right: Planes, tones: tuple[Tone, Tone]) -> None:
        first, end, weights = self._strip
        for index, target in enumerate(self._planes):
            step = 2 if index else 1
            rows = self._canvas.height // step
            a, b, width = first // step, end // step, self._canvas.width // step
            self._draw(0, index, left, target[:rows, :a], 0, tones)
            self._draw(1, index, right, target[:rows, b:width], b, tones)
            ours = np.empty((rows, b - a), np.uint8)
            theirs = np.empty((rows, b - a), np.uint8)
            self._draw(0, index, left, ours, a, tones)
            self._draw(1, index, right, theirs, a, tones)
            weight = weights[index > 0]
            mixed = ours * (256 - weight)
            mixed += theirs * weight
            mixed += 128
            mixed >>= 8
            target[:rows, a:b] = mixed

    def _one(self, sources: Sequence[Planes | None], tones: tuple[Tone, Tone]) -> None:
        """A picture of one camera, or of none; the rest is filled."""
        for index, target in enumerate(self._planes):
            step = 2 if index else 1
            rows, width = self._canvas.height // step, self._canvas.width // step
            target[:rows, :width] = self._fill[:rows, :width] if index == 0 else 128
            for camera, source in enumerate(sources):
                if source is not None:
                    table = self._tables[camera]
                    part = target[:rows, table.first // step : table.end // step]
                    self._draw(camera, index, source, part, table.first // step, tones)

    def _draw(self, camera: int, index: int, source: Planes, target: Plane, column: int,
              tones: tuple[Tone, Tone]) -> None:
        """Fill `target`, which begins at this `column` of the plane, with what the camera sees there."""
        if not target.shape[1]:
            return
        table, tone = self._tables[camera], tones[camera]
        start = column - table.first // (2 if index else 1)
        places = (table.chroma if index else table.luma)[: target.shape[0], start : start + target.shape[1]]
        sampled(source[index], places, target)
        if index == 0:
            toned(target, tone.gain, tone.offset, target)
        else:
            toned(target, 1.0, tone.blue if index == 1 else tone.red, target)

    # ---- light

    def _tones(self, part: float) -> tuple[Tone, Tone]:
        """Both cameras' tones after `part` of the chunk."""
        start, end = self._lights
        luma, blue, red = (a + (b - a) * part for a, b in zip(
            (start.luma, start.blue, start.red), (end.luma, end.blue, end.red), strict=True))
        one, other = self._calibration.tones
        return _lit(one, -luma / 2, -blue / 2, -red / 2), _lit(other, luma / 2, blue / 2, red / 2)

    def _measured(self, pictures: Mapping[str, VideoFrame | None]) -> Light | None:
        """How much lighter the left camera is than the right one near the seam, with the calibration's tones."""
        sources = [self._source(number, pictures.get(camera)) for number, camera in enumerate(self._cameras)]
        first = max(self._strip.first - LOOK, self._tables[1].first)
        end = min(self._strip.end + LOOK, self._tables[0].end)
        views: list[list[Array]] = []
        for camera, source in enumerate(sources):
            views.append([])
            for index in range(3):
                step = 2 if index else 1
                table, every = self._tables[camera], 2 * EVERY // step
                start = (first - table.first) // step
                columns = slice(start, start + (end - first) // step, every)
                places = (table.chroma if index else table.luma)[::every, columns]
                if source is None or min(places.shape[:2]) < BLOCK:
                    return None
                views[camera].append(means(sampled(source[index], np.ascontiguousarray(places)), BLOCK))
        return _compared(views, self._calibration.tones)


def _compared(views: list[list[Array]], tones: tuple[Tone, Tone]) -> Light | None:
    rows = min(plane.shape[0] for view in views for plane in view)
    columns = min(plane.shape[1] for view in views for plane in view)
    cut = [[plane[:rows, :columns] for plane in view] for view in views]
    luma = [view[0] * tone.gain + tone.offset - 16 for view, tone in zip(cut, tones, strict=True)]
    use = (luma[0] > 8) & (luma[1] > 8) & (cut[0][0] < 232) & (cut[1][0] < 232)
    if use.sum() < FEWEST:
        return None
    brighter = float(np.median(np.log(luma[0][use] / luma[1][use])))
    blue, red = (float(np.median((cut[0][n] - cut[1][n])[use])) for n in (1, 2))
    blue, red = blue + tones[0].blue - tones[1].blue, red + tones[0].red - tones[1].red
    return Light(round(_held(brighter, MOST_LIGHT), 4), round(_held(blue, MOST_COLOUR), 2),
                 round(_held(red, MOST_COLOUR), 2))


def _held(value: float, most: float) -> float:
    return min(max(value, -most), most)


def _lit(tone: Tone, luma: float, blue: float, red: float) -> Tone:
    """A tone after which luma is e^`luma` times as far above black."""
    more = float(np.exp(luma))
    return Tone(tone.gain * more, (tone.offset - 16) * more + 16, tone.blue + blue, tone.red + red)


def _strip(calibration: Calibration, tables: tuple[Tables, Tables], canvas: Canvas) -> _Strip:
    """Where the seam lies on the canvas; kept where both cameras can draw."""
    area, seam = calibration.area, np.asarray(calibration.seam)
    rows = (np.arange(canvas.height) + 0.5) / canvas.height * (len(seam) - 1)
    at = (np.interp(rows, np.arange(len(seam)), seam) - area.left) / area.width * canvas.width - 0.5
    low, high = tables[1].first, tables[0].end
    at = np.clip(at, low + BLEND / 2, max(high - BLEND / 2, low + BLEND / 2))
    first = max(int(at.min() - BLEND / 2) // 2 * 2, 0)
    end = min(int(at.max() + BLEND / 2 + 3) // 2 * 2, high)
    weights = []
    for step in (1, 2):
        columns = np.arange(first, end, step)[None, :]
        rising = np.clip((columns - at[::step, None]) / BLEND + 0.5, 0, 1)
        weights.append(np.rint(rising * 256).astype(np.uint16))
    return _Strip(first, end, (weights[0], weights[1]))
