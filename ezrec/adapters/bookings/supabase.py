"""Bookings from the table `bookings` of the venue's Supabase project, and its words for what became of them.

Asked are only this court's rows, of them only the columns and the days that matter, in pages by key, so that no limit
of a server's can shorten an answer unseen: a row that is missing from it is a booking that is dropped. Tables differ:
times are instants, or local times beside a `date`, and the columns have one of two pairs of names. The first answer
shows which.
"""

import asyncio
import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from ezrec import logs
from ezrec.adapters.supabase import Row, Supabase
from ezrec.adapters.supabase.functions import Ways
from ezrec.config.sections import SiteSettings
from ezrec.domain.clock import EARLIEST_US, SECOND, Clock, utc_datetime, utc_text
from ezrec.domain.errors import ParkError, Refused, RetryError
from ezrec.domain.stages import STATUS_WORDS, Stage

log = logs.get("bookings")

TABLE = "bookings"
PAGE = 500  # rows in one answer; PostgREST's own limit is 1000 as Supabase sets it
OLDEST_DAYS = 3  # a booking may last a day, is looked at for a day after it, and its date is a local one
NEWEST_DAYS = 2  # beyond days_ahead: whole days, of a date that is a local one
AGAIN_S = 600.0  # an answer that stays the same is handed on again after this time
MANY = 500  # rows; of a longer answer only the days next to today are asked for at each call,
NEAR_DAYS = 3  # which are these,
WHOLE_S = 60.0  # and the whole after this time, or at once when they have changed
TRIES = 3  # to change a status that somebody else changes at the same time

CANCELLED = "cancelled"
NOTHING = (None, False, 0, "")  # in a column that would mean cancelled
FAILED = STATUS_WORDS[Stage.MISSED]
FORWARD = tuple(STATUS_WORDS[stage] for stage in (Stage.RECORDING, Stage.RECORDED, Stage.RENDERED, Stage.PUBLISHED))

_OTHER_SHAPE = frozenset({"42703", "22007", "22008", "22P02", "42883", "42804"})
"""Refusals that a table of another shape gives: no such column, or times of a type that is not compared with a day."""


@dataclass(frozen=True)
class Shape:
    """How a table says when: the columns that are read, and those whose text begins with a day."""

    columns: tuple[str, ...]
    days: tuple[str, ...]


SHAPES = (
    Shape(("start_time", "end_time", "date"), ("start_time", "date")),
    Shape(("start_time", "end_time", "date"), ("date",)),  # `start_time` is of type time
    Shape(("start_time", "end_time"), ("start_time",)),
    Shape(("starts_at", "ends_at", "date"), ("starts_at", "date")),
    Shape(("starts_at", "ends_at", "date"), ("date",)),
    Shape(("starts_at", "ends_at"), ("starts_at",)),
)


def may_tell(now: str | None, word: str, called_off: Collection[str]) -> bool:
    """Whether a booking's status may go from `now` to the device's `word`.

    Only forward in `FORWARD`, out of `failed` to anywhere, to `failed` from all but the last; never away from a word
    of the owner's that means cancelled (`called_off`, lower case). Owners' other words come before all of ours.
    """
    current = (now or "").strip().lower()
    if current in called_off:
        return False
    if current in FORWARD:
        return current != FORWARD[-1] if word == FAILED else FORWARD.index(word) > FORWARD.index(current)
    return True


class SupabaseBookings:
    """A `BookingSource` and a `StatusBoard` over the table `bookings`."""

    name = "supabase"
    reuses_ids = False
    reported = True

    def __init__(self, supabase: Supabase, site: SiteSettings, clock: Clock, days_ahead: int,
                 called_off: Collection[str], page: int = PAGE, ways: Ways | None = None) -> None:
        """For the court of `site`; `called_off` are the words that mean cancelled, in lower case.

        Without `ways` the table says everything as ours does.
        """
        self._supabase = supabase
        self._site = site
        self._clock = clock
        self._days_ahead = days_ahead
        self._called_off = frozenset(word.lower() for word in called_off)
        self._page = page
        self._ways = ways or Ways(cancelled_columns=())
        # what a row of this court may name, if it may name anything else than the court
        self._names = [f"camera_id.eq.{name}" if name else "camera_id.is.null"
                       for name in (site.camera_id, *self._ways.camera_ids) if self._ways.camera_ids]
        self._cancelled_columns = self._ways.cancelled_columns  # those of them that the table has
        self._shape: Shape | None = None
        self._last: bytes | None = None  # the digest of the answer that was handed on
        self._last_us = 0
        self._is_long = False
        self._near: list[Row] | None = None  # the near rows of an answer that is too long to be asked for at each call
        self._whole_us = 0
        self._gone: set[str] = set()  # bookings of which it was said that their row is gone

    async def fetch(self) -> list[object] | None:
        """All rows that matter now: not over for more than a day, beginning within days_ahead; some more at the edges.

        None if they are what they were at the last call; now and then they are handed on again all the same. Of many
        rows those that are days away are asked for once a minute.

        Raises:
            RetryError: no answer, or none that can be believed; or a clock that was never set.
            ParkError: the project refuses.
        """
        if self._clock.wall_us() < EARLIEST_US:
            raise RetryError(f"this machine's clock says {utc_text(self._clock.wall_us())}: it is not known which "
                             "bookings matter now")
        now = self._clock.mono_us()
        if self._near is not None and now - self._whole_us < WHOLE_S * SECOND:
            if await self._rows(NEAR_DAYS) == self._near:
                return None
            self._near = None
        # The near rows first: what changes in between is seen at the next call.
        near = await self._rows(NEAR_DAYS) if self._is_long else None
        rows = await self._rows(self._days_ahead + NEWEST_DAYS)
        self._is_long = len(rows) > MANY
        self._near, self._whole_us = near, now
        digest = await asyncio.to_thread(_digest, rows)
        if digest == self._last and now - self._last_us < AGAIN_S * SECOND:
            return None
        self._last, self._last_us = digest, now
        return list(rows)

    def forget(self) -> None:
        """Hand on the rows the next time, whether they are others or not."""
        self._last = self._near = None

    async def tell_status(self, booking_id: str, status: str, reason: str | None) -> None:
        """Make the booking's row say `status` (a word of ours), and why it failed, if it may (`may_tell`).

        May be repeated. A row that is gone is done with.

        Raises:
            RetryError: no confirmation.
            ParkError: the project refuses.
        """
        row = {"id": booking_id, "user_id": self._site.user_id}
        word = self._ways.word(status)
        if not word:
            return
        for _ in range(TRIES):
            found = await self._supabase.rows(
                "read a status", lambda client: self._mine(client.table(TABLE).select("status").match(row)))
            if not found:
                if booking_id not in self._gone:
                    self._gone.add(booking_id)
                    log.info("booking's row is gone, its status is not told", booking=booking_id, status=status)
                return
            if booking_id in self._gone:
                self._gone.discard(booking_id)
                log.info("booking's row is there again", booking=booking_id)
            now = found[0].get("status")
            if not may_tell(self._ways.ours(now) if isinstance(now, str) else None, status, self._called_off):
                return
            if await self._supabase.patch(TABLE, {"status": word, "status_reason": reason}, row | {"status": now}):
                return
        raise RetryError(f"the status of booking {booking_id} is being changed by somebody else")

    async def _rows(self, days: int) -> list[Row]:
        """All rows that matter and begin within so many days, by a shape that the table has."""
        refused: list[str] = []
        for shape in dict.fromkeys((self._shape or SHAPES[0], *SHAPES)):
            try:
                rows = await self._of_shape(shape, days)
            except Refused as error:
                if error.code not in _OTHER_SHAPE:
                    raise
                refused.append(str(error))
                continue
            if shape != self._shape and shape != SHAPES[0]:
                log.info("bookings table is an older one", columns=shape.columns, days=shape.days)
            self._shape = shape
            return rows
        self._shape = None
        raise ParkError("; ".join(dict.fromkeys(refused)))

    async def _of_shape(self, shape: Shape, days: int) -> list[Row]:
        """All rows, if the table is of this shape; those that were deleted softly as cancelled ones."""
        while True:
            try:
                rows = await self._all_pages(shape, days)
            except Refused as error:
                if error.column not in self._cancelled_columns:
                    raise
                self._cancelled_columns = tuple(one for one in self._cancelled_columns if one != error.column)
                continue
            return [self._plain(row) for row in rows]

    def _plain(self, row: Row) -> Row:
        """A row as `domain/booking.py` reads it."""
        gone = any(row.pop(column, None) not in NOTHING for column in self._cancelled_columns)
        return row | {"status": CANCELLED} if gone else row

    def _mine(self, query: Any) -> Any:
        """Held to rows of this court."""
        return query.or_(",".join(self._names)) if self._names else query.eq("camera_id", self._site.camera_id)

    async def _all_pages(self, shape: Shape, days: int) -> list[Row]:
        rows: list[Row] = []
        while True:
            more, count = await self._supabase.page("read bookings", self._request(shape, days, rows),
                                                     expected=_OTHER_SHAPE)
            rows += more
            if not more or count == len(more):
                return rows
            if not isinstance(rows[-1].get("id"), str | int):
                raise RetryError("a booking without an id, behind which the next page cannot be asked for")

    def _request(self, shape: Shape, days: int, before: list[Row]) -> Any:
        """Build the request for the rows after those `before`."""
        today = utc_datetime(self._clock.wall_us()).date()
        first = today - timedelta(days=OLDEST_DAYS)
        end = today + timedelta(days=days)

        def build(client: Any) -> Any:
            columns = ("id", "status", *shape.columns, *self._cancelled_columns)
            query = client.table(TABLE).select(*columns, count="exact").eq("user_id", self._site.user_id)
            ends = [f",{name}" for name in self._names] or [""]  # of two `or` in one request only one may count
            query = (query if self._names else self._mine(query)).or_(",".join(
                f"and({column}.gte.{first},{column}.lt.{end}{name})" for column in shape.days for name in ends))
            if before:
                query = query.gt("id", before[-1]["id"])
            return query.order("id").limit(self._page)

        return build


def _digest(rows: list[Row]) -> bytes:
    digest = hashlib.blake2b()
    for row in rows:  # one by one: the text of thousands takes more memory than they do
        digest.update(json.dumps(row, sort_keys=True).encode() + b"\n")
    return digest.digest()
