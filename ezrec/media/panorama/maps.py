"""Where each sample of a panorama comes from, as tables that OpenCV's `remap` takes; made once and kept in a file.

A table holds only the columns that its camera can fill from top to bottom. The camera's rotation is in it, so that its
planes are never turned. Chroma lies as in H.264: between two lines, on every other column.

Limits: a table made on another machine may differ in its last bits, and so may the pictures.
"""

import hashlib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ezrec.domain.calibration import Calibration
from ezrec.domain.errors import BadMedia
from ezrec.files import put_in_place
from ezrec.media import opencv as cv2
from ezrec.media.panorama.cylinder import CameraPair, grid, pair_of
from ezrec.media.panorama.lens import Array
from ezrec.pyav import Plane

FORM = 1  # counts up when tables would come out differently
ROWS = 64  # that are reckoned at a time

Table = NDArray[np.float32]
"""(rows, columns, 2): x and y in the camera's plane."""


def sampled(source: Plane, places: Table, out: Plane | None = None) -> Plane:
    """The samples of a plane at `places`, between its own linearly; drawn into `out` if there is one."""
    remap: Any = cv2.remap  # its stub knows no single table
    return np.asarray(remap(source, places, None, cv2.INTER_LINEAR, dst=out, borderMode=cv2.BORDER_REPLICATE), np.uint8)


@dataclass(frozen=True)
class Tables:
    """For one camera: the columns of the canvas that it can fill, and where its samples come from."""

    first: int  # even, on the canvas
    end: int
    luma: Table
    chroma: Table


def tables_of(calibration: Calibration, columns: int, rows: int,
              sizes: tuple[tuple[int, int], tuple[int, int]]) -> tuple[Tables, Tables]:
    """The tables of a canvas of `columns` x `rows` pixels, for turned pictures of these `sizes` (left, right)."""
    pair, found = pair_of(calibration), []
    a, t = grid(calibration.area, columns, rows)
    for camera in range(2):
        first, end = _filled(pair, camera, a, t)
        scale = sizes[camera][0] / pair.lenses[camera].size[0]
        below = calibration.area.height / rows / 2
        luma = _table(pair, camera, a[:, first:end], t, scale)
        # a chroma sample stands on the left one of its two columns, between its two lines (H.264, figure E-1)
        chroma = _table(pair, camera, a[:, first:end:2], t[::2] + below, scale) / 2
        chroma[..., 1] -= 0.25
        found.append(Tables(first, end, luma, chroma.astype(np.float32, copy=False)))
    return found[0], found[1]


def _filled(pair: CameraPair, camera: int, a: Array, t: Array) -> tuple[int, int]:
    """The columns of which this camera sees every line: first and end, even."""
    few = t[:: max(len(t) // 200, 1)]
    whole = pair.seen(camera, a, np.concatenate([few, t[-1:]]))[1].all(axis=0)
    columns = np.flatnonzero(whole)
    if not columns.size:
        raise BadMedia("the calibration gives a camera no column of the panorama: run `ezrec calibrate`")
    return (int(columns[0]) + 1) // 2 * 2 if camera else 0, a.shape[1] if camera else (int(columns[-1]) + 1) // 2 * 2


def _table(pair: CameraPair, camera: int, a: Array, t: Array, scale: float) -> Table:
    """Where the places (a, t) lie in the camera's own picture, `scale` times as large as the calibrated one."""
    lens = pair.lenses[camera]
    width, height = (round(side * scale) for side in lens.size)
    table = np.empty((t.shape[0], a.shape[1], 2), np.float32)
    for top in range(0, len(t), ROWS):
        points, _ = pair.seen(camera, a, t[top : top + ROWS])
        x, y = ((points[..., side] + 0.5) * scale - 0.5 for side in (0, 1))
        if lens.rotation == 90:
            x, y = y, width - 1 - x
        elif lens.rotation == 180:
            x, y = width - 1 - x, height - 1 - y
        elif lens.rotation == 270:
            x, y = height - 1 - y, x
        table[top : top + ROWS, :, 0], table[top : top + ROWS, :, 1] = x, y
    return table


def kept_beside(path: Path, sha256: str, columns: int, rows: int,
                sizes: tuple[tuple[int, int], tuple[int, int]]) -> tuple[Calibration, tuple[Tables, Tables]]:
    """The calibration at `path`, whose content has this `sha256`, and its tables for a canvas; kept for the next chunk.

    Raises:
        BadMedia: it is not there, or not what it was.
        OSError: the disk is full.
    """
    return _kept(path, sha256, columns, rows, sizes)


@lru_cache(maxsize=1)
def _kept(path: Path, sha256: str, columns: int, rows: int,
          sizes: tuple[tuple[int, int], tuple[int, int]]) -> tuple[Calibration, tuple[Tables, Tables]]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadMedia(f"{path}: {error.strerror}; the calibration that the film began with is gone") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise BadMedia(f"{path}: is not the calibration that the film began with")
    calibration = Calibration.loads(content)
    name = f"{path.stem[:32]}-{FORM}-{columns}x{rows}-{'-'.join(f'{w}x{h}' for w, h in sizes)}.maps"
    kept = path.with_name(name)
    found = _read(kept)
    if found is None:
        found = tables_of(calibration, columns, rows, sizes)
        with put_in_place(kept) as temporary, Path(temporary).open("wb") as file:
            save: Any = np.savez  # its stub takes every keyword for its own
            save(file, **dict(_parts(found)))
    return calibration, found


def _parts(tables: tuple[Tables, Tables]) -> Iterator[tuple[str, NDArray[np.generic]]]:
    for number, one in enumerate(tables):
        yield f"columns{number}", np.array([one.first, one.end])
        yield f"luma{number}", one.luma
        yield f"chroma{number}", one.chroma


def _read(path: Path) -> tuple[Tables, Tables] | None:
    """Tables that were kept; None if there are none, or damaged ones (each part has a checksum)."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            left, right = (Tables(int(kept[f"columns{n}"][0]), int(kept[f"columns{n}"][1]), kept[f"luma{n}"],
                                  kept[f"chroma{n}"]) for n in range(2))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return left, right
