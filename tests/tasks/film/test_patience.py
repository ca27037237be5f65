"""How long footage that is away is waited for."""

from ezrec.domain.clock import SECOND
from ezrec.tasks.film.patience import Patience
from tests.fakes.clocks import MadeUpClock

S = SECOND


def waited_us(patience: Patience, clock: MadeUpClock, number: int, booking_id: str = "match") -> int:
    """How long a chunk waits whose footage never comes back, looked at each 0.25 s; it goes on without."""
    begun = clock.mono_us()
    while not patience.is_over(booking_id, number):
        patience.begin(booking_id, number)
        clock.forward(S // 4)
    patience.end(booking_id, number, given_up=True)
    return clock.mono_us() - begun


def test_a_chunk_waits_for_a_minute_from_when_it_was_first_said_of_it() -> None:
    clock = MadeUpClock(100, 0)
    patience = Patience(clock)
    clock.forward(300 * S)
    assert not patience.is_over("match", 3)
    assert waited_us(patience, clock, 3) == 60 * S


def test_chunks_that_wait_at_once_each_have_their_minute() -> None:
    clock = MadeUpClock(100, 0)
    patience = Patience(clock)
    patience.begin("match", 3)
    clock.forward(30 * S)
    patience.begin("match", 4)
    patience.begin("other", 3)
    clock.forward(30 * S)
    assert patience.is_over("match", 3)
    assert not patience.is_over("match", 4)
    assert not patience.is_over("other", 3)


def test_each_chunk_in_a_row_waits_half_as_long_but_never_less_than_a_second() -> None:
    clock = MadeUpClock(100, 0)
    patience = Patience(clock)
    assert [waited_us(patience, clock, number) / S for number in range(1, 10)] == [60, 30, 15, 7.5, 3.75, 2, 1, 1, 1]
    assert waited_us(patience, clock, 1, "other") == 60 * S


def test_a_chunk_that_had_all_its_footage_gives_the_next_one_its_minute_back() -> None:
    clock = MadeUpClock(100, 0)
    patience = Patience(clock)
    waited_us(patience, clock, 1)
    patience.begin("match", 2)
    patience.end("match", 2, given_up=False)
    assert waited_us(patience, clock, 3) == 60 * S


def test_nothing_is_kept_of_a_film_that_is_forgotten() -> None:
    clock = MadeUpClock(100, 0)
    patience = Patience(clock)
    waited_us(patience, clock, 1)
    patience.begin("match", 2)
    patience.forget("match")
    clock.forward(90 * S)
    assert not patience.is_over("match", 2)
    assert waited_us(patience, clock, 2) == 60 * S
