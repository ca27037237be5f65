"""Systemd's notifications, the boot and memory."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ezrec.adapters import system
from ezrec.adapters.system import boot_id, notify, process_tree_rss, watchdog_interval_s
from ezrec.domain.errors import LeaveError


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_hears_what_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abstract: bool) -> None:
    name = f"@ezrec-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(name.replace("@", "\0"))
        systemd.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        assert notify("READY=1\nSTATUS=waiting for 18:00 – Größe")
        assert systemd.recv(1000).decode() == "READY=1\nSTATUS=waiting for 18:00 – Größe"


def test_nothing_is_sent_and_nothing_raised_without_a_listener(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify("READY=1")
    for address in ("", "relative", "vsock:2:1", str(tmp_path / "nobody"), "/" + "x" * 200, "@" + "x" * 200):
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        assert not notify("READY=1")


def test_a_systemd_that_does_not_read_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setattr(system, "_NOTIFY_LIMIT_S", 0.001)
        heard = 0
        while notify("WATCHDOG=1") and heard < 100_000:
            heard += 1
        assert heard < 100_000


@pytest.mark.parametrize(("limit", "pid", "expected"), [
    ("30000000", None, 15.0), ("30000000", "own", 15.0), ("30000000", "1", None), ("30000000", "", None),
    (None, None, None), ("0", None, None), ("soon", None, None), ("-5", None, None)])
def test_the_watchdog_is_fed_twice_in_its_time_if_it_is_meant_for_us(
        monkeypatch: pytest.MonkeyPatch, limit: str | None, pid: str | None, expected: float | None) -> None:
    for name, value in (("WATCHDOG_USEC", limit), ("WATCHDOG_PID", str(os.getpid()) if pid == "own" else pid)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert watchdog_interval_s() == expected


def test_a_boot_has_one_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert boot_id() == boot_id()
    assert len(boot_id()) == 36
    monkeypatch.setattr(system, "_BOOT_ID", tmp_path / "missing")
    with pytest.raises(LeaveError):
        boot_id()


def test_memory_counts_children_too() -> None:
    code = "import sys; data = b'x' * 100_000_000; print('ready', flush=True); sys.stdin.read()"
    before = process_tree_rss()
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        child.stdout.readline()
        assert process_tree_rss() > before + 80_000_000
        child.stdin.close()
    assert system.rss_bytes(child.pid) == 0


@pytest.mark.parametrize(("kernel", "timesyncd", "expected"), [
    (0, None, True), (5, True, False), (-1, True, True), (-1, False, False), (-1, None, True)])
def test_where_the_kernel_may_not_be_asked_timesyncd_says_whether_the_clock_is_set(
        monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kernel: int, timesyncd: bool | None, expected: bool) -> None:
    class Libc:
        def adjtimex(self, _: object) -> int:
            return kernel

    monkeypatch.setattr(system.ctypes, "CDLL", lambda _: Libc())
    monkeypatch.setattr(system, "_TIMESYNC", tmp_path / "timesync")
    if timesyncd is not None:
        (tmp_path / "timesync").mkdir()
    if timesyncd:
        (tmp_path / "timesync/synchronized").touch()
    assert system.clock_is_set() is expected
