"""What bookings mean for films: the table of decisions, and that carrying them out leaves nothing to do."""

from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ezrec.domain.booking import Booking
from ezrec.domain.clock import SECOND
from ezrec.domain.film import Film
from ezrec.domain.schedule import (
    FORGIVEN_US,
    Action,
    Add,
    Cancel,
    Move,
    Recover,
    Refuse,
    Revive,
    Withdraw,
    reconcile,
    recording_id,
)
from ezrec.domain.stages import CHANGEABLE, Stage, step

NOW = 1_800_000_000 * SECOND
MINUTE = 60 * SECOND
OFF = ("cancelled",)
BEFORE, DURING, AFTER = (MINUTE, 3 * MINUTE), (-MINUTE, MINUTE), (-3 * MINUTE, -MINUTE)


def booking(times: tuple[int, int] = DURING, status: str = "scheduled", booking_id: str = "b") -> Booking:
    return Booking(booking_id, "cli", NOW + times[0], NOW + times[1], status)


def film(stage: Stage, times: tuple[int, int] = DURING, booking_id: str = "b") -> Film:
    return Film(booking_id, f"r-{booking_id}", 1, stage, NOW + times[0], NOW + times[1], None, None, None, None, None,
                None, 0, None, None, None, None, NOW)


def decide(bookings: list[Booking], films: list[Film], roll: int = 0) -> list[Action]:
    return reconcile({one.id: one for one in bookings}, films, NOW, called_off=OFF,
                     window=lambda one: (one.starts_at - roll, one.ends_at + roll))


@pytest.mark.parametrize("times", [BEFORE, DURING])
def test_a_new_booking_gets_a_film(times: tuple[int, int]) -> None:
    assert decide([booking(times)], []) == [Add("b", NOW + times[0], NOW + times[1], late=False)]


def test_a_booking_heard_of_after_its_end_is_added_as_late() -> None:
    assert decide([booking(AFTER)], []) == [Add("b", NOW + AFTER[0], NOW + AFTER[1], late=True)]


def test_a_booking_of_long_ago_is_history() -> None:
    assert decide([booking((-FORGIVEN_US - MINUTE, -FORGIVEN_US))], []) == []


def test_a_window_that_ends_just_now_is_over() -> None:
    just_now = (-MINUTE, 0)
    assert decide([booking(just_now)], []) == [Add("b", NOW - MINUTE, NOW, late=True)]
    assert decide([booking(just_now)], [film(Stage.CANCELLED, just_now)]) == []
    assert decide([booking((-MINUTE, 1))], [film(Stage.CANCELLED, (-MINUTE, 1))]) == [Revive("b")]


def test_a_row_that_disappears_as_its_window_opens_takes_no_film_along() -> None:
    assert decide([], [film(Stage.BOOKED, (0, MINUTE))]) == []
    assert decide([], [film(Stage.BOOKED, (1, MINUTE))]) == [Withdraw("b")]


def test_a_booking_that_is_called_off_from_the_first_gets_no_film() -> None:
    assert decide([booking(status="cancelled")], []) == []


def test_a_window_has_its_rolls() -> None:
    assert decide([booking(BEFORE)], [], roll=7) == [Add("b", NOW + BEFORE[0] - 7, NOW + BEFORE[1] + 7, late=False)]
    assert decide([booking(BEFORE)], [film(Stage.BOOKED, (BEFORE[0] - 7, BEFORE[1] + 7))], roll=7) == []


@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize("times", [BEFORE, DURING, AFTER])
def test_a_booking_that_did_not_change_changes_nothing(stage: Stage, times: tuple[int, int]) -> None:
    revived = [Revive("b")] if stage in (Stage.CANCELLED, Stage.MISSED) and times != AFTER else []
    assert decide([booking(times)], [film(stage, times)]) == revived


@pytest.mark.parametrize("stage", Stage)
def test_a_booking_that_moved_moves_its_film_only_while_that_may_change(stage: Stage) -> None:
    moved = (NOW + DURING[0], NOW + DURING[1] + MINUTE)
    expected: dict[Stage, list[Action]] = {
        Stage.BOOKED: [Move("b", *moved)], Stage.RECORDING: [Move("b", *moved)],
        Stage.CANCELLED: [Revive("b"), Move("b", *moved)], Stage.MISSED: [Revive("b"), Move("b", *moved)]}
    refused: list[Action] = [Refuse("b", *moved, cancelled=False)]
    assert decide([booking((DURING[0], DURING[1] + MINUTE))], [film(stage)]) == expected.get(stage, refused)


@pytest.mark.parametrize("stage", Stage)
def test_a_booking_that_is_called_off_stops_its_film_only_while_that_may_change(stage: Stage) -> None:
    nothing: list[Action] = []
    expected: dict[Stage, list[Action]] = {
        Stage.BOOKED: [Cancel("b")], Stage.RECORDING: [Cancel("b")], Stage.CANCELLED: nothing, Stage.MISSED: nothing,
        Stage.CLEANED: nothing}  # what is published and gone cannot be called off, and nobody is told again
    refused: list[Action] = [Refuse("b", NOW + DURING[0], NOW + DURING[1], cancelled=True)]
    assert decide([booking(status="cancelled")], [film(stage)]) == expected.get(stage, refused)


@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize("times", [BEFORE, DURING, AFTER])
def test_a_row_that_disappears_takes_its_film_only_before_anything_can_be_recorded(stage: Stage,
                                                                                   times: tuple[int, int]) -> None:
    gone = [Withdraw("b")] if stage is Stage.BOOKED and times == BEFORE else []
    assert decide([], [film(stage, times)]) == gone


def carry_out(actions: list[Action], films: dict[str, Film]) -> None:
    for action in actions:
        match action:
            case Add(booking_id, starts_at, ends_at):
                films[booking_id] = replace(film(Stage.BOOKED, booking_id=booking_id), starts_at=starts_at,
                                            ends_at=ends_at)
            case Move(booking_id, starts_at, ends_at):
                assert films[booking_id].stage in CHANGEABLE
                films[booking_id] = replace(films[booking_id], starts_at=starts_at, ends_at=ends_at)
            case Cancel(booking_id):
                films[booking_id] = replace(films[booking_id], stage=step(films[booking_id].stage, Stage.CANCELLED))
            case Revive(booking_id):
                films[booking_id] = replace(films[booking_id], stage=step(films[booking_id].stage, Stage.BOOKED))
            case Withdraw(booking_id):
                del films[booking_id]
            case Refuse():
                pass


ids = st.sampled_from("abc")
times = st.sampled_from([BEFORE, DURING, AFTER, (-FORGIVEN_US, -FORGIVEN_US + 1), (MINUTE, 2 * MINUTE)])
bookings = st.dictionaries(ids, st.tuples(times, st.sampled_from(["scheduled", "cancelled"]))).map(
    lambda some: [booking(when, status, booking_id) for booking_id, (when, status) in some.items()])
films = st.dictionaries(ids, st.tuples(st.sampled_from(Stage), times)).map(
    lambda some: [film(stage, when, booking_id) for booking_id, (stage, when) in some.items()])


@given(bookings, films)
def test_carrying_the_actions_out_leaves_nothing_to_do_but_what_was_refused(rows: list[Booking],
                                                                            made: list[Film]) -> None:
    known = {one.booking_id: one for one in made}
    first = decide(rows, list(known.values()))
    carry_out(first, known)
    assert decide(rows, list(known.values())) == [action for action in first if isinstance(action, Refuse)]


@given(bookings, films)
def test_a_booking_never_gets_a_second_film(rows: list[Booking], made: list[Film]) -> None:
    have = {one.booking_id for one in made}
    assert not {action.booking_id for action in decide(rows, made) if isinstance(action, Add)} & have


def test_a_film_is_named_for_its_local_start_and_never_like_another() -> None:
    names = {recording_id(NOW, ZoneInfo("Europe/Berlin")) for _ in range(50)}
    assert len(names) == 50
    assert {name[:14] for name in names} == {"20270115-0900-"}


def test_what_was_over_when_the_store_was_lost_is_only_asked_for_where_there_may_be_footage() -> None:
    def lost(one: Booking, *, found: bool, at: int = 0) -> list[Action]:
        return reconcile({one.id: one}, [], NOW, called_off=OFF, window=lambda it: (it.starts_at, it.ends_at),
                         recovered_at=NOW + at, has_found=lambda *_: found)

    over = booking(AFTER)
    assert lost(over, found=False) == []
    assert lost(over, found=True) == [Recover("b", over.starts_at, over.ends_at)]
    long_ago = booking((-9 * FORGIVEN_US, -8 * FORGIVEN_US))
    assert lost(long_ago, found=True) == [Recover("b", long_ago.starts_at, long_ago.ends_at)]
    assert lost(booking(AFTER, "cancelled"), found=True) == []
    assert lost(over, found=True, at=-10 * MINUTE) == [Add("b", over.starts_at, over.ends_at, late=True)]
    now = booking(DURING)
    assert lost(now, found=True) == [Add("b", now.starts_at, now.ends_at, late=False)]
