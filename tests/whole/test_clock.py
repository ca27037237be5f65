"""The wall clock steps, summer time begins and ends, a run goes on for 30 hours: no film is cut, stretched or lost.

Time is made up wherever that can be: the cameras then deliver what is due whenever the clock is moved, and recorder,
segments, store and film making are the real ones. What a film shows is told by its frame counters, which are the
cameras' monotonic time.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ezrec.adapters.cameras.counters import Seen, look_at
from ezrec.adapters.segments import SegmentWriter
from ezrec.config import Settings
from ezrec.domain.booking import Booking
from ezrec.domain.clock import SECOND
from ezrec.domain.film import Film
from ezrec.domain.stages import CHANGEABLE, Stage
from ezrec.store import Store
from ezrec.supervisor import Supervisor
from ezrec.tasks.bookings import Bookings
from ezrec.tasks.film import FilmMaking
from ezrec.tasks.lane import Lane
from ezrec.tasks.recipe import Recipes
from ezrec.tasks.recording import Recording
from tests.fakes.camera import SIZE, ScriptedCamera
from tests.fakes.clocks import MadeUpClock, SteppingClock
from tests.fakes.site import SETTINGS
from tests.fakes.waiting import eventually

RATE = Fraction(5)
LEAD_S = 1.0
STEP_US = SECOND // 4  # by which the made-up clock goes on: a look at the windows each time
HOUR = 3600.0
TRUE_START = datetime.fromisoformat("2026-11-20T18:00:00+00:00").timestamp()
SETTING = {name: dict(keys) for name, keys in SETTINGS.items()}
SETTING["cameras"] |= {"width": SIZE[0], "height": SIZE[1]}


class HereAndNow:
    """In the stead of the worker processes: a thread."""

    async def run(self, what: Callable[..., Any], *args: Any) -> Any:
        return await asyncio.to_thread(what, *args)


@dataclass
class Court:
    """The recorder on made-up time. Times are monotonic seconds."""

    clock: MadeUpClock
    store: Store
    cameras: list[ScriptedCamera]
    recording: Recording
    bookings: Bookings
    films: FilmMaking
    data: Path

    async def book(self, booking_id: str, starts_s: float, ends_s: float) -> None:
        """Book a window given in UTC seconds."""
        await self.store.put_booking(
            Booking(booking_id, "cli", round(starts_s * SECOND), round(ends_s * SECOND), "scheduled"))

    async def to(self, mono_s: float) -> None:
        """Let time pass until `mono_s`, in small steps, each followed by a look at bookings, windows and footage."""
        await self.look()
        while (left := round(mono_s * SECOND) - self.clock.mono_us()) > 0:
            self.clock.forward(min(STEP_US, left))
            for camera in self.cameras:
                camera.catch_up()
            await eventually(self._written, what="the frames to be written")
            await self.look()

    async def jump(self, mono_s: float) -> None:
        """Let time pass in one go; nothing is being recorded."""
        assert not self.recording.active
        self.clock.forward(round(mono_s * SECOND) - self.clock.mono_us())
        await self.look()

    async def look(self) -> None:
        await self.bookings.follow()
        await self.recording.run_once()
        await eventually(self._settled, what="the cameras to start or stop")

    async def _written(self) -> bool:
        lanes = self.recording.lanes.values()
        counts = [(lane._writer.counters, lane.late_frames) for lane in lanes]
        return [camera.frames for camera in self.cameras] == [
            one.frames + one.discarded + one.overflowed + late for one, late in counts] and all(
            not lane._unrecorded for lane in lanes)

    async def _settled(self) -> bool:
        return all(camera.streaming if lane._wanted.is_set() else lane.idle
                   for camera, lane in zip(self.cameras, self.recording.lanes.values(), strict=True))

    async def film(self, booking_id: str) -> Film:
        film = await self.store.film(booking_id)
        assert film
        return film

    async def span_s(self, booking_id: str) -> tuple[float, float]:
        """Where the film's window lies on the run."""
        span = (await self.store.spans(booking_id))[-1]
        return span.start_us / SECOND, span.end_us / SECOND

    async def made(self, booking_id: str, mono_s: float) -> tuple[dict[str, Any], float, float]:
        """Let time pass until the film is recorded, make it, and look at it.

        Returns its certificate and from when to when it shows the court, in monotonic seconds, to a frame's exactness.
        """
        while (await self.film(booking_id)).stage in CHANGEABLE:
            assert self.clock.mono_us() < (mono_s + 5) * SECOND, "the film does not end"
            await self.to(self.clock.mono_us() / SECOND + 0.5)
        film = await self.film(booking_id)
        assert film.stage is Stage.RECORDED
        while film.stage is Stage.RECORDED:
            await self.films.work(film)
            film = await self.film(booking_id)
        seen = look_at(self.data / "films" / film.recording_id / "film-1.mp4", 0, ["left", "right"])
        assert film.certificate
        for camera, share in film.certificate["cameras"].items():
            assert (share["repeats"], share["skips"], share["drops"]) == (0, 0, 0)
            counted(seen, camera)
        first, last = counted(seen, "left")
        return film.certificate, first / float(RATE), (last + 1) / float(RATE)


def counted(seen: Seen, camera: str) -> tuple[int, int]:
    """The first and last frame of a film that shows all that lie between, in order."""
    counters = [one for one in seen.counters[camera] if one is not None]
    assert counters == list(range(counters[0], counters[0] + len(counters)))
    return counters[0], counters[-1]


@asynccontextmanager
async def court(data: Path, clock: MadeUpClock) -> AsyncIterator[Court]:
    """A recorder whose run has just begun."""
    settings = Settings(**SETTING | {"cameras": SETTING["cameras"] | {"lead_s": LEAD_S}})
    store = await Store.open(data / "ezrec.db", clock=clock, create=True)
    cameras = [ScriptedCamera(name, clock, RATE) for name in ("left", "right")]

    def lane_of(camera: ScriptedCamera, run: int, sealed: Callable[..., None]) -> Lane:
        def writer(on_sealed: Callable[..., None], on_failed: Callable[..., None]) -> SegmentWriter:
            return SegmentWriter(data / "segments", camera.name, run, rate=RATE, segment_us=SECOND,
                                 queue_bytes=1 << 24, clock=clock, sealed=on_sealed, failed=on_failed)

        return Lane(camera, writer, clock, settings.recorder, sealed)

    recording = Recording(store, clock, data, settings, [partial(lane_of, camera) for camera in cameras], "boot",
                          lambda _: 1 << 40, lambda: None)
    bookings = Bookings(store, clock, [], settings.bookings, ZoneInfo("Europe/Berlin"), lambda: None)
    pool: Any = HereAndNow()

    films = FilmMaking(store, data, pool, Recipes(settings, data, pool, RATE), recording, 2.0,
                       {camera.name: RATE for camera in cameras}, 1, lambda: None)
    await recording.begin()
    tasks = [asyncio.create_task(lane.run()) for lane in recording.lanes.values()]
    tasks.append(asyncio.create_task(recording._write_rows()))
    try:
        yield Court(clock, store, cameras, recording, bookings, films, data)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await recording.stop()
        await films.close()
        await store.close()


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
    assert film.certificate["gaps"] == []
    assert film.certificate["film_seconds"] == pytest.approx(3, abs=0.1)
    assert film.certificate["window"] == ["2027-03-28T00:59:58.000+00:00", "2027-03-28T01:00:01.000+00:00"]


async def _equals(ask: Callable[[], Any], wanted: int) -> bool:
    return bool(await ask() == wanted)
