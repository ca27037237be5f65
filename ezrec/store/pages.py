"""Rows read off a damaged store's pages directly, where SQLite has lost its way to them.

A table is a tree of pages. When a page above the leaves is lost, or the schema, the rows below are whole and no query
reaches them. Here every page that is a leaf of a table is read for itself, and what its rows look like tells whose they
are. The format is described at https://www.sqlite.org/fileformat2.html (sections 1.5, 1.6, 2.1, 4.1).

Limits: knows nothing of SQL. Pages in the log (-wal) count before those of the file, whether their transaction was
finished or not; checksums are not compared. Free pages are left out as far as their list can be read.
"""

import os
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

Value = int | float | str | bytes | None
Record = tuple[int, list[Value]]

PAGE_BYTES = 4096  # SQLite's own choice, which the store keeps; used where no header tells
LEAF = 0x0D  # how a leaf of a table begins
_HEADER = b"SQLite format 3\x00"
_INTEGERS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}  # bytes, by serial type
_BROKEN = (IndexError, ValueError, OSError, struct.error)


class Pages:
    """The pages of a store's file and its log. A context manager."""

    def __init__(self, path: Path, largest: int) -> None:
        """`largest`: a row above so many bytes is taken for damage.

        Raises:
            OSError: the file cannot be opened.
        """
        self._largest = largest
        self._logged: dict[int, int] = {}  # where a page lies in the log, in bytes
        self._log: int | None = None
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        self.size = self._page_size()
        self._numbers = set(range(1, os.fstat(self._file).st_size // self.size + 1))
        with suppress(*_BROKEN):
            self._log = os.open(f"{path}-wal", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            self._read_log(self._log)
        self._free = self._free_pages()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        os.close(self._file)
        if self._log is not None:
            os.close(self._log)

    def page(self, number: int) -> bytes:
        """A page by its number, from 1.

        Raises:
            ValueError: there is no such page.
            OSError: the disk does not give it.
        """
        if number in self._logged and self._log is not None:
            data = os.pread(self._log, self.size, self._logged[number])
        else:
            data = os.pread(self._file, self.size, (number - 1) * self.size) if number > 0 else b""
        if len(data) < self.size:
            raise ValueError(number)
        return data

    def sort_out(self, whose: Callable[[Sequence[Value]], str | None],
                 over: Callable[[], bool]) -> dict[str, list[int]]:
        """The leaves of each table, newest (furthest behind) first. `whose` tells a row's table by its values."""
        found: dict[str, list[int]] = {}
        for number in sorted(self._numbers, reverse=True):
            if over():
                break
            for _, values in self.rows(number):
                if name := whose(values):
                    found.setdefault(name, []).append(number)
                    break
        return found

    def rows(self, number: int, wanted: Callable[[int], bool] = lambda _: True) -> Iterator[Record]:
        """The rows of a leaf whose rowid is `wanted`, newest first; nothing where it is no leaf or cannot be read."""
        start = 100 if number == 1 else 0  # the file's header
        try:
            page = b"" if number in self._free else self.page(number)
            if len(page) < self.size or page[start] != LEAF:
                return
            cells = int.from_bytes(page[start + 3:start + 5], "big")
            places = struct.unpack_from(f">{cells}H", page, start + 8)
        except _BROKEN:
            return
        for place in reversed(places):
            with suppress(*_BROKEN):
                length, at = _varint(page, place)
                rowid, at = _varint(page, at)
                if wanted(rowid):
                    yield rowid, _values(self._payload(page, at, length))

    def _payload(self, page: bytes, at: int, length: int) -> bytes:
        """A row's bytes, with those that lie on pages of their own (section 1.6)."""
        if length > self._largest:
            raise ValueError(length)
        most = self.size - 35
        if length <= most:
            return page[at:at + length]
        least = (self.size - 12) * 32 // 255 - 23
        here = least + (length - least) % (self.size - 4)
        here = here if here <= most else least
        data, following = page[at:at + here], int.from_bytes(page[at + here:at + here + 4], "big")
        while len(data) < length:
            more = self.page(following)
            following = int.from_bytes(more[:4], "big")
            data += more[4:4 + length - len(data)]
        return data

    def _page_size(self) -> int:
        with suppress(*_BROKEN):
            header = os.pread(self._file, 100, 0)
            size = int.from_bytes(header[16:18], "big")
            if header.startswith(_HEADER) and size >= 512 and not size & (size - 1):
                return size
        return PAGE_BYTES

    def _read_log(self, log: int) -> None:
        """Where the newest copy of each page lies: frames of other salts are of an older round (section 4.1)."""
        header = os.pread(log, 32, 0)
        if int.from_bytes(header[8:12], "big") != self.size:
            return
        at = 32
        while len(frame := os.pread(log, 24, at)) == 24 and frame[8:16] == header[16:24]:
            number = int.from_bytes(frame[:4], "big")
            self._logged[number] = at + 24
            at += 24 + self.size
        self._numbers.update(self._logged)

    def _free_pages(self) -> set[int]:
        """The pages that hold nothing any more (section 1.5), as far as their list makes sense."""
        free: set[int] = set()
        with suppress(*_BROKEN):
            trunk = int.from_bytes(self.page(1)[32:36], "big")
            while trunk and trunk not in free:
                page = self.page(trunk)
                following, listed = struct.unpack_from(">II", page)
                pages = struct.unpack_from(f">{listed}I", page, 8)
                if not self._numbers.issuperset(pages) or (following and following not in self._numbers):
                    break  # this is another kind of page
                free.update(pages, (trunk,))
                trunk = following
        return free


class Shapes:
    """Which table a row belongs to, by its values alone."""

    def __init__(self, tables: Mapping[str, Sequence[tuple[frozenset[type], bool]]]) -> None:
        """`tables`: for each column the types that it may have, and whether a row may end before it."""
        self._tables = tables

    def whose(self, values: Sequence[Value]) -> str | None:
        """The table that such a row fits best; None if there is none."""
        fitting = [name for name, columns in self._tables.items()
                   if len(values) <= len(columns) and all(may_end for _, may_end in columns[len(values):])
                   and all(type(value) in types for value, (types, _) in zip(values, columns, strict=False))]
        return min(fitting, key=lambda name: len(self._tables[name]), default=None)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The variable-length integer at `at`, and where it ends."""
    value = 0
    for _ in range(8):
        byte = data[at]
        at += 1
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at
    return value << 8 | data[at], at + 1


def _values(payload: bytes) -> list[Value]:
    """A record's values (section 2.1)."""
    end, at = _varint(payload, 0)
    place, values = end, []
    while at < end:
        kind, at = _varint(payload, at)
        value, place = _value(payload, kind, place)
        values.append(value)
    if place != len(payload) or at != end:
        raise ValueError(place)
    return values


def _value(payload: bytes, kind: int, at: int) -> tuple[Value, int]:
    if kind in (0, 8, 9):
        return (None, 0, 1)[kind and kind - 7], at
    if kind in _INTEGERS:
        end = at + _INTEGERS[kind]
        return int.from_bytes(payload[at:end], "big", signed=True), end
    if kind == 7:
        return struct.unpack_from(">d", payload, at)[0], at + 8
    if kind < 12:
        raise ValueError(kind)
    end = at + (kind - 12) // 2
    data = payload[at:end]
    return (data.decode("utf-8", "surrogateescape") if kind & 1 else data), end
