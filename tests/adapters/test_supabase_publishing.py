"""Films announced in a Supabase project: one row for each booking, and its status with it or not at all."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict, replace
from typing import Any

import pytest
import structlog

from ezrec.adapters.bookings.supabase import FAILED, FORWARD, may_tell
from ezrec.adapters.publishing import Publisher
from ezrec.adapters.supabase import Supabase
from ezrec.domain.errors import ParkError, RetryError
from tests.fakes.cloud import faults
from tests.fakes.cloud.chaos import ChaosProxy
from tests.fakes.cloud.supabase import Supabase as Project
from tests.fakes.venue import CALLED_OFF, Venue


@pytest.fixture
def venue(supabase: Project) -> Venue:
    return Venue(supabase)


@pytest.fixture
async def client(venue: Venue) -> AsyncIterator[Supabase]:
    async with venue.client() as made:
        yield made


async def test_a_film_published_twice_has_one_row_with_every_field_and_its_booking_says_so(
        venue: Venue, client: Supabase) -> None:
    booking = venue.book(venue.id("b"), status="video_processed")
    publisher: Publisher = venue.publisher(client)
    video = replace(venue.video(booking), poster_url="https://films.example.org/p.jpg")
    await publisher.publish(video)
    once = venue.videos(), venue.booking(booking)
    await publisher.publish(video)
    assert (venue.videos(), venue.booking(booking)) == once
    [row], told = once
    assert {name: row[name] for name in asdict(video)} == asdict(video) | {
        "uploaded_at": "2026-11-20T19:00:05.123+00:00"}
    assert (told["status"], told["status_reason"]) == ("video_uploaded", None)
    assert told["status_at"]


async def test_the_status_moves_exactly_where_it_may_be_told(venue: Venue, client: Supabase) -> None:
    words = ("scheduled", "confirmed", *FORWARD, FAILED, *CALLED_OFF, " Cancelled ")
    cases = {venue.id(f"b{number:02}"): word for number, word in enumerate(words)}
    venue.book_all(cases)
    for booking in cases:
        await venue.publisher(client).publish(venue.video(booking))
    for booking, word in cases.items():
        may = may_tell(word, "video_uploaded", CALLED_OFF)
        assert venue.booking(booking)["status"] == ("video_uploaded" if may else word)
    assert len(venue.videos()) == len(cases)


async def test_a_film_of_a_booking_that_is_not_in_the_project_gets_its_row(venue: Venue, client: Supabase) -> None:
    ids = [venue.id("monday-18"), f"{venue.id('monday-18')}@20261123T170000Z"]  # one id, used twice
    for booking in ids:
        await venue.publisher(client).publish(venue.video(booking, venue.id(f"r{len(booking)}")))
    assert sorted(row["booking_id"] for row in venue.videos()) == ids


async def test_a_film_of_another_courts_booking_is_refused_and_changes_nothing(venue: Venue, client: Supabase) -> None:
    foreign = venue.book(venue.id("b"), camera="c2")
    with pytest.raises(ParkError, match="another court's"):
        await venue.publisher(client).publish(venue.video(foreign))
    assert venue.booking(foreign)["status"] == "scheduled"
    assert venue.videos() == []


async def test_published_at_the_same_time_there_is_still_one_row(venue: Venue, client: Supabase) -> None:
    booking = venue.book(venue.id("b"))
    await asyncio.gather(*(venue.publisher(client).publish(venue.video(booking)) for _ in range(8)))
    assert len(venue.videos()) == 1


async def test_the_row_says_what_was_published_last(venue: Venue, client: Supabase) -> None:
    booking = venue.book(venue.id("b"))
    for size in (1, 2):
        await venue.publisher(client).publish(replace(venue.video(booking), file_size=size))
    [row] = venue.videos()
    assert row["file_size"] == 2
    assert row["updated_at"] > row["created_at"]


async def test_another_recording_of_the_same_booking_is_refused_and_changes_nothing(
        venue: Venue, client: Supabase) -> None:
    booking = venue.book(venue.id("b"))
    await venue.publisher(client).publish(venue.video(booking))
    before = venue.videos()
    with pytest.raises(ParkError, match=f"a film of booking {booking} already"):
        await venue.publisher(client).publish(venue.video(booking, venue.id("another")))
    assert venue.videos() == before


async def test_a_recording_does_not_change_hands(venue: Venue, client: Supabase) -> None:
    """Two courts that came by one recording_id, by a copied data folder, and by one name of a weekly booking."""
    other = Venue(venue.project)
    for court in (venue, other):
        await court.publisher(client).publish(court.video(venue.id("b"), venue.id("r")))
    assert [len(court.videos()) for court in (venue, other)] == [1, 1]
    before = venue.videos()
    with pytest.raises(ParkError):
        await venue.publisher(client).publish(venue.video(venue.id("another"), venue.id("r")))
    assert venue.videos() == before


async def test_a_status_that_cannot_move_keeps_no_film_from_its_players(venue: Venue, client: Supabase) -> None:
    booking = venue.book(venue.id("b"))
    venue.project.run(f"""create function "refuse_{booking}"() returns trigger language plpgsql as
                          $$ begin raise exception 'not now'; end $$;
                          create trigger "refuse_{booking}" before update on bookings for each row
                          when (old.id = '{booking}') execute function "refuse_{booking}"();""")
    try:
        await venue.publisher(client).publish(venue.video(booking))
        assert (len(venue.videos()), venue.booking(booking)["status"]) == (1, "scheduled")
    finally:
        venue.project.run(f'drop function "refuse_{booking}"() cascade')
    await venue.publisher(client).publish(venue.video(booking))
    assert (len(venue.videos()), venue.booking(booking)["status"]) == (1, "video_uploaded")


@pytest.mark.parametrize("body", ["[]", '[{"recording_id": "another"}]', '[{}, {}]'])
async def test_an_answer_that_does_not_confirm_the_row_is_no_confirmation(
        venue: Venue, supabase_net: ChaosProxy, body: str) -> None:
    supabase_net.answer(faults.answer(200, body), target="publish_video")
    async with venue.client(supabase_net.url) as client:
        with pytest.raises(RetryError, match="not confirmed"):
            await venue.publisher(client).publish(venue.video("b"))


# ---- a project without the function

OLDER = """
create table bookings (id text primary key, user_id text, camera_id text, status text);
create table videos (id bigint generated always as identity primary key, recording_id text {key}, booking_id text,
  user_id text, camera_id text, storage_path text, video_url text, duration_seconds real, file_size bigint,
  filename text, date date, uploaded_at timestamptz);
"""


@pytest.fixture(scope="module")
def older(request: pytest.FixtureRequest) -> Any:
    """A court in a project that knows nothing of our SQL."""
    request.getfixturevalue("supabase")  # skips where none can be had
    project = Project(request.getfixturevalue("postgres"), OLDER.format(key="unique"))
    yield Venue(project)
    project.end()


async def test_without_the_function_and_with_fewer_columns_the_row_is_put_there_and_that_is_said_once(
        older: Venue) -> None:
    with structlog.testing.capture_logs() as lines:
        async with older.client() as client:
            publisher = older.publisher(client)
            for size in (1, 1, 2):
                await publisher.publish(replace(older.video("b1"), file_size=size))
            with pytest.raises(ParkError, match="a film of booking b1 already"):
                await publisher.publish(older.video("b1", "another"))
    assert [(row["recording_id"], row["file_size"]) for row in older.videos()] == [("b1-0", 2)]
    assert [(line["event"], line.get("column")) for line in lines] == [
        ("the project lacks the function publish_video, the row is written without it", None),
        ("table lacks a column, written without it", "poster_url")]


async def test_without_the_key_that_keeps_rows_apart_nothing_is_written_and_the_sql_is_named(older: Venue) -> None:
    older.project.change(f"drop table bookings, videos; {OLDER.format(key='')}")
    async with older.client() as client:
        with pytest.raises(ParkError, match="`ezrec tables`"):
            await older.publisher(client).publish(older.video("b2"))
    assert older.videos() == []


async def test_whether_there_is_a_film_of_a_booking_is_told_by_its_day(venue: Venue, client: Supabase) -> None:
    booking = venue.id("b")
    publisher: Publisher = venue.publisher(client)
    video = venue.video(booking)
    assert not await publisher.holds(booking, video.date)
    await publisher.publish(video)
    assert await publisher.holds(booking, video.date)
    assert not await publisher.holds(booking, "2031-01-01")
    assert not await publisher.holds(venue.id("other"), video.date)
