"""The bookings as their sources list them."""

import json
from collections.abc import Iterable

from ezrec.domain.booking import Booking
from ezrec.domain.stages import Stage
from ezrec.store.database import Database
from ezrec.store.rows import booking_of


class BookingTable(Database):
    """The bookings of an open store."""

    async def bookings(self, source: str | None = None) -> list[Booking]:
        """All known bookings, by start."""
        where, values = ("WHERE source = ?", (source,)) if source else ("", ())
        return await self._values(booking_of, f"SELECT * FROM booking {where} ORDER BY starts_at, id", *values)

    async def booking(self, booking_id: str) -> Booking | None:
        """The booking of this id."""
        bookings = await self._values(booking_of, "SELECT * FROM booking WHERE id = ?", booking_id)
        return bookings[0] if bookings else None

    async def bookings_with_stages(self, since_us: int) -> list[tuple[Booking, Stage | None]]:
        """The bookings that end at `since_us` (UTC µs) or later, by start, and how far the film of each is."""
        return await self._values(
            lambda row: (booking_of(row), Stage(row["stage"]) if row["stage"] else None),
            "SELECT booking.*, film.stage FROM booking LEFT JOIN film ON film.booking_id = booking.id"
            " WHERE booking.ends_at >= ? ORDER BY booking.starts_at, booking.id", since_us)

    async def put_booking(self, booking: Booking) -> bool:
        """Add or change a booking; False (and nothing changed) if its id belongs to another source."""
        if await self._read("SELECT 1 FROM booking WHERE (id, source, starts_at, ends_at, status, row, reported)"
                            " = (?,?,?,?,?,?,?)", *_columns(booking)):
            return True  # as it was: nothing to write, and no disk to wait for
        async with self._transaction() as db:
            done = await db.execute(
                "INSERT INTO booking (id, source, starts_at, ends_at, status, row, reported, seen_at)"
                " VALUES (?,?,?,?,?,?,?,?) ON CONFLICT (id) DO UPDATE SET starts_at = excluded.starts_at,"
                " ends_at = excluded.ends_at, status = excluded.status, row = excluded.row,"
                " reported = excluded.reported, seen_at = excluded.seen_at WHERE booking.source = excluded.source",
                (*_columns(booking), self._clock.wall_us()))
            return done.rowcount > 0

    async def bookings_left_out(self, source: str, listed: Iterable[str], after_us: int) -> list[Booking]:
        """The bookings of a source that end after `after_us` (UTC µs) and are not among those that it `listed`."""
        return await self._values(
            booking_of, "SELECT * FROM booking WHERE source = ? AND ends_at > ?"
            " AND id NOT IN (SELECT value FROM json_each(?)) ORDER BY starts_at, id",
            source, after_us, json.dumps(list(listed)))

    async def drop_booking(self, booking_id: str, source: str) -> None:
        """Forget a booking that its source no longer holds."""
        await self._do("DELETE FROM booking WHERE id = ? AND source = ?", booking_id, source)


def _columns(booking: Booking) -> tuple[object, ...]:
    """A booking's columns id, source, starts_at, ends_at, status, row, reported."""
    return (booking.id, booking.source, booking.starts_at, booking.ends_at, booking.status,
            json.dumps(booking.row, sort_keys=True), booking.reported)
