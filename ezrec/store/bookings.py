"""The bookings as their sources list them."""

import json
from collections.abc import Collection

import aiosqlite

from ezrec.domain.booking import Booking
from ezrec.domain.stages import Stage
from ezrec.store.database import Database
from ezrec.store.rows import booking_of


class BookingTable(Database):
    """The bookings of an open store."""

    async def bookings(self, source: str | None = None) -> list[Booking]:
        """All known bookings, by start."""
        where, values = ("WHERE source = ?", (source,)) if source else ("", ())
        return [booking_of(row) for row in await self._read(
            f"SELECT * FROM booking {where} ORDER BY starts_at, id", *values)]

    async def put_booking(self, booking: Booking) -> bool:
        """Add or change a booking; False (and nothing changed) if its id belongs to another source."""
        if await self._read("SELECT 1 FROM booking WHERE (id, source, starts_at, ends_at, status, row, reported)"
                            " = (?,?,?,?,?,?,?)", *_columns(booking)):
            return True  # as it was: nothing to write, and no disk to wait for
        async with self._transaction() as db:
            return await self._put(db, booking)

    async def _put(self, db: aiosqlite.Connection, booking: Booking) -> bool:
        done = await db.execute(
            "INSERT INTO booking (id, source, starts_at, ends_at, status, row, reported, seen_at)"
            " VALUES (?,?,?,?,?,?,?,?) ON CONFLICT (id) DO UPDATE SET starts_at = excluded.starts_at,"
            " ends_at = excluded.ends_at, status = excluded.status, row = excluded.row,"
            " reported = excluded.reported, seen_at = excluded.seen_at WHERE booking.source = excluded.source",
            (*_columns(booking), self._clock.wall_us()))
        return done.rowcount > 0

    async def film_stage_unless_booked(self, booking: Booking, while_in: Collection[Stage]) -> Stage | None:
        """Add or change a booking, unless its film is in another stage than these: then that stage (nothing changed).

        A booking of another source stays as it is, too.
        """
        async with self._transaction() as db:
            film = await self._all("SELECT stage FROM film WHERE booking_id = ?", booking.id)
            if film and Stage(film[0]["stage"]) not in while_in:
                return Stage(film[0]["stage"])
            await self._put(db, booking)
        return None

    async def has_booking(self, booking_id: str, source: str) -> bool:
        """Whether a source has a booking of this id."""
        return bool(await self._read("SELECT 1 FROM booking WHERE id = ? AND source = ?", booking_id, source))

    async def drop_booking(self, booking_id: str, source: str) -> None:
        """Forget a booking that its source no longer holds."""
        await self._do("DELETE FROM booking WHERE id = ? AND source = ?", booking_id, source)


def _columns(booking: Booking) -> tuple[object, ...]:
    """A booking's columns id, source, starts_at, ends_at, status, row, reported."""
    return (booking.id, booking.source, booking.starts_at, booking.ends_at, booking.status,
            json.dumps(booking.row, sort_keys=True), booking.reported)
