"""What is known of the films' footage, read from the store a little at a time.

What ends before the watermark cannot change any more: it is read once and kept, so that a look at a film costs as
little in its last minute as in its first.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from typing import Protocol

from ezrec.domain.film import Footage
from ezrec.domain.planning import Stretch
from ezrec.domain.timeline import HOLD_US, Interval, Segment, Span, coverage, union
from ezrec.folders import DataFolder
from ezrec.store import Store


class Recorder(Protocol):
    """What film making needs to know of the recorder."""

    def known_to_us(self, run: int) -> int:
        """The time up to which a run's footage is known, run-monotonic µs."""

    def delivering(self) -> dict[str, tuple[int, int]]:
        """The cameras that deliver frames now, with their picture's size."""


@dataclass(frozen=True)
class FilmFootage:
    """One film's stretches, and the files they come from."""

    spans: Sequence[Span]
    stretches: Sequence[Stretch]
    files: Mapping[int, Mapping[str, Sequence[Footage]]]  # run → camera → its segments in order of time

    def between(self, run: int, from_us: int, to_us: int) -> dict[str, tuple[Footage, ...]]:
        """Each camera's segments of a run that touch [from_us, to_us)."""
        return {camera: tuple(ours[bisect_right(ours, from_us, key=attrgetter("end_us")):
                                   bisect_left(ours, to_us, key=attrgetter("start_us"))])
                for camera, ours in self.files[run].items()}


@dataclass
class _Settled:
    """A film's footage on one run that cannot change any more: all segments that end in (from_us, to_us]."""

    from_us: int
    to_us: int
    files: dict[str, list[Footage]] = field(default_factory=dict)
    seen: dict[str, tuple[Interval, ...]] = field(default_factory=dict)

    def take(self, camera: str, more: Sequence[Footage]) -> None:
        if more:
            self.files.setdefault(camera, []).extend(more)
            self.seen[camera] = _joined(self.seen.get(camera, ()), more)


class KnownFootage:
    """The footage of all films that are being made. `known_to_us` is the recorder's watermark of a run."""

    def __init__(self, store: Store, folder: DataFolder, known_to_us: Callable[[int], int]) -> None:
        self._store = store
        self._root = str(folder.root)
        self._known_to_us = known_to_us
        self._settled: dict[str, dict[int, _Settled]] = {}  # booking → run

    async def of(self, booking_id: str) -> FilmFootage:
        """What is known now of a film's footage."""
        spans = await self._store.spans(booking_id)
        found = [await self._on_run(booking_id, span) for span in spans]
        return FilmFootage(spans, [stretch for stretch, _ in found], {stretch.run: files for stretch, files in found})

    def forget(self, booking_id: str) -> None:
        """Nothing is kept of a film that is made."""
        self._settled.pop(booking_id, None)

    async def _on_run(self, booking_id: str, span: Span) -> tuple[Stretch, dict[str, list[Footage]]]:
        known_us = self._known_to_us(span.run)  # before the rows are read: then none is missing up to there
        from_us, to_us = span.start_us - HOLD_US, span.end_us + HOLD_US
        runs = self._settled.setdefault(booking_id, {})
        settled = runs.get(span.run)
        if settled is None or from_us < settled.from_us:
            settled = runs[span.run] = _Settled(from_us, from_us)
        new = _by_camera(await self._store.segments(span.run, settled.to_us, to_us), self._root)
        settled.to_us = max(settled.to_us, min(known_us, to_us))
        files: dict[str, list[Footage]] = {}
        seen: dict[str, tuple[Interval, ...]] = {}
        for camera in sorted(settled.files.keys() | new.keys()):
            ours = new.get(camera, [])
            end = bisect_right(ours, settled.to_us, key=attrgetter("end_us"))
            settled.take(camera, ours[:end])
            files[camera] = [*settled.files.get(camera, ()), *ours[end:]]
            seen[camera] = _joined(settled.seen.get(camera, ()), ours[end:])
        return Stretch(span.run, span.anchor_us, span.start_us, span.end_us, seen, known_us), files


def _by_camera(segments: Iterable[Segment], folder: str) -> dict[str, list[Footage]]:
    return {camera: [one.footage(folder) for one in ours]
            for camera, ours in groupby(segments, key=attrgetter("camera"))}


def _joined(seen: tuple[Interval, ...], more: Sequence[Footage]) -> tuple[Interval, ...]:
    """The coverage of footage that was seen and of `more`: the same as that of all of it together."""
    return union((*seen, *coverage(more)), HOLD_US)
