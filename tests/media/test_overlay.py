"""Logos of every sort: prepared, placed, blended, or refused with a reason."""

import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from av.video.frame import VideoFrame

from ezrec.domain.errors import BadMedia
from ezrec.domain.film import Canvas, Logo
from ezrec.media.drawing import black
from ezrec.media.overlay import LARGEST_BYTES, Placed, blend, place, prepare_logo
from ezrec.pyav import planes_of

CANVAS = Canvas(320, 180, ())


def png(pixels: Any, form: str = ".png") -> bytes:
    return bytes(cv2.imencode(form, np.asarray(pixels))[1])


def film_with(source: bytes, width: int = 40, opacity: float = 1.0) -> Any:
    frame = black(VideoFrame(320, 180, "yuv420p"))
    planes = planes_of(frame)
    planes[0][:] = 100
    blend(planes, Placed(prepare_logo(source, width, opacity=opacity), 20, 10))
    return planes, frame


WHITE = np.full((20, 40, 3), 255, np.uint8)
RED_BGR = np.full((20, 40, 3), (0, 0, 255), np.uint8)


def test_white_and_red_become_their_bt709_limited_values() -> None:
    planes, _ = film_with(png(WHITE))
    assert (planes[0][15, 30], planes[1][8, 15], planes[2][8, 15]) == (235, 128, 128)
    planes, _ = film_with(png(RED_BGR))
    assert [int(p) for p in (planes[0][15, 30], planes[1][8, 15], planes[2][8, 15])] == [63, 102, 240]


def test_a_logo_touches_its_rectangle_and_nothing_else() -> None:
    planes, _ = film_with(png(WHITE))
    inside = np.zeros((180, 320), bool)
    inside[10:30, 20:60] = True
    assert (planes[0][inside] == 235).all()
    assert (planes[0][~inside] == 100).all()


def test_half_transparent_white_is_half_way() -> None:
    planes, _ = film_with(png(np.dstack([WHITE, np.full((20, 40), 128, np.uint8)])))
    assert abs(int(planes[0][15, 30]) - 168) <= 1
    planes, _ = film_with(png(WHITE), opacity=0.5)
    assert abs(int(planes[0][15, 30]) - 168) <= 1


def test_rows_without_anything_are_not_touched() -> None:
    alpha = np.zeros((20, 40), np.uint8)
    alpha[4:6] = alpha[12:14] = 255
    overlay = prepare_logo(png(np.dstack([WHITE, alpha])), 40)
    assert [(patch.top, len(patch.keep)) for patch in overlay.patches if patch.plane == 0] == [(4, 2), (12, 2)]


def test_a_transparent_fringe_does_not_darken_the_edge() -> None:
    pixels = np.zeros((40, 80, 4), np.uint8)
    pixels[:, 40:] = 255  # the left half is transparent black
    planes, _ = film_with(png(pixels), width=38)
    assert planes[0][12:28, 20:58].min() >= 100


@pytest.mark.parametrize(
    ("source", "luma"),
    [
        (png(np.full((20, 40), 255, np.uint8)), 235),
        (png(np.full((20, 40, 3), 65535, np.uint16)), 235),
        (png(np.full((20, 40, 4), 65535, np.uint16)), 235),
        (png(WHITE, ".jpg"), 235),
        (png(WHITE, ".webp"), 235),
        (png(np.full((1, 1, 3), 255, np.uint8)), 235),
    ],
    ids=["grey", "16 bit", "16 bit with alpha", "jpeg", "webp", "1x1"],
)
def test_pictures_of_many_kinds_are_shown(source: bytes, luma: int) -> None:
    planes, _ = film_with(source)
    assert abs(int(planes[0][16, 40]) - luma) <= 1


def palette_png(transparent: bool) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 40, 20, 8, 3, 0, 0, 0))
    clear = chunk(b"tRNS", b"\x00") if transparent else b""
    rows = zlib.compress((b"\x00" + b"\x00" * 20 + b"\x01" * 20) * 20)
    palette = chunk(b"PLTE", b"\xff\xff\xff\xff\x00\x00")
    return b"\x89PNG\r\n\x1a\n" + head + palette + clear + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_a_palette_picture_is_shown_with_its_transparent_entry() -> None:
    planes, _ = film_with(palette_png(transparent=False))
    assert (planes[0][15, 25], planes[0][15, 55]) == (235, 63)
    planes, _ = film_with(palette_png(transparent=True))
    assert (planes[0][15, 25], planes[0][15, 55]) == (100, 63)


def test_one_pixel_becomes_a_square_of_the_asked_width() -> None:
    overlay = prepare_logo(png(np.full((1, 1, 3), 255, np.uint8)), 64)
    assert (overlay.width, overlay.height) == (64, 64)


def test_8000_by_8000_pixels_are_scaled_down() -> None:
    source = np.zeros((8000, 8000), np.uint8)
    source[:, 4000:] = 255
    overlay = prepare_logo(png(source), 40)
    film = [np.full((40, 40), 100, np.uint8), np.full((20, 20), 128, np.uint8), np.full((20, 20), 128, np.uint8)]
    blend(film, Placed(overlay, 0, 0))
    assert (overlay.width, overlay.height) == (40, 40)
    assert (film[0][20, 5], film[0][20, 35]) == (16, 235)


def test_a_very_high_logo_is_made_narrower() -> None:
    overlay = prepare_logo(png(np.zeros((900, 3), np.uint8)), 100, max_height=90)
    assert overlay.height == 90
    assert overlay.width == 2


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (b"", "empty"),
        (b"hello, I am a text", "not a PNG"),
        (png(WHITE)[:60], "cannot be decoded"),
        (png(WHITE)[:12], "cut off"),
        (b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + struct.pack(">II", 9000, 9000), "9000x9000"),
        (b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + struct.pack(">II", 0, 9), "0x9"),
        (b"\xff\xd8\xff", "cut off"),
        (b"\x89PNG\r\n\x1a\n" + bytes(LARGEST_BYTES), "larger than"),
    ],
    ids=["nothing", "text", "half", "header", "too many pixels", "no pixels", "jpeg header", "too many bytes"],
)
def test_what_is_no_usable_picture_is_refused_with_the_reason(source: bytes, reason: str) -> None:
    with pytest.raises(BadMedia, match=reason):
        prepare_logo(source, 40)


def webp(kind: bytes, content: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", len(content) + 12) + b"WEBP" + kind + struct.pack("<I", len(content)) + content


@pytest.mark.parametrize(
    "source",
    [
        b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + struct.pack(">II", 9001, 9002) + b"more",
        b"\xff\xd8\xff\xe0\0\4ab\xff\xc4\0\2\xff\xc2\0\x11\x08" + struct.pack(">HH", 9002, 9001),
        webp(b"VP8X", b"\x10\0\0\0" + (9000).to_bytes(3, "little") + (9001).to_bytes(3, "little") + b"\xff" * 8),
        webp(b"VP8L", b"\x2f" + (9000 | 9001 << 14 | 5 << 28).to_bytes(4, "little") + b"\xff" * 8),
        webp(b"VP8 ", b"\0\0\0\x9d\x01\x2a" + struct.pack("<HH", 9001 | 1 << 14, 9002 | 2 << 14) + b"\xff" * 8),
    ],
    ids=["png", "jpeg", "webp with features", "lossless webp", "webp"],
)
def test_a_picture_that_is_too_large_is_refused_by_its_header_in_every_format(source: bytes) -> None:
    with pytest.raises(BadMedia, match="is 9001x9002 pixels"):
        prepare_logo(source, 40)


@pytest.mark.parametrize("before", [b"\xff\xe0\0\4ab", b"\xff", b"\xff\xc8\0\2", b"\xff\xcc\0\2"])
def test_what_stands_before_a_jpegs_frame_is_passed_over(before: bytes) -> None:
    frame = b"\xff\xcf\0\x11\x08" + struct.pack(">HH", 9002, 9001)
    with pytest.raises(BadMedia, match="is 9001x9002 pixels"):
        prepare_logo(b"\xff\xd8" + before + frame, 40)


def test_a_missing_logo_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(BadMedia, match=r"gone\.png"):
        prepare_logo(tmp_path / "gone.png", 40)


@pytest.fixture
def logo(tmp_path: Path) -> Any:
    path = tmp_path / "logo.png"
    path.write_bytes(png(WHITE))

    def make(position: str, name: str = "a", width: int = 40, margin: int = 8) -> Logo:
        return Logo(name, str(path), name, position, width, margin)

    return make


@pytest.mark.parametrize(
    ("position", "corner"),
    [("top_left", (8, 8)), ("top_right", (272, 8)), ("bottom_left", (8, 152)), ("bottom_right", (272, 152))],
)
def test_a_logo_stands_in_its_corner(logo: Any, position: str, corner: tuple[int, int]) -> None:
    (placed,) = place([logo(position)], CANVAS)
    assert (placed.x, placed.y) == corner


@pytest.mark.parametrize(("position", "x"), [("top_left", [8, 166, 170]), ("top_right", [162, 4, 0])])
def test_a_logo_that_would_leave_the_film_is_moved_back_onto_it(logo: Any, position: str, x: list[int]) -> None:
    placed = place([logo(position, name, width=150) for name in "abc"], CANVAS)
    assert [one.x for one in placed] == x


@pytest.mark.parametrize("turned", [False, True])
def test_a_logo_of_the_asked_size_keeps_every_line(turned: bool) -> None:
    lines = np.zeros((40, 40), np.uint8)
    lines[::2] = 255
    planes, _ = film_with(png(lines.T if turned else lines), width=40)
    seen = planes[0][10:50, 20:60].T if turned else planes[0][10:50, 20:60]
    assert [set(row.tolist()) for row in seen] == [{235}, {16}] * 20


def test_logos_in_one_corner_stand_side_by_side(logo: Any) -> None:
    placed = place([logo("top_right", "a"), logo("top_left", "b"), logo("top_right", "c", width=20)], CANVAS)
    assert [one.x for one in placed] == [272, 8, 244]


def test_a_logo_wider_than_the_film_is_made_to_fit(logo: Any) -> None:
    (placed,) = place([logo("top_left", width=4000)], CANVAS)
    assert placed.overlay.width + placed.x <= CANVAS.width


def test_a_logo_is_no_larger_than_what_the_margins_leave_of_the_canvas(logo: Any) -> None:
    (wide,) = place([logo("top_left", width=4000, margin=10)], Canvas(100, 180, ()))
    assert (wide.overlay.width, wide.x, wide.y) == (80, 10, 10)
    (high,) = place([logo("top_left", width=4000, margin=10)], Canvas(320, 60, ()))
    assert (high.overlay.height, high.overlay.width) == (40, 80)


def test_the_colour_of_a_logo_lies_where_its_brightness_does(logo: Any) -> None:
    planes, _ = film_with(png(RED_BGR))
    inside = np.zeros((90, 160), bool)
    inside[5:15, 10:30] = True
    assert set(planes[2][inside]) == {240}
    assert set(planes[2][~inside]) == {128}


def test_a_corner_that_does_not_exist_is_refused(logo: Any) -> None:
    with pytest.raises(BadMedia, match="middle"):
        place([logo("middle")], CANVAS)


def exif(orientation: int, order: str = "<") -> bytes:
    """A TIFF header with a first directory of two tags (TIFF 6.0, 2)."""
    tags = struct.pack(f"{order}HHII", 0x0100, 4, 1, 9) + struct.pack(f"{order}HHIHH", 0x0112, 3, 1, orientation, 0)
    mark = b"II" if order == "<" else b"MM"
    return mark + struct.pack(f"{order}HI", 42, 8) + struct.pack(f"{order}H", 2) + tags + bytes(4)


def tagged(picture: bytes, tiff: bytes) -> bytes:
    """The picture's file with this Exif."""
    if picture[:2] == b"\xff\xd8":
        block = b"Exif\0\0" + tiff
        return picture[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + picture[2:]
    if picture[:4] == b"\x89PNG":
        chunk = b"eXIf" + tiff
        return picture[:33] + struct.pack(">I", len(tiff)) + chunk + struct.pack(">I", zlib.crc32(chunk)) + picture[33:]
    width, height = 59, 39
    extended = b"VP8X" + struct.pack("<I", 10) + bytes((8, 0, 0, 0)) + struct.pack("<I", width)[:3]
    extended += struct.pack("<I", height)[:3]
    body = b"WEBP" + extended + picture[12:] + b"EXIF" + struct.pack("<I", len(tiff)) + tiff + bytes(len(tiff) % 2)
    return b"RIFF" + struct.pack("<I", len(body)) + body


FOUR = np.zeros((40, 60, 3), np.uint8)
FOUR[:20, :30], FOUR[:20, 30:], FOUR[20:, :30], FOUR[20:, 30:] = 40, 100, 160, 220
SHOWN = {1: [[40, 100], [160, 220]], 2: [[100, 40], [220, 160]], 3: [[220, 160], [100, 40]],
         4: [[160, 220], [40, 100]], 5: [[40, 160], [100, 220]], 6: [[160, 40], [220, 100]],
         7: [[220, 100], [160, 40]], 8: [[100, 220], [40, 160]], 9: [[40, 100], [160, 220]]}


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("form", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("orientation", SHOWN)
def test_a_logo_stands_as_its_exif_says(form: str, orientation: int, order: str) -> None:
    source = tagged(png(FOUR, form), exif(orientation, order))
    logo = prepare_logo(source, 60)
    wide, high = (60, 90) if orientation in range(5, 9) else (60, 40)
    assert (logo.width, logo.height) == (wide, high)
    film = [np.full((100, 60), 16, np.uint8), np.full((50, 30), 128, np.uint8), np.full((50, 30), 128, np.uint8)]
    blend(film, Placed(logo, 0, 0))
    found = [[int(film[0][high * y // 4, wide * x // 4]) for x in (1, 3)] for y in (1, 3)]
    expected = 16 + np.array(SHOWN[orientation]) * 219 / 255
    assert np.abs(np.array(found) - expected).max() <= 3


@pytest.mark.parametrize("damage", range(30))
def test_a_damaged_exif_counts_as_none(damage: int) -> None:
    tiff = bytearray(exif(6))
    tiff[damage] ^= 0xFF
    for form in (".jpg", ".png", ".webp"):
        assert prepare_logo(tagged(png(FOUR, form), bytes(tiff)), 60).width == 60
        assert prepare_logo(tagged(png(FOUR, form), bytes(tiff[:damage])), 60).height == 40


def flat_png(width: int, height: int, depth: int, colours: int) -> bytes:
    """A PNG of zeros that is small as a file."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    row = bytes(1 + (width * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colours] * depth + 7) // 8)
    packer = zlib.compressobj(1)
    rows = b"".join([packer.compress(row) for _ in range(height)]) + packer.flush()
    palette = chunk(b"PLTE", bytes(6)) if colours == 3 else b""
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, 0))
            + palette + chunk(b"IDAT", rows) + chunk(b"IEND", b""))


@pytest.mark.parametrize(("side", "depth", "colours"), [
    (8000, 16, 6), (8000, 8, 6), (8000, 8, 2), (8000, 1, 3), (5300, 8, 6), (3800, 16, 6)])
def test_a_small_file_that_takes_much_memory_is_refused_before_it_does(side: int, depth: int, colours: int) -> None:
    with pytest.raises(BadMedia, match=rf"is {side}x{side} pixels, which take 1?[0-9][0-9]+ MB; 110 MB are allowed"):
        prepare_logo(flat_png(side, side, depth, colours), 40)


def test_a_photograph_of_64_million_pixels_is_decoded_smaller() -> None:
    photo = np.zeros((8000, 8000, 3), np.uint8)
    photo[:, 4000:] = 255
    logo = prepare_logo(tagged(png(photo, ".jpg"), exif(8)), 40)
    film = [np.full((40, 40), 100, np.uint8), np.full((20, 20), 128, np.uint8), np.full((20, 20), 128, np.uint8)]
    blend(film, Placed(logo, 0, 0))
    assert (film[0][10, 20], film[0][30, 20]) == (235, 16)


def test_of_an_animated_logo_the_first_picture_is_shown() -> None:
    frames = cv2.Animation()
    frames.frames = [np.full((20, 40, 4), (0, 0, 255, 255), np.uint8), np.full((20, 40, 4), (255, 0, 0, 255), np.uint8)]
    frames.durations = [100, 100]
    for form in (".webp", ".png"):
        done, data = cv2.imencodeanimation(form, frames)
        assert done
        planes, _ = film_with(bytes(data))
        assert [abs(int(planes[n][y, x]) - value) <= 2 for n, y, x, value in ((0, 15, 30, 63), (2, 8, 15, 240))] == [
            True, True]
