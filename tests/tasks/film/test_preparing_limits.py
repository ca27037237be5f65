"""What preparing a logo or an intro may take: a minute, and 400 MB of memory, measured in the real worker."""

import struct
import zlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from ezrec.adapters.workers import RenderPool
from ezrec.config import Settings
from ezrec.domain.film import Film, Recipe
from ezrec.domain.stages import Stage
from ezrec.folders import DataFolder
from ezrec.tasks.film.recipe import Recipes
from tests.fakes import traits
from tests.fakes.clips import RED, write_logo
from tests.fakes.traits import Video

MOST_MB = 400
FILM = Film("b", "rec", 1, Stage.RECORDING, 0, 600_000_000, None, None, None, None, None, None, 0, None, None, None,
            None, 0)


async def freeze(tmp_path: Path, pool: RenderPool, size: tuple[int, int] = (320, 180), **film: Any) -> Recipe:
    settings = Settings(paths={"data": tmp_path / "data"}, film={"preset": "ultrafast", "threads": 1} | film)
    return await Recipes(settings, DataFolder(tmp_path / "data"), pool, Fraction(30), {}).freeze(
        FILM, {"left": size})


def logo(file: Path) -> dict[str, Any]:
    return {"name": file.stem, "file": file, "position": "top_left", "width": 0.1, "margin": 0.01}


def peak_mb(pool: RenderPool) -> int:
    """The most memory that the pool's one worker ever held."""
    (pid,) = pool.pids()
    status = Path(f"/proc/{pid}/status").read_text("ascii", "replace")
    return int(status.split("VmHWM:")[1].split()[0]) >> 10


def zeros_png(path: Path, width: int, height: int, depth: int, colours: int) -> Path:
    """A picture of zeros: a small file, whatever its size."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    row = bytes(1 + (width * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colours] * depth + 7) // 8)
    packer = zlib.compressobj(1)
    rows = b"".join([packer.compress(row) for _ in range(height)]) + packer.flush()
    palette = chunk(b"PLTE", bytes(6)) if colours == 3 else b""
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0,
                                                                       0))
                     + palette + chunk(b"IDAT", rows) + chunk(b"IEND", b""))
    return path


async def test_no_logo_takes_more_than_400_mb(tmp_path: Path) -> None:
    photo = np.zeros((8000, 8000, 3), np.uint8)
    assert cv2.imwrite(str(tmp_path / "photo.jpg"), photo, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])
    assert cv2.imwrite(str(tmp_path / "large.webp"), photo[:5000, :5000])
    files = [zeros_png(tmp_path / f"{number}.png", *form) for number, form in enumerate((
        (8000, 8000, 16, 6), (8000, 8000, 8, 6), (8000, 8000, 1, 3), (27_000_000, 1, 8, 6)))]
    fine = [tmp_path / "photo.jpg", tmp_path / "large.webp", zeros_png(tmp_path / "grey.png", 8000, 8000, 8, 0),
            zeros_png(tmp_path / "most.png", 5200, 5200, 8, 6)]
    pool = RenderPool(1, niceness=0)
    try:
        for several in (files, fine):
            recipe = await freeze(tmp_path, pool, logos=[logo(file) for file in several])
            assert peak_mb(pool) < MOST_MB
            left_out = [words.split(":")[0] for words in recipe.skipped]
            assert left_out == ([f"logo {file.stem}" for file in files] if several is files else [])
    finally:
        await pool.close()


@pytest.mark.skipif("libx265" not in av.codecs_available, reason="this PyAV cannot write HEVC clips")
async def test_a_phones_clip_of_4k_is_used_within_400_mb_and_one_of_8k_is_left_out(tmp_path: Path) -> None:
    options = {"preset": "ultrafast", "x265-params": "log-level=none"}
    clip = traits.write(tmp_path / "a.mov", Video("libx265", "yuv420p10le", options, (3840, 2160), tags=(9, 18, 9, 1)),
                        seconds=0.4)
    larger = traits.write(tmp_path / "b.mov", Video("mjpeg", "yuvj420p", {}, (8400, 4400)), None, 0.1)
    pool = RenderPool(1, niceness=0)
    try:
        recipe = await freeze(tmp_path, pool, intro=clip)
        assert recipe.skipped == ()
        assert recipe.intro
        assert recipe.intro.ticks == 12
        assert peak_mb(pool) < MOST_MB
        (words,) = (await freeze(tmp_path, pool, intro=larger)).skipped
        assert words.startswith("intro: ")
        assert "8400x4400" in words
        assert peak_mb(pool) < MOST_MB
    finally:
        await pool.close()


async def test_a_clip_that_takes_too_long_is_left_out_in_words_and_the_next_logo_is_used(tmp_path: Path) -> None:
    clip = traits.write(tmp_path / "a.mp4", seconds=10)
    pool = RenderPool(1, niceness=0, limit_s=4.0)
    try:
        await freeze(tmp_path, pool, logos=[logo(write_logo(tmp_path / "a.png", RED))])  # the worker has started
        recipe = await freeze(tmp_path, pool, (3840, 1080), intro=clip, preset="medium")
        assert recipe.intro is None
        (words,) = recipe.skipped
        assert words.startswith("intro: ")
        assert "did not answer" in words
        after = await freeze(tmp_path, pool, logos=[logo(write_logo(tmp_path / "a.png", RED))])
        assert after.skipped == ()
    finally:
        await pool.close()
