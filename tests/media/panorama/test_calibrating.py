"""Two cameras are calibrated to a fraction of a pixel, judged truly, and refused where they do not belong together."""

from dataclasses import replace

import numpy as np
import pytest

from ezrec.domain.calibration import Calibration, CalibrationVerdict, better, misfit
from ezrec.domain.errors import BadMedia
from ezrec.media.panorama.calibrating import CannotCalibrate, CommonView, calibrate, common
from ezrec.media.panorama.cylinder import grid, pair_of
from ezrec.media.panorama.lens import Bend
from ezrec.pyav import Planes
from tests.fakes.angled import Rig, foreign, places, view

RIGS = {
    "usual": Rig(),
    "brighter on the right": Rig(gain=1.4),
    "little overlap, rolled and pitched": Rig(apart=56, roll=3, pitch=4),
    "much overlap": Rig(apart=40),
    "a bending lens": Rig(bend=Bend(0.6, -0.25, 0.05), apart=52),
    "dim and noisy": Rig(noise=6),
}


def seen(rig: Rig, camera: int, rotation: int = 0) -> CommonView:
    return common([view(rig, camera)], rotation)


def step_at_the_seam(rig: Rig, found: Calibration) -> float:
    """The 95th percentile of how far apart, in pixels of a camera, what meets at the seam truly is."""
    _, t = grid(found.area, 2, 80)
    a = np.interp(np.linspace(0, 1, 80), np.linspace(0, 1, len(found.seam)), found.seam)[:, None]
    left, right = (places(rig, camera, pair_of(found).seen(camera, a, t)[0].reshape(-1, 2)) for camera in range(2))
    return float(np.percentile(np.linalg.norm(left - right, axis=1) * rig.bend.focal * rig.size[0], 95))


@pytest.fixture(scope="module")
def usual() -> Calibration:
    return calibrate(seen(Rig(), 0), seen(Rig(), 1))[0]


@pytest.mark.parametrize("name", RIGS)
def test_what_meets_at_the_seam_is_less_than_half_a_pixel_apart_and_no_hole_is_left(name: str) -> None:
    rig = RIGS[name]
    found, _ = calibrate(seen(rig, 0), seen(rig, 1))
    assert found.verdict is CalibrationVerdict.GOOD, found.advice
    assert step_at_the_seam(rig, found) < 0.4
    assert found.quality.luma_step < 1.5
    a, t = grid(found.area, 300, 100)
    shown = pair_of(found).seen(0, a, t)[1] | pair_of(found).seen(1, a, t)[1]
    assert shown.mean() > 0.998
    assert 0.75 < found.quality.coverage <= 1


def test_lens_and_angle_are_those_that_the_cameras_have(usual: Calibration) -> None:
    assert usual.left.focal == pytest.approx(0.72, abs=0.005)
    left, right = (np.asarray(lens.turn) for lens in (usual.left, usual.right))
    turned = np.degrees(np.arccos((np.trace(left @ right.T) - 1) / 2))
    assert turned == pytest.approx(46, abs=0.5)


def test_the_horizon_lies_level_between_what_is_down_for_both(usual: Calibration) -> None:
    for lens in (usual.left, usual.right):
        down = np.asarray(lens.turn)[:, 1]  # the cylinder's axis as the camera sees it
        assert np.degrees(np.arccos(down[1])) < 2.5


def test_people_who_walk_about_are_not_in_what_moments_have_in_common() -> None:
    moments = []
    for number in range(7):
        planes = Planes(*(np.full(shape, 100, np.uint8) for shape in ((90, 160), (45, 80), (45, 80))))
        planes.y[20:70, 20 * number : 20 * number + 15] = 250
        moments.append(planes)
    assert set(common(moments, 0).planes.y.ravel()) == {100}


@pytest.mark.parametrize("seed", range(3))
def test_cameras_of_two_halls_are_refused(seed: int) -> None:
    rig = Rig(seed=seed + 5)
    with pytest.raises(CannotCalibrate, match="points in common"):
        calibrate(seen(rig, 0), seen(foreign(rig), 1))


def test_exchanged_cameras_are_refused_and_it_is_said() -> None:
    with pytest.raises(CannotCalibrate, match="exchanged"):
        calibrate(seen(Rig(apart=58), 1), seen(Rig(apart=58), 0))


def test_a_camera_that_stands_on_its_head_is_refused_with_the_setting_that_helps() -> None:
    right = view(Rig(), 1)
    head_down = common([Planes(*(np.ascontiguousarray(np.rot90(plane, 2)) for plane in right))], 0)
    with pytest.raises(CannotCalibrate, match=r"cameras\.right\.rotation|points in common"):
        calibrate(seen(Rig(), 0), head_down)


def test_a_lens_with_its_cap_on_is_refused_by_name() -> None:
    dark = common([Planes(*(np.full(shape, 16, np.uint8) for shape in ((360, 640), (180, 320), (180, 320))))], 0)
    with pytest.raises(CannotCalibrate, match="the right picture shows nothing"):
        calibrate(seen(Rig(), 0), dark)


def test_a_calibration_is_read_back_as_it_was_written(usual: Calibration) -> None:
    assert Calibration.loads(usual.dumps()) == usual
    assert Calibration.loads(usual.dumps()).id == usual.id


@pytest.mark.parametrize("text", ["", "[]", "{", '{"version": 2}', '{"version": 1}', "\x00"])
def test_what_is_no_calibration_is_refused_with_the_command_that_helps(text: str) -> None:
    with pytest.raises(BadMedia, match="ezrec calibrate"):
        Calibration.loads(text)


def test_a_poor_one_never_takes_a_good_one_s_place(usual: Calibration) -> None:
    poor = replace(usual, verdict=CalibrationVerdict.POOR)
    refused = replace(usual, verdict=CalibrationVerdict.REFUSED)
    kept = [better(new, old) for new in (usual, poor, refused) for old in (None, poor, usual)]
    assert kept == [True, True, True, True, True, False, False, False, False]


def test_other_pictures_than_those_that_were_calibrated_are_told(usual: Calibration) -> None:
    assert misfit(usual.left, (1280, 720), 0) is None  # the same in another size
    assert "640x480" in str(misfit(usual.left, (640, 480), 0))
    assert "turned" in str(misfit(usual.left, (640, 360), 180))
