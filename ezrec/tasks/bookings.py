"""Bookings: asks the sources, keeps the last good answer in the store, and makes the films follow.

A source that cannot be reached changes nothing. What a command wrote beside the running recorder is seen within a
second.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from zoneinfo import ZoneInfo

from ezrec import logs
from ezrec.adapters.bookings import BookingSource
from ezrec.adapters.publishing import Publisher
from ezrec.config.sections import BookingsSettings
from ezrec.domain import booking as bookings
from ezrec.domain import schedule
from ezrec.domain.booking import RefusedRow
from ezrec.domain.clock import SECOND, Clock, local_datetime
from ezrec.domain.errors import IllegalStep, ParkError, RetryError
from ezrec.domain.events import AnnouncedLate, ChangeRefused, FootageFound
from ezrec.domain.stages import Stage
from ezrec.domain.timeline import Span
from ezrec.store import Rules, Store
from ezrec.tasks.answers import Answers

log = logs.get("bookings")

CHECK_EVERY_S = 1.0  # how often another process's writes are looked for
LOOK_EVERY_S = 30.0  # how often films and bookings are compared though the store has not changed
JITTER = 0.1  # of the poll time, so that a town of recorders does not ask in step


class Bookings:
    """Keeps films in step with bookings; `changed` is called whenever a film appeared, moved or went."""

    def __init__(self, store: Store, clock: Clock, sources: Sequence[BookingSource], settings: BookingsSettings,
                 zone: ZoneInfo, changed: Callable[[], None], publisher: Publisher | None = None,
                 found_spans: Callable[[int, int], list[Span]] = lambda _from, _to: []) -> None:
        """`found_spans` lays a window (UTC µs) onto the runs whose footage was found again after the store was lost.

        Before a film is made of that the `publisher` is asked whether there is one.
        """
        self._store = store
        self._clock = clock
        self._sources = sources
        self._settings = settings
        self._zone = zone
        self._changed = changed
        self._rules = Rules(round(settings.pre_roll_s * SECOND), round(settings.post_roll_s * SECOND),
                            frozenset(settings.ignore_statuses))
        self._logged = logs.Troubles(log)  # of sources, their rows, changes, what is looked up
        self._data_version = -1
        self._looked: tuple[int, int] | None = None  # the state of the store that the films follow
        self._look_due_us = 0
        self._answers = Answers(store, clock, settings, zone, self._logged)
        self._publisher = publisher
        self._found_spans = found_spans
        self._lost: dict[str, schedule.Recover] = {}  # bookings from before the store was lost, not looked up yet
        self._looked_up: set[str] = set()
        self._turn = asyncio.Lock()  # one look at a time makes the films follow
        self._ask_turn = {source.name: asyncio.Lock() for source in sources}
        self._asked_s: dict[str, float] = {}  # source → how long it asked not to be asked again
        self._asking: set[asyncio.Task[None]] = set()
        self._woken = {source.name: asyncio.Event() for source in sources}

    @property
    def refused(self) -> list[RefusedRow]:
        """The rows that the sources hand in now and that are no bookings."""
        return self._answers.refused

    async def run(self) -> None:
        """Ask every source in its own time, and watch what commands write, until stopped."""
        try:
            async with asyncio.TaskGroup() as group:
                for source in self._sources:
                    group.create_task(self._poll(source))
                group.create_task(self._watch())
                group.create_task(self._recover())
        finally:
            for asking in self._asking:
                asking.cancel()
            await asyncio.gather(*self._asking, return_exceptions=True)

    async def _poll(self, source: BookingSource) -> None:
        while True:
            await self._ask(source)
            await self._look()
            asked_s = self._asked_s.pop(source.name, 0)
            await asyncio.sleep(asked_s)  # news do not cut this short
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, self._pause_s() - asked_s)):
                    await self._woken[source.name].wait()
            self._woken[source.name].clear()

    def wake(self) -> None:
        """Ask the sources now: one of them has heard of news."""
        for woken in self._woken.values():
            woken.set()

    async def _watch(self) -> None:
        """Let the films follow when a command wrote to the store, and now and then because time goes on."""
        while True:
            version = await self._store.version_of_data()
            await self._look()
            if version != self._data_version:
                self._data_version = version
                self._changed()
            await asyncio.sleep(CHECK_EVERY_S)

    async def _look(self) -> None:
        """Let the films follow if the store has changed since they last did. Time alone gives them little to do."""
        state = await self._store.state()
        if state != self._looked or self._clock.mono_us() >= self._look_due_us:
            await self.follow()
            self._looked, self._look_due_us = state, self._clock.mono_us() + round(LOOK_EVERY_S * SECOND)

    def _pause_s(self) -> float:
        return self._settings.poll_s * random.uniform(1 - JITTER, 1 + JITTER)

    async def run_once(self) -> None:
        """Ask every source once, then let the films follow."""
        for source in self._sources:
            await self._ask(source)
        await self.follow()

    async def _ask(self, source: BookingSource) -> None:
        """Ask a source and store its answer. Who is cancelled meanwhile waits no longer, but the asking goes on: an
        answer that a source has given must not be lost.
        """
        asking = asyncio.create_task(self._ask_now(source), name="bookings")
        self._asking.add(asking)
        asking.add_done_callback(self._asking.discard)
        await asyncio.shield(asking)

    async def _ask_now(self, source: BookingSource) -> None:
        async with self._ask_turn[source.name]:
            try:
                rows = await source.fetch()
                if rows is not None:
                    await self._take(source, rows)
            except RetryError as error:
                self._asked_s[source.name] = error.after_s
                self._logged.say(source.name, "bookings not read, keeping the last good answer", str(error),
                                   source=source.name)
            except ParkError as error:
                self._logged.say(source.name, "bookings refused by their source", str(error), source=source.name)
            else:
                self._logged.over(source.name, "bookings are read again", source=source.name)

    async def _take(self, source: BookingSource, rows: list[object]) -> None:
        """Make a source's complete answer ours: all of it, or nothing and it is asked for again."""
        try:
            await self._answers.put(source, rows)
        except BaseException:
            source.forget()
            raise

    def _window(self, one: bookings.Booking) -> tuple[int, int]:
        return bookings.window(one, self._settings.pre_roll_s, self._settings.post_roll_s)

    async def follow(self) -> None:
        """Make the films follow the bookings as they are known now."""
        now = self._clock.wall_us()
        async with self._turn:
            recovered_at = await self._store.recovered_at()
            known, films = await self._store.to_follow(
                self._rules, now, now - schedule.FORGIVEN_US - self._rules.post_us, recovered_at)
            actions = schedule.reconcile({one.id: one for one in known}, films, now, window=self._window,
                                         called_off=self._rules.called_off, recovered_at=recovered_at,
                                         has_found=lambda *window: bool(self._found_spans(*window)))
            acted = [await self._act(action) for action in actions]
        for before in self._logged.standing():
            if isinstance(before, schedule.Refuse) and before not in actions:
                self._logged.over(before, "booking is no longer changed too late", booking=before.booking_id)
        if any(acted):
            self._changed()

    async def _act(self, action: schedule.Action) -> bool:
        """Carry one action out; whether it changed a film."""
        booking_id = action.booking_id
        match action:
            case schedule.Add(starts_at=starts_at, ends_at=ends_at, late=late):
                await self._add(booking_id, starts_at, ends_at)
                log.info("booking known", booking=booking_id, starts=bookings.show_local(starts_at, self._zone),
                         seconds=(ends_at - starts_at) / SECOND)
                if late:
                    await self._store.record(booking_id, AnnouncedLate())
            case schedule.Recover() as lost:
                if booking_id not in self._looked_up:
                    self._lost[booking_id] = lost
                return False
            case schedule.Move(starts_at=starts_at, ends_at=ends_at):
                if not await self._store.move_film(booking_id, starts_at, ends_at):
                    return False  # its window has just ended: refused at the next look
                log.info("booking changed", booking=booking_id, starts=bookings.show_local(starts_at, self._zone),
                         seconds=(ends_at - starts_at) / SECOND)
            case schedule.Cancel():
                try:
                    await self._store.step(booking_id, Stage.CANCELLED)
                except IllegalStep:  # its window has just ended: refused at the next look
                    return False
                log.info("booking cancelled", booking=booking_id)
            case schedule.Revive():
                await self._revive(booking_id)
            case schedule.Withdraw():
                await self._store.drop_film(booking_id)
                log.info("booking withdrawn", booking=booking_id)
            case schedule.Refuse() as refused:
                return await self._refuse(refused)
        return True

    async def _revive(self, booking_id: str) -> None:
        again = Stage.RECORDING if await self._store.has_footage(booking_id) else Stage.BOOKED
        if again is Stage.BOOKED:
            await self._store.drop_spans(booking_id)  # laid anew, by the clock as it is now
        await self._store.step(booking_id, again)
        log.info("booking stands again", booking=booking_id)

    async def _refuse(self, refused: schedule.Refuse) -> bool:
        if self._logged.say(refused, "booking changed too late, its film stays as it is", "it is past every change",
                            booking=refused.booking_id):
            await self._store.record_once(refused.booking_id, ChangeRefused(refused.starts_at, refused.ends_at,
                                                                          refused.cancelled))
        return False

    async def _add(self, booking_id: str, starts_at: int, ends_at: int) -> None:
        """A film for a booking, with the footage of it that was found again, if any was."""
        async with self._store.together() as tx:
            await tx.add_film(booking_id, schedule.recording_id(starts_at, self._zone), starts_at, ends_at)
            for span in self._found_spans(starts_at, ends_at):
                await tx.put_span(booking_id, span)

    # ---- after the store was lost

    async def _recover(self) -> None:
        """Make films of bookings from before the store was lost, as soon as it is sure that there are none."""
        while True:
            for lost in list(self._lost.values()):
                await self._recover_one(lost)
            await asyncio.sleep(CHECK_EVERY_S)

    async def _recover_one(self, lost: schedule.Recover) -> None:
        try:
            day = f"{local_datetime(lost.starts_at, self._zone):%Y-%m-%d}"
            published = self._publisher is not None and await self._publisher.holds(lost.booking_id, day)
        except (RetryError, ParkError) as error:
            self._logged.say(lost, "not known whether it was published, asked again", str(error),
                             booking=lost.booking_id)
            return
        self._logged.over(lost, "known whether it was published", booking=lost.booking_id, published=published)
        self._lost.pop(lost.booking_id, None)
        self._looked_up.add(lost.booking_id)
        if published:
            log.info("booking was published before the store was lost", booking=lost.booking_id)
            return
        await self._add(lost.booking_id, lost.starts_at, lost.ends_at)
        await self._store.record(lost.booking_id, FootageFound())
        log.warning("booking found again after the store was lost", booking=lost.booking_id)
        self._changed()
