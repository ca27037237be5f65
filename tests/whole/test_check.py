"""`ezrec check` beside the recorder and without it, and the film that it makes."""

import json
from pathlib import Path
from typing import Any

import av
import pytest

from ezrec.cli.record import supply
from tests.fakes.site import LIMIT_S, Site
from tests.fakes.waiting import wait_until


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path, film={"chunk_s": 0.5})


def row(site: Site, about: str) -> dict[str, Any]:
    found = json.loads(site.command("check", "--json", status=None))["checks"]
    return next(one for one in found if one["about"] == about)


def test_check_beside_a_recorder_judges_its_cameras_by_their_frames_and_makes_no_film(site: Site) -> None:
    site.start()
    try:
        site.wait_said("ready")
        site.book("match", 1, 60)
        site.wait_said("booking started", booking="match")
        wait_until(lambda: "is streaming" in row(site, "camera left")["seen"], LIMIT_S, "frames in the state file")
        assert row(site, "camera right")["verdict"] == "ok"
        assert "runs (process" in row(site, "recorder")["seen"]
        refused = site.command("check", "--record", "3s", status=1)
        assert "no film can be recorded while the cameras are used: another recorder" in refused
        assert "`ezrec bookings add --in 1m --for 1m`" in refused
        assert not (site.data / "check" / "film").exists()
        assert site.stop() == 0
    finally:
        site.end()
    assert not [line for line in site.lines if line["level"] == "error"]


def test_check_records_a_film_of_both_cameras_and_says_where_it_lies_and_what_it_holds(site: Site) -> None:
    for _ in range(2):  # the second one takes the first one's place
        found = json.loads(site.command("check", "--record", "3s", "--json"))
    assert found["ok"], found
    assert [one["ok"] for one in found["steps"]] == [True] * 10
    assert found["certificate"]["gaps"] == []
    assert set(found["certificate"]["cameras"]) == {"left", "right"}
    film = Path(found["film"])
    assert film.is_relative_to(site.data / "check" / "film")
    with av.open(str(film)) as container:
        assert container.streams.video[0].frames >= 3 * 15
    assert len(list((site.data / "check" / "film").rglob("*.mp4"))) == 1
    assert not (site.data / "ezrec.db").exists()  # no booking of the court's own
    assert not list(site.data.rglob("*.ts"))


def test_a_supply_that_sank_while_the_film_was_made_is_told_and_one_that_sank_earlier_is_not() -> None:
    assert supply(None, None)[0]
    assert supply("under-voltage before", "under-voltage before")[0]
    for before, after in ((None, "under-voltage before"), ("under-voltage before", "under-voltage now")):
        good, words = supply(before, after)
        assert (good, "5 V and 5 A" in words) == (False, True)


@pytest.mark.parametrize("words", [("--record", "1s"), ("--record", "1h"), ("--record", "soon"),
                                   ("--record", "3s", "--cameras"), ("--cloud", "--cameras")])
def test_a_film_of_an_absurd_length_and_two_checks_at_once_are_refused(site: Site, words: tuple[str, ...]) -> None:
    assert "Invalid value" in site.command("check", *words, status=2)
