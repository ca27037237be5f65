"""What a row from outside means, and that nothing else than a valid one gets in."""

import json
import math
import re
from datetime import UTC, date, datetime, timedelta
from pathlib import PurePosixPath
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ezrec.domain.booking import (
    LARGEST_ROW,
    Booking,
    parse,
    parse_many,
    remarks,
    show_local,
    time_of,
    validate_id,
    window,
)
from ezrec.domain.errors import BadBooking

BERLIN = ZoneInfo("Europe/Berlin")
HOUR = 3_600_000_000  # µs
LONGEST_S = 6 * 3600
ZONES = [ZoneInfo(name) for name in ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC")]


def us(text: str) -> int:
    return (datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def row(**fields: Any) -> dict[str, Any]:
    return {"id": "b1", "start_time": "2026-11-20T18:00:00Z", "end_time": "2026-11-20T19:00:00Z"} | fields


def read(fields: object, zone: ZoneInfo = BERLIN, longest_s: float = LONGEST_S) -> Booking:
    return parse(fields, source="file", zone=zone, longest_s=longest_s)


def times(zone: ZoneInfo = BERLIN, **fields: Any) -> tuple[int, int]:
    booking = read(row(**fields), zone)
    return booking.starts_at, booking.ends_at


@pytest.mark.parametrize(("start", "end"), [
    ("2026-11-20T18:00:00Z", "2026-11-20T19:00:00Z"), ("2026-11-20t18:00:00z", "2026-11-20t19:00z"),
    ("2026-11-20 18:00:00+00", "2026-11-20 19:00:00+00:00"), ("2026-11-20T19:00:00+01:00", "2026-11-20T20:00+0100"),
    ("2026-11-20T19:00:00", "2026-11-20 20:00"), (" 2026-11-20T18:00:00.000000Z ", "2026-11-20T19:00:00,000000000 Z"),
    ("2026-11-20T13:00:00-05:00", "2026-11-20T20:00:00")])
def test_an_instant_may_be_written_in_any_of_these_ways(start: str, end: str) -> None:
    assert times(start_time=start, end_time=end) == (us("2026-11-20T18:00:00+00:00"), us("2026-11-20T19:00:00+00:00"))


def test_fractions_of_a_second_count_to_the_microsecond() -> None:
    assert times(start_time="2026-11-20T18:00:00.1234567Z")[0] == us("2026-11-20T18:00:00.123456+00:00")


@pytest.mark.parametrize(("start", "end", "hours"), [
    ("18:00", "19:30", 1.5), ("18:00:30", "19:00:30", 1), ("9:00", "10:00", 1), ("23:00", "00:30", 1.5),
    ("23:00", "24:00", 1), ("22:00", "00:00", 2)])
def test_a_date_with_local_times_ends_the_next_day_if_need_be(start: str, end: str, hours: float) -> None:
    starts_at, ends_at = times(date="2026-11-20", start_time=start, end_time=end)
    assert show_local(starts_at, BERLIN) == f"2026-11-20 {start.zfill(5)[:5]}"
    assert ends_at - starts_at == hours * HOUR


@pytest.mark.parametrize(("day", "start", "end", "expected"), [
    # Clocks go from 3:00 CEST back to 2:00 CET at 01:00Z.
    ("2026-10-25", "01:30", "03:30", ("2026-10-24T23:30:00+00:00", "2026-10-25T02:30:00+00:00")),
    ("2026-10-25", "02:30", "03:30", ("2026-10-25T00:30:00+00:00", "2026-10-25T02:30:00+00:00")),
    ("2026-10-25", "01:30", "02:30", ("2026-10-24T23:30:00+00:00", "2026-10-25T01:30:00+00:00")),
    ("2026-10-25", "02:50", "02:10", ("2026-10-25T00:50:00+00:00", "2026-10-25T01:10:00+00:00")),
    ("2026-10-24", "23:30", "02:30", ("2026-10-24T21:30:00+00:00", "2026-10-25T01:30:00+00:00")),
    # Clocks go from 2:00 CET to 3:00 CEST at 01:00Z.
    ("2026-03-29", "01:30", "03:30", ("2026-03-29T00:30:00+00:00", "2026-03-29T01:30:00+00:00")),
    ("2026-03-29", "02:30", "03:30", ("2026-03-29T00:30:00+00:00", "2026-03-29T01:30:00+00:00")),
    ("2026-03-29", "01:30", "02:30", ("2026-03-29T00:30:00+00:00", "2026-03-29T01:30:00+00:00"))])
def test_a_night_of_changing_clocks_gives_the_longer_reading(
        day: str, start: str, end: str, expected: tuple[str, str]) -> None:
    as_date = times(date=day, start_time=start, end_time=end)
    assert as_date == (us(expected[0]), us(expected[1]))
    if day != "2026-10-24":
        assert times(start_time=f"{day}T{start}", end_time=f"{day} {end}:00") == as_date


def test_other_names_and_a_date_beside_instants_are_understood() -> None:
    fields = {"id": "b1", "date": "2026-11-20", "starts_at": "2026-11-20T18:00:00Z", "ends_at": "2026-11-20T19:00:00Z"}
    assert read(fields).ends_at == us("2026-11-20T19:00:00+00:00")
    assert read(fields | {"start_time": None, "end_time": "2026-11-20T20:00:00Z"}).ends_at == us("2026-11-20T20:00:00Z")


@pytest.mark.parametrize(("fields", "words"), [
    ({"start_time": None}, "start_time is missing"), ({"end_time": None}, "end_time is missing"),
    ({"start_time": 1763661600}, "start_time is 1763661600"), ({"start_time": True}, "start_time is True"),
    ({"end_time": math.nan}, "end_time is nan"), ({"end_time": []}, "end_time is a list"),
    ({"start_time": ""}, "start_time is ''"), ({"start_time": "2026-11-20"}, "should be an instant"),
    ({"start_time": "2026-W47-5T18:00"}, "should be an instant"), ({"start_time": "20261120T180000Z"}, "an instant"),
    ({"start_time": "2026-11-20T18:00:00 Europe/Berlin"}, "an instant"), ({"start_time": "tomorrow"}, "an instant"),
    ({"start_time": "٢٠٢٦-11-20T18:00Z"}, "an instant"), ({"start_time": "2026-02-30T18:00:00Z"}, "no such time"),
    ({"start_time": "2026-11-20T25:00:00Z"}, "no such time"), ({"start_time": "2026-11-20T18:00:60Z"}, "no such time"),
    ({"start_time": "1999-12-31T23:00:00Z"}, "between 2000 and 2100"),
    ({"end_time": "2101-01-01T00:00:00Z"}, "between 2000 and 2100"),
    ({"start_time": "0001-01-01T00:00:00+14:00"}, "between 2000 and 2100"),
    ({"end_time": "2026-11-20T18:00:00Z"}, "is not after start_time"),
    ({"end_time": "2026-11-20T17:00:00Z"}, "is not after start_time"),
    ({"end_time": "2026-11-21T00:00:01Z"}, "6.0 h after start_time: a booking may last 6 h"),
    ({"start_time": "18:00", "end_time": "19:00"}, "date is None"),
    ({"start_time": "18:00", "end_time": "19:00", "date": 20261120}, "date is 20261120"),
    ({"start_time": "18:00", "end_time": "19:00", "date": "2026-02-30"}, "no such day"),
    ({"start_time": "18:00", "end_time": "19:00", "date": "20.11.2026"}, "such as 2026-11-20"),
    ({"start_time": "18:00", "end_time": "19:00", "date": "1999-11-20"}, "': date is '1999-11-20': its year"),
    ({"start_time": "18:60", "end_time": "19:00", "date": "2026-11-20"}, "start_time is '18:60'"),
    ({"start_time": "18:00", "end_time": "24:01", "date": "2026-11-20"}, "end_time is '24:01'"),
    ({"start_time": "18:00", "end_time": "18:00", "date": "2026-11-20"}, "24.0 h after"),
    ({"start_time": "18:00", "date": "2026-11-20"}, "both should be instants, or both local times"),
    ({"id": None}, "id is None"), ({"status": 7}, "status is 7"), ({"status": "x" * 65}, "at most 64"),
    ({"note": "x" * 16_000}, "too large"), pytest.param({"note": 10**5000}, "too large", id="huge")])
def test_a_malformed_row_is_refused_with_its_field_and_what_would_be_right(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(BadBooking, match=re.escape(words)) as caught:
        read(row(**fields))
    assert str(caught.value).startswith("booking None:" if "id" in fields else "booking 'b1':")


@pytest.mark.parametrize("thing", [None, 3, "b1", ["b1"], math.nan])
def test_what_is_no_object_is_no_booking(thing: object) -> None:
    with pytest.raises(BadBooking, match="should be an object"):
        read(thing)


@pytest.mark.parametrize(("given_id", "kept"), [
    ("b1", "b1"), (7, "7"), (0, "0"), ("9f0c2b6e-6d3b-4a52-8d1c-111111111111", "9f0c2b6e-6d3b-4a52-8d1c-111111111111"),
    ("a.b_c-D", "a.b_c-D"), ("x" * 128, "x" * 128)])
def test_an_id_that_is_safe_anywhere_is_taken_as_it_is(given_id: object, kept: str) -> None:
    assert validate_id(given_id) == kept


@pytest.mark.parametrize("given_id", [
    "", " b1", "b1 ",
    "b1\n", "-rf", "b\uff11", ".hidden", "_x", "a/b", "a\\b", "../../etc", "a..b", "a\0b", "größe", "x" * 129,
    "x" * 10_000, -1, 1.0, True, None, [], {"id": 1}, 10**200, pytest.param(10**5000, id="huge"), "\ud800"])
def test_an_id_that_could_be_anything_else_is_refused_in_a_short_line(given_id: object) -> None:
    with pytest.raises(BadBooking, match="at most 128") as caught:
        read(row(id=given_id))
    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()


@settings(deadline=None)  # a busy machine is not a defect
@given(st.text("aZ9._-/ é", max_size=6) | st.text() | st.integers() | st.floats() | st.none() | st.booleans())
def test_whatever_passes_as_an_id_is_one_plain_file_name(value: object) -> None:
    try:
        checked = validate_id(value)
    except BadBooking:
        return
    path = PurePosixPath("/library", checked)
    assert path.parent == PurePosixPath("/library")
    assert path.name == checked
    assert checked.isascii()
    assert not checked.startswith((".", "-"))


@pytest.mark.parametrize(("status", "kept"), [(None, "scheduled"), ("", "scheduled"), (" Cancelled ", "cancelled")])
def test_a_status_is_lower_case_and_scheduled_if_there_is_none(status: object, kept: str) -> None:
    assert read(row(status=status)).status == kept


def test_a_row_keeps_its_plain_fields_only() -> None:
    plain = row(court=3, price=12.5, paid=True, note="Größe", none=None)
    booking = read(plain | {"list": [1], "object": {}, "nan": math.nan, "far": math.inf, 5: "five"})
    assert booking.row == plain
    assert json.loads(json.dumps(booking.row, allow_nan=False)) == plain
    assert hash(booking) == hash(read(plain))


def test_a_row_may_be_as_large_as_its_limit_and_no_larger() -> None:
    room = LARGEST_ROW - len(json.dumps(row(note="")))
    assert read(row(note="x" * room)).row["note"] == "x" * room
    with pytest.raises(BadBooking, match="too large"):
        read(row(note="x" * (room + 1)))


@pytest.mark.parametrize(("length", "shown"), [(80, "x" * 80 + "'"), (81, "x" * 80 + "'...")])
def test_a_long_value_is_shown_up_to_80_characters(length: int, shown: str) -> None:
    with pytest.raises(BadBooking, match=re.escape(f"start_time is '{shown}: it should be")):
        read(row(start_time="x" * length))


@pytest.mark.parametrize(("value", "shown"), [(10**79, "1" + "0" * 79 + ":"), (10**80, "1" + "0" * 79 + "...:")])
def test_a_long_number_is_shown_up_to_80_digits(value: int, shown: str) -> None:
    with pytest.raises(BadBooking, match=re.escape(f"start_time is {shown}")):
        read(row(start_time=value))


def test_of_two_rows_with_one_id_the_first_good_one_counts() -> None:
    rows = [row(start_time="?"), row(court=1), row(court=2), 17, row(id=5)]
    good, bad = parse_many(rows, source="file", zone=BERLIN, longest_s=LONGEST_S)
    assert [(booking.id, booking.row.get("court")) for booking in good] == [("b1", 1), ("5", None)]
    assert ["twice" in str(error) for error in bad] == [False, True, False]
    assert all(booking.source == "file" for booking in good)


def test_of_a_source_that_uses_ids_again_two_rows_count_unless_they_overlap() -> None:
    hours = [(18, 19), (20, 21), (20, 22), (19, 20), (17, 18), (16, 23), (18, 19)]
    rows = [row(start_time=f"2026-11-20T{start}:00Z", end_time=f"2026-11-20T{end}:00Z", at=n)
            for n, (start, end) in enumerate(hours)]
    good, bad = parse_many(rows, source="file", zone=BERLIN, longest_s=LONGEST_S * 2, reuses_ids=True)
    assert [booking.row["at"] for booking in good] == [0, 1, 3, 4]
    assert [(error.booking_id, "or times that do not overlap" in str(error)) for error in bad] == [("b1", True)] * 3


def test_a_window_is_the_booking_with_its_rolls() -> None:
    booking = read(row())
    assert window(booking, 5, 2.5) == (booking.starts_at - 5_000_000, booking.ends_at + 2_500_000)


@pytest.mark.parametrize(("start", "end"), [
    ("18:00:00.25", "19:00:00.500000"), ("18:00:00,25+01", "19:00:00.5+0100"), ("17:00:00.25Z", "18:00:00.5+00:00"),
    ("17:00:00.250000+00", "18:00:00.5z")])
def test_local_times_may_have_fractions_of_seconds_and_an_offset(start: str, end: str) -> None:
    assert times(date="2026-11-20", start_time=start, end_time=end) == (
        us("2026-11-20T17:00:00.25+00:00"), us("2026-11-20T18:00:00.5+00:00"))


def test_a_time_with_an_offset_that_ends_past_midnight_ends_the_next_day() -> None:
    assert times(date="2026-11-20", start_time="23:30+00", end_time="00:30+00") == (
        us("2026-11-20T23:30:00+00:00"), us("2026-11-21T00:30:00+00:00"))


@pytest.mark.parametrize("day", [
    "2026-11-20T00:00:00", "2026-11-20 00:00:00.000", "2026-11-20T00:00:00+00:00", "2026-11-20T00:00:00Z",
    "2026-11-19T23:00:00+00:00", "2026-11-19 23:00:00+00", "2026-11-20T12:00:00", "2026-11-20T00:00:00+01:00"])
def test_a_day_may_be_kept_as_a_time_stamp(day: str) -> None:
    assert times(date=day, start_time="18:00", end_time="19:00")[0] == us("2026-11-20T17:00:00+00:00")


@pytest.mark.parametrize("fields", [
    {"start_time": "18:00+99"}, {"start_time": "18:00:00.0000000001"}, {"start_time": "24:00:00.1"},
    {"date": "2026-11-20T25:00:00"}, {"date": "2026-13-20T00:00:00"}, {"date": "2026-11-20T00:00:00+99"}])
def test_what_is_no_such_time_or_day_is_refused(fields: dict[str, str]) -> None:
    with pytest.raises(BadBooking):
        times(**{"date": "2026-11-20", "start_time": "18:00", "end_time": "19:00"} | fields)


def test_people_are_shown_local_times() -> None:
    assert show_local(us("2026-11-20T17:00:59.999999+00:00"), BERLIN) == "2026-11-20 18:00"
    assert show_local(us("2026-07-01T22:30:00+00:00"), BERLIN) == "2026-07-02 00:30"


@pytest.mark.parametrize(("text", "after", "end", "means", "remark"), [
    ("18:00", "2026-11-20T16:59:59Z", False, "2026-11-20T17:00:00+00:00", ""),
    ("18:00", "2026-11-20T17:00:59Z", False, "2026-11-20T17:00:00+00:00", ""),  # this minute
    ("18:00", "2026-11-20T17:01:00Z", False, "2026-11-21T17:00:00+00:00", ""),
    ("24:00", "2026-11-20T17:01:00Z", True, "2026-11-20T23:00:00+00:00", ""),
    ("2026-11-20 18:00", "2026-11-20T19:00:00Z", False, "2026-11-20T17:00:00+00:00", ""),
    ("2026-11-20T18:00:00-05:00", "2026-11-20T19:00:00Z", False, "2026-11-20T23:00:00+00:00", ""),
    # the night in which the clocks are put forward: 02:30 is 01:30 or 03:30
    ("2027-03-28 02:30", "2027-01-01T00:00:00Z", False, "2027-03-28T00:30:00+00:00", "01:30 CET is taken"),
    ("2027-03-28 02:30", "2027-01-01T00:00:00Z", True, "2027-03-28T01:30:00+00:00", "03:30 CEST is taken"),
    ("02:30", "2027-03-27T20:00:00Z", False, "2027-03-28T00:30:00+00:00", "does not exist"),
    # … and in which they are put back: 02:30 comes twice
    ("2027-10-31 02:30", "2027-01-01T00:00:00Z", False, "2027-10-31T00:30:00+00:00", "02:30 CEST is taken"),
    ("2027-10-31 02:30", "2027-01-01T00:00:00Z", True, "2027-10-31T01:30:00+00:00", "02:30 CET is taken"),
    ("02:30", "2027-10-31T00:45:00Z", False, "2027-10-31T01:30:00+00:00", ""),  # the first one is over
])
def test_a_person_s_time_is_one_instant_and_what_had_to_be_decided_is_said(
        text: str, after: str, end: bool, means: str, remark: str) -> None:
    found = time_of(text, BERLIN, after_us=us(after), end=end)
    assert found.us == us(means)
    assert remark in found.remark
    assert bool(remark) == bool(found.remark)


@pytest.mark.parametrize("text", ["", "noon", "-0", "25:00", "99:99", "99999-01-01 10:00", "1999-01-01 10:00", "1e400",
                                  "2027-02-30 10:00", "١٨:٠٠", "18:00\x1b[31m", "9" * 5000])
def test_a_person_s_time_that_cannot_be_is_refused_in_a_short_line(text: str) -> None:
    with pytest.raises(BadBooking) as caught:
        time_of(text, BERLIN, after_us=us("2026-11-20T17:00:00Z"), end=False)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


def test_what_a_night_of_changing_clocks_did_to_a_row_is_said() -> None:
    assert remarks(row(date="2027-03-27", start_time="23:00", end_time="02:30"), BERLIN) == [
        "booking 'b1': 2027-03-28 02:30 does not exist, because the clocks are put forward: 03:30 CEST is taken"]
    assert remarks(row(start_time="2027-10-31T02:30", end_time="2027-10-31T04:00"), BERLIN) == [
        "booking 'b1': 2027-10-31 02:30 comes twice, because the clocks are put back: 02:30 CEST is taken"]
    assert remarks(row(start_time="2027-10-31T02:30Z", end_time="2027-10-31T04:00Z"), BERLIN) == []


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3), max_leaves=8)
loose_times = st.one_of(
    st.from_regex(r"[0-9]{1,2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?(Z|[+-][0-9]{2}(:?[0-9]{2})?)?", fullmatch=True),
    st.from_regex(r"20[0-9]{2}-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9](:[0-6][0-9])?(Z|[+-][0-2][0-9]:[0-9]{2})?",
                  fullmatch=True), json_values)
loose_rows = st.fixed_dictionaries({}, optional={
    "id": st.text("ab.-/ ", max_size=4) | json_values, "start_time": loose_times, "end_time": loose_times,
    "starts_at": loose_times, "ends_at": loose_times,
    "date": st.dates().map(str) | st.datetimes().map(str) | json_values, "status": json_values,
    "more": json_values})


@settings(deadline=None)  # a busy machine is not a defect
@given(loose_rows | json_values, st.sampled_from(ZONES))
def test_any_json_is_a_sound_booking_or_a_bad_one_and_nothing_else_is_raised(thing: object, zone: ZoneInfo) -> None:
    good, bad = parse_many([thing], source="file", zone=zone, longest_s=LONGEST_S)
    for error in bad:
        assert str(error).isprintable()
        assert len(str(error)) < 1000
    for booking in good:
        assert us("1999-12-31T00:00:00+00:00") < booking.starts_at < booking.ends_at < us("2101-01-03T00:00:00+00:00")
        assert booking.ends_at - booking.starts_at <= LONGEST_S * 1_000_000
        assert validate_id(booking.id) == booking.id
        json.dumps(booking.row, allow_nan=False)
    assert len(good) + len(bad) == 1


@settings(deadline=None)  # a busy machine is not a defect
@given(st.datetimes(datetime.fromisoformat("2000-01-02"), datetime.fromisoformat("2100-12-30")),
       st.integers(1, LONGEST_S - 3600), st.sampled_from(ZONES), st.sampled_from(ZONES))
def test_an_instant_with_an_offset_means_itself_in_every_zone(
        start: datetime, seconds: int, written_in: ZoneInfo, zone: ZoneInfo) -> None:
    start = start.replace(tzinfo=UTC)
    end = start + timedelta(seconds=seconds)
    starts_at, ends_at = times(zone, start_time=start.astimezone(written_in).isoformat(),
                               end_time=end.astimezone(written_in).isoformat())
    assert (starts_at, ends_at) == (us(start.isoformat()), us(end.isoformat()))


@settings(deadline=None)  # a busy machine is not a defect
@given(st.dates(date(2000, 1, 1), date(2099, 12, 31)), st.integers(0, 1439), st.integers(1, 240),
       st.sampled_from(ZONES))
def test_a_local_booking_holds_every_instant_that_its_words_can_mean(
        day: date, start_minute: int, minutes: int, zone: ZoneInfo) -> None:
    midnight = datetime.combine(day, datetime.min.time())
    start, end = midnight + timedelta(minutes=start_minute), midnight + timedelta(minutes=start_minute + minutes)
    starts_at, ends_at = times(zone, date=str(day), start_time=f"{start:%H:%M}", end_time=f"{end:%H:%M}")
    for fold in (0, 1):
        assert starts_at <= us(start.replace(tzinfo=zone, fold=fold).astimezone(UTC).isoformat())
        assert ends_at >= us(end.replace(tzinfo=zone, fold=fold).astimezone(UTC).isoformat())
    # A change of clocks adds or takes its own hour, and the choice of a reading may add it once more.
    assert minutes * 60_000_000 - HOUR <= ends_at - starts_at <= minutes * 60_000_000 + 2 * HOUR
