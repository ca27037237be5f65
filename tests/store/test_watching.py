"""A store's files that go away under the recorder are noticed."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from ezrec.domain.errors import FolderGone
from ezrec.store import Store
from ezrec.store.damage import damage
from ezrec.store.watching import StoreFiles


async def test_a_store_in_use_is_the_one_that_was_opened(store: Store, path: Path) -> None:
    await store.begin_run("boot", 0, 0)
    files = StoreFiles(path)
    with closing(sqlite3.connect(path)) as command:
        command.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    await store.begin_run("boot", 1, 0)
    other = await Store.open(path)
    await other.close()
    files.check()


async def test_looking_at_the_files_takes_no_lock_from_the_store(store: Store, path: Path) -> None:
    await store.begin_run("boot", 0, 0)
    files = StoreFiles(path)
    files.check()
    # Another process that believes to be the last one deletes the log.
    command = f"import sqlite3; db = sqlite3.connect({str(path)!r}); db.execute('DELETE FROM event'); db.close()"
    subprocess.run([sys.executable, "-c", command], check=True)
    files.check()


def replaced(path: Path) -> None:
    path.rename(path.with_name("before"))
    path.write_bytes(path.with_name("before").read_bytes())


@pytest.mark.parametrize("harm", [Path.unlink, lambda path: os.truncate(path, 0), replaced,
                                  lambda path: path.with_name("ezrec.db-wal").unlink()],
                         ids=["deleted", "emptied", "replaced", "its log deleted"])
async def test_a_store_that_goes_away_is_noticed(store: Store, path: Path, harm: Callable[[Path], None]) -> None:
    await store.begin_run("boot", 0, 0)
    files = StoreFiles(path)
    harm(path)
    with pytest.raises(FolderGone, match=r"ezrec\.db"):
        files.check()


async def test_a_look_at_a_store_that_is_in_use_costs_it_no_lock(tmp_path: Path) -> None:
    """Closing a file drops every lock that this process has on it, SQLite's too."""
    path = tmp_path / "ezrec.db"
    store = await Store.open(path, create=True)
    held = (f"import fcntl, sys; file = open({str(path.with_name('ezrec.db-shm'))!r}, 'r+b')\n"
            "try: fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 128)\n"  # the lock of whoever has a log open
            "except OSError: sys.exit(0)\n"
            "sys.exit(1)")

    def is_held() -> bool:
        return subprocess.run([sys.executable, "-c", held], check=False).returncode == 0

    assert is_held()
    assert damage(path, in_use=True) is None
    StoreFiles(path).check()
    assert is_held()
    await store.close()
