"""Durable file operations."""

import errno
import os
import threading
from pathlib import Path

import pytest

from ezrec import files
from ezrec.domain.errors import ParkError, RetryError


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of all files and folders that were fsynced, in order."""
    names: list[str] = []
    fsync = os.fsync

    def remember(handle: int) -> None:
        names.append(Path(f"/proc/self/fd/{handle}").readlink().name)
        fsync(handle)

    monkeypatch.setattr(files.os, "fsync", remember)
    return names


def test_a_file_is_replaced_whole_and_its_folder_synced(tmp_path: Path, synced: list[str]) -> None:
    file = tmp_path / "state.json"
    file.write_bytes(b"old")
    files.write_atomically(file, b"new")
    assert file.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [file]
    assert synced[-1] == tmp_path.name
    assert synced[0].endswith(".tmp")


@pytest.mark.parametrize("umask", [0, 0o022, 0o077])
def test_files_and_folders_are_closed_to_strangers_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        files.make_folders(tmp_path / "films" / "r-1", tmp_path)
        files.write_atomically(tmp_path / "state.json", b"new")
        files.allocate(tmp_path / "reserve", 4096)
        files.keep_private()
        (tmp_path / "by others").touch()
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o7777 for path in tmp_path.rglob("*")}
    assert modes == {"films": 0o750, "r-1": 0o750, "state.json": 0o640, "reserve": 0o640, "by others": 0o640}


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "state.json"
    file.write_bytes(b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        files.write_atomically(file, b"new")
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def test_each_folder_that_is_made_is_durable_in_its_parent(tmp_path: Path, synced: list[str]) -> None:
    files.make_folders(tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a" / "b" / "c").is_dir()
    assert synced == [tmp_path.name, "a", "b"]


def test_folders_that_are_there_are_fine(tmp_path: Path, synced: list[str]) -> None:
    files.make_folders(tmp_path)
    assert synced == []


@pytest.mark.parametrize("dangling", [False, True])
def test_a_file_or_dead_link_in_the_way_of_a_folder_is_named(tmp_path: Path, dangling: bool) -> None:
    way = tmp_path / "a"
    if dangling:
        way.symlink_to(tmp_path / "nowhere")
    else:
        way.touch()
    with pytest.raises(NotADirectoryError, match="a'"):
        files.make_folders(way / "b")


def test_removed_files_are_gone_for_good_with_one_sync_a_folder(tmp_path: Path, synced: list[str]) -> None:
    there = [tmp_path / "1", tmp_path / "2"]
    for file in there:
        file.touch()
    files.remove(*there, tmp_path / "missing", tmp_path / "no folder" / "3")
    assert list(tmp_path.iterdir()) == []
    assert synced == [tmp_path.name]


def test_the_removal_of_a_missing_file_is_made_durable_too(tmp_path: Path, synced: list[str]) -> None:
    files.remove(tmp_path / "unlinked before a kill")
    assert synced == [tmp_path.name]


def test_free_bytes_are_those_of_the_disk_for_ordinary_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = os.statvfs(tmp_path)
    monkeypatch.setattr(os, "statvfs", lambda _: disk)
    assert files.free_bytes(tmp_path) == disk.f_bavail * disk.f_frsize


@pytest.mark.parametrize(("code", "kind"), [
    (errno.ENOSPC, RetryError), (errno.EDQUOT, RetryError), (errno.EIO, RetryError), (errno.ENOENT, RetryError),
    (errno.EACCES, ParkError), (errno.EPERM, ParkError), (errno.EROFS, ParkError), (errno.ENAMETOOLONG, ParkError)])
def test_an_os_error_becomes_a_verdict_that_names_work_and_place(code: int, kind: type[Exception]) -> None:
    with pytest.raises(kind, match=r"cannot store the film: .*: /library/film\.mp4"), files.os_errors("store the film"):
        raise OSError(code, os.strerror(code), "/library/film.mp4")


def test_other_errors_pass_untranslated() -> None:
    with pytest.raises(ZeroDivisionError), files.os_errors("divide"):
        raise ZeroDivisionError


def test_works_run_beside_each_other_only_when_one_takes_long() -> None:
    order: list[str] = []
    files.all_soon(lambda: order.append("one"), lambda: order.append("two"))
    assert order == ["one", "two"]
    both = threading.Barrier(2)
    files.all_soon(lambda: both.wait(10), lambda: both.wait(10))


def test_the_error_of_the_first_work_that_fails_is_raised_when_all_are_over() -> None:
    done: list[str] = []

    def fail() -> None:
        raise OSError(5, "broken")

    with pytest.raises(OSError, match="broken"):
        files.all_soon(fail, lambda: done.append("the other"))
    assert done == ["the other"]
