"""The store is lost or damaged: in mid-match, after a film was published, while the recorder runs, with no booking."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.fakes.harm import HARMS, overwrite
from tests.fakes.site import LIMIT_S, Site, files_below
from tests.fakes.waiting import wait_until


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A site whose bookings are in a file, so that they outlive the store."""
    site = Site(tmp_path, bookings={"file": str(tmp_path / "bookings.json")}, film={"chunk_s": 0.5})
    yield site
    site.end()


def book(site: Site, booking_id: str, start_s: float, end_s: float) -> tuple[float, float]:
    """Write the bookings file: one booking, in seconds from now."""
    now = time.time()
    times = [datetime.fromtimestamp(now + s, UTC).isoformat() for s in (start_s, end_s)]
    site.bookings_file.write_text(json.dumps([{"id": booking_id, "start_time": times[0], "end_time": times[1]}]))
    return now + start_s, now + end_s


@pytest.mark.parametrize("harm", ["no store", "no store and no run.json", "a store cut in half"])
def test_a_match_in_the_middle_becomes_one_film_of_both_runs(site: Site, harm: str) -> None:
    _, ends = book(site, "match", 2.0, 14.0)
    site.start()
    site.wait_said("ready")
    site.wait_stage("match", "recording")
    wait_until(lambda: len(site.rows("SELECT 1 FROM segment")) > 5, LIMIT_S, "segments")
    site.kill()
    HARMS[harm](site.data)
    site.start()
    site.wait_said("ready", times=2)
    site.wait_stage("match", "cleaned")
    assert time.time() > ends - 1
    film = site.film("match")
    assert film
    certificate = film["certificate"]
    assert certificate["runs"] == 2
    # Killed once. Where a run's time is told by its files alone, it may be off by a part of a second.
    assert sum(gap["seconds"] for gap in certificate["gaps"] if gap["camera"] == "both") < 6.0
    assert len(site.films_in_library()) == 1
    assert len(site.rows("SELECT 1 FROM video")) == 1
    if harm == "no store":
        site.check("match")


@pytest.mark.parametrize("harm", ["no store", "one page of the story lost"])
def test_a_film_that_was_published_is_not_published_twice(site: Site, harm: str) -> None:
    site.configure(bookings={"file": str(site.bookings_file)}, film={"chunk_s": 0.5, "keep_segments_h": 1})
    book(site, "match", 2.0, 4.0)
    site.start()
    site.wait_said("ready")
    site.wait_stage("match", "published")
    site.kill()
    (before,) = site.films_in_library()
    HARMS[harm](site.data)
    site.start()
    site.wait_said("ready", times=2)
    assert site.said("store lost, a new one is made")
    site.wait_stage("match", "published")
    assert site.films_in_library() == [before]
    assert len(site.rows("SELECT 1 FROM video")) == 1
    assert site.rows("SELECT 1 FROM outbox") == []


def test_a_film_whose_rows_were_in_a_log_that_came_to_harm_is_neither_missed_nor_published_twice(site: Site) -> None:
    site.configure(bookings={"file": str(site.bookings_file)}, film={"chunk_s": 0.5, "keep_segments_h": 1})
    site.bookings_file.write_text("[]")
    site.start()
    site.wait_said("ready")
    assert site.stop() == 0  # so that all but the match is in the store's own file
    book(site, "match", 2.0, 4.0)
    site.start()
    site.wait_stage("match", "published")
    site.kill()
    (before,) = site.films_in_library()
    HARMS["a log of garbage"](site.data)
    site.start()
    site.wait_said("ready", times=3)
    site.wait_stage("match", "published")
    assert not site.said("booking missed")
    assert site.films_in_library() == [before]
    assert len(site.rows("SELECT 1 FROM video")) == 1


def test_damage_that_shows_while_it_runs_is_left_for_a_new_start_that_mends_it(site: Site) -> None:
    book(site, "match", 2.0, 10.0)
    site.start()
    site.wait_said("ready")
    site.wait_stage("match", "recording")
    wait_until(lambda: len(site.rows("SELECT 1 FROM segment")) > 3, LIMIT_S, "segments")
    for name in ("ezrec.db-wal", "ezrec.db"):
        path = site.data / name
        size = path.stat().st_size
        overwrite(path, b"\x5a" * (size - 4096), 4096 if name == "ezrec.db" else 32)
    assert site.wait_dead() == 1
    assert "the store is damaged" in site.said("leaving")[0]["error"]
    site.start()
    site.wait_said("ready", times=2)
    assert site.said("damaged store set aside")
    site.wait_stage("match", "cleaned")
    site.check("match")


def test_footage_of_no_booking_is_listed_and_becomes_a_film_by_hand(site: Site) -> None:
    starts, _ = site.book("unknown", 0.5, 60)
    site.start()
    site.wait_stage("unknown", "recording")
    wait_until(lambda: len(site.rows("SELECT 1 FROM segment")) > 7, LIMIT_S, "segments")
    ended = time.time() - 1.5
    site.kill()
    HARMS["no store"](site.data)
    site.start()
    site.wait_said("ready", times=2)
    assert site.rows("SELECT 1 FROM film") == []
    listed = json.loads(site.command("footage", "--json"))
    (piece,) = listed["footage"]
    assert (piece["found"], piece["bookings"]) == (True, [])
    assert set(piece["seconds"]) == {"left", "right"}
    assert "none is known" in site.command("footage")
    assert len(files_below(site.data / "segments")) >= piece["segments"]  # clean-up leaves it alone

    times = [datetime.fromtimestamp(at, UTC).isoformat() for at in (starts + 0.5, ended)]
    said = site.command("films", "rescue", "unknown", "--start", times[0], "--end", times[1])
    assert said.startswith("a film is made of what there is: unknown, ")
    site.wait_stage("unknown", "cleaned")
    site.check("unknown")
    assert "Somebody had the film made" in site.command("films", "explain", "unknown")
    assert "there is no footage of that time" in site.command(
        "films", "rescue", "other", "--start", "2020-01-01 10:00", "--end", "2020-01-01 11:00", status=1)
