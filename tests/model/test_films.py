"""Whatever happens, in whatever order, every film comes to an end: a model of bookings, footage, failures and restarts.

The real supervisor with all its tasks runs on made-up time (`tests/fakes/model`). hypothesis chooses what happens: what
is booked, moved, called off or withdrawn; which steps fail, how and how often; when the program is killed, in the
middle of whatever it does; in which order threads come to their turn. After every act the invariants hold. In the end
all goes well, and every film must come to its end within a bounded number of looks.
"""

import os
import shutil
import sys
import tempfile
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ezrec.actions import films as actions
from ezrec.domain.clock import SECOND
from ezrec.domain.errors import EzrecError
from ezrec.domain.stages import Stage
from ezrec.store import Store
from tests.fakes.model.faults import WAYS, Fault
from tests.fakes.model.recorder import Recorder
from tests.model.invariants import Watch

SEQUENCES = 200
ACTS = 30  # in a sequence
MOST_BOOKINGS = 4
SPEEDS = (1, 1, 1, 2, 2, 4, 4, 8, 8, 16, 16, 30, 30, *[61] * 20)
"""Seconds between the looks in which, when all goes well, every film must come to its end."""

TALLY: Counter[str] = Counter()
"""What came of the sequences of this process."""

COUNTS = st.sampled_from([1, 1, 2, 3, 4, 13, 40])
SKIPS = st.sampled_from([0, 0, 1, 2, 5])


def _ways(place: str) -> st.SearchStrategy[str]:
    return st.sampled_from(list(WAYS[place]))


FAULTS = st.one_of(*(st.tuples(st.just(place), _ways(place), COUNTS, SKIPS, st.booleans())
                     for place in ("worker", "join", "storage", "part", "store")))


class Films(RuleBasedStateMachine):
    """The acts."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="ezrec-model-", dir=_quick()))
        self.patches = pytest.MonkeyPatch()
        self.recorder = Recorder(self.folder / "data", self.patches)
        self.watch = Watch(self.recorder)
        self.booked = 0

    @initialize(linked=st.booleans(), faults=st.lists(FAULTS, max_size=2))
    def begin(self, linked: bool, faults: list[tuple[str, str, int, int, bool]]) -> None:
        self.recorder.linked = linked
        self.recorder.order(0)
        self.recorder.start()
        self.recorder.run()
        self.book(1, 6)
        for fault in faults:
            self.recorder.faults.add(Fault(*fault))

    # ---- bookings

    @rule(after=st.integers(-4, 6), seconds=st.integers(1, 10))
    def book(self, after: int, seconds: int) -> None:
        if self.booked == MOST_BOOKINGS:
            return
        self.booked += 1
        start = self.recorder.clock.wall_us() + after * SECOND
        self.recorder.rows[f"b{self.booked}"] = _row(f"b{self.booked}", start, start + seconds * SECOND)

    @rule(which=st.integers(0, 9), start=st.integers(-3, 5), end=st.integers(-3, 5))
    def move(self, which: int, start: int, end: int) -> None:
        if not (row := self._row(which)):
            return
        times = [_us(row[key]) + by * SECOND for key, by in (("start_time", start), ("end_time", end))]
        if times[0] < times[1]:
            row.update(_row(row["id"], *times))

    @rule(which=st.integers(0, 9), status=st.sampled_from(["cancelled", "scheduled"]))
    def call_off_or_on(self, which: int, status: str) -> None:
        if row := self._row(which):
            row["status"] = status

    @rule(which=st.integers(0, 9))
    def withdraw(self, which: int) -> None:
        if which < 2 and (row := self._row(which)):
            del self.recorder.rows[row["id"]]

    # ---- time

    @rule()
    def play_on(self) -> None:
        self.let_pass(8)

    @rule(halves=st.integers(1, 6))
    def let_pass(self, halves: int) -> None:
        for _ in range(halves):
            self.recorder.let_pass(0.5)
            self.recorder.run()

    @rule(seconds=st.sampled_from([1.0, 3.0, 10.0, 70.0, 1000.0]))
    def stand_still(self, seconds: float) -> None:
        self.recorder.let_pass(seconds)

    @rule(seed=st.integers(0, 7), jobs=st.none() | st.integers(1, 60))
    def go_on(self, seed: int, jobs: int | None) -> None:
        self.recorder.order(seed)
        self.recorder.run(jobs)

    # ---- harm

    @rule(way=_ways("worker"), count=COUNTS, skip=SKIPS)
    def workers_fail(self, way: str, count: int, skip: int) -> None:
        self.recorder.faults.add(Fault("worker", way, count, skip))

    @rule(way=_ways("join"), count=COUNTS, skip=SKIPS, done=st.booleans())
    def joining_fails(self, way: str, count: int, skip: int, done: bool) -> None:
        self.recorder.faults.add(Fault("join", way, count, skip, done))

    @rule(way=_ways("storage"), count=COUNTS, skip=SKIPS, done=st.booleans())
    def storage_fails(self, way: str, count: int, skip: int, done: bool) -> None:
        self.recorder.faults.add(Fault("storage", way, count, skip, done))

    @rule(way=_ways("part"), count=COUNTS, skip=SKIPS)
    def film_cannot_be_read(self, way: str, count: int, skip: int) -> None:
        self.recorder.faults.add(Fault("part", way, count, skip))

    @rule(count=COUNTS, skip=st.integers(0, 60))
    def store_is_busy(self, count: int, skip: int) -> None:
        self.recorder.faults.add(Fault("store", "locked", count, skip))

    @rule(place=st.sampled_from(["cleanup", "source"]), count=COUNTS, skip=SKIPS, done=st.booleans())
    def others_fail(self, place: str, count: int, skip: int, done: bool) -> None:
        self.recorder.faults.add(Fault(place, "retry", count, skip, done))

    @rule(seconds=st.sampled_from([0.0, 1.0, 3.0]))
    def workers_take(self, seconds: float) -> None:
        self.recorder.workers.takes_s = seconds

    @rule()
    def heal(self) -> None:
        self.recorder.faults.clear()
        self.recorder.dark.clear()
        self.recorder.workers.takes_s = 0.0

    @rule(camera=st.sampled_from(["left", "right"]))
    def fall_silent(self, camera: str) -> None:
        self.recorder.dark ^= {camera}

    @rule(kind=st.sampled_from(["chunk", "film"]), how=st.sampled_from(["changed", "cut", "gone"]))
    def damage(self, kind: str, how: str) -> None:
        self.watch.damage(kind, how)

    @rule(jobs=st.integers(0, 40), away=st.sampled_from([0.0, 1.0, 5.0, 1000.0]))
    def kill(self, jobs: int, away: float) -> None:
        self.recorder.run(jobs)
        self.recorder.kill()
        self.recorder.let_pass(away)
        self.recorder.start()

    @rule()
    def restart(self) -> None:
        self.recorder.stop()
        self.recorder.start()

    @rule(which=st.integers(0, 9))
    def retry(self, which: int) -> None:
        films = self.watch.films()
        if films:
            self._retry(films[which % len(films)]["booking_id"])

    # ---- what must hold

    @invariant()
    def holds(self) -> None:
        TALLY["acts"] += 1
        self.watch.look()

    def teardown(self) -> None:
        try:
            if sys.exc_info()[0] is None:  # else it went wrong already
                self._all_goes_well()
        except BaseException:
            for line in self.recorder.lines[-120:]:
                note(str(line))
            raise
        finally:
            self.watch.close()
            self.recorder.close()
            self.patches.undo()
            shutil.rmtree(self.folder, ignore_errors=True)

    def _all_goes_well(self) -> None:
        """Nothing fails any more: every film ends, at last after a person has sent what is parked on its way again."""
        self.heal()
        self.recorder.order(0)
        self._until_all_end("")
        parked = [film for film in self.watch.films() if film["parked_step"]]
        for film in parked:
            TALLY[f"films parked at {film['parked_step']}"] += 1
            self._retry(film["booking_id"])
        if parked:
            self._until_all_end(" after a retry")
        self.watch.nothing_is_kept()
        TALLY["sequences"] += 1
        TALLY["restarts"] += self.recorder.lives - 1
        for film in self.watch.films():
            last = next((new for booking, _, new in reversed(self.recorder.steps)
                         if booking == film["booking_id"] and new != Stage.CLEANED), film["stage"])
            TALLY[f"films that ended {last}" + (", parked" if film["parked_step"] else "")] += 1
            TALLY["films begun again"] += film["generation"] > 1
        for place, _ in self.recorder.faults.struck:
            TALLY[f"sequences with a failure: {place}"] += 1

    def _until_all_end(self, when: str) -> None:
        for seconds in SPEEDS:
            self.recorder.let_pass(seconds)
            self.recorder.run()
            self.watch.look()
            if not (left := self.watch.not_ended()):
                return
        raise AssertionError(f"does not come to an end{when}: {left}")

    def _retry(self, booking_id: str) -> None:
        path = self.recorder.folder.store

        async def act() -> None:
            store = await Store.open(path, clock=self.recorder.clock)
            try:
                with suppress(EzrecError):
                    await actions.retry(store, booking_id, ZoneInfo("UTC"))
            finally:
                await store.close()

        self.watch.retried(booking_id)
        self.recorder.person(act)

    def _row(self, which: int) -> dict[str, Any] | None:
        rows = list(self.recorder.rows.values())
        return rows[which % len(rows)] if rows else None


def _quick() -> str | None:
    """A folder in memory, if there is one: a model syncs thousands of times."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _row(booking_id: str, start: int, end: int) -> dict[str, Any]:
    return {"id": booking_id, "start_time": _iso(start), "end_time": _iso(end), "status": "scheduled"}


def _iso(us: int) -> str:
    return datetime.fromtimestamp(us / SECOND, UTC).isoformat(timespec="microseconds")


def _us(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * SECOND)


def how_many(sequences: int, **more: Any) -> settings:
    """The settings for so many sequences."""
    return settings(max_examples=sequences, stateful_step_count=ACTS, deadline=None, print_blob=True,
                    suppress_health_check=list(HealthCheck), **more)


TestEveryFilmEnds = Films.TestCase
TestEveryFilmEnds.settings = how_many(SEQUENCES)
