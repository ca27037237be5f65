"""The door to a Supabase project, against a real one behind a network that breaks."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest
import structlog
from pydantic import SecretStr

from ezrec import logs
from ezrec.adapters.supabase import Supabase
from ezrec.domain.errors import CredentialError, EzrecError, Refused, RetryError
from tests.fakes.cloud import faults
from tests.fakes.cloud.chaos import SUPABASE_FAULTS, ChaosProxy
from tests.fakes.cloud.supabase import Supabase as Project
from tests.fakes.venue import PATIENT_S, Venue
from tests.fakes.waiting import eventually

BRIEF_S = 0.3  # for what never comes
HARMLESS = {"slow", "continue withheld"}  # nothing here says Expect: 100-continue
STATUS, KEY = "system_status", "user_id,camera_id"


@pytest.fixture
def venue(supabase: Project) -> Venue:
    return Venue(supabase)


@pytest.fixture
def lines() -> Iterator[list[dict[str, Any]]]:
    """What is logged."""
    with structlog.testing.capture_logs() as caught:
        yield caught


Act = Callable[[Supabase, Venue], Awaitable[object]]


async def poll(supabase: Supabase, venue: Venue) -> object:
    return await venue.bookings(supabase).fetch()


async def beat(supabase: Supabase, venue: Venue) -> object:
    return await supabase.upsert(STATUS, {"user_id": venue.user, "camera_id": venue.camera, "recording": True}, KEY)


async def tell(supabase: Supabase, venue: Venue) -> object:
    return await venue.bookings(supabase).tell_status(venue.id("b1"), "recording", None)


async def publish(supabase: Supabase, venue: Venue) -> object:
    return await venue.publisher(supabase).publish(venue.video(venue.id("b1")))


def seen(venue: Venue) -> tuple[object, object, object]:
    """What the project holds for this court: heartbeats, the booking's status, its films."""
    beats = venue.project.rows("select recording from system_status where user_id = :'user'", user=venue.user)
    return beats, venue.booking(venue.id("b1"))["status"], [row["recording_id"] for row in venue.videos()]


ACTS: dict[str, tuple[Act, str | None]] = {"poll": (poll, "GET"), "heartbeat": (beat, None), "status": (tell, "PATCH"),
                                           "publish": (publish, None)}


@pytest.mark.parametrize("fault", SUPABASE_FAULTS)
@pytest.mark.parametrize("act", ACTS)
async def test_a_fault_of_the_network_is_an_error_to_try_again_and_leaves_no_trace_once_it_is_over(
        venue: Venue, supabase_net: ChaosProxy, act: str, fault: str) -> None:
    do = ACTS[act][0]
    booking = venue.book(venue.id("b1"))
    async with venue.client(supabase_net.url) as supabase:
        await supabase.rows("open a connection", lambda client: client.table("bookings").select("id").limit(1))
        SUPABASE_FAULTS[fault](supabase_net)
        supabase._limit_s = BRIEF_S if "hung" in fault else PATIENT_S
        harmless = fault in HARMLESS
        with nullcontext() if harmless else pytest.raises(RetryError) as caught:
            await do(supabase, venue)
        assert harmless or (caught.type is CredentialError) == (fault in ("credential expired", "key unknown"))
        supabase_net.heal()
        supabase._limit_s = PATIENT_S
        got = [await do(supabase, venue) for _ in range(2)]
    beats, status, videos = seen(venue)
    match act:
        case "poll":
            assert [row["id"] for row in got[0]] == [booking]  # type: ignore[attr-defined]
            assert (beats, status, videos) == ([], "scheduled", [])
        case "heartbeat":
            assert (beats, status, videos) == ([{"recording": True}], "scheduled", [])
        case "status":
            assert (beats, status, videos) == ([], "recording", [])
        case "publish":
            assert (beats, status, videos) == ([], "video_uploaded", [f"{booking}-0"])


@pytest.mark.parametrize("act", ["heartbeat", "status", "publish"])
async def test_what_was_done_although_its_answer_was_lost_is_done_once_more_without_a_trace(
        venue: Venue, supabase_net: ChaosProxy, act: str) -> None:
    do, method = ACTS[act]
    venue.book(venue.id("b1"))
    async with venue.client(supabase_net.url) as supabase:
        fault = supabase_net.cut_answer(method=method, times=1)
        with pytest.raises(RetryError):
            await do(supabase, venue)
        assert fault.hits == 1
        done, row = seen(venue), venue.booking(venue.id("b1"))
        assert done != ([], "scheduled", [])
        await do(supabase, venue)
        assert (seen(venue), venue.booking(venue.id("b1"))) == (done, row)


@pytest.mark.parametrize("answer", [
    faults.answer(200, ""), faults.answer(200, "{}"), faults.answer(200, "null"), faults.answer(200, "[1]"),
    faults.answer(200, '[{"id": 1}, []]'), faults.answer(200, "[" * 100_000), faults.answer(206, "<html>", "text/html"),
    faults.answer(200, b"\xff\xfe[]"), faults.answer(404, "not here", "text/plain")])
async def test_an_answer_that_is_no_list_of_rows_is_never_a_schedule(
        venue: Venue, supabase_net: ChaosProxy, answer: bytes) -> None:
    supabase_net.answer(answer)
    async with venue.client(supabase_net.url) as supabase:
        with pytest.raises(RetryError):
            await venue.bookings(supabase).fetch()


async def test_a_call_may_take_no_longer_than_its_limit(venue: Venue, supabase_net: ChaosProxy) -> None:
    supabase_net.hang()
    async with venue.client(supabase_net.url) as supabase:
        with pytest.raises(RetryError, match=r"no answer within 0\.1 s"):
            await supabase.rows("wait", lambda client: client.table("bookings").select("id"), limit_s=0.1)


async def test_a_call_that_hangs_keeps_no_other_client_waiting(venue: Venue, supabase_net: ChaosProxy) -> None:
    supabase_net.hang_answer(target="bookings")
    async with venue.client(supabase_net.url) as first, venue.client(supabase_net.url) as second:
        hanging = [asyncio.create_task(poll(first, venue)) for _ in range(10)]

        async def all_hang() -> bool:
            return supabase_net.count(target="bookings") >= 4

        await eventually(all_hang)
        await beat(second, venue)
        assert not any(task.done() for task in hanging)
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)


async def test_a_failure_is_logged_whole_once_until_it_changes_or_ends(
        venue: Venue, supabase_net: ChaosProxy, lines: list[dict[str, Any]]) -> None:
    async with venue.client(supabase_net.url) as supabase:
        for fail in (supabase_net.bad_gateway, supabase_net.portal, None, supabase_net.portal):
            supabase_net.heal()
            if fail:
                fail()
            for _ in range(3):
                try:
                    await beat(supabase, venue)
                except RetryError:
                    assert fail
    events = [(line["event"], line.get("status"), "Free WiFi" in line.get("body", "")) for line in lines]
    assert events == [("cloud call failed", 502, False), ("cloud call failed", 200, True),
                      ("cloud answers again", None, False), ("cloud call failed", 200, True)]
    assert all(line["call"] == "write system_status" for line in lines)
    assert "502 Bad Gateway" in lines[0]["body"]


async def test_kinds_of_calls_are_logged_apart(
        venue: Venue, supabase_net: ChaosProxy, lines: list[dict[str, Any]]) -> None:
    supabase_net.refuse()
    async with venue.client(supabase_net.url) as supabase:
        for act in (beat, poll, beat, poll):
            with pytest.raises(RetryError):
                await act(supabase, venue)
    assert [line["call"] for line in lines] == ["write system_status", "read bookings"]


async def test_no_error_and_no_line_holds_a_credential(
        venue: Venue, supabase_net: ChaosProxy, capsys: pytest.CaptureFixture[str]) -> None:
    settings = venue.settings(supabase_net.url, device=True)
    secrets = [settings.key.get_secret_value(), settings.device_token.get_secret_value()]

    class Settings:
        def secret_values(self) -> list[str]:
            return secrets

    logs.register_secrets(Settings())
    logs.set_up("debug", None)
    supabase_net.answer(faults.answer(400, f'{{"code": "22P02", "message": "you said {secrets[0]} {secrets[1]}"}}'))
    supabase = Supabase(settings)
    try:
        with pytest.raises(Refused):
            await beat(supabase, venue)
    finally:
        await supabase.close()
        logs.shut_down()
        logging.getLogger(logs.ROOT).setLevel(logging.NOTSET)
    written = capsys.readouterr().out
    assert "cloud call failed" in written
    assert "you said" in written
    assert not any(secret in written for secret in secrets)


async def test_an_expired_token_and_an_unknown_key_are_troubles_with_the_credential(venue: Venue) -> None:
    expired = SecretStr(venue.project.player_jwt(expires_s=-60, user_id=venue.user, camera_id=venue.camera))
    for settings in ({"device": True, "device_token": expired}, {"key": SecretStr("sb_secret_unknown")}):
        async with venue.client(**settings) as supabase:  # type: ignore[arg-type]
            with pytest.raises(CredentialError):
                await poll(supabase, venue)


async def test_a_table_that_lacks_columns_is_written_without_them_which_is_said_once(
        venue: Venue, supabase: Project, lines: list[dict[str, Any]]) -> None:
    row = {"user_id": venue.user, "camera_id": venue.camera, "version": "1", "colour": "red", "cameras": {"left": 1},
           "taste": 2}
    async with venue.client() as client:
        await client.upsert(STATUS, row, KEY)
        await client.upsert(STATUS, row | {"version": "2"}, KEY)
        await client.patch("bookings", {"status": "x", "colour": "red"}, {"id": venue.book(venue.id("b1"))})
    assert supabase.rows(f"select version, cameras from {STATUS} where user_id = :'u'", u=venue.user) == [
        {"version": "2", "cameras": {"left": 1}}]
    assert venue.booking(venue.id("b1"))["status"] == "x"
    assert [(line["event"], line["table"], line["column"]) for line in lines] == [
        ("table lacks a column, written without it", STATUS, "colour"),
        ("table lacks a column, written without it", STATUS, "taste"),
        ("table lacks a column, written without it", "bookings", "colour")]


async def test_a_missing_key_and_a_missing_table_are_refused_for_good_and_name_the_sql(venue: Venue) -> None:
    async with venue.client() as client:
        for table, key in ((STATUS, "camera_id"), ("no_such_table", "id")):
            with pytest.raises(Refused, match="`ezrec tables`"):
                await client.upsert(table, {"user_id": venue.user, "camera_id": venue.camera}, key)


async def test_an_error_names_the_call_and_the_host(venue: Venue, supabase_net: ChaosProxy) -> None:
    supabase_net.bad_gateway()
    async with venue.client(supabase_net.url) as supabase:
        with pytest.raises(EzrecError, match=rf"Supabase at 127\.0\.0\.1:{supabase_net.port}: read bookings: HTTP 502"):
            await poll(supabase, venue)
