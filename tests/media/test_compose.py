"""Picking frames, laying out the canvas, and where each sample of the film comes from."""

from statistics import median
from typing import Any

import numpy as np
import pytest
from av.video.frame import VideoFrame
from hypothesis import given
from hypothesis import strategies as st

from ezrec.domain.film import Canvas, View
from ezrec.media.compose import BANDS, HYSTERESIS_US, Composer, fit, layout, pick, planes_of


def flat(width: int, height: int, luma: int, blue: int = 128, form: str = "yuv420p") -> VideoFrame:
    frame = VideoFrame(width, height, form)
    for plane, value in zip(planes_of(frame), (luma, blue, 128), strict=True):
        plane[:] = value
    return frame


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


@pytest.mark.parametrize(
    ("sizes", "turns", "kind", "overlap", "expected"),
    [
        ({"left": (1154, 1792), "right": (1150, 1792)}, {}, "side_by_side", 0, (2304, 1792, [(0, 1154), (1154, 1150)])),
        ({"right": (1920, 1080), "left": (1920, 1080)}, {}, "feather", 0.1, (3648, 1080, [(0, 1920), (1728, 1920)])),
        ({"left": (1920, 1080), "right": (1280, 720)}, {}, "feather", 0.0, (2560, 720, [(0, 1280), (1280, 1280)])),
        ({"left": (64, 36), "right": (36, 64)}, {"right": 90}, "side_by_side", 0, (128, 36, [(0, 64), (64, 64)])),
        ({"left": (321, 181)}, {}, "feather", 0.2, (320, 180, [(0, 320)])),
    ],
)
def test_views_have_one_height_and_even_places(
    sizes: Any, turns: Any, kind: str, overlap: float, expected: Any
) -> None:
    canvas = layout(sizes, turns, kind, overlap)
    assert (canvas.width, canvas.height, [(view.x, view.width) for view in canvas.views]) == expected
    assert {view.height for view in canvas.views} == {canvas.height}


PAIR = Canvas(56, 16, (View("left", 0, 32, 16), View("right", 24, 32, 16)))


def test_the_feather_is_a_linear_ramp_in_the_strip_and_nothing_elsewhere() -> None:
    luma, blue, _ = planes_of(Composer(PAIR).compose({"left": flat(32, 16, 100, 80), "right": flat(32, 16, 200, 180)}))
    ramp = [round(100 + 100 * (n + 0.5) / 8) for n in range(8)]
    assert np.abs(luma[0, 24:32].astype(int) - ramp).max() <= 1
    assert set(luma[:, :24].ravel()) == {100}
    assert set(luma[:, 32:].ravel()) == {200}
    assert np.abs(blue[0, 12:16].astype(int) - [round(80 + 100 * (n + 0.5) / 4) for n in range(4)]).max() <= 1
    assert (luma == luma[0]).all()


def test_without_feather_the_edge_is_in_the_middle_of_the_strip() -> None:
    film = Composer(PAIR, feather=False).compose({"left": flat(32, 16, 100), "right": flat(32, 16, 200)})
    assert planes_of(film)[0][3].tolist() == [100] * 28 + [200] * 28


@pytest.mark.parametrize(
    ("camera", "own", "other"),
    [("left", slice(0, 32), slice(32, 56)), ("right", slice(24, 56), slice(0, 24))],
)
def test_a_camera_that_is_alone_keeps_the_strip_and_the_other_half_is_filled(
    camera: str, own: slice, other: slice
) -> None:
    composer = Composer(PAIR)
    composer.compose({"left": flat(32, 16, 200), "right": flat(32, 16, 200, 200)})
    luma, blue, _ = planes_of(composer.compose({camera: flat(32, 16, 100, 90)}))
    assert set(luma[:, own].ravel()) == {100}
    assert set(luma[:, other].ravel()) <= set(BANDS)
    assert set(blue[:, other.start // 2 : other.stop // 2].ravel()) == {128}


def test_no_sample_is_left_over_from_the_picture_before_when_both_are_gone() -> None:
    composer = Composer(PAIR)
    composer.compose({"left": flat(32, 16, 200), "right": flat(32, 16, 200)})
    assert set(planes_of(composer.compose({}))[0].ravel()) <= set(BANDS)


def test_the_bands_of_the_fill_are_diagonal_and_of_both_greys() -> None:
    luma = planes_of(Composer(Canvas(200, 100, (View("left", 0, 200, 100),))).compose({}))[0]
    assert set(luma.ravel()) == set(BANDS)
    assert (luma[1:, :-1] == luma[:-1, 1:]).all()


@pytest.mark.parametrize(("rotation", "corner"), [(0, (0, 0)), (90, (0, -1)), (180, (-1, -1)), (270, (-1, 0))])
def test_a_view_is_turned_clockwise(rotation: int, corner: tuple[int, int]) -> None:
    frame = flat(32, 16, 50)
    planes_of(frame)[0][0, 0] = 250
    wide, high = (16, 32) if rotation % 180 else (32, 16)
    luma = fit(frame, wide, high, rotation)[0]
    assert luma.shape == (high, wide)
    assert luma[corner] == 250


def test_a_view_of_another_size_is_scaled() -> None:
    frame = flat(64, 32, 50)
    planes_of(frame)[0][:, 32:] = 200
    luma, blue, _ = fit(frame, 32, 16)
    assert (luma.shape, blue.shape) == ((16, 32), (8, 16))
    assert (luma[8, 4], luma[8, 28]) == (50, 200)


@pytest.mark.parametrize("size", [(32, 16), (64, 32)])
def test_full_range_becomes_limited_range_whether_scaled_or_not(size: tuple[int, int]) -> None:
    luma, blue, _ = fit(flat(*size, luma=255, blue=255, form="yuvj420p"), 32, 16)
    assert abs(int(luma[8, 8]) - 235) <= 1
    assert abs(int(blue[4, 4]) - 240) <= 1


def test_limited_range_is_left_alone() -> None:
    frame = flat(32, 16, 235)
    assert np.shares_memory(fit(frame, 32, 16)[0], planes_of(frame)[0])
