"""A store's files that go away under the recorder are noticed."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from ezrec.domain.errors import FolderGone
from ezrec.store import Store
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
