"""The pool that film making runs in: processes of low priority that may be killed at any moment.

Workers are stateless functions of files, so every doubt is settled by killing one. A `RenderPool` holds one
ProcessPoolExecutor of one worker per slot instead of one executor for all: a worker that dies then breaks the call it
was running and nothing else (calls that wait are never handed to a broken executor), a worker is replaced by dropping
its executor, and a call can be stopped by killing its worker. `max_tasks_per_child` is not used: it can hang when a
worker leaves just as work arrives (https://github.com/python/cpython/issues/115634).

Limits: Linux. A pool belongs to one event loop. Its worker processes are started from that loop's thread, and the
kernel kills them when *that thread* ends (PR_SET_PDEATHSIG counts threads, not processes). A worker imports this
module and what the called function needs; Python also lets it import the program's main module again unless that is a
package's `__main__`, so an installed script must not import the whole program before its `main()` is called.
"""

import asyncio
import ctypes
import gc
import os
import re
import resource
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing.context import SpawnContext, SpawnProcess
from pathlib import Path
from typing import Any, TypeVar

import psutil

from ezrec.adapters.system import rss_bytes
from ezrec.domain.errors import PoolClosed, RetryError, WorkerDied, WorkerHung

_A = TypeVar("_A")
_R = TypeVar("_R")

_CLOSE_LIMIT_S = 1.5  # a killed process is gone in milliseconds; only one stuck in the kernel's disk code takes longer
_LET_GO_S = 0.5  # how long the executors of killed workers may take to give their semaphores back
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_M_ARENA_MAX, _M_MMAP_THRESHOLD = -8, -3  # malloc.h of glibc
_ARENAS = 2  # each of a codec's threads would otherwise open an arena of up to 64 MB and never give it back
_MAPPED_BYTES = 64 << 10  # pictures are mapped, so freeing one gives it back; by itself glibc would soon stop doing so
_OOM_SCORE = 500  # of 1000: when memory runs out the kernel takes a worker, which can be replaced, not the recorder
_SECRET = re.compile("^(EZREC|AWS|SUPABASE|EMAIL)_|KEY|SECRET|TOKEN|PASS|CREDENTIAL", re.IGNORECASE)  # variables
_LOGIN = re.compile("://[^/@]*:[^/@]*@")  # a URL with a password in it
_LOWEST_BEST_EFFORT = 7  # ionice level; the idle class could starve a worker for as long as cameras write


class RenderPool:
    """Runs functions in `workers` processes, each replaced after `tasks_per_worker` calls to give its memory back.

    `niceness` is added to the parent's (0 to 19). Workers start when they are first needed. One that has not answered a
    call after `limit_s`, its start included, is killed; one that wants more than `memory_bytes` of its own is refused
    it, and its call fails. Their environment holds no secrets.
    """

    def __init__(self, workers: int, tasks_per_worker: int = 16, niceness: int = 10, limit_s: float = 60.0,
                 memory_bytes: int | None = None) -> None:
        if workers < 1 or tasks_per_worker < 1:
            raise ValueError("a pool needs at least one worker, and a worker at least one task")
        self._limit_s = limit_s
        self._closed = False
        self._memory_bytes = memory_bytes
        self._slots = [_Slot(tasks_per_worker, niceness, memory_bytes) for _ in range(workers)]
        self._idle: asyncio.Queue[_Slot] = asyncio.Queue()
        for slot in self._slots:
            self._idle.put_nowait(slot)

    async def run(self, fn: Callable[[_A], _R], arg: _A) -> _R:
        """Return `fn(arg)`, run in a worker as soon as one is free, first come first served.

        `fn` must be importable by name, `arg` and the result picklable (tens of kB, not pictures). If the caller is
        cancelled the worker is killed, so that frees the slot too.

        Raises:
            WorkerDied: the worker that ran this call is gone; raised once, for this call alone.
            WorkerHung: it did not answer within the pool's limit.
            PoolClosed: the pool was closed before the call ended.
            RetryError: no process could be started.
            whatever `fn` raised.
        """
        slot = await self._idle.get()
        try:
            if self._closed:
                raise PoolClosed("the workers have been stopped")
            async with asyncio.timeout(self._limit_s) as limit:
                return await slot.call(fn, arg)
        except BrokenProcessPool as error:
            how = slot.drop()
            if self._closed:
                raise PoolClosed("the workers have been stopped") from None
            raise WorkerDied(f"a worker died while it ran {_name(fn)}{how}") from error
        except TimeoutError as error:
            if not limit.expired():  # a disk's, say: `fn` raised it
                raise
            slot.drop()
            raise WorkerHung(f"{_name(fn)} did not answer for {self._limit_s:g} s, its worker was killed") from error
        except asyncio.CancelledError:
            slot.drop()
            raise
        except MemoryError as error:
            most = f": it may have {self._memory_bytes >> 20} MiB (film.worker_mb)" if self._memory_bytes else ""
            raise MemoryError(f"{_name(fn)} needs more memory{most}") from error
        finally:
            self._idle.put_nowait(slot)

    def pids(self) -> list[int]:
        """The process ids of the workers there are now."""
        return [slot.pid for slot in self._slots if slot.pid is not None]

    def rss_bytes(self) -> int:
        """Resident memory of all workers together, in bytes."""
        return sum(rss_bytes(pid) for pid in self.pids())

    async def close(self) -> None:
        """Kill all workers at once and wait (2 s at most) until they are gone; their calls raise PoolClosed."""
        self._closed = True
        processes = [slot.process for slot in self._slots if slot.process is not None]
        executors = [executor for slot in self._slots if (executor := slot.kill()) is not None]
        await asyncio.gather(*(asyncio.to_thread(process.join, _CLOSE_LIMIT_S) for process in processes))
        with suppress(TimeoutError):
            async with asyncio.timeout(_LET_GO_S):
                await asyncio.gather(*(asyncio.to_thread(one.shutdown, cancel_futures=True) for one in executors))
        executors.clear()
        gc.collect()  # their semaphores go now: a process that leaves by os._exit would be told off for leaking them


class _Spawn(SpawnContext):
    """Starts a fresh interpreter per process (a fork would copy camera and loop threads in mid-step) and keeps hold of
    the process: an executor offers no way to kill its worker before Python 3.14.
    """

    process: SpawnProcess | None = None

    def Process(self, *args: Any, **kwargs: Any) -> SpawnProcess:  # type: ignore[override]  # noqa: N802
        self.process = SpawnProcess(*args, **kwargs)
        return self.process


class _Slot:
    """One worker at a time, and its executor."""

    def __init__(self, tasks_per_worker: int, niceness: int, memory_bytes: int | None) -> None:
        self._limit = tasks_per_worker
        self._begin = os.getpid(), niceness, memory_bytes
        self._calls = 0
        self._executor: ProcessPoolExecutor | None = None
        self._spawn = _Spawn()

    @property
    def process(self) -> SpawnProcess | None:
        return self._spawn.process

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process is not None else None

    async def call(self, fn: Callable[[_A], _R], arg: _A) -> _R:
        try:
            future = self._submit(fn, arg)
        except BrokenProcessPool:
            # The worker died while it was idle: this call had not begun, so it goes to the next worker.
            self.drop()
            future = self._submit(fn, arg)
        self._calls += 1
        try:
            return await asyncio.wrap_future(future)
        finally:
            if self._calls >= self._limit:
                self.drop()

    def _submit(self, fn: Callable[[_A], _R], arg: _A) -> Future[_R]:
        if self.process is not None and not self.process.is_alive():
            self.drop()
        if self._executor is None:
            self._spawn = _Spawn()
            self._executor = ProcessPoolExecutor(
                1, mp_context=self._spawn, initializer=_begin, initargs=self._begin)
        try:
            with _signals_held(), _secrets_hidden():
                return self._executor.submit(fn, arg)
        except OSError as error:  # no memory or no process left
            self.drop()
            raise RetryError(f"cannot start a worker: {error.strerror}") from error

    def drop(self) -> str:
        """Kill the worker, if there is one, and forget its executor; returns how it had ended, if it had."""
        process = self.process
        ended = ""
        if process is not None and process.pid is not None and process.exitcode is not None:
            ended = f" (it ended with {_exit_words(process.exitcode)})"
        executor = self.kill()
        if executor is not None:
            executor.shutdown(wait=False, cancel_futures=True)
        return ended

    def kill(self) -> ProcessPoolExecutor | None:
        """Kill the worker, if there is one, and let go of its executor, which is still to be shut down."""
        executor, process, self._executor, self._calls = self._executor, self.process, None, 0
        self._spawn = _Spawn()
        if process is not None and process.pid is not None:
            process.kill()
        return executor


def _name(fn: Callable[..., object]) -> str:
    """What a call is called, whatever its first arguments are bound to: these may be paths."""
    return str(getattr(getattr(fn, "func", fn), "__name__", "a call"))


def _exit_words(code: int) -> str:
    return f"status {code}" if code >= 0 else signal.Signals(-code).name


@contextmanager
def _signals_held() -> Iterator[None]:
    """Hold signals back while a process is started. It inherits that, and so a Ctrl-C in the terminal cannot hit it
    before it has learnt to ignore one; here they arrive afterwards.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _IGNORED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _secrets_hidden() -> Iterator[None]:
    """Take secrets out of the environment while a process is started: it inherits that, and reads strangers' files."""
    hidden = {name: value for name, value in os.environ.items() if _SECRET.search(name) or _LOGIN.search(value)}
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(hidden)


def _begin(parent: int, niceness: int, memory_bytes: int | None) -> None:
    """A worker's first act: to die with its parent, to leave signals to it, and to stay out of everybody's way."""
    if memory_bytes:
        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _IGNORED)

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:  # it died before the kernel knew what that means
        os._exit(1)

    os.nice(niceness)
    with suppress(psutil.Error, OSError):  # not every kernel and disk scheduler knows it
        psutil.Process().ionice(psutil.IOPRIO_CLASS_BE, _LOWEST_BEST_EFFORT)
    with suppress(OSError):  # /proc may be read-only in a container
        Path("/proc/self/oom_score_adj").write_text(str(_OOM_SCORE), "ascii")
    if hasattr(libc, "mallopt"):  # glibc only
        libc.mallopt(_M_ARENA_MAX, _ARENAS)
        libc.mallopt(_M_MMAP_THRESHOLD, _MAPPED_BYTES)
    # numpy's linear algebra would start a thread and a buffer per core, and film making never uses it.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
