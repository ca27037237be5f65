"""The wall clock steps, summer time begins and ends, a run goes on for 30 hours: no film is cut, stretched or lost.

Time is made up wherever that can be: the cameras then deliver what is due whenever the clock is moved, and recorder,
segments, store and film making are the real ones. What a film shows is told by its frame counters, which are the
cameras' monotonic time.
"""

import asyncio
import json
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ezrec.config import Settings
from ezrec.domain.clock import SECOND
from ezrec.domain.stages import Stage
from ezrec.store import Store
from ezrec.supervisor import Supervisor
from tests.fakes.clocks import MadeUpClock, SteppingClock
from tests.fakes.court import SETTING, court
from tests.fakes.waiting import eventually

TRUE_START = datetime.fromisoformat("2026-11-20T18:00:00+00:00").timestamp()
HOUR = 3600.0
START_S = 100_000.0  # where on the monotonic clock the booking truly begins
LONG_S = 6.0
TO_1970 = -TRUE_START
BEFORE, AT, DURING = "before", "at the start of", "during"


@pytest.mark.parametrize(("when", "ahead", "at", "shows"), [
    # `ahead`: by how much the clock is wrong before it is put right; all times count from the booking's true start
    (BEFORE, 1.0, -10, (0, LONG_S)),
    (BEFORE, -1.0, -10, (0, LONG_S)),
    (BEFORE, HOUR, -HOUR - 10, (0, LONG_S)),
    (BEFORE, -HOUR, -10, (0, LONG_S)),
    (BEFORE, TO_1970, -10, (0, LONG_S)),
    (AT, 1.0, -1, (-1, LONG_S)),  # it had begun: it keeps its start, and its end follows
    (AT, 1.0, -1.25, (0, LONG_S)),  # it was about to begin
    (AT, -1.0, 0, (0, LONG_S)),
    (AT, HOUR, -HOUR - 0.5, (0, LONG_S)),
    (AT, -HOUR, 0, (0, LONG_S)),
    (AT, TO_1970, 0, (0, LONG_S)),
    (DURING, 1.0, 2, (-1, LONG_S)),
    (DURING, -1.0, 4, (1, LONG_S + 1)),  # never shorter than booked
    (DURING, -HOUR, HOUR + 3, (HOUR, HOUR + LONG_S)),
    (DURING, -TO_1970, 3 + TO_1970, (TO_1970, TO_1970 + LONG_S)),  # back to 1970: the clock is broken, not corrected
])
async def test_a_film_is_whole_when_the_clock_steps(tmp_path: Path, when: str, ahead: float, at: float,
                                                    shows: tuple[float, float]) -> None:
    true_start = START_S + max(0, ahead)
    first = min(at, -ahead) - 4
    clock = MadeUpClock(true_start + first - 30, TRUE_START + first - 30 + ahead)
    async with court(tmp_path, clock) as here:
        await here.book("match", TRUE_START, TRUE_START + LONG_S)
        await here.jump(true_start + first)
        await here.to(true_start + at)
        clock.step(-ahead)
        await here.look()
        if not here.recording.active and shows[0] - 4 > at:
            await here.jump(true_start + shows[0] - 4)
        await here.to(true_start + shows[0] + 1)
        certificate, begins, ends = await here.made("match", true_start + shows[1])

        waited = 0.45 if when == AT else 0  # for a camera that was not wanted a moment ago
        assert shows[0] <= begins - true_start <= shows[0] + waited
        assert ends - true_start == pytest.approx(shows[1], abs=0.01)
        assert len([gap for gap in certificate["gaps"] if gap["at_s"] > 0]) == 0
        assert [lane.restarts for lane in here.recording.lanes.values()] == [0, 0]
        assert len(await here.store.offsets(here.recording.run_id)) == 2


async def test_a_clock_that_goes_back_an_hour_in_mid_film_makes_it_longer_until_it_is_corrected(tmp_path: Path) -> None:
    async with court(tmp_path, MadeUpClock(START_S - 5, TRUE_START - 5)) as here:
        await here.book("match", TRUE_START, TRUE_START + LONG_S)
        await here.to(START_S + 3)
        here.clock.step(-HOUR)
        await here.to(START_S + LONG_S + 2)
        assert await here.span_s("match") == (START_S, START_S + HOUR + LONG_S)
        assert (await here.film("match")).stage is Stage.RECORDING
        here.clock.step(HOUR)
        await here.to(START_S + LONG_S + 3)
        _, begins, ends = await here.made("match", START_S + LONG_S + 3)
        assert (begins, ends) == (START_S, START_S + LONG_S)


async def test_a_booking_missed_by_a_clock_that_was_wrong_is_recorded_once_the_clock_is_right(tmp_path: Path) -> None:
    async with court(tmp_path, MadeUpClock(START_S - 30, TRUE_START - 30 + HOUR)) as here:
        await here.book("match", TRUE_START, TRUE_START + LONG_S)
        await here.look()
        assert (await here.film("match")).stage is Stage.MISSED
        here.clock.step(-HOUR)
        await here.to(START_S + 3)
        _, begins, ends = await here.made("match", START_S + LONG_S)
        assert (begins, ends) == (START_S, START_S + LONG_S)


async def test_films_of_a_run_of_30_hours_are_right_also_behind_the_wrap_of_a_transport_streams_clock(
        tmp_path: Path) -> None:
    wrap_s = (1 << 33) / 90_000  # 26.5 h (ISO/IEC 13818-1, 2.4.2.2)
    starts = {"evening": HOUR, "wrap": round(wrap_s) - 3.0, "next-night": 30 * HOUR}
    boot = TRUE_START - 60
    async with court(tmp_path, MadeUpClock(60, TRUE_START)) as here:
        for booking_id, begins in starts.items():
            await here.book(booking_id, boot + begins, boot + begins + LONG_S)
        for booking_id, begins in starts.items():
            await here.jump(begins - 3)
            await here.to(begins + 1)
            certificate, *shown = await here.made(booking_id, begins + LONG_S)
            assert shown == [begins, begins + LONG_S]
            assert (certificate["gaps"], certificate["film_seconds"]) == ([], LONG_S)
            await here.to(begins + LONG_S + 3)
        wrap_us = round(wrap_s * SECOND)
        across = await here.store.segments(1, wrap_us, wrap_us + 1)
        assert [one.camera for one in across] == ["left", "right"]
        assert len(await here.store.offsets(1)) == 1


async def test_summer_time_and_steps_of_the_clock_do_nothing_to_a_film_on_a_device_that_woke_in_1970(
        tmp_path: Path) -> None:
    """The real supervisor, its cameras and workers; only the wall clock is made up."""
    file = tmp_path / "bookings.json"
    night = {"id": "night", "date": "2027-03-28", "start_time": "01:59:58", "end_time": "03:00:01"}
    file.write_text(json.dumps([night]), "utf-8")
    settings = Settings(**SETTING | {"paths": {"data": tmp_path / "data"}, "site": {"timezone": "Europe/Berlin"},
                                     "bookings": {"poll_s": 0.3, "file": file}})
    clock = SteppingClock(wall_s=5)
    supervisor = Supervisor(settings, clock)
    recorder = asyncio.create_task(supervisor.run())
    await asyncio.wait_for(supervisor.ready.wait(), 30)
    store = await Store.open(tmp_path / "data" / "ezrec.db")

    async def stepped() -> int:
        return len(await store.offsets(1))

    async def reached(stage: Stage) -> bool:
        film = await store.film("night")
        return film is not None and film.stage is stage

    try:
        clock.set(datetime.fromisoformat("2027-03-28T01:59:55.5+01:00").timestamp())
        await eventually(partial(reached, Stage.RECORDING), 30, "the film to begin")
        for steps, seconds in ((3, HOUR), (4, -HOUR)):
            clock.step(seconds)
            await eventually(lambda steps=steps: _equals(stepped, steps), 10, "the step to be noticed")
        await eventually(partial(reached, Stage.CLEANED), 60, "the film to be published")
        film = await store.film("night")
    finally:
        await store.close()
        supervisor.stop()
        assert await recorder == 0
    assert film
    assert film.certificate
    assert film.certificate.gaps == ()
    assert film.certificate.film_seconds == pytest.approx(3, abs=0.1)
    assert film.certificate.window == ("2027-03-28T00:59:58.000+00:00", "2027-03-28T01:00:01.000+00:00")


async def _equals(ask: Callable[[], Any], wanted: int) -> bool:
    return bool(await ask() == wanted)
