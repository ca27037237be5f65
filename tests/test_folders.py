"""Where everything lies below the data folder, and the lock that lets one recorder in."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ezrec import folders
from ezrec.domain.errors import AlreadyRunning, SettingsError
from ezrec.files import temporary_beside
from ezrec.folders import DataFolder, DataLock

HOLDER = """
import sys, signal
from pathlib import Path
from ezrec.folders import DataFolder, DataLock
with DataLock(DataFolder(Path(sys.argv[1]))):
    print("locked", flush=True)
    signal.pause()
"""


def test_a_second_recorder_is_refused_and_told_who_has_the_folder(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(AlreadyRunning, match=rf"process {holder.pid}\).*stop it first"):
            DataLock(DataFolder(tmp_path)).take()
        holder.send_signal(signal.SIGKILL)
    DataLock(DataFolder(tmp_path)).take()  # the kernel dropped the lock with its owner


def test_a_lock_that_was_given_back_can_be_taken(tmp_path: Path) -> None:
    lock = DataLock(DataFolder(tmp_path))
    with lock, pytest.raises(AlreadyRunning, match=str(os.getpid())):
        DataLock(DataFolder(tmp_path)).take()
    lock.release()
    with DataLock(DataFolder(tmp_path)):
        assert (tmp_path / "ezrec.lock").read_text() == f"{os.getpid()}\n"


def test_a_lock_is_not_taken_twice(tmp_path: Path) -> None:
    with DataLock(DataFolder(tmp_path)) as lock, pytest.raises(AlreadyRunning):
        lock.take()


def test_a_missing_data_folder_is_a_matter_of_settings(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="nowhere"):
        DataLock(DataFolder(tmp_path / "nowhere")).take()


def test_every_unfinished_file_is_found_whoever_wrote_it(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    owners = (folder.cameras, folder.media / "intro.mp4", folder.chunk("r-1", 1, 1), folder.poster("r-1"),
              folder.picture("left"), folder.reference("left"))
    left = [temporary_beside(owner) for owner in owners]
    left += [folder.media / "intro-1.mp4.4711.tmp", folder.film("r-1") / "chunk-1-00001.mp4.4711.tmp"]  # version 0.1.0
    for file in (*left, *owners):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    assert sorted(folder.unfinished_files()) == sorted(left)


def test_a_file_has_one_name_in_the_store_wherever_the_folder_lies(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    assert folder.relative(folder.chunk("r-1", 2, 3)) == "films/r-1/chunk-2-00003.mp4"
    assert folder.path("films/r-1/chunk-2-00003.mp4") == folder.chunk("r-1", 2, 3)


def test_a_run_that_was_counted_on_from_the_largest_folder_found_is_a_run(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    runs = [2**31 - 1, 2**31, 2**32 - 1, 2**32]  # numbers that somebody may try, and what the next start makes of them
    for run in runs:
        folder.run(run).mkdir(parents=True)
    assert folder.runs() == runs
    assert folder.unusable() == []


def test_a_folder_that_cannot_be_read_hides_nothing_but_what_lies_in_it(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = DataFolder(tmp_path)
    for run in (1, 2, 3):
        (folder.run(run) / "left").mkdir(parents=True)
        (folder.run(run) / "left" / "5.ts").touch()
    locked, list_folder = folder.run(2), Path.iterdir

    def refuse(path: Path) -> Iterator[Path]:
        """As for a folder of mode 000, which root could read all the same."""
        if path.is_relative_to(locked):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return list_folder(path)

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert folder.segment_files() == [folder.run(run) / "left" / "5.ts" for run in (1, 3)]
    folder.films.touch()
    assert folder.unusable() == [folder.films]


@pytest.mark.parametrize("aside", ["aside", "segments/aside"])
def test_what_lies_in_the_place_of_what_goes_aside_makes_room_for_it_first(tmp_path: Path, aside: str) -> None:
    folder = DataFolder(tmp_path)
    (tmp_path / aside).parent.mkdir(exist_ok=True)
    (tmp_path / aside).write_bytes(b"something")
    (tmp_path / "films").touch()
    (tmp_path / "segments").mkdir(exist_ok=True)
    (tmp_path / "segments" / "pipe").touch()
    for path in folder.unusable():
        folder.put_aside(path)
    assert [path.read_bytes() for path in (tmp_path / aside).glob("*aside")] == [b"something"]
    assert {path.name for path in tmp_path.iterdir()} == {"segments", "aside"}
    assert [path.name for path in folder.segments.iterdir()] == ["aside"]
    assert folder.unusable() == []


def test_a_lock_file_that_another_user_left_is_locked_all_the_same(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, open_file = DataFolder(tmp_path), os.open
    folder.lock.write_text("17\n")

    def refuse(path: Path, flags: int, mode: int = 0o777) -> int:
        """As for a file of root's, which root could write all the same."""
        if path == folder.lock and flags & os.O_RDWR:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return open_file(path, flags, mode)

    monkeypatch.setattr(os, "open", refuse)
    with DataLock(folder) as lock:
        lock.check()
        with pytest.raises(AlreadyRunning):
            DataLock(folder).take()


OTHER = """
import fcntl, os, sys
handle = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o640)
fcntl.flock(handle, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("written", ["", "999999999", "1"])
def test_a_lock_that_no_recorder_holds_is_named_by_who_holds_it_and_not_by_what_is_written(
        tmp_path: Path, written: str) -> None:
    lock = DataFolder(tmp_path).lock
    lock.write_text(f"{written}\n")
    with subprocess.Popen([sys.executable, "-c", OTHER, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                          cwd="/") as other:
        assert other.stdout
        assert other.stdout.readline() == "locked\n"
        said = rf"no recorder \(.*user .*, process {other.pid}\) uses .*stop it first"
        with pytest.raises(AlreadyRunning, match=f"(?s){said}"):
            DataLock(DataFolder(tmp_path)).take()
        other.kill()


def test_a_holder_that_cannot_be_seen_is_not_given_the_number_of_a_dead_process(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "_lockers", lambda _file: [])
    with DataLock(DataFolder(tmp_path)):
        DataFolder(tmp_path).lock.write_text("999999999\n")
        with pytest.raises(AlreadyRunning, match=r"cannot be seen from here.*999999999, which the lock's file names"):
            DataLock(DataFolder(tmp_path)).take()


def test_strangers_cannot_open_the_lock(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with DataLock(DataFolder(tmp_path)):
            assert DataFolder(tmp_path).lock.stat().st_mode & 0o777 == 0o640
    finally:
        os.umask(before)
