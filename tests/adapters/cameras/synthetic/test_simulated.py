"""The simulated cameras misbehave as they are told to, and their counters tell of it."""

import json
import threading
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import pytest

from ezrec.adapters.cameras import Frame
from ezrec.adapters.cameras.synthetic.court import counter_at, due_us, index_at, read_counter
from ezrec.adapters.cameras.synthetic.simulated import Faults, FaultsFile, SimulatedCamera, faults_of
from ezrec.domain.clock import SystemClock
from ezrec.domain.errors import CameraLost
from ezrec.pyav import planes_of
from tests.fakes.caught import Caught

RATE = Fraction(50)
LIMIT_S = 10.0


def until(condition: Callable[[], bool]) -> None:
    """Wait until `condition` is true, with a limit."""
    late = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < late, "it never came true"
        threading.Event().wait(0.01)


class Hand:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.us = 0

    def mono_us(self) -> int:
        return self.us

    def wall_us(self) -> int:
        return self.us


@pytest.fixture
def faults(tmp_path: Path) -> Path:
    return tmp_path / "faults.json"


def tell(path: Path, **left: object) -> None:
    """Replace the faults file at once, as an operator's editor does."""
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps({"left": left}))
    fresh.replace(path)


@pytest.fixture
def camera(faults: Path):
    made = SimulatedCamera("left", size=(320, 180), rate=RATE, bitrate=1_000_000, keyframe_s=0.5, overlap=0.1,
                           clock=SystemClock(), faults=faults)
    yield made
    made.stop()
    made.close()


def opens(camera: SimulatedCamera) -> bool:
    try:
        camera.open()
    except CameraLost:
        return False
    return True


def counters(frames: list[Frame]) -> list[int | None]:
    decoder = av.CodecContext.create("h264", "r")
    pictures = [picture for frame in frames for picture in decoder.decode(av.Packet(frame.data))] + decoder.decode(None)
    return [read_counter(planes_of(picture).y, "left") for picture in pictures]


def indices(frames: list[Frame], rate: Fraction = RATE) -> list[int]:
    return [index_at(frame.sensor_ns // 1000, rate) for frame in frames]


def test_each_frame_shows_the_index_of_its_own_sensor_time(camera: SimulatedCamera) -> None:
    caught = Caught()
    camera.open()
    camera.start(caught)
    frames = caught.wait(15)
    camera.stop()
    assert counters(frames) == [counter_at(index) for index in indices(frames)]
    assert [frame.sensor_ns for frame in frames] == [due_us(index, RATE) * 1000 for index in indices(frames)]


def test_a_camera_that_falls_behind_leaves_frames_out_and_is_at_once_on_time_again(camera: SimulatedCamera) -> None:
    caught, held = Caught(), threading.Event()

    def sink(frame: Frame) -> None:
        caught(frame)
        if len(caught.frames) == 3:
            held.wait(0.3)  # a machine that is busy for 15 frames

    camera.open()
    camera.start(sink)
    frames = caught.wait(6)
    camera.stop()
    steps = [later - earlier for earlier, later in zip(indices(frames), indices(frames)[1:], strict=False)]
    assert steps[2] >= 14
    assert counters(frames) == [counter_at(index) for index in indices(frames)]


def test_an_absent_camera_does_not_open(camera: SimulatedCamera, faults: Path) -> None:
    tell(faults, absent=True)
    with pytest.raises(CameraLost, match="not there"):
        camera.open()
    assert camera.health().state == "closed"


def test_a_camera_that_vanishes_is_lost_until_it_is_opened_again(camera: SimulatedCamera, faults: Path) -> None:
    caught = Caught()
    camera.open()
    camera.start(caught)
    caught.wait(2)
    tell(faults, absent=True)
    until(lambda: camera.health().state == "lost")
    number = len(caught.frames)
    camera.stop()
    assert camera.health().state == "lost"
    with pytest.raises(CameraLost):
        camera.start(caught)
    camera.close()
    tell(faults)
    until(lambda: opens(camera))
    again = Caught()
    camera.start(again)
    assert again.wait(2)[0].key
    assert len(caught.frames) == number


def test_a_stalled_camera_is_silent_and_goes_on_at_the_true_time(camera: SimulatedCamera, faults: Path) -> None:
    caught = Caught()
    camera.open()
    camera.start(caught)
    caught.wait(3)
    tell(faults, stalled=True)
    until(lambda: SystemClock().mono_us() - caught.frames[-1].sensor_ns // 1000 > 300_000)
    assert camera.health().state == "streaming"
    number = len(caught.frames)
    tell(faults)
    frames = caught.wait(number + 5)
    camera.stop()
    steps = [later - earlier for earlier, later in zip(indices(frames), indices(frames)[1:], strict=False)]
    assert max(steps) >= 15
    assert counters(frames) == [counter_at(index) for index in indices(frames)]


def test_a_camera_that_drops_frames_shows_it_in_its_counters(camera: SimulatedCamera, faults: Path) -> None:
    tell(faults, drop=0.5)
    caught = Caught()
    camera.open()
    camera.start(caught)
    frames = caught.wait(20)
    camera.stop()
    span = indices(frames)[-1] - indices(frames)[0] + 1
    assert len(frames) < span
    assert counters(frames) == [counter_at(index) for index in indices(frames)]


def test_a_camera_whose_clock_runs_fast_keeps_to_its_own_grid(camera: SimulatedCamera, faults: Path) -> None:
    tell(faults, rate_ppm=400_000)
    caught = Caught()
    camera.open()
    camera.start(caught)
    frames = caught.wait(10)
    camera.stop()
    assert counters(frames) == [counter_at(index) for index in indices(frames, RATE * Fraction(14, 10))]


def test_a_camera_may_fail_to_start_and_start_late(camera: SimulatedCamera, faults: Path) -> None:
    tell(faults, start_fails=True)
    camera.open()
    with pytest.raises(CameraLost, match="does not start"):
        camera.start(Caught())
    assert camera.health().state == "open"


@pytest.mark.parametrize("call", ["start", "stop"])
def test_start_and_stop_take_as_long_as_they_are_told(camera: SimulatedCamera, faults: Path, call: str) -> None:
    tell(faults, late_s=0.2) if call == "start" else tell(faults, stop_hangs_s=0.2)
    camera.open()
    before_us = SystemClock().mono_us()
    camera.start(Caught())
    if call == "stop":
        before_us = SystemClock().mono_us()
        camera.stop()
    assert SystemClock().mono_us() - before_us >= 190_000


def test_the_faults_file_is_read_again_when_it_changed_but_not_more_than_ten_times_a_second(faults: Path) -> None:
    clock = Hand()
    watched = FaultsFile(faults, "left", clock)
    assert watched.now() == Faults()
    tell(faults, stalled=True)
    clock.us = 99_999
    assert watched.now() == Faults()
    clock.us = 100_000
    assert watched.now() == Faults(stalled=True)
    faults.unlink()
    clock.us = 200_000
    assert watched.now() == Faults()


@pytest.mark.parametrize("broken", ["", "{", "[]", "\0", '{"left": 3}', '{"left": {"stalled": 1}}',
                                    '{"left": {"drop": true}}', '{"left": {"drop": 2}}', '{"left": {"odd": true}}'])
def test_a_broken_faults_file_changes_nothing(faults: Path, broken: str) -> None:
    clock = Hand()
    watched = FaultsFile(faults, "left", clock)
    tell(faults, drop=0.5)
    assert watched.now() == Faults(drop=0.5)
    faults.write_text(broken)
    clock.us = 1_000_000
    assert watched.now() == Faults(drop=0.5)


def test_the_other_cameras_faults_are_not_this_ones(faults: Path) -> None:
    tell(faults, absent=True)
    assert FaultsFile(faults, "right", Hand()).now() == Faults()


def test_all_faults_can_be_told() -> None:
    assert faults_of({"absent": True, "stalled": True, "late_s": 3, "drop": 0.01, "rate_ppm": -300, "start_fails": True,
                      "stop_hangs_s": 1}) == Faults(True, True, 3, 0.01, -300, True, 1)
