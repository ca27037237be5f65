"""Recording: keeps both cameras writing while the time is wanted, and says how far their footage is known.

It lays the films' windows onto this run's monotonic clock, follows the wall clock when it steps, turns the lanes on
and off, and takes a film from `booked` to `recording` (with its first segment), to `recorded` (its window is over and
its footage durable or lost) or to `missed`.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from ezrec import logs
from ezrec.adapters.segments import Sealed
from ezrec.config import Settings
from ezrec.domain.clock import SECOND, Clock
from ezrec.domain.errors import CameraStuck, EzrecError, RetryError
from ezrec.domain.film import Film
from ezrec.domain.stages import Stage
from ezrec.domain.timeline import HOLD_US, Span, begin_span, lay
from ezrec.folders import DataFolder
from ezrec.store import Store
from ezrec.tasks.recording.lane import Lane, LaneHealth
from ezrec.tasks.recording.near import NearFilms
from ezrec.tasks.recording.room import Room
from ezrec.tasks.recording.run_record import RunRecord

log = logs.get("recording")

LAID_AHEAD_US = 5 * SECOND  # a window is written so long before its cameras are asked: a slow disk delays none
CHECK_EVERY_S = 0.5  # how often windows and clocks are looked at, when nothing asks for it sooner
ROW_RETRY_S = 1.0
END_WAIT_US = SECOND // 2  # how long a camera may take to deliver the frames of a window's last moment
FOR_EVER_US = 1 << 62
TRIES = 5  # of each camera that came to nothing, before a new process is tried
LEAVE_AFTER_US = 300 * SECOND  # a process is not left sooner than this for cameras that do not deliver

MakeLane = Callable[[int, Callable[[Sealed], None]], Lane]
"""Builds a lane for a run, given what to do with its sealed segments."""


class Recording:
    """The recorder task. `changed` is called when footage became known or a film took a step."""

    def __init__(self, store: Store, clock: Clock, folder: DataFolder, settings: Settings,
                 make_lanes: Sequence[MakeLane], boot_id: str, free_bytes: Callable[[Path], int],
                 changed: Callable[[], None],
                 pending_from_us: Callable[[int], int | None] = lambda _: None) -> None:
        self._store = store
        self._clock = clock
        self._folder = folder
        self._lead_us = round(settings.cameras.lead_s * SECOND)
        self._chunk_us = round(settings.film.chunk_s * SECOND)
        self._room = Room(folder.root, free_bytes, settings.disk.min_free_mb << 20)
        self._make_lanes = make_lanes
        self._changed = changed
        self._pending_from_us = pending_from_us  # of an earlier run: from when on its footage is not known yet
        self._news = asyncio.Event()
        self._sealed: asyncio.Queue[Sealed] = asyncio.Queue()
        self._near = NearFilms(store, clock)
        self._record = RunRecord(store, clock, folder, boot_id)
        self._to_write: list[tuple[str, Span]] = []  # windows that were laid or moved, by booking
        self._earlier_known = False  # what earlier runs left has been looked through: films may be closed
        self._known_us = 0
        self._begun_us = 0
        self._cut_us = 0  # where segments were last asked to end
        self._windows: list[tuple[int, int, str]] = []  # start, end (run-monotonic µs) and booking, oldest first
        self.looked = asyncio.Event()  # the cameras that are wanted now have been asked to start
        self.lanes: Mapping[str, Lane] = {}
        self.checked_us = 0  # monotonic time of the last look: the watchdog's proof of life

    def notify(self) -> None:
        """Films have changed: look now."""
        self._news.set()

    def known_to_us(self, run: int) -> int:
        """The time of `run` up to which all cameras' footage is durable or will never come, run-monotonic µs."""
        if run != self.run_id or not self.lanes:
            pending_us = self._pending_from_us(run)
            return FOR_EVER_US if pending_us is None else pending_us
        return min(lane.watermark_us() for lane in self.lanes.values())

    def delivering(self) -> dict[str, tuple[int, int]]:
        """The cameras that deliver frames now, with the size of their picture in pixels."""
        return {name: lane.camera.size for name, lane in self.lanes.items() if lane.streaming}

    @property
    def active(self) -> bool:
        """Whether any camera is on."""
        return not all(lane.idle for lane in self.lanes.values())

    def health(self) -> dict[str, LaneHealth]:
        """How each camera is doing, by its name."""
        return {name: lane.health() for name, lane in self.lanes.items()}

    def current_booking(self) -> str | None:
        """The booking whose window is open now, whether its cameras deliver or not; of several the oldest."""
        now = self._clock.mono_us()
        return next((booking_id for start, end, booking_id in self._windows if start <= now < end), None)

    @property
    def run_id(self) -> int:
        """This run's number; 0 before it has begun."""
        return self._record.run_id

    async def begin(self, above: int = 0) -> None:
        """Begin a run with its row, all that earlier runs left being known. Afterwards `run` may be started.

        The run's id is larger than `above`, and than any that was given before.
        """
        await self.begin_at_once(above)
        await self._record.write()
        self.earlier_known()

    async def begin_at_once(self, above: int = 0) -> None:
        """Begin a run without writing anything: cameras first. No film is closed before `earlier_known`."""
        self._begun_us = self._clock.mono_us()
        await self._record.choose(above)
        await self._near.begin()
        made = [make(self.run_id, self._sealed.put_nowait) for make in self._make_lanes]
        self.lanes = {lane.name: lane for lane in made}

    def earlier_known(self) -> None:
        """What earlier runs left is known from now on: films that wait for nothing else may be closed."""
        self._earlier_known = True
        self.notify()

    async def run(self) -> None:
        """Record until stopped; ends only by an error that the process must leave for."""
        async with asyncio.TaskGroup() as group:
            for lane in self.lanes.values():
                group.create_task(lane.run(), name=f"recording.{lane.name}")
            group.create_task(self._write_rows(), name="recording.rows")
            while True:
                try:
                    await self.run_once()
                except RetryError as error:  # the disk is full, say: the cameras go on as they are
                    self.looked.set()
                    log.error("windows not looked at, trying again", error=str(error))  # noqa: TRY400 - foreseen
                with suppress(TimeoutError):
                    async with asyncio.timeout(CHECK_EVERY_S):
                        await self._news.wait()
                self._news.clear()

    async def stop(self) -> None:
        """Stop the cameras, seal their segments and write the rows; a camera that hangs keeps nobody else from it."""
        results = await asyncio.gather(*(lane.stop() for lane in self.lanes.values()), return_exceptions=True)
        for lane, error in zip(self.lanes.values(), results, strict=True):
            if error:
                log.error("camera not stopped", camera=lane.name, error=str(error))
        await asyncio.sleep(0)  # lets the last hand-overs from the writers' threads arrive
        while not self._sealed.empty():
            try:
                await self._write_row(self._sealed.get_nowait(), once=True)
            except EzrecError as error:  # the process must end all the same; the next start adopts the file
                log.error("segment row not written", error=str(error))  # noqa: TRY400 - foreseen

    async def run_once(self) -> None:
        """One look: clock, windows, lanes, films that are over. The first one asks the cameras before it writes."""
        self.checked_us = now = self._clock.mono_us()
        await self._record.follow_clock(now)
        wanted, ends, windows, over = False, [], [], []
        self._to_write = []
        films, spans = await self._near.look()
        for film in films:
            if film.stage is Stage.RECORDED:
                continue  # its window may still be open, if it was called off and then retried: it waits for footage
            laid = spans.get(film.booking_id, ())
            span = await self._lay(film, laid, now)
            if self._over(film, span, now) and self._all_known(laid):
                over.append(film)
            elif span:
                wanted = wanted or span.start_us - self._lead_us <= now < self._until(span)
                ends.append(self._next_cut(span, now))
                windows.append((span.start_us, span.end_us, film.booking_id))
        self._windows = windows
        if self._record.written.is_set():  # before the cameras: footage without a window would be of no film
            await self._write(facts=False)
        for lane in self.lanes.values():
            lane.want(wanted)
        self.looked.set()
        self._leave_if_none_delivers(now)
        if ends and min(ends) != self._cut_us:
            self._cut_us = min(ends)
            for lane in self.lanes.values():
                lane.cut_after(self._cut_us)
        await self._write(facts=wanted)
        for film in over:
            await self._close(film)
        known = self.known_to_us(self.run_id)
        if films and known > self._known_us + HOLD_US // 2:
            self._known_us = known
            self._changed()

    async def _write(self, *, facts: bool) -> None:
        """Write films' windows down, before the first ones the run; with `facts` also what the run's folder says."""
        await self._record.write(self._to_write, facts=facts)
        if self._to_write:
            self._to_write = []
            self._changed()

    def _leave_if_none_delivers(self, now: int) -> None:
        """A new process may get what this one does not: memory that is in pieces, a libcamera that has lost its way.

        Raises:
            CameraStuck: no camera delivers, and every one was tried often enough.
        """
        if now - self._begun_us > LEAVE_AFTER_US and self.lanes and all(
                not lane.idle and lane.failures >= TRIES for lane in self.lanes.values()):
            raise CameraStuck(f"no camera delivers, and {TRIES} tries of each came to nothing")

    async def _lay(self, film: Film, spans: Sequence[Span], now: int) -> Span | None:
        """The film's window on this run, made when it is about to open, moved when the booking or the clock moved."""
        ours: Span | None = None
        for span in spans:
            ours_now = span.run == self.run_id
            newest = self._record.offset.wall_us if ours_now else await self._record.newest_of(span)
            start_us, end_us = lay(film.starts_at, film.ends_at, span.start_offset_us, newest)
            moved = span.moved(start_us, end_us)
            if ours_now and film.stage is Stage.BOOKED and now < span.start_us:
                moved = begin_span(span.run, film.starts_at, film.ends_at, newest)  # not begun: nothing to keep
            if moved != span:
                self._to_write.append((film.booking_id, moved))
            if ours_now:
                ours = moved
        if ours:
            return ours
        span = begin_span(self.run_id, film.starts_at, film.ends_at, self._record.offset.wall_us)
        if not span.start_us - self._lead_us - LAID_AHEAD_US <= now < span.end_us:
            return None
        if film.stage is Stage.BOOKED and not self._room.is_there_for(film.booking_id, film.ends_at - film.starts_at):
            return None  # one that has begun goes on in any case
        self._to_write.append((film.booking_id, span))
        self._near.laid(film.booking_id)
        log.info("window opens", booking=film.booking_id, run=self.run_id,
                 in_s=max(0.0, (span.start_us - now) / SECOND), for_s=(span.end_us - max(now, span.start_us)) / SECOND)
        return span

    def _until(self, span: Span) -> int:
        """When the cameras may stop for a span: at its end, or a moment later if its last frames are still to come."""
        if all(lane.last_frame_us() >= span.end_us for lane in self.lanes.values() if lane.streaming):
            return span.end_us
        return span.end_us + END_WAIT_US

    def _next_cut(self, span: Span, now: int) -> int:
        """Where a segment should end next, so that a chunk (and the film) need not wait for a longer one."""
        chunks = max(0, now - HOLD_US - span.anchor_us) // self._chunk_us + 1
        return min(span.anchor_us + chunks * self._chunk_us, span.end_us) + HOLD_US

    def _over(self, film: Film, span: Span | None, now: int) -> bool:
        """Whether a film's window is over and nothing will still come for it."""
        if span is None:
            return self._clock.wall_us() >= film.ends_at
        return now >= self._until(span) and self.known_to_us(self.run_id) >= span.end_us + HOLD_US

    def _all_known(self, spans: Sequence[Span]) -> bool:
        """Whether nothing will still come for a film on earlier runs."""
        return self._earlier_known and all(
            self.known_to_us(span.run) >= span.end_us + HOLD_US for span in spans if span.run != self.run_id)

    async def _close(self, film: Film) -> None:
        to = Stage.RECORDED if film.stage is Stage.RECORDING else Stage.MISSED
        if (await self._store.step(film.booking_id, to, as_read=film)).stage is not to:
            return  # changed since it was read: the next look decides
        log.info("booking ended" if to is Stage.RECORDED else "booking missed", booking=film.booking_id)
        self._changed()

    async def _write_rows(self) -> None:
        while True:
            await self._write_row(await self._sealed.get())

    async def _write_row(self, sealed: Sealed, *, once: bool = False) -> None:
        if once:
            await self._record.write()
        await self._record.written.wait()
        while True:
            try:
                begun = await asyncio.shield(self._store.add_segment(sealed.row(self._folder.root)))
                break
            except RetryError as error:  # its file is safe: if the row never comes it is adopted at the next start
                if once:
                    raise
                log.error("segment row not written, trying again",  # noqa: TRY400 - foreseen
                          camera=sealed.camera, error=str(error))
                await asyncio.sleep(ROW_RETRY_S)
        self.lanes[sealed.camera].recorded(sealed)
        log.debug("segment sealed", camera=sealed.camera, run=sealed.run, start_us=sealed.start_us)
        for booking_id in begun:
            log.info("booking started", booking=booking_id)
        self._changed()
