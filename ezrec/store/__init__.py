"""The store: EZREC's memory in one SQLite file, and the only SQL.

One connection, one transaction at a time, every commit durable (WAL, synchronous=FULL). Methods take and give frozen
values of the domain. Commands that run beside the recorder open the same file; they never migrate it.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import aiosqlite

from ezrec.domain import stages
from ezrec.domain.booking import Booking
from ezrec.domain.errors import IllegalStep
from ezrec.domain.film import ChunkReport, Film, Rung
from ezrec.domain.planning import Chunk
from ezrec.domain.stages import FAILED, STATUS_WORDS, UPLOADING, Stage
from ezrec.domain.timeline import HOLD_US, Offset, Segment, Span
from ezrec.store.database import VERSION, StoreMissing
from ezrec.store.outbox import OutboxStore
from ezrec.store.rows import (
    Backlog,
    ChunkRow,
    Event,
    Message,
    PartRow,
    booking_of,
    chunk_of,
    event_of,
    film_of,
    part_of,
    segment_of,
)

__all__ = ["VERSION", "Store", "StoreMissing"]

FILM_COLUMNS = frozenset({"generation", "starts_at", "ends_at", "recipe", "object_key", "upload_id", "url", "bytes",
                          "sha256", "attempts", "retry_at", "parked_step", "parked_reason", "certificate"})


class Store(OutboxStore):
    """All durable state. Made with `Store.open`."""

    # ---- bookings

    async def bookings(self, source: str | None = None) -> list[Booking]:
        """All known bookings, by start."""
        where, values = ("WHERE source = ?", (source,)) if source else ("", ())
        return [booking_of(row) for row in await self._read(
            f"SELECT id, source, starts_at, ends_at, status, row FROM booking {where} ORDER BY starts_at, id", *values)]

    async def put_booking(self, booking: Booking) -> bool:
        """Add or change a booking; False (and nothing changed) if its id belongs to another source."""
        row = json.dumps(booking.row, sort_keys=True)
        if await self._read("SELECT 1 FROM booking WHERE (id, source, starts_at, ends_at, status, row) = (?,?,?,?,?,?)",
                            booking.id, booking.source, booking.starts_at, booking.ends_at, booking.status, row):
            return True  # as it was: nothing to write, and no disk to wait for
        async with self._transaction() as db:
            done = await db.execute(
                "INSERT INTO booking (id, source, starts_at, ends_at, status, row, seen_at) VALUES (?,?,?,?,?,?,?)"
                " ON CONFLICT (id) DO UPDATE SET starts_at = excluded.starts_at, ends_at = excluded.ends_at,"
                " status = excluded.status, row = excluded.row, seen_at = excluded.seen_at"
                " WHERE booking.source = excluded.source",
                (booking.id, booking.source, booking.starts_at, booking.ends_at, booking.status, row,
                 self._clock.wall_us()))
            return done.rowcount > 0

    async def drop_booking(self, booking_id: str, source: str) -> None:
        """Forget a booking that its source no longer holds."""
        await self._do("DELETE FROM booking WHERE id = ? AND source = ?", booking_id, source)

    # ---- films

    async def films(self, *wanted: Stage) -> list[Film]:
        """All films, or those in one of the stages, oldest window first."""
        marks = ",".join("?" * len(wanted))
        where = f"WHERE stage IN ({marks})" if wanted else ""
        return await self._values(film_of, f"SELECT * FROM film {where} ORDER BY starts_at, booking_id", *wanted)

    async def backlog(self) -> Backlog:
        """How much is left to do; looks at no film that is at its end, so it may be asked every few seconds."""
        left = [stage for stage in Stage if stage not in (Stage.CLEANED, Stage.CANCELLED, Stage.MISSED)]
        found = {what: rest for what, *rest in await self._read(
            "SELECT stage, count(*), count(parked_step), max(parked_reason) FROM film"
            f" WHERE stage IN ({','.join('?' * len(left))}) GROUP BY stage UNION ALL"
            " SELECT '', count(*), count(parked_reason), max(parked_reason) FROM outbox", *left)}
        messages, refused, why_refused = found.pop("")
        why = next((why for _, _, why in found.values() if why), why_refused)
        return Backlog({Stage(stage): count for stage, (count, _, _) in found.items()},
                       sum(parked for _, parked, _ in found.values()), messages, refused, why)

    async def film(self, booking_id: str) -> Film | None:
        """The film of a booking."""
        rows = await self._read("SELECT * FROM film WHERE booking_id = ?", booking_id)
        return film_of(rows[0]) if rows else None

    async def add_film(self, booking_id: str, recording_id: str, starts_at: int, ends_at: int) -> None:
        """A film for a booking, in stage `booked`; harmless if it is there."""
        async with self._transaction() as db:
            done = await db.execute(
                "INSERT INTO film (booking_id, recording_id, stage, starts_at, ends_at, changed_at)"
                " VALUES (?,?,?,?,?,?) ON CONFLICT (booking_id) DO NOTHING",
                (booking_id, recording_id, Stage.BOOKED, starts_at, ends_at, self._clock.wall_us()))
            if done.rowcount:
                await self._tell(db, booking_id, "booked", {"starts_at": starts_at, "ends_at": ends_at})

    async def drop_film(self, booking_id: str) -> bool:
        """Forget a film that nothing was recorded for; False if it is past `booked`."""
        async with self._transaction() as db:
            done = await db.execute("DELETE FROM film WHERE booking_id = ? AND stage = ?", (booking_id, Stage.BOOKED))
            if done.rowcount:
                await self._tell(db, booking_id, "withdrawn", {})
            return done.rowcount > 0

    async def step(self, booking_id: str, to: Stage, as_read: Film | None = None, **columns: object) -> Film:
        """The gate: take a film one step of the stage table, with the columns that go with it and an event.

        A step that was already taken is confirmed (its columns stay as they are); attempts and retry start anew, what
        is parked stays so. With `as_read` nothing happens to a film whose stage or window is no longer that.

        Raises:
            IllegalStep: the table does not hold the step; nothing was changed.
        """
        async with self._transaction() as db:
            film = await self._film_in(booking_id)
            changed = as_read is not None and (film.stage, film.starts_at, film.ends_at) != (
                as_read.stage, as_read.starts_at, as_read.ends_at)
            if not changed:
                await self._step(db, film, to, columns)
            return await self._film_in(booking_id)

    async def _step(self, db: aiosqlite.Connection, film: Film, to: Stage, columns: dict[str, Any]) -> None:
        """Take a step with all that goes with it; a step that was already taken is confirmed."""
        if film.stage is to:
            return
        stages.step(film.stage, to)
        await self._set(db, film.booking_id, {"attempts": 0, "retry_at": None} | columns)
        await db.execute("UPDATE film SET stage = ?, changed_at = ? WHERE booking_id = ?",
                         (to, self._clock.wall_us(), film.booking_id))
        await self._tell(db, film.booking_id, "stage", {"from": film.stage, "to": to})
        if to in STATUS_WORDS and not film.parked_step:  # one that is parked is `failed` until it is published
            reason = "nothing was recorded in the window" if to is Stage.MISSED else None
            await self._post_status(db, film.booking_id, STATUS_WORDS[to], reason)
        if to is Stage.CANCELLED:
            await self._forget_upload(db, film)

    async def update_film(self, booking_id: str, event: str | None = None, **columns: object) -> Film:
        """Set columns of a film that are not its stage; with `event`, tell of it in the film's story."""
        async with self._transaction() as db:
            await self._set(db, booking_id, columns)
            if event:
                detail = {key: value for key, value in columns.items() if key not in ("recipe", "certificate")}
                await self._tell(db, booking_id, event, detail)
            return await self._film_in(booking_id)

    async def park(self, booking_id: str, step: str, reason: str) -> None:
        """Stop trying one step of a film until a person says so; its booking's owner is told."""
        async with self._transaction() as db:
            await self._park(db, booking_id, step, reason)

    async def _park(self, db: aiosqlite.Connection, booking_id: str, step: str, reason: str) -> None:
        await self._set(db, booking_id, {"parked_step": step, "parked_reason": reason})
        await self._tell(db, booking_id, "parked", {"parked_step": step, "parked_reason": reason})
        await self._post_status(db, booking_id, FAILED, reason)

    async def retry(self, booking_id: str) -> None:
        """Send a film, and whatever could not be told of it, on its way again."""
        async with self._transaction() as db:
            await self._set(db, booking_id, {"parked_step": None, "parked_reason": None, "attempts": 0,
                                             "retry_at": None})
            await db.execute("UPDATE outbox SET attempts = 0, retry_at = NULL, parked_reason = NULL"
                             " WHERE booking_id = ?", (booking_id,))
            await self._tell(db, booking_id, "retried", {})

    async def move_film(self, booking_id: str, starts_at: int, ends_at: int) -> bool:
        """Move the window of a film that may still change; False (and nothing changed) if it may not."""
        async with self._transaction() as db:
            if (await self._film_in(booking_id)).stage not in stages.CHANGEABLE:
                return False
            window = {"starts_at": starts_at, "ends_at": ends_at}
            await self._set(db, booking_id, window)
            await self._tell(db, booking_id, "moved", window)
            return True

    async def name_upload(self, booking_id: str, generation: int, key: str, upload_id: str | None = None) -> bool:
        """Store a generation's object key, and its upload once it is open.

        False, and the upload is aborted sooner or later, if the film was begun again or called off since.
        """
        async with self._transaction() as db:
            film = await self._film_in(booking_id)
            if film.generation != generation or film.stage not in UPLOADING:
                if upload_id:
                    await self._post_abort(db, booking_id, key, upload_id)
                return False
            await self._set(db, booking_id, {"object_key": key, "upload_id": upload_id})
            return True

    async def forget_upload(self, booking_id: str, generation: int) -> bool:
        """The storage no longer knows a generation's upload: it and its parts are forgotten, the key stays.

        False (and nothing changed) if the film was begun again since.
        """
        async with self._transaction() as db:
            film = await self._film_in(booking_id)
            if film.generation != generation:
                return False
            await db.execute("DELETE FROM part WHERE film = ?", (booking_id,))
            await self._set(db, booking_id, {"upload_id": None})
            return True

    async def next_generation(self, booking_id: str, reason: str, **columns: object) -> Film:
        """Begin the film's next generation: parts, key and upload of the old one are forgotten, chunks are kept.

        The old generation's upload is aborted sooner or later.
        """
        async with self._transaction() as db:
            film = await self._film_in(booking_id)
            if film.stage not in (Stage.RECORDING, Stage.RECORDED):
                raise IllegalStep(f"a film that is {film.stage} is not made again")
            await self._forget_upload(db, film)
            await self._set(db, booking_id, {"generation": film.generation + 1, "object_key": None} | columns)
            await self._tell(db, booking_id, "generation", {"generation": film.generation + 1, "reason": reason})
            return await self._film_in(booking_id)

    async def _forget_upload(self, db: aiosqlite.Connection, film: Film) -> None:
        """Have an unfinished upload aborted; it may be open even if the answer with its id was lost."""
        if film.object_key:
            await self._post_abort(db, film.booking_id, film.object_key, film.upload_id)
        await db.execute("DELETE FROM part WHERE film = ?", (film.booking_id,))
        await self._set(db, film.booking_id, {"upload_id": None})

    # ---- what was told

    async def delivered(self, message: Message) -> None:
        """A message has arrived; a film whose row is in is published."""
        async with self._transaction() as db:
            await self._drop_message(db, message)
            if message.kind == "status":
                await self._tell(db, message.booking_id, "told", {"status": message.body["status"]})
            if message.kind == "video":
                await self._step(db, await self._film_in(message.booking_id), Stage.PUBLISHED, {})

    async def message_refused(self, message: Message, reason: str) -> None:
        """A message was refused for good; a film whose row is refused is parked."""
        async with self._transaction() as db:
            await db.execute("UPDATE outbox SET parked_reason = ? WHERE id = ?", (reason, message.id))
            if message.kind == "video":
                await self._park(db, message.booking_id, "publish", reason)
            else:
                await self._tell(db, message.booking_id, "refused", {"what": message.kind, "reason": reason}
                                 | {key: message.body[key] for key in ("status", "key") if key in message.body})

    async def _film_in(self, booking_id: str) -> Film:
        rows = await self._all("SELECT * FROM film WHERE booking_id = ?", booking_id)
        if not rows:
            raise IllegalStep(f"there is no film of booking {booking_id!r}")
        return film_of(rows[0])

    async def _set(self, db: aiosqlite.Connection, booking_id: str, columns: dict[str, Any]) -> None:
        unknown = columns.keys() - FILM_COLUMNS
        if unknown:
            raise ValueError(f"not columns of a film: {sorted(unknown)}")
        if columns:
            names = ", ".join(f"{name} = ?" for name in columns)
            await db.execute(f"UPDATE film SET {names} WHERE booking_id = ?", (*columns.values(), booking_id))

    # ---- runs, offsets, spans

    async def begin_run(self, boot_id: str, from_us: int, wall_offset_us: int) -> int:
        """A new run with its first offset; returns its id."""
        async with self._transaction() as db:
            done = await db.execute("INSERT INTO run (boot_id, started_at) VALUES (?, ?)",
                                    (boot_id, from_us + wall_offset_us))
            run = int(done.lastrowid or 0)
            await db.execute("INSERT INTO offset VALUES (?, ?, ?)", (run, from_us, wall_offset_us))
            return run

    async def add_offset(self, run: int, offset: Offset) -> None:
        """The wall clock stepped."""
        await self._do("INSERT OR REPLACE INTO offset VALUES (?, ?, ?)", run, offset.from_us, offset.wall_us)

    async def offsets(self, run: int) -> list[Offset]:
        """A run's offsets, oldest first."""
        return [Offset(*row) for row in await self._read(
            "SELECT from_us, wall_offset_us FROM offset WHERE run = ? ORDER BY from_us", run)]

    async def spans(self, booking_id: str) -> list[Span]:
        """A film's window on each run that it touched, in the order of the runs."""
        return [Span(*row) for row in await self._read(
            "SELECT run, start_offset_us, start_us, end_us, anchor_us, reach_from_us, reach_to_us FROM span"
            " WHERE film = ? ORDER BY run", booking_id)]

    async def spans_in(self, *wanted: Stage) -> dict[str, list[Span]]:
        """The spans of all films in one of the stages, by booking, in the order of the runs."""
        marks = ",".join("?" * len(wanted))
        found: dict[str, list[Span]] = {}
        for booking_id, *columns in await self._read(
                "SELECT film, run, start_offset_us, start_us, end_us, anchor_us, reach_from_us, reach_to_us FROM span"
                f" JOIN film ON film.booking_id = span.film WHERE stage IN ({marks}) ORDER BY run", *wanted):
            found.setdefault(booking_id, []).append(Span(*columns))
        return found

    async def put_span(self, booking_id: str, span: Span) -> None:
        """Lay a film onto a run, or move its ends there."""
        await self._do("INSERT OR REPLACE INTO span VALUES (?,?,?,?,?,?,?,?)", booking_id, span.run,
                       span.start_offset_us, span.start_us, span.end_us, span.anchor_us,
                       span.reach_from_us, span.reach_to_us)

    async def drop_spans(self, booking_id: str) -> None:
        """Forget how a film that nothing was recorded for lay on the runs."""
        await self._do("DELETE FROM span WHERE film = ?", booking_id)

    # ---- segments

    async def add_segment(self, segment: Segment) -> list[str]:
        """Write the row of a closed, fsynced segment; booked films that it belongs to begin to be `recording`.

        Returns the booking ids of the films that began.
        """
        async with self._transaction() as db:
            await db.execute(
                "INSERT OR IGNORE INTO segment (camera, run, start_us, end_us, frames, dropped, bytes, path, gaps)"
                " VALUES (?,?,?,?,?,?,?,?,?)",
                (segment.camera, segment.run, segment.start_us, segment.end_us, segment.frames, segment.dropped,
                 segment.bytes, segment.path, json.dumps(segment.gaps)))
            begun = [row[0] for row in await self._all(
                "SELECT film FROM span JOIN film ON film.booking_id = span.film WHERE run = ? AND start_us < ?"
                " AND end_us > ? AND stage = ?", segment.run, segment.end_us, segment.start_us, Stage.BOOKED)]
            for booking_id in begun:
                await db.execute("UPDATE film SET stage = ?, changed_at = ? WHERE booking_id = ?",
                                 (Stage.RECORDING, self._clock.wall_us(), booking_id))
                await self._tell(db, booking_id, "stage", {"from": Stage.BOOKED, "to": Stage.RECORDING})
                await self._post_status(db, booking_id, STATUS_WORDS[Stage.RECORDING], None)
            return begun

    async def segments(self, run: int, from_us: int, to_us: int) -> list[Segment]:
        """The segments of a run that touch [from_us, to_us), by camera and time."""
        return await self._values(
            segment_of, "SELECT * FROM segment WHERE run = ? AND end_us > ? AND start_us < ? AND doomed = 0"
            " ORDER BY camera, start_us", run, from_us, to_us)

    async def has_footage(self, booking_id: str) -> bool:
        """Whether any segment lies in the film's window."""
        return bool(await self._read(
            "SELECT 1 FROM span JOIN segment ON segment.run = span.run AND segment.start_us < span.end_us"
            " AND segment.end_us > span.start_us WHERE span.film = ? LIMIT 1", booking_id))

    async def segment_paths(self) -> set[str]:
        """The files of all segments, doomed ones included."""
        return {row[0] for row in await self._read("SELECT path FROM segment")}

    async def unneeded_segments(self, before: Sequence[tuple[int, int]]) -> list[Segment]:
        """Segments that no film which is not cleaned ever touched, and that end before their run's limit.

        What lies within `HOLD_US` of a window touches it: film making looks that far for its nearest frames.
        `before` holds (run, µs) for runs that still record; other runs have no limit.
        """
        limits = dict(before)
        found = await self._values(
            segment_of, "SELECT * FROM segment WHERE doomed = 0 AND NOT EXISTS (SELECT 1 FROM span JOIN film"
            " ON film.booking_id = span.film WHERE span.run = segment.run AND span.reach_from_us - ? < segment.end_us"
            " AND span.reach_to_us + ? > segment.start_us AND film.stage != ?)", HOLD_US, HOLD_US, Stage.CLEANED)
        return [one for one in found if one.run not in limits or one.end_us < limits[one.run]]

    async def doom(self, segments: Iterable[Segment]) -> None:
        """Mark segments whose files are about to be deleted."""
        async with self._transaction() as db:
            await db.executemany("UPDATE segment SET doomed = 1 WHERE path = ?", [(one.path,) for one in segments])

    async def doomed(self) -> list[str]:
        """The paths of segments that were marked and are not gone yet."""
        return [row[0] for row in await self._read("SELECT path FROM segment WHERE doomed = 1")]

    async def drop_doomed(self, paths: Iterable[str]) -> None:
        """Drop the rows of marked segments whose files are gone."""
        async with self._transaction() as db:
            await db.executemany("DELETE FROM segment WHERE path = ? AND doomed = 1", [(path,) for path in paths])

    # ---- chunks and parts

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

    async def parts(self, booking_id: str, generation: int) -> list[PartRow]:
        """The parts of a film's generation that the storage confirmed, by number."""
        return [part_of(row) for row in await self._read(
            "SELECT number, offset, bytes, md5, sha256 FROM part WHERE film = ? AND generation = ? ORDER BY number",
            booking_id, generation)]

    async def put_part(self, booking_id: str, generation: int, part: PartRow) -> None:
        """The storage confirmed a part."""
        await self._do("INSERT OR REPLACE INTO part VALUES (?,?,?,?,?,?,?)", booking_id, generation, part.number,
                       part.offset, part.bytes, part.md5, part.sha256)

    # ---- the local videos table, events

    async def put_video(self, video: dict[str, object]) -> None:
        """The row of a published film; the same booking again changes nothing."""
        await self._do("INSERT INTO video (booking_id, recording_id, row) VALUES (?,?,?) ON CONFLICT DO NOTHING",
                       video["booking_id"], video["recording_id"], json.dumps(video, sort_keys=True))

    async def videos(self) -> list[dict[str, Any]]:
        """All published films' rows."""
        return [json.loads(row[0]) for row in await self._read("SELECT row FROM video ORDER BY booking_id")]

    async def tell(self, booking_id: str | None, kind: str, **detail: object) -> None:
        """Add to a film's story."""
        async with self._transaction() as db:
            await self._tell(db, booking_id, kind, detail)

    async def tell_once(self, booking_id: str, kind: str, **detail: object) -> None:
        """Add to a film's story unless it says the same already."""
        async with self._transaction() as db:
            known = await self._all("SELECT 1 FROM event WHERE booking_id = ? AND kind = ? AND detail = ? LIMIT 1",
                                   booking_id, kind, json.dumps(detail, sort_keys=True))
            if not known:
                await self._tell(db, booking_id, kind, detail)

    async def _tell(self, db: aiosqlite.Connection, booking_id: str | None, kind: str, detail: dict[str, Any]) -> None:
        await db.execute("INSERT INTO event (at, booking_id, kind, detail) VALUES (?,?,?,?)",
                         (self._clock.wall_us(), booking_id, kind, json.dumps(detail, sort_keys=True)))

    async def events(self, booking_id: str) -> list[Event]:
        """A film's story, oldest first."""
        return [event_of(row) for row in await self._read(
            "SELECT at, kind, detail FROM event WHERE booking_id = ? ORDER BY id", booking_id)]
