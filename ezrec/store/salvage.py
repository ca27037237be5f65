"""What can be read of a damaged store is copied into a new one.

Each table is read through its own tree of pages, from its newest row down; an index may be damaged on its own, so none
is used. Where a part cannot be read, the nearest row before it that can is looked for, and reading goes on from there.
Rows in the parts left out are then read off their pages (`pages`). What the store could not read, what breaks a
rule of the schema, and what hangs on a lost row are left out and counted.

Limits: tables have rowids. What a log (-wal) held behind its own damage is lost unless its table is damaged too.
"""

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ezrec.store.damage import LARGEST_VALUE, SOURCE_ERRORS, connect, readable
from ezrec.store.database import VERSION
from ezrec.store.pages import Pages, Shapes
from ezrec.store.plausible import LARGEST_ID

LIMIT_S = 20.0  # recording waits for it
MOST_GAPS = 100  # in a table; with more damage its pages are read right away
BATCH = 5000  # rows in one transaction
OLDER_NAMES = {("span", "begun_us"): "start_offset_us"}
"""Columns that older versions of the schema named otherwise (see MIGRATIONS)."""

Row = dict[str, Any]
Known = Mapping[str, Sequence[Mapping[str, object]]]

_TYPES = {"INTEGER": int, "TEXT": str, "REAL": float, "BLOB": bytes}


@dataclass(frozen=True)
class TableCount:
    """What became of a table's rows."""

    copied: int = 0
    refused: int = 0  # were read, and cannot be true or hang on a row that is lost
    made: int = 0  # were lost and known from elsewhere
    unreadable: bool = False  # some could not be read, nobody knows how many


@dataclass(frozen=True)
class Salvaged:
    """What was saved, by table in the order of copying."""

    tables: dict[str, TableCount]
    in_time: bool  # or what was left when the time was over is not copied

    def lost(self) -> set[str]:
        """The tables of which not everything was saved, as far as anybody knows."""
        return {name for name, count in self.tables.items()
                if count.unreadable or count.refused or not self.in_time}

    def words(self) -> str:
        """The same for the log: what was saved, and what was lost where."""
        def of(what: str) -> str:
            found = {name: getattr(count, what) for name, count in self.tables.items()}
            return ", ".join(f"{number} of {name}" for name, number in found.items() if number)

        unreadable = ", ".join(name for name, count in self.tables.items() if count.unreadable)
        return "; ".join(said for said in (
            f"rows saved: {of('copied') or 'none'}",
            of("refused") and f"rows left out: {of('refused')}",
            of("made") and f"rows made again: {of('made')}",
            unreadable and f"not all could be read of: {unreadable}",
            "" if self.in_time else "the time was over") if said)


@dataclass(frozen=True)
class _Table:
    """A table of today's schema."""

    name: str
    columns: tuple[str, ...]
    defaults: Row  # of the columns that a row need not have
    shape: tuple[tuple[frozenset[type], bool], ...]  # see Shapes
    id: str | None  # the column that is the rowid
    insert: str


def salvage(damaged: Path, fresh: Path, *, known: Known | None = None, limit_s: float = LIMIT_S,
            monotonic: Callable[[], float] = time.monotonic) -> Salvaged:
    """Copy what can be read of the store `damaged` into `fresh`, a newly made store, within `limit_s` seconds. Blocks.

    `damaged` may be anything, of any version, and is left as it is; it must not be written meanwhile.
    `known` holds rows, by table, that are known from elsewhere (runs, from their folders): those that `damaged` has
    lost are made again, so that what hangs on them is kept.

    Raises:
        sqlite3.OperationalError: the new store cannot be written.
        ValueError: `fresh` is not a store of today's schema.
    """
    with closing(sqlite3.connect(fresh, isolation_level=None)) as into:
        into.row_factory = sqlite3.Row
        if into.execute("PRAGMA user_version").fetchone()[0] != VERSION:
            raise ValueError(f"{fresh} is not a store of version {VERSION}")
        into.execute("PRAGMA foreign_keys=ON")
        return _Salvage(damaged, into, known or {}, monotonic, monotonic() + limit_s).run()


class _Salvage:
    """One salvage: where it reads, where it writes, until when."""

    def __init__(self, damaged: Path, into: sqlite3.Connection, known: Known, monotonic: Callable[[], float],
                 end_s: float) -> None:
        self._damaged = damaged
        self._into = into
        self._known = known
        self._monotonic = monotonic
        self._end_s = end_s
        self._tables = [_described(into, name) for name, in into.execute(
            # In the order of the schema, where a table stands behind those that it refers to. The story comes last.
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite~_%' ESCAPE '~'"
            " ORDER BY name = 'event', rowid")]
        self._pages: Pages | None = None
        self._leaves: dict[str, list[int]] | None = None
        self._writing = 0  # rows in the transaction under way

    def run(self) -> Salvaged:
        """Copy all tables."""
        counts: dict[str, TableCount] = {}
        source = self._open()
        with suppress(OSError):
            self._pages = Pages(self._damaged, LARGEST_VALUE) if self._damaged.is_file() else None
        try:
            for table in self._tables:
                counts[table.name] = self._copy(source, table)
            self._keep_numbers(source)
        finally:
            if source:
                source.close()
            if self._pages:
                self._pages.__exit__(None, None, None)
        return Salvaged(counts, not self._over())

    def _open(self) -> sqlite3.Connection | None:
        """The damaged store, with its log if that can be; None if SQLite can do nothing with it."""
        try:
            if not self._damaged.is_file() or not self._damaged.stat().st_size:
                return None  # a pipe would hold us, an empty file would cost its log
        except OSError:
            return None
        for without_log in (False, True):
            try:
                db = connect(self._damaged, without_log=without_log)
            except SOURCE_ERRORS:
                continue
            try:
                db.set_progress_handler(self._over, 1000)
                db.execute("PRAGMA writable_schema=ON")  # what is wrong with a part of the schema hides no other part
                db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            except SOURCE_ERRORS:
                db.close()
                continue
            return db
        return None

    def _over(self) -> bool:
        return self._monotonic() >= self._end_s

    # ---- one table

    def _copy(self, source: sqlite3.Connection | None, table: _Table) -> TableCount:
        count, gaps = TableCount(), list[tuple[int, int]]()
        columns = _columns(source, table) if source else None
        self._into.execute("BEGIN")
        for row in self._queried(source, table, columns, gaps) if source and columns else ():
            count = self._put(table, row, count)
        if not columns:
            gaps.append((1, LARGEST_ID))
        for row in self._from_pages(table, columns, gaps) if gaps else ():
            count = self._put(table, row, count)
        made = sum(self._put(table, dict(row), TableCount()).copied for row in self._known.get(table.name, ()))
        self._into.execute("COMMIT")
        self._writing = 0
        # An older version has no such table: nothing is lost then.
        return replace(count, made=made, unreadable=bool(gaps) and (not source or columns != () or count.copied > 0))

    def _queried(self, source: sqlite3.Connection, table: _Table, columns: Sequence[str],
                 gaps: list[tuple[int, int]]) -> Iterator[Row]:
        """The rows that SQLite reaches, newest first. `gaps` takes the rowids [from, to] that it does not."""
        names = ", ".join(f'"{column}"' for column in columns)
        query = f'SELECT rowid, {names} FROM "{table.name}" NOT INDEXED WHERE rowid <= ? ORDER BY rowid DESC'
        to = before = LARGEST_ID  # the newest that was not read yet; the same before the last row
        lost_to = 0  # where the part that is passed over begins
        while to >= 1 and len(gaps) < MOST_GAPS and not self._over():
            with suppress(*SOURCE_ERRORS):
                for rowid, *values in _down(source, query, to):
                    if not 1 <= rowid <= to:  # pages that lead back to others would be read for ever
                        to = before  # this row's number is damaged, or the last one's
                        break
                    if lost_to:
                        gaps.append((rowid + 1, lost_to))
                        lost_to = 0
                    before, to = to, rowid - 1
                    row = dict(zip(columns, values, strict=True))
                    yield row | {table.id: rowid} if table.id else row
                else:
                    to = 0
            lost_to = lost_to or to
            to = before = self._newest_readable(source, query, to)
        if lost_to or to:
            gaps.append((1, lost_to or to))

    def _newest_readable(self, source: sqlite3.Connection, query: str, unreadable: int) -> int:
        """The largest rowid from which down rows can be read again, below one where they cannot."""
        good = 0
        while unreadable - good > 1 and not self._over():
            middle = (good + unreadable) // 2
            found = None
            with suppress(*SOURCE_ERRORS):
                found = source.execute(f"{query} LIMIT 1", (middle,)).fetchone()
            if found and 1 <= found[0] <= middle:
                good = middle
            else:
                unreadable = middle
        return good

    def _from_pages(self, table: _Table, columns: Sequence[str] | None, gaps: list[tuple[int, int]]) -> Iterator[Row]:
        """The rows in the gaps, as the pages have them."""
        if not self._pages:
            return
        if self._leaves is None:
            shapes = Shapes({one.name: one.shape for one in self._tables})
            self._leaves = self._pages.sort_out(shapes.whose, self._over)
        names = columns or table.columns
        for number in self._leaves.get(table.name, ()):
            if self._over():
                return
            for rowid, values in self._pages.rows(number, lambda id_: any(low <= id_ <= to for low, to in gaps)):
                row: Row = dict(zip(names, values, strict=False))
                yield row | {table.id: rowid} if table.id else row

    # ---- writing

    def _put(self, table: _Table, row: Row, count: TableCount) -> TableCount:
        """Put a row into the new store and count it: one that cannot be true is refused, one that is there stays."""
        refused = replace(count, refused=count.refused + 1)
        row = _as_today(table.name, row)
        row = table.defaults | {name: value for name, value in row.items() if name in table.columns}
        if len(row) < len(table.columns) or not readable(table.name, row):
            return refused
        if table.id and not 0 < row[table.id] <= LARGEST_ID:
            return refused
        if self._writing >= BATCH:
            self._into.execute("COMMIT")
            self._into.execute("BEGIN")
            self._writing = 0
        self._writing += 1
        try:
            done = self._into.execute(table.insert, [row[name] for name in table.columns]).rowcount
        except (sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.DataError, OverflowError):
            return refused
        return replace(count, copied=count.copied + done)

    def _keep_numbers(self, source: sqlite3.Connection | None) -> None:
        """Numbers that were given once are not given again, even if their rows are lost."""
        given: Iterable[tuple[Any, Any]] = ()
        with suppress(*SOURCE_ERRORS):
            given = source.execute("SELECT name, seq FROM sqlite_sequence").fetchall() if source else ()
        for name, number in given:
            if name not in {table.name for table in self._tables} or not isinstance(number, int):
                continue
            if 0 < number <= LARGEST_ID and not self._into.execute(
                    "UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?", (number, name)).rowcount:
                self._into.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (name, number))


def _described(db: sqlite3.Connection, name: str) -> _Table:
    columns = db.execute(f"PRAGMA table_info({name})").fetchall()
    keys = [column for column in columns if column["pk"]]
    id_ = keys[0]["name"] if len(keys) == 1 and keys[0]["type"] == "INTEGER" else None
    defaults: Row = {}
    shape = []
    for column in columns:
        needed = column["notnull"] or (column["pk"] and column["name"] != id_)
        may_end = not needed or column["dflt_value"] is not None
        if may_end and column["name"] != id_:
            defaults[column["name"]] = db.execute(f"SELECT {column['dflt_value'] or 'NULL'}").fetchone()[0]
        kinds = (*(() if column["name"] == id_ else (_TYPES[column["type"]],)), *(() if needed else (type(None),)))
        shape.append((frozenset(kinds), may_end))
    names = tuple(column["name"] for column in columns)
    insert = (f"INSERT INTO {name} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
              " ON CONFLICT DO NOTHING")
    return _Table(name, names, defaults, tuple(shape), id_, insert)


def _down(source: sqlite3.Connection, query: str, to: int) -> Iterator[sqlite3.Row]:
    """The rows from `to` down. Python drops the row before an error, so that one is asked for alone."""
    try:
        for row in source.execute(query, (to,)):
            yield row
            to = row[0] - 1
    except SOURCE_ERRORS:
        if row := source.execute(f"{query} LIMIT 1", (to,)).fetchone():
            yield row
        raise


def _columns(source: sqlite3.Connection, table: _Table) -> tuple[str, ...] | None:
    """The columns that the damaged store's table has; () if it has no such table, None if nobody knows."""
    try:
        names = tuple(row["name"] for row in source.execute(f"PRAGMA table_info({table.name})"))
    except SOURCE_ERRORS:
        return None
    known = {*table.columns, *(older for whose, older in OLDER_NAMES if whose == table.name)}
    return names if known.issuperset(names) else None  # the schema's text is damaged


def _as_today(table: str, row: Row) -> Row:
    """A row of an older version as its MIGRATIONS make it."""
    row = {OLDER_NAMES.get((table, name), name): value for name, value in row.items()}
    if table == "booking" and "reported" not in row:
        row["reported"] = int(row.get("source") == "supabase")
    return row
