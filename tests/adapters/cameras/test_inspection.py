"""Trying a camera out: what its pictures are judged to be."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from ezrec.adapters.cameras import Frame
from ezrec.adapters.cameras.inspection import SMALL, Sample, Verdict, judge, keep_picture, small, try_out
from ezrec.adapters.cameras.synthetic.court import CourtView
from ezrec.adapters.cameras.synthetic.encoder import H264Encoder, new_picture
from ezrec.adapters.cameras.synthetic.simulated import SimulatedCamera
from ezrec.domain.clock import SECOND, SystemClock
from ezrec.domain.errors import CameraLost
from ezrec.pyav import planes_of

SIZE = (640, 360)
RATE = Fraction(10)


def court(us: int, side: str = "left", size: tuple[int, int] = SIZE) -> av.VideoFrame:
    view, picture = CourtView(size, side, 0.0), new_picture(size)
    planes = planes_of(picture)
    view.paint(planes)
    view.draw(planes, us, us // 100_000)
    return picture


def changed(picture: av.VideoFrame, how: str) -> av.VideoFrame:
    """The picture as a camera in trouble would give it."""
    luma = planes_of(picture).y
    match how:
        case "black":
            luma[:] = 18
        case "blank":
            luma[:] = 128
        case "dim":
            luma[:] = (luma.astype(int) - 16) // 2 + 16
        case "blurred":
            for _ in range(6):
                luma[:] = (np.roll(luma, 4, 0).astype(int) + np.roll(luma, -4, 0) + np.roll(luma, 4, 1)
                           + np.roll(luma, -4, 1)) // 4
        case "moved":
            luma[:] = np.roll(luma, 220, 1)[::-1]
    return picture


def sampled(pictures: list[av.VideoFrame], step_us: int = 100_000, size: tuple[int, int] = SIZE) -> Sample:
    sample = Sample(RATE)
    encoder = H264Encoder(size, RATE, 8_000_000, 0.1)
    for number, picture in enumerate(pictures):
        for frame in encoder.encode(picture, 5 * SECOND + number * step_us):
            sample(frame)
    return sample


def trouble(how: str, reference: Path | None = None) -> list[str]:
    return list(judge(sampled([changed(court(n * 100_000), how) for n in range(8)]), reference).problems)


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    good = judge(sampled([court(n * 100_000) for n in range(8)]))
    assert good.good
    keep_picture(tmp_path / "reference" / "left.jpg", good)
    return tmp_path / "reference" / "left.jpg"


def test_a_good_picture_is_good_with_and_without_a_reference_and_players_who_moved_on(reference: Path) -> None:
    later = sampled([court(60 * SECOND + n * 100_000) for n in range(8)])
    for verdict in (judge(later), judge(later, reference)):
        assert verdict.problems == []
        assert (verdict.frames, verdict.missing, verdict.rate) == (8, 0, 10.0)


def test_light_that_changed_is_no_trouble(reference: Path) -> None:
    assert trouble("dim", reference) == []


@pytest.mark.parametrize(("how", "words"), [
    ("black", "the picture is black"), ("blank", "the picture is blank"), ("blurred", "the picture is blurred")])
def test_a_picture_that_nobody_wants_to_see_is_named(how: str, words: str, reference: Path) -> None:
    for known in (None, reference):
        assert any(problem.startswith(words) for problem in trouble(how, known)), known


def test_a_camera_that_was_moved_is_found_by_its_reference_alone(reference: Path) -> None:
    assert trouble("moved") == []
    assert "looks at something else" in trouble("moved", reference)[0]


def test_a_picture_that_never_changes_is_frozen() -> None:
    assert judge(sampled([court(0)] * 8)).problems == ["the picture is frozen"]


def test_missing_frames_are_counted() -> None:
    sample = sampled([court(n * 300_000) for n in range(4)], 300_000)
    assert judge(sample).problems == ["6 of 10 frames are missing"]


def test_a_picture_that_is_smaller_than_what_is_judged_is_not_called_blurred() -> None:
    assert judge(sampled([court(n * 100_000, size=(192, 108)) for n in range(8)], size=(192, 108))).problems == []


def test_a_machine_that_is_too_busy_for_its_frames_is_told_of_them_and_not_of_its_lenses() -> None:
    blurred = [changed(court(n * 300_000), "blurred") for n in range(4)]
    assert judge(sampled(blurred, 300_000)).problems == ["6 of 10 frames are missing"]


def test_no_frame_and_no_key_frame_are_no_crash() -> None:
    assert judge(Sample(RATE)).problems == ["no frame came"]
    sample = Sample(RATE)
    sample(Frame(b"\0\0\0\1", False, 1))
    assert judge(sample).problems == ["no key frame came"]
    sample(Frame(b"\0\0\0\1rubbish", True, 2))
    assert "cannot be decoded" in judge(sample).problems[0]


def test_a_sample_keeps_two_pictures_however_long_it_lasts() -> None:
    sample = sampled([court(n * 100_000) for n in range(30)])
    assert sample.ready
    assert len(sample.keys) == 2
    assert sample.keys[1].sensor_ns // 1000 == 5 * SECOND + 2_900_000


def test_a_reference_that_cannot_be_read_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    verdict = judge(sampled([court(n * 100_000) for n in range(8)]), tmp_path / "broken.jpg")
    assert (verdict.good, verdict.likeness) == (True, None)


def test_the_saved_picture_has_the_cameras_size(reference: Path) -> None:
    with av.open(str(reference)) as container:
        picture = next(container.decode(video=0))
    assert (picture.width, picture.height) == SIZE
    assert small(picture).shape == SMALL[::-1]


def test_a_real_camera_is_tried_out_and_closed_again(tmp_path: Path) -> None:
    faults = tmp_path / "faults.json"
    camera = SimulatedCamera("left", size=(320, 180), rate=Fraction(30), bitrate=1_000_000, keyframe_s=0.5, overlap=0.1,
                             clock=SystemClock(), faults=faults)
    verdict: Verdict = try_out(camera, 10.0)
    assert (verdict.good, camera.health().state) == (True, "closed")
    faults.write_text('{"left": {"absent": true}}')
    camera = SimulatedCamera("left", size=(320, 180), rate=Fraction(30), bitrate=1_000_000, keyframe_s=0.5, overlap=0.1,
                             clock=SystemClock(), faults=faults)
    with pytest.raises(CameraLost):
        try_out(camera, 10.0)
