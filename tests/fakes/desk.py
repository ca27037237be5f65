"""One data folder with a real store and a made-up clock, and films brought to any stage, for tests of single tasks."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

from ezrec.config import Settings
from ezrec.domain.clock import SECOND
from ezrec.domain.film import Canvas, EncoderOptions, Film, Recipe, View
from ezrec.domain.stages import STEPS, Stage
from ezrec.domain.timeline import Segment, begin_span
from ezrec.folders import DataFolder
from ezrec.store import Store
from tests.fakes.clocks import MadeUpClock

HOUR = 3600 * SECOND
MONO_S, WALL_S = 5000, 1_800_000_000
RECIPE = Recipe(Fraction(30), Canvas(640, 180, (View("left", 0, 320, 180), View("right", 320, 320, 180))),
                EncoderOptions(), part_size=1000, index_reserve=1500)


class Desk:
    """Where a task works."""

    def __init__(self, data: Path, store: Store, clock: MadeUpClock) -> None:
        self.data, self.store, self.clock = data, store, clock
        self.folder = DataFolder(data)
        self.offset_us = clock.wall_us() - clock.mono_us()

    def settings(self, **sections: Any) -> Settings:
        """The defaults with some keys changed: film={"keep_segments_h": 1}."""
        return Settings(paths={"data": self.data}, **sections)

    async def film(self, stage: Stage, booking_id: str = "match", start_s: float = -60, end_s: float = -1,
                   **columns: Any) -> Film:
        """A film in `stage`, its window given in seconds from now."""
        now = self.clock.wall_us()
        window = now + round(start_s * SECOND), now + round(end_s * SECOND)
        await self.store.add_film(booking_id, f"rec-{booking_id}", *window)
        ways: dict[Stage, tuple[Stage, ...]] = {Stage.BOOKED: ()}
        while stage not in ways:
            ways = {to: (*way, to) for at, way in ways.items() if at not in (Stage.CANCELLED, Stage.MISSED)
                    for to in STEPS[at] if to not in ways} | ways
        for to in ways[stage]:
            await self.store.step(booking_id, to)
        return await self.store.update_film(booking_id, **columns)

    async def now(self, booking_id: str = "match") -> Film:
        """The film as its row is now."""
        film = await self.store.film(booking_id)
        assert film
        return film

    async def run(self) -> int:
        """A new run on this clock."""
        return await self.store.begin_run("boot", 0, self.offset_us)

    async def lay(self, film: Film, run: int) -> None:
        """Lay a film's window onto a run."""
        await self.store.put_span(film.booking_id, begin_span(run, film.starts_at, film.ends_at, self.offset_us))

    async def segment(self, run: int, start_s: float, seconds: float = 4, camera: str = "left", **more: Any) -> Segment:
        """A segment with its file and its row, its start given in seconds from now."""
        start = self.clock.mono_us() + round(start_s * SECOND)
        path = self.data / "segments" / str(run) / camera / f"{start}.ts"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"footage")
        segment = Segment(camera, run, start, start + round(seconds * SECOND), 30, 0, 7,
                          str(path.relative_to(self.data)), **more)
        await self.store.add_segment(segment)
        return segment

    def files(self) -> set[str]:
        """All files but the store's, below the data folder."""
        return {str(path.relative_to(self.data)) for path in self.data.rglob("*")
                if path.is_file() and not path.name.startswith("ezrec.db")}


async def not_damaged(film: Film, reason: str) -> None:
    """For an upload: no film is to be made again."""
    raise AssertionError(f"{film.booking_id}: {reason}")


@asynccontextmanager
async def a_desk(data: Path) -> AsyncIterator[Desk]:
    """A desk whose store is closed in the end."""
    clock = MadeUpClock(MONO_S, WALL_S)
    data.mkdir(parents=True, exist_ok=True)
    store = await Store.open(data / "ezrec.db", clock=clock, create=True, migrate=True)
    try:
        yield Desk(data, store, clock)
    finally:
        await store.close()
