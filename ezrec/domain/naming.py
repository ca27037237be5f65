"""Ids that are used again: which booking a row means, and the names that tell the bookings of one id apart.

A person or a file may give one id every week. Each use is a booking of its own. The first keeps the plain id; a later
one is `id@<UTC start>`, its *store id*, which names it in the store, in keys and in the log. '@' cannot occur in an id
(`booking.validate_id`), so the two kinds never meet. People are shown the plain id and the time.

A row means the known booking of its id that it overlaps. If it overlaps none, it means the one that has not begun,
which was moved; if there is no such one either, it is a new booking. So what was recorded, or is being recorded, is
never moved to a time that it has nothing to do with. All times are UTC µs.
"""

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from ezrec.domain.booking import LONGEST_ID, Booking
from ezrec.domain.clock import SECOND, utc_datetime
from ezrec.domain.film import Film
from ezrec.domain.stages import OPEN

MARK = "@"
_FORM = "%Y%m%dT%H%M%SZ"
LONGEST_STORE_ID = LONGEST_ID + len("@20261123T170000Z")  # characters


@dataclass(frozen=True)
class Named:
    """A booking or a film by its store id, and when it is."""

    id: str
    starts_at: int
    ends_at: int

    @property
    def full_id(self) -> str:
        """An id that means this one alone, also where it is the first of several and so has the plain id."""
        return self.id if MARK in self.id else store_id(self.id, self.starts_at)


@dataclass(frozen=True)
class _Known:
    """A booking that there is, its film, or both."""

    id: str
    times: tuple[int, int]  # when it is booked and its film is; empty if the two have nothing in common
    open: bool  # it has not begun, and may be moved to any time


def store_id(booking_id: str, starts_at: int) -> str:
    """The id of a booking whose plain id is not its own alone: `monday-18@20261123T170000Z`."""
    return f"{booking_id}{MARK}{utc_datetime(starts_at):{_FORM}}"


def shown_id(stored: str) -> str:
    """The plain id, as people gave it."""
    return stored.partition(MARK)[0]


def named(rows: Sequence[Booking], bookings: Iterable[Booking], films: Iterable[Film], now_us: int, *,
          window: Callable[[Booking], tuple[int, int]], malformed: Collection[str] = ()) -> list[Booking]:
    """The rows of one source, each under the store id of the booking that it means.

    `bookings` and `films` are all there are; `window` gives a booking's window, rolls included. `malformed` holds the
    ids of rows that could not be read: which booking such a row means is not known, so none of its id is moved.
    Rows of one id must not overlap each other (`booking.parse_many` sees to that). Carried out and asked again, the
    same rows get the same store ids.
    """
    all_bookings, all_films = {one.id: one for one in bookings}, {one.booking_id: one for one in films}
    foreign = {one.id for one in all_bookings.values() if rows and one.source != rows[0].source}
    taken = all_bookings.keys() | all_films.keys()
    known: dict[str, list[_Known]] = {}
    for stored in sorted(taken - foreign):
        known.setdefault(shown_id(stored), []).append(
            _known(stored, all_bookings.get(stored), all_films.get(stored), now_us, window))
    found: list[Booking] = []
    for booking_id, same in _by_id(rows).items():
        there = known.get(booking_id, [])
        meant = _overlapped(same, there)
        if booking_id not in malformed:
            meant |= _moved(same, there, meant)
        for row in same:
            if row not in meant:
                first = booking_id in foreign or not (there or meant)  # what is another source's, it will not give away
                meant[row] = booking_id if first else _new_id(row, taken)
                taken.add(meant[row])
            found.append(replace(row, id=meant[row]))
    return found


def asked_for(words: str, there: Iterable[Named]) -> list[Named]:
    """Those that a person means by an id: of a plain one all of that id, the newest first; of a full one the one.

    In a full id any time within the window will do.
    """
    same = sorted((one for one in there if shown_id(one.id) == shown_id(words)),
                  key=lambda one: (one.starts_at, one.id), reverse=True)
    if MARK not in words:
        return same
    try:
        at = round(datetime.strptime(words.partition(MARK)[2], _FORM).replace(tzinfo=UTC).timestamp() * SECOND)
    except ValueError:
        return []
    return [one for one in same if one.id == words] or [
        one for one in same if one.starts_at - SECOND < at < one.ends_at][:1]


def _known(stored: str, booking: Booking | None, film: Film | None, now_us: int,
           window: Callable[[Booking], tuple[int, int]]) -> _Known:
    times = [(one.starts_at, one.ends_at) for one in (booking, film) if one]
    opens_at = window(booking)[0] if booking else times[0][0]
    return _Known(stored, (max(start for start, _ in times), min(end for _, end in times)),
                  opens_at > now_us and (film is None or film.stage in OPEN))


def _by_id(rows: Sequence[Booking]) -> dict[str, list[Booking]]:
    """The rows of each id, by start."""
    found: dict[str, list[Booking]] = {}
    for row in sorted(rows, key=lambda row: row.starts_at):
        found.setdefault(row.id, []).append(row)
    return found


def _overlapped(rows: Sequence[Booking], there: Iterable[_Known]) -> dict[Booking, str]:
    """The rows that overlap a known booking, each with the one that it overlaps most; a booking is meant by one row."""
    ends = [row.ends_at for row in rows]
    shared: list[tuple[int, int, str]] = []
    for one in there:
        start, end = one.times
        at = bisect_right(ends, start)  # the first row that ends behind its start
        while at < len(rows) and rows[at].starts_at < end:
            shared.append((max(start, rows[at].starts_at) - min(end, rows[at].ends_at), at, one.id))
            at += 1
    meant: dict[Booking, str] = {}
    used: set[str] = set()
    for _, at, stored in sorted(shared):
        if rows[at] not in meant and stored not in used:
            meant[rows[at]] = stored
            used.add(stored)
    return meant


def _moved(rows: Sequence[Booking], there: Iterable[_Known], meant: dict[Booking, str]) -> dict[Booking, str]:
    """The rows that are left, each with a booking that is left and has not begun: both in the order of their times.

    Only if there are as many of both, because otherwise nobody knows which of them was moved.
    """
    left, used = [row for row in rows if row not in meant], set(meant.values())
    waiting = sorted((one for one in there if one.open and one.id not in used), key=lambda one: (one.times, one.id))
    return dict(zip(left, (one.id for one in waiting), strict=True)) if len(left) == len(waiting) else {}


def _new_id(row: Booking, taken: Collection[str]) -> str:
    """The store id of a new booking."""
    at = row.starts_at
    while (stored := store_id(row.id, at)) in taken:  # of one that has been moved since: the time is but a name
        at += SECOND
    return stored
