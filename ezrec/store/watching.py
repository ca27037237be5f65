"""Whether a store's files are still those that the recorder opened.

SQLite goes on writing into files whose names are gone: everything after that would be lost with the process, and
commands beside the recorder would see another store, or spoil this one.
"""

import os
from pathlib import Path

from ezrec.domain.errors import FolderGone

HEADER = b"SQLite format 3\0"


class StoreFiles:
    """The files of an open store that has been written to, as they are when this is made."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._files = {one: one.stat() for one in (path, path.with_name(path.name + "-wal")) if one.exists()}

    def check(self) -> None:
        """See that they are the same files. Blocks on the disk.

        Raises:
            FolderGone: one was deleted, replaced or emptied.
        """
        for path, before in self._files.items():
            try:
                same = os.path.samestat(before, path.stat())
                with self._path.open("rb") as file:
                    same = same and file.read(len(HEADER)) == HEADER
            except OSError:
                same = False
            if not same:
                raise FolderGone(f"{path.name} is not the file any more that was opened: "
                                 "it was deleted, replaced or overwritten")
