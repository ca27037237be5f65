"""Logos: read from files of any sort, made ready once, and blended onto the film's planes where they are.

A logo becomes premultiplied BT.709 limited-range planes, so that blending is `(film·(256 - a) + logo + 128) >> 8` in
uint16: at most 255·256 + 128, which does not overflow. Rows in which nothing shows are not touched.

A logo is turned as its Exif orientation says; of an animated one its first picture is shown.

Limits: PNG, JPEG and WebP; at most 20 MB and 64 MP, and less where its pixels would take more than `LARGEST_DECODED`
(a JPEG is decoded at a half, a quarter or an eighth instead); an opaque shadow or glow is scaled like the rest.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ezrec.domain.errors import BadMedia
from ezrec.domain.film import Canvas, Logo
from ezrec.media import opencv as cv2
from ezrec.media.exif import orientation_in, upright
from ezrec.media.limits import within

LARGEST_BYTES = 20_000_000
LARGEST_PIXELS = 64_000_000
LARGEST_DECODED = 110_000_000  # bytes; OpenCV takes twice as many while it decodes
MEMORY = 320_000_000  # bytes that preparing a logo may take
JPEG = b"\xff\xd8"
REDUCED = (2, 4, 8)  # OpenCV decodes a JPEG at these parts of its size
PNG_CHANNELS = {0: 1, 2: 3}  # by colour type; all others may have an alpha channel
LARGEST_HEAD = 1 << 16  # bytes of a PNG in which its palette's chunks stand
STRIP_ROWS = 256  # rows of a large logo that are turned to floats at a time

# ITU-R BT.709, 3.2 to 3.5, for 8 bits and limited range; columns B, G, R of values 0..1
LUMA = np.array([0.0722, 0.7152, 0.2126], np.float32)
BLUE = (np.array([1, 0, 0], np.float32) - LUMA) / 1.8556
RED = (np.array([0, 0, 1], np.float32) - LUMA) / 1.5748

Bytes = NDArray[np.uint8]
Words = NDArray[np.uint16]


@dataclass(frozen=True)
class Patch:
    """Rows of a logo in which something shows, for one of the film's planes."""

    plane: int  # 0 luma, 1 blue, 2 red
    top: int  # rows below the logo's upper edge, in the plane's own pixels
    colour: Words  # value times alpha, 0..65280
    keep: Words  # 256 - alpha: how much of the film stays


@dataclass(frozen=True)
class Overlay:
    """A logo ready to be blended; width and height in luma pixels, even."""

    width: int
    height: int
    patches: tuple[Patch, ...]


@dataclass(frozen=True)
class Placed:
    """A logo with the place of its upper left corner on the canvas, in luma pixels, even."""

    overlay: Overlay
    x: int
    y: int


def prepare_logo(source: str | Path | bytes, width: int, max_height: int = 8192, opacity: float = 1.0) -> Overlay:
    """Make the picture `source` (a path or the file's bytes) ready, `width` pixels wide on the canvas.

    The aspect ratio is kept; a logo that would become higher than `max_height` pixels is made narrower instead.

    Raises:
        BadMedia: it is missing, empty, too large, or not a picture; or it takes too much time or memory.
    """
    name = "logo" if isinstance(source, bytes) else str(source)
    with within(name, size=MEMORY):
        data = source if isinstance(source, bytes) else _read(Path(source))
        pixels = _decoded(data, name)
        orientation = orientation_in(data)
        lying = orientation.degrees % 180 != 0
        height_now, width_now = pixels.shape[1::-1] if lying else pixels.shape[:2]
        scale = min(width / width_now, max_height / height_now)
        wide, high = _even(width_now * scale), _even(height_now * scale)
        scaled = _scaled(pixels, *((high, wide) if lying else (wide, high)))
        return _overlay(upright(scaled, orientation), opacity)


@lru_cache(maxsize=16)
def logo_of(logo: Logo, max_width: int, max_height: int) -> Overlay:
    """`prepare_logo` for a logo of a recipe, kept for the worker's next chunk; it fits into the given pixels."""
    return prepare_logo(logo.path, max(min(logo.width, max_width), 2), max(max_height, 2), logo.opacity)


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise BadMedia(f"{path}: is larger than {LARGEST_BYTES // 1_000_000} MB")
        return path.read_bytes()
    except OSError as error:
        raise BadMedia(f"{path}: {error.strerror}") from error


def _decoded(data: bytes, name: str) -> NDArray[np.generic]:
    if not data:
        raise BadMedia(f"{name}: is empty (0 bytes)")
    if len(data) > LARGEST_BYTES:
        raise BadMedia(f"{name}: is larger than {LARGEST_BYTES // 1_000_000} MB")
    width, height = _size(data, name)
    if not 0 < width * height <= LARGEST_PIXELS:
        raise BadMedia(f"{name}: is {width}x{height} pixels; 1 to {LARGEST_PIXELS // 1_000_000} million are allowed")
    reading, takes = cv2.IMREAD_UNCHANGED, width * height * _pixel_bytes(data)
    if takes > LARGEST_DECODED and data[:2] == JPEG:
        part = next(part for part in REDUCED if takes / part**2 <= LARGEST_DECODED)
        reading = getattr(cv2, f"IMREAD_REDUCED_COLOR_{part}") | cv2.IMREAD_IGNORE_ORIENTATION
    elif takes > LARGEST_DECODED:
        raise BadMedia(f"{name}: is {width}x{height} pixels, which take {takes // 1_000_000} MB; "
                       f"{LARGEST_DECODED // 1_000_000} MB are allowed")
    try:
        pixels: NDArray[np.generic] | None = cv2.imdecode(np.frombuffer(data, np.uint8), reading)
    except cv2.error as error:
        raise BadMedia(f"{name}: cannot be decoded ({error.err})") from error
    if pixels is None or pixels.size == 0:
        raise BadMedia(f"{name}: cannot be decoded")
    return pixels


def _size(data: bytes, name: str) -> tuple[int, int]:
    """Width and height by the file's header, before any memory is taken for its pixels."""
    try:
        if data[:8] == b"\x89PNG\r\n\x1a\n":
            width, height = struct.unpack(">II", data[16:24])
            return width, height
        if data[:2] == JPEG:
            return _jpeg_size(data)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp_size(data)
    except (struct.error, IndexError) as error:
        raise BadMedia(f"{name}: is cut off in its header") from error
    raise BadMedia(f"{name}: is not a PNG, JPEG or WebP picture")


def _pixel_bytes(data: bytes) -> int:
    """How many bytes a decoded pixel takes at most."""
    if data[:2] == JPEG:
        return 3
    if data[:4] == b"RIFF":
        return 4
    channels = 4 if b"tRNS" in data[:LARGEST_HEAD] else PNG_CHANNELS.get(data[25], 4)
    return channels * (2 if data[24] == 16 else 1)


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """From the first start-of-frame segment (ITU-T T.81, B.2.2): markers C0..CF without C4, C8 and CC."""
    at = 2
    while True:
        if data[at] != 0xFF:
            raise IndexError(at)
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
        at += 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]


def _webp_size(data: bytes) -> tuple[int, int]:
    """From the first chunk (RFC 9649, 2.5 to 2.7)."""
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack("<HH", data[26:30])
    return width & 0x3FFF, height & 0x3FFF


def _even(pixels: float) -> int:
    return max(round(pixels / 2) * 2, 2)


def _scaled(pixels: NDArray[Any], width: int, height: int) -> NDArray[np.float32]:
    """Premultiplied B, G, R and A, each 0..1, at `width` x `height`.

    A large picture is first shrunk by whole factors, strip by strip, so that it never stands in memory as floats.
    """
    across = max(pixels.shape[1] // width, 1)
    down = max(pixels.shape[0] // height, 1)
    rows = max(STRIP_ROWS // down, 1) * down
    strips = []
    for top in range(0, pixels.shape[0], rows):
        strip = _premultiplied(pixels[top : top + rows])
        size = (max(strip.shape[1] // across, 1), max(strip.shape[0] // down, 1))
        strips.append(cv2.resize(strip, size, interpolation=cv2.INTER_AREA))
    scaled = cv2.resize(np.concatenate(strips), (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(scaled, np.float32)


def _premultiplied(pixels: NDArray[np.generic]) -> NDArray[np.float32]:
    full = 65535 if pixels.dtype == np.uint16 else 255
    values = pixels.astype(np.float32) / np.float32(full)
    if values.ndim == 2:
        values = values[:, :, None]
    channels = values.shape[2]
    alpha = values[:, :, -1:] if channels in (2, 4) else np.ones_like(values[:, :, :1])
    colour = np.repeat(values[:, :, :1], 3, axis=2) if channels < 3 else values[:, :, :3]
    return np.concatenate([colour * alpha, alpha], axis=2)


def _overlay(picture: NDArray[np.float32], opacity: float) -> Overlay:
    height, width = picture.shape[:2]
    picture = picture * np.float32(min(max(opacity, 0.0), 1.0))
    halved = cv2.resize(picture, (width // 2, height // 2), interpolation=cv2.INTER_AREA).reshape(height // 2, -1, 4)
    alpha, small = picture[:, :, 3], halved[:, :, 3]
    planes = (
        (alpha, 16 * alpha + 219 * (picture[:, :, :3] @ LUMA)),
        (small, 128 * small + 224 * (halved[:, :, :3] @ BLUE)),
        (small, 128 * small + 224 * (halved[:, :, :3] @ RED)),
    )
    patches: list[Patch] = []
    for number, (part, colour) in enumerate(planes):
        weight = np.rint(part * 256).astype(np.uint16)
        words = np.clip(np.rint(colour * 256), 0, weight * np.float32(255)).astype(np.uint16)
        patches.extend(
            Patch(number, top, np.ascontiguousarray(words[top:end]), np.ascontiguousarray(256 - weight[top:end]))
            for top, end in _shown_rows(weight)
        )
    return Overlay(width, height, tuple(patches))


def _shown_rows(weight: Words) -> list[tuple[int, int]]:
    """Spans [top, end) of rows in which anything shows."""
    shown = np.concatenate([[0], weight.any(axis=1).astype(np.int8), [0]])
    edges = np.flatnonzero(np.diff(shown))
    return [(int(top), int(end)) for top, end in zip(edges[::2], edges[1::2], strict=True)]


def place(logos: Sequence[Logo], canvas: Canvas) -> tuple[Placed, ...]:
    """Prepare `logos` and put them into their corners of `canvas`.

    Several in one corner stand side by side from the edge inwards, a margin between them; what would leave the canvas
    is moved back onto it.

    Raises:
        BadMedia: one of them cannot be used, or names no corner.
    """
    taken: dict[str, int] = {}
    placed = []
    for logo in logos:
        down, _, side = logo.position.partition("_")
        if down not in ("top", "bottom") or side not in ("left", "right"):
            raise BadMedia(f"logo {logo.name}: there is no corner {logo.position!r}")
        overlay = logo_of(logo, canvas.width - 2 * logo.margin, canvas.height - 2 * logo.margin)
        inwards = taken.get(logo.position, 0) + logo.margin
        taken[logo.position] = inwards + overlay.width
        x = inwards if side == "left" else canvas.width - inwards - overlay.width
        y = logo.margin if down == "top" else canvas.height - logo.margin - overlay.height
        placed.append(Placed(overlay, _onto(x, canvas.width - overlay.width), _onto(y, canvas.height - overlay.height)))
    return tuple(placed)


def _onto(place_px: int, last: int) -> int:
    return min(max(place_px, 0), max(last, 0)) // 2 * 2


def blend(planes: Sequence[Bytes], logo: Placed) -> None:
    """Draw `logo` onto the film's three planes, in place."""
    for patch in logo.overlay.patches:
        step = 2 if patch.plane else 1
        top, left = logo.y // step + patch.top, logo.x // step
        rows, columns = patch.keep.shape
        film = planes[patch.plane][top : top + rows, left : left + columns]
        mixed = film * patch.keep
        mixed += patch.colour
        mixed += 128
        mixed >>= 8
        film[:] = mixed
