"""What the program leaves on the disk is closed to strangers, whatever umask it was started with."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.site import Site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    one = Site(tmp_path)
    yield one
    one.end()


def open_ones(root: Path) -> list[str]:
    """Files and folders of other modes than they should have."""
    found = []
    for path in (root, *root.rglob("*")):
        try:
            mode = stat.S_IMODE(path.lstat().st_mode)
        except FileNotFoundError:  # the recorder is at work
            continue
        if mode != (0o750 if path.is_dir() else 0o640):
            found.append(f"{path.relative_to(root)} {mode:o}")
    return found


@pytest.mark.parametrize("umask", [0, 0o077])
def test_a_match_leaves_nothing_that_strangers_can_open(site: Site, umask: int) -> None:
    before = os.umask(umask)
    try:
        site.start()
    finally:
        os.umask(before)
    site.wait_said("ready")
    site.book("match", 1, 4)
    site.wait_said("segment sealed", times=2)
    assert open_ones(site.data) == []
    site.wait_stage("match", "cleaned")
    site.command("films", "list")
    assert site.stop() == 0
    assert open_ones(site.data) == []
    assert site.films_in_library()
