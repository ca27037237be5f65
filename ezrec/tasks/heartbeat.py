"""The heartbeat: every few seconds one row that says how this device is doing.

A row is told now or never: nothing is queued, a beat that would come late is left out, and one that is still under way
when it should be over is given up. So the first beat after a network heals goes through, with what is true by then.
What cannot be found out in time is null.
"""

import asyncio
import math
from collections.abc import Callable, Collection
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from ezrec import __version__, logs
from ezrec.adapters.metrics import Meter
from ezrec.adapters.status import Row, StatusTable
from ezrec.config.sections import SiteSettings
from ezrec.domain.clock import SECOND, Clock
from ezrec.domain.errors import EzrecError, ParkError, RetryError
from ezrec.store import Store
from ezrec.store.rows import Backlog
from ezrec.tasks.recording.preflight import Preflight, PreflightResult
from ezrec.tasks.recording.windows import Recording

log = logs.get("heartbeat")

COLLECT_SHARE = 0.2  # of the interval: how long the machine and the store may take to answer
PUT_SHARE = 0.7  # of the interval: how long the table may; both together are over before the next beat
REFUSED_S = 60.0  # how long a table that refuses the row for good is left alone


class Heartbeat:
    """The heartbeat task. `healed` is called when a beat goes through after others that did not."""

    def __init__(self, store: Store, clock: Clock, recording: Recording, preflight: Preflight, status: StatusTable,
                 meter: Meter, site: SiteSettings, interval_s: float, degraded: Callable[[], Collection[str]],
                 healed: Callable[[], None]) -> None:
        self._store = store
        self._clock = clock
        self._recording = recording
        self._preflight = preflight
        self._status = status
        self._meter = meter
        self._site = site
        self._interval_us = round(interval_s * SECOND)
        self._degraded = degraded
        self._healed = healed
        self._begun_us = clock.mono_us()
        self._failing_since_us: int | None = None
        self._logged = ""  # the refusal that was logged last

    async def run(self) -> None:
        """Beat for ever, at fixed times of the monotonic clock."""
        due_us = self._clock.mono_us()
        while True:
            rest_us = 0 if await self.run_once() else round(REFUSED_S * SECOND)
            due_us = next_due(due_us, self._clock.mono_us() + rest_us, self._interval_us)
            await self._pause(max(0, due_us - self._clock.mono_us()) / SECOND)

    async def run_once(self) -> bool:
        """One beat; False if its row was refused for good."""
        interval_s = self._interval_us / SECOND
        try:
            async with asyncio.timeout((COLLECT_SHARE + PUT_SHARE) * interval_s):
                row = await self._collect(COLLECT_SHARE * interval_s)
                await self._status.put(row, limit_s=PUT_SHARE * interval_s)
        except (TimeoutError, RetryError) as error:
            self._failed(error)
        except ParkError as error:
            self._failed(error)
            return False
        else:
            self._went_through()
        return True

    def _failed(self, error: EzrecError | TimeoutError) -> None:
        """Say it once: that beats are not taken any more, and a refusal whenever its words change."""
        first = self._failing_since_us is None
        if first:
            self._failing_since_us = self._clock.mono_us()
        if isinstance(error, ParkError):
            if str(error) != self._logged:
                self._logged = str(error)
                log.error("heartbeat refused", error=str(error), retry_s=REFUSED_S)
        elif first:
            log.warning("heartbeat not taken", error=str(error) or "no answer in time")

    def _went_through(self) -> None:
        if self._failing_since_us is None:
            return
        log.info("heartbeat is back", after_s=(self._clock.mono_us() - self._failing_since_us) / SECOND)
        self._failing_since_us, self._logged = None, ""
        self._healed()

    async def _collect(self, limit_s: float) -> Row:
        """The row as things are now; neither the machine nor the store is waited for longer than `limit_s`."""
        measured, backlog = await asyncio.gather(self._meter.read(limit_s), self._backlog(limit_s))
        now_us, up_us = self._clock.wall_us(), self._clock.mono_us() - self._begun_us
        error = logs.last_error()
        return asdict(measured) | {
            "user_id": self._site.user_id,
            "camera_id": self._site.camera_id,
            "updated_at": _iso(_utc(now_us)),
            "recording": bool(self._recording.delivering()),
            "current_booking_id": self._recording.current_booking(),
            "cameras": {name: asdict(health) for name, health in self._recording.health().items()},
            "preflight": _found(self._preflight.newest) if self._preflight.newest else None,
            "queues": _queues(backlog) if backlog else None,
            "last_error": error.text if error else None,
            "last_error_at": _iso(error.at) if error else None,
            "version": __version__,
            "uptime_s": up_us // SECOND,
            # by the clock as it is now: at the start it may not have been set yet
            "started_at": _iso(_utc(round((now_us - up_us) / SECOND) * SECOND)),
            "degraded": sorted(self._degraded()),
        }

    async def _backlog(self, limit_s: float) -> Backlog | None:
        """What waits in the store; None if it does not answer, say because its disk stands still."""
        try:
            async with asyncio.timeout(limit_s):
                return await self._store.backlog()
        except (TimeoutError, RetryError):
            return None

    @staticmethod
    async def _pause(seconds: float) -> None:
        await asyncio.sleep(seconds)


def next_due(due_us: int, now_us: int, interval_us: int) -> int:
    """The first time of the fixed cadence after `due_us` that has not passed: what would be late is left out."""
    return due_us + interval_us * max(1, math.ceil((now_us - due_us) / interval_us))


def _found(found: PreflightResult) -> dict[str, Any]:
    return {"booking_id": found.booking_id, "at": _iso(_utc(found.at)), "problems": list(found.problems)}


def _queues(backlog: Backlog) -> dict[str, Any]:
    return {"films": {str(stage): count for stage, count in backlog.films.items()}, "parked": backlog.parked,
            "outbox": backlog.outbox, "refused": backlog.refused, "reason": backlog.reason}


def _utc(us: int) -> datetime:
    return datetime.fromtimestamp(us / SECOND, UTC)


def _iso(instant: datetime) -> str:
    return instant.isoformat(timespec="milliseconds")
