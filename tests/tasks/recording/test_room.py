"""Whether the disk has room for a film that has not begun."""

from pathlib import Path

import pytest

from ezrec.domain.clock import SECOND
from ezrec.tasks.recording.room import Room

GIB, MINUTE = 1 << 30, 60 * SECOND


@pytest.mark.parametrize(("wanted", "minutes", "least"), [
    (10 * GIB, 60, 10 * GIB), (10 * GIB, 300, 10 * GIB), (10 * GIB, 30, 5 * GIB), (10 * GIB, 1, 2 * GIB),
    (GIB, 1, GIB), (0, 60, 0)])
def test_a_film_of_an_hour_needs_what_is_wanted_and_a_shorter_one_its_share(
        wanted: int, minutes: int, least: int) -> None:
    for free in (least, least - 1):
        room = Room(Path(), lambda _, free=free: free, wanted)  # type: ignore[misc]
        assert room.is_there_for("match", minutes * MINUTE) is (free >= least)
