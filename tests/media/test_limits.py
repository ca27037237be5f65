"""Work on files from outside has limits of time and memory, which hold in the worker that does it."""

import resource
from functools import partial

import numpy as np
import pytest

from ezrec.adapters.workers import RenderPool
from ezrec.domain.errors import BadMedia
from ezrec.media.limits import within

MB = 1_000_000


def fill(size: int, _: object) -> int:
    """Work that takes memory, and says afterwards how much it may take then."""
    with within("clip.mp4", size=size):
        np.ones(200 * MB, np.uint8)
    return resource.getrlimit(resource.RLIMIT_DATA)[0]


async def test_work_that_wants_too_much_memory_is_refused_it_and_the_worker_lives() -> None:
    pool = RenderPool(1, niceness=0)
    try:
        await pool.run(partial(fill, 300 * MB), None)
        (worker,) = pool.pids()
        with pytest.raises(BadMedia, match=r"clip\.mp4: needs more than 50 MB of memory"):
            await pool.run(partial(fill, 50 * MB), None)
        await pool.run(partial(fill, 300 * MB), None)
        assert pool.pids() == [worker]
    finally:
        await pool.close()


def test_what_looks_at_its_time_says_that_it_is_over() -> None:
    with within("clip.mp4", -1.0) as over, pytest.raises(BadMedia, match=r"clip\.mp4: is not ready after -1 s"):
        over.check()
    with within("clip.mp4", 60.0) as deadline:
        deadline.check()


def test_the_limit_ends_with_the_work() -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with within("clip.mp4"):
        assert resource.getrlimit(resource.RLIMIT_DATA) != before
    assert resource.getrlimit(resource.RLIMIT_DATA) == before
