"""What a run's folder says of it: written durably, read back as it was, and never believed when it cannot be true."""

import os
from pathlib import Path

import pytest

from ezrec.adapters import run_facts
from ezrec.adapters.run_facts import RunFacts
from ezrec.domain.clock import SECOND
from ezrec.domain.timeline import Offset

FACTS = RunFacts("boot", (Offset(5 * SECOND, 1_800_000_000 * SECOND), Offset(9 * SECOND, 1_800_000_007 * SECOND)))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "segments" / "7" / "run.json"
    path.parent.parent.mkdir()
    run_facts.write(path, FACTS)
    assert run_facts.read(path) == FACTS


def test_nothing_is_written_where_the_folder_of_all_segments_is_gone(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        run_facts.write(tmp_path / "segments" / "7" / "run.json", FACTS)
    assert not (tmp_path / "segments").exists()


@pytest.mark.parametrize("content", [
    b"", b"\0" * 100, b"[]", b"{}", b'{"boot_id": "b", "offsets": []}', b'{"boot_id": "b", "offsets": [[1]]}',
    b'{"boot_id": "b", "offsets": [[1, "x"]]}', b'{"boot_id": "b", "offsets": [[1, 1e999]]}',
    b'{"boot_id": "b", "offsets": [[-5, 1800000000000000]]}', b'{"boot_id": "b", "offsets": [[1, 9999999999999999]]}',
    b'{"offsets": [[1, 2]]}', b"[" * 100_000, b'{"boot_id": "b", "offsets": ' + b" " * (2 << 20)])
def test_what_cannot_be_true_is_not_believed(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "run.json"
    path.write_bytes(content)
    assert run_facts.read(path) is None


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "run.json")
    assert run_facts.read(tmp_path / "run.json") is None
    assert run_facts.read(tmp_path / "none") is None


def test_the_times_of_the_files_tell_the_offset() -> None:
    offset = 1_800_000_000 * SECOND
    starts = [second * SECOND for second in (100, 104, 108, 112)]
    ours = [(start, start + 4 * SECOND + offset - 30_000) for start in starts]
    found = run_facts.estimate([ours, ours[:2]])
    assert found is not None
    assert found.estimated
    (only,) = found.offsets
    assert only.from_us == starts[0]
    assert abs(only.wall_us - offset) < SECOND // 10


def test_one_file_alone_tells_it_to_some_seconds_and_none_tells_nothing() -> None:
    offset = 1_800_000_000 * SECOND
    found = run_facts.estimate([[(100 * SECOND, 104 * SECOND + offset)]])
    assert found is not None
    assert abs(found.offsets[0].wall_us - offset) < 5 * SECOND
    assert run_facts.estimate([]) is None
    assert run_facts.estimate([[]]) is None
