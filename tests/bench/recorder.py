"""The real recorder at work: how soon films are there, frames lost, memory, bytes written, what holds the event loop.

`python -m ezrec run` with default settings (but for the picture's size, logos and an intro) on simulated cameras. What
drawing and encoding them costs is part of all that is measured: on a Pi 5 the cameras are encoded in this process, too.
"""

import asyncio
import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import psutil

from ezrec.adapters.workers import RenderPool
from ezrec.domain.film import ChunkJob
from ezrec.media import demo_media
from ezrec.media.chunk import render
from tests.bench.footage import RATE, SETTINGS, bitrate, chunk_us, recipe_for, take
from tests.bench.result import Plan, Row, Say, mb
from tests.bench.watching import Watch, written
from tests.fakes.site import ROOT, Site

FULL = (1920, 1080)
SIZES = (FULL, (1600, 900), (1280, 720), (960, 540), (640, 360))
ROOM = 1.5  # how much more CPU than needed a machine must have for its delays to be worth measuring
PATIENCE_S = 300.0  # after a window's end
HOLD = Path(__file__).parent / "hold"

_found: dict[Path, tuple[tuple[int, int], float]] = {}  # what `room_for` found, by the folder of the bench's run


@dataclass
class Booked:
    """What one booking came to."""

    seconds: int
    delay_s: float | None = None  # from the window's end until the film was published
    watch: Watch | None = None
    recorded: int = 0  # bytes of its segments
    written: int = 0  # bytes to the disk
    left_out: dict[str, int] = field(default_factory=dict)  # camera → frames that sensor times say are missing
    lost: int = 0  # frames that a camera handed over and that are in no segment
    late_max_ms: int = 0  # the longest time from the sensor to the file
    holds: list[dict[str, Any]] = field(default_factory=list)  # callbacks that held the event loop
    late_s: float = 0.0  # that the loop ever came too late, whatever held it

    @property
    def delay(self) -> float:
        """The delay, or for ever."""
        return self.delay_s if self.delay_s is not None else float("inf")


class Court:
    """A data folder with the recorder on it; `make_site` makes it, a `Site` or one with a cloud.

    `notice_s` is how long the recorder may take to hear of a booking before its cameras are due.
    """

    def __init__(self, folder: Path, size: tuple[int, int], make_site: Callable[..., Site] = Site,
                 notice_s: float = 3) -> None:
        logos, intro = demo_media.make(folder / "venue")
        corners = ("top_left", "top_right")
        cameras, film = SETTINGS.cameras, SETTINGS.film
        self.size = size
        self.soon_s = cameras.lead_s + notice_s  # from now until the window of a booking that is made now
        self._holds = folder / "holds.jsonl"
        self.site = make_site(
            folder,
            bookings={"poll_s": SETTINGS.bookings.poll_s},
            cameras={"fps": float(cameras.fps), "width": size[0], "height": size[1], "bitrate": bitrate(size),
                     "lead_s": cameras.lead_s, "keyframe_s": cameras.keyframe_s},
            recorder={"segment_s": SETTINGS.recorder.segment_s},
            film={"chunk_s": film.chunk_s, "preset": film.preset, "maxrate": film.maxrate, "bufsize": film.bufsize,
                  "threads": film.threads, "keep_segments_h": 1, "intro": str(intro),
                  "logos": [{"name": name, "file": str(path), "position": corner}
                            for (name, path), corner in zip(logos.items(), corners, strict=True)]},
            disk={"min_free_mb": 1000}, logs={"level": "info"})

    def start(self) -> None:
        """Start the recorder, its event loop watched."""
        self.site.start(environment=self.site.path(HOLD, ROOT) | {"LOOP_HOLD": str(self._holds)})
        self.site.wait_said("ready")

    def record(self, booking_id: str, seconds: int, say: Say, *, publish: bool,
               at_end: Callable[[], None] = lambda: None) -> Booked:
        """Record a booking that starts soon; wait until its film is published, or only until the cameras stop.

        `at_end` is called at the window's end.
        """
        assert self.site.process
        pid = self.site.process.pid
        booked = Booked(seconds, watch=Watch(pid))
        before, stops = written(pid), len(self.site.said("camera stopped"))
        starts, ends = self.site.book(booking_id, self.soon_s, self.soon_s + seconds)
        is_open = True
        while not self._over(booking_id, ends, stops, publish=publish):
            assert booked.watch
            booked.watch.look()
            left_s = ends - time.time()
            say(f"{self.size[0]}x{self.size[1]}, booking of {seconds} s: "
                + (f"{left_s:.0f} s to go" if left_s > 0 else f"waiting since {-left_s:.0f} s for its film"))
            if -left_s > PATIENCE_S:
                break
            time.sleep(min(0.5, left_s) if left_s > 0 else 0.5)
            if is_open and time.time() >= ends:
                is_open = False
                at_end()
        booked.written = written(pid) - before
        published = self._event(booking_id, "published")
        booked.delay_s = published - ends if published else None
        self._count(booking_id, booked, starts, ends)
        return booked

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failed: object) -> None:
        self.site.end()
        shutil.rmtree(self.site.folder)

    def end(self, booked: Booked) -> None:
        """Stop the recorder and take down what only its log tells."""
        self.site.stop()
        last = {line["camera"]: line for line in self.site.said("camera stopped")}  # counted since the run began
        booked.lost = sum(line["delivered"] - line["written"] for line in last.values())
        booked.late_max_ms = max(line["late_max_ms"] for line in last.values())

    def _over(self, booking_id: str, ends: float, stops: int, *, publish: bool) -> bool:
        if time.time() < ends:
            self.site.wait_said("ready")  # says why, if the recorder has ended
            return False
        if publish:
            return self._event(booking_id, "published") is not None
        return len(self.site.said("camera stopped")) >= stops + 2

    def _event(self, booking_id: str, to: str) -> float | None:
        """When a film took the step to a stage, UTC seconds."""
        rows = self.site.rows("SELECT at, detail FROM event WHERE booking_id = ? AND kind = 'stage'", booking_id)
        return next((row["at"] / 1e6 for row in rows if json.loads(row["detail"])["to"] == to), None)

    def _count(self, booking_id: str, booked: Booked, starts: float, ends: float) -> None:
        """Frames and bytes of its segments, and what held the loop in its window."""
        rows = self.site.rows(
            "SELECT camera, count(*) AS segments, sum(frames) AS frames, min(segment.start_us) AS first,"
            " max(segment.end_us) AS last, sum(bytes) AS bytes FROM segment JOIN span ON span.run = segment.run"
            " WHERE film = ? AND segment.end_us > span.start_us - 5000000 AND segment.start_us < span.end_us + 5000000"
            " GROUP BY camera", booking_id)
        for row in rows:
            booked.recorded += row["bytes"]
            booked.left_out[row["camera"]] = round((row["last"] - row["first"]) * float(RATE) / 1e6) - row["frames"]
        if self._holds.exists():
            lines = [json.loads(line) for line in self._holds.read_text("utf-8").splitlines()]
            lines = [line for line in lines if starts <= line["at"] <= ends + (booked.delay_s or 0)]
            booked.holds = [line for line in lines if "held_s" in line]
            booked.late_s = max((line["late_s"] for line in lines if "late_s" in line), default=0.0)


def needed_cores(folder: Path, size: tuple[int, int], seconds: int) -> float:
    """CPU seconds for each second: both cameras at `size` drawn, encoded and written, and the film made."""
    taken = take(folder / "footage", size, round((seconds + 1) * RATE))
    logos, _ = demo_media.make(folder / "venue")
    ticks = round(seconds * RATE)
    recipe = recipe_for(size, logos)
    job = ChunkJob(recipe, taken.start_us, 0, ticks, taken.between(taken.start_us, taken.start_us + chunk_us(ticks)),
                   str(folder / "chunk.mp4"))
    try:
        return taken.cpu_s / (seconds + 1) + asyncio.run(_rendering_s(job)) / seconds
    finally:
        shutil.rmtree(folder)


async def _rendering_s(job: ChunkJob) -> float:
    """CPU seconds of a worker that is warm for one chunk."""
    pool = RenderPool(1)
    await pool.run(render, replace(job, ticks=2))
    worker = psutil.Process(pool.pids()[0])
    before = worker.cpu_times()
    await pool.run(render, job)
    after = worker.cpu_times()
    await pool.close()
    return float(after.user + after.system - before.user - before.system)


def room_for(plan: Plan, say: Say) -> tuple[tuple[int, int], float]:
    """The largest picture for which this machine has `ROOM` times the CPU it needs, and how many cores that is.

    Found out once for a run of the bench.
    """
    if plan.folder not in _found:
        size, needs = FULL, 0.0
        for size in SIZES:
            say(f"what {size[0]}x{size[1]} needs")
            needs = needed_cores(plan.folder / "calibration", size, 2 if plan.quick else 4)
            if cores() >= ROOM * needs:
                break
        _found[plan.folder] = size, needs
    return _found[plan.folder]


def cores() -> int:
    """How many cores there are for the bench and all it starts."""
    return len(os.sched_getaffinity(0))


def described(size: tuple[int, int], needs: float) -> str:
    """What a court at work is set to, for people."""
    return (f"2 x {size[0]}x{size[1]} at {RATE} fps, of which film and cameras need {needs:.2f} of {cores()} cores, "
            "intro and logos")


def measure(plan: Plan, say: Say) -> list[Row]:
    """All rows that a recorder at work gives."""
    size, needs = room_for(plan, say)
    with Court(plan.folder / "delays", size) as court:
        court.start()
        short = court.record("short", plan.short_s, say, publish=True)
        long = full = court.record("long", plan.long_s, say, publish=True)
        court.end(long)
    if size != FULL or plan.frames_s > plan.long_s:
        with Court(plan.folder / "frames", FULL) as court:
            court.start()
            full = court.record("full", plan.frames_s, say, publish=False)
            court.end(full)
    settings = f"{described(size, needs)}, local storage"
    numbers = {"short_s": short.delay_s, "long_s": long.delay_s}
    return [*delays("published", (short.delay, long.delay), f"bookings of {short.seconds} s and {long.seconds} s; "
                    f"{settings}", numbers), _frames(full), _memory(full, plan), _bytes(long, settings),
            _held(full)]


def delays(until: str, after_s: tuple[float, float], how: str, numbers: dict[str, Any]) -> list[Row]:
    """The rows on how long after the window's end something came, for the short and the long booking, in s."""
    short, long = after_s
    ratio = long / short if short < float("inf") else float("inf")
    return [
        Row(f"window end to {until}", "≤ 10 s", f"{short:.1f} s and {long:.1f} s", max(after_s) <= 10, how, numbers),
        Row("the same, long booking ÷ short booking", "≤ 1.2", f"{ratio:.2f}", ratio <= 1.2, "the same runs",
            numbers | {"ratio": ratio}),
    ]


def _frames(full: Booked) -> Row:
    left_out = sum(full.left_out.values())
    words = f"{full.lost}" + (f" (the simulated cameras left out {left_out})" if left_out else "")
    return Row("frames lost by the recorder", "0", words, full.lost == 0,
               f"2 x {FULL[0]}x{FULL[1]} at {RATE} fps for {full.seconds} s on {cores()} cores while its film is made "
               f"at low priority; never later than {full.late_max_ms} ms from sensor to file",
               {"lost": full.lost, "left_out_by_cameras": left_out, "late_max_ms": full.late_max_ms})


def _memory(full: Booked, plan: Plan) -> Row:
    watch = full.watch
    assert watch
    growth = watch.growth()
    main, workers = max(one.main for one in watch.samples), max(one.workers for one in watch.samples)
    return Row("memory of all processes while recording and rendering", "≤ 700 MB, not growing",
               f"{mb(watch.peak())}, last third ÷ middle third {growth:.2f}",
               watch.peak() <= 700e6 and (plan.quick or growth <= 1.05),
               f"the run before, resident, each 2 s, shared pages counted in each process; main {mb(main)} with both "
               f"cameras' encoders, {watch.slope() / 1e6:+.1f} MB a minute; worker {mb(workers)}"
               + ("; too short to see growth" if plan.quick else ""),
               {"samples": [(round(one.at - watch.samples[0].at, 1), one.main, one.workers) for one in watch.samples],
                "peak": watch.peak(), "growth": growth, "main_slope_per_minute": watch.slope()})


def _bytes(long: Booked, settings: str) -> Row:
    if not long.written:
        return Row("bytes written ÷ bytes recorded", "≤ 3.5", "not told", None, "the kernel counts none for this disk")
    ratio = long.written / long.recorded
    return Row("bytes written ÷ bytes recorded", "≤ 3.5", f"{ratio:.2f}", ratio <= 3.5,
               f"/proc/…/io of all processes over the booking of {long.seconds} s ({mb(long.written)} ÷ "
               f"{mb(long.recorded)}); {settings}", {"written": long.written, "recorded": long.recorded})


def _held(full: Booked) -> Row:
    none: dict[str, Any] = {"held_s": 0.0, "cpu_s": 0.0, "what": "nothing"}
    worst = max(full.holds, key=lambda one: float(one["held_s"]), default=none)
    over = sum(one["held_s"] > 0.1 for one in full.holds)
    return Row("longest hold of the event loop", "≤ 100 ms", f"{worst['held_s'] * 1000:.0f} ms", worst["held_s"] <= 0.1,
               f"in the window of that run, waiting for a core included; it was {worst['what']}, which computed for "
               f"{worst['cpu_s'] * 1000:.0f} ms; over 100 ms: {over} times", {"holds": full.holds})
