"""Footage as a person sees it, and films made of it by hand."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ezrec.actions import footage
from ezrec.domain.booking import Booking
from ezrec.domain.clock import SECOND
from ezrec.domain.errors import EzrecError
from ezrec.domain.stages import Stage
from tests.fakes.desk import Desk, a_desk


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with a_desk(tmp_path) as one:
        yield one


def window(desk: Desk, start_s: float, end_s: float) -> tuple[int, int]:
    now = desk.clock.wall_us()
    return now + round(start_s * SECOND), now + round(end_s * SECOND)


async def rescue(desk: Desk, booking_id: str, times: tuple[int, int] | None) -> Booking:
    return await footage.rescue(desk.store, desk.settings(), booking_id, times, desk.clock.wall_us())


async def test_footage_is_listed_in_pieces_with_whose_it_is(desk: Desk) -> None:
    run = await desk.run()
    for camera in ("left", "right"):
        await desk.segment(run, -100, camera=camera)
        await desk.segment(run, -96, camera=camera)
    await desk.segment(run, -50)
    film = await desk.film(Stage.RECORDING, start_s=-99, end_s=-95)
    await desk.lay(film, run)
    first, second = await footage.listing(desk.store)
    assert (first.starts_at, first.ends_at) == window(desk, -100, -92)
    assert (first.seconds, first.segments, first.bytes) == ({"left": 8.0, "right": 8.0}, 4, 28)
    assert (first.bookings, second.bookings) == (("match",), ())
    assert not first.found
    await desk.store.note_recovery("lost")
    assert all(piece.found for piece in await footage.listing(desk.store))


async def test_a_film_is_rescued_of_every_run_that_has_footage_of_it(desk: Desk) -> None:
    for at in (-100, -96):
        await desk.segment(await desk.run(), at)
    await desk.run()
    one = await rescue(desk, "lost", window(desk, -99, -93))
    film = await desk.now("lost")
    assert (film.stage, film.starts_at, film.ends_at) == (Stage.RECORDED, one.starts_at, one.ends_at)
    assert [span.run for span in await desk.store.spans("lost")] == [1, 2]
    assert await desk.store.booking("lost") == one
    assert "rescued" in [entry.kind for entry in await desk.store.events("lost")]


async def test_a_booking_that_was_missed_is_rescued_by_its_id(desk: Desk) -> None:
    await desk.segment(await desk.run(), -100)
    start, end = window(desk, -100, -97)
    await desk.store.put_booking(Booking("match", "file", start, end, "scheduled"))
    await desk.film(Stage.MISSED, start_s=-100, end_s=-97)
    await rescue(desk, "match", None)
    assert (await desk.now()).stage is Stage.RECORDED


@pytest.mark.parametrize(("times", "words"), [
    (None, "say from when to when"), ((-50, -40), "no footage of that time"), ((-99, 60), "a time that is over"),
    ((-90, -99), "a time that is over")])
async def test_what_cannot_be_rescued_is_said(desk: Desk, times: tuple[float, float] | None, words: str) -> None:
    await desk.segment(await desk.run(), -100)
    with pytest.raises(EzrecError, match=words):
        await rescue(desk, "lost", window(desk, *times) if times else None)
    assert await desk.store.films() == []
    assert await desk.store.bookings() == []


@pytest.mark.parametrize("stage", [Stage.RECORDING, Stage.PUBLISHED, Stage.CLEANED, Stage.CANCELLED])
async def test_a_booking_that_has_a_film_is_not_rescued(desk: Desk, stage: Stage) -> None:
    await desk.segment(await desk.run(), -100)
    await desk.film(stage, start_s=-100, end_s=-97)
    with pytest.raises(EzrecError, match="there is a film of 'match' already"):
        await rescue(desk, "match", window(desk, -100, -97))


async def test_an_id_that_could_be_a_path_is_refused(desk: Desk) -> None:
    await desk.segment(await desk.run(), -100)
    with pytest.raises(EzrecError, match="an id may hold"):
        await rescue(desk, "../x", window(desk, -100, -97))
