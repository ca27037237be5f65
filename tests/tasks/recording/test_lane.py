"""A lane: how far a camera's footage is known, and what becomes of a camera that fails, falls silent or hangs."""

import asyncio
import threading
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import structlog

from ezrec.adapters.cameras import CameraHealth, Frame, Sink
from ezrec.adapters.cameras.inspection import Verdict
from ezrec.adapters.segments import Counters, Sealed
from ezrec.config.sections import RecorderSettings
from ezrec.domain.clock import SECOND
from ezrec.domain.errors import CameraLost, LeaveError
from ezrec.tasks.recording import lane as lane_module
from ezrec.tasks.recording.device import CameraThread
from ezrec.tasks.recording.lane import Lane, LaneHealth
from tests.fakes.clocks import MadeUpClock
from tests.fakes.waiting import eventually

SETTINGS = RecorderSettings(stall_s=2, lost_s=10, retry_max_s=8)
S = SECOND


class Camera:
    """A camera that does as it is told."""

    name, rate, size = "left", Fraction(30), (320, 180)

    def __init__(self) -> None:
        self.did: list[str] = []
        self.fails: dict[str, Callable[[], None]] = {}
        self.sink: Sink | None = None

    def open(self) -> None:
        self._do("open")

    def start(self, sink: Sink) -> None:
        self._do("start")
        self.sink = sink

    def stop(self) -> None:
        self._do("stop")
        self.sink = None

    def rest(self) -> None:
        self._do("rest")
        self.sink = None

    def close(self) -> None:
        self._do("close")

    def health(self) -> CameraHealth:
        return CameraHealth("told", "open")

    def _do(self, what: str) -> None:
        self.did.append(what)
        self.fails.get(what, lambda: None)()


class Writer:
    """A writer whose state is set by hand."""

    def __init__(self) -> None:
        self.pending_from_us: int | None = None
        self.last_frame_us: int | None = None
        self.frames: list[Frame] = []
        self.cuts: list[int] = []
        self.did: list[str] = []
        self.counters = Counters()

    def put(self, frame: Frame) -> None:
        self.frames.append(frame)
        self.last_frame_us = frame.sensor_ns // 1000

    def cut_after(self, us: int) -> None:
        self.cuts.append(us)

    def flush(self, _: float) -> bool:
        self.did.append("flush")
        return True

    def close(self, _: float) -> bool:
        self.did.append("close")
        return True


class Rig:
    """A lane on a made-up clock; its pauses let time pass at once and are written down."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, keep_warm: bool = False) -> None:
        self.clock, self.camera, self.writer = MadeUpClock(1000, 1_800_000_000), Camera(), Writer()
        self.handed: list[Sealed] = []
        self.pauses: list[float] = []
        self.on_pause: Callable[[], None] = lambda: None

        def make_writer(on_sealed: Callable[[Sealed], None], on_failed: Callable[[Exception], None]) -> Any:
            self.on_sealed, self.on_failed = on_sealed, on_failed
            return self.writer

        self.lane = Lane(self.camera, make_writer, self.clock, SETTINGS, self.handed.append, keep_warm=keep_warm)

        async def pause(seconds: float) -> None:
            self.pauses.append(seconds)
            self.clock.forward(round(seconds * S))
            self.on_pause()
            await asyncio.sleep(0)

        monkeypatch.setattr(self.lane, "_pause", pause)

    @property
    def now(self) -> int:
        return self.clock.mono_us()

    def sees(self, at_us: int) -> None:
        self.lane._take(Frame(b"", True, at_us * 1000))

    def seals(self, start_us: int, end_us: int) -> Sealed:
        sealed = Sealed("left", 1, start_us, end_us, 30, 0, 9, Path("x"))
        self.on_sealed(sealed)
        return sealed

    async def until(self, condition: Callable[[], object]) -> None:
        """Run the lane until `condition` is true."""
        running = asyncio.create_task(self.lane.run())
        try:
            await eventually(lambda: _is(condition() or running.done()))
            if running.done():
                running.result()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def _is(value: object) -> object:
    return value


@pytest.fixture
async def rig(monkeypatch: pytest.MonkeyPatch) -> Rig:
    return Rig(monkeypatch)


# ---- how far the footage is known


async def test_a_lane_that_is_off_waits_for_nothing(rig: Rig) -> None:
    assert rig.lane.watermark_us() == rig.now
    rig.clock.forward(S)
    assert rig.lane.watermark_us() == rig.now


async def test_what_is_in_no_sealed_segment_holds_the_watermark_back(rig: Rig) -> None:
    rig.lane.want(True)
    rig.writer.pending_from_us = rig.now + S
    rig.sees(rig.now + 2 * S)
    rig.clock.forward(100 * S)
    assert rig.lane.watermark_us() == 1001 * S


async def test_a_sealed_segment_holds_the_watermark_back_until_its_row_is_written(rig: Rig) -> None:
    rig.lane.want(True)
    rig.sees(rig.now + 4 * S)
    one, two = rig.seals(1000 * S, 1004 * S), rig.seals(1004 * S, 1008 * S)
    rig.clock.forward(5 * S)
    assert rig.lane.watermark_us() == 1000 * S
    rig.lane.recorded(one)
    assert rig.lane.watermark_us() == 1004 * S
    rig.writer.pending_from_us = 1008 * S
    rig.lane.recorded(two)
    assert rig.lane.watermark_us() == 1008 * S


async def test_rows_that_are_written_out_of_order_never_let_the_watermark_pass_one_that_is_not(rig: Rig) -> None:
    rig.lane.want(True)
    rig.sees(rig.now + 8 * S)
    one, two = rig.seals(1000 * S, 1004 * S), rig.seals(1004 * S, 1008 * S)
    rig.lane.recorded(two)
    assert rig.lane.watermark_us() == 1000 * S
    rig.lane.recorded(one)
    assert rig.lane.watermark_us() == 1008 * S


async def test_a_camera_that_is_silent_holds_the_watermark_back_until_it_counts_as_lost(rig: Rig) -> None:
    rig.lane.want(True)
    rig.clock.forward(10 * S)
    assert rig.lane.watermark_us() == 1000 * S
    rig.clock.forward(1)
    assert rig.lane.watermark_us() == rig.now


async def test_a_camera_that_was_lost_delivers_nothing_for_the_time_that_was_given_up(rig: Rig) -> None:
    rig.lane.want(True)
    rig.clock.forward(11 * S)
    given_up = rig.lane.watermark_us()
    rig.sees(given_up - 1)
    rig.sees(given_up)
    assert (rig.lane.late_frames, len(rig.writer.frames)) == (1, 1)
    assert rig.lane.watermark_us() == given_up  # and is waited for again


async def test_the_watermark_never_goes_back_while_a_camera_comes_and_goes(rig: Rig) -> None:
    marks, end = [rig.lane.watermark_us()], 0
    rig.lane.want(True)
    for index in range(200):
        rig.clock.forward(S // 3)
        if index % 70 < 35:
            rig.sees(rig.now - S // 10)
            if index % 5 == 0 and rig.writer.last_frame_us:
                start, end = max(end, rig.writer.frames[0].sensor_ns // 1000), rig.writer.last_frame_us
                rig.lane.recorded(rig.seals(start, end))
                rig.writer.frames.clear()
                rig.sees(rig.now)
            rig.writer.pending_from_us = rig.writer.frames[0].sensor_ns // 1000
        elif rig.writer.pending_from_us is not None:  # silent: what there is is sealed
            rig.lane.recorded(rig.seals(rig.writer.pending_from_us, rig.writer.last_frame_us or 0))
            rig.writer.pending_from_us = None
            rig.writer.frames.clear()
        marks.append(rig.lane.watermark_us())
    assert marks == sorted(marks)
    assert marks[-1] > marks[0]


async def test_cuts_are_handed_to_the_writer(rig: Rig) -> None:
    rig.lane.cut_after(77)
    assert rig.writer.cuts == [77]


# ---- keeping a camera alive


async def test_a_lane_that_is_wanted_opens_and_starts_and_one_that_is_not_stops_seals_and_closes(rig: Rig) -> None:
    rig.on_pause = lambda: rig.sees(rig.now)
    rig.lane.want(True)
    assert not rig.lane.idle
    rig.on_pause = lambda: (rig.sees(rig.now), rig.lane.want(len(rig.pauses) < 20))[0]
    await rig.until(lambda: rig.lane.idle)
    assert rig.camera.did == ["open", "start", "stop", "close"]
    assert rig.writer.did == ["flush"]
    assert rig.lane.restarts == 0


@pytest.mark.parametrize("what", ["open", "start"])
async def test_the_pauses_between_two_tries_grow_up_to_the_setting(rig: Rig, what: str) -> None:
    def lost() -> None:
        raise CameraLost("not there")

    rig.camera.fails[what] = lost
    rig.lane.want(True)
    await rig.until(lambda: len(rig.pauses) >= 6)
    assert rig.pauses[:6] == [0.5, 1, 2, 4, 8, 8]
    assert rig.camera.did.count("close") >= 5  # the device is given back each time
    assert not rig.lane.streaming


@pytest.mark.parametrize(("worked_s", "pauses"), [(56, [0.5, 1, 2, 0.5, 1]), (1, [0.5, 1, 2, 4, 8])])
async def test_a_camera_that_has_worked_long_enough_is_tried_again_at_once_when_it_fails(
        rig: Rig, worked_s: int, pauses: list[float]) -> None:
    fails = iter([True, True, True, False, True])

    def open_() -> None:
        if next(fails, True):
            raise CameraLost("not there")

    rig.camera.fails["open"] = open_
    seen_until = 1000 * S + (4 + worked_s) * S
    rig.on_pause = lambda: rig.sees(rig.now) if rig.camera.sink and rig.now < seen_until else None
    rig.lane.want(True)
    await rig.until(lambda: len([pause for pause in rig.pauses if pause != lane_module.CHECK_EVERY_S]) >= 5)
    retries = [pause for pause in rig.pauses if pause != lane_module.CHECK_EVERY_S]
    assert retries[:5] == pauses


async def test_a_setting_shorter_than_the_first_pause_is_kept_from_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "SETTINGS", RecorderSettings(retry_max_s=0.25))
    rig = Rig(monkeypatch)

    def lost() -> None:
        raise CameraLost("not there")

    rig.camera.fails["open"] = lost
    rig.lane.want(True)
    await rig.until(lambda: len(rig.pauses) >= 3)
    assert set(rig.pauses) == {0.25}


async def test_a_camera_that_falls_silent_is_sealed_and_started_again_and_opened_anew_if_that_does_not_help(
        rig: Rig) -> None:
    silent_from, stopped_at = 1000 * S + 5 * S, list[int]()
    rig.on_pause = lambda: rig.sees(rig.now) if rig.now < silent_from else None
    rig.camera.fails["stop"] = lambda: stopped_at.append(rig.now)
    rig.lane.want(True)
    await rig.until(lambda: rig.lane.restarts >= 2)
    assert rig.camera.did[:7] == ["open", "start", "stop", "start", "stop", "close", "open"]
    assert rig.writer.did[:2] == ["flush", "flush"]
    assert silent_from + 1.8 * S <= stopped_at[0] <= silent_from + 2.3 * S  # stall_s after the last frame
    assert stopped_at[1] - stopped_at[0] <= 1.3 * S  # the first frame after a start is not waited for that long


async def test_a_silence_that_a_start_cures_does_not_cost_the_device(rig: Rig) -> None:
    silent = range(1005 * S, 1008 * S)
    rig.on_pause = lambda: rig.sees(rig.now) if rig.now not in silent or "stop" in rig.camera.did else None
    rig.lane.want(True)
    await rig.until(lambda: rig.now > 1020 * S)
    assert rig.camera.did[:-2] == ["open", "start", "stop", "start"]  # and in the end stop and close
    assert (rig.lane.restarts, rig.lane.failures) == (1, 0)


async def test_a_camera_that_falls_silent_again_soon_is_opened_anew(rig: Rig) -> None:
    silent_from = {1: 1005 * S, 2: 1012 * S}
    rig.on_pause = lambda: (rig.sees(rig.now) if rig.now < silent_from.get(rig.camera.did.count("start"), 1 << 60)
                            else None)
    rig.lane.want(True)
    await rig.until(lambda: rig.now > 1030 * S)
    assert rig.camera.did[:-2] == ["open", "start", "stop", "start", "stop", "close", "open", "start"]


@pytest.fixture
async def as_set(monkeypatch: pytest.MonkeyPatch) -> Rig:
    """A lane with the settings' defaults."""
    monkeypatch.setitem(globals(), "SETTINGS", RecorderSettings())
    return Rig(monkeypatch)


@pytest.mark.parametrize("cure", ["start", "open"])
async def test_a_stall_is_noticed_within_two_seconds_and_gone_within_five(as_set: Rig, cure: str) -> None:
    silent_from, stopped_at, came = 1005 * S, list[int](), list[int]()
    as_set.camera.fails["stop"] = lambda: stopped_at.append(as_set.now)

    def see() -> None:
        if as_set.now < silent_from or as_set.camera.did.count(cure) > 1:
            as_set.sees(as_set.now)
            came.append(as_set.now)

    as_set.on_pause = see
    as_set.lane.want(True)
    await as_set.until(lambda: came and came[-1] > silent_from)
    last_us = max(us for us in came if us < silent_from)
    assert stopped_at[0] - last_us <= 2 * S
    assert next(us for us in came if us > silent_from) - last_us <= 5 * S


async def test_a_camera_that_was_away_for_long_gives_frames_within_ten_seconds_of_being_back(as_set: Rig) -> None:
    back, came = 1095 * S, list[int]()  # just after a try, if pauses grew to half a minute

    def open_() -> None:
        if as_set.now < back:
            raise CameraLost("not there")

    def see() -> None:
        if as_set.camera.sink:
            as_set.sees(as_set.now)
            came.append(as_set.now)

    as_set.camera.fails["open"], as_set.on_pause = open_, see
    as_set.lane.want(True)
    await as_set.until(lambda: came)
    assert back < came[0] <= back + 10 * S


async def test_a_camera_that_does_not_stop_well_is_closed_all_the_same(rig: Rig) -> None:
    def broken() -> None:
        raise CameraLost("the encoder is broken")

    rig.camera.fails["stop"] = broken
    rig.on_pause = lambda: (rig.sees(rig.now), rig.lane.want(len(rig.pauses) < 3))[0]
    rig.lane.want(True)
    await rig.until(lambda: rig.lane.idle)
    assert rig.camera.did == ["open", "start", "stop", "close"]
    assert rig.writer.did == ["flush"]


async def test_a_camera_streams_while_frames_come_within_the_stall_limit(rig: Rig) -> None:
    rig.lane.want(True)
    assert not rig.lane.streaming
    rig.sees(rig.now)
    assert (rig.lane.streaming, rig.lane.last_frame_us()) == (True, 1000 * S)
    rig.clock.forward(2 * S)
    assert not rig.lane.streaming


async def test_a_lane_says_how_it_is_doing(rig: Rig) -> None:
    rig.writer.counters = Counters(frames=900, dropped=3, queue_bytes=4096)
    assert rig.lane.health() == LaneHealth("off", 900, 3, 4096, None, 0)
    rig.lane.want(True)
    assert rig.lane.health().state == "starting"
    rig.clock.forward(2 * S)  # the stall limit
    assert (rig.lane.health().state, rig.lane.health().last_frame_ms) == ("lost", None)  # it never came
    rig.sees(rig.now)
    rig.clock.forward(S // 4)
    assert (rig.lane.health().state, rig.lane.health().last_frame_ms) == ("streaming", 250)
    rig.clock.forward(2 * S)
    assert (rig.lane.health().state, rig.lane.health().last_frame_ms) == ("lost", 2250)


async def test_a_camera_that_is_tried_again_is_lost_and_its_restarts_are_counted(rig: Rig) -> None:
    def lost() -> None:
        raise CameraLost("not there")

    rig.camera.fails["open"] = lost
    rig.lane.want(True)
    await rig.until(lambda: rig.lane.restarts >= 4)
    assert rig.lane.health().state == "lost"
    assert rig.lane.health().restarts == rig.lane.restarts


async def test_a_lane_that_is_stopped_gives_the_device_back_and_ends_its_writer(rig: Rig) -> None:
    rig.lane.want(True)
    await rig.lane.stop()
    assert rig.camera.did == ["stop", "close"]
    assert rig.writer.did == ["flush", "close"]


async def test_a_lane_that_is_cancelled_ends_at_whatever_moment_that_is(rig: Rig) -> None:
    def lost() -> None:
        raise CameraLost("not there")

    rig.camera.fails["open"] = lost
    rig.lane.want(True)
    for turns in range(80):
        running = asyncio.create_task(rig.lane.run())
        for _ in range(turns):
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.wait([running], timeout=5)
        assert running.done(), f"still running, cancelled after {turns} turns"


# ---- calls that hang


async def test_a_call_that_hangs_makes_the_process_leave_and_no_other_call_waits_behind_it() -> None:
    hung, clock = threading.Event(), MadeUpClock(1000, 1_800_000_000)
    thread = CameraThread("camera-left", clock)
    try:
        call = asyncio.create_task(thread.call(lambda: hung.wait(60), 10))
        await asyncio.sleep(0)
        for _ in range(9):
            clock.forward(S)
            await asyncio.wait([call], timeout=0.2)
            assert not call.done()
        clock.forward(S)
        with pytest.raises(LeaveError, match="camera-left: a camera call hung for 10"):
            await asyncio.wait_for(call, 5)
        with pytest.raises(LeaveError, match="camera-left"):
            await asyncio.wait_for(thread.call(lambda: None, 60), 5)
    finally:
        hung.set()


async def test_a_camera_whose_stop_hangs_ends_the_lane_within_five_seconds_of_its_last_frame(rig: Rig) -> None:
    hung = threading.Event()
    rig.camera.fails["stop"] = lambda: hung.wait(60) and None
    rig.on_pause = lambda: rig.sees(rig.now) if rig.now < 1005 * S else None
    rig.lane.want(True)
    try:
        with pytest.raises(LeaveError):
            await rig.until(lambda: rig.clock.forward(S // 100) if "stop" in rig.camera.did else None)
        assert rig.now < 1005 * S + 5 * S
    finally:
        hung.set()


async def test_a_call_hands_back_what_it_returned_or_raised() -> None:
    thread = CameraThread("camera-left", MadeUpClock(1000, 1_800_000_000))

    def lost() -> None:
        raise CameraLost("gone")

    assert await thread.call(lambda: 7, 5) == 7
    with pytest.raises(CameraLost, match="gone"):
        await thread.call(lost, 5)
    assert await thread.call(lambda: threading.current_thread().name, 5) == "camera-left"
    assert 0 <= thread.longest_s < 5


async def test_segments_are_handed_over_in_the_loop(rig: Rig) -> None:
    threads: list[str] = []
    rig.lane._hand_over = lambda _: threads.append(threading.current_thread().name)
    await asyncio.to_thread(rig.seals, 1000 * S, 1001 * S)
    await eventually(lambda: _is(threads))
    assert threads == [threading.main_thread().name]


async def test_a_disk_that_stalls_does_not_make_its_camera_count_as_silent(rig: Rig) -> None:
    rig.writer.put = lambda _frame: None  # type: ignore[method-assign]  # the queue takes it, the disk does not
    rig.on_pause = lambda: (rig.sees(rig.now), rig.lane.want(len(rig.pauses) < 60))[0]
    rig.lane.want(True)
    await rig.until(lambda: rig.lane.idle)
    assert rig.now > 1000 * S + 3 * S
    assert rig.lane.restarts == 0


# ---- keeping a camera warm


@pytest.fixture
async def warm(monkeypatch: pytest.MonkeyPatch) -> Rig:
    """A lane that keeps its camera warm."""
    return Rig(monkeypatch, keep_warm=True)


async def test_a_camera_that_is_kept_warm_rests_whenever_it_is_not_wanted_and_is_closed_at_the_end(warm: Rig) -> None:
    await warm.until(lambda: warm.camera.did == ["open", "rest"])
    assert (warm.lane.health().state, warm.lane.idle, warm.lane.watermark_us()) == ("warm", True, warm.now)
    warm.camera.did.clear()
    warm.on_pause = lambda: (warm.sees(warm.now), warm.lane.want(len(warm.pauses) < 20))[0]
    warm.lane.want(True)
    await warm.until(lambda: warm.lane.idle)
    assert warm.camera.did == ["open", "start", "rest"]
    assert warm.writer.did == ["flush"]
    assert warm.lane.health().state == "warm"
    await warm.lane.stop()
    assert warm.camera.did == ["open", "start", "rest", "stop", "close"]
    assert warm.lane.health().state == "off"


@pytest.mark.parametrize("what", ["open", "rest"])
async def test_a_camera_that_cannot_be_kept_warm_is_closed_and_opened_when_it_is_wanted(warm: Rig, what: str) -> None:
    def lost() -> None:
        raise CameraLost("not there")

    warm.camera.fails[what] = lost
    await warm.until(lambda: "close" in warm.camera.did)
    assert warm.lane.health().state == "off"
    warm.camera.did.clear()
    warm.camera.fails.clear()
    warm.on_pause = lambda: warm.sees(warm.now)
    warm.lane.want(True)
    await warm.until(lambda: warm.lane.streaming)
    assert warm.camera.did[:2] == ["open", "start"]


async def test_a_warm_camera_that_fails_is_opened_anew(warm: Rig) -> None:
    warm.lane.want(True)
    await warm.until(lambda: warm.lane.restarts >= 1)  # no frame ever comes
    assert warm.camera.did[:4] == ["open", "start", "stop", "close"]
    assert warm.lane.health().state == "lost"


async def test_a_warm_camera_is_looked_at_and_rests_again(warm: Rig) -> None:
    looking = asyncio.create_task(looked_at(warm))
    await eventually(lambda: _is(warm.camera.sink))
    assert warm.camera.sink
    for number in range(4):
        warm.camera.sink(Frame(b"", True, (warm.now + number * S) * 1000))
    verdict = await looking
    assert verdict is not None
    assert verdict.frames == 4
    assert warm.camera.did == ["open", "rest", "open", "start", "rest"]
    assert warm.writer.frames == []


# ---- looking at a camera


async def looked_at(rig: Rig) -> Verdict | None:
    """What trying the camera out comes to, while the lane runs."""
    running = asyncio.create_task(rig.lane.run())
    try:
        return await asyncio.wait_for(rig.lane.try_out(None), 20)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_camera_that_is_off_is_switched_on_only_to_be_looked_at(
        rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane_module, "TRIAL_S", 0.0)
    verdict = await looked_at(rig)
    assert verdict is not None
    assert verdict.problems == ["no frame came"]
    assert rig.camera.did == ["open", "start", "stop", "close"]
    assert rig.writer.frames == []
    assert rig.lane.idle


async def test_a_camera_that_is_not_there_is_the_verdict(rig: Rig) -> None:
    def lost() -> None:
        raise CameraLost("camera left is not there")

    rig.camera.fails["open"] = lost
    verdict = await looked_at(rig)
    assert verdict is not None
    assert verdict.problems == ["camera left is not there"]
    assert rig.camera.did == ["open", "stop", "close"]
    assert rig.lane.restarts == 0


async def test_a_camera_that_is_wanted_meanwhile_is_given_to_who_wants_it(rig: Rig) -> None:
    rig.camera.fails["start"] = lambda: rig.lane._loop.call_soon_threadsafe(rig.lane.want, True) and None
    rig.on_pause = lambda: rig.sees(rig.now)
    assert await looked_at(rig) is None
    assert rig.camera.did[:5] == ["open", "start", "stop", "close", "open"]


async def test_of_a_camera_that_is_on_its_frames_are_looked_at(rig: Rig) -> None:
    rig.lane.want(True)
    looking = asyncio.create_task(rig.lane.try_out(None))
    await eventually(lambda: _is(rig.lane._sample))
    for number in range(4):
        rig.sees(rig.now + number * S)  # each of them a key frame that cannot be decoded
    verdict = await asyncio.wait_for(looking, 20)
    assert verdict is not None
    assert "cannot be decoded" in verdict.problems[0]
    assert (verdict.frames, len(rig.writer.frames)) == (4, 4)
    assert rig.camera.did == []


@pytest.mark.parametrize("stamp", [
    pytest.param(4600 * S * 1000, id="an hour ahead"), pytest.param(1011 * S * 1000, id="11 s ahead"),
    pytest.param(1 << 80, id="beyond all time"), pytest.param(-1, id="negative"), pytest.param(0, id="none at all"),
    pytest.param(float("nan"), id="no number"), pytest.param(None, id="nothing"), pytest.param("now", id="a word")])
async def test_a_stamp_that_cannot_be_costs_its_own_frame_and_is_said(rig: Rig, stamp: Any) -> None:
    rig.lane.want(True)
    rig.sees(rig.now)
    with structlog.testing.capture_logs() as said:
        rig.lane._take(Frame(b"", True, stamp))
    assert [(line["log_level"], line["event"]) for line in said] == [
        ("warning", "frame with an impossible time left out")]
    for _ in range(30):
        rig.clock.forward(S // 30)
        rig.sees(rig.now)
    assert (len(rig.writer.frames), rig.lane.late_frames) == (31, 1)
    assert rig.lane.last_frame_us() == rig.now
    assert rig.lane.streaming


async def test_a_camera_whose_stamps_all_cannot_be_counts_as_silent(rig: Rig) -> None:
    rig.lane.want(True)
    with structlog.testing.capture_logs() as said:
        for _ in range(100):
            rig.clock.forward(S // 30)
            rig.sees(rig.now + 3600 * S)
    assert not rig.lane.streaming
    assert rig.lane.health().state == "lost"
    assert len(said) == 7  # the 1st, 2nd, 4th … 64th


async def test_tries_that_come_to_nothing_are_counted_until_frames_come(rig: Rig) -> None:
    def lost() -> None:
        raise CameraLost("not there")

    rig.camera.fails["start"] = lost
    rig.lane.want(True)
    await rig.until(lambda: rig.lane.failures >= 3)
    assert rig.lane.failures == rig.lane.restarts


async def test_a_camera_that_was_just_asked_for_is_starting_until_the_stall_limit_has_passed(rig: Rig) -> None:
    rig.lane.want(True)
    rig.clock.forward(2 * S - 1)
    assert rig.lane.health().state == "starting"
    rig.clock.forward(1)
    assert rig.lane.health().state == "lost"
