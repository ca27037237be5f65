"""What a booking is, and how a row from outside becomes one.

A row says when in one of two ways: as ISO 8601 instants (`Z`, an offset, or none, which means the
court's own time zone), or as a `date` with local `HH:MM[:SS]`. Nothing else is guessed at: a row that is not understood
is a `BadBooking` whose text names the row, the field and what would be right. Ids are validated here and nowhere else;
whatever passes can be part of a file name, an object key or a URL.

Where clocks are put back an hour happens twice, and where they are put forward one is missing. A local time in there
means the earlier instant as a start and the later one as an end: rather a longer film than a lost one.
"""

import json
import math
import re
from bisect import bisect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock_time
from zoneinfo import ZoneInfo

from ezrec.domain.clock import local_datetime
from ezrec.domain.errors import BadBooking

Scalar = str | int | float | bool | None

LONGEST_ID = 128  # characters
LONGEST_STATUS = 64  # characters
LARGEST_ROW = 16_000  # bytes of JSON
FIRST_YEAR, LAST_YEAR = 2000, 2100
DEFAULT_STATUS = "scheduled"

_SHOWN = 80  # characters of a foreign value that a message repeats
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_START_NAMES = ("start_time", "starts_at")
_END_NAMES = ("end_time", "ends_at")
_OFFSET = r" ?(Z|[+-]\d{2}(?::?\d{2})?)?"
_CLOCK_TIME = re.compile(rf"(\d{{1,2}}):(\d{{2}})(?::(\d{{2}})(?:[.,](\d{{1,9}}))?)?{_OFFSET}", re.ASCII)
# Narrower than `datetime.fromisoformat`, which takes more with every version of Python (weeks, bare dates, 24:00).
_DAY = r"(\d{4}-\d{2}-\d{2})"
_TIME = rf"[T ](\d{{2}}:\d{{2}})(:\d{{2}}(?:[.,]\d{{1,9}})?)?{_OFFSET}"
_INSTANT = re.compile(_DAY + _TIME, re.ASCII)
_DATE = re.compile(rf"{_DAY}(?:{_TIME})?", re.ASCII)
MIDNIGHT = clock_time()
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)
_ISO_WORDS = "an instant such as 2026-11-20T18:00:00Z, or with `date` a local time such as 18:00"

Pick = Callable[..., int]  # min or max


@dataclass(frozen=True)
class Booking:
    """A row that asks for a time on this court."""

    id: str
    source: str  # the name of the source that listed it
    starts_at: int  # UTC µs
    ends_at: int  # UTC µs, after starts_at
    status: str  # lower case; what it means is a setting
    row: dict[str, Scalar] = field(hash=False, default_factory=dict)  # what else the row said
    reported: bool = False  # its source wants to know what becomes of it


@dataclass(frozen=True)
class RefusedRow:
    """A row of a source that is no booking, and why, in words."""

    source: str
    reason: str


def parse(row: object, *, source: str, zone: ZoneInfo, longest_s: float) -> Booking:
    """The booking that `row` (as it came out of JSON) asks for.

    `zone` is the court's own; `longest_s` the longest booking that is believed, in seconds.

    Raises:
        BadBooking: names the row's id, the field and what would be right.
    """
    if not isinstance(row, dict):
        raise BadBooking(f"a booking is {_show(row)}: it should be an object with id, start_time and end_time")
    booking_id = None
    try:
        booking_id = validate_id(row.get("id"))
        starts_at, ends_at = _times(row, zone)
        _check_length(starts_at, ends_at, longest_s)
        return Booking(booking_id, source, starts_at, ends_at, _status(row.get("status")), _kept(row))
    except BadBooking as error:
        raise BadBooking(f"booking {_show(row.get('id'))}: {error}", booking_id) from None


def parse_many(
    rows: Iterable[object], *, source: str, zone: ZoneInfo, longest_s: float, reuses_ids: bool = False
) -> tuple[list[Booking], list[BadBooking]]:
    """The bookings that `rows` ask for, and what is wrong with the others. Of two with one id the first counts.

    With `reuses_ids` both count if their times do not overlap: they are two bookings (`domain/naming.py`).
    """
    good: list[Booking] = []
    bad: list[BadBooking] = []
    times: dict[str, list[tuple[int, int]]] = {}  # by id, in order; no two of an id overlap
    for row in rows:
        try:
            booking = parse(row, source=source, zone=zone, longest_s=longest_s)
        except BadBooking as error:
            bad.append(error)
            continue
        same = times.setdefault(booking.id, [])
        at = bisect(same, (booking.starts_at, booking.ends_at))
        beside = same[max(0, at - 1):at + 1]
        if not same or (reuses_ids and not any(
                start < booking.ends_at and booking.starts_at < end for start, end in beside)):
            same.insert(at, (booking.starts_at, booking.ends_at))
            good.append(booking)
        else:
            more = ", or times that do not overlap" if reuses_ids else ""
            bad.append(BadBooking(f"booking {_show(booking.id)}: id is there twice: the first one counts; give each "
                                  f"booking an id of its own{more}", booking.id))
    return good, bad


def validate_id(text: object) -> str:
    """`text` (a string, or the integer key of a table) as an id that is safe in file names, object keys and URLs.

    Raises:
        BadBooking: it is not.
    """
    # Longer integers than an id may be are not even turned into text: Python refuses at 4300 digits.
    if isinstance(text, int) and not isinstance(text, bool) and 0 <= text < 10**LONGEST_ID:
        text = str(text)
    if not isinstance(text, str) or _ID.fullmatch(text) is None or ".." in text:
        raise BadBooking(f"id is {_show(text)}: an id may hold letters, digits, . _ -, at most {LONGEST_ID}; it "
                         "begins with a letter or digit and has no two dots in a row")
    return text


def window(booking: Booking, pre_roll_s: float, post_roll_s: float) -> tuple[int, int]:
    """What is to be recorded for a booking: from and to in UTC µs, with so many seconds more before and after."""
    return booking.starts_at - round(pre_roll_s * 1_000_000), booking.ends_at + round(post_roll_s * 1_000_000)


@dataclass(frozen=True)
class LocalTime:
    """A time as a person gives it, and what had to be decided to make an instant of it."""

    us: int  # UTC
    remark: str = ""  # in words; empty: there was nothing to decide


def time_of(text: str, zone: ZoneInfo, *, after_us: int, end: bool) -> LocalTime:
    """A time as a person gives it: an instant, "2026-11-20 18:00" in court time, or "18:00" in court time, which is the
    next one from the minute of `after_us` (UTC µs) on. `end`: it is the end of a time, not the start.

    Raises:
        BadBooking: it is no such time.
    """
    pick = max if end else min
    if _CLOCK_TIME.fullmatch(text.strip()) is None:
        moment = _iso("the time", text.strip())
        return LocalTime(_instant(moment, zone, pick), _remark(moment, zone, pick))
    least = after_us - after_us % 60_000_000
    today = local_datetime(least, zone).date()
    for day in (today, today + timedelta(days=1), today + timedelta(days=2)):
        moment = _at(day, "the time", text.strip())
        ahead = [us for us in _readings(moment, zone) if us >= least]
        if ahead:
            us = pick(ahead)
            return LocalTime(us, _remark(moment, zone, pick) if us == _instant(moment, zone, pick) else "")
    raise BadBooking(f"the time is {_show(text)}: there is no such time in the next days")


def remarks(row: object, zone: ZoneInfo) -> list[str]:
    """What had to be decided to make instants of a well-formed row's local times, in words."""
    if not isinstance(row, dict):
        return []
    found = [_remark(moment, zone, pick) for moment, pick in zip(_moments(row, zone), (min, max), strict=True)]
    return [f"booking {_show(row.get('id'))}: {remark}" for remark in found if remark]


def show_local(us: int, zone: ZoneInfo) -> str:
    """An instant (UTC µs) as people at the court say it: "2026-11-20 18:00"."""
    return local_datetime(us, zone).strftime("%Y-%m-%d %H:%M")


def _times(row: dict[object, object], zone: ZoneInfo) -> tuple[int, int]:
    """Start and end in UTC µs."""
    start, end = _moments(row, zone)
    return _instant(start, zone, min), _instant(end, zone, max)


def _moments(row: dict[object, object], zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Start and end; local ones without a zone."""
    start_name, start_text = _text(row, _START_NAMES)
    end_name, end_text = _text(row, _END_NAMES)
    clock_times = [_CLOCK_TIME.fullmatch(text.upper()) for text in (start_text, end_text)]
    if any(clock_times) and not all(clock_times):
        raise BadBooking(f"{start_name} is {_show(start_text)} and {end_name} is {_show(end_text)}: both should be "
                         "instants, or both local times")
    if all(clock_times):
        day = _day(row.get("date"), zone)
        start, end = _at(day, start_name, start_text), _at(day, end_name, end_text)
        if _instant(end, zone, max) <= _instant(start, zone, min):  # past midnight
            end = _at(day + timedelta(days=1), end_name, end_text)
        return start, end
    start, end = _iso(start_name, start_text), _iso(end_name, end_text)
    if _instant(end, zone, max) <= _instant(start, zone, min):
        raise BadBooking(f"{end_name} {_show(end_text)} is not after {start_name} {_show(start_text)}: it should be")
    return start, end


def _check_length(starts_at: int, ends_at: int, longest_s: float) -> None:
    if ends_at - starts_at > longest_s * 1_000_000:
        hours = (ends_at - starts_at) / 3_600_000_000
        most = longest_s / 3600
        raise BadBooking(f"end_time is {hours:.1f} h after start_time: a booking may last {most:g} h at most")


def _text(row: dict[object, object], names: tuple[str, str]) -> tuple[str, str]:
    """The field of the row that has one of `names`, and its text."""
    name = next((name for name in names if row.get(name) is not None), None)
    if name is None:
        raise BadBooking(f"{names[0]} is missing: it should be {_ISO_WORDS}")
    value = row[name]
    if not isinstance(value, str):
        raise BadBooking(f"{name} is {_show(value)}: it should be {_ISO_WORDS}")
    return name, value.strip()


def _day(value: object, zone: ZoneInfo) -> date:
    """The day that `date` names. Some tables keep it as a time stamp: that of midnight, or of local midnight."""
    text = value.strip().upper() if isinstance(value, str) else ""
    if _DATE.fullmatch(text) is None:
        raise BadBooking(f"date is {_show(value)}: with local times it should be a day such as 2026-11-20")
    try:
        day = date.fromisoformat(text[:10])
        if len(text) > len("2026-11-20"):
            moment = _iso("date", text)
            if moment.tzinfo is not None and moment.time() != MIDNIGHT:
                day = moment.astimezone(zone).date()
    except ValueError:
        raise BadBooking(f"date is {_show(value)}: there is no such day") from None
    _believable("date", text, day.year)
    return day


def _at(day: date, name: str, text: str) -> datetime:
    """The time `text` on `day`, without a zone unless it names an offset; 24:00 is the midnight at its end."""
    match = _CLOCK_TIME.fullmatch(text.upper())
    *clock, fraction, offset = match.groups() if match else ("99", None, None, None, None)
    hour, minute, second = (int(group or 0) for group in clock)
    time = timedelta(hours=hour, minutes=minute, seconds=second, microseconds=int((fraction or "")[:6].ljust(6, "0")))
    if minute > 59 or second > 59 or time > timedelta(days=1):
        raise BadBooking(f"{name} is {_show(text)}: there is no such time; it should lie between 00:00 and 24:00")
    try:
        midnight = datetime.fromisoformat(f"{day}T00:00{offset or ''}")
    except ValueError as error:
        raise BadBooking(f"{name} is {_show(text)}: there is no such time ({error})") from None
    return midnight + time


def _iso(name: str, text: str) -> datetime:
    """The instant `text`; without a zone if it names none."""
    match = _INSTANT.fullmatch(text.upper())
    if match is None:
        raise BadBooking(f"{name} is {_show(text)}: it should be {_ISO_WORDS}")
    day, clock, second, offset = (group or "" for group in match.groups())
    try:
        # 10 characters: of the fraction, what a µs can hold (":59.123456").
        moment = datetime.fromisoformat(f"{day}T{clock}{second.replace(',', '.')[:10]}{offset}")
    except ValueError as error:
        raise BadBooking(f"{name} is {_show(text)}: there is no such time ({error})") from None
    _believable(name, text, moment.year)
    return moment


def _believable(name: str, text: str, year: int) -> None:
    if not FIRST_YEAR <= year <= LAST_YEAR:
        raise BadBooking(f"{name} is {_show(text)}: its year should lie between {FIRST_YEAR} and {LAST_YEAR}")


def _instant(moment: datetime, zone: ZoneInfo, pick: Pick) -> int:
    """`moment` in UTC µs; of the two readings that a local time may have `pick` chooses one."""
    return pick(_readings(moment, zone))


def _readings(moment: datetime, zone: ZoneInfo) -> tuple[int, int]:
    """`moment` in UTC µs. A local one has two readings (PEP 495: `fold`), which differ only in the hour that a change
    of clocks doubles or leaves out: the second is the later one if the hour comes twice, the earlier one if it is
    missing.
    """
    if moment.tzinfo is not None:
        return ((moment - _EPOCH) // _US,) * 2
    first, second = ((moment.replace(tzinfo=zone, fold=fold) - _EPOCH) // _US for fold in (0, 1))
    return first, second


def _remark(moment: datetime, zone: ZoneInfo, pick: Pick) -> str:
    """What a change of clocks made of a local time, in words; empty: nothing."""
    first, second = _readings(moment, zone)
    if first == second:
        return ""
    taken = f"{local_datetime(pick(first, second), zone):%H:%M %Z} is taken"
    if first < second:
        return f"{moment:%Y-%m-%d %H:%M} comes twice, because the clocks are put back: {taken}"
    return f"{moment:%Y-%m-%d %H:%M} does not exist, because the clocks are put forward: {taken}"


def _status(value: object) -> str:
    if value is None:
        return DEFAULT_STATUS
    if not isinstance(value, str) or len(value.strip()) > LONGEST_STATUS:
        raise BadBooking(f"status is {_show(value)}: it should be a word of at most {LONGEST_STATUS} characters")
    return value.strip().lower() or DEFAULT_STATUS


def _kept(row: dict[object, object]) -> dict[str, Scalar]:
    """What is kept of a row: the fields that are a plain text, number, truth or nothing."""
    kept: dict[str, Scalar] = {}
    for name, value in row.items():
        plain = value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))
        if isinstance(name, str) and plain:
            kept[name] = value  # type: ignore[assignment]  # `plain` says so
    try:
        size = len(json.dumps(kept))
    except ValueError:  # an integer of thousands of digits
        size = LARGEST_ROW + 1
    if size > LARGEST_ROW:
        raise BadBooking(f"the row is too large: its fields should take at most {LARGEST_ROW} bytes")
    return kept


def _show(value: object) -> str:
    """A foreign value in a message: short, on one line, and harmless in a terminal."""
    if isinstance(value, str):
        return ascii(value[:_SHOWN]) + ("..." if len(value) > _SHOWN else "")
    if isinstance(value, dict | list):
        return f"a {type(value).__name__}"
    try:
        text = ascii(value)
    except ValueError:  # an integer of thousands of digits
        return "a huge number"
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
