"""The real recorder looks at everything by itself before the first match of a day, and only before that."""

from collections.abc import Iterator

import pytest

from tests.model.play import Play


@pytest.fixture
def play() -> Iterator[Play]:
    one = Play()
    try:
        one.begin()
        yield one
    finally:
        one.leave()


def test_the_recorder_makes_a_check_up_before_the_first_match_of_a_day_and_the_match_is_published(play: Play) -> None:
    name = play.book(600, 10)
    play.let_pass(40)
    (made,) = play.watch.rows("SELECT problems FROM checkup")
    assert made["problems"] == "[]"
    later = play.book(1100, 10)
    play.let_pass(1200)
    play.all_goes_well()
    assert [play.film(one)["stage"] for one in (name, later)] == ["cleaned", "cleaned"]
    assert len(play.watch.rows("SELECT 1 FROM checkup")) == 1


def test_none_is_made_when_a_match_is_near(play: Play) -> None:
    name = play.book(100, 10)
    play.let_pass(130)
    play.all_goes_well()
    assert play.film(name)["stage"] == "cleaned"
    assert play.watch.rows("SELECT 1 FROM checkup") == []
