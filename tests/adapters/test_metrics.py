"""The machine in numbers: what is read, what is unknown, and that a reading which hangs holds nobody up."""

import asyncio
import os
import threading
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from ezrec.adapters import metrics, system
from ezrec.adapters.metrics import COMMAND_EVERY_S, MEMORY_EVERY_S, Measured, Meter, throttled_words
from ezrec.domain.clock import SECOND, SystemClock
from tests.fakes.clocks import MadeUpClock
from tests.fakes.holding import Holding
from tests.fakes.sensors import a_firmware, a_sys_folder
from tests.fakes.waiting import eventually, wait_until


class Times(NamedTuple):
    """Linux's counters, s."""

    user: float
    nice: float
    system: float
    idle: float
    iowait: float
    guest: float
    guest_nice: float


class Sensor(NamedTuple):
    current: float | None


# ---- what is read


async def test_this_machine_says_how_its_processor_memory_and_disk_are_doing(tmp_path: Path) -> None:
    meter, begun_s = Meter(tmp_path, SystemClock()), sum(psutil.cpu_times())
    wait_until(lambda: sum(psutil.cpu_times()) > begun_s)  # they tick a hundred times a second
    measured = await meter.read(20)
    assert measured.cpu_percent is not None
    assert 0 <= measured.cpu_percent <= 100
    assert measured.memory_percent is not None
    assert 0 < measured.memory_percent < 100
    assert measured.memory_mb is not None
    assert measured.memory_mb >= psutil.Process().memory_info().rss >> 21
    assert measured.disk_percent is not None
    assert 0 <= measured.disk_percent <= 100
    assert measured.disk_free_mb is not None
    assert measured.disk_free_mb > 0


def test_the_processor_was_as_busy_as_its_counters_moved_since_the_last_reading(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [Times(100, 10, 50, 800, 40, 20, 10)]
    monkeypatch.setattr(psutil, "cpu_times", lambda: now[0])
    meter = Meter(tmp_path, SystemClock())
    assert meter.measure().cpu_percent is None  # no time has passed
    now[0] = Times(122, 12, 56, 860, 50, 32, 12)  # 30 of 100 busy: the guests' time is part of user and nice
    assert meter.measure().cpu_percent == 30.0
    now[0] = now[0]._replace(idle=960)
    assert meter.measure().cpu_percent == 0.0


def test_memory_is_looked_at_rarely_because_that_costs_more_than_all_the_rest(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, sizes = MadeUpClock(1000, 1_800_000_000), [300 << 20, 400 << 20]
    monkeypatch.setattr(system, "process_tree_rss", lambda: sizes.pop(0))
    meter = Meter(tmp_path, clock)
    assert meter.measure().memory_mb == 300
    clock.forward(round(MEMORY_EVERY_S * SECOND) - 1)
    assert meter.measure().memory_mb == 300
    clock.forward(1)
    assert meter.measure().memory_mb == 400


def test_a_pi_s_temperature_is_its_processor_s(tmp_path: Path) -> None:
    assert Meter(tmp_path, SystemClock(), a_sys_folder(tmp_path, zone="61234\n")).measure().temperature_c == 61.2


def test_without_a_zone_of_the_processor_the_hottest_sensor_counts(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"a": [Sensor(40.0), Sensor(None)], "b": [Sensor(55.5)]}
    monkeypatch.setattr(psutil, "sensors_temperatures", lambda: told)
    assert Meter(tmp_path, SystemClock(), tmp_path).measure().temperature_c == 55.5
    monkeypatch.setattr(psutil, "sensors_temperatures", dict)
    assert Meter(tmp_path, SystemClock(), tmp_path).measure().temperature_c is None


@pytest.mark.parametrize(("bits", "words"), [
    (0, None),
    (0x1, "under-voltage now"),
    (0x50005, "under-voltage now, throttled now"),
    (0x20000, "frequency capped before"),
    (0xF0008, "under-voltage before, frequency capped before, throttled before, soft temperature limit now"),
])
def test_the_firmware_s_bits_are_put_into_words(bits: int, words: str | None) -> None:
    assert throttled_words(bits) == words


def test_the_kernel_s_file_says_whether_a_pi_was_slowed_down(tmp_path: Path) -> None:
    meter = Meter(tmp_path, SystemClock(), a_sys_folder(tmp_path, throttled="50000\n"), a_firmware(tmp_path, "exit 1"))
    assert meter.measure().throttled == "under-voltage before, throttled before"


def test_without_that_file_the_firmware_is_asked_but_rarely(tmp_path: Path) -> None:
    clock = MadeUpClock(1000, 1_800_000_000)
    asked = tmp_path / "asked"
    command = a_firmware(tmp_path, f'[ "$1" = get_throttled ] && echo throttled=0x4; echo >> {asked}')
    meter = Meter(tmp_path, clock, tmp_path, command)
    for _ in range(3):
        assert meter.measure().throttled == "throttled now"
        clock.forward(round(COMMAND_EVERY_S / 3 * SECOND) - 1)
    assert len(asked.read_text()) == 1
    clock.forward(3)
    meter.measure()
    assert len(asked.read_text()) == 2


@pytest.mark.parametrize("script", ["exit 1", "echo nonsense", "exec sleep 60"])
def test_a_firmware_that_does_not_answer_leaves_the_rest_known(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    monkeypatch.setattr(metrics, "COMMAND_LIMIT_S", 0.2)
    measured = Meter(tmp_path, SystemClock(), tmp_path, a_firmware(tmp_path, script)).measure()
    assert measured.throttled is None
    assert measured.memory_mb


# ---- what is not


def test_what_cannot_be_read_is_unknown_and_the_rest_is_told(tmp_path: Path) -> None:
    sys_folder = a_sys_folder(tmp_path, zone="nonsense", throttled="nonsense")
    measured = Meter(tmp_path / "gone", SystemClock(), sys_folder, str(tmp_path / "no command")).measure()
    assert measured.memory_mb
    assert (measured.disk_free_mb, measured.disk_percent, measured.temperature_c, measured.throttled) == (None,) * 4


def test_a_meter_without_its_sensors_says_nothing_rather_than_raise(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(5, os.strerror(5))

    meter = Meter(tmp_path, SystemClock(), tmp_path, str(tmp_path / "no command"))
    for name in ("virtual_memory", "disk_usage", "sensors_temperatures", "cpu_times", "Process"):
        monkeypatch.setattr(psutil, name, fail)
    assert meter.measure() == Measured()


async def test_a_reading_that_hangs_is_unknown_and_no_second_one_is_begun_beside_it(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meter, go_on, begun = Meter(tmp_path, SystemClock()), threading.Event(), []
    real = meter.measure

    def stuck() -> Measured:
        begun.append(threading.current_thread())
        assert go_on.wait(60)
        return real()

    monkeypatch.setattr(meter, "measure", stuck)
    try:
        for _ in range(3):
            assert await meter.read(0.01) == Measured()
        await eventually(lambda: asyncio.sleep(0, begun))
        assert len(begun) == 1
        assert begun[0].daemon  # the process can end all the same
    finally:
        go_on.set()
    assert meter._under_way
    await eventually(lambda: asyncio.sleep(0, meter._under_way.done()))
    assert (await meter.read(0.01)).memory_mb  # what it said in the end
    assert len(begun) == 1
    await meter.read(20)
    assert len(begun) == 2


async def test_reading_never_holds_the_loop(tmp_path: Path) -> None:
    meter = Meter(tmp_path, SystemClock(), tmp_path, a_firmware(tmp_path, "echo throttled=0x0"))
    with Holding() as held:
        for _ in range(5):
            await meter.read(20)
    assert held.longest_s < 0.1, held.what


def test_every_number_has_a_place_to_be_unknown() -> None:
    assert all(field.default is None for field in fields(Measured))
