"""Bookings: asks the sources, keeps the last good answer in the store, and makes the films follow.

A source that cannot be reached changes nothing. What a command wrote beside the running recorder is seen within a
second.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from zoneinfo import ZoneInfo

from ezrec import logs
from ezrec.adapters.bookings import BookingSource
from ezrec.adapters.publishing import Publisher
from ezrec.config.sections import BookingsSettings
from ezrec.domain import booking as bookings
from ezrec.domain import naming, schedule
from ezrec.domain.booking import RefusedRow
from ezrec.domain.clock import EARLIEST_US, SECOND, Clock, local_datetime
from ezrec.domain.errors import IllegalStep, ParkError, RetryError
from ezrec.domain.events import AnnouncedLate, ChangeRefused, FootageFound
from ezrec.domain.stages import Stage
from ezrec.domain.timeline import Span
from ezrec.store import Store

log = logs.get("bookings")

CHECK_EVERY_S = 1.0  # how often another process's writes are looked for
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
        self._logged: set[object] = set()  # malformed rows and refused changes already logged
        self._data_version = -1
        self._refused: dict[str, list[RefusedRow]] = {}  # by source, of its last answer
        self._publisher = publisher
        self._found_spans = found_spans
        self._lost: dict[str, schedule.Recover] = {}  # bookings from before the store was lost, not looked up yet
        self._looked_up: set[str] = set()
        self._turn = asyncio.Lock()  # one look at a time makes the films follow
        self._ask_turn = {source.name: asyncio.Lock() for source in sources}
        self._asked_s: dict[str, float] = {}  # source → how long it asked not to be asked again
        self._asking: set[asyncio.Task[None]] = set()

    @property
    def refused(self) -> list[RefusedRow]:
        """The rows that the sources hand in now and that are no bookings."""
        return [row for rows in self._refused.values() for row in rows]

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
            await self.follow()
            await asyncio.sleep(max(self._pause_s(), self._asked_s.pop(source.name, 0)))

    async def _watch(self) -> None:
        """Let the films follow when a command wrote to the store, and now and then because time goes on."""
        due = 0.0
        while True:
            now = asyncio.get_running_loop().time()
            if (version := await self._store.version_of_data()) != self._data_version or now >= due:
                await self.follow()
                due = now + self._pause_s()
            if version != self._data_version:
                self._data_version = version
                self._changed()
            await asyncio.sleep(CHECK_EVERY_S)

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
                self._say_once((source.name, str(error)), "bookings not read, keeping the last good answer",
                               source=source.name, error=str(error))
            except ParkError as error:
                self._say_once((source.name, str(error)), "bookings refused by their source", source=source.name,
                               error=str(error))

    async def _take(self, source: BookingSource, rows: list[object]) -> None:
        """Make a source's complete answer ours: all of it, or nothing and it is asked for again."""
        try:
            await self._store_rows(source, rows)
        except BaseException:
            source.forget()
            raise

    async def _store_rows(self, source: BookingSource, rows: list[object]) -> None:
        """Store the rows of a complete answer; malformed ones are said once and skipped."""
        good, bad = bookings.parse_many(rows, source=source.name, zone=self._zone,
                                        longest_s=self._settings.longest_h * 3600, reuses_ids=source.reuses_ids)
        for error in bad:
            self._say_once((source.name, str(error)), "booking skipped", source=source.name, error=str(error))
        refused = [RefusedRow(source.name, str(error)) for error in bad]
        malformed = {error.booking_id for error in bad if error.booking_id}
        now = self._clock.wall_us()
        async with self._store.together() as tx:
            if source.reuses_ids:
                good = naming.named(good, await tx.bookings(), await tx.films(), now, window=self._window,
                                    malformed=malformed)
            for one in good:
                if not await tx.put_booking(replace(one, reported=source.reported)):
                    self._say_once((source.name, one.id), "booking skipped", source=source.name, booking=one.id,
                                   error="another source has a booking of this id")
                    refused.append(RefusedRow(source.name, f"booking {one.id!r}: another source has this id"))
            kept = {one.id for one in good}
            gone = [one for one in await tx.bookings(source.name)
                    if one.id not in kept and naming.shown_id(one.id) not in malformed]
            lost = sum(self._window(one)[1] > now for one in gone)  # those that are over may go
            if lost > 1 and not kept and not malformed:
                log.error("all bookings gone at once", source=source.name, count=lost,
                          hint="an empty answer may mean that a credential ran out")
            for one in gone:
                # once its window is open only explicit words count; a clock never set cannot say that it is not
                if self._window(one)[0] > now >= EARLIEST_US:
                    await tx.drop_booking(one.id, source.name)
        self._refused[source.name] = refused

    def _window(self, one: bookings.Booking) -> tuple[int, int]:
        return bookings.window(one, self._settings.pre_roll_s, self._settings.post_roll_s)

    async def follow(self) -> None:
        """Make the films follow the bookings as they are known now."""
        async with self._turn:
            known = {one.id: one for one in await self._store.bookings()}
            actions = schedule.reconcile(known, await self._store.films(), self._clock.wall_us(), window=self._window,
                                         called_off=frozenset(self._settings.ignore_statuses),
                                         recovered_at=await self._store.recovered_at(),
                                         has_found=lambda *window: bool(self._found_spans(*window)))
            acted = [await self._act(action) for action in actions]
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
        if refused not in self._logged:
            self._logged.add(refused)
            await self._store.record_once(refused.booking_id, ChangeRefused(refused.starts_at, refused.ends_at,
                                                                          refused.cancelled))
            log.warning("booking changed too late, its film stays as it is", booking=refused.booking_id)
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
            self._say_once((lost.booking_id, str(error)), "not known whether it was published, asked again",
                           booking=lost.booking_id, error=str(error))
            return
        self._lost.pop(lost.booking_id, None)
        self._looked_up.add(lost.booking_id)
        if published:
            log.info("booking was published before the store was lost", booking=lost.booking_id)
            return
        await self._add(lost.booking_id, lost.starts_at, lost.ends_at)
        await self._store.record(lost.booking_id, FootageFound())
        log.warning("booking found again after the store was lost", booking=lost.booking_id)
        self._changed()

    def _say_once(self, key: object, event: str, **data: object) -> None:
        if key not in self._logged:
            self._logged.add(key)
            log.warning(event, **data)
