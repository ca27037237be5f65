"""When exposures are held, and what both cameras get."""

from typing import Any

import pytest

from ezrec.adapters.cameras.pi.exposure import Exposure, ExposureMatcher

DARK, LIGHT = Exposure(10_000, 2.0, (2.0, 1.6)), Exposure(20_000, 4.0, (2.4, 1.8))
EVEN = {"ExposureTime": 15_000, "AnalogueGain": 3.0, "ColourGains": (pytest.approx(2.2), pytest.approx(1.7))}
S = 1_000_000


def matcher(mode: Any = "equal", sides: int = 2) -> ExposureMatcher:
    return ExposureMatcher(mode, sides, 2.0)


def test_nothing_is_held_before_the_cameras_have_settled() -> None:
    both = matcher()
    assert both.controls_for("left", DARK, S) is None
    assert both.controls_for("right", LIGHT, S) is None
    assert not both.holds("left")


def test_both_get_the_middle_of_what_they_came_to_and_get_it_once() -> None:
    both = matcher()
    assert both.controls_for("left", DARK, 2 * S) is None
    assert both.controls_for("right", LIGHT, 2 * S) == EVEN
    assert both.controls_for("left", DARK, 2 * S + 1) == EVEN
    assert both.controls_for("left", DARK, 9 * S) is None


def test_a_camera_does_not_wait_for_ever_for_the_other_one_and_that_one_then_gets_the_same() -> None:
    both = matcher()
    both.controls_for("left", DARK, 2 * S)
    assert both.controls_for("left", DARK, 4 * S) is None
    assert both.controls_for("left", DARK, 5 * S) == DARK.controls()
    assert both.controls_for("right", LIGHT, 0) == DARK.controls()


def test_a_camera_that_is_started_again_gets_what_the_other_one_holds() -> None:
    both = matcher()
    both.controls_for("left", DARK, 2 * S)
    both.controls_for("right", LIGHT, 2 * S)
    both.controls_for("left", DARK, 2 * S)
    both.forget("right")
    assert both.controls_for("right", LIGHT, 0) == EVEN


def test_when_both_were_stopped_they_settle_anew() -> None:
    both = matcher()
    both.controls_for("left", DARK, 2 * S)
    both.controls_for("right", LIGHT, 2 * S)
    both.controls_for("left", DARK, 2 * S)
    assert both.holds("left")
    both.forget("left")
    assert not both.holds("left")
    both.forget("right")
    assert both.controls_for("left", LIGHT, 0) is None


def test_hold_keeps_each_cameras_own_and_auto_leaves_them_alone() -> None:
    assert matcher("hold").controls_for("left", DARK, 2 * S) == DARK.controls()
    assert matcher("auto").controls_for("left", DARK, 99 * S) is None


def test_a_camera_that_tells_nothing_is_left_alone() -> None:
    assert Exposure.of({"ExposureTime": 5}) is None
    assert matcher().controls_for("left", None, 9 * S) is None
