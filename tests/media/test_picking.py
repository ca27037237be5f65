"""Which frame of each camera a tick shows."""

from statistics import median

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ezrec.media.picking import HYSTERESIS_US, pick


@st.composite
def cameras(draw: st.DrawFn) -> tuple[list[int], list[int], float]:
    """Sensor times of two free-running cameras with jitter and drops, and the second one's period in µs."""
    found = []
    for _ in range(2):
        period = 1e6 / draw(st.floats(24.5, 61))
        start = draw(st.integers(0, 50_000))
        jitter = draw(st.lists(st.integers(-900, 900), min_size=60, max_size=60))
        drops = draw(st.sets(st.integers(1, 58), max_size=4))
        found.append([start + round(n * period) + jitter[n] for n in range(60) if n not in drops])
    return found[0], found[1], float(median(np.diff(found[1])))


@given(cameras(), st.sampled_from([25, 30, 50]))
def test_halves_are_within_half_a_frame_and_two_ms_wherever_no_frame_was_dropped(
    pair: tuple[list[int], list[int], float], rate: int
) -> None:
    left, right, period = pair
    ticks = [round(n * 1e6 / rate) for n in range(rate)]
    shown = [left[index] for index in pick(left, ticks, 1e6 / 30)]
    for target, index in zip(shown, pick(right, shown, period), strict=True):
        around = [abs(time - target) for time in right]
        assert abs(right[index] - target) <= min(around) + HYSTERESIS_US
        if right[0] <= target <= right[-1]:
            after = next(n for n, time in enumerate(right) if time >= target)
            local = right[after] - right[max(after - 1, 0)]
            assert abs(right[index] - target) <= local / 2 + HYSTERESIS_US


@given(cameras())
def test_frames_never_go_backwards(pair: tuple[list[int], list[int], float]) -> None:
    left, right, period = pair
    chosen = pick(right, left, period)
    assert chosen == sorted(chosen)


def test_a_camera_half_a_frame_off_with_jitter_neither_repeats_nor_skips() -> None:
    targets = [n * 33_333 for n in range(90)]
    times = [n * 33_333 - 16_667 + (900 if n // 2 % 2 else -900) for n in range(92)]
    steps = set(np.diff(pick(times, targets, 33_333)).tolist())
    assert steps == {1}


def test_a_frame_that_came_a_little_early_is_not_taken_back() -> None:
    assert pick([0, 20_000, 40_000], [0, 9_500, 9_600], 20_000) == [0, 1, 1]


def test_a_slower_camera_repeats_once_per_lost_period() -> None:
    times = [round(n * 1e6 / 25) for n in range(50)]
    chosen = pick(times, [round(n * 1e6 / 30) for n in range(60)], 40_000)
    assert chosen.count(chosen[30]) in (1, 2)
    assert 60 - len(set(chosen)) == 10


def test_without_frames_there_is_nothing_to_pick() -> None:
    assert pick([], [1, 2], 33_333) == [-1, -1]
