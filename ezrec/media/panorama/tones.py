"""How two cameras' light and colours are brought together: half of the difference is taken from each."""

import numpy as np
from numpy.typing import NDArray

from ezrec.domain.calibration import Tone
from ezrec.media import opencv as cv2
from ezrec.media.panorama.lens import Array
from ezrec.pyav import Plane

BLOCK = 8  # pixels of luma whose mean is compared
FEWEST = 12  # blocks, below which nothing is said
MOST_GAIN = 1.8


def means(plane: Plane, block: int) -> Array:
    """The mean of each block of a plane, which is cut to whole blocks."""
    rows, columns = plane.shape[0] // block, plane.shape[1] // block
    cut = np.ascontiguousarray(plane[: rows * block, : columns * block])
    small = cv2.resize(cut.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float64)


def tones_of(left: tuple[Array, Array, Array], right: tuple[Array, Array, Array],
             use: NDArray[np.bool_]) -> tuple[Tone, Tone]:
    """What makes two views alike, from their blocks' means (luma, blue, red); `use` says which blocks both show."""
    use = use & (left[0] > 20) & (right[0] > 20) & (left[0] < 230) & (right[0] < 230)
    if use.sum() < FEWEST:
        return Tone(), Tone()
    ours, theirs = left[0][use], right[0][use]
    gain, offset = _line(theirs, ours)  # ours = gain · theirs + offset
    blue, red = (float(np.median(left[n][use] - right[n][use])) for n in (1, 2))
    return (Tone((1 + 1 / gain) / 2, -offset / (2 * gain), -blue / 2, -red / 2),
            Tone((1 + gain) / 2, offset / 2, blue / 2, red / 2))


def _line(x: Array, y: Array) -> tuple[float, float]:
    """A robust line through (x, y); its slope is held near that through (16, 16) where the light hardly varies."""
    ratio = float(np.median((y - 16) / np.maximum(x - 16, 4)))
    weights = np.ones_like(x)
    gain, offset = ratio, 16 * (1 - ratio)
    for _ in range(10):
        total = weights.sum()
        mx, my = (weights * x).sum() / total, (weights * y).sum() / total
        hold = 40.0 * total
        gain = float(((weights * (x - mx) * (y - my)).sum() + hold * ratio)
                     / ((weights * (x - mx) ** 2).sum() + hold))
        gain = min(max(gain, 1 / MOST_GAIN), MOST_GAIN)
        offset = float(my - gain * mx)
        rest = np.abs(y - gain * x - offset)
        weights = 1 / (1 + (rest / (2 * np.median(rest) + 0.5)) ** 2)
    return gain, offset


def toned(plane: Plane, gain: float, offset: float, out: Plane | None = None) -> Plane:
    """Value · gain + offset, rounded and cut to 8 bits."""
    if abs(gain - 1) < 1e-4 and abs(offset) < 1e-2:
        return plane
    return np.asarray(cv2.convertScaleAbs(plane, dst=out, alpha=gain, beta=offset), np.uint8)
