"""What is going on now, and when the recorder did not run: out of the store, and what the recorder says of itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from ezrec.domain.alerts import Alert
from ezrec.domain.clock import SECOND
from ezrec.domain.film import Film
from ezrec.domain.stages import Stage
from ezrec.store import Store
from ezrec.store.rows import Backlog
from ezrec.store.runs import RunLife

SINCE_US = 30 * 24 * 3600 * SECOND
SHORT_US = 5 * SECOND  # a restart that is quicker is no outage: no more than a power cut may cost


@dataclass(frozen=True)
class Outage:
    """A time in which no recorder ran, UTC µs."""

    from_at: int | None  # None: nobody knows when the run before it ended
    to_at: int | None  # None: it lasts
    stopped: bool  # somebody stopped it


@dataclass(frozen=True)
class Status:
    """What there is to say."""

    recorder: dict[str, Any] | None  # the row of its state file; None: none runs
    backlog: Backlog
    next_film: Film | None
    alerts: Sequence[Alert]  # that were told, and last or were over in the last 30 days
    outages: Sequence[Outage]  # of the last 30 days
    missed: Sequence[Film]  # the same


async def read_status(store: Store, recorder: dict[str, Any] | None, now_us: int) -> Status:
    """The status at `now_us` (UTC µs); `recorder` is what the running one says of itself."""
    since = now_us - SINCE_US
    ahead = await store.booked_films(now_us, now_us + 400 * SINCE_US)
    missed = [film for film in await store.films_brief(Stage.MISSED) if film.ends_at >= since]
    alerts = [one for one in await store.alerts(since) if one.told_at is not None]
    lives = await store.lives(since)
    return Status(recorder, await store.backlog(), ahead[0] if ahead else None, alerts,
                  outages(lives, since, running=recorder is not None), missed)


def outages(lives: Sequence[RunLife], since_us: int, *, running: bool) -> list[Outage]:
    """The times between runs, from `since_us` (UTC µs) on, oldest first; restarts within seconds are none."""
    found = []
    for before, after in pairwise(lives):
        if after.started_at >= since_us and (
                before.ended_at is None or after.started_at - before.ended_at > SHORT_US):
            found.append(Outage(before.ended_at, after.started_at, before.in_order))
    if lives and not running:
        found.append(Outage(lives[-1].ended_at, None, lives[-1].in_order))
    return found
