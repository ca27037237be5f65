"""Check-ups: once a week, and some minutes before the first booking of a day, the recorder looks by itself at what no
other alert tells of: storage, project, folders, the disk's speed, who holds its cameras (`actions/checks`).

Never while a booking is recorded or near, and no camera is opened. One that found something is made again every hour,
so that its alert ends by itself.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from zoneinfo import ZoneInfo

from ezrec import logs
from ezrec.domain.clock import SECOND, Clock, local_datetime
from ezrec.domain.film import Film
from ezrec.store import Store
from ezrec.store.alerts import Checkup

log = logs.get("checkup")

CHECK_EVERY_S = 30.0
WEEK_US = 7 * 24 * 3600 * SECOND
AGAIN_US = 3600 * SECOND  # after one that found something; also how long the first one of all is waited for
AHEAD_US = 1200 * SECOND  # before the first booking of a day
TAKES_S = 240.0  # that all looks may take: later than this before cameras are wanted none is begun


class Checkups:
    """The check-up task. Each of `looks` gives what is wrong, in words, within its own limit."""

    def __init__(self, store: Store, clock: Clock, zone: ZoneInfo, lead_s: float, recording: Callable[[], bool],
                 looks: Sequence[Callable[[], Awaitable[list[str]]]]) -> None:
        """`recording` tells whether a booking's window is open; `lead_s`: how long before it cameras are started."""
        self._store, self._clock, self._zone = store, clock, zone
        self._recording, self._looks = recording, looks
        self._least_us = round((lead_s + TAKES_S) * SECOND)
        self._begun_us = clock.mono_us()
        self._not_first: set[str] = set()  # bookings ahead that are not the first ones of their days

    async def run(self) -> None:
        """Make check-ups until stopped."""
        while True:
            await self.run_once()
            await asyncio.sleep(CHECK_EVERY_S)

    async def run_once(self) -> None:
        """Make a check-up if one is due and nothing is in its way."""
        now = self._clock.wall_us()
        ahead = await self._store.booked_films(now, now + AHEAD_US)
        if self._recording() or any(film.starts_at - now < self._least_us for film in ahead):
            return
        if await self._due(now, ahead):
            await self._make()

    async def _due(self, now: int, ahead: Sequence[Film]) -> bool:
        newest = await self._store.newest_checkup()
        up = self._clock.mono_us() - self._begun_us >= AGAIN_US
        age = WEEK_US if newest is None else now - newest.at
        if up and (not 0 <= age < WEEK_US or (newest is not None and newest.problems and age >= AGAIN_US)):
            return True
        for film in ahead:
            if newest is not None and film.starts_at - AHEAD_US <= newest.at <= now:
                continue  # one was made for it
            if film.booking_id not in self._not_first and await self._is_first(film):
                return True
        return False

    async def _is_first(self, film: Film) -> bool:
        """Whether no booking of its day began before it."""
        midnight = local_datetime(film.starts_at, self._zone).replace(hour=0, minute=0, second=0, microsecond=0)
        if not await self._store.any_film_between(round(midnight.timestamp()) * SECOND, film.starts_at):
            return True
        self._not_first = {film.booking_id, *list(self._not_first)[-100:]}
        return False

    async def _make(self) -> None:
        problems: list[str] = []
        for look in self._looks:
            if self._recording():
                log.info("check-up given up, a booking is recorded")
                return
            problems += await look()
        await self._store.put_checkup(Checkup(self._clock.wall_us(), tuple(problems)))
        if problems:
            log.warning("check-up found something", problems=problems)
        else:
            log.info("check-up passed")
