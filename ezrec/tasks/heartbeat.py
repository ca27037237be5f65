"""The heartbeat: every few seconds one row that says how this device is doing.

A row is told now or never: nothing is queued, a beat that would come late is left out, and one that is still under way
when it should be over is given up. So the first beat after a network heals goes through, with what is true by then.
What cannot be found out in time is null.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable

from ezrec import logs
from ezrec.adapters.status import Row, StatusTable
from ezrec.domain.clock import SECOND, Clock
from ezrec.domain.errors import EzrecError, ParkError, RetryError

log = logs.get("heartbeat")

COLLECT_SHARE = 0.2  # of the interval: how long the machine and the store may take to answer
PUT_SHARE = 0.7  # of the interval: how long the table may; both together are over before the next beat
REFUSED_S = 60.0  # how long a table that refuses the row for good is left alone


class Heartbeat:
    """The heartbeat task. `healed` is called when a beat goes through after others that did not."""

    def __init__(self, clock: Clock, status: StatusTable, collect: Callable[[float], Awaitable[Row]],
                 interval_s: float, healed: Callable[[], None]) -> None:
        """`collect` gives the row as things are now; what takes longer than so many seconds it leaves out."""
        self._clock = clock
        self._status = status
        self._collect = collect
        self._interval_us = round(interval_s * SECOND)
        self._healed = healed
        self._failing_since_us: int | None = None
        self._logged = ""  # the refusal that was logged last

    async def run(self) -> None:
        """Beat until stopped, at fixed times of the monotonic clock."""
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

    @staticmethod
    async def _pause(seconds: float) -> None:
        await asyncio.sleep(seconds)


def next_due(due_us: int, now_us: int, interval_us: int) -> int:
    """The first time of the fixed cadence after `due_us` that has not passed: what would be late is left out."""
    return due_us + interval_us * max(1, math.ceil((now_us - due_us) / interval_us))
