"""Points that two overlapping pictures have in common."""

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ezrec.media.panorama.lens import Array
from ezrec.pyav import Plane

INNER = 2 / 3  # of a picture's width, towards its neighbour, in which common points are looked for
MOST = 6000  # points of a picture
WIDEST = 1920  # pixels; larger pictures are made smaller for this
RATIO = 0.8  # of the best distance to the second best
_opencv: Any = cv2  # its stubs lack SIFT, and that a homography may be None

NEAR = 0.012  # of the width: how far from a homography a match may be


class Matches(NamedTuple):
    """Common points (n, 2) in pixels of both pictures, and the homography they roughly follow."""

    left: Array
    right: Array
    homography: Array
    turned: float  # degrees by which the right picture seems to be turned against the left one


def evened(luma: Plane) -> Plane:
    """A picture whose light and dark parts have much the same contrast."""
    return np.asarray(cv2.createCLAHE(3.0, (8, 8)).apply(luma), np.uint8)


def match(left: Plane, right: Plane) -> Matches:
    """What `left` and `right` (luma) have in common in the parts next to each other. May be hardly anything."""
    none = Matches(np.empty((0, 2)), np.empty((0, 2)), np.eye(3), 0.0)
    first, ours = _points(left, from_left=False)
    second, theirs = _points(right, from_left=True)
    if len(first) < 8 or len(second) < 8:
        return none
    pairs = _mutual(ours, theirs)
    if len(pairs) < 8:
        return none
    a = np.array([first[one].pt for one, _ in pairs])
    b = np.array([second[two].pt for _, two in pairs])
    cv2.setRNGSeed(1)
    found, good = _opencv.findHomography(a, b, cv2.RANSAC, NEAR * right.shape[1], maxIters=5000, confidence=0.999)
    if found is None:
        return none
    kept = good.ravel().astype(bool)
    turns = np.radians([second[two].angle - first[one].angle for one, two in pairs])[kept]
    turned = float(np.degrees(np.arctan2(np.median(np.sin(turns)), np.median(np.cos(turns)))))
    return Matches(a[kept], b[kept], np.asarray(found, np.float64), turned)


def _points(luma: Plane, *, from_left: bool) -> tuple[list[cv2.KeyPoint], NDArray[np.float32]]:
    """The points of the part next to the neighbour, in the whole picture's pixels, with what they look like."""
    width = luma.shape[1]
    scale = min(1.0, WIDEST / width)
    part = slice(0, round(width * INNER)) if from_left else slice(width - round(width * INNER), width)
    picture = evened(luma)[:, part]
    if scale < 1:
        picture = np.asarray(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    points, looks = _opencv.SIFT_create(nfeatures=MOST, contrastThreshold=0.02).detectAndCompute(picture, None)
    if looks is None:
        return [], np.empty((0, 128), np.float32)
    for point in points:
        point.pt = ((point.pt[0] + 0.5) / scale - 0.5 + part.start, (point.pt[1] + 0.5) / scale - 0.5)
    return list(points), np.sqrt(looks / np.maximum(looks.sum(axis=1, keepdims=True), 1e-6)).astype(np.float32)


def _mutual(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> list[tuple[int, int]]:
    """Pairs that are each other's best, and clearly so."""
    matcher = cv2.BFMatcher(cv2.NORM_L2)

    def best(one: NDArray[np.float32], other: NDArray[np.float32]) -> dict[int, int]:
        return {two[0].queryIdx: two[0].trainIdx for two in matcher.knnMatch(one, other, k=2)
                if len(two) == 2 and two[0].distance < RATIO * two[1].distance}

    there, back = best(ours, theirs), best(theirs, ours)
    return sorted({(one, two) for one, two in there.items() if back.get(two) == one})
