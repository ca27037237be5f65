"""A film's plan: its recipe, its chunks, and when it is begun again.

Nobody else writes a recipe, a chunk's row or a generation. Rendering and joining only note how a chunk ended.

What can still be planned follows from footage alone (`domain/planning.py`). Here it is written down, chunk by chunk,
before anything is rendered. A film whose plan no longer holds begins its next generation, and joins again what is
still valid of older ones.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from ezrec import logs
from ezrec.adapters.workers import RenderPool
from ezrec.domain import planning
from ezrec.domain.errors import FootageAway, IntroLost, ParkError
from ezrec.domain.events import FallbackTaken, RecipeFrozen
from ezrec.domain.film import Film, Recipe, Rung, recipe_of, tick_us
from ezrec.domain.planning import Chunk
from ezrec.domain.stages import Stage
from ezrec.domain.timeline import Span, clip, length
from ezrec.folders import DataFolder
from ezrec.media.decode import SizeJob, picture_size
from ezrec.media.geometry import GEOMETRIES
from ezrec.store import Store
from ezrec.store.rows import ChunkRow
from ezrec.tasks.film.footage import FilmFootage, Recorder
from ezrec.tasks.film.patience import Patience
from ezrec.tasks.film.recipe import Recipes

log = logs.get("film")

AHEAD = 16  # chunks
MOST_AGAIN = 20  # generations that a film whose window stays as it is begins in one life of the recorder
NO_CHUNK = 0  # what waits for footage before there is a chunk

Sizes = dict[str, tuple[int, int]]
"""Camera → width and height of its picture, pixels."""


@dataclass
class Plan:
    """The chunks of a film's generation in order, as their rows are."""

    generation: int
    rows: list[ChunkRow]
    old: Mapping[tuple[int, int], ChunkRow]  # rendered in older generations, by run and first tick
    validated_spans: Sequence[Span] = ()  # the spans for which the rows were found to be the film's beginning
    more: bool = False  # there is more to be planned, once some of these are rendered

    def is_ahead(self) -> bool:
        """Whether enough rows wait to be rendered."""
        return len(self.rows) >= AHEAD and not any(row.rendered for row in self.rows[-AHEAD:])

    def replace(self, row: ChunkRow) -> None:
        """Put a chunk's newest row into its place."""
        self.rows[row.chunk.number - 1] = row


class Planner:
    """Plans films. `chunk_s` is a chunk's length in seconds."""

    def __init__(self, store: Store, folder: DataFolder, pool: RenderPool, recipes: Recipes, recorder: Recorder,
                 chunk_s: float, patience: Patience) -> None:
        self._store = store
        self._folder = folder
        self._pool = pool
        self._recipes = recipes
        self._recorder = recorder
        self._chunk_s = chunk_s
        self._patience = patience
        self._plans: dict[str, Plan] = {}
        self._begun: dict[str, list[tuple[int, int]]] = {}  # booking → the film's window at each generation begun here

    def forget(self, booking_id: str) -> None:
        """Read the film's rows again the next time."""
        self._plans.pop(booking_id, None)

    def release(self, booking_id: str) -> None:
        """Keep nothing of a film."""
        self.forget(booking_id)
        self._begun.pop(booking_id, None)

    async def with_recipe(self, film: Film, footage: FilmFootage) -> Film:
        """The film with its recipe, which is frozen once a first chunk can be planned; without one before.

        Raises:
            FootageAway: a camera's footage may come back, and its picture's size with it.
            FootageGone: none of a camera's footage can be read.
        """
        if film.recipe:
            if film.recipe.canvas.layout not in GEOMETRIES:
                raise ParkError(f"the film was begun with the layout {film.recipe.canvas.layout!r}, which this version "
                                "does not know: install the version that began it, or a newer one, and retry")
            return film
        rate = self._recipes.rate
        if next(planning.plan(footage.stretches, rate, self._chunk_ticks(rate), ()), None) is None:
            return film
        recipe = await self._recipes.freeze(film, await self._sizes(film, footage))
        log.info("recipe frozen", booking=film.booking_id, width=recipe.canvas.width, height=recipe.canvas.height,
                 cameras=[view.camera for view in recipe.canvas.views], intro=recipe.intro is not None,
                 logos=[logo.name for logo in recipe.logos])
        await self._store.update_film(film.booking_id, RecipeFrozen(), recipe=recipe.dumps())
        if recipe.fallback:
            await self._store.record(film.booking_id, FallbackTaken(0, recipe.canvas.layout, recipe.fallback))
        return replace(film, recipe=recipe)

    async def plan(self, film: Film, footage: FilmFootage) -> tuple[Film, Plan]:
        """The film, in its next generation if its plan no longer holds, and the rows of what can be rendered.

        At most `AHEAD` rows wait to be rendered: whoever is behind by hours need not have all of them written first.

        Raises:
            FootageAway, FootageGone: see `with_recipe`.
            ParkError: it was begun again too often.
        """
        film = await self._valid(film, footage)
        recipe, plan = recipe_of(film), await self._plan_of(film)
        anchors = {span.run: span.anchor_us for span in footage.spans}
        while (chunk := self._next_chunk(footage, recipe, plan)) and not plan.is_ahead():
            plan.rows.append(await self._write_row(film, plan, chunk, anchors[chunk.run]))
        plan.more = chunk is not None
        return film, plan

    # ---- the next chunk

    async def _plan_of(self, film: Film) -> Plan:
        plan = self._plans.get(film.booking_id)
        if plan is None or plan.generation != film.generation:
            every = await self._store.chunks(film.booking_id)
            plan = self._plans[film.booking_id] = Plan(
                film.generation, [row for row in every if row.generation == film.generation],
                {(row.chunk.run, row.chunk.first_tick): row for row in every
                 if row.generation < film.generation and row.rendered})
        return plan

    def _next_chunk(self, footage: FilmFootage, recipe: Recipe, plan: Plan) -> Chunk | None:
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

    async def _write_row(self, film: Film, plan: Plan, chunk: Chunk, anchor_us: int) -> ChunkRow:
        """Write a planned chunk's row; a chunk of an older generation is used again."""
        recipe = recipe_of(film)
        start_us = tick_us(anchor_us, chunk.first_tick, recipe.rate)
        path = self._folder.relative(self._folder.chunk(film.recording_id, film.generation, chunk.number))
        log.debug("planning chunk", booking=film.booking_id, chunk=chunk.number)
        await self._store.plan_chunk(film.booking_id, film.generation, chunk, start_us, path)
        row = ChunkRow(film.generation, chunk, start_us, rendered=False, path=path, rung=Rung.FULL, attempts=0)
        again = plan.old.get((chunk.run, chunk.first_tick))
        if again and again.report and again.chunk.ticks == chunk.ticks and _same_cameras(again, recipe):
            await self._store.chunk_rendered(film.booking_id, film.generation, chunk.number, again.path,
                                             again.report, again.rung)
            row = replace(row, rendered=True, path=again.path, rung=again.rung, report_json=again.report_json)
        log.debug("chunk planned", booking=film.booking_id, chunk=chunk.number, run=chunk.run, ticks=chunk.ticks)
        return row

    def _chunk_ticks(self, rate: Fraction) -> int:
        return max(1, round(self._chunk_s * rate))

    async def _sizes(self, film: Film, footage: FilmFootage) -> Sizes:
        """The picture sizes of all cameras that have footage in the film or deliver now. What is away is waited for."""
        sizes = self._recorder.delivering() if film.stage is Stage.RECORDING else {}
        accept = self._patience.is_over(film.booking_id, NO_CHUNK)
        try:
            for stretch in footage.stretches:
                for camera, ours in footage.files[stretch.run].items():
                    if camera not in sizes and clip(stretch.seen[camera], stretch.start_us, stretch.end_us):
                        sizes[camera] = await self._pool.run(picture_size, SizeJob(camera, ours, accept))
        except FootageAway:
            self._patience.begin(film.booking_id, NO_CHUNK)
            raise
        self._patience.end(film.booking_id, NO_CHUNK, given_up=False)
        return dict(sorted(sizes.items()))

    # ---- generations

    async def _valid(self, film: Film, footage: FilmFootage) -> Film:
        """The film, in its next generation if what was planned is no longer its beginning."""
        recipe, plan = recipe_of(film), await self._plan_of(film)
        if _wider(film, footage):
            recipe = await self._recipes.recast(film, recipe, await self._sizes(film, footage))
            return await self._begin_again(
                film, "the second camera returned for more than half of the window", recipe)
        if plan.validated_spans != footage.spans:
            chunks = [row.chunk for row in plan.rows]
            if reason := await asyncio.to_thread(planning.broken, footage.stretches, recipe.rate, chunks):
                return await self._begin_again(film, reason)
            plan.validated_spans = footage.spans
        return film

    async def enlarge_reserve(self, film: Film) -> None:
        """The film outgrew the room for its index: begin it again with twice the room."""
        recipe = replace(recipe_of(film), index_reserve=2 * recipe_of(film).index_reserve)
        await self._begin_again(film, "the film outgrew the room kept for its index", recipe)

    async def leave_intro_out(self, film: Film, lost: IntroLost) -> None:
        """The intro's file has gone or is damaged: begin the film again without it."""
        recipe = recipe_of(film)
        recipe = replace(recipe, intro=None, skipped=(*recipe.skipped, f"intro: {lost}"))
        await self._begin_again(film, "the intro cannot be used any more", recipe)

    async def _begin_again(self, film: Film, reason: str, recipe: Recipe | None = None) -> Film:
        """The film in its next generation.

        Raises:
            ParkError: that did not help `MOST_AGAIN` times, so it would go on for ever.
        """
        begun = self._begun.setdefault(film.booking_id, [])
        if begun.count((film.starts_at, film.ends_at)) >= MOST_AGAIN:
            raise ParkError(f"it was begun again {MOST_AGAIN} times, the last time because {reason}; "
                            "the camera files are kept")
        begun.append((film.starts_at, film.ends_at))
        log.warning("film begun again", booking=film.booking_id, reason=reason, generation=film.generation + 1)
        columns = {"recipe": recipe.dumps()} if recipe else {}
        return await self._store.next_generation(film.booking_id, reason, **columns)


def _same_cameras(row: ChunkRow, recipe: Recipe) -> bool:
    """Whether a chunk of an older generation shows the cameras of this recipe's canvas."""
    return row.report is not None and set(row.report.cameras) == {view.camera for view in recipe.canvas.views}


def _wider(film: Film, footage: FilmFootage) -> bool:
    """Whether a film that began with one camera has seen the other for more than half of its window."""
    views = recipe_of(film).canvas.views
    if len(views) > 1:
        return False
    others = sum(length(clip(seen, stretch.start_us, stretch.end_us))
                 for stretch in footage.stretches for camera, seen in stretch.seen.items() if camera != views[0].camera)
    return others * 2 > film.ends_at - film.starts_at
