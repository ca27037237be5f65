"""Supply and heat: what a Pi's firmware says of under-voltage and of being held back, and the processor's temperature.

Three places say it, and none of them everywhere: the command `vcgencmd`, a file of the kernel's (which stays 0 on some
models: https://github.com/raspberrypi/linux/issues/2367), and the voltage's alarm in hwmon, which knows only now. What
any of them says counts. Everything here blocks; the command has a limit, the files have the caller's (`look`, `Meter`).
"""

import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TypeVar

import psutil

from ezrec.domain.clock import SECOND, Clock

_T = TypeVar("_T")

SYS = Path("/sys")
VCGENCMD = "vcgencmd"  # asks the firmware; comes with Raspberry Pi OS
COMMAND_EVERY_S = 30.0  # starting a program costs more than all the rest; what it misses stays in the sticky bits
COMMAND_LIMIT_S = 1.0

THROTTLED_FILES = "devices/platform/soc*/*firmware/get_throttled"
"""Where the kernel of a Raspberry Pi shows the firmware's word, below /sys. Newer models have no such file."""

VOLTAGE_DRIVER, VOLTAGE_ALARM = "rpi_volt", "in0_lcrit_alarm"  # in class/hwmon/hwmon*
CPU_ZONES = ("cpu-thermal", "cpu_thermal", "x86_pkg_temp")  # names of a processor's thermal zone; a Pi has the first

THROTTLED_BITS = ("under-voltage", "frequency capped", "throttled", "soft temperature limit")
"""Bits 0 to 3: now; the same from bit 16 on: since the machine was started.

https://www.raspberrypi.com/documentation/computers/os.html#get_throttled
"""

UNDER_VOLTAGE_NOW = "under-voltage now"
HELD_BACK_NOW = ("throttled now", "soft temperature limit now")
"""How `Power.throttled` says what needs somebody: a better supply; air."""


@dataclass(frozen=True)
class Power:
    """One look; None is what the machine does not say."""

    throttled: str | None = None  # in words (`throttled_words`); None: no, or nobody says
    temperature_c: float | None = None
    said_by: tuple[str, ...] = ()  # who said whether it is held back: vcgencmd, sysfs, hwmon; none on other machines


class PowerSensors:
    """Asks this machine; one caller at a time."""

    def __init__(self, clock: Clock, sys_folder: Path = SYS, command: str = VCGENCMD, *,
                 every_s: float = COMMAND_EVERY_S, limit_s: float = COMMAND_LIMIT_S) -> None:
        """`command` is run every `every_s` seconds at most, and killed after `limit_s`."""
        self._clock, self._command = clock, command
        self._every_us, self._limit_s = round(every_s * SECOND), limit_s
        self._files = tuple(sys_folder.glob(THROTTLED_FILES))
        self._alarms = tuple(_voltage_alarms(sys_folder))
        self._zone = _cpu_zone(sys_folder)
        self._has_command = True
        self._answer: int | None = None  # the command's newest
        self._ask_us = 0  # when it is asked next

    def read(self) -> Power:
        """Look once. Never raises; blocks, by the command no longer than its limit."""
        said: dict[str, list[int | None]] = {
            "vcgencmd": [_known(self._firmware)],
            "sysfs": [_known(partial(_number, file, 16)) for file in self._files],
            "hwmon": [_known(partial(_number, file, 10)) for file in self._alarms],  # 1: the first of the bits
        }
        bits = 0
        for number in chain.from_iterable(said.values()):
            bits |= number or 0
        said_by = tuple(name for name, numbers in said.items() if any(number is not None for number in numbers))
        return Power(throttled_words(bits), _known(self._temperature), said_by)

    def _firmware(self) -> int | None:
        if self._has_command and self._clock.mono_us() >= self._ask_us:
            self._ask_us = self._clock.mono_us() + self._every_us
            self._answer = None
            try:
                said = subprocess.run([self._command, "get_throttled"],  # noqa: S603 - a name of ours
                                      capture_output=True, text=True, check=True, timeout=self._limit_s).stdout
                self._answer = int(said.strip().removeprefix("throttled="), 16)
            except FileNotFoundError:
                self._has_command = False  # not a Pi
            except subprocess.SubprocessError:
                return None
        return self._answer

    def _temperature(self) -> float | None:
        """Degrees Celsius of the processor, or of the hottest part that has a sensor."""
        if self._zone:
            return round(int(self._zone.read_text("ascii")) / 1000, 1)
        readings = [one.current for sensors in psutil.sensors_temperatures().values() for one in sensors if one.current]
        return round(max(readings), 1) if readings else None


def look(limit_s: float, clock: Clock, sys_folder: Path = SYS, command: str = VCGENCMD) -> Power | None:
    """Ask the machine once; None if it takes longer than `limit_s` seconds: a firmware that hangs holds nobody up."""
    found: list[Power] = []
    reading = threading.Thread(daemon=True, name="power", target=lambda: found.append(
        PowerSensors(clock, sys_folder, command, limit_s=limit_s).read()))
    reading.start()
    reading.join(limit_s)
    return found[0] if found else None


def throttled_words(bits: int) -> str | None:
    """What the firmware's `get_throttled` number means: "under-voltage now, throttled before"; None if nothing."""
    words = [f"{name} now" if bits >> place & 1 else f"{name} before"
             for place, name in enumerate(THROTTLED_BITS) if bits >> place & 0x1_0001]
    return ", ".join(words) or None


def _known(read: Callable[[], _T]) -> _T | None:
    """What a sensor says; None if it cannot be read or says nonsense."""
    try:
        return read()
    except (OSError, ValueError, RuntimeError, NotImplementedError, AttributeError, psutil.Error):
        return None


def _number(file: Path, base: int) -> int:
    return int(file.read_text("ascii"), base)


def _voltage_alarms(sys_folder: Path) -> Iterator[Path]:
    for sensor in sorted(sys_folder.glob("class/hwmon/hwmon*")):
        with suppress(OSError, ValueError):
            if (sensor / "name").read_text("ascii").strip() == VOLTAGE_DRIVER:
                yield sensor / VOLTAGE_ALARM


def _cpu_zone(sys_folder: Path) -> Path | None:
    """The file with the processor's temperature in thousandths of a degree."""
    for zone in sorted(sys_folder.glob("class/thermal/thermal_zone*")):
        with suppress(OSError, ValueError):
            if (zone / "type").read_text("ascii").strip() in CPU_ZONES:
                return zone / "temp"
    return None
