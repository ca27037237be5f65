"""Copies of the store, one a day and a few of them: for what a damaged one lacks (`recall`), and to be checked whole.

Made by a process of its own (`python -m ezrec.store.copies STORE COPY`), which may be slow, hang and be killed without
anybody's harm. A copy has its last name once it is on the disk and SQLite has found nothing wrong with it.

Limits: they lie on the store's own disk. They are for a damaged page, not for a dead card.
"""

import os
import sqlite3
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from ezrec.device import store_copy
from ezrec.domain.errors import EzrecError, StoreDamaged
from ezrec.files import FILE_MODE, make_folders, rename

PATTERN = "ezrec.db-????-??-??"
FAILED, DAMAGED = 1, 4  # exit statuses
UNCHECKED = ".unchecked"


def name_of(day: str) -> str:
    """The name of a day's copy (2026-11-29)."""
    return f"ezrec.db-{day}"


def copies(folder: Path) -> list[Path]:
    """The copies in a folder, the newest first. Raises OSError."""
    return sorted((path for path in folder.glob(PATTERN) if path.is_file()), reverse=True) if folder.is_dir() else []


def surplus(folder: Path, keep: int) -> list[Path]:
    """The copies that are more than `keep`, and what a copying that was killed has left. Raises OSError."""
    begun = [path for path in folder.iterdir() if path.is_file() and not path.match(PATTERN)
             and path.name.startswith("ezrec.db-")] if folder.is_dir() else []
    return [*copies(folder)[keep:], *begun]


def make(store: Path, copy: Path) -> None:
    """Copy a store, which may be in use, and check the copy whole. Blocks.

    Raises:
        StoreDamaged: the copy is damaged, so that the store may be.
        EzrecError: it cannot be copied.
    """
    unchecked = copy.with_name(copy.name + UNCHECKED)
    try:
        make_folders(copy.parent)
        if not store_copy.copy(store.parent, unchecked):
            raise EzrecError(f"there is no store {store}")
        unchecked.chmod(FILE_MODE)
        if wrong := _wrong(unchecked):
            unchecked.unlink()
            raise StoreDamaged(f"the copy of {store} is damaged: {wrong}")
        rename(unchecked, copy)
    except OSError as error:
        raise EzrecError(f"the store {store} cannot be copied to {copy}: {error}") from error


def _wrong(path: Path) -> str | None:
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True)) as db:
            found = [str(words) for words, in db.execute("PRAGMA integrity_check(3)")]
            found += [f"{table}: row {row} hangs on a row of {on} that is lost"
                      for table, row, on, *_ in db.execute("PRAGMA foreign_key_check")][:3]
    except sqlite3.Error as error:
        return str(error)
    return None if found == ["ok"] else "; ".join(found)


def main(words: Sequence[str]) -> int:
    """What the process does; its exit status."""
    os.nice(19)
    try:
        make(Path(words[0]), Path(words[1]))
    except StoreDamaged as error:
        sys.stderr.write(f"{error}\n")
        return DAMAGED
    except EzrecError as error:
        sys.stderr.write(f"{error}\n")
        return FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
