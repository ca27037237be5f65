"""The bookings as their sources list them."""

import json

from ezrec.domain.booking import Booking
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
        columns = {"id": booking.id, "source": booking.source, "starts_at": booking.starts_at,
                   "ends_at": booking.ends_at, "status": booking.status,
                   "row": json.dumps(booking.row, sort_keys=True), "reported": booking.reported}
        if await self._read("SELECT 1 FROM booking WHERE (id, source, starts_at, ends_at, status, row, reported)"
                            " = (?,?,?,?,?,?,?)", *columns.values()):
            return True  # as it was: nothing to write, and no disk to wait for
        async with self._transaction() as db:
            done = await db.execute(
                "INSERT INTO booking (id, source, starts_at, ends_at, status, row, reported, seen_at)"
                " VALUES (?,?,?,?,?,?,?,?) ON CONFLICT (id) DO UPDATE SET starts_at = excluded.starts_at,"
                " ends_at = excluded.ends_at, status = excluded.status, row = excluded.row,"
                " reported = excluded.reported, seen_at = excluded.seen_at WHERE booking.source = excluded.source",
                (*columns.values(), self._clock.wall_us()))
            return done.rowcount > 0

    async def drop_booking(self, booking_id: str, source: str) -> None:
        """Forget a booking that its source no longer holds."""
        await self._do("DELETE FROM booking WHERE id = ? AND source = ?", booking_id, source)
