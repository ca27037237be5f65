"""Film making: plans chunks as footage becomes known, has them rendered, and joins them into the growing film.

`work` does for one film all that can be done now and says whether it is finished; it is called again whenever there
is more footage. Everything it needs after a crash is in the store and in files: the film's file itself is made again
from its chunks.
"""

import asyncio
import json
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from ezrec import files, logs
from ezrec.adapters.workers import RenderPool, WorkerDied
from ezrec.domain import planning
from ezrec.domain.certificate import Evidence, Rendered, certify
from ezrec.domain.clock import SECOND
from ezrec.domain.errors import BadMedia, IndexOutgrown, ParkError
from ezrec.domain.film import ChunkJob, ChunkReport, Film, Recipe, Rung, tick_us
from ezrec.domain.planning import Chunk
from ezrec.domain.stages import Stage
from ezrec.domain.timeline import HOLD_US, Segment, Span, clip, length
from ezrec.media.chunk import render
from ezrec.media.join import Joiner
from ezrec.media.probe import probe
from ezrec.store import Store
from ezrec.store.rows import ChunkRow
from ezrec.tasks.film.footage import FilmFootage, KnownFootage
from ezrec.tasks.film.recipe import Recipes

log = logs.get("film")

RENDER_LIMIT_S = 600  # for a chunk, waiting for a worker included: some hundred times what it takes
ATTEMPTS = 3  # on each rung of the fallback ladder


class IntroLost(BadMedia):
    """The intro that a film began with cannot be joined any more."""


class Recorder(Protocol):
    """What film making needs to know of the recorder."""

    def known_to_us(self, run: int) -> int:
        """The time up to which a run's footage is known, run-monotonic µs."""

    def delivering(self) -> dict[str, tuple[int, int]]:
        """The cameras that deliver frames now, with their picture's size."""


@dataclass(frozen=True)
class Growth:
    """How far a film's file is: `final` bytes from the reserve on will not change any more."""

    path: Path
    final: int
    closed: bool


@dataclass
class GrowingFile:
    """A film's file while it grows: its joiner, on a thread of its own."""

    generation: int
    joiner: Joiner
    thread: ThreadPoolExecutor
    joined: int = -1  # the number of the newest chunk in it; 0 is the intro

    async def drop(self) -> None:
        """Give the file up, on the joiner's thread."""
        await _on(self.thread, self.joiner.discard)  # there, because it may be adding a chunk
        self.thread.shutdown(wait=False)


@dataclass
class _Plan:
    """The chunks of a film's generation in order, as their rows are; nobody else writes these."""

    generation: int
    rows: list[ChunkRow]
    old: dict[tuple[int, int], ChunkRow]  # rendered in older generations, by run and first tick
    validated_spans: Sequence[Span] = ()  # the spans for which they were found to be the film's beginning


class FilmMaking:
    """The film task. `grown` is called whenever a film's file grew or closed."""

    def __init__(self, store: Store, data: Path, pool: RenderPool, recipes: Recipes, recorder: Recorder,
                 chunk_s: float, camera_rates: dict[str, Fraction], workers: int,
                 grown: Callable[[], None]) -> None:
        self._store = store
        self._data = data
        self._pool = pool
        self._recipes = recipes
        self._recorder = recorder
        self._chunk_s = chunk_s
        self._rates = camera_rates
        self._workers = workers
        self._grown = grown
        self._files: dict[str, GrowingFile] = {}
        self._known = KnownFootage(store, data, recorder.known_to_us)
        self._plans: dict[str, _Plan] = {}

    def growth(self, film: Film) -> Growth | None:
        """How far the film's file is; None if there is none yet."""
        path = self._film_path(film)
        if film.stage in (Stage.RENDERED, Stage.UPLOADED, Stage.PUBLISHED):
            return Growth(path, film.bytes or 0, closed=True)
        growing = self._files.get(film.booking_id)
        if growing is None or growing.generation != film.generation:
            return None
        return Growth(path, growing.joiner.grown, closed=False)

    async def close(self) -> None:
        """Drop the files that grow; they are made again from their chunks."""
        for booking_id in list(self._files):
            await self._drop_file(booking_id)

    async def forget(self, booking_id: str) -> None:
        """Keep nothing of a film, neither in memory nor a file that grows."""
        self._plans.pop(booking_id, None)
        self._known.forget(booking_id)
        await self._drop_file(booking_id)

    async def _drop_file(self, booking_id: str) -> None:
        growing = self._files.pop(booking_id, None)
        if growing:
            await growing.drop()

    async def work(self, film: Film) -> bool:
        """Do for a film that is recording or recorded what can be done now.

        Returns True if the film is to be looked at again at once: it is rendered, or was begun again.

        Raises:
            ParkError: a chunk cannot be rendered on any rung, or there is nothing to make a film of.
        """
        try:
            return await self._work(film)
        except BaseException:
            self._plans.pop(film.booking_id, None)  # the rows are read again
            raise

    async def _work(self, film: Film) -> bool:
        footage = await self._known.of(film.booking_id)
        recipe = film.recipe or await self._begin(film, footage)
        if recipe is None:
            return self._nothing_yet(film)
        film = await self._still_holds(replace(film, recipe=recipe), footage)
        plan = await self._plan(film, footage)
        try:
            await self._render_and_join(film, plan, footage)
            if film.stage is not Stage.RECORDED or not planning.complete(footage.stretches):
                return False
            if not plan.rows:
                return self._nothing_yet(film)
            await self._close_film(film, plan, footage)
        except IndexOutgrown:
            await self._enlarge_reserve(film)
        except IntroLost as lost:
            await self._leave_intro_out(film, lost)
        return True

    # ---- what there is

    def _nothing_yet(self, film: Film) -> bool:
        if film.stage is Stage.RECORDED:
            raise ParkError("there is no footage in the window; the camera files are kept")
        return False

    async def _begin(self, film: Film, footage: FilmFootage) -> Recipe | None:
        """Freeze the recipe once a first chunk can be planned."""
        rate = self._recipes.rate
        if next(planning.plan(footage.stretches, rate, self._chunk_ticks(rate), ()), None) is None:
            return None
        sizes = await self._sizes(film, footage)
        recipe = await self._recipes.freeze(film, sizes)
        log.info("recipe frozen", booking=film.booking_id, width=recipe.canvas.width, height=recipe.canvas.height,
                 cameras=[view.camera for view in recipe.canvas.views], intro=recipe.intro is not None,
                 logos=[logo.name for logo in recipe.logos])
        await self._store.update_film(film.booking_id, "recipe", recipe=recipe.dumps())
        return recipe

    async def _sizes(self, film: Film, footage: FilmFootage) -> dict[str, tuple[int, int]]:
        """The picture sizes of all cameras that have footage in the film or deliver now."""
        sizes = self._recorder.delivering() if film.stage is Stage.RECORDING else {}
        for stretch in footage.stretches:
            for camera, ours in footage.files[stretch.run].items():
                if camera not in sizes and clip(stretch.seen[camera], stretch.start_us, stretch.end_us):
                    facts = await self._pool.run(probe, ours[0].path)
                    sizes[camera] = (facts.width, facts.height)
        return dict(sorted(sizes.items()))

    def _chunk_ticks(self, rate: Fraction) -> int:
        return max(1, round(self._chunk_s * rate))

    # ---- plan

    async def _still_holds(self, film: Film, footage: FilmFootage) -> Film:
        """Begin the next generation if what was planned is no longer the film's beginning."""
        recipe, plan = _recipe(film), await self._rows(film)
        if self._wider(film, footage):
            recipe = await self._recipes.recast(film, recipe, await self._sizes(film, footage))
            return await self._next_generation(film, "the second camera returned for more than half of the window",
                                               recipe=recipe.dumps())
        if plan.validated_spans != footage.spans:
            chunks = [row.chunk for row in plan.rows]
            if not await asyncio.to_thread(planning.holds, footage.stretches, recipe.rate, chunks):
                return await self._next_generation(film, "the window was moved or cut back")
            plan.validated_spans = footage.spans
        return film

    async def _rows(self, film: Film) -> _Plan:
        plan = self._plans.get(film.booking_id)
        if plan is None or plan.generation != film.generation:
            every = await self._store.chunks(film.booking_id)
            plan = self._plans[film.booking_id] = _Plan(
                film.generation, [row for row in every if row.generation == film.generation],
                {(row.chunk.run, row.chunk.first_tick): row for row in every
                 if row.generation < film.generation and row.rendered})
        return plan

    def _wider(self, film: Film, footage: FilmFootage) -> bool:
        """Whether a film that began with one camera has seen the other for more than half of its window."""
        recipe = _recipe(film)
        if len(recipe.canvas.views) > 1:
            return False
        ours = recipe.canvas.views[0].camera
        others = sum(length(clip(seen, stretch.start_us, stretch.end_us))
                     for stretch in footage.stretches for camera, seen in stretch.seen.items() if camera != ours)
        return others * 2 > film.ends_at - film.starts_at

    async def _next_generation(self, film: Film, reason: str, **columns: str) -> Film:
        log.warning("film begun again", booking=film.booking_id, reason=reason, generation=film.generation + 1)
        new = await self._store.next_generation(film.booking_id, reason, **columns)
        await self._drop_file(film.booking_id)
        await asyncio.to_thread(files.remove, self._film_path(film))
        return new

    async def _plan(self, film: Film, footage: FilmFootage) -> _Plan:
        """Write the rows of all chunks that can be rendered now; chunks of older generations are used again."""
        recipe, plan = _recipe(film), await self._rows(film)
        spans = {span.run: span for span in footage.spans}
        while chunk := self._next_chunk(footage, recipe, plan):
            again = plan.old.get((chunk.run, chunk.first_tick))
            start_us = tick_us(spans[chunk.run].anchor_us, chunk.first_tick, recipe.rate)
            path = f"films/{film.recording_id}/chunk-{film.generation}-{chunk.number:05d}.mp4"
            log.debug("planning chunk", booking=film.booking_id, chunk=chunk.number)
            await self._store.plan_chunk(film.booking_id, film.generation, chunk, start_us, path)
            row = ChunkRow(film.generation, chunk, start_us, rendered=False, path=path, rung=Rung.FULL, attempts=0)
            if again and again.report and again.chunk.ticks == chunk.ticks and self._same_look(again, recipe):
                await self._store.chunk_rendered(film.booking_id, film.generation, chunk.number, again.path,
                                                 again.report, again.rung)
                row = replace(row, rendered=True, path=again.path, rung=again.rung, report_json=again.report_json)
            log.debug("chunk planned", booking=film.booking_id, chunk=chunk.number, run=chunk.run, ticks=chunk.ticks)
            plan.rows.append(row)
        return plan

    def _next_chunk(self, footage: FilmFootage, recipe: Recipe, plan: _Plan) -> Chunk | None:
        """The next chunk: an old one's ticks where one begins, else up to where the next old one begins."""
        old, newest = plan.old, [row.chunk for row in plan.rows[-1:]]
        chunk = next(planning.plan(footage.stretches, recipe.rate, self._chunk_ticks(recipe.rate), newest), None)
        if chunk is None or not old:
            return chunk
        end = chunk.first_tick + chunk.ticks
        begins = [first for run, first in old if run == chunk.run and chunk.first_tick < first < end]
        at = old.get((chunk.run, chunk.first_tick))
        if at and at.chunk.ticks <= chunk.ticks:
            return replace(chunk, ticks=at.chunk.ticks)
        return replace(chunk, ticks=min(begins) - chunk.first_tick) if begins else chunk

    @staticmethod
    def _same_look(row: ChunkRow, recipe: Recipe) -> bool:
        """Whether a chunk of an older generation shows the same canvas."""
        return row.report is not None and set(row.report.cameras) == {view.camera for view in recipe.canvas.views}

    # ---- render and join

    async def _render_and_join(self, film: Film, plan: _Plan, footage: FilmFootage) -> None:
        """Render what is planned, as many at a time as there are workers, and join in order as they come."""
        await self._join_intro(film)
        growing = self._files.get(film.booking_id)
        waiting = deque(plan.rows[max(growing.joined, 0) if growing else 0:])  # the others are in the film's file
        while waiting:
            batch = list(islice((row for row in waiting if not row.rendered), self._workers))
            results = await asyncio.gather(*(self._render(film, row, footage) for row in batch), return_exceptions=True)
            for result in results:
                if isinstance(result, BaseException):
                    raise result
            done = {row.chunk.number: row for row in results if isinstance(row, ChunkRow)}
            for number, row in done.items():
                plan.rows[number - 1] = row
            waiting = deque(done.get(row.chunk.number, row) for row in waiting)
            while waiting and waiting[0].rendered:
                row = waiting.popleft()
                await self._join(film, row.chunk.number, self._data / row.path, row.chunk.ticks)

    async def _render(self, film: Film, row: ChunkRow, footage: FilmFootage) -> ChunkRow:
        """Render one chunk on its rung; after the third failure there, on the next one.

        Raises:
            ParkError: the last rung failed as well.
        """
        recipe, number = _recipe(film), row.chunk.number
        log.debug("rendering chunk", booking=film.booking_id, chunk=number, rung=row.rung)
        folder = self._data / "films" / film.recording_id
        await asyncio.to_thread(files.make_folders, folder)
        out = self._data / row.path
        job = self._job(film, row, footage, str(out), str(folder / "poster.jpg") if number == 1 else None)
        try:
            async with asyncio.timeout(RENDER_LIMIT_S):  # its end kills the worker
                report: ChunkReport = await self._pool.run(render, job)
        except TimeoutError:
            return await self._failed(film, row, recipe, WorkerDied(f"no answer for {RENDER_LIMIT_S} s"))
        except (BadMedia, WorkerDied, MemoryError) as error:
            return await self._failed(film, row, recipe, error)
        await self._store.chunk_rendered(film.booking_id, film.generation, number, row.path, report, row.rung)
        log.debug("chunk rendered", booking=film.booking_id, chunk=number, bytes=report.bytes)
        return replace(row, rendered=True, report_json=report.dumps())

    def _job(self, film: Film, row: ChunkRow, footage: FilmFootage, out: str, poster: str | None) -> ChunkJob:
        recipe, chunk = _recipe(film), row.chunk
        anchor_us = next(span.anchor_us for span in footage.spans if span.run == chunk.run)
        from_us = row.start_us - HOLD_US
        to_us = tick_us(anchor_us, chunk.first_tick + chunk.ticks, recipe.rate) + HOLD_US
        ours = footage.between(chunk.run, from_us, to_us)
        return ChunkJob(recipe, anchor_us, chunk.first_tick, chunk.ticks, ours, out, row.rung, poster)

    async def _failed(self, film: Film, row: ChunkRow, recipe: Recipe, error: Exception) -> ChunkRow:
        attempts, rung = row.attempts + 1, row.rung
        log.warning("chunk not rendered", booking=film.booking_id, chunk=row.chunk.number, rung=rung,
                    attempt=attempts, error=str(error))
        if attempts >= ATTEMPTS:
            ladder = [Rung.FULL, Rung.PLAIN]
            if len(recipe.canvas.views) > 1:
                ladder += [Rung.LEFT, Rung.RIGHT]
            below = ladder[ladder.index(rung) + 1:]
            if not below:
                await self._store.chunk_failed(film.booking_id, film.generation, row.chunk.number, Rung.FULL, 0)
                raise ParkError(f"chunk {row.chunk.number} cannot be rendered: {error}; the camera files are kept")
            rung, attempts = below[0], 0
            await self._store.tell(film.booking_id, "fallback", chunk=row.chunk.number, rung=rung, error=str(error))
        await self._store.chunk_failed(film.booking_id, film.generation, row.chunk.number, rung, attempts)
        return replace(row, rung=rung, attempts=attempts)

    async def _join_intro(self, film: Film) -> None:
        clip_in_front = _recipe(film).intro
        if clip_in_front:
            try:
                await self._join(film, 0, Path(clip_in_front.path), clip_in_front.ticks)
            except BadMedia as error:
                raise IntroLost(str(error)) from error

    async def _join(self, film: Film, number: int, path: Path, ticks: int) -> None:
        """Add a chunk to the film's file, if it is not in it yet."""
        growing = self._files.get(film.booking_id)
        if growing is None:
            growing = self._files[film.booking_id] = await self._open(film)
        if growing.joined >= number:
            return
        what = {"booking": film.booking_id} | ({"chunk": number} if number else {})
        log.debug("joining chunk" if number else "joining intro", **what)
        try:
            await _on(growing.thread, partial(growing.joiner.add, str(path), ticks))
        except Exception as error:
            await self._drop_file(film.booking_id)  # half a chunk may be in it
            if number and isinstance(error, BadMedia):
                await self._store.chunk_failed(film.booking_id, film.generation, number, Rung.FULL, 1)
            raise
        if growing.joiner.index_bytes() > _recipe(film).index_reserve:
            raise IndexOutgrown("the film outgrew the room kept for its index")
        growing.joined = number
        log.debug("chunk joined" if number else "intro joined", final=growing.joiner.grown, **what)
        self._grown()

    async def _open(self, film: Film) -> GrowingFile:
        path = self._film_path(film)
        await asyncio.to_thread(files.make_folders, path.parent)
        await asyncio.to_thread(files.remove, path)
        thread = ThreadPoolExecutor(1, thread_name_prefix="join")
        return GrowingFile(film.generation, Joiner(str(path), _recipe(film)), thread)

    async def _enlarge_reserve(self, film: Film) -> None:
        """The film outgrew the room for its index: make it again from its chunks with twice the room."""
        recipe = replace(_recipe(film), index_reserve=2 * _recipe(film).index_reserve)
        await self._next_generation(film, "the film outgrew the room kept for its index", recipe=recipe.dumps())

    async def _leave_intro_out(self, film: Film, lost: IntroLost) -> None:
        """The intro's file has gone or is damaged: the film is made again without it."""
        recipe = _recipe(film)
        recipe = replace(recipe, intro=None, skipped=(*recipe.skipped, f"intro: {lost}"))
        await self._next_generation(film, "the intro cannot be used any more", recipe=recipe.dumps())

    # ---- close

    async def _close_film(self, film: Film, plan: _Plan, footage: FilmFootage) -> None:
        """Close and validate the film's file, certify it, take the step to `rendered`."""
        growing = self._files[film.booking_id]
        log.debug("closing film", booking=film.booking_id)
        try:
            facts = await _on(growing.thread, growing.joiner.close)
        except Exception:
            await self._drop_file(film.booking_id)
            raise
        log.debug("film closed", booking=film.booking_id, bytes=facts.bytes)
        certificate = await self._certificate(film, plan, footage)
        log.debug("taking step", booking=film.booking_id, to=Stage.RENDERED)
        await self._store.step(film.booking_id, Stage.RENDERED, bytes=facts.bytes, certificate=certificate)
        log.debug("step taken", booking=film.booking_id, to=Stage.RENDERED)
        log.info("film rendered", booking=film.booking_id, bytes=facts.bytes)
        growing.thread.shutdown(wait=False)
        del self._files[film.booking_id]
        await self.forget(film.booking_id)
        folder = self._data / "films" / film.recording_id  # a closed, valid film needs its chunks no more
        await asyncio.to_thread(lambda: files.remove(*folder.glob("chunk-*.mp4")))
        self._grown()

    async def _certificate(self, film: Film, plan: _Plan, footage: FilmFootage) -> str:
        footage_of: dict[str, list[Segment]] = {}
        for span in footage.spans:
            for segment in await self._store.segments(span.run, span.start_us, span.end_us):
                footage_of.setdefault(segment.camera, []).append(segment)
        notes = [f"before the match: {problem}" for event in await self._store.events(film.booking_id)
                 if event.kind == "pre-flight" for problem in event.detail["problems"]]

        def write() -> str:
            rendered = [Rendered(row.chunk, report, row.rung) for row in plan.rows if (report := row.report)]
            evidence = Evidence(film.starts_at, film.ends_at, _recipe(film), footage.stretches,
                                {span.run: span.start_offset_us for span in footage.spans}, rendered,
                                {camera: SECOND / rate for camera, rate in self._rates.items()}, film.generation,
                                notes, footage_of)
            return json.dumps(certify(evidence), sort_keys=True)

        return await asyncio.to_thread(write)

    def _film_path(self, film: Film) -> Path:
        return self._data / "films" / film.recording_id / f"film-{film.generation}.mp4"


def _recipe(film: Film) -> Recipe:
    if film.recipe is None:
        raise ValueError(f"the film of {film.booking_id} has no recipe yet")
    return film.recipe


async def _on(thread: ThreadPoolExecutor, what: Callable[[], Any]) -> Any:
    return await asyncio.get_running_loop().run_in_executor(thread, what)
