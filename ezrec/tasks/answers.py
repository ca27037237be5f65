"""Answers of bookings' sources: their rows are stored as bookings, and those that are none are told."""

import asyncio
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import NamedTuple
from zoneinfo import ZoneInfo

from ezrec import logs
from ezrec.adapters.bookings import BookingSource
from ezrec.config.sections import BookingsSettings
from ezrec.domain import booking as bookings
from ezrec.domain import naming
from ezrec.domain.booking import RefusedRow
from ezrec.domain.clock import EARLIEST_US, SECOND, Clock
from ezrec.store import Store

SOME = 200  # rows of a long answer that are worked on at a time: all of them would hold the event loop


class _Refused(NamedTuple):
    """A row that is skipped."""

    source: str
    error: str
    booking: str | None = None  # its store id, if it is malformed in nothing

    @property
    def words(self) -> str:
        """What is wrong, and with which row."""
        return f"booking {self.booking!r}: another source has this id" if self.booking else self.error


class Answers:
    """Stores what sources answer; `logged` holds what is said of their rows."""

    def __init__(self, store: Store, clock: Clock, settings: BookingsSettings, zone: ZoneInfo,
                 logged: logs.Troubles) -> None:
        self._store = store
        self._clock = clock
        self._settings = settings
        self._zone = zone
        self._logged = logged
        self._post_us = round(settings.post_roll_s * SECOND)
        self._refused: dict[str, list[RefusedRow]] = {}  # by source, of its last answer

    @property
    def refused(self) -> list[RefusedRow]:
        """The rows that the sources hand in now and that are no bookings."""
        return [row for rows in self._refused.values() for row in rows]

    async def put(self, source: BookingSource, rows: list[object]) -> None:
        """Store the rows of a complete answer; malformed ones are said once and skipped.

        Long answers are read in a thread, because they would hold the event loop.
        """
        good, bad = await asyncio.to_thread(
            bookings.parse_many, rows, source=source.name, zone=self._zone,
            longest_s=self._settings.longest_h * 3600, reuses_ids=source.reuses_ids)
        malformed = {error.booking_id for error in bad if error.booking_id}
        refused = [_Refused(source.name, str(error)) for error in bad]
        now = self._clock.wall_us()
        async with self._store.together() as tx:
            kept: set[str] = set()
            for some in _by_ids(good):
                kept |= await self._put(tx, source, some, now, malformed, refused)
            gone = [one for one in await tx.bookings_left_out(source.name, kept, now - self._post_us)
                    if naming.shown_id(one.id) not in malformed]
            if len(gone) > 1 and not kept and not malformed:
                self._logged.log.error("all bookings gone at once", source=source.name, count=len(gone),
                          hint="an empty answer may mean that a credential ran out")
            for one in gone:
                # Once its window is open only explicit words count; a clock never set cannot say that it is not.
                if self._window(one)[0] > now >= EARLIEST_US:
                    await tx.drop_booking(one.id, source.name)
        self._refused[source.name] = [RefusedRow(one.source, one.words) for one in refused]
        self._say_refused(source, refused)

    async def _put(self, tx: Store, source: BookingSource, rows: list[bookings.Booking], now: int,
                   malformed: Collection[str], refused: list[_Refused]) -> set[str]:
        """Store all rows of some ids, those that are others than before; returns their store ids."""
        ids = {one.id for one in rows}
        there = {one.id: one for one in await tx.bookings_of(ids)}
        if source.reuses_ids:
            rows = naming.named(rows, there.values(), await tx.films_of(ids), now, window=self._window,
                                malformed=malformed)
        for one in rows:
            wanted = replace(one, reported=source.reported)
            if wanted != there.get(one.id) and not await tx.put_booking(wanted):
                refused.append(_Refused(source.name, "another source has a booking of this id", one.id))
        return {one.id for one in rows}

    def _say_refused(self, source: BookingSource, refused: Collection[_Refused]) -> None:
        """Say which rows of an answer are skipped, each once, and which of the last one's are not any more."""
        for one in refused:
            known = {"booking": one.booking} if one.booking else {}
            self._logged.say(one, "booking skipped", one.error, source=source.name, **known)
        for before in self._logged.standing():
            if isinstance(before, _Refused) and before.source == source.name and before not in refused:
                self._logged.over(before, "booking no longer skipped", source=source.name, was=before.error)

    def _window(self, one: bookings.Booking) -> tuple[int, int]:
        return bookings.window(one, self._settings.pre_roll_s, self._settings.post_roll_s)


def _by_ids(rows: Sequence[bookings.Booking]) -> Iterator[list[bookings.Booking]]:
    """The rows, some at a time, all of one id together."""
    ordered = sorted(rows, key=lambda one: one.id)
    some: list[bookings.Booking] = []
    for _, same in groupby(ordered, key=lambda one: one.id):
        some += same
        if len(some) >= SOME:
            yield some
            some = []
    if some:
        yield some
