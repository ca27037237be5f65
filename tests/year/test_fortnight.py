"""A fortnight at a court in fast time; `make year` plays a whole year."""

import random
from collections.abc import Iterator

import pytest

from tests.year.almanac import FORTNIGHT
from tests.year.flat import grown
from tests.year.play import Year


@pytest.fixture
def fortnight() -> Iterator[Year]:
    random.seed(1)
    year = Year(FORTNIGHT, seed=1)
    try:
        yield year
    finally:
        year.close()


def test_each_booking_of_a_fortnight_is_published_once_and_nothing_grows(fortnight: Year) -> None:
    fortnight.run()
    assert fortnight.wrong == []
    assert grown(fortnight.samples) == []
    happened = {what: fortnight.tally[what] for what in (
        "network comes", "disk free", "upgrade", "power cut", "clock set")}
    assert happened == {"network comes": FORTNIGHT.outages, "disk free": FORTNIGHT.full_disks,
                        "upgrade": FORTNIGHT.upgrades, "power cut": FORTNIGHT.starts_in_1970,
                        "clock set": FORTNIGHT.starts_in_1970}
    assert FORTNIGHT.days - 2 <= fortnight.recorder.kept["house kept"] <= FORTNIGHT.days + 1
    assert fortnight.recorder.kept["database copied and checked"] >= FORTNIGHT.days - 3  # not on a full disk
    assert fortnight.recorder.project
    assert fortnight.recorder.project.archives > 20 * (FORTNIGHT.days - 5)  # more than one for two hours
    assert fortnight.recorder.checkups >= FORTNIGHT.days - 2
    assert fortnight.tally["films published"] > FORTNIGHT.bookings * 0.9
