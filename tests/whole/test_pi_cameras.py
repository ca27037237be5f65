"""A Raspberry Pi's own troubles, in the real program with the real Picamera2: who recovers how, and what it costs."""

import json
import signal
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.site import Site
from tests.fakes.waiting import wait_until

PI = {"source": "picamera2"}
CLEAR = PI | {"width": 640, "height": 360, "bitrate": 2_000_000}  # a picture that is worth a judgement


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path, cameras=PI)
    yield made
    made.end()


def start(site: Site, seconds: float) -> float:
    """Start the recorder and book a window that opens in a moment; when it opens, UTC seconds."""
    site.start()
    site.wait_said("ready")
    return site.book("match", 2.5, 2.5 + seconds)[0]


def wait_wall(at: float) -> None:
    wait_until(lambda: time.time() >= at, max(0.0, at - time.time()) + 5, "a moment")


def finish(site: Site) -> dict[str, Any]:
    site.wait_stage("match", "cleaned")
    certificate, _ = site.check("match")
    assert site.stop() == 0
    return certificate


def gaps(certificate: dict[str, Any], camera: str) -> list[float]:
    return [gap["seconds"] for gap in certificate["gaps"] if gap["camera"] == camera]


def test_a_film_of_both_cameras_loses_no_frame_and_begins_with_its_window(site: Site) -> None:
    starts = start(site, 10)
    certificate = finish(site)
    assert (certificate["layout"], certificate["gaps"]) == ("wide", [])
    assert {camera["drops"] for camera in certificate["cameras"].values()} == {0}
    assert abs(datetime.fromisoformat(certificate["window"][0]).timestamp() - starts) < 0.01
    (software,) = site.said("camera software")
    assert (software["encoder"], software["libcamera"]) == ("libx264", "0.7.2+standin")
    assert not [line for line in site.lines if line["level"] in ("warning", "error")]


def test_cameras_that_are_kept_warm_are_opened_once_and_stay_on_between_bookings(site: Site) -> None:
    site.configure(cameras=PI | {"keep_warm": True})
    site.start()
    site.wait_said("camera opened", times=2)
    site.book("first", 3, 5)
    site.book("match", 9, 11)
    site.wait_said("camera stopped", times=2)
    certificate = finish(site)
    assert (certificate["layout"], certificate["gaps"]) == ("wide", [])
    assert site.check("first")[0]["gaps"] == []
    assert [line["camera"] for line in site.said("camera opened")] in (["left", "right"], ["right", "left"])
    assert not [line for line in site.lines if line["level"] in ("warning", "error")]


def test_a_camera_that_only_reopening_cures_is_reopened_and_the_other_one_loses_nothing(site: Site) -> None:
    starts = start(site, 10)
    wait_wall(starts + 1.5)
    site.faults(left={"stalls_until_reopened": True})
    wait_wall(starts + 2.5)
    site.faults()
    certificate = finish(site)
    assert len(site.said("camera silent, starting it again")) == 1
    assert len(site.said("camera opened", camera="left")) == 2
    assert len(site.said("camera opened", camera="right")) == 1
    assert len(gaps(certificate, "left")) == len(certificate["gaps"]) == 1
    assert gaps(certificate, "left")[0] < 7


def test_a_camera_that_somebody_else_holds_is_taken_when_it_is_free(site: Site) -> None:
    site.faults(right={"busy": True})
    start(site, 8)
    lost = site.wait_said("camera lost", camera="right")
    assert "busy" in lost["error"]
    site.faults()
    certificate = finish(site)
    assert certificate["layout"] == "wide"
    assert certificate["cameras"]["right"]["shown_ticks"] > 0


def test_a_stop_that_holds_the_interpreter_ends_the_process_from_outside_and_the_film_goes_on(site: Site) -> None:
    starts = start(site, 16)
    wait_wall(starts + 1.5)
    site.faults(right={"stalled": True, "stop_holds_s": 3600})
    assert site.wait_dead() == -signal.SIGALRM
    left_at = time.time()
    assert "libcamera" in site.errors  # where it hung
    site.faults()
    site.start()
    certificate = finish(site)
    assert (certificate["layout"], certificate["runs"]) == ("wide", 2)
    assert sum(gaps(certificate, "both")) < left_at - starts + 3


def test_without_picamera2_its_cameras_are_refused_with_the_package_to_install(tmp_path: Path) -> None:
    plain = Site(tmp_path, cameras={"source": "picamera2"})
    plain.source = "simulated"  # the stand-in is not on the path
    said = plain.command("run", status=2)
    assert "needs the package libcamera, which is not installed" in said
    assert "sudo apt install python3-picamera2" in said
    assert "nothing is booked" in plain.command("bookings", "list")


def test_what_is_wrong_before_the_match_is_said_in_time_and_stands_in_the_films_certificate(site: Site) -> None:
    site.configure(cameras=CLEAR)
    site.faults(right={"black": True})
    site.start()
    site.wait_said("ready")
    site.book("match", 14, 17)
    said = site.wait_said("pre-flight failed", booking="match")
    assert any("camera right: the picture is black" in problem for problem in said["problems"])
    assert not any("camera left" in problem for problem in said["problems"])
    assert (site.data / "check" / "left.jpg").exists()
    site.faults()
    notes = finish(site)["notes"]
    assert any("camera right: the picture is black" in note for note in notes)
    assert "Before the match the cameras were looked at: camera right" in site.command("films", "explain", "match")


def test_check_starts_both_cameras_saves_a_picture_of_each_and_says_what_is_wrong(site: Site) -> None:
    site.configure(cameras=CLEAR)
    good = json.loads(site.command("check", "--cameras", "--json", "--reference"))
    assert [one["ok"] for one in good["cameras"].values()] == [True, True]
    assert good["software"]["encoder"] == "libx264"
    assert len(good["found"]) == 2
    assert good["machine"]["disk_free_mb"] > 0
    for name, one in good["cameras"].items():
        assert one["picture"] == str(site.data / "check" / f"{name}.jpg")
        assert Path(one["picture"]).read_bytes()[:2] == b"\xff\xd8"
    assert sorted(path.name for path in (site.data / "reference").iterdir()) == ["left.jpg", "right.jpg"]
    site.faults(left={"busy": True}, right={"black": True})
    said = site.command("check", "--cameras", status=1)
    assert "Device or resource busy" in said
    assert "the picture is black" in said


def test_check_without_a_flag_lists_the_cameras_and_their_software_and_starts_none(site: Site) -> None:
    found = json.loads(site.command("check", "--json", status=None))
    rows = {one["about"]: one for one in found["checks"]}
    assert rows["cameras"]["verdict"] == "ok"
    assert "picamera2; found: 0: " in rows["cameras"]["seen"]
    assert "libcamera 0.7.2+standin" in rows["camera software"]["seen"]
    assert len(found["found"]) == 2
    assert rows["dma_heap"]["verdict"] in ("ok", "bad")  # as this machine has it
    assert not (site.data / "check").exists()


def test_check_leaves_the_cameras_of_a_recorder_that_runs_alone(site: Site) -> None:
    site.start()
    site.wait_said("ready")
    assert "the cameras cannot be tried while they are used" in site.command("check", "--cameras", status=1)
    assert site.stop() == 0
