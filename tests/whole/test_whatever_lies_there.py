"""Whatever lies in the data folder, the recorder starts, records a booking that is due, and loses only what is broken.

Each harm is done on its own here; `make damage` does them in pairs and at random.
"""

import json
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.fakes.harm import HARMS
from tests.fakes.site import LIMIT_S, Site
from tests.fakes.waiting import wait_until

DUE_S, LASTS_S = 4.0, 1.5  # the booking that is due: from now, and how long


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a recorder that was killed in the middle of a match; a match before that was cancelled."""
    site = Site(tmp_path_factory.mktemp("used"), film={"chunk_s": 0.5})
    site.book("called-off", 0.5, 60)
    site.start()
    try:
        site.wait_stage("called-off", "recording")
        wait_until(lambda: len(site.rows("SELECT 1 FROM segment")) > 2, LIMIT_S, "some segments")
        site.book("called-off", -3, 2, status="cancelled")
        site.wait_stage("called-off", "cancelled")
        starts, _ = site.book("cut", 0.5, 600)
        with closing(sqlite3.connect(site.data / "ezrec.db", timeout=10)) as db, db:
            db.execute("UPDATE booking SET reported = 1")
        site.wait_stage("cut", "recording")
        wait_until(lambda: len(site.rows("SELECT 1 FROM chunk WHERE state = 'rendered'")) > 1, LIMIT_S, "chunks")
        site.book_at("cut", starts, time.time() + 0.1)
    finally:
        site.kill()
    return site.data


@pytest.fixture
def site(tmp_path: Path, used: Path) -> Iterator[Site]:
    """A site with a copy of that folder."""
    site = Site(tmp_path, bookings={"file": str(tmp_path / "bookings.json")})
    shutil.copytree(used, site.data)
    yield site
    site.end()


@pytest.mark.parametrize("harm", HARMS)
def test_it_starts_and_records_what_is_due(site: Site, harm: str) -> None:
    HARMS[harm](site.data)
    now = time.time()
    starts, ends = (datetime.fromtimestamp(now + s, UTC).isoformat() for s in (DUE_S, DUE_S + LASTS_S))
    site.bookings_file.write_text(json.dumps([{"id": "due", "start_time": starts, "end_time": ends}]))
    site.start()
    site.wait_said("ready")
    site.wait_stage("due", "cleaned")
    certificate, _ = site.check("due")
    assert sum(gap["seconds"] for gap in certificate["gaps"]) < 0.5
    assert len({line["run"] for line in site.said("run begun")}) == 1  # one start was enough
    assert not site.said("task ended, starting it again")
    if site.said("store lost, a new one is made"):
        assert site.rows("SELECT 1 FROM outbox WHERE body LIKE '%failed%'") == []
