"""Cooling: while the machine is too hot and a match is recorded no film is rendered. Recording goes on.

Rendering is what makes a box hot, and it can wait: a recording cannot. It goes on when the machine is cooler, or when
the recording is over. What was not read of the machine changes nothing.

Limits: a chunk that is being rendered is finished.
"""

import asyncio
from collections.abc import Awaitable, Callable

from ezrec import logs
from ezrec.adapters.power import HELD_BACK_NOW
from ezrec.domain.clock import SECOND, Clock
from ezrec.domain.events import RenderingWaits
from ezrec.domain.film import Film
from ezrec.store import Store

log = logs.get("cooling")

LOOK_EVERY_S = 5.0
COOLER_C = 5.0  # so far below the limit it is cool again
REST_US = 60 * SECOND  # it waits so long at least: the command that says "throttled" is asked twice a minute


class Cooling:
    """The cooling task, and the gate before the rendering. `changed` is called when rendering may go on."""

    def __init__(self, store: Store, clock: Clock, hot_c: float, recording: Callable[[], bool],
                 machine: Callable[[], tuple[int | None, float | None, str]], changed: Callable[[], None]) -> None:
        """`machine` gives MiB free on the disk (None: it was not read), degrees Celsius, how it is held back."""
        self._store, self._clock, self._hot_c = store, clock, hot_c
        self._recording, self._machine, self._changed = recording, machine, changed
        self._since_us: int | None = None  # since when rendering waits, monotonic µs
        self._said = False  # in the log, for this recording

    @property
    def waits(self) -> bool:
        """Whether rendering waits."""
        return self._since_us is not None

    async def run(self) -> None:
        """Look until stopped."""
        while True:
            self.run_once()
            await asyncio.sleep(LOOK_EVERY_S)

    def run_once(self) -> None:
        """One look at the machine."""
        recording, now = self._recording(), self._clock.mono_us()
        free_mb, temperature_c, throttled = self._machine()
        if self._since_us is None:
            if recording and self._is_hot(temperature_c, throttled, self._hot_c):
                self._since_us = now
                say = log.debug if self._said else log.warning
                say("rendering waits until the recording is over or the processor is cooler",
                    temperature_c=temperature_c, throttled=throttled or None)
                self._said = True
        elif not recording or (free_mb is not None and now - self._since_us >= REST_US
                               and not self._is_hot(temperature_c, throttled, self._hot_c - COOLER_C)):
            log.info("rendering goes on", after_s=(now - self._since_us) // SECOND, temperature_c=temperature_c)
            self._since_us = None
            self._changed()
        self._said = self._said and recording

    @staticmethod
    def _is_hot(temperature_c: float | None, throttled: str, limit_c: float) -> bool:
        held_back = any(bit in throttled for bit in HELD_BACK_NOW)
        return held_back or (temperature_c is not None and temperature_c >= limit_c)

    async def work(self, render: Callable[[Film], Awaitable[bool]], film: Film) -> bool:
        """What `render` does for a film; nothing while rendering waits, which the film's story says once."""
        if self.waits:
            await self._store.record_once(film.booking_id, RenderingWaits())
            return False
        return await render(film)
