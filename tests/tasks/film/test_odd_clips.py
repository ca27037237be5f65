"""Intros with one odd trait each go through the real path of a recipe: worker, file, certificate's words.

Each shows and sounds when and as a player would have it, or is left out with its name and reason.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray

from ezrec.adapters.workers import RenderPool
from ezrec.config import Settings
from ezrec.domain.film import Film, Recipe
from ezrec.domain.stages import Stage
from ezrec.folders import DataFolder
from ezrec.tasks.film.recipe import Recipes
from tests.fakes import traits
from tests.fakes.traits import Video

pytestmark = pytest.mark.asyncio(loop_scope="module")

RATE = 30
WIDTH, HEIGHT = 384, 216  # of the film
FILM = Film("b", "rec", 1, Stage.RECORDING, 0, 600_000_000, None, None, None, None, None, None, 0, None, None, None,
            None, 0)
X265 = {"preset": "ultrafast", "x264-params": "", "x265-params": "log-level=none"}
needs_vp9 = pytest.mark.skipif("libvpx-vp9" not in av.codecs_available, reason="this PyAV cannot write VP9 clips")
needs_x265 = pytest.mark.skipif("libx265" not in av.codecs_available, reason="this PyAV cannot write HEVC clips")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool() -> AsyncIterator[RenderPool]:
    """Two workers for all tests."""
    workers = RenderPool(2, niceness=0)
    yield workers
    await workers.close()


async def frozen(tmp_path: Path, pool: RenderPool, clip: Path, **film: Any) -> Recipe:
    """The recipe of a film with this intro."""
    encoder = {"preset": "ultrafast", "crf": 12, "threads": 1, "overlap": 0, "intro_max_s": 10}
    settings = Settings(paths={"data": tmp_path / "data"}, film=encoder | {"intro": clip} | film)
    recipes = Recipes(settings, DataFolder(tmp_path / "data"), pool, Fraction(RATE), {})
    return await recipes.freeze(FILM, {"left": (WIDTH, HEIGHT)})


@dataclass
class Seen:
    """What an intro shows and sounds like."""

    pictures: list[NDArray[np.uint8]]  # RGB
    sounds: list[float]  # when there is sound, s

    @property
    def flash(self) -> tuple[int, int]:
        """The ticks in which the flash begins and ends."""
        ticks = [tick for tick, picture in enumerate(self.pictures)
                 if picture[HEIGHT // 2 - 9:HEIGHT // 2 + 9, WIDTH // 2 - 9:WIDTH // 2 + 9].mean() > 225]
        return ticks[0], ticks[-1] + 1

    @property
    def box(self) -> tuple[int, int]:
        """Width and height of what is not black."""
        bright = self.pictures[3].max(axis=2) > 60
        columns, rows = np.flatnonzero(bright.any(axis=0)), np.flatnonzero(bright.any(axis=1))
        return int(columns[-1] - columns[0] + 1), int(rows[-1] - rows[0] + 1)

    def quarters(self) -> NDArray[np.float64]:
        """The colours of the upper left, upper right, lower left and lower right quarter."""
        (wide, high), picture = self.box, self.pictures[3].astype(np.float64)
        places = [(HEIGHT // 2 + down * high // 4, WIDTH // 2 + right * wide // 4)
                  for down in (-1, 1) for right in (-1, 1)]
        return np.array([picture[y - 3:y + 3, x - 3:x + 3].mean(axis=(0, 1)) for y, x in places])


def seen(recipe: Recipe) -> Seen:
    assert recipe.intro, recipe.skipped
    with av.open(recipe.intro.path) as clip:
        pictures = [frame.to_ndarray(format="rgb24", src_colorspace="ITU709") for frame in clip.decode(video=0)]
    assert len(pictures) == recipe.intro.ticks
    sounds: list[float] = []
    if recipe.intro.sound:
        with av.open(recipe.intro.path) as clip:
            for frame in clip.decode(audio=0):
                loud = np.flatnonzero(np.abs(frame.to_ndarray()[0]) > 0.1)
                sounds += [(frame.time or 0) + int(at) / frame.sample_rate for at in (*loud[:1], *loud[-1:])]
    return Seen(pictures, sounds)


@pytest.mark.parametrize("trait", [pytest.param(name, marks=needs_vp9 if "VP9" in name else ())
                                   for name in traits.ODD])
async def test_an_odd_clip_looks_and_sounds_as_a_player_would_have_it(tmp_path: Path, pool: RenderPool,
                                                                      trait: str) -> None:
    recipe = await frozen(tmp_path, pool, traits.ODD[trait](tmp_path))
    assert recipe.skipped == ()
    found = seen(recipe)
    assert abs(len(found.pictures) - traits.SECONDS * RATE) <= 1
    assert found.flash == (30, 36)
    assert abs(found.sounds[0] - 1.0) < 0.02
    assert abs(found.sounds[-1] - 1.2) < 0.02
    assert np.abs(np.array(found.box) - (WIDTH, HEIGHT)).max() <= 2
    assert np.abs(found.quarters() - traits.QUARTERS).max() < 12


@pytest.mark.parametrize("cut_s", [0.32, 0.52, 0.72])
@pytest.mark.parametrize("name", ["a.mp4", "a.mov"])
async def test_a_clip_trimmed_without_encoding_begins_where_a_player_begins_it(
        tmp_path: Path, pool: RenderPool, name: str, cut_s: float) -> None:
    clip = traits.trimmed(traits.write(tmp_path / "whole.mp4"), tmp_path / name, cut_s)
    recipe = await frozen(tmp_path, pool, clip)
    found = seen(recipe)
    assert recipe.skipped == ()
    assert abs(len(found.pictures) - (traits.SECONDS - cut_s) * RATE) <= 1
    assert abs(found.flash[0] - (1 - cut_s) * RATE) <= 1
    assert abs(found.sounds[0] - (1 - cut_s)) < 0.02


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
async def test_a_clip_stands_as_its_matrix_says(tmp_path: Path, pool: RenderPool, degrees: int,
                                                mirrored: bool) -> None:
    clip = traits.matrix(traits.write(tmp_path / "a.mp4", seconds=0.4), degrees, mirrored)
    expected = np.array(traits.QUARTERS).reshape(2, 2, 3)
    if mirrored:
        expected = expected[:, ::-1]
    expected = np.rot90(expected, -degrees // 90)
    found = seen(await frozen(tmp_path, pool, clip))
    shape = (HEIGHT * HEIGHT / WIDTH, HEIGHT) if degrees % 180 else (WIDTH, HEIGHT)
    assert np.abs(np.array(found.box) - shape).max() <= 2
    assert np.abs(found.quarters() - expected.reshape(4, 3)).max() < 15


def light_clip(path: Path, transfer: int, signals: tuple[float, ...]) -> Path:
    """Grey stripes of BT.2100 signals, 0 to 1, from left to right, in 10 bits."""

    def draw(_: float) -> av.VideoFrame:
        frame = av.VideoFrame(192, 108, "yuv420p10le")
        for number, plane in enumerate(frame.planes):
            samples = np.frombuffer(plane, np.uint16).reshape(-1, plane.line_size // 2)
            values = [round(64 + 876 * signal) for signal in signals] if number == 0 else [512] * len(signals)
            width = (192 if number == 0 else 96) // len(signals)
            for at, value in enumerate(values):
                samples[:, at * width:(at + 1) * width] = value
        return frame

    return traits.write(path, Video("libx265", "yuv420p10le", X265, tags=(9, transfer, 9, 1), draw=draw), None, 0.2)


@needs_x265
@pytest.mark.parametrize(("transfer", "signals", "expected"), [
    # Signals for 0, 32.4, 92, 203 (the reference white of BT.2408), 522 and 1000 cd/m²; of 203 cd/m², with gamma 2.4
    (16, (0, 0.4, 0.5, 0.5807, 0.68, 0.7518), (16, 118, 174, 214, 233, 235)),
    (18, (0, 0.25, 0.5, 0.75, 0.9, 1), (16, 77, 139, 214, 233, 235)),
], ids=["PQ", "HLG"])
async def test_high_dynamic_range_is_mapped_to_what_a_screen_can_show(
        tmp_path: Path, pool: RenderPool, transfer: int, signals: tuple[float, ...], expected: tuple[int, ...]) -> None:
    recipe = await frozen(tmp_path, pool, light_clip(tmp_path / "a.mov", transfer, signals))
    assert recipe.intro, recipe.skipped
    with av.open(recipe.intro.path) as clip:
        planes = [frame.to_ndarray() for frame in clip.decode(video=0)][2]
    stripe = WIDTH // len(signals)
    luma = [float(planes[50:100, at * stripe + 20:(at + 1) * stripe - 20].mean()) for at in range(len(signals))]
    assert np.abs(np.array(luma) - expected).max() <= 2, luma
    assert np.abs(planes[HEIGHT:].astype(int) - 128).max() <= 2  # grey stays grey


async def test_interlaced_pictures_have_no_combs(tmp_path: Path, pool: RenderPool) -> None:
    def draw(time_s: float) -> av.VideoFrame:
        image = np.full((108, 192, 3), 60, np.uint8)
        for field in (0, 1):  # a bar that moves by 8 pixels from field to field
            left = int((time_s * 50 + field) * 8) % 160
            image[field::2, left:left + 24] = 220
        return av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")

    options = {"preset": "ultrafast", "crf": "5", "flags": "+ilme+ildct", "x264-params": "tff=1:interlaced=1"}
    clip = traits.write(tmp_path / "a.mp4", Video(options=options, draw=draw), None, 0.6)
    found = seen(await frozen(tmp_path, pool, clip))
    assert len(found.pictures) == 18
    for picture in found.pictures[1:-2]:
        luma = picture[::2, :, 1].astype(int)  # one line of the film for each of the clip's
        combs = (np.abs(luma[1:-1] - luma[:-2]) > 60) & (np.abs(luma[1:-1] - luma[2:]) > 60)
        assert combs.mean() < 0.005


@pytest.mark.parametrize(("name", "video"), [
    ("a.mov", Video("prores_ks", "yuva444p10le", {})),
    ("b.mov", Video("png", "rgba", {})),
    ("c.mov", Video("qtrle", "argb", {})),
    pytest.param("d.webm", Video("libvpx-vp9", "yuva420p", traits.VP9), marks=needs_vp9),
], ids=["ProRes 4444", "PNG", "QuickTime Animation", "VP9"])
async def test_an_alpha_channel_is_laid_on_black(tmp_path: Path, pool: RenderPool, name: str, video: Video) -> None:
    def draw(time_s: float) -> av.VideoFrame:
        picture = traits.picture_at(time_s)
        alpha = np.full((*picture.shape[:2], 1), 255, np.uint8)
        alpha[:54, 96:], alpha[54:, :96] = 128, 0
        frame = av.VideoFrame.from_ndarray(np.concatenate([picture, alpha], axis=2), format="rgba")
        return frame if video.pix_fmt == "rgba" else frame.reformat(format=video.pix_fmt, dst_colorspace="ITU601")

    video.draw = draw
    found = seen(await frozen(tmp_path, pool, traits.write(tmp_path / name, video, None, 0.4)))
    red, green, _, grey = np.array(traits.QUARTERS)
    assert np.abs(found.quarters() - [red, green / 2, [0, 0, 0], grey]).max() < 12


async def test_sound_that_cannot_be_decoded_is_left_out_and_said_film_after_film(tmp_path: Path,
                                                                                 pool: RenderPool) -> None:
    data = bytearray(traits.write(tmp_path / "a.mov", sound="pcm_s16le").read_bytes())
    at = data.index(b"sowt")
    data[at:at + 4] = b"QDM9"  # a code that no decoder knows
    (tmp_path / "a.mov").write_bytes(data)
    for _ in range(2):
        recipe = await frozen(tmp_path, pool, tmp_path / "a.mov")
        assert recipe.intro
        assert not recipe.intro.sound
        assert recipe.skipped == ("intro: its sound cannot be decoded",)


CONTAINERS = {"a.mp4": {}, "b.mp4": {"movflags": "faststart"}, "c.mp4": {"movflags": "frag_keyframe+empty_moov"},
              "a.mkv": {}, "a.ts": {}, "a.mov": {}}


@pytest.mark.parametrize("name", CONTAINERS)
async def test_a_clip_cut_off_anywhere_is_shown_as_far_as_it_goes_or_left_out_and_named(
        tmp_path: Path, pool: RenderPool, name: str) -> None:
    source = traits.write(tmp_path / "whole.mp4", video=Video(options={"preset": "ultrafast", "g": "10"}))
    data = traits.copied(source, tmp_path / name, lambda packet: packet, CONTAINERS[name]).read_bytes()
    clip = tmp_path / f"cut{Path(name).suffix}"
    silent = []
    for percent in range(0, 100, 2):
        clip.write_bytes(data[:len(data) * percent // 100])
        recipe = await frozen(tmp_path, pool, clip)
        assert all(words.startswith("intro: ") and len(words) > 20 for words in recipe.skipped), recipe.skipped
        assert recipe.intro or recipe.skipped
        if recipe.intro and not recipe.skipped:
            silent.append(percent)
    if clip.suffix != ".ts":  # which does not tell its length; behind 90 % are indexes that nobody needs
        assert [percent for percent in silent if percent < 90] == []


@pytest.mark.parametrize(("content", "reason"), [
    (b"", "empty"), (b"GIF89a" + bytes(40), "cannot be read"), (b"#EXTM3U\nfile.ts\n" * 9, "cannot be read"),
    (bytes(100_000), "cannot be read")])
async def test_what_is_no_clip_is_left_out_and_named(tmp_path: Path, pool: RenderPool, content: bytes,
                                                     reason: str) -> None:
    clip = tmp_path / "intro.mp4"
    clip.write_bytes(content)
    recipe = await frozen(tmp_path, pool, clip)
    assert recipe.intro is None
    (words,) = recipe.skipped
    assert words.startswith("intro: ")
    assert reason in words


async def test_several_preparations_at_once_do_not_disturb_each_other(tmp_path: Path, pool: RenderPool) -> None:
    clips = [traits.write(tmp_path / f"{number}.mp4", seconds=0.4 + number / 5) for number in range(3)]
    recipes = await asyncio.gather(*(frozen(tmp_path, pool, clip) for clip in clips))
    assert [recipe.intro.ticks for recipe in recipes if recipe.intro] == [12, 18, 24]
