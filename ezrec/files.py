"""Durable file operations: what these functions did is still there after a power cut.

A file is durable when its bytes are fsynced *and* the folder that names it is. All functions block (a fsync on an SD
card may take a second): call them from a thread. They raise plain OSErrors; `os_errors` translates them where an
adapter meets its callers.
"""

import errno
import io
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ezrec.domain.errors import EzrecError, ParkError, RetryError

TEMPORARY = ".tmp"
"""How the name of an unfinished file ends; one that is older than the process is rubbish."""

_NOT_ALLOWED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_NOT_POSSIBLE = frozenset({errno.ENAMETOOLONG, errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.EFBIG})
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


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


def write_atomically(path: Path, data: bytes | BinaryIO) -> None:
    """Put `data` (or what an open file holds) at `path`; a reader or a crash sees the old bytes or the new ones.

    The file's mode is 0o644 whatever the umask. Its folder must exist.
    """
    # A name of its own per write: two writers (the program and a command beside it) must not share a temporary file.
    temporary = path.with_name(f".{secrets.token_hex(6)}{TEMPORARY}")
    try:
        with temporary.open("xb") as file:
            os.fchmod(file.fileno(), 0o644)
            shutil.copyfileobj(io.BytesIO(data) if isinstance(data, bytes) else data, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync_folder(path.parent)


def make_folders(path: Path) -> None:
    """Make the folder `path` and those above it that are missing, each one durable in its parent.

    Raises:
        NotADirectoryError: a file lies in the way.
    """
    missing = []
    # lexists, because a dangling link is in the way too and must be named rather than looped over.
    while not os.path.lexists(path):
        missing.append(path)
        path = path.parent
    if not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        fsync_folder(folder.parent)


def remove(*paths: Path) -> None:
    """Remove files for good, so that no power cut brings one back; a file that is missing already is fine."""
    folders = set()
    for path in paths:
        try:
            path.unlink()
        except FileNotFoundError:
            # It may have been unlinked by a process that was killed before its fsync: the folder still needs one.
            if not path.parent.is_dir():
                continue
        folders.add(path.parent)
    for folder in folders:
        fsync_folder(folder)


def free_bytes(path: Path) -> int:
    """Bytes that an ordinary user may still write on the disk that holds `path`, which must exist."""
    return shutil.disk_usage(path).free
