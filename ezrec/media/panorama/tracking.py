"""What lies where both cameras see: found by optical flow on the cylinder, where both views look alike."""

from typing import Any, NamedTuple

import cv2
import numpy as np

from ezrec.domain.calibration import Area
from ezrec.media.panorama.cylinder import TERMS, CameraPair, basis, grid
from ezrec.media.panorama.lens import Array
from ezrec.media.panorama.matching import evened
from ezrec.pyav import Plane

MOST = 1500  # points
BACK = 0.7  # pixels that a point may be off when it is followed there and back
RIDGE = 0.002  # how hard the shift is held to nothing, times the root of how many points there are


class Tracked(NamedTuple):
    """Points that both cameras see, as places on the cylinder (n, 2) rad, and how they fall together."""

    left: Array
    right: Array
    share: float  # of the textured points that could be followed there and back
    pixels: Array  # distances (n,)


def track(pair: CameraPair, pictures: tuple[Plane, Plane], density: float, window: int = 21) -> Tracked:
    """Follow textured points from the left picture to the right one, at `density` pixels for a radian."""
    area = _overlap(pair, density)
    columns, rows = max(round(area.width * density), 8), max(round(area.height * density), 8)
    a, t = grid(area, columns, rows)
    views, masks = [], []
    for camera, picture in enumerate(pictures):
        pixels, seen = pair.seen(camera, a, t)
        drawn = cv2.remap(picture, pixels[..., 0].astype(np.float32), pixels[..., 1].astype(np.float32),
                          cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        views.append(evened(np.asarray(drawn, np.uint8)))
        masks.append(seen.astype(np.uint8))
    mask = cv2.erode(masks[0] & masks[1], np.ones((window, window), np.uint8))
    points = _corners(views[0], np.asarray(mask, np.uint8), max(6.0, columns / 60))
    none = Tracked(np.empty((0, 2)), np.empty((0, 2)), 0.0, np.empty(0))
    if len(points) < 4:
        return none
    there, first = _flow(views[0], views[1], points, window)
    back, second = _flow(views[1], views[0], there, window)
    away = np.linalg.norm((back - points).reshape(-1, 2), axis=1)
    moved = (there - points).reshape(-1, 2)
    far = np.linalg.norm(moved - np.median(moved, axis=0), axis=1)
    good = first.ravel().astype(bool) & second.ravel().astype(bool) & (away < BACK) & (far < max(8.0, columns * 0.03))
    if not good.any():
        return none
    ours, theirs = points.reshape(-1, 2)[good].astype(np.float64), there.reshape(-1, 2)[good].astype(np.float64)
    scale = np.array([area.width / columns, area.height / rows])
    corner = np.array([area.left, area.top])
    return Tracked(corner + (ours + 0.5) * scale, corner + (theirs + 0.5) * scale, float(good.mean()),
                   np.linalg.norm(theirs - ours, axis=1))


def _corners(luma: Plane, mask: Plane, apart: float) -> Array:
    """Places (n, 1, 2) that can be told from their neighbourhood."""
    look: Any = cv2.goodFeaturesToTrack  # its stub does not know that it may give None
    found = look(luma, MOST, 0.02, apart, mask=mask)
    return np.empty((0, 1, 2)) if found is None else np.asarray(found, np.float64)


def _flow(first: Plane, second: Plane, points: Array, window: int) -> tuple[Array, Array]:
    """Where points of one picture are in another, and for which of them that was found."""
    follow: Any = cv2.calcOpticalFlowPyrLK
    there, found, _ = follow(first, second, points.astype(np.float32), None, winSize=(window, window), maxLevel=3)
    return np.asarray(there, np.float64), np.asarray(found)


def _overlap(pair: CameraPair, density: float) -> Area:
    """The part of the cylinder that both cameras see some of."""
    left, top, right, bottom = pair.bounds()
    a, t = grid(Area(left, top, right - left, bottom - top, density, pair.both), 300, 200)
    seen = pair.seen(0, a, t)[1] & pair.seen(1, a, t)[1]
    columns, rows = np.flatnonzero(seen.any(axis=0)), np.flatnonzero(seen.any(axis=1))
    if not columns.size:
        middle = (pair.both[0] + pair.both[1]) / 2
        return Area(middle - 0.01, -0.01, 0.02, 0.02, density, pair.both)
    wide, high = (right - left) / 300, (bottom - top) / 200
    return Area(left + columns[0] * wide, top + rows[0] * high, (columns[-1] + 1 - columns[0]) * wide,
                (rows[-1] + 1 - rows[0]) * high, density, pair.both)


def warp_of(tracked: Tracked, pair: CameraPair) -> tuple[float, ...]:
    """The smooth shift between the cameras' views that the points tell; added to the pair's own."""
    middle = (tracked.left + tracked.right) / 2
    terms = np.stack(basis(pair.both, middle[:, 0], middle[:, 1]), axis=1)
    away = tracked.right - tracked.left
    found: list[float] = []
    for side in range(2):
        weights: Array = np.ones(len(away))
        solved: Array = np.zeros(TERMS)
        for _ in range(8):
            rows = terms * weights[:, None]
            square = rows.T @ terms + np.diag([0.0, *[RIDGE * np.sqrt(len(away))] * (TERMS - 1)])
            solved = np.asarray(np.linalg.solve(square + 1e-9 * np.eye(TERMS), rows.T @ away[:, side]), np.float64)
            rest = np.abs(away[:, side] - terms @ solved)
            weights = 1.0 / (1.0 + (rest / (2 * np.median(rest) + 1e-9)) ** 2)
        found += [float(value) for value in solved]
    return tuple(old + new for old, new in zip(pair.warp, found, strict=True))
