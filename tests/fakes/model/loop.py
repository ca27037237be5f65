"""An event loop on made-up time, in which every thread's work waits until it is its turn.

Nothing here runs by itself: `SteppedLoop.turn` runs what is ready, then one piece of work that would be on a thread or
in a worker, and so on until nothing is left that needs no time. Timers fire when the made-up clock is moved. So an
interleaving is a choice of numbers, and the same choice gives the same run.
"""

import asyncio
import heapq
from asyncio import events
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ezrec.domain.clock import SECOND
from tests.fakes.clocks import MadeUpClock

MOST_CALLS = 60_000  # without a moment's time passing: more is a loop without an end
MOST_ROUNDS = 60  # in which the tasks of a killed process come to their end


class Killed(BaseException):
    """What a killed process's code meets wherever it waits: it gets no answer any more."""


@dataclass(eq=False)
class Job:
    """Work that would be on a thread or in a worker."""

    line: object  # jobs of one line are done in their order: a thread, a connection
    what: Callable[[], Any]
    done: Callable[[Any, BaseException | None], None]
    fails: BaseException | None = None
    lost: bool = False  # it is done, but its answer is `fails`

    def do(self) -> None:
        """Do it, and say so."""
        result, error = None, self.fails
        if error is None or self.lost:
            try:
                result = self.what()
            except Exception as met:  # noqa: BLE001 - whoever waits for it gets it
                error = met
        self.done(result, error)


@dataclass(eq=False)
class SteppedLoop(asyncio.AbstractEventLoop):
    """The loop. `order` chooses which of so many lines' next jobs is done; `watch` sees each job before it begins."""

    clock: MadeUpClock
    order: Callable[[int], int] = lambda _: 0
    watch: Callable[[Job], None] = lambda _: None
    dead: bool = False
    calls: int = 0  # since time last passed
    jobs_done: int = 0
    errors: list[dict[str, Any]] = field(default_factory=list)  # that no task was there to get
    _ready: deque[asyncio.Handle] = field(default_factory=deque)
    _timers: list[tuple[float, int, asyncio.TimerHandle]] = field(default_factory=list)
    _lines: dict[object, deque[Job]] = field(default_factory=dict)
    _tasks: list[asyncio.Task[Any]] = field(default_factory=list)
    _count: int = 0

    # ---- what a model does with it

    def turn(self, jobs: int | None = None) -> bool:
        """Run what is ready and `jobs` jobs (None: all there are); whether nothing is left but to let time pass."""
        before = events._get_running_loop()
        events._set_running_loop(self)
        try:
            while True:
                self._run_ready()
                if not self._lines or jobs == 0:
                    return not self._lines
                self._next_job().do()
                self.jobs_done += 1
                jobs = None if jobs is None else jobs - 1
        finally:
            events._set_running_loop(before)

    def passed(self) -> None:
        """The clock was moved: what was to be done by now is ready."""
        self.calls = 0
        now = self.time()
        while self._timers and self._timers[0][0] <= now:
            self._ready.append(heapq.heappop(self._timers)[2])

    def next_timer_us(self) -> int | None:
        """When something is to be done next, monotonic µs."""
        while self._timers and self._timers[0][2].cancelled():
            heapq.heappop(self._timers)
        return None if not self._timers else round(self._timers[0][0] * SECOND)

    def waiting(self) -> Iterator[Job]:
        """The jobs that have not been begun."""
        for line in self._lines.values():
            yield from line

    def kill(self) -> None:
        """The process is gone: nothing reaches disk or store any more. Its code is unwound without an answer."""
        self.dead = True
        lines, self._lines = self._lines, {}
        self._timers.clear()
        before = events._get_running_loop()
        events._set_running_loop(self)
        try:
            for line in lines.values():
                for job in line:
                    job.done(None, Killed())
            for _ in range(MOST_ROUNDS):
                left = [task for task in self._tasks if not task.done()]
                for task in left:
                    task.cancel()
                if not left and not self._ready:
                    break
                self._run_ready()
                self._timers.clear()
            assert not left, f"cannot be ended: {left}"
            for task in self._tasks:
                if not task.cancelled():
                    task.exception()  # nobody asks for it any more
            self._tasks.clear()
        finally:
            events._set_running_loop(before)

    def _run_ready(self) -> None:
        while self._ready:
            handle = self._ready.popleft()
            if not handle.cancelled():
                self.calls += 1
                assert self.calls < MOST_CALLS, f"an endless loop: {handle}"
                handle._run()

    def _next_job(self) -> Job:
        lines = list(self._lines)
        line = lines[self.order(len(lines)) if len(lines) > 1 else 0]
        queue = self._lines[line]
        job = queue.popleft()
        if not queue:
            del self._lines[line]
        self.watch(job)
        return job

    def add_job(self, job: Job) -> None:
        """Have something done when it is its turn."""
        if self.dead:
            self.call_soon(job.done, None, Killed())
            return
        self._lines.setdefault(job.line, deque()).append(job)

    def drop_jobs(self, line: object) -> None:
        """Nobody waits for these jobs any more."""
        self._lines.pop(line, None)

    # ---- what asyncio asks of a loop

    def run_in_executor(self, executor: Executor | None, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        future = self.create_future()

        def done(result: Any, error: BaseException | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

        line = object() if executor is None else executor
        self.add_job(Job(line, partial(func, *args), done))
        return future

    def time(self) -> float:
        return self.clock.mono_us() / SECOND

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Any = None) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any,
                   context: Any = None) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Callable[..., Any], *args: Any,
                context: Any = None) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        if when <= self.time():
            self._ready.append(handle)
            return handle
        self._count += 1
        heapq.heappush(self._timers, (when, self._count, handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is left out when it is due."""

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, **more: Any) -> asyncio.Task[Any]:
        task = asyncio.Task(coro, loop=self, **more)
        self._tasks.append(task)
        if len(self._tasks) > 500:
            self._tasks = [one for one in self._tasks if not one.done()]
        return task

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if not self.dead:
            self.errors.append(context)

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return not self.dead

    def is_closed(self) -> bool:
        return False

    def get_task_factory(self) -> None:
        return None

    def set_default_executor(self, executor: Executor) -> None:
        """There are no threads."""

    def add_signal_handler(self, *_: Any) -> None:
        """Nobody sends one."""

    def remove_signal_handler(self, *_: Any) -> bool:
        return True
