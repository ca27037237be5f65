"""Bookings from a JSON file that a person or a program edits: a list of rows, or `{"bookings": [...]}`.

It is read at every look, and its rows are handed on when its bytes are others: size and times of a file may stay as
they were though it was edited, within a tick of the file system's clock or by who sets them back. A file that is
missing, half-written or not JSON is an error and never an empty schedule: a slip of an editor must not cost a match.
To drop all bookings, write `[]` into it. Rows are not looked at here.
"""

import asyncio
import hashlib
import json
import os
import stat
from pathlib import Path

from ezrec.domain.encodings import decode, guess_in_words
from ezrec.domain.errors import RetryError
from ezrec.files import os_errors

LARGEST = 8_000_000
"""Bytes; a year of bookings is far smaller, and a wrong path to a film is not."""


class BookingsFile:
    """A `BookingSource` over the file at `path`."""

    reuses_ids = True
    reported = False

    def __init__(self, path: Path, name: str = "file") -> None:
        self.name = name
        self._path = path
        self._seen = b""  # the digest of the bytes whose rows were handed on

    async def fetch(self) -> list[object] | None:
        """All rows of the file; None if it has not changed since it was last read well.

        Raises:
            RetryError: it is missing, too large, being written, or not JSON; says where and what to do.
            ParkError: it may not be read.
        """
        return await asyncio.to_thread(self._fetch)

    def forget(self) -> None:
        """Hand on the file's rows the next time, whether it has changed or not."""
        self._seen = b""

    def _fetch(self) -> list[object] | None:
        data = self._read()
        digest = hashlib.blake2b(data).digest()
        if digest == self._seen:
            return None
        rows = self._rows(data)
        self._seen = digest  # only now: a broken file is complained about until it is mended
        return rows

    def _read(self) -> bytes:
        """The file's bytes, all of one version as far as its size and times tell."""
        with os_errors("read the bookings file"):
            try:
                # Not blocking: a named pipe in its place would block the reader.
                handle = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            except FileNotFoundError:
                raise RetryError(f"there is no bookings file {self._path}: the bookings known so far are kept; "
                                 "write [] into it if there are none") from None
            try:
                before = os.fstat(handle)
                if not stat.S_ISREG(before.st_mode):
                    raise RetryError(f"{self._path} is not a file: give the path of a JSON file with bookings")
                if before.st_size > LARGEST:
                    raise RetryError(f"the bookings file {self._path} has {before.st_size} bytes: at most {LARGEST} "
                                     "are read; take old bookings out")
                with os.fdopen(handle, "rb", closefd=False) as file:
                    data = file.read(LARGEST + 1)
                if _signature(os.fstat(handle)) != _signature(before):
                    raise RetryError(f"the bookings file {self._path} changed while it was read: it is read again; "
                                     "to replace it in one go, write a new file and rename it")
                return data
            finally:
                os.close(handle)

    def _rows(self, data: bytes) -> list[object]:
        remedy = "the bookings known so far are kept; mend or finish it"
        try:
            content = json.loads(decode(data))
        except UnicodeDecodeError as error:
            raise RetryError(f"the bookings file {self._path} is not text at byte {error.start}, save it as UTF-8: "
                             f"{remedy}") from error
        except json.JSONDecodeError as error:
            raise RetryError(f"the bookings file {self._path} is not JSON at line {error.lineno}, column {error.colno} "
                             f"({error.msg}){guess_in_words(data)}: {remedy}") from error
        except (ValueError, RecursionError) as error:  # a number of thousands of digits; thousands of nested brackets
            raise RetryError(f"the bookings file {self._path} cannot be read ({error}): {remedy}") from error
        rows = content.get("bookings") if isinstance(content, dict) else content
        if not isinstance(rows, list):
            raise RetryError(f"the bookings file {self._path} holds no list: write [...] or "
                             f'{{"bookings": [...]}}; {remedy}')
        return rows


def _signature(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size
