"""Intervals against a brute-force model of sets of µs, and windows laid onto a run under a clock that steps."""

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ezrec.domain.clock import SECOND
from ezrec.domain.film import Footage
from ezrec.domain.timeline import (
    HOLD_US,
    LONGEST_CORRECTION_US,
    Interval,
    Segment,
    begin_span,
    clip,
    common,
    coverage,
    lay,
    length,
    union,
    without,
)

HOUR = 3600 * SECOND
intervals = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=6)


def points(some: Iterable[Interval]) -> set[int]:
    return {point for start, end in some for point in range(start, end)}


def tidy(some: tuple[Interval, ...]) -> bool:
    """Sorted, not empty, and not even touching."""
    return all(start < end for start, end in some) and all(
        one[1] < other[0] for one, other in pairwise(some))


@given(intervals)
def test_a_union_holds_the_same_points_tidily(some: list[Interval]) -> None:
    assert points(union(some)) == points(some)
    assert tidy(union(some))


@given(intervals, st.integers(0, 12))
def test_a_union_closes_just_the_holes_that_are_shorter_than_the_bridge(some: list[Interval], bridge: int) -> None:
    plain = union(some)
    holes = [(one[1], other[0]) for one, other in pairwise(plain)]
    short = [hole for hole in holes if hole[1] - hole[0] < bridge]
    assert points(union(some, bridge)) == points(plain) | points(short)


@given(intervals, intervals, st.integers(0, 12))
def test_a_bridged_union_may_be_extended_as_well_as_made_at_once(one: list[Interval], other: list[Interval],
                                                                 bridge: int) -> None:
    assert union((*union(one, bridge), *union(other, bridge)), bridge) == union(one + other, bridge)


@given(intervals, intervals)
def test_what_is_without_holes_holds_the_other_points_tidily(whole: list[Interval], holes: list[Interval]) -> None:
    left = without(whole, holes)
    assert points(left) == points(whole) - points(holes)
    assert tidy(left)


@given(intervals, intervals)
def test_what_is_common_holds_the_points_of_both_tidily(one: list[Interval], other: list[Interval]) -> None:
    assert points(common(one, other)) == points(one) & points(other)
    assert tidy(common(one, other))


@given(intervals, st.integers(0, 30), st.integers(0, 30))
def test_a_clip_holds_the_points_inside(some: list[Interval], start: int, end: int) -> None:
    assert points(clip(some, start, end)) == points(some) & set(range(start, end))


@given(intervals)
def test_a_length_counts_every_point_once(some: list[Interval]) -> None:
    assert length(some) == len(points(some))


def test_a_camera_covers_its_segments_without_their_gaps_and_holes_under_half_a_second_are_bridged() -> None:
    footage = [Footage("a", 0, 4 * SECOND, ((SECOND, 2 * SECOND),)), Footage("b", 4 * SECOND + HOLD_US - 1, 6 * SECOND),
               Footage("c", 6 * SECOND + HOLD_US, 7 * SECOND)]
    assert coverage(footage) == ((0, SECOND), (2 * SECOND, 6 * SECOND), (6 * SECOND + HOLD_US, 7 * SECOND))


def test_a_segment_is_used_with_its_path_below_the_data_folder() -> None:
    segment = Segment("left", 3, 10, 20, 5, 0, 100, "segments/3/left/10.ts", ((12, 14),))
    assert segment.footage("/data") == Footage("/data/segments/3/left/10.ts", 10, 20, ((12, 14),))


windows = st.tuples(st.integers(0, 10**15), st.integers(1, 6 * HOUR)).map(lambda pair: (pair[0], pair[0] + pair[1]))
offsets = st.integers(-(10**15), 10**15)
steps = st.one_of(st.integers(-2 * HOUR, 2 * HOUR), st.sampled_from([-SECOND, SECOND, -HOUR, HOUR]), offsets)


@given(windows, offsets, steps)
def test_a_film_is_never_shorter_than_booked_and_never_absurdly_longer(window: Interval, begun: int, step: int) -> None:
    start, end = lay(*window, begun, begun + step)
    booked = window[1] - window[0]
    assert booked <= end - start <= booked + LONGEST_CORRECTION_US


@given(windows, offsets, steps)
def test_a_film_that_has_begun_keeps_its_start(window: Interval, begun: int, step: int) -> None:
    assert lay(*window, begun, begun + step)[0] == window[0] - begun


@given(windows, offsets, st.integers(0, LONGEST_CORRECTION_US))
def test_an_end_follows_a_clock_that_was_set_back(window: Interval, begun: int, back: int) -> None:
    assert lay(*window, begun, begun - back)[1] == window[1] - (begun - back)


@pytest.mark.parametrize("step", [1, SECOND, HOUR, 50 * 365 * 24 * HOUR, -LONGEST_CORRECTION_US - 1, -(10**15)])
def test_a_clock_that_jumps_ahead_or_absurdly_far_back_leaves_the_booked_end(step: int) -> None:
    assert lay(10**15, 10**15 + HOUR, 7, 7 + step) == (10**15 - 7, 10**15 + HOUR - 7)


@pytest.mark.parametrize(("back", "followed"), [(1, True), (6 * HOUR, True), (6 * HOUR + 1, False)])
def test_a_clock_that_is_set_back_is_believed_up_to_six_hours(back: int, followed: bool) -> None:
    end = lay(10**15, 10**15 + HOUR, 7, 7 - back)[1]
    assert end == 10**15 + HOUR - 7 + (back if followed else 0)


@given(windows, offsets, st.lists(st.tuples(st.integers(-HOUR, HOUR), st.integers(-HOUR, HOUR)), max_size=4))
def test_a_span_remembers_everything_it_ever_reached_and_keeps_its_grid(window: Interval, offset: int,
                                                                        moves: list[tuple[int, int]]) -> None:
    span = begin_span(4, *window, offset)
    anchor = span.anchor_us
    ever = [(span.start_us, span.end_us)]
    for start_by, end_by in moves:
        span = span.moved(span.start_us + start_by, span.end_us + end_by)
        ever.append((span.start_us, span.end_us))
    assert (span.anchor_us, span.start_offset_us, span.run) == (anchor, offset, 4)
    assert (span.start_us, span.end_us) == ever[-1]
    assert span.reach_from_us == min(start for start, _ in ever)
    assert span.reach_to_us == max(end for _, end in ever)
