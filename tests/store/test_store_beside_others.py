"""The store on real SQLite: nothing is ever half done, other processes write beside it, versions are minded."""

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from pathlib import Path

import pytest

from ezrec.domain.errors import LeaveError, RetryError, StoreMissing
from ezrec.domain.events import AnnouncedLate, Booked, MessageRefused, StageChanged, StatusDelivered, Unknown
from ezrec.domain.messages import StatusReport, UploadAbort
from ezrec.domain.stages import Stage
from ezrec.domain.timeline import Span
from ezrec.store import VERSION, Store, database
from tests.fakes.records import booking, film_in, rows, segment
from tests.fakes.waiting import eventually, wait_until

ROOT = Path(__file__).parents[2]


async def test_commits_wait_for_the_disk(store: Store) -> None:
    assert [value for pragma in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
            for (value,) in await store._read(f"PRAGMA {pragma}")] == ["wal", 2, 1, database.BUSY_MS]


# ---- whole or not at all


async def test_a_transaction_whose_caller_is_cancelled_at_any_point_is_whole_or_not_there(store: Store) -> None:
    await film_in(store, Stage.RECORDING)
    turns, done = 0, False
    while not done:  # cancelled later and later, until it is done before
        caller = asyncio.create_task(store.next_generation("b", "moved"))
        for _ in range(turns):
            await asyncio.sleep(0)
        turns, done = turns + 1 + turns // 8, caller.done()
        caller.cancel()
        await asyncio.gather(caller, return_exceptions=True)
        film, story = await store.film("b"), await store.events("b")
        assert film
        assert film.generation == 1 + sum(event.kind == "generation" for event in story)
        assert turns > 1 or film.generation == 1  # the first one never began


async def test_a_caller_that_is_cancelled_while_its_transaction_begins_leaves_none_open(
        store: Store, path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        caller = asyncio.create_task(store.record("b", Unknown("never")))
        await eventually(lambda: _is_waiting(store))
        caller.cancel()
        other.execute("COMMIT")
    await asyncio.gather(caller, return_exceptions=True)
    await store.record("b", Unknown("goes on"))
    assert [event.kind for event in await store.events("b")] == ["goes on"]


async def _is_waiting(store: Store) -> bool:
    return store._turn.locked()


async def test_what_fails_in_the_middle_of_a_transaction_leaves_nothing_of_it(store: Store) -> None:
    before = await film_in(store, Stage.RECORDING)
    with pytest.raises(ValueError, match="not columns"):
        await store.next_generation("b", "moved", colour="red")
    assert await store.film("b") == before
    assert not any(event.kind == "generation" for event in await store.events("b"))


async def test_a_kill_in_the_middle_of_a_transaction_leaves_the_old_state(path: Path) -> None:
    script = textwrap.dedent("""
        import asyncio, os, signal, sys
        from pathlib import Path
        from ezrec.store import Store

        async def main():
            store = await Store.open(Path(sys.argv[1]), create=True)
            await store.add_film("b", "r", 100, 200)
            async with store._transaction() as db:
                await db.execute("UPDATE film SET ends_at = 999")
                await db.execute("INSERT INTO event (at, kind) VALUES (0, 'half')")
                os.kill(os.getpid(), signal.SIGKILL)

        asyncio.run(main())
    """)
    done = subprocess.run([sys.executable, "-c", script, str(path)], env=os.environ | {"PYTHONPATH": str(ROOT)},
                          check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    store = await Store.open(path)
    film = await store.film("b")
    assert film
    assert film.ends_at == 200
    await store.close()
    assert rows(path, "SELECT kind FROM event") == [("booked",)]


# ---- two at once


async def test_a_second_process_reads_and_writes_beside_the_first_and_is_noticed(store: Store, path: Path) -> None:
    await store.put_booking(booking())
    before = await store.version_of_data()
    assert await store.version_of_data() == before
    await store.put_booking(booking("own"))
    assert await store.version_of_data() == before  # its own writes are no news
    beside = await Store.open(path)
    await beside.put_booking(booking("new"))
    assert await store.version_of_data() != before
    assert [one.id for one in await store.bookings()] == ["b", "new", "own"]
    await beside.close()


async def test_writers_wait_for_each_other(store: Store, path: Path) -> None:
    beside = await Store.open(path)
    await asyncio.gather(*(one.record("b", Unknown("told")) for one in (store, beside) * 20))
    assert len(await store.events("b")) == 40
    await beside.close()


async def test_a_writer_that_waits_too_long_for_the_other_process_may_try_again(
        store: Store, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await store._db.execute("PRAGMA busy_timeout=1")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(RetryError, match="locked"):
            await store.record("b", Unknown("refused"))
        other.execute("COMMIT")
    await store.record("b", Unknown("told"))
    assert [event.kind for event in await store.events("b")] == ["told"]


async def test_a_reader_is_not_kept_waiting_by_another_processs_transaction(store: Store, path: Path) -> None:
    await store.put_booking(booking())
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("DELETE FROM booking")
        assert await store.bookings() == [booking()]
        other.execute("ROLLBACK")


def test_processes_that_create_the_store_in_the_same_moment_all_get_it(path: Path) -> None:
    script = ("import asyncio, sys; from pathlib import Path; from ezrec.store import Store\n"
              "from ezrec.domain.events import Unknown\n"
              "while not Path(sys.argv[2]).exists(): pass\n"
              "async def main():\n"
              "    store = await Store.open(Path(sys.argv[1]), create=True)\n"
              "    await store.record('b', Unknown('here'))\n"
              "    await store.close()\n"
              "asyncio.run(main())")
    go = path.with_name("go")
    started = [subprocess.Popen([sys.executable, "-c", script, str(path), str(go)], stderr=subprocess.PIPE, text=True,
                                env=os.environ | {"PYTHONPATH": str(ROOT)}) for _ in range(3)]
    wait_until(lambda: all(one.poll() is None for one in started))
    go.touch()
    said = [one.communicate(timeout=60)[1] for one in started]
    assert [one.returncode for one in started] == [0, 0, 0], said
    assert rows(path, "SELECT count(*) FROM event") == [(3,)]


# ---- versions


async def test_a_command_finds_no_store_where_no_recorder_ever_ran(path: Path) -> None:
    with pytest.raises(StoreMissing, match="ezrec run"):
        await Store.open(path)
    assert not path.exists()


async def test_a_store_of_a_newer_version_is_refused_and_left_alone(store: Store, path: Path) -> None:
    await store._do(f"PRAGMA user_version={VERSION + 1}")
    with pytest.raises(LeaveError, match="newer"):
        await Store.open(path, create=True, migrate=True)
    assert await store.version() == VERSION + 1


async def test_only_the_recorder_brings_an_older_store_up_to_date(
        store: Store, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await store.put_booking(booking())
    monkeypatch.setattr(database, "VERSION", VERSION + 1)
    monkeypatch.setattr(database, "MIGRATIONS", {VERSION: "ALTER TABLE booking ADD COLUMN colour TEXT;"})
    with pytest.raises(StoreMissing, match="up to date"):
        await Store.open(path)
    newer = await Store.open(path, migrate=True)
    assert await newer.version() == VERSION + 1
    assert await newer.bookings() == [booking()]
    await newer.close()


async def test_the_schema_says_its_version_beside_it() -> None:
    schema = (ROOT / "ezrec" / "store" / "schema.sql").read_text("utf-8")
    assert f"-- Version {VERSION}." in schema
    assert set(database.MIGRATIONS) == set(range(1, VERSION))


async def test_every_older_version_is_brought_to_the_same_tables_as_a_new_one(store: Store, tmp_path: Path) -> None:
    for old in range(1, VERSION):
        path = tmp_path / f"{old}.db"
        with closing(sqlite3.connect(path)) as db:
            db.executescript((Path(__file__).parent / "old" / f"{old}.sql").read_text("utf-8"))
            db.execute(f"PRAGMA user_version = {old}")
        brought = await Store.open(path, migrate=True)
        assert await _shape(brought) == await _shape(store)
        await brought.close()


async def _shape(store: Store) -> dict[str, list[tuple[object, ...]]]:
    """All tables and indices with their columns, but not the words of their SQL."""
    return {name: [tuple(column) for pragma in ("table_xinfo", "index_info")
                   for column in await store._read(f"PRAGMA {pragma}({name})")]
            for (name,) in await store._read("SELECT name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'")}


async def test_what_a_store_of_version_2_holds_means_the_same_after_an_upgrade(tmp_path: Path) -> None:
    path = tmp_path / "2.db"
    story = [("booked", {"starts_at": 10, "ends_at": 20}), ("heard too late", {}), ("told", {"status": "recording"}),
             ("stage", {"from": "booked", "to": "recording"}), ("gone since", {"why": "?"}),
             ("refused", {"what": "status", "reason": "no such row", "status": "failed"})]
    with closing(sqlite3.connect(path)) as db:
        db.executescript((Path(__file__).parent / "old" / "2.sql").read_text("utf-8"))
        db.executemany("INSERT INTO booking VALUES (?, ?, 10, 20, 'scheduled', '{}', 1)",
                       [("cloud", "supabase"), ("court", "cli")])
        db.executemany("INSERT INTO film (booking_id, recording_id, stage, starts_at, ends_at, changed_at)"
                       " VALUES (?, ?, 'booked', 10, 20, 1)", [("cloud", "r-1"), ("court", "r-2")])
        db.execute("INSERT INTO run VALUES (1, 'boot', 1)")
        db.executemany("INSERT INTO span VALUES (?, 1, 5, 100, 200, 99, 98, 201)", [("cloud",), ("court",)])
        db.executemany("INSERT INTO event (at, booking_id, kind, detail) VALUES (7, 'cloud', ?, ?)",
                       [(kind, json.dumps(detail)) for kind, detail in story])
        db.execute("INSERT INTO outbox (booking_id, kind, body) VALUES ('court', 'abort', ?)",
                   (json.dumps({"key": "k", "upload_id": ""}),))
        db.execute("PRAGMA user_version = 2")
        db.commit()
    store = await Store.open(path, migrate=True)
    try:
        entries = await store.events("cloud")
        spans = await store.spans("cloud")
        begun = await store.add_segment(segment(120, 150))
        outbox = await store.outbox()
    finally:
        await store.close()
    assert [(entry.kind, entry.detail) for entry in entries] == story
    assert [type(entry.event) for entry in entries] == [
        Booked, AnnouncedLate, StatusDelivered, StageChanged, Unknown, MessageRefused]
    assert spans == [Span(1, 5, 100, 200, 99, 98, 201)]
    assert sorted(begun) == ["cloud", "court"]
    assert [(one.booking_id, one.body) for one in outbox] == [
        ("court", UploadAbort("k", "")), ("cloud", StatusReport("recording", None))]
