"""The store's own upkeep, and how much lately was recorded in how much time."""

from contextlib import suppress

from ezrec.domain.clock import SECOND
from ezrec.domain.errors import RetryError
from ezrec.store.database import Database

LATELY = 400  # segments, and films, that tell the bit rate
SPARE_SHARE, SPARE_PAGES = 4, 1000  # a store is packed when a fourth of it, and so many pages, are empty


class UpkeepTable(Database):
    """Upkeep of an open store."""

    async def pack(self) -> bool:
        """Give the room of deleted rows back to the disk if that is worth it; whether it was done.

        Everybody waits meanwhile, and as much room as the store takes is needed beside it.

        Raises:
            RetryError: the disk is full, or another process holds the store.
        """
        empty = int((await self._read("PRAGMA freelist_count"))[0][0])
        pages = int((await self._read("PRAGMA page_count"))[0][0])
        with suppress(RetryError):  # of an SQLite that cannot tell what shortened stories leave empty within pages
            empty += int((await self._read("SELECT coalesce(sum(unused) / max(pgsize), 0) FROM dbstat"))[0][0])
        if empty < SPARE_PAGES or empty * SPARE_SHARE < pages:
            return False
        async with self._turn:
            with self._errors():
                await self._db.execute("VACUUM")
                await self._all("PRAGMA wal_checkpoint(TRUNCATE)")
        return True

    async def recorded_lately(self) -> tuple[float | None, float | None]:
        """Bytes in a second of recording (all cameras together), and in one of films; None: there is nothing yet."""
        cameras = await self._read(
            "SELECT sum(bytes) AS bytes, sum(end_us - start_us) AS us FROM (SELECT * FROM segment WHERE doomed = 0"
            " ORDER BY run DESC, start_us DESC LIMIT ?) GROUP BY camera", LATELY)
        films = await self._read(
            "SELECT sum(bytes) AS bytes, sum(ends_at - starts_at) AS us FROM (SELECT * FROM film WHERE bytes > 0"
            " ORDER BY starts_at DESC LIMIT ?)", LATELY)
        rates = [sum(row["bytes"] * SECOND / row["us"] for row in rows if row["us"]) or None
                 for rows in (cameras, films)]
        return rates[0], rates[1]

    async def oldest_run_at(self) -> int | None:
        """When the oldest run that is known began, UTC µs."""
        found = (await self._read("SELECT min(started_at) AS at FROM run"))[0]["at"]
        return None if found is None else int(found)
