"""A recorder that is played with: what happens to it, and the end to which every film must come."""

import os
import shutil
import tempfile
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ezrec.actions import films as actions
from ezrec.domain import backoff
from ezrec.domain.clock import SECOND
from ezrec.domain.errors import EzrecError
from ezrec.domain.stages import Stage
from ezrec.store import Store
from tests.fakes.model.faults import Fault
from tests.fakes.model.recorder import Recorder
from tests.model.invariants import Watch

SPEEDS = (1, 1, 1, 2, 2, 4, 4, 8, 8, 16, 16, 30, 30, *[61] * 20)
"""Seconds between the looks in which, when all goes well, every film must come to its end."""
SETTLED = 3  # looks, after which nothing is kept of a film that was called off or parked

TALLY: Counter[str] = Counter()
"""What came of the sequences of this process."""


class Play:
    """A recorder in a folder of its own, and who looks at it."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ezrec-model-", dir=_quick()))
        self.patches = pytest.MonkeyPatch()
        self.recorder = Recorder(self.folder / "data", self.patches)
        self.watch = Watch(self.recorder)
        self.booked = 0

    def begin(self, linked: bool = True) -> None:
        """Start it."""
        self.recorder.linked = linked
        self.recorder.order(0)
        self.recorder.start()
        self.recorder.run()

    def leave(self) -> None:
        """The machine goes, and its folder."""
        self.watch.close()
        self.recorder.close()
        self.patches.undo()
        shutil.rmtree(self.folder, ignore_errors=True)

    # ---- bookings

    def book(self, after_s: float, seconds: float) -> str:
        """A booking whose window begins so much later than now."""
        self.booked += 1
        start = self.recorder.clock.wall_us() + round(after_s * SECOND)
        name = f"b{self.booked}"
        self.recorder.rows[name] = row_of(name, start, start + round(seconds * SECOND))
        return name

    def move(self, name: str, start_s: float, end_s: float) -> None:
        """Move a booking's start and end, unless it would end before it begins."""
        row = self.recorder.rows[name]
        times = [_us(row[key]) + round(by * SECOND) for key, by in (("start_time", start_s), ("end_time", end_s))]
        if times[0] < times[1]:
            row.update(row_of(name, *times))

    def say(self, name: str, status: str) -> None:
        """Call a booking off, or on again."""
        self.recorder.rows[name]["status"] = status

    # ---- time and harm

    def let_pass(self, seconds: float, at_once: float = 0.5) -> None:
        """Let time pass in small pieces, in each of which all is done that can be done."""
        for _ in range(round(seconds / at_once)):
            self.recorder.let_pass(at_once)
            self.recorder.run()

    def fail(self, fault: Fault) -> None:
        """Something is to fail."""
        self.recorder.faults.add(fault)

    def kill(self, away_s: float = 0.0) -> None:
        """Kill it, and start it again."""
        self.recorder.kill()
        self.recorder.let_pass(away_s)
        self.recorder.start()

    def heal(self) -> None:
        """Nothing fails from now on."""
        self.recorder.faults.clear()
        self.recorder.dark.clear()
        self.recorder.workers.takes_s = 0.0

    def retry(self, name: str) -> None:
        """A person sends a film on its way again."""
        path = self.recorder.folder.store

        async def act() -> None:
            store = await Store.open(path, clock=self.recorder.clock)
            try:
                with suppress(EzrecError):
                    await actions.retry(store, name, ZoneInfo("UTC"))
            finally:
                await store.close()

        self.watch.retried(name)
        self.recorder.person(act)

    # ---- what came of it

    def film(self, name: str) -> Any:
        """A film as it is now."""
        return next(film for film in self.watch.films() if film["booking_id"] == name)

    def log(self, event: str) -> list[Any]:
        """The newest lines of the log that say so."""
        return [line for line in self.recorder.lines if line["event"] == event]

    def all_goes_well(self) -> None:
        """Nothing fails any more: every film ends, at last after a person has sent what is parked on its way again."""
        self.heal()
        self.recorder.order(0)
        self._until_all_end("")
        parked = [film for film in self.watch.films() if film["parked_step"]]
        for film in parked:
            TALLY[f"films parked at {film['parked_step']}"] += 1
            self.retry(film["booking_id"])
        if parked:
            self._until_all_end(" after a retry")
        self.recorder.let_pass(backoff.LONGEST_S + 1)  # a step that rests forgets a film that another task ended
        self.recorder.run()
        self.watch.nothing_is_kept()
        self._count()

    def _until_all_end(self, when: str) -> None:
        for looks, seconds in enumerate(SPEEDS, 1):
            self.recorder.let_pass(seconds)
            self.recorder.run()
            self.watch.look()
            if looks > SETTLED:
                self.watch.nothing_grows()
            if not (left := self.watch.not_ended()) and looks > SETTLED:
                return
        raise AssertionError(f"does not come to an end{when}: {left}")

    def _count(self) -> None:
        TALLY["sequences"] += 1
        TALLY["restarts"] += self.recorder.lives - 1
        for film in self.watch.films():
            last = next((new for booking, _, new in reversed(self.recorder.steps)
                         if booking == film["booking_id"] and new != Stage.CLEANED), film["stage"])
            TALLY[f"films that ended {last}" + (", parked" if film["parked_step"] else "")] += 1
            TALLY["films begun again"] += film["generation"] > 1
        for place, way in self.recorder.faults.struck:
            TALLY[f"sequences with a failure: {place}, {way}"] += 1


def _quick() -> str | None:
    """A folder in memory, if there is one: a model syncs thousands of times."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def step_to(stage: Stage) -> tuple[str, ...]:
    """What the statement that takes a film to a stage is about."""
    return "UPDATE film SET stage", repr(stage)


def row_of(booking_id: str, start: int, end: int) -> dict[str, Any]:
    """A row of the table of bookings."""
    return {"id": booking_id, "start_time": _iso(start), "end_time": _iso(end), "status": "scheduled"}


def _iso(us: int) -> str:
    return datetime.fromtimestamp(us / SECOND, UTC).isoformat(timespec="microseconds")


def _us(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * SECOND)
