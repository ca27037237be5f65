"""Bookings: sources that fail change nothing, a source drops only its own rows, and films follow."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ezrec.adapters.bookings.local import BookingsFile
from ezrec.domain.booking import Booking
from ezrec.domain.clock import SECOND
from ezrec.domain.errors import ParkError, RetryError
from ezrec.domain.messages import Video
from ezrec.domain.naming import store_id
from ezrec.domain.stages import Stage
from ezrec.domain.timeline import Offset, Span, begin_span
from ezrec.store import Store
from ezrec.tasks import bookings as bookings_module
from ezrec.tasks.bookings import Bookings
from tests.fakes.desk import WALL_S, Desk, a_desk
from tests.fakes.waiting import eventually


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with a_desk(tmp_path) as one:
        yield one


class Source:
    """A source that answers what it is told, or fails."""

    reuses_ids = True
    reported = False

    def __init__(self, *rows: dict[str, Any], name: str = "file") -> None:
        self.name = name
        self.answer: list[Any] | Exception | None = list(rows)

    async def fetch(self) -> list[object] | None:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Said:
    """What the task logs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lines: list[tuple[str, str, dict[str, Any]]] = []
        monkeypatch.setattr(bookings_module, "log", self)

    def __getattr__(self, level: str) -> Any:
        return lambda event, **keys: self.lines.append((level, event, keys))

    def events(self, event: str) -> list[dict[str, Any]]:
        return [keys for _, said, keys in self.lines if said == event]


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Said:
    return Said(monkeypatch)


def row(booking_id: str, start_s: float, end_s: float, **more: Any) -> dict[str, Any]:
    start, end = (datetime.fromtimestamp(WALL_S + at, UTC).isoformat() for at in (start_s, end_s))
    return {"id": booking_id, "start_time": start, "end_time": end} | more


class Office:
    """The task with its sources."""

    def __init__(self, desk: Desk, *sources: Source, **settings: Any) -> None:
        self.changes = 0
        self.desk = desk
        self.task = Bookings(desk.store, desk.clock, sources, desk.settings(bookings=settings).bookings,
                             ZoneInfo("UTC"), self._changed)

    def _changed(self) -> None:
        self.changes += 1

    async def stages(self) -> dict[str, str]:
        await self.task.run_once()
        return {film.booking_id: film.stage.value for film in await self.desk.store.films()}


async def test_a_row_becomes_a_booking_and_a_film_with_its_rolls(desk: Desk) -> None:
    office = Office(desk, Source(row("b", 60, 120)), pre_roll_s=5, post_roll_s=7)
    assert await office.stages() == {"b": "booked"}
    film = await desk.now("b")
    assert (film.starts_at, film.ends_at) == ((WALL_S + 55) * SECOND, (WALL_S + 127) * SECOND)
    assert office.changes == 1
    await office.stages()
    assert office.changes == 1  # nothing new


@pytest.mark.parametrize("error", [RetryError("no network"), ParkError("no such table")])
async def test_a_source_that_fails_changes_nothing_and_is_said_once(desk: Desk, said: Said, error: Exception) -> None:
    source, other = Source(row("b", 60, 120)), Source(row("c", 60, 120), name="other")
    office = Office(desk, source, other)
    await office.stages()
    source.answer, other.answer = error, [row("c", 60, 180)]
    for _ in range(3):
        assert await office.stages() == {"b": "booked", "c": "booked"}
    assert (await desk.now("c")).ends_at == (WALL_S + 180) * SECOND
    assert [keys["error"] for level, _, keys in said.lines if level == "warning"] == [str(error)]


async def test_a_source_that_has_nothing_new_changes_nothing(desk: Desk) -> None:
    source = Source(row("b", 60, 120))
    office = Office(desk, source)
    await office.stages()
    source.answer = None
    assert await office.stages() == {"b": "booked"}


async def test_a_row_that_disappears_goes_only_before_its_window_opens(desk: Desk) -> None:
    source = Source(row("later", 60, 120), row("open", -5, 120), row("kept", 60, 120))
    office = Office(desk, source)
    await office.stages()
    source.answer = [row("kept", 60, 120)]
    assert await office.stages() == {"open": "booked", "kept": "booked"}
    assert {one.id for one in await desk.store.bookings()} == {"open", "kept"}


async def test_while_the_clock_was_never_set_no_answer_drops_a_booking(desk: Desk) -> None:
    source = Source(row("later", 3600, 7200), row("open", -5, 120))
    office = Office(desk, source)
    await office.stages()
    source.answer = []
    desk.clock.step(-WALL_S)
    assert set(await office.stages()) == {"later", "open"}
    desk.clock.step(WALL_S)
    assert set(await office.stages()) == {"open"}


async def test_a_row_that_has_become_malformed_is_not_one_that_disappeared(desk: Desk, said: Said) -> None:
    source = Source(row("b", 60, 120))
    office = Office(desk, source)
    await office.stages()
    source.answer = [row("b", 60, 120) | {"end_time": "soon"}, "no row", row("c", 60, 120)]
    for _ in range(2):
        assert await office.stages() == {"b": "booked", "c": "booked"}
    assert len(said.events("booking skipped")) == 2


async def test_the_rows_that_are_refused_now_are_known_with_their_reasons(desk: Desk) -> None:
    source, other = Source(row("b", 60, 120) | {"end_time": "soon"}), Source(name="other")
    office = Office(desk, source, other)
    assert office.task.refused == []
    await office.stages()
    assert [(one.source, "end_time is 'soon'" in one.reason) for one in office.task.refused] == [("file", True)]
    source.answer, other.answer = None, [row("a", 60, 120), row("a", 60, 120)]  # nothing new; a mistake of its own
    await office.stages()
    assert [one.source for one in office.task.refused] == ["file", "other"]
    source.answer, other.answer = [row("b", 60, 120)], [row("b", 60, 120)]
    await office.stages()
    assert [(one.source, "another source" in one.reason) for one in office.task.refused] == [("other", True)]


@pytest.mark.parametrize("answer", [[], ["no row"]])
async def test_all_rows_gone_at_once_is_an_alert(desk: Desk, said: Said, answer: list[Any]) -> None:
    source = Source(row("a", 60, 120), row("b", -5, 120))
    office = Office(desk, source)
    await office.stages()
    source.answer = answer
    assert await office.stages() == {"b": "booked"}
    assert said.events("all bookings gone at once")[0]["count"] == 2


async def test_two_sources_with_one_id_do_not_fight_over_it(desk: Desk, said: Said) -> None:
    office = Office(desk, Source(row("b", 60, 120)), Source(row("b", 600, 1200), name="other"))
    for _ in range(3):
        await office.stages()
    (one,) = await desk.store.bookings()
    assert (one.source, one.starts_at) == ("file", (WALL_S + 60) * SECOND)
    assert len(said.events("booking skipped")) == 1


async def test_films_follow_their_bookings_while_they_may(desk: Desk) -> None:
    source = Source(row("b", 60, 120))
    office = Office(desk, source)
    await office.stages()
    source.answer = [row("b", 70, 150)]
    await office.stages()
    assert (await desk.now("b")).ends_at == (WALL_S + 150) * SECOND
    source.answer = [row("b", 70, 150, status="no_show")]
    assert await office.stages() == {"b": "cancelled"}
    source.answer = [row("b", 80, 160)]
    assert await office.stages() == {"b": "booked"}
    assert (await desk.now("b")).starts_at == (WALL_S + 80) * SECOND  # at once, not at the next poll
    assert [event.kind for event in await desk.store.events("b")] == ["booked", "moved", "stage", "stage", "moved"]


async def test_a_booking_that_stands_again_goes_on_recording_if_it_had_begun(desk: Desk) -> None:
    source = Source(row("b", -60, 120))
    office = Office(desk, source)
    await office.stages()
    run = await desk.run()
    await desk.lay(await desk.now("b"), run)
    await desk.segment(run, -30)
    source.answer = [row("b", -60, 120, status="cancelled")]
    assert await office.stages() == {"b": "cancelled"}
    source.answer = [row("b", -60, 120)]
    assert await office.stages() == {"b": "recording"}


async def test_a_change_that_comes_too_late_is_refused_and_told_once(desk: Desk) -> None:
    source = Source(row("b", -60, 120))
    office = Office(desk, source)
    await office.stages()
    for to in (Stage.RECORDING, Stage.RECORDED):
        await desk.store.step("b", to)
    before, changes = await desk.now("b"), office.changes
    source.answer = [row("b", -60, 300)]
    for _ in range(3):
        await office.stages()
    assert await desk.now("b") == before
    assert [event.kind for event in await desk.store.events("b")].count("change refused") == 1
    assert office.changes == changes


@pytest.mark.parametrize("change", [{"end_s": 300}, {"status": "cancelled"}])
async def test_a_change_decided_just_before_its_window_ended_is_not_carried_out(
        desk: Desk, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]) -> None:
    source = Source(row("b", -60, 120))
    office = Office(desk, source)
    await office.stages()
    await desk.store.step("b", Stage.RECORDING)
    read = await desk.store.films()
    before = await desk.store.step("b", Stage.RECORDED)
    source.answer = [row("b", -60, change.get("end_s", 120), status=change.get("status", "scheduled"))]

    async def films(*_: Any) -> Any:
        return read

    with monkeypatch.context() as patch:
        patch.setattr(desk.store, "films", films)
        changes = office.changes
        await office.task.run_once()
    assert await desk.now("b") == before
    assert office.changes == changes


async def test_a_booking_heard_of_after_its_end_says_so_in_its_story(desk: Desk) -> None:
    assert await Office(desk, Source(row("b", -120, -60))).stages() == {"b": "booked"}
    assert [event.kind for event in await desk.store.events("b")] == ["booked", "heard too late"]


async def test_what_a_command_wrote_beside_it_is_followed(desk: Desk) -> None:
    office = Office(desk)
    await office.task.run_once()
    beside = await Store.open(desk.data / "ezrec.db", clock=desk.clock)
    source = Source(row("b", 60, 120), name="cli")
    await Office(Desk(desk.data, beside, desk.clock), source).task._take(source, source.answer)  # type: ignore[arg-type]
    await beside.close()
    await office.task.follow()
    assert (await desk.now("b")).stage is Stage.BOOKED
    assert office.changes == 1


async def test_it_asks_by_itself_and_waits_between_two_questions(desk: Desk) -> None:
    source = Source(row("b", 60, 120))
    asked = []

    async def fetch() -> list[object] | None:
        asked.append(1)
        return [row("b", 60, 120)]

    source.fetch = fetch  # type: ignore[method-assign]
    office = Office(desk, source, poll_s=60)
    running = asyncio.create_task(office.task.run())

    async def known() -> bool:
        return bool(await desk.store.films())

    await eventually(known)
    for _ in range(5):
        await desk.store.films()  # each gives the other task its turn
    running.cancel()
    await asyncio.wait({running})
    assert len(asked) == 1


async def test_news_of_a_source_is_asked_for_at_once_but_not_before_the_source_wants_to_be_asked(
        desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    source, asked = Source(), 0
    slept: list[float] = []
    sleep = asyncio.sleep

    async def fetch() -> list[object] | None:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise RetryError("busy", after_s=77)
        return None

    async def note(seconds: float) -> None:
        slept.append(seconds)
        await sleep(0 if seconds == 77 else seconds)

    source.fetch = fetch  # type: ignore[method-assign]
    office = Office(desk, source, poll_s=600)
    monkeypatch.setattr(bookings_module.asyncio, "sleep", note)
    running = asyncio.create_task(office.task.run())

    try:
        for times in (1, 2, 3):
            async def asked_again(wanted: int = times) -> bool:
                return asked == wanted

            await eventually(asked_again)
            office.task.wake()
        assert 77 in slept
    finally:
        running.cancel()
        await asyncio.wait({running})


async def test_what_a_command_writes_is_followed_long_before_the_next_question(desk: Desk) -> None:
    office = Office(desk, poll_s=60)
    running = asyncio.create_task(office.task.run())

    async def looked() -> bool:
        return office.task._data_version != -1

    async def followed() -> bool:
        return bool(await desk.store.films())

    try:
        await eventually(looked)
        beside = await Store.open(desk.data / "ezrec.db")
        await beside.put_booking(Booking("b", "cli", (WALL_S + 60) * SECOND, (WALL_S + 120) * SECOND, "scheduled"))
        await beside.close()
        await eventually(followed)
    finally:
        running.cancel()
        await asyncio.wait({running})


async def test_a_source_is_asked_a_tenth_sooner_or_later_than_the_settings_say(desk: Desk) -> None:
    pauses = [Office(desk, poll_s=100).task._pause_s() for _ in range(500)]
    assert 90 <= min(pauses) < 95
    assert 105 < max(pauses) <= 110


# ---- an id that is used again


DAY_S = 86_400


def at(start_s: float, booking_id: str = "b") -> str:
    return store_id(booking_id, round((WALL_S + start_s) * SECOND))


async def to_the_end(desk: Desk, booking_id: str) -> None:
    for stage in (Stage.RECORDING, Stage.RECORDED, Stage.RENDERED, Stage.UPLOADED, Stage.PUBLISHED, Stage.CLEANED):
        await desk.store.step(booking_id, stage)


async def test_an_id_that_is_used_again_every_week_is_recorded_every_week(desk: Desk) -> None:
    source = Source(row("b", -60, 60))
    office, done = Office(desk, source), {}
    for week in range(3):
        start = week * 7 * DAY_S
        source.answer = [row("b", start - 60, start + 60)]
        now = "b" if not week else at(start - 60)
        assert await office.stages() == done | {now: "booked"}
        film = await desk.now(now)
        assert (film.starts_at, film.ends_at) == tuple((WALL_S + start + s) * SECOND for s in (-60, 60))
        await to_the_end(desk, now)
        done[now] = "cleaned"
        office = Office(desk, source)  # the recorder is started again
        desk.clock.forward(60 * SECOND)
        assert await office.stages() == done
        desk.clock.forward((7 * DAY_S - 60) * SECOND)
    assert [one.id for one in await desk.store.bookings()] == list(done)
    assert len({film.recording_id for film in await desk.store.films()}) == 3


async def test_two_rows_of_one_id_are_two_bookings_and_each_is_cancelled_for_itself(desk: Desk, said: Said) -> None:
    morning, evening = row("b", 600, 1200), row("b", 8000, 9000)
    source = Source(morning, evening, row("b", 1100, 1300))
    office = Office(desk, source)
    assert await office.stages() == {"b": "booked", at(8000): "booked"}
    assert [keys["error"].partition(":")[0] for keys in said.events("booking skipped")] == ["booking 'b'"]
    source.answer = [morning, evening | {"status": "cancelled"}]
    assert await office.stages() == {"b": "booked", at(8000): "cancelled"}
    source.answer = [morning | {"status": "cancelled"}, evening]
    assert await office.stages() == {"b": "cancelled", at(8000): "booked"}
    source.answer = [evening]
    assert await office.stages() == {"b": "cancelled", at(8000): "booked"}
    assert [one.id for one in await desk.store.bookings()] == [at(8000)]


async def test_next_weeks_row_in_mid_match_costs_the_match_nothing(desk: Desk) -> None:
    source = Source(row("b", -60, 60))
    office = Office(desk, source)
    await office.stages()
    await desk.store.step("b", Stage.RECORDING)
    before = await desk.now("b")
    source.answer = [row("b", DAY_S, DAY_S + 60)]
    assert await office.stages() == {"b": "recording", at(DAY_S): "booked"}
    assert await desk.now("b") == before


async def test_a_booking_that_has_not_begun_is_moved_and_stays_one(desk: Desk) -> None:
    source = Source(row("b", 600, 1200))
    office = Office(desk, source)
    await office.stages()
    source.answer = [row("b", DAY_S, DAY_S + 600)]
    assert await office.stages() == {"b": "booked"}
    assert [event.kind for event in await desk.store.events("b")] == ["booked", "moved"]


async def test_a_row_of_a_table_that_moves_after_it_was_recorded_stays_refused(desk: Desk, said: Said) -> None:
    source = Source(row("b", -60, 60), name="supabase")
    source.reuses_ids, source.reported = False, True
    office = Office(desk, source)
    await office.stages()
    await to_the_end(desk, "b")
    source.answer = [row("b", DAY_S, DAY_S + 60), row("b", 2 * DAY_S, 2 * DAY_S + 60)]
    assert await office.stages() == {"b": "cleaned"}
    assert [event.kind for event in await desk.store.events("b")][-1] == "change refused"
    assert len(said.events("booking skipped")) == 1


async def test_a_row_that_has_become_malformed_keeps_every_booking_of_its_id(desk: Desk) -> None:
    source = Source(row("b", 600, 1200), row("b", DAY_S, DAY_S + 60))
    office = Office(desk, source)
    both = await office.stages()
    source.answer = [row("b", 600, 1200), row("b", DAY_S, DAY_S + 60) | {"end_time": "soon"}]
    assert await office.stages() == both == {"b": "booked", at(DAY_S): "booked"}
    source.answer = [row("b", 600, 1200) | {"end_time": "soon"}, row("b", DAY_S, DAY_S + 60), row("b", 5000, 6000)]
    assert await office.stages() == both | {at(5000): "booked"}  # not moved from 600


async def test_a_week_that_an_older_version_refused_is_recorded_after_all(desk: Desk) -> None:
    """It kept this week's times with last week's film."""
    await desk.film(Stage.CLEANED, "b", -7 * DAY_S, -7 * DAY_S + 60)
    await desk.store.put_booking(Booking("b", "file", (WALL_S + 600) * SECOND, (WALL_S + 1200) * SECOND, "scheduled"))
    office = Office(desk, Source(row("b", 600, 1200)))
    for _ in range(2):
        assert await office.stages() == {"b": "cleaned", at(600): "booked"}
    assert [one.id for one in await desk.store.bookings()] == [at(600)]


def instant(seconds: float) -> str:
    """So many seconds from the desk's now."""
    return datetime.fromtimestamp(WALL_S + seconds, UTC).isoformat()


class Published:
    """A table of videos that holds some bookings, or gives no answer."""

    def __init__(self, *held: tuple[str, str]) -> None:
        self.held = set(held)
        self.answers = True

    async def holds(self, booking_id: str, day: str) -> bool:
        if not self.answers:
            raise RetryError("no network")
        return (booking_id, day) in self.held

    async def publish(self, video: Video) -> None:
        raise AssertionError


async def test_what_was_over_when_the_store_was_lost_becomes_a_film_once_it_is_sure_that_there_is_none(
        desk: Desk) -> None:
    await desk.store.recover_run(7, "boot", [Offset(0, desk.offset_us)])
    await desk.store.note_recovery("lost")
    over = {"start_time": instant(-120), "end_time": instant(-60)}
    source = Source({"id": "shown", **over}, {"id": "lost", **over})
    published = Published(("shown", "2027-01-15"), ("lost", "2027-01-08"))  # an id may have been used the week before
    published.answers = False

    def found(starts_at: int, ends_at: int) -> list[Span]:
        return [begin_span(7, starts_at, ends_at, desk.offset_us)]

    one = Bookings(desk.store, desk.clock, [source], desk.settings().bookings, ZoneInfo("UTC"), lambda: None,
                   published, found)
    running = asyncio.create_task(one.run())
    try:
        await eventually(lambda: desk.store.booking("lost"))
        await eventually(lambda: asyncio.sleep(0, bool(one._logged)))  # it was said that nobody answers
        assert await desk.store.films() == []
        published.answers = True
        await eventually(lambda: desk.store.film("lost"))
        assert [span.run for span in await desk.store.spans("lost")] == [7]
        assert "footage found" in [entry.kind for entry in await desk.store.events("lost")]
        assert await desk.store.film("shown") is None
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_match_that_goes_on_when_the_store_was_lost_keeps_its_first_half(desk: Desk) -> None:
    await desk.store.recover_run(7, "boot", [Offset(0, desk.offset_us)])
    await desk.store.note_recovery("lost")
    source = Source({"id": "match", "start_time": instant(-60), "end_time": instant(60)})
    one = Bookings(desk.store, desk.clock, [source], desk.settings().bookings, ZoneInfo("UTC"), lambda: None,
                   Published(), lambda starts_at, ends_at: [begin_span(7, starts_at, ends_at, desk.offset_us)])
    await one.run_once()
    assert [span.run for span in await desk.store.spans("match")] == [7]


def many(path: Path, count: int) -> BookingsFile:
    """A bookings file with so many rows."""
    path.write_text(json.dumps([{"id": f"b{n}", "start_time": instant(3600 * n), "end_time": instant(3600 * n + 60)}
                                for n in range(count)]))
    return BookingsFile(path)


@pytest.mark.parametrize("limit_s", [0.0, 0.001, 0.003, 0.01, 0.03])
async def test_who_waits_no_longer_for_a_source_costs_none_of_its_rows(desk: Desk, limit_s: float) -> None:
    one = Bookings(desk.store, desk.clock, [many(desk.data / "bookings.json", 300)], desk.settings().bookings,
                   ZoneInfo("UTC"), lambda: None)
    with suppress(TimeoutError):
        async with asyncio.timeout(limit_s):
            await one.run_once()
    await one.run_once()  # the file has not changed
    assert len(await desk.store.bookings()) == 300


async def test_rows_that_could_not_be_stored_are_asked_for_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Bookings(desk.store, desk.clock, [many(desk.data / "bookings.json", 20)], desk.settings().bookings,
                   ZoneInfo("UTC"), lambda: None)
    real, calls = Store.put_booking, 0

    async def locked(store: Store, booking: Booking) -> bool:
        nonlocal calls
        calls += 1
        if calls == 10:
            raise RetryError("the store: database is locked")
        return await real(store, booking)

    monkeypatch.setattr(Store, "put_booking", locked)
    await one.run_once()
    assert await desk.store.bookings() == []  # all or nothing
    await one.run_once()
    assert len(await desk.store.bookings()) == 20


# ---- said once, and again


async def test_a_source_that_fails_again_is_said_again_and_that_it_was_well_too(desk: Desk, said: Said) -> None:
    source = Source(row("b", 60, 120))
    office = Office(desk, source)
    for answer in (RetryError("broken"), RetryError("broken"), [row("b", 60, 120)], RetryError("broken"), None, None):
        source.answer = answer
        await office.stages()
    events = [event for _, event, _ in said.lines if "read" in event]
    assert events == ["bookings not read, keeping the last good answer", "bookings are read again"] * 2


async def test_a_row_that_is_mended_and_breaks_again_is_said_again(desk: Desk, said: Said) -> None:
    source = Source()
    office = Office(desk, source)
    broken, good = row("b", 120, 60), row("b", 60, 120)
    for rows in ([broken], [broken, row("other", 60, 120)], [good], [broken], []):
        source.answer = rows
        await office.stages()
    events = [event for _, event, _ in said.lines if "skipped" in event]
    assert events == ["booking skipped", "booking no longer skipped"] * 2


async def test_a_change_that_is_taken_back_and_comes_again_is_said_again(desk: Desk, said: Said) -> None:
    source = Source(row("b", -60, 60))
    office = Office(desk, source)
    await office.stages()
    for stage in (Stage.RECORDING, Stage.RECORDED):
        await desk.store.step("b", stage)
    for rows in ([row("b", -60, 90)], [row("b", -60, 60)], [row("b", -60, 90)]):
        source.answer = rows
        await office.stages()
    late = [event for _, event, _ in said.lines if "changed too late" in event]
    assert late == ["booking changed too late, its film stays as it is", "booking is no longer changed too late",
                    "booking changed too late, its film stays as it is"]


async def test_an_error_whose_words_never_repeat_does_not_fill_the_log(desk: Desk, said: Said) -> None:
    source = Source()
    office = Office(desk, source)
    for number in range(100):
        source.answer = RetryError(f"broken at byte {number}")
        await office.stages()
    assert len(said.lines) == 20
