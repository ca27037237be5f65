"""Which camera is left and which is right, whatever order they are listed in."""

from pathlib import Path

import pytest

from ezrec.adapters.cameras.pi.identity import DetectedCamera, Remembered, Wanted, bind, missing
from ezrec.domain.errors import CameraLost

ONE = DetectedCamera("/base/axi/pcie@1000120000/rp1/i2c@88000/imx708@1a", "imx708", 1)
TWO = DetectedCamera("/base/axi/pcie@1000120000/rp1/i2c@80000/imx477@1a", "imx477", 0)


@pytest.mark.parametrize(("left", "right"), [
    (Wanted(TWO.id), Wanted(ONE.id)),
    (Wanted("i2c@80000/imx477@1a"), Wanted("i2c@88000/imx708@1a")),
    (Wanted("imx477"), Wanted("imx708")),
    (Wanted("", "imx477"), Wanted("", "imx708")),
    (Wanted("1"), Wanted("0")),
    (Wanted(TWO.id), Wanted()),
    (Wanted(), Wanted(ONE.id)),
    (Wanted(TWO.id, "imx477"), Wanted(ONE.id, "imx708")),
])
def test_a_side_gets_the_camera_it_asks_for_in_whatever_way(left: Wanted, right: Wanted) -> None:
    assert bind([ONE, TWO], {"left": left, "right": right}) == {"left": 1, "right": 0}


def test_sides_that_ask_for_nothing_get_the_cameras_in_the_order_of_the_list() -> None:
    assert bind([ONE, TWO], {"left": Wanted(), "right": Wanted()}) == {"left": 0, "right": 1}


def test_the_place_in_the_list_is_what_counts_and_not_libcameras_number() -> None:
    assert (ONE.number, TWO.number) == (1, 0)
    assert bind([ONE, TWO], {"left": Wanted(ONE.id), "right": Wanted(TWO.id)}) == {"left": 0, "right": 1}


def test_a_missing_camera_does_not_make_its_side_take_the_others() -> None:
    assert bind([TWO], {"left": Wanted(ONE.id), "right": Wanted(TWO.id)}) == {"right": 0}
    assert bind([TWO], {"left": Wanted(ONE.id), "right": Wanted("nobody")}) == {}
    assert bind([], {"left": Wanted(), "right": Wanted()}) == {}


def test_what_is_said_of_a_missing_camera_names_what_was_found_and_the_line_to_write() -> None:
    said = missing([TWO], {"left": Wanted("12345")}, "left")
    assert "id '12345'" in said
    assert f"0: imx477 at {TWO.id}" in said
    assert f'left.id = "{TWO.id}"' in said
    assert "No camera was found" in missing([], {"left": Wanted()}, "left")


@pytest.mark.parametrize(("found", "left", "right", "words"), [
    ([ONE, TWO], Wanted(ONE.id), Wanted("0"), "left and right are set to the same camera"),
    ([ONE, ONE], Wanted("imx708"), Wanted(), "cameras.left fits 2 cameras"),
    ([ONE, ONE], Wanted(), Wanted("", "imx708"), "cameras.right fits 2 cameras"),
    ([ONE, TWO], Wanted(TWO.id, "imx708"), Wanted(ONE.id, "imx477"), "left and right seem to be swapped"),
    ([ONE, TWO], Wanted(ONE.id, "ov5647"), Wanted(), "left should be a ov5647 but is a imx708"),
])
def test_settings_that_cannot_be_meant_are_refused_with_what_was_found(
        found: list[DetectedCamera], left: Wanted, right: Wanted, words: str) -> None:
    with pytest.raises(CameraLost, match=words) as caught:
        bind(found, {"left": left, "right": right})
    assert f"0: {found[0].words}" in str(caught.value)
    assert f'right.id = "{found[1].id}"' in str(caught.value)


def test_a_bare_number_is_a_place_and_never_the_end_of_an_id() -> None:
    found = [DetectedCamera("cam-1", "a", 0), DetectedCamera("cam-0", "b", 1)]
    assert bind(found, {"left": Wanted("0")}) == {"left": 0}


BOTH = {"left": Wanted(), "right": Wanted()}
MEMORY = {"left": TWO.id, "right": ONE.id}


@pytest.mark.parametrize(("found", "bound"), [
    ([ONE, TWO], {"left": 1, "right": 0}),
    ([TWO], {"left": 0}),
    ([ONE], {"right": 0}),
    ([ONE, DetectedCamera("/new", "imx708", 3)], {"right": 0, "left": 1}),  # a camera was moved to another socket
])
def test_a_camera_that_is_missing_does_not_make_the_other_one_change_sides(
        found: list[DetectedCamera], bound: dict[str, int]) -> None:
    assert bind(found, BOTH, MEMORY) == bound


def test_the_settings_come_before_what_is_remembered() -> None:
    assert bind([ONE, TWO], {"left": Wanted(ONE.id), "right": Wanted()}, MEMORY) == {"left": 0, "right": 1}


def test_what_is_remembered_outlives_the_process_and_a_spoilt_file_costs_only_that(tmp_path: Path) -> None:
    Remembered(tmp_path / "cameras.json").keep(MEMORY)
    assert Remembered(tmp_path / "cameras.json").ids() == MEMORY
    (tmp_path / "cameras.json").write_text('["left"')
    assert Remembered(tmp_path / "cameras.json").ids() == {}
    assert Remembered(tmp_path / "nowhere" / "cameras.json").ids() == {}
    Remembered(tmp_path / "nowhere" / "cameras.json").keep(MEMORY)
