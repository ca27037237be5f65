"""Recovery: what earlier runs left in the data folder is put in order, and never keeps the cameras waiting.

Segments without a row are adopted beside recording, one after the other, newest run first. Films wait for them
meanwhile: `pending_from_us` says from when on a run's footage is not known yet. One file that cannot be used costs
itself alone. A run that has a folder and no row (the store was lost) gets its row again from what its folder says;
`spans` tells which of these runs may hold footage of a window.
"""

import asyncio
import errno
import stat
from bisect import bisect_left
from collections.abc import Callable, Mapping
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

from ezrec import files, logs
from ezrec.adapters import run_facts
from ezrec.adapters.adoption import adopt
from ezrec.adapters.run_facts import RunFacts
from ezrec.adapters.segments import Sealed
from ezrec.domain.clock import SECOND, Clock
from ezrec.domain.errors import EzrecError, RetryError
from ezrec.domain.stages import Stage
from ezrec.domain.timeline import Offset, Span, begin_span
from ezrec.folders import DataFolder
from ezrec.store import Store
from ezrec.tasks.opening import put_aside

log = logs.get("recovery")

BATCH = 50  # segments whose rows are written in one transaction
BETWEEN_S = 0.01  # after each file that others need the disk and the interpreter
RETRY_S = 2.0
GIVEN_UP_S = 60.0  # how long a file that the disk does not give is tried again: a disk may come back
LONGEST_US = 60 * SECOND  # of a segment
JUST_NOW_US = 60 * SECOND  # a store that was made anew at this start has said so
OTHER_RATE = Fraction(30)  # of a camera that is not there any more


class Recovery:
    """The recovery task. `changed` is called when footage of an earlier run became known.

    `rates` holds the frames per second that each camera is asked for.
    """

    def __init__(self, store: Store, clock: Clock, folder: DataFolder, rates: Mapping[str, Fraction],
                 changed: Callable[[], None]) -> None:
        self._store = store
        self._clock = clock
        self._folder = folder
        self._rates = rates
        self._changed = changed
        self._pending: dict[int, list[Path]] = {}  # run → its segments without a row, by start
        self._cut: set[Path] = set()  # of these, those that a crash may have cut in the middle
        self._failing_us: dict[Path, int] = {}  # since when the disk does not give a file, monotonic µs
        self._found: dict[int, tuple[Offset, list[int]]] = {}  # recovered run → newest offset, starts of its segments
        self._settled = asyncio.Event()
        self.highest_run = 0  # that has a folder

    @property
    def done(self) -> bool:
        """Whether all that earlier runs left is known."""
        return not any(self._pending.values())

    def pending_from_us(self, run: int) -> int | None:
        """The time from which an earlier run's footage is not known yet, run-monotonic µs; None if all of it is."""
        paths = self._pending.get(run)
        return _start_us(paths[0]) if paths else None

    def spans(self, starts_at: int, ends_at: int) -> list[Span]:
        """A window (UTC µs) as it lies on the recovered runs that may hold footage of it, in their order."""
        found = []
        for run, (offset, starts) in sorted(self._found.items()):
            span = begin_span(run, starts_at, ends_at, offset.wall_us)
            at = bisect_left(starts, span.start_us - LONGEST_US)
            if at < len(starts) and starts[at] < span.end_us:
                found.append(span)
        return found

    # ---- at start

    async def begin(self, before: int | None = None) -> None:
        """Find what earlier runs left, and give runs without a row theirs. Nothing is decoded.

        `before` is the run that records already: what it writes is not looked at.

        Raises:
            RetryError: the disk is full.
            OSError: it cannot be read.
        """
        known = await self._store.segment_paths()
        every = await asyncio.to_thread(self._segments, before)
        self.highest_run = max(await asyncio.to_thread(self._folder.runs), default=0)
        await self._recover_runs(every)
        await self._lay_films()
        for run, paths in every.items():
            left = [path for path in paths if self._folder.relative(path) not in known]
            if left:
                self._pending[run] = left
                self._cut |= {ours[-1] for ours in _by_camera(paths).values()}
        if not self.done:
            log.info("footage without rows", segments=sum(map(len, self._pending.values())), runs=len(self._pending))

    def _segments(self, before: int | None) -> dict[int, list[Path]]:
        """All segments on the disk by run, in order of their start; what only has the name of one is set aside.

        One without a byte goes: its process was killed before the first frame.
        """
        found: dict[int, list[Path]] = {}
        strange: list[Path] = []
        empty: list[Path] = []
        for path in self._folder.segment_files():
            if before is not None and int(path.parent.parent.name) >= before:
                continue
            size = _size(path) if path.stem.isascii() and path.stem.isdecimal() and len(path.stem) < 18 else None
            if size:
                found.setdefault(int(path.parent.parent.name), []).append(path)
            elif size is None:
                strange.append(path)
            else:
                empty.append(path)
        put_aside(self._folder, *strange)
        files.remove(*empty)
        for paths in found.values():
            paths.sort(key=_start_us)
        return found

    async def _recover_runs(self, every: Mapping[int, list[Path]]) -> None:
        """Give runs that have footage and no row their rows, and remember what lies where on the recovered ones."""
        runs = await self._store.runs()
        lost = {run: paths for run, paths in every.items() if run not in runs}
        if lost and self._clock.wall_us() - await self._store.recovered_at() > JUST_NOW_US:  # an old copy, say
            await self._store.note_recovery("footage was found that the store knows nothing of")
            runs = await self._store.runs()
        for run, paths in lost.items():
            facts = await asyncio.to_thread(_facts, self._folder.run_facts(run), paths)
            await self._store.recover_run(run, facts.boot_id, facts.offsets)
            log.warning("run recovered", run=run, segments=len(paths),
                        by="the times of its files" if facts.estimated else "its own facts")
        for run, paths in every.items():
            if run in lost or runs[run]:
                offsets = await self._store.offsets(run)
                if offsets:
                    self._found[run] = offsets[-1], [_start_us(path) for path in paths]

    async def _lay_films(self) -> None:
        """Lay films onto recovered runs that they belong to and have lost."""
        if not self._found:
            return
        for film in await self._store.films_brief(Stage.BOOKED, Stage.RECORDING, Stage.RECORDED, Stage.CANCELLED):
            laid = {span.run for span in await self._store.spans(film.booking_id)}
            for span in self.spans(film.starts_at, film.ends_at):
                if span.run not in laid:
                    await self._store.put_span(film.booking_id, span)
                    log.warning("film laid onto a recovered run", booking=film.booking_id, run=span.run)

    # ---- beside recording

    async def settled(self, limit_s: float) -> None:
        """Wait until what earlier runs left is known, but no longer than `limit_s`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._settled.wait()

    async def run(self) -> None:
        """Adopt what lies there, newest run first; afterwards there is nothing to do."""
        while not self.done:
            try:
                if not await self._adopt_some():
                    await asyncio.sleep(RETRY_S)
            except RetryError as error:  # the disk is full, say
                log.error("footage not adopted, trying again", error=str(error))  # noqa: TRY400 - foreseen
                await asyncio.sleep(RETRY_S)
        self._settled.set()
        self._changed()
        await asyncio.Event().wait()

    async def _adopt_some(self) -> bool:
        """Adopt some segments of the newest run that has any left; whether that came to anything."""
        for run in sorted((run for run, paths in self._pending.items() if paths), reverse=True):
            # The newest come first: a film that was being made waits for them.
            some = self._pending[run][-BATCH:]
            read, sealed = [], []
            for path in some:
                found = await asyncio.to_thread(self._read, path)
                if found is not None:
                    read.append(path)
                    sealed += found
                await asyncio.sleep(BETWEEN_S)
            await self._store.add_segment(*(one.row(self._folder.root) for one in sealed))
            for one in sealed:
                log.info("orphan adopted", camera=one.camera, run=run, frames=one.frames)
            self._pending[run] = [path for path in self._pending[run] if path not in read]
            if read:
                self._changed()
                return True
        return False

    def _read(self, path: Path) -> list[Sealed] | None:
        """What a segment holds; nothing if that is nothing usable: then it is out of the way. None: later, perhaps."""
        try:
            sealed = adopt(path, self._rates.get(path.parent.name, OTHER_RATE), may_be_torn=path in self._cut)
        except FileNotFoundError:
            return []
        except (EzrecError, OSError) as error:
            now = self._clock.mono_us()
            if now - self._failing_us.setdefault(path, now) < GIVEN_UP_S * SECOND:
                return None
            log.error("orphan given up", path=str(path), error=str(error))  # noqa: TRY400 - foreseen
            sealed = None
        except Exception:  # whatever it holds, the others come next
            log.exception("orphan given up", path=str(path))
            sealed = None
        if sealed is None:
            put_aside(self._folder, path)
        return [sealed] if sealed else []


def _by_camera(paths: list[Path]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in paths:
        found.setdefault(path.parent.name, []).append(path)
    return found


def _facts(path: Path, segments: list[Path]) -> RunFacts:
    """What a run's folder says of it, or else what the times of its segments tell."""
    facts = run_facts.read(path)
    if facts is None:
        facts = run_facts.estimate([[(_start_us(one), _written_us(one)) for one in ours]
                                    for ours in _by_camera(segments).values()])
    return facts or RunFacts("", (Offset(0, 0),), estimated=True)


def _size(path: Path) -> int | None:
    """How long a file, or what a link names, is, in bytes; None if it is none. One that does not say is tried."""
    try:
        status = path.stat()
    except FileNotFoundError:  # a link to nothing
        return None
    except OSError as error:
        return None if error.errno == errno.ELOOP else 1
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _start_us(path: Path) -> int:
    return int(path.stem)


def _written_us(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns // 1000
    except OSError:
        return 0
