"""Cooling: rendering waits for a hot machine while a match is recorded, and no longer; it is said once."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from ezrec.domain.clock import SECOND
from ezrec.domain.events import RenderingWaits
from ezrec.domain.film import Film
from ezrec.domain.stages import Stage
from ezrec.tasks.cooling import COOLER_C, REST_US, Cooling
from tests.fakes.desk import Desk, a_desk

HOT_C = 80.0
Machine = tuple[int | None, float | None, str]
COOL: Machine = (900, 60.0, "throttled before")
UNKNOWN: Machine = (None, None, "")


class Rig:
    """A machine that is set by hand."""

    def __init__(self, desk: Desk) -> None:
        self.desk, self.recording, self.machine, self.changes = desk, True, COOL, 0
        self.rendered: list[str] = []
        self.cooling = Cooling(desk.store, desk.clock, HOT_C, lambda: self.recording, lambda: self.machine,
                               self.changed)

    def changed(self) -> None:
        self.changes += 1

    def waits(self, machine: Machine, after_s: float = 5) -> bool:
        self.machine = machine
        self.desk.clock.forward(round(after_s * SECOND))
        self.cooling.run_once()
        return self.cooling.waits

    async def render(self, film: Film) -> bool:
        self.rendered.append(film.booking_id)
        return True


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with a_desk(tmp_path / "data") as desk:
        yield Rig(desk)


@pytest.mark.parametrize(("machine", "waits"), [
    (COOL, False), (UNKNOWN, False), ((900, HOT_C - 0.1, ""), False), ((900, HOT_C, ""), True),
    ((900, None, "throttled now"), True), ((900, 60.0, "under-voltage before, soft temperature limit now"), True),
    ((900, 60.0, "under-voltage now"), False),
])
def test_rendering_waits_for_a_machine_that_is_hot_or_slowed_down_for_its_heat(
        rig: Rig, machine: Machine, waits: bool) -> None:
    assert rig.waits(machine) is waits
    rig.cooling._since_us = None
    rig.recording = False
    assert not rig.waits(machine)  # nothing is recorded: the film goes first


def test_it_goes_on_when_the_machine_is_cooler_for_certain(rig: Rig) -> None:
    assert rig.waits((900, 85.0, ""))
    assert rig.waits((900, HOT_C - COOLER_C, ""), REST_US / SECOND)
    assert rig.waits((900, 60.0, "throttled now"))
    assert rig.waits(UNKNOWN)
    assert not rig.changes
    assert not rig.waits((900, HOT_C - COOLER_C - 0.1, ""))
    assert rig.changes == 1


def test_it_goes_on_when_the_recording_is_over_however_hot_it_is(rig: Rig) -> None:
    assert rig.waits((900, 85.0, "throttled now"))
    rig.recording = False
    assert not rig.waits((900, 90.0, "throttled now"))
    assert rig.changes == 1


def test_a_machine_on_the_edge_is_said_once_for_each_recording(rig: Rig) -> None:
    def warnings() -> list[str]:
        with capture_logs() as lines:
            for _ in range(3):
                assert rig.waits((900, 85.0, ""))
                assert rig.waits(COOL)  # but not for a moment only
                assert not rig.waits(COOL, REST_US / SECOND)
        return [line["event"] for line in lines if line["log_level"] == "warning"]

    assert len(warnings()) == 1
    assert not warnings()
    rig.recording = False
    assert not rig.waits(COOL)
    rig.recording = True
    assert len(warnings()) == 1


async def test_a_film_that_waits_says_so_once_in_its_story_and_is_rendered_afterwards(rig: Rig) -> None:
    film = await rig.desk.film(Stage.RECORDING)
    rig.waits((900, 85.0, ""))
    assert [await rig.cooling.work(rig.render, film) for _ in range(3)] == [False] * 3
    assert not rig.rendered
    rig.waits(COOL, REST_US / SECOND)
    assert await rig.cooling.work(rig.render, film)
    assert rig.rendered == [film.booking_id]
    told = [entry.event for entry in await rig.desk.store.events(film.booking_id)]
    assert told.count(RenderingWaits()) == 1
