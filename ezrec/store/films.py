"""The films: how far each is, what keeps it from going on, and the gate that takes it from stage to stage."""

import json
from collections.abc import Mapping
from typing import Any, TypeVar

import aiosqlite

from ezrec import logs
from ezrec.domain import stages
from ezrec.domain.errors import IllegalStep
from ezrec.domain.events import (
    Booked,
    FilmEvent,
    MessageRefused,
    Moved,
    Parked,
    Retried,
    StageChanged,
    StatusDelivered,
    Withdrawn,
)
from ezrec.domain.film import Film
from ezrec.domain.messages import StatusReport, UploadAbort, Video
from ezrec.domain.stages import FAILED, STATUS_WORDS, Stage
from ezrec.store.outbox import OutboxTable
from ezrec.store.rows import Backlog, Message, Progress, Row, film_of, progress_of
from ezrec.store.story import StoryTable

log = logs.get("store")

_V = TypeVar("_V")

COLUMNS = frozenset({"generation", "starts_at", "ends_at", "recipe", "object_key", "upload_id", "url", "bytes",
                     "sha256", "attempts", "retry_at", "parked_step", "parked_reason", "also_parked", "passing",
                     "certificate", "sums"})
"""What may be set without a step."""

_WORK_LEFT = ", ".join(f"'{stage}'" for stage in Stage if stage not in (
    Stage.BOOKED, Stage.CLEANED, Stage.CANCELLED, Stage.MISSED))
_NEWEST = "SELECT * FROM (SELECT rowid FROM film WHERE starts_at {})"
_PROGRESS = ("SELECT film.*, count(chunk.number) AS planned, count(chunk.number) FILTER (WHERE state = 'rendered')"
             " AS rendered, coalesce(sum(ticks) FILTER (WHERE state = 'rendered'), 0) AS rendered_ticks"
             " FROM film LEFT JOIN chunk ON chunk.film = film.booking_id AND chunk.generation = film.generation"
             " WHERE {where} GROUP BY booking_id ORDER BY starts_at, booking_id")


class FilmTable(OutboxTable, StoryTable):
    """The films of an open store."""

    async def films(self, *wanted: Stage) -> list[Film]:
        """All films, or those in one of the stages, oldest window first."""
        marks = ",".join("?" * len(wanted))
        where = f"WHERE stage IN ({marks})" if wanted else ""
        return await self._values(film_of, f"SELECT * FROM film {where} ORDER BY starts_at, booking_id", *wanted)

    async def films_with_progress(self, booking_id: str | None = None,
                                  since_us: int = 0) -> list[tuple[Film, Progress]]:
        """One booking's film, or all whose window ends at `since_us` (UTC µs) or later, oldest window first, each with
        the progress of its generation.
        """
        where, value = ("booking_id = ?", booking_id) if booking_id else ("ends_at >= ?", since_us)
        return await self._values(_with_progress, _PROGRESS.format(where=where), value)

    async def recent_films(self, now_us: int, before: int, after: int) -> tuple[list[tuple[Film, Progress]], int]:
        """The films around `now_us` (UTC µs), as `films_with_progress`, and how many there are in all.

        They are the last `before` that have begun, the next `after` that are booked, and all with work left.
        """
        async with self.snapshot() as now:
            films = await now._values(_with_progress, _PROGRESS.format(  # noqa: SLF001 - a store like this one
                where=f"film.rowid IN ({_NEWEST.format('<= ?1 ORDER BY starts_at DESC LIMIT ?2')} UNION"
                      f" {_NEWEST.format('> ?1 ORDER BY starts_at LIMIT ?3')}"
                      f" UNION SELECT rowid FROM film WHERE stage IN ({_WORK_LEFT}))"), now_us, before, after)
            return films, int((await now._read("SELECT count(*) FROM film"))[0][0])  # noqa: SLF001

    async def backlog(self) -> Backlog:
        """How much is left to do; looks at no film that is at its end, so it may be asked every few seconds."""
        found = {what: rest for what, *rest in await self._read(  # what is only booked is not parked: it is counted
            "SELECT stage, count(*), count(parked_step), max(parked_reason) FROM film"
            f" WHERE stage IN ({_WORK_LEFT}) GROUP BY stage UNION ALL"
            " SELECT stage, count(*), 0, NULL FROM film WHERE stage = ? GROUP BY stage UNION ALL"
            " SELECT '', count(*), count(parked_reason), max(parked_reason) FROM outbox", Stage.BOOKED)}
        messages, refused, why_refused = found.pop("")
        why = next((why for _, _, why in found.values() if why), why_refused)
        return Backlog({Stage(stage): count for stage, (count, _, _) in found.items()},
                       sum(parked for _, parked, _ in found.values()), messages, refused, why)

    async def film(self, booking_id: str) -> Film | None:
        """The film of a booking."""
        films = await self._values(film_of, "SELECT * FROM film WHERE booking_id = ?", booking_id)
        return films[0] if films else None

    async def add_film(self, booking_id: str, recording_id: str, starts_at: int, ends_at: int) -> None:
        """A film for a booking, in stage `booked`; harmless if it is there."""
        async with self._transaction() as db:
            done = await db.execute(
                "INSERT INTO film (booking_id, recording_id, stage, starts_at, ends_at, changed_at)"
                " VALUES (?,?,?,?,?,?) ON CONFLICT (booking_id) DO NOTHING",
                (booking_id, recording_id, Stage.BOOKED, starts_at, ends_at, self._clock.wall_us()))
            if done.rowcount:
                await self._record(db, booking_id, Booked(starts_at, ends_at))

    async def drop_film(self, booking_id: str) -> bool:
        """Forget a film that nothing was recorded for; False if it is past `booked`."""
        async with self._transaction() as db:
            done = await db.execute("DELETE FROM film WHERE booking_id = ? AND stage = ?", (booking_id, Stage.BOOKED))
            if done.rowcount:
                await self._record(db, booking_id, Withdrawn())
            return done.rowcount > 0

    async def step(self, booking_id: str, to: Stage, as_read: Film | None = None, **columns: object) -> Film:
        """The gate: take a film one step of the stage table, with the columns that go with it and an event.

        A step that was already taken is confirmed (its columns stay as they are); attempts and retry start anew, what
        is parked stays so. With `as_read` nothing happens to a film whose stage or window is no longer that.

        Raises:
            IllegalStep: the table does not hold the step; nothing was changed.
        """
        log.debug("taking step", booking=booking_id, to=to)
        async with self._transaction() as db:
            film = await self._film_in(booking_id)
            changed = as_read is not None and (film.stage, film.starts_at, film.ends_at) != (
                as_read.stage, as_read.starts_at, as_read.ends_at)
            if not changed:
                await self._step(db, film, to, columns)
            film = await self._film_in(booking_id)
        if film.stage is to:
            log.debug("step taken", booking=booking_id, to=to)
        return film

    async def _step(self, db: aiosqlite.Connection, film: Film, to: Stage, columns: dict[str, Any]) -> None:
        """Take a step with all that goes with it; a step that was already taken is confirmed."""
        if film.stage is to:
            return
        stages.step(film.stage, to)
        await self._set(db, film.booking_id, {"attempts": 0, "retry_at": None} | columns)
        await db.execute("UPDATE film SET stage = ?, changed_at = ? WHERE booking_id = ?",
                         (to, self._clock.wall_us(), film.booking_id))
        await self._record(db, film.booking_id, StageChanged(film.stage, to))
        # One that is parked is `failed` until it is published; one that is made again was `completed` before.
        if to in STATUS_WORDS and not film.parked and (
                to not in (Stage.RECORDED, Stage.RENDERED)
                or stages.says_more(STATUS_WORDS[to], await self._told(film.booking_id))):
            reason = "nothing was recorded in the window" if to is Stage.MISSED else None
            await self._post_status(db, film.booking_id, STATUS_WORDS[to], reason)
        if to is Stage.CANCELLED:
            await self._forget_upload(db, film)
        if to is Stage.CLEANED:  # thousands for each film, and of no use any more
            await db.execute("DELETE FROM part WHERE film = ?", (film.booking_id,))

    async def _told(self, booking_id: str) -> str | None:
        """The status that the booking's owner was told last, or will have been told once the outbox is empty."""
        for sql in ("SELECT body FROM outbox WHERE booking_id = ? AND kind = 'status' ORDER BY id DESC LIMIT 1",
                    "SELECT detail FROM event WHERE booking_id = ? AND kind = 'told' ORDER BY id DESC LIMIT 1"):
            if found := await self._all(sql, booking_id):
                return str(json.loads(found[0][0])["status"])
        return None

    async def update_film(self, booking_id: str, event: FilmEvent | None = None, **columns: object) -> Film:
        """Set columns of a film that are not its stage; with `event`, an entry of its story."""
        async with self._transaction() as db:
            await self._set(db, booking_id, columns)
            if event:
                await self._record(db, booking_id, event)
            return await self._film_in(booking_id)

    async def park(self, booking_id: str, step: str, reason: str, retry_at: int | None = None) -> None:
        """Stop trying one step of a film until a person says so; its booking's owner is told, once.

        `retry_at`: it will be tried again by itself, and when (UTC µs).
        """
        async with self._transaction() as db:
            await self._park(db, booking_id, step, reason, retry_at)

    async def unpark(self, booking_id: str, step: str) -> None:
        """A step that was parked worked by itself; harmless if it is not parked."""
        async with self._transaction() as db:
            await self._unpark(db, await self._film_in(booking_id), step)

    async def _unpark(self, db: aiosqlite.Connection, film: Film, step: str) -> None:
        if step not in film.parked:
            return
        left = _without(film.parked, step)
        first = next(iter(left), None)
        await self._set(db, film.booking_id, {
            "parked_step": first, "parked_reason": left.pop(first) if first else None,
            "also_parked": _json(left), "passing": _json(_without(film.passing, step))})

    async def _park(self, db: aiosqlite.Connection, booking_id: str, step: str, reason: str,
                    retry_at: int | None = None) -> None:
        film = await self._film_in(booking_id)
        passing = _without(film.passing, step) | ({} if retry_at is None else {step: retry_at})
        if passing != film.passing:
            await self._set(db, booking_id, {"passing": _json(passing)})
        if step in film.parked:
            return
        await self._set(db, booking_id,
                        {"also_parked": json.dumps({**film.also_parked, step: reason})} if film.parked_step else
                        {"parked_step": step, "parked_reason": reason})
        await self._record(db, booking_id, Parked(step, reason))
        await self._post_status(db, booking_id, FAILED, reason)

    async def retry(self, booking_id: str, to: Stage | None = None) -> None:
        """Send a film, and whatever could not be reported of it, on its way again; `to`: with a step of the table.

        Raises:
            IllegalStep: the table does not hold that step; nothing was changed.
        """
        async with self._transaction() as db:
            if to is not None:
                await self._step(db, await self._film_in(booking_id), to, {})
            await self._set(db, booking_id, {"parked_step": None, "parked_reason": None, "also_parked": None,
                                             "passing": None, "attempts": 0, "retry_at": None})
            await db.execute("UPDATE outbox SET attempts = 0, retry_at = NULL, parked_reason = NULL"
                             " WHERE booking_id = ?", (booking_id,))
            await self._record(db, booking_id, Retried())

    async def move_film(self, booking_id: str, starts_at: int, ends_at: int) -> bool:
        """Move the window of a film that may still change; False (and nothing changed) if it may not."""
        async with self._transaction() as db:
            if (await self._film_in(booking_id)).stage not in stages.CHANGEABLE:
                return False
            window = {"starts_at": starts_at, "ends_at": ends_at}
            await self._set(db, booking_id, window)
            await self._record(db, booking_id, Moved(starts_at, ends_at))
            return True

    async def delivered(self, message: Message) -> None:
        """A message has arrived; a film whose row is in is published."""
        publishes = isinstance(message.body, Video)
        if publishes:
            log.debug("taking step", booking=message.booking_id, to=Stage.PUBLISHED)
        async with self._transaction() as db:
            await self._drop_message(db, message)
            if isinstance(message.body, StatusReport):
                await self._record(db, message.booking_id, StatusDelivered(message.body.status))
            if publishes:
                await self._unpark(db, await self._film_in(message.booking_id), "publish")
                await self._step(db, await self._film_in(message.booking_id), Stage.PUBLISHED, {})
        if publishes:
            log.debug("step taken", booking=message.booking_id, to=Stage.PUBLISHED)

    async def message_refused(self, message: Message, reason: str, attempts: int = 0,
                              retry_at: int | None = None) -> None:
        """A message was refused; a film whose row is refused is parked. What was told of it is not told again.

        `retry_at`: it will be tried again by itself, and when (UTC µs).
        """
        async with self._transaction() as db:
            await db.execute("UPDATE outbox SET parked_reason = ?, attempts = ?, retry_at = ? WHERE id = ?",
                             (reason, attempts, retry_at, message.id))
            if message.parked_reason:
                return
            match message.body:
                case Video():
                    await self._park(db, message.booking_id, "publish", reason)
                case StatusReport(status=status):
                    await self._record(db, message.booking_id, MessageRefused(message.kind, reason, status=status))
                case UploadAbort(key=key):
                    await self._record(db, message.booking_id, MessageRefused(message.kind, reason, key=key))

    async def _forget_upload(self, db: aiosqlite.Connection, film: Film) -> None:
        """Have an unfinished upload aborted; it may be open even if the answer with its id was lost."""
        if film.object_key:
            await self._post_abort(db, film.booking_id, film.object_key, film.upload_id)
        await db.execute("DELETE FROM part WHERE film = ?", (film.booking_id,))
        await self._set(db, film.booking_id, {"upload_id": None})

    async def _film_in(self, booking_id: str) -> Film:
        rows = await self._all("SELECT * FROM film WHERE booking_id = ?", booking_id)
        if not rows:
            raise IllegalStep(f"there is no film of booking {booking_id!r}")
        return film_of(rows[0])

    async def _set(self, db: aiosqlite.Connection, booking_id: str, columns: dict[str, Any]) -> None:
        unknown = columns.keys() - COLUMNS
        if unknown:
            raise ValueError(f"not columns of a film: {sorted(unknown)}")
        if columns:
            names = ", ".join(f"{name} = ?" for name in columns)
            await db.execute(f"UPDATE film SET {names} WHERE booking_id = ?", (*columns.values(), booking_id))


def _with_progress(row: Row) -> tuple[Film, Progress]:
    return film_of(row), progress_of(row)


def _without(noted: Mapping[str, _V], step: str) -> dict[str, _V]:
    return {name: value for name, value in noted.items() if name != step}


def _json(noted: Mapping[str, object]) -> str | None:
    return json.dumps(noted) if noted else None
