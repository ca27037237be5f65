"""Alerts, what has still to be sent to people, and what the recorder's own checks found.

What is to be sent is written in the transaction of the alert that it tells of, and dropped when it was taken.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiosqlite

from ezrec.domain.alerts import Alert, AlertKind, Changes
from ezrec.store.database import Database
from ezrec.store.rows import Row, reader

MOST_NOTICES = 500
"""So many wait at most; then the oldest go: after a month without network nobody reads thousands."""


@dataclass(frozen=True)
class Notice:
    """Something to be sent. `id` stays the same however often it is sent."""

    id: str
    channel: str  # webhook or mail
    recipient: str
    body: Mapping[str, Any]
    attempts: int = 0
    retry_at: int | None = None  # UTC µs
    parked_reason: str | None = None


@dataclass(frozen=True)
class Checkup:
    """A check that the recorder had run, and what was not fine."""

    at: int  # UTC µs
    problems: tuple[str, ...]


class AlertTable(Database):
    """Alerts and notices of an open store."""

    async def alerts(self, since_us: int | None = None) -> list[Alert]:
        """The alerts under way, told or not; with `since_us` (UTC µs) those that were told and over since then, too."""
        where = "over_at IS NULL" + ("" if since_us is None else " OR (over_at >= ? AND told_at IS NOT NULL)")
        known = ", ".join(f"'{kind}'" for kind in AlertKind)  # a newer EZREC may have left others
        return await self._values(alert_of, f"SELECT * FROM alert WHERE kind IN ({known}) AND ({where})"
                                  " ORDER BY since_at, id", *(() if since_us is None else (since_us,)))

    async def change_alerts(self, changes: Changes, notices: Iterable[Notice], before_us: int) -> None:
        """What a look came to, with what is to be sent of it; alerts over before `before_us` are forgotten."""
        async with self._transaction() as db:
            for alert in (*changes.begun, *changes.over, *changes.seen):
                values = (alert.kind, alert.about, alert.text, alert.urgency, alert.since_at, alert.told_at,
                          alert.over_at)
                if alert.id:
                    await db.execute("UPDATE alert SET kind = ?, about = ?, text = ?, urgency = ?, since_at = ?,"
                                     " told_at = ?, over_at = ? WHERE id = ?", (*values, alert.id))
                else:
                    await db.execute("INSERT INTO alert (kind, about, text, urgency, since_at, told_at, over_at)"
                                     " VALUES (?,?,?,?,?,?,?)", values)
            await db.executemany("DELETE FROM alert WHERE id = ?", [(alert.id,) for alert in changes.forgotten])
            await db.execute("DELETE FROM alert WHERE over_at < ?", (before_us,))
            for notice in notices:
                await self._post_notice(db, notice)

    async def post_notice(self, notice: Notice) -> None:
        """Have something sent; harmless if one of its id waits already."""
        async with self._transaction() as db:
            await self._post_notice(db, notice)

    async def _post_notice(self, db: aiosqlite.Connection, notice: Notice) -> None:
        await db.execute("INSERT INTO notice (id, channel, recipient, body) VALUES (?,?,?,?) ON CONFLICT DO NOTHING",
                         (notice.id, notice.channel, notice.recipient, json.dumps(notice.body, sort_keys=True)))
        await db.execute("DELETE FROM notice WHERE number <= (SELECT max(number) FROM notice) - ?", (MOST_NOTICES,))

    async def notice_heads(self) -> list[Notice]:
        """What is to be sent next to each recipient, oldest first."""
        return await self._values(
            notice_of, "SELECT * FROM notice WHERE number IN (SELECT min(number) FROM notice"
            " WHERE parked_reason IS NULL GROUP BY channel, recipient) ORDER BY number")

    async def notices(self) -> list[Notice]:
        """All that has still to be sent, and what was refused."""
        return await self._values(notice_of, "SELECT * FROM notice ORDER BY number")

    async def notice_sent(self, notice_id: str) -> None:
        """It was taken."""
        await self._do("DELETE FROM notice WHERE id = ?", notice_id)

    async def notice_failed(self, notice_id: str, attempts: int, retry_at: int | None, parked: str | None) -> None:
        """It was not taken: how often by now, and when it is tried again (UTC µs), or why it is not."""
        await self._do("UPDATE notice SET attempts = ?, retry_at = ?, parked_reason = ? WHERE id = ?",
                       attempts, retry_at, parked, notice_id)

    async def put_checkup(self, checkup: Checkup, keep: int = 60) -> None:
        """What a check of the recorder's own found; the newest `keep` are kept, and none that a wrong clock has put
        behind it.
        """
        async with self._transaction() as db:
            await db.execute("DELETE FROM checkup WHERE at > ?", (checkup.at,))
            await db.execute("INSERT OR REPLACE INTO checkup (at, problems) VALUES (?, ?)",
                             (checkup.at, json.dumps(checkup.problems)))
            await db.execute("DELETE FROM checkup WHERE at NOT IN (SELECT at FROM checkup ORDER BY at DESC LIMIT ?)",
                             (keep,))

    async def newest_checkup(self) -> Checkup | None:
        """The last check that the recorder had run."""
        found: Sequence[Checkup] = await self._values(
            checkup_of, "SELECT * FROM checkup ORDER BY at DESC LIMIT 1")
        return found[0] if found else None


@reader
def alert_of(row: Row) -> Alert:
    """An alert from its row."""
    return Alert(AlertKind(row["kind"]), row["about"], row["text"], row["urgency"], row["since_at"], row["told_at"],
                 row["over_at"], row["id"])


@reader
def notice_of(row: Row) -> Notice:
    """A notice from its row."""
    return Notice(row["id"], row["channel"], row["recipient"], json.loads(row["body"]), row["attempts"],
                  row["retry_at"], row["parked_reason"])


@reader
def checkup_of(row: Row) -> Checkup:
    """A check from its row."""
    return Checkup(row["at"], tuple(json.loads(row["problems"])))
