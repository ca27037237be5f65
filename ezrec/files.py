"""Durable file operations: what these functions did is still there after a power cut.

A file is durable when its bytes are fsynced *and* the folder that names it is. All functions block, and a fsync on an
SD card may take a second: call them from a thread. They raise plain OSErrors. `os_errors` translates them where an
adapter meets its callers.

A file that is being written has a temporary name beside its own: `.<random>.tmp`. Every writer uses this one form, so
the clean-up at start finds what a kill left behind.
"""

import errno
import io
import os
import resource
import secrets
import shutil
import stat
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from ezrec.domain.errors import EzrecError, ParkError, RetryError

FILE_MODE = 0o640
FOLDER_MODE = 0o750
"""Of every file and folder that is kept, whatever the umask: what a camera saw is nobody's business but the owner's."""

_TOO_OPEN = stat.S_IWGRP | stat.S_IRWXO

LONG_S = 0.02
"""How long one of several syncs may take before the next one is begun beside it, in seconds."""

_NOT_ALLOWED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_NOT_POSSIBLE = frozenset({errno.ENAMETOOLONG, errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.EFBIG})
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


def keep_private() -> None:
    """Give whatever this process and those below it make these modes, SQLite and FFmpeg included."""
    os.umask(0o777 & ~FOLDER_MODE)


@contextmanager
def os_errors(doing: str) -> Iterator[None]:
    """Translate the OSErrors of its block; `doing` ends the sentence "cannot …".

    Raises:
        ParkError: permissions, a read-only disk or an impossible name: a person must act.
        RetryError: everything else (no room, an I/O error, a missing disk).
    """
    try:
        yield
    except OSError as error:
        raise verdict(error, doing) from error


def verdict(error: OSError, doing: str) -> EzrecError:
    """What an OSError means for the work that met it, in words for people."""
    place = f": {error.filename}" if error.filename else ""
    text = f"cannot {doing}: {error.strerror or error}{place}"
    if error.errno in _NOT_ALLOWED:
        return ParkError(f"{text}; give the user that runs EZREC the right to write there, and retry")
    if error.errno in _NOT_POSSIBLE:
        return ParkError(f"{text}; something of another kind lies there, or the name does not fit the disk")
    if error.errno in _NO_ROOM:
        return RetryError(f"{text}; free some room on that disk")
    return RetryError(text)


def fsync_file(path: Path) -> None:
    """Wait until the file's bytes and length are on the disk."""
    _fsync(path, os.O_RDONLY)


def fsync_folder(path: Path) -> None:
    """Wait until the folder's names (files made, renamed and removed in it) are on the disk."""
    _fsync(path, os.O_RDONLY | os.O_DIRECTORY)


def _fsync(path: Path, flags: int) -> None:
    handle = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def all_soon(*works: Callable[[], object]) -> None:
    """Do works one after the other, and beside each other as soon as one takes long; wait for all of them.

    On a slow disk one after the other would take too long. Raises the error of the first one that failed.
    """
    if len(works) == 1:
        works[0]()
        return
    errors: list[Exception] = []

    def one(work: Callable[[], object]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - raised where all are waited for
            errors.append(error)

    threads = [threading.Thread(target=one, args=(work,), name="sync", daemon=True) for work in works]
    for thread in threads:
        thread.start()
        thread.join(LONG_S)
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def temporary_beside(path: Path) -> Path:
    """A new temporary name in the folder of `path`.

    Each call gives another one: two writers (the program and a command beside it, a worker that outlived its parent)
    must not share an unfinished file.
    """
    return path.with_name(f".{secrets.token_hex(6)}.tmp")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path` to write to; when the block ends well, the file is renamed to `path`.

    A reader sees the old file or the new one. If the block raises, nothing has changed. The new file is not durable.
    """
    temporary = temporary_beside(path)
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def put_in_place(path: str | Path) -> Iterator[str]:
    """As `replacing`, and the new file is durable: a crash, too, leaves the old file or the new one."""
    target = Path(path)
    with replacing(target) as temporary:
        yield str(temporary)
        fsync_file(temporary)
    fsync_folder(target.parent)


def write_atomically(path: Path, data: bytes | BinaryIO) -> None:
    """Put `data` (or what an open file holds) at `path`; a reader or a crash sees the old bytes or the new ones.

    The file's mode is `FILE_MODE`. Its folder must exist.
    """
    with put_in_place(path) as temporary, Path(temporary).open("xb") as file:
        os.fchmod(file.fileno(), FILE_MODE)
        shutil.copyfileobj(io.BytesIO(data) if isinstance(data, bytes) else data, file)


def rename(path: Path, to: Path) -> None:
    """Give a file the name `to` in the same folder, replacing what has it; durable. Raises OSError."""
    path.replace(to)
    fsync_folder(to.parent)


def allocate(path: Path, size: int) -> None:
    """Make a file of `size` bytes that really takes that room on the disk. Raises OSError and leaves nothing then."""
    with put_in_place(path) as temporary, Path(temporary).open("xb") as file:
        os.fchmod(file.fileno(), FILE_MODE)
        os.posix_fallocate(file.fileno(), 0, size)


def make_folders(path: Path, below: Path | None = None, *, durable: bool = True) -> None:
    """Make the folder `path` and those above it that are missing, of mode `FOLDER_MODE`, each one durable in its parent
    if it is to be.

    `below` must be there already. A disk that was unmounted would otherwise be written beside.

    Raises:
        NotADirectoryError: a file lies in the way.
        FileNotFoundError: `below` is not there.
    """
    missing = []
    # lexists, because a dangling link is in the way too and must be named rather than looped over.
    while not os.path.lexists(path):
        if path == below:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        missing.append(path)
        path = path.parent
    if not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    for folder in reversed(missing):
        with suppress(FileExistsError):
            folder.mkdir(FOLDER_MODE)
            with suppress(PermissionError):  # a disk without modes, a USB stick say
                folder.chmod(FOLDER_MODE | folder.stat().st_mode & stat.S_ISGID)
        if durable:
            fsync_folder(folder.parent)


def is_too_open(status: os.stat_result) -> bool:
    """Whether a file or folder of this user's lets others do what `FILE_MODE` and `FOLDER_MODE` do not."""
    return bool(stat.S_IMODE(status.st_mode) & _TOO_OPEN) and status.st_uid == os.geteuid()


def tighten(folder: Path, *, all_files: bool = False) -> int:
    """Take away from a folder of this user's, and from all in it, what strangers may do there; returns of how many.

    Files are looked at where their folder was open, or with `all_files` in this one. A folder's own mode changes after
    all in it: whoever is killed here begins again. Links are not followed. What cannot be changed stays.
    """
    count, status = 0, folder.stat()
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                count += tighten(Path(entry.path))
            elif (all_files or is_too_open(status)) and entry.is_file(follow_symlinks=False):
                count += tighten_one(Path(entry.path))
    return count + tighten_one(folder)


def tighten_one(path: Path) -> int:
    """The same for one file or folder alone."""
    with suppress(OSError):
        status = path.stat()
        if is_too_open(status):
            path.chmod(stat.S_IMODE(status.st_mode) & ~_TOO_OPEN)
            return 1
    return 0


def remove(*paths: Path) -> None:
    """Remove files for good, so that no power cut brings one back; a file that is missing already is fine."""
    folders = set()
    for path in paths:
        try:
            path.unlink()
        except (FileNotFoundError, NotADirectoryError):
            # It may have been unlinked by a process that was killed before its fsync: the folder still needs one.
            if not path.parent.is_dir():
                continue
        folders.add(path.parent)
    for folder in folders:
        fsync_folder(folder)


def largest_file(folder: Path, wanted: int) -> int:
    """How many of `wanted` bytes one file in `folder` may have: by the limit of this process (`ulimit -f`) and by what
    the disk can hold as one file (4 GiB on FAT32). Nothing is written but an empty file for a moment.

    Raises:
        OSError: no file can be made there.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    most = wanted if limit == resource.RLIM_INFINITY else min(wanted, limit)
    probe = temporary_beside(folder / "probe")
    handle = os.open(probe, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
    try:
        return bisect_right(range(most), False, key=lambda size: not _reaches(handle, size + 1))
    finally:
        os.close(handle)
        probe.unlink()


def _reaches(handle: int, size: int) -> bool:
    """Whether a file can be as long as that: the kernel lets nobody look behind its file system's end of a file."""
    try:
        os.lseek(handle, size, os.SEEK_SET)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.EOVERFLOW):
            return False
        raise
    return True


def free_bytes(path: Path) -> int:
    """Bytes that an ordinary user may still write on the disk that holds `path`, which must exist."""
    return shutil.disk_usage(path).free
