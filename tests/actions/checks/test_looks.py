"""What looks see on made-up machines: hot, badly fed, full, wrongly owned, with cameras that somebody holds."""

import asyncio
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ezrec.actions import checks
from ezrec.actions.checks import Found, Grade, Look, cameras, clock, disk, own, storage
from ezrec.actions.checks import machine as of_machine
from ezrec.actions.checks.by_itself import own_looks
from ezrec.actions.checks.every import EVERY
from ezrec.adapters import syncing
from ezrec.domain.errors import CameraLost, RetryError
from tests.fakes.clocks import MadeUpClock
from tests.fakes.machine import Machine, told

PI = {"cameras": {"source": "picamera2"}}
HEALTH = {"state": "streaming", "frames": 9, "last_frame_ms": 31, "note": ""}
RUNNING = {"pid": os.getpid(), "degraded": [], "cameras": {"left": HEALTH, "right": HEALTH}}


def fine(_: object) -> list[Found]:
    return [Found("fine", Grade.OK, "fine")]


# ---- how looks are made


def test_a_look_that_hangs_or_fails_costs_nothing_but_its_own_answer(machine: Machine) -> None:
    let_go = threading.Event()

    def hang(_: object) -> list[Found]:
        let_go.wait(60)
        return []

    async def wait(_: object) -> list[Found]:
        await asyncio.sleep(60)
        return []

    def fail(_: object) -> list[Found]:
        raise RetryError("no network")

    def mistake(_: object) -> list[Found]:
        raise KeyError("x")

    began = time.monotonic()
    looks = [Look("hangs", hang, 0.3), Look("waits", wait, 0.3), Look("fails", fail), Look("is wrong", mistake),
             Look("fine", fine)]
    seen, hangs = checks.see_all(looks, machine.around())
    let_go.set()
    assert time.monotonic() - began < 20
    assert hangs
    assert [(one.about, one.grade) for one in seen] == [
        ("hangs", "bad"), ("waits", "bad"), ("fails", "bad"), ("is wrong", "bad"), ("fine", "ok")]
    said = told(seen)
    assert "no answer within 0.3 s" in said["hangs"][1]
    assert "no answer within 0.3 s" in said["waits"][1]
    assert said["fails"][1] == "no network"
    assert "mistake in EZREC" in said["is wrong"][2]


def test_every_look_has_a_name_of_its_own_and_a_limit_and_the_recorder_opens_no_camera_by_itself() -> None:
    assert len({look.about for look in EVERY}) == len(EVERY)
    assert all(0 < look.limit_s <= 75 for look in EVERY)
    assert {look.about for look in EVERY if look.by_itself} == {
        "data folder", "disk", "largest file", "cameras held", "dma_heap", "clock's skew", "supabase", "storage"}


def test_everything_is_looked_at_and_nothing_stays(machine: Machine) -> None:
    before = sorted(machine.root.rglob("*"))
    seen, hangs = checks.see_all(EVERY, machine.around(RUNNING))
    assert not hangs
    assert {one.about for one in seen} >= {
        "room", "data folder", "modes", "disk", "largest file", "settings", "time zone", "software", "recorder",
        "camera left", "camera right", "heat", "supply", "unit", "clock", "storage"}
    assert all(one.remedy for one in seen if one.grade is not Grade.OK and one.about not in ("settings", "time zone"))
    assert sorted(machine.root.rglob("*")) == before


async def test_the_recorder_s_own_looks_give_what_is_bad_and_one_that_hangs_is_not_begun_twice(
        machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []
    let_go = threading.Event()

    def hang(_: object) -> list[Found]:
        begun.append("hang")
        let_go.wait(60)
        return []

    def three(_: object) -> list[Found]:
        return [Found("a", Grade.BAD, "broken", "mend it"), Found("b", Grade.WARNING, "odd"),
                Found("c", Grade.OK, "fine")]

    monkeypatch.setattr("ezrec.actions.checks.by_itself.EVERY", [
        Look("hangs", hang, 0.2, by_itself=True), Look("three", three, by_itself=True), Look("not by itself", three)])
    looks = own_looks(machine.around())
    for _ in range(2):
        assert [await look() for look in looks] == [
            ["hangs: no answer within 0.2 s; look again; if it stays so, what is looked at hangs"],
            ["a: broken; mend it"]]
    assert begun == ["hang"]
    let_go.set()


async def test_a_stop_does_not_wait_for_a_look_that_hangs(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    let_go, begun = threading.Event(), threading.Event()

    def hang(_: object) -> list[Found]:
        begun.set()
        let_go.wait(60)
        return []

    monkeypatch.setattr("ezrec.actions.checks.by_itself.EVERY", [Look("hangs", hang, 60, by_itself=True)])
    (look,) = own_looks(machine.around())
    task = asyncio.ensure_future(look())
    await asyncio.to_thread(begun.wait, 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(20):
        await asyncio.get_running_loop().shutdown_default_executor()
    let_go.set()


# ---- the machine


@pytest.mark.parametrize(("degrees", "bits", "grade", "words"), [
    (48.0, "0", "ok", "48 °C"), (74.0, "0", "warning", "74 °C"), (81.0, "0", "bad", "81 °C"),
    (60.0, "8", "bad", "soft temperature limit now"), (60.0, "40000", "warning", "throttled before"),
    (60.0, "50005", "bad", "throttled now")])
def test_a_hot_processor_is_told_with_what_cools_it(machine: Machine, degrees: float, bits: str, grade: str,
                                                    words: str) -> None:
    machine.heat(degrees)
    machine.command("vcgencmd", f"echo throttled=0x{bits}")
    found = told(list(of_machine.heat_and_supply(machine.around())))["heat"]
    assert (found[0], words in found[1]) == (grade, True)
    assert ("cooler" in found[2]) == (grade != "ok")


@pytest.mark.parametrize(("bits", "most", "grade", "words"), [
    ("0", 5000, "ok", "high enough with both cameras on; 5.02 V; 5 A promised"),
    ("50001", 5000, "bad", "too low now with both cameras on"), ("10000", 5000, "warning", "was too low"),
    ("0", 3000, "warning", "3 A promised: that may be too little for both cameras at once")])
def test_a_supply_that_gives_too_little_is_told_with_the_right_one(machine: Machine, bits: str, most: int, grade: str,
                                                                   words: str) -> None:
    machine.command("vcgencmd", f'[ "$1" = get_throttled ] && echo throttled=0x{bits} || echo "EXT5V_V volt(24)=5.02V"')
    machine.supply(most)
    found = told(list(of_machine.heat_and_supply(machine.around(RUNNING))))["supply"]
    assert (found[0], words in found[1]) == (grade, True), found
    assert ("5 V and 5 A" in found[2]) == (grade != "ok")


def test_under_voltage_is_told_by_the_kernel_alone_too(machine: Machine) -> None:
    machine.write("sys/class/hwmon/hwmon2/name", "rpi_volt\n")
    machine.write("sys/class/hwmon/hwmon2/in0_lcrit_alarm", "1\n")
    assert told(list(of_machine.heat_and_supply(machine.around())))["supply"][0] == "bad"


def test_memory_for_cameras_that_is_missing_or_closed_is_told(
        machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    around = machine.around(**PI)
    assert "no " in told(list(of_machine.dma_heap(around)))["dma_heap"][1]
    heap = machine.write("dev/dma_heap/linux,cma", "")
    assert told(list(of_machine.dma_heap(around)))["dma_heap"][0] == "ok"
    monkeypatch.setattr("os.access", lambda *_: False)  # root may open anything
    grade, words, remedy = told(list(of_machine.dma_heap(around)))["dma_heap"]
    assert (grade, str(heap) in words, 'GROUP="video"' in remedy) == ("bad", True, True)
    assert list(of_machine.dma_heap(machine.around())) == []


@pytest.mark.parametrize(("says", "grade", "words"), [
    ("LoadState=not-found", "ok", "started by hand"),
    ("LoadState=loaded ActiveState=active SubState=running UnitFileState=enabled NRestarts=0", "ok", "running"),
    ("LoadState=loaded ActiveState=active SubState=running UnitFileState=enabled NRestarts=7", "warning", "7 times"),
    ("LoadState=loaded ActiveState=active SubState=running UnitFileState=disabled NRestarts=0", "warning",
     "not started with the machine"),
    ("LoadState=loaded ActiveState=inactive SubState=dead UnitFileState=enabled", "warning", "inactive"),
    ("LoadState=masked ActiveState=inactive", "bad", "masked"),
    ("LoadState=loaded ActiveState=activating SubState=auto-restart UnitFileState=enabled Result=exit-code", "bad",
     "exit-code"),
    ("LoadState=loaded ActiveState=failed SubState=failed UnitFileState=enabled Result=watchdog", "bad", "watchdog")])
def test_the_unit_is_judged_by_what_systemd_says(machine: Machine, says: str, grade: str, words: str) -> None:
    machine.command("systemctl", f"printf '%s\\n' {says}")
    (found,) = of_machine.unit(machine.around())
    assert (str(found.grade), words in found.words) == (grade, True), found
    assert bool(found.remedy) == (grade != "ok")


def test_a_machine_without_systemd_or_with_one_that_does_not_answer_is_told(
        machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [one.grade for one in of_machine.unit(machine.around())] == [Grade.OK]
    machine.command("systemctl", "exec sleep 60")
    monkeypatch.setattr(of_machine, "COMMAND_S", 0.2)
    assert [one.grade for one in of_machine.unit(machine.around())] == [Grade.BAD]


# ---- cameras


def test_a_camera_that_somebody_holds_is_told_with_what_makes_them_let_go(machine: Machine) -> None:
    for pid, command in ((7, "/usr/bin/motion"), (os.getppid(), "python -m ezrec run")):
        machine.write(f"proc/{pid}/cmdline", command)
        machine.write(f"proc/{pid}/cgroup", "0::/\n")
        (machine.root / f"proc/{pid}/fd").mkdir()
        (machine.root / f"proc/{pid}/fd/3").symlink_to("/dev/video0")
    (found,) = cameras.held(machine.around(RUNNING | {"pid": os.getppid()}, **PI))
    assert "motion" in found.words
    assert found.remedy == "sudo systemctl disable --now motion.service"
    assert len(list(cameras.held(machine.around(**PI)))) == 2


def test_the_cameras_of_a_running_recorder_are_judged_by_their_frames(machine: Machine) -> None:
    def refuse() -> dict[str, Any]:
        raise AssertionError("a running recorder's cameras are left alone")

    said = RUNNING | {"degraded": ["upload"], "cameras": {
        "left": HEALTH, "right": HEALTH | {"state": "lost", "note": "no cable"}}}
    around = replace(machine.around(said), describe=refuse)
    found = told([*cameras.recorder(around), *cameras.cameras(around)])
    assert found["camera left"] == ("ok", "is streaming, the newest frame 31 ms old", "")
    assert found["camera right"][:2] == ("bad", "gives no frames; no cable")
    assert found["recorder"][1] == "it says: upload"


def test_cameras_that_are_missing_are_told(machine: Machine) -> None:
    def none_listed() -> dict[str, Any]:
        raise CameraLost("libcamera finds no camera")

    around = replace(machine.around(**PI), describe=lambda: {"found": ["imx708 on i2c 1"]})
    found = told(list(cameras.cameras(around)))
    assert (found["cameras"][0], "2 are wanted" in found["cameras"][2]) == ("bad", True)
    around = replace(around, describe=none_listed)
    assert told(list(cameras.cameras(around)))["cameras"][1] == "libcamera finds no camera"


@pytest.mark.parametrize(("libcamera", "wrong", "grade", "words"), [
    ("0.7.2", "", "ok", "libcamera 0.7.2"), ("0.9", "", "warning", "libcamera was tried from 0.7 to 0.7"),
    ("0.7.2", "no frame", "bad", "encoding fails (no frame)")])
def test_the_software_that_pictures_come_through_is_told_and_tried(
        machine: Machine, monkeypatch: pytest.MonkeyPatch, libcamera: str, wrong: str, grade: str, words: str) -> None:
    versions = {"libcamera": libcamera, "picamera2": "0.3.38", "av": "18.1", "encoder": "libx264"}
    for name, says in (("must_be_here", None), ("software", versions), ("smoke", wrong)):
        monkeypatch.setattr(cameras.factory, name, lambda says=says: says)
    (found,) = cameras.software(machine.around(**PI))
    assert (str(found.grade), words in found.words) == (grade, True)


# ---- the disk


def test_a_full_disk_is_told_by_its_room_its_speed_and_its_storage(
        machine: Machine, tiny_disk: Callable[[int], Path]) -> None:
    data = tiny_disk(4 << 20)
    (data / "library").mkdir()
    (data / "filler").write_bytes(b"x" * (data.stat().st_blksize * 1024 - 65536))
    around = machine.around(data=data)
    found = told([*disk.room(around), *disk.speed(around), *storage.local(data / "library")])
    assert found["room"][0] == "bad"
    assert "disk.min_free_mb" in found["room"][1]
    assert (found["disk"][0], "No space left" in found["disk"][1]) == ("bad", True)
    (data / "rest").write_bytes(b"x" * (os.statvfs(data).f_bavail * os.statvfs(data).f_frsize))
    (full,) = storage.local(data / "library")
    assert (full.grade, "No space left" in full.words) == (Grade.BAD, True)
    assert sorted(path.name for path in data.rglob("*")) == ["filler", "library", "rest"]


@pytest.mark.parametrize(("took_us", "grade", "words"), [
    ([20_000] * 4, "ok", "75.0 MB/s are written, 3.0 wanted"), ([400_000] * 4, "warning", "3.8 MB/s"),
    ([900_000] * 4, "bad", "1.7 MB/s"), ([20_000] * 3 + [1_400_000], "bad", "a power cut may cost more than 2 s")])
def test_the_disks_speed_is_held_against_what_is_recorded(
        machine: Machine, monkeypatch: pytest.MonkeyPatch, took_us: list[int], grade: str, words: str) -> None:
    monkeypatch.setattr(syncing, "measure", lambda _: took_us)
    (found,) = disk.speed(machine.around())
    assert (str(found.grade), words in found.words) == (grade, True), found
    assert found.facts["disk"]["ok"] == (grade != "bad")


@pytest.mark.parametrize(("free", "grade"), [(100, "ok"), (25, "warning"), (5, "bad")])
def test_the_room_is_told_in_hours_of_recording(machine: Machine, monkeypatch: pytest.MonkeyPatch, free: int,
                                                grade: str) -> None:
    monkeypatch.setattr("ezrec.files.free_bytes", lambda _: free * 10**9)
    (found,) = disk.room(machine.around())
    assert str(found.grade) == grade
    assert found.facts["free_hours"] == round(free * 1e9 * 8 / 24e6 / 3600, 1)


def test_folders_that_are_files_closed_or_open_to_all_are_told(
        machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    (machine.root / "file").write_text("x")
    around = machine.around()
    elsewhere = {"data": machine.root / "data", "library": machine.root / "file/library", "logs": machine.root / "logs"}
    around = replace(around, settings=around.settings.model_copy(
        update={"paths": around.settings.paths.model_copy(update=elsewhere)}))
    found = told(list(disk.folders(around)))
    assert (found["library"][0], "is a file" in found["library"][1]) == ("bad", True)
    assert found["log folder"][0] == found["data folder"][0] == "ok"
    (machine.root / "data").chmod(0o755)
    assert [one.remedy for one in disk.modes(around)] == [f"chmod -R g-w,o-rwx {machine.root / 'data'}"]
    monkeypatch.setattr("os.access", lambda *_: False)
    assert told(list(disk.folders(around)))["log folder"][0] == "bad"


# ---- program and clock


def test_the_versions_are_told_and_a_pyav_that_is_too_old_is_bad(
        machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = own.software(machine.around())
    assert found.grade is Grade.OK
    assert "PyAV" in found.words
    assert "libavcodec" in found.words
    monkeypatch.setattr("ezrec.actions.checks.own.metadata.version", lambda _: "10.0.0")
    (old,) = own.software(machine.around())
    assert (old.grade, "python3-av" in old.remedy) == (Grade.BAD, True)


def test_a_clock_that_was_never_set_is_bad_and_one_that_nobody_sets_is_doubted(
        machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "clock_is_set", lambda: False)
    (never,) = clock.clock(replace(machine.around(), clock=MadeUpClock(10, 1000)))
    assert (never.grade, "1970" in never.words) == (Grade.BAD, True)
    (unset,) = clock.clock(machine.around())
    assert unset.grade is Grade.WARNING
    monkeypatch.setattr(clock, "clock_is_set", lambda: True)
    assert [one.grade for one in clock.clock(machine.around())] == [Grade.OK]
