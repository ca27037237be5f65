"""Segments: closed, fsynced files of footage, and their deletion in steps that a crash cannot spoil."""

import json
from collections.abc import Iterable, Mapping, Sequence

from ezrec.domain.events import FilmEvent
from ezrec.domain.stages import Stage
from ezrec.domain.timeline import HOLD_US, Interval, Segment, union
from ezrec.store.films import FilmTable
from ezrec.store.recovered import TOUCHED
from ezrec.store.rows import segment_of

FOR_EVER = 1 << 62  # µs


class SegmentTable(FilmTable):
    """The segments of an open store."""

    async def add_segment(self, *segments: Segment) -> list[str]:
        """Write the rows of closed, fsynced segments; booked films that they belong to begin to be `recording`.

        Returns the booking ids of the films that began.
        """
        async with self._transaction() as db:
            began: list[str] = []
            for segment in segments:
                await db.execute(
                    "INSERT OR IGNORE INTO segment (camera, run, start_us, end_us, frames, dropped, bytes, path, gaps)"
                    " VALUES (?,?,?,?,?,?,?,?,?)",
                    (segment.camera, segment.run, segment.start_us, segment.end_us, segment.frames, segment.dropped,
                     segment.bytes, segment.path, json.dumps(segment.gaps)))
                begun = [row["film"] for row in await self._all(
                    "SELECT film FROM span JOIN film ON film.booking_id = span.film WHERE run = ? AND start_us < ?"
                    " AND end_us > ? AND stage = ?", segment.run, segment.end_us, segment.start_us, Stage.BOOKED)]
                for booking_id in begun:
                    await self._step(db, await self._film_in(booking_id), Stage.RECORDING, {})
                began += begun
            return began

    async def segments(self, run: int, from_us: int, to_us: int) -> list[Segment]:
        """The segments of a run that touch [from_us, to_us), by camera and time."""
        return await self._values(
            segment_of, "SELECT * FROM segment WHERE run = ? AND end_us > ? AND start_us < ? AND doomed = 0"
            " ORDER BY camera, start_us", run, from_us, to_us)

    async def note_gaps(self, booking_id: str, generation: int, gaps: Mapping[str, Sequence[Interval]],
                        told: Sequence[tuple[FilmEvent, FilmEvent | None]], replan_from: int | None) -> None:
        """Write down what cannot be read any more of segments (by their paths), and tell it in a film's story.

        `told` holds entries of the story, each with the older one that it takes the place of, if there is one. With
        `replan_from` the chunks of the film's generation from that number on are forgotten.
        """
        async with self._transaction() as db:
            for path, more in gaps.items():
                for segment in map(segment_of, await self._all("SELECT * FROM segment WHERE path = ?", path)):
                    await db.execute("UPDATE segment SET gaps = ? WHERE path = ?",
                                     (json.dumps(union((*segment.gaps, *more))), path))
            if replan_from is not None:
                await db.execute("DELETE FROM chunk WHERE film = ? AND generation = ? AND number >= ?",
                                 (booking_id, generation, replan_from))
            for event, before in told:
                await self._record(db, booking_id, event, before)

    async def has_footage(self, booking_id: str) -> bool:
        """Whether any segment lies in the film's window."""
        return bool(await self._read(
            "SELECT 1 FROM span JOIN segment ON segment.run = span.run AND segment.start_us < span.end_us"
            " AND segment.end_us > span.start_us WHERE span.film = ? LIMIT 1", booking_id))

    async def segment_paths(self) -> set[str]:
        """The files of all segments, doomed ones included."""
        return {row["path"] for row in await self._read("SELECT path FROM segment")}

    async def unneeded_segments(self, before: Sequence[tuple[int, int]], found_before: int = FOR_EVER) -> list[Segment]:
        """Segments that no film which is not cleaned ever touched, and that end before their run's limit.

        What lies within `HOLD_US` of a window touches it: film making looks that far for its nearest frames.
        `before` holds (run, µs) for runs that still record; other runs have no limit. Footage of a run that was
        recovered at `found_before` (UTC µs) or later stays as long as no film has touched it.
        """
        limits = dict(before)
        found = await self._values(
            segment_of, "WITH live AS MATERIALIZED (SELECT run, reach_from_us - ? AS from_us, reach_to_us + ? AS to_us"
            " FROM film JOIN span ON span.film = film.booking_id WHERE stage != ?)"  # of years of films, the few
            " SELECT segment.* FROM segment JOIN run ON run.id = segment.run WHERE doomed = 0"
            " AND NOT EXISTS (SELECT 1 FROM live WHERE live.run = segment.run AND from_us < end_us"
            " AND to_us > start_us)"
            f" AND (recovered_at IS NULL OR recovered_at < ? OR {TOUCHED})",
            HOLD_US, HOLD_US, Stage.CLEANED, found_before, HOLD_US, HOLD_US)
        return [one for one in found if one.run not in limits or one.end_us < limits[one.run]]

    async def doom(self, segments: Iterable[Segment]) -> None:
        """Mark segments whose files are about to be deleted."""
        async with self._transaction() as db:
            await db.executemany("UPDATE segment SET doomed = 1 WHERE path = ?", [(one.path,) for one in segments])

    async def doomed(self) -> list[str]:
        """The paths of segments that were marked and are not gone yet."""
        return [row["path"] for row in await self._read("SELECT path FROM segment WHERE doomed = 1")]

    async def drop_doomed(self, paths: Iterable[str]) -> None:
        """Drop the rows of marked segments whose files are gone."""
        async with self._transaction() as db:
            await db.executemany("DELETE FROM segment WHERE path = ? AND doomed = 1", [(path,) for path in paths])
