"""A year at a court is played through, and looked at each day from outside."""

import gc
import json
import os
import shutil
import sqlite3
import tempfile
import threading
from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from ezrec.domain.clock import SECOND
from ezrec.domain.stages import Stage
from tests.fakes.model.project import Project
from tests.year.almanac import DAY_US, MINUTE_US, Almanac, Measure, Time, row_of
from tests.year.recorder import CHUNK_S, YearRecorder

STEP_US = 30 * MINUTE_US  # the longest that goes by in one go
AROUND_START_S = (-400.0, -2.9)  # check-up and pre-flight; a window is laid and its cameras are asked
AROUND_END_S = (0.6, 2.6, 60.0)  # the cameras stop, all is known, files go
AT_CHUNK_S = 2.6  # behind a chunk's end its segments are closed
LATE_DAYS = 1  # behind a booking's end, without an outage, its film must be done with


@dataclass(frozen=True)
class Sample:
    """What the recorder takes of its machine, at half past four in the night."""

    day: float
    rss_kb: int
    descriptors: int
    threads: int  # those of the process, and one for each connection to the store that would have one
    tasks: int
    store_kb: int  # what is written in its pages
    store_file_kb: int
    disk_kb: int  # the data folder without the store and its copies, and without the library, which is the bucket
    waiting: int  # films that are not done with
    films: int  # that were published until then
    quiet: bool  # nothing is in the way, and nothing is behind


class Year:
    """One run of a almanac."""

    def __init__(self, measure: Measure, seed: int, say: Callable[[str], None] = lambda _: None) -> None:
        self.almanac = Almanac(measure, seed)
        self.samples: list[Sample] = []
        self.wrong: list[str] = []
        self.tally: Counter[str] = Counter()
        self._say = say
        self._home = Path(tempfile.mkdtemp(prefix="ezrec-year-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK)
                                           else None))
        self._patches = pytest.MonkeyPatch()
        self.recorder = YearRecorder(self._home / "data", self._patches, self.almanac.begin, self._project)
        self._reader: sqlite3.Connection | None = None
        self._done = bytearray(len(self.almanac.times) + 1)  # rows of films, by number of booking
        self._stopped = False
        self._checked = 0  # bookings, in order, of which it was seen what became
        self._order = sorted(self.almanac.times, key=lambda name: self.almanac.times[name].end)

    def _project(self, recorder: YearRecorder) -> Project:
        return Project(self.almanac.rows, self.almanac.starts, recorder.true_us)

    def close(self) -> None:
        """The machine goes."""
        if self._reader:
            self._reader.close()
        self.recorder.close()
        self._patches.undo()
        shutil.rmtree(self._home, ignore_errors=True)

    # ---- the year

    def run(self) -> None:
        """Play it."""
        almanac, recorder = self.almanac, self.recorder
        looks = [almanac.begin + day * DAY_US + round(3.5 * 60) * MINUTE_US
                 for day in range(almanac.measure.days)]
        edges = array("q", sorted({*_edges(almanac.times.values()), *_edges(almanac.booked.values()), *looks,
                                   *(act.at for act in almanac.acts), almanac.end}))
        acts, edge, look = iter(almanac.acts), 0, 0
        act = next(acts, None)
        recorder.start()
        recorder.run()
        while recorder.true_us() < almanac.end:
            now = recorder.true_us()
            while edges[edge] <= now:
                edge += 1
            recorder.let_pass(min(edges[edge] - now, STEP_US) / SECOND)
            while act and act.at <= recorder.true_us():
                self._do(act.what, act.about)
                act = next(acts, None)
            recorder.run()
            if look < len(looks) and looks[look] <= recorder.true_us():
                self._look(look)
                look += 1
            if self._stopped:
                self.wrong.append(f"stopped on day {self.samples[-1].day:.0f}")
                return
        self._settle()

    def stop(self) -> None:
        """End before its end."""
        self._stopped = True

    def _do(self, what: str, about: Any) -> None:
        recorder, project = self.recorder, self.recorder.project
        assert project
        self.tally[what] += 1
        match what:
            case "cancel":
                self.almanac.rows[about]["status"] = "cancelled"
                project.changed()
            case "move":
                name, time = about
                self.almanac.rows[name].update(row_of(name, time, self.almanac.zone) | {
                    "status": self.almanac.rows[name]["status"]})
                project.changed()
            case "network goes" | "network comes":
                recorder.network(there=what == "network comes")
            case "disk full" | "disk free":
                recorder.disk(full=what == "disk full")
            case "upgrade":
                recorder.upgrade()
            case "power cut":
                recorder.power_cut()
            case "clock set":
                recorder.set_clock()

    def _settle(self) -> None:
        """Nothing is in the way any more: in the end every film has come to its end."""
        self.recorder.network(there=True)
        for _ in range(24 * 2):
            self.recorder.let_pass(STEP_US / SECOND)
            self.recorder.run()
        self._look(self.almanac.measure.days)
        for name in self._order[self._checked:]:
            self.wrong.append(f"{name}: not looked at, {self._stage(name)}")

    # ---- looking

    def rows(self, sql: str, *values: object) -> list[sqlite3.Row]:
        """Rows of the store."""
        if self._reader is None:
            self._reader = sqlite3.connect(f"file:{self.recorder.folder.store}?mode=ro", uri=True)
            self._reader.row_factory = sqlite3.Row
        return self._reader.execute(sql, values).fetchall()

    def _stage(self, name: str) -> str:
        found = self.rows("SELECT stage, parked_reason FROM film WHERE booking_id = ?", name)
        return f"{found[0]['stage']} {found[0]['parked_reason'] or ''}" if found else "no film"

    def _look(self, day: int) -> None:
        """What became of the bookings, and what the recorder takes of its machine."""
        recorder, almanac = self.recorder, self.almanac
        assert recorder.project
        assert recorder.loop
        self.wrong += [f"day {day}: {one}" for one in (*recorder.left, *recorder.loop.errors)]
        recorder.left.clear()
        for video in recorder.project.take_videos():
            self._video(video)
        waiting = self.rows("SELECT count(*) FROM film WHERE stage NOT IN (?, ?, ?, ?)", Stage.CLEANED, Stage.BOOKED,
                            Stage.CANCELLED, Stage.MISSED)[0][0]
        now = recorder.true_us()
        lately = Time(now - LATE_DAYS * DAY_US, now)
        behind = any(one.touches(lately) for one in (*almanac.outages, *almanac.full))
        if not behind:
            self._came_to_their_end(now - LATE_DAYS * DAY_US)
        self._forget()
        self.samples.append(self._sample(day, waiting, quiet=not behind and not waiting))
        if day % 10 == 0:
            self._say(f"day {day}: {self.samples[-1]}")

    def _video(self, video: dict[str, Any]) -> None:
        name = video["booking_id"]
        number = int(name[1:])
        self._done[number] += 1
        if self._done[number] > 1:
            self.wrong.append(f"{name} has {self._done[number]} rows")
        film = self.rows("SELECT certificate, object_key FROM film WHERE booking_id = ?", name)[0]
        held = json.loads(film["certificate"] or "{}")
        length_s = (self.almanac.times[name].end - self.almanac.times[name].start) / SECOND
        time = self.almanac.times[name]
        whole = Time(time.start - 10 * MINUTE_US, time.end)
        if self.almanac.free(whole) and (video["duration_seconds"] != length_s or held.get("gaps")):
            self.wrong.append(f"{name} is not whole: {video['duration_seconds']} s of {length_s}, {held.get('gaps')}")
        path = self.recorder.folder.library / film["object_key"]
        if not path.exists() or path.stat().st_size != video["file_size"]:
            self.wrong.append(f"{name} is published without its object {path}")
        self.tally["films published"] += 1

    def _came_to_their_end(self, before: int) -> None:
        """What was booked until then has its one film, or a reason for none."""
        while self._checked < len(self._order):
            name = self._order[self._checked]
            time = self.almanac.times[name]
            if time.end > before:
                return
            self._checked += 1
            stage, rows = self._stage(name).strip(), self._done[int(name[1:])]
            objects = len(list(self.recorder.folder.library.glob(f"*/{name}*.mp4")))  # "name@…" if it was begun again
            if stage == Stage.CLEANED and rows == objects == 1:
                continue
            if rows == objects == 0 and (name in self.almanac.cancelled or self.almanac.lost(time)):
                self.tally["films rightly not made"] += 1
                continue
            self.wrong.append(f"{name}: {stage}, {rows} rows, {objects} objects, {time}")

    def _forget(self) -> None:
        """Whoever looks must not grow: what was looked at is let go of, and objects are emptied, not removed."""
        recorder = self.recorder
        recorder.steps.clear()
        recorder.closed.clear()
        recorder.failures.clear()
        recorder.workers.looks.clear()
        for path in recorder.folder.library.glob("*/*"):
            if path.stat().st_nlink == 1 and path.stat().st_size:
                os.truncate(path, 0)

    def _sample(self, day: int, waiting: int, *, quiet: bool) -> Sample:
        gc.collect()
        process = psutil.Process()
        used, whole = self.rows("SELECT sum(pgsize - unused), sum(pgsize) FROM dbstat")[0]
        folder = self.recorder.folder
        files = [path.lstat() for path in self.recorder.data.rglob("*") if path.is_file()
                 and folder.library not in path.parents and not path.name.startswith(folder.store.stem)]
        loop = self.recorder.loop
        assert loop
        return Sample(
            day, process.memory_info().rss >> 10, process.num_fds(),
            threading.active_count() + self.recorder.connections.count(),
            sum(not task.done() for task in loop._tasks), used >> 10, whole >> 10,
            sum(one.st_size for one in files) >> 10, waiting, self.tally["films published"], quiet)


def _edges(times: Any) -> Any:
    """The instants at which something is due for bookings."""
    for time in times:
        yield from (time.start + round(second * SECOND) for second in AROUND_START_S)
        yield from (time.end + round(second * SECOND) for second in AROUND_END_S)
        chunk = round(CHUNK_S * SECOND)
        for number in range(1, (time.end - time.start) // chunk + 1):
            yield time.start + number * chunk + round(AT_CHUNK_S * SECOND)
