"""Cameras through Picamera2 at full size while a film is made: frames lost, longest call, what held the loop.

Picamera2 is the real one, libcamera a stand-in that holds the interpreter as long as a Pi's does when a camera is
opened, started or stopped. One camera is started again in the middle, which the other one's frames must survive.
"""

import threading
import time
from pathlib import Path
from typing import Any

from tests.bench.footage import RATE
from tests.bench.recorder import FULL, Booked, Court, cores
from tests.bench.result import Plan, Row, Say
from tests.fakes.site import Site

CALL_S = 0.4  # that each call of libcamera holds the interpreter: 0.1 to 0.7 s were seen


def pi_site(folder: Path, **sections: Any) -> Site:
    """A site with a Raspberry Pi's cameras."""
    sections["cameras"] |= {"source": "picamera2", "preflight_s": 0}
    site = Site(folder, **sections)
    site.faults(left={"hold_s": CALL_S}, right={"hold_s": CALL_S})
    return site


def measure(plan: Plan, say: Say) -> list[Row]:
    """The rows of one booking of both cameras at full size."""
    with Court(plan.folder / "pi", FULL, pi_site) as court:
        court.start()
        silent = threading.Timer(court.soon_s + plan.frames_s / 2, _stall, [court.site])
        silent.start()
        booked = court.record("match", plan.frames_s, say, publish=False)
        silent.cancel()
        court.end(booked)
        longest_ms = max(line["call_max_ms"] for line in court.site.said("camera stopped"))
    return rows(booked, longest_ms)


def _stall(site: Site) -> None:
    """The right camera falls silent until it is started again."""
    site.faults(left={"hold_s": CALL_S}, right={"hold_s": CALL_S, "stalls_until_restarted": True})
    time.sleep(1.0)
    site.faults(left={"hold_s": CALL_S}, right={"hold_s": CALL_S})


def rows(booked: Booked, longest_ms: int) -> list[Row]:
    """What is shown."""
    worst = max((one["held_s"] for one in booked.holds), default=0.0)
    restarted, other = booked.left_out["right"], booked.left_out["left"]
    other_s = other / float(RATE)
    how = f"2 x {FULL[0]}x{FULL[1]} at {RATE} fps for {booked.seconds} s on {cores()} cores while the film is made"
    holding = f"libcamera holds the interpreter for {CALL_S * 1000:.0f} ms of each call"
    return [
        Row("Picamera2: frames lost by the recorder", "0", f"{booked.lost}", booked.lost == 0, how,
            {"lost": booked.lost, "left_out": booked.left_out}),
        Row("Picamera2: lost by one camera while the other is started again", "≤ 1 s", f"{other_s:.2f} s", other_s <= 1,
            f"the same run: {other} frames of it never came, and {restarted} of the camera that was started again",
            {"other_s": other_s}),
        Row("Picamera2: longest call on a camera", "≤ 3 s", f"{longest_ms} ms", longest_ms <= 3000, holding,
            {"longest_ms": longest_ms}),
        Row("Picamera2: longest hold of the event loop by ours", "≤ 100 ms", f"{worst * 1000:.0f} ms", worst <= 0.1,
            "callbacks of the loop in that window", {"holds": booked.holds}),
        Row("Picamera2: latest that the event loop ever came", "≤ 1 s", f"{booked.late_s * 1000:.0f} ms",
            booked.late_s <= 1, f"the same, whatever held it; {holding}", {"late_s": booked.late_s}),
    ]
