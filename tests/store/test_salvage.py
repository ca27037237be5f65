"""Damage done to real stores: it is found, the store is moved aside, and what lies on sound pages is saved."""

import asyncio
import itertools
import json
import os
import random
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from ezrec.domain.certificate import Certificate
from ezrec.domain.events import Moved
from ezrec.domain.film import CameraShare, Canvas, ChunkReport, EncoderOptions, Recipe, Rung, View
from ezrec.domain.planning import Chunk
from ezrec.domain.stages import Stage
from ezrec.domain.timeline import Offset
from ezrec.store import VERSION, Store
from ezrec.store.damage import condemn, damage, move_aside
from ezrec.store.pages import Pages
from ezrec.store.plausible import LARGEST_ID
from ezrec.store.rows import PartRow
from ezrec.store.salvage import Salvaged, salvage
from tests.fakes.records import VIDEO, Hand, booking, film_in, segment, span

RECIPE = Recipe(30, Canvas(320, 180, (View("left", 0, 320, 180),)), EncoderOptions())  # type: ignore[arg-type]
REPORT = ChunkReport(77, {"left": CameraShare(shown=60)}, both=3)
PAGE = 4096
NOW = datetime(2026, 11, 25, 18, 0, 5, tzinfo=UTC)

Rows = dict[str, set[tuple[Any, ...]]]


# ---- real stores


async def fill(path: Path, films: int, events: int) -> None:
    """Films in all stages, with all that belongs to them, and a long story; each film on one of five runs."""
    store = await Store.open(path, clock=Hand(), create=True, migrate=True)
    try:
        await store._db.executescript("PRAGMA synchronous=OFF; PRAGMA secure_delete=OFF")
        for run in range(1, 6):
            assert await store.begin_run(f"boot-{run}", 0, 1000 * run) == run
            await store.add_offset(run, Offset(500, 1001 * run))
        for number in range(films):
            await add_film(store, number)
        long = Certificate(notes=tuple(f"{'note ' * 20}{number}" for number in range(100)))
        await store.update_film("b-3", certificate=json.dumps(long.to_json()))
        async with store._transaction() as db:
            for number in range(events):
                await store._record(db, f"b-{number % films}", Moved(number, number + 10))
        await store._do("DELETE FROM event WHERE id BETWEEN 300 AND 900")  # their pages are free, and hold them still
    finally:
        await store.close()


async def add_film(store: Store, number: int) -> None:
    name, run, at = f"b-{number}", 1 + number % 5, 1000 * number
    await store.put_booking(booking(name, "supabase", starts_at=at, note="n" * 60, reported=True))
    await film_in(store, list(Stage)[number % len(Stage)], name)
    await store.update_film(name, recipe=RECIPE.dumps(), object_key=f"k/{name}", upload_id="u" * 40)
    await store.put_span(name, span(run, at, at + 900))
    for part in range(3):
        await store.add_segment(segment(at + 10 * part, at + 10 * part + 10, run=run))
        await store.plan_chunk(name, 1, Chunk(part + 1, run, 60 * part, 60), at, f"films/{name}/{part}")
        await store.chunk_rendered(name, 1, part + 1, f"films/{name}/{part}", REPORT, Rung.FULL)
        await store.put_part(name, 1, PartRow(part + 1, 5 * part, 5, "m" * 32, "s" * 64))
    await store.put_video(replace(VIDEO, booking_id=name, recording_id=f"r-{name}"))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with so few pages that each one can be lost on its own."""
    path = tmp_path_factory.mktemp("small") / "ezrec.db"
    asyncio.run(fill(path, 45, 2000))
    return path


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store as it is after months."""
    path = tmp_path_factory.mktemp("usual") / "ezrec.db"
    asyncio.run(fill(path, 300, 20_000))
    return path


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("empty") / "ezrec.db"

    async def make() -> None:
        await (await Store.open(path, create=True)).close()

    asyncio.run(make())
    return path


@pytest.fixture
def hurt(path: Path) -> Callable[[Path, Callable[[bytearray], object]], Path]:
    """Copy a store to `path`, changed."""

    def change(store: Path, harm: Callable[[bytearray], object]) -> Path:
        data = bytearray(store.read_bytes())
        harm(data)
        path.write_bytes(data)
        return path

    return change


def contents(path: Path) -> Rows:
    with closing(sqlite3.connect(path)) as db:
        tables = [name for name, in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'"
                                               " AND name NOT LIKE 'sqlite%'")]
        return {name: set(db.execute(f"SELECT * FROM {name}")) for name in tables}


def saved_from(damaged: Path, empty: Path, **more: Any) -> tuple[Salvaged, Rows]:
    """What is salvaged into a new store, which must be whole in itself."""
    fresh = damaged.with_name("fresh.db")
    shutil.copyfile(empty, fresh)
    told = salvage(damaged, fresh, **more)
    with closing(sqlite3.connect(fresh)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
    saved = contents(fresh)
    for name, count in told.tables.items():
        assert count.copied + count.made == len(saved[name])
    return told, saved


def without_orphans(rows: Rows, saved: Rows) -> Rows:
    """Of these rows those whose film and run were saved."""
    films, runs = {row[0] for row in saved["film"]}, {row[0] for row in saved["run"]}
    return rows | {
        "span": {row for row in rows["span"] if row[0] in films and row[1] in runs},
        "chunk": {row for row in rows["chunk"] if row[0] in films},
        "part": {row for row in rows["part"] if row[0] in films},
        "segment": {row for row in rows["segment"] if row[1] in runs},
        "offset": {row for row in rows["offset"] if row[0] in runs},
    }


# ---- salvage


def test_each_page_on_its_own_costs_only_the_rows_that_lie_on_it(
        small: Path, empty: Path, hurt: Callable[[Path, Callable[[bytearray], object]], Path]) -> None:
    before = contents(small)
    with closing(sqlite3.connect(small)) as db:
        pages = db.execute("SELECT pageno, name, pagetype, ncell FROM dbstat").fetchall()
    assert {kind for _, _, kind, _ in pages} == {"internal", "leaf", "overflow"}
    known = {number: (name, kind, cells) for number, name, kind, cells in pages}
    for number in range(1, small.stat().st_size // PAGE + 1):
        name, kind, cells = known.get(number, ("", "free", 0))
        told, saved = saved_from(hurt(small, lambda data, at=(number - 1) * PAGE: data.__setitem__(
            slice(at, at + PAGE), bytes(PAGE))), empty)
        may_lose = {"leaf": cells, "overflow": 1}.get(kind, 0) if name in before else 0
        for table, rows in without_orphans(before, saved).items():
            lost = len(rows - saved[table])
            # Page 1 tells which pages are free: without it rows that were deleted may come back.
            revived = {row for row in saved[table] if table == "event" and 300 <= row[0] <= 900 and number == 1}
            assert saved[table] - revived <= rows, f"{table} with page {number}"
            assert lost == 0 or (table == name and lost <= may_lose), f"{lost} of {table} with page {number}: {kind}"
        if may_lose:  # the end of a long value that is zeroes can be read, and refused
            assert told.tables[name].unreadable or told.tables[name].refused, f"page {number} of {name}"


@pytest.mark.parametrize("pages", [0, 1, 2, 3, 7, 40, 150, 400, 600])
def test_of_a_store_that_was_cut_short_all_that_is_left_is_saved(
        usual: Path, empty: Path, hurt: Callable[[Path, Callable[[bytearray], object]], Path], pages: int) -> None:
    path = hurt(usual, lambda data: data.__delitem__(slice(pages * PAGE + 100, None)))
    assert damage(path)
    told, saved = saved_from(path, empty)
    before = contents(usual)
    with closing(sqlite3.connect(usual)) as db:
        left = dict(db.execute("SELECT name, sum(ncell * (pageno <= ?)) FROM dbstat WHERE pagetype = 'leaf'"
                               " GROUP BY name", (pages,)))
    assert told.in_time
    assert all(saved[name] <= rows for name, rows in before.items())
    for name in ("booking", "run", "video", "outbox", "event"):  # they hang on no other, and have no long rows
        assert len(saved[name]) == left[name]


def test_one_lost_page_of_a_long_story_costs_no_more_than_its_entries(
        usual: Path, empty: Path, hurt: Callable[[Path, Callable[[bytearray], object]], Path],
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pages, "rows", lambda *_: iter(()))  # SQLite itself reaches what lies behind the page
    with closing(sqlite3.connect(usual)) as db:
        leaves = db.execute("SELECT pageno, ncell FROM dbstat WHERE name = 'event' AND pagetype = 'leaf'").fetchall()
    number, cells = leaves[len(leaves) // 2]
    path = hurt(usual, lambda data: data.__setitem__(slice((number - 1) * PAGE, number * PAGE), bytes(PAGE)))
    told, saved = saved_from(path, empty)
    before = contents(usual)
    assert len(before["event"] - saved["event"]) == cells
    assert saved | {"event": set()} == before | {"event": set()}
    assert told.words().endswith("not all could be read of: event")


@pytest.mark.parametrize("seed", range(40))
def test_flipped_bytes_never_stop_a_salvage_and_never_let_in_what_cannot_be_read(
        small: Path, empty: Path, path: Path, hurt: Callable[[Path, Callable[[bytearray], object]], Path],
        seed: int) -> None:
    chance = random.Random(seed)
    told, _ = saved_from(hurt(small, lambda data: [
        data.__setitem__(chance.randrange(len(data)), chance.randrange(256)) for _ in range(1 << chance.randrange(12))
    ]), empty)
    assert told.in_time
    asyncio.run(all_can_be_read(path.with_name("fresh.db")))


async def all_can_be_read(path: Path) -> None:
    """What the recorder does at its start, and people with the story."""
    store = await Store.open(path)
    try:
        for one in await store.films():
            await store.spans(one.booking_id)
            assert all(row.report is None or row.report.bytes for row in await store.chunks(one.booking_id))
            await store.parts(one.booking_id, one.generation)
            await store.events(one.booking_id)
        for run in range(1, 7):
            await store.segments(run, -1 << 62, 1 << 62)
            await store.offsets(run)
        await store.bookings()
        await store.outbox()
        await store.videos()
        assert await store.begin_run("boot", 0, 0) <= LARGEST_ID + 1
    finally:
        await store.close()


@pytest.mark.parametrize("at", [0, 15, 16, 18, 19, 20, 21, 28, 40, 44, 47, 56, 59, 60, 63, 92, 100, 103, 105, 108])
def test_a_damaged_header_costs_nothing(
        small: Path, empty: Path, hurt: Callable[[Path, Callable[[bytearray], object]], Path], at: int) -> None:
    path = hurt(small, lambda data: data.__setitem__(at, data[at] ^ 0x55))
    damage(path)
    _, saved = saved_from(path, empty)
    assert saved == contents(small)


def test_rows_that_cannot_be_true_are_left_out_with_what_hangs_on_them_and_counted(
        small: Path, empty: Path, path: Path) -> None:
    shutil.copyfile(small, path)
    with closing(sqlite3.connect(path)) as db:
        for harm in ("UPDATE film SET stage = 'boked' WHERE booking_id = 'b-1'",
                     "UPDATE film SET recipe = '{' WHERE booking_id = 'b-2'",
                     "UPDATE booking SET row = '{\"a' WHERE id = 'b-4'",
                     "UPDATE event SET booking_id = CAST(x'c328' AS TEXT) WHERE id = 5",
                     f"UPDATE run SET id = {LARGEST_ID + 5} WHERE id = 5"):
            db.execute(harm)
        db.commit()
    told, saved = saved_from(path, empty)
    before = contents(small)
    assert {row[0] for row in before["film"] - saved["film"]} == {"b-1", "b-2"}
    assert {row[0] for row in before["booking"] - saved["booking"]} == {"b-4"}
    assert {row[0] for row in before["run"] - saved["run"]} == {5}
    assert {row[0] for row in before["event"] - saved["event"]} == {5}
    assert saved | dict.fromkeys(("film", "booking", "run", "event")) == without_orphans(before, saved) | dict.fromkeys(
        ("film", "booking", "run", "event"))
    refused = {name: count.refused for name, count in told.tables.items()}
    assert (refused["film"], refused["booking"], refused["event"], refused["part"]) == (2, 1, 1, 6)
    assert "2 of film" in told.words()


def test_a_lost_run_that_is_known_from_elsewhere_keeps_what_hangs_on_it(
        small: Path, empty: Path, path: Path) -> None:
    shutil.copyfile(small, path)
    with closing(sqlite3.connect(path)) as db:
        db.execute("DELETE FROM run WHERE id = 2")
        db.commit()
    lost, _ = saved_from(path, empty)
    assert lost.tables["segment"].refused
    told, saved = saved_from(path, empty, known={"run": [{"id": 2, "boot_id": "boot-2", "started_at": 2000},
                                                         {"id": 1, "boot_id": "other", "started_at": 1}]})
    assert saved == contents(small)
    assert (told.tables["run"].made, told.tables["run"].copied) == (1, 4)


def test_a_number_that_was_given_once_is_not_given_again_though_its_row_is_lost(
        small: Path, empty: Path, path: Path) -> None:
    shutil.copyfile(small, path)
    with closing(sqlite3.connect(path)) as db:
        db.execute("DELETE FROM run WHERE id > 1")
        db.commit()
    saved_from(path, empty)

    async def begin() -> int:
        store = await Store.open(path.with_name("fresh.db"))
        run = await store.begin_run("boot", 0, 0)
        await store.close()
        return run

    assert asyncio.run(begin()) == 6


@pytest.mark.parametrize("version", [1, 2])
def test_a_damaged_store_of_an_older_version_is_saved_into_one_of_today(
        path: Path, empty: Path, version: int) -> None:
    old = (Path(__file__).parent / "old" / f"{version}.sql").read_text("utf-8")
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.executescript(f"{old}\nPRAGMA user_version={version};")
        assert not damage(path)
        db.execute("INSERT INTO booking VALUES ('b', 'supabase', 1, 2, 'scheduled', '{}', 3)")
        db.execute("INSERT INTO film (booking_id, recording_id, stage, starts_at, ends_at, changed_at)"
                   " VALUES ('b', 'r', 'recording', 1, 2, 3)")
        db.execute("INSERT INTO run VALUES (7, 'boot', 1)")
        db.execute("INSERT INTO span VALUES ('b', 7, 11, 12, 13, 14, 15, 16)")
        db.execute("VACUUM")
        film = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'film_by_stage'").fetchone()
    told, saved = saved_from(path, empty)
    assert film or version == 1
    assert saved["booking"] == {("b", "supabase", 1, 2, "scheduled", "{}", 3, 1)}
    assert saved["span"] == {("b", 7, 11, 12, 13, 14, 15, 16)}
    assert told.words() == "rows saved: 1 of booking, 1 of film, 1 of run, 1 of span"


def test_what_only_the_log_holds_is_saved_even_if_the_file_is_empty(small: Path, empty: Path, path: Path) -> None:
    asyncio.run(fill(path, 5, 50))
    shutil.copyfile(path, path.with_name("whole.db"))
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA wal_autocheckpoint=0")
        for number in range(1, path.stat().st_size // PAGE):
            db.execute("UPDATE event SET at = at + 1 WHERE id = ?", (number,))
        db.executescript("CREATE TABLE x (a); DROP TABLE x; VACUUM;")  # writes every page into the log
        before = contents(path)
        log = Path(f"{path}-wal").read_bytes()
    path.write_bytes(b"")
    Path(f"{path}-wal").write_bytes(log)
    assert damage(path) == "ezrec.db is empty"
    _, saved = saved_from(path, empty)
    assert saved == before
    assert Path(f"{path}-wal").read_bytes() == log


@pytest.mark.parametrize("at", [0, 8, 16, 33, 50, 3000, 40_000, -2000])
def test_a_damaged_log_costs_no_more_than_what_was_written_last(small: Path, empty: Path, path: Path, at: int) -> None:
    shutil.copyfile(small, path)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA wal_autocheckpoint=0")
        for number in range(1, 30):
            db.execute("INSERT INTO event (at, kind) VALUES (?, 'moved')", (number,))
        log = bytearray(Path(f"{path}-wal").read_bytes())
        log[at] ^= 0x55
        file = path.read_bytes()
    path.write_bytes(file)
    Path(f"{path}-wal").write_bytes(log)
    damage(path)
    _, saved = saved_from(path, empty)
    before = contents(small)
    assert all(saved[name] >= rows for name, rows in before.items())


def plant_text(path: Path) -> None:
    path.write_text("not a database\n" * 2000)


def plant_bytes(path: Path) -> None:
    path.write_bytes(b"")


def plant_link(path: Path) -> None:
    path.symlink_to("nowhere")


WRONG = {"empty": plant_bytes, "folder": Path.mkdir, "pipe": os.mkfifo, "text": plant_text, "link": plant_link}


@pytest.fixture(params=WRONG)
def wrong(request: pytest.FixtureRequest, path: Path) -> Iterator[Path]:
    WRONG[request.param](path)
    return path


def test_whatever_lies_in_a_stores_place_is_found_moved_aside_and_gives_no_rows(wrong: Path, empty: Path) -> None:
    assert damage(wrong)
    told, saved = saved_from(wrong, empty)
    assert not any(saved.values())
    assert told.words().startswith("rows saved: none; not all could be read of: booking, ")
    folder = move_aside(wrong, wrong.parent / "aside", NOW)
    assert folder.name == "database-20261125T180005Z"
    assert os.path.lexists(folder / "ezrec.db")
    assert not os.path.lexists(wrong)
    assert damage(wrong) is None


def test_a_salvage_ends_when_its_time_is_over_and_says_so(usual: Path, empty: Path, path: Path) -> None:
    shutil.copyfile(usual, path)
    now = itertools.count()
    told, saved = saved_from(path, empty, limit_s=100, monotonic=lambda: next(now))
    before = contents(usual)
    assert not told.in_time
    assert told.words().endswith("not all could be read of: event; the time was over")
    assert saved | {"event": set()} == before | {"event": set()}
    assert 0 < len(saved["event"]) < len(before["event"])
    assert max(saved["event"]) == max(before["event"])  # the newest first


def test_a_new_store_that_is_none_is_refused(small: Path, path: Path) -> None:
    with pytest.raises(ValueError, match=f"not a store of version {VERSION}"):
        salvage(small, path)


# ---- damage


def test_a_sound_store_is_no_damage_and_is_left_as_it_is(usual: Path) -> None:
    before = usual.read_bytes()
    assert damage(usual) is None
    assert usual.read_bytes() == before
    assert damage(usual.with_name("none.db")) is None


def test_a_store_in_use_is_no_damage_though_another_process_writes(small: Path, path: Path) -> None:
    shutil.copyfile(small, path)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        db.execute("INSERT INTO event (at, kind) VALUES (1, 'moved')")
        assert damage(path) is None
        db.execute("COMMIT")
    assert damage(path) is None


def test_every_page_that_is_lost_is_found(
        small: Path, hurt: Callable[[Path, Callable[[bytearray], object]], Path]) -> None:
    with closing(sqlite3.connect(small)) as db:
        used = [number for number, in db.execute("SELECT pageno FROM dbstat WHERE pagetype != 'overflow'")]
    for number in used:
        path = hurt(small, lambda data, at=(number - 1) * PAGE: data.__setitem__(slice(at, at + PAGE), bytes(PAGE)))
        assert damage(path, limit_s=60), f"page {number}"


@pytest.mark.parametrize("harm", [
    "PRAGMA user_version = 0", "PRAGMA user_version = -3", f"PRAGMA user_version = {VERSION + 3}",
    "PRAGMA user_version = 2", "DROP TABLE outbox", "DROP INDEX film_by_stage",
    "ALTER TABLE film DROP COLUMN url", "UPDATE film SET stage = 'boked' WHERE booking_id = 'b-1'",
    "UPDATE outbox SET body = '{' WHERE id = 1", "UPDATE chunk SET report = '{}' WHERE film = 'b-1'",
    "UPDATE segment SET path = CAST(x'c328' AS TEXT) WHERE start_us = 0"])
def test_what_would_end_every_start_is_damage(small: Path, path: Path, harm: str) -> None:
    shutil.copyfile(small, path)
    with closing(sqlite3.connect(path)) as db:
        db.execute(harm)
        db.commit()
    assert damage(path)


def test_a_store_of_a_newer_ezrec_is_not_damaged(small: Path, path: Path) -> None:
    shutil.copyfile(small, path)
    with closing(sqlite3.connect(path)) as db:
        db.executescript(f"CREATE TABLE more (a); PRAGMA user_version = {VERSION + 1}")
    assert damage(path) is None


def test_looking_for_damage_ends_at_its_limit(path: Path) -> None:
    schema = (files("ezrec.store") / "schema.sql").read_text("utf-8")
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.executescript(f"PRAGMA synchronous=OFF; BEGIN; {schema}; PRAGMA user_version = {VERSION};")
        db.executemany("INSERT INTO event (at, kind, detail) VALUES (?, 'moved', ?)",
                       ((number, '{"starts_at": 1, "ends_at": 2}') for number in range(1_000_000)))
        db.execute("COMMIT")
    started = time.process_time()
    assert damage(path, limit_s=60) is None
    whole_s, started = time.process_time() - started, time.process_time()
    assert damage(path, limit_s=0.001) is None
    assert time.process_time() - started < whole_s / 2


def test_what_was_condemned_while_in_use_is_damaged_until_it_is_moved_aside(small: Path, path: Path) -> None:
    shutil.copyfile(small, path)
    condemn(path, "database disk image is malformed")
    assert damage(path) == "database disk image is malformed"
    move_aside(path, path.parent / "aside", NOW)
    shutil.copyfile(small, path)
    assert damage(path) is None


# ---- moving aside


def test_all_that_belongs_to_a_store_goes_along_and_nothing_is_overwritten(path: Path) -> None:
    folders = []
    for content in (b"one", b"two"):
        for ending in ("", "-wal", "-shm", "-journal"):
            path.with_name(path.name + ending).write_bytes(content + ending.encode())
        folders.append(move_aside(path, path.parent / "a" / "aside", NOW))
    assert [folder.name for folder in folders] == ["database-20261125T180005Z", "database-20261125T180005Z.2"]
    for folder, content in zip(folders, (b"one", b"two"), strict=True):
        assert {one.name: one.read_bytes() for one in folder.iterdir()} == {
            f"ezrec.db{ending}": content + ending.encode() for ending in ("", "-wal", "-shm", "-journal")}
    assert {one.name for one in path.parent.iterdir()} == {"a"}
