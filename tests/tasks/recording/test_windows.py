"""Recording: which time is wanted, what a window becomes when the clock steps, when a film begins and is over."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from ezrec.adapters.segments import Sealed
from ezrec.domain.clock import SECOND
from ezrec.domain.errors import CameraStuck, RetryError, StoreDamaged
from ezrec.domain.stages import Stage
from ezrec.domain.timeline import HOLD_US, Offset
from ezrec.store import Store
from ezrec.tasks.recording import windows as recording_module
from ezrec.tasks.recording.windows import FOR_EVER_US, Recording
from tests.fakes.desk import MONO_S, WALL_S, Desk, a_desk
from tests.fakes.waiting import eventually

S = SECOND
ROOM = 1 << 50


class Lane:
    """A lane whose state is set by hand."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.camera = type("Camera", (), {"size": (320, 180)})
        self.known = 0
        self.last = 0
        self.streaming = False
        self.idle = True
        self.wanted: list[bool] = []
        self.cuts: list[int] = []
        self.rows: list[Sealed] = []
        self.stopped = False
        self.fails: Exception | None = None
        self.failures = 0

    def want(self, wanted: bool) -> None:
        self.wanted.append(wanted)
        self.idle = not wanted

    def watermark_us(self) -> int:
        return self.known

    def last_frame_us(self) -> int:
        return self.last

    def health(self) -> Any:
        return f"{self.name} is well"

    def cut_after(self, us: int) -> None:
        self.cuts.append(us)

    def recorded(self, sealed: Sealed) -> None:
        self.rows.append(sealed)

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def stop(self) -> None:
        self.stopped = True
        if self.fails:
            raise self.fails


class Studio:
    """The recorder with two such lanes."""

    def __init__(self, desk: Desk, **settings: Any) -> None:
        self.desk = desk
        self.free = ROOM
        self.changes = 0
        self.left, self.right = self.lanes = [Lane("left"), Lane("right")]
        self.hand: list[Callable[[Sealed], None]] = []
        self.recording = Recording(
            desk.store, desk.clock, desk.folder,
            desk.settings(cameras={"lead_s": 3}, disk={"min_free_mb": 100}, **settings),
            [self._maker(lane) for lane in self.lanes], "boot", lambda _: self.free, self._changed)

    def _maker(self, lane: Lane) -> Any:
        def make(_: int, sealed: Callable[[Sealed], None]) -> Lane:
            self.hand.append(sealed)
            return lane

        return make

    def _changed(self) -> None:
        self.changes += 1

    async def look(self, forward_s: float = 0) -> bool:
        """Let time pass and look; whether the cameras are wanted."""
        self.desk.clock.forward(round(forward_s * S))
        await self.recording.run_once()
        return self.left.wanted[-1]

    def known(self, at_s: float | None = None) -> None:
        """Both cameras' footage is known up to here (seconds from the start), or up to now."""
        us = self.desk.clock.mono_us() if at_s is None else round((MONO_S + at_s) * S)
        for lane in self.lanes:
            lane.known = lane.last = us

    def sealed(self, start_s: float, end_s: float, camera: str = "left") -> Sealed:
        start = round((MONO_S + start_s) * S)
        return Sealed(camera, self.recording.run_id, start, round((MONO_S + end_s) * S), 30, 0, 7,
                      self.desk.data / "segments" / camera / f"{start}.ts")

    async def write(self, sealed: Sealed) -> None:
        await self.recording._write_row(sealed)

    async def span(self, booking_id: str = "match") -> tuple[float, float]:
        """The film's window on this run, in seconds from the start."""
        span = next(one for one in await self.desk.store.spans(booking_id) if one.run == self.recording.run_id)
        return span.start_us / S - MONO_S, span.end_us / S - MONO_S


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with a_desk(tmp_path) as one:
        yield one


@pytest.fixture
async def studio(desk: Desk) -> Studio:
    one = Studio(desk)
    await one.recording.begin()
    return one


async def book(studio: Studio, start_s: float, end_s: float, booking_id: str = "match") -> None:
    await studio.desk.store.add_film(booking_id, f"rec-{booking_id}", round((WALL_S + start_s) * S),
                                     round((WALL_S + end_s) * S))


async def test_cameras_run_for_a_window_with_its_lead_and_not_otherwise(studio: Studio) -> None:
    await book(studio, 10, 20)
    assert [await studio.look(step) for step in (0, 6.9, 0.1, 10)] == [False, False, True, True]
    studio.left.last = studio.right.last = (MONO_S + 20) * S
    assert await studio.look(3) is False
    assert studio.recording.active is False


async def test_the_current_booking_is_the_one_whose_window_is_open_whether_its_cameras_deliver_or_not(
        studio: Studio) -> None:
    await book(studio, 10, 20)
    await book(studio, 15, 30, "next")
    said = []
    for second in range(0, 35, 5):
        await studio.look(5 if second else 0)
        said.append(studio.recording.current_booking())
    assert said == [None, None, "match", "match", "next", "next", None]
    assert not studio.recording.delivering()


async def test_the_current_booking_ends_with_its_window_and_not_with_the_next_look(studio: Studio) -> None:
    await book(studio, 0, 10)
    await studio.look()
    assert studio.recording.current_booking() == "match"
    studio.desk.clock.forward(10 * S - 1)
    assert studio.recording.current_booking() == "match"
    studio.desk.clock.forward(1)
    assert studio.recording.current_booking() is None


async def test_a_booking_for_which_there_is_no_room_is_not_current(studio: Studio) -> None:
    studio.free = 0
    await book(studio, 0, 10)
    await studio.look()
    assert studio.recording.current_booking() is None


async def test_each_camera_s_health_is_told_by_its_name(studio: Studio) -> None:
    assert studio.recording.health() == {"left": "left is well", "right": "right is well"}


async def test_cameras_run_through_windows_that_touch_or_overlap(studio: Studio) -> None:
    for index, (start, end) in enumerate(((10, 20), (20, 30), (25, 40))):
        await book(studio, start, end, f"b{index}")
    await studio.look(7)
    for lane in studio.lanes:
        lane.last = FOR_EVER_US
    assert [await studio.look(0.5) for _ in range(64)] == [True] * 64  # up to 39 s
    assert not await studio.look(1.5)


async def test_a_window_that_is_over_inside_a_longer_one_takes_no_camera_from_it(studio: Studio) -> None:
    await book(studio, 10, 60, "long")
    await book(studio, 20, 30, "short")
    await studio.look(12)
    assert [await studio.look(step) for step in (10, 10, 10)] == [True] * 3  # nothing is known yet: both stay open


async def test_a_camera_that_still_delivers_may_bring_the_last_frames_a_moment_later(studio: Studio) -> None:
    await book(studio, 10, 20)
    await studio.look(15)
    for lane in studio.lanes:
        lane.streaming, lane.last = True, (MONO_S + 19) * S
    assert await studio.look(5.4)
    assert not await studio.look(0.1)


async def test_a_film_begins_with_its_first_segment_and_is_recorded_once_both_cameras_are_known_to_its_end(
        studio: Studio) -> None:
    await book(studio, 10, 20)
    await studio.look(12)
    assert (await studio.desk.now()).stage is Stage.BOOKED
    await studio.write(studio.sealed(9, 13))
    assert (await studio.desk.now()).stage is Stage.RECORDING
    await studio.look(9)
    studio.known(20.6)
    studio.right.known = round((MONO_S + 20) * S) + HOLD_US - 1
    await studio.look()
    assert (await studio.desk.now()).stage is Stage.RECORDING
    studio.right.known += 1
    await studio.look()
    assert (await studio.desk.now()).stage is Stage.RECORDED


async def test_a_window_without_a_segment_is_missed_but_not_before_it_is_known_that_none_comes(studio: Studio) -> None:
    await book(studio, 10, 20)
    await studio.look(12)
    await studio.look(9)
    assert (await studio.desk.now()).stage is Stage.BOOKED
    studio.known(21)
    await studio.look()
    assert (await studio.desk.now()).stage is Stage.MISSED


async def test_a_window_that_was_over_before_the_process_ran_is_missed_or_recorded(desk: Desk) -> None:
    await desk.film(Stage.BOOKED, "nothing", -60, -30)
    await desk.film(Stage.RECORDING, "something", -60, -30)
    studio = Studio(desk)
    await studio.recording.begin()
    await studio.look()
    assert {film.booking_id: film.stage for film in await desk.store.films()} == {
        "nothing": Stage.MISSED, "something": Stage.RECORDED}


async def test_a_film_that_was_cancelled_or_moved_since_it_was_read_is_not_closed(
        studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cancelled", "moved"):
        await book(studio, 10, 20, name)
    await studio.look(12)
    await studio.write(studio.sealed(9, 13))
    await studio.look(9)
    studio.known(21)
    films = await studio.desk.store.films()
    await studio.desk.store.step("cancelled", Stage.CANCELLED)
    await studio.desk.store.move_film("moved", (WALL_S + 10) * S, (WALL_S + 60) * S)

    async def stale(*_: Any) -> Any:
        return films

    with monkeypatch.context() as patch:
        patch.setattr(studio.desk.store, "films", stale)
        await studio.look()
    assert {film.booking_id: film.stage for film in await studio.desk.store.films()} == {
        "cancelled": Stage.CANCELLED, "moved": Stage.RECORDING}


async def test_a_run_that_is_not_ours_has_nothing_more_to_come(studio: Studio) -> None:
    studio.known(3)
    studio.right.known -= S
    assert studio.recording.known_to_us(studio.recording.run_id) == (MONO_S + 2) * S
    assert studio.recording.known_to_us(99) == FOR_EVER_US


async def test_a_film_on_a_run_whose_offsets_are_lost_stays_where_it_was_laid(desk: Desk) -> None:
    film = await desk.film(Stage.RECORDING, start_s=-30, end_s=30)
    await desk.lay(film, await desk.run())
    before = await desk.store.spans("match")
    await desk.store._do("DELETE FROM offset")
    studio = Studio(desk)
    await studio.recording.begin()
    await studio.look()
    assert (await desk.store.spans("match"))[:1] == before


async def test_a_film_task_is_told_when_more_is_known(studio: Studio) -> None:
    await book(studio, 10, 20)
    await studio.look(12)
    before = studio.changes
    await studio.look()
    assert studio.changes == before
    studio.known()
    await studio.look()
    assert studio.changes == before + 1


async def test_segments_are_cut_so_that_no_film_waits_for_a_longer_one(studio: Studio) -> None:
    await book(studio, 10, 20)
    await studio.look(12)
    await studio.look(7)
    assert studio.left.cuts == studio.right.cuts
    assert studio.left.cuts[-1] == (MONO_S + 20) * S + HOLD_US


# ---- the clock (promise 8)


@pytest.mark.parametrize("step_s", [-3600, -1, 1, 3600, 0.4, -0.4])
async def test_a_clock_that_steps_before_a_window_moves_it(studio: Studio, step_s: float) -> None:
    await book(studio, 10, 20)
    studio.desk.clock.step(step_s)
    await studio.look(1)
    steps = abs(step_s) > 0.5
    assert len(await studio.desk.store.offsets(studio.recording.run_id)) == 1 + steps
    if step_s > 20:
        assert (await studio.desk.now()).stage is Stage.MISSED  # it is over, as far as anybody can tell
        return
    shift = step_s if steps else 0
    assert not await studio.look(5.9 - shift)
    assert await studio.look(0.2)
    assert await studio.span() == (10 - shift, 20 - shift)


@pytest.mark.parametrize(("step_s", "end_s"), [(-3600, 3620), (-1, 21), (1, 20), (3600, 20), (50 * 365 * 86400, 20),
                                               (-50 * 365 * 86400, 20)])
async def test_a_clock_that_steps_in_mid_film_neither_cuts_nor_loses_it(studio: Studio, step_s: float,
                                                                        end_s: float) -> None:
    await book(studio, 10, 20)
    await studio.look(12)
    await studio.write(studio.sealed(9, 13))
    studio.desk.clock.step(step_s)
    assert await studio.look(1)
    assert await studio.span() == (10, end_s)
    assert (await studio.desk.now()).stage is Stage.RECORDING
    studio.desk.clock.step(-step_s)
    assert await studio.look(1)
    assert await studio.span() == (10, 20)
    (span,) = await studio.desk.store.spans("match")
    assert (span.reach_from_us, span.reach_to_us) == ((MONO_S + 10) * S, (MONO_S + end_s) * S)


async def test_a_clock_that_steps_in_the_moment_a_window_opens_leaves_its_start(studio: Studio) -> None:
    await book(studio, 10, 20)
    await studio.look(9)
    studio.desk.clock.forward(S)
    studio.desk.clock.step(-2)
    await studio.look()
    assert await studio.span() == (10, 22)


async def test_an_offset_is_kept_for_each_step_with_its_moment(studio: Studio) -> None:
    studio.desk.clock.forward(5 * S)
    studio.desk.clock.step(-60)
    await studio.look()
    first, second = await studio.desk.store.offsets(studio.recording.run_id)
    assert second == Offset(first.from_us + 5 * S, first.wall_us - 60 * S)


async def test_a_booking_that_moves_while_it_is_recorded_moves_its_window_on_every_run(desk: Desk) -> None:
    film = await desk.film(Stage.RECORDING, start_s=-30, end_s=30)
    old = await desk.run()
    await desk.lay(film, old)
    studio = Studio(desk)
    await studio.recording.begin()
    assert await studio.look()
    await desk.store.move_film("match", film.starts_at - 10 * S, film.ends_at + 30 * S)
    assert await studio.look()
    spans = await desk.store.spans("match")
    assert [span.run for span in spans] == [old, studio.recording.run_id]
    assert {(span.start_us, span.end_us) for span in spans} == {((MONO_S - 40) * S, (MONO_S + 60) * S)}
    assert {span.anchor_us for span in spans} == {(MONO_S - 30) * S}


# ---- room (promise 9)


async def test_a_film_is_not_begun_when_the_disk_is_nearly_full_and_is_begun_once_there_is_room(studio: Studio) -> None:
    await book(studio, 10, 20)
    studio.free = (100 << 20) - 1
    assert not await studio.look(12)
    assert await studio.desk.store.spans("match") == []
    studio.free += 1
    assert await studio.look(2)
    await studio.write(studio.sealed(14, 18))
    assert (await studio.desk.now()).stage is Stage.RECORDING


async def test_a_film_that_has_begun_goes_on_when_the_disk_is_nearly_full_even_in_a_new_run(
        desk: Desk, studio: Studio) -> None:
    await book(studio, 10, 20)
    await studio.look(12)
    await studio.write(studio.sealed(9, 13))
    studio.free = 0
    assert await studio.look(1)
    again = Studio(desk)
    again.free = 0
    await again.recording.begin()
    assert await again.look()


async def test_a_film_for_which_there_was_never_room_is_missed(studio: Studio) -> None:
    await book(studio, 10, 20)
    studio.free = 0
    await studio.look(12)
    await studio.look(9)
    assert (await studio.desk.now()).stage is Stage.MISSED


# ---- rows


async def test_a_segments_row_is_written_before_its_lane_counts_it_as_durable(
        studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise 1: the writer has closed and fsynced the file; the row comes next, the watermark last."""
    order: list[str] = []
    real = Store.add_segment

    async def add(store: Store, segment: Any) -> Any:
        answer = await real(store, segment)
        order.append("row")
        return answer

    monkeypatch.setattr(Store, "add_segment", add)
    monkeypatch.setattr(studio.left, "recorded", lambda _: order.append("durable"))
    await studio.write(studio.sealed(0, 4))
    assert order == ["row", "durable"]


async def test_a_row_that_the_store_refuses_is_written_as_soon_as_it_can_be(
        studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording_module, "ROW_RETRY_S", 0)
    real, refusals = Store.add_segment, iter([True, True, False])

    async def add(store: Store, segment: Any) -> Any:
        if next(refusals):
            raise recording_module.RetryError("the disk is full")
        return await real(store, segment)

    monkeypatch.setattr(Store, "add_segment", add)
    await studio.write(studio.sealed(0, 4))
    assert len(await studio.desk.store.segment_paths()) == len(studio.left.rows) == 1


async def test_a_stop_seals_everything_and_writes_its_rows_though_one_camera_hangs(studio: Studio) -> None:
    studio.left.fails = RuntimeError("hangs")
    studio.hand[1](studio.sealed(0, 4, "right"))
    await studio.recording.stop()
    assert studio.right.stopped
    assert len(await studio.desk.store.segment_paths()) == 1


@pytest.mark.parametrize("error", [RetryError("the disk is full"), StoreDamaged("the store is damaged")])
async def test_a_stop_ends_though_the_store_takes_no_more_rows(
        studio: Studio, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    async def refuse(store: Store, segment: Any) -> None:
        raise error

    monkeypatch.setattr(Store, "add_segment", refuse)
    for camera in ("left", "right"):
        studio.hand[1](studio.sealed(0, 4, camera))
    async with asyncio.timeout(5):
        await studio.recording.stop()


async def test_a_look_that_is_asked_for_comes_at_once(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording_module, "CHECK_EVERY_S", 60)
    running = asyncio.create_task(studio.recording.run())

    async def looked(times: int) -> bool:
        return len(studio.left.wanted) >= times

    try:
        await eventually(lambda: looked(1))
        studio.recording.notify()
        await eventually(lambda: looked(2))
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_process_in_which_no_camera_can_be_brought_to_deliver_is_left_but_not_soon_after_its_start(
        studio: Studio) -> None:
    await book(studio, 10, 1000)
    studio.left.failures = studio.right.failures = 5
    assert await studio.look(299)
    studio.right.failures = 4
    await studio.look(2)
    studio.right.failures = 5
    with pytest.raises(CameraStuck, match="no camera delivers"):
        await studio.look(0)


async def test_cameras_that_fail_while_nobody_wants_them_are_no_reason_to_leave(studio: Studio) -> None:
    studio.left.failures = studio.right.failures = 99
    assert not studio.recording.active
    studio.desk.clock.forward(1000 * S)
    await studio.recording.run_once()


async def test_a_full_disk_is_said_once_each_time_it_fills(studio: Studio) -> None:
    await book(studio, 10, 100)
    with capture_logs() as lines:
        for studio.free in (0, 0, ROOM, ROOM, 0, 0):
            await studio.desk.store.drop_spans("match")
            await studio.look(12 if not lines else 0)
    said = [line["event"] for line in lines if line["log_level"] == "error"]
    assert said == ["disk nearly full, no new film is begun"] * 2


async def test_it_records_by_itself_writes_the_rows_of_what_is_sealed_and_waits_between_two_looks(
        studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording_module, "CHECK_EVERY_S", 60)
    running = asyncio.create_task(studio.recording.run())

    async def written() -> bool:
        return bool(studio.left.rows)

    try:
        studio.hand[0](studio.sealed(0, 4))
        await eventually(written)
        assert len(await studio.desk.store.segment_paths()) == 1
        looks = len(studio.left.wanted)
        studio.recording.notify()
        await eventually(lambda: asyncio.sleep(0, len(studio.left.wanted) > looks))
        for _ in range(100):
            await asyncio.sleep(0)
        await studio.desk.store.films()  # whatever had been begun before is through by now
        assert len(studio.left.wanted) == looks + 1
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


# ---- cameras first


async def test_nothing_is_written_at_a_start_before_the_cameras_were_asked(
        desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    await desk.film(Stage.BOOKED, start_s=1, end_s=30)
    studio = Studio(desk)
    await studio.recording.begin_at_once()
    assert studio.recording.run_id == 1
    assert await desk.store.runs() == {}
    wanted: list[list[bool]] = []
    transaction = Store._transaction

    def written(store: Store, *how: str) -> Any:
        wanted.append(list(studio.left.wanted))
        return transaction(store, *how)

    monkeypatch.setattr(Store, "_transaction", written)
    assert await studio.look()
    assert wanted
    assert all(wanted)
    assert await desk.store.runs() == {1: False}
    assert await studio.span() == (1, 30)
    assert desk.folder.run_facts(1).exists()


async def test_a_window_that_opens_later_is_written_before_the_cameras_are_asked(
        studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    await studio.look()
    await book(studio, 1, 30)

    def full(*_: Any) -> Any:
        raise RetryError("the store: database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "together", full)
        with pytest.raises(RetryError):
            await studio.look()
    assert studio.left.wanted == [False]  # footage that a power cut leaves without a window would be of no film
    assert await studio.look()


async def test_a_window_that_is_known_in_time_is_written_seconds_before_the_cameras_are_asked(studio: Studio) -> None:
    await studio.look()
    await book(studio, 10, 20)  # the cameras are asked three seconds before it, and a sync may take one
    assert await studio.look(3) is False
    assert await studio.span() == (10, 20)
    assert await studio.look(4) is True


async def test_a_disk_that_is_full_at_a_start_keeps_no_camera_waiting_and_the_run_is_written_later(
        desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    await desk.film(Stage.BOOKED, start_s=1, end_s=30)
    studio = Studio(desk)
    await studio.recording.begin_at_once(above=6)

    def full(*_: Any) -> Any:
        raise RetryError("the store: database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "together", full)
        with pytest.raises(RetryError):
            await studio.look()
    assert studio.left.wanted == [True]
    desk.clock.step(60)
    await studio.look(1)
    assert await desk.store.runs() == {7: False}
    assert len(await desk.store.offsets(7)) == 2


async def test_a_segments_row_waits_for_its_runs(desk: Desk) -> None:
    await desk.film(Stage.BOOKED, start_s=1, end_s=30)
    studio = Studio(desk)
    await studio.recording.begin_at_once()
    writing = asyncio.create_task(studio.write(studio.sealed(1, 5)))
    await asyncio.sleep(0)
    assert not writing.done()
    await studio.look()
    await asyncio.wait_for(writing, 10)
    assert (await desk.now()).stage is Stage.RECORDING  # its window was written with the run


async def test_no_film_is_closed_before_what_earlier_runs_left_is_known(desk: Desk) -> None:
    await desk.film(Stage.BOOKED, "nothing", -60, -30)
    film = await desk.film(Stage.RECORDING, "something", -60, -30)
    await desk.lay(film, await desk.run())
    studio = Studio(desk)
    await studio.recording.begin_at_once()
    await studio.look()
    assert {film.stage for film in await desk.store.films()} == {Stage.BOOKED, Stage.RECORDING}
    studio.recording.earlier_known()
    await studio.look()
    assert {film.stage for film in await desk.store.films()} == {Stage.MISSED, Stage.RECORDED}


async def test_a_run_that_was_never_written_is_when_the_recorder_stops_with_footage(desk: Desk) -> None:
    studio = Studio(desk)
    await studio.recording.begin_at_once()
    studio.hand[0](studio.sealed(1, 5))
    await asyncio.wait_for(studio.recording.stop(), 10)
    assert [row.run for row in await desk.store.segments(1, 0, 1 << 62)] == [1]
