"""Bookings in a Supabase project: what is asked for, in which tables it is found, and what is told back."""

import re
from collections.abc import AsyncIterator, Callable
from itertools import product
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from ezrec.adapters.bookings import BookingSource, StatusBoard
from ezrec.adapters.bookings.supabase import AGAIN_S, FAILED, FORWARD, SupabaseBookings, may_tell
from ezrec.adapters.supabase import Supabase
from ezrec.adapters.supabase.functions import Ways
from ezrec.domain.booking import parse_many
from ezrec.domain.errors import CredentialError, ParkError, RetryError
from tests.fakes.cloud import faults
from tests.fakes.cloud.chaos import ChaosProxy
from tests.fakes.cloud.supabase import Supabase as Project
from tests.fakes.venue import CALLED_OFF, NOW, Venue

WORDS = (*FORWARD, FAILED)
DAY = 24.0  # h


@pytest.fixture
def venue(supabase: Project) -> Venue:
    return Venue(supabase)


@pytest.fixture
async def client(venue: Venue) -> AsyncIterator[Supabase]:
    async with venue.client() as made:
        yield made


async def ids(source: SupabaseBookings) -> list[str]:
    rows: Any = await source.fetch()
    return [row["id"] for row in rows]


# ---- what is asked for


async def test_only_this_courts_rows_come_and_only_the_columns_that_matter(venue: Venue, client: Supabase) -> None:
    mine = venue.book(venue.id("mine"))
    venue.book(venue.id("other-user"), user="somebody")
    venue.book(venue.id("other-court"), camera="c2")
    source: BookingSource = venue.bookings(client)
    rows: Any = await source.fetch()
    assert [row["id"] for row in rows] == [mine]
    assert rows[0].keys() == {"id", "status", "start_time", "end_time", "date"}
    good, bad = parse_many(rows, source="supabase", zone=ZoneInfo("UTC"), longest_s=21600)
    assert (good[0].starts_at, good[0].status, bad) == (round((NOW.timestamp() + 3600) * 1e6), "scheduled", [])


async def test_rows_come_that_ended_a_day_ago_at_most_or_begin_within_the_days_ahead(
        venue: Venue, client: Supabase) -> None:
    wanted = [venue.book(venue.id(name), hours) for name, hours in (
        ("a-under-way", -0.5), ("b-a-long-day-ago", -48), ("c-today", 1), ("d-last-day-ahead", 30 * DAY))]
    for name, hours in (("old", -5 * DAY), ("far", 33 * DAY)):
        venue.book(venue.id(name), hours)
    assert await ids(venue.bookings(client)) == wanted


async def test_cancelled_rows_come_so_that_they_are_noticed(venue: Venue, client: Supabase) -> None:
    venue.book(venue.id("b"), status="cancelled")
    rows: Any = await venue.bookings(client).fetch()
    assert [row["status"] for row in rows] == ["cancelled"]


@pytest.mark.parametrize("number", [0, 1, 6, 7, 20])
async def test_no_page_size_leaves_a_row_out_or_has_one_twice(venue: Venue, client: Supabase, number: int) -> None:
    everything = [venue.id(f"b{one:02}") for one in range(number)]
    venue.book_all(dict.fromkeys(everything, "scheduled"))
    for page in (1, 3, 7, 100):
        assert await ids(venue.bookings(client, page=page)) == everything


async def test_a_server_that_gives_fewer_rows_than_asked_for_and_does_not_count_them_is_asked_until_it_has_no_more(
        venue: Venue, supabase_net: ChaosProxy) -> None:
    """A limit of the project's own (db-max-rows), and something in between that drops Content-Range."""
    ones = [venue.id(f"b{one}") for one in range(3)]
    for number, one in enumerate(ones):
        page = f'[{{"id": "{one}", "status": "scheduled", "start_time": "x", "end_time": "y", "date": null}}]'
        behind = "" if number == 0 else rf"id=gt\.{re.escape(ones[number - 1])}"
        supabase_net.answer(faults.answer(200, page), target=behind, times=1)
    supabase_net.answer(faults.answer(200, "[]"), target=rf"id=gt\.{re.escape(ones[-1])}")
    async with venue.client(supabase_net.url) as supabase:
        assert await ids(venue.bookings(supabase)) == ones


async def test_with_a_clock_that_was_never_set_nothing_is_asked(venue: Venue, client: Supabase) -> None:
    source = venue.bookings(client)
    venue.clock.step(-NOW.timestamp())
    with pytest.raises(RetryError, match="clock says 1970"):
        await source.fetch()


async def test_a_page_that_fails_fails_the_whole_answer(venue: Venue, supabase_net: ChaosProxy) -> None:
    for one in range(3):
        venue.book(venue.id(f"b{one}"))
    supabase_net.bad_gateway(skip=1, times=1)
    async with venue.client(supabase_net.url) as supabase:
        source = venue.bookings(supabase, page=2)
        with pytest.raises(RetryError):
            await source.fetch()
        assert len(await ids(source)) == 3


async def test_ids_of_any_kind_page_and_are_only_ever_values_of_a_filter(
        venue: Venue, supabase_net: ChaosProxy) -> None:
    """The id behind which a page begins comes from outside: it must not change what is asked for."""
    evil = "x&user_id=neq.nobody),or(id.gt.0"
    supabase_net.answer(faults.answer(200, f'[{{"id": "{evil}", "status": "s", "start_time": "x", "end_time": "y"}}]'),
                        times=1)
    mine = venue.book("y" + venue.id("b"))
    venue.book("y" + venue.id("foreign"), user="somebody")
    async with venue.client(supabase_net.url) as supabase:
        assert await ids(venue.bookings(supabase)) == [evil, mine]


async def test_a_row_without_an_id_at_the_end_of_a_page_is_no_answer(venue: Venue, supabase_net: ChaosProxy) -> None:
    supabase_net.answer(faults.answer(200, '[{"id": null}]'), times=1)
    async with venue.client(supabase_net.url) as supabase:
        with pytest.raises(RetryError, match="without an id"):
            await venue.bookings(supabase).fetch()


async def test_an_answer_that_is_as_the_last_one_has_nothing_new_but_is_handed_on_now_and_then(
        venue: Venue, client: Supabase) -> None:
    venue.book(venue.id("b"))
    source = venue.bookings(client)
    assert len(await ids(source)) == 1
    assert await source.fetch() is None
    venue.book(venue.id("c"))
    assert len(await ids(source)) == 2
    assert await source.fetch() is None
    venue.forward(AGAIN_S + 1)
    assert len(await ids(source)) == 2
    venue.project.run("delete from bookings where user_id = :'u'", u=venue.user)
    assert await ids(source) == []


# ---- older tables

OLDER = {
    "without a date": "start_time timestamptz, end_time timestamptz",
    "with other names": "starts_at timestamptz, ends_at timestamptz",
    "with times as texts": "start_time text, end_time text, date text",
    "with times of day": "start_time time, end_time time, date date",
    "with other names and texts": "starts_at text, ends_at text, date date",
}
TABLE = "create table bookings (id bigint primary key, user_id uuid, camera_id text, status text, {});"
USER = "6f1a2b3c-0000-4000-8000-0123456789ab"


@pytest.fixture(scope="module")
def older(request: pytest.FixtureRequest) -> Any:
    """A project whose table is changed from test to test, and a court in it."""
    request.getfixturevalue("supabase")  # skips where none can be had
    project = Project(request.getfixturevalue("postgres"))
    yield Venue(project, USER)
    project.end()


@pytest.mark.parametrize("kind", OLDER)
async def test_an_older_table_is_read_as_it_is_and_that_is_said_once(older: Venue, kind: str) -> None:
    columns = OLDER[kind]
    older.project.change(f"drop table if exists bookings; {TABLE.format(columns)}")
    names = re.findall(r"(\w+) \w+(?:,|$)", columns)
    days = {"now": "2026-11-20", "ahead": "2026-12-15", "past": "2026-11-01", "far": "2027-02-01"}
    local = "date" in names
    for number, day in enumerate(days.values()):
        values = [f"'{day}'" if name == "date" else f"'{'' if local else day + ' '}{hour}:00{'' if local else '+00'}'"
                  for name, hour in zip(names, (18, 19, 0), strict=False)]
        older.project.run(f"insert into bookings (id, user_id, camera_id, status, {', '.join(names)})"
                          f" values ({number}, '{USER}', 'c1', null, {', '.join(values)})")
    with structlog.testing.capture_logs() as lines:
        async with older.client() as supabase:
            source = older.bookings(supabase)
            rows: Any = await source.fetch()
            assert await source.fetch() is None
            await source.tell_status("0", "recording", None)
            assert older.booking("0")["status"] == "recording"
    good, bad = parse_many(rows, source="supabase", zone=ZoneInfo("UTC"), longest_s=21600)
    assert ([one.id for one in good], bad) == (["0", "1"], [])
    assert good[0].starts_at == 1_795_197_600_000_000  # 2026-11-20 18:00 UTC
    events = [line["event"] for line in lines]
    assert events.count("bookings table is an older one") == (kind != "with times as texts")
    assert events.count("table lacks a column, written without it") == 1  # status_reason


async def test_instants_and_local_times_may_stand_in_one_table(older: Venue) -> None:
    older.project.change(f"drop table if exists bookings; {TABLE.format(OLDER['with times as texts'])}")
    rows = [("2026-11-20T18:00:00Z", "2026-11-20T19:00:00Z", None), ("18:00", "19:00", "2026-11-21"),
            ("20:26", "21:00", "2026-01-01"), ("2026-01-01T18:00:00Z", "2026-01-01T19:00:00Z", "2026-01-01"),
            ("2026-11-22T18:00:00+01:00", "2026-11-22T19:00:00+01:00", "2026-01-01")]
    for number, (starts, ends, date) in enumerate(rows):
        older.project.run(
            "insert into bookings (id, user_id, camera_id, start_time, end_time, date)"
            f" values ({number}, '{USER}', 'c1', :'starts', :'ends', nullif(:'date', ''))",
            starts=starts, ends=ends, date=date or "")
    async with older.client() as supabase:
        assert await ids(older.bookings(supabase)) == [0, 1, 4]


async def test_a_table_that_says_things_in_its_own_way_is_read_and_told_as_the_settings_say(older: Venue) -> None:
    older.project.change("drop table if exists bookings;" + TABLE.format(OLDER["without a date"])
                         + "alter table bookings add deleted_at timestamptz;")
    for number, (camera, gone) in enumerate((("c1", None), ("0", None), (None, NOW), ("c2", None), ("pi.a_b-c", None))):
        older.project.run(
            "insert into bookings (id, user_id, camera_id, start_time, end_time, deleted_at) values"
            f" ({number}, '{USER}', nullif(:'camera', ''), '{NOW}', '{NOW}', nullif(:'gone', '')::timestamptz)",
            camera=camera or "", gone=gone or "")
    ways = Ways(camera_ids=("0", "", "pi.a_b-c"), cancelled_columns=("removed", "deleted_at"),
                words={"recording": "On air", "completed": "", "video_uploaded": "Done"})
    async with older.client() as supabase:
        board = older.bookings(supabase, ways=ways)
        rows: Any = await board.fetch()
        assert {row["id"]: row["status"] for row in rows} == {0: None, 1: None, 2: "cancelled", 4: None}
        for words, shown in ((("recording",), "On air"), (("completed", "recording"), "On air"),
                             (("video_uploaded", "recording"), "Done")):
            for word in words:
                for booking in ("0", "1", "3", "4"):
                    await board.tell_status(booking, word, None)
            assert [older.booking(one)["status"] for one in ("0", "1", "3", "4")] == [shown, shown, None, shown]


async def test_a_table_that_says_in_no_known_way_when_is_refused_with_what_it_lacks_until_it_is_mended(
        older: Venue) -> None:
    older.project.change(f"drop table if exists bookings; {TABLE.format('whenever text')}")
    async with older.client() as supabase:
        source = older.bookings(supabase)
        with pytest.raises(ParkError, match="`ezrec tables`") as caught:
            await source.fetch()
        assert "start_time" in str(caught.value)
        older.project.change("drop table bookings")
        with pytest.raises(ParkError, match="table is missing"):
            await source.fetch()
        older.project.change(TABLE.format(OLDER["without a date"]))
        assert await ids(source) == []


async def test_a_table_that_changes_its_shape_is_read_on(older: Venue) -> None:
    older.project.change(f"drop table if exists bookings; {TABLE.format(OLDER['without a date'])}")
    async with older.client() as supabase:
        source = older.bookings(supabase)
        assert await ids(source) == []
        older.project.change("alter table bookings rename start_time to starts_at;"
                             "alter table bookings rename end_time to ends_at;"
                             f"insert into bookings values (7, '{USER}', 'c1', null, '{NOW}', '{NOW}')")
        assert await ids(source) == [7]


# ---- what is told back


@given(now=st.one_of(st.none(), st.text(max_size=9), st.sampled_from((*WORDS, *CALLED_OFF, " Cancelled ", "FAILED"))),
       word=st.sampled_from(WORDS))
def test_a_word_goes_forward_out_of_failed_and_never_over_a_cancellation(now: str | None, word: str) -> None:
    plain = (now or "").strip().lower()
    allowed = may_tell(now, word, CALLED_OFF)
    if plain in CALLED_OFF or plain == FORWARD[-1]:
        assert not allowed
    elif plain in FORWARD and word in FORWARD:
        assert allowed == (FORWARD.index(word) > FORWARD.index(plain))
    else:
        assert allowed


@given(words=st.lists(st.sampled_from(WORDS), max_size=12))
def test_whatever_is_told_in_whatever_order_the_film_that_is_uploaded_stays_so_and_nothing_but_failure_goes_back(
        words: list[str]) -> None:
    now, shown = "scheduled", ["scheduled"]
    for word in words:
        if may_tell(now, word, CALLED_OFF):
            now = word
            shown.append(word)
    forward = [word for word in shown if word in FORWARD]
    assert FORWARD[-1] not in shown[:-1]
    if FAILED not in shown:
        assert forward == sorted(set(forward), key=FORWARD.index)


async def test_the_row_says_what_may_be_told_and_telling_it_again_changes_nothing(
        venue: Venue, client: Supabase) -> None:
    board: StatusBoard = venue.bookings(client)
    cases = {venue.id(f"b{number:02}"): case
             for number, case in enumerate(product(("scheduled", *WORDS, "cancelled", "No_Show"), WORDS))}
    venue.book_all({booking: now for booking, (now, _) in cases.items()})
    told = []
    for _ in range(2):
        for booking, (_, word) in cases.items():
            await board.tell_status(booking, word, "why" if word == FAILED else None)
        told.append(venue.project.rows("select * from bookings where user_id = :'u' order by id", u=venue.user))
    for row in told[0]:
        now, word = cases[row["id"]]
        may = may_tell(now, word, CALLED_OFF)
        assert row["status"] == (word if may else now)
        assert row["status_reason"] == ("why" if may and word == FAILED else None)
        assert (row["status_at"] is not None) == may
    assert told[1] == told[0]
    assert len(told[0]) == len(cases)


async def test_a_reason_goes_when_a_retry_succeeds(venue: Venue, client: Supabase) -> None:
    board, booking = venue.bookings(client), venue.book(venue.id("b"))
    for word, reason in ((FAILED, "no footage"), (FAILED, "the disk is full"), ("video_processed", None)):
        await board.tell_status(booking, word, reason)
        row = venue.booking(booking)
        assert (row["status"], row["status_reason"]) == (word, reason)


async def test_another_courts_booking_is_not_told_anything(venue: Venue, client: Supabase) -> None:
    foreign = [venue.book(venue.id("u"), user="somebody"), venue.book(venue.id("c"), camera="c2")]
    for one in foreign:
        await venue.bookings(client).tell_status(one, "recording", None)
        assert venue.booking(one)["status"] == "scheduled"


async def test_a_booking_that_is_gone_is_done_with_and_said_once(venue: Venue, client: Supabase) -> None:
    board = venue.bookings(client)
    with structlog.testing.capture_logs() as lines:
        for _ in range(3):
            await board.tell_status(venue.id("gone"), "recording", None)
    assert [(line["event"], line["booking"]) for line in lines] == [
        ("booking's row is gone, its status is not told", venue.id("gone"))]


async def test_a_cancellation_that_comes_in_between_is_not_written_over(venue: Venue, client: Supabase) -> None:
    booking = venue.book(venue.id("b"))
    patch: Callable[..., Any] = client.patch

    async def cancel_first(*args: Any, **more: Any) -> Any:
        venue.project.run("update bookings set status = 'cancelled' where id = :'id'", id=booking)
        return await patch(*args, **more)

    client.patch = cancel_first  # type: ignore[method-assign]
    await venue.bookings(client).tell_status(booking, "recording", None)
    assert venue.booking(booking)["status"] == "cancelled"


async def test_a_status_that_never_stands_still_is_tried_again_later(venue: Venue, client: Supabase) -> None:
    booking, changes = venue.book(venue.id("b")), iter(range(100))
    patch: Callable[..., Any] = client.patch

    async def change_first(*args: Any, **more: Any) -> Any:
        venue.project.run("update bookings set status = :'to' where id = :'id'", id=booking, to=f"s{next(changes)}")
        return await patch(*args, **more)

    client.patch = change_first  # type: ignore[method-assign]
    with pytest.raises(RetryError, match="somebody else"):
        await venue.bookings(client).tell_status(booking, "recording", None)


async def test_a_refused_credential_is_not_a_booking_that_is_gone(venue: Venue) -> None:
    booking = venue.book(venue.id("b"))
    async with venue.client(key=SecretStr("sb_secret_wrong")) as supabase:
        with pytest.raises(CredentialError):
            await venue.bookings(supabase).tell_status(booking, "recording", None)
