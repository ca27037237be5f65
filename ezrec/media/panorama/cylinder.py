"""From the film's pixels to the cameras': where each of them sees a place on the cylinder.

What two lenses and a turn cannot explain (cameras that stand some centimetres apart) is left as a smooth shift of the
cameras' views against each other. Each takes half of it; it fades out a third of a view away from where both see.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ezrec.domain.calibration import Area, Calibration, Lens
from ezrec.media.panorama.bundle import Fit
from ezrec.media.panorama.lens import Array, Bend, bend_of, directions, in_pixels, reach_of, seen_at

DEGREE = 5
TERMS = (DEGREE + 1) * (DEGREE + 2) // 2
"""Of the shift, each way: products of powers of s and u, which go across and down what both see."""
FADE = 1 / 3  # of a view's width
NO_WARP = (0.0,) * (2 * TERMS)
Both = tuple[float, float, float, float]
"""What both cameras see: left, right, top and bottom, rad."""

COARSE = 160  # places across the panorama at which holes are looked for


@dataclass(frozen=True)
class CameraPair:
    """Two calibrated cameras."""

    lenses: tuple[Lens, Lens]
    both: Both
    warp: tuple[float, ...] = NO_WARP

    def seen(self, camera: int, a: Array, t: Array) -> tuple[Array, NDArray[np.bool_]]:
        """Where camera 0 (left) or 1 sees the places (a, t), in pixels of its turned picture (…, 2); whether at all."""
        lens = self.lenses[camera]
        across, down = shift(self.warp, self.both, a, t)
        half = _share(self.both, camera, lens, a) * (0.5 if camera else -0.5)
        a, t = a + half * across, t + half * down
        rays = np.stack([np.sin(a), t, np.cos(a)], axis=-1) @ np.asarray(lens.turn).T
        bend = bend_of(lens)
        points, ahead = seen_at(rays, bend, reach_of(bend, lens.size[1] / lens.size[0]))
        pixels = in_pixels(points, lens.size)
        inside = ahead & np.all((pixels >= 0) & (pixels <= np.asarray(lens.size) - 1), axis=-1)
        return pixels, np.asarray(inside)

    def bounds(self) -> tuple[float, float, float, float]:
        """The smallest part of the cylinder that holds all that the cameras see: left, top, right, bottom."""
        rims = np.concatenate([_places(lens, _rim(lens)) for lens in self.lenses])
        return (*rims.min(axis=0).tolist(), *rims.max(axis=0).tolist())


def pair_of(calibration: Calibration) -> CameraPair:
    """The cameras of a calibration."""
    return CameraPair((calibration.left, calibration.right), calibration.area.both, calibration.warp)


def shift(warp: Sequence[float], both: Both, a: Array, t: Array) -> tuple[Array, Array]:
    """By how much (across, down) the right camera's view of a place lies further on than the left one's, rad."""
    terms = basis(both, a, t)
    return (sum((term * one for term, one in zip(terms, warp[:TERMS], strict=True)), start=np.zeros(1)),
            sum((term * one for term, one in zip(terms, warp[TERMS:], strict=True)), start=np.zeros(1)))


def basis(both: Both, a: Array, t: Array) -> list[Array]:
    """What the shift is put together from, at the places (a, t)."""
    s, u = (np.clip((place - (low + high) / 2) / max((high - low) / 2, 1e-3), -1.4, 1.4)
            for place, low, high in ((a, both[0], both[1]), (t, both[2], both[3])))
    return [s**across * u**down for across in range(DEGREE + 1) for down in range(DEGREE + 1 - across)]


def _share(both: Both, camera: int, lens: Lens, a: Array) -> Array:
    """1 where both cameras see, falling smoothly to 0 a third of this camera's view further."""
    width = FADE * 2 * np.arctan(0.5 / lens.focal)
    beyond = (a - both[1] if camera else both[0] - a) / width
    left = np.clip(1 - beyond, 0, 1)
    return np.asarray(left * left * (3 - 2 * left))


def _rim(lens: Lens) -> Array:
    along = np.linspace(-0.5, 0.5, 41)
    high = along * lens.size[1] / lens.size[0]
    edge = np.full(41, 0.5)
    low = edge * lens.size[1] / lens.size[0]
    return np.concatenate([np.column_stack(two) for two in ((along, -low), (along, low), (-edge, high), (edge, high))])


def _places(lens: Lens, points: Array) -> Array:
    """Where points of a picture, in widths, lie on the cylinder (n, 2)."""
    rays = directions(points, bend_of(lens)) @ np.asarray(lens.turn)
    return np.column_stack([np.arctan2(rays[:, 0], rays[:, 2]), rays[:, 1] / np.hypot(rays[:, 0], rays[:, 2])])


def levelled(fit: Fit, sizes: tuple[tuple[int, int], tuple[int, int]], rotations: tuple[int, int]) -> CameraPair:
    """The cameras of a fit around an axis that is the mean of what is down for each; the middle lies between them."""
    down = np.array([0.0, 1.0, 0.0]) + fit.turn[1]
    down /= np.linalg.norm(down)
    ahead = np.array([0.0, 0.0, 1.0]) / 1.0 + fit.turn[2]
    ahead -= down * (ahead @ down)
    ahead /= np.linalg.norm(ahead)
    world = np.stack([np.cross(down, ahead), down, ahead])
    turns = (world.T, fit.turn @ world.T)
    left, right = (_lens(bend, turn, size, rotation) for bend, turn, size, rotation
                   in zip((fit.left, fit.right), turns, sizes, rotations, strict=True))
    rims = [_places(lens, np.array([[side, down * lens.size[1] / lens.size[0]] for down in (-0.5, 0.0, 0.5)]))
            for lens, side in ((right, -0.5), (left, 0.5))]
    top, bottom = max(rim[0, 1] for rim in rims), min(rim[2, 1] for rim in rims)
    return CameraPair((left, right), (float(rims[0][1, 0]), float(rims[1][1, 0]), float(top), float(bottom)))


def _lens(bend: Bend, turn: Array, size: tuple[int, int], rotation: int) -> Lens:
    rows = tuple((float(a), float(b), float(c)) for a, b, c in turn)
    return Lens(size, rotation, float(bend.focal), float(bend.k1), float(bend.k2), (bend.x, bend.y), rows)


def grid(area: Area, columns: int, rows: int) -> tuple[Array, Array]:
    """The places of a canvas's pixels: (1, columns) across and (rows, 1) down."""
    a = area.left + (np.arange(columns) + 0.5) * area.width / columns
    t = area.top + (np.arange(rows) + 0.5) * area.height / rows
    return a[None, :], t[:, None]


def without_holes(pair: CameraPair, density: float) -> tuple[Area, float]:
    """The largest part of the cylinder of which a camera sees every place, and its share of all that they see."""
    left, top, right, bottom = pair.bounds()
    columns = COARSE * 3
    rows = max(round((bottom - top) * columns / (right - left)), 8)
    everything = Area(left, top, right - left, bottom - top, density, pair.both)
    a, t = grid(everything, columns, rows)
    seen = pair.seen(0, a, t)[1] | pair.seen(1, a, t)[1]
    x0, y0, x1, y1 = _largest(seen)
    share = (x1 - x0) * (y1 - y0) / max(int(seen.sum()), 1)
    wide, high = everything.width / columns, everything.height / rows
    inner = 0.6  # of a coarse place, off each side: its corners were not looked at
    area = Area(left + (x0 + inner) * wide, top + (y0 + inner) * high, (x1 - x0 - 2 * inner) * wide,
                (y1 - y0 - 2 * inner) * high, density, pair.both)
    return area, share


def _largest(seen: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """The largest rectangle of True: left, top, right, bottom."""
    best, found = 0, (0, 0, 1, 1)
    heights = [0] * (seen.shape[1] + 1)
    for row in range(seen.shape[0]):
        for column, there in enumerate(seen[row].tolist()):
            heights[column] = heights[column] + 1 if there else 0
        open_from: list[tuple[int, int]] = []
        for column, height in enumerate(heights):
            start = column
            while open_from and open_from[-1][1] >= height:
                start, high = open_from.pop()
                if high * (column - start) > best:
                    best, found = high * (column - start), (start, row + 1 - high, column, row + 1)
            open_from.append((start, height))
    return found
