"""Films that an older version began go on: the program of today starts on data folders which that one left when it was
killed (`old/make.py` tells what is in them).

Their windows are over, their runs were another machine's, and their paths lead elsewhere; nothing here asks for
today's date.
"""

import json
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from ezrec.domain.clock import SECOND
from ezrec.store import VERSION
from tests.fakes.site import Site
from tests.whole.old.make import CAMERAS, HERE, MADE_IN, SCHEMA

Unpack = Callable[[str], Site]


@pytest.fixture
def unpack(tmp_path: Path) -> Iterator[Unpack]:
    """Unpacks a data folder of the old version; the settings of today ask for other films than its recipes do."""
    made: list[Site] = []

    def unpacked(name: str) -> Site:
        site = Site(tmp_path / name, cameras=CAMERAS)
        made.append(site)
        with tarfile.open(HERE / f"{name}.tar.xz") as tar:
            tar.extractall(site.data, filter="data")
        assert site.rows("PRAGMA user_version") == [{"user_version": SCHEMA}]
        assert "begun_us" in {row["name"] for row in site.rows("PRAGMA table_info(span)")}
        return site

    yield unpacked
    for site in made:
        site.end()


def test_a_film_in_mid_window_is_made_of_what_there_is_and_its_parked_neighbour_waits_for_a_person(
        unpack: Unpack) -> None:
    site = unpack("recording")
    _move(site)
    before, parked = _row(site, "recording"), _row(site, "parked")
    assert (before["stage"], before["generation"]) == ("recording", 2)
    assert (parked["stage"], parked["parked_step"]) == ("rendered", "upload")
    chunks = {row["number"]: row["state"] for row in site.rows(
        "SELECT number, state FROM chunk WHERE film = 'recording' AND generation = 2")}
    assert set(chunks.values()) == {"planned", "rendered"}
    orphans = _orphans(site)
    assert orphans
    last_row = _utc_of_newest_row(site)
    stories = {film: _events(site, film) for film in ("recording", "parked")}

    site.start()
    site.wait_said("ready")
    site.wait_stage("recording", "cleaned")

    assert site.rows("PRAGMA user_version") == [{"user_version": VERSION}]
    assert len(site.said("orphan adopted")) == len(orphans)
    assert not site.said("orphan set aside")
    made_again = {line["chunk"] for line in site.said("rendering chunk", booking="recording")}
    assert made_again >= {number for number, state in chunks.items() if state == "planned"}
    assert not made_again & {number for number, state in chunks.items() if state == "rendered"}
    certificate, _ = site.check("recording")
    assert certificate["object"]["key"] == before["object_key"]  # of generation 2, in the older form
    assert before["object_key"].endswith("recording.2.mp4")
    recipe = json.loads(before["recipe"])
    assert certificate["picture"] == [recipe["canvas"]["width"], recipe["canvas"]["height"]]
    assert certificate["intro_seconds"] > 0
    assert certificate["skipped_media"] == certificate["fallbacks"] == []
    lost = certificate["gaps"][-1]
    assert (lost["camera"], lost["to"]) == ("both", certificate["window"][1])
    assert datetime.fromisoformat(lost["from"]).timestamp() > last_row, "the orphans are not in the film"
    _still_told(site, "recording", stories["recording"], "Before the match the cameras were looked at",
                "Recording began", "The booking was changed", "The film was begun again (generation 2)",
                "The film is published", "neither camera saw the court")

    now = _row(site, "parked")
    assert {key: now[key] for key in parked} == parked
    assert not site.said("storing film", booking="parked")
    _still_told(site, "parked", stories["parked"], "The film is finished and valid", "Given up for now while storing",
                "It is parked while storing the film")
    (site.library / parked["object_key"]).unlink()
    site.command("films", "retry", "parked")
    site.wait_stage("parked", "cleaned")
    site.check("parked")
    _still_told(site, "parked", stories["parked"], "Somebody sent it on its way again", "The film is published")
    site.check_no_leftovers()
    assert site.stop() == 0


def test_a_film_that_was_closed_is_stored_as_it_is_and_published_once(unpack: Unpack) -> None:
    site = unpack("rendered")
    before = _row(site, "rendered")
    film = site.data / "films" / before["recording_id"] / "film-1.mp4"
    assert (before["stage"], before["url"]) == ("rendered", None)
    content, story = film.read_bytes(), _events(site, "rendered")

    site.start()
    site.wait_said("ready")
    site.wait_stage("rendered", "cleaned")

    certificate, _ = site.check("rendered")
    assert (site.library / before["object_key"]).read_bytes() == content
    assert {key: certificate[key] for key in json.loads(before["certificate"])} == json.loads(before["certificate"])
    assert not site.said("rendering chunk")
    _still_told(site, "rendered", story, "Recording began", "The film is finished and valid", "The film is published")
    site.check_no_leftovers()
    assert site.stop() == 0


def test_an_upload_goes_on_with_the_parts_that_the_library_confirmed(unpack: Unpack) -> None:
    site = unpack("uploading")
    before = _row(site, "uploading")
    assert [row["number"] for row in site.rows("SELECT number FROM part")] == [2]
    content = (site.data / "films" / before["recording_id"] / "film-1.mp4").read_bytes()
    story = _events(site, "uploading")

    site.start(environment={"NO_LINKS": "1"})
    site.wait_said("ready")
    site.wait_stage("uploading", "cleaned")

    assert [line["part"] for line in site.said("part found")] == [2]
    assert [line["part"] for line in site.said("part uploaded")] == [1]
    assert not site.said("opening upload")
    site.check("uploading")
    assert (site.library / before["object_key"]).read_bytes() == content
    _still_told(site, "uploading", story, "The film is finished and valid", "The film is published")
    site.check_no_leftovers()
    assert site.stop() == 0


def test_a_row_that_waited_in_the_outbox_is_written_and_statuses_wait_on_for_their_cloud(unpack: Unpack) -> None:
    site = unpack("uploaded")
    before = _row(site, "uploaded")
    messages = site.rows("SELECT * FROM outbox ORDER BY id")
    assert (before["stage"], {row["kind"] for row in messages}) == ("uploaded", {"status", "video"})
    story = _events(site, "uploaded")

    site.start()
    site.wait_said("ready")
    site.wait_stage("uploaded", "cleaned")

    site.check("uploaded")
    video = json.loads(site.rows("SELECT row FROM video")[0]["row"])
    assert video == json.loads(next(row["body"] for row in messages if row["kind"] == "video"))
    _still_told(site, "uploaded", story, "The film is stored and verified", "The film is published",
                *(f"Telling the booking's owner {status!r} waits for its turn" for status in
                  [json.loads(row["body"])["status"] for row in messages if row["kind"] == "status"]
                  + ["video_uploaded"]))
    site.check_no_leftovers()
    assert site.stop() == 0


def _move(site: Site) -> None:
    """Let the recipes' paths lead to where the data folder is now."""
    with closing(site._db(write=True)) as db:
        moved = db.execute("UPDATE film SET recipe = replace(recipe, ?, ?) WHERE instr(recipe, ?)",
                           (f"{MADE_IN}/{site.folder.name}/", f"{site.folder}/", MADE_IN))
        assert moved.rowcount


def _row(site: Site, booking_id: str) -> dict[str, Any]:
    return site.rows("SELECT * FROM film WHERE booking_id = ?", booking_id)[0]


def _events(site: Site, booking_id: str) -> list[int]:
    """When a film's events were, UTC µs, oldest first."""
    return [row["at"] for row in site.rows("SELECT at FROM event WHERE booking_id = ? ORDER BY id", booking_id)]


def _orphans(site: Site) -> list[Path]:
    known = {row["path"] for row in site.rows("SELECT path FROM segment")}
    return [path for path in site.data.glob("segments/[0-9]*/*/*.ts")
            if path.stat().st_size and str(path.relative_to(site.data)) not in known]


def _utc_of_newest_row(site: Site) -> float:
    """Where the newest segment that has a row ends, UTC s."""
    row = site.rows("SELECT max(segment.end_us + wall_offset_us) AS us FROM segment JOIN offset USING (run)")[0]
    return float(row["us"] / SECOND)


def _still_told(site: Site, booking_id: str, before: list[int], *sentences: str) -> None:
    """`films explain` still tells every old event in words, and says all of these."""
    told = json.loads(site.command("films", "explain", booking_id, "--json"))
    at = [datetime.fromisoformat(event["at"]).timestamp() for event in told]
    assert at[:len(before)] == pytest.approx([us / SECOND for us in before], abs=0.002)
    text = site.command("films", "explain", booking_id)
    assert "{" not in text, "an event that nobody has words for"
    assert [words for words in sentences if words not in text] == [], text
