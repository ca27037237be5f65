"""Opening the data folder: what lies in the way of a store, or is none of ours, costs nothing but itself."""

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from ezrec.domain.clock import SystemClock
from ezrec.folders import DataFolder
from ezrec.store import Store
from ezrec.store.database import MIGRATIONS
from ezrec.tasks.opening import SAID, clear_the_way, open_store, put_aside
from tests.fakes.records import booking


@pytest.fixture
async def folder(tmp_path: Path) -> DataFolder:
    """A data folder with a store that has a booking, and footage."""
    made = DataFolder(tmp_path / "data")
    (made.run(1) / "left").mkdir(parents=True)
    (made.run(1) / "left" / "5.ts").write_bytes(b"footage")
    store = await Store.open(made.store, create=True)
    await store.put_booking(booking("b"))
    await store.close()
    return made


async def bookings_after_start(folder: DataFolder) -> list[str]:
    store = await open_store(folder, SystemClock())
    try:
        return [one.id for one in await store.bookings()]
    finally:
        await store.close()


def folders_for(*names: str) -> Callable[[DataFolder], None]:
    def make(folder: DataFolder) -> None:
        for name in names:
            (folder.root / name).mkdir()
            (folder.root / name / "inside").touch()

    return make


@pytest.mark.parametrize("harm", [
    lambda folder: (folder.root / "ezrec.db.saved").write_bytes(b"garbage"),
    lambda folder: (folder.root / "ezrec.db.saved").touch(),
    lambda folder: os.mkfifo(folder.root / "ezrec.db.saved"),
    folders_for("ezrec.db.saved", "ezrec.db.saving", "ezrec.db.saving-wal"),
], ids=["garbage", "empty", "a pipe", "folders"])
async def test_what_only_has_the_name_of_a_new_store_takes_no_sound_ones_place(
        folder: DataFolder, harm: Callable[[DataFolder], object]) -> None:
    harm(folder)
    assert await bookings_after_start(folder) == ["b"]
    assert await bookings_after_start(folder) == ["b"]


async def test_folders_in_the_places_of_a_new_store_are_no_hindrance_to_making_one(folder: DataFolder) -> None:
    folder.store.write_bytes(b"garbage")
    folders_for("ezrec.db.saved", "ezrec.db.saving", "ezrec.db.saving-wal")(folder)
    assert await bookings_after_start(folder) == []


async def test_a_log_without_its_store_is_not_taken_for_the_new_ones(folder: DataFolder, tmp_path: Path) -> None:
    store = await Store.open(folder.store)
    await store.put_booking(booking("in the log"))
    shutil.copyfile(folder.store.with_name("ezrec.db-wal"), tmp_path / "wal")
    await store.close()
    folder.store.unlink()
    shutil.copyfile(tmp_path / "wal", folder.store.with_name("ezrec.db-wal"))
    assert await bookings_after_start(folder) == []
    assert [path.name for path in folder.aside.glob("database-*/*")] == ["ezrec.db-wal"]


async def test_an_older_store_that_cannot_be_brought_up_to_date_is_mended(folder: DataFolder) -> None:
    with closing(sqlite3.connect(folder.store)) as db, db:
        db.execute("DROP TABLE film")
        db.execute(f"PRAGMA user_version = {max(MIGRATIONS)}")
    assert await bookings_after_start(folder) == ["b"]


def test_a_link_in_a_runs_or_cameras_place_goes_aside_and_nothing_of_what_it_names(
        folder: DataFolder, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    (theirs / "left").mkdir(parents=True)
    for name in ("left/mine.ts", "notes.txt", ".unfinished.tmp"):
        (theirs / name).write_bytes(b"somebody's")
    folder.run(2).symlink_to(theirs)
    folder.run(3).symlink_to(folder.root)
    (folder.run(1) / "right").symlink_to(theirs / "left")
    folder.films.mkdir()
    (folder.films / "one").symlink_to(theirs)
    assert folder.runs() == [1]
    assert folder.unfinished_files() == []
    clear_the_way(folder)
    assert {path.name for path in folder.segments.iterdir()} == {"1", "aside"}
    assert sorted(path.name for path in theirs.rglob("*")) == [".unfinished.tmp", "left", "mine.ts", "notes.txt"]
    assert folder.store.exists()


def test_thousands_of_strange_files_are_set_aside_and_only_some_are_named(folder: DataFolder) -> None:
    strange = [folder.run(1) / "left" / f"x{number}.ts" for number in range(SAID + 5)]
    for path in strange:
        path.touch()
    with capture_logs() as said:
        put_aside(folder, *strange)
    assert not any(path.exists() for path in strange)
    assert sum(line["event"] == "set aside" for line in said) == SAID
    assert said[-1]["count"] == len(strange)
