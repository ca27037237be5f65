"""The machine in numbers: processor, memory, the data folder's disk, temperature, and whether a Pi had to slow down.

What the machine does not say is None. `Meter.read` never raises, never holds the event loop and never waits longer
than it is told: the files and the command behind it are read on a thread of their own, because a dying card or a
firmware that hangs would otherwise take the loop, or the threads that everybody shares, with it.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import psutil

from ezrec.adapters import system
from ezrec.adapters.power import COMMAND_EVERY_S, COMMAND_LIMIT_S, SYS, VCGENCMD, PowerSensors, throttled_words
from ezrec.domain.clock import SECOND, Clock

__all__ = ["COMMAND_EVERY_S", "COMMAND_LIMIT_S", "Measured", "Meter", "throttled_words"]

_T = TypeVar("_T")

MEMORY_EVERY_S = 15.0  # a process finds those below it by looking at every process there is


@dataclass(frozen=True)
class Measured:
    """One reading; None is what the machine does not say, or did not say in time."""

    cpu_percent: float | None = None  # of all cores together, since the reading before
    memory_percent: float | None = None  # of the machine's memory, what cannot be had any more
    memory_mb: int | None = None  # MiB resident in this process and all below it, some seconds ago
    disk_free_mb: int | None = None  # MiB that an ordinary user may still write
    disk_percent: float | None = None  # used
    temperature_c: float | None = None
    throttled: str | None = None  # in words; None: no, or no Raspberry Pi


class Meter:
    """Reads the machine that this process runs on."""

    def __init__(self, data: Path, clock: Clock, sys_folder: Path = SYS, command: str = VCGENCMD) -> None:
        """`data` is the folder whose disk counts."""
        self._data = data
        self._clock = clock
        self._power = PowerSensors(clock, sys_folder, command, limit_s=COMMAND_LIMIT_S)
        self._busy_s, self._all_s = _cpu_times()
        self._rss: int | None = None
        self._look_us = 0  # when memory is looked at next
        self._under_way: asyncio.Future[Measured] | None = None

    async def read(self, limit_s: float) -> Measured:
        """The machine now; an empty reading if it takes longer than `limit_s` seconds.

        A reading that hangs is waited for again the next time: never is there a second one beside it. One that ended
        in between is taken then.
        """
        if self._under_way is None:
            self._under_way = _on_own_thread(self.measure)
        await asyncio.wait({self._under_way}, timeout=limit_s)
        if not self._under_way.done():
            return Measured()
        done, self._under_way = self._under_way, None
        return done.result()

    def measure(self) -> Measured:
        """Read everything, which may block; one caller at a time."""
        memory = _known(psutil.virtual_memory)
        disk = _known(lambda: psutil.disk_usage(str(self._data)))
        power = self._power.read()
        return Measured(
            cpu_percent=_known(self._cpu),
            memory_percent=memory.percent if memory else None,
            memory_mb=_known(self._memory_mb),
            disk_free_mb=disk.free >> 20 if disk else None,
            disk_percent=disk.percent if disk else None,
            temperature_c=power.temperature_c,
            throttled=power.throttled,
        )

    def _cpu(self) -> float | None:
        """Per cent of the time since the last reading in which the cores were busy.

        psutil's own `cpu_percent` remembers per thread when it was last asked, and every reading has a new thread.
        """
        busy_s, all_s = _cpu_times()
        passed_s, worked_s = all_s - self._all_s, busy_s - self._busy_s
        self._busy_s, self._all_s = busy_s, all_s
        return round(min(100.0, max(0.0, 100 * worked_s / passed_s)), 1) if passed_s > 0 else None

    def _memory_mb(self) -> int:
        if self._rss is None or self._clock.mono_us() >= self._look_us:
            self._rss = None
            self._rss = system.process_tree_rss()
            self._look_us = self._clock.mono_us() + round(MEMORY_EVERY_S * SECOND)
        return self._rss >> 20


def _known(read: Callable[[], _T]) -> _T | None:
    """What a sensor says; None if it cannot be read or says nonsense."""
    try:
        return read()
    except (OSError, ValueError, RuntimeError, NotImplementedError, psutil.Error):
        return None


def _cpu_times() -> tuple[float, float]:
    """Busy time and all time of all cores in seconds, since the machine was started (proc(5), /proc/stat)."""
    times = psutil.cpu_times()
    all_s = sum(times) - getattr(times, "guest", 0) - getattr(times, "guest_nice", 0)  # part of user and nice already
    return all_s - times.idle - getattr(times, "iowait", 0), all_s


def _on_own_thread(work: Callable[[], _T]) -> asyncio.Future[_T]:
    """Do `work` on a daemon thread: one that hangs must not keep the process from ending."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_T] = loop.create_future()

    def run() -> None:
        settle: Callable[[], None]
        try:
            settle = partial(future.set_result, work())
        except Exception as error:  # noqa: BLE001 - handed to whoever waits
            settle = partial(future.set_exception, error)
        with suppress(RuntimeError):  # the loop has gone: the process is leaving
            loop.call_soon_threadsafe(settle)

    threading.Thread(target=run, name="metrics", daemon=True).start()
    return future
