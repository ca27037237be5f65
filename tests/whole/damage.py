"""Damages the data folder of the real program between kills, starts it again and looks at what it makes of the rest.

Run by `make damage [N=…]`; `test_damage.py` runs ten of the same cases. In each a match is recorded, the program is
killed at some moment, and some files of its folder come to harm (`tests.fakes.harm`, `tests.fakes.random_harm`), once
or several times. The next start must be ready soon, and record and publish another booking, `due`, whole. The match
must be published as far as its footage was left unharmed; otherwise it is parked or gone. Nothing is published twice,
and what a film lacks, as its own pictures tell, is what its certificate states.

A case is drawn from one number, its seed: `make damage N=1 ARGS="--seed 17"` runs that one again. Its moments are those
of the machine: which files lie there to be harmed may differ.
"""

import json
import random
import shutil
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[2]))  # as a command it is started with this folder on the path only

from ezrec.adapters.cameras.synthetic.counters import look_at
from ezrec.domain.timeline import Interval, clip, common, length, union, without
from tests.fakes.harm import HARMS
from tests.fakes.many import arguments, judge, keep_of, run_all, seed_of
from tests.fakes.missing import TICK_US, clocks_us, hold_against, mono_us, show, utc_us, window_of
from tests.fakes.random_harm import TARGETS, do_harm
from tests.fakes.site import Site, check_certificate
from tests.fakes.waiting import wait_until
from tests.whole.torture import MOMENTS, REPEATED, Kill

BOOKED_S, LASTS_S = 1.2, 3.0  # the match: from when it is booked, and how long
DUE_S, DUE_LASTS_S = 3.5, 1.5  # the booking that is due: from the last start
READY_S = 15.0  # on a machine that runs several of these at a time
MOST_LEAVES = 2  # how often it may leave by itself, for damage that shows while it runs
GAP_US = 500_000  # of the booking that is due
PARDON_US = 2_000_000  # around a time at which it did not run
ENOUGH_US = 1_000_000  # of a camera's unharmed footage: a film must come of that
LIMIT_S = 240.0  # footage that is missing is waited for a minute by the recipe, and another by its chunk
MOMENT_S = 6.0  # how long after the match a kill's moment is waited for


@dataclass(frozen=True)
class Round:
    """One life's end, and what comes to harm afterwards: names of HARMS or of TARGETS."""

    kill: Kill
    harms: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.kill}"


@dataclass(frozen=True)
class Case:
    """What is done, drawn from `seed`."""

    seed: int
    rounds: tuple[Round, ...]
    in_file: bool  # the match stands in the bookings file; else in the store alone
    links: bool  # the library may have a film by link


@dataclass
class Outcome:
    """What one case came to."""

    case: Case
    harms: set[str] = field(default_factory=set)  # that could be done
    done: list[str] = field(default_factory=list)  # the same in more words
    ready_s: float = 0.0  # the longest time from a start to "ready"
    leaves: int = 0
    verdict: str = ""  # of the match
    detail: str = ""
    wrong: str = ""

    def __str__(self) -> str:
        return (f"{'BAD' if self.wrong else 'good'}, match {self.verdict or 'not looked at'}: seed {self.case.seed}, "
                f"killed {', '.join(map(str, self.case.rounds))}; {'; '.join(self.done)}"
                + (f" ({self.detail})" if self.detail else "")
                + (f"\n    {self.wrong.splitlines()[0][:400]}" if self.wrong else ""))


VERDICTS = ("whole", "with gaps", "parked", "lost")


def draw(seed: int) -> Case:
    """The case of this seed."""
    dice = random.Random(seed)
    count = dice.choices((1, 2, 3), (75, 18, 7))[0]
    rounds = tuple(Round(_kill(dice, 7.0 if number == 0 else 3.0), _harms(dice)) for number in range(count))
    return Case(seed, rounds, in_file=dice.random() < 0.6, links=dice.random() < 0.7)


def _kill(dice: random.Random, latest_s: float) -> Kill:
    if dice.random() < 0.5:
        return Kill(after_s=dice.uniform(0.2, latest_s))
    event, where = dice.choice([moment for moment in MOMENTS if "intro" not in moment[0]])
    return Kill(event, where, nth=dice.choice((1, 2, 3)) if event in REPEATED else 1)


def _harms(dice: random.Random) -> tuple[str, ...]:
    named = [name for name in HARMS if name != "nothing"]
    targets, weights = list(TARGETS), [weight for weight, _ in TARGETS.values()]
    chance = dice.random()
    if chance < 0.3:
        return tuple(dice.sample(named, 2))
    if chance < 0.5:
        return dice.choice(named), *dice.choices(targets, weights)
    return tuple(dice.choices(targets, weights, k=dice.choice((1, 2))))


def run_case(folder: Path, case: Case) -> Outcome:
    """Carry a case out in `folder`, which must be empty; what went wrong is told, not raised."""
    trial = _Trial(folder, case)
    try:
        return judge(folder, case, trial.outcome, trial.run)
    finally:
        trial.site.end()


class _Trial:
    """One case being carried out."""

    def __init__(self, folder: Path, case: Case) -> None:
        self.case = case
        self.outcome = Outcome(case)
        self.site = Site(folder, bookings={"file": str(folder / "bookings.json")})
        self._dice = random.Random(f"harm {case.seed}")
        self._ahead_us = clocks_us()
        self._rows: list[dict[str, str]] = []
        self._ends_at = 0.0  # of the match, UTC
        self._since = 0  # the first line of the log that is this life's
        self._started_us = 0
        self._down_us: int | None = None  # since when it has not been ready
        self._away: list[Interval] = []  # when it did not run
        self._left: dict[Path, tuple[str, Interval]] = {}  # segments that no harm was done to: camera and time
        self._store_harmed = self._film_harmed = False

    def run(self) -> None:
        self._write_bookings()
        for number, one in enumerate(self.case.rounds):
            self._start(one.kill)
            if number == 0:
                self._book_match()
            self._die(one.kill)
            self._harm(one.harms)
        self._book("due", time.time() + DUE_S, DUE_LASTS_S)
        self._start()
        self._settle()
        self._look_at_due()
        self._look_at_match()
        self._look_at_leftovers()
        self._look_at_log()
        status = self.site.stop()
        assert status == 0, f"it ended with {status}\n{self.site.errors[-600:]}"

    # ---- what is done

    def _write_bookings(self) -> None:
        self.site.bookings_file.write_text(json.dumps(self._rows), "utf-8")

    def _book(self, booking_id: str, starts: float, lasts_s: float) -> None:
        start, end = (datetime.fromtimestamp(at, UTC).isoformat() for at in (starts, starts + lasts_s))
        self._rows.append({"id": booking_id, "start_time": start, "end_time": end})
        self._write_bookings()

    def _book_match(self) -> None:
        starts = time.time() + BOOKED_S
        self._ends_at = starts + LASTS_S
        if self.case.in_file:
            self._book("match", starts, LASTS_S)
        else:
            self.site.book_at("match", starts, self._ends_at, reported=True)
        self.site.wait_said("booking known", booking="match")

    def _start(self, kill: Kill | None = None) -> None:
        """Start it, and wait until it is ready, or killed before that by its order."""
        self._since, self._started_us = len(self.site.lines), mono_us()
        self.site.start(kill.order if kill else None, {} if self.case.links else {"NO_LINKS": "1"})
        wait_until(lambda: self._ready() or not self.site.alive(), LIMIT_S, "ready")
        line = self._ready()
        if line is None and kill and self.site.wait_dead() == -kill.number:
            return
        assert line, f"it ended without being ready\n{self.site.errors[-1000:]}"
        ready_us = utc_us(line["at"]) - self._ahead_us
        took_s = (ready_us - self._started_us) / 1e6
        self.outcome.ready_s = max(self.outcome.ready_s, took_s)
        assert took_s < READY_S, f"ready after {took_s:.1f} s"
        self._away.append((self._down_us or self._started_us, ready_us))
        self._down_us = None

    def _ready(self) -> dict[str, Any] | None:
        return next((line for line in self.site.lines[self._since:] if line.get("event") == "ready"), None)

    def _die(self, kill: Kill) -> None:
        """Wait until it is killed; its log's line may never come: then it is killed a while after the match."""
        until = time.monotonic() + kill.after_s
        if kill.event:
            until = time.monotonic() + max(0.0, self._ends_at - time.time()) + MOMENT_S
        wait_until(lambda: time.monotonic() >= until or not self.site.alive(), LIMIT_S)
        self._down_us = self._down_us or mono_us()
        self.site.signal(kill.number)
        status = self.site.wait_dead()
        assert status == -kill.number, f"it ended by itself with {status}\n{self.site.errors[-1000:]}"

    def _harm(self, harms: Sequence[str]) -> None:
        before, segments = self._files(), self._segments()
        self._left |= segments
        for name in harms:
            if not self._do_harm(name):
                self._do_harm("the store")
        after = self._files()
        changed = {path for path in before if after.get(path) != before[path]}
        self._left = {path: found for path, found in self._left.items() if path not in changed}
        data = self.site.data
        self._store_harmed |= bool(changed & {data / "ezrec.db", data / "ezrec.db-wal"})
        self._film_harmed |= any(path.is_relative_to(self.site.library) and path.suffix == ".mp4" for path in changed)

    def _do_harm(self, name: str) -> bool:
        """Do this harm, if there is anything that it can be done to."""
        data, done = self.site.data, name
        try:
            if name in HARMS:
                HARMS[name](data)
            else:
                done = do_harm(data, name, self._dice) or ""
        except (OSError, ValueError, TypeError, sqlite3.Error):  # it is not there any more, or not yet
            return False
        if done:
            self.outcome.harms.add(name)
            self.outcome.done.append(done)
        return bool(done)

    def _files(self) -> dict[Path, tuple[int, ...]]:
        """What tells each file that matters from another or a changed one."""
        found = [path for pattern in ("ezrec.db", "ezrec.db-wal", "segments/*/*/*.ts", "library/**/*.mp4")
                 for path in self.site.data.glob(pattern)]
        return {path: (status.st_ino, status.st_mode, status.st_size, status.st_mtime_ns)
                for path in found for status in [path.lstat()]}

    def _segments(self) -> dict[Path, tuple[str, Interval]]:
        """The segments that are whole for certain: of each camera and run all but the last."""
        found = {}
        for folder in self.site.data.glob("segments/*/*/"):
            paths = sorted((path for path in folder.glob("*.ts") if path.is_file() and path.stem.isdecimal()),
                           key=lambda path: int(path.stem))
            found |= {one: (folder.name, (int(one.stem), int(other.stem))) for one, other in pairwise(paths)}
        return found

    def _settle(self) -> None:
        """Wait until nothing is left to do; a program that leaves for damage is started again, as systemd would."""
        until = time.monotonic() + LIMIT_S
        while not self._settled():
            if not self.site.alive():
                status = self.site.wait_dead()
                self._down_us = mono_us()
                self.outcome.leaves += 1
                assert status > 0, f"it died with {status}\n{self.site.errors[-1000:]}"
                assert self.outcome.leaves <= MOST_LEAVES, f"it leaves again and again\n{self.site.errors[-600:]}"
                self._start()
            assert time.monotonic() < until, f"not settled: match is {self._film('match')}, due {self._film('due')}"
            time.sleep(0.1)

    def _settled(self) -> bool:
        due = self._film("due")
        assert not due or not (due["parked_reason"] or due["stage"] == "missed"), due
        return bool(due) and due["stage"] == "cleaned" and self._match_settled()

    def _match_settled(self) -> bool:
        film = self._film("match")
        if film is None:
            return not self._must_be_there()
        return bool(film["parked_reason"]) or film["stage"] in ("cleaned", "missed", "cancelled")

    def _film(self, booking_id: str) -> dict[str, Any] | None:
        try:
            return self.site.film(booking_id) if self.site.alive() else None
        except sqlite3.Error:  # damage that it will soon leave for
            return None

    # ---- what must be true

    def _must_be_there(self) -> bool:
        """Whether the match must have a film: the store knows of it, or its booking and footage do."""
        return not self._store_harmed or (self.case.in_file and self._is_enough() and not self._objects())

    def _is_enough(self) -> bool:
        return any(length(times) >= ENOUGH_US for times in self._unharmed().values())

    def _unharmed(self) -> dict[str, tuple[Interval, ...]]:
        """The times in the match of which each camera's footage came to no harm."""
        start, end = (round(at * 1e6) - self._ahead_us for at in (self._ends_at - LASTS_S, self._ends_at))
        return {camera: clip((times for name, times in self._left.values() if name == camera), start, end)
                for camera in ("left", "right")}

    def _objects(self) -> list[Path]:
        return [path for path in self.site.films_in_library() if path.name.startswith("match")]

    def _look_at_due(self) -> None:
        certificate, seen = self.site.check("due")
        start, _ = window_of(certificate, self._ahead_us)
        away = union((died - PARDON_US, again + PARDON_US) for died, again in self._away)
        for camera, told in hold_against(certificate, seen, self._ahead_us).items():
            gaps = [gap for gap in without(told.missing, away) if gap[1] - gap[0] > GAP_US]
            assert not gaps, f"due, {camera}: missing {show(gaps, start)}"

    def _look_at_match(self) -> None:
        film, objects = self._film("match"), self._objects()
        rows = len(self.site.rows("SELECT 1 FROM video WHERE booking_id LIKE 'match%'"))
        assert len(objects) <= 1, f"published twice: {objects}"
        assert rows <= 1, "two rows of the match"
        if not self._film_harmed:
            for path in objects:  # also those of which the store has lost its row
                look_at(path, 0, ["left", "right"])
        self.outcome.verdict, self.outcome.detail = self._verdict(film)
        failed = self.site.rows("SELECT body FROM outbox WHERE body LIKE '%failed%'")
        lost_at = self.site.rows("SELECT max(at) AS at FROM recovery")[0]["at"] or 0
        assert not failed or lost_at < self._ends_at * 1e6, f"told of what lies before the store was lost: {failed}"

    def _verdict(self, film: dict[str, Any] | None) -> tuple[str, str]:
        """What became of the match, and why."""
        if film is None:
            return "lost", "published already" if self._objects() else "its rows are lost"
        if film["stage"] in ("missed", "cancelled"):
            assert not self._is_enough(), f"{film['stage']}, though there is footage: {self._unharmed()}"
            assert not self._objects(), f"{film['stage']}, though it was published"
            return "lost", film["stage"]
        if film["stage"] != "cleaned":
            assert self._film_harmed or not self._is_enough(), (
                f"parked, though there is footage: {film['parked_step']}: {film['parked_reason']}")
            return "parked", film["parked_reason"]
        if self._film_harmed:
            return "lost", "published, and its object came to harm"
        return ("whole" if self._check_film(film) else "with gaps"), ""

    def _check_film(self, film: dict[str, Any]) -> bool:
        """Hold the match's film against its certificate and its unharmed footage; whether only the kills cost it
        anything."""
        if self._store_harmed:  # the table of what was published may be lost alone
            assert [self.site.library / film["object_key"]] == self._objects()
            certificate, seen = self.site.look_at("match")
            check_certificate(certificate, seen)
        else:
            certificate, seen = self.site.check("match")
        if self.site.said("run recovered", by="the times of its files"):  # its times are true to a second only
            return False
        start, _ = window_of(certificate, self._ahead_us)
        unharmed, whole = self._unharmed(), True
        away = union((died - PARDON_US, again + PARDON_US) for died, again in self._away)
        for camera, told in hold_against(certificate, seen, self._ahead_us).items():
            spoiled = common(told.missing, unharmed[camera])
            assert length(spoiled) <= told.counted_us + 4 * TICK_US, (
                f"match, {camera}: missing {show(spoiled, start)}, of which there was unharmed footage: "
                f"{show(unharmed[camera], start)}")
            whole &= length(without(told.missing, away)) <= told.counted_us
        return whole

    def _look_at_leftovers(self) -> None:
        """What was set aside stays for a while; so does all footage after the store was lost, and a parked film's."""
        film = self._film("match")
        if film and film["stage"] == "cleaned" and not self.site.rows("SELECT 1 FROM recovery"):
            for aside in (self.site.data / "aside", self.site.data / "segments" / "aside"):
                shutil.rmtree(aside, ignore_errors=True)
            self.site.check_no_leftovers()

    def _look_at_log(self) -> None:
        ended = self.site.said("task ended, starting it again")
        assert not ended, ended
        raised = [line for line in self.site.lines if "exception" in line and line.get("event") != "leaving"]
        assert not raised, raised
        assert "Traceback" not in self.site.errors, self.site.errors[-1000:]
        left = self.site.said("leaving")
        assert len(left) == self.outcome.leaves, left
        assert all("damage" in line.get("exception", "").lower() for line in left), left


# ---- the command


def main() -> int:
    """Run as many cases as asked, several at a time; the exit status."""
    wanted = arguments("Damage the real program's data folder between kills and look at what it makes of it.") \
        .parse_args()
    seed, keep = seed_of(wanted), keep_of(wanted, "damage")
    console = Console(width=None if sys.stdout.isatty() else 150)
    console.print(f"{wanted.runs} cases, {wanted.parallel} at a time, seeds from {seed}; what bad ones leave: {keep}")
    began = time.monotonic()
    cases = [draw(seed + number) for number in range(wanted.runs)]
    outcomes = [outcome for _, outcome in run_all(cases, run_case, lambda _, outcome: str(outcome),
                                                  parallel=wanted.parallel, keep=keep, console=console)]
    console.print(_table(outcomes))
    bad = [outcome for outcome in outcomes if outcome.wrong]
    for outcome in bad:
        console.print(f"bad: make damage N=1 ARGS=\"--seed {outcome.case.seed}\": {outcome.wrong[:600]}",
                      highlight=False, markup=False)
    counts = Counter(outcome.verdict for outcome in outcomes)
    console.print(f"{len(outcomes) - len(bad)} of {len(outcomes)} good; match "
                  f"{', '.join(f'{verdict}: {counts[verdict]}' for verdict in VERDICTS)}; left for damage "
                  f"{sum(outcome.leaves for outcome in outcomes)} times; slowest start "
                  f"{max((outcome.ready_s for outcome in outcomes), default=0.0):.1f} s; "
                  f"{time.monotonic() - began:.0f} s in all; seeds from {seed}")
    if not bad:
        shutil.rmtree(keep, ignore_errors=True)
    return 1 if bad else 0


def _table(outcomes: Sequence[Outcome]) -> Table:
    """What became of the matches, by harm; a case with several harms counts for each."""
    table = Table("harm", "cases", *VERDICTS, "bad", "slowest start, s")
    for name in [*TARGETS, *HARMS]:
        ours = [outcome for outcome in outcomes if name in outcome.harms]
        if ours:
            counts = Counter(outcome.verdict for outcome in ours)
            table.add_row(name, str(len(ours)), *(str(counts[verdict] or "") for verdict in VERDICTS),
                          str(sum(bool(outcome.wrong) for outcome in ours) or ""),
                          f"{max(outcome.ready_s for outcome in ours):.1f}")
    return table


if __name__ == "__main__":
    sys.exit(main())
