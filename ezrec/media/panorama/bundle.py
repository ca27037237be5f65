"""Two lenses and the turn between them, fitted to common points.

What the points say little of (the focal length, with a narrow overlap) is held by weak priors; what does not fit at all
(a player, the part of a stand that only one camera can see) counts little, by Cauchy's loss.
"""

from typing import NamedTuple

import numpy as np

from ezrec.media import opencv as cv2
from ezrec.media.panorama.lens import Array, Bend, directions, seen_at, slope_at_corner

STARTS = (0.45, 0.7, 1.1)  # focal lengths in picture widths: 96, 71 and 49 degrees across
SPREAD = np.array([0.5, 0.02, 0.12, 0.01, 0.04, 0.01, 0.01, 0.01, 0.01])
"""Of the logarithm of the focal length, of its ratio, of k1, Δk1 and k2, and of both lenses' middles."""
USUAL = np.array([np.log(0.7), 0.0, -0.08, *[0.0] * 6])
HELD = len(SPREAD)  # parameters that have a prior; the turn's three have none
SOFT = 0.0006  # picture widths: distances beyond it count less and less
WEIGHT = 0.0003  # picture widths that one spread of a prior is worth
ROUNDS = 40


class Fit(NamedTuple):
    """Both lenses and the turn: what the left camera sees along X, the right one sees along `turn`·X."""

    left: Bend
    right: Bend
    turn: Array
    error: float  # picture widths, median


def fit(left: Array, right: Array, shapes: tuple[float, float], homography: Array | None = None,
        start: Fit | None = None) -> Fit:
    """The best fit to common points (n, 2), in picture widths; from `start`, or from several focal lengths and the
    `homography` (in widths) of the points. `shapes` are the heights in widths.
    """
    if start is not None:
        begin = [_params(start)]
    else:
        begin = [np.array([np.log(focal), *USUAL[1:], *_turn(homography, focal)]) for focal in STARTS]
    found = min((_solve(one, left, right, shapes) for one in begin), key=lambda pair: pair[1])[0]
    one, other, turn = _unpacked(found)
    away = _distances(found, left, right)
    return Fit(one, other, turn, float(np.median(np.hypot(away[:, 0], away[:, 1]))))


def _turn(homography: Array | None, focal: float) -> Array:
    """The rotation nearest to a homography between pictures of this focal length, as a vector."""
    if homography is None:
        return np.zeros(3)
    camera = np.diag([focal, focal, 1.0])
    u, _, v = np.linalg.svd(np.linalg.inv(camera) @ homography @ camera)
    turn = u @ v
    return np.asarray(cv2.Rodrigues(turn * np.sign(np.linalg.det(turn)))[0].ravel(), np.float64)


def _params(found: Fit) -> Array:
    vector = np.asarray(cv2.Rodrigues(found.turn)[0].ravel(), np.float64)
    one, two = found.left, found.right
    return np.array([np.log(one.focal), np.log(two.focal / one.focal), one.k1, two.k1 - one.k1, one.k2,
                     one.x, one.y, two.x, two.y, *vector])


def _unpacked(params: Array) -> tuple[Bend, Bend, Array]:
    focal, ratio, k1, more, k2, *middles = (float(value) for value in params[:HELD])
    turn = np.asarray(cv2.Rodrigues(params[HELD:])[0], np.float64)
    return (Bend(float(np.exp(focal)), k1, k2, *middles[:2]),
            Bend(float(np.exp(focal + ratio)), k1 + more, k2, *middles[2:]), turn)


def _distances(params: Array, left: Array, right: Array) -> Array:
    """How far each point is from where the other camera's says, both ways (2n, 2)."""
    one, other, turn = _unpacked(params)
    there, _ = seen_at(directions(left, one) @ turn.T, other)
    back, _ = seen_at(directions(right, other) @ turn, one)
    return np.concatenate([there - right, back - left])


def _residuals(params: Array, left: Array, right: Array, shapes: tuple[float, float]) -> tuple[Array, Array]:
    """Distances as numbers, and how far the priors are from what is usual, in the same unit."""
    one, other, _ = _unpacked(params)
    folds = [max(0.0, 0.25 - slope_at_corner(bend, shape)) * 40
             for bend, shape in zip((one, other), shapes, strict=True)]
    priors = np.concatenate([(params[:HELD] - USUAL) / SPREAD, folds]) * WEIGHT * np.sqrt(len(left))
    return _distances(params, left, right), priors


def _cost(away: Array, priors: Array) -> float:
    square = np.sum(away * away, axis=1) / SOFT**2
    return float(np.sum(np.log1p(square)) + np.sum((priors / SOFT) ** 2))


def _solve(params: Array, left: Array, right: Array, shapes: tuple[float, float]) -> tuple[Array, float]:
    """Levenberg and Marquardt's method with Cauchy's weights."""
    damping = 1e-3
    away, priors = _residuals(params, left, right, shapes)
    cost = _cost(away, priors)
    for _ in range(ROUNDS):
        weights = np.sqrt(1 / (1 + np.sum(away * away, axis=1) / SOFT**2))
        slopes = np.empty((away.size + len(priors), len(params)))
        for number in range(len(params)):
            step = np.zeros(len(params))
            step[number] = 1e-6
            moved, held = _residuals(params + step, left, right, shapes)
            slopes[:, number] = np.concatenate([((moved - away) * weights[:, None]).ravel(), held - priors]) / 1e-6
        rest = np.concatenate([(away * weights[:, None]).ravel(), priors])
        square, towards = slopes.T @ slopes, slopes.T @ rest
        for _ in range(8):
            trial = params - np.linalg.solve(square + damping * np.diag(np.diag(square) + 1e-12), towards)
            moved, held = _residuals(trial, left, right, shapes)
            new = _cost(moved, held)
            if np.isfinite(new) and new < cost:
                break
            damping *= 6
        else:
            return params, cost
        gained, params, away, priors, cost = cost - new, trial, moved, held, new
        damping = max(damping / 8, 1e-9)
        if gained < 1e-7 * cost:
            break
    return params, cost
