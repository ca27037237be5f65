"""The process as its surroundings see it: one recorder only, systemd, signals, what dies and what a crash left.

The full disk is made in Python (fakes/killer): a real one needs the right to mount something small.
"""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path

import psutil
import pytest

from ezrec.store import VERSION
from tests.fakes.site import LIMIT_S, ROOT, Site
from tests.fakes.waiting import wait_until

SOON_S = 15.0  # a machine may be busy; still far below what a process that hangs would take


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    one = Site(tmp_path)
    yield one
    one.end()


def _workers(site: Site) -> list[psutil.Process]:
    """The recorder's render workers."""
    assert site.process
    children = psutil.Process(site.process.pid).children(recursive=True)
    return [child for child in children if any("spawn_main" in word for word in child.cmdline())]


def _record(site: Site, seconds: float) -> None:
    """Start the recorder and book `match` from soon on, for longer on a machine that is slow now."""
    began = time.monotonic()
    site.start()
    site.wait_said("ready")
    slow_s = time.monotonic() - began
    site.book("match", 1 + slow_s, seconds + 3 * slow_s)


def _write(site: Site, sql: str, *values: object) -> None:
    with closing(sqlite3.connect(site.data / "ezrec.db", timeout=10, isolation_level=None)) as db:
        db.execute(sql, values)


def _mend(site: Site, booking_id: str) -> None:
    """The film comes home, and no time of it is missing that was recorded before."""
    site.wait_stage(booking_id, "cleaned")
    site.check(booking_id)
    site.check_no_leftovers()


def test_a_second_recorder_on_the_same_data_folder_is_refused_and_the_first_goes_on(site: Site) -> None:
    site.start()
    site.wait_said("ready")
    said = site.command("run", status=1)
    assert f"another recorder (process {site.process and site.process.pid})" in said
    assert "Traceback" not in said
    site.book("match", 1, 2)
    _mend(site, "match")
    assert site.stop() == 0


def test_systemd_is_told_when_it_is_ready_alive_and_stopping(site: Site, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(str(tmp_path / "n"))
        notified.settimeout(SOON_S)
        site.start(environment={"NOTIFY_SOCKET": str(tmp_path / "n"), "WATCHDOG_USEC": "600000"})
        told = [notified.recv(100).decode()]
        told += [notified.recv(100).decode() for _ in range(4)]
        assert sorted(told) == ["READY=1"] + 4 * ["WATCHDOG=1"]
        assert site.stop() == 0
        last = ""
        while last != "STOPPING=1":
            assert last in ("", "WATCHDOG=1")
            last = notified.recv(100).decode()


def test_a_recorder_that_is_told_to_stop_while_it_records_and_renders_ends_well_and_soon(site: Site) -> None:
    site.start(kill_at={"event": "rendering chunk", "nth": 2, "signal": signal.SIGTERM})
    site.wait_said("ready")
    site.book("match", 2, 62)
    site.wait_said("rendering chunk", times=2)
    assert site.wait_dead(SOON_S) == 0
    assert site.said("stopped")
    open_ones = [path for path in (site.data / "segments").rglob("*.ts")
                 if not site.rows("SELECT 1 FROM segment WHERE path = ?", str(path.relative_to(site.data)))]
    assert open_ones == []


def test_a_second_signal_ends_it_at_once(site: Site) -> None:
    site.faults(left={"stop_hangs_s": 300})
    _record(site, 60)
    site.wait_said("segment sealed")
    site.signal(signal.SIGTERM)
    site.wait_said("stopping", waiting_for="cameras and their segments")
    site.signal(signal.SIGINT)
    assert site.wait_dead(SOON_S / 2) == 1  # waiting for the camera alone would take 10 s


def test_a_worker_that_is_killed_costs_one_retry_of_one_chunk_and_none_outlives_the_recorder(site: Site) -> None:
    _record(site, 4)
    site.wait_said("chunk rendered")
    worker, = _workers(site)
    worker.suspend()  # so that it dies in the middle of a chunk and not between two
    doomed = site.wait_said("rendering chunk", times=len(site.said("chunk rendered")) + 1)
    worker.kill()
    site.wait_said("chunk rendered", chunk=doomed["chunk"])
    failed = site.said("chunk not rendered")
    assert [(line["chunk"], line["attempt"], "worker died" in line["error"]) for line in failed] == [
        (doomed["chunk"], 1, True)]
    left = _workers(site)
    assert left
    site.kill()
    wait_until(lambda: not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in left),
               SOON_S, "the workers to be gone")
    site.start()
    _mend(site, "match")
    certificate, _ = site.look_at("match")
    assert certificate["fallbacks"] == []
    assert len(site.said("chunk not rendered")) == 1


def test_a_side_task_that_ends_is_started_again_and_recording_goes_on(site: Site) -> None:
    _record(site, 5)
    site.wait_said("booking started")
    ahead = round((time.time() + 7200) * 1e6)
    _write(site, f"INSERT INTO booking VALUES ('broken', 'cli', {ahead}, {ahead + 1}, 'scheduled', 'not JSON', 0, 0)")
    ended = site.wait_said("task ended, starting it again", times=2, ended="bookings")
    assert ended["in_s"] == 2.0
    _write(site, "DELETE FROM booking WHERE id = 'broken'")
    _mend(site, "match")
    assert site.look_at("match")[0]["gaps"] == []
    site.book("next", 2, 3)  # the task is back
    site.wait_stage("next", "cleaned")


def test_a_recording_task_that_ends_takes_the_process_with_it_and_a_new_one_goes_on(site: Site) -> None:
    site.book("broken", 3600, 3700)
    _record(site, 6)
    site.wait_said("segment sealed", times=2)
    _write(site, "UPDATE film SET recipe = 'not JSON' WHERE booking_id = 'broken'")
    assert site.wait_dead(SOON_S) == 1
    assert site.said("leaving")
    _write(site, "UPDATE film SET recipe = NULL WHERE booking_id = 'broken'")
    site.start()
    _mend(site, "match")
    certificate, _ = site.look_at("match")
    assert certificate["runs"] == 2
    # The pause is a new start of the process, about half a second. One camera alone may begin some frames later.
    assert [gap["camera"] for gap in certificate["gaps"] if gap["seconds"] > 0.2] == ["both"]


def test_what_a_crash_left_unfinished_is_gone_after_the_next_start_and_footage_is_set_aside(site: Site) -> None:
    rubbish = [site.data / name for name in (".0a1b.tmp", "media/.0a1b.tmp", "films/20261120-1800-0a1b2c3d/.0a1b.tmp",
                                             "films/20261120-1800-0a1b2c3d/.chunk-1-00001.mp4.tmp",
                                             f"library/.uploads/{'0' * 32}", f"library/.uploads/{'0' * 32}.parts")]
    garbage = site.data / "segments/1/left/123456.ts"
    for path in (*rubbish, garbage):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"no film at all" * 100)
    rubbish.append(site.data / "segments/1/right/123456.ts")  # made, and not written to yet
    rubbish[-1].parent.mkdir(parents=True)
    rubbish[-1].touch()
    site.start()
    site.wait_said("ready")
    assert [path for path in rubbish if path.exists()] == []
    assert not garbage.exists()
    assert (site.data / "segments/aside/1-left-123456.ts").read_bytes() == b"no film at all" * 100
    assert site.stop() == 0


def test_the_store_of_a_newer_version_is_refused_and_left_as_it_is(site: Site) -> None:
    site.book("match", 60, 120)
    _write(site, f"PRAGMA user_version = {VERSION + 1}")
    said = site.command("run", status=1)
    assert f"version {VERSION + 1}" in said
    assert "install the newer EZREC" in said
    assert "Traceback" not in said
    assert site.rows("PRAGMA user_version") == [{"user_version": VERSION + 1}]
    assert site.film("match") is None


def test_a_closed_log_pipe_does_not_end_the_recorder(site: Site) -> None:
    site.book("match", 3600, 3601)
    process = subprocess.Popen([sys.executable, "-m", "ezrec", "-c", str(site.config), "run"], cwd=site.folder,
                               env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT)
    try:
        assert process.stdout
        process.stdout.close()
        wait_until(lambda: site.rows("SELECT 1 FROM run"), LIMIT_S, "the recorder to begin its run")
        site.book("match", 2, 3)
        _mend(site, "match")
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(SOON_S) == 0
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("source", ["simulated", "picamera2"])
def test_a_full_disk_costs_the_time_that_it_is_full_and_hangs_no_camera(
        site: Site, tmp_path: Path, source: str) -> None:
    full = tmp_path / "full"
    site.configure(cameras={"source": source})
    site.start(environment={"FULL_DISK": str(full)})
    site.wait_said("ready")
    site.book("match", 2, 10)
    site.wait_said("chunk joined")
    full.touch()
    began = time.time()
    site.wait_said("segment failed", times=6)
    full.unlink()
    over = time.time()
    _mend(site, "match")
    certificate, _ = site.look_at("match")
    assert certificate["gaps"]
    for gap in certificate["gaps"]:
        lost_from, lost_to = (datetime.fromisoformat(gap[key]).timestamp() for key in ("from", "to"))
        assert began - 2 < lost_from, gap
        assert lost_to < over + 5, gap
    assert certificate["fallbacks"] == []
    assert not site.said("camera silent, starting it again")
    assert not site.said("camera lost")
    assert site.stop() == 0
