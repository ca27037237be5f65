"""A film's story for people, and the local table of videos."""

import json
from typing import Any

import aiosqlite

from ezrec.domain import events, messages
from ezrec.domain.events import FilmEvent
from ezrec.domain.messages import Video
from ezrec.store.database import Database
from ezrec.store.rows import StoryEntry, entry_of


class StoryTable(Database):
    """Events and videos of an open store."""

    async def record(self, booking_id: str | None, event: FilmEvent) -> None:
        """Add to a film's story."""
        async with self._transaction() as db:
            await self._record(db, booking_id, event)

    async def record_once(self, booking_id: str, event: FilmEvent) -> None:
        """Add to a film's story unless it says the same already."""
        async with self._transaction() as db:
            known = await self._all("SELECT 1 FROM event WHERE booking_id = ? AND kind = ? AND detail = ? LIMIT 1",
                                    booking_id, event.kind, json.dumps(events.to_json(event), sort_keys=True))
            if not known:
                await self._record(db, booking_id, event)

    async def _record(self, db: aiosqlite.Connection, booking_id: str | None, event: FilmEvent,
                      before: FilmEvent | None = None) -> None:
        """Add to a film's story; an entry that takes the place of one of its kind, `before`, keeps that one's time."""
        detail = json.dumps(events.to_json(event), sort_keys=True)
        if before is not None:
            await db.execute("UPDATE event SET detail = ? WHERE booking_id = ? AND kind = ? AND detail = ?",
                             (detail, booking_id, before.kind, json.dumps(events.to_json(before), sort_keys=True)))
            return
        await db.execute("INSERT INTO event (at, booking_id, kind, detail) VALUES (?,?,?,?)",
                         (self._clock.wall_us(), booking_id, event.kind, detail))

    async def events(self, booking_id: str) -> list[StoryEntry]:
        """A film's story, oldest first."""
        return await self._values(
            entry_of, "SELECT at, kind, detail FROM event WHERE booking_id = ? ORDER BY id", booking_id)

    async def put_video(self, video: Video) -> None:
        """The row of a published film; the same booking again changes nothing."""
        await self._do("INSERT INTO video (booking_id, recording_id, row) VALUES (?,?,?) ON CONFLICT DO NOTHING",
                       video.booking_id, video.recording_id, json.dumps(messages.to_json(video), sort_keys=True))

    async def has_video(self, booking_id: str, day: str) -> bool:
        """Whether a film of the booking on this local day was published here."""
        return any(json.loads(row["row"]).get("date", day) == day
                   for row in await self._read("SELECT row FROM video WHERE booking_id = ?", booking_id))

    async def videos(self) -> list[dict[str, Any]]:
        """All published films' rows."""
        return [json.loads(row["row"]) for row in await self._read("SELECT row FROM video ORDER BY booking_id")]
