"""What a film knows of its footage: read a little at a time, the same as all at once."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ezrec.domain.clock import SECOND
from ezrec.domain.stages import Stage
from ezrec.domain.timeline import HOLD_US, Segment, coverage
from ezrec.tasks.film.footage import KnownFootage
from tests.fakes.desk import MONO_S, Desk, a_desk

S = SECOND
FOR_EVER = 1 << 62


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with a_desk(tmp_path) as one:
        yield one


async def test_footage_that_is_read_a_little_at_a_time_is_the_same_as_all_at_once(desk: Desk) -> None:
    await desk.run()
    film = await desk.film(Stage.RECORDING, start_s=0, end_s=40)
    await desk.lay(film, 1)
    marks = {"us": 0}
    known = KnownFootage(desk.store, desk.folder, lambda _: marks["us"])
    at = {"left": -3, "right": -2}
    for index in range(58):
        camera = ("left", "right")[index % 2]
        at[camera] += 1 + (index % 7 == 0)
        start = (MONO_S + at[camera]) * S
        await desk.segment(1, at[camera], 1, camera, gaps=((start, start + HOLD_US),) if index % 11 == 0 else ())
        marks["us"] = (MONO_S + min(at.values()) + 1) * S if index % 3 else FOR_EVER * (index == 57)
        now = await known.of("match")
        fresh = await KnownFootage(desk.store, desk.folder, lambda _: marks["us"]).of("match")
        assert now == fresh
        (stretch,) = now.stretches
        segments = await desk.store.segments(1, stretch.start_us - HOLD_US, stretch.end_us + HOLD_US)
        assert stretch.seen == {name: coverage([one.footage(str(desk.data)) for one in segments if one.camera == name])
                                for name in {one.camera for one in segments}}


async def test_footage_within_half_a_second_of_a_window_is_known(desk: Desk) -> None:
    await desk.run()
    film = await desk.film(Stage.RECORDING, start_s=5, end_s=40)
    await desk.lay(film, 1)
    for at in (3.5, 4.25, 40.25, 40.5):
        await desk.segment(1, at, 0.75 if at < 5 else 0.25)
    files = (await KnownFootage(desk.store, desk.folder, lambda _: FOR_EVER).of("match")).files
    assert [one.start_us / S - MONO_S for one in files[1]["left"]] == [4.25, 40.25]


async def test_footage_before_a_start_that_is_moved_back_is_read_after_all(desk: Desk) -> None:
    await desk.run()
    film = await desk.film(Stage.RECORDING, start_s=5, end_s=40)
    await desk.lay(film, 1)
    for at in range(12):
        await desk.segment(1, at, 1)
    known = KnownFootage(desk.store, desk.folder, lambda _: FOR_EVER)
    await known.of("match")
    (span,) = await desk.store.spans("match")
    await desk.store.put_span("match", span.moved(span.start_us - 4 * S, span.end_us + 9 * S))
    (stretch,) = (await known.of("match")).stretches
    assert stretch.seen == {"left": ((MONO_S * S, (MONO_S + 12) * S),)}


def test_a_segment_told_to_a_chunk_keeps_its_gaps() -> None:
    assert Segment("left", 1, 0, 9, 1, 0, 1, "p", ((2, 3),)).footage("/d").gaps == ((2, 3),)
