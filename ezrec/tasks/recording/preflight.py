"""Pre-flight: before each booking both cameras are looked at, early enough for somebody to act.

What is wrong is logged, told in the heartbeat and in the film's story, and stands in its certificate; nothing here
keeps a match from being recorded. A camera that is off is switched on for some seconds; of one that is on its frames
are looked at.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ezrec import logs
from ezrec.adapters.cameras.inspection import Verdict, keep_picture
from ezrec.adapters.system import clock_is_set
from ezrec.config import Settings
from ezrec.domain.clock import SECOND, Clock
from ezrec.domain.events import PreflightBegun, PreflightDone
from ezrec.domain.film import Film
from ezrec.folders import DataFolder
from ezrec.store import Store
from ezrec.tasks.recording.windows import Recording

log = logs.get("preflight")

CHECK_EVERY_S = 2.0
ROOM_S = 10.0  # that a pre-flight may take; later than this before the cameras are wanted none is begun


@dataclass(frozen=True)
class PreflightResult:
    """What a pre-flight came to."""

    booking_id: str
    at: int  # UTC µs
    problems: Sequence[str]


class Preflight:
    """The pre-flight task. `newest` is what the last pre-flight came to, for the heartbeat."""

    def __init__(self, store: Store, clock: Clock, folder: DataFolder, settings: Settings, recording: Recording,
                 free_bytes: Callable[[Path], int]) -> None:
        self._store, self._clock, self._folder = store, clock, folder
        self._recording = recording
        self._free_bytes = free_bytes
        self._min_free = settings.disk.min_free_mb << 20
        self._ahead_us = round(settings.cameras.preflight_s * SECOND)
        self._least_us = round((settings.cameras.lead_s + ROOM_S) * SECOND)
        self._done: set[str] = set()  # bookings that are looked at, or were
        self.newest: PreflightResult | None = None

    async def run(self) -> None:
        """Look at every booking's cameras in time, until stopped."""
        while True:
            await self.run_once()
            await asyncio.sleep(CHECK_EVERY_S)

    async def run_once(self) -> None:
        """One look: the pre-flight of every booking that is near enough and has had none."""
        now = self._clock.wall_us()
        films = await self._store.booked_films(now + self._least_us + 1, now + self._ahead_us + 1)
        self._done &= {film.booking_id for film in films}
        for film in films:
            if film.booking_id in self._done:
                continue
            self._done.add(film.booking_id)
            story = await self._store.events(film.booking_id)
            if not any(isinstance(entry.event, PreflightBegun) for entry in story):
                await self._store.record(film.booking_id, PreflightBegun())  # one that hangs is not begun again
                await self._fly(film)
            for entry in await self._store.events(film.booking_id):
                if isinstance(entry.event, PreflightDone):
                    self.newest = PreflightResult(film.booking_id, entry.at, entry.event.problems)

    async def _fly(self, film: Film) -> None:
        lanes = self._recording.lanes
        found = await asyncio.gather(*(lane.try_out(self._folder.reference(name)) for name, lane in lanes.items()))
        verdicts = {name: verdict for name, verdict in zip(lanes, found, strict=True) if verdict}
        problems = [f"camera {name}: {problem}" for name, verdict in verdicts.items() for problem in verdict.problems]
        if (free := self._free_bytes(self._folder.root)) < self._min_free:
            problems.append(f"the disk has {free >> 20} MiB left, {self._min_free >> 20} are wanted")
        if not clock_is_set():
            problems.append("the clock is not synchronised: the window may be the wrong one")
        for name, verdict in verdicts.items():
            await asyncio.to_thread(self._remember, name, verdict)
        await self._store.record(film.booking_id, PreflightDone(tuple(problems)))
        words = {name: {"frames": one.frames, "rate": one.rate, "brightness": one.brightness,
                        "sharpness": one.sharpness, "likeness": one.likeness} for name, one in verdicts.items()}
        if problems:
            log.error("pre-flight failed", booking=film.booking_id, problems=problems, cameras=words)
        else:
            log.info("pre-flight passed", booking=film.booking_id, cameras=words)

    def _remember(self, camera: str, verdict: Verdict) -> None:
        """Keep the picture for people; the first good one becomes the reference."""
        if verdict.picture:
            keep_picture(self._folder.picture(camera), verdict)
        if verdict.good and verdict.picture and not self._folder.reference(camera).exists():
            keep_picture(self._folder.reference(camera), verdict)
