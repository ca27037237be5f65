"""Recovery: runs that lost their rows, segments without a row, and one bad file among them."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from fractions import Fraction
from pathlib import Path

import pytest

from ezrec.adapters import run_facts
from ezrec.adapters.run_facts import RunFacts
from ezrec.domain.clock import SECOND
from ezrec.domain.errors import RetryError
from ezrec.domain.stages import Stage
from ezrec.domain.timeline import Offset
from ezrec.tasks import recovery as module
from ezrec.tasks.recovery import Recovery
from tests.adapters.test_adoption import court, write
from tests.fakes.desk import MONO_S, Desk, a_desk
from tests.fakes.waiting import eventually

START = MONO_S * SECOND


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with a_desk(tmp_path) as one:
        yield one


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A segment's file of one second."""
    path, _ = write(tmp_path_factory.mktemp("whole"), court(30))
    return path


def leave(desk: Desk, whole: Path, run: int, start_us: int, camera: str = "left") -> Path:
    """A segment without a row."""
    path = desk.data / "segments" / str(run) / camera / f"{start_us}.ts"
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(whole, path)
    return path


def recovery(desk: Desk) -> Recovery:
    return Recovery(desk.store, desk.clock, desk.folder, {"left": Fraction(30), "right": Fraction(30)}, lambda: None)


async def put_in_order(one: Recovery) -> None:
    """Let it run until it is done."""
    await one.begin()
    running = asyncio.create_task(one.run())
    await eventually(lambda: asyncio.sleep(0, one.done))
    running.cancel()


async def test_until_a_segment_is_adopted_its_time_is_not_known(desk: Desk, whole: Path) -> None:
    run = await desk.run()
    leave(desk, whole, run, START + 4 * SECOND)
    leave(desk, whole, run, START)
    one = recovery(desk)
    await one.begin()
    assert one.pending_from_us(run) == START
    await put_in_order(one)
    assert one.pending_from_us(run) is None
    assert [row.start_us for row in await desk.store.segments(run, 0, 1 << 62)] == [START, START + 4 * SECOND]


async def test_what_the_run_that_records_already_has_written_is_left_to_it(desk: Desk, whole: Path) -> None:
    run = await desk.run()
    leave(desk, whole, run, START)
    leave(desk, whole, run + 1, START)
    empty = leave(desk, whole, run + 1, START + 4 * SECOND)
    empty.write_bytes(b"")  # just opened
    one = recovery(desk)
    await one.begin(before=run + 1)
    assert (one.pending_from_us(run), one.pending_from_us(run + 1)) == (START, None)
    assert empty.exists()
    assert await desk.store.runs() == {run: False}


async def test_one_file_that_cannot_be_used_costs_itself_alone(desk: Desk, whole: Path) -> None:
    run = await desk.run()
    kept = [leave(desk, whole, run, START + at * SECOND) for at in (0, 20)]
    folder = kept[0].parent
    (folder / f"{START + 4 * SECOND}.ts").write_bytes(b"garbage" * 1000)
    (folder / f"{START + 8 * SECOND}.ts").mkdir()
    os.mkfifo(folder / f"{START + 12 * SECOND}.ts")
    (folder / f"{START + 13 * SECOND}.ts").symlink_to("nowhere")
    (folder / f"{START + 14 * SECOND}.ts").symlink_to(f"{START + 14 * SECOND}.ts")
    (folder / "holiday.ts").write_bytes(whole.read_bytes())
    (folder / f"{START + 16 * SECOND}.ts").touch()
    await put_in_order(recovery(desk))
    assert sorted(path.name for path in folder.iterdir()) == [path.name for path in kept]
    assert len(list((desk.data / "segments" / "aside").iterdir())) == 6  # the empty one went


async def test_a_file_that_the_disk_does_not_give_is_tried_for_a_minute_and_then_set_aside(
        desk: Desk, whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = await desk.run()
    bad = leave(desk, whole, run, START)
    leave(desk, whole, run, START + 4 * SECOND)
    real = module.adopt

    def adopt(path: Path, rate: Fraction, *, may_be_torn: bool) -> object:
        if path == bad:
            raise RetryError("the disk fails")
        return real(path, rate, may_be_torn=may_be_torn)

    monkeypatch.setattr(module, "adopt", adopt)
    one = recovery(desk)
    await one.begin()
    assert await one._adopt_some()
    assert not await one._adopt_some()
    assert one.pending_from_us(run) == START
    assert bad.exists()
    desk.clock.forward(61 * SECOND)
    assert await one._adopt_some()
    assert one.done
    assert not bad.exists()
    assert [row.start_us for row in await desk.store.segments(run, 0, 1 << 62)] == [START + 4 * SECOND]


async def test_a_run_that_lost_its_row_is_laid_where_its_folder_says(desk: Desk, whole: Path) -> None:
    leave(desk, whole, 7, START)
    run_facts.write(desk.folder.run_facts(7), RunFacts("boot", (Offset(START, desk.offset_us),)))
    one = recovery(desk)
    await put_in_order(one)
    assert one.highest_run == 7
    assert await desk.store.runs() == {7: True}
    assert await desk.store.recovered_at() > 0
    now = desk.clock.wall_us()
    (span,) = one.spans(now - SECOND, now + 3 * SECOND)
    assert (span.run, span.start_us) == (7, START - SECOND)
    assert one.spans(now - 100 * SECOND, now - 10 * SECOND) == []
    assert one.spans(now + 120 * SECOND, now + 180 * SECOND) == []
    assert await desk.store.begin_run("boot", 0, 0, above=one.highest_run) == 8


async def test_a_run_whose_folder_says_nothing_is_laid_by_the_times_of_its_files(desk: Desk, whole: Path) -> None:
    for at in (0, 4, 8):
        path = leave(desk, whole, 7, START + at * SECOND)
        written = (START + (at + 4) * SECOND + desk.offset_us) / SECOND
        os.utime(path, (written, written))
    await put_in_order(recovery(desk))
    (offset,) = await desk.store.offsets(7)
    assert abs(offset.wall_us - desk.offset_us) < SECOND


async def test_a_film_that_was_saved_is_laid_onto_the_run_that_was_found(desk: Desk, whole: Path) -> None:
    leave(desk, whole, 7, START)
    run_facts.write(desk.folder.run_facts(7), RunFacts("boot", (Offset(START, desk.offset_us),)))
    film = await desk.film(Stage.BOOKED, start_s=-1, end_s=3)
    await put_in_order(recovery(desk))
    (span,) = await desk.store.spans(film.booking_id)
    assert span.run == 7
    assert (await desk.now()).stage is Stage.RECORDING  # a segment of it has a row


async def test_footage_of_a_run_that_has_its_row_is_not_found_footage(desk: Desk, whole: Path) -> None:
    leave(desk, whole, await desk.run(), START)
    one = recovery(desk)
    await put_in_order(one)
    assert await desk.store.recovered_at() == 0
    now = desk.clock.wall_us()
    assert one.spans(now - SECOND, now + SECOND) == []


async def test_an_old_copy_of_a_store_that_was_put_back_is_a_recovery_again(desk: Desk, whole: Path) -> None:
    await desk.store.note_recovery("it was lost before")
    before = await desk.store.recovered_at()
    desk.clock.forward(3600 * SECOND)
    leave(desk, whole, 7, START)
    await recovery(desk).begin()
    assert await desk.store.recovered_at() == before + 3600 * SECOND
