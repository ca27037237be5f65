"""Pixels and directions of a camera whose lens bends lines: Brown's model with two radial terms.

Coordinates of a picture are in its widths, counted from its middle, to the right and down. A direction is (X, Y, Z), Z
along the optical axis.

Limits: pixels are square.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ezrec.domain.calibration import Lens

Array = NDArray[np.float64]

MARGIN = 1.02  # how far outside a picture's corner the model is believed: further out it folds back into the picture
STEPS = 12  # of Newton's method


class Bend(NamedTuple):
    """A lens: focal length in picture widths, two terms of distortion, and where its axis meets the picture."""

    focal: float
    k1: float
    k2: float
    x: float = 0.0
    y: float = 0.0


def bend_of(lens: Lens) -> Bend:
    """The lens alone."""
    return Bend(lens.focal, lens.k1, lens.k2, *lens.middle)


def in_widths(pixels: Array, size: tuple[int, int]) -> Array:
    """Pixels (n, 2), counted from the centre of the upper left one, as parts of the picture's width."""
    return (pixels - (np.asarray(size, np.float64) - 1) / 2) / size[0]


def in_pixels(points: Array, size: tuple[int, int]) -> Array:
    """The way back from `in_widths`."""
    return points * size[0] + (np.asarray(size, np.float64) - 1) / 2


def directions(points: Array, bend: Bend) -> Array:
    """The directions (n, 3) that are seen at `points` (n, 2); of length 1."""
    bent = (points - (bend.x, bend.y)) / bend.focal
    far = np.hypot(bent[:, 0], bent[:, 1])
    straight = far.copy()
    for _ in range(STEPS):
        square = straight * straight
        slope = np.maximum(1 + 3 * bend.k1 * square + 5 * bend.k2 * square * square, 0.05)
        miss = straight * (1 + bend.k1 * square + bend.k2 * square * square) - far
        straight = np.clip(straight - miss / slope, 0, 20)
    scale = np.divide(straight, far, out=np.ones_like(far), where=far > 1e-9)
    found = np.column_stack([bent * scale[:, None], np.ones(len(bent))])
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True))


def seen_at(rays: Array, bend: Bend, reach: float = np.inf) -> tuple[Array, NDArray[np.bool_]]:
    """Where directions (…, 3) are seen (…, 2), and whether they can be: not behind the camera, nor further from the
    axis than `reach` (tangent of the angle).
    """
    ahead = rays[..., 2] > 1e-3
    depth = np.where(ahead, rays[..., 2], 1.0)
    flat = rays[..., :2] / depth[..., None]
    square = np.minimum(np.sum(flat * flat, axis=-1), 400.0)
    near = ahead & (square < reach * reach)
    points = flat * (bend.focal * (1 + bend.k1 * square + bend.k2 * square * square))[..., None] + (bend.x, bend.y)
    return np.asarray(points), np.asarray(near)


def reach_of(bend: Bend, shape: float) -> float:
    """The tangent of the widest angle that is in the picture; `shape` is its height in widths."""
    far = np.array([[0.5 + abs(bend.x), shape / 2 + abs(bend.y)]]) * MARGIN
    corner = directions(far, bend._replace(x=0.0, y=0.0))[0]
    return float(np.hypot(corner[0], corner[1]) / corner[2])


def slope_at_corner(bend: Bend, shape: float) -> float:
    """How fast the picture still moves outwards at its corner; nothing is left of it where the model folds back."""
    square = reach_of(bend, shape) ** 2
    return 1 + 3 * bend.k1 * square + 5 * bend.k2 * square * square
