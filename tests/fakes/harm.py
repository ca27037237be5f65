"""Harm that a data folder may come to while nobody looks: planted into one whose recorder is dead.

Each function takes the data folder of a recorder that was killed while it recorded.
"""

import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

Harm = Callable[[Path], object]


def newest_segment(data: Path) -> Path:
    """The segment of the left camera that was written last."""
    return max((data / "segments").glob("*/left/*.ts"), key=lambda path: (len(path.stem), path.stem))


def _run(data: Path) -> Path:
    return newest_segment(data).parents[1]


def _store(data: Path) -> Path:
    return data / "ezrec.db"


def in_place_of(path: Path, make: Callable[[Path], object]) -> None:
    """Put what `make` makes in the place of whatever lies at `path`."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    make(path)


def a_folder(path: Path) -> None:
    path.mkdir()
    (path / "inside").write_bytes(b"something")


def a_file(path: Path) -> None:
    path.write_bytes(b"something else")


def _garbage(path: Path, size: int) -> None:
    in_place_of(path, lambda place: place.write_bytes(os.urandom(size)))


def overwrite(path: Path, data: bytes, at: int) -> None:
    """Overwrite a file's bytes from `at` on."""
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def _without_log(data: Path) -> Path:
    """The store with its log merged, so that harm to the file counts."""
    with closing(sqlite3.connect(_store(data))) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.execute("PRAGMA journal_mode=DELETE")
    return _store(data)


def _lost(data: Path) -> None:
    for path in data.glob("ezrec.db*"):
        path.unlink()


def _truncated(data: Path) -> None:
    store = _without_log(data)
    os.truncate(store, store.stat().st_size // 2 // 4096 * 4096)


def _flipped(data: Path) -> None:
    store = _without_log(data)
    rng = random.Random(1)
    for _ in range(200):
        overwrite(store, bytes([rng.randrange(256)]), rng.randrange(100, store.stat().st_size))


def _story_page(data: Path) -> None:
    store = _without_log(data)
    with closing(sqlite3.connect(store)) as db:
        page = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'event'").fetchone()[0]
    overwrite(store, bytes(4096), (page - 1) * 4096)


HARMS: dict[str, Harm] = {
    "nothing": lambda data: None,
    "a folder for a segment": lambda data: in_place_of(newest_segment(data), a_folder),
    "a pipe for a segment": lambda data: in_place_of(newest_segment(data), os.mkfifo),
    "a link to itself for a segment": lambda data: in_place_of(
        newest_segment(data), lambda path: path.symlink_to(path.name)),
    "a link to nothing for a segment": lambda data: in_place_of(
        newest_segment(data), lambda path: path.symlink_to("nowhere")),
    "pipes and folders beside segments": lambda data: [
        os.mkfifo(_run(data) / "left" / "17.ts"), a_folder(_run(data) / "right" / "17.ts"),
        a_file(_run(data) / "middle"), a_folder(_run(data) / "left" / "holiday.ts"), os.mkfifo(_run(data) / "pipe")],
    "garbage for a segment": lambda data: _garbage(newest_segment(data), 100_000),
    "a hidden folder in media": lambda data: [
        (data / "media" / name).mkdir(parents=True) for name in (".trash", ".0a1b.tmp")],
    "hidden folders everywhere": lambda data: [
        (data / name / ".0a1b.tmp").mkdir(parents=True, exist_ok=True)
        for name in ("", "films", "segments", "library", "films/none", "check")],
    "a file for a run": lambda data: in_place_of(data / "segments" / "77", a_file),
    "a run of a number too large": lambda data: (data / "segments" / "99999999999999999999" / "left").mkdir(
        parents=True),
    "a file for the folder of films": lambda data: in_place_of(data / "films", a_file),
    "a pipe for the folder of media": lambda data: in_place_of(data / "media", os.mkfifo),
    "a file for the folder of what goes aside": lambda data: in_place_of(data / "aside", a_file),
    "a file for the folder of logs": lambda data: in_place_of(data / "logs", a_file),
    "a file for the library": lambda data: in_place_of(data / "library", a_file),
    "folders for plain files": lambda data: [
        in_place_of(data / name, a_folder)
        for name in ("ezrec.lock", "state.json", "cameras.json", "ezrec.db-reserve")],
    "a damaged run.json": lambda data: in_place_of(
        _run(data) / "run.json", lambda path: path.write_bytes(b'{"offsets": [[1e999, "x"]]}')),
    "no segments at all": lambda data: shutil.rmtree(data / "segments"),
    "no folder of films": lambda data: shutil.rmtree(data / "films"),
    "no store": _lost,
    "no store and no run.json": lambda data: [_lost(data), (_run(data) / "run.json").unlink()],
    "an empty store": lambda data: [_lost(data), _store(data).touch()],
    "a store of garbage": lambda data: [_lost(data), _garbage(_store(data), 200_000)],
    "a folder for the store": lambda data: [_lost(data), a_folder(_store(data))],
    "a pipe for the store": lambda data: [_lost(data), os.mkfifo(_store(data))],
    "a store cut in half": _truncated,
    "a store with bytes flipped": _flipped,
    "a store without its first page": lambda data: overwrite(_without_log(data), bytes(4096), 0),
    "one page of the story lost": _story_page,
    "a log of garbage": lambda data: _garbage(_store(data).with_name("ezrec.db-wal"), 40_000),
    "no log": lambda data: _store(data).with_name("ezrec.db-wal").unlink(),
}
"""Harm by its name."""
