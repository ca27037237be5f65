"""The copy of the store that an upgrade makes before it, and putting it back.

Limits: SQLite's own backup, whatever is in the file; no SQL of EZREC's.
"""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from ezrec.domain.errors import EzrecError
from ezrec.files import fsync_file, fsync_folder

NAME = "ezrec.db"
ENDINGS = ("", "-wal", "-shm")


def copy(data: Path, to: Path) -> bool:
    """Copy the store of a data folder, durably; whether there is one. It may be in use.

    Raises:
        EzrecError: it cannot be read, or the disk is full; nothing of the copy is left.
    """
    if not (data / NAME).is_file():
        return False
    fresh = to.with_name(f"{to.name}.new")
    fresh.unlink(missing_ok=True)
    try:
        with closing(sqlite3.connect(data / NAME)) as source, closing(sqlite3.connect(fresh)) as target:
            source.backup(target)
        fsync_file(fresh)
        fresh.replace(to)
        fsync_folder(to.parent)
    except (sqlite3.Error, OSError) as error:
        fresh.unlink(missing_ok=True)
        raise EzrecError(f"the store {data / NAME} cannot be copied to {to}: {error}") from error
    return True


def put_back(copied: Path, data: Path, aside: str) -> None:
    """Let the copy be the store again; what the new release made of it goes aside, whole. The recorder must not run.

    A power cut in here leaves what this function, called again, ends.

    Raises:
        OSError: the disk is full, or fails.
    """
    owner = data.stat()
    fresh = data / f"{NAME}.back"
    fresh.write_bytes(copied.read_bytes())
    os.chown(fresh, owner.st_uid, owner.st_gid)
    fresh.chmod(0o640)
    fsync_file(fresh)
    place = data / "aside"
    place.mkdir(exist_ok=True)
    os.chown(place, owner.st_uid, owner.st_gid)
    for ending in ENDINGS[1:] + ENDINGS[:1]:  # a log without its store means nothing, a store without its log is old
        old = data / f"{NAME}{ending}"
        if old.exists():
            old.replace(place / f"{NAME}-{aside}{ending}")
    fresh.replace(data / NAME)
    fsync_folder(data)
