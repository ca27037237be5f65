"""Copies of the store: whole and checked, of one in use, a bounded number; and what a lost store gets back from one."""

import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from ezrec.domain.booking import Booking
from ezrec.domain.clock import SECOND
from ezrec.domain.errors import EzrecError, StoreDamaged
from ezrec.domain.events import Retried
from ezrec.domain.stages import Stage
from ezrec.store import Store
from ezrec.store.copies import DAMAGED, copies, make, name_of, surplus
from ezrec.store.recall import TABLES, recall
from tests.fakes.desk import HOUR, Desk, a_desk
from tests.fakes.records import VIDEO


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with a_desk(tmp_path / "data") as one:
        yield one


def rows(path: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(sql).fetchall()


async def test_a_copy_of_a_store_in_use_holds_what_was_committed(desk: Desk) -> None:
    await desk.film(Stage.CLEANED)
    copy = desk.folder.copies / name_of("2026-11-29")
    make(desk.folder.store, copy)
    await desk.film(Stage.BOOKED, "later")
    assert rows(copy, "SELECT booking_id FROM film") == [("match",)]
    assert [path.name for path in desk.folder.copies.iterdir()] == [copy.name]
    assert copy.stat().st_mode & 0o777 == 0o640


async def test_a_damaged_store_makes_no_copy_and_the_process_that_made_it_says_so(desk: Desk) -> None:
    for number in range(300):
        await desk.store.add_film(f"match-{number}", f"rec-{number}", 0, 1)
    await desk.store.close()
    with closing(sqlite3.connect(desk.folder.store)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        page = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'film_by_stage'").fetchone()[0]
    with desk.folder.store.open("r+b") as store:
        store.seek((page - 1) * 4096 + 100)
        store.write(b"\xff" * 3000)
    copy = desk.folder.copies / name_of("2026-11-29")
    with pytest.raises(StoreDamaged):
        make(desk.folder.store, copy)
    done = subprocess.run([sys.executable, "-m", "ezrec.store.copies", desk.folder.store, copy], capture_output=True,
                          text=True, check=False)
    assert (done.returncode, "is damaged" in done.stderr) == (DAMAGED, True)
    assert not list(desk.folder.copies.iterdir())


async def test_without_a_store_or_a_place_for_it_there_is_no_copy(desk: Desk) -> None:
    with pytest.raises(EzrecError, match="there is no store"):
        make(desk.data / "nothing" / "ezrec.db", desk.folder.copies / "a.db")
    desk.folder.copies.rmdir()
    desk.folder.copies.write_text("in the way")
    with pytest.raises(EzrecError, match="cannot be copied"):
        make(desk.folder.store, desk.folder.copies / "a.db")


def test_the_oldest_copies_are_too_many_and_what_was_begun_is_nobody_s(tmp_path: Path) -> None:
    days = [f"2026-11-{day:02}" for day in range(1, 6)]
    for name in (*map(name_of, days), "ezrec.db-2026-11-06.unchecked", "ezrec.db-2026-11-06.unchecked.new"):
        (tmp_path / name).touch()
    (tmp_path / "somebody's.db").touch()
    assert [path.name for path in copies(tmp_path)] == [name_of(day) for day in reversed(days)]
    assert {path.name for path in surplus(tmp_path, 3)} == {
        name_of("2026-11-01"), name_of("2026-11-02"), "ezrec.db-2026-11-06.unchecked",
        "ezrec.db-2026-11-06.unchecked.new"}
    assert copies(tmp_path / "gone") == surplus(tmp_path / "gone", 3) == []


async def copied(desk: Desk) -> Path:
    copy = desk.folder.copies / name_of("2026-11-29")
    make(desk.folder.store, copy)
    return copy


async def fresh_store(desk: Desk) -> tuple[Path, Store]:
    path = desk.data / "fresh.db"
    return path, await Store.open(path, clock=desk.clock, create=True)


async def test_a_lost_store_gets_back_what_was_done_with_and_what_is_still_to_come(desk: Desk) -> None:
    run = await desk.run()
    done = await desk.film(Stage.CLEANED, "done")
    await desk.lay(done, run)
    await desk.store.record("done", Retried())
    await desk.film(Stage.RECORDED, "under-way")
    await desk.store.put_video(VIDEO)
    now = desk.clock.wall_us()
    await desk.store.put_booking(Booking("tomorrow", "cli", now + HOUR, now + 2 * HOUR, "scheduled"))
    await desk.store.put_booking(Booking("over", "cli", now - 2 * HOUR, now - HOUR, "scheduled"))
    told = await desk.store.events("done")
    copy = await copied(desk)
    path, fresh = await fresh_store(desk)
    await fresh.close()
    found = recall([copy], path, now)
    assert found
    assert found[0] == copy
    fresh = await Store.open(path, clock=desk.clock)
    try:
        film = await fresh.film("done")
        assert film
        assert film.stage is Stage.CLEANED
        assert await fresh.events("done") == told
        assert await fresh.film("under-way") is None  # its footage is found, and its storage asked
        assert [one.id for one in await fresh.bookings()] == ["tomorrow"]
        assert [one["booking_id"] for one in await fresh.videos()] == [VIDEO.booking_id]
        assert set(await fresh.runs()) == {run}
    finally:
        await fresh.close()


async def test_what_is_there_already_stays_as_it_is(desk: Desk) -> None:
    await desk.film(Stage.PUBLISHED, "match")
    now = desk.clock.wall_us()
    await desk.store.put_booking(Booking("tomorrow", "cli", now + HOUR, now + 2 * HOUR, "scheduled"))
    copy = await copied(desk)
    path, fresh = await fresh_store(desk)
    await fresh.add_film("match", "rec-new", now, now + SECOND)
    await fresh.put_booking(Booking("tomorrow", "cli", now + HOUR, now + 2 * HOUR, "cancelled"))
    await fresh.close()
    recall([copy], path, now)
    assert rows(path, "SELECT recording_id, stage FROM film") == [("rec-new", "booked")]
    assert rows(path, "SELECT status FROM booking") == [("cancelled",)]
    assert rows(path, "SELECT count(*) FROM event WHERE kind = 'stage'") == [(0,)]


async def test_of_a_table_that_was_read_whole_nothing_is_taken(desk: Desk) -> None:
    now = desk.clock.wall_us()
    await desk.store.put_booking(Booking("withdrawn", "cli", now + HOUR, now + 2 * HOUR, "scheduled"))
    await desk.film(Stage.CLEANED)
    copy = await copied(desk)
    path, fresh = await fresh_store(desk)
    await fresh.close()
    recall([copy], path, now, set(TABLES) - {"booking"})
    assert rows(path, "SELECT count(*) FROM booking") == [(0,)]
    assert rows(path, "SELECT count(*) FROM film") == [(1,)]


@pytest.mark.parametrize("wrong", ["no database", "old", "empty"])
async def test_a_copy_that_cannot_be_used_is_passed_over(desk: Desk, wrong: str) -> None:
    await desk.film(Stage.CLEANED)
    good = await copied(desk)
    bad = good.with_name(name_of("2026-11-30"))
    if wrong == "old":
        bad.write_bytes(good.read_bytes())
        with closing(sqlite3.connect(bad)) as db:
            db.execute("PRAGMA user_version=5")
            db.commit()
    else:
        bad.write_bytes(b"" if wrong == "empty" else b"nonsense" * 1000)
    path, fresh = await fresh_store(desk)
    await fresh.close()
    found = recall(copies(desk.folder.copies), path, desk.clock.wall_us())
    assert found
    assert (found[0], found[1]["film"]) == (good, 1)
    assert recall([bad], path, desk.clock.wall_us()) is None


async def test_a_copy_that_takes_too_long_costs_what_is_left_of_it_and_no_more(desk: Desk) -> None:
    for number in range(300):
        await desk.film(Stage.MISSED, f"match-{number}")
    copy = await copied(desk)
    path, fresh = await fresh_store(desk)
    await fresh.close()
    found = recall([copy], path, desk.clock.wall_us(), limit_s=-1)
    assert found
    assert "film" not in found[1]
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]
    assert rows(path, "SELECT count(*) FROM film") == [(0,)]
