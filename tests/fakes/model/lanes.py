"""Cameras, their lanes and a source of bookings on made-up time: footage is a few words in a file."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from ezrec.adapters.metrics import Measured
from ezrec.adapters.segments import Sealed
from ezrec.domain.clock import SECOND
from ezrec.folders import DataFolder
from ezrec.tasks.recording.lane import LaneHealth
from ezrec.tasks.recording.watermark import Watermark
from tests.fakes.clocks import MadeUpClock
from tests.fakes.model.faults import Faults
from tests.fakes.model.workers import SIZE

RATE = Fraction(2)


@dataclass(frozen=True)
class MadeUpCamera:
    """What is told of a camera."""

    name: str
    rate: Fraction = RATE
    size: tuple[int, int] = SIZE
    turned: int = 0


class MadeUpLane:
    """A lane whose camera delivers a frame whenever one is due on the clock, unless it is `dark`."""

    failures = 0
    restarts = 0
    segment_us = 4 * SECOND
    most_us = 16 * SECOND  # of footage from one look to the next

    def __init__(self, camera: MadeUpCamera, folder: DataFolder, run: int, clock: MadeUpClock,
                 sealed: Callable[[Sealed], None], dark: set[str]) -> None:
        self.camera, self.name = camera, camera.name
        self._folder = folder.run(run) / camera.name
        self._run = run
        self._clock = clock
        self._sealed = sealed
        self._dark = dark
        self._frame_us = int(SECOND / camera.rate)
        self._watermark = Watermark()
        self._wanted = False
        self._begun_us: int | None = None  # of the segment that is being written
        self._at_us = 0  # up to here frames were delivered
        self._cut_us = 0

    @property
    def streaming(self) -> bool:
        """Whether frames come."""
        return self._wanted and self.name not in self._dark

    @property
    def idle(self) -> bool:
        """Whether the camera is off."""
        return not self._wanted

    def last_frame_us(self) -> int:
        """When the newest frame was seen."""
        return self._at_us

    def health(self) -> LaneHealth:
        """How it is doing."""
        return LaneHealth("streaming" if self.streaming else "off", 0, 0, 0, None, 0)

    def want(self, wanted: bool) -> None:
        """Turn it on or off: at once."""
        if wanted and not self._wanted:
            self._at_us = self._clock.mono_us()
            self._watermark.give_up(self._at_us)
        elif not wanted and self._wanted:
            self.catch_up()
            self._seal()
        self._wanted = wanted

    def cut_after(self, us: int) -> None:
        """End a segment at `us`."""
        self._cut_us = us

    def recorded(self, sealed: Sealed) -> None:
        """A segment has its row."""
        self._watermark.recorded(sealed)

    def watermark_us(self) -> int:
        """Up to when all is known."""
        silent = not self._wanted or self.name in self._dark
        return self._watermark.now_us(self._begun_us, self._clock.mono_us() if silent else None)

    async def run(self) -> None:
        """Nothing to do: `catch_up` is called when time has passed."""
        await asyncio.Event().wait()

    async def stop(self) -> None:
        """The process leaves."""
        self.want(False)

    def catch_up(self) -> None:
        """Deliver what is due."""
        if not self._wanted:
            return
        now = self._clock.mono_us()
        if self.name in self._dark:
            self._seal()
            self._at_us = now
            return
        if now - self._at_us > self.most_us:  # the machine stood still, and the camera with it
            self._seal()
            self._at_us += (now - self._at_us - self.most_us) // self._frame_us * self._frame_us
        while self._at_us + self._frame_us <= now:
            if self._begun_us is None:
                self._begun_us = self._at_us
            self._at_us += self._frame_us
            if self._at_us - self._begun_us >= self.segment_us or self._begun_us < self._cut_us <= self._at_us:
                self._seal()

    def _seal(self) -> None:
        if self._begun_us is None:
            return
        start, self._begun_us = self._begun_us, None
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{start}.ts"
        frames = (self._at_us - start) // self._frame_us
        path.write_text(json.dumps([start, self._at_us, frames]))
        sealed = Sealed(self.name, self._run, start, self._at_us, frames, 0, 20, path)
        self._watermark.sealed(start)
        self._sealed(sealed)


def adopt(path: Path, rate: Fraction, *, may_be_torn: bool) -> Sealed:
    """In the stead of `adoption.adopt`: what the lane of a killed process wrote."""
    start, end, frames = json.loads(path.read_text())
    return Sealed(path.parent.name, int(path.parent.parent.name), start, end, frames, 0, 20, path)


class MadeUpSource:
    """A source of bookings whose table is `rows`: booking id → start, end (UTC µs) and status."""

    name = "table"
    reuses_ids = False
    reported = True

    def __init__(self, rows: dict[str, dict[str, Any]], faults: Faults) -> None:
        self._rows = rows
        self._faults = faults

    async def fetch(self) -> list[object] | None:
        """All rows."""
        if error := self._faults.at("source"):
            raise error
        return [dict(row) for row in self._rows.values()]

    def forget(self) -> None:
        """It tells all rows each time."""


class MadeUpMeter:
    """A machine of which nothing is known."""

    def __init__(self, *_: Any) -> None:
        """Nothing to read."""

    async def read(self, limit_s: float) -> Measured:
        """Nothing."""
        return Measured()
