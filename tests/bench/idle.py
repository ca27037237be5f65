"""What the recorder costs while nothing is booked: on its own, and with a cloud that it polls and reports to."""

import shutil
import time
from dataclasses import dataclass
from typing import Any

import psutil

from tests.bench import clouds
from tests.bench.result import Plan, Row, Say, left_out, mb
from tests.bench.watching import cpu_s
from tests.fakes.site import ROOT, Site

SETTLE_S = 5.0


@dataclass(frozen=True)
class Idle:
    """What an idle recorder took."""

    share: float  # of one core
    rss: int  # bytes


def measure(plan: Plan, say: Say) -> list[Row]:
    """The rows on idle CPU and memory, at default settings."""
    from ezrec.config import Settings  # noqa: PLC0415

    say(f"idle for {SETTLE_S + plan.idle_s:.0f} s")
    alone = _watch(Site(plan.folder / "idle", bookings={"poll_s": Settings().bookings.poll_s}, logs={"level": "info"}),
                   plan)
    how = f"main process of `ezrec run` with nothing booked, {plan.idle_s} s, default settings"
    rows = [_cpu("idle", alone, how),
            Row("idle: resident memory", "≤ 150 MB", mb(alone.rss), alone.rss <= 150e6, how, {"rss": alone.rss})]
    if reason := clouds.missing():
        return [*rows, left_out("idle with a cloud", reason)]
    return [*rows, *_with_cloud(plan, say, alone, how)]


def _with_cloud(plan: Plan, say: Say, alone: Idle, how: str) -> list[Row]:
    with clouds.running(say) as cloud:
        site = clouds.court(cloud, plan.folder / "idle-cloud", logs={"level": "info"})
        say(f"idle with a cloud for {SETTLE_S + plan.idle_s:.0f} s")
        took = _watch(site, plan)
        beats, polls = (sum((one.status or 0) < 300 for one in cloud.supabase_net.seen(method, target) if one.ended)
                        for method, target in (("POST", "/system_status"), ("GET", "/bookings")))
    if not beats or not polls:
        raise SystemExit(f"the recorder was not at work with its cloud: {beats} heartbeats, {polls} polls")
    how += f"; bookings, rows and films in a cloud: {beats} heartbeats and {polls} polls since its start"
    numbers: dict[str, Any] = {"rss": took.rss, "more": took.rss - alone.rss}
    return [_cpu("idle with a cloud", took, how),
            Row("idle with a cloud: resident memory", "", mb(took.rss), None,
                f"{how}; {mb(took.rss - alone.rss)} more than without, for the libraries of Supabase and S3", numbers)]


def _cpu(what: str, took: Idle, how: str) -> Row:
    return Row(f"{what}: CPU of one core", "≤ 2 %", f"{took.share * 100:.1f} %", took.share <= 0.02, how,
               {"share": took.share})


def _watch(site: Site, plan: Plan) -> Idle:
    """Run a recorder for a while; its folder is gone afterwards."""
    try:
        site.start(environment={"PYTHONPATH": str(ROOT)})
        site.wait_said("ready")
        assert site.process
        pid = site.process.pid
        time.sleep(SETTLE_S)
        before, begun = cpu_s(pid), time.monotonic()
        time.sleep(plan.idle_s)
        share = (cpu_s(pid) - before) / (time.monotonic() - begun)
        return Idle(share, psutil.Process(pid).memory_info().rss)
    finally:
        site.end()
        shutil.rmtree(site.folder)
