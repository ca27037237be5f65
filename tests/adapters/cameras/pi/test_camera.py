"""Picamera2 cameras beyond what every camera must keep: the real class on a stand-in for libcamera that misbehaves."""

import ctypes
import gc
import os
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import psutil
import pytest
from structlog.testing import capture_logs

from ezrec.adapters.cameras import Frame
from ezrec.adapters.cameras.pi.holders import Holder
from ezrec.adapters.cameras.pi.identity import Wanted
from ezrec.adapters.cameras.synthetic.court import read_counter
from ezrec.domain.errors import CameraLost
from ezrec.pyav import planes_of
from tests.fakes.caught import Caught
from tests.fakes.pi import here, pi_pair, say
from tests.fakes.waiting import wait_until

LEFT = "/base/axi/pcie@1000120000/rp1/i2c@88000/imx708@1a"


class Bench:
    """Cameras that are closed whatever happens, and their faults."""

    def __init__(self, folder: Path) -> None:
        self.faults_file = folder / "faults.json"
        self.cameras: list[Any] = []

    def pair(self, **changes: Any) -> list[Any]:
        self.cameras = pi_pair(**changes)
        return self.cameras

    def one(self, **changes: Any) -> Any:
        return self.pair(sides=("left",), **changes)[0]

    def faults(self, **sides: Any) -> None:
        say(self.faults_file, **sides)
        self.settle()

    @staticmethod
    def settle() -> None:
        """The stand-in looks at its faults twenty times a second."""
        threading.Event().wait(0.06)

    def end(self) -> None:
        self.faults()
        for camera in self.cameras:
            camera.stop()
            camera.close()


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    made = Bench(tmp_path)
    monkeypatch.setenv("STANDIN_FAULTS", str(made.faults_file))
    here()
    yield made
    made.end()
    gc.collect()


def pictures(frames: list[Frame]) -> list[av.VideoFrame]:
    decoder = av.CodecContext.create("h264", "r")
    return [picture for frame in frames for picture in decoder.decode(av.Packet(frame.data))] + decoder.decode(None)


# ---- frames


def test_both_cameras_frames_carry_the_sensors_own_time_on_one_clock(bench: Bench) -> None:
    caught = {}
    for camera in bench.pair():
        camera.open()
        camera.start(caught.setdefault(camera.name, Caught()))
    for frames in caught.values():
        frames.wait(25)
    period_ns = 20_000_000
    for side, frames in caught.items():
        for frame, picture in zip(frames.frames, pictures(frames.frames), strict=False):
            counter = read_counter(planes_of(picture).y, side)
            assert counter is not None
            assert abs(frame.sensor_ns - counter * period_ns) < 2_000, side  # drawn when it was due, stamped so


def test_no_frame_is_lost_between_the_sensor_and_the_sink(bench: Bench) -> None:
    camera, caught = bench.one(), Caught()
    camera.open()
    camera.start(caught)
    frames = caught.wait(50)
    camera.stop()
    steps = {round((later.sensor_ns - one.sensor_ns) / 20_000_000) for one, later in pairwise(frames)}
    assert steps == {1}


def test_a_camera_that_hangs_head_down_turns_its_own_picture(bench: Bench) -> None:
    camera, caught = bench.one(turned=True), Caught()
    camera.open()
    camera.start(caught)
    luma = planes_of(pictures(caught.wait(3))[0]).y
    assert read_counter(luma, "left") is None
    assert read_counter(np.ascontiguousarray(luma[::-1, ::-1]), "left") is not None


def test_an_error_of_the_encoder_costs_a_frame_and_is_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from picamera2.encoders import LibavH264Encoder  # noqa: PLC0415

    encode, calls = LibavH264Encoder._encode, []

    def sometimes(self: Any, stream: Any, request: Any) -> None:
        calls.append(1)
        if len(calls) == 5:
            raise ValueError("the encoder slipped")
        encode(self, stream, request)

    monkeypatch.setattr(LibavH264Encoder, "_encode", sometimes)
    camera, caught = bench.one(), Caught()
    camera.open()
    camera.start(caught)
    caught.wait(20)
    assert "the encoder slipped" in camera.health().note
    camera.stop()
    assert camera.health().state == "open"


def test_frames_with_an_error_are_not_taken(bench: Bench) -> None:
    camera, caught = bench.one(), Caught()
    camera.open()
    camera.start(caught)
    caught.wait(5)
    bench.faults(left={"failed_frames": True})
    number = len(caught.frames)
    bench.settle()
    assert len(caught.frames) <= number + 1
    bench.faults()
    caught.wait(number + 10)


# ---- who is who


def test_the_camera_is_found_though_lists_and_numbers_differ(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    import libcamera  # noqa: PLC0415

    manager = libcamera.CameraManager.singleton()
    monkeypatch.setattr(manager, "_known", [
        libcamera.Camera({"id": "/base/soc/i2c0mux/i2c@1/first@10", "model": "first", "side": "right"}),
        libcamera.Camera({"id": "/base/soc/i2c0mux/i2c@2/second@10", "model": "second", "side": "left"})])
    listed = __import__("picamera2").Picamera2.global_camera_info()
    assert [one["Num"] for one in listed] == [1, 0]
    wanted = {"left": Wanted("second"), "right": Wanted("first")}
    for camera in bench.pair(wanted=wanted):
        caught = Caught()
        camera.open()
        camera.start(caught)
        luma = planes_of(pictures(caught.wait(3))[0]).y
        assert read_counter(luma, camera.name) is not None
        assert camera.health().model.startswith({"left": "second", "right": "first"}[camera.name])


def test_an_unknown_camera_is_refused_with_the_line_to_write(bench: Bench) -> None:
    camera = bench.one(wanted={"left": Wanted("10000000deadbeef")})
    with pytest.raises(CameraLost, match=f'left.id = "{LEFT}"'):
        camera.open()


# ---- what is asked for


def test_a_control_that_the_camera_does_not_know_is_left_out_and_told(
        bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    import libcamera  # noqa: PLC0415

    lens = ["AfMode", "LensPosition"]
    described = [{"id": "one", "model": "imx219", "side": "left", "without": [*lens, "SyncMode"]},
                 {"id": "other", "model": "imx219", "side": "right", "without": lens}]
    monkeypatch.setattr(libcamera.CameraManager.singleton(), "_known", list(map(libcamera.Camera, described)))
    cameras = bench.pair(lens=0.5, wanted={"left": Wanted("one"), "right": Wanted("other")})
    for camera in cameras:
        camera.open()
    assert [camera.health().note for camera in cameras] == [
        "this camera knows no AfMode, LensPosition; sensors run freely", "this camera knows no AfMode, LensPosition"]


def test_the_sensor_mode_is_pinned_and_one_that_does_not_exist_is_told(bench: Bench) -> None:
    camera = bench.one(sensor_mode=(2304, 1296))
    camera.open()
    assert camera._camera.camera_configuration()["sensor"]["output_size"] == (2304, 1296)
    assert "sensor mode" not in camera.health().note
    camera.close()
    other = bench.one(sensor_mode=(1000, 1000))
    other.open()
    assert "sensor mode 2304x1296 instead of 1000x1000" in other.health().note


def test_no_raw_stream_and_no_colour_conversion_is_asked_for(bench: Bench) -> None:
    camera = bench.one()
    camera.open()
    configuration = camera._camera.camera_configuration()
    assert (configuration["raw"], configuration["main"]["format"]) == (None, "YUV420")
    assert configuration["controls"]["FrameDurationLimits"] == (20000, 20000)


def test_both_cameras_are_made_to_expose_alike_once_they_have_settled(bench: Bench) -> None:
    bench.faults(left={"exposure_us": 10_000}, right={"exposure_us": 20_000})
    cameras, caught = bench.pair(exposure="equal"), [Caught(), Caught()]
    for camera, sink in zip(cameras, caught, strict=True):
        camera.open()
        camera.start(sink)
    wait_until(lambda: [camera._metadata.get("ExposureTime") for camera in cameras] == [15_000, 15_000])


def test_at_rest_the_sensor_goes_on_and_exposes_as_it_likes_and_nothing_is_encoded(bench: Bench) -> None:
    bench.faults(left={"exposure_us": 10_000}, right={"exposure_us": 20_000})
    cameras = bench.pair(exposure="equal")
    for camera in cameras:
        camera.open()
        camera.rest()
    sensors = [camera._camera.camera._thread for camera in cameras]
    for _ in range(2):
        for camera in cameras:
            camera.start(Caught())
        wait_until(lambda: [camera._metadata.get("ExposureTime") for camera in cameras] == [15_000, 15_000])
        for camera in cameras:
            camera.rest()
            assert not camera._camera.encoders
        for camera, own in zip(cameras, (10_000, 20_000), strict=True):
            wait_until(lambda camera=camera, own=own: camera._camera.capture_metadata(wait=2.0)["ExposureTime"] == own)
    assert [camera._camera.camera._thread for camera in cameras] == sensors  # never stopped


def test_a_sensor_that_stalled_at_rest_gives_frames_after_a_stop_and_a_start(bench: Bench) -> None:
    camera, caught = bench.one(), Caught()
    camera.open()
    camera.rest()
    bench.faults(left={"stalls_until_restarted": True})
    wait_until(lambda: camera._camera.camera._asleep)
    bench.faults()
    camera.start(caught)
    threading.Event().wait(0.3)
    assert not caught.frames
    camera.stop()
    camera.start(caught)
    assert caught.wait(3)[0].key


def test_the_sensors_run_in_step_and_frames_do_not_wait_for_it(bench: Bench) -> None:
    bench.faults(left={"slow_ready": 60}, right={"slow_ready": 60})
    cameras, caught = bench.pair(), [Caught(), Caught()]
    for camera, sink in zip(cameras, caught, strict=True):
        camera.open()
        camera.start(sink)
    assert [camera._camera.camera_configuration()["controls"]["SyncMode"] for camera in cameras] == [1, 2]
    caught[0].wait(5)
    assert "in step" not in cameras[0].health().note
    for camera in cameras:
        wait_until(lambda camera=camera: "sensors in step after" in camera.health().note)
    cameras[0].stop()
    cameras[0].start(Caught())
    assert "in step" not in cameras[0].health().note  # it has to get there again
    wait_until(lambda: "sensors in step after" in cameras[0].health().note)


def test_who_else_holds_cameras_is_said_before_they_are_opened_and_once(
        bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from ezrec.adapters.cameras.pi import pair  # noqa: PLC0415

    monkeypatch.setattr(pair, "holders", lambda: [Holder(812, "motion -n", "motion.service", ("/dev/video0",))])
    cameras = bench.pair()
    with capture_logs() as lines:
        for camera in cameras:
            camera.open()
    (line,) = [line for line in lines if line["event"] == "others hold cameras"]
    assert line["who"] == ("process 812 (motion -n, unit motion.service) holds /dev/video0: "
                           "sudo systemctl disable --now motion.service")
    assert lines.index(line) < [line["event"] for line in lines].index("camera opened")


# ---- what goes wrong


def test_a_busy_camera_is_refused_with_the_cause_and_leaves_nothing_behind(bench: Bench) -> None:
    camera = bench.one()
    camera.open()
    camera.close()
    bench.faults(left={"busy": True})
    threads, files = set(threading.enumerate()), open_files()
    for _ in range(5):
        with pytest.raises(CameraLost, match=r"Device or resource busy .*hold a camera"):
            camera.open()
    gc.collect()
    assert set(threading.enumerate()) <= threads
    assert open_files() <= files
    bench.faults()
    camera.open()


def test_a_camera_without_memory_for_its_buffers_is_refused_and_opens_when_there_is_some(bench: Bench) -> None:
    camera = bench.one()
    bench.faults(left={"no_memory": True})
    threads, files = set(threading.enumerate()), open_files()
    for _ in range(3):
        with pytest.raises(CameraLost, match="Cannot allocate memory"):
            camera.open()
    gc.collect()
    assert set(threading.enumerate()) <= threads
    assert open_files() <= files
    bench.faults()
    caught = Caught()
    camera.open()
    camera.start(caught)
    caught.wait(3)


def test_one_camera_that_is_opened_and_closed_costs_the_other_one_no_frame(bench: Bench) -> None:
    left, right = bench.pair()
    caught = Caught()
    left.open()
    left.start(caught)
    for _ in range(5):
        right.open()
        right.start(Caught())
        right.stop()
        right.close()
    number = len(caught.frames)
    frames = caught.wait(number + 5)
    assert {round((later.sensor_ns - one.sensor_ns) / 20_000_000) for one, later in pairwise(frames)} == {1}


def test_a_dead_thread_that_serves_all_cameras_is_started_again_with_the_next_one(bench: Bench) -> None:
    left, right = bench.pair()
    caught = Caught()
    left.open()
    left.start(caught)
    caught.wait(3)
    shared = __import__("picamera2").Picamera2._cm
    dead = shared.thread
    shared.running = False  # it ends as it would by an error, but for what it says
    dead.join(5)
    shared.running = True
    assert not shared.thread.is_alive()
    right.open()
    number = len(caught.frames)
    caught.wait(number + 5)


def test_fifty_rounds_leave_no_thread_no_descriptor_and_no_growing_memory(bench: Bench) -> None:
    cameras = bench.pair(size=(640, 360))

    def rounds(number: int) -> tuple[int, int]:
        for _ in range(number):
            for camera in cameras:
                caught = Caught()
                camera.open()
                camera.start(caught)
                caught.wait(1)
            for camera in cameras:
                camera.stop()
                camera.close()
        gc.collect()  # the selector that Picamera2 itself leaves to it
        ctypes.CDLL(None).malloc_trim(0)  # what is free does not count
        return open_files(), psutil.Process().memory_info().rss

    rounds(5)
    threads = set(threading.enumerate())
    files, memory = rounds(5)
    grown = []
    for _ in range(2):
        more_files, more_memory = rounds(20)
        assert set(threading.enumerate()) <= threads
        assert more_files <= files
        grown.append(more_memory - memory)
        memory = more_memory
    assert min(grown) < 6 << 20  # what leaks does so each time: one camera's buffers alone would be 40 MB


def test_a_camera_that_could_not_be_closed_because_of_the_other_one_is_closed_the_next_time(
        bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from ezrec.adapters.cameras.pi import pair  # noqa: PLC0415

    monkeypatch.setattr(pair, "PATIENCE_S", 0.05)
    camera = bench.one()
    camera.open()
    with camera._pair.alone(), pytest.raises(CameraLost, match="the other camera is being opened or closed"):
        camera.close()
    assert camera.health().state == "open"
    camera.close()
    assert camera.health().state == "closed"


def test_the_camera_that_came_back_is_opened_though_it_was_missing_before(bench: Bench) -> None:
    bench.faults(left={"absent": True})
    camera = bench.one(wanted={"left": Wanted(LEFT)})
    with pytest.raises(CameraLost, match=r"camera left \(id .*\) is not there"):
        camera.open()
    bench.faults()
    camera.open()
    assert camera.health().state == "open"


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


