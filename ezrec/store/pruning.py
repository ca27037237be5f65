"""What goes of films that were done long ago: their stories are kept in short form, so that the store stays small."""

import json

from ezrec.domain.events import EventKind
from ezrec.domain.stages import Stage
from ezrec.store.database import Database

SHORT = (EventKind.BOOKED, EventKind.WITHDRAWN, EventKind.ANNOUNCED_LATE, EventKind.CHANGE_REFUSED, EventKind.STAGE,
         EventKind.GENERATION, EventKind.FALLBACK, EventKind.FOOTAGE_LOST, EventKind.PARKED, EventKind.RESCUED,
         EventKind.FOOTAGE_FOUND)
"""The entries that stay."""

_OLD = ("SELECT booking_id FROM film WHERE stage = ? AND starts_at < ? AND ends_at < ?"
        " AND NOT EXISTS (SELECT 1 FROM outbox WHERE outbox.booking_id = film.booking_id)"
        " AND (recipe IS NOT NULL OR EXISTS (SELECT 1 FROM span WHERE film = booking_id)"
        " OR EXISTS (SELECT 1 FROM booking WHERE id = booking_id)) LIMIT ?")


class PruneTable(Database):
    """Pruning of an open store."""

    async def prune(self, before_us: int, most: int) -> int:
        """Shorten what is known of films that were over before `before_us` (UTC µs) and of which no file is left, of
        `most` at a time; returns of how many.

        Film, certificate and the story's main entries stay; recipe, spans, booking and the rest go, as do bookings of
        that time that never had a film.
        """
        async with self._transaction() as db:
            old = [row["booking_id"] for row in await self._all(_OLD, Stage.CLEANED, before_us, before_us, most)]
            ids, kinds = json.dumps(old), ", ".join(f"'{kind}'" for kind in SHORT)
            for sql in ("DELETE FROM span WHERE film IN ({})", "DELETE FROM booking WHERE id IN ({})",
                        "UPDATE film SET recipe = NULL, sums = NULL WHERE booking_id IN ({})",
                        f"DELETE FROM event WHERE booking_id IN ({{}}) AND kind NOT IN ({kinds})"):
                await db.execute(sql.format("SELECT value FROM json_each(?)"), (ids,))
            await db.execute("DELETE FROM booking WHERE ends_at < ? AND NOT EXISTS"
                             " (SELECT 1 FROM film WHERE film.booking_id = booking.id)", (before_us,))
        return len(old)
