"""The make-believe court: both cameras see one world, and the frame counter survives what a film does to it."""

from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ezrec.adapters.cameras.synthetic.court import CourtView, counter_cells, due_us, index_at, read_counter
from ezrec.adapters.cameras.synthetic.encoder import H264Encoder, new_picture
from ezrec.pyav import Planes, planes_of

SIZE = (320, 180)


def drawn(side: str, us: int = 0, counter: int = 0, size: tuple[int, int] = SIZE, overlap: float = 0.2) -> Planes:
    width, height = size
    planes = Planes(np.zeros((height, width), np.uint8), np.zeros((height // 2, width // 2), np.uint8),
                    np.zeros((height // 2, width // 2), np.uint8))
    view = CourtView(size, side, overlap)
    view.paint(planes)
    view.draw(planes, us, counter)
    return planes


VIEWS = {side: CourtView(SIZE, side, 0.2) for side in ("left", "right")}


@given(counter=st.integers(0, 2**24 - 1), side=st.sampled_from(["left", "right"]), us=st.integers(0, 2**50))
def test_every_counter_is_read_back_as_it_was_drawn(counter: int, side: str, us: int) -> None:
    picture = planes_of(new_picture(SIZE))
    VIEWS[side].paint(picture)
    VIEWS[side].draw(picture, us, counter)
    assert read_counter(picture.y, side) == counter


@pytest.mark.parametrize("height", [180, 360, 720, 1080])
def test_the_counter_is_read_at_every_picture_height(height: int) -> None:
    assert read_counter(drawn("right", counter=123_456, size=(height * 16 // 9, height)).y, "right") == 123_456


def test_both_counters_survive_joining_scaling_to_half_and_a_hard_encode() -> None:
    left, right = drawn("left", 5_000_000, 0xABCDEF), drawn("right", 5_000_000, 0x13579B)
    film = new_picture((640, 180))
    for target, one, other in zip(planes_of(film), left, right, strict=True):
        target[:] = np.hstack([one, other])
    small = film.reformat(width=320, height=90)
    encoder = H264Encoder((320, 90), Fraction(30), 150_000, 1.0)
    decoder = av.CodecContext.create("h264", "r")
    shown = [picture for n in range(8) for frame in encoder.encode(small, n * 33_333)
             for picture in decoder.decode(av.Packet(frame.data))]
    shown += decoder.decode(None)
    assert len(shown) == 8
    for picture in shown:
        luma = planes_of(picture).y
        assert read_counter(luma, "left", 180) == 0xABCDEF
        assert read_counter(luma, "right", 180) == 0x13579B


@pytest.mark.parametrize("fill", [0, 16, 24, 128, 232, 255])
def test_a_filled_half_has_no_counter(fill: int) -> None:
    assert read_counter(np.full((180, 320), fill, np.uint8), "left") is None


def test_the_wrong_edge_of_a_view_has_no_counter() -> None:
    assert read_counter(drawn("left").y, "right") is None


def test_a_picture_smaller_than_the_counter_has_no_counter() -> None:
    assert read_counter(np.zeros((40, 20), np.uint8), "left") is None


@given(counter=st.integers(0, 2**24 - 1), cell=st.integers(0, 31))
def test_one_wrong_cell_is_noticed(counter: int, cell: int) -> None:
    luma = np.full((180, 320), 128, np.uint8)
    cells = counter_cells(counter)
    cells.reshape(-1)[cell] ^= 1
    luma[100:132, 8:72] = (24 + 208 * cells).repeat(8, axis=0).repeat(8, axis=1)
    assert read_counter(luma, "left") is None
    cells.reshape(-1)[cell] ^= 1
    luma[100:132, 8:72] = (24 + 208 * cells).repeat(8, axis=0).repeat(8, axis=1)
    assert read_counter(luma, "left") == counter


@pytest.mark.parametrize("overlap", [0.1, 0.4])
def test_what_both_cameras_see_is_the_same_to_the_pixel_while_all_moves(overlap: int) -> None:
    common = round(SIZE[0] * overlap / 2) * 2
    moved = []
    for us in (0, 1_234_567, 86_400_000_000):
        left, right = drawn("left", us, 1, overlap=overlap), drawn("right", us, 2, overlap=overlap)
        for scale, one, other in zip((1, 2, 2), left, right, strict=True):
            assert np.array_equal(one[:, -common // scale:], other[:, :common // scale])
        moved.append(left.y[60:].copy())
    assert not np.array_equal(moved[0], moved[1])


def test_a_picture_drawn_over_the_last_one_is_the_same_as_a_fresh_one() -> None:
    view = CourtView(SIZE, "left", 0.2)
    planes = planes_of(new_picture(SIZE))
    view.paint(planes)
    for n in range(40):
        view.draw(planes, n * 700_000, n)
    for one, other in zip(planes, drawn("left", 39 * 700_000, 39), strict=True):
        assert np.array_equal(one, other)


@given(index=st.integers(0, 2**45), rate=st.fractions(Fraction(1), Fraction(120), max_denominator=1001))
def test_the_time_of_a_frame_leads_back_to_its_index(index: int, rate: Fraction) -> None:
    assert index_at(due_us(index, rate), rate) == index
    assert index_at(due_us(index, rate) - 1, rate) == index - 1


@pytest.mark.parametrize(("size", "overlap"), [((100, 180), 0.1), ((320, 60), 0.1), ((321, 180), 0.1),
                                               ((320, 180), 0.5)])
def test_a_view_that_cannot_hold_its_counter_is_refused(size: tuple[int, int], overlap: float) -> None:
    with pytest.raises(ValueError, match="court view"):
        CourtView(size, "left", overlap)
