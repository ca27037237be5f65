"""A court through the project's functions, with its device's token and with the project's secret key."""

import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import structlog
from pydantic import SecretStr

from ezrec.adapters.bookings.court import BEATS, READ_EVERY_S
from ezrec.adapters.bookings.supabase import FAILED, FORWARD, may_tell
from ezrec.adapters.status.court import CourtStatus
from ezrec.adapters.status.supabase import SupabaseStatus
from ezrec.adapters.supabase import Supabase
from ezrec.adapters.supabase.functions import Functions, Mark, Ways
from ezrec.cli.tables import sql
from ezrec.domain.clock import SECOND
from ezrec.domain.errors import CredentialError, ParkError, Refused, RetryError
from tests.bench import wave
from tests.fakes.cloud import faults
from tests.fakes.cloud.chaos import ChaosProxy
from tests.fakes.cloud.supabase import Supabase as Project
from tests.fakes.venue import CALLED_OFF, HEARTBEAT_S, Court, Venue

WORDS = (*FORWARD, FAILED)
OLD = Path(__file__).parents[1] / "cloud/old/0.1.0.sql"


@pytest.fixture
def venue(supabase: Project) -> Venue:
    return Venue(supabase)


@pytest.fixture(params=["secret key", "device"])
async def client(request: pytest.FixtureRequest, venue: Venue) -> AsyncIterator[Supabase]:
    async with venue.client(device=request.param == "device") as made:
        yield made


@pytest.fixture
def court(request: pytest.FixtureRequest, venue: Venue, client: Supabase) -> Court:
    return venue.court(client, device="device" in request.node.callspec.id.split("-"))


def soon(venue: Venue, booking: str, **more: Any) -> str:
    """A booking in an hour by the server's clock, which decides which days matter."""
    venue.project.run(
        "insert into bookings (id, user_id, camera_id, start_time, end_time, status) values (:'id', :'user', :'camera',"
        " now() + interval '1 h', now() + interval '2 h', :'status')",
        **{"id": booking, "user": venue.user, "camera": venue.camera, "status": "scheduled"} | more)
    return booking


async def ids(court: Court) -> list[str]:
    rows: Any = await court.bookings.fetch()
    return [row["id"] for row in rows]


def row(venue: Venue) -> dict[str, Any]:
    return {"user_id": venue.user, "camera_id": venue.camera, "version": "1", "recording": False}


# ---- bookings


async def test_a_court_reads_its_own_bookings_and_no_others_and_only_the_days_that_matter(
        venue: Venue, court: Court) -> None:
    mine = soon(venue, venue.id("mine"))
    soon(venue, venue.id("theirs"), user="somebody")
    soon(venue, venue.id("next-door"), camera="c2")
    for name, days in (("past", -10), ("far", 60)):
        soon(venue, venue.id(name))
        venue.project.run(f"update bookings set start_time = start_time + interval '{days} days', end_time = end_time"
                          f" + interval '{days} days' where id = :'id'", id=venue.id(name))
    (only,) = await court.bookings.fetch() or []
    assert isinstance(only, dict)
    assert only["id"] == mine
    assert set(only) == {"id", "status", "start_time", "end_time", "date"}


async def test_bookings_are_read_again_only_when_the_heartbeat_heard_of_a_change_and_once_a_minute(
        venue: Venue, court: Court, client: Supabase, monkeypatch: pytest.MonkeyPatch) -> None:
    first, calls = soon(venue, venue.id("first")), []
    rows = client.rows

    async def counted(what: str, *args: Any, **more: Any) -> Any:
        calls.append(what)
        return await rows(what, *args, **more)

    monkeypatch.setattr(client, "rows", counted)

    async def look(*, beat: bool = True, seconds: float = 5.0) -> int:
        """How many reads one look takes, some seconds later."""
        venue.forward(seconds)
        if beat:
            await court.status.put(row(venue), limit_s=60)
        calls.clear()
        await court.bookings.fetch()
        return len(calls)

    assert await ids(court) == [first]
    assert [await look() for _ in range(3)] == [0, 0, 0]
    copy = (f"insert into bookings select '{venue.id('second')}', user_id, camera_id, start_time, end_time from"
            " bookings where id = :'id'")
    for change in (copy, "update bookings set status = 'cancelled' where id = :'id'",
                   "update bookings set end_time = end_time + interval '1 min' where id = :'id'",
                   "delete from bookings where id = :'id'"):
        venue.project.run(change, id=first)
        assert await look() == 1, change
        assert await look() == 0, change
    assert await look(beat=False, seconds=BEATS * HEARTBEAT_S + 1) == 1, "no heartbeat gets through"
    await look()
    assert await look(seconds=1.2 * READ_EVERY_S) == 1
    court.bookings.forget()
    assert await look() == 1


@pytest.mark.parametrize("body", ["[]", "[{}]", '[{"mark": "1", "bookings": [1]}]', '[{"mark": null, "bookings": []}]'])
async def test_an_answer_that_is_none_drops_no_booking(venue: Venue, supabase_net: ChaosProxy, body: str) -> None:
    supabase_net.answer(faults.answer(200, body), target="ezrec_bookings")
    async with venue.client(supabase_net.url) as client:
        with pytest.raises(RetryError):
            await venue.court(client).bookings.fetch()


async def test_a_changed_mark_is_news_and_the_same_mark_is_none(venue: Venue) -> None:
    news: list[int] = []
    async with venue.client(device=True) as client:
        functions, mark = venue.functions(client, device=True), Mark(venue.clock, lambda: news.append(1))
        status = CourtStatus(functions, mark, 30, SupabaseStatus(client))
        heard = []
        for name in ("", "b", ""):
            if name:
                soon(venue, venue.id(name))
            await status.put(row(venue), limit_s=60)
            heard.append(len(news))
    assert heard == [1, 2, 2]


async def test_a_row_that_is_deleted_softly_is_a_cancelled_one(venue: Venue) -> None:
    venue.project.run("alter table bookings add column if not exists gone boolean")
    for name in ("here", "away"):
        soon(venue, venue.id(name))
    venue.project.run("update bookings set gone = true where id = :'id'", id=venue.id("away"))
    for ways, status in ((Ways(cancelled_columns=("gone",)), "cancelled"), (Ways(), "scheduled")):
        async with venue.client() as client:
            rows: Any = await venue.court(client, ways=ways).bookings.fetch()
        assert {one["id"]: one["status"] for one in rows} == {
            venue.id("here"): "scheduled", venue.id("away"): status}


# ---- what is told


async def test_the_row_says_what_may_be_told_and_telling_it_again_changes_nothing(venue: Venue, court: Court) -> None:
    cases = {venue.id(f"b{number:02}"): case
             for number, case in enumerate(product(("scheduled", *WORDS, "cancelled", " No_Show"), WORDS))}
    venue.book_all({booking: now for booking, (now, _) in cases.items()})
    for _ in range(2):
        for booking, (_, word) in cases.items():
            await court.bookings.tell_status(booking, word, "why" if word == FAILED else None)
        for one in venue.project.rows("select * from bookings where user_id = :'u'", u=venue.user):
            now, word = cases[one["id"]]  # type: ignore[index]
            may = may_tell(now, word, CALLED_OFF)
            assert one["status"] == (word if may else now)
            assert one["status_reason"] == ("why" if may and word == FAILED else None)


async def test_another_courts_booking_is_not_told_anything_and_one_that_is_gone_is_done_with(
        venue: Venue, court: Court) -> None:
    foreign = [venue.book(venue.id("u"), user="somebody"), venue.book(venue.id("c"), camera="c2")]
    with structlog.testing.capture_logs() as lines:
        for one in (*foreign, venue.id("gone"), venue.id("gone")):
            await court.bookings.tell_status(one, "recording", None)
    assert {venue.booking(one)["status"] for one in foreign} == {"scheduled"}
    assert [line["event"] for line in lines] == ["booking's row is gone, its status is not told"] * 3


async def test_a_word_that_is_none_of_ours_is_refused(venue: Venue, client: Supabase) -> None:
    booking = venue.book(venue.id("b"))
    with pytest.raises(Refused, match="status may not be scheduled"):
        await client.rows("tell", lambda one: one.rpc("ezrec_tell", {
            "court": {"user_id": venue.user, "camera_id": venue.camera}, "booking": booking, "status": "scheduled"}))


# ---- films


async def test_a_film_published_twice_has_one_row_and_its_booking_says_so(venue: Venue, court: Court) -> None:
    booking = venue.book(venue.id("b"), status="video_processed")
    video = replace(venue.video(booking), poster_url="https://films.example.org/p.jpg")
    assert not await court.publisher.holds(booking, video.date)
    for _ in range(2):
        await court.publisher.publish(video)
    (row,) = venue.videos()
    assert {name: row[name] for name in asdict(video)} == asdict(video) | {
        "uploaded_at": "2026-11-20T19:00:05.123+00:00"}
    assert venue.booking(booking)["status"] == "video_uploaded"
    assert await court.publisher.holds(booking, video.date)
    assert not await court.publisher.holds(booking, "2031-01-01")


async def test_another_recording_of_the_same_booking_is_refused_and_changes_nothing(
        venue: Venue, court: Court) -> None:
    booking = venue.book(venue.id("b"))
    await court.publisher.publish(venue.video(booking))
    before = venue.videos()
    with pytest.raises(ParkError, match=f"a film of booking {booking} already"):
        await court.publisher.publish(venue.video(booking, venue.id("another")))
    assert venue.videos() == before


async def test_a_film_of_another_courts_booking_is_refused_and_blocks_nobody(venue: Venue, court: Court) -> None:
    other = Venue(venue.project)
    theirs = other.book(other.id("theirs"))
    with pytest.raises(ParkError, match="another court's"):
        await court.publisher.publish(venue.video(theirs))
    assert venue.videos() == []
    async with other.client() as client:
        await other.court(client).publisher.publish(other.video(theirs))
    assert other.booking(theirs)["status"] == "video_uploaded"


# ---- devices


async def test_a_device_is_for_one_court_whatever_it_says(venue: Venue) -> None:
    other = Venue(venue.project)
    booking = soon(other, other.id("b"))
    async with venue.client(device=True) as client:
        court = other.court(client, device=True)
        for call in (court.bookings.fetch(), court.bookings.tell_status(booking, "failed", "x"),
                     court.publisher.publish(other.video(booking)), court.status.put(row(other), limit_s=60)):
            with pytest.raises(Refused, match="this token is for court") as caught:
                await call
            assert caught.value.code == "42501"
    assert (other.booking(booking)["status"], other.videos()) == ("scheduled", [])


async def test_a_revoked_device_may_do_nothing_from_its_next_call_on_and_is_told_why(venue: Venue) -> None:
    booking = soon(venue, venue.id("b"))
    async with venue.client(device=True) as client:
        court = venue.court(client, device=True)
        assert await ids(court) == [booking]
        venue.project.run("update ezrec_devices set revoked_at = now() where user_id = :'u'", u=venue.user)
        for call in (court.bookings.fetch(), court.bookings.tell_status(booking, "recording", None),
                     court.publisher.publish(venue.video(booking)), court.status.put(row(venue), limit_s=60)):
            with pytest.raises(CredentialError, match="was revoked"):
                await call
    assert (venue.booking(booking)["status"], venue.videos()) == ("scheduled", [])


@pytest.mark.parametrize("claims", [{"sub": "7f1a2b3c-0000-4000-8000-000000000001"}, {"sub": "x"}, {"sub": None}])
async def test_a_token_of_no_device_may_do_nothing(venue: Venue, claims: dict[str, Any]) -> None:
    token = venue.project.player_jwt(role="ezrec_device", **claims)
    async with venue.client(device=True, device_token=SecretStr(token)) as client:
        with pytest.raises(CredentialError, match="device is not known"):
            await venue.court(client, device=True).bookings.fetch()


async def test_two_devices_of_one_court_are_said_once(venue: Venue) -> None:
    with structlog.testing.capture_logs() as lines:
        async with venue.client(device=True) as one, venue.client(device=True) as two:
            for client in (one, two, one, two):
                court = venue.court(client, device=True)
                for _ in range(2):
                    await court.status.put(row(venue), limit_s=60)
    assert [line["event"] for line in lines] == ["another device reports for this court"] * 3
    (fleet,) = venue.project.rows("select * from ezrec_fleet(:'u')", u=venue.user)
    assert "two devices report for it" in str(fleet["trouble"])


@pytest.mark.parametrize("device", [False, True])
async def test_two_boxes_with_one_credential_are_said_once_and_that_it_is_over_but_a_restart_is_none(
        venue: Venue, device: bool) -> None:
    async with venue.client(device=device) as client:
        def box(name: str) -> CourtStatus:
            functions = Functions(client, venue.site, Ways(), venue.clock, device=device, box=name, beat_s=3)
            return CourtStatus(functions, Mark(venue.clock), 30, SupabaseStatus(client))

        one, again, two = box("one"), box("one, started anew"), box("two")
        with structlog.testing.capture_logs() as lines:
            for status in (one, one, again, again):
                await status.put(row(venue), limit_s=60)
                assert status.troubles() == []
            assert lines == []
            for _ in range(3):
                for status in (two, again):
                    await status.put(row(venue), limit_s=60)
            assert "too: two;" in again.troubles()[0]
            venue.project.run("update system_status set heard_at = now() - interval '1 min', other_device_at = now() -"
                              " interval '1 min' where user_id = :'u'", u=venue.user)
            for _ in range(2):
                await again.put(row(venue), limit_s=60)
    assert again.troubles() == []
    assert [(line["event"], line["device"]) for line in lines] == [
        ("another device reports for this court", "two"),
        ("another device reports for this court", "one, started anew"),
        ("no other device reports for this court any more", "two")]


async def test_settings_that_differ_from_the_devices_options_are_said_once_and_until_they_agree(venue: Venue) -> None:
    ways = Ways(camera_ids=("0",), cancelled=CALLED_OFF)
    async with venue.client(device=True) as client:
        bookings = venue.court(client, device=True, ways=ways).bookings
        with structlog.testing.capture_logs() as lines:
            for options in ({}, {}, ways.options()):
                venue.project.run("update ezrec_devices set options = :'o' where user_id = :'u'", u=venue.user,
                                  o=json.dumps(options))
                bookings.forget()
                await bookings.fetch()
                assert ("bookings.camera_ids" in str(bookings.troubles())) == (options == {})
    assert [line["event"] for line in lines] == [
        "settings differ from the device's options", "settings are the device's options again"]


# ---- a project without functions


async def test_without_functions_the_secret_key_uses_the_tables_and_that_is_said_once(venue: Venue,
                                                                                     supabase_net: ChaosProxy) -> None:
    booking = venue.book(venue.id("b"))
    missing = json.dumps({"code": "PGRST202", "message": "Could not find the function", "details": None, "hint": None})
    supabase_net.answer(faults.answer(404, missing), target="/rpc/")
    with structlog.testing.capture_logs() as lines:
        async with venue.client(supabase_net.url) as client:
            court = venue.court(client)
            for _ in range(2):
                await court.bookings.fetch()
                await court.status.put(row(venue), limit_s=60)
                await court.bookings.tell_status(booking, "recording", None)
                await court.publisher.publish(venue.video(booking))
    assert venue.booking(booking)["status"] == "recording"  # the row was put in without the function
    assert len(venue.videos()) == 1
    events = [line["event"] for line in lines]
    assert events.count("project lacks a function, its tables are used instead") == 4


async def test_a_fleet_does_not_come_back_from_an_outage_as_a_wave() -> None:
    calls = await wave.simulate(300)
    steady = sum(calls[70:wave.OUTAGE[0]]) / (wave.OUTAGE[0] - 70)
    assert abs(steady - (1 / wave.BEAT_S + 1 / READ_EVERY_S)) < 0.02
    after = calls[wave.OUTAGE[1]:]
    assert max(after) < 2 * steady
    assert sum(after[:10]) - 10 * steady < 0.6, "calls of each court too many, in the first ten seconds"


async def test_a_project_of_version_0_1_0_goes_on_working_with_the_secret_key_and_after_its_tables_were_brought_up(
        new_supabase: Callable[..., Project]) -> None:
    project = new_supabase(OLD.read_text("utf-8"))
    venue = Venue(project)
    for number in range(2):
        booking = soon(venue, venue.id(f"b{number}"))
        async with venue.client() as client:
            court = venue.court(client)
            venue.clock.step(time.time() - venue.clock.wall_us() / SECOND)
            assert booking in await ids(court)
            await court.status.put(row(venue), limit_s=60)
            await court.bookings.tell_status(booking, "completed", None)
            assert venue.booking(booking)["status"] == "completed"
            for _ in range(2):
                await court.publisher.publish(venue.video(booking))
            assert await court.publisher.holds(booking, "2026-11-20")
        assert venue.booking(booking)["status"] == "video_uploaded"
        project.change(sql())
    assert len(venue.videos()) == 2
    assert len(project.rows("select * from system_status")) == 1
