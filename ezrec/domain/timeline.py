"""Where windows, footage and gaps lie in time. Pure: intervals of integers in µs, half-open, [from, to).

Footage lives on its run's monotonic clock, windows live in UTC. An *offset* takes one to the other
(UTC = monotonic + offset); a run has a new one whenever the wall clock steps.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ezrec.domain.clock import SECOND
from ezrec.domain.film import Footage

HOLD_US = SECOND // 2
"""A camera that is silent for less than this shows its nearest frame (a repeat); for longer it has a gap."""

LONGEST_CORRECTION_US = 6 * 3600 * SECOND
"""A wall clock that steps back by more than this in mid-film is broken, not corrected: the film's end stays."""

Interval = tuple[int, int]


def union(intervals: Iterable[Interval], bridge_us: int = 0) -> tuple[Interval, ...]:
    """The union of `intervals`, sorted; holes shorter than `bridge_us` are closed, touching ones always."""
    merged: list[Interval] = []
    for start, end in sorted(interval for interval in intervals if interval[0] < interval[1]):
        if merged and (start <= merged[-1][1] or start - merged[-1][1] < bridge_us):
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return tuple(merged)


def without(whole: Iterable[Interval], holes: Iterable[Interval]) -> tuple[Interval, ...]:
    """What of `whole` lies in none of `holes`."""
    left: list[Interval] = []
    cuts = union(holes)
    for start, end in union(whole):
        at = start
        for hole_start, hole_end in cuts:
            if hole_end <= at or hole_start >= end:
                continue
            if hole_start > at:
                left.append((at, hole_start))
            at = max(at, hole_end)
        if at < end:
            left.append((at, end))
    return tuple(left)


def common(one: Iterable[Interval], other: Iterable[Interval]) -> tuple[Interval, ...]:
    """What lies in `one` and in `other`."""
    first = union(one)
    return without(first, without(first, other))


def clip(intervals: Iterable[Interval], start: int, end: int) -> tuple[Interval, ...]:
    """What of `intervals` lies in [start, end)."""
    return union((max(a, start), min(b, end)) for a, b in intervals)


def length(intervals: Iterable[Interval]) -> int:
    """How much time `intervals` cover, in µs."""
    return sum(end - start for start, end in union(intervals))


def coverage(footage: Sequence[Footage]) -> tuple[Interval, ...]:
    """When one camera saw something: its segments without their gaps, holes under `HOLD_US` bridged."""
    seen = (piece for one in footage for piece in without([(one.start_us, one.end_us)], one.gaps))
    return union(seen, HOLD_US)


@dataclass(frozen=True)
class Offset:
    """From `from_us` (run-monotonic) on, UTC = monotonic + `wall_us`."""

    from_us: int
    wall_us: int


@dataclass(frozen=True)
class Segment:
    """A few seconds of one camera: a closed, fsynced file. Times are run-monotonic µs."""

    camera: str
    run: int
    start_us: int
    end_us: int
    frames: int
    dropped: int  # frames that the camera did not deliver inside the segment, as its sensor times tell
    bytes: int
    path: str  # below the data folder
    gaps: tuple[Interval, ...] = ()

    def footage(self, folder: str) -> Footage:
        """The segment as a chunk uses it, with its path below `folder`."""
        return Footage(f"{folder}/{self.path}", self.start_us, self.end_us, self.gaps)


def lay(starts_at: int, ends_at: int, start_offset_us: int, newest_us: int) -> Interval:
    """Lay a window (UTC µs) onto a run: its start and end in run-monotonic µs.

    `start_offset_us` is the run's offset when the film began there, `newest_us` its newest one. The start keeps the
    first. The end follows a correction of the clock, but the film never becomes shorter than booked.
    """
    start, booked_end = starts_at - start_offset_us, ends_at - start_offset_us
    corrected_end = ends_at - newest_us
    if booked_end < corrected_end <= booked_end + LONGEST_CORRECTION_US:
        return start, corrected_end
    return start, booked_end


@dataclass(frozen=True)
class Span:
    """A film's window as it lies on one run. The reach remembers every time that it ever covered there."""

    run: int
    start_offset_us: int  # the offset when the film began on this run, frozen
    start_us: int
    end_us: int
    anchor_us: int  # tick 0 of the film on this run; stays when the start is moved
    reach_from_us: int
    reach_to_us: int

    def moved(self, start_us: int, end_us: int) -> "Span":
        """The span with new ends; anchor and reach remember the old ones."""
        return Span(self.run, self.start_offset_us, start_us, end_us, self.anchor_us,
                    min(self.reach_from_us, start_us), max(self.reach_to_us, end_us))


def begin_span(run: int, starts_at: int, ends_at: int, offset_us: int) -> Span:
    """The span of a film that begins on `run` now, while the run's newest offset is `offset_us`."""
    start, end = lay(starts_at, ends_at, offset_us, offset_us)
    return Span(run, offset_us, start, end, start, start, end)
