"""Film making: what footage is known is planned, rendered and joined; a film whose window is over is closed.

`work` does for one film all that can be done now, beside a live film a little of it, and says whether it is finished.
It is called again whenever there is more footage. Everything that it needs after a crash is in the store and in files:
the film's file itself is made again from its chunks.
"""

import asyncio
import json
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from enum import Enum, auto
from fractions import Fraction
from itertools import islice
from pathlib import Path

from ezrec import files, logs
from ezrec.adapters.workers import RenderPool
from ezrec.domain import planning
from ezrec.domain.certify import Evidence, Rendered, certify
from ezrec.domain.clock import SECOND, Clock
from ezrec.domain.errors import BadMedia, FootageGone, IndexOutgrown, IntroLost, ParkError
from ezrec.domain.events import PreflightDone
from ezrec.domain.film import Film, recipe_of
from ezrec.domain.stages import Stage
from ezrec.domain.timeline import Segment
from ezrec.folders import DataFolder
from ezrec.store import Store
from ezrec.store.rows import ChunkRow
from ezrec.tasks.film.footage import FilmFootage, KnownFootage, Recorder
from ezrec.tasks.film.growing import GrowingFiles, Growth
from ezrec.tasks.film.losses import Losses
from ezrec.tasks.film.patience import Patience
from ezrec.tasks.film.plan import Plan, Planner
from ezrec.tasks.film.recipe import Recipes
from ezrec.tasks.film.rendering import Rendering

log = logs.get("film")

REMADE = 3  # how often a film is made again because its file was damaged, before a person must look at the disk
MOST_SPOILT = 3  # times in a row that a chunk's file may come out damaged


class _Done(Enum):
    """What a call came to of what was planned."""

    WHOLE = auto()  # all is in the film's file
    SOME = auto()  # it was left: the film is read again
    CHANGED = auto()  # rows of footage or chunks have changed: they are read again


class FilmMaking:
    """The film task. `grown` is called whenever a film's file grew or closed, or there is more to do for it.

    `gives_way` says whether another film goes before this one: then it is left after each chunk.
    """

    def __init__(self, store: Store, clock: Clock, folder: DataFolder, pool: RenderPool, recipes: Recipes,
                 recorder: Recorder, chunk_s: float, camera_rates: Mapping[str, Fraction], workers: int,
                 grown: Callable[[], None], gives_way: Callable[[Film], bool] = lambda _: False) -> None:
        self._store = store
        self._folder = folder
        self._rates = camera_rates
        self._workers = workers
        self._footage = KnownFootage(store, folder, recorder.known_to_us)
        self._patience = Patience(clock)
        self._losses = Losses(store, folder, self._footage)
        self._planner = Planner(store, folder, pool, recipes, recorder, chunk_s, self._patience)
        self._rendering = Rendering(store, folder, pool, self._losses, self._patience)
        self._files = GrowingFiles(folder, grown)
        self._grown = grown
        self._gives_way = gives_way
        self._remade: Counter[str] = Counter()  # booking → how often its film's file was damaged
        self._spoilt: Counter[tuple[str, int]] = Counter()  # booking and chunk: damaged in a row

    def growth(self, film: Film) -> Growth | None:
        """How far the film's file is; None if there is none yet."""
        return self._files.growth(film)

    async def close(self) -> None:
        """Drop the files that grow; they are made again from their chunks."""
        await self._files.drop_all()

    async def forget(self, booking_id: str) -> None:
        """Keep nothing of a film that is done with."""
        self._remade.pop(booking_id, None)
        await self.release(booking_id)

    async def release(self, booking_id: str) -> None:
        """Keep nothing that is only needed while a film is made, neither in memory nor a file that grows."""
        self._planner.release(booking_id)
        self._footage.forget(booking_id)
        self._patience.forget(booking_id)
        self._losses.forget(booking_id)
        for key in [key for key in self._spoilt if key[0] == booking_id]:
            del self._spoilt[key]
        await self._files.drop(booking_id)

    async def make_again(self, film: Film, reason: str) -> None:
        """The film's file is not what was written: one that grows is joined again, a closed one made of its footage.

        Raises:
            ParkError: its footage is gone as well, or it was made again too often.
        """
        self._remade[film.booking_id] += 1
        if self._remade[film.booking_id] > REMADE:
            del self._remade[film.booking_id]
            raise ParkError(f"{reason}; it was made again {REMADE} times already: look after the disk, and retry")
        log.warning("film damaged", booking=film.booking_id, generation=film.generation, reason=reason)
        if film.stage is Stage.RENDERED:
            if not await self._has_footage(film):
                raise ParkError(f"{reason}, and none of its camera files is left to make it of")
            await self._store.begin_again(film.booking_id, film.generation, reason)
        else:
            self._files.doubt(film)
        self._grown()

    async def _has_footage(self, film: Film) -> bool:
        footage = await self._footage.of(film.booking_id)
        self._footage.forget(film.booking_id)
        paths = [Path(one.path) for cameras in footage.files.values() for ours in cameras.values() for one in ours]
        return await asyncio.to_thread(lambda: any(path.is_file() for path in paths))

    async def work(self, film: Film) -> bool:
        """Do for a film that is recording or recorded what can be done now.

        Returns True if the film is to be worked on again at once: it is rendered, was begun again, or some of it must
        be planned or rendered anew.

        Raises:
            FootageAway: some of its footage is away; it is tried again for a minute.
            ParkError: a chunk cannot be rendered on any rung, or there is nothing to make a film of.
        """
        try:
            return await self._work(film)
        except BaseException:
            self._planner.forget(film.booking_id)
            raise

    async def _work(self, film: Film) -> bool:
        footage = await self._footage.of(film.booking_id)
        try:
            film = await self._planner.with_recipe(film, footage)
            if film.recipe is None:
                return _nothing_yet(film, footage)
            film, plan = await self._planner.plan(film, footage)
        except FootageGone as lost:  # all that a camera recorded: the film is made as if it had been away
            await self._losses.cut_out(film, footage, lost.losses)
            return True
        try:
            done = await self._render_and_join(film, plan, footage)
            if done is _Done.CHANGED:
                self._planner.forget(film.booking_id)
                return True
            behind = done is _Done.SOME or plan.more
            if behind:
                self._grown()
            if behind or film.stage is not Stage.RECORDED or not planning.complete(footage.stretches):
                return False
            if not plan.rows:
                return _nothing_yet(film, footage)
            await self._close(film, plan, footage)
        except IndexOutgrown:
            await self._planner.enlarge_reserve(film)
        except IntroLost as lost:
            await self._planner.leave_intro_out(film, lost)
        return True

    async def _render_and_join(self, film: Film, plan: Plan, footage: FilmFootage) -> _Done:
        """Render what is planned, as many at a time as there are workers, and join in order as they come."""
        waiting, whole = await self._waiting(film, plan), True
        while waiting:
            at_once = 1 if self._gives_way(film) else self._workers
            batch = list(islice((row for row in waiting if not row.rendered), at_once))
            results = await asyncio.gather(*(self._rendering.render(film, row, footage) for row in batch),
                                           return_exceptions=True)
            for row, result in zip(batch, results, strict=True):
                if isinstance(result, FootageGone):
                    await self._cut_out(film, plan, footage, row, result)
                    return _Done.CHANGED
                if isinstance(result, BaseException):
                    raise result
                plan.replace(result)
                whole = whole and not (result.report and result.report.lost)
            waiting = deque(plan.rows[row.chunk.number - 1] for row in waiting)
            while waiting and waiting[0].rendered:
                row = await self._join(film, waiting.popleft())
                if not row.rendered:
                    plan.replace(row)
                    waiting = await self._waiting(film, plan)
            if whole and waiting and await self._is_to_be_left(film):
                return _Done.SOME
        return _Done.WHOLE if whole else _Done.CHANGED

    async def _is_to_be_left(self, film: Film) -> bool:
        """Whether a film that is being worked on gives way to another one, was called off, or begun again."""
        now = await self._store.film(film.booking_id)
        return self._gives_way(film) or now is None or (now.stage, now.generation) != (film.stage, film.generation)

    async def _waiting(self, film: Film, plan: Plan) -> deque[ChunkRow]:
        """The chunks that are not in the film's file yet, which begins with the intro."""
        await self._files.join_intro(film)
        return deque(plan.rows[self._files.joined(film):])

    async def _cut_out(self, film: Film, plan: Plan, footage: FilmFootage, row: ChunkRow, lost: FootageGone) -> None:
        """Go on without what no camera shows of a chunk.

        Chunks behind it that were rendered in an earlier life keep their rows: the plan no longer holds, so the next
        generation begins and takes them over.
        """
        number = row.chunk.number
        again = any(later.rendered for later in plan.rows[number:])
        await self._losses.cut_out(film, footage, lost.losses, None if again else number)

    async def _join(self, film: Film, row: ChunkRow) -> ChunkRow:
        """Join a chunk; its row as it is afterwards: no longer rendered if its file is damaged.

        Raises:
            ParkError: it came out damaged three times in a row.
        """
        key = film.booking_id, row.chunk.number
        try:
            await self._files.join(film, row.chunk.number, self._folder.path(row.path), row.chunk.ticks,
                                   lambda: row.report.sha256 if row.report else "")
        except BadMedia as error:
            await self._store.chunk_failed(film.booking_id, film.generation, row.chunk.number, row.rung, 0)
            self._spoilt[key] += 1
            log.warning("chunk cannot be joined, rendering it again", booking=key[0], chunk=key[1], error=str(error))
            if self._spoilt[key] >= MOST_SPOILT:
                del self._spoilt[key]
                raise ParkError(f"chunk {row.chunk.number} cannot be joined, though it was rendered again: {error}; "
                                "the camera files are kept") from error
            return replace(row, rendered=False, attempts=0)
        self._spoilt.pop(key, None)
        return row

    async def _close(self, film: Film, plan: Plan, footage: FilmFootage) -> None:
        """Close and validate the film's file, certify it, take the step to `rendered`."""
        made = await self._files.close(film)
        certificate = await self._certificate(film, plan, footage)
        sums = json.dumps([made.sums[number] for number in sorted(made.sums)])
        await self._store.step(film.booking_id, Stage.RENDERED, bytes=made.final, certificate=certificate, sums=sums)
        log.info("film rendered", booking=film.booking_id, bytes=made.final)
        self._files.finish(film)
        await self.release(film.booking_id)
        # A closed, valid film needs its chunks no more.
        await asyncio.to_thread(lambda: files.remove(*self._folder.chunks(film.recording_id)))

    async def _certificate(self, film: Film, plan: Plan, footage: FilmFootage) -> str:
        segments: dict[str, list[Segment]] = {}
        for span in footage.spans:
            for segment in await self._store.segments(span.run, span.start_us, span.end_us):
                segments.setdefault(segment.camera, []).append(segment)
        notes = [f"before the match: {problem}" for entry in await self._store.events(film.booking_id)
                 if isinstance(entry.event, PreflightDone) for problem in entry.event.problems]

        def write() -> str:
            rendered = [Rendered(row.chunk, report, row.rung) for row in plan.rows if (report := row.report)]
            evidence = Evidence(film.starts_at, film.ends_at, recipe_of(film), footage.stretches,
                                {span.run: span.start_offset_us for span in footage.spans}, rendered,
                                {camera: SECOND / rate for camera, rate in self._rates.items()}, film.generation,
                                notes, segments)
            return json.dumps(certify(evidence).to_json(), sort_keys=True)

        return await asyncio.to_thread(write)


def _nothing_yet(film: Film, footage: FilmFootage) -> bool:
    if film.stage is not Stage.RECORDED or not planning.complete(footage.stretches):
        return False
    if any(piece.start_us < stretch.end_us and piece.end_us > stretch.start_us for stretch in footage.stretches
           for pieces in footage.files[stretch.run].values() for piece in pieces):
        raise ParkError("nothing that was recorded in the window can be read; the camera files are kept")
    raise ParkError("there is no footage in the window; the camera files are kept")
