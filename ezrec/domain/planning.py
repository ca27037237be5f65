"""Cutting a film into chunks: which ticks exist, which of them can be rendered now, whether planned ones still hold.

Pure. A film is a sequence of *stretches*, one for each run that recorded for it. Ticks of a stretch are numbered on a
grid that never moves (`anchor_us`), so that a start or an end that is moved leaves most chunks as they are.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from ezrec.domain.clock import SECOND
from ezrec.domain.film import tick_us
from ezrec.domain.timeline import HOLD_US, Interval, clip, union, without


@dataclass(frozen=True)
class Stretch:
    """One run's part of a film and what is known of it, in run-monotonic µs."""

    run: int
    anchor_us: int
    start_us: int
    end_us: int
    seen: Mapping[str, tuple[Interval, ...]]  # camera → its coverage
    known_to_us: int  # no footage will still come for a time before this


@dataclass(frozen=True)
class Chunk:
    """Some ticks of one stretch, rendered on their own."""

    number: int  # from 1, in the order of the film; 0 is the intro
    run: int
    first_tick: int
    ticks: int


def first_tick_at(anchor_us: int, time_us: int, rate: Fraction) -> int:
    """The first tick that is not before `time_us`."""
    tick = math.floor(Fraction(time_us - anchor_us, SECOND) * rate) - 1
    while tick_us(anchor_us, tick, rate) < time_us:
        tick += 1
    return tick


def seen_ticks(stretch: Stretch, rate: Fraction) -> list[Interval]:
    """The ticks of a stretch that at least one camera saw, as sorted ranges [first, end)."""
    covered = clip(union(piece for seen in stretch.seen.values() for piece in seen), stretch.start_us, stretch.end_us)
    ranges = ((first_tick_at(stretch.anchor_us, start, rate), first_tick_at(stretch.anchor_us, end, rate))
              for start, end in covered)
    return [(first, end) for first, end in ranges if first < end]


def plan(stretches: Sequence[Stretch], rate: Fraction, chunk_ticks: int, done: Sequence[Chunk]) -> Iterator[Chunk]:
    """The chunks that follow `done` and can be rendered now.

    A chunk is planned once nothing can still change what its ticks show: `HOLD_US` behind the time up to which the
    footage is known. A time that no camera saw is cut out: a chunk ends before it, the next begins after it.
    """
    number = done[-1].number + 1 if done else 1
    at = (done[-1].run, done[-1].first_tick + done[-1].ticks) if done else None
    for stretch in stretches:
        if at and stretch.run < at[0]:
            continue
        for first, end in seen_ticks(stretch, rate):
            tick = max(first, at[1]) if at and stretch.run == at[0] else first
            while tick < end:
                ticks = min(chunk_ticks, end - tick)
                end_us = min(tick_us(stretch.anchor_us, tick + ticks, rate), stretch.end_us)
                if end_us + HOLD_US > stretch.known_to_us:
                    return
                yield Chunk(number, stretch.run, tick, ticks)
                number, tick = number + 1, tick + ticks
        if stretch.end_us + HOLD_US > stretch.known_to_us:
            return


def complete(stretches: Sequence[Stretch]) -> bool:
    """Whether nothing that is still to come can add a tick."""
    return all(stretch.end_us + HOLD_US <= stretch.known_to_us for stretch in stretches)


MOVED = "the window was moved or cut back"
GONE = "footage that was planned is no longer there"
FOUND = "footage came to light that was not planned"


def broken(stretches: Sequence[Stretch], rate: Fraction, done: Sequence[Chunk]) -> str | None:
    """Why `done` is no longer the beginning of the film, in words; None as long as it is.

    It is as long as every seen tick is in it once, and none outside the window: not after a start that was moved, or an
    end that was cut back behind what was planned.
    """
    by_run: dict[int, list[Interval]] = {}
    for chunk in done:
        by_run.setdefault(chunk.run, []).append((chunk.first_tick, chunk.first_tick + chunk.ticks))
    if set(by_run) - {stretch.run for stretch in stretches}:
        return MOVED
    last_run = done[-1].run if done else None
    for stretch in stretches:
        if last_run is None or stretch.run > last_run:
            break
        planned = union(by_run.get(stretch.run, ()))
        wanted = union(seen_ticks(stretch, rate))
        if stretch.run == last_run:  # what lies behind the newest chunk is still to be planned
            wanted = clip(wanted, wanted[0][0], planned[-1][1]) if wanted else ()
        window = [first_tick_at(stretch.anchor_us, us, rate) for us in (stretch.start_us, stretch.end_us)]
        if clip(planned, *window) != planned:
            return MOVED
        if without(planned, wanted):
            return GONE
        if new := without(wanted, planned):
            return MOVED if not planned or new[-1][1] <= planned[0][0] else FOUND
    return None
