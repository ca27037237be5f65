"""The recorder of the model, as it stands at a court for a year: hours go by in steps of minutes, in a true time.

Clock, cameras, chunks, the cloud's answers and the disk's room are made up; supervisor, tasks, store and files are
real.
"""

import asyncio
import errno
import json
import sqlite3
from collections import Counter, deque
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from structlog.typing import EventDict, WrappedLogger

from ezrec import factories, files, supervisor
from ezrec.adapters import system
from ezrec.adapters.journal import Journal
from ezrec.adapters.metrics import Measured
from ezrec.config import Settings
from ezrec.domain.clock import SECOND
from ezrec.store import copies
from ezrec.tasks.alerts.telling import Telling
from ezrec.tasks.film.recipe import Recipes
from ezrec.tasks.logship import LogShip
from ezrec.tasks.night import Night
from ezrec.tasks.recording import preflight
from tests.fakes.clocks import MadeUpClock
from tests.fakes.model.faults import Fault
from tests.fakes.model.lanes import MadeUpCamera, MadeUpLane
from tests.fakes.model.project import Project
from tests.fakes.model.recorder import Recorder
from tests.fakes.model.workers import SIZE

CHUNK_S = 900.0
INDEX_KB, PART_BYTES = 128, 64 << 10
RATE = Fraction(1)
FREE_BYTES = 60 << 30
FULL_BYTES = 1 << 20
AT_BOOT_S = 20.0
ALL = 1 << 40  # jobs that a fault strikes
UPGRADE_S = 20.0
KEPT = ("house kept", "database copied and checked")
MOST_LINES = 5000
CAMERAS = ("left", "right")
DAYS_AHEAD = 10  # more than the longest outage


class _Lane(MadeUpLane):
    """A camera that is looked at every few minutes. Its segments end where chunks do."""

    segment_us = 1000 * SECOND
    most_us = 1000 * SECOND

    async def try_out(self, _: Path | None) -> None:
        """There is no picture to judge."""


class _Full(Fault):
    """The disk is full."""

    def strike(self) -> Exception:
        """No room."""
        if self.place != "store":
            return OSError(errno.ENOSPC, "made up: no space left on device")
        error = sqlite3.OperationalError("made up: database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        return error


class YearRecorder(Recorder):
    """A machine at a court. `true_us` is what the time is, whatever its clock says."""

    lane = _Lane

    def __init__(self, data: Path, patches: pytest.MonkeyPatch, begin_us: int,
                 project: Callable[["YearRecorder"], Project]) -> None:
        self.full = False
        self.boots = 1
        self.clock_set = True
        self.checkups = 0
        self.journal: deque[str] = deque(maxlen=MOST_LINES)
        self.kept: Counter[str] = Counter()  # what was done at night
        self.warnings: Counter[str] = Counter()  # lines of the log that a person should see
        self.project: Project | None = None
        super().__init__(data, patches, _settings(data))
        self.workers.calm = True
        self.clock = MadeUpClock(AT_BOOT_S, begin_us / SECOND)
        self._true_offset_us = begin_us - self.clock.mono_us()
        self.project = project(self)

    def true_us(self) -> int:
        """The time, UTC µs."""
        return self.clock.mono_us() + self._true_offset_us

    # ---- what befalls it

    def network(self, *, there: bool) -> None:
        """The network comes or goes."""
        assert self.project
        self.project.away = not there
        if there:
            self.faults.pending.pop("storage", None)
        else:
            self.faults.add(Fault("storage", "retry", ALL))

    def disk(self, *, full: bool) -> None:
        """The disk is full, or has room again: cameras' files, chunks, films and the store get no more of it."""
        self.full = full
        self.dark.update(CAMERAS if full else ())
        if full:
            for place, about in (("worker", ()), ("join", ()), ("store", ("COMMIT",))):
                self.faults.add(_Full(place, "", ALL, about=about))
        else:
            self.dark.clear()
            for place in ("worker", "join", "store"):
                self.faults.pending.pop(place, None)

    def upgrade(self) -> None:
        """Stop in order, and start another version."""
        self.stop()
        self.let_pass(UPGRADE_S)
        self.start()

    def power_cut(self) -> None:
        """The power goes and comes: a new boot, whose clock knows nothing of the time."""
        self.kill()
        true_us = self.true_us() + round(AT_BOOT_S * SECOND)
        self.boots += 1
        self.clock_set = False
        self.clock = MadeUpClock(AT_BOOT_S, AT_BOOT_S)
        self._true_offset_us = true_us - self.clock.mono_us()
        self.start()

    def set_clock(self) -> None:
        """The network's time has come."""
        self.clock_set = True
        self.clock.step((self.true_us() - self.clock.wall_us()) / SECOND)

    # ---- what is made up

    def _patch(self, patches: pytest.MonkeyPatch) -> None:
        super()._patch(patches)
        year = self
        patches.setattr(supervisor, "make_cameras", lambda *_: [MadeUpCamera(name, RATE) for name in CAMERAS])
        patches.setattr(supervisor, "make_sources", factories.make_sources)
        patches.setattr(supervisor, "make_cloud", lambda settings, clock, changed: factories.court_cloud(
            settings, clock, self.project, self.project, changed))  # type: ignore[arg-type]
        patches.setattr(supervisor, "make_webhook", lambda *_: self.project)
        patches.setattr(files, "free_bytes", lambda _: FULL_BYTES if self.full else FREE_BYTES)
        patches.setattr(system, "boot_id", lambda: f"boot-{self.boots}")
        patches.setattr(preflight, "clock_is_set", lambda: self.clock_set)
        patches.setattr(supervisor, "Telling", partial(Telling, clock_set=lambda: self.clock_set))
        patches.setattr(Recipes, "_part_size", lambda _: PART_BYTES)

        class Meter:
            """Knows the disk's room."""

            def __init__(self, *_: Any) -> None:
                """Nothing to read."""

            async def read(self, _: float) -> Measured:
                return Measured(disk_free_mb=(FULL_BYTES if year.full else FREE_BYTES) >> 20)

        patches.setattr(supervisor, "Meter", Meter)
        patches.setattr(supervisor, "own_looks", lambda _: [self._look])
        patches.setattr(supervisor, "Night", partial(Night, make_copy=_copy))
        patches.setattr(supervisor, "make_log_ship", lambda settings, clock, folder, _: LogShip(
            clock, folder, settings.paths.log_folder.absolute(), settings.site.camera_id,
            self.project, settings.logs.ship_min * 60, journal=self._journal))  # type: ignore[arg-type]

    async def _journal(self, _: str | None) -> Journal:
        """What was logged since the last archive."""
        lines = tuple(self.journal)
        self.journal.clear()
        return Journal(lines, "made up")

    async def _look(self) -> list[str]:
        """A check-up."""
        self.checkups += 1
        return ["nobody reaches the project"] if self.project and self.project.away else []

    def _note(self, logger: WrappedLogger, method: str, line: EventDict) -> EventDict:
        if method != "debug":
            self.journal.append(json.dumps({"MESSAGE": f"{method} {line['event']}"}))
        if line["event"] in KEPT:
            self.kept[line["event"]] += 1
        if method not in ("debug", "info"):
            self.warnings[f"{method}: {line['event']}"] += 1
        return super()._note(logger, method, line)


async def _copy(store: Path, copy: Path) -> None:
    """As in a process of its own."""
    await asyncio.to_thread(copies.make, store, copy)


def _settings(data: Path) -> Settings:
    """A venue's, but for pictures and chunks, and stories that are kept for a month."""
    made = Settings(
        site={"user_id": "owner", "camera_id": "court-1", "timezone": "Europe/Berlin"}, paths={"data": data},
        bookings={"source": "supabase", "days_ahead": DAYS_AHEAD}, publishing={"kind": "supabase"},
        supabase={"url": "https://made-up.invalid", "key": "made-up"}, alerts={"webhook": "https://made-up.invalid"},
        cameras={"fps": RATE, "width": SIZE[0], "height": SIZE[1]},
        disk={"min_free_mb": 10_000, "keep_stories_days": 30},
        film={"layout": "side_by_side", "overlap": 0, "preset": "ultrafast", "threads": 1,
              "index_reserve_kb": INDEX_KB})
    return made.model_copy(update={"film": made.film.model_copy(update={"chunk_s": CHUNK_S})})
