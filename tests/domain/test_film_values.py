"""Recipes and reports go to JSON and back unchanged; ticks lie on a grid that never drifts."""

import json
from dataclasses import replace
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from ezrec.domain.film import (
    CameraShare,
    Canvas,
    ChunkReport,
    EncoderOptions,
    Intro,
    Logo,
    Recipe,
    Rung,
    View,
    tick_us,
)
from ezrec.domain.loss import Loss

text = st.text(max_size=20)
size = st.integers(2, 8000)
views = st.builds(View, text, st.integers(0, 8000), size, size, st.sampled_from([0, 90, 180, 270]))
recipes = st.builds(
    Recipe, st.fractions(1, 120), st.builds(Canvas, size, size, st.lists(views, min_size=1, max_size=2).map(tuple)),
    st.builds(EncoderOptions, crf=st.integers(0, 51), bframes=st.integers(0, 3), threads=st.integers(1, 8)),
    st.lists(st.builds(Logo, text, text, text, text, size, size, st.floats(0, 1)), max_size=3).map(tuple),
    st.none() | st.builds(Intro, text, text, size, st.booleans()), size, size, st.lists(text, max_size=3).map(tuple))
shares = st.builds(CameraShare, size, size, size, size, size, st.none() | size, st.none() | size)
reports = st.builds(ChunkReport, size, st.dictionaries(text, shares, max_size=2), size, size, size,
                    st.lists(st.builds(Loss, text, text, size, size, text), max_size=2).map(tuple))


@given(recipes)
def test_a_recipe_survives_the_store(recipe: Recipe) -> None:
    assert Recipe.loads(recipe.dumps()) == recipe


@given(recipes)
def test_a_recipe_of_the_first_version_and_one_of_a_later_version_are_read(recipe: Recipe) -> None:
    told = json.loads(recipe.dumps())
    later = told | {"version": 99, "glow": 1, "canvas": told["canvas"] | {"warp": [1]}}
    assert Recipe.loads(json.dumps(later)) == recipe
    del told["version"], told["canvas"]["layout"], told["skipped"]
    first = Recipe.loads(json.dumps(told))
    assert first == replace(recipe, skipped=(), canvas=replace(recipe.canvas, layout="feather"))


@given(reports)
def test_a_chunks_report_survives_the_store(report: ChunkReport) -> None:
    assert ChunkReport.loads(report.dumps()) == report


def test_a_report_of_a_version_that_knew_of_no_losses_is_read() -> None:
    told = json.loads(ChunkReport(1, {"left": CameraShare(shown=2)}).dumps())
    del told["lost"]
    assert ChunkReport.loads(json.dumps(told)).lost == ()


@given(st.integers(-(10**12), 10**12), st.integers(-(10**7), 10**7), st.fractions(1, 120))
def test_ticks_lie_on_the_grid_to_the_nearest_microsecond_however_many_there_are(anchor: int, tick: int,
                                                                                 rate: Fraction) -> None:
    assert abs(tick_us(anchor, tick, rate) - (anchor + tick * 1_000_000 / rate)) <= Fraction(1, 2)


def test_an_encoder_reorders_only_if_it_has_b_frames() -> None:
    assert (EncoderOptions(bframes=0).reorder, EncoderOptions(bframes=2).reorder) == (0, 1)


def test_the_words_that_are_stored_of_a_fallback_are_those_of_films_under_way() -> None:
    assert [rung.value for rung in Rung] == ["full", "feather", "side_by_side", "left_only", "right_only"]


def test_a_recipe_says_that_it_is_of_version_2() -> None:
    assert json.loads(Recipe(Fraction(30), Canvas(2, 2, ()), EncoderOptions()).dumps())["version"] == 2
