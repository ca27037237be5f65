"""The outbox: what has still to be reported to the cloud. A message is written in the transaction of the fact that it
reports.

A booking's messages are delivered in the order of their ids. One that was refused steps aside: it is parked with its
reason, and waits for a person, or for a time when it is tried again. A status that a later one makes pointless is
dropped.
"""

import json
from collections.abc import Collection

import aiosqlite

from ezrec.domain import messages
from ezrec.domain.messages import Body, StatusReport, UploadAbort, Video
from ezrec.domain.stages import FAILED, Stage
from ezrec.store.database import Database
from ezrec.store.rows import Message, message_of

_COLUMNS = "id, booking_id, kind, body, attempts, retry_at, parked_reason"


class OutboxTable(Database):
    """The outbox of an open store."""

    async def outbox(self, booking_id: str | None = None) -> list[Message]:
        """All messages, or a booking's, oldest first."""
        where, values = ("WHERE booking_id = ?", (booking_id,)) if booking_id else ("", ())
        return await self._values(message_of, f"SELECT {_COLUMNS} FROM outbox {where} ORDER BY id", *values)

    async def outbox_heads(self, apart: Collection[str] = ()) -> list[Message]:
        """The next message of each booking, and those that were refused and are tried again anyhow, oldest first.

        Kinds that stand `apart` go elsewhere than the others: they wait only for their own kind.
        """
        kinds = sorted(apart)
        marks = ",".join("?" * len(kinds))
        return await self._values(
            message_of, f"SELECT {_COLUMNS} FROM outbox WHERE id IN (SELECT min(id) FROM outbox"
            f" WHERE parked_reason IS NULL GROUP BY booking_id, CASE WHEN kind IN ({marks}) THEN kind END)"
            " OR (parked_reason IS NOT NULL AND retry_at IS NOT NULL) ORDER BY id", *kinds)

    async def message_failed(self, message: Message, attempts: int, retry_at: int) -> None:
        """A message was not delivered: how often by now, and when it will be tried again (UTC µs)."""
        await self._do("UPDATE outbox SET attempts = ?, retry_at = ? WHERE id = ?", attempts, retry_at, message.id)

    async def post_video(self, booking_id: str, video: Video) -> None:
        """Have a film's row written; harmless if that waits already, or has just been confirmed."""
        async with self._transaction() as db:
            if not await self._all("SELECT 1 FROM outbox WHERE booking_id = ? AND kind = 'video' UNION ALL"
                                   " SELECT 1 FROM film WHERE booking_id = ? AND stage IN (?, ?)",
                                   booking_id, booking_id, Stage.PUBLISHED, Stage.CLEANED):
                await self._post(db, booking_id, video)

    async def _post(self, db: aiosqlite.Connection, booking_id: str, body: Body) -> None:
        await db.execute("INSERT INTO outbox (booking_id, kind, body) VALUES (?,?,?)",
                         (booking_id, body.kind, json.dumps(messages.to_json(body), sort_keys=True)))

    async def _post_status(self, db: aiosqlite.Connection, booking_id: str, status: str, reason: str | None) -> None:
        """Report a status to a booking's owner, if the booking's source wants reports.

        Of what was over when the store was lost nobody knows what became of it: nothing is reported as failed.
        """
        if await self._all("SELECT 1 FROM booking WHERE id = ? AND reported AND NOT (? = ? AND EXISTS (SELECT 1 FROM"
                           " film JOIN recovery ON recovery.at >= film.ends_at WHERE film.booking_id = booking.id))",
                           booking_id, status, FAILED):
            await self._post(db, booking_id, StatusReport(status, reason))

    async def _post_abort(self, db: aiosqlite.Connection, booking_id: str, key: str, upload_id: str | None) -> None:
        """Have an unfinished upload forgotten; without an id, whatever is unfinished at exactly that key."""
        await self._post(db, booking_id, UploadAbort(key, upload_id or ""))

    async def _drop_message(self, db: aiosqlite.Connection, message: Message) -> None:
        """Drop a delivered message, and a booking's older parked statuses: the newer one replaces them."""
        await db.execute("DELETE FROM outbox WHERE id = ?", (message.id,))
        if message.kind == "status":
            await db.execute("DELETE FROM outbox WHERE booking_id = ? AND kind = 'status' AND id < ?",
                             (message.booking_id, message.id))
