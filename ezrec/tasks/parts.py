"""A film's parts: which of them can be stored now, and each one as its bytes are, compared with what was written."""

import errno
import hashlib
import os
import stat
from collections.abc import Iterator

from ezrec.adapters.storage import Part
from ezrec.domain.errors import FilmAway, FilmDamaged
from ezrec.store.rows import PartRow
from ezrec.tasks.film.growing import Growth

READ_BYTES = 1 << 20  # how much of a part is in memory at a time while it is hashed

Range = tuple[int, int, int]  # of a film: part number, offset, bytes

_AWAY = frozenset({errno.EIO, errno.ENODEV, errno.ENXIO, errno.ENOTCONN, errno.ESTALE, errno.ETIMEDOUT})
_NO_FILE = frozenset({errno.ENOENT, errno.EISDIR, errno.ELOOP})


def due_parts(growth: Growth, part_size: int, reserve: int) -> Iterator[Range]:
    """The parts that can go now, as (number, offset, bytes): those behind the reserve first, number 1 last.

    While the film grows only whole parts are due that will not change: those behind the reserve, then those that touch
    only what the index leaves empty of it. Should it grow into one of these after all, the closed film's sum of that
    part tells: it is stored once more.
    """
    front = -(-reserve // part_size)  # so many parts touch the reserve
    whole = growth.final // part_size
    for number in range(front + 1, whole + 1):
        yield number, (number - 1) * part_size, part_size
    if not growth.closed:
        index = reserve if growth.index is None else min(growth.index, reserve)
        for number in range(-(-index // part_size) + 1, min(front, whole) + 1):
            yield number, (number - 1) * part_size, part_size
        return
    if growth.final % part_size and whole + 1 > front:
        yield whole + 1, whole * part_size, growth.final % part_size
    for number in range(min(front, -(-growth.final // part_size)), 0, -1):
        offset = (number - 1) * part_size
        yield number, offset, min(part_size, growth.final - offset)


def read_part(growth: Growth, number: int, offset: int, size: int) -> PartRow:
    """A part with its MD5 and SHA-256, of the bytes that are in the film's file now.

    Raises:
        FilmDamaged: the file is gone or too short, or these are not the bytes that were written.
        FilmAway: it cannot be read; so it is if the folder of all films is gone.
        OSError: it may not be read.
    """
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    left = size
    try:
        with open(growth.path, "rb", opener=_open) as file:
            file.seek(offset)
            while left > 0 and (data := file.read(min(READ_BYTES, left))):
                md5.update(data)
                sha256.update(data)
                left -= len(data)
    except OSError as error:
        there = growth.path.parent.parent.is_dir()  # or else it is a disk that has gone
        if error.errno in _NO_FILE and there:
            raise FilmDamaged("the film's file is gone") from error
        if error.errno in _AWAY or error.errno in _NO_FILE:
            raise FilmAway(f"the film's file cannot be read: {error.strerror}") from error
        raise
    if left:
        raise FilmDamaged(f"the film's file was damaged: {left} bytes of part {number} are missing")
    if growth.sums.get(number, sha256.hexdigest()) != sha256.hexdigest():
        raise FilmDamaged(f"the film's file was damaged: part {number} is not what was written")
    return PartRow(number, offset, size, md5.hexdigest(), sha256.hexdigest())


def is_same(growth: Growth, row: PartRow, part: Range) -> bool:
    """Whether a part that is known from before is, by its checksum, what was written into the film's file now."""
    return (row.number, row.offset, row.bytes) == part and growth.sums.get(row.number) == row.sha256


def part_of(row: PartRow) -> Part:
    """A part as the storage takes it."""
    return Part(row.number, row.offset, row.bytes, row.md5)


def _open(path: str, flags: int) -> int:
    """Open a file, and nothing else: a pipe in its place would never answer."""
    handle = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    return handle
