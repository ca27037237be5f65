"""What the store keeps, made up: a booking, a segment, a span, a film that has come to a stage."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from ezrec.domain.booking import Booking
from ezrec.domain.film import Film
from ezrec.domain.messages import Video
from ezrec.domain.stages import STEPS, Stage
from ezrec.domain.timeline import Segment, Span
from ezrec.store import Store


class Hand:
    """A clock that is set by hand."""

    us = 1000

    def mono_us(self) -> int:
        return self.us

    def wall_us(self) -> int:
        return self.us


VIDEO = Video("b", "r-b", "u", "c", "k", "url", None, 1.0, 2, "f.mp4", "2027-01-15", "now")


def booking(booking_id: str = "b", source: str = "cli", starts_at: int = 10, **more: Any) -> Booking:
    return Booking(booking_id, source, starts_at, starts_at + 10, more.pop("status", "scheduled"),
                   reported=more.pop("reported", False), row=more)


def segment(start_us: int, end_us: int, camera: str = "left", run: int = 1, **more: Any) -> Segment:
    return Segment(camera, run, start_us, end_us, 30, 2, 900, f"segments/{run}/{camera}/{start_us}.ts", **more)


def span(run: int = 1, start_us: int = 100, end_us: int = 200, **more: int) -> Span:
    return Span(run, 5, start_us, end_us, start_us, more.get("reach_from_us", start_us),
                more.get("reach_to_us", end_us))


async def film_in(store: Store, stage: Stage, booking_id: str = "b") -> Film:
    """A film that has come to `stage` by the usual steps."""
    await store.add_film(booking_id, f"r-{booking_id}", 100, 200)
    ways = {Stage.BOOKED: ()}
    while stage not in ways:
        ways |= {to: (*way, to) for now, way in ways.items() if now not in (Stage.CANCELLED, Stage.MISSED)
                 for to in STEPS[now] if to not in ways}
    for to in ways[stage]:
        await store.step(booking_id, to)
    film = await store.film(booking_id)
    assert film
    return film


def rows(path: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(sql).fetchall()
