"""Whether a store file can be used, and the way aside for one that cannot.

A store is damaged when its file, or what stands in it, would end every start. What passes by itself (a lock, a full
disk) is no damage: a store that is merely busy must never be put aside.

Limits: of a large store only as much is checked as the time allows. What shows later is noted with `condemn`, so that
the next start knows it.
"""

import json
import os
import sqlite3
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from ezrec.domain.errors import RowUnreadable
from ezrec.files import fsync_folder, make_folders, write_atomically
from ezrec.store import rows
from ezrec.store.database import INDEXES, VERSION
from ezrec.store.plausible import LARGEST_ID, plausible
from ezrec.store.wal import harm_to_log

LIMIT_S = 0.3  # what a start spends on looking, at most
IN_USE_S = 0.05  # the same of a look at a store in use: there is one every few seconds
BUSY_S = 0.1  # how long another process's lock is waited for
LARGEST_VALUE = 4_000_000  # bytes; a damaged length must not fill the memory
FURTHEST_VERSION = VERSION + 1000  # a number above it is no version
OURS = frozenset({"booking", "film", "segment"})  # tables that every version has
NEWER = 2  # versions ahead that are believed without another layout
CONDEMNED = "-damaged"  # how the name of `condemn`'s note ends
BESIDE = ("-wal", "-shm", "-journal", CONDEMNED)
"""What may lie beside a store's file and goes with it."""

READERS: dict[str, Callable[[Any], object]] = {
    "booking": rows.booking_of,
    "film": rows.film_of,
    "offset": rows.offset_of,
    "span": rows.span_of,
    "segment": rows.segment_of,
    "chunk": lambda row: rows.chunk_of(row).report,
    "part": rows.part_of,
    "video": lambda row: json.loads(row["row"]),
    "outbox": rows.message_of,
    "event": rows.entry_of,
}
"""How the store reads each table's rows."""

SOURCE_ERRORS = (sqlite3.DatabaseError, UnicodeError)
"""What a damaged store raises; SQLite's own messages may repeat damaged text."""

_DAMAGED_ALL = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_TOOBIG})
"""Errors of SQLite that are damage in all their kinds."""
_DAMAGED = frozenset({sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_CORRUPTFS, sqlite3.SQLITE_READONLY})
"""Kinds of errors that are damage while others of their family pass."""


class _Damage(Exception):
    """What is wrong, in words."""


def damage(path: Path, limit_s: float | None = None, *, in_use: bool = False) -> str | None:
    """What is wrong with the store at `path`, in words; None if nothing was found within `limit_s` seconds, by default
    `LIMIT_S` or `IN_USE_S`.

    A store that this process has `in_use` is looked at through SQLite alone: its files must not be opened here, since
    closing one would drop SQLite's locks (https://www.sqlite.org/howtocorrupt.html, 2.2).

    A store that is not there, or of another version of EZREC, is not damaged. Nothing is changed. Blocks.
    """
    try:
        _look(path, limit_s or (IN_USE_S if in_use else LIMIT_S), in_use=in_use)
    except _Damage as error:
        return str(error)
    except SOURCE_ERRORS as error:
        return _verdict(path, error)
    except OSError as error:
        return f"{path.name} cannot be read: {error.strerror or error}"
    return None


def condemn(path: Path, reason: str) -> None:
    """Note that a store showed damage while it was in use: `damage` says so until it is moved aside. Blocks."""
    write_atomically(_beside(path, CONDEMNED), (reason.strip() or "it was found damaged").encode())


def anything_of(path: Path) -> bool:
    """Whether a store's file is there, or what lies beside it. Blocks."""
    return any(os.path.lexists(one) for one in (path, *(_beside(path, ending) for ending in BESIDE)))


def move_aside(path: Path, aside: Path, now: datetime) -> Path:
    """Move a store with all that lies beside it, whatever it is, into a new folder below `aside`, and return that.

    The store's own file goes last: a log (-wal) that stayed would be taken for the next store's. Blocks.

    Raises:
        OSError: the disk does not allow it.
    """
    make_folders(aside)
    folder = _new_folder(aside, f"database-{now:%Y%m%dT%H%M%SZ}")
    for names in ([_beside(path, ending) for ending in BESIDE], [path]):
        for one in names:
            if os.path.lexists(one):
                one.rename(folder / one.name)
        fsync_folder(folder)
        fsync_folder(path.parent)
    return folder


def connect(path: Path, *, without_log: bool = False) -> sqlite3.Connection:
    """A connection that reads a store that may be damaged, as far as SQLite can, and leaves its files as they are.

    `without_log` reads the file alone, without what only its log (-wal) holds.

    Raises:
        sqlite3.Error: it cannot be opened.
    """
    how = "immutable=1" if without_log else "mode=ro"
    db = sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True, isolation_level=None, timeout=BUSY_S)
    db.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")  # bad bytes are found when a row is checked
    db.row_factory = sqlite3.Row
    db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LARGEST_VALUE)
    return db


def readable(table: str, row: Any) -> bool:
    """Whether the store could read a row (a mapping by column) of one of its tables, and its values can be true."""
    try:
        READERS.get(table, dict)(row)
        return plausible(table, row)
    except (RowUnreadable, *rows.UNREADABLE):
        return False


# ---- the checks, those that matter most first


def _look(path: Path, limit_s: float, *, in_use: bool) -> None:
    for one in (path, *(_beside(path, ending) for ending in BESIDE)):
        _check_kind(one)
    note = _beside(path, CONDEMNED)
    if note.exists():
        raise _Damage(note.read_text("utf-8", "replace"))
    if not path.exists():
        return
    if not path.stat().st_size:
        raise _Damage(f"{path.name} is empty")  # SQLite would drop its log, which may hold all of it
    if not in_use:
        with closing(connect(path)) as db:
            db.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # SQLite writes the log's index for that
        if wrong := harm_to_log(path):  # with nothing open: it opens and closes files that SQLite locks
            raise _Damage(wrong)
    with closing(connect(path)) as db, _interrupted_after(db, limit_s):
        _check(db)
        _check_writable(path)


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _check_kind(path: Path) -> None:
    """Nothing but a file is opened: a pipe would hold whoever opens it for ever."""
    if not os.path.lexists(path):
        return
    if not path.exists():
        raise _Damage(f"{path.name} is a link to nothing")
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        raise _Damage(f"{path.name} is a {'folder' if stat.S_ISDIR(mode) else 'special file'}")
    if not os.access(path, os.R_OK | os.W_OK):
        raise _Damage(f"{path.name} may not be read and written by this user")


def _check(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA cache_size=-200")  # KiB: each page is read once or twice
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    found, wanted = _layout(db), _todays_layout()
    if version and not OURS & found.keys():  # however high it is: a newer EZREC would have one of these
        raise _Damage("none of EZREC's tables is in it")
    newer = VERSION < version <= VERSION + NEWER
    if not newer and version != VERSION and (
            found == wanted or not 0 <= version <= FURTHEST_VERSION or (found and not version)):
        raise _Damage(f"version {version} cannot be true")
    if version == VERSION:
        _check_schema(db, found, wanted)
    tables = [name for name, columns in found.items() if columns and name != "event"]
    for name in tables:
        # With its indexes: what is wrong between a table and its index fails when it is used.
        _expect_ok(db, f"PRAGMA integrity_check('{name}')")
    if version == VERSION:
        for name in tables:
            if not all(readable(name, row) for row in db.execute(f"SELECT * FROM {name}")):
                raise _Damage(f"a row of {name} cannot be read")
        if lost := db.execute("PRAGMA foreign_key_check").fetchone():
            raise _Damage(f"a row of {lost['table']} hangs on one of {lost['parent']} that is lost")
    _expect_ok(db, "PRAGMA quick_check")  # with the story, which may be large, and the free pages


def _check_schema(db: sqlite3.Connection, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    if missing := sorted(wanted.items() - found.items()):
        raise _Damage(f"{missing[0][0]} is missing or has other columns")
    if foreign := db.execute("SELECT name FROM sqlite_schema WHERE type IN ('trigger', 'view')").fetchone():
        raise _Damage(f"{foreign[0]} is not of EZREC's making")
    if (db.execute("SELECT max(seq) FROM sqlite_sequence").fetchone()[0] or 0) > LARGEST_ID:
        raise _Damage("a newest id cannot be true")  # there would be none behind it


def _layout(db: sqlite3.Connection) -> dict[str, tuple[str, ...]]:
    """The columns of each table; indexes are there by name, without columns, but for those that no version needs."""
    names = db.execute("SELECT type, name FROM sqlite_schema WHERE type IN ('table', 'index')"
                       " AND name NOT LIKE 'sqlite~_%' ESCAPE '~'").fetchall()
    return {name: tuple(row["name"] for row in db.execute(f"PRAGMA table_info(\"{name}\")")) if kind == "table" else ()
            for kind, name in names if name not in INDEXES}


def _todays_layout() -> dict[str, tuple[str, ...]]:
    with closing(sqlite3.connect(":memory:")) as db:
        db.row_factory = sqlite3.Row
        db.executescript((files("ezrec.store") / "schema.sql").read_text("utf-8"))
        return _layout(db)


def _expect_ok(db: sqlite3.Connection, check: str) -> None:
    found = db.execute(check).fetchone()[0]
    if found != "ok":
        raise _Damage(" ".join(str(found).replace("*** in database main ***", "").split()))


def _check_writable(path: Path) -> None:
    """A header may be damaged so that SQLite reads the file and refuses to write it."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None,
                                 timeout=BUSY_S)) as db:
        db.execute("BEGIN IMMEDIATE")
        db.execute("ROLLBACK")


@contextmanager
def _interrupted_after(db: sqlite3.Connection, limit_s: float) -> Iterator[None]:
    """Only an interrupt ends a check of pages before its end: SQLite does it in one step."""
    done = threading.Event()

    def watch() -> None:
        wait_s = limit_s
        while not done.wait(wait_s):
            db.interrupt()  # again and again, since one that comes between two statements has no effect
            wait_s = 0.01

    watcher = threading.Thread(target=watch, name="store-check-limit", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()  # it must not meet a closed connection


def _verdict(path: Path, error: Exception) -> str | None:
    """What an error of SQLite means: only what will be the same at the next start is damage."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)  # Python's own errors are about a value
    return f"{path.name}: {error}" if code in _DAMAGED or code & 0xFF in _DAMAGED_ALL else None


def _new_folder(parent: Path, name: str) -> Path:
    """A folder that nothing lies in yet, durable."""
    number = 1
    while True:
        folder = parent / (name if number == 1 else f"{name}.{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
            continue
        fsync_folder(parent)
        return folder
