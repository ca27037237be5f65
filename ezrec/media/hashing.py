"""SHA-256 of files: of one as it is, and of the parts of one that grows, as they are written.

A file that grows is never read back. Its parts are consecutive ranges of one size, numbered from 1. It is only
appended to, but for its front, which may be written anew until the end: the parts that touch the front are kept in
memory and hashed by `finish`.

Limits: one thread writes at a time. `end` and `sums` may be read by others meanwhile.
"""

import errno
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file as it is now. Raises OSError if it cannot be read, or is no file."""
    if path.exists() and not path.is_file():  # a pipe would never end
        raise OSError(errno.EINVAL, "it is not a file", str(path))
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class HashingFile:
    """A new file at `path`, for libavformat to write to (`write`, `seek`, `tell`). What lay there is cut to nothing."""

    def __init__(self, path: Path, part_size: int, front: int) -> None:
        """`part_size` and `front` are in bytes. Raises OSError if the file cannot be made."""
        self._path = path
        self._part_size = part_size
        self._front = bytearray(-(-front // part_size) * part_size)
        self._hashed = len(self._front)  # so many bytes are in the front or in a hash
        self._hash = hashlib.sha256()  # of the part that is not whole yet
        self._sums: dict[int, str] = {}
        self._at = self._end = 0
        self._handle: int | None = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)

    @property
    def end(self) -> int:
        """The file's length in bytes."""
        return self._end

    @property
    def sums(self) -> Mapping[int, str]:
        """Part number → SHA-256, of the parts that are final: always the same mapping, which grows with the file.

        A part behind the front is in it before `end` passes it.
        """
        return self._sums

    def write(self, data: bytes) -> int:
        """Write all of `data` where `seek` has led to; returns its length.

        Raises:
            OSError: the disk is full or fails.
            ValueError: behind the front something would be written twice, or left out.
        """
        if self._handle is None or not data:
            return len(data)  # dropped: libavformat says its last words to nobody
        front = min(max(len(self._front) - self._at, 0), len(data))
        self._front[self._at : self._at + front] = data[:front]
        if front < len(data):
            self._append(self._at + front, memoryview(data)[front:])
        self._write(self._handle, data)
        self._at += len(data)
        self._end = max(self._end, self._at)
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place, as files do."""
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._end}[whence]
        return self._at

    def tell(self) -> int:
        """The place that is written to next."""
        return self._at

    def front(self, at: int, size: int) -> bytes:
        """What was written to a range of the front."""
        return bytes(self._front[at : at + size])

    def finish(self) -> None:
        """Close the file: all its parts are final."""
        if self._end > len(self._front) and self._hashed % self._part_size:
            self._sums[self._hashed // self._part_size + 1] = self._hash.hexdigest()
        for number, offset in enumerate(range(0, min(self._end, len(self._front)), self._part_size), 1):
            part = memoryview(self._front)[offset : min(offset + self._part_size, self._end)]
            self._sums[number] = hashlib.sha256(part).hexdigest()
        self.drop()

    def drop(self) -> None:
        """Close the file; what is written afterwards goes nowhere. Harmless if it is closed."""
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)
            self._front = bytearray()

    def _append(self, at: int, data: memoryview) -> None:
        if at != self._hashed:
            raise ValueError(f"{self._path}: byte {at} was to be written after byte {self._hashed}")
        while data:
            number = self._hashed // self._part_size + 1
            more = data[: number * self._part_size - self._hashed]
            self._hash.update(more)
            self._hashed += len(more)
            data = data[len(more) :]
            if self._hashed == number * self._part_size:
                self._sums[number] = self._hash.hexdigest()
                self._hash = hashlib.sha256()

    def _write(self, handle: int, data: bytes) -> None:
        left, at = memoryview(data), self._at
        try:
            while left:
                written = os.pwrite(handle, left, at)
                left, at = left[written:], at + written
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._path)) from error
