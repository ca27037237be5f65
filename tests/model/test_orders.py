"""Orders of events that chance seldom brings, played on purpose with the same recorder and the same looks at it."""

from collections.abc import Iterator

import pytest

from ezrec.domain import planning
from ezrec.domain.clock import SECOND
from ezrec.domain.stages import Stage
from ezrec.pipeline import LIVE_US
from ezrec.tasks.film.plan import MOST_AGAIN
from tests.fakes.model.faults import Fault
from tests.fakes.model.recorder import CHUNK_S
from tests.model.play import Play, step_to

LONG_AGO_S = LIVE_US / SECOND + 60
MATCH_S = 10
BACKLOG, OLD_MATCH_S = 2, 40
MOST_BEHIND = 1  # chunks of old films in a row while the live one waits


@pytest.fixture
def play() -> Iterator[Play]:
    one = Play()
    try:
        one.begin()
        yield one
    finally:
        one.leave()


def recorded(play: Play, seconds: float = MATCH_S) -> str:
    """A film whose window is just over."""
    name = play.book(1, seconds)
    play.let_pass(1 + seconds)
    return name


def published(play: Play, name: str) -> None:
    """See that all ends well, and that no step of the film was parked."""
    play.all_goes_well()
    assert play.film(name)["url"]
    assert not play.watch.rows("SELECT 1 FROM event WHERE kind = 'parked'")


@pytest.mark.parametrize("times", [1, 2, 5])
def test_a_closed_film_is_not_joined_again_because_its_step_cannot_be_stored(play: Play, times: int) -> None:
    play.fail(Fault("store", "locked", times, about=step_to(Stage.RENDERED)))
    name = recorded(play)
    play.let_pass(60)
    assert play.recorder.faults.struck == {("store", "locked")}
    published(play, name)
    assert len(play.recorder.closed[play.film(name)["recording_id"]]) == 1


def test_a_film_that_is_called_off_keeps_no_file_open_and_nothing_in_memory(play: Play) -> None:
    name = play.book(1, MATCH_S)
    play.let_pass(6)
    assert len(play.recorder.joiners) == 1
    play.say(name, "cancelled")
    play.let_pass(4)
    assert play.film(name)["stage"] == Stage.CANCELLED
    play.watch.nothing_grows()


def test_a_film_that_is_parked_keeps_no_file_open_and_nothing_in_memory(play: Play) -> None:
    play.fail(Fault("worker", "bad media", 1000, skip=3))
    name = recorded(play)
    play.let_pass(4)
    assert play.film(name)["parked_step"] == "film"
    play.watch.nothing_grows()


@pytest.mark.parametrize("linked", [True, False])
@pytest.mark.parametrize("kill", [True, False])
def test_parts_of_a_film_that_was_made_anew_with_other_bytes_are_stored_again(linked: bool, kill: bool) -> None:
    play = Play()
    try:
        play.begin(linked)
        name = play.book(1, MATCH_S)
        play.let_pass(7)
        assert play.watch.rows("SELECT 1 FROM part WHERE film = ?", name)
        play.watch.damage("chunk", "changed", 0)  # joined anew it is damaged, and rendered with other bytes
        if kill:
            play.kill()
        else:
            play.fail(Fault("join", "no memory", lost=True))
        play.let_pass(8)
        published(play, name)
        assert max(play.recorder.workers.looks.values()) == 1  # one chunk was rendered twice
    finally:
        play.leave()


def test_a_film_that_waits_for_a_person_is_parked_once_whatever_else_happens(play: Play) -> None:
    play.fail(Fault("worker", "bad media", 1000))
    name = play.book(1, 30)
    play.let_pass(40)
    play.watch.look()
    parked = play.watch.rows("SELECT 1 FROM event WHERE kind = 'parked' AND booking_id = ?", name)
    assert len(parked) == 1
    play.all_goes_well()


def test_a_film_that_is_refused_again_and_again_is_parked_once(play: Play) -> None:
    play.fail(Fault("storage", "refused", 1000))
    name = recorded(play)
    for _ in range(40):
        play.recorder.let_pass(600)
        play.recorder.run()
        play.watch.look()
    assert len(play.watch.rows("SELECT 1 FROM event WHERE kind = 'parked' AND booking_id = ?", name)) == 1
    assert len(play.watch.rows("SELECT 1 FROM outbox WHERE body LIKE '%failed%' AND booking_id = ?", name)) == 1
    play.all_goes_well()


def backlog(play: Play) -> list[str]:
    """Films that were recorded long ago and are not made yet, as after a night without workers."""
    play.fail(Fault("worker", "retry", 1000))
    names = [play.book(1, OLD_MATCH_S + number) for number in range(BACKLOG)]
    play.let_pass(OLD_MATCH_S + 5)
    play.heal()
    play.kill(LONG_AGO_S)
    return names


def test_a_match_that_is_played_goes_before_a_backlog(play: Play) -> None:
    names = backlog(play)
    live = play.book(1, MATCH_S)
    play.recorder.workers.takes_s = 1.0
    play.watch.most_behind = MOST_BEHIND
    play.let_pass(1 + MATCH_S + 5)
    play.watch.look()
    assert play.film(live)["stage"] in (Stage.PUBLISHED, Stage.CLEANED)
    assert Stage.RECORDED in {play.film(name)["stage"] for name in names}
    play.all_goes_well()


def test_a_match_that_was_played_just_now_goes_before_a_backlog(play: Play) -> None:
    names = backlog(play)
    play.fail(Fault("worker", "retry", 1000))
    live = play.book(1, MATCH_S)
    play.let_pass(1 + MATCH_S)
    play.heal()
    play.recorder.workers.takes_s = 1.0
    play.kill()
    play.let_pass(MATCH_S / CHUNK_S + 5)
    assert play.film(live)["stage"] in (Stage.PUBLISHED, Stage.CLEANED)
    assert Stage.RECORDED in {play.film(name)["stage"] for name in names}
    play.all_goes_well()


@pytest.mark.parametrize("silent_s", [0.1, 0.2])
def test_cameras_that_take_turns_within_a_tick_do_not_begin_a_film_again(play: Play, silent_s: float) -> None:
    name = play.book(1.3, 30)  # so ticks are not where frames are
    play.let_pass(6)
    play.recorder.dark.add("right")
    play.let_pass(3.1, at_once=0.1)
    play.recorder.dark.add("left")
    play.let_pass(silent_s, at_once=0.1)
    play.recorder.dark.remove("right")
    play.let_pass(6)
    play.kill(1)
    play.recorder.dark.clear()
    play.let_pass(6)
    play.move(name, 0, 1)  # so that it is looked whether all that was planned still holds
    play.let_pass(30)
    published(play, name)
    assert play.film(name)["generation"] == 1, play.log("film begun again")


def test_a_film_whose_plan_never_holds_is_parked_after_a_number_of_generations(play: Play) -> None:
    play.patches.setattr(planning, "broken", lambda *_: "a plan that never holds")
    play.watch.most_generations = MOST_AGAIN + 1
    play.watch.reasons += (f"it was begun again {MOST_AGAIN} times",)
    name = recorded(play)
    for _ in range(2 * MOST_AGAIN):
        play.let_pass(2)
        play.watch.look()
    assert play.film(name)["parked_step"] == "film"
    play.patches.undo()
