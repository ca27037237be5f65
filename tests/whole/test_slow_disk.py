"""The real program on a disk whose syncs take a second or more: it starts in time, loses no frame, and says so."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ezrec.domain.timeline import length
from tests.fakes.missing import clocks_us, hold_against, mono_us, utc_us
from tests.fakes.site import Site
from tests.fakes.slow_disk import NEEDS, can_be_built, slow_disk
from tests.fakes.waiting import wait_until

pytestmark = pytest.mark.skipif(not can_be_built(), reason=NEEDS)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    one = Site(tmp_path, cameras={"preflight_s": 0, "lead_s": 4})  # a window is written before its cameras start
    yield one
    one.end()


def start(site: Site, sync_s: float) -> tuple[int, float]:
    """Start it on a disk that is so slow; the number of its first line, and after how many seconds it is ready."""
    began, since, ahead_us = mono_us(), len(site.lines), clocks_us()
    site.start(environment=slow_disk(site.folder, sync_s))
    wait_until(lambda: any(line.get("event") == "ready" for line in site.lines[since:]) or not site.alive(), 60)
    return since, after(site, since, "ready", began + ahead_us)


def after(site: Site, since: int, event: str, began_us: int) -> float:
    """How many seconds after `began_us` (UTC) an event came first."""
    line = next(line for line in site.lines[since:] if line.get("event") == event)
    return (utc_us(line["at"]) - began_us) / 1e6


def test_with_syncs_of_a_second_a_first_start_is_ready_three_syncs_later_than_with_quick_ones(
        site: Site, tmp_path: Path) -> None:
    quick = Site(tmp_path / "quick")
    try:
        _, quick_s = start(quick, 0)
    finally:
        quick.end()
    _, slow_s = start(site, 1.0)
    assert slow_s - quick_s < 4.5  # one after the other its syncs take eleven seconds


def test_with_syncs_of_a_second_the_cameras_start_before_anything_is_written(site: Site) -> None:
    _, usual_s = start(site, 0)
    site.book("match", 0.5, 60)
    site.wait_said("segment sealed", 3)
    site.kill()
    began_us = mono_us() + clocks_us()
    since, ready_s = start(site, 1.0)
    wait_until(lambda: any(line.get("event") == "camera starting" for line in site.lines[since:]), 60)
    assert after(site, since, "camera starting", began_us) < usual_s + 1.0  # not one sync
    assert ready_s < usual_s + 2.5


def test_a_disk_that_is_too_slow_costs_no_frame_and_is_an_error_in_words_until_it_is_well(
        site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    _, ready_s = start(site, 1.5)
    site.book("match", 8 + ready_s, 14 + ready_s)
    said = site.wait_said("disk too slow")
    assert said["level"] == "error"
    assert "a power cut may cost more than 2 s of footage" in said["error"]
    wait_until(lambda: "disk: a sync takes" in (site.data / "state.json").read_text("utf-8"))
    state = json.loads((site.data / "state.json").read_text("utf-8"))
    assert "disk too slow" in state["last_error"]
    for name, value in slow_disk(site.folder, 1.5).items():
        monkeypatch.setenv(name, value)
    assert "NOT OK    disk: a sync takes 1.5 s" in site.command("check", status=1)  # beside the recorder
    monkeypatch.setenv("SLOW_SYNC_S", "0")
    assert "ok        disk: a sync takes" in site.command("check")
    site.wait_stage("match", "cleaned", limit_s=150)
    certificate, seen = site.check("match")
    for told in hold_against(certificate, seen, clocks_us()).values():
        assert length(told.missing) <= told.counted_us
    assert len(site.said("disk too slow")) == 1
    assert site.stop() == 0
