"""Night: once a day at three, caught up, never beside a match; what it does, and what a person is told would go."""

import os
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ezrec import files
from ezrec.actions.cleanup import clean_up
from ezrec.domain.clock import SECOND
from ezrec.domain.errors import EzrecError, StoreDamaged
from ezrec.domain.stages import Stage
from ezrec.folders import DataLock
from ezrec.store.copies import make, name_of
from ezrec.tasks.cleanup import Cleanup
from ezrec.tasks.keeping import LEFT_US, plan, wanted_free
from ezrec.tasks.night import Night, copy_in_a_process
from tests.fakes.desk import HOUR, Desk, a_desk

DAY = 24 * HOUR
ROOM = 1 << 50


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with a_desk(tmp_path / "data") as one:
        yield one


@pytest.fixture(autouse=True)
def free(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    def say(how_much: int) -> None:
        monkeypatch.setattr(files, "free_bytes", lambda _: how_much)

    say(ROOM)
    return say


class Rig:
    """A night whose steps are counted; `busy` is set by hand."""

    def __init__(self, desk: Desk, **sections: Any) -> None:
        self.desk, self.busy, self.done = desk, False, list[str]()
        self.settings = desk.settings(site={"timezone": "Europe/Berlin"}, **sections)
        self.night = self.make()

    def make(self) -> Night:
        """As after a start of the recorder."""
        async def forget(_: str) -> None:
            pass

        cleanup = Cleanup(self.desk.store, self.desk.clock, self.desk.folder, self.settings, lambda: None, forget)
        return Night(self.desk.store, self.desk.clock, self.desk.folder, self.settings, cleanup, lambda: self.busy,
                     {"more": self.more}, self.copy)

    async def more(self) -> None:
        self.done.append(self.local())

    async def copy(self, store: Path, copy: Path) -> None:
        make(store, copy)

    def local(self) -> str:
        return datetime.fromtimestamp(self.desk.clock.wall_us() / SECOND, UTC).strftime("%d %H:%M")

    async def passes(self, hours: float, step_s: float = 1200) -> None:
        for _ in range(round(hours * 3600 / step_s)):
            self.desk.clock.forward(round(step_s * SECOND))
            await self.night.run_once()


@pytest.fixture
async def rig(desk: Desk) -> Rig:
    await desk.run()  # the clock says 2027-01-15 08:00 UTC, 09:00 in Berlin
    return Rig(desk)


async def test_it_is_done_once_a_day_at_three_o_clock_local_time(rig: Rig) -> None:
    await rig.passes(3 * 24)
    assert rig.done == ["16 02:00", "17 02:00", "18 02:00"]


@pytest.mark.parametrize("day", ["2027-03-28", "2027-10-31"])
async def test_a_night_in_which_the_clocks_change_has_one_three_o_clock(rig: Rig, day: str) -> None:
    rig.desk.clock.step(datetime.fromisoformat(f"{day}T00:00:00+00:00").timestamp() - rig.desk.clock.wall_us() / SECOND)
    await rig.night.run_once()
    rig.done.clear()
    await rig.passes(24)
    assert len(rig.done) == 1
    assert rig.done[0][3:] in ("01:00", "02:00")


async def test_what_was_missed_is_caught_up_once_and_a_restart_repeats_nothing(rig: Rig) -> None:
    await rig.passes(24)
    rig.done.clear()
    rig.desk.clock.forward(5 * DAY)
    rig.night = rig.make()
    await rig.passes(6)
    rig.night = rig.make()
    await rig.passes(6)
    assert rig.done == ["21 08:20"]


async def test_a_box_that_is_off_at_night_has_its_first_housekeeping_on_its_second_day(rig: Rig) -> None:
    await rig.passes(6)
    assert not rig.done
    rig.desk.clock.forward(DAY)
    rig.night = rig.make()
    await rig.night.run_once()
    assert len(rig.done) == 1


async def test_a_clock_that_was_not_set_yet_is_no_night(rig: Rig) -> None:
    rig.desk.clock.step(-rig.desk.clock.wall_us() / SECOND)
    await rig.passes(48)
    assert not rig.done


async def test_it_waits_while_a_match_is_recorded_or_begins_soon_and_is_done_afterwards(rig: Rig) -> None:
    rig.busy = True
    await rig.passes(24)
    assert not rig.done
    now = rig.desk.clock.wall_us()
    await rig.desk.store.add_film("soon", "rec-soon", now + 14 * 60 * SECOND, now + HOUR)
    rig.busy = False
    await rig.night.run_once()
    assert not rig.done
    await rig.desk.store.step("soon", Stage.MISSED)
    await rig.night.run_once()
    assert len(rig.done) == 1


async def test_a_match_that_begins_in_the_middle_stops_it_and_all_of_it_is_done_later(
        rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    async def a_match_begins(_store: Path, _copy: Path) -> None:
        rig.busy = True

    rig.desk.clock.forward(DAY)
    night = rig.night
    monkeypatch.setattr(night, "_make_copy", a_match_begins)
    assert not await night.run_once()
    assert not rig.done
    rig.busy = False
    monkeypatch.setattr(night, "_make_copy", rig.copy)
    assert await night.run_once()
    assert len(rig.done) == 1


@pytest.mark.parametrize("error", [EzrecError("no"), OSError(5, "input/output error"), ZeroDivisionError()])
async def test_a_step_that_fails_costs_none_of_the_others(rig: Rig, error: Exception,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(rig.night, "_make_copy", fail)
    monkeypatch.setattr(rig.night._cleanup, "run_once", fail)
    await rig.passes(24)
    assert len(rig.done) == 1


# ---- what is done


async def test_a_night_leaves_a_checked_copy_of_the_store_and_a_bounded_number_of_them(desk: Desk) -> None:
    await desk.run()
    rig = Rig(desk, disk={"keep_copies": 2})
    await rig.passes(4 * 24)
    assert sorted(path.name for path in desk.folder.copies.iterdir()) == [name_of("2027-01-18"), name_of("2027-01-19")]


@pytest.mark.parametrize("disk", [{"keep_copies": 0}, {"keep_copies": 2}])
async def test_no_copy_is_made_where_none_is_wanted_or_the_disk_is_short(
        desk: Desk, free: Callable[[int], None], disk: dict[str, Any]) -> None:
    await desk.run()
    rig = Rig(desk, disk=disk)
    free(rig.settings.disk.min_free_mb << 20 if disk["keep_copies"] else ROOM)
    await rig.passes(24)
    assert len(rig.done) == 1
    assert not desk.folder.copies.exists()


async def test_a_copy_that_is_damaged_has_the_store_itself_looked_at(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    async def damaged(*_: object) -> None:
        raise StoreDamaged("the copy is damaged")

    monkeypatch.setattr(rig.night, "_make_copy", damaged)
    await rig.passes(24)
    assert rig.desk.store.doubted
    assert len(rig.done) == 1


async def test_a_copy_is_made_in_a_process_of_its_own_which_is_ended_when_it_takes_too_long(
        desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = desk.folder.copies / name_of("2027-01-15")
    await copy_in_a_process(desk.folder.store, copy)
    assert copy.is_file()
    with pytest.raises(EzrecError, match="there is no store"):
        await copy_in_a_process(desk.data / "none" / "ezrec.db", copy)
    monkeypatch.setattr("ezrec.tasks.night.COPY_LIMIT_S", 0.0)
    with pytest.raises(EzrecError, match="took longer"):
        await copy_in_a_process(desk.folder.store, copy)


async def test_a_store_of_which_much_was_deleted_gets_smaller_and_loses_nothing(rig: Rig) -> None:
    store = rig.desk.store
    async with store.together() as tx:
        for number in range(6000):
            await tx.add_film(f"match-{number:05}-{'x' * 80}", f"rec-{number:05}-{'y' * 700}", number, number + 1)
    await rig.desk.film(Stage.CLEANED, "stays")
    await store._do("DELETE FROM film WHERE booking_id LIKE 'match-%'")
    await store._all("PRAGMA wal_checkpoint(TRUNCATE)")
    before = rig.desk.folder.store.stat().st_size
    await rig.passes(24)
    assert rig.desk.folder.store.stat().st_size < before / 2
    assert (await rig.desk.now("stays")).stage is Stage.CLEANED
    assert not await store.pack()


async def test_a_store_whose_rows_were_shortened_gets_smaller_too(rig: Rig) -> None:
    store = rig.desk.store
    async with store.together() as tx:
        for number in range(6000):
            await tx.add_film(f"match-{number:05}", f"rec-{number:05}", number, number + 1)
            await tx._do("UPDATE film SET recipe = ? WHERE booking_id = ?", "x" * 900, f"match-{number:05}")
    await store._do("UPDATE film SET recipe = NULL")
    await store._all("PRAGMA wal_checkpoint(TRUNCATE)")
    pages = (await store._read("PRAGMA page_count"))[0][0]
    assert (await store._read("PRAGMA freelist_count"))[0][0] < pages / 4  # the room is within pages
    assert await store.pack()
    assert (await store._read("PRAGMA page_count"))[0][0] < 0.75 * pages
    assert not await store.pack()


async def litter(desk: Desk) -> None:
    """One of each thing that goes, and beside it one that stays."""
    now = desk.clock.wall_us()
    run = await desk.run()
    for name, stage, start_s in (("gone", Stage.PUBLISHED, -7200), ("stays", Stage.RENDERED, -3600)):
        film = await desk.film(stage, name, start_s, start_s + 8)
        await desk.lay(film, run)
        await desk.segment(run, start_s)
        place = desk.folder.film(film.recording_id)
        place.mkdir(parents=True)
        (place / "film-1.mp4").write_bytes(b"film" * 250)
        (place / ".chunk.mp4.1.tmp").write_bytes(b"half")
        os.utime(place / ".chunk.mp4.1.tmp", (0, (now - LEFT_US) // SECOND if name == "gone" else now // SECOND))
    await desk.segment(run, -14_400)
    for day in range(1, 8):
        (desk.folder.copies / name_of(f"2027-01-{day:02}")).parent.mkdir(exist_ok=True)
        (desk.folder.copies / name_of(f"2027-01-{day:02}")).write_bytes(b"copy")
    (desk.folder.films / "nobody-s").mkdir()
    (desk.folder.films / "nobody-s" / "film-1.mp4").write_bytes(b"?")


async def test_what_a_dry_run_names_is_what_clean_up_deletes_and_it_deletes_nothing_itself(desk: Desk) -> None:
    await litter(desk)
    settings = desk.settings(film={"keep_segments_h": 0})
    before, copies = desk.files(), set(desk.folder.copies.iterdir())
    found = await clean_up(desk.store, desk.folder, settings, dry_run=True, clock=desk.clock)
    assert (desk.files(), set(desk.folder.copies.iterdir())) == (before, copies)
    assert (await desk.now("gone")).stage is Stage.PUBLISHED
    named = [(one.what, one.which, one.bytes) for one in found.going]
    assert ("film's files and footage", "gone", 1004 + 7) in named
    assert [one.why for one in found.going if one.which == "gone"] == ["published, and kept long enough"]
    assert {what for what, *_ in named} == {
        "unfinished file", "unknown film", "copy of the database", "footage", "film's files and footage"}
    done = await clean_up(desk.store, desk.folder, settings, dry_run=False, clock=desk.clock)
    assert (done.done, done.asked) == (True, False)
    assert done.going == found.going
    gone = before - desk.files()
    assert len(gone) == 1 + 1 + 1 + 2  # unfinished, unknown, footage, the film and its footage
    assert len(copies - set(desk.folder.copies.iterdir())) == 2
    assert (await desk.now("gone")).stage is Stage.CLEANED
    assert (await desk.now("stays")).stage is Stage.RENDERED
    assert not [path for path in gone if "rec-stays" in path]
    assert not await plan(desk.store, desk.folder, settings, desk.clock.wall_us())


async def test_a_recorder_that_runs_is_asked_and_does_it_when_it_is_quiet(desk: Desk) -> None:
    await litter(desk)
    rig = Rig(desk, film={"keep_segments_h": 0})
    with DataLock(desk.folder):
        asked = await clean_up(desk.store, desk.folder, rig.settings, dry_run=False, clock=desk.clock)
        assert (asked.done, asked.asked) == (False, True)
        rig.busy = True
        assert not await rig.night.run_once()
        assert (await desk.now("gone")).stage is Stage.PUBLISHED
        rig.busy = False
        assert await rig.night.run_once()
    assert (await desk.now("gone")).stage is Stage.CLEANED
    assert not rig.done  # the night's own work waits for the night
    assert not desk.folder.cleanup_wanted.exists()
    assert not await rig.night.run_once()


async def test_room_is_kept_for_hours_at_the_rate_of_what_was_recorded_lately(
        desk: Desk, free: Callable[[int], None]) -> None:
    settings = desk.settings(disk={"keep_free_h": 3, "min_free_mb": 1}, cameras={"bitrate": 8_000_000},
                             film={"maxrate": 8_000_000, "keep_segments_h": 1000})
    assert await wanted_free(desk.store, settings) == 3 * 3600 * (2 + 1) * 1_000_000  # nothing was recorded yet
    run = await desk.run()
    film = await desk.film(Stage.PUBLISHED, "match", -60, -52, bytes=8 * 500_000)
    await desk.lay(film, run)
    for camera in ("left", "right"):
        await desk.segment(run, -60, camera=camera)  # 7 bytes in 4 s
    wanted = await wanted_free(desk.store, settings)
    assert wanted == round(3 * 3600 * (2 * 7 / 4 + 500_000))
    free(wanted)
    assert not await plan(desk.store, desk.folder, settings, desk.clock.wall_us())
    free(wanted - 1)
    going = await plan(desk.store, desk.folder, settings, desk.clock.wall_us())
    assert [(one.which, "disk.keep_free_h" in one.why) for one in going] == [("match", True)]
    rig = Rig(desk, disk={"keep_free_h": 3, "min_free_mb": 1}, film={"keep_segments_h": 1000})
    await rig.night._retention()
    assert (await desk.now()).stage is Stage.CLEANED
