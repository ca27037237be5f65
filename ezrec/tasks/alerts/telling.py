"""Telling: every few seconds what is wrong is held against what was told, and people are told of the difference.

An alert and what is to be sent of it are written in one transaction, so a kill has nothing told twice or forgotten.
"""

import asyncio
from collections.abc import Callable, Sequence

from ezrec import logs
from ezrec.adapters.system import clock_is_set
from ezrec.config import Settings
from ezrec.domain.alerts import AHEAD, Alert, Judge
from ezrec.domain.clock import SECOND, Clock
from ezrec.domain.stages import Stage
from ezrec.store import Store
from ezrec.tasks.alerts.letters import notices
from ezrec.tasks.alerts.looks import DONE, Situation, findings
from ezrec.tasks.alerts.trials import Trials
from ezrec.tasks.recording.windows import Recording

log = logs.get("alerts")

LOOK_EVERY_S = 5.0
KEEP_US = 400 * 24 * 3600 * SECOND  # alerts that are over
WORK_LEFT = frozenset(Stage) - DONE - {Stage.BOOKED}


class Telling:
    """The task that tells of alerts. `told` is called when something waits to be sent."""

    def __init__(self, store: Store, clock: Clock, settings: Settings, recording: Recording, trials: Trials,
                 machine: Callable[[], tuple[int | None, float | None, str]], told: Callable[[], None],
                 clock_set: Callable[[], bool] = clock_is_set,
                 two_boxes: Callable[[], Sequence[str]] = tuple) -> None:
        """`machine` gives MiB free on the disk, degrees Celsius, and how the processor is held back; `two_boxes` what
        shows that another box records this court.
        """
        self._store, self._clock, self._settings = store, clock, settings
        self._recording, self._trials, self._machine = recording, trials, machine
        self._told, self._clock_set, self._two_boxes = told, clock_set, two_boxes
        self._judge = Judge(round(settings.alerts.after_s * SECOND))
        self._standing: list[Alert] = []

    async def run(self) -> None:
        """Look until stopped."""
        while True:
            await self.run_once()
            await asyncio.sleep(LOOK_EVERY_S)

    async def run_once(self) -> None:
        """One look."""
        seen = await self._look()
        now = self._clock.wall_us()
        known = await self._store.alerts()
        changes = self._judge.judge(known, findings(seen, self._settings), now, self._clock.mono_us(), seen.unknown)
        if changes:
            waiting = [notice for event, alerts in (("begun", changes.begun), ("over", changes.over))
                       for alert in alerts for notice in notices(self._settings, event, alert, now)]
            await self._store.change_alerts(changes, waiting, now - KEEP_US)
            for alert in changes.begun:
                log.warning("alert", kind=alert.kind, about=alert.about, text=alert.text)
            for alert in changes.over:
                log.info("alert over", kind=alert.kind, about=alert.about,
                         after_s=(now - alert.since_at) // SECOND)
            self._told()
            known = await self._store.alerts()
        self._standing = [alert for alert in known if alert.told_at is not None]

    def standing(self) -> list[str]:
        """The alerts that were told and last, in words: for the heartbeat's row."""
        return [f"alert {one.kind}: {one.text}" for one in self._standing]

    async def _look(self) -> Situation:
        now = self._clock.wall_us()
        day_us = AHEAD[0][0]
        booked = await self._store.booked_films(now - day_us, now + day_us + 1)
        films = [*booked, *await self._store.films_brief(*WORK_LEFT)]
        await self._trials.run_once(booked)
        health = self._recording.health()
        cameras = self._trials.gone() | {
            name: one.note or "no frames come" for name, one in health.items() if one.state == "lost"}
        free_mb, temperature_c, throttled = self._machine()
        checkup = await self._store.newest_checkup()
        return Situation(self._clock.wall_us(), cameras, self._recording.current_booking(),
                    bool(self._recording.delivering()), free_mb, temperature_c, throttled, self._clock_set(), films,
                    checkup.problems if checkup else (), "; ".join(self._two_boxes()))
