"""Cameras that do not start, come late, stall, die, return, drift and drop: the real program publishes in every case.

The film holds what the design decides for each case, the certificate states the rest, and the frame counters that are
read back from the film's pictures agree with it (`Site.check`).
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.site import Site

QUICK = {"segment_s": 1.0, "stall_s": 1.0, "lost_s": 2.0, "retry_max_s": 0.5}

MakeSite = Callable[..., Site]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[MakeSite]:
    """A site with cameras that are given up quickly; ended whatever happens."""
    made: list[Site] = []

    def make(**changes: Any) -> Site:
        changes.setdefault("recorder", QUICK)
        made.append(Site(tmp_path, **changes))
        return made[-1]

    yield make
    for one in made:
        one.end()


def _gaps(certificate: dict[str, Any], camera: str) -> list[float]:
    return [gap["seconds"] for gap in certificate["gaps"] if gap["camera"] == camera]


def _wait_window(one: Site, into_s: float, starts: float) -> None:
    from tests.fakes.waiting import wait_wall  # noqa: PLC0415

    wait_wall(starts + into_s)


def _finish(one: Site, booking_id: str) -> dict[str, Any]:
    """Wait until the film is published and cleaned, and check it; its certificate."""
    one.wait_stage(booking_id, "cleaned")
    certificate, _ = one.check(booking_id)
    one.check_no_leftovers()
    assert one.stop() == 0
    return certificate


def test_a_camera_that_never_starts_leaves_a_film_of_the_other_one_alone(site: MakeSite) -> None:
    one = site()
    one.faults(right={"absent": True})
    one.book("match", 2.5, 7.5)
    one.start()
    certificate = _finish(one, "match")
    assert (certificate["layout"], list(certificate["cameras"]), certificate["picture"]) == ("single", ["left"], [192, 108])
    assert certificate["gaps"] == []


def test_a_camera_that_starts_fails_and_fails_leaves_a_film_of_the_other_one_alone(site: MakeSite) -> None:
    one = site()
    one.faults(left={"start_fails": True})
    one.book("match", 2.5, 7.5)
    one.start()
    certificate = _finish(one, "match")
    assert (certificate["layout"], list(certificate["cameras"])) == ("single", ["right"])


def test_a_camera_that_starts_three_seconds_late_gets_the_wide_canvas_and_a_filled_beginning(site: MakeSite) -> None:
    one = site(recorder={"segment_s": 1.0})
    one.faults(right={"late_s": 3})
    one.book("match", 3, 9)
    one.start()
    certificate = _finish(one, "match")
    assert certificate["layout"] == "wide"
    assert len(_gaps(certificate, "right")) == 1
    assert 1.5 < _gaps(certificate, "right")[0] < 3.5
    assert certificate["gaps"][0]["at_s"] == 0
    assert certificate["cameras"]["left"]["filled_ticks"] == 0


def test_a_camera_that_stalls_for_five_seconds_comes_back_into_the_film(site: MakeSite) -> None:
    one = site(recorder={"segment_s": 1.0})
    starts, _ = one.book("match", 2.5, 13.5)
    one.start()
    one.wait_said("chunk rendered")
    one.faults(left={"stalled": True})
    one.wait_said("camera lost", camera="left", times=1)
    one.wait_said("camera lost", camera="left", times=2)
    one.faults()
    certificate = _finish(one, "match")
    gaps = _gaps(certificate, "left")
    assert certificate["layout"] == "wide"
    assert len(gaps) == 1
    assert 3 < gaps[0] < 9
    assert _gaps(certificate, "both") == _gaps(certificate, "right") == []
