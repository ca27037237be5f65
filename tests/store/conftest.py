"""A store on real SQLite, with a clock that is set by hand."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ezrec.store import Store
from tests.fakes.records import Hand


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ezrec.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[Store]:
    made = await Store.open(path, clock=Hand(), create=True, migrate=True)
    yield made
    await made.close()
