"""What any camera must keep, whatever it is made of. A new kind joins by a line in `CAMERAS`."""

import threading
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import pytest

from ezrec.adapters.cameras import Camera, Frame
from ezrec.adapters.cameras.synthetic.court import CourtView, counter_at, due_us
from ezrec.adapters.cameras.synthetic.encoder import new_picture
from ezrec.adapters.cameras.synthetic.replay import ReplayCamera
from ezrec.adapters.cameras.synthetic.simulated import SimulatedCamera
from ezrec.domain.clock import SystemClock
from ezrec.domain.errors import CameraLost
from ezrec.pyav import planes_of
from tests.fakes.caught import Caught
from tests.fakes.pi import pi_pair

SIZE = (320, 180)
LIMIT_S = 10.0
KEYFRAME_S = 0.2


def simulated(_folder: Path) -> Camera:
    return SimulatedCamera("left", size=SIZE, rate=Fraction(50), bitrate=1_000_000, keyframe_s=KEYFRAME_S, overlap=0.1,
                           clock=SystemClock())


def replay(folder: Path) -> Camera:
    film = folder / "court.mp4"
    view, picture = CourtView(SIZE, "left", 0.1), new_picture(SIZE)
    planes = planes_of(picture)
    view.paint(planes)
    with av.open(str(film), "w") as container:
        stream = container.add_stream("libx264", rate=50, options={"preset": "ultrafast"})
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        for n in range(30):
            view.draw(planes, due_us(n, Fraction(50)), counter_at(n))
            picture.pts, picture.time_base = n, Fraction(1, 50)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return ReplayCamera("left", film, bitrate=1_000_000, keyframe_s=KEYFRAME_S, clock=SystemClock())


def picamera2(_folder: Path) -> Camera:
    return pi_pair(("left",))[0]


CAMERAS = [simulated, replay, picamera2]


@pytest.fixture(params=CAMERAS, ids=lambda make: make.__name__)
def camera(request: pytest.FixtureRequest, tmp_path: Path):
    make: Callable[[Path], Camera] = request.param
    made = make(tmp_path)
    yield made
    made.stop()
    made.close()


def test_frames_begin_with_a_key_frame_and_rise_in_time_near_the_clock(camera: Camera) -> None:
    caught = Caught()
    camera.open()
    before_us = SystemClock().mono_us()
    camera.start(caught)
    frames = caught.wait(20)
    after_us = SystemClock().mono_us()
    camera.stop()
    times = [frame.sensor_ns for frame in frames]
    assert frames[0].key
    assert all(later > earlier for earlier, later in pairwise(times))
    assert before_us * 1000 <= times[0] + 1_000_000_000 / camera.rate
    assert times[-1] <= after_us * 1000


def test_key_frames_come_at_the_interval_that_was_asked_for(camera: Camera) -> None:
    caught = Caught()
    camera.open()
    camera.start(caught)
    frames = caught.wait(25)
    assert [n for n, frame in enumerate(frames) if frame.key][:3] == [0, 10, 20]


def test_the_stream_decodes_one_picture_of_the_told_size_for_each_frame(camera: Camera) -> None:
    caught = Caught()
    camera.open()
    camera.start(caught)
    frames = caught.wait(20)
    camera.stop()
    decoder = av.CodecContext.create("h264", "r")
    for frame in frames:
        assert frame.data[:4] == b"\0\0\0\1" or frame.data[:3] == b"\0\0\1"
    pictures = [picture for frame in frames for picture in decoder.decode(av.Packet(frame.data))] + decoder.decode(None)
    assert len(pictures) == len(frames)
    assert {(picture.width, picture.height) for picture in pictures} == {camera.size}
    assert not any(picture.is_corrupt for picture in pictures)


def test_decoding_can_begin_at_any_key_frame(camera: Camera) -> None:
    caught = Caught()
    camera.open()
    camera.start(caught)
    frames = caught.wait(12)
    later = [n for n, frame in enumerate(frames) if frame.key][1]
    decoder = av.CodecContext.create("h264", "r")
    assert [p.is_corrupt for p in decoder.decode(av.Packet(frames[later].data)) + decoder.decode(None)] == [False]


def test_after_stop_the_sink_is_not_called_again(camera: Camera) -> None:
    caught = Caught()
    camera.open()
    camera.start(caught)
    caught.wait(3)
    camera.stop()
    number = len(caught.frames)
    again = Caught()
    camera.start(again)
    steps = [later.sensor_ns - earlier.sensor_ns for earlier, later in pairwise(again.wait(12))]
    camera.stop()
    assert len(caught.frames) == number
    assert min(steps) == pytest.approx(1_000_000_000 / camera.rate, rel=0.01)  # it runs at its rate as before


def test_ten_rounds_leave_no_thread_and_each_begins_with_a_key_frame(camera: Camera) -> None:
    before = set(threading.enumerate())
    for _ in range(10):
        caught = Caught()
        camera.open()
        camera.start(caught)
        assert caught.wait(1)[0].key
        camera.stop()
        camera.close()
    assert set(threading.enumerate()) <= before


def test_health_tells_the_state_and_counts_the_frames(camera: Camera) -> None:
    assert camera.health().state == "closed"
    camera.open()
    assert camera.health().state == "open"
    caught = Caught()
    camera.start(caught)
    assert camera.health().state == "streaming"
    caught.wait(3)
    camera.stop()
    assert camera.health().frames == len(caught.frames)
    assert camera.health().state == "open"
    camera.close()
    assert camera.health().state == "closed"


def test_a_camera_at_rest_hands_over_nothing_and_begins_again_with_a_key_frame(camera: Camera) -> None:
    before = set(threading.enumerate())
    camera.open()
    camera.rest()
    for _ in range(2):
        caught = Caught()
        since_ns = SystemClock().mono_us() * 1000 - 2_000_000_000 // camera.rate
        camera.start(caught)
        first = caught.wait(5)[0]
        assert first.key
        assert first.sensor_ns > since_ns
        camera.rest()
        camera.rest()
        assert camera.health().state == "open"
        number = len(caught.frames)
        threading.Event().wait(0.2)
        assert len(caught.frames) == number
    camera.stop()
    camera.close()
    assert set(threading.enumerate()) <= before


def test_a_camera_that_is_not_open_does_not_start_or_rest(camera: Camera) -> None:
    with pytest.raises(CameraLost):
        camera.start(Caught())
    with pytest.raises(CameraLost):
        camera.rest()


def test_stop_and_close_are_harmless_at_any_time(camera: Camera) -> None:
    camera.stop()
    camera.close()
    camera.open()
    camera.stop()
    camera.stop()
    camera.close()
    camera.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_sink_that_raises_does_not_kill_the_camera(camera: Camera) -> None:
    caught = Caught()

    def sink(frame: Frame) -> None:
        caught(frame)
        raise OSError("the disk is full")

    camera.open()
    camera.start(sink)
    caught.wait(5)
    camera.stop()
    assert camera.health().state == "open"
    assert "the disk is full" in camera.health().note
