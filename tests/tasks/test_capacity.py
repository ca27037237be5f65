"""A disk that cannot hold a long film as one file is known before there is one."""

import subprocess
import sys
from pathlib import Path

import pytest

from ezrec import files
from ezrec.config import Settings
from ezrec.tasks.capacity import too_small

LIMITED = """
import resource, sys
from ezrec.config import Settings
from ezrec.tasks.capacity import too_small
resource.setrlimit(resource.RLIMIT_FSIZE, (2**30, 2**30))
print(*too_small(Settings(paths={"data": sys.argv[1]})), sep="\\n")
"""


def test_a_limit_of_file_sizes_is_told_with_the_minutes_that_fit_and_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "films").mkdir()
    done = subprocess.run([sys.executable, "-c", LIMITED, tmp_path], capture_output=True, text=True, check=True)
    films, library = done.stdout.splitlines()
    assert films.startswith(f"one file in {tmp_path / 'films'} can have 1.1 GB, 12 minutes of film at film.maxrate")
    assert "may need 32.4 GB: format the disk with ext4, lift the limit of file sizes (ulimit -f" in films
    assert library.startswith(f"one file in {tmp_path} can")  # the library is not there yet
    assert [path.name for path in tmp_path.rglob("*")] == ["films"]


def test_a_file_system_that_ends_files_early_is_found_to_the_byte(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seek, most = files.os.lseek, 2**32 - 1

    def fat(handle: int, at: int, how: int) -> int:
        """As on FAT32, which the kernel knows when somebody looks behind the end of what a file can be."""
        if at > most:
            raise OSError(22, "Invalid argument")
        return seek(handle, at, how)

    monkeypatch.setattr(files.os, "lseek", fat)
    assert files.largest_file(tmp_path, 2**40) == most
    assert files.largest_file(tmp_path, most) == most
    assert "48 minutes" in too_small(Settings(paths={"data": tmp_path}))[0]


def test_a_usual_disk_holds_the_longest_film(tmp_path: Path) -> None:
    assert too_small(Settings(paths={"data": tmp_path})) == []
