"""A camera's picture turned, scaled and brought to the film's range."""

import numpy as np
import pytest

from ezrec.media.drawing import fit
from ezrec.pyav import planes_of
from tests.fakes.pictures import flat


@pytest.mark.parametrize(("rotation", "corner"), [(0, (0, 0)), (90, (0, -1)), (180, (-1, -1)), (270, (-1, 0))])
def test_a_view_is_turned_clockwise(rotation: int, corner: tuple[int, int]) -> None:
    frame = flat(32, 16, 50)
    planes_of(frame)[0][0, 0] = 250
    wide, high = (16, 32) if rotation % 180 else (32, 16)
    luma = fit(frame, wide, high, rotation)[0]
    assert luma.shape == (high, wide)
    assert luma[corner] == 250


def test_a_view_of_another_size_is_scaled() -> None:
    frame = flat(64, 32, 50)
    planes_of(frame)[0][:, 32:] = 200
    luma, blue, _ = fit(frame, 32, 16)
    assert (luma.shape, blue.shape) == ((16, 32), (8, 16))
    assert (luma[8, 4], luma[8, 28]) == (50, 200)


@pytest.mark.parametrize("size", [(32, 16), (64, 32)])
def test_full_range_becomes_limited_range_whether_scaled_or_not(size: tuple[int, int]) -> None:
    luma, blue, _ = fit(flat(*size, luma=255, blue=255, form="yuvj420p"), 32, 16)
    assert abs(int(luma[8, 8]) - 235) <= 1
    assert abs(int(blue[4, 4]) - 240) <= 1


def test_limited_range_is_left_alone() -> None:
    frame = flat(32, 16, 235)
    assert np.shares_memory(fit(frame, 32, 16)[0], planes_of(frame)[0])


@pytest.mark.parametrize("form", ["rgb24", "yuv422p", "nv12"])
def test_a_picture_of_another_format_becomes_planes_of_quarter_colour(form: str) -> None:
    luma, blue, red = fit(flat(32, 16, 90).reformat(format=form), 32, 16)
    assert (luma.shape, blue.shape, red.shape) == ((16, 32), (8, 16), (8, 16))
    assert np.abs(luma.astype(int) - 90).max() <= 2
    assert np.abs(blue.astype(int) - 128).max() <= 2
