"""A hot machine, played with the real recorder: it records on, and makes the film when the match is over."""

from collections.abc import Iterator
from typing import Any

import pytest

from ezrec import supervisor
from ezrec.adapters.metrics import Measured
from tests.model.play import Play

MATCH_S = 60
now = Measured()


class Thermometer:
    """A machine that is as hot as `now` says."""

    def __init__(self, *_: Any) -> None:
        """Nothing to read."""

    async def read(self, limit_s: float) -> Measured:
        """What is told."""
        return now


@pytest.fixture
def play() -> Iterator[Play]:
    one = Play()
    one.patches.setattr(supervisor, "Meter", Thermometer)
    try:
        one.begin()
        yield one
    finally:
        one.leave()


@pytest.mark.parametrize("takes_s", [0, 3])  # a chunk: it is on time, or the film is always behind
def test_a_match_on_a_hot_machine_is_recorded_whole_and_its_film_made_when_it_is_over(
        play: Play, monkeypatch: pytest.MonkeyPatch, takes_s: float) -> None:
    play.recorder.workers.takes_s = takes_s
    chunks: list[object] = []
    play.recorder.chunk_began = chunks.append
    name = play.book(1, MATCH_S)
    play.let_pass(20)
    begun = len(chunks)
    assert begun > 2
    monkeypatch.setitem(globals(), "now", Measured(disk_free_mb=900, temperature_c=91.0))
    play.let_pass(15)  # the state is read every 5 s, and looked at as often
    begun = len(chunks)
    play.let_pass(MATCH_S - 20 - 15)
    assert len(chunks) == begun
    play.let_pass(20)
    assert len(chunks) > begun
    play.all_goes_well()
    assert play.film(name)["url"]
    assert play.watch.rows("SELECT count(*) FROM event WHERE kind = 'rendering waits'")[0][0] == 1
