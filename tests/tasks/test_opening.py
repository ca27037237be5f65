"""Opening the data folder: the store that is damaged or lost, and kills in the middle of making it anew."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any

import pytest

from ezrec import files
from ezrec.domain.booking import Booking
from ezrec.domain.clock import SECOND
from ezrec.domain.errors import LeaveError
from ezrec.domain.stages import Stage
from ezrec.folders import DataFolder
from ezrec.store import VERSION, Store
from ezrec.store.copies import make, name_of
from ezrec.tasks import opening
from tests.fakes.clocks import MadeUpClock
from tests.fakes.desk import MONO_S, WALL_S


class Killed(BaseException):
    """The process is killed here."""


def clock() -> MadeUpClock:
    return MadeUpClock(MONO_S, WALL_S)


async def opened(folder: DataFolder) -> Store:
    return await opening.open_store(folder, clock())


@pytest.fixture
async def folder(tmp_path: Path) -> DataFolder:
    """A folder with a store that holds two bookings; the table of films is damaged."""
    folder = DataFolder(tmp_path)
    store = await opened(folder)
    for name in ("one", "two"):
        await store.put_booking(Booking(name, "cli", WALL_S * SECOND, (WALL_S + 60) * SECOND, "scheduled"))
        await store.add_film(name, f"rec-{name}", WALL_S * SECOND, (WALL_S + 60) * SECOND)
    await store.close()
    with closing(sqlite3.connect(folder.store)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        page = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'film'").fetchone()[0]
    with folder.store.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(bytes(4096))
    return folder


async def bookings(store: Store) -> list[str]:
    try:
        return [one.id for one in await store.bookings()]
    finally:
        await store.close()


async def test_a_damaged_store_goes_aside_whole_and_what_can_be_read_is_saved(folder: DataFolder) -> None:
    damaged = folder.store.read_bytes()
    store = await opened(folder)
    assert await store.recovered_at() == WALL_S * SECOND
    assert await store.films() == []
    assert await bookings(store) == ["one", "two"]
    (place,) = folder.aside.iterdir()
    assert (place / "ezrec.db").read_bytes() == damaged
    store = await opened(folder)  # once was enough
    assert await bookings(store) == ["one", "two"]
    assert list(folder.aside.iterdir()) == [place]


@pytest.mark.parametrize(("where", "name"), [
    (opening, "salvage"), (Store, "note_recovery"), (files, "rename"), (opening, "move_aside")])
@pytest.mark.parametrize("after", [False, True])
async def test_a_kill_while_a_store_is_made_anew_only_has_it_done_again(
        folder: DataFolder, monkeypatch: pytest.MonkeyPatch, where: Any, name: str, *, after: bool) -> None:
    real: Callable[..., Any] = getattr(where, name)

    def killed(*args: Any, **kwargs: Any) -> None:
        if after:
            real(*args, **kwargs)
        raise Killed

    async def killed_later(*args: Any, **kwargs: Any) -> None:
        if after:
            await real(*args, **kwargs)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(where, name, killed_later if iscoroutinefunction(real) else killed)
        with suppress(Killed):
            await opened(folder)
    assert await bookings(await opened(folder)) == ["one", "two"]
    assert len(list(folder.aside.iterdir())) == 1
    left = [path.name for path in folder.root.iterdir() if path.name.startswith("ezrec.db")]
    assert set(left) <= {"ezrec.db", "ezrec.db-wal", "ezrec.db-shm"}


async def test_a_store_that_is_lost_beside_footage_is_a_recovery_and_a_first_one_is_none(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    store = await opened(folder)
    assert await store.recovered_at() == 0
    await store.close()
    folder.store.unlink()
    (folder.segments / "7" / "left").mkdir(parents=True)
    store = await opened(folder)
    assert await store.recovered_at() > 0
    await store.close()


async def test_a_store_of_a_newer_version_is_neither_damaged_nor_touched(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    await (await opened(folder)).close()
    with closing(sqlite3.connect(folder.store)) as db:
        db.execute(f"PRAGMA user_version = {VERSION + 1}")
    before = folder.store.read_bytes()
    with pytest.raises(LeaveError, match="install the newer EZREC"):
        await opened(folder)
    assert folder.store.read_bytes() == before
    assert not folder.aside.exists()


@pytest.mark.parametrize("harm", ["overwritten", "lost"])
async def test_a_release_on_trial_makes_no_store_anew(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: str) -> None:
    folder = DataFolder(tmp_path)
    await (await opened(folder)).close()
    (folder.segments / "7" / "left").mkdir(parents=True)
    if harm == "lost":
        folder.store.unlink()
    else:
        folder.store.write_bytes(b"no store at all " * 1000)
    before = sorted((path.name, path.stat().st_size) for path in tmp_path.iterdir())
    monkeypatch.setenv("ON_TRIAL", "1")
    with pytest.raises(LeaveError, match="on trial"):
        await opened(folder)
    assert sorted((path.name, path.stat().st_size) for path in tmp_path.iterdir()) == before
    monkeypatch.delenv("ON_TRIAL")
    store = await opened(folder)
    assert await store.recovered_at() > 0
    await store.close()


def test_the_reserve_is_taken_and_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = DataFolder(tmp_path)
    free = 100 << 20
    monkeypatch.setattr(files, "free_bytes", lambda _: free)
    opening.keep_reserve(folder)
    assert folder.reserve.stat().st_size == opening.RESERVE_BYTES
    assert folder.reserve.stat().st_blocks * 512 >= opening.RESERVE_BYTES  # it really takes the room
    opening.give_up_reserve(folder)
    assert folder.reserve.exists()
    free = 1 << 20
    opening.give_up_reserve(folder)
    assert not folder.reserve.exists()
    opening.keep_reserve(folder)
    assert not folder.reserve.exists()


def test_what_is_in_the_way_is_moved_and_nothing_else(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    (tmp_path / "segments" / "7" / "left").mkdir(parents=True)
    kept = [tmp_path / name for name in ("segments/7/left/5.ts", "segments/7/run.json", "media/logo.png", "ezrec.lock")]
    for path in kept:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    for name in ("films", "segments/8", "segments/7/middle", "aside", "check"):
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "state.json").mkdir()
    (tmp_path / "segments" / "99999999999999999999").mkdir()
    opening.clear_the_way(folder)
    assert all(path.exists() for path in kept)
    assert folder.films.is_dir()
    assert {path.name for path in folder.set_aside()} == {
        "films", "check", "aside", "state.json", "8", "7-middle", "99999999999999999999"}
    assert folder.unusable() == []
    shutil.rmtree(tmp_path / "aside")


async def test_a_store_made_anew_gets_back_from_a_copy_what_the_damaged_one_lacks_and_nothing_else(
        folder: DataFolder) -> None:
    before = DataFolder(folder.root / "before")
    before.root.mkdir()
    store = await opened(before)
    for name, stage in (("done", Stage.CLEANED), ("under-way", Stage.RECORDED)):
        await bring(store, name, stage)
    later = (WALL_S + 3600) * SECOND
    await store.put_booking(Booking("withdrawn", "cli", later, later + SECOND, "scheduled"))
    await store.close()
    make(before.store, folder.copies / name_of("2027-01-14"))
    store = await opened(folder)
    assert [film.booking_id for film in await store.films()] == ["done"]
    assert await bookings(store) == ["one", "two"]  # the table of bookings was read whole


async def test_a_store_that_is_gone_is_made_of_its_copy(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    store = await opened(folder)
    await bring(store, "done", Stage.PUBLISHED)
    await store.put_booking(Booking("tomorrow", "cli", (WALL_S + 60) * SECOND, (WALL_S + 90) * SECOND, "scheduled"))
    await store.close()
    make(folder.store, folder.copies / name_of("2027-01-14"))
    for path in folder.root.glob("ezrec.db*"):
        path.unlink()
    store = await opened(folder)
    assert [film.stage for film in await store.films()] == [Stage.PUBLISHED]
    assert await bookings(store) == ["tomorrow"]


async def bring(store: Store, name: str, stage: Stage) -> None:
    """A film in a stage."""
    await store.add_film(name, f"rec-{name}", 0, 1)
    for step in (Stage.RECORDING, Stage.RECORDED, Stage.RENDERED, Stage.UPLOADED, Stage.PUBLISHED, Stage.CLEANED):
        await store.step(name, step)
        if step is stage:
            return
