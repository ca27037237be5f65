"""Footage that cannot be read any more: it becomes gaps of its segments, and the film's story tells it.

Coverage is made of the segments' gaps, so what is noted here is cut out of the film (no camera shows it) or filled
(another one does), and stands in the certificate. The files themselves stay until their film is cleaned.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

from ezrec import logs
from ezrec.domain import events
from ezrec.domain.clock import SECOND
from ezrec.domain.errors import ParkError
from ezrec.domain.film import Film
from ezrec.domain.loss import Loss, in_words
from ezrec.domain.timeline import HOLD_US, Interval
from ezrec.folders import DataFolder
from ezrec.store import Store
from ezrec.tasks.film.footage import FilmFootage, KnownFootage

log = logs.get("film")


class Losses:
    """Notes what is lost of the films' footage."""

    def __init__(self, store: Store, folder: DataFolder, footage: KnownFootage) -> None:
        self._store = store
        self._folder = folder
        self._footage = footage
        self._cut_out: dict[str, Sequence[Loss]] = {}  # booking → what was cut out of its film last

    async def fill(self, film: Film, footage: FilmFootage, losses: Sequence[Loss], until_us: int) -> None:
        """Note what a chunk that ends at `until_us` (run-monotonic µs) was made without.

        What is lost behind its end becomes no gap yet: chunks are planned there.
        """
        await self._note(film, footage, losses, until_us)

    async def cut_out(self, film: Film, footage: FilmFootage, losses: Sequence[Loss],
                      replan_from: int | None = None) -> None:
        """Note what no camera can show. The generation's chunks from number `replan_from` on are forgotten.

        Raises:
            ParkError: it is what was cut out the last time, so that would lead nowhere.
        """
        if self._cut_out.get(film.booking_id) == losses:
            self.forget(film.booking_id)
            raise ParkError(f"{in_words(losses)}, and the film cannot be made without it; the camera files are kept")
        await self._note(film, footage, losses, None, replan_from)
        self._cut_out[film.booking_id] = losses

    def forget(self, booking_id: str) -> None:
        """Nothing is kept of a film that is made."""
        self._cut_out.pop(booking_id, None)

    async def _note(self, film: Film, footage: FilmFootage, losses: Sequence[Loss], until_us: int | None,
                    replan_from: int | None = None) -> None:
        gaps: dict[str, list[Interval]] = {}
        for loss in losses:
            to_us = loss.to_us if until_us is None else min(loss.to_us, until_us)
            if loss.from_us < to_us:
                gaps.setdefault(self._name(loss), []).append((loss.from_us, to_us))
        told = [entry.event for entry in await self._store.events(film.booking_id)
                if isinstance(entry.event, events.FootageLost)]
        news: list[tuple[events.FootageLost, events.FootageLost | None]] = []
        for event in self._events(footage, losses):
            before = next((known for known in told if _goes_on(known, event)), None)
            now = event if before is None else _together(before, event)
            if now != before:
                news.append((now, before))
                log.error("footage lost", booking=film.booking_id, camera=event.camera, files=list(event.files),
                          reason=event.reason, seconds=round((event.ends_at - event.starts_at) / SECOND, 3))
        await self._store.note_gaps(film.booking_id, film.generation, gaps, news, replan_from)
        self._footage.forget(film.booking_id)  # its segments are read again

    def _events(self, footage: FilmFootage, losses: Sequence[Loss]) -> Iterator[events.FootageLost]:
        """What the story tells: one entry for each camera, cause and time without an interruption."""
        offsets = {span.run: span.start_offset_us for span in footage.spans}
        runs = {piece.path: run for run, cameras in footage.files.items()
                for pieces in cameras.values() for piece in pieces}
        at = sorted((offsets[runs[loss.path]], loss.camera, loss.reason, loss.from_us, loss.to_us, self._name(loss))
                    for loss in losses)
        for (offset_us, camera, reason), ours in groupby(at, key=lambda one: one[:3]):
            files: list[str] = []
            start = end = 0
            for *_, from_us, to_us, name in ours:
                if files and from_us - end >= HOLD_US:
                    yield events.FootageLost(camera, start + offset_us, end + offset_us, tuple(files), reason)
                    files = []
                if not files:
                    start = end = from_us
                files += [] if name in files else [name]
                end = max(end, to_us)
            yield events.FootageLost(camera, start + offset_us, end + offset_us, tuple(files), reason)

    def _name(self, loss: Loss) -> str:
        return self._folder.relative(Path(loss.path))


def _goes_on(known: events.FootageLost, event: events.FootageLost) -> bool:
    """Whether an entry of the story goes on with what another one would tell: the chunks find out piece by piece."""
    return ((known.camera, known.reason) == (event.camera, event.reason)
            and known.starts_at - HOLD_US < event.ends_at and event.starts_at < known.ends_at + HOLD_US)


def _together(known: events.FootageLost, event: events.FootageLost) -> events.FootageLost:
    return replace(known, starts_at=min(known.starts_at, event.starts_at), ends_at=max(known.ends_at, event.ends_at),
                   files=tuple(dict.fromkeys((*known.files, *event.files))))
