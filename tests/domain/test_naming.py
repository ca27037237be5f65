"""Ids that are used again: which booking a row means, and that the same rows always mean the same bookings."""

from collections.abc import Collection, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ezrec.domain.booking import LONGEST_ID, Booking
from ezrec.domain.clock import SECOND
from ezrec.domain.errors import BadBooking
from ezrec.domain.film import Film
from ezrec.domain.naming import LONGEST_STORE_ID, Named, asked_for, named, shown_id, store_id
from ezrec.domain.stages import OPEN, Stage
from tests.domain.test_booking import read, row, us
from tests.domain.test_schedule import film as a_film

NOW = 1_800_000_000 * SECOND  # 2027-01-15T08:00:00Z
HOUR = 3600 * SECOND
WEEK = 7 * 24 * HOUR
LAST_WEEK, JUST_NOW, NOW_ON, SOON, NEXT_WEEK = (
    (at, at + HOUR) for at in (-WEEK, -HOUR, -HOUR // 2, 2 * HOUR, WEEK))
PAST_CHANGES = [stage for stage in Stage if stage not in OPEN]
Times = tuple[int, int]


def booking(times: Times, booking_id: str = "b", status: str = "scheduled", source: str = "file") -> Booking:
    return Booking(booking_id, source, NOW + times[0], NOW + times[1], status)


def film(stage: Stage, times: Times, booking_id: str = "b") -> Film:
    return replace(a_film(stage, (0, 0), booking_id), starts_at=NOW + times[0], ends_at=NOW + times[1])


def at(times: Times, booking_id: str = "b") -> str:
    return store_id(booking_id, NOW + times[0])


def name(rows: Sequence[Booking], bookings: Sequence[Booking] = (), films: Sequence[Film] = (), roll: int = 0,
         malformed: Collection[str] = ()) -> list[str]:
    found = named(rows, bookings, films, NOW, window=lambda one: (one.starts_at - roll, one.ends_at + roll),
                  malformed=malformed)
    assert sorted((shown_id(one.id), one.starts_at) for one in found) == sorted((one.id, one.starts_at) for one in rows)
    by_start = {(shown_id(one.id), one.starts_at): one.id for one in found}
    return [by_start[one.id, one.starts_at] for one in rows]


def test_a_store_id_is_the_plain_one_and_the_start_in_utc_and_no_id_itself() -> None:
    stored = store_id("monday-18", us("2026-11-23T18:00:00.999999+01:00"))
    assert (stored, shown_id(stored), shown_id("monday-18")) == (
        "monday-18@20261123T170000Z", "monday-18", "monday-18")
    assert len(store_id("x" * LONGEST_ID, NOW)) == LONGEST_STORE_ID
    with pytest.raises(BadBooking, match="an id may hold letters"):
        read(row(id=stored))


def test_the_first_booking_of_an_id_keeps_it_plain() -> None:
    assert name([booking(SOON), booking(SOON, "c")]) == ["b", "c"]


@pytest.mark.parametrize("stage", Stage)
def test_a_film_whose_window_is_over_leaves_its_id_to_another_booking(stage: Stage) -> None:
    for again in (NOW_ON, SOON, NEXT_WEEK):
        assert name([booking(again)], [booking(LAST_WEEK)], [film(stage, LAST_WEEK)]) == [at(again)]


@pytest.mark.parametrize("stage", [stage for stage in Stage if stage is not Stage.BOOKED])
def test_a_booking_that_is_being_recorded_is_not_moved_to_another_time(stage: Stage) -> None:
    """Next week's row while this week's match is played: who would lose the match?"""
    for other in (NEXT_WEEK, LAST_WEEK):
        assert name([booking(other)], [booking(NOW_ON)], [film(stage, NOW_ON)]) == [at(other)]


@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize("times", [(-HOUR, HOUR), (NOW_ON[0] - HOUR, NOW_ON[0] + 1), (NOW_ON[1] - 1, NEXT_WEEK[1])])
def test_a_row_that_overlaps_a_booking_is_that_booking_moved_or_refused(stage: Stage, times: Times) -> None:
    assert name([booking(times)], [booking(NOW_ON)], [film(stage, NOW_ON)]) == ["b"]
    stored = at(NOW_ON)
    assert name([booking(times)], [booking(NOW_ON, stored)], [film(stage, NOW_ON, stored)]) == [stored]


def test_a_row_is_the_booking_that_it_overlaps_most() -> None:
    known = [booking(NOW_ON), booking(SOON, at(SOON))]
    for times, stored in (((NOW_ON[1] - 1, SOON[0] + 2), at(SOON)), ((NOW_ON[1] - 2, SOON[0] + 1), "b")):
        assert name([booking(times)], known) == [stored]


@pytest.mark.parametrize("stage", [Stage.BOOKED, Stage.CANCELLED, Stage.MISSED])
def test_a_booking_that_has_not_begun_may_be_moved_anywhere(stage: Stage) -> None:
    for to in (NOW_ON, NEXT_WEEK, LAST_WEEK):
        assert name([booking(to)], [booking(SOON)], [film(stage, SOON)]) == ["b"]
        assert name([booking(to)], [booking(SOON)]) == ["b"]  # its film has not been made yet


def test_a_window_has_begun_with_its_roll() -> None:
    booked, made = [booking(SOON)], [film(Stage.BOOKED, SOON)]
    assert name([booking(NEXT_WEEK)], booked, made, roll=2 * HOUR - 1) == ["b"]
    assert name([booking(NEXT_WEEK)], booked, made, roll=2 * HOUR) == [at(NEXT_WEEK)]


def test_windows_that_only_touch_or_only_share_a_roll_are_two_bookings() -> None:
    after = (NOW_ON[1], NOW_ON[1] + HOUR)
    with_roll = film(Stage.RECORDING, (NOW_ON[0] - SECOND, NOW_ON[1] + SECOND))
    assert name([booking(after)], [booking(NOW_ON)], [with_roll], roll=SECOND) == [at(after)]


def test_the_same_id_in_the_morning_and_in_the_evening_is_two_bookings() -> None:
    morning, evening = booking(JUST_NOW), booking(SOON)
    for rows in ([morning, evening], [evening, morning]):
        assert sorted(name(rows)) == ["b", at(SOON)]
        known = [morning, replace(evening, id=at(SOON))]
        assert name(rows, known, [film(Stage.CLEANED, JUST_NOW)]) == [
            "b" if one is morning else at(SOON) for one in rows]


def test_each_row_of_a_season_means_its_own_booking_when_one_is_moved() -> None:
    weeks = [(WEEK * n, WEEK * n + HOUR) for n in range(1, 5)]
    rows = [booking(week) for week in weeks]
    ids = name(rows)
    assert ids == ["b", *map(at, weeks[1:])]
    known = [replace(one, id=stored) for one, stored in zip(rows, ids, strict=True)]
    made = [film(Stage.BOOKED, week, stored) for week, stored in zip(weeks, ids, strict=True)]
    rows[2] = booking((weeks[2][0] + 5 * HOUR, weeks[2][1] + 5 * HOUR))
    assert name(rows, known, made) == ids
    rows[2] = replace(booking(weeks[2]), status="cancelled")
    assert name(rows, known, made) == ids
    assert name(rows[1:], known, made) == ids[1:]  # a row that goes moves no other one


def test_all_bookings_of_an_id_may_be_moved_at_once_and_keep_their_order() -> None:
    known = [booking(NEXT_WEEK), booking(SOON, at(SOON))]
    moved = [booking((start + 3 * HOUR, end + 3 * HOUR)) for start, end in (SOON, NEXT_WEEK)]
    assert name(moved, known) == [at(SOON), "b"]


def test_where_nobody_knows_which_was_moved_none_is() -> None:
    later = (2 * WEEK, 2 * WEEK + HOUR)
    known = [booking(SOON), booking(NEXT_WEEK, at(NEXT_WEEK))]
    assert name([booking(later)], known) == [at(later)]
    assert name([booking(NEXT_WEEK), booking(later)], known, malformed=["b"]) == [at(NEXT_WEEK), at(later)]
    assert name([booking(NEXT_WEEK), booking(later)], known, malformed=["c"]) == [at(NEXT_WEEK), "b"]


def test_a_change_that_was_refused_does_not_widen_what_counts_as_recorded() -> None:
    wished = booking((JUST_NOW[0], SOON[1]))
    for stage in PAST_CHANGES:
        assert name([wished], [booking(JUST_NOW)], [film(stage, JUST_NOW)]) == ["b"]
        assert name([booking(SOON)], [wished], [film(stage, JUST_NOW)]) == [at(SOON)]


def test_a_store_in_which_a_new_week_was_refused_records_it_now() -> None:
    """As a version that knew of no second use left it: this week's times at last week's film."""
    for stage in PAST_CHANGES:
        assert name([booking(NEXT_WEEK)], [booking(NEXT_WEEK)], [film(stage, LAST_WEEK)]) == [at(NEXT_WEEK)]


def test_a_film_that_lost_its_booking_is_still_known() -> None:
    made = film(Stage.CLEANED, LAST_WEEK)
    assert name([booking(LAST_WEEK)], [], [made]) == ["b"]
    assert name([booking(NEXT_WEEK)], [], [made]) == [at(NEXT_WEEK)]


def test_an_id_of_another_source_is_left_to_it() -> None:
    foreign = booking(LAST_WEEK, source="cli")
    assert name([booking(NEXT_WEEK), booking(SOON)], [foreign], [film(Stage.CLEANED, LAST_WEEK)]) == ["b", "b"]
    assert name([booking(SOON)], [booking(SOON, at(SOON), source="cli")]) == ["b"]


def test_two_bookings_never_get_one_store_id() -> None:
    """One was moved away from the time that its store id tells, and another one comes there."""
    away = booking((SOON[1], SOON[1] + HOUR), at(SOON))
    assert name([booking(SOON), booking((SOON[1], SOON[1] + HOUR))], [booking(LAST_WEEK), away],
                [film(Stage.CLEANED, LAST_WEEK)]) == [store_id("b", NOW + SOON[0] + SECOND), at(SOON)]
    close = [(SECOND, SECOND + 1), (SECOND + 1, SECOND + 2), (SECOND + 2, SECOND + 3)]
    assert len(set(name([booking(times) for times in close]))) == 3


spots = st.lists(st.integers(-6, 6), max_size=5, unique=True).map(
    lambda hours: [booking((at * HOUR, at * HOUR + HOUR)) for at in hours])
stages = st.sampled_from([None, *Stage])


@given(spots, st.lists(st.tuples(st.integers(-6, 6), stages), max_size=5, unique_by=lambda one: one[0]))
def test_rows_that_are_read_again_mean_the_same_bookings(rows: list[Booking],
                                                         before: list[tuple[int, Stage | None]]) -> None:
    """Also after their films moved on, and however the rows are ordered; and no two mean the same one."""
    ids = ["b", *(at((hour * HOUR, 0)) for hour, _ in before[1:])]
    known = {stored: booking((hour * HOUR, hour * HOUR + HOUR), stored)
             for stored, (hour, _) in zip(ids, before, strict=False)}
    films = {stored: film(stage, (hour * HOUR, hour * HOUR + HOUR), stored)
             for stored, (hour, stage) in zip(ids, before, strict=False) if stage}
    first = name(rows, list(known.values()), list(films.values()))
    assert len(set(first)) == len(rows)
    for one, stored in zip(rows, first, strict=True):
        known[stored] = replace(one, id=stored)
    for then in (Stage.BOOKED, Stage.RECORDING, Stage.CLEANED):
        for one, stored in zip(rows, first, strict=True):
            if stored not in films or films[stored].stage in OPEN:
                films[stored] = film(then, (one.starts_at - NOW, one.ends_at - NOW), stored)
        for order in (rows, rows[::-1]):
            again = dict(zip(order, name(order, list(known.values()), list(films.values())), strict=True))
            assert [again[one] for one in rows] == first


# ---- what a person means


def test_a_plain_id_means_all_of_it_the_newest_first_and_a_full_one_only_one() -> None:
    old, new, other = (Named(stored, NOW + times[0], NOW + times[1]) for stored, times in (
        ("b", LAST_WEEK), (at(SOON), SOON), ("b.2", SOON)))
    there = [old, other, new]
    assert asked_for("b", there) == [new, old]
    assert asked_for(at(SOON), there) == [new]
    assert asked_for(old.full_id, there) == [old]
    assert (old.full_id, new.full_id) == (at(LAST_WEEK), at(SOON))
    assert asked_for(store_id("b", NOW + LAST_WEEK[0] + HOUR // 2), there) == [old]
    for nothing in ("c", "b@", "b@noon", at(NEXT_WEEK), "c" + at(SOON), "@", ""):
        assert asked_for(nothing, there) == []


def test_of_a_booking_that_was_moved_the_full_id_stays() -> None:
    moved = Named(at(SOON), NOW + NEXT_WEEK[0], NOW + NEXT_WEEK[1])
    stays = Named(store_id("b", NOW + SOON[0] + SECOND), NOW + SOON[0], NOW + SOON[1])
    assert asked_for(at(SOON), [moved, stays]) == [moved]
