"""Film making: what is planned, rendered, joined and begun again; a long film costs no more than a short one."""

import asyncio
import hashlib
import json
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ezrec.domain.certificate import CalibrationUsed
from ezrec.domain.clock import SECOND
from ezrec.domain.errors import (
    BadMedia,
    ChunkDamaged,
    FootageAway,
    FootageGone,
    IndexOutgrown,
    ParkError,
    RetryError,
    WorkerDied,
    WorkerHung,
)
from ezrec.domain.events import FallbackTaken, FootageLost, GenerationBegun, Parked, RecipeFrozen
from ezrec.domain.film import (
    Calibrated,
    CameraShare,
    Canvas,
    ChunkJob,
    ChunkReport,
    Film,
    Intro,
    Recipe,
    Rung,
    View,
    ladder,
    tick_us,
)
from ezrec.domain.loss import Loss
from ezrec.domain.messages import UploadAbort
from ezrec.domain.planning import Chunk, Stretch
from ezrec.domain.stages import Stage
from ezrec.domain.timeline import clip, without
from ezrec.media.decode import SizeJob
from ezrec.store.rows import ChunkRow
from ezrec.tasks.film import growing
from ezrec.tasks.film.footage import FilmFootage
from ezrec.tasks.film.growing import GrowingFile, GrowingFiles
from ezrec.tasks.film.making import FilmMaking
from ezrec.tasks.film.plan import AHEAD, MOST_AGAIN, Plan, Planner
from tests.fakes.desk import MONO_S, RECIPE, Desk, a_desk
from tests.fakes.holding import Holding
from tests.fakes.waiting import eventually

S = SECOND
FOR_EVER = 1 << 62
SINGLE = Canvas(320, 180, (View("left", 0, 320, 180),))


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with a_desk(tmp_path) as one:
        yield one


class Pool:
    """Workers that write a line of text for a chunk, and fail as they are told."""

    def __init__(self) -> None:
        self.jobs: list[ChunkJob] = []
        self.fails: Callable[[ChunkJob], Exception | None] = lambda _: None
        self.sizes: list[SizeJob] = []
        self.sizes_fail: Callable[[SizeJob], Exception | None] = lambda _: None
        self.loses: Callable[[ChunkJob], tuple[Loss, ...]] = lambda _: ()

    async def run(self, fn: Callable[..., Any], arg: Any) -> Any:
        if isinstance(arg, SizeJob):
            self.sizes.append(arg)
            if error := self.sizes_fail(arg):
                raise error
            return 320, 180
        self.jobs.append(arg)
        for _ in range(3):
            await asyncio.sleep(0)  # no worker answers at once
        if error := self.fails(arg):
            raise error
        with_footage = ",".join(sorted(name for name, ours in arg.footage.items() if ours))
        text = f"[{arg.first_tick}+{arg.ticks} {arg.rung} {with_footage}]"
        Path(arg.out).write_text(text)
        cameras = {view.camera: CameraShare(shown=arg.ticks) for view in arg.recipe.canvas.views}
        return ChunkReport(len(text), cameras, both=arg.ticks, lost=self.loses(arg),
                           sha256=hashlib.sha256(text.encode()).hexdigest())

    def rendered(self) -> list[int]:
        return [job.first_tick for job in self.jobs]


class Joiner:
    """Puts the chunks' texts behind each other."""

    fails: Callable[[str], Exception | None] = lambda _: None

    def __init__(self, path: str, recipe: Recipe) -> None:
        self.path, self.recipe, self.chunks = Path(path), recipe, 0
        self.sums: dict[int, str] = {}

    @property
    def grown(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def index_bytes(self) -> int:
        return 100 * self.chunks

    def add(self, chunk: str, ticks: int, sha256: str = "") -> None:
        try:
            text = Path(chunk).read_text()
        except OSError as error:
            raise ChunkDamaged(str(error)) from error
        if sha256 and hashlib.sha256(text.encode()).hexdigest() != sha256:
            raise ChunkDamaged("damaged")
        with self.path.open("a") as file:
            if error := type(self).fails(text):
                file.write(text[:3])
                raise error
            file.write(text)
        self.chunks += 1

    def close(self) -> Any:
        if self.index_bytes() > self.recipe.index_reserve:
            raise IndexOutgrown("too long")
        self.sums[1] = hashlib.sha256(self.path.read_bytes() if self.chunks else b"").hexdigest()
        return SimpleNamespace(bytes=self.grown)

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)


class Recipes:
    """A recipe for the cameras there are."""

    rate = Fraction(30)
    recipe = replace(RECIPE, index_reserve=100_000)

    async def freeze(self, _: Film, sizes: dict[str, tuple[int, int]]) -> Recipe:
        return self.recipe if len(sizes) > 1 else replace(self.recipe, canvas=SINGLE)

    async def recast(self, _: Film, recipe: Recipe, sizes: dict[str, tuple[int, int]]) -> Recipe:
        return replace(recipe, canvas=self.recipe.canvas)


class Studio:
    """The film task on a film from 0 to 12 s on run 1, with chunks of 2 s."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.pool, self.recipes = Pool(), Recipes()
        self.known_s = 0.0
        self.restart()

    def restart(self, chunk_s: float = 2.0) -> None:
        self.films = FilmMaking(self.desk.store, self.desk.clock, self.desk.folder, self.pool, self.recipes, self,  # type: ignore[arg-type]
                                chunk_s, {"left": Fraction(30), "right": Fraction(30)}, 1, lambda: None)

    def known_to_us(self, _: int) -> int:
        return round((MONO_S + self.known_s) * S)

    def delivering(self) -> dict[str, tuple[int, int]]:
        return {}

    async def record(self, to_s: int, cameras: tuple[str, ...] = ("left", "right"), from_s: int = -1) -> None:
        """Segments of 1 s from `from_s`, known up to `to_s`."""
        for at in range(from_s, to_s):
            for camera in cameras:
                await self.desk.segment(1, at, 1, camera)
        self.known_s = to_s

    async def work(self) -> bool:
        return await self.films.work(await self.desk.now())

    async def text(self) -> str:
        film = await self.desk.now()
        return (self.desk.data / "films" / film.recording_id / f"film-{film.generation}.mp4").read_text()

    async def ticks(self) -> list[tuple[int, int]]:
        film = await self.desk.now()
        rows = await self.desk.store.chunks("match", film.generation)
        return [(row.chunk.first_tick, row.chunk.ticks) for row in rows]


def film_text(*chunks: tuple[int, int], cameras: str = "left,right") -> str:
    return "".join(f"[{first}+{ticks} full {cameras}]" for first, ticks in chunks)


@pytest.fixture
async def studio(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Studio:
    monkeypatch.setattr(growing, "Joiner", Joiner)
    monkeypatch.setattr(Joiner, "fails", staticmethod(lambda _: None))
    await desk.run()
    film = await desk.film(Stage.RECORDING, start_s=0, end_s=12)
    await desk.lay(film, 1)
    return Studio(desk)


WHOLE = tuple((first, 60) for first in range(0, 360, 60))


async def test_a_film_grows_while_it_is_recorded_and_is_closed_once_it_is_over(studio: Studio) -> None:
    grown = []
    for to_s in (1, 3, 6, 9):
        await studio.record(to_s, from_s=round(studio.known_s) or -1)
        assert not await studio.work()
        grown.append(len(await studio.ticks()))
    assert grown == [0, 1, 2, 4]
    assert await studio.text() == film_text(*WHOLE[:4])
    growth = studio.films.growth(await studio.desk.now())
    assert growth
    assert (growth.final, growth.closed) == (len(film_text(*WHOLE[:4])), False)
    await studio.record(13, from_s=9)
    await studio.desk.store.step("match", Stage.RECORDED)
    assert await studio.work()
    film = await studio.desk.now()
    assert film.stage is Stage.RENDERED
    assert film.certificate
    assert (film.certificate.film_seconds, film.certificate.gaps) == (12, ())
    assert await studio.text() == film_text(*WHOLE)
    assert film.bytes == len(film_text(*WHOLE))
    assert studio.pool.rendered() == [first for first, _ in WHOLE]  # each once
    assert not list((studio.desk.data / "films" / "rec-match").glob("chunk-*"))
    growth = studio.films.growth(film)
    assert growth
    assert growth.closed


async def test_after_a_crash_the_film_is_made_again_from_its_chunks_with_the_same_bytes(studio: Studio) -> None:
    await studio.record(7)
    await studio.work()
    before, rendered = await studio.text(), len(studio.pool.jobs)
    studio.restart()
    (studio.desk.data / "films" / "rec-match" / "film-1.mp4").write_text("torn")
    await studio.work()
    assert await studio.text() == before
    assert len(studio.pool.jobs) == rendered
    await studio.record(13, from_s=7)
    await studio.desk.store.step("match", Stage.RECORDED)
    assert await studio.work()
    assert await studio.text() == film_text(*WHOLE)


async def test_a_chunk_that_was_planned_but_not_rendered_is_rendered_after_a_restart(studio: Studio) -> None:
    await studio.record(7)

    class Killed(BaseException):
        pass

    studio.pool.fails = lambda job: Killed() if job.first_tick == 120 else None  # type: ignore[return-value]
    with pytest.raises(Killed):
        await studio.work()
    assert await studio.ticks() == list(WHOLE[:3])
    studio.pool.fails = lambda _: None
    studio.restart()
    await studio.work()
    assert await studio.text() == film_text(*WHOLE[:3])
    assert studio.pool.rendered() == [0, 60, 120, 120]


async def test_a_chunk_gets_the_segments_that_touch_it_and_no_others(studio: Studio) -> None:
    await studio.record(13)
    await studio.work()
    job = studio.pool.jobs[2]  # 4 to 6 s
    assert {camera: [(one.start_us - MONO_S * S) // S for one in ours] for camera, ours in job.footage.items()} == {
        "left": [3, 4, 5, 6], "right": [3, 4, 5, 6]}
    assert job.anchor_us == MONO_S * S


@pytest.mark.parametrize("error", [WorkerDied("killed"), BadMedia("broken"), MemoryError()])
async def test_a_chunk_that_fails_three_times_goes_to_the_next_rung_and_says_so(
        studio: Studio, error: Exception) -> None:
    studio.pool.fails = lambda job: error if job.first_tick == 60 and job.rung is Rung.FULL else None
    await studio.record(5)
    await studio.work()
    assert studio.pool.rendered() == [0, 60, 60, 60, 60]
    assert await studio.text() == film_text((0, 60)) + "[60+60 side_by_side left,right]"
    rows = await studio.desk.store.chunks("match", 1)
    assert [row.rung for row in rows] == [Rung.FULL, Rung.PLAIN]
    assert [event.detail["rung"] for event in await studio.desk.store.events("match") if event.kind == "fallback"] == [
        "side_by_side"]


async def test_a_chunk_that_fails_on_every_rung_parks_the_film_and_is_tried_again_from_the_top(studio: Studio) -> None:
    studio.pool.fails = lambda job: BadMedia("broken") if job.first_tick == 60 else None
    await studio.record(5)
    with pytest.raises(ParkError, match="chunk 2"):
        await studio.work()
    assert [job.rung for job in studio.pool.jobs[1:]] == [rung for rung in ladder(RECIPE.canvas) for _ in range(3)]
    assert (studio.desk.data / "segments").exists()
    studio.pool.fails = lambda _: None
    await studio.work()
    assert await studio.text() == film_text(*WHOLE[:2])


@pytest.mark.parametrize("error", [BadMedia("broken"), OSError(28, "No space left on device"), RetryError("later")])
async def test_a_chunk_that_is_half_joined_spoils_nothing(
        studio: Studio, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr(Joiner, "fails", staticmethod(lambda text: error if text.startswith("[60+") else None))
    await studio.record(7)
    with pytest.raises(ParkError if isinstance(error, BadMedia) else type(error)):
        await studio.work()
    monkeypatch.setattr(Joiner, "fails", staticmethod(lambda _: None))
    await studio.work()
    assert await studio.text() == film_text(*WHOLE[:3])
    again = 3 if isinstance(error, BadMedia) else 0  # a broken chunk is rendered again, and then when it is retried
    assert studio.pool.rendered().count(60) == 1 + again
    assert studio.pool.rendered().count(0) == 1


async def over(studio: Studio) -> None:
    await studio.record(13)
    await studio.desk.store.step("match", Stage.RECORDED)


@pytest.mark.parametrize("call", ["segments", "events", "step"])
async def test_a_hiccup_of_the_store_after_closing_costs_neither_the_film_nor_another_join(
        studio: Studio, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    await over(studio)
    closings: list[str] = []
    close, really = Joiner.close, getattr(studio.desk.store, call)

    def counted(joiner: Joiner) -> Any:
        closings.append(str(joiner.path))
        return close(joiner)

    async def locked(*args: Any, **more: Any) -> Any:
        if closings and len(tries) < 3:
            tries.append(call)
            raise RetryError("the store: database is locked")
        return await really(*args, **more)

    tries: list[str] = []
    monkeypatch.setattr(Joiner, "close", counted)
    monkeypatch.setattr(studio.desk.store, call, locked)
    for _ in range(3):
        with pytest.raises(RetryError, match="locked"):
            await studio.work()
    growth = studio.films.growth(await studio.desk.now())
    assert growth
    assert (growth.final, growth.closed) == (len(film_text(*WHOLE)), False)  # what is final may go up meanwhile
    assert await studio.work()
    assert (await studio.desk.now()).stage is Stage.RENDERED
    assert (await studio.text(), len(closings), studio.pool.rendered()) == (
        film_text(*WHOLE), 1, [first for first, _ in WHOLE])


async def test_a_film_whose_step_was_taken_as_the_recorder_stopped_keeps_its_file(
        studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    await over(studio)
    step = studio.desk.store.step

    async def stopped(*args: Any, **more: Any) -> Any:
        await step(*args, **more)
        raise asyncio.CancelledError

    monkeypatch.setattr(studio.desk.store, "step", stopped)
    with pytest.raises(asyncio.CancelledError):
        await studio.work()
    await studio.films.close()
    assert (await studio.desk.now()).stage is Stage.RENDERED
    assert await studio.text() == film_text(*WHOLE)


async def test_footage_that_comes_to_light_after_closing_is_joined_to_a_file_made_anew(
        studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    film = await studio.desk.now()
    await studio.record(7)
    await move(studio, 0, 6)
    await studio.desk.store.step("match", Stage.RECORDED)
    step = studio.desk.store.step
    monkeypatch.setattr(studio.desk.store, "step", locked_once(step))
    with pytest.raises(RetryError, match="locked"):
        await studio.work()
    for at in range(7, 13):
        for camera in ("left", "right"):
            await studio.desk.segment(1, at, 1, camera)
    await studio.desk.lay(film, 1)
    studio.known_s = 13
    for _ in range(4):
        with suppress(RetryError):
            await studio.work()
    assert (await studio.desk.now()).stage is Stage.RENDERED
    assert await studio.text() == film_text(*WHOLE)


def locked_once(call: Callable[..., Any]) -> Callable[..., Any]:
    """A call of the store's that finds it locked the first time."""
    errors = [RetryError("the store: database is locked")]

    async def called(*args: Any, **more: Any) -> Any:
        if errors:
            raise errors.pop()
        return await call(*args, **more)

    return called


async def test_a_chunk_is_never_joined_to_a_file_that_lacks_the_one_before_it(
        studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    await studio.record(7)
    join, released = GrowingFiles.join, []

    async def lose_it(files: GrowingFiles, film: Film, number: int, *rest: Any) -> None:
        if number == 3 and not released:
            released.append(number)
            await studio.films.release("match")
        await join(files, film, number, *rest)

    monkeypatch.setattr(GrowingFiles, "join", lose_it)
    with pytest.raises(RetryError, match="chunk 3 does not follow chunk 0"):
        await studio.work()
    await studio.work()
    assert await studio.text() == film_text(*WHOLE[:3])


async def test_a_film_that_is_begun_again_for_ever_is_parked_with_its_reason_and_a_moved_window_begins_the_count_anew(
        studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    await studio.record(7)
    await studio.work()
    monkeypatch.setattr("ezrec.domain.planning.broken", lambda *_: "it flickers")
    for at in range(MOST_AGAIN):
        film = await studio.desk.now()
        await studio.desk.store.put_span("match", replace(await first_span(studio), end_us=(MONO_S + 12) * S - at - 1))
        await studio.work()
        assert (await studio.desk.now()).generation == film.generation + 1
    await studio.desk.store.put_span("match", replace(await first_span(studio), end_us=(MONO_S + 11) * S))
    with pytest.raises(ParkError, match=f"begun again {MOST_AGAIN} times, the last time because it flickers"):
        await studio.work()
    await move(studio, 0, 10)
    await studio.work()
    assert (await studio.desk.now()).generation == MOST_AGAIN + 2


async def test_a_film_gives_way_after_each_chunk_and_goes_on_where_it_was(studio: Studio) -> None:
    gives_way = True
    told: list[int] = []
    studio.films = FilmMaking(studio.desk.store, studio.desk.clock, studio.desk.folder, studio.pool, studio.recipes,  # type: ignore[arg-type]
                              studio, 2.0, {"left": Fraction(30), "right": Fraction(30)}, 2,
                              lambda: told.append(len(studio.pool.jobs)), lambda _: gives_way)
    await over(studio)
    for rendered in (1, 2, 3):
        assert not await studio.work()  # not done: nobody who rests is to be tried for it
        assert (len(studio.pool.jobs), told[-1]) == (rendered, rendered)
    gives_way = False
    assert await studio.work()
    assert await studio.text() == film_text(*WHOLE)
    assert sorted(studio.pool.rendered()) == [first for first, _ in WHOLE]


async def test_a_film_that_is_called_off_is_not_rendered_to_its_end(studio: Studio) -> None:
    async def call_off() -> None:
        await studio.desk.store.step("match", Stage.CANCELLED)

    tasks: list[asyncio.Task[None]] = []
    before = set(threading.enumerate())
    studio.pool.fails = lambda job: (tasks.append(asyncio.create_task(call_off())) if not job.first_tick else None)  # type: ignore[func-returns-value]
    await studio.record(13)
    await studio.work()
    await asyncio.gather(*tasks)
    assert len(studio.pool.jobs) < len(WHOLE)
    await studio.films.release("match")
    assert studio.films.growth(await studio.desk.now()) is None
    await eventually(lambda: no_thread_joins(before))


async def no_thread_joins(before: set[threading.Thread]) -> bool:
    return not [thread for thread in set(threading.enumerate()) - before if thread.name.startswith("join")]


async def test_few_chunks_are_written_down_before_they_are_rendered(studio: Studio) -> None:
    studio.restart(chunk_s=0.1)
    await over(studio)
    ahead: list[int] = []
    write = studio.desk.store.plan_chunk

    async def plan_chunk(*args: Any, **more: Any) -> None:
        await write(*args, **more)
        ahead.append(sum(not row.rendered for row in await studio.desk.store.chunks("match", 1)))

    studio.desk.store.plan_chunk = plan_chunk  # type: ignore[method-assign]
    while not await studio.work():
        pass
    assert max(ahead) == AHEAD
    assert (await studio.desk.now()).stage is Stage.RENDERED
    assert len(studio.pool.jobs) == 120


async def test_a_chunk_whose_worker_hangs_gives_the_other_films_their_turn_and_is_a_failed_attempt(
        studio: Studio) -> None:
    studio.pool.fails = lambda job: WorkerHung("no answer") if job.first_tick == 60 and job.rung is Rung.FULL else None
    await studio.record(5)
    for attempt in (1, 2, 3):
        with pytest.raises(RetryError, match="chunk 2: no answer"):
            await studio.work()
        assert studio.pool.rendered() == [0, *[60] * attempt]
    await studio.work()
    assert await studio.text() == film_text((0, 60)) + "[60+60 side_by_side left,right]"


async def move(studio: Studio, start_s: float, end_s: float) -> None:
    film = await studio.desk.now()
    base = film.starts_at - round((await first_span(studio)).start_us - MONO_S * S)
    await studio.desk.store.move_film("match", base + round(start_s * S), base + round(end_s * S))
    span = await first_span(studio)
    await studio.desk.store.put_span("match", span.moved(round((MONO_S + start_s) * S), round((MONO_S + end_s) * S)))


async def first_span(studio: Studio) -> Any:
    return (await studio.desk.store.spans("match"))[0]


async def test_a_start_that_is_moved_begins_the_film_again_with_the_chunks_that_still_hold(studio: Studio) -> None:
    await studio.record(9)
    await studio.work()
    await studio.desk.store.name_upload("match", 1, "key-1", "up-1")
    await move(studio, 1, 12)
    await studio.work()
    film = await studio.desk.now()
    assert (film.generation, film.object_key, film.upload_id) == (2, None, None)
    assert [(message.kind, message.body) for message in await studio.desk.store.outbox("match")] == [
        ("abort", UploadAbort("key-1", "up-1"))]
    assert await studio.ticks() == [(30, 30), (60, 60), (120, 60), (180, 60)]
    assert studio.pool.rendered() == [0, 60, 120, 180, 30]
    assert await studio.text() == film_text((30, 30), (60, 60), (120, 60), (180, 60))
    assert not (studio.desk.data / "films" / "rec-match" / "film-1.mp4").exists()


async def test_chunks_that_still_hold_are_used_again_though_chunks_have_become_longer(studio: Studio) -> None:
    await studio.record(9)
    await studio.work()
    await move(studio, 1, 12)
    studio.restart(chunk_s=4)
    await studio.work()
    assert await studio.ticks() == [(30, 30), (60, 60), (120, 60)]
    assert studio.pool.rendered() == [0, 60, 120, 180, 30]


async def test_an_end_that_is_cut_back_too_late_begins_the_film_again(studio: Studio) -> None:
    await studio.record(9)
    await studio.work()
    await move(studio, 0, 5)
    await studio.desk.store.step("match", Stage.RECORDED)
    assert await studio.work()
    assert (await studio.desk.now()).generation == 2
    assert await studio.text() == film_text((0, 60), (60, 60), (120, 30))
    assert studio.pool.rendered() == [0, 60, 120, 180, 120]


async def test_an_end_that_is_extended_begins_nothing_again(studio: Studio) -> None:
    await studio.record(9)
    await studio.work()
    await move(studio, 0, 15)
    await studio.record(16, from_s=9)
    await studio.desk.store.step("match", Stage.RECORDED)
    assert await studio.work()
    assert (await studio.desk.now()).generation == 1
    assert await studio.text() == film_text(*WHOLE, (360, 60), (420, 30))


async def test_an_index_that_outgrows_its_reserve_gets_twice_the_room_in_a_new_generation(studio: Studio) -> None:
    studio.recipes.recipe = replace(Recipes.recipe, index_reserve=250)
    await studio.record(13)
    await studio.desk.store.step("match", Stage.RECORDED)
    for _ in range(3):
        assert await studio.work()  # begun again or closed: in any case there is more to do at once
    film = await studio.desk.now()
    assert film.recipe
    assert (film.stage, film.generation, film.recipe.index_reserve) == (Stage.RENDERED, 3, 1000)
    assert await studio.text() == film_text(*WHOLE)
    assert studio.pool.rendered() == [first for first, _ in WHOLE]  # chunks are used again


async def test_a_second_camera_that_returns_for_more_than_half_makes_the_film_wide(studio: Studio) -> None:
    await studio.record(4, ("left",))
    await studio.work()
    film = await studio.desk.now()
    assert film.recipe
    assert film.recipe.canvas == SINGLE
    await studio.record(10, from_s=4)
    await studio.work()
    assert (await studio.desk.now()).generation == 1  # 6 s of 12
    await studio.record(11, from_s=10)
    await studio.work()
    film = await studio.desk.now()
    assert film.recipe
    assert (film.generation, film.recipe.canvas) == (2, Recipes.recipe.canvas)
    assert await studio.text() == film_text((0, 60), cameras="left") + film_text(*WHOLE[1:5])
    assert studio.pool.rendered().count(0) == 2  # none looks as it did


async def test_a_film_without_footage_is_parked_once_its_window_is_over(studio: Studio) -> None:
    studio.known_s = 20
    assert not await studio.work()
    await studio.desk.store.step("match", Stage.RECORDED)
    with pytest.raises(ParkError, match="no footage"):
        await studio.work()


async def test_what_a_film_holds_is_let_go_when_it_is_forgotten(studio: Studio) -> None:
    await studio.record(9)
    await studio.work()
    await studio.films.forget("match")
    assert studio.films.growth(await studio.desk.now()) is None
    assert not (studio.desk.data / "films" / "rec-match" / "film-1.mp4").exists()
    await studio.work()
    assert await studio.text() == film_text(*WHOLE[:4])


# ---- what a disk makes of it


async def closed(studio: Studio) -> Film:
    """The film, recorded and closed."""
    await studio.record(13, from_s=round(studio.known_s) or -1)
    await studio.desk.store.step("match", Stage.RECORDED)
    assert await studio.work()
    return await studio.desk.now()


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


async def test_a_closed_film_keeps_the_checksums_of_what_was_joined(studio: Studio) -> None:
    film = await closed(studio)
    assert film.sums == (sha256(film_text(*WHOLE)),)
    growth = studio.films.growth(film)
    assert growth
    assert growth.sums == {1: film.sums[0]}


async def test_a_closed_film_that_is_damaged_is_made_again_from_its_footage_in_the_next_generation(
        studio: Studio) -> None:
    film = await closed(studio)
    await studio.films.make_again(film, "the film's file is gone")
    again = await studio.desk.now()
    assert (again.stage, again.generation, again.sums) == (Stage.RECORDED, 2, ())
    assert studio.films.growth(again) is None
    (studio.desk.data / "films" / "rec-match" / "film-1.mp4").write_text("damaged")
    assert await studio.work()
    again = await studio.desk.now()
    assert (again.stage, again.generation, again.sums) == (Stage.RENDERED, 2, film.sums)
    assert await studio.text() == film_text(*WHOLE)
    assert [path.name for path in (studio.desk.data / "films" / "rec-match").iterdir()] == ["film-2.mp4"]
    assert [job.first_tick for job in studio.pool.jobs] == 2 * [first for first, _ in WHOLE]


async def test_a_film_that_is_damaged_again_and_again_is_parked_until_a_person_retries(studio: Studio) -> None:
    film = await closed(studio)
    for generation in (2, 3, 4):
        await studio.films.make_again(film, "damaged")
        assert await studio.work()
        film = await studio.desk.now()
        assert (film.stage, film.generation) == (Stage.RENDERED, generation)
    with pytest.raises(ParkError, match=r"^damaged; it was made again 3 times already: look after the disk"):
        await studio.films.make_again(film, "damaged")
    assert await studio.desk.now() == film
    await studio.films.make_again(film, "damaged")
    assert (await studio.desk.now()).generation == 5


async def test_a_damaged_film_without_any_footage_left_stays_as_it_is(studio: Studio) -> None:
    film = await closed(studio)
    for path in (studio.desk.data / "segments").rglob("*.ts"):
        path.unlink()
    with pytest.raises(ParkError, match=r"^the film's file is gone, and none of its camera files is left"):
        await studio.films.make_again(film, "the film's file is gone")
    assert await studio.desk.now() == film
    assert (studio.desk.data / "films" / "rec-match" / "film-1.mp4").exists()


async def test_a_film_that_grows_and_is_damaged_is_joined_again_from_its_chunks(studio: Studio) -> None:
    await studio.record(7)
    await studio.work()
    film, path = await studio.desk.now(), studio.desk.data / "films" / "rec-match" / "film-1.mp4"
    path.write_text("damaged")
    await studio.films.make_again(film, "damaged")
    assert studio.films.growth(film) is None  # nobody reads it any more
    await studio.work()
    assert await studio.text() == film_text(*WHOLE[:3])
    assert studio.films.growth(film)
    assert studio.pool.rendered() == [0, 60, 120]
    assert (await studio.desk.now()).generation == 1


@pytest.mark.parametrize("there", ["other bytes", "nothing", "a folder"])
async def test_a_chunk_that_is_damaged_before_it_is_joined_is_rendered_again(studio: Studio, there: str) -> None:
    await studio.record(7)
    await studio.work()
    studio.restart()
    chunk = studio.desk.data / "films" / "rec-match" / "chunk-1-00002.mp4"
    chunk.unlink()
    if there == "a folder":
        chunk.mkdir()
        (chunk / "x").touch()
    elif there == "other bytes":
        chunk.write_text("[60+60 ")
    await studio.work()
    assert await studio.text() == film_text(*WHOLE[:3])
    assert studio.pool.rendered() == [0, 60, 120, 60]


@pytest.mark.parametrize("name", ["chunk-1-00001.mp4", "chunk-1-00003.mp4", "poster.jpg", "film-1.mp4"])
async def test_a_folder_where_a_file_of_a_film_is_about_to_be_written_goes_aside(studio: Studio, name: str) -> None:
    (studio.desk.data / "films" / "rec-match" / name / "inside").mkdir(parents=True)
    await studio.record(7)
    await studio.work()
    assert await studio.text() == film_text(*WHOLE[:3])
    assert [path.name for path in (studio.desk.data / "aside").iterdir()] == [f"films-rec-match-{name}"]


async def test_a_file_in_the_place_of_a_films_folder_goes_aside(studio: Studio) -> None:
    (studio.desk.data / "films").mkdir(exist_ok=True)
    (studio.desk.data / "films" / "rec-match").touch()
    await studio.record(7)
    await studio.work()
    assert await studio.text() == film_text(*WHOLE[:3])


async def test_a_chunk_of_an_older_version_is_joined_as_it_is(studio: Studio) -> None:
    await studio.record(7)
    await studio.work()
    studio.restart()
    report = (await studio.desk.store.chunks("match"))[1].report
    assert report
    await studio.desk.store.chunk_rendered("match", 1, 2, "films/rec-match/chunk-1-00002.mp4",
                                           replace(report, sha256=""), Rung.FULL)
    (studio.desk.data / "films" / "rec-match" / "chunk-1-00002.mp4").write_text("[as it is]")
    await studio.work()
    assert await studio.text() == film_text(WHOLE[0]) + "[as it is]" + film_text(WHOLE[2])


async def test_an_intro_that_is_not_what_was_made_is_left_out(studio: Studio, tmp_path: Path) -> None:
    clip = tmp_path / "intro.mp4"
    clip.write_text("[intro]")
    intro = Intro(str(clip), "0" * 64, 45, sound=False, made_sha256=sha256("[intro]"))
    studio.recipes.recipe = replace(Recipes.recipe, intro=intro)
    await studio.record(3)
    await studio.work()
    assert await studio.text() == "[intro]" + film_text(WHOLE[0])
    studio.restart()
    clip.write_text("[damag]")
    assert await studio.work()
    film = await studio.desk.now()
    assert film.recipe
    assert (film.generation, film.recipe.intro, film.recipe.skipped) == (2, None, ("intro: damaged",))


# ---- a long film (promise 7)

HOURS = 6
CHUNKS = HOURS * 1800


def fill(path: Path) -> None:
    """The rows of six hours: segments of 4 s, chunks of 2 s with reports."""
    share = CameraShare(shown=60, first_us=1, last_us=2)
    report = ChunkReport(77, {"left": share, "right": share}).dumps()
    start = MONO_S * S
    with closing(sqlite3.connect(path)) as db:
        db.executemany(
            "INSERT INTO segment (camera, run, start_us, end_us, frames, dropped, bytes, path)"
            " VALUES (?,1,?,?,120,0,9,?)",
            [(camera, start + at * 4 * S, start + (at + 1) * 4 * S, f"segments/1/{camera}/{at}.ts")
             for camera in ("left", "right") for at in range(HOURS * 900)])
        db.executemany(
            "INSERT INTO chunk (film, generation, number, run, start_us, first_tick, ticks, state, path, report)"
            " VALUES ('match', 1, ?, 1, ?, ?, 60, 'rendered', ?, ?)",
            [(at + 1, start + 2 * at * S, 60 * at, "films/rec-match/chunk.mp4", report) for at in range(CHUNKS)])
        db.commit()


async def test_a_film_of_six_hours_never_holds_the_loop_and_costs_no_more_than_a_short_one(
        desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growing, "Joiner", Joiner)
    await desk.run()
    film = await desk.film(Stage.RECORDING, start_s=0, end_s=HOURS * 3600 + 60, recipe=Recipes.recipe.dumps())
    await desk.lay(film, 1)
    fill(desk.data / "ezrec.db")
    studio = Studio(desk)
    folder = desk.data / "films" / "rec-match"
    folder.mkdir(parents=True)
    (folder / "chunk.mp4").write_text("x")
    studio.known_s = HOURS * 3600
    joined: list[int] = []

    async def join(_: GrowingFiles, film: Film, number: int, *__: Any) -> None:
        joined.append(number)

    with Holding() as first, monkeypatch.context() as patch:
        patch.setattr(GrowingFiles, "join", join)
        await studio.work()
    assert first.longest_s < 0.1, first.what
    studio.films._files._files["match"] = GrowingFile(
        1, Joiner(str(folder / "film-1.mp4"), Recipes.recipe), ThreadPoolExecutor(1), joined=CHUNKS)  # type: ignore[arg-type]
    reports = json.loads
    parsed: list[int] = []
    monkeypatch.setattr("ezrec.domain.film.json.loads", lambda text: (parsed.append(len(text)), reports(text))[1])
    with Holding() as steady:
        for _ in range(5):
            await studio.work()
    assert steady.longest_s < 0.05, steady.what
    assert steady.total_s / 5 < 0.05
    assert sum(parsed) < 5 * 5000  # recipes, but not thousands of reports
    print(f"first look: {first.longest_s * 1e3:.0f} ms at a time, {first.total_s * 1e3:.0f} ms in all; "
          f"then {steady.total_s / 5 * 1e3:.1f} ms a look, {steady.longest_s * 1e3:.1f} ms at a time")
    (folder / "chunk-x.mp4").write_text("x")
    await desk.store.step("match", Stage.RECORDED)
    studio.known_s = HOURS * 3600 + 70
    with Holding() as last:
        assert await studio.work()
    assert last.longest_s < 0.1, last.what
    print(f"closing: {last.longest_s * 1e3:.0f} ms at a time")


async def test_an_intro_that_cannot_be_joined_any_more_is_left_out_of_a_film_begun_again(
        studio: Studio, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clip = tmp_path / "intro.mp4"
    clip.write_text("[intro]")
    studio.recipes.recipe = replace(Recipes.recipe, intro=Intro(str(clip), "0" * 64, 45, sound=False))
    monkeypatch.setattr(Joiner, "fails", staticmethod(lambda text: BadMedia("broken") if "intro" in text else None))
    await studio.record(3)
    assert await studio.work()
    film = await studio.desk.now()
    assert film.recipe
    assert (film.generation, film.recipe.intro, film.recipe.skipped) == (2, None, ("intro: broken",))
    assert not await studio.work()
    assert await studio.text() == film_text(WHOLE[0])


async def test_an_old_chunk_of_another_run_does_not_end_a_new_one(studio: Studio) -> None:
    planner = Planner(None, None, None, studio.recipes, studio, 2.0, None)  # type: ignore[arg-type]  # none is asked
    stretch = Stretch(1, 0, 0, 10 * S, {"left": ((0, 10 * S),)}, FOR_EVER)
    old = ChunkRow(1, Chunk(1, 9, 30, 60), 0, rendered=True, path="x", rung=Rung.FULL, attempts=0)
    for run, ticks in ((9, 60), (1, 30)):
        plan = Plan(2, [], {(run, 30): old})
        assert planner._next_chunk(FilmFootage((), [stretch], {}), RECIPE, plan) == Chunk(1, 1, 0, ticks)


# ---- footage that cannot be read


def at(second: float) -> int:
    """The run-monotonic µs of a second of the film."""
    return MONO_S * S + round(second * S)


def lost_of(job: ChunkJob, cameras: tuple[str, ...], from_s: float, to_s: float) -> tuple[Loss, ...]:
    """What a worker would tell if these cameras' files gave nothing of a time: what the rows promise and it wants."""
    start = tick_us(job.anchor_us, job.first_tick, job.recipe.rate)
    return tuple(Loss(camera, piece.path, *hole, "is damaged") for camera in cameras for piece in job.footage[camera]
                 for hole in without(clip([(piece.start_us, piece.end_us)], max(start, at(from_s)), at(to_s)),
                                     piece.gaps))


def nobody_has(from_s: float, to_s: float) -> Callable[[ChunkJob], Exception | None]:
    def fails(job: ChunkJob) -> Exception | None:
        losses = lost_of(job, ("left", "right"), from_s, to_s)
        first, last = (tick_us(job.anchor_us, tick, job.recipe.rate) for tick in (
            job.first_tick, job.first_tick + job.ticks))
        return FootageGone(losses) if any(one.from_us < last and one.to_us > first for one in losses) else None

    return fails


async def finish(studio: Studio, from_s: int = -1) -> Film:
    await studio.record(13, from_s=from_s)
    await studio.desk.store.step("match", Stage.RECORDED)
    for _ in range(9):
        if (await studio.desk.now()).stage is Stage.RENDERED:
            break
        assert await studio.work()  # whatever was lost, there is more to do at once
    return await studio.desk.now()


async def story(studio: Studio) -> list[Any]:
    return [entry.event for entry in await studio.desk.store.events("match")
            if isinstance(entry.event, (FootageLost, Parked, GenerationBegun))]


def stated(film: Film) -> list[tuple[str, float, float]]:
    assert film.certificate
    return [(gap.camera, gap.seconds, gap.at_s) for gap in film.certificate.gaps]


async def test_what_no_camera_can_show_is_cut_out_and_stated(studio: Studio) -> None:
    studio.pool.fails = nobody_has(3, 7)
    film = await finish(studio)
    assert film.generation == 1
    assert film.certificate
    assert (film.certificate.film_seconds, stated(film)) == (8, [("both", 4, 3)])
    assert await studio.text() == film_text((0, 60), (60, 30), (210, 60), (270, 60), (330, 30))
    base = film.starts_at
    assert [(one.camera, (one.starts_at - base) / S, (one.ends_at - base) / S, one.reason)
            for one in await story(studio)] == [("left", 3, 7, "is damaged"), ("right", 3, 7, "is damaged")]
    (left, _) = await story(studio)
    assert left.files == tuple(f"segments/1/left/{at(second)}.ts" for second in (3, 4, 5, 6))
    assert {f"segments/1/left/{at(second)}.ts" for second in range(-1, 13)} <= studio.desk.files()  # all are kept


async def test_what_one_camera_can_show_is_made_with_the_other_half_filled(studio: Studio) -> None:
    studio.pool.loses = lambda job: lost_of(job, ("left",), 3, 7)
    film = await finish(studio)
    assert await studio.text() == film_text(*WHOLE)
    assert studio.pool.rendered() == [first for first, _ in WHOLE]  # each once
    assert stated(film) == [("left", 4, 3)]
    (told,) = await story(studio)  # once, though three chunks met it
    assert (told.camera, (told.starts_at - film.starts_at) / S, (told.ends_at - film.starts_at) / S) == ("left", 3, 7)


async def test_a_chunk_that_was_made_before_its_footage_was_lost_stays_in_the_film(studio: Studio) -> None:
    await studio.record(7)
    await studio.work()
    studio.pool.fails = nobody_has(0, 8)  # of which 0 to 6 s are made
    film = await finish(studio, from_s=7)
    assert (film.generation, stated(film)) == (1, [("both", 2, 6)])
    assert await studio.text() == film_text(*WHOLE[:3], (240, 60), (300, 60))


async def test_chunks_that_were_made_behind_what_is_lost_are_used_again_in_the_next_generation(studio: Studio) -> None:
    await studio.record(13)
    await studio.work()
    await studio.desk.store.chunk_failed("match", 1, 2, Rung.FULL, 0)  # its file was damaged, as its footage is
    studio.restart()
    studio.pool.fails = nobody_has(2, 4)
    film = await finish(studio)
    assert (film.generation, stated(film)) == (2, [("both", 2, 2)])
    assert studio.pool.rendered() == [*(first for first, _ in WHOLE), 60]
    assert GenerationBegun(2, "footage that was planned is no longer there") in await story(studio)


async def test_footage_that_is_away_is_waited_for_a_minute_and_counts_as_no_attempt(studio: Studio) -> None:
    def fails(job: ChunkJob) -> Exception | None:
        if job.first_tick != 60:
            return None
        return nobody_has(2, 4)(job) if job.accept_loss else FootageAway("x is missing: the disk may come back")

    studio.pool.fails = fails
    await studio.record(13)
    for _ in range(12):
        with pytest.raises(FootageAway, match="x is missing"):
            await studio.work()
        studio.desk.clock.forward(5 * S)
    rows = await studio.desk.store.chunks("match", 1)
    assert [(row.rung, row.attempts) for row in rows[:2]] == [(Rung.FULL, 0)] * 2
    assert await story(studio) == []
    film = await finish(studio)
    assert stated(film) == [("both", 2, 2)]


async def test_footage_that_comes_back_in_time_costs_nothing(studio: Studio) -> None:
    studio.pool.fails = lambda job: FootageAway("x is missing")
    await studio.record(13)
    await studio.desk.store.step("match", Stage.RECORDED)
    for _ in range(3):
        with pytest.raises(FootageAway):
            await studio.work()
        studio.desk.clock.forward(15 * S)
    studio.pool.fails = lambda _: None
    assert await studio.work()
    film = await studio.desk.now()
    assert await studio.text() == film_text(*WHOLE)
    assert (stated(film), await story(studio)) == ([], [])
    assert not any(job.accept_loss for job in studio.pool.jobs)


async def test_a_loss_that_is_told_again_and_again_parks_the_film_with_its_cause(studio: Studio) -> None:
    losses = (Loss("left", str(studio.desk.data / "segments" / "1" / "left" / f"{at(3)}.ts"), at(3), at(4), "is odd"),)
    studio.pool.fails = lambda job: FootageGone(losses) if job.first_tick == 60 else None
    await studio.record(7)
    assert await studio.work()
    with pytest.raises(ParkError, match=r"3.*\.ts is odd"):
        await studio.work()


async def test_a_film_of_which_nothing_can_be_read_is_parked_with_that_reason(studio: Studio) -> None:
    studio.pool.fails = nobody_has(-1, 13)
    await studio.record(13)
    await studio.desk.store.step("match", Stage.RECORDED)
    for _ in range(4):
        assert await studio.work()  # they find it out piece by piece
    with pytest.raises(ParkError, match="nothing that was recorded in the window can be read"):
        await studio.work()


async def test_a_camera_of_which_nothing_can_be_read_is_left_out_of_the_film(studio: Studio) -> None:
    def sizes_fail(job: SizeJob) -> Exception | None:
        return None if job.camera == "left" else FootageGone(
            [Loss("right", one.path, one.start_us, one.end_us, "is damaged") for one in job.footage])

    studio.pool.sizes_fail = sizes_fail
    film = await finish(studio)
    assert film.certificate
    assert film.certificate.layout == "single"
    (told,) = await story(studio)
    assert (told.camera, len(told.files)) == ("right", 14)
    assert [job.camera for job in studio.pool.sizes] == ["left", "right", "left"]


async def test_a_size_that_is_away_is_waited_for(studio: Studio) -> None:
    studio.pool.sizes_fail = lambda job: None if job.accept_loss else FootageAway("x.ts is missing")
    await studio.record(3)
    with pytest.raises(FootageAway):
        await studio.work()
    studio.desk.clock.forward(60 * S)
    assert not await studio.work()
    assert await studio.text() == film_text(WHOLE[0])


async def test_chunks_whose_files_are_damaged_are_rendered_again_at_once_and_count_as_no_failure(
        studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    await studio.record(7)
    await studio.work()
    for chunk in (studio.desk.data / "films" / "rec-match").glob("chunk-*"):
        chunk.write_text("torn" + chunk.read_text())
    monkeypatch.setattr(Joiner, "fails", staticmethod(lambda text: BadMedia("torn") if "torn" in text else None))
    studio.restart()
    assert not await studio.work()
    assert await studio.text() == film_text(*WHOLE[:3])
    assert studio.pool.rendered() == [0, 60, 120, 0, 60, 120]
    assert [(row.rung, row.attempts) for row in await studio.desk.store.chunks("match", 1)] == [(Rung.FULL, 0)] * 3


async def test_a_chunk_that_comes_out_damaged_three_times_in_a_row_parks_the_film(
        studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    torn = BadMedia("torn")
    monkeypatch.setattr(Joiner, "fails", staticmethod(lambda text: torn if text.startswith("[60+") else None))
    await studio.record(5)
    with pytest.raises(ParkError, match="chunk 2 cannot be joined, though it was rendered again: torn"):
        await studio.work()
    assert studio.pool.rendered() == [0, 60, 60, 60]
    monkeypatch.setattr(Joiner, "fails", staticmethod(lambda _: None))
    assert not await studio.work()  # a person sent it on its way again
    assert await studio.text() == film_text(*WHOLE[:2])


# ---- the panorama


def _panorama(desk: Desk) -> Recipe:
    used = Calibrated(str(desk.data / "calibration.json"), "0" * 64, ((320, 180), (320, 180)), "c0ffee", "good", 0.9,
                      0.5)
    return replace(Recipes.recipe, canvas=replace(Recipes.recipe.canvas, layout="panorama", calibration=used))


async def test_a_panorama_that_fails_is_cross_faded_then_plain_then_of_one_camera(studio: Studio) -> None:
    studio.recipes.recipe = _panorama(studio.desk)
    await studio.record(13)
    await studio.desk.store.step("match", Stage.RECORDED)
    works = {60: "feather", 120: "side_by_side", 180: "left_only"}
    studio.pool.fails = lambda job: (
        BadMedia("broken") if job.first_tick in works and job.rung != works[job.first_tick] else None)
    await studio.work()
    film = await studio.desk.now()
    assert film.certificate
    assert [(one.chunk, one.rung) for one in film.certificate.fallbacks] == [
        (2, "feather"), (3, "side_by_side"), (4, "left_only")]
    events = [entry.event for entry in await studio.desk.store.events("match")]
    taken = [(event.chunk, event.rung) for event in events if isinstance(event, FallbackTaken)]
    assert taken == [(2, "feather"), (3, "feather"), (3, "side_by_side"), (4, "feather"), (4, "side_by_side"),
                     (4, "left_only")]
    assert film.certificate.drawn == "panorama"
    assert film.certificate.calibration == CalibrationUsed("c0ffee", "good", 0.9, 0.5)


async def test_a_film_that_cannot_be_a_panorama_says_so_in_its_story_and_its_certificate(studio: Studio) -> None:
    studio.recipes.recipe = replace(Recipes.recipe, fallback="the cameras are not calibrated")
    await studio.record(13)
    await studio.desk.store.step("match", Stage.RECORDED)
    await studio.work()
    film = await studio.desk.now()
    assert film.certificate
    assert [(one.chunk, one.rung) for one in film.certificate.fallbacks] == [(0, "feather")]
    events = [entry.event for entry in await studio.desk.store.events("match")]
    assert [event for event in events if isinstance(event, FallbackTaken)] == [
        FallbackTaken(0, "feather", "the cameras are not calibrated")]


async def test_a_film_of_a_layout_that_this_version_does_not_know_waits_for_one_that_does(studio: Studio) -> None:
    later = replace(Recipes.recipe, canvas=replace(Recipes.recipe.canvas, layout="sphere"))
    await studio.desk.store.update_film("match", RecipeFrozen(), recipe=later.dumps())
    await studio.record(13)
    with pytest.raises(ParkError, match="'sphere', which this version does not know: install the version that began"):
        await studio.work()
    assert not studio.pool.jobs
