"""What a store knows after it was lost, and what it says may go when nothing can be written."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ezrec.domain.booking import Booking
from ezrec.domain.clock import SECOND
from ezrec.domain.messages import Video
from ezrec.domain.stages import FAILED, Stage
from ezrec.domain.timeline import HOLD_US, Offset
from ezrec.store import Store
from ezrec.store.unwanted import unwanted_footage
from tests.fakes.desk import Desk, a_desk
from tests.fakes.records import booking, segment, span


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with a_desk(tmp_path) as one:
        yield one


async def test_found_footage_stays_until_a_film_of_it_is_cleaned_or_its_time_is_over(desk: Desk) -> None:
    await desk.store.recover_run(7, "boot", [Offset(0, desk.offset_us)])
    await desk.store.note_recovery("lost")
    at = desk.clock.wall_us()
    mine, other = await desk.segment(7, -60), await desk.segment(7, -30)
    assert await desk.store.unneeded_segments([], at) == []
    assert await desk.store.found_footage(10) == [mine, other]
    film = await desk.film(Stage.BOOKED, start_s=-60, end_s=-58)
    await desk.lay(film, 7)
    assert await desk.store.found_footage(10) == [other]
    assert await desk.store.unneeded_segments([], at + 1) == [other]
    for stage in (Stage.RECORDING, Stage.RECORDED, Stage.RENDERED, Stage.UPLOADED, Stage.PUBLISHED, Stage.CLEANED):
        await desk.store.step(film.booking_id, stage)
    assert await desk.store.unneeded_segments([], at) == [mine]


async def test_footage_of_a_run_that_was_never_lost_is_not_kept(desk: Desk) -> None:
    run = await desk.run()
    one = await desk.segment(run, -60)
    assert await desk.store.unneeded_segments([], 0) == [one]
    assert await desk.store.found_footage(10) == []


async def test_a_run_is_recovered_once(desk: Desk) -> None:
    for boot, offset in (("one", 5), ("two", 6)):
        await desk.store.recover_run(7, boot, [Offset(0, offset)])
    assert await desk.store.offsets(7) == [Offset(0, 5)]
    assert await desk.store.runs() == {7: True}


@pytest.mark.parametrize(("ends_s", "told"), [(-1, 0), (60, 1)])
async def test_what_was_over_when_the_store_was_lost_is_not_told_as_failed(
        desk: Desk, ends_s: float, told: int) -> None:
    at = desk.clock.wall_us()
    await desk.store.put_booking(Booking("match", "supabase", at - 90 * SECOND, at, "scheduled", reported=True))
    await desk.store.note_recovery("lost")
    film = await desk.film(Stage.BOOKED, start_s=-60, end_s=ends_s)
    await desk.store.step(film.booking_id, Stage.MISSED)
    messages = [message for message in await desk.store.outbox() if FAILED in str(message.body)]
    assert len(messages) == told


async def test_what_only_cancelled_or_published_films_touched_may_go_and_nothing_else(desk: Desk) -> None:
    run = await desk.run()
    stages = {Stage.CANCELLED: -500, Stage.PUBLISHED: -400, Stage.RECORDED: -300, Stage.MISSED: -200}
    paths = {}
    for stage, start_s in stages.items():
        film = await desk.film(Stage.BOOKED, str(stage), start_s=start_s, end_s=start_s + 4)
        await desk.lay(film, run)
        paths[stage] = (await desk.segment(run, start_s)).path
        for step in {Stage.CANCELLED: [Stage.CANCELLED], Stage.MISSED: [],
                     Stage.RECORDED: [Stage.RECORDED], Stage.PUBLISHED: [
                         Stage.RECORDED, Stage.RENDERED, Stage.UPLOADED, Stage.PUBLISHED]}[stage]:
            await desk.store.step(str(stage), step)
    await desk.segment(run, -100)  # nobody's
    near = await desk.film(Stage.BOOKED, "near", start_s=-500 + 4 + HOLD_US / SECOND / 2, end_s=-490)
    await desk.lay(near, run)
    assert unwanted_footage(desk.folder.store) == []  # the recorder has it open
    await desk.store.close()
    assert unwanted_footage(desk.folder.store) == [paths[Stage.PUBLISHED]]


def test_a_store_that_cannot_be_read_names_nothing(tmp_path: Path) -> None:
    (tmp_path / "ezrec.db").write_bytes(b"garbage" * 1000)
    assert unwanted_footage(tmp_path / "ezrec.db") == []
    assert unwanted_footage(tmp_path / "none.db") == []
    assert not (tmp_path / "none.db").exists()


async def test_a_film_that_was_published_here_is_known_by_its_day(desk: Desk) -> None:
    await desk.store.put_video(Video("match", "rec", "u", "c", "k", "url", "", 1.0, 2, "f.mp4", "2027-01-15", "now"))
    assert await desk.store.has_video("match", "2027-01-15")
    assert not await desk.store.has_video("match", "2027-01-16")
    assert not await desk.store.has_video("other", "2027-01-15")


async def test_a_film_that_should_be_over_and_never_began_goes_when_the_store_was_lost(store: Store) -> None:
    """A store that has gone back in time may know a published film as one that is booked."""
    for name, ends_at in (("over", 1000), ("to come", 1001), ("begun", 1000), ("of no booking", 1000)):
        if name != "of no booking":
            await store.put_booking(booking(name))
        await store.add_film(name, f"r-{name}", 100, ends_at)
    await store.put_span("begun", span(await store.begin_run("boot", 0, 0)))
    await store.add_segment(segment(100, 200))
    await store.note_recovery("it was lost")
    assert sorted(film.booking_id for film in await store.films()) == ["begun", "of no booking", "to come"]
    assert len(await store.bookings()) == 3
