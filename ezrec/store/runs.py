"""Runs, their clocks' offsets, and the films' windows as they lie on them."""

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from ezrec.domain.stages import Stage
from ezrec.domain.timeline import Offset, Span
from ezrec.store.database import Database
from ezrec.store.rows import offset_of, span_of

_PUT_OFFSET = "INSERT OR REPLACE INTO offset (run, from_us, wall_offset_us) VALUES (?, ?, ?)"
_NEWEST = "SELECT max(seq) FROM sqlite_sequence WHERE name = 'run'"


@dataclass(frozen=True)
class RunLife:
    """When a run of the recorder lived, UTC µs."""

    run: int
    started_at: int
    ended_at: int | None  # None: it lives, or nobody knows
    in_order: bool


class RunTable(Database):
    """The runs of an open store."""

    async def run_ended(self, run: int, at_us: int, *, in_order: bool) -> None:
        """A run is over, and was last alive at `at_us` (UTC µs); what is known already stays."""
        await self._do("INSERT INTO run_end (run, ended_at, in_order) VALUES (?,?,?) ON CONFLICT DO NOTHING",
                       run, at_us, int(in_order))

    async def lives(self, since_us: int) -> list[RunLife]:
        """The runs that began at `since_us` (UTC µs) or later, and the one before them; oldest first."""
        return await self._values(
            lambda row: RunLife(row["id"], row["started_at"], row["ended_at"], bool(row["in_order"])),
            "SELECT id, started_at, ended_at, in_order FROM run LEFT JOIN run_end ON run_end.run = run.id WHERE id >="
            " coalesce((SELECT max(id) FROM run WHERE started_at < ?1), 0) ORDER BY id", since_us)

    async def begin_run(self, boot_id: str, from_us: int, wall_offset_us: int, above: int = 0) -> int:
        """A new run with its first offset; returns its id, larger than any that was given before, and than `above`."""
        async with self._transaction() as db:
            run = _next(await self._all(_NEWEST), above)
            await db.execute("INSERT INTO run (id, boot_id, started_at) VALUES (?, ?, ?)",
                             (run, boot_id, from_us + wall_offset_us))
            await db.execute(_PUT_OFFSET, (run, from_us, wall_offset_us))
            return run

    async def next_run(self, above: int = 0) -> int:
        """The id that `begin_run` will give."""
        return _next(await self._read(_NEWEST), above)

    async def add_offset(self, run: int, offset: Offset) -> None:
        """The wall clock stepped."""
        await self._do(_PUT_OFFSET, run, offset.from_us, offset.wall_us)

    async def offsets(self, run: int) -> list[Offset]:
        """A run's offsets, oldest first."""
        return await self._values(
            offset_of, "SELECT from_us, wall_offset_us FROM offset WHERE run = ? ORDER BY from_us", run)

    async def spans(self, booking_id: str) -> list[Span]:
        """A film's window on each run that it touched, in the order of the runs."""
        return await self._values(span_of, "SELECT * FROM span WHERE film = ? ORDER BY run", booking_id)

    async def spans_in(self, *wanted: Stage) -> dict[str, list[Span]]:
        """The spans of all films in one of the stages, by booking, in the order of the runs."""
        marks = ",".join("?" * len(wanted))
        found: dict[str, list[Span]] = {}
        for film, span in await self._values(
                lambda row: (row["film"], span_of(row)), "SELECT span.* FROM span JOIN film"
                f" ON film.booking_id = span.film WHERE stage IN ({marks}) ORDER BY run", *wanted):
            found.setdefault(film, []).append(span)
        return found

    async def spans_of(self, booking_ids: Iterable[str]) -> dict[str, list[Span]]:
        """The spans of some films, by booking, in the order of the runs; none of a film that lies on no run."""
        found: dict[str, list[Span]] = {}
        asked = json.dumps(list(booking_ids))
        for film, span in await self._values(
                lambda row: (row["film"], span_of(row)),
                "SELECT span.* FROM json_each(?) JOIN span ON span.film = value ORDER BY run", asked):
            found.setdefault(film, []).append(span)
        return found

    async def put_span(self, booking_id: str, span: Span) -> None:
        """Lay a film onto a run, or move its ends there; nothing happens if there is no such film any more."""
        await self._do("INSERT OR REPLACE INTO span (film, run, start_offset_us, start_us, end_us, anchor_us,"
                       " reach_from_us, reach_to_us) SELECT booking_id, ?,?,?,?,?,?,? FROM film WHERE booking_id = ?",
                       span.run, span.start_offset_us, span.start_us, span.end_us, span.anchor_us,
                       span.reach_from_us, span.reach_to_us, booking_id)

    async def drop_spans(self, booking_id: str) -> None:
        """Forget how a film that nothing was recorded for lay on the runs."""
        await self._do("DELETE FROM span WHERE film = ?", booking_id)


def _next(newest: list[sqlite3.Row], above: int) -> int:
    return max(newest[0][0] or 0, above) + 1
