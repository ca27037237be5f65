"""What is known again after a store was lost or damaged: when that was, and the runs whose footage lies there.

A recovered run has a row again (`run.recovered_at`), made from what its folder says or saved from the damaged store.
Its footage is kept though no film touches it, until a booking covers it, a person makes a film of it, or its time is
over.
"""

from collections.abc import Sequence

from ezrec.domain.events import FootageFound
from ezrec.domain.stages import Stage
from ezrec.domain.timeline import HOLD_US, Offset, Segment
from ezrec.store.database import Database
from ezrec.store.rows import segment_of

TOUCHED = ("EXISTS (SELECT 1 FROM span WHERE span.run = segment.run AND span.reach_from_us - ? < segment.end_us"
           " AND span.reach_to_us + ? > segment.start_us)")
"""Whether any film ever touched a segment; takes `HOLD_US` twice."""


class RecoveredTable(Database):
    """Recoveries and recovered runs of an open store."""

    async def note_recovery(self, reason: str) -> None:
        """The store was lost or damaged, and made anew now. All runs' footage is kept for a while.

        Films that should be over and never began go: nobody knows what became of them. If there is footage, a film is
        made of it after all, unless it was published already.
        """
        now = self._clock.wall_us()
        async with self._transaction() as db:
            await db.execute("INSERT OR REPLACE INTO recovery (at, reason) VALUES (?,?)", (now, reason))
            await db.execute("UPDATE run SET recovered_at = ?", (now,))
            await db.execute("DELETE FROM film WHERE stage = ? AND ends_at <= ? AND booking_id IN"
                             " (SELECT id FROM booking)", (Stage.BOOKED, now))

    async def recovered_at(self) -> int:
        """When the store was last lost, UTC µs; 0 if it never was."""
        return (await self._read("SELECT max(at) FROM recovery"))[0][0] or 0

    async def was_found(self, booking_id: str) -> bool:
        """Whether a film is made anew because the store was lost: then nobody was told of an earlier one."""
        return bool(await self._read("SELECT 1 FROM event WHERE booking_id = ? AND kind = ? LIMIT 1", booking_id,
                                     FootageFound.kind))

    async def recover_run(self, run: int, boot_id: str, offsets: Sequence[Offset]) -> None:
        """Give a run its row again; harmless if it has one."""
        async with self._transaction() as db:
            done = await db.execute(
                "INSERT INTO run (id, boot_id, started_at, recovered_at) VALUES (?,?,?,?) ON CONFLICT DO NOTHING",
                (run, boot_id, offsets[0].from_us + offsets[0].wall_us, self._clock.wall_us()))
            if done.rowcount:
                await db.executemany("INSERT OR REPLACE INTO offset (run, from_us, wall_offset_us) VALUES (?,?,?)",
                                     [(run, one.from_us, one.wall_us) for one in offsets])

    async def runs(self) -> dict[int, bool]:
        """All runs, and whether they were recovered."""
        return {row["id"]: row["recovered_at"] is not None
                for row in await self._read("SELECT id, recovered_at FROM run")}

    async def found_footage(self, count: int) -> list[Segment]:
        """The oldest segments of recovered runs that no film ever touched."""
        return await self._values(
            segment_of, "SELECT segment.* FROM segment JOIN run ON run.id = segment.run WHERE recovered_at IS NOT NULL"
            f" AND doomed = 0 AND NOT {TOUCHED} ORDER BY run.id, start_us LIMIT ?", HOLD_US, HOLD_US, count)
