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
from ezrec.domain.timeline import HOLD_US, Interval, clip, union


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


def holds(stretches: Sequence[Stretch], rate: Fraction, done: Sequence[Chunk]) -> bool:
    """Whether `done` is still the beginning of the film: every seen tick once, none outside the window.

    It is not after a start that was moved, or an end that was cut back behind what was planned.
    """
    by_run: dict[int, list[Chunk]] = {}
    for chunk in done:
        by_run.setdefault(chunk.run, []).append(chunk)
    if set(by_run) - {stretch.run for stretch in stretches}:
        return False
    last_run = done[-1].run if done else None
    for stretch in stretches:
        ours = by_run.get(stretch.run, [])
        if last_run is None or stretch.run > last_run:
            break
        wanted = seen_ticks(stretch, rate)
        planned = union((chunk.first_tick, chunk.first_tick + chunk.ticks) for chunk in ours)
        if stretch.run == last_run:  # what lies behind the newest chunk is still to be planned
            wanted = list(clip(wanted, wanted[0][0], planned[-1][1])) if wanted and planned else []
        if list(planned) != wanted:
            return False
    return True
