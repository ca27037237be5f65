"""A project of the predecessor's: its tables, its words, its page; taken over, with both credentials."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ezrec.adapters.supabase.functions import Ways
from ezrec.cli.tables import sql
from ezrec.domain.booking import parse_many
from tests.fakes.cloud.supabase import Supabase as Project
from tests.fakes.venue import CALLED_OFF, Court, Venue

OLD = Path(__file__).with_name("old").joinpath("predecessor.sql").read_text("utf-8")
OWNER, COURT = "6f1a2b3c-0000-4000-8000-0123456789ab", "7f1a2b3c-0000-4000-8000-000000000001"
WORDS = {"recording": "Recording", "completed": "RecordingFinished", "video_processed": "Processing",
         "video_uploaded": "Completed", "failed": "SkippedMissingFile"}
WAYS = Ways(camera_ids=("0", ""), cancelled=CALLED_OFF, words=WORDS)


@pytest.fixture(scope="module")
def project(request: pytest.FixtureRequest) -> Iterator[Project]:
    request.getfixturevalue("supabase")  # skips where none can be had
    made = Project(request.getfixturevalue("postgres"), OLD + sql())
    yield made
    made.end()


@pytest.fixture
def venue(project: Project) -> Venue:
    project.run("delete from bookings; delete from videos where booking_id is not null")
    return Venue(project, OWNER, COURT)


@pytest.fixture(params=[False, True], ids=["secret key", "device"])
async def court(request: pytest.FixtureRequest, venue: Venue) -> AsyncIterator[Court]:
    token = {"device_token": venue.project.device_token(venue.user, venue.camera, WAYS.options())}
    async with venue.client(device=request.param, **(token if request.param else {})) as client:
        yield venue.court(client, device=request.param, ways=WAYS)


def booked_by_the_old_page(venue: Venue, columns: str = "") -> str:
    """A booking as the page makes it: it names neither a court nor a status."""
    (row,) = venue.project.rows(
        f"insert into bookings (user_id, date, start_time, end_time {columns and ', camera_id'}) values"
        f" (:'user', current_date, '18:00', '19:00' {columns}) returning id", user=OWNER)
    return str(row["id"])


async def test_a_booking_of_the_old_page_is_recorded_told_in_its_words_and_published(
        venue: Venue, court: Court) -> None:
    bookings = {booked_by_the_old_page(venue), booked_by_the_old_page(venue, ", null"),
                booked_by_the_old_page(venue, f", '{COURT}'")}
    booked_by_the_old_page(venue, ", 'court-2'")
    rows: Any = await court.bookings.fetch()
    good, bad = parse_many(rows, source="supabase", zone=ZoneInfo("Europe/Berlin"), longest_s=21600)
    assert ({one.id for one in good}, bad) == (bookings, [])
    for booking in bookings:
        for ours in ("recording", "completed", "video_processed", "recording"):
            await court.bookings.tell_status(booking, ours, None)
        assert venue.booking(booking)["status"] == "Processing"
        await court.publisher.publish(replace(venue.video(booking), duration_seconds=3600.6))
        assert venue.booking(booking)["status"] == "Completed"
        assert await court.publisher.holds(booking, "2026-11-20")
    films = {row["booking_id"]: row for row in venue.videos() if row["booking_id"]}
    assert set(films) == bookings
    assert all(row["duration_seconds"] == 3601 and row["file_size"] == 900_000_000 for row in films.values())


async def test_a_film_that_the_columns_cannot_hold_all_of_is_published_all_the_same(
        venue: Venue, court: Court) -> None:
    booking = booked_by_the_old_page(venue)
    await court.publisher.publish(replace(venue.video(booking), file_size=9 << 30, filename="f" * 300))
    await court.publisher.publish(venue.video("monday-18"))  # made at the court; the table knows no such id
    films = {row["recording_id"]: row for row in venue.videos()}
    assert (films[f"{booking}-0"]["file_size"], films[f"{booking}-0"]["filename"]) == (None, "f" * 255)
    assert films["monday-18-0"]["booking_id"] is None
    venue.project.run("delete from videos where recording_id = 'monday-18-0'")


async def test_the_columns_that_the_old_page_reads_are_filled_and_a_second_court_reports_too(
        venue: Venue, court: Court) -> None:
    row = {"version": "1", "recording": True, "updated_at": "2026-11-20T18:00:00+00:00", "cpu_percent": 12.5,
           "disk_percent": 50.0, "disk_free_mb": 1024.0, "uptime_s": 7.0}
    await court.status.put(row, limit_s=60)
    (seen,) = venue.project.rows("select *, now() - last_heartbeat < interval '1 min' as fresh from system_status"
                                 " where camera_id = :'c'", c=COURT)
    assert (seen["is_recording"], seen["pi_active"], seen["storage_used"], seen["fresh"]) == (True, True, 1 << 30, True)
    (camera,) = venue.project.rows("select *, now() - last_seen < interval '1 min' as fresh from cameras")
    assert (camera["status"], camera["is_recording"], camera["fresh"]) == ("online", True, True)
    assert len(venue.project.rows("select * from system_status where user_id = :'u'", u=OWNER)) == 1, "taken over"
    second = Venue(venue.project, OWNER, "court-2")
    async with second.client(device=True) as client:
        await second.court(client, device=True).status.put(row, limit_s=60)
    assert len(venue.project.rows("select * from system_status where user_id = :'u'", u=OWNER)) == 2
    venue.project.run("delete from system_status where camera_id = 'court-2'")


async def test_what_the_columns_cannot_hold_and_the_words_they_do_not_take_are_named(
        venue: Venue, court: Court, project: Project) -> None:
    async with venue.client() as client:
        found = await venue.functions(client).call("check", "ezrec_check")
        named = {row["about"] for row in found}
        assert {"bookings.status", "videos.file_size", "shared_links"} <= named
        mapped = await venue.functions(client, ways=WAYS).call("check", "ezrec_check")
        assert "bookings.status" not in {row["about"] for row in mapped}
    assert project.rows("select * from videos where recording_id like 'ezrec%'") == []


def test_old_links_hold_and_new_ones_stand_beside_them(venue: Venue) -> None:
    (link,) = venue.project.rows("select * from shared_links")
    assert link["token_hash"]
    assert link["token"] == "0123456789abcdef0123456789abcdef"
    venue.project.run("insert into shared_links (token, video_key, user_id) values (repeat('b', 32), 'k', :'u')",
                      u=OWNER)
    assert venue.project.rows("select count(*) as n from shared_links where token_hash is null") == [{"n": 0}]
    venue.project.run("delete from shared_links where video_key = 'k'")
