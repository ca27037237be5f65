"""Which frame of a camera a tick shows."""

from collections.abc import Sequence

import numpy as np

HYSTERESIS_US = 2000
"""A free-running camera keeps its rhythm unless another frame is nearer by more than this."""


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
