"""Whatever happens, in whatever order, every film comes to an end: a model of bookings, footage, failures and restarts.

The real supervisor with all its tasks runs on made-up time (`tests/fakes/model`). hypothesis chooses what happens: what
is booked, moved, called off or withdrawn; which steps fail, how and how often; when the program is killed, in the
middle of whatever it does; in which order threads come to their turn. After every act the invariants hold. In the end
all goes well, and every film must come to its end within a bounded number of looks.
"""

import sys
from typing import Any

from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ezrec.domain.clock import SECOND
from ezrec.domain.stages import Stage
from ezrec.pipeline import LIVE_US
from tests.fakes.model.faults import WAYS, Fault
from tests.model.play import TALLY, Play, step_to

SEQUENCES = 200
ACTS = 20  # in a sequence
MOST_BOOKINGS = 4
LONG_AGO_S = LIVE_US / SECOND + 60  # a film that was over then is not live any more
TOLD = 120  # newest lines of the log that are shown if something is wrong

COUNTS = st.sampled_from([1, 1, 2, 3, 4, 13, 40])
SKIPS = st.sampled_from([0, 0, 1, 2, 5])
THEN = st.sampled_from([4.0, 0.0, 1.0, 8.0])
"""Seconds that pass after a failure was made up, so that it strikes."""


def _ways(place: str) -> st.SearchStrategy[str]:
    return st.sampled_from(list(WAYS[place]))


FAULTS = st.one_of(*(st.tuples(st.just(place), _ways(place), COUNTS, SKIPS, st.booleans())
                     for place in ("worker", "join", "worker", "join", "storage", "part", "store")))


class Films(RuleBasedStateMachine):
    """The acts."""

    def __init__(self) -> None:
        super().__init__()
        self.play = Play()
        self.recorder = self.play.recorder

    @initialize(linked=st.booleans(), faults=st.lists(FAULTS, max_size=2), backlog=st.sampled_from([0, 0, 0, 2]))
    def begin(self, linked: bool, faults: list[tuple[str, str, int, int, bool]], backlog: int) -> None:
        self.play.begin(linked)
        if backlog:
            self._leave_work(backlog)
        self.play.book(1, 6)
        for fault in faults:
            self.play.fail(Fault(*fault))

    def _leave_work(self, films: int) -> None:
        """Films that were recorded long ago while no worker worked: the play goes on while they are made."""
        for number in range(films):
            self.play.book(1, 20 + number)
        self.play.fail(Fault("worker", "retry", 1000))
        self.play.let_pass(24)
        self.play.heal()
        self.play.kill(LONG_AGO_S)
        self.recorder.workers.takes_s = 1.0

    # ---- bookings

    @rule(after=st.integers(-4, 6), seconds=st.integers(1, 10))
    def book(self, after: int, seconds: int) -> None:
        if self.play.booked < MOST_BOOKINGS:
            self.play.book(after, seconds)

    @rule(which=st.integers(0, 9), start=st.integers(-3, 5), end=st.integers(-3, 5))
    def move(self, which: int, start: int, end: int) -> None:
        if name := self._name(which):
            self.play.move(name, start, end)

    @rule(which=st.integers(0, 9), status=st.sampled_from(["cancelled", "scheduled"]))
    def call_off_or_on(self, which: int, status: str) -> None:
        if name := self._name(which):
            self.play.say(name, status)

    @rule(which=st.integers(0, 9))
    def withdraw(self, which: int) -> None:
        if which < 2 and (name := self._name(which)):
            del self.recorder.rows[name]

    # ---- time

    @rule()
    def play_on(self) -> None:
        self.play.let_pass(4)

    @rule(halves=st.integers(1, 6))
    def let_pass(self, halves: int) -> None:
        self.play.let_pass(halves / 2)

    @rule(tenths=st.integers(1, 9))
    def moment(self, tenths: int) -> None:
        self.play.let_pass(tenths / 10, at_once=0.1)

    @rule(seconds=st.sampled_from([1.0, 3.0, 10.0, 70.0, 1000.0]))
    def stand_still(self, seconds: float) -> None:
        self.recorder.let_pass(seconds)

    @rule(seed=st.integers(0, 7), jobs=st.none() | st.integers(1, 60))
    def go_on(self, seed: int, jobs: int | None) -> None:
        self.recorder.order(seed)
        self.recorder.run(jobs)

    # ---- harm

    @rule(way=_ways("worker"), count=COUNTS, skip=SKIPS, then=THEN)
    def workers_fail(self, way: str, count: int, skip: int, then: float) -> None:
        self.play.fail(Fault("worker", way, count, skip))
        self.play.let_pass(then)

    @rule(way=_ways("join"), count=COUNTS, skip=SKIPS, done=st.booleans(), then=THEN)
    def joining_fails(self, way: str, count: int, skip: int, done: bool, then: float) -> None:
        self.play.fail(Fault("join", way, count, skip, done))
        self.play.let_pass(then)

    @rule(way=_ways("storage"), count=COUNTS, skip=SKIPS, done=st.booleans())
    def storage_fails(self, way: str, count: int, skip: int, done: bool) -> None:
        self.play.fail(Fault("storage", way, count, skip, done))

    @rule(way=_ways("part"), count=COUNTS, skip=SKIPS)
    def film_cannot_be_read(self, way: str, count: int, skip: int) -> None:
        self.play.fail(Fault("part", way, count, skip))

    @rule(count=COUNTS, skip=st.integers(0, 60), to=st.none() | st.sampled_from(list(Stage)))
    def store_is_busy(self, count: int, skip: int, to: Stage | None) -> None:
        self.play.fail(Fault("store", "locked", count, skip) if to is None else
                       Fault("store", "locked", count, about=step_to(to)))

    @rule(place=st.sampled_from(["cleanup", "source"]), count=COUNTS, skip=SKIPS, done=st.booleans())
    def others_fail(self, place: str, count: int, skip: int, done: bool) -> None:
        self.play.fail(Fault(place, "retry", count, skip, done))

    @rule(seconds=st.sampled_from([0.0, 1.0, 3.0]))
    def workers_take(self, seconds: float) -> None:
        self.recorder.workers.takes_s = seconds

    @rule()
    def heal(self) -> None:
        self.play.heal()

    @rule(camera=st.sampled_from(["left", "right"]))
    def fall_silent(self, camera: str) -> None:
        self.recorder.dark ^= {camera}

    @rule(kind=st.sampled_from(["chunk", "film"]), how=st.sampled_from(["changed", "cut", "gone"]), old=st.booleans())
    def damage(self, kind: str, how: str, old: bool) -> None:
        self.play.watch.damage(kind, how, 0 if old else -1)

    @rule(jobs=st.integers(0, 40), away=st.sampled_from([0.0, 1.0, 5.0, 1000.0]))
    def kill(self, jobs: int, away: float) -> None:
        self.recorder.run(jobs)
        self.play.kill(away)

    @rule()
    def restart(self) -> None:
        self.recorder.stop()
        self.recorder.start()

    @rule(which=st.integers(0, 9))
    def retry(self, which: int) -> None:
        films = self.play.watch.films()
        if films:
            self.play.retry(films[which % len(films)]["booking_id"])

    # ---- what must hold

    @invariant()
    def holds(self) -> None:
        TALLY["acts"] += 1
        self.play.watch.look()

    def teardown(self) -> None:
        try:
            if sys.exc_info()[0] is None:  # else it went wrong already
                self.play.all_goes_well()
        except BaseException:
            for line in self.recorder.lines[-TOLD:]:
                note(str(line))
            raise
        finally:
            self.play.leave()

    def _name(self, which: int) -> str | None:
        names = list(self.recorder.rows)
        return names[which % len(names)] if names else None


def how_many(sequences: int, **more: Any) -> settings:
    """The settings for so many sequences."""
    return settings(max_examples=sequences, stateful_step_count=ACTS, deadline=None, print_blob=True,
                    suppress_health_check=list(HealthCheck), **more)


TestEveryFilmEnds = Films.TestCase
TestEveryFilmEnds.settings = how_many(SEQUENCES, derandomize=True)  # always the same: `make models` draws others
