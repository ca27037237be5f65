"""Rendering: a planned chunk is made by a worker, on the best rung of its ladder that works."""

import asyncio
from dataclasses import replace
from pathlib import Path

from ezrec import logs
from ezrec.adapters.workers import RenderPool
from ezrec.domain.errors import BadMedia, FootageAway, FootageGone, ParkError, RetryError, WorkerDied, WorkerHung
from ezrec.domain.events import FallbackTaken
from ezrec.domain.film import ChunkJob, ChunkReport, Film, Rung, ladder, recipe_of, tick_us
from ezrec.domain.timeline import HOLD_US
from ezrec.folders import DataFolder
from ezrec.media.chunk import render
from ezrec.store import Store
from ezrec.store.rows import ChunkRow
from ezrec.tasks.film.footage import FilmFootage
from ezrec.tasks.film.losses import Losses
from ezrec.tasks.film.patience import Patience

log = logs.get("film")

ATTEMPTS = 3  # on each rung of the fallback ladder


class Rendering:
    """Renders chunks in `pool`."""

    def __init__(self, store: Store, folder: DataFolder, pool: RenderPool, losses: Losses, patience: Patience) -> None:
        self._store = store
        self._folder = folder
        self._pool = pool
        self._losses = losses
        self._patience = patience

    async def render(self, film: Film, row: ChunkRow, footage: FilmFootage) -> ChunkRow:
        """Try to render one chunk on its rung; its row as it is afterwards, rendered or not.

        Raises:
            FootageAway: some of its footage may come back; that is no failed attempt.
            FootageGone: some of its ticks can be shown from no camera's footage.
            RetryError: its worker hung, which is a failed attempt.
            ParkError: the last rung failed as well.
        """
        booking_id, number = film.booking_id, row.chunk.number
        log.debug("rendering chunk", booking=film.booking_id, chunk=number, rung=row.rung)
        job = self._job(film, row, footage)
        await asyncio.to_thread(self._folder.make_way, *(Path(path) for path in (job.out, job.poster) if path))
        try:
            report: ChunkReport = await self._pool.run(render, job)
        except FootageAway:
            self._patience.begin(booking_id, number)
            raise
        except FootageGone:
            self._patience.end(booking_id, number, given_up=job.accept_loss)
            raise
        except WorkerHung as error:
            await self._failed(film, row, error)
            raise RetryError(f"chunk {number}: {error}") from error  # the other films' turn
        except (BadMedia, WorkerDied, MemoryError) as error:
            return await self._failed(film, row, error)
        self._patience.end(booking_id, number, given_up=job.accept_loss and bool(report.lost))
        if report.lost:  # first: a chunk that is rendered is not looked at again
            end_us = tick_us(job.anchor_us, job.first_tick + job.ticks, job.recipe.rate)
            await self._losses.fill(film, footage, report.lost, end_us)
        await self._store.chunk_rendered(film.booking_id, film.generation, number, row.path, report, row.rung)
        log.debug("chunk rendered", booking=film.booking_id, chunk=number, bytes=report.bytes)
        return replace(row, rendered=True, report_json=report.dumps())

    def _job(self, film: Film, row: ChunkRow, footage: FilmFootage) -> ChunkJob:
        recipe, chunk = recipe_of(film), row.chunk
        anchor_us = next(span.anchor_us for span in footage.spans if span.run == chunk.run)
        from_us = row.start_us - HOLD_US
        to_us = tick_us(anchor_us, chunk.first_tick + chunk.ticks, recipe.rate) + HOLD_US
        poster = str(self._folder.poster(film.recording_id)) if chunk.number == 1 else None
        return ChunkJob(recipe, anchor_us, chunk.first_tick, chunk.ticks, footage.between(chunk.run, from_us, to_us),
                        str(self._folder.path(row.path)), row.rung, poster,
                        accept_loss=self._patience.is_over(film.booking_id, chunk.number))

    async def _failed(self, film: Film, row: ChunkRow, error: Exception) -> ChunkRow:
        """Count a failure; after the third one on a rung the next rung is taken."""
        number, attempts, rung = row.chunk.number, row.attempts + 1, row.rung
        log.warning("chunk not rendered", booking=film.booking_id, chunk=number, rung=rung, attempt=attempts,
                    error=str(error))
        if attempts >= ATTEMPTS:
            rungs = ladder(recipe_of(film).canvas)
            below = rungs[rungs.index(rung) + 1:]
            if not below:
                await self._store.chunk_failed(film.booking_id, film.generation, number, Rung.FULL, 0)
                raise ParkError(f"chunk {number} cannot be rendered: {error}; the camera files are kept")
            rung, attempts = below[0], 0
            await self._store.record(film.booking_id, FallbackTaken(number, rung, str(error)))
        await self._store.chunk_failed(film.booking_id, film.generation, number, rung, attempts)
        return replace(row, rung=rung, attempts=attempts)
