"""Pre-flight: which bookings are looked at, when, and where it is told."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ezrec.adapters.cameras.inspection import Verdict
from ezrec.domain.clock import SECOND
from ezrec.domain.events import Unknown
from ezrec.domain.stages import Stage
from ezrec.tasks.recording import preflight as preflight_module
from ezrec.tasks.recording.preflight import Preflight
from tests.fakes.desk import Desk, a_desk

ROOM = 1 << 50


class Lane:
    def __init__(self) -> None:
        self.verdict: Verdict | None = Verdict([], 60, 0, 30.0, 120.0, 1.6, None, b"a picture")
        self.references: list[Path | None] = []

    async def try_out(self, reference: Path | None) -> Verdict | None:
        self.references.append(reference)
        return self.verdict


class Tower:
    """The pre-flight of a desk with two such lanes."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.left, self.right = Lane(), Lane()
        self.free = ROOM
        settings = desk.settings(cameras={"preflight_s": 600, "lead_s": 3}, disk={"min_free_mb": 100})
        recording: Any = SimpleNamespace(lanes={"left": self.left, "right": self.right})
        self.task = Preflight(desk.store, desk.clock, desk.folder, settings, recording, lambda _: self.free)

    async def look(self, forward_s: float = 0) -> int:
        """Let time pass and look; how often the left camera was looked at."""
        self.desk.clock.forward(round(forward_s * SECOND))
        await self.task.run_once()
        return len(self.left.references)

    async def results(self, kind: str = "pre-flight") -> list[dict[str, Any]]:
        return [event.detail for event in await self.desk.store.events("match") if event.kind == kind]


@pytest.fixture
async def tower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Tower]:
    monkeypatch.setattr(preflight_module, "clock_is_set", lambda: True)
    async with a_desk(tmp_path) as desk:
        yield Tower(desk)


async def test_a_booking_is_looked_at_once_and_in_time(tower: Tower) -> None:
    await tower.desk.film(Stage.BOOKED, start_s=700, end_s=800)
    assert [await tower.look(step) for step in (0, 99, 1, 100)] == [0, 0, 1, 1]
    assert await tower.results() == [{"problems": []}]


@pytest.mark.parametrize(("start_s", "looks"), [(13, 0), (13.001, 1)])
async def test_a_booking_that_begins_too_soon_is_left_to_the_recorder(tower: Tower, start_s: float, looks: int) -> None:
    await tower.desk.film(Stage.BOOKED, start_s=start_s, end_s=800)
    assert await tower.look() == looks  # the cameras are wanted 3 s before, and a pre-flight may take 10 s


async def test_a_pre_flight_that_ended_with_the_process_is_not_begun_again(tower: Tower) -> None:
    await tower.desk.film(Stage.BOOKED, start_s=300, end_s=800)
    await tower.desk.store.record("match", Unknown("pre-flight begun"))
    assert await tower.look() == 0
    assert tower.task.newest is None


async def test_the_newest_is_known_again_after_a_restart(tower: Tower) -> None:
    await tower.desk.film(Stage.BOOKED, start_s=300, end_s=800)
    tower.right.verdict = Verdict(["the picture is black"])
    await tower.look()
    found = tower.task.newest
    assert found is not None
    assert (found.booking_id, list(found.problems)) == ("match", ["camera right: the picture is black"])
    again = Tower(tower.desk)
    assert (await again.look(), again.task.newest) == (0, found)


async def test_what_is_wrong_is_told_with_the_camera_it_is_wrong_with(tower: Tower) -> None:
    await tower.desk.film(Stage.BOOKED, start_s=300, end_s=800)
    tower.right.verdict = Verdict(["the picture is black: is the lens covered?"])
    tower.free = 50 << 20
    await tower.look()
    assert await tower.results() == [{"problems": ["camera right: the picture is black: is the lens covered?",
                                                "the disk has 50 MiB left, 100 are wanted"]}]


async def test_a_clock_that_nobody_sets_is_told(tower: Tower, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight_module, "clock_is_set", lambda: False)
    await tower.desk.film(Stage.BOOKED, start_s=300, end_s=800)
    await tower.look()
    assert "the clock is not synchronised" in (await tower.results())[0]["problems"][0]


async def test_the_first_good_picture_becomes_the_reference_and_stays_it(tower: Tower) -> None:
    await tower.desk.film(Stage.BOOKED, start_s=300, end_s=800)
    tower.right.verdict = Verdict(["the picture is blurred"], picture=b"blurred")
    await tower.look()
    reference = tower.desk.data / "reference"
    assert [(path.name, path.read_bytes()) for path in reference.iterdir()] == [("left.jpg", b"a picture")]
    assert (tower.desk.data / "check" / "right.jpg").read_bytes() == b"blurred"
    await tower.desk.film(Stage.BOOKED, "next", start_s=400, end_s=800)
    tower.left.verdict = Verdict([], picture=b"another picture")
    await tower.look()
    assert (reference / "left.jpg").read_bytes() == b"a picture"
    assert tower.left.references == [reference / "left.jpg"] * 2


async def test_a_camera_that_was_wanted_before_it_could_be_judged_is_no_problem(tower: Tower) -> None:
    await tower.desk.film(Stage.BOOKED, start_s=300, end_s=800)
    tower.left.verdict = None
    await tower.look()
    assert await tower.results() == [{"problems": []}]


async def test_a_pre_flight_waits_between_two_looks(tower: Tower, monkeypatch: pytest.MonkeyPatch) -> None:
    task, looks = tower.task, list[int]()

    async def look() -> None:
        looks.append(1)

    monkeypatch.setattr(task, "run_once", look)
    running = asyncio.create_task(task.run())
    for _ in range(20):
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait({running})
    assert len(looks) == 1
