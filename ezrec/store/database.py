"""The connection to the SQLite file: opening, migrating, one transaction at a time, every commit durable.

Limits: knows no table; those are the Store's.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any, Self, TypeVar

import aiosqlite

from ezrec.domain.clock import Clock, SystemClock
from ezrec.domain.errors import LeaveError, RetryError, RowUnreadable, StoreDamaged, StoreMissing
from ezrec.files import all_soon, fsync_file, fsync_folder, os_errors
from ezrec.store.rows import Row

_T = TypeVar("_T")

VERSION = 6
MIGRATIONS: dict[int, str] = {
    1: """
CREATE TABLE outbox (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    booking_id    TEXT NOT NULL,
    kind          TEXT NOT NULL CHECK (kind IN ('status', 'video', 'abort')),
    body          TEXT NOT NULL,
    attempts      INTEGER NOT NULL DEFAULT 0,
    retry_at      INTEGER,
    parked_reason TEXT
) STRICT;
CREATE INDEX outbox_of_booking ON outbox (booking_id, id);
CREATE INDEX film_by_stage ON film (stage);
""",
    2: """
ALTER TABLE span RENAME COLUMN begun_us TO start_offset_us;
ALTER TABLE booking ADD COLUMN reported INTEGER NOT NULL DEFAULT 0;
UPDATE booking SET reported = 1 WHERE source = 'supabase';
""",
    3: """
ALTER TABLE run ADD COLUMN recovered_at INTEGER;
ALTER TABLE film ADD COLUMN sums TEXT;
DELETE FROM part WHERE film IN (SELECT booking_id FROM film WHERE stage = 'cleaned');
CREATE TABLE recovery (
    at     INTEGER PRIMARY KEY,
    reason TEXT NOT NULL
) STRICT;
""",
    4: """
ALTER TABLE film ADD COLUMN also_parked TEXT;
ALTER TABLE film ADD COLUMN passing TEXT;
""",
    5: """
CREATE TABLE run_end (
    run      INTEGER PRIMARY KEY,
    ended_at INTEGER NOT NULL,
    in_order INTEGER NOT NULL
) STRICT;
CREATE TABLE alert (
    id       INTEGER PRIMARY KEY,
    kind     TEXT NOT NULL,
    about    TEXT NOT NULL,
    text     TEXT NOT NULL,
    urgency  INTEGER NOT NULL,
    since_at INTEGER NOT NULL,
    told_at  INTEGER,
    over_at  INTEGER
) STRICT;
CREATE TABLE notice (
    number    INTEGER PRIMARY KEY AUTOINCREMENT,
    id        TEXT NOT NULL UNIQUE,
    channel   TEXT NOT NULL,
    recipient TEXT NOT NULL,
    body      TEXT NOT NULL,
    attempts  INTEGER NOT NULL DEFAULT 0,
    retry_at  INTEGER,
    parked_reason TEXT
) STRICT;
CREATE TABLE checkup (
    at       INTEGER PRIMARY KEY,
    problems TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX alert_under_way ON alert (kind, about) WHERE over_at IS NULL;
""",
}
"""SQL that takes the store from version N to N + 1, by N. schema.sql holds the newest version.

Steps add tables and columns and take nothing away: an upgrade that is taken back leaves a newer store behind.
"""

OLDEST = 5
"""The oldest version of EZREC's store whose program can use a store of `VERSION`; raised by a step that is no addition.

Each store says it of itself (`_mark`), so that an older program need not know newer versions.
"""

INDEXES = {
    "film_by_start": "film (stage, starts_at)",
    "booking_by_end": "booking (ends_at)",
    "booking_by_change": "booking (seen_at)",
    "segment_doomed": "segment (path) WHERE doomed = 1",
}
"""For the recorder's regular looks (`looks.py`). They belong to no version: the recorder makes those that are missing,
and an older EZREC, which does not know them, opens the store all the same.
"""

DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
"""SQLite's errors that will be the same the next time."""

MARKED = 1000  # a mark is a version times this, and the oldest version that can use it
MANY = 200  # rows
CACHE = -1000  # KiB of pages in memory, as SQLite wants it said: what the looks read is little
WRITING = "BEGIN IMMEDIATE"
BUSY_MS = 10_000  # how long a writer waits for another process's transaction


class Database:
    """An open store file. Made with `open`."""

    def __init__(self, db: aiosqlite.Connection, clock: Clock, *, inside: bool = False) -> None:
        """`inside`: a transaction is open on the connection, and everything that is done here belongs to it."""
        self._db = db
        self._clock = clock
        self._inside = inside
        self._turn = asyncio.Lock()
        self.damage: str | None = None  # what showed to be wrong with the file while it was used
        self.doubted = False  # a row could not be read
        self._written = 0  # transactions of this connection that may have changed something

    @classmethod
    async def open(cls, path: Path, *, clock: Clock | None = None, create: bool = False, migrate: bool = False) -> Self:
        """Open the store at `path`.

        `create` makes it if it is not there; only the recorder itself may `migrate` an older one to this version.

        Raises:
            StoreMissing: it is not there, or of an older version, and this caller may not change that.
            LeaveError: the file was written by a newer version of EZREC.
            StoreDamaged: SQLite cannot use it.
            RetryError: the disk is full, or fails.
        """
        there = await asyncio.to_thread(path.exists)
        if not create and not there:
            raise StoreMissing(f"no store at {path}: start `ezrec run` once, or name its folder (--data, paths.data)")
        if not there:
            await asyncio.to_thread(_make, path)
        connecting = aiosqlite.connect(path, isolation_level=None, timeout=BUSY_MS / 1000)
        try:
            db = await connecting
        except sqlite3.OperationalError as error:
            # Its thread still has something to tell this loop, which may be closed right after this.
            thread: Any = getattr(connecting, "_thread", connecting)
            await asyncio.to_thread(thread.join, BUSY_MS / 1000)
            raise RetryError(f"the store {path}: {error}") from error
        db.row_factory = sqlite3.Row
        store = cls(db, clock or SystemClock())
        try:
            with store._errors():
                for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={BUSY_MS}",
                               f"cache_size={CACHE}"):
                    await db.execute(f"PRAGMA {pragma}")
                await store._migrate(migrate)
        except BaseException:
            await db.close()
            raise
        return store

    async def close(self) -> None:
        """Close the connection once the transaction under way has ended."""
        async with self._turn:
            await self._db.close()

    async def _migrate(self, allowed: bool) -> None:
        version = await self.version()
        if version == 0:
            try:
                await self._db.executescript(_schema())
            except sqlite3.OperationalError:
                await self._db.rollback()
                if await self.version() == 0:  # otherwise another process made it in the same moment
                    raise
            version = await self.version()
        if version > VERSION and not self._fits(version, await self._mark_in_file()):
            raise LeaveError(f"the store is of version {version}, this EZREC knows {VERSION}: install the newer EZREC")
        if version < VERSION and not allowed:
            raise StoreMissing(f"the store is of version {version}, not {VERSION}: `ezrec run` brings it up to date")
        for step in range(version, VERSION):
            try:
                await self._db.executescript(
                    f"BEGIN IMMEDIATE;\n{MIGRATIONS[step]}\nPRAGMA user_version={step + 1};\n"
                    f"PRAGMA application_id={_mark(step + 1)};\nCOMMIT;")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_ERROR:
                    raise
                # No disk's fault: what the step changes is not there, and never will be.
                raise StoreDamaged(f"the store of version {version} is damaged: {error}") from error
        if allowed:
            for name, what in INDEXES.items():
                await self._db.execute(f"CREATE INDEX IF NOT EXISTS {name} ON {what}")

    @staticmethod
    def _fits(version: int, mark: int) -> bool:
        """Whether this program may use a store of a newer version: it must say so of that very version."""
        return mark // MARKED == version and 0 < mark % MARKED <= VERSION

    async def _mark_in_file(self) -> int:
        return int((await self._all("PRAGMA application_id"))[0][0])

    async def version(self) -> int:
        """The version of the schema in the file; 0 if there is none yet."""
        return int((await self._all("PRAGMA user_version"))[0][0])

    @asynccontextmanager
    async def together(self) -> AsyncIterator[Self]:
        """Several reads and writes in one transaction: decide on what is read, and write before anybody changes it.

        What is done on the store that the block is handed is durable when the block has ended. If the block raises,
        nothing has changed. Everybody else waits meanwhile: wait for nothing else in the block, and do not use this
        store there, since it would wait for the block to end.
        """
        async with self._transaction() as db:
            yield type(self)(db, self._clock, inside=True)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Self]:
        """Several reads of one state, whatever other processes write meanwhile. Used like `together`, to read only."""
        async with self._transaction("BEGIN") as db:
            yield type(self)(db, self._clock, inside=True)

    @asynccontextmanager
    async def _transaction(self, begin: str = WRITING) -> AsyncIterator[aiosqlite.Connection]:
        """One durable transaction; a cancelled caller rolls back or has committed, never half."""
        if self._inside:  # who opened it commits it, or rolls it back
            yield self._db
            return
        async with self._turn:
            try:
                with self._errors():
                    await self._db.execute(begin)  # a caller cancelled here leaves it begun all the same
                    yield self._db
                    self._written += begin == WRITING
                    await asyncio.shield(self._db.execute("COMMIT"))
            except BaseException:
                with suppress(sqlite3.OperationalError):  # there is none, or the commit was under way
                    await asyncio.shield(self._db.execute("ROLLBACK"))
                raise

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """A full or failing disk, or a lock held too long, is something to try again; damage is not."""
        try:
            yield
        except sqlite3.OperationalError as error:
            raise RetryError(f"the store: {error}") from error
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF not in DAMAGE:
                raise
            self.damage = str(error)
            raise StoreDamaged(f"the store is damaged: {error}; `ezrec run` saves what can be read of it") from error
        except StoreDamaged as error:  # found by what was done in `together`
            self.damage = str(error)
            raise
        except RowUnreadable:
            self.doubted = True
            raise

    async def _all(self, sql: str, *values: object) -> list[sqlite3.Row]:
        async with self._db.execute(sql, values) as cursor:
            return list(await cursor.fetchall())

    async def _read(self, sql: str, *values: object) -> list[sqlite3.Row]:
        """Rows as the last transaction left them: nobody acts on what is not durable yet."""
        async with self._turn:
            with self._errors():
                return await self._all(sql, *values)

    async def _values(self, make: Callable[[Row], _T], sql: str, *values: object) -> list[_T]:
        """Rows made into values; thousands of them in a thread, because they would hold the event loop."""
        rows = await self._read(sql, *values)
        with self._errors():
            if len(rows) <= MANY:
                return [make(row) for row in rows]
            return await asyncio.to_thread(lambda: [make(row) for row in rows])

    async def _do(self, sql: str, *values: object) -> None:
        async with self._transaction() as db:
            await db.execute(sql, values)

    async def version_of_data(self) -> int:
        """A number that changes when another process has written to the store."""
        return int((await self._read("PRAGMA data_version"))[0][0])

    async def state(self) -> tuple[int, int]:
        """Something that is another one whenever this process or another one may have changed the store."""
        return await self.version_of_data(), self._written

def _schema() -> str:
    """The SQL that makes a new store."""
    schema = (files("ezrec.store") / "schema.sql").read_text("utf-8")
    return (f"BEGIN IMMEDIATE;\n{schema}\nPRAGMA user_version={VERSION};\nPRAGMA application_id={_mark(VERSION)};\n"
            "COMMIT;")


def _mark(version: int) -> int:
    """What a store of a version says of itself beside it (PRAGMA application_id)."""
    return version * MARKED + min(OLDEST, version)


def _make(path: Path) -> None:
    """Make a new store, then make it durable as a whole: SQLite would need seven syncs, one after the other. Blocks.

    What SQLite refuses here, because another process makes it in the same moment, say, shows when it is opened.

    Raises:
        RetryError: the disk is full, or fails.
    """
    with suppress(sqlite3.OperationalError), closing(sqlite3.connect(path, isolation_level=None)) as db:
        for pragma in (f"busy_timeout={BUSY_MS}", "synchronous=OFF", "journal_mode=WAL"):
            db.execute(f"PRAGMA {pragma}")
        db.executescript(_schema())
    with os_errors(f"make the store {path}"):  # only now: a file's locks go when any of the process's handles is closed
        all_soon(partial(fsync_file, path), partial(fsync_folder, path.parent))
