"""Where the right camera takes over from the left one: along what looks the same in both, found row by row."""

import cv2
import numpy as np
from numpy.typing import NDArray

from ezrec.media.panorama.lens import Array
from ezrec.pyav import Plane

BEND = 0.6  # what a step to the side costs, in grey levels
AWAY = 6.0  # what the rim of what both see costs more than its middle


def find_seam(left: Plane, right: Plane, both: NDArray[np.bool_]) -> Array:
    """For each row the column (float) at which to change over, of two views of the same part, small and toned alike.

    `both` says where both show something. A row in which nowhere both do changes over where its neighbour does.
    """
    one, two = (cv2.GaussianBlur(view, (0, 0), 1.0).astype(np.float32) for view in (left, right))
    cost = np.abs(one - two)
    for axis in ((1, 0), (0, 1)):
        cost += np.abs(cv2.Sobel(one, cv2.CV_32F, *axis) - cv2.Sobel(two, cv2.CV_32F, *axis)) / 4
        cost += np.abs(cv2.Sobel(one, cv2.CV_32F, *axis)) / 24  # what stands out is better not cut
    cost = np.asarray(cv2.GaussianBlur(cost, (0, 0), 2.0), np.float64)
    inside = np.asarray(cv2.distanceTransform(np.pad(both, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1], np.float64)
    deepest = np.maximum(inside.max(axis=1, keepdims=True), 1.0)
    cost += AWAY * (1 - inside / deepest) ** 2
    cost[~both] = 1e4
    return np.asarray(cv2.GaussianBlur(_cheapest(cost).reshape(-1, 1), (1, 0), 2.0).ravel(), np.float64) \
        if len(cost) > 4 else _cheapest(cost)


def _cheapest(cost: Array) -> Array:
    """The path from the first row to the last one that costs least, going one column to the side a row at most."""
    rows, columns = cost.shape
    total, came = cost[0].copy(), np.zeros((rows, columns), np.int8)
    for row in range(1, rows):
        wide = np.pad(total, 1, constant_values=np.inf)
        ways = np.stack([wide[:-2] + BEND, wide[1:-1], wide[2:] + BEND])
        came[row] = ways.argmin(axis=0) - 1
        total = cost[row] + ways.min(axis=0)
    path = np.empty(rows)
    at = int(total.argmin())
    for row in range(rows - 1, -1, -1):
        path[row] = at
        at += int(came[row, at])
    return path
