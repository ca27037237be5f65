"""A store's log that came to harm is told from one that a power cut left."""

import os
import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import pytest

from ezrec.store import VERSION
from ezrec.store import damage as module
from ezrec.store.damage import damage
from ezrec.store.wal import FRAME, HEADER
from tests.fakes.harm import overwrite

SCHEMA = Path(__file__).parents[2] / "ezrec" / "store" / "schema.sql"
PAGE = 4096


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """What a killed recorder left: a store of which all but the schema is in the log, in many commits."""
    path = tmp_path / "live" / "ezrec.db"
    path.parent.mkdir()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.executescript(SCHEMA.read_text("utf-8"))
        db.execute(f"PRAGMA user_version={VERSION}")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for number in range(20):
            db.execute("INSERT INTO booking VALUES (?, 'cli', 1, 2, 'scheduled', '{}', 0, 0)", (f"b{number}",))
        shutil.copytree(path.parent, tmp_path / "left", ignore=shutil.ignore_patterns("*-shm"))
    return tmp_path / "left" / "ezrec.db"


def log_of(store: Path) -> Path:
    return store.with_name("ezrec.db-wal")


def frames(store: Path) -> int:
    return (log_of(store).stat().st_size - HEADER) // (FRAME + PAGE)


def test_a_log_that_a_killed_recorder_left_is_sound(store: Path) -> None:
    assert frames(store) >= 20
    assert damage(store) is None


@pytest.mark.parametrize("at", [0, 4, 8, 16, 24])
def test_a_log_with_a_damaged_header_has_lost_all(store: Path, at: int) -> None:
    overwrite(log_of(store), b"\x5a\xa5", at)
    assert damage(store) == "the header of ezrec.db-wal is damaged"


@pytest.mark.parametrize("at", [0, 4, 8, 16, FRAME, FRAME + PAGE - 1])
def test_a_log_that_is_damaged_in_its_middle_has_lost_what_was_committed_behind(store: Path, at: int) -> None:
    overwrite(log_of(store), b"\x5a", HEADER + 10 * (FRAME + PAGE) + at)
    assert "commits are lost" in (damage(store) or "")


def test_a_last_commit_that_a_power_cut_tore_is_no_damage(store: Path) -> None:
    overwrite(log_of(store), bytes(100), log_of(store).stat().st_size - 100)
    assert damage(store) is None


@pytest.mark.parametrize("size", [0, 10, HEADER, HEADER + FRAME + PAGE + 17])
def test_a_log_that_ends_early_is_no_damage(store: Path, size: int) -> None:
    os.truncate(log_of(store), size)
    assert damage(store) is None


def test_frames_from_before_the_log_was_begun_anew_are_no_damage(store: Path) -> None:
    with closing(sqlite3.connect(store, isolation_level=None)) as db:
        db.execute("PRAGMA wal_checkpoint(RESTART)")
        db.execute("INSERT INTO booking VALUES ('new', 'cli', 1, 2, 'scheduled', '{}', 0, 0)")
        assert frames(store) >= 20
        shutil.copytree(store.parent, store.parents[1] / "again", ignore=shutil.ignore_patterns("*-shm"))
    assert damage(store.parents[1] / "again" / "ezrec.db") is None


def test_the_log_is_looked_at_while_this_process_has_nothing_of_the_store_open(
        store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing a file drops SQLite's locks on it: who opens the store then cuts the index under the recorder."""
    found: list[str] = []

    def look(path: Path) -> None:
        for handle in Path("/proc/self/fd").iterdir():
            with suppress(OSError):
                found.append(str(handle.readlink()))
        assert path == store

    monkeypatch.setattr(module, "harm_to_log", look)
    assert damage(store) is None
    assert found
    assert not [name for name in found if name.startswith(str(store))]
