"""A court on made-up time: the cameras deliver what is due whenever the clock is moved, all else is the real recorder.

    async with court(folder, MadeUpClock(mono_s, wall_s)) as here:
        await here.book("match", starts_s, ends_s)      # UTC seconds
        await here.jump(mono_s); await here.to(mono_s)  # nothing is recorded meanwhile; in small steps
        certificate, begins, ends = await here.made("match", mono_s)
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from ezrec.adapters.cameras.synthetic.counters import Seen, look_at
from ezrec.adapters.segments import SegmentWriter
from ezrec.config import Settings
from ezrec.domain.booking import Booking
from ezrec.domain.clock import SECOND
from ezrec.domain.film import Film
from ezrec.domain.stages import CHANGEABLE, Stage
from ezrec.folders import DataFolder
from ezrec.store import Store
from ezrec.tasks.bookings import Bookings
from ezrec.tasks.film.making import FilmMaking
from ezrec.tasks.film.recipe import Recipes
from ezrec.tasks.recording.lane import Lane
from ezrec.tasks.recording.windows import Recording
from tests.fakes.camera import SIZE, ScriptedCamera
from tests.fakes.clocks import MadeUpClock
from tests.fakes.site import SETTINGS
from tests.fakes.waiting import eventually

RATE = Fraction(5)
LEAD_S = 1.0
STEP_US = SECOND // 4  # by which the made-up clock goes on: a look at the windows each time
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
            not lane._watermark._unrecorded for lane in lanes)

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
        for camera, share in film.certificate.to_json()["cameras"].items():
            assert (share["repeats"], share["skips"], share["drops"]) == (0, 0, 0)
            counted(seen, camera)
        first, last = counted(seen, "left")
        return film.certificate.to_json(), first / float(RATE), (last + 1) / float(RATE)


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

    recording = Recording(store, clock, DataFolder(data), settings, [partial(lane_of, camera) for camera in cameras],
                          "boot", lambda _: 1 << 40, lambda: None)
    bookings = Bookings(store, clock, [], settings.bookings, ZoneInfo("Europe/Berlin"), lambda: None)
    pool: Any = HereAndNow()

    recipes = Recipes(settings, DataFolder(data), pool, RATE, {})
    films = FilmMaking(store, clock, DataFolder(data), pool, recipes, recording, 2.0,
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
