"""Chunks: every tick that a camera saw, once and in order, never before it is known; old ones while they hold."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from ezrec.domain.clock import SECOND
from ezrec.domain.film import tick_us
from ezrec.domain.planning import (
    FOUND,
    GONE,
    MOVED,
    Chunk,
    Stretch,
    broken,
    complete,
    first_tick_at,
    plan,
    seen_ticks,
)
from ezrec.domain.timeline import HOLD_US, Interval, union

RATES = st.sampled_from([Fraction(30), Fraction(25), Fraction(30000, 1001), Fraction(15), Fraction(50)])
FOR_EVER = 1 << 62
MS = 1000


def holds(stretches: Sequence[Stretch], rate: Fraction, done: Sequence[Chunk]) -> bool:
    return broken(stretches, rate, done) is None


moments = st.integers(0, 20_000).map(lambda ms: ms * MS + 7)
coverages = st.lists(st.tuples(moments, moments), max_size=4).map(lambda some: union(some, HOLD_US))


@st.composite
def stretch_of(draw: st.DrawFn, run: int) -> Stretch:
    start = draw(moments)
    end = start + draw(st.integers(1, 15_000)) * MS
    return Stretch(run, draw(moments) - 10 * SECOND, start, end,
                   {"left": draw(coverages), "right": draw(coverages)}, FOR_EVER)


@st.composite
def films(draw: st.DrawFn) -> list[Stretch]:
    return [draw(stretch_of(run)) for run in sorted(draw(st.sets(st.integers(1, 9), min_size=1, max_size=3)))]


def ticks_of(chunks: Sequence[Chunk]) -> list[tuple[int, int]]:
    return [(chunk.run, tick) for chunk in chunks for tick in range(chunk.first_tick, chunk.first_tick + chunk.ticks)]


def seen_by_brute_force(stretches: Sequence[Stretch], rate: Fraction) -> list[tuple[int, int]]:
    found = []
    for stretch in stretches:
        pieces = [(max(a, stretch.start_us), min(b, stretch.end_us)) for seen in stretch.seen.values() for a, b in seen]
        first = first_tick_at(stretch.anchor_us, stretch.start_us, rate)
        last = first_tick_at(stretch.anchor_us, stretch.end_us, rate)
        found += [(stretch.run, tick) for tick in range(first, last)
                  if any(a <= tick_us(stretch.anchor_us, tick, rate) < b for a, b in pieces)]
    return found


def plan_stepwise(stretches: Sequence[Stretch], rate: Fraction, chunk_ticks: int, marks: Sequence[int]) -> list[Chunk]:
    """Plan as the watermarks of the stretches grow, run after run; at last everything is known."""
    done: list[Chunk] = []
    for index in range(len(stretches)):
        for mark in (*marks, FOR_EVER):
            known = [replace(one, known_to_us=mark if at == index else FOR_EVER)
                     for at, one in enumerate(stretches[:index + 1])]
            for chunk in plan(known, rate, chunk_ticks, done):
                stretch = next(one for one in known if one.run == chunk.run)
                end_us = min(tick_us(stretch.anchor_us, chunk.first_tick + chunk.ticks, rate), stretch.end_us)
                assert end_us + HOLD_US <= stretch.known_to_us
                done.append(chunk)
    return done


@given(st.integers(-(10**12), 10**12), st.integers(-(10**12), 10**12), RATES)
def test_the_first_tick_at_a_time_is_the_first_that_is_not_before_it(anchor: int, time: int, rate: Fraction) -> None:
    tick = first_tick_at(anchor, time, rate)
    assert tick_us(anchor, tick - 1, rate) < time <= tick_us(anchor, tick, rate)


@given(films(), RATES)
def test_the_seen_ticks_are_those_that_a_camera_saw_inside_the_window(stretches: list[Stretch], rate: Fraction) -> None:
    ranges = [(one.run, tick) for one in stretches for a, b in seen_ticks(one, rate) for tick in range(a, b)]
    assert ranges == seen_by_brute_force(stretches, rate)


@given(films(), RATES, st.integers(1, 120))
def test_every_seen_tick_is_planned_once_and_in_order(stretches: list[Stretch], rate: Fraction, size: int) -> None:
    chunks = list(plan(stretches, rate, size, ()))
    assert ticks_of(chunks) == seen_by_brute_force(stretches, rate)
    assert [chunk.number for chunk in chunks] == list(range(1, len(chunks) + 1))
    assert all(1 <= chunk.ticks <= size for chunk in chunks)


@given(films(), RATES, st.integers(1, 120), st.lists(moments, max_size=5).map(sorted))
def test_planning_step_by_step_gives_the_chunks_of_planning_at_once(stretches: list[Stretch], rate: Fraction, size: int,
                                                                    marks: list[int]) -> None:
    assert plan_stepwise(stretches, rate, size, marks) == list(plan(stretches, rate, size, ()))


@given(films(), RATES, st.integers(1, 120), moments)
def test_nothing_is_planned_before_it_is_known(stretches: list[Stretch], rate: Fraction, size: int, mark: int) -> None:
    known = [*stretches[:-1], replace(stretches[-1], known_to_us=mark)]
    chunks = list(plan(known, rate, size, ()))
    for chunk in chunks:
        if chunk.run == known[-1].run:
            end_us = tick_us(known[-1].anchor_us, chunk.first_tick + chunk.ticks, rate)
            assert min(end_us, known[-1].end_us) + HOLD_US <= mark
    assert chunks == list(plan(stretches, rate, size, ()))[:len(chunks)]


@given(stretch_of(1), RATES, st.integers(1, 120), moments, moments)
def test_footage_that_is_still_to_come_changes_no_chunk_that_is_planned(whole: Stretch, rate: Fraction, size: int,
                                                                        mark: int, later: int) -> None:
    """What lies behind the watermark is not known yet, and may be anything."""
    assume(mark <= later)

    def as_known_at(us: int) -> Stretch:
        seen = {camera: union((a, min(b, us)) for a, b in pieces) for camera, pieces in whole.seen.items()}
        return replace(whole, seen=seen, known_to_us=us)

    first = list(plan([as_known_at(mark)], rate, size, ()))
    assert holds([as_known_at(later)], rate, first)
    both = first + list(plan([as_known_at(later)], rate, size, first))
    assert both == first + [chunk for chunk in both if chunk not in first]
    everything = both + list(plan([whole], rate, size, both))
    assert ticks_of(everything) == seen_by_brute_force([whole], rate)


@given(films(), RATES, st.integers(1, 120), st.integers(0, 400))
def test_what_was_planned_holds(stretches: list[Stretch], rate: Fraction, size: int, some: int) -> None:
    assert holds(stretches, rate, list(plan(stretches, rate, size, ()))[:some])


@given(films(), RATES, st.integers(1, 120), st.data())
def test_what_was_planned_holds_no_longer_once_a_planned_tick_is_outside(stretches: list[Stretch], rate: Fraction,
                                                                         size: int, data: st.DataObject) -> None:
    chunks = list(plan(stretches, rate, size, ()))
    assume(chunks)
    run, tick = data.draw(st.sampled_from(ticks_of(chunks)))
    at = next(index for index, one in enumerate(stretches) if one.run == run)
    us = tick_us(stretches[at].anchor_us, tick, rate)
    assume(stretches[at].start_us <= us < stretches[at].end_us)
    for moved in (replace(stretches[at], end_us=us), replace(stretches[at], start_us=us + 1)):
        assert not holds([*stretches[:at], moved, *stretches[at + 1:]], rate, chunks)


@given(films(), RATES, st.integers(1, 60), st.integers(100, 5000))
def test_an_earlier_start_breaks_the_plan_only_if_a_camera_saw_something_there(stretches: list[Stretch], rate: Fraction,
                                                                               size: int, earlier_ms: int) -> None:
    chunks = list(plan(stretches, rate, size, ()))
    assume(chunks)
    moved = [replace(stretches[0], start_us=stretches[0].start_us - earlier_ms * MS), *stretches[1:]]
    same = seen_ticks(moved[0], rate) == seen_ticks(stretches[0], rate)
    assert holds(moved, rate, chunks) == same


@given(films(), RATES, st.integers(1, 60), st.integers(0, 8000))
def test_a_later_end_keeps_every_chunk_of_the_last_run(stretches: list[Stretch], rate: Fraction, size: int,
                                                       later_ms: int) -> None:
    chunks = list(plan(stretches, rate, size, ()))
    longer = [*stretches[:-1], replace(stretches[-1], end_us=stretches[-1].end_us + later_ms * MS)]
    assert holds(longer, rate, chunks)
    more = chunks + list(plan(longer, rate, size, chunks))
    assert ticks_of(more) == seen_by_brute_force(longer, rate)


@given(films(), RATES, st.integers(1, 60))
def test_a_film_whose_run_is_gone_does_not_hold(stretches: list[Stretch], rate: Fraction, size: int) -> None:
    chunks = list(plan(stretches, rate, size, ()))
    assume(any(chunk.run == stretches[0].run for chunk in chunks))
    assert not holds(stretches[1:], rate, chunks)


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)), min_size=1, max_size=3))
def test_a_film_is_complete_once_nothing_can_still_add_a_tick(pairs: list[Interval]) -> None:
    stretches = [Stretch(run, 0, 0, end, {}, end + HOLD_US + known - 50) for run, (end, known) in enumerate(pairs)]
    assert complete(stretches) == all(known >= 50 for _, known in pairs)


@given(stretch_of(1), RATES, st.integers(1, 200), st.integers(0, 100))
def test_a_film_that_is_complete_has_all_its_ticks_planned(stretch: Stretch, rate: Fraction, size: int,
                                                           late: int) -> None:
    known = [replace(stretch, known_to_us=stretch.end_us + HOLD_US + late * MS)]  # its last tick may end later
    assert complete(known)
    assert ticks_of(list(plan(known, rate, size, []))) == seen_by_brute_force(known, rate)


def test_why_a_plan_holds_no_longer_is_said_as_it_is() -> None:
    rate, seen = Fraction(30), ((0, 20 * SECOND),)
    whole = Stretch(1, 0, 5 * SECOND, 15 * SECOND, {"left": seen}, FOR_EVER)
    chunks = list(plan([whole], rate, 60, ()))

    def why(**changes: Any) -> str | None:
        return broken([replace(whole, **changes)], rate, chunks)

    assert why() is None
    assert why(start_us=6 * SECOND) == why(end_us=14 * SECOND) == why(start_us=4 * SECOND) == MOVED
    assert broken([], rate, chunks) == MOVED
    with_a_hole = {"left": ((0, 8 * SECOND), (12 * SECOND, 20 * SECOND))}
    assert why(seen=with_a_hole) == GONE
    assert broken([whole], rate, list(plan([replace(whole, seen=with_a_hole)], rate, 60, ()))) == FOUND


def test_two_cameras_that_meet_between_two_ticks_leave_the_plan_of_an_earlier_run_whole() -> None:
    met = Stretch(1, 0, 0, 2 * SECOND, {"left": ((0, SECOND + 1000),), "right": ((SECOND + 9000, 2 * SECOND),)},
                  FOR_EVER)
    later = Stretch(2, 0, 0, SECOND, {"left": ((0, SECOND),)}, FOR_EVER)
    assert holds([met, later], Fraction(30), list(plan([met, later], Fraction(30), 600, ())))


def test_a_plan_holds_no_longer_once_nothing_of_its_last_run_is_seen_any_more() -> None:
    blind = Stretch(1, 0, 0, 10 * SECOND, {"left": ()}, FOR_EVER)
    assert not holds([blind], Fraction(30), [Chunk(1, 1, 0, 30)])
