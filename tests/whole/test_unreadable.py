"""Footage that cannot be read, through the real program: it costs its own time, never the film.

A chunk is longer than three segments here, so that a segment's file can be spoiled between its row and its chunk.
"""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.site import SETTINGS, Site
from tests.fakes.waiting import wait_until

WINDOW_S = 6.0


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A court whose pieces of film are 4 s long."""
    one = Site(tmp_path, film=SETTINGS["film"] | {"chunk_s": 4.0})
    yield one
    one.end()


def start(site: Site) -> tuple[float, float]:
    """Start the recorder, then book a window that opens in a moment: its UTC seconds."""
    site.start()
    site.wait_said("ready")
    return site.book("match", 2.5, 2.5 + WINDOW_S)


def second_segments(site: Site) -> list[dict[str, Any]]:
    """Each camera's second segment inside the window, as soon as both have their rows."""
    def there() -> list[dict[str, Any]]:
        found = [site.rows("SELECT segment.* FROM segment JOIN span ON span.run = segment.run AND segment.start_us >"
                           " span.start_us WHERE camera = ? ORDER BY segment.start_us LIMIT 2", camera)[1:]
                 for camera in ("left", "right")]
        return [row for rows in found for row in rows] if all(found) else []

    rows = wait_until(there, 30, "the second segments")
    assert not site.said("rendering chunk"), "too late: its piece of the film is being made"
    return rows


def zeros(path: Path) -> None:
    """What a card leaves that lied about having written."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.write(bytes(size))


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def finished(site: Site) -> tuple[dict[str, Any], str]:
    """The certificate of the film once it is published and cleaned, checked picture by picture; and its story."""
    site.wait_stage("match", "published", "cleaned")
    film = site.wait_stage("match", "cleaned")
    certificate, _ = site.check("match")
    assert film["generation"] == 1
    story = site.command("films", "explain", "match")
    assert "Given up" not in story
    return certificate, story


@pytest.mark.parametrize("spoil", [zeros, pipe])
def test_a_time_that_no_file_gives_is_cut_out_stated_and_told(site: Site, spoil: Callable[[Path], None]) -> None:
    start(site)
    rows = second_segments(site)
    for row in rows:
        spoil(site.data / row["path"])
    certificate, story = finished(site)
    (gap,) = [one for one in certificate["gaps"] if one["camera"] == "both"]
    # The two cameras' segments do not begin and end with the same frame.
    assert all(one["seconds"] < 0.2 for one in certificate["gaps"] if one is not gap)
    common_s = (min(row["end_us"] for row in rows) - max(row["start_us"] for row in rows)) / 1e6
    assert gap["camera"] == "both"
    assert abs(gap["seconds"] - common_s) < 0.2
    assert abs(certificate["film_seconds"] - (WINDOW_S - gap["seconds"])) < 0.2
    for row in rows:
        assert f"What camera {row['camera']} recorded" in story
        assert f"cannot be read: {row['path']} is damaged" in story
    assert "neither camera saw the court: that time is missing" in story
    assert len(site.said("footage lost", level="error")) == 2


def test_the_time_that_one_cameras_file_does_not_give_shows_the_other_one(site: Site) -> None:
    start(site)
    (row,) = [one for one in second_segments(site) if one["camera"] == "right"]
    zeros(site.data / row["path"])
    certificate, story = finished(site)
    (gap,) = certificate["gaps"]
    assert gap["camera"] == "right"
    assert abs(gap["seconds"] - (row["end_us"] - row["start_us"]) / 1e6) < 0.1
    assert abs(certificate["film_seconds"] - WINDOW_S) < 0.1
    assert certificate["fallbacks"] == []
    assert f"cannot be read: {row['path']} is damaged" in story
    assert "camera right did not see the court: its half is filled" in story
    events = [line["event"] for line in site.lines]  # the file is kept until its film is published
    assert events.index("film published") < events.index("segments deleted")


def test_files_that_are_away_for_six_seconds_cost_the_film_nothing(site: Site) -> None:
    start(site)
    places = [site.data / row["path"] for row in second_segments(site)]
    for place in places:
        place.rename(site.folder / f"{place.parent.name}-{place.name}")
    begun = time.monotonic()
    site.wait_said("step failed, trying again")
    wait_until(lambda: time.monotonic() - begun > 6, 10, "the disk to come back")
    for place in places:
        (site.folder / f"{place.parent.name}-{place.name}").rename(place)
    certificate, story = finished(site)
    assert certificate["gaps"] == []
    assert certificate["fallbacks"] == []
    assert "cannot be" not in story
    assert [line["error"] for line in site.said("step failed, trying again")
            if "is missing" not in line["error"] or not line["error"].endswith("the disk may come back")] == []
    assert site.said("film parked") == []
