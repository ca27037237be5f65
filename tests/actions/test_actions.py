"""What a person may do and ask, on a real store: what is refused changes nothing."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest

from ezrec.actions import bookings, films
from ezrec.actions.device import STALE_S, Device, read
from ezrec.adapters.metrics import Measured, Meter
from ezrec.domain.booking import Booking
from ezrec.domain.clock import SECOND, utc_text
from ezrec.domain.errors import BadBooking, EzrecError, RetryError
from ezrec.domain.events import Retried
from ezrec.domain.film import ChunkReport, Film, Rung
from ezrec.domain.naming import store_id
from ezrec.domain.planning import Chunk
from ezrec.domain.stages import Stage
from ezrec.store import Store
from ezrec.store.rows import PartRow, Progress
from tests.fakes.desk import Desk, a_desk

UTC = ZoneInfo("UTC")


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with a_desk(tmp_path / "data") as one:
        yield one


def wanted(desk: Desk, start_s: float = 60, end_s: float = 120, booking_id: str = "match") -> Booking:
    now = desk.clock.wall_us()
    times = {"start_time": utc_text(now + round(start_s * SECOND)), "end_time": utc_text(now + round(end_s * SECOND))}
    return bookings.parse({"id": booking_id} | times, desk.settings())


async def book(desk: Desk, one: Booking) -> None:
    await bookings.book(desk.store, desk.settings(), one, desk.clock.wall_us())


async def cancel(desk: Desk, words: str = "match") -> Booking:
    return await bookings.cancel(desk.store, desk.settings(), words, desk.clock.wall_us())


async def take_all(desk: Desk, rows: list[object]) -> bookings.Imported:
    return await bookings.take_all(desk.store, desk.settings(), rows, desk.clock.wall_us())


async def test_a_booking_is_made_and_the_same_id_changes_it(desk: Desk) -> None:
    await book(desk, wanted(desk))
    await book(desk, wanted(desk, end_s=180))
    (listed,) = await bookings.listing(desk.store, 0)
    assert (listed.booking, listed.stage) == (wanted(desk, end_s=180), None)
    assert await bookings.listing(desk.store, wanted(desk, end_s=181).ends_at) == []


async def test_a_booking_that_is_over_is_refused(desk: Desk) -> None:
    with pytest.raises(BadBooking, match="is over; say a later time"):
        await book(desk, wanted(desk, -60, 0))
    assert await desk.store.bookings() == []


@pytest.mark.parametrize("stage", [stage for stage in Stage if stage not in bookings.OPEN])
async def test_a_booking_whose_film_is_too_far_is_neither_changed_nor_cancelled(desk: Desk, stage: Stage) -> None:
    await book(desk, wanted(desk))
    await desk.film(stage, start_s=60, end_s=120)
    with pytest.raises(BadBooking, match=f"is {stage}: it is too late"):
        await book(desk, wanted(desk, end_s=180))
    with pytest.raises(EzrecError, match=f"is {stage}: it is too late to cancel"):
        await cancel(desk)
    assert await desk.store.bookings() == [wanted(desk)]


async def test_a_booking_of_another_source_is_left_alone(desk: Desk) -> None:
    foreign = Booking("match", "file", 10, 20, "scheduled")
    await desk.store.put_booking(foreign)
    with pytest.raises(BadBooking, match="belongs to another source"):
        await book(desk, wanted(desk))
    with pytest.raises(EzrecError, match="comes from 'file': cancel it there"):
        await cancel(desk)
    assert await desk.store.bookings() == [foreign]


async def test_a_list_is_taken_as_far_as_it_is_right(desk: Desk) -> None:
    await desk.store.put_booking(Booking("b", "file", 10, 20, "scheduled"))
    rows = [{"id": name, "start_time": "2027-02-01T10:00Z", "end_time": end}
            for name, end in (("a", "2027-02-01T11:00Z"), ("b", "2027-02-01T11:00Z"), ("c", "noon"))]
    done = await take_all(desk, rows)
    assert [one.id for one in done.taken] == ["a"]
    assert len(done.refused) == 2
    assert {one.id for one in await desk.store.bookings("cli")} == {"a"}


async def test_a_cancelled_film_is_published_only_if_anything_was_recorded(desk: Desk) -> None:
    film = await desk.film(Stage.CANCELLED)
    with pytest.raises(EzrecError, match="nothing was recorded"):
        await films.retry(desk.store, "match", UTC)
    assert (await desk.now()).stage is Stage.CANCELLED
    run = await desk.run()
    await desk.lay(film, run)
    await desk.segment(run, -30)
    await films.retry(desk.store, "match", UTC)
    assert (await desk.now()).stage is Stage.RECORDED


async def test_a_film_that_waits_for_nothing_is_not_retried(desk: Desk) -> None:
    await desk.film(Stage.RECORDED)
    with pytest.raises(EzrecError, match="neither parked nor waiting"):
        await films.retry(desk.store, "match", UTC)
    await desk.store.park("match", "film", "broken")
    await films.retry(desk.store, "match", UTC)
    assert (await desk.now()).parked_step is None


async def test_a_film_is_described_and_a_story_outlives_its_film(desk: Desk) -> None:
    await desk.film(Stage.BOOKED)
    found = await films.describe(desk.store, "match")
    assert (found.film, found.progress, found.parts, found.messages) == (await desk.now(), Progress(0, 0, 0), [], [])
    await desk.store.drop_film("match")
    story = await films.story(desk.store, "match")
    assert (story.film, [event.kind for event in story.events]) == (None, ["booked", "withdrawn"])
    for ask in (films.describe, films.story):
        with pytest.raises(EzrecError, match="there is no film of booking 'other'"):
            await ask(desk.store, "other")


async def test_progress_counts_the_chunks_of_the_films_own_generation(desk: Desk) -> None:
    await desk.film(Stage.RECORDING)
    await desk.film(Stage.BOOKED, "later", 60, 120)
    for generation, number in ((1, 1), (2, 1), (2, 2), (2, 3)):
        await desk.store.plan_chunk("match", generation, Chunk(number, 1, 0, 60 + number), 0, "chunk.mp4")
    for generation, number in ((1, 1), (2, 1), (2, 2)):
        await desk.store.chunk_rendered("match", generation, number, "chunk.mp4", ChunkReport(9, {}), Rung.FULL)
    await desk.store.next_generation("match", "moved")
    listed = [(film.booking_id, progress) for film, progress in await films.listing(desk.store)]
    assert listed == [("match", Progress(3, 2, 123)), ("later", Progress(0, 0, 0))]
    assert (await films.describe(desk.store, "match")).progress == Progress(3, 2, 123)


# ---- an id that is used again


def later(desk: Desk, start_s: float) -> str:
    return store_id("match", desk.clock.wall_us() + round(start_s * SECOND))


@pytest.mark.parametrize("stage", Stage)
async def test_an_id_whose_film_is_over_makes_another_booking(desk: Desk, stage: Stage) -> None:
    await book(desk, wanted(desk, -60, 1))
    await desk.film(stage)
    made = await bookings.book(desk.store, desk.settings(), wanted(desk), desk.clock.wall_us())
    assert made == replace(wanted(desk), id=later(desk, 60))
    moved = await bookings.book(desk.store, desk.settings(), wanted(desk, 600, 700), desk.clock.wall_us())
    assert moved == replace(wanted(desk, 600, 700), id=made.id)  # it has not begun
    assert await desk.store.bookings() == [wanted(desk, -60, 1), moved]


async def test_a_plain_id_cancels_the_one_booking_that_still_can_be(desk: Desk) -> None:
    await book(desk, wanted(desk, -60, 1))
    await desk.film(Stage.CLEANED)
    await book(desk, wanted(desk))
    assert (await cancel(desk)).id == later(desk, 60)
    assert {one.id: one.status for one in await desk.store.bookings()} == {
        "match": "scheduled", later(desk, 60): "cancelled"}
    assert (await cancel(desk)).id == later(desk, 60)  # again: it stays so


async def test_a_booking_that_is_over_does_not_stand_in_the_way_of_cancelling_another(desk: Desk) -> None:
    """No film was made of it: the recorder was away."""
    over = Booking("match", "cli", desk.clock.wall_us() - 60 * SECOND, desk.clock.wall_us(), "scheduled")
    await desk.store.put_booking(over)
    await book(desk, wanted(desk))
    assert (await cancel(desk)).id == later(desk, 60)


async def test_a_row_of_a_list_that_cannot_be_read_has_no_other_one_of_its_id_moved(desk: Desk) -> None:
    await book(desk, wanted(desk))
    rows: list[object] = [{"id": "match", "start_time": "soon"},
                          {"id": "match", "start_time": "2027-02-01T10:00Z", "end_time": "2027-02-01T11:00Z"}]
    done = await take_all(desk, rows)
    assert ([one.id for one in done.taken], len(done.refused)) == (["match@20270201T100000Z"], 1)
    assert (await desk.store.bookings())[0] == wanted(desk)


async def test_an_id_that_may_mean_two_bookings_is_refused_with_the_times_and_the_full_ids(desk: Desk) -> None:
    rows: list[object] = [{"id": "match", "start_time": utc_text(one.starts_at), "end_time": utc_text(one.ends_at)}
                          for one in (wanted(desk), wanted(desk, 600, 660))]
    ids = ["match", later(desk, 600)]
    for _ in range(2):
        assert [one.id for one in (await take_all(desk, rows)).taken] == ids
    before = await desk.store.bookings()
    with pytest.raises(EzrecError, match="'match' may mean 2 bookings") as refused:
        await cancel(desk)
    assert f"{later(desk, 60)} (2027-01-15 08:01 to 08:02), {later(desk, 600)} (2027-01-15 08:10" in str(refused.value)
    assert await desk.store.bookings() == before
    assert (await cancel(desk, later(desk, 60))).id == "match"
    assert (await cancel(desk)).id == later(desk, 600)


async def test_a_plain_id_shows_its_newest_film_and_a_full_one_any(desk: Desk) -> None:
    now = desk.clock.wall_us()
    await desk.film(Stage.CLEANED)
    await desk.film(Stage.BOOKED, later(desk, 60), 60, 120)
    first, newest = store_id("match", now - 60 * SECOND), later(desk, 60)
    for words, booking_id in (("match", newest), (newest, newest), (first, "match")):
        found = await films.describe(desk.store, words)
        assert (found.film.booking_id, found.others) == (booking_id, 1)
        story = await films.story(desk.store, words)
        assert story.film == found.film
    await desk.store.drop_film(newest)
    assert [event.kind for event in (await films.story(desk.store, newest)).events] == ["booked", "withdrawn"]
    assert (await films.describe(desk.store, "match")).others == 0


async def test_a_plain_id_retries_the_film_that_waits(desk: Desk) -> None:
    await desk.film(Stage.RECORDED)
    await desk.film(Stage.RECORDED, later(desk, 60), 60, 120)
    with pytest.raises(EzrecError, match="neither parked nor waiting"):
        await films.retry(desk.store, "match", UTC)
    await desk.store.park("match", "film", "broken")
    assert (await films.retry(desk.store, "match", UTC)).booking_id == "match"
    for booking_id in ("match", later(desk, 60)):
        await desk.store.park(booking_id, "film", "broken")
    with pytest.raises(EzrecError, match="may mean 2 bookings"):
        await films.retry(desk.store, "match", UTC)
    assert (await films.retry(desk.store, later(desk, 60), UTC)).booking_id == later(desk, 60)
    assert [film.parked_step for film in await desk.store.films()] == ["film", None]


async def test_a_plain_id_retries_the_cancelled_film_that_has_footage(desk: Desk) -> None:
    run, film = await desk.run(), await desk.film(Stage.CANCELLED)
    await desk.lay(film, run)
    await desk.segment(run, -30)
    await desk.film(Stage.BOOKED, later(desk, 60), 60, 120)
    assert (await films.retry(desk.store, "match", UTC)).booking_id == "match"
    assert (await desk.now()).stage is Stage.RECORDED


# ---- one transaction each


@pytest.fixture
async def beside(desk: Desk) -> AsyncIterator[Store]:
    """The same store, opened by another process."""
    store = await Store.open(desk.folder.store, clock=desk.clock)
    await store._db.execute("PRAGMA busy_timeout=1")
    yield store
    await store.close()


async def test_nobody_writes_between_what_an_action_reads_and_what_it_writes(
        desk: Desk, beside: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    await book(desk, wanted(desk))
    await desk.film(Stage.RECORDING, parked_step="film", parked_reason="broken")
    read, tried = Store.film, []

    async def film(store: Store, booking_id: str) -> Film | None:
        found = await read(store, booking_id)
        with pytest.raises(RetryError, match="locked"):
            await beside.record("match", Retried())
        tried.append(booking_id)
        return found

    monkeypatch.setattr(Store, "film", film)
    await book(desk, wanted(desk, end_s=180))
    await cancel(desk)
    await films.retry(desk.store, "match", UTC)
    assert len(tried) == 3


async def test_a_list_is_taken_as_a_whole_or_not_at_all(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    put, calls = Store.put_booking, []

    async def put_booking(store: Store, booking: Booking) -> bool:
        calls.append(booking.id)
        if len(calls) == 2:
            raise RetryError("the store: database or disk is full")
        return await put(store, booking)

    monkeypatch.setattr(Store, "put_booking", put_booking)
    rows = [{"id": name, "start_time": "2027-02-01T10:00Z", "end_time": "2027-02-01T11:00Z"} for name in "abc"]
    with pytest.raises(RetryError):
        await take_all(desk, rows)
    assert calls == ["a", "b"]
    assert await desk.store.bookings() == []


async def test_a_film_is_described_as_it_was_at_one_moment(
        desk: Desk, beside: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    await desk.film(Stage.RECORDING)
    read = Store.parts

    async def parts(store: Store, booking_id: str, generation: int) -> list[PartRow]:
        await beside.put_part("match", 1, PartRow(1, 0, 5, "md5", "sha"))
        return await read(store, booking_id, generation)

    monkeypatch.setattr(Store, "parts", parts)
    assert (await films.describe(desk.store, "match")).parts == []
    assert len(await read(desk.store, "match", 1)) == 1


# ---- the device's state


def device(desk: Desk) -> Device:
    recording = SimpleNamespace(delivering=dict, current_booking=lambda: "match", health=dict, run_id=7)
    site = desk.settings(site={"camera_id": "court-7"}).site
    return Device(desk.store, desk.clock, desk.folder, recording, SimpleNamespace(newest=None),  # type: ignore[arg-type]
                  Meter(desk.data, desk.clock), site, lambda: ["upload"])


async def test_the_recorders_state_is_there_while_it_lives_and_fresh(desk: Desk) -> None:
    one = device(desk)
    await one.run_once()
    written_us = desk.folder.state.stat().st_mtime_ns // 1000
    state = read(desk.folder, written_us)
    assert state
    assert (state["camera_id"], state["current_booking_id"], state["run"], state["pid"], state["degraded"]) == (
        "court-7", "match", 7, os.getpid(), ["upload"])
    assert read(desk.folder, written_us + round((STALE_S + 1) * SECOND)) is None
    one.forget()
    assert read(desk.folder, written_us) is None


async def test_the_recorders_state_says_when_the_next_booking_begins(desk: Desk) -> None:
    one = device(desk)
    await one.run_once()
    assert json.loads(desk.folder.state.read_text())["next_booking_at"] is None
    await desk.film(Stage.BOOKED, "later", 3000, 4000)
    await desk.film(Stage.BOOKED, "sooner", 600, 1200)
    await one.run_once()
    said = datetime.fromisoformat(json.loads(desk.folder.state.read_text())["next_booking_at"])
    assert round(said.timestamp()) == desk.clock.wall_us() // SECOND + 600


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"pid": 4194305}', '{"pid": "x"}', '{"pid": 0}'])
async def test_a_state_that_cannot_be_true_is_none(desk: Desk, text: str) -> None:
    desk.folder.state.write_text(text)
    assert read(desk.folder, desk.folder.state.stat().st_mtime_ns // 1000) is None


async def test_a_state_that_may_not_be_read_is_none(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    await device(desk).run_once()
    monkeypatch.setattr(Path, "read_text", refused)  # the super-user, who may run this, reads everything
    assert read(desk.folder, desk.folder.state.stat().st_mtime_ns // 1000) is None


async def test_a_disk_that_takes_no_state_ends_nothing(desk: Desk) -> None:
    desk.folder.state.mkdir()
    await device(desk).run_once()
    assert list(desk.data.glob("*.tmp")) == []


async def test_the_state_is_collected_by_one_at_a_time_and_once_for_file_and_heartbeat(desk: Desk) -> None:
    one = device(desk)
    both = await asyncio.gather(one.collect(1), one.collect(1))
    assert both[0].measured.memory_mb
    reads = 0
    real = one._meter.read

    async def counted(limit_s: float) -> Measured:
        nonlocal reads
        reads += 1
        return await real(limit_s)

    one._meter.read = counted  # type: ignore[method-assign]
    await one.row(1)
    await one.run_once()
    assert reads == 1
    desk.clock.forward(6 * SECOND)
    await one.run_once()
    assert reads == 2
