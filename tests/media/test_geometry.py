"""Laying out the canvas, and where each sample of the film comes from."""

from typing import Any

import numpy as np
import pytest

from ezrec.config.sections import FilmSettings
from ezrec.domain.film import Canvas, Rung, View, ladder
from ezrec.media.drawing import BANDS
from ezrec.media.encode import coded_frame
from ezrec.media.geometry import GEOMETRIES, canvas_for, composer_for
from ezrec.media.side_by_side import FlatComposer
from ezrec.pyav import planes_of
from tests.fakes.pictures import flat


@pytest.mark.parametrize(
    ("sizes", "turns", "kind", "overlap", "expected"),
    [
        ({"left": (1154, 1792), "right": (1150, 1792)}, {}, "side_by_side", 0, (2304, 1792, [(0, 1154), (1154, 1150)])),
        ({"right": (1920, 1080), "left": (1920, 1080)}, {}, "feather", 0.1, (3648, 1080, [(0, 1920), (1728, 1920)])),
        ({"left": (1920, 1080), "right": (1280, 720)}, {}, "feather", 0.0, (2560, 720, [(0, 1280), (1280, 1280)])),
        ({"left": (64, 36), "right": (36, 64)}, {"right": 90}, "side_by_side", 0, (128, 36, [(0, 64), (64, 64)])),
        ({"left": (321, 181)}, {}, "feather", 0.2, (320, 180, [(0, 320)])),
        ({"right": (64, 36), "middle": (32, 36), "left": (16, 36)}, {}, "side_by_side", 0,
         (112, 36, [(0, 16), (16, 32), (48, 64)])),
    ],
)
def test_views_have_one_height_and_even_places(
    sizes: Any, turns: Any, kind: str, overlap: float, expected: Any
) -> None:
    canvas = canvas_for(kind, sizes, turns, overlap)
    assert (canvas.width, canvas.height, [(view.x, view.width) for view in canvas.views]) == expected
    assert {view.height for view in canvas.views} == {canvas.height}
    assert canvas.layout == kind


PAIR = Canvas(56, 16, (View("left", 0, 32, 16), View("right", 24, 32, 16)))


def test_the_feather_is_a_linear_ramp_in_the_strip_and_nothing_elsewhere() -> None:
    pictures = {"left": flat(32, 16, 100, 80), "right": flat(32, 16, 200, 180)}
    luma, blue, _ = planes_of(FlatComposer(PAIR).compose(pictures))
    ramp = [round(100 + 100 * (n + 0.5) / 8) for n in range(8)]
    assert np.abs(luma[0, 24:32].astype(int) - ramp).max() <= 1
    assert set(luma[:, :24].ravel()) == {100}
    assert set(luma[:, 32:].ravel()) == {200}
    assert np.abs(blue[0, 12:16].astype(int) - [round(80 + 100 * (n + 0.5) / 4) for n in range(4)]).max() <= 1
    assert (luma == luma[0]).all()


def test_without_feather_the_edge_is_in_the_middle_of_the_strip() -> None:
    film = FlatComposer(PAIR, feather=False).compose({"left": flat(32, 16, 100), "right": flat(32, 16, 200)})
    assert planes_of(film)[0][3].tolist() == [100] * 28 + [200] * 28


@pytest.mark.parametrize(
    ("camera", "own", "other"),
    [("left", slice(0, 32), slice(32, 56)), ("right", slice(24, 56), slice(0, 24))],
)
def test_a_camera_that_is_alone_keeps_the_strip_and_the_other_half_is_filled(
    camera: str, own: slice, other: slice
) -> None:
    composer = FlatComposer(PAIR)
    composer.compose({"left": flat(32, 16, 200), "right": flat(32, 16, 200, 200)})
    luma, blue, _ = planes_of(composer.compose({camera: flat(32, 16, 100, 90)}))
    assert set(luma[:, own].ravel()) == {100}
    assert set(luma[:, other].ravel()) <= set(BANDS)
    assert set(blue[:, other.start // 2 : other.stop // 2].ravel()) == {128}


def test_no_sample_is_left_over_from_the_picture_before_when_both_are_gone() -> None:
    composer = FlatComposer(PAIR)
    composer.compose({"left": flat(32, 16, 200), "right": flat(32, 16, 200)})
    assert set(planes_of(composer.compose({}))[0].ravel()) <= set(BANDS)


def test_the_bands_of_the_fill_are_diagonal_and_of_both_greys() -> None:
    luma = planes_of(FlatComposer(Canvas(200, 100, (View("left", 0, 200, 100),))).compose({}))[0]
    assert set(luma.ravel()) == set(BANDS)
    assert (luma[1:, :-1] == luma[:-1, 1:]).all()


def test_every_layout_that_the_settings_offer_draws_on_every_rung_of_its_ladder() -> None:
    assert set(FilmSettings.model_fields["layout"].annotation.__args__) == set(GEOMETRIES)  # type: ignore[union-attr]
    pictures = {camera: flat(64, 36, 100) for camera in ("left", "right")}
    for layout in GEOMETRIES:
        canvas = canvas_for(layout, {"left": (64, 36), "right": (64, 36)}, overlap=0.25)
        assert ladder(canvas)[0] is Rung.FULL, layout
        for rung in ladder(canvas):
            drawn = composer_for(canvas, rung, (), coded_frame(canvas)).compose(pictures)
            assert set(planes_of(drawn).y[:canvas.height, :canvas.width].ravel()) == {100}, (layout, rung)


def test_a_film_of_one_camera_has_no_rungs_of_single_cameras() -> None:
    assert ladder(Canvas(64, 36, (View("left", 0, 64, 36),))) == [Rung.FULL, Rung.PLAIN]


def test_of_three_views_each_keeps_what_no_neighbour_shares() -> None:
    row = Canvas(80, 16, (View("left", 0, 32, 16), View("middle", 24, 32, 16), View("right", 48, 32, 16)))
    luma = planes_of(FlatComposer(row).compose({"left": flat(32, 16, 100), "right": flat(32, 16, 200)})).y
    assert [set(luma[:, part].ravel()) for part in (slice(0, 32), slice(48, 80))] == [{100}, {200}]
    assert set(luma[:, 32:48].ravel()) <= set(BANDS)
