"""Workers without processes: a chunk is one of a few tiny real ones that were encoded once, so films are real films."""

import asyncio
import hashlib
import tempfile
from collections.abc import Callable
from concurrent.futures import Future
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np

from ezrec.domain.errors import FootageAway, FootageGone
from ezrec.domain.film import CameraShare, ChunkJob, ChunkReport, Recipe, tick_us
from ezrec.domain.loss import Loss
from ezrec.domain.timeline import clip, coverage, length
from ezrec.media.decode import SizeJob
from ezrec.media.encode import coded_frame, finish, video_stream
from ezrec.pyav import planes_of
from tests.fakes.model.faults import Faults, Gone, Hung
from tests.fakes.model.loop import Job, SteppedLoop

SIZE = (64, 64)
LOOKS = 2  # that a chunk may come out with: rendered again it may have other bytes


@cache
def _chunk(recipe: str, ticks: int, look: int, calm: bool) -> bytes:
    """An encoded chunk of so many ticks; a `calm` one is of one grey, and small."""
    made = Recipe.loads(recipe)
    chance = np.random.default_rng([ticks, look])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chunk.mp4"
        with av.open(str(path), "w", format="mp4", options={"fflags": "+bitexact"}) as out:
            stream = video_stream(out, made)
            for tick in range(ticks):
                frame = coded_frame(made.canvas)
                luma = planes_of(frame)[0]
                luma[:] = 60 + 60 * look if calm else chance.integers(16, 235, luma.shape, dtype=np.uint8)
                out.mux(stream.encode(finish(frame, made.canvas, tick, Fraction(made.rate))))
            out.mux(stream.encode(None))
        return path.read_bytes()


class Workers:
    """Renders. `began` is called with each chunk's job when a worker takes it."""

    def __init__(self, faults: Faults, began: Callable[[ChunkJob], None]) -> None:
        self._faults = faults
        self._began = began
        self.takes_s = 0.0  # a chunk, on the made-up clock
        self.calm = False  # nothing moves in the chunks: they are small, however long
        self.looks: dict[str, int] = {}  # chunk's file → how often it was rendered

    def executor(self) -> type[Any]:
        """In the stead of `ProcessPoolExecutor`."""
        workers = self

        class Worker:
            def __init__(self, *_: Any, **__: Any) -> None:
                self._timer: asyncio.TimerHandle | None = None

            def submit(self, fn: Any, arg: Any) -> Future[Any]:
                loop = asyncio.get_running_loop()
                assert isinstance(loop, SteppedLoop)
                future: Future[Any] = Future()

                def done(result: Any, error: BaseException | None) -> None:
                    if isinstance(error, Hung) or not future.set_running_or_notify_cancel():
                        return
                    if error is None:
                        future.set_result(result)
                    else:
                        future.set_exception(error)

                job = Job(self, lambda: workers.do(fn, arg), done)
                if not isinstance(arg, ChunkJob):
                    loop.add_job(job)
                    return future
                workers._began(arg)
                self._timer = loop.call_later(workers.takes_s, loop.add_job, job)
                return future

            def shutdown(self, **_: Any) -> None:
                loop = asyncio.get_running_loop()
                assert isinstance(loop, SteppedLoop)
                loop.drop_jobs(self)
                if self._timer:
                    self._timer.cancel()

        return Worker

    def do(self, fn: Callable[[Any], Any], arg: Any) -> Any:
        """What a worker does."""
        error = self._faults.at("worker")
        if isinstance(error, Gone) and isinstance(arg, ChunkJob):
            raise FootageGone(_all_of(arg))
        if isinstance(error, FootageAway) and getattr(arg, "accept_loss", True):
            error = None
        if error and not isinstance(error, Gone):
            raise error
        if isinstance(arg, SizeJob):
            return SIZE
        return self._render(arg) if isinstance(arg, ChunkJob) else fn(arg)

    def _render(self, job: ChunkJob) -> ChunkReport:
        shares, begin, end = {}, tick_us(job.anchor_us, job.first_tick, job.recipe.rate), _end_us(job)
        for view in job.recipe.canvas.views:
            seen = length(clip(coverage(job.footage.get(view.camera, ())), begin, end))
            shown = min(job.ticks, round(seen * job.ticks / (end - begin)))
            shares[view.camera] = CameraShare(shown=shown, filled=job.ticks - shown)
        look = self.looks[job.out] = self.looks.get(job.out, -1) + 1
        data = _chunk(job.recipe.dumps(), job.ticks, look % LOOKS, self.calm)
        staged = Path(f"{job.out}.new")
        staged.write_bytes(data)
        staged.replace(job.out)
        if job.poster:
            Path(job.poster).write_bytes(b"poster")
        return ChunkReport(len(data), shares, both=min(one.shown for one in shares.values()),
                           sha256=hashlib.sha256(data).hexdigest())


def _end_us(job: ChunkJob) -> int:
    return tick_us(job.anchor_us, job.first_tick + job.ticks, job.recipe.rate)


def _all_of(job: ChunkJob) -> list[Loss]:
    """Everything that lies in a chunk."""
    begin, end = tick_us(job.anchor_us, job.first_tick, job.recipe.rate), _end_us(job)
    return [Loss(camera, one.path, max(begin, one.start_us), min(end, one.end_us), "is made up")
            for camera, ours in job.footage.items() for one in ours if one.start_us < end and one.end_us > begin]
