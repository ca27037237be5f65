"""What the recorder costs while nothing is booked."""

import shutil
import time

import psutil

from tests.bench.result import Plan, Row, Say, mb
from tests.bench.watching import cpu_s
from tests.fakes.site import ROOT, Site

SETTLE_S = 5.0


def measure(plan: Plan, say: Say) -> list[Row]:
    """The rows on idle CPU and memory, at default settings."""
    from ezrec.config import Settings  # noqa: PLC0415

    folder = plan.folder / "idle"
    site = Site(folder, bookings={"poll_s": Settings().bookings.poll_s}, logs={"level": "info"})
    say(f"idle for {SETTLE_S + plan.idle_s:.0f} s")
    try:
        site.start(environment={"PYTHONPATH": str(ROOT)})
        site.wait_said("ready")
        assert site.process
        pid = site.process.pid
        time.sleep(SETTLE_S)
        before, begun = cpu_s(pid), time.monotonic()
        time.sleep(plan.idle_s)
        share = (cpu_s(pid) - before) / (time.monotonic() - begun)
        rss = psutil.Process(pid).memory_info().rss
    finally:
        site.end()
        shutil.rmtree(folder)
    how = f"main process of `ezrec run` with nothing booked, {plan.idle_s} s, default settings"
    return [
        Row("idle: CPU of one core", "≤ 2 %", f"{share * 100:.1f} %", share <= 0.02, how, {"share": share}),
        Row("idle: resident memory", "≤ 150 MB", mb(rss), rss <= 150e6, how, {"rss": rss}),
    ]
