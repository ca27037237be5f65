"""The library folder: finished films on this machine's own disk, for venues without a cloud.

Two ways, the same promises (an object appears whole or not at all, and other bytes are never replaced):

- *link*, where library and data lie on one file system: nothing is copied. Parts are only checked; the object is a
  second name of the film's file, so no byte is written twice. **The film's file must not be written to afterwards**: to
  make a film again, write a new file and rename it.
- *copy*, everywhere else: parts are copied into `.uploads/<id>` in the library as the film grows, each one read back
  from the disk, with a journal of them beside it; the file gets its name once all of them are right. So completing
  takes as long after a long match as after a short one.

What lies in `.uploads` never counts as an object. Single process: the data folder's lock keeps a second writer out.
"""

import asyncio
import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

from ezrec.adapters.storage import Part, Stored, check_key, composite_etag, object_length
from ezrec.domain.errors import OtherObject, ParkError, RetryError
from ezrec.files import (
    FILE_MODE,
    fsync_file,
    fsync_folder,
    make_folders,
    os_errors,
    remove,
    temporary_beside,
    write_atomically,
)

_UPLOADS = ".uploads"
_BLOCK = 1 << 20  # bytes read or written at a time
_REMEMBERED = 16  # films whose link is remembered: more than can be between complete and verify at a time
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV})
_HEX32 = re.compile(r"[0-9a-f]{32}")  # an upload's id, and an MD5

_Identity = tuple[int, int, int, int]  # device, inode, bytes, mtime in ns
_R = TypeVar("_R")


class LocalStorage:
    """A `Storage` in the folder `library`. `data` is the folder that films are made in.

    `link` forces one of the two ways; by default it is found out once, by making a link. Neither folder needs to exist
    before the first call; `data` must then.
    """

    in_flight = 1  # parts of an upload share one file and one journal

    def __init__(self, library: Path, data: Path, link: bool | None = None) -> None:
        self._library = library.absolute()
        self._uploads = self._library / _UPLOADS
        self._data = data.absolute()
        self._below = self._data if self._library.is_relative_to(self._data) else None  # never made here
        self._link = link
        self._placed: dict[str, tuple[_Identity, str]] = {}  # key → the file that was put there, its ETag
        self._checked: dict[str, dict[int, Part]] = {}  # upload → parts that this process has read back

    async def begin(self, key: str) -> str:
        """Open an upload for `key`; returns its id, new each time."""
        return await _in_thread(f"store {key}", lambda: self._begin(key))

    async def parts(self, key: str, upload_id: str) -> dict[int, str]:
        """The parts that are there, read back and compared with their MD5: number → MD5.

        Empty in link mode, where putting a part again costs nothing, and for an upload that is not known.
        """
        return await _in_thread(f"read back {key}", lambda: self._parts(key, upload_id))

    async def put_part(self, key: str, upload_id: str, part: Part, film: Path) -> None:
        """Store `part`, read from its range of the file `film`; durable when this returns.

        An upload that is not known (aborted, swept) is begun again under its id.

        Raises:
            RetryError: the film does not reach so far (yet).
            ParkError: the range's bytes are not those that its MD5 was taken from.
        """
        await _in_thread(f"store part {part.number} of {key}", lambda: self._put_part(key, upload_id, part, film))

    async def complete(self, key: str, upload_id: str, parts: Sequence[Part], film: Path) -> Stored:
        """Give the film its name in the library, or confirm that it is there already with just these bytes.

        Raises:
            ParkError: other bytes lie at `key` (they are left alone), or the parts are not this film's.
            RetryError: a part is missing or damaged: put those that `parts` does not list, and complete again.
        """
        return await _in_thread(f"complete {key}", lambda: self._complete(key, upload_id, parts, film))

    async def verify(self, key: str, parts: Sequence[Part], film: Path) -> Stored | None:
        """The object at `key` if its bytes are those of `parts`; None if there is none.

        If it has other bytes and is but another name of the file `film`, that was damaged: the name is taken away.

        The whole object is read, unless this storage itself has just put it there and the file is still that one
        (device, inode, length, time of change).

        Raises:
            ParkError: its bytes are others.
        """
        return await _in_thread(f"verify {key}", lambda: self._verify(key, parts, film))

    async def abort(self, key: str, upload_id: str) -> None:
        """Forget an unfinished upload and its parts; harmless if there is none, or if its id never came."""
        if upload_id:
            await _in_thread(f"abort the upload of {key}", lambda: self._forget(upload_id))

    async def remove(self, key: str) -> None:
        """Remove the object at `key`; harmless if there is none."""
        await _in_thread(f"remove {key}", lambda: remove(self._path(key)))

    async def put_file(self, key: str, file: Path) -> str:
        """Store a small file whole, replacing what lies at `key`; returns its URL."""
        return await _in_thread(f"store {key}", lambda: self._put_file(key, file))

    async def sweep(self, known: set[str]) -> int:
        """At start, before any upload: remove what uploads other than `known` left behind; returns how many files."""
        return await _in_thread("clean up unfinished uploads", lambda: _sweep(self._uploads, known))

    async def close(self) -> None:
        """Nothing is held open."""

    # What follows blocks and runs in threads.

    def _begin(self, key: str) -> str:
        self._path(key)
        self._by_link()  # a library that cannot be written to is found out now, not after the match
        return secrets.token_hex(16)

    def _parts(self, key: str, upload_id: str) -> dict[int, str]:
        self._path(key)
        copy, journal = self._upload(upload_id)
        if self._by_link() or not journal.exists() or not copy.exists():
            return {}
        there = {part.number: part for part in _read_journal(journal) if _is_there(copy, part)}
        self._checked[upload_id] = there
        return {number: part.md5 for number, part in there.items()}

    def _put_part(self, key: str, upload_id: str, part: Part, film: Path) -> None:
        self._path(key)
        copy, journal = self._upload(upload_id)
        if _HEX32.fullmatch(part.md5) is None or part.bytes < 1 or part.offset < 0 or part.number < 1:
            raise ParkError(f"part {part.number} of {key} is malformed: {part}")
        if film.stat().st_size < part.offset + part.bytes:
            raise RetryError(f"{film} does not reach to the end of part {part.number} of {key} yet")
        if self._by_link():
            return
        self._checked.get(upload_id, {}).pop(part.number, None)
        if _copy(film, part, copy) != part.md5:
            raise ParkError(f"the bytes of part {part.number} of {key} are not those that were announced: {film} was "
                            "changed, or a disk is failing; render the film again")
        if not _is_there(copy, part):
            raise RetryError(f"part {part.number} of {key} was not written well: the library's disk may be failing")
        _append(journal, json.dumps(asdict(part)))
        self._checked.setdefault(upload_id, {})[part.number] = part

    def _complete(self, key: str, upload_id: str, parts: Sequence[Part], film: Path) -> Stored:
        target, length, etag = self._path(key), object_length(key, parts), composite_etag(parts)
        copy, _ = self._upload(upload_id)
        if self._by_link():
            self._place_link(key, film, target, length, etag)
        elif not os.path.lexists(target):
            self._check_copy(key, upload_id, parts, length)
            self._place_copy(key, copy, target, etag)
        stored = self._verify(key, parts, film)
        if stored is None:
            raise RetryError(f"{key} vanished from the library while it was stored")
        # Also when it was there already: whoever put it there may have been killed before its fsyncs.
        for folder in [target.parent, *target.parent.parents]:
            if folder.is_relative_to(self._library):
                fsync_folder(folder)
        self._forget(upload_id)
        return stored

    def _place_link(self, key: str, film: Path, target: Path, length: int, etag: str) -> None:
        """Make `target` a name of the film's file; the film may be gone if the object is there already."""
        if os.path.lexists(target):
            there = film.exists() and os.path.samestat(film.stat(), target.lstat())
            if there and film.stat().st_size == length:
                self._remember(key, target, etag)
            return
        if film.stat().st_size != length:
            raise ParkError(f"{film} has {film.stat().st_size} bytes, its parts {length}: it was changed after they "
                            f"were taken, and is not stored as {key}; render the film again")
        fsync_file(film)
        make_folders(target.parent, self._below)
        try:
            _share_with(film, target.parent)
            os.link(film, target)
        except FileExistsError:
            return
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            self._link = False
            raise RetryError(f"the library can no longer hold links to {film} ({error.strerror}): "
                             "the film will be copied") from error
        self._remember(key, target, etag)

    def _check_copy(self, key: str, upload_id: str, parts: Sequence[Part], length: int) -> None:
        """See to it that the upload's file consists of `parts` and nothing more."""
        copy, _ = self._upload(upload_id)
        checked = self._checked.get(upload_id, {})
        for part in parts:
            if checked.get(part.number) != part and not _is_there(copy, part):
                raise RetryError(f"part {part.number} of {key} is missing or damaged in the library")
        if copy.stat().st_size != length:
            os.truncate(copy, length)
        fsync_file(copy)

    def _place_copy(self, key: str, copy: Path, target: Path, etag: str) -> None:
        make_folders(target.parent, self._below)
        try:
            os.link(copy, target)
        except FileExistsError:
            return
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            # A file system without links (a USB stick): renaming would replace what is there, but the only program
            # that writes here has just seen that nothing is.
            copy.rename(target)
        self._remember(key, target, etag)

    def _remember(self, key: str, target: Path, etag: str) -> None:
        self._placed[key] = _identity(target.stat()), etag
        while len(self._placed) > _REMEMBERED:
            self._placed.pop(next(iter(self._placed)))

    def _verify(self, key: str, parts: Sequence[Part], film: Path) -> Stored | None:
        target, length, etag = self._path(key), object_length(key, parts), composite_etag(parts)
        try:
            status = target.stat()
        except FileNotFoundError:
            return None
        if self._placed.get(key) != (_identity(status), etag):
            same = stat.S_ISREG(status.st_mode) and status.st_size == length
            if not same or not all(_is_there(target, part) for part in parts):
                if film.exists() and os.path.samestat(film.stat(), status):
                    remove(target)
                    return None
                raise OtherObject(f"the library holds something else at {key}: it was left alone; move it away and "
                                  "retry")
        return Stored(key=key, bytes=length, etag=etag, url=target.as_uri())

    def _forget(self, upload_id: str) -> None:
        self._checked.pop(upload_id, None)
        remove(*self._upload(upload_id))

    def _put_file(self, key: str, file: Path) -> str:
        target = self._path(key)
        make_folders(target.parent, self._below)
        make_folders(self._uploads, self._below)
        # Not beside its target: what a crash leaves here is swept, and players that list the folder never see it.
        staged = temporary_beside(self._uploads / target.name)
        write_atomically(staged, file.read_bytes())
        staged.replace(target)
        fsync_folder(target.parent)
        return target.as_uri()

    def _by_link(self) -> bool:
        """Whether films get into the library by link; found out once, by doing it."""
        make_folders(self._uploads, self._below)
        if self._link is None:
            # The device numbers are not enough: of one file system mounted at two places they are the same.
            probe = temporary_beside(self._data / "probe")
            name = self._uploads / probe.name
            try:
                probe.touch()
                os.link(probe, name)
                self._link = True
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                self._link = False
            finally:
                name.unlink(missing_ok=True)
                probe.unlink(missing_ok=True)
        return self._link

    def _path(self, key: str) -> Path:
        """Where an object lies. Nothing that a key can say leads out of the library or into its unfinished uploads."""
        return self._library.joinpath(*check_key(key))

    def _upload(self, upload_id: str) -> tuple[Path, Path]:
        """An upload's growing copy, and the journal of its parts."""
        if _HEX32.fullmatch(upload_id) is None:
            raise ParkError(f"{upload_id[:80]!r} is not an upload of the local library")
        return self._uploads / upload_id, self._uploads / f"{upload_id}.parts"


def _sweep(uploads: Path, known: set[str]) -> int:
    """Remove what uploads other than `known` left behind, and what is in the way of uploads; returns how many."""
    if not uploads.is_dir():
        left = [uploads] if os.path.lexists(uploads) else []
    else:
        left = [path for path in uploads.iterdir()
                if path.name.partition(".")[0] not in known or not stat.S_ISREG(path.lstat().st_mode)]
    folders = [path for path in left if path.is_dir() and not path.is_symlink()]
    for folder in folders:
        shutil.rmtree(folder)
    remove(*left)
    return len(left)


async def _in_thread(doing: str, work: Callable[[], _R]) -> _R:
    def guarded() -> _R:
        with os_errors(doing):
            return work()

    return await asyncio.to_thread(guarded)


def _share_with(film: Path, folder: Path) -> None:
    """Let the group of a folder in the library read a film that was made elsewhere; a copy is made in the library."""
    with suppress(OSError):  # this user does not belong to it: said at start
        os.chown(film, -1, folder.stat().st_gid)


def _identity(status: os.stat_result) -> _Identity:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _copy(film: Path, part: Part, copy: Path) -> str:
    """Copy the part's range of `film` to the same place in `copy`, durably; returns the MD5 of what was copied."""
    digest = hashlib.md5(usedforsecurity=False)
    source = os.open(film, os.O_RDONLY | os.O_CLOEXEC)
    try:
        target = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        try:
            at, end = part.offset, part.offset + part.bytes
            while at < end and (block := os.pread(source, min(_BLOCK, end - at), at)):
                digest.update(block)
                at += _pwrite(target, block, at)
            os.fchmod(target, FILE_MODE)
            os.fdatasync(target)
        finally:
            os.close(target)
    finally:
        os.close(source)
    return digest.hexdigest()


def _pwrite(handle: int, block: bytes, at: int) -> int:
    left = memoryview(block)
    while left:
        written = os.pwrite(handle, left, at)
        left, at = left[written:], at + written
    return len(block)


def _is_there(path: Path, part: Part) -> bool:
    """Whether the file holds the part, read from the disk where that can be had."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        # Without this, a part that was just written would be read from memory, and prove nothing about the disk.
        os.posix_fadvise(handle, part.offset, part.bytes, os.POSIX_FADV_DONTNEED)
        return _md5(handle, part) == part.md5
    finally:
        os.close(handle)


def _md5(handle: int, part: Part) -> str:
    """The MD5 of the part's range, as far as the file reaches."""
    digest = hashlib.md5(usedforsecurity=False)
    at, end = part.offset, part.offset + part.bytes
    while at < end and (block := os.pread(handle, min(_BLOCK, end - at), at)):
        digest.update(block)
        at += len(block)
    return digest.hexdigest()


def _append(journal: Path, line: str) -> None:
    """Add a line, durably. It begins with its newline, so that a line which a power cut tore off spoils no other."""
    handle = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, FILE_MODE)
    try:
        os.write(handle, f"\n{line}\n".encode())
        os.fsync(handle)
    finally:
        os.close(handle)
    fsync_folder(journal.parent)


def _read_journal(journal: Path) -> list[Part]:
    """The parts it lists, the newest last; lines that are not whole are passed over."""
    parts = []
    for line in journal.read_bytes().split(b"\n"):
        try:
            fields = json.loads(line)
            part = Part(int(fields["number"]), int(fields["offset"]), int(fields["bytes"]), str(fields["md5"]))
        except (ValueError, TypeError, KeyError):
            continue
        parts.append(part)
    return parts
