"""The machine in numbers: processor, memory, the data folder's disk, temperature, and whether a Pi had to slow down.

What the machine does not say is None. `Meter.read` never raises, never holds the event loop and never waits longer
than it is told: the files and the command behind it are read on a thread of their own, because a dying card or a
firmware that hangs would otherwise take the loop, or the threads that everybody shares, with it.
"""

import asyncio
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import psutil

from ezrec.adapters import system
from ezrec.domain.clock import SECOND, Clock

_T = TypeVar("_T")

THROTTLED_FILES = "devices/platform/soc*/*firmware/get_throttled"
"""Where the kernel of a Raspberry Pi shows the firmware's word, below /sys. Newer models have no such file."""

VCGENCMD = "vcgencmd"  # asks the firmware; comes with Raspberry Pi OS
COMMAND_EVERY_S = 30.0  # starting a program costs more than all the rest; what it misses stays in the sticky bits
COMMAND_LIMIT_S = 1.0
MEMORY_EVERY_S = 15.0  # a process finds those below it by looking at every process there is
CPU_ZONES = ("cpu-thermal", "cpu_thermal", "x86_pkg_temp")  # names of a processor's thermal zone; a Pi has the first

THROTTLED_BITS = ("under-voltage", "frequency capped", "throttled", "soft temperature limit")
"""Bits 0 to 3: now; the same from bit 16 on: since the machine was started.

https://www.raspberrypi.com/documentation/computers/os.html#get_throttled
"""


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

    def __init__(self, data: Path, clock: Clock, sys_folder: Path = Path("/sys"), command: str = VCGENCMD) -> None:
        """`data` is the folder whose disk counts."""
        self._data = data
        self._clock = clock
        self._command: str | None = command
        self._throttled_file = next(sys_folder.glob(THROTTLED_FILES), None)
        self._zone = _cpu_zone(sys_folder)
        self._busy_s, self._all_s = _cpu_times()
        self._rss: int | None = None
        self._look_us = 0  # when memory is looked at next
        self._throttled: str | None = None
        self._ask_us = 0  # when the firmware is asked next
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
        return Measured(
            cpu_percent=_known(self._cpu),
            memory_percent=memory.percent if memory else None,
            memory_mb=_known(self._memory_mb),
            disk_free_mb=disk.free >> 20 if disk else None,
            disk_percent=disk.percent if disk else None,
            temperature_c=_known(self._temperature),
            throttled=_known(self._slowed_down),
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

    def _temperature(self) -> float | None:
        """Degrees Celsius of the processor, or of the hottest part that has a sensor."""
        if self._zone:
            return round(int(self._zone.read_text("ascii")) / 1000, 1)
        readings = [one.current for sensors in psutil.sensors_temperatures().values() for one in sensors if one.current]
        return round(max(readings), 1) if readings else None

    def _slowed_down(self) -> str | None:
        if self._throttled_file:
            return throttled_words(int(self._throttled_file.read_text("ascii"), 16))
        if self._command and self._clock.mono_us() >= self._ask_us:
            self._ask_us = self._clock.mono_us() + round(COMMAND_EVERY_S * SECOND)
            try:
                answer = subprocess.run([self._command, "get_throttled"],  # noqa: S603 - a name of ours
                                      capture_output=True, text=True, check=True, timeout=COMMAND_LIMIT_S).stdout
                self._throttled = throttled_words(int(answer.strip().removeprefix("throttled="), 16))
            except FileNotFoundError:
                self._command = None  # not a Pi
            except (OSError, ValueError, subprocess.SubprocessError):
                self._throttled = None
        return self._throttled


def throttled_words(bits: int) -> str | None:
    """What the firmware's `get_throttled` number means: "under-voltage now, throttled before"; None if nothing."""
    words = [f"{name} now" if bits >> place & 1 else f"{name} before"
             for place, name in enumerate(THROTTLED_BITS) if bits >> place & 0x1_0001]
    return ", ".join(words) or None


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


def _cpu_zone(sys_folder: Path) -> Path | None:
    """The file with the processor's temperature in thousandths of a degree."""
    for zone in sorted(sys_folder.glob("class/thermal/thermal_zone*")):
        with suppress(OSError):
            if (zone / "type").read_text("ascii").strip() in CPU_ZONES:
                return zone / "temp"
    return None


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
