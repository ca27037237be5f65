"""How a still picture is to be turned, by the orientation that a camera or phone wrote into it (Exif 2.32, 4.6.4 A).

Limits: JPEG, PNG and WebP; the first directory only. What cannot be read counts as upright.
"""

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ezrec.pyav import Orientation

ORIENTATION = 0x0112
ORIENTATIONS = {
    1: Orientation(), 2: Orientation(mirrored=True), 3: Orientation(180), 4: Orientation(180, mirrored=True),
    5: Orientation(270, mirrored=True), 6: Orientation(90), 7: Orientation(90, mirrored=True), 8: Orientation(270),
}


def orientation_in(data: bytes) -> Orientation:
    """How the picture file `data` is to be shown."""
    for block in _blocks(data):
        try:
            return ORIENTATIONS.get(_orientation(block.removeprefix(b"Exif\0\0")), Orientation())
        except struct.error:
            continue
    return Orientation()


def upright(pixels: NDArray[Any], orientation: Orientation) -> NDArray[Any]:
    """The picture (height, width, ...) as it is to be shown."""
    if orientation.mirrored:
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(np.rot90(pixels, -orientation.degrees // 90))


def _orientation(tiff: bytes) -> int:
    """The value of the tag in a TIFF header's first directory; 0 if it is not there. Raises struct.error."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 0
    (at,) = struct.unpack_from(f"{order}I", tiff, 4)
    (entries,) = struct.unpack_from(f"{order}H", tiff, at)
    for number in range(entries):
        tag, _, _, value = struct.unpack_from(f"{order}HHIH", tiff, at + 2 + 12 * number)
        if tag == ORIENTATION:
            return int(value)
    return 0


def _blocks(data: bytes) -> Iterator[bytes]:
    """What may be Exif in a file."""
    if data[:2] == b"\xff\xd8":
        at = 2
        while data[at : at + 1] == b"\xff" and at + 4 <= len(data) and data[at + 1] != 0xDA:  # up to the scan
            if data[at + 1] == 0xFF:  # a fill byte
                at += 1
                continue
            (size,) = struct.unpack_from(">H", data, at + 2)
            if data[at + 1] == 0xE1 and data[at + 4 : at + 10] == b"Exif\0\0":
                yield data[at + 4 : at + 2 + size]
            at += 2 + size
    elif data[:4] == b"\x89PNG":
        yield from _chunks(data, 8, b"eXIf", ">I4s", 4)
    elif data[:4] == b"RIFF":
        yield from _chunks(data, 12, b"EXIF", "<4sI", 0)


def _chunks(data: bytes, at: int, wanted: bytes, form: str, behind: int) -> Iterator[bytes]:
    """The contents of the chunks of one name; `behind` each content lie so many bytes (a checksum)."""
    while at + 8 <= len(data):
        head = struct.unpack_from(form, data, at)
        name, size = head if isinstance(head[0], bytes) else head[::-1]
        if name == wanted:
            yield data[at + 8 : at + 8 + size]
        at += 8 + size + behind + (size & 1 if not behind else 0)  # RIFF pads to even
