"""Values that a column takes and that cannot be true: they would end every start, or lead out of the data folder."""

import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest

from ezrec.domain.errors import RowUnreadable
from ezrec.domain.planning import Chunk
from ezrec.domain.stages import Stage
from ezrec.store import VERSION, Store
from ezrec.store.damage import damage
from ezrec.store.salvage import salvage
from tests.fakes.records import booking, film_in, segment, span


async def fill(store: Store) -> None:
    await store.begin_run("boot", 0, 0)
    await store.put_booking(booking("b"))
    await film_in(store, Stage.RECORDING)
    await store.put_span("b", span())
    await store.add_segment(segment(100, 200))
    await store.plan_chunk("b", 1, Chunk(1, 1, 0, 60), 100, "films/r-b/chunk-1-00001.mp4")


HARMS = [
    "UPDATE segment SET path = '../../etc/passwd'",
    "UPDATE segment SET path = '/etc/passwd', doomed = 1",
    "UPDATE segment SET path = 'segments/1/left/' || char(0) || '.ts'",
    "UPDATE film SET recording_id = '../..'",
    "UPDATE film SET recording_id = '..'",
    "UPDATE film SET recording_id = ''",
    "UPDATE film SET recording_id = '/etc'",
    "UPDATE chunk SET path = 'films/../../etc/passwd'",
    "UPDATE chunk SET path = '/etc/passwd'",
    "UPDATE booking SET id = 'b' || char(0)",
    "UPDATE booking SET ends_at = 1 << 62",
    "UPDATE booking SET starts_at = -(1 << 62)",
    "UPDATE film SET ends_at = 1 << 62",
    "UPDATE span SET end_us = 1 << 62",
    "UPDATE offset SET wall_offset_us = 1 << 62",
    "UPDATE segment SET end_us = 1 << 62",
    "INSERT INTO run VALUES (1 << 62, 'boot', 0, NULL)",
    "UPDATE span SET run = 999",
    "UPDATE sqlite_sequence SET seq = 9223372036854775807 WHERE name = 'run'",
    "CREATE TRIGGER bad BEFORE INSERT ON segment BEGIN SELECT RAISE(ABORT, 'no'); END",
    "CREATE VIEW bad AS SELECT 1",
]


@pytest.mark.parametrize("harm", HARMS)
async def test_a_store_with_what_cannot_be_true_is_damaged_and_what_is_saved_of_it_is_not(
        store: Store, path: Path, tmp_path: Path, harm: str) -> None:
    await fill(store)
    await store.close()
    assert damage(path, limit_s=60) is None
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(harm)
    assert damage(path, limit_s=60)
    saved = tmp_path / "saved.db"
    await (await Store.open(saved, create=True)).close()
    salvage(path, saved)
    assert damage(saved, limit_s=60) is None
    after = await Store.open(saved)
    assert await after.begin_run("boot", 0, 0) < 1000
    await after.close()


@pytest.mark.parametrize(("harm", "read"), [
    ("UPDATE film SET stage = 'boked'", lambda store: store.films()),
    ("UPDATE film SET recipe = '{'", lambda store: store.film("b")),
    ("UPDATE film SET stage = 'boked'", lambda store: store.step("b", Stage.RECORDED)),
    ("UPDATE booking SET row = '{'", lambda store: store.bookings()),
    ("UPDATE segment SET gaps = '[1]'", lambda store: store.segments(1, 0, 1000)),
    ("UPDATE chunk SET fallback = 'none'", lambda store: store.chunks("b", 1)),
    ("UPDATE event SET detail = '{'", lambda store: store.events("b")),
])
async def test_a_row_that_comes_to_be_unreadable_while_the_store_is_in_use_is_damage_of_it(
        store: Store, path: Path, harm: str, read: Callable[[Store], Awaitable[object]]) -> None:
    await fill(store)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(harm)
    with pytest.raises(RowUnreadable, match="cannot be read"):
        await read(store)
    assert store.doubted  # the recorder leaves when no camera is on, and the next one leaves that row out


@pytest.mark.parametrize("version", [0, 2, VERSION, VERSION + 1, 75])
def test_another_programs_database_is_damage_whatever_its_version(path: Path, version: int) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.executescript(f"CREATE TABLE moz_places (id INTEGER); PRAGMA user_version = {version}")
    assert damage(path)
