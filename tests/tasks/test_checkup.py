"""Check-ups: when the recorder looks at everything by itself, when it does not, and what becomes of what it finds."""

from collections.abc import AsyncIterator
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from ezrec.domain.alerts import AlertKind
from ezrec.domain.clock import SECOND
from ezrec.domain.stages import Stage
from ezrec.store.alerts import Checkup
from ezrec.tasks.alerts.looks import Situation, findings
from ezrec.tasks.checkup import AGAIN_US, AHEAD_US, WEEK_US, Checkups
from tests.fakes.desk import WALL_S, Desk, a_desk

HOUR_US = 3600 * SECOND


class Court:
    """A desk with check-ups whose looks are counted. It is 08:00 UTC, 09:00 at the court."""

    def __init__(self, desk: Desk) -> None:
        self.desk, self.made, self.problems, self.recording = desk, 0, list[str](), False
        self.during = ""  # what happens while the first look is made
        self.task = Checkups(desk.store, desk.clock, ZoneInfo("Europe/Berlin"), 3.0, lambda: self.recording,
                             [self.look, self.look])

    async def look(self) -> list[str]:
        self.made += 1
        if self.during == "a booking begins":
            self.recording = True
        return self.problems

    async def checked(self, hours: float = 0) -> bool:
        """Whether a check-up is made after so many hours."""
        self.desk.clock.forward(round(hours * HOUR_US))
        before = self.made
        await self.task.run_once()
        return self.made > before


@pytest.fixture
async def court(tmp_path: Path) -> AsyncIterator[Court]:
    assert WALL_S % 86400 == 8 * 3600
    async with a_desk(tmp_path / "data") as desk:
        yield Court(desk)


async def test_a_check_up_is_made_an_hour_after_the_first_start_and_then_every_week(court: Court) -> None:
    assert not await court.checked()
    assert not await court.checked(0.9)
    assert await court.checked(0.2)
    assert not await court.checked(24 * 6.9)
    assert await court.checked(24 * 0.2)
    newest = await court.desk.store.newest_checkup()
    assert newest == Checkup(court.desk.clock.wall_us(), ())


async def test_one_that_found_something_is_an_alert_until_the_next_one_an_hour_later_finds_nothing(
        court: Court) -> None:
    court.problems = ["storage: the bucket is gone"]
    assert await court.checked(1.1)
    newest = await court.desk.store.newest_checkup()
    assert newest
    seen = Situation(court.desk.clock.wall_us(), failed_checks=newest.problems)
    assert [one.kind for one in findings(seen, court.desk.settings())] == [AlertKind.CHECK]
    assert not await court.checked(0.9)
    court.problems = []
    assert await court.checked(0.2)
    assert not await court.checked(1.1)


async def test_before_the_first_booking_of_a_day_one_is_made_and_before_the_others_none(court: Court) -> None:
    for number, (hour, stage) in enumerate([(1, Stage.CANCELLED), (2, Stage.BOOKED), (4, Stage.BOOKED)]):
        await court.desk.film(stage, f"b{number}", hour * 3600, hour * 3600 + 1800)
    await court.desk.store.put_checkup(Checkup(court.desk.clock.wall_us(), ()))
    assert not await court.checked(1.6)
    assert await court.checked(0.1)  # 18 min before b1
    assert not await court.checked(0.1)
    await court.desk.store.step("b1", Stage.RECORDING)
    assert not await court.checked(1.9)  # 18 min before b2
    await court.desk.film(Stage.BOOKED, "next day", 17 * 3600, 18 * 3600)  # 08:42 in the morning, at the court
    assert await court.checked(16.7)


async def test_none_is_made_while_a_booking_is_recorded_or_about_to_be(court: Court) -> None:
    await court.desk.film(Stage.BOOKED, "soon", 3600 + 200, 7200)
    assert not await court.checked(1)  # due, but cameras are wanted in 197 s
    court.recording = True
    assert not await court.checked(WEEK_US / HOUR_US)
    court.recording = False
    assert await court.checked()


async def test_a_booking_that_begins_ends_a_check_up_and_nothing_is_told_of_it(court: Court) -> None:
    court.during, court.problems = "a booking begins", ["half a look"]
    assert await court.checked(1.1)
    assert court.made == 1
    assert await court.desk.store.newest_checkup() is None
    court.during, court.recording, court.problems = "", False, []
    assert await court.checked()


async def test_a_check_up_of_a_clock_that_was_wrong_keeps_no_other_from_being_made(court: Court) -> None:
    await court.desk.store.put_checkup(Checkup(court.desk.clock.wall_us() + 4 * WEEK_US, ("old",)))
    assert await court.checked(1.1)
    assert not await court.checked(1.1)
    newest = await court.desk.store.newest_checkup()
    assert newest
    assert newest.problems == ()
    assert AHEAD_US < AGAIN_US
