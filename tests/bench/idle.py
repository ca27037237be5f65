"""What the recorder costs while nothing is recorded: on its own, and with a cloud that it polls and reports to; new and
with years of films behind it and thousands of bookings ahead.
"""

import json
import shutil
import time
from dataclasses import dataclass
from typing import Any

import psutil

from tests.bench import clouds, history
from tests.bench.result import Plan, Row, Say, left_out, mb
from tests.bench.watching import cpu_s
from tests.fakes.cloud_site import CloudSite
from tests.fakes.site import ROOT, Site

SETTLE_S = 5.0
OLD_SETTLE_S = 20.0  # a start with thousands of bookings takes them in first
HOLD = ROOT / "tests" / "bench" / "hold"
_AGES = f"{history.BEHIND:,} films behind and {history.AHEAD:,} bookings ahead"


@dataclass(frozen=True)
class Idle:
    """What an idle recorder took."""

    share: float  # of one core
    rss: int  # bytes
    late_s: float  # the latest that its event loop came since it was ready
    list_s: float  # `films list` beside it


def measure(plan: Plan, say: Say) -> list[Row]:
    """The rows on idle CPU and memory, at default settings."""
    from ezrec.config import Settings  # noqa: PLC0415

    say(f"idle for {SETTLE_S + plan.idle_s:.0f} s")
    usual = {"bookings": {"poll_s": Settings().bookings.poll_s}, "logs": {"level": "info"}}
    alone = _watch(Site(plan.folder / "idle", **usual), plan)
    how = f"main process of `ezrec run` with nothing booked, {plan.idle_s} s, default settings"
    rows = [_cpu("idle", alone, how),
            Row("idle: resident memory", "≤ 150 MB", mb(alone.rss), alone.rss <= 150e6, how, {"rss": alone.rss}),
            *_with_history(plan, say, usual)]
    if reason := clouds.missing():
        return [*rows, left_out("idle with a cloud", reason)]
    return [*rows, *_with_cloud(plan, say, alone, how)]


def _with_history(plan: Plan, say: Say, usual: dict[str, dict[str, Any]]) -> list[Row]:
    """With the bookings ahead in a file."""
    say(f"idle with {_AGES} for {OLD_SETTLE_S + plan.idle_s:.0f} s")
    site = Site(plan.folder / "idle-old", **usual)
    site.configure(**usual | {"bookings": usual["bookings"] | {"file": str(site.bookings_file)}})
    history.write(site.data, source="file")
    site.bookings_file.write_text(json.dumps(history.rows_ahead()), "utf-8")
    how = f"the same with {_AGES}, the bookings in a JSON file, {plan.idle_s} s"
    return _old(f"idle with {_AGES}", _watch(site, plan, OLD_SETTLE_S), how)


def _old(what: str, took: Idle, how: str) -> list[Row]:
    return [_cpu(what, took, how),
            Row(f"{what}: resident memory", "≤ 150 MB", mb(took.rss), took.rss <= 150e6, how, {"rss": took.rss}),
            Row(f"{what}: latest that the event loop came", "≤ 100 ms", f"{took.late_s * 1000:.0f} ms",
                took.late_s <= 0.1, f"{how}; since it was ready", {"late_s": took.late_s}),
            Row(f"{what}: `films list`", "", f"{took.list_s:.1f} s", None, how, {"list_s": took.list_s})]


def _with_cloud(plan: Plan, say: Say, alone: Idle, how: str) -> list[Row]:
    with clouds.running(say) as cloud:
        site = clouds.court(cloud, plan.folder / "idle-cloud", logs={"level": "info"})
        say(f"idle with a cloud for {SETTLE_S + plan.idle_s:.0f} s")
        took = _watch(site, plan)
        beats, polls = (sum((one.status or 0) < 300 for one in cloud.supabase_net.seen(method, target) if one.ended)
                        for method, target in (("POST", "/rpc/ezrec_beat"), ("POST", "/rpc/ezrec_bookings")))
        say(f"idle with a cloud and {_AGES} for {OLD_SETTLE_S + plan.idle_s:.0f} s")
        site = clouds.court(cloud, plan.folder / "idle-cloud-old", logs={"level": "info"},
                            bookings={"longest_h": 6, "days_ahead": 365, "poll_s": 5})
        history.write(site.data, source="supabase")
        _book_ahead(site)
        old = _watch(site, plan, OLD_SETTLE_S)
    if not beats or not polls:
        raise SystemExit(f"the recorder was not at work with its cloud: {beats} heartbeats, {polls} polls")
    how += f"; bookings, rows and films in a cloud: {beats} heartbeats and {polls} polls since its start"
    numbers: dict[str, Any] = {"rss": took.rss, "more": took.rss - alone.rss}
    return [_cpu("idle with a cloud", took, how),
            Row("idle with a cloud: resident memory", "≤ 150 MB", mb(took.rss), took.rss <= 150e6,
                f"{how}; {mb(took.rss - alone.rss)} more than without, for the libraries of Supabase and S3", numbers),
            *_old(f"idle with a cloud and {_AGES}", old, f"the same with {_AGES}, the bookings in the cloud")]


def _book_ahead(site: CloudSite) -> None:
    """The bookings of `history.rows_ahead` as rows of the project."""
    site.cloud.supabase.run(
        "insert into bookings (id, user_id, camera_id, start_time, end_time, status)"
        " select 'next-' || n, :'user', :'camera', at, at + interval '1 hour', 'scheduled' from (select n,"
        " to_timestamp(:'tomorrow'::float) + n / :day * interval '1 day' + (8 + n % :day) * interval '1 hour' as at"
        " from generate_series(0, :last) as n) as hours",
        user=site.user, camera=site.camera, tomorrow=history.tomorrow().timestamp(), day=history.A_DAY,
        last=history.AHEAD - 1)


def _cpu(what: str, took: Idle, how: str) -> Row:
    return Row(f"{what}: CPU of one core", "≤ 2 %", f"{took.share * 100:.1f} %", took.share <= 0.02, how,
               {"share": took.share})


def _watch(site: Site, plan: Plan, settle_s: float = SETTLE_S) -> Idle:
    """Run a recorder for a while; its folder is gone afterwards."""
    holds = site.folder / "holds.jsonl"
    try:
        site.start(environment=site.path(HOLD, ROOT) | {"LOOP_HOLD": str(holds)})
        site.wait_said("ready")
        assert site.process
        pid, ready = site.process.pid, time.time()
        time.sleep(settle_s)
        before, begun = cpu_s(pid), time.monotonic()
        time.sleep(plan.idle_s)
        share = (cpu_s(pid) - before) / (time.monotonic() - begun)
        rss, begun = psutil.Process(pid).memory_info().rss, time.monotonic()
        site.command("films", "list")
        listed_s = time.monotonic() - begun
        lines = [json.loads(line) for line in holds.read_text("utf-8").splitlines()]
        late = [line["late_s"] for line in lines if "late_s" in line and line["at"] > ready]
        return Idle(share, rss, max(late, default=0.0), listed_s)
    finally:
        site.end()
        shutil.rmtree(site.folder)
