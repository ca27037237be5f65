"""How soon a film is online while hours of other films are still to be made.

The backlog is one film of six hours: a minute that was really recorded, laid onto as many runs one behind the other,
each with the same files under names of its own.
"""

import asyncio
import os
import time
from dataclasses import replace
from pathlib import Path

from ezrec.domain.clock import SECOND
from ezrec.domain.stages import Stage
from ezrec.domain.timeline import begin_span
from ezrec.store import Store
from tests.bench.recorder import Court, described, room_for
from tests.bench.result import Plan, Row, Say

RECORDED_S = 60
HOURS = 6
GOAL_S = 10


def measure(plan: Plan, say: Say) -> list[Row]:
    """The row of a live match beside a backlog."""
    size, needs = room_for(plan, say)
    minutes = 30 if plan.quick else HOURS * 60
    with Court(plan.folder / "backlog", size) as court:
        court.start()
        court.record("minute", RECORDED_S, say, publish=True)
        court.site.stop()
        say(f"a backlog of {minutes} minutes")
        asyncio.run(_multiply(court.site.data, minutes))
        court.start()
        live = court.record("live", plan.short_s, say, publish=True)
        rendered = court.site.rows("SELECT count(*) AS n FROM chunk WHERE film = 'backlog' AND state = 'rendered'")
        stage = court.site.rows("SELECT stage FROM film WHERE booking_id = 'backlog'")[0]["stage"]
        court.end(live)
    fair = stage == Stage.RECORDED
    return [Row(f"the same beside a backlog of {minutes / 60:g} hours", f"≤ {GOAL_S} s",
                f"{live.delay:.1f} s" + ("" if fair else " (the backlog was done by then)"),
                fair and live.delay <= GOAL_S,
                f"a booking of {live.seconds} s; {rendered[0]['n']} chunks of the backlog were made meanwhile; "
                f"{described(size, needs)}, local storage", {"delay_s": live.delay_s, "rendered": rendered[0]["n"]})]


async def _multiply(data: Path, minutes: int) -> None:
    """Put a film of so many minutes, which ended an hour ago, into a data folder that holds a minute of footage."""
    store = await Store.open(data / "ezrec.db")
    try:
        span = (await store.spans("minute"))[0]
        minute = await store.segments(span.run, span.start_us, span.end_us)
        starts_at = round((time.time() - 3600 - minutes * RECORDED_S) * SECOND)
        await store.add_film("backlog", "rec-backlog", starts_at, starts_at + minutes * RECORDED_S * SECOND)
        for number in range(minutes):
            at = starts_at + number * RECORDED_S * SECOND
            run = await store.begin_run("bench", span.start_us, at - span.start_us)
            await store.put_span("backlog", begin_span(run, at, at + RECORDED_S * SECOND, at - span.start_us))
            copies = [replace(one, run=run, path=f"segments/{run}/{one.camera}/{one.start_us}.ts") for one in minute]
            for one, copy in zip(minute, copies, strict=True):
                (data / copy.path).parent.mkdir(parents=True, exist_ok=True)
                os.link(data / one.path, data / copy.path)
            await store.add_segment(*copies)
        await store.step("backlog", Stage.RECORDED)
    finally:
        await store.close()
