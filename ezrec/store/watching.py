"""Whether a store's files are still those that the recorder opened.

SQLite goes on writing into files whose names are gone: everything after that would be lost with the process, and
commands beside the recorder would see another store, or spoil this one.

The files are not opened here: closing one would drop all locks that this process has on it, SQLite's included
(https://www.sqlite.org/howtocorrupt.html, 2.2).
"""

import os
from pathlib import Path

from ezrec.domain.errors import FolderGone


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
                now = path.stat()
                same = os.path.samestat(before, now) and (path != self._path or now.st_size > 0)
            except OSError:
                same = False
            if not same:
                raise FolderGone(f"{path.name} is not the file any more that was opened: "
                                 "it was deleted, replaced or emptied")
