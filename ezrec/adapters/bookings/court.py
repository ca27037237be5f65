"""Bookings through the project's functions: one answer holds all of them, and is asked for when their mark changed.

The heartbeat brings the mark. Without heartbeats, and once a minute in any case, they are read all the same. Where the
project has no functions its table is used.
"""

import random

from ezrec import logs
from ezrec.adapters.bookings.supabase import AGAIN_S, SupabaseBookings
from ezrec.adapters.supabase import Row
from ezrec.adapters.supabase.functions import FunctionMissing, Functions, Mark
from ezrec.domain.clock import SECOND, Clock
from ezrec.domain.errors import ParkError, RetryError

log = logs.get("bookings")

READ_EVERY_S = 60.0  # whatever the mark says; a tenth more or less, so that a fleet does not ask in step
JITTER = 0.1
LATE_S = 30.0  # a read that is so late was kept from it by an outage
BEATS = 3  # a mark that was heard so many heartbeats ago says nothing any more


class CourtBookings:
    """A `BookingSource` and a `StatusBoard` over functions, or over `table` in a project without them."""

    name = SupabaseBookings.name
    reuses_ids = SupabaseBookings.reuses_ids
    reported = SupabaseBookings.reported

    def __init__(self, functions: Functions, mark: Mark, clock: Clock, days_ahead: int, heartbeat_s: float,
                 table: SupabaseBookings) -> None:
        """`heartbeat_s`: how often a mark is heard."""
        self._functions = functions
        self._mark = mark
        self._clock = clock
        self._days_ahead = days_ahead
        self._fresh_s = BEATS * heartbeat_s
        self._table = table
        self._last: list[Row] | None = None
        self._last_us = 0  # when it was handed on
        self._read: str | None = None  # the mark that came with it
        self._due_us = 0  # when it is read again, whatever the mark says
        self._gone: set[str] = set()
        self._differing: list[str] = []  # in what the device's options differ from the settings, as it was logged

    async def fetch(self) -> list[object] | None:
        """All rows that matter now (`BookingSource.fetch`); None, often without a call, if they are what they were."""
        now = self._clock.mono_us()
        if self._mark.still(self._read, self._fresh_s):
            if now - self._due_us > LATE_S * SECOND:  # an outage: a fleet does not come back all at once
                self._due_us = now + round(READ_EVERY_S * random.random() * SECOND)
            if now < self._due_us:
                return None
        try:
            answer = await self._functions.call("read bookings", "ezrec_bookings", days=self._days_ahead)
        except FunctionMissing:
            return await self._table.fetch()
        rows, self._read = _rows(answer)
        self._compare(answer[0].get("device_options"))
        self._due_us = now + round(READ_EVERY_S * random.uniform(1 - JITTER, 1 + JITTER) * SECOND)
        if rows == self._last and now - self._last_us < AGAIN_S * SECOND:
            return None
        self._last, self._last_us = rows, now
        return list(rows)

    def _compare(self, options: object) -> None:
        """Say in what the options that this court's device has in the project differ from the settings."""
        before, self._differing = self._differing, [] if options is None else self._functions.ways.differing(options)
        for words in self._differing:
            if words not in before:
                log.warning("settings differ from the device's options", what=words)
        if before and not self._differing:
            log.info("settings are the device's options again")

    def troubles(self) -> list[str]:
        """What a person should hear of."""
        return [f"settings: {words}" for words in self._differing]

    def forget(self) -> None:
        """Hand on the rows the next time, whether they are others or not."""
        self._last = self._read = None
        self._table.forget()

    async def tell_status(self, booking_id: str, status: str, reason: str | None) -> None:
        """Make the booking's row say `status`, and why it failed, if it may; may be repeated.

        Raises:
            RetryError: no confirmation.
            ParkError: the project refuses, or its table does not take the word.
        """
        try:
            rows = await self._functions.call("tell a status", "ezrec_tell", booking=booking_id, status=status,
                                              reason=reason)
        except FunctionMissing:
            return await self._table.tell_status(booking_id, status, reason)
        if not rows and booking_id not in self._gone:
            self._gone.add(booking_id)
            log.info("booking's row is gone, its status is not told", booking=booking_id, status=status)
        elif rows and booking_id in self._gone:
            self._gone.discard(booking_id)
            log.info("booking's row is there again", booking=booking_id)
        if rows and rows[0].get("problem"):
            raise ParkError(f"bookings.status of {booking_id} does not take {status!r}: {rows[0]['problem']}; `ezrec "
                            "check --cloud` names what to alter, bookings.status_words the venue's own words",
                            passing=True)
        return None


def _rows(answer: list[Row]) -> tuple[list[Row], str]:
    """The bookings and their mark.

    Raises:
        RetryError: that is not what the answer holds.
    """
    match answer:
        case [{"mark": str(mark), "bookings": list(rows)}] if all(isinstance(row, dict) for row in rows):
            return rows, mark
    raise RetryError("an answer without bookings and their mark in the place of both")
