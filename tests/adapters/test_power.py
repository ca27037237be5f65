"""Supply and heat: what each place says counts, a machine that says nothing is known for it, and nothing hangs."""

import time
from pathlib import Path

import pytest

from ezrec.adapters.power import Power, PowerSensors, look
from ezrec.domain.clock import SystemClock
from tests.fakes.clocks import MadeUpClock
from tests.fakes.sensors import a_firmware, a_sys_folder

NONE = "no command of this name"


def ask(folder: Path, command: str = NONE) -> Power:
    return PowerSensors(SystemClock(), folder, command).read()


def test_a_machine_without_firmware_says_so(tmp_path: Path) -> None:
    found = ask(tmp_path)
    assert (found.throttled, found.said_by) == (None, ())


def test_the_command_s_word_counts_when_the_kernel_s_file_stays_0(tmp_path: Path) -> None:
    found = ask(a_sys_folder(tmp_path, throttled="0\n"), a_firmware(tmp_path, "echo throttled=0x50005"))
    assert found == Power("under-voltage now, throttled now", found.temperature_c, ("vcgencmd", "sysfs"))


def test_the_kernel_s_word_counts_when_the_command_may_not_ask(tmp_path: Path) -> None:
    found = ask(a_sys_folder(tmp_path, throttled="80008\n"), a_firmware(tmp_path, "echo 'VCHI failed' >&2; exit 255"))
    assert (found.throttled, found.said_by) == ("soft temperature limit now", ("sysfs",))


@pytest.mark.parametrize(("alarm", "words"), [("1\n", "under-voltage now"), ("0\n", None)])
def test_without_either_the_alarm_of_the_voltage_counts(tmp_path: Path, alarm: str, words: str | None) -> None:
    found = ask(a_sys_folder(tmp_path, alarm=alarm))
    assert (found.throttled, found.said_by) == (words, ("hwmon",))


def test_the_alarm_of_another_part_is_no_under_voltage(tmp_path: Path) -> None:
    sys_folder = a_sys_folder(tmp_path, alarm="1\n")
    (sys_folder / "class/hwmon/hwmon0/name").write_text("nvme\n")
    assert ask(sys_folder).said_by == ()


@pytest.mark.parametrize("nonsense", ["", "what?", "\N{SNOWMAN}"])
def test_nonsense_in_the_files_is_nobody_s_word(tmp_path: Path, nonsense: str) -> None:
    found = ask(a_sys_folder(tmp_path, throttled=nonsense, alarm=nonsense, zone=nonsense),
                a_firmware(tmp_path, f"echo '{nonsense}'"))
    assert found == Power()


def test_an_answer_of_the_command_that_is_old_is_not_told_when_the_next_one_fails(tmp_path: Path) -> None:
    clock, command = MadeUpClock(1000, 1_800_000_000), a_firmware(tmp_path, "echo throttled=0x4")
    sensors = PowerSensors(clock, tmp_path, command, every_s=30)
    assert sensors.read().throttled == "throttled now"
    a_firmware(tmp_path, "exit 1")
    clock.forward(30_000_000)
    assert [sensors.read().said_by for _ in range(2)] == [(), ()]


def test_a_firmware_that_hangs_is_given_up_in_time(tmp_path: Path) -> None:
    begun_s = time.monotonic()
    found = look(0.3, SystemClock(), tmp_path, a_firmware(tmp_path, "exec sleep 60"))
    assert time.monotonic() - begun_s < 20
    assert found is None or found.said_by == ()


def test_a_look_tells_what_is_there(tmp_path: Path) -> None:
    found = look(20, SystemClock(), a_sys_folder(tmp_path, zone="61234\n", alarm="1\n"), NONE)
    assert found == Power("under-voltage now", 61.2, ("hwmon",))
