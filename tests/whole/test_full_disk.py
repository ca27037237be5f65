"""A disk that is full to the last byte when the recorder starts: a small file system of its own, which takes root."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.site import LIMIT_S, Site, files_below
from tests.fakes.waiting import wait_until

MB = 48


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A site whose data lies on a disk of 48 MB, with a recorder that was killed; a booking was called off before."""
    data = tmp_path / "disk"
    data.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={MB}m", "tmpfs", data], check=False,
                             capture_output=True)
    if mounted.returncode:
        pytest.skip("this user may mount nothing")
    site = Site(tmp_path, paths={"data": str(data / "data"), "logs": str(tmp_path / "logs")})
    site.data, site.library = data / "data", data / "data" / "library"
    try:
        site.book("called-off", 0.5, 60)
        site.start()
        site.wait_stage("called-off", "recording")
        wait_until(lambda: len(site.rows("SELECT 1 FROM segment")) > 3, LIMIT_S, "some segments")
        site.book("called-off", -3, -1, status="cancelled")
        site.wait_stage("called-off", "cancelled")
        wait_until((site.data / "ezrec.db-reserve").exists, LIMIT_S, "the reserve")
        site.kill()
        yield site
    finally:
        site.end()
        subprocess.run(["umount", "-l", data], check=True)


def fill(site: Site) -> Path:
    """Fill the disk to its last byte."""
    ballast = site.data.parent / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    assert os.statvfs(site.data).f_bavail == 0
    return ballast


@pytest.mark.parametrize("reserve", [True, False])
def test_a_start_on_a_full_disk_makes_room_and_records_once_there_is_some(site: Site, *, reserve: bool) -> None:
    if not reserve:
        (site.data / "ezrec.db-reserve").unlink()
    ballast = fill(site)
    site.start()
    site.wait_said("ready", times=2)
    deleted = [line["deleted"] for line in site.said("disk full, room is made")]
    assert deleted == (["reserve"] if reserve else ["footage that will not be published"])
    wait_until(lambda: not [path for path in files_below(site.data / "segments") if path.suffix == ".ts"], LIMIT_S,
               "the footage of the cancelled booking to go")
    ballast.unlink()
    site.book("match", 0.5, 3)
    site.wait_stage("match", "cleaned")
    site.check("match")
    assert site.stop() == 0
    assert "Traceback" not in site.errors


def test_a_full_disk_with_nothing_to_delete_is_said_in_one_sentence(site: Site) -> None:
    site.start()
    site.wait_said("ready", times=2)
    assert site.stop() == 0  # nothing of the store is open: SQLite needs room to begin
    (site.data / "ezrec.db-reserve").unlink(missing_ok=True)
    for path in files_below(site.data / "segments"):
        path.unlink()
    fill(site)
    site.start()
    assert site.wait_dead() == 1
    said = [line for line in site.errors.splitlines() if line.startswith("ezrec: ")]
    assert len(said) == 1
    assert said[0].endswith("free some room there")
    assert "Traceback" not in site.errors
