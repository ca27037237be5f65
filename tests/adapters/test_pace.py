"""How a part leaves: no faster than the cap, piece by piece, and never standing still unwatched."""

import asyncio
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ezrec.adapters.storage.pace import BLOCK, PIECE, PartBody, RateCap, Watch


class Time:
    """A clock that sleeping moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept = 0.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept += seconds


def a_cap(kbit_s: int) -> tuple[RateCap, Time]:
    time = Time()
    return RateCap(lambda: kbit_s, time, time.sleep), time


@given(st.integers(1, 100_000), st.lists(st.tuples(st.integers(1, PIECE), st.floats(0, 10)), min_size=1, max_size=30))
def test_no_more_leaves_than_the_cap_allows_whenever_it_is_asked_for(
        kbit_s: int, pieces: list[tuple[int, float]]) -> None:
    cap, time = a_cap(kbit_s)
    left: list[tuple[float, int]] = []

    async def send() -> None:
        for size, pause in pieces:
            time.now += pause
            await cap.wait(size)
            left.append((time.now, size))

    asyncio.run(send())
    for first in range(len(left)):
        for last in range(first + 1, len(left)):
            between = sum(size for _, size in left[first:last])  # the last one leaves when these have had their time
            assert between <= (left[last][0] - left[first][0]) * kbit_s * 125 * 1.000001 + 1e-6


async def test_parts_that_go_up_together_share_the_cap() -> None:
    cap, time = a_cap(800)  # 100,000 bytes/s
    for _ in range(21):  # whoever asks
        await cap.wait(50_000)
    assert time.slept == pytest.approx(10.0)


async def test_without_a_cap_nothing_waits() -> None:
    cap, time = a_cap(0)
    for _ in range(100):
        await cap.wait(PIECE)
    assert time.slept == 0


async def test_a_cap_that_is_lifted_holds_nothing_back() -> None:
    time, kbit_s = Time(), [8]
    cap = RateCap(lambda: kbit_s[0], time, time.sleep)
    await cap.wait(PIECE)
    kbit_s[0] = 0
    await cap.wait(PIECE)
    assert time.slept == 0
    kbit_s[0] = 8
    await cap.wait(PIECE)
    assert time.slept == 0


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "film.mp4"
    path.write_bytes(os.urandom(BLOCK + 3 * PIECE + 500))
    return path


async def test_a_body_is_its_range_in_pieces_every_time_it_is_sent(film: Path) -> None:
    data = film.read_bytes()
    async with asyncio.timeout(None) as limit:
        body = PartBody(film, 1000, len(data) - 1500, a_cap(0)[0], Watch(limit, 60, 60))
        assert len(body) == len(data) - 1500
        for _ in range(2):
            pieces = [bytes(piece) async for piece in body]
            assert b"".join(pieces) == data[1000:-500]
            assert max(map(len, pieces)) <= PIECE
            assert body.seek(0) == 0
    with pytest.raises(OSError, match="start"):
        body.seek(5)


async def test_a_film_that_ends_early_ends_the_body(film: Path) -> None:
    async with asyncio.timeout(None) as limit:
        body = PartBody(film, 0, film.stat().st_size + 1, a_cap(0)[0], Watch(limit, 60, 60))
        with pytest.raises(EOFError, match="does not reach"):
            [piece async for piece in body]


async def test_a_body_is_only_watched_while_the_next_piece_could_be_taken(film: Path) -> None:
    """Not while the cap holds it back, and not once it was handed over whole."""
    async with asyncio.timeout(None) as limit:
        watched: list[bool] = []

        class Cap(RateCap):
            async def wait(self, size: int) -> None:
                watched.append(limit.when() is not None)

        body = PartBody(film, 0, 3 * PIECE, Cap(lambda: 0), Watch(limit, 60, 60))
        body.seek(0)
        assert limit.when() is not None
        between = [limit.when() is not None async for _ in body]
    assert watched == [False, False, False]
    assert between == [True, True, False]


async def test_a_body_that_nobody_takes_is_given_up() -> None:
    watches: list[Watch] = []

    async def stand_still() -> None:
        async with asyncio.timeout(None) as limit:
            watches.append(Watch(limit, 0, 60))
            watches[0].begin()
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await stand_still()
    assert not watches[0].moved
    watches[0].took()  # whoever was too late to take something does no harm
