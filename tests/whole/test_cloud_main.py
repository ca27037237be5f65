"""The real program with Supabase and S3: a booking in the one becomes an object in the other and a row in the first.

The tables are the package's, on PostgREST's answers over a real PostgreSQL; the objects lie on real S3 servers.
"""

import time
from typing import Any

from tests.fakes.cloud.s3 import S3
from tests.fakes.cloud_site import PART, CloudSite, MakeSite
from tests.fakes.site import LIMIT_S, files_below
from tests.fakes.waiting import wait_until

WORDS = ["recording", "completed", "video_processed", "video_uploaded"]


def start(site: CloudSite, seconds: float = 5.0, name: str = "match") -> str:
    """Start the recorder and book a window that opens in a moment; the booking's id."""
    site.start()
    site.wait_said("ready")
    site.book(site.id(name), 2.5, 2.5 + seconds)
    return site.id(name)


def end(site: CloudSite) -> None:
    """Nothing is left here, nothing was worth an error, and the recorder stops in order."""
    site.check_no_leftovers()
    assert site.stop() == 0
    assert [line for line in site.lines if line.get("level") in ("error", "critical")] == []
    assert site.errors == ""


def shown_or_stated(certificate: dict[str, Any]) -> float:
    """Seconds of the window that the film shows, and those that it says are missing."""
    gaps = sum(gap["seconds"] for gap in certificate["gaps"] if gap["camera"] == "both")
    return float(certificate["film_seconds"] + gaps)


def lost_nothing(site: CloudSite) -> None:
    """Every frame that a camera handed over is on the disk."""
    for line in site.said("camera stopped"):
        assert (line["written"], line["overflowed"]) == (line["delivered"], 0), line


def test_a_booking_in_supabase_becomes_an_object_and_a_row_and_its_owner_hears_of_it(
        new_cloud_site: MakeSite) -> None:
    site = new_cloud_site()
    site.start()
    site.wait_said("ready")
    match = site.id()
    starts, _ = site.book(match, 4, 60)
    site.wait_said("part uploaded", part=2)  # while it is being played
    beat = site.wait_heartbeat(recording=True, current_booking_id=match)
    assert {name: camera["state"] for name, camera in beat["cameras"].items()} == {
        "left": "streaming", "right": "streaming"}
    assert beat["queues"]["films"] == {"recording": 1}
    assert site.words(match) == WORDS[:1]
    site.book_at(match, starts, time.time() + 2)

    certificate, _ = site.finish(match)
    assert site.words(match) == WORDS
    assert certificate["gaps"] == []
    lost_nothing(site)
    assert PART <= certificate["object"]["live_bytes"] < certificate["object"]["bytes"]
    beat = site.wait_heartbeat(recording=False, current_booking_id=None)
    assert beat["queues"] == {"films": {}, "parked": 0, "outbox": 0, "refused": 0, "reason": None}
    assert (beat["last_error"], beat["degraded"]) == (None, [])
    end(site)


def test_a_booking_that_is_moved_or_cancelled_before_its_window_is_followed(new_cloud_site: MakeSite) -> None:
    site = new_cloud_site(film={"intro": ""})
    site.start()
    site.wait_said("ready")
    moved, cancelled, deleted = site.id("moved"), site.id("cancelled"), site.id("deleted")
    site.book(moved, 1200, 1204)
    site.book(cancelled, 1200, 1204)
    site.book(deleted, 1200, 1204)
    for one in (moved, cancelled, deleted):
        site.wait_said("booking known", booking=one)
    starts, ends = site.book(moved, 3.5, 5.5)
    site.change(cancelled, status="cancelled")
    site.cloud.supabase.run("delete from bookings where id = :'id'", id=deleted)
    certificate, _ = site.finish(moved)
    assert abs(shown_or_stated(certificate) - (ends - starts)) < 0.2
    site.wait_stage(cancelled, "cancelled")
    wait_until(lambda: site.film(deleted) is None, LIMIT_S, "the deleted booking's film to be forgotten")
    assert site.words(cancelled) == ["cancelled"]  # nobody writes over it
    assert set(site.objects()) == set(site.objects(moved))
    assert [row["booking_id"] for row in site.videos()] == [moved]
    assert site.stop() == 0


def test_a_restart_without_network_records_what_was_booked_and_tells_it_later(
        new_cloud_site: MakeSite) -> None:
    site = new_cloud_site()
    site.start()
    site.wait_said("ready")
    match = site.id()
    starts, ends = site.book(match, 9, 15)
    site.wait_said("booking known", booking=match)
    site.kill()
    site.s3_net.refuse()
    site.supabase_net.refuse()
    site.start()
    site.wait_said("film rendered", booking=match)
    site.wait_said("message not told, trying again", booking=match)
    site.wait_said("step failed, trying again", booking=match)
    assert site.booking(match)["status"] == "scheduled"
    assert (site.objects(), site.videos()) == ({}, [])
    film = site.film(match)
    assert film
    assert film["bytes"] in [path.stat().st_size for path in files_below(site.data / "films" / film["recording_id"])]
    told = site.command("films", "show", match)
    assert "Telling the booking's owner 'recording' waits" in told
    site.heal()
    certificate, _ = site.finish(match)
    assert abs(shown_or_stated(certificate) - (ends - starts)) < 0.2
    lost_nothing(site)
    assert site.words(match) == WORDS
    site.check_no_leftovers()
    assert site.stop() == 0


# ---- what is in the cloud is chosen one by one


def test_local_bookings_and_local_publishing_go_with_s3_of_another_make(new_cloud_site: MakeSite,
                                                                          rclone_s3: S3) -> None:
    site = new_cloud_site(server=rclone_s3, local={"bookings", "publishing"},
                          s3={"public_url": "https://films.example.org/court"})
    match = start(site, 3)
    site.finish(match)
    film = site.film(match)
    assert film
    assert film["url"] == f"https://films.example.org/court/{film['object_key']}"
    assert site.supabase_net.seen() == []
    end(site)


def test_supabase_bookings_go_with_local_storage_and_local_publishing(new_cloud_site: MakeSite) -> None:
    site = new_cloud_site(local={"storage", "publishing"})
    match = start(site, 3)
    site.finish(match)
    assert site.words(match) == WORDS
    assert (site.videos(), site.s3_net.seen()) == ([], [])
    end(site)


def test_a_device_with_a_credential_of_its_own_publishes_films_of_local_bookings_from_local_storage(
        new_cloud_site: MakeSite) -> None:
    site = new_cloud_site(local={"storage", "bookings"}, device=True)
    match = start(site, 3)
    site.finish(match)
    (row,) = site.videos(match)
    assert row["video_url"].startswith("file://")
    assert site.wait_heartbeat()["recording"] is False
    assert site.s3_net.seen() == []
    end(site)
