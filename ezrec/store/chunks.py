"""The chunks that films are rendered in."""

from ezrec.domain.film import ChunkReport, Rung
from ezrec.domain.planning import Chunk
from ezrec.store.database import Database
from ezrec.store.rows import ChunkRow, chunk_of


class ChunkTable(Database):
    """The chunks of an open store."""

    async def chunks(self, booking_id: str, generation: int | None = None) -> list[ChunkRow]:
        """A film's chunks in the order of the film, of one generation or (for old ones to use again) of all."""
        where, values = ("AND generation = ?", (generation,)) if generation else ("", ())
        return await self._values(
            chunk_of, f"SELECT * FROM chunk WHERE film = ? {where} ORDER BY generation, number", booking_id, *values)

    async def plan_chunk(self, booking_id: str, generation: int, chunk: Chunk, start_us: int, path: str) -> None:
        """Write a chunk's row, before it is rendered."""
        await self._do("INSERT INTO chunk (film, generation, number, run, start_us, first_tick, ticks, path)"
                       " VALUES (?,?,?,?,?,?,?,?)", booking_id, generation, chunk.number, chunk.run, start_us,
                       chunk.first_tick, chunk.ticks, path)

    async def chunk_rendered(self, booking_id: str, generation: int, number: int, path: str,
                             report: ChunkReport, rung: Rung) -> None:
        """A chunk's file is closed and fsynced."""
        await self._do("UPDATE chunk SET state = 'rendered', path = ?, bytes = ?, report = ?, fallback = ?"
                       " WHERE film = ? AND generation = ? AND number = ?", path, report.bytes, report.dumps(), rung,
                       booking_id, generation, number)

    async def chunk_failed(self, booking_id: str, generation: int, number: int, rung: Rung, attempts: int) -> None:
        """Where a chunk stands on the fallback ladder after a failure."""
        await self._do("UPDATE chunk SET state = 'planned', fallback = ?, attempts = ?"
                       " WHERE film = ? AND generation = ? AND number = ?",
                       rung, attempts, booking_id, generation, number)

    async def drop_chunks(self, booking_id: str, before_generation: int | None = None) -> None:
        """Forget a film's chunks, of all generations or only of older ones; their files are the caller's."""
        await self._do("DELETE FROM chunk WHERE film = ? AND generation < ?", booking_id,
                       before_generation if before_generation is not None else 1 << 62)
