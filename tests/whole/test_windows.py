"""Windows that change while they are recorded, that meet, overlap, come late or come from a careless hand.

Bookings are changed beside the running recorder; several situations share a site, whose cameras therefore often record
on for another film. What is asked of every film (`Site.check`) holds after each of them.
"""

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ezrec.domain.clock import SECOND
from ezrec.domain.naming import store_id
from ezrec.domain.timeline import Segment, begin_span
from ezrec.store import Store
from tests.fakes.site import SETTINGS, Site
from tests.fakes.waiting import wait_until

RATE = SETTINGS["cameras"]["fps"]
TOMORROW_S = 86_400.0


@pytest.fixture
def make_site(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """A recorder that is running and has nothing to do yet."""
    sites: list[Site] = []

    def make(**changes: dict[str, Any]) -> Site:
        quick = {"recorder": {"segment_s": 0.5}, "film": {"chunk_s": 0.5}}
        site = Site(tmp_path / f"site{len(sites)}", **quick, **changes)
        sites.append(site)
        site.start()
        site.wait_said("ready")
        return site

    yield make
    for site in sites:
        site.end()


def check_whole(site: Site, booking_id: str, seconds: float) -> dict[str, list[int | None]]:
    """The film is as long as booked and both cameras saw it from its first to its last tick; its frame counters.

    A machine that is too busy may starve the made-up cameras for a moment; that lies inside, and is certified.
    """
    certificate, seen = site.check(booking_id)
    assert all(gap["seconds"] < 2 and 0 < gap["at_s"] < certificate["film_seconds"] for gap in certificate["gaps"])
    cut_s = sum(gap["seconds"] for gap in certificate["gaps"] if gap["camera"] == "both")
    assert certificate["film_seconds"] + cut_s == pytest.approx(seconds, abs=1.5 / RATE)
    for counters in seen.counters.values():
        assert counters[0] is not None
        assert counters[-1] is not None
    return seen.counters


def finish(site: Site, booking_id: str, starts: float, in_s: float = 1.2) -> float:
    """Let a window that was open as long as the test needed end soon; how long it is then, in seconds."""
    _, ends = site.book_at(booking_id, starts, time.time() + in_s)
    return ends - starts


def test_back_to_back_films_miss_no_frame_between_them_and_one_that_overlaps_both_is_whole(
        make_site: Callable[..., Site]) -> None:
    site = make_site()
    now = round(time.time(), 3)
    starts, middle = site.book_at("first", now + 2.5, now + 4.9)  # 36 ticks: where it ends is on the next one's grid
    site.book_at("second", middle, middle + 2.4)
    site.book_at("across", starts + 1, middle + 1.4)
    for booking_id in ("first", "second", "across"):
        site.wait_stage(booking_id, "cleaned")

    first, second = check_whole(site, "first", 2.4), check_whole(site, "second", 2.4)
    across = check_whole(site, "across", 2.8)
    for camera in ("left", "right"):
        assert first[camera][-1] + 1 == second[camera][0], camera  # type: ignore[operator]
        both = first[camera] + second[camera]
        begins = both.index(across[camera][0])
        assert begins in (RATE - 1, RATE, RATE + 1)
        assert across[camera] == both[begins:begins + len(across[camera])], camera
    assert site.stop() == 0


def test_a_window_follows_its_booking_while_it_is_recorded(make_site: Callable[..., Site]) -> None:
    """Extended, shortened, shortened to an end that is past, and called off for a moment; the cameras record on."""
    site = make_site()
    starts, _ = site.book("extended", 2.5, 5)
    for booking_id in ("shortened", "cut-back", "called-off"):
        site.book_at(booking_id, starts, starts + 600)
    site.wait_said("booking started", booking="extended")
    site.book_at("extended", starts, starts + 900)
    site.book_at("called-off", starts, starts + 600, status="cancelled")
    site.wait_stage("called-off", "cancelled")
    site.book_at("called-off", starts, starts + 600)
    site.wait_said("chunk joined", booking="cut-back", chunk=4)
    site.book_at("cut-back", starts, starts + 1.1)
    assert site.wait_stage("cut-back", "cleaned")["generation"] == 2
    seconds = {booking_id: finish(site, booking_id, starts) for booking_id in ("extended", "shortened", "called-off")}
    for booking_id, long in seconds.items():
        site.wait_stage(booking_id, "cleaned")
        check_whole(site, booking_id, long)
    check_whole(site, "cut-back", 1.1)
    assert len(site.said("camera starting", camera="left")) == 1


def test_a_window_that_is_moved_while_it_is_recorded_is_the_film_of_its_new_times(
        make_site: Callable[..., Site]) -> None:
    """Later, earlier (into a time that was recorded for others), and to tomorrow and back."""
    site = make_site()
    starts, _ = site.book("later", 2.5, 600)
    site.book_at("earlier", starts + 1.4, starts + 600)
    site.book_at("tomorrow", starts, starts + 600)
    for booking_id in ("later", "tomorrow"):
        site.wait_said("chunk joined", booking=booking_id, chunk=1)
    site.book_at("later", starts + 2, starts + 600)
    site.book_at("tomorrow", starts + TOMORROW_S, starts + TOMORROW_S + 600)
    site.wait_said("chunk joined", booking="earlier", chunk=1)
    site.book_at("earlier", starts + 0.4, starts + 600)
    for booking_id in ("later", "earlier", "tomorrow"):
        site.wait_said("film begun again", booking=booking_id)
    seconds = {"later": finish(site, "later", starts + 2), "earlier": finish(site, "earlier", starts + 0.4)}
    for booking_id, long in seconds.items():
        assert site.wait_stage(booking_id, "cleaned")["generation"] == 2
        check_whole(site, booking_id, long)

    site.wait_said("camera stopped", camera="left")  # nobody wants them before tomorrow
    assert site.film("tomorrow")["stage"] == "recording"  # type: ignore[index]
    site.book("tomorrow", 2, 3.5)
    site.wait_stage("tomorrow", "cleaned")
    check_whole(site, "tomorrow", 1.5)


def test_a_cancelled_booking_is_not_published_and_goes_on_when_it_stands_again_or_is_retried(
        make_site: Callable[..., Site]) -> None:
    site = make_site()
    starts, ends = site.book("stands-again", 2.5, 600)
    site.book_at("retried", starts, starts + 6)
    site.book_at("unseen", starts + 600, ends + 600)
    for booking_id in ("stands-again", "retried"):
        site.wait_said("booking started", booking=booking_id)
    site.book_at("stands-again", starts, ends, status="cancelled")
    site.book_at("retried", starts, starts + 6, status="cancelled")
    site.book_at("unseen", starts + 600, ends + 600, status="cancelled")
    for camera in ("left", "right"):
        site.wait_said("camera stopped", camera=camera)
    assert "nothing was recorded for 'unseen'" in site.command("films", "retry", "unseen", status=1)
    assert "The booking was cancelled" in site.command("films", "explain", "retried")
    site.book_at("stands-again", starts, ends)
    site.wait_said("camera starting", camera="left", times=2)
    site.wait_said("segment sealed", camera="left", times=len(site.said("segment sealed", camera="left")) + 2)
    finish(site, "stands-again", starts)
    site.wait_stage("stands-again", "cleaned")
    certificate, _ = site.check("stands-again")
    assert len([gap for gap in certificate["gaps"] if gap["camera"] == "both"]) == 1

    assert site.film("retried")["stage"] == "cancelled"  # type: ignore[index]
    assert [path.stem for path in site.films_in_library()] == ["stands-again"]
    site.command("films", "retry", "retried")
    site.wait_stage("retried", "cleaned")
    again, _ = site.check("retried")
    assert 0 < again["film_seconds"] < 6
    assert again["gaps"]


def test_a_booking_that_appears_when_half_over_and_a_restart_inside_the_window_cost_only_what_the_certificate_says(
        make_site: Callable[..., Site]) -> None:
    site = make_site()
    starts, _ = site.book("late", -3, 600)
    site.wait_said("chunk joined", booking="late", chunk=1)
    assert site.stop() == 0
    stopped = time.time()
    site.start()
    site.wait_said("segment sealed", run=2)
    long = finish(site, "late", starts, in_s=1.5)
    site.wait_stage("late", "cleaned")
    certificate, _ = site.check("late")
    first, pause = [gap for gap in certificate["gaps"] if gap["camera"] == "both"]
    assert first["at_s"] == 0.0
    assert first["seconds"] >= 3
    assert datetime.fromisoformat(pause["from"]).timestamp() == pytest.approx(stopped, abs=5)
    assert certificate["runs"] == 2
    assert certificate["film_seconds"] + first["seconds"] + pause["seconds"] == pytest.approx(long, abs=0.3)


def test_a_film_holds_the_rolls_before_and_after_its_booking(make_site: Callable[..., Site]) -> None:
    site = make_site(bookings={"pre_roll_s": 1.2, "post_roll_s": 0.6})
    starts, ends = site.book("match", 3.2, 4.6)
    site.wait_stage("match", "cleaned")
    check_whole(site, "match", 1.2 + 1.4 + 0.6)
    window = [datetime.fromisoformat(at).timestamp() for at in site.film("match")["certificate"]["window"]]  # type: ignore[index]
    assert window == [pytest.approx(starts - 1.2, abs=0.002), pytest.approx(ends + 0.6, abs=0.002)]


async def test_footage_just_beside_a_window_is_kept_with_it_because_film_making_looks_there(tmp_path: Path) -> None:
    store = await Store.open(tmp_path / "ezrec.db", create=True)
    try:
        run = await store.begin_run("boot", 0, 0)
        await store.add_film("match", "20261120-1800-1", 60 * SECOND, 120 * SECOND)
        await store.put_span("match", begin_span(run, 60 * SECOND, 120 * SECOND, 0))
        for at in (55.0, 57.7, 62.0, 118.0, 120.3, 122.0):
            from_us, to_us = round(at * SECOND), round((at + 2) * SECOND)
            await store.add_segment(Segment("left", run, from_us, to_us, 60, 0, 1, f"{at}.ts"))
        assert {one.path for one in await store.unneeded_segments([])} == {"55.0.ts", "122.0.ts"}
    finally:
        await store.close()


# ---- the JSON file

def row(booking_id: object, starts: float, ends: float, **more: object) -> dict[str, object]:
    """A row of the file."""
    return {"id": booking_id, "start_time": iso(starts), "end_time": iso(ends)} | more


def write(file: Path, *rows: object) -> None:
    """Replace the file in one go, as its users are told to."""
    new = file.with_suffix(".new")
    new.write_text(json.dumps(rows), "utf-8")
    new.replace(file)


def iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()


def test_a_malformed_row_is_said_once_with_its_id_and_a_good_one_beside_it_is_recorded(
        make_site: Callable[..., Site], tmp_path: Path) -> None:
    file = tmp_path / "bookings.json"
    site = make_site(bookings={"poll_s": 0.3, "file": str(file)}, site={"timezone": "Europe/Berlin"})
    starts = time.time() + 2.5
    good = row("good", starts, starts + 2)
    bad: dict[str, object] = {
        "backwards": row("backwards", starts, starts - 60),
        "endless": {"id": "endless", "start_time": iso(starts)},
        "x" * 80: row("x" * 10_000, starts, starts + 2),
        "../../etc/passwd": row("../../etc/passwd", starts, starts + 2),
        "match/../../up": row("match/../../up", starts, starts + 2),
        ascii("Spiel-mit-Ümlaut")[1:-1]: row("Spiel-mit-Ümlaut", starts, starts + 2),
        "id is None": {"start_time": iso(starts), "end_time": iso(starts + 2)},
        "a list": [1, 2],
        "noon": {"id": "noon", "start_time": "12:00", "end_time": "13:00"},
        "week": row("week", starts, starts + 7 * 86_400),
    }
    later = row("next", starts + 3600, starts + 7200, status="Scheduled", note="Jörg & Sönke ⚽")
    write(file, *bad.values(), good, good | {"end_time": iso(starts + 3)}, later)
    site.wait_stage("good", "cleaned")
    check_whole(site, "good", 2)  # of two rows with one id the first counts

    write(file, *bad.values(), good)  # read again: nothing is said again
    wait_until(lambda: site.film("next") is None, what="the withdrawn booking to go")
    said = [line["error"] for line in site.said("booking skipped")]
    for shown in (*bad, "id is there twice"):
        assert len([words for words in said if shown in words]) == 1, (shown, said)
    assert len(said) == len(bad) + 1
    assert max(map(len, said)) < 400
    assert [film["booking_id"] for film in site.rows("SELECT booking_id FROM film")] == ["good"]
    assert not (tmp_path / "etc").exists()
    assert "Traceback" not in site.errors


def test_the_bookings_file_may_be_edited_torn_and_lost_while_the_recorder_runs(
        make_site: Callable[..., Site], tmp_path: Path) -> None:
    file = tmp_path / "bookings.json"
    site = make_site(bookings={"poll_s": 0.3, "file": str(file)}, site={"timezone": "Europe/Berlin"})
    site.wait_said("bookings not read, keeping the last good answer")  # there is none yet
    starts = time.time() + 2
    def soon(booking_id: str) -> dict[str, object]:
        return row(booking_id, starts + 600, starts + 900)

    running, other = row("running", starts, starts + 4), row("other", starts + 0.5, starts + 9)
    nights = [{"id": "spring", "date": "2027-03-28", "start_time": "01:30", "end_time": "03:30"},
              {"id": "autumn", "date": "2027-10-31", "start_time": "01:30", "end_time": "02:30"}]
    file.write_text(json.dumps({"bookings": [running, other, soon("withdrawn"), *nights]}), "utf-8")
    site.wait_said("booking started", booking="running")
    assert {one["booking_id"]: (one["ends_at"] - one["starts_at"]) / 3_600_000_000
            for one in site.rows("SELECT * FROM film WHERE starts_at > ?", round((starts + 86_400) * 1e6))} == {
        "spring": 1.0, "autumn": 2.0}  # an hour that is missing; an end that happens twice: the later one

    file.write_text('{"bookings": [{"id": "oth', "utf-8")  # half-written
    site.wait_said("bookings not read, keeping the last good answer", times=2)
    file.unlink()
    site.command("bookings", "cancel", "running", status=1)  # it is the file's to cancel
    write(file, other | {"end_time": iso(starts + 4)})  # a row goes in its window, one before, one is changed
    site.wait_said("booking changed", booking="other")
    wait_until(lambda: site.film("withdrawn") is None, what="the withdrawn booking to go")
    write(file)  # all at once, and both are being recorded
    site.wait_stage("running", "cleaned")
    site.wait_stage("other", "cleaned")
    check_whole(site, "running", 4)
    check_whole(site, "other", 3.5)
    assert [line["count"] for line in site.said("all bookings gone at once")] == [2]

    write(file, running, other | {"end_time": iso(starts + 3)}, soon("one"), soon("two"))
    site.wait_said("booking changed too late, its film stays as it is", booking="other")
    wait_until(lambda: site.film("two"), what="the last booking to be known")
    write(file)
    site.wait_said("all bookings gone at once", times=2)
    assert [line["count"] for line in site.said("all bookings gone at once")] == [2, 2]  # not those that are over
    assert site.stop() == 0
    write(file, running, other | {"end_time": iso(starts + 3)}, row("new", time.time(), time.time() + 3600))
    site.start()
    site.wait_said("booking started", booking="new")
    assert len(site.rows("SELECT 1 FROM event WHERE kind = 'change refused'")) == 1
    assert [site.film(one)["stage"] for one in ("running", "other")] == ["cleaned", "cleaned"]  # type: ignore[index]
    check_whole(site, "running", 4)  # seen again after it was cleaned: one object, one row, the same film
    assert site.stop() == 0


def test_an_id_that_the_bookings_file_uses_again_is_recorded_again(
        make_site: Callable[..., Site], tmp_path: Path) -> None:
    """Once after its film is done; and once more, announced while the second one is still recorded."""
    file = tmp_path / "bookings.json"
    write(file)
    site = make_site(bookings={"poll_s": 0.3, "file": str(file)})
    times = [time.time() + 2]
    write(file, row("monday-18", times[0], times[0] + 2))
    first = site.wait_stage("monday-18", "cleaned")
    times.append(time.time() + 2)
    write(file, row("monday-18", times[1], times[1] + 4))
    second = store_id("monday-18", round(times[1] * 1e6))
    site.wait_said("booking started", booking=second)
    times.append(times[1] + 4)
    write(file, row("monday-18", times[2], times[2] + 2))
    ids = ["monday-18", second, store_id("monday-18", round(times[2] * 1e6))]
    for booking_id, long in zip(ids, (2, 4, 2), strict=True):
        site.wait_stage(booking_id, "cleaned")
        check_whole(site, booking_id, long)
    assert site.film("monday-18") == first
    assert site.stop() == 0

    site.start()  # the file still lists the last one: it is known
    site.wait_said("ready", times=2)
    write(file, row("monday-18", times[2], times[2] + 2), row("next", time.time() + 600, time.time() + 900))
    wait_until(lambda: site.film("next"), what="the file to be read again")
    films = [film for film in json.loads(site.command("films", "list", "--json")) if film["shown_id"] == "monday-18"]
    assert [(film["booking_id"], film["stage"]) for film in films] == [(booking_id, "cleaned") for booking_id in ids]
    assert len({film["object_key"] for film in films}) == len(site.films_in_library()) == 3
    assert {one["booking_id"] for one in site.rows("SELECT booking_id FROM video")} == set(ids)
    listed = site.command("films", "list").splitlines()
    assert [line.split()[0] for line in listed].count("monday-18") == 3
    assert json.loads(site.command("films", "show", "monday-18", "--json"))["booking_id"] == ids[-1]
    assert site.stop() == 0
