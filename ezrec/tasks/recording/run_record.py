"""This run as it is written down: its row in the store, with the films' windows on it, and what its folder says.

Both come after the cameras were asked to start: on a slow disk they would keep them waiting for seconds. Its number is
known from the beginning; a segment's row waits for the run's.
"""

import asyncio
from collections.abc import Sequence

from ezrec import logs
from ezrec.adapters.run_facts import RunFacts
from ezrec.domain.clock import SECOND, STEP_US, Clock
from ezrec.domain.timeline import Offset, Span
from ezrec.folders import DataFolder
from ezrec.store import Store
from ezrec.tasks.recording.run_folder import RunFolder

log = logs.get("recording")


class RunRecord:
    """One run's row and facts, and how the wall clock lies on it."""

    def __init__(self, store: Store, clock: Clock, folder: DataFolder, boot_id: str) -> None:
        self._store = store
        self._clock = clock
        self._boot_id = boot_id
        self._folder = RunFolder(folder, clock)
        self._offsets = [Offset(0, 0)]
        self.run_id = 0
        self.written = asyncio.Event()  # the row is there

    @property
    def offset(self) -> Offset:
        """The newest one."""
        return self._offsets[-1]

    async def choose(self, above: int) -> None:
        """Take a number, larger than `above` and than any that was given before. Nothing is written."""
        now = self._clock.mono_us()
        self._offsets = [Offset(now, self._clock.wall_us() - now)]
        self.run_id = await self._store.next_run(above)

    async def follow_clock(self, now: int) -> None:
        """See whether the wall clock has stepped against the monotonic one."""
        offset = self._clock.wall_us() - self._clock.mono_us()
        stepped = offset - self.offset.wall_us
        if abs(stepped) <= STEP_US:
            return
        self._offsets.append(Offset(now, offset))
        if self.written.is_set():
            await self._store.add_offset(self.run_id, self.offset)
        log.warning("wall clock stepped", seconds=stepped / SECOND, run=self.run_id)

    async def write(self, spans: Sequence[tuple[str, Span]] = (), *, facts: bool = False) -> None:
        """Write films' windows down, by booking, and before the first of them the run itself.

        With `facts` it is seen to that the run's folder says what the run is, at the same time.

        Raises:
            RetryError: the disk is full, say.
        """
        keeping = asyncio.create_task(self._folder.keep(self.run_id, RunFacts(self._boot_id, tuple(self._offsets)))) \
            if facts else None
        try:
            if spans or not self.written.is_set():
                await self._write(spans)
        finally:
            if keeping:
                await keeping

    async def _write(self, spans: Sequence[tuple[str, Span]]) -> None:
        async with self._store.together() as tx:
            if not self.written.is_set():
                first, *more = self._offsets
                await tx.begin_run(self._boot_id, first.from_us, first.wall_us, above=self.run_id - 1)
                for offset in more:
                    await tx.add_offset(self.run_id, offset)
            for booking_id, span in spans:
                await tx.put_span(booking_id, span)
        if not self.written.is_set():
            self.written.set()
            log.info("run begun", run=self.run_id)

    async def newest_of(self, span: Span) -> int:
        """The newest offset of an earlier run; a damaged store may have lost it."""
        offsets = await self._store.offsets(span.run)
        return offsets[-1].wall_us if offsets else span.start_offset_us
