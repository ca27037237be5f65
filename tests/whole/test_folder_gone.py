"""The data folder goes away while the recorder runs, or is not there when it starts."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.site import Site, files_below
from tests.fakes.waiting import wait_until


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.end()


NOTICED_S = 2.0
BUSY_S = 6.0  # stopping in order, on a busy machine


@pytest.mark.parametrize("put_there", ["nothing", "an empty folder", "another recorder's folder"])
def test_a_folder_that_goes_away_is_left_within_two_seconds_and_nothing_grows_in_its_place(
        site: Site, tmp_path: Path, put_there: str) -> None:
    site.book("match", 0.5, 12)
    site.start()
    site.wait_stage("match", "recording")
    wait_until(lambda: len(site.rows("SELECT 1 FROM segment")) > 1, what="segments")
    away = tmp_path / "away"
    site.data.rename(away)
    if put_there != "nothing":
        site.data.mkdir()
    if put_there.startswith("another"):
        (site.data / "ezrec.lock").touch()
    gone = time.monotonic()
    assert site.wait_dead() == 1
    assert time.monotonic() - gone < NOTICED_S + BUSY_S
    noticed = site.said("leaving")[0]
    assert "moved, replaced or unmounted" in noticed["error"]
    assert [path.name for path in files_below(site.data)] == (["ezrec.lock"] if put_there.startswith("another") else [])
    if put_there != "nothing":
        for path in site.data.iterdir():
            path.unlink()
        site.data.rmdir()
    away.rename(site.data)
    site.start()
    site.wait_stage("match", "cleaned")
    certificate, _ = site.check("match")
    assert certificate["runs"] == 2
    site.check_no_leftovers()


def test_a_folder_that_must_be_there_is_waited_for_and_never_made(site: Site, tmp_path: Path) -> None:
    site.configure(paths={"wait_for_data": True, "data": str(site.data)})
    site.start()
    waiting = site.wait_said("data folder is not there, waiting for it")
    assert (waiting["level"], waiting["data"]) == ("error", str(site.data))
    assert not site.data.exists()
    site.data.mkdir()
    site.wait_said("ready")
    assert site.stop() == 0
    assert (site.data / "logs" / "ezrec.log").exists()


def test_a_recorder_that_waits_for_its_folder_can_be_stopped(site: Site) -> None:
    site.configure(paths={"wait_for_data": True, "data": str(site.data)})
    site.start()
    site.wait_said("data folder is not there, waiting for it")
    site.stop()
    assert not site.data.exists()


def test_a_new_store_is_said_to_be_one(site: Site) -> None:
    site.start()
    site.wait_said("ready")
    assert site.said("no store here yet, a new one is made")[0]["store"] == str(site.data / "ezrec.db")
    assert not site.said("store lost, a new one is made")
