"""Kills the real program at named and at random moments, starts it again and looks at what it made of its films.

Run by `make torture [N=…]`; `test_kill.py` uses the same cases. What is missing is read from the film's own pictures:
frame n of a simulated camera is due at n/rate on the machine's monotonic clock and shows n, so the test knows by
itself which moments of a window nobody can see. That must be what the certificate states, and within promise 5: of
each camera at most 2 s from before a kill, the time until the process runs again, and 5 s.
"""

import random
import signal
import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import av
import numpy as np
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[2]))  # as a command it is started with this folder on the path only

from ezrec.domain.timeline import Interval, clip, length, union, without
from tests.fakes.many import arguments, judge, keep_of, run_all, seed_of
from tests.fakes.missing import TICK_US, clocks_us, hold_against, mono_us, show, utc_us, window_of
from tests.fakes.site import Site, files_below
from tests.fakes.waiting import wait_until

LOST_US, AGAIN_US = 2_000_000, 5_000_000  # promise 5
BUSY_US = 3_000_000  # a start that takes longer is the fault of a machine that runs many of these at a time
ORDERLY_LOST_US = 2 * TICK_US  # a frame may be under way when SIGTERM comes
LEAD_S, BOOKED_S = 1.2, 2.2  # how long before a window the cameras start, and it is booked
START_S = 1.5  # what a start takes; on a machine that needs longer, windows are longer too
LIMIT_S = 180.0

STEPS = ("recorded", "rendered", "uploaded", "published", "cleaned")
BEFORE_AND_AFTER: tuple[tuple[tuple[str, Mapping[str, Any]], tuple[str, Mapping[str, Any]]], ...] = (
    (("window opens", {}), ("booking started", {})),
    (("sealing segment", {}), ("segment written", {})),
    (("segment written", {}), ("segment sealed", {})),
    (("recipe frozen", {}), ("chunk planned", {"chunk": 1})),
    (("planning chunk", {}), ("chunk planned", {})),
    (("rendering chunk", {}), ("chunk rendered", {})),
    (("joining intro", {}), ("intro joined", {})),
    (("joining chunk", {}), ("chunk joined", {})),
    (("closing film", {}), ("film closed", {})),
    (("uploading part", {}), ("part uploaded", {})),
    (("storing film", {}), ("film stored", {})),
    (("writing row", {}), ("row written", {})),
    (("cleaning film", {}), ("film cleaned", {})),
    (("segments marked", {}), ("segments deleted", {})),
    *((("taking step", {"to": to}), ("step taken", {"to": to})) for to in STEPS),
)
"""Every durable step: the line of the log in front of it and the one behind it."""

MOMENTS = [moment for pair in BEFORE_AND_AFTER for moment in pair]
REPEATED = {"sealing segment", "segment written", "segment sealed", "planning chunk", "chunk planned",
            "rendering chunk", "chunk rendered", "joining chunk", "chunk joined"}
"""Lines that come several times in a window."""

CAMERAS: dict[str, dict[str, Any]] = {
    "simulated": {}, "picamera2": {"source": "picamera2"}, "warm": {"source": "picamera2", "keep_warm": True}}

ONE = (("match", 0.0, 5.0),)
BACK_TO_BACK = (("first", 0.0, 3.0), ("second", 3.0, 6.0))
OVERLAPPING = (("early", 0.0, 4.0), ("late", 2.0, 6.0))


@dataclass(frozen=True)
class Kill:
    """When one life of the recorder ends: at the nth line of the log with this event, or so long after it is ready."""

    event: str | None = None
    where: Mapping[str, Any] = field(default_factory=dict)
    nth: int = 1
    after_s: float = 0.0
    number: int = signal.SIGKILL

    @property
    def order(self) -> dict[str, Any] | None:
        """The same for `Site.start`; None if it comes by the clock."""
        if self.event is None:
            return None
        return {"event": self.event, "where": dict(self.where), "nth": self.nth, "signal": int(self.number)}

    def __str__(self) -> str:
        words = f"{self.event} {' '.join(map(str, self.where.values()))}".rstrip() if self.event else "at"
        many = (f" #{self.nth}" if self.nth > 1 else "") if self.event else f" {self.after_s:.2f} s"
        return words + many + (" (TERM)" if self.number == signal.SIGTERM else "")


@dataclass(frozen=True)
class Case:
    """Windows to be recorded (id, start and end in s), and how the lives of the recorder end, one after the other."""

    kills: tuple[Kill, ...]
    windows: tuple[tuple[str, float, float], ...] = ONE
    branded: bool = False
    segment_s: float = 1.0  # longer ones would lose more than is allowed if they were not taken over after a crash
    cameras: Mapping[str, Any] = field(default_factory=dict)  # settings
    excused: Collection[str] | None = ()  # events that may be logged as errors; None: all

    def __str__(self) -> str:
        return ", then ".join(map(str, self.kills))


@dataclass
class Outcome:
    """What one case came to."""

    case: Case
    killed_s: list[float] = field(default_factory=list)  # s after the first window's start
    never: list[Kill] = field(default_factory=list)  # kills whose moment never came
    lost_s: float = 0.0  # of a camera, from before one kill, at most
    missing_s: float = 0.0  # of the camera that misses more, as the pictures tell
    stated_s: float = 0.0  # the same as the certificates tell
    film_s: float = 0.0
    back_s: float = 0.0  # the longest time from a start to "ready"
    wrong: str = ""


@dataclass(frozen=True)
class _Death:
    at_us: int  # monotonic
    number: int
    again_us: int  # when the next process ran


def brand(folder: Path) -> dict[str, Any]:
    """A tiny intro and a logo in `folder`; the settings of a film that shows them."""
    folder.mkdir(parents=True, exist_ok=True)
    with av.open(str(folder / "intro.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 96, 54, "yuv420p"
        for shade in range(0, 250, 50):
            picture = np.full((54, 96, 3), shade, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    with av.open(str(folder / "logo.png"), "w", format="image2", options={"update": "1"}) as container:
        stream = container.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = 32, 16, "rgb24"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((16, 32, 3), 200, np.uint8), format="rgb24")))
        container.mux(stream.encode(None))
    logo = {"name": "venue", "file": str(folder / "logo.png"), "position": "top_left", "width": 0.1}
    return {"intro": str(folder / "intro.mp4"), "logos": [logo]}


def run_case(folder: Path, case: Case, make_site: Callable[..., Site] = Site) -> Outcome:
    """Carry a case out in `folder`, which must be empty; what went wrong is told, not raised."""
    outcome = Outcome(case)
    return judge(folder, case, outcome, lambda: _run(folder, case, outcome, make_site))


def _run(folder: Path, case: Case, outcome: Outcome, make_site: Callable[..., Site]) -> None:
    site = make_site(folder, film=brand(folder / "brand") if case.branded else {},
                cameras={"lead_s": LEAD_S, **case.cameras}, recorder={"segment_s": case.segment_s})
    ahead_us = clocks_us()
    ids = [booking_id for booking_id, _, _ in case.windows]
    deaths: list[tuple[int, int]] = []
    started_us: list[int] = []
    try:
        first_at = 0.0
        for told in (*case.kills, None):
            kill = told
            started_us.append(mono_us())
            since = len(site.lines)
            site.start(kill and kill.order)
            ready = wait_until(lambda since=since: _line(site, since, "ready") or not site.alive(), LIMIT_S, "ready")
            if not first_at:
                busy_s = max(0.0, (mono_us() - started_us[0]) / 1e6 - START_S)
                first_at, scale = time.time() + BOOKED_S + busy_s, 1 + len(case.kills) * (busy_s + 1) / 3 - 1 / 3
                for booking_id, start, end in case.windows:
                    site.book_at(booking_id, first_at + start * scale, first_at + end * scale)
                kill = kill and replace(kill, after_s=kill.after_s + busy_s)
            elif isinstance(ready, dict):
                ready_us = utc_us(ready["at"]) - ahead_us
                outcome.back_s = max(outcome.back_s, (ready_us - started_us[-1]) / 1e6)
                started_us[-1] = max(started_us[-1], ready_us - BUSY_US)
            if kill is None:
                break
            died_us = _die(site, kill, since, ids, ahead_us)
            if died_us is None:
                outcome.never.append(kill)
                break
            deaths.append((died_us, kill.number))
            outcome.killed_s.append((died_us + ahead_us) / 1e6 - first_at)
        for booking_id in ids:
            site.wait_stage(booking_id, "cleaned", limit_s=LIMIT_S)
        spent = [_Death(at, number, again) for (at, number), again in zip(deaths, started_us[1:], strict=False)]
        for booking_id in ids:
            _look(site, booking_id, spent, ahead_us, outcome)
        site.check_no_leftovers()
        assert len(site.films_in_library()) == len(ids), site.films_in_library()
        status = site.stop()
        assert status == 0 or outcome.never, f"it ended with {status}\n{site.errors[-600:]}"
        errors = [line for line in site.lines if line.get("level") in ("error", "critical")
                  and case.excused is not None and line.get("event") not in case.excused]
        assert not errors, errors
    finally:
        site.end()


def _die(site: Site, kill: Kill, since: int, ids: Sequence[str], ahead_us: int) -> int | None:
    """Wait for (or bring about) the end of this life; when it was told to end, monotonic µs. None: it lived on."""
    if kill.event is None:
        until = time.monotonic() + kill.after_s
        wait_until(lambda: time.monotonic() >= until, kill.after_s + 1)
        told_us = mono_us()
        site.signal(kill.number)
    else:
        def over() -> bool:
            films = [site.film(booking_id) for booking_id in ids]
            return (all(film and film["stage"] == "cleaned" for film in films)
                    and not files_below(site.data / "segments"))
        wait_until(lambda: not site.alive() or over(), LIMIT_S, f"the process to die at {kill}")
        if site.alive() and not _told(site, kill, since):
            site.kill()
            return None
    status = site.wait_dead()
    expected = 0 if kill.number == signal.SIGTERM else -kill.number
    assert status == expected, f"{kill}: it ended with {status}\n{site.errors[-600:]}"
    if kill.event is not None:
        told = _told(site, kill, since)
        assert told, f"{kill}: it died of something else"
        told_us = utc_us(told["at"]) - ahead_us
    return told_us


def _told(site: Site, kill: Kill, since: int) -> dict[str, Any] | None:
    """The line at which this life got its signal."""
    lines = [line for line in site.lines[since:] if line.get("event") == kill.event
             and all(line.get(key) == value for key, value in kill.where.items())]
    return lines[kill.nth - 1] if len(lines) >= kill.nth else None


def _line(site: Site, since: int, event: str) -> dict[str, Any] | None:
    return next((line for line in site.lines[since:] if line.get("event") == event), None)


def _look(site: Site, booking_id: str, deaths: Sequence[_Death], ahead_us: int, outcome: Outcome) -> None:
    """Hold a film against its certificate, and both against promise 5."""
    certificate, seen = site.check(booking_id)
    start, end = window_of(certificate, ahead_us)
    missing_s = stated_s = 0.0
    for camera, told in hold_against(certificate, seen, ahead_us).items():
        unpardoned = without(told.missing, _pardoned(deaths))
        assert length(unpardoned) <= told.counted_us, (
            f"{booking_id} {camera}: missing {show(unpardoned, start)}, deaths "
            f"{show([(death.at_us, death.again_us) for death in deaths], start)}")
        missing_s = max(missing_s, length(told.missing) / 1e6)
        back_us = 0
        for death in deaths:
            before = clip(told.missing, min(max(death.at_us - 2 * LOST_US, back_us), death.at_us), death.at_us)
            outcome.lost_s = max(outcome.lost_s, length(before) / 1e6)
            back_us = death.again_us + AGAIN_US
        stated_s = max(stated_s, length(clip(told.stated, start, end)) / 1e6)
    outcome.missing_s += missing_s
    outcome.stated_s += stated_s
    outcome.film_s += certificate["film_seconds"]


def _pardoned(deaths: Iterable[_Death]) -> tuple[Interval, ...]:
    """The times that may be missing."""
    return union((death.at_us - (LOST_US if death.number == signal.SIGKILL else ORDERLY_LOST_US),
                  death.again_us + AGAIN_US) for death in deaths)


# ---- the command


def named_cases() -> list[Case]:
    """Every named moment, those of a window's middle at a later occurrence too."""
    kills = [Kill(event, where) for event, where in MOMENTS]
    kills += [Kill(event, nth=3) for event in sorted(REPEATED)]
    return [Case((kill,), branded="intro" in (kill.event or "")) for kill in kills]


def cases(number: int, dice: random.Random) -> list[Case]:
    """So many cases: named moments for up to six tenths of them, then random ones; some with more than that."""
    named = named_cases()
    dice.shuffle(named)
    named = named[:-(-number * 6 // 10)]
    random_ones = [Case((_at_random(dice),)) for _ in range(number - len(named))]
    return [_varied(case, dice) for case in named + random_ones]


def _at_random(dice: random.Random) -> Kill:
    return Kill(after_s=dice.uniform(0, 9))


def _varied(case: Case, dice: random.Random) -> Case:
    windows = dice.choices((ONE, BACK_TO_BACK, OVERLAPPING), (3, 1, 1))[0]
    kills = case.kills
    if dice.random() < 0.15:
        kills = tuple(replace(kill, number=signal.SIGTERM) for kill in kills)
    if dice.random() < 0.25:
        event, where = dice.choice(MOMENTS)
        kills += (dice.choice((Kill(after_s=dice.uniform(0, 3)), Kill(event, where))),)
    return replace(case, kills=kills, windows=windows, branded=case.branded or dice.random() < 0.2,
                   segment_s=dice.choice((1.0, 1.0, 4.0)))


def main() -> int:
    """Run as many cases as asked, several at a time; the exit status."""
    parser = arguments("Kill the real program again and again and look at what it leaves.")
    parser.add_argument("--cameras", choices=CAMERAS, default="simulated",
                        help="picamera2 is the real one on the stand-in for libcamera; warm: the same, kept warm")
    wanted = parser.parse_args()
    seed, keep = seed_of(wanted), keep_of(wanted, "torture")
    console = Console(width=None if sys.stdout.isatty() else 150)
    console.print(f"{wanted.runs} cases, {wanted.parallel} at a time, seed {seed}")
    began = time.monotonic()
    cameras = CAMERAS[wanted.cameras]
    drawn = [replace(case, cameras=cameras) for case in cases(wanted.runs, random.Random(seed))]
    outcomes = run_all(drawn, run_case, _said, parallel=wanted.parallel, keep=keep, console=console)
    console.print(_table(outcomes))
    bad = [outcome for _, outcome in outcomes if outcome.wrong]
    for number, outcome in outcomes:
        if outcome.wrong:
            console.print(f"[red]{number}[/red] {keep / str(number)}: {outcome.wrong[:600]}", highlight=False)
    killed = sum(len(outcome.killed_s) for _, outcome in outcomes)
    never = sum(len(outcome.never) for _, outcome in outcomes)
    worst = max((outcome.back_s for _, outcome in outcomes), default=0.0)
    console.print(f"{len(outcomes) - len(bad)} of {len(outcomes)} good; {killed} kills, {never} moments that never "
                  f"came; slowest start {worst:.1f} s; {time.monotonic() - began:.0f} s in all; seed {seed}")
    return 1 if bad else 0


def _said(case: Case, outcome: Outcome) -> str:
    return f"bad: {case}: {outcome.wrong.splitlines()[0][:200]}" if outcome.wrong else ""


def _table(outcomes: Sequence[tuple[int, Outcome]]) -> Table:
    table = Table("n", "moment", "films", "killed at, s", "missing, s", "stated, s", "film, s", "verdict")
    for number, outcome in outcomes:
        films = f"{len(outcome.case.windows)}{' with intro and logo' if outcome.case.branded else ''}"
        verdict = "[red]bad[/red]" if outcome.wrong else "good, never came" if outcome.never else "good"
        table.add_row(str(number), str(outcome.case), films, ", ".join(f"{at:.2f}" for at in outcome.killed_s),
                      f"{outcome.missing_s:.2f}", f"{outcome.stated_s:.2f}", f"{outcome.film_s:.2f}", verdict)
    return table


if __name__ == "__main__":
    sys.exit(main())
