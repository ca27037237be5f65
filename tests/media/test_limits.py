"""Work on files from outside has limits of time and memory, which hold in the worker that does it."""

import resource
import time
from functools import partial

import numpy as np
import pytest

from ezrec.adapters.workers import RenderPool
from ezrec.domain.errors import BadMedia, WorkerDied
from ezrec.media import limits
from ezrec.media.limits import within

MB = 1_000_000


def hang(seconds: float, _: object) -> None:
    """Work that never looks at its time."""
    limits.LATE_S = 0.2
    with within("clip.mp4", seconds):
        while True:
            pass


def fill(size: int, _: object) -> int:
    """Work that takes memory, and says afterwards how much it may take then."""
    with within("clip.mp4", size=size):
        np.ones(60 * MB, np.uint8)
    return resource.getrlimit(resource.RLIMIT_DATA)[0]


async def test_work_that_hangs_is_ended_and_the_next_call_finds_a_worker() -> None:
    pool = RenderPool(1, niceness=0)
    try:
        began = time.monotonic()
        with pytest.raises(WorkerDied):
            await pool.run(partial(hang, 0.2), None)
        assert time.monotonic() - began < 30
        assert await pool.run(partial(fill, 200 * MB), None) == resource.RLIM_INFINITY
    finally:
        await pool.close()


async def test_work_that_wants_too_much_memory_is_refused_it_and_the_worker_lives() -> None:
    pool = RenderPool(1, niceness=0)
    try:
        await pool.run(partial(fill, 100 * MB), None)
        (worker,) = pool.pids()
        with pytest.raises(BadMedia, match=r"clip\.mp4: needs more than 50 MB of memory"):
            await pool.run(partial(fill, 50 * MB), None)
        await pool.run(partial(fill, 100 * MB), None)
        assert pool.pids() == [worker]
    finally:
        await pool.close()


def test_what_looks_at_its_time_says_that_it_is_over() -> None:
    with within("clip.mp4", 0.0) as deadline:
        deadline.extend(-1.0)
        with pytest.raises(BadMedia, match=r"clip\.mp4: is not ready after 0 s"):
            deadline.check()
        deadline.extend(60.0)
        deadline.check()
