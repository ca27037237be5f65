"""Cameras that do not start, come late, stall, die, return, drift and drop: the real program publishes in every case.

The film holds what the design decides for each case, the certificate states the rest, and the frame counters that are
read back from the film's pictures agree with it (`Site.check`).
"""

import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from ezrec.domain.errors import CameraStuck
from tests.fakes.site import Site
from tests.fakes.waiting import wait_until

QUICK = {"segment_s": 1.0, "stall_s": 1.0, "lost_s": 2.0, "retry_max_s": 0.5}
"""Cameras are given up and tried again quickly."""

MakeSite = Callable[..., Site]


@pytest.fixture(params=["simulated", "picamera2"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MakeSite]:
    """Makes a site with one kind of cameras, which is ended whatever happens."""
    made: list[Site] = []

    def make_site(**changes: Any) -> Site:
        changes.setdefault("recorder", QUICK)
        changes.setdefault("cameras", {"source": request.param})
        made.append(Site(tmp_path, **changes))
        return made[-1]

    yield make_site
    for one in made:
        one.end()


def wait_wall(at: float) -> None:
    """Wait until a UTC second."""
    wait_until(lambda: time.time() >= at, max(0.0, at - time.time()) + 5, "a moment")


def gaps(certificate: dict[str, Any], camera: str) -> list[float]:
    """The lengths in seconds of a camera's gaps, in order."""
    return [gap["seconds"] for gap in certificate["gaps"] if gap["camera"] == camera]


def start(site: Site, seconds: float) -> tuple[float, float]:
    """Start the recorder, then book a window that opens in a moment: its UTC seconds."""
    site.start()
    site.wait_said("ready")
    return site.book("match", 2.5, 2.5 + seconds)


def finish(site: Site, booking_id: str = "match") -> dict[str, Any]:
    """Wait until the film is published and cleaned, and check it; its certificate."""
    site.wait_stage(booking_id, "cleaned")
    certificate, _ = site.check(booking_id)
    site.check_no_leftovers()
    assert site.stop() == 0
    return certificate


@pytest.mark.parametrize("fault", ["absent", "start_fails"])
def test_a_camera_that_never_starts_leaves_a_film_of_the_other_one_alone(make: MakeSite, fault: str) -> None:
    site = make()
    site.faults(right={fault: True})
    start(site, 4.5)
    certificate = finish(site)
    assert (certificate["layout"], certificate["picture"]) == ("single", [192, 108])
    assert list(certificate["cameras"]) == ["left"]
    assert certificate["gaps"] == []


def test_a_camera_that_starts_three_seconds_late_gets_the_wide_canvas_and_a_filled_beginning(make: MakeSite) -> None:
    site = make(recorder={"segment_s": 1.0})
    site.faults(right={"late_s": 3})
    start(site, 5.5)
    certificate = finish(site)
    assert certificate["layout"] == "wide"
    assert len(gaps(certificate, "right")) == len(certificate["gaps"]) == 1
    assert 1.5 < gaps(certificate, "right")[0] < 4  # started 0.7 s before the window
    assert certificate["gaps"][0]["at_s"] == 0


def test_a_camera_that_stalls_for_five_seconds_comes_back_into_the_film(make: MakeSite) -> None:
    site = make(recorder={"segment_s": 1.0})  # the defaults: tried again after 1.5 s, given up after 10 s
    starts, _ = start(site, 10)
    wait_wall(starts + 1.5)
    site.faults(left={"stalled": True})
    wait_wall(starts + 6.5)
    site.faults()
    certificate = finish(site)
    assert certificate["layout"] == "wide"
    assert len(gaps(certificate, "left")) == len(certificate["gaps"]) == 1
    assert 4.5 < gaps(certificate, "left")[0] < 9
    assert certificate["cameras"]["right"]["filled_ticks"] == 0


def test_a_camera_that_dies_half_way_leaves_its_half_filled_to_the_end(make: MakeSite) -> None:
    site = make()
    starts, ends = start(site, 6)
    wait_wall(starts + 3)
    site.faults(right={"absent": True})
    certificate = finish(site)
    assert certificate["layout"] == "wide"
    (gap,) = certificate["gaps"]
    assert gap["camera"] == "right"
    assert 2 < gap["seconds"] < 3.3
    assert abs(datetime.fromisoformat(gap["to"]).timestamp() - ends) < 0.1


def test_the_time_in_which_both_cameras_were_gone_is_cut_out_and_said(make: MakeSite) -> None:
    site = make()
    starts, ends = start(site, 8.5)
    wait_wall(starts + 2)
    site.faults(left={"absent": True}, right={"absent": True})
    gone = time.time()
    wait_wall(gone + 3.5)
    site.faults()
    back = time.time()
    certificate = finish(site)
    (cut,) = [gap for gap in certificate["gaps"] if gap["camera"] == "both"]
    assert gone - 0.3 < datetime.fromisoformat(cut["from"]).timestamp() < gone + 0.3
    assert back - 0.3 < datetime.fromisoformat(cut["to"]).timestamp() < back + 3
    assert abs(certificate["film_seconds"] + cut["seconds"] - (ends - starts)) < 0.3


def test_drift_and_drops_of_both_cameras_are_counted_and_cost_nothing_else(make: MakeSite) -> None:
    site = make()
    site.faults(left={"rate_ppm": 20_000, "drop": 0.03}, right={"rate_ppm": -20_000, "drop": 0.03})
    start(site, 8)
    certificate = finish(site)
    assert certificate["gaps"] == []
    left, right = certificate["cameras"]["left"], certificate["cameras"]["right"]
    assert left["skips"] >= 1  # 2 % too fast: a frame too many every 3.3 s
    assert right["repeats"] >= 1
    assert left["drops"] + right["drops"] >= 1
    assert left["filled_ticks"] == right["filled_ticks"] == 0


def test_a_camera_that_comes_back_for_more_than_half_of_the_window_makes_the_film_wide_again(make: MakeSite) -> None:
    site = make()
    site.faults(right={"absent": True})
    starts, ends = start(site, 14)
    site.wait_said("recipe frozen", cameras=["left"])
    assert time.time() < (starts + ends) / 2 - 1.5, "too late for the other half: this machine is too busy to tell"
    site.faults()
    certificate = finish(site)
    assert (certificate["layout"], certificate["generation"]) == ("wide", 2)
    assert list(certificate["cameras"]) == ["left", "right"]
    assert [gap["camera"] for gap in certificate["gaps"]] == ["right"]
    assert site.film("match")["object_key"].endswith("match@2.mp4")


def test_a_camera_whose_stop_hangs_makes_the_process_leave_and_the_film_goes_on_afterwards(make: MakeSite) -> None:
    site = make()
    starts, _ = start(site, 16)  # the call that hangs is given up after 2.7 s
    wait_wall(starts + 1.5)
    site.faults(right={"stalled": True, "stop_hangs_s": 3600})
    assert site.wait_dead() == CameraStuck.status
    left_at = time.time()
    site.faults()
    site.start()
    certificate = finish(site)
    assert certificate["layout"] == "wide"
    assert certificate["runs"] == 2
    assert sum(gaps(certificate, "both")) < left_at - starts
