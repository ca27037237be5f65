"""Log shipping: every some minutes what is new in the log files and in the unit's journal goes into an archive, and the
archives go to the cloud, the oldest first.

An archive is written before the place up to which it goes is noted; a kill in between has some lines twice, and none
is lost. What cannot be sent waits on the disk, a bounded number of archives; the oldest go when they are too many.
Everything in an archive is masked once more: the journal also holds what others write of this process.

Limits: one archive at a time, of a bounded size; nothing here waits for recording, or the other way round.
"""

import asyncio
import json
import zipfile
import zlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ezrec import files, logs
from ezrec.adapters.journal import Journal, read_journal
from ezrec.domain.clock import Clock, utc_datetime
from ezrec.domain.errors import EzrecError
from ezrec.folders import DataFolder
from ezrec.logs import FILE_NAME, Troubles, masked

log = logs.get("logship")

MOST_NEW = 8 << 20  # bytes of log files in an archive: the newest
MOST_WAITING, MOST_BYTES = 100, 64 << 20  # archives, and bytes of them, that wait
MOST_AT_ONCE = 20  # archives that are sent in a row
SEND_S = 120.0  # what sending one may take
PIECE = 1 << 16
FIRST_LINE = 200  # bytes of it that are looked at
NO_CAMERA = "-"  # in a key, where site.camera_id is empty


class Place(Protocol):
    """Where archives go: `Shelf`, `S3Storage`."""

    async def put_file(self, key: str, file: Path) -> str:
        """Store a small file. Raises RetryError, ParkError."""


@dataclass(frozen=True)
class _Mark:
    """Up to where everything is in archives."""

    files: Mapping[str, int] = field(default_factory=dict)  # log file (`_name_of`) → bytes of it
    cursor: str | None = None  # of the journal


class LogShip:
    """The task that ships logs."""

    def __init__(self, clock: Clock, folder: DataFolder, log_folder: Path, camera_id: str, place: Place,
                 every_s: float, journal: Callable[[str | None], Awaitable[Journal]] = read_journal,
                 close: Callable[[], Awaitable[None]] | None = None) -> None:
        """`close` lets go of the place, when this task ends."""
        self._clock, self._folder, self._logs = clock, folder, log_folder
        self._prefix = f"logs/{camera_id or NO_CAMERA}"
        self._place, self._every_s, self._journal = place, every_s, journal
        self._close = close
        self._troubles = Troubles(log)

    async def run(self) -> None:
        """Ship until stopped."""
        try:
            while True:
                await asyncio.sleep(self._every_s)
                await self.run_once()
        finally:
            if self._close:
                await self._close()

    async def run_once(self) -> None:
        """One archive, if there is anything new; then what waits is sent."""
        try:
            await self._pack()
        except (OSError, EzrecError) as error:
            self._troubles.say("packing", "logs not packed, tried again", str(error))
        else:
            self._troubles.over("packing", "logs are packed again")
        await self._send()

    async def _pack(self) -> None:
        mark = await asyncio.to_thread(self._read_mark)
        journal = await self._journal(mark.cursor)
        await asyncio.to_thread(self._write, mark, journal)

    def _write(self, mark: _Mark, journal: Journal) -> None:
        """Write the archive, then how far it goes. Blocks."""
        pieces, known, left_out = _new_lines(self._logs, mark)
        if pieces or journal.lines:
            files.make_folders(self._folder.logs_waiting, below=self._folder.root)
            stamp = f"{utc_datetime(self._clock.wall_us()):%Y%m%dT%H%M%SZ}"
            with files.replacing(self._free_name(stamp)) as temporary:
                with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
                    _add(archive, FILE_NAME, pieces)
                    _add(archive, "journal.jsonl", ("\n".join(journal.lines[at:at + 500]) + "\n"
                                                    for at in range(0, len(journal.lines), 500)))
                    archive.writestr("about.json", json.dumps(
                        {"log_bytes_left_out": left_out, "journal": masked(journal.note)}))
                temporary.chmod(files.FILE_MODE)
        files.write_atomically(self._folder.logs_shipped, json.dumps(
            {"files": known, "cursor": journal.cursor}).encode())
        self._drop_surplus()

    def _free_name(self, stamp: str) -> Path:
        """A name that no archive has, whatever the clock says."""
        path, number = self._folder.logs_waiting / f"{stamp}_logs.zip", 1
        while path.exists():
            number += 1
            path = self._folder.logs_waiting / f"{stamp}-{number}_logs.zip"
        return path

    def _waiting(self) -> list[Path]:
        """The archives that wait, in the order in which they were written."""
        with suppress(FileNotFoundError):
            return sorted((path for path in self._folder.logs_waiting.iterdir() if path.name.endswith("_logs.zip")),
                          key=lambda path: (path.stat().st_mtime_ns, path.name))
        return []

    def _drop_surplus(self) -> None:
        waiting = self._waiting()
        sizes = [path.stat().st_size for path in waiting]
        dropped = 0
        while dropped < len(waiting) and (len(waiting) - dropped > MOST_WAITING or sum(sizes[dropped:]) > MOST_BYTES):
            waiting[dropped].unlink(missing_ok=True)
            dropped += 1
        if dropped:
            self._troubles.say("dropping", "logs that could not be sent are dropped, the oldest first", "too many",
                               archives=dropped)

    def _read_mark(self) -> _Mark:
        try:
            said = json.loads(self._folder.logs_shipped.read_text("utf-8"))
            cursor = said["cursor"]
            return _Mark({str(name): int(offset) for name, offset in said["files"].items()},
                         cursor if isinstance(cursor, str) else None)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return _Mark()

    async def _send(self) -> None:
        for path in (await asyncio.to_thread(self._waiting))[:MOST_AT_ONCE]:
            try:
                async with asyncio.timeout(SEND_S):
                    await self._place.put_file(f"{self._prefix}/{path.name}", path)
            except (EzrecError, TimeoutError) as error:
                self._troubles.say("sending", "logs not sent, they wait", str(error) or f"not within {SEND_S:g} s")
                return
            await asyncio.to_thread(files.remove, path)
            for about in ("sending", "dropping"):
                self._troubles.over(about, "logs are sent again")


def _new_lines(folder: Path, mark: _Mark) -> tuple[list[tuple[Path, int, int]], dict[str, int], int]:
    """What is new in the log files: (file, from, to), oldest first; up to where they are known then; how many bytes
    were left out.
    """
    pieces, names = list[tuple[Path, int, int]](), list[str]()
    for path in sorted(folder.glob(f"{FILE_NAME}*"), key=_age, reverse=True):
        with suppress(FileNotFoundError):  # it was rotated away just now
            name, size = _name_of(path), path.stat().st_size
            begin = mark.files.get(name, 0)
            pieces.append((path, begin if 0 <= begin <= size else 0, size))
            names.append(name)
    left_out = 0
    for at, (path, begin, end) in enumerate(pieces):
        cut = min(max(0, sum(to - start for _, start, to in pieces[at:]) - MOST_NEW), end - begin)
        left_out += cut
        pieces[at] = path, _line_begin(path, begin + cut, end) if cut else begin, _line_end(path, begin + cut, end)
    known = {name: end for name, (*_, end) in zip(names, pieces, strict=True)}
    return [piece for piece in pieces if piece[2] > piece[1]], known, left_out


def _name_of(path: Path) -> str:
    """What tells a log file from all others, wherever it is rotated to: its inode, which may be used again, and its
    first line, which begins with the time.
    """
    with path.open("rb") as opened:
        return f"{path.stat().st_ino}-{zlib.crc32(opened.readline(FIRST_LINE)):08x}"


def _age(path: Path) -> int:
    """The number behind a rotated file's name; the newest has none."""
    number = path.name.removeprefix(FILE_NAME).removeprefix(".")
    return int(number) if number.isdecimal() else 0


def _line_end(path: Path, begin: int, end: int) -> int:
    """Where the last whole line in [begin, end) ends: half a line, in which a secret could hide, comes next time."""
    with path.open("rb") as opened:
        while begin < end:
            start = max(begin, end - PIECE)
            opened.seek(start)
            newline = opened.read(end - start).rfind(b"\n")
            if newline >= 0:
                return start + newline + 1
            end = start
    return begin


def _line_begin(path: Path, begin: int, end: int) -> int:
    """Where the first whole line at or behind `begin` begins."""
    with path.open("rb") as opened:
        opened.seek(max(0, begin - 1))
        opened.readline(max(1, end - begin + 1))
        return min(opened.tell(), end)


def _text_of(path: Path, begin: int, end: int) -> Iterator[str]:
    """A file's lines in [begin, end), some whole ones at a time."""
    with path.open("rb") as opened:
        opened.seek(begin)
        rest = b""
        while begin < end and (piece := opened.read(min(PIECE, end - begin))):
            begin += len(piece)
            whole, newline, rest = (rest + piece).rpartition(b"\n")
            if newline:
                yield (whole + newline).decode("utf-8", "replace")
        yield rest.decode("utf-8", "replace")


def _add(archive: zipfile.ZipFile, name: str, what: "list[tuple[Path, int, int]] | Iterator[str]") -> None:
    """Write a member piece by piece, with every secret masked."""
    with archive.open(name, "w") as member:
        for one in what:
            for text in [one] if isinstance(one, str) else _text_of(*one):
                member.write(masked(text).encode("utf-8", "replace"))
