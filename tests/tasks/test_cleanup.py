"""Clean-up: nothing goes that is still needed, nor in an order that a kill could spoil; for room the right ones go."""

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ezrec import files
from ezrec.adapters.publishing.local import LocalPublisher
from ezrec.adapters.storage.local import LocalStorage
from ezrec.domain.clock import SECOND
from ezrec.domain.errors import RetryError
from ezrec.domain.film import Film
from ezrec.domain.stages import Stage
from ezrec.domain.timeline import Segment
from ezrec.store import Store
from ezrec.tasks.cleanup import Cleanup
from ezrec.tasks.film.growing import Growth
from ezrec.tasks.outbox import Outbox
from ezrec.tasks.publish import Publish
from ezrec.tasks.upload import Upload
from tests.fakes.desk import HOUR, RECIPE, Desk, a_desk, not_damaged
from tests.fakes.waiting import eventually

ROOM = 1 << 50


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with a_desk(tmp_path / "data") as one:
        yield one


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], int]], None]:
    def say(how_much: Callable[[], int]) -> None:
        monkeypatch.setattr(files, "free_bytes", lambda _: how_much())

    say(lambda: ROOM)
    return say


async def nothing(_: str) -> None:
    pass


def cleanup(desk: Desk, run: int | None = None, **film: Any) -> Cleanup:
    return Cleanup(desk.store, desk.clock, desk.folder, desk.settings(film=film), lambda: run, nothing)


async def recorded(desk: Desk, stage: Stage, booking_id: str = "match", start_s: float = -60, **columns: Any) -> Film:
    """A film of 8 s with its folder, and two segments of its own."""
    film = await desk.film(stage, booking_id, start_s, start_s + 8, **columns)
    run = await desk.run()
    await desk.lay(film, run)
    for at in (start_s, start_s + 4):
        await desk.segment(run, at)
    folder = desk.data / "films" / film.recording_id
    folder.mkdir(parents=True)
    (folder / "film-1.mp4").write_bytes(b"film")
    return film


async def test_a_published_film_leaves_nothing_behind(desk: Desk) -> None:
    film = await recorded(desk, Stage.PUBLISHED)
    assert await cleanup(desk).work(film)
    assert desk.files() == set()
    assert not (desk.data / "segments" / "1").exists()
    assert (await desk.now()).stage is Stage.CLEANED
    assert await desk.store.segment_paths() == set()


@pytest.mark.parametrize("stage", [one for one in Stage if one not in (Stage.PUBLISHED, Stage.CLEANED)])
async def test_a_segment_that_two_films_touch_stays_until_both_are_cleaned(desk: Desk, stage: Stage) -> None:
    """Promise 2."""
    film = await recorded(desk, Stage.PUBLISHED)
    other = await desk.film(stage, "other", -55.7, -40)
    await desk.lay(other, 1)
    assert await cleanup(desk).work(film)
    assert [segment.start_us - desk.clock.mono_us() for segment in await desk.store.segments(1, 0, 1 << 60)] == [
        -60 * SECOND, -56 * SECOND]  # the first one may hold the frame nearest to its start
    while (now := await desk.now("other")).stage is not Stage.CLEANED:
        ways = {Stage.RECORDED: Stage.RENDERED, Stage.RENDERED: Stage.UPLOADED, Stage.UPLOADED: Stage.PUBLISHED,
                Stage.RECORDING: Stage.CANCELLED, Stage.BOOKED: Stage.MISSED}
        await desk.store.step("other", ways.get(now.stage, Stage.CLEANED))
    await cleanup(desk).run_once()
    assert await desk.store.segment_paths() == set()


async def test_a_segment_that_a_window_once_reached_stays_though_the_window_moved_away(desk: Desk) -> None:
    film = await recorded(desk, Stage.RECORDING)
    (span,) = await desk.store.spans("match")
    await desk.store.put_span("match", span.moved(span.start_us + 600 * SECOND, span.end_us + 600 * SECOND))
    await cleanup(desk).run_once()
    assert len(await desk.store.segment_paths()) == 2
    assert (desk.data / "films" / film.recording_id).exists()


async def test_footage_that_nobody_wants_goes_but_not_what_the_cameras_have_just_written(desk: Desk) -> None:
    run = await desk.run()
    old, new = await desk.segment(run, -60 - 5), await desk.segment(run, -60 - 3)  # they end 61 and 59 s ago
    await cleanup(desk, run).run_once()
    assert desk.files() == await desk.store.segment_paths() == {new.path}
    await cleanup(desk, None).run_once()  # the cameras are off
    assert desk.files() == set()
    assert old.path != new.path


async def test_nothing_is_deleted_before_the_object_is_verified_and_the_row_is_in(
        desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise 3."""
    film = await recorded(desk, Stage.RENDERED, recipe=RECIPE.dumps(), bytes=4)
    did: list[str] = []

    def spy(owner: Any, name: str, word: str, *, asynchronous: bool) -> None:
        real = getattr(owner, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            answer = await real(*args, **kwargs)
            did.append(word)
            return answer

        def call_now(*args: Any, **kwargs: Any) -> Any:
            did.append(word)
            return real(*args, **kwargs)

        monkeypatch.setattr(owner, name, call if asynchronous else call_now)

    spy(LocalStorage, "_verify", "verify", asynchronous=False)
    spy(Store, "put_video", "row", asynchronous=True)
    spy(shutil, "rmtree", "delete film", asynchronous=False)
    spy(files, "remove", "delete segments", asynchronous=False)
    storage, zone = LocalStorage(desk.data / "library", desk.data, link=True), ZoneInfo("UTC")
    path = desk.data / "films" / film.recording_id / "film-1.mp4"
    upload = Upload(desk.store, desk.clock, storage, desk.settings(), zone, lambda _: Growth(path, 4, closed=True),
                    not_damaged)
    assert await upload.work(await desk.now())
    did = [word for word in did if word != "delete segments"]  # the unfinished upload's own files
    await Publish(desk.store, desk.settings().site, zone, lambda: None).work(await desk.now())
    told = Outbox(desk.store, desk.clock, storage, LocalPublisher(desk.store), None, lambda: None)
    assert await told.run_once()
    assert path.exists()
    assert await cleanup(desk).work(await desk.now())
    assert did == ["verify", "row", "delete film", "delete segments"]
    assert not path.exists()


@pytest.mark.parametrize("after", ["marked", "unlinked", "half unlinked", "rows dropped"])
async def test_a_kill_between_the_steps_of_a_deletion_brings_no_segment_back(
        desk: Desk, monkeypatch: pytest.MonkeyPatch, after: str) -> None:
    """Promise 1: row marked, file unlinked, row dropped."""
    await recorded(desk, Stage.PUBLISHED)

    class Killed(BaseException):
        pass

    def killed(*_: Any) -> None:
        raise Killed

    real = files.remove
    with monkeypatch.context() as patch:
        if after == "marked":
            patch.setattr(files, "remove", killed)
        elif after == "half unlinked":
            patch.setattr(files, "remove", lambda *paths: (real(paths[0]), killed()))
        elif after == "unlinked":
            patch.setattr(Store, "drop_doomed", killed)
        else:
            patch.setattr(Cleanup, "_unlink", lambda *args: (real(*args[1]), None))
        with suppress(Killed):
            await cleanup(desk).work(await desk.now())
    left = {path for path in desk.files() if path.endswith(".ts")}
    assert left <= await desk.store.segment_paths()  # what is left has a row, and is no orphan
    assert await desk.store.segments(1, 0, 1 << 60) == []  # and is used for no film
    await cleanup(desk).finish_deletions()
    assert {path for path in desk.files() if path.endswith(".ts")} == await desk.store.segment_paths() == set()


async def test_a_kill_while_a_film_is_cleaned_is_made_good_the_next_time(
        desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    film = await recorded(desk, Stage.PUBLISHED)
    with monkeypatch.context() as patch:
        patch.setattr(Store, "drop_chunks", lambda *_: (_ for _ in ()).throw(asyncio.CancelledError))
        with pytest.raises(asyncio.CancelledError):
            await cleanup(desk).work(film)
    assert ((await desk.now()).stage, len(await desk.store.segment_paths())) == (Stage.PUBLISHED, 2)
    assert await cleanup(desk).work(await desk.now())
    assert desk.files() == set()


async def test_segments_are_kept_as_long_as_asked_but_the_film_is_not(desk: Desk, free: Any) -> None:
    film = await recorded(desk, Stage.PUBLISHED)
    task = cleanup(desk, keep_segments_h=2)
    assert not await task.work(film)
    assert desk.files() == await desk.store.segment_paths()
    assert len(desk.files()) == 2
    desk.clock.forward(2 * HOUR - 1)
    await task.run_once()
    assert len(desk.files()) == 2
    desk.clock.forward(1)
    await task.run_once()  # nobody pokes the film after so long
    assert (desk.files(), (await desk.now()).stage) == (set(), Stage.CLEANED)


@pytest.mark.parametrize("stage", [Stage.CANCELLED, Stage.MISSED])
async def test_footage_of_a_cancelled_booking_is_kept_as_long_as_asked(desk: Desk, free: Any, stage: Stage) -> None:
    await recorded(desk, stage)
    task = cleanup(desk, keep_cancelled_h=2)
    desk.clock.forward(2 * HOUR - 1)
    await task.run_once()
    assert len(desk.files()) == 3
    desk.clock.forward(1)
    await task.run_once()
    assert (desk.files(), (await desk.now()).stage) == (set(), Stage.CLEANED)


async def test_a_booking_that_was_cancelled_long_before_its_window_may_still_come_back(desk: Desk, free: Any) -> None:
    await desk.film(Stage.CANCELLED, start_s=100 * 3600, end_s=101 * 3600)
    task = cleanup(desk, keep_cancelled_h=2)
    desk.clock.forward(100 * HOUR)
    await task.run_once()
    assert (await desk.now()).stage is Stage.CANCELLED
    desk.clock.forward(3 * HOUR)
    await task.run_once()
    assert (await desk.now()).stage is Stage.CLEANED


async def test_for_room_the_cancelled_go_first_then_the_published_and_the_unpublished_never(
        desk: Desk, free: Any) -> None:
    """Promise 9."""
    for index, stage in enumerate((Stage.PUBLISHED, Stage.CANCELLED, Stage.RENDERED, Stage.CANCELLED, Stage.RECORDED,
                                   Stage.RECORDING, Stage.UPLOADED)):
        await recorded(desk, stage, f"{index}-{stage}", -500 + 50 * index)
    kept, order = len(await desk.store.segment_paths()), []

    async def gone() -> list[str]:
        return [film.booking_id for film in await desk.store.films(Stage.CLEANED)]

    task = cleanup(desk, keep_segments_h=999, keep_cancelled_h=999)
    for wanted in range(4):  # room is short until so many films are gone
        freed = len(list((desk.data / "segments").rglob("*.ts"))) - 2
        free(lambda freed=freed: ROOM if len(list((desk.data / "segments").rglob("*.ts"))) <= freed else 0)
        await task.run_once()
        order += [one for one in await gone() if one not in order]
        assert len(order) == min(wanted + 1, 3)
    assert order == ["1-cancelled", "3-cancelled", "0-published"]
    assert len(await desk.store.segment_paths()) == kept - 6
    assert {film.booking_id for film in await desk.store.films() if film.stage is not Stage.CLEANED} == {
        "2-rendered", "4-recorded", "5-recording", "6-uploaded"}


@pytest.mark.parametrize(("missing", "stage"), [(0, Stage.CANCELLED), (1, Stage.CLEANED)])
async def test_room_is_short_below_what_the_settings_keep_free(
        desk: Desk, free: Any, missing: int, stage: Stage) -> None:
    await recorded(desk, Stage.CANCELLED)
    least = desk.settings().disk.min_free_mb << 20
    free(lambda: least - missing)
    await cleanup(desk, keep_cancelled_h=999).run_once()
    assert (await desk.now()).stage is stage


@pytest.mark.parametrize("short", [True, False])
async def test_on_a_disk_without_room_to_write_that_a_segment_goes_its_file_goes_first(
        desk: Desk, free: Any, monkeypatch: pytest.MonkeyPatch, *, short: bool) -> None:
    await desk.segment(await desk.run(), -60)
    free(lambda: 0 if short else ROOM)
    doom = Store.doom

    async def full(store: Store, segments: Sequence[Segment]) -> None:
        if desk.files():
            raise RetryError("the store: database or disk is full")
        await doom(store, segments)

    monkeypatch.setattr(Store, "doom", full)
    if short:
        await cleanup(desk).run_once()
        assert await desk.store.segment_paths() == desk.files() == set()
    else:  # a store that is busy, say
        with pytest.raises(RetryError):
            await cleanup(desk).run_once()
        assert len(desk.files()) == 1


async def test_a_cancelled_film_without_footage_is_not_given_up_for_room(desk: Desk, free: Any) -> None:
    await desk.film(Stage.CANCELLED, start_s=3600, end_s=7200)
    free(lambda: 0)
    await cleanup(desk).run_once()
    assert (await desk.now()).stage is Stage.CANCELLED


async def test_a_film_that_cannot_be_deleted_keeps_neither_its_stage_secret_nor_the_others_waiting(
        desk: Desk, free: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    stuck = await recorded(desk, Stage.CANCELLED, "stuck", -100)
    await recorded(desk, Stage.CANCELLED, "other", -50)
    real = shutil.rmtree

    def rmtree(folder: Path) -> None:
        if folder.name == stuck.recording_id:
            raise PermissionError(13, "Permission denied", str(folder))
        real(folder)

    monkeypatch.setattr(shutil, "rmtree", rmtree)
    desk.clock.forward(1000 * HOUR)
    await cleanup(desk).run_once()
    assert ((await desk.now("stuck")).stage, (await desk.now("other")).stage) == (Stage.CANCELLED, Stage.CLEANED)


async def test_the_two_that_clean_up_do_not_get_into_each_others_way(desk: Desk, free: Any) -> None:
    for index in range(6):
        await recorded(desk, Stage.PUBLISHED, f"{index}", -500 + 50 * index)
    task = cleanup(desk)
    await asyncio.gather(task.run_once(), *(task.work(film) for film in await desk.store.films()), task.run_once())
    assert desk.files() == set()
    assert {film.stage for film in await desk.store.films()} == {Stage.CLEANED}


async def test_what_a_film_holds_open_is_let_go_before_it_is_deleted(desk: Desk) -> None:
    film = await recorded(desk, Stage.PUBLISHED)
    there: list[bool] = []

    async def forget(booking_id: str) -> None:
        there.append((desk.data / "films" / film.recording_id).exists() and booking_id == "match")

    await Cleanup(desk.store, desk.clock, desk.folder, desk.settings(), lambda: None, forget).work(film)
    assert there == [True]


async def test_clean_up_looks_by_itself_as_soon_as_it_runs(desk: Desk) -> None:
    await recorded(desk, Stage.PUBLISHED)
    running = asyncio.create_task(cleanup(desk).run())

    async def cleaned() -> bool:
        return (await desk.now()).stage is Stage.CLEANED

    await eventually(cleaned)
    running.cancel()
    await asyncio.wait({running})


async def test_clean_up_waits_between_two_looks(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    task, looks = cleanup(desk), list[int]()

    async def look() -> None:
        looks.append(1)

    monkeypatch.setattr(task, "run_once", look)
    running = asyncio.create_task(task.run())
    for _ in range(20):
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait({running})
    assert len(looks) == 1


async def test_a_folder_is_gone_for_good_before_its_film_is_cleaned(
        desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    film = await recorded(desk, Stage.PUBLISHED)
    folder, real, synced = desk.data / "films" / film.recording_id, files.fsync_folder, list[tuple[Path, bool, str]]()

    def fsync(path: Path) -> None:
        with closing(sqlite3.connect(desk.data / "ezrec.db")) as db:
            (stage,) = db.execute("SELECT stage FROM film").fetchone()
        synced.append((path, folder.exists(), stage))
        real(path)

    monkeypatch.setattr(files, "fsync_folder", fsync)
    assert await cleanup(desk).work(film)
    assert (folder.parent, False, "published") in synced
