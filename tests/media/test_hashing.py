"""A file that knows its parts' checksums: they are those of the bytes that were written, wherever libavformat seeks."""

import errno
import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ezrec.media.hashing import HashingFile, sha256_of


def sums_of(data: bytes, size: int) -> dict[int, str]:
    return {n: hashlib.sha256(data[at:at + size]).hexdigest() for n, at in enumerate(range(0, len(data), size), 1)}


@given(part_size=st.integers(1, 40), front=st.integers(0, 100), blocks=st.lists(st.binary(max_size=60), max_size=12),
       late=st.lists(st.tuples(st.integers(0, 99), st.binary(max_size=30)), max_size=4))
def test_the_sums_are_those_of_the_files_parts_and_known_as_soon_as_they_are_whole(
        tmp_path_factory: pytest.TempPathFactory, part_size: int, front: int, blocks: list[bytes],
        late: list[tuple[int, bytes]]) -> None:
    path = tmp_path_factory.mktemp("file") / "film"
    file = HashingFile(path, part_size, front)
    file.seek(front)  # as over an index that comes last
    whole_from = -(-front // part_size) + 1
    for number, block in enumerate(blocks, 1):
        assert file.write(block) == len(block)
        now = path.read_bytes()
        assert file.tell() == front + sum(map(len, blocks[:number]))
        assert file.end == len(now)
        expected = {n: one for n, one in sums_of(now, part_size).items() if whole_from <= n <= len(now) // part_size}
        assert dict(file.sums) == expected
    for at, data in late:
        file.seek(min(at, front))
        file.write(data[: max(front - at, 0)])
    sums = file.sums
    file.finish()
    assert file.sums is sums
    assert sums == sums_of(path.read_bytes(), part_size)


def test_what_lies_behind_the_front_is_written_once_and_without_a_gap(tmp_path: Path) -> None:
    file = HashingFile(tmp_path / "film", 10, 15)
    file.write(bytes(25))
    for place in (20, 24, 26):
        file.seek(place)
        with pytest.raises(ValueError, match="written after byte 25"):
            file.write(b"x")
    file.seek(19)
    file.write(b"x")  # of a part that the front reaches into
    file.drop()
    assert (tmp_path / "film").read_bytes() == bytes(19) + b"x" + bytes(5)


def test_what_the_disk_made_of_a_part_does_not_change_its_sum(tmp_path: Path) -> None:
    file = HashingFile(tmp_path / "film", 10, 10)
    file.write(bytes(30))
    with (tmp_path / "film").open("r+b") as other:
        other.write(b"damage" * 5)
    file.finish()
    assert dict(file.sums) == sums_of(bytes(30), 10)


def test_after_it_was_dropped_nothing_is_written_any_more(tmp_path: Path) -> None:
    file = HashingFile(tmp_path / "film", 10, 10)
    file.drop()
    file.drop()
    assert file.write(b"the last words of libavformat") == 29
    assert (tmp_path / "film").read_bytes() == b""


def test_a_full_disk_is_told_with_the_files_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    file = HashingFile(tmp_path / "film", 10, 10)
    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*film'"):
        file.write(b"x")


def test_a_disk_that_takes_a_little_at_a_time_gets_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda handle, data, at: write(handle, data[:3], at))
    file = HashingFile(tmp_path / "film", 10, 4)
    file.write(bytes(range(25)))
    file.finish()
    assert (tmp_path / "film").read_bytes() == bytes(range(25))
    assert dict(file.sums) == sums_of(bytes(range(25)), 10)


def test_a_file_has_a_checksum_and_what_is_none_has_not(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    assert sha256_of(tmp_path / "file") == hashlib.sha256(b"abc").hexdigest()
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "nothing", "."):
        with pytest.raises(OSError, match=r"not a file|No such file"):
            sha256_of(tmp_path / name)
