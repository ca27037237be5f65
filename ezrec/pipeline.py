"""The pipeline: asyncio queues between the steps; take, work, take the step, hand on; retry, park, resume.

A step's work does what can be done now for one film and says whether it is finished. A film is queued for a step when
it is queued: by footage, by growth, by the step before, by a person. Each step works its queue one film at a time: live
films first, then the oldest. A film is live while its match is played and for some minutes after it; beside one, old
films are worked a little at a time. What fails is tried again with full-jitter backoff, or parked with its reason; what
was refused and may pass is tried again by itself, slowly.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from ezrec import files, logs
from ezrec.domain import backoff
from ezrec.domain.clock import SECOND, Clock
from ezrec.domain.errors import EzrecError, IllegalStep, LeaveError, ParkError, PoolClosed, RetryError
from ezrec.domain.film import Film
from ezrec.domain.stages import Stage
from ezrec.store import Store

log = logs.get("pipeline")

ATTEMPTS = 3  # of a step that fails in an unforeseen way, before the film is parked
SAID = frozenset({1, 2, 3, 10, 100, 1000, 10_000})  # failures in a row that are said; those between at level debug
LIVE_US = 15 * 60 * SECOND  # so long after its window a film still goes before older ones


async def _keep_nothing(_: str) -> None:
    """What a step does to forget a film of which it keeps nothing."""


@dataclass
class Step:
    """One step: the stages a film can be in while it is worked on, and the work.

    `forget` is called with the booking id of a film that was worked on and is not this step's any more, or is parked.
    """

    name: str
    stages: frozenset[Stage]
    work: Callable[[Film], Awaitable[bool]]
    forget: Callable[[str], Awaitable[None]] = _keep_nothing
    queue: asyncio.PriorityQueue[tuple[bool, int, str]] = field(default_factory=asyncio.PriorityQueue)
    waiting: set[str] = field(default_factory=set)  # booking ids that are in the queue
    known: set[str] = field(default_factory=set)  # booking ids of the films it may keep something of
    failures: dict[str, int] = field(default_factory=dict)  # booking id → failures in a row
    resting: dict[str, asyncio.TimerHandle] = field(default_factory=dict)  # until it is tried again
    refusals: dict[str, int] = field(default_factory=dict)  # booking id → in a row, of those that may pass

    def takes(self, film: Film) -> bool:
        """Whether it is this step's turn with a film."""
        return film.stage in self.stages and (self.name not in film.parked or self.name in film.passing)


class Pipeline:
    """The steps in their order, with a queue before each."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.steps: Sequence[Step] = ()  # in the order of the work; set before it runs
        self._store = store
        self._clock = clock
        self._due = asyncio.Event()
        self._live: frozenset[str] = frozenset()  # booking ids of the live films that may advance

    def notify(self) -> None:
        """Something has changed: queue every film that may advance."""
        self._due.set()

    def enqueue(self, step: Step, film: Film) -> None:
        """Queue one film for one step, unless it waits there already or rests after a failure."""
        if film.retry_at is None and step.name not in film.passing:  # a person asked for it now
            self._end_rest(step, film.booking_id)
        if step.takes(film) and film.booking_id not in step.resting and film.booking_id not in step.waiting:
            step.waiting.add(film.booking_id)
            step.queue.put_nowait((not self._is_live(film), film.starts_at, film.booking_id))

    def gives_way(self, film: Film) -> bool:
        """Whether a film is to be worked a little at a time, because it is not live and another one is."""
        return bool(self._live) and film.booking_id not in self._live

    def _is_live(self, film: Film) -> bool:
        return film.stage is Stage.RECORDING or self._clock.wall_us() < film.ends_at + LIVE_US

    def retry_now(self, *steps: Step) -> None:
        """The network is back, or so it seems: what rests after a failure (at these steps; at all) is tried now."""
        for step in steps or self.steps:
            for handle in step.resting.values():
                handle.cancel()
                self.notify()
            step.resting.clear()

    async def run(self) -> None:
        """Queue the films that may advance whenever something changed; at start every film goes on where it was."""
        while True:
            self._due.clear()
            # without their recipes: in an outage this is asked whenever one of many films has rested
            films = await self._store.films_brief(*{stage for step in self.steps for stage in step.stages})
            self._live = frozenset(film.booking_id for film in films if not film.parked and self._is_live(film))
            for step in self.steps:
                for gone in step.known - {film.booking_id for film in films if step.takes(film)} - step.waiting:
                    self._end_rest(step, gone)
                    step.waiting.add(gone)
                    step.queue.put_nowait((True, 0, gone))  # to be forgotten
                for film in films:
                    self.enqueue(step, film)
            await self._due.wait()

    async def work(self, step: Step) -> None:
        """Work one step's queue until stopped."""
        while True:
            *_, booking_id = await step.queue.get()
            step.waiting.discard(booking_id)
            if booking_id not in step.resting:  # it may have been queued while it was failing
                try:
                    await self.work_once(step, booking_id)
                except RetryError as error:  # the store's, beside the step's own work: the film is in no queue now
                    log.warning("film not looked at, trying again", booking=booking_id, step=step.name,
                                error=str(error))
                    self._rest(step, booking_id, backoff.wait_s(1))

    async def work_once(self, step: Step, booking_id: str) -> None:
        """Do one step's work for one film, if it still is the film's turn."""
        film = await self._store.film(booking_id)
        if film is None or not step.takes(film):
            await self._forget(step, booking_id)
            return
        step.known.add(booking_id)
        try:
            done = await step.work(film)
        except (LeaveError, PoolClosed):
            raise
        except Exception as error:  # noqa: BLE001 - whatever a film does, the next one gets its turn
            await self._failed(step, film, error)
            return
        if step.name in film.parked:
            await self._store.unpark(booking_id, step.name)
            log.info("step works again", booking=booking_id, step=step.name)
        step.refusals.pop(booking_id, None)
        if step.failures.pop(booking_id, None):  # what failed beside it may work as well now
            self.retry_now()
        elif done:  # older films that rest must not wait while younger ones go through
            self.retry_now(step)
        if film.attempts and not any(booking_id in one.resting for one in self.steps):
            await self._store.update_film(booking_id, attempts=0, retry_at=None)
        if done:
            self.notify()

    async def _failed(self, step: Step, film: Film, error: Exception) -> None:
        failures = step.failures[film.booking_id] = step.failures.get(film.booking_id, 0) + 1
        if isinstance(error, OSError):
            error = files.verdict(error, f"go on with {step.name}")
        foreseen = isinstance(error, EzrecError) and not isinstance(error, IllegalStep)
        reason = str(error) if foreseen else f"{type(error).__name__}: {error}"
        if isinstance(error, ParkError) or (not isinstance(error, RetryError) and failures >= ATTEMPTS):
            await self._park(step, film, reason, None if foreseen else error,
                             passing=isinstance(error, ParkError) and error.passing)
            return
        rest_s = max(backoff.wait_s(failures), error.after_s if isinstance(error, RetryError) else 0)
        with suppress(RetryError):  # on a full disk nobody is told, but it goes on all the same
            await self._store.update_film(film.booking_id, attempts=failures,
                                          retry_at=self._clock.wall_us() + round(rest_s * SECOND))
        # a week without network must not fill the log; what nobody foresaw is always said
        say = log.warning if failures in SAID or not foreseen else log.debug
        say("step failed, trying again", booking=film.booking_id, step=step.name, attempt=failures,
            retry_s=round(rest_s, 1), error=reason, exc_info=None if foreseen else error)
        self._rest(step, film.booking_id, rest_s)

    async def _park(self, step: Step, film: Film, reason: str, trace: Exception | None, *, passing: bool) -> None:
        """Park a step, and tell it once; if its refusal may pass it rests, and is tried again."""
        refusals = step.refusals.get(film.booking_id, 0)
        rest_s = backoff.slow_wait_s(refusals) if passing else None
        retry_at = None if rest_s is None else self._clock.wall_us() + round(rest_s * SECOND)
        await self._store.park(film.booking_id, step.name, reason, retry_at)
        say = log.debug if step.name in film.parked else log.error
        say("film parked", booking=film.booking_id, step=step.name, reason=reason,
            retry_s=None if rest_s is None else round(rest_s), exc_info=trace)
        await self._forget(step, film.booking_id)
        if rest_s is not None:
            step.known.add(film.booking_id)
            step.refusals[film.booking_id] = refusals + 1
            self._rest(step, film.booking_id, rest_s)

    async def _forget(self, step: Step, booking_id: str) -> None:
        self._end_rest(step, booking_id)
        step.failures.pop(booking_id, None)
        step.refusals.pop(booking_id, None)
        step.known.discard(booking_id)
        await step.forget(booking_id)

    def _end_rest(self, step: Step, booking_id: str) -> None:
        if handle := step.resting.pop(booking_id, None):
            handle.cancel()

    def _rest(self, step: Step, booking_id: str, rest_s: float) -> None:
        step.resting[booking_id] = asyncio.get_running_loop().call_later(rest_s, self._rested, step, booking_id)

    def _rested(self, step: Step, booking_id: str) -> None:
        step.resting.pop(booking_id, None)
        self.notify()
