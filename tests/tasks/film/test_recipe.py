"""Recipes: what a film is frozen with stays, whatever becomes of the settings and the venue's files."""

import errno
import hashlib
import json
import threading
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from ezrec.config import Settings
from ezrec.config.sections import BookingsSettings
from ezrec.domain.errors import BadMedia, FolderGone, PoolClosed, RetryError, WorkerDied
from ezrec.domain.film import EncoderOptions, Film, Intro, Recipe
from ezrec.domain.stages import Stage
from ezrec.folders import DataFolder
from ezrec.media.join import RUN
from ezrec.media.panorama.calibrating import calibrate, common
from ezrec.tasks.film import recipe as recipe_module
from ezrec.tasks.film.recipe import Recipes
from tests.fakes.angled import Rig, view

SIZES = {"left": (320, 180), "right": (320, 180)}
FILM = Film("b", "rec", 1, Stage.RECORDING, 0, 600_000_000, None, None, None, None, None, None, 0, None, None, None,
            None, 0)


class Pool:
    """Workers that answer at once: logos are really looked at, the intro is made up."""

    def __init__(self) -> None:
        self.normalised: list[str] = []
        self.fails: Exception | None = None
        self.left_out = ""

    async def run(self, fn: Callable[..., Any], arg: Any) -> Any:
        if self.fails:
            raise self.fails
        source, _, out = fn.args if len(getattr(fn, "args", ())) == 3 else (None, None, None)
        if out is None:
            return fn(arg)
        self.normalised.append(str(source))
        Path(out).write_bytes(b"intro")
        return Intro(out, "", 45, sound=True, left_out=self.left_out)


@pytest.fixture
def pool() -> Pool:
    return Pool()


def picture(path: Path, level: int = 200) -> Path:
    cv2.imwrite(str(path), np.full((20, 40, 4), level, np.uint8))
    return path


def recipes(tmp_path: Path, pool: Pool, **film: Any) -> Recipes:
    settings = Settings(paths={"data": tmp_path / "data"}, film={"overlap": 0} | film)
    return Recipes(settings, DataFolder(tmp_path / "data"), pool, Fraction(30), {})  # type: ignore[arg-type]


def logo(file: Path, name: str = "sponsor", **more: Any) -> dict[str, Any]:
    return {"name": name, "file": file, "position": "top_left", "width": 0.1, "margin": 0.01} | more


async def test_a_recipe_freezes_what_the_settings_say_now(tmp_path: Path, pool: Pool) -> None:
    recipe = await recipes(tmp_path, pool, crf=19, threads=1, rate=25, preset="fast").freeze(FILM, SIZES)
    assert (recipe.rate, recipe.encoder.crf, recipe.encoder.threads, recipe.encoder.preset) == (25, 19, 1, "fast")
    assert recipe.encoder.keyint == 50  # 2 s
    assert (recipe.canvas.width, recipe.canvas.height) == (640, 180)
    assert recipe.part_size == 5 << 20
    assert recipe.index_reserve > 600 * 25 * 12
    assert Recipe.loads(recipe.dumps()) == recipe


async def test_without_settings_a_film_of_30_frames_a_second_is_encoded_as_the_options_say_by_themselves(
        tmp_path: Path, pool: Pool) -> None:
    assert (await recipes(tmp_path, pool).freeze(FILM, SIZES)).encoder == EncoderOptions()


async def test_parts_are_so_large_that_the_longest_booking_fits_into_ten_thousand(tmp_path: Path, pool: Pool) -> None:
    recipe = await recipes(tmp_path, pool, maxrate=50_000_000, bufsize=100_000_000).freeze(FILM, SIZES)
    assert 10_000 * recipe.part_size > 6 * 3600 * 50e6 / 8 > 10_000 * (5 << 20)
    assert recipe.part_size % (1 << 20) == 0


async def test_a_logo_has_at_least_two_pixels(tmp_path: Path, pool: Pool) -> None:
    file = picture(tmp_path / "logo.png")
    recipe = await recipes(tmp_path, pool, logos=[logo(file, width=0.01)]).freeze(FILM, {"left": (64, 36)})
    assert recipe.logos[0].width == 2


async def test_a_film_has_its_cameras_rate_unless_told_otherwise(tmp_path: Path, pool: Pool) -> None:
    assert (await recipes(tmp_path, pool).freeze(FILM, SIZES)).rate == 30


async def test_one_camera_gives_the_single_canvas(tmp_path: Path, pool: Pool) -> None:
    recipe = await recipes(tmp_path, pool).freeze(FILM, {"right": (320, 180)})
    assert [(view.camera, view.x) for view in recipe.canvas.views] == [("right", 0)]
    assert (recipe.canvas.width, recipe.canvas.height) == (320, 180)


async def test_a_logo_is_kept_under_its_content_and_survives_the_venues_file(tmp_path: Path, pool: Pool) -> None:
    file = picture(tmp_path / "logo.PNG")
    content = file.read_bytes()
    (one,) = (await recipes(tmp_path, pool, logos=[logo(file, opacity=0.5)]).freeze(FILM, SIZES)).logos
    assert (one.width, one.margin, one.opacity) == (64, 6, 0.5)
    picture(file, 10)
    assert Path(one.path).read_bytes() == content
    assert Path(one.path).name == f"{one.sha256}.png"
    (two,) = (await recipes(tmp_path, pool, logos=[logo(file)]).freeze(FILM, SIZES)).logos
    assert two.sha256 != one.sha256


@pytest.mark.parametrize("spoil", [Path.unlink, lambda file: file.write_bytes(b""), lambda file: file.write_text("no")])
async def test_a_logo_that_cannot_be_used_is_left_out_and_said(tmp_path: Path, pool: Pool,
                                                               spoil: Callable[[Path], object]) -> None:
    bad, good = picture(tmp_path / "bad.png"), picture(tmp_path / "good.png")
    spoil(bad)
    recipe = await recipes(tmp_path, pool, logos=[logo(bad), logo(good, "company")]).freeze(FILM, SIZES)
    assert [one.name for one in recipe.logos] == ["company"]
    assert len(recipe.skipped) == 1
    assert recipe.skipped[0].startswith("logo sponsor: ")


LEFT_OUT: list[tuple[Exception, str]] = [
    (BadMedia("no video in it"), "no video in it"), (WorkerDied("a worker died"), "a worker died"),
    (MemoryError("too large"), "too large"), (OSError(errno.EIO, "Input/output error"), "Input/output error"),
    (UnicodeDecodeError("utf-8", b"\xe1", 0, 1, "bad"), "UnicodeDecodeError: "),
    (ValueError("Frame does not match"), "ValueError: Frame does not match"), (RuntimeError("?"), "RuntimeError: ?"),
]


@pytest.mark.parametrize(("error", "reason"), LEFT_OUT)
async def test_an_intro_that_cannot_be_used_is_left_out_and_said(tmp_path: Path, pool: Pool, error: Exception,
                                                                 reason: str) -> None:
    clip = tmp_path / "intro.mp4"
    clip.write_bytes(b"clip")
    pool.fails = error
    recipe = await recipes(tmp_path, pool, intro=clip).freeze(FILM, SIZES)
    (words,) = recipe.skipped
    assert recipe.intro is None
    assert words.startswith("intro: ")
    assert reason in words


@pytest.mark.parametrize(("error", "reason"), LEFT_OUT)
async def test_whatever_a_logo_raises_it_is_left_out_and_said(tmp_path: Path, pool: Pool, error: Exception,
                                                              reason: str) -> None:
    pool.fails = error
    recipe = await recipes(tmp_path, pool, logos=[logo(picture(tmp_path / "a.png"))]).freeze(FILM, SIZES)
    (words,) = recipe.skipped
    assert words.startswith("logo sponsor: ")
    assert reason in words


@pytest.mark.parametrize("error", [
    PoolClosed("stopped"), RetryError("cannot start a worker"), FolderGone("gone"), OSError(errno.ENOSPC, "full"),
    OSError(errno.EDQUOT, "full"), OSError(errno.EROFS, "read-only")])
async def test_what_is_not_the_files_fault_leaves_nothing_out(tmp_path: Path, pool: Pool, error: Exception) -> None:
    clip = tmp_path / "intro.mp4"
    clip.write_bytes(b"clip")
    pool.fails = error
    for film in ({"intro": clip}, {"logos": [logo(picture(tmp_path / "a.png"))]}):
        with pytest.raises(type(error)):
            await recipes(tmp_path, pool, **film).freeze(FILM, SIZES)


async def test_what_of_an_intro_was_left_out_is_said_once(tmp_path: Path, pool: Pool) -> None:
    clip = tmp_path / "intro.mp4"
    clip.write_bytes(b"clip")
    pool.left_out = "its sound cannot be decoded"
    maker = recipes(tmp_path, pool, intro=clip)
    one = await maker.freeze(FILM, {"left": (320, 180)})
    assert one.skipped == ("intro: its sound cannot be decoded",)
    assert (await maker.freeze(FILM, {"left": (320, 180)})).skipped == one.skipped  # the intro that lies there
    assert (await maker.recast(FILM, one, SIZES)).skipped == one.skipped


async def test_an_intro_whose_clip_is_gone_is_left_out_of_the_wider_film(tmp_path: Path, pool: Pool) -> None:
    clip = tmp_path / "intro.mp4"
    clip.write_bytes(b"clip")
    maker = recipes(tmp_path, pool, intro=clip)
    narrow = await maker.freeze(FILM, {"left": (320, 180)})
    for kept in (tmp_path / "data" / "media").iterdir():
        kept.unlink()
    wide = await maker.recast(FILM, narrow, SIZES)
    (words,) = wide.skipped
    assert words.startswith("intro: ")
    assert words.endswith("is gone")


async def test_a_file_on_a_disk_that_hangs_is_left_out_and_holds_one_thread(
        tmp_path: Path, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    free, asked = threading.Event(), []

    def hang(_: Recipes, file: Path) -> None:
        asked.append(file)
        free.wait(30)

    monkeypatch.setattr(recipe_module, "KEEP_S", 0.05)
    monkeypatch.setattr(Recipes, "_keep_now", hang)
    maker = recipes(tmp_path, pool, intro=tmp_path / "intro.mp4")
    try:
        for _ in range(3):
            recipe = await maker.freeze(FILM, SIZES)
            assert recipe.skipped == (f"intro: {tmp_path / 'intro.mp4'} cannot be read within 0.05 s",)
        assert len(asked) == 1
    finally:
        free.set()


async def test_an_intro_is_normalised_once_for_each_look(tmp_path: Path, pool: Pool) -> None:
    clip = tmp_path / "intro.mp4"
    clip.write_bytes(b"clip")
    first = await recipes(tmp_path, pool, intro=clip).freeze(FILM, SIZES)
    assert first.intro
    assert (first.intro.ticks, first.intro.sound) == (45, True)
    assert (await recipes(tmp_path, pool, intro=clip).freeze(FILM, SIZES)).intro == first.intro
    assert len(pool.normalised) == 1
    known = Path(first.intro.path).with_suffix(".json")
    known.write_text(json.dumps(json.loads(known.read_text("utf-8")) | {"of a later version": 1}), "utf-8")
    assert (await recipes(tmp_path, pool, intro=clip).freeze(FILM, SIZES)).intro == first.intro
    other = await recipes(tmp_path, pool, intro=clip, crf=30).freeze(FILM, SIZES)
    assert other.intro
    assert other.intro.path != first.intro.path
    clip.write_bytes(b"another clip")
    await recipes(tmp_path, pool, intro=clip).freeze(FILM, SIZES)
    assert len(pool.normalised) == 3


@pytest.mark.parametrize(("suffix", "content"), [
    (".mp4", b"damaged"), (".json", b""), (".json", b"[]"), (".json", b'"x"'), (".json", b'{"path": "x"}')])
async def test_an_intro_that_is_not_what_was_made_is_normalised_again(
        tmp_path: Path, pool: Pool, suffix: str, content: bytes) -> None:
    clip = tmp_path / "intro.mp4"
    clip.write_bytes(b"clip")
    first = (await recipes(tmp_path, pool, intro=clip).freeze(FILM, SIZES)).intro
    assert first
    assert first.made_sha256 == hashlib.sha256(b"intro").hexdigest()
    Path(first.path).with_suffix(suffix).write_bytes(content)
    assert (await recipes(tmp_path, pool, intro=clip).freeze(FILM, SIZES)).intro == first
    assert len(pool.normalised) == 2
    assert Path(first.path).read_bytes() == b"intro"


async def test_an_intro_that_an_older_version_made_is_used_as_it_is(tmp_path: Path, pool: Pool) -> None:
    clip = tmp_path / "intro.mp4"
    clip.write_bytes(b"clip")
    first = (await recipes(tmp_path, pool, intro=clip).freeze(FILM, SIZES)).intro
    assert first
    known = Path(first.path).with_suffix(".json")
    known.write_text(json.dumps({key: value for key, value in json.loads(known.read_text("utf-8")).items()
                                 if key != "made_sha256"}), "utf-8")
    again = (await recipes(tmp_path, pool, intro=clip).freeze(FILM, SIZES)).intro
    assert again
    assert (again.made_sha256, again.path, len(pool.normalised)) == ("", first.path, 1)


@pytest.mark.parametrize("lost", ["", ".json"])
async def test_an_intro_of_which_half_is_lost_is_normalised_again(tmp_path: Path, pool: Pool, lost: str) -> None:
    clip = tmp_path / "intro.mp4"
    clip.write_bytes(b"clip")
    first = (await recipes(tmp_path, pool, intro=clip).freeze(FILM, SIZES)).intro
    assert first
    out = Path(first.path)
    (out.with_suffix(lost) if lost else out).unlink()
    assert (await recipes(tmp_path, pool, intro=clip).freeze(FILM, SIZES)).intro == first
    assert len(pool.normalised) == 2
    assert out.exists()


@pytest.mark.parametrize(("size", "kept"), [(4, True), (5, False)])
async def test_media_may_be_as_large_as_the_limit(
        tmp_path: Path, pool: Pool, monkeypatch: pytest.MonkeyPatch, size: int, kept: bool) -> None:
    monkeypatch.setattr(recipe_module, "MAX_MEDIA_BYTES", 4)
    clip = tmp_path / "intro.mp4"
    clip.write_bytes(b"x" * size)
    recipe = await recipes(tmp_path, pool, intro=clip).freeze(FILM, SIZES)
    assert (recipe.intro is not None, bool(recipe.skipped)) == (kept, not kept)


async def test_a_film_that_becomes_wide_keeps_what_it_was_frozen_with(tmp_path: Path, pool: Pool) -> None:
    clip, file = tmp_path / "intro.mp4", picture(tmp_path / "logo.png")
    clip.write_bytes(b"clip")
    narrow = await recipes(tmp_path, pool, intro=clip, logos=[logo(file)]).freeze(FILM, {"left": (320, 180)})
    clip.unlink()
    file.unlink()
    wide = await recipes(tmp_path, pool, crf=40, rate=50).recast(FILM, narrow, SIZES)
    assert (wide.canvas.width, wide.rate, wide.encoder) == (640, narrow.rate, narrow.encoder)
    assert (wide.logos[0].sha256, wide.logos[0].width) == (narrow.logos[0].sha256, 2 * narrow.logos[0].width)
    assert wide.intro
    assert narrow.intro
    assert (wide.intro.sha256, wide.skipped) == (narrow.intro.sha256, ())
    assert wide.intro.path != narrow.intro.path


@pytest.mark.parametrize(("booked_s", "longest_h", "room_s"), [
    (600, 6, 1200), (3600, 6, 2 * 3600), (6 * 3600, 6, 6 * 3600), (2 * 3600, 3, 3 * 3600), (2 * 3600, 1, 2 * 3600),
    (5 * 3600, 24, 10 * 3600), (24 * 3600, 24, 24 * 3600)])
async def test_an_index_has_room_for_whatever_a_booking_may_become(
        tmp_path: Path, pool: Pool, booked_s: int, longest_h: int, room_s: int) -> None:
    made = recipes(tmp_path, pool)
    made._settings = made._settings.model_copy(update={"bookings": BookingsSettings(longest_h=longest_h)})
    reserve = (await made.freeze(replace(FILM, ends_at=booked_s * 1_000_000), SIZES)).index_reserve
    pictures = 12e6 / 8 * room_s / 2 ** 20  # MiB, at most
    least = room_s * 30 * 16 + pictures * 20
    assert least < reserve < least * 1.1 + 150_000


@pytest.mark.parametrize(("rate", "maxrate"), [(1, 12_000_000), (30, 100_000_000), (25, 200_000)])
async def test_an_index_has_room_for_pictures_so_large_that_each_lies_in_an_mp4_chunk_of_its_own(
        tmp_path: Path, pool: Pool, rate: int, maxrate: int) -> None:
    film = replace(FILM, ends_at=6 * 3600 * 1_000_000)
    recipe = await recipes(tmp_path, pool, rate=rate, maxrate=maxrate).freeze(film, SIZES)
    ticks, each = 6 * 3600 * rate, maxrate / 8 / rate
    together = max(1, RUN // each)  # pictures in an MP4 chunk
    assert recipe.index_reserve > ticks * (4 + 8 + 2) + 20 * ticks / together


async def test_the_reserve_for_the_index_is_the_settings_if_it_has_one(tmp_path: Path, pool: Pool) -> None:
    assert (await recipes(tmp_path, pool, index_reserve_kb=16).freeze(FILM, SIZES)).index_reserve == 16 << 10


@pytest.mark.parametrize(("turned", "left", "right"), [({}, 180, 90), ({"left": 180, "right": 0}, 0, 90)])
def test_what_a_camera_turns_itself_is_not_turned_in_the_film_again(
        tmp_path: Path, pool: Pool, turned: dict[str, int], left: int, right: int) -> None:
    settings = Settings(paths={"data": tmp_path}, cameras={"left": {"rotation": 180}, "right": {"rotation": 90}})
    canvas = Recipes(settings, DataFolder(tmp_path), pool, Fraction(30),  # type: ignore[arg-type]
                     turned).canvas(SIZES)
    assert [view.rotation for view in canvas.views] == [left, right]


# ---- the panorama


def calibrated(data: Path) -> str:
    """A calibration as `ezrec calibrate` leaves it; what it is called."""
    seen = [common([view(Rig(size=(320, 180)), camera)], 0) for camera in range(2)]
    found, _ = calibrate(seen[0], seen[1])
    data.mkdir(parents=True, exist_ok=True)
    (data / "calibration.json").write_text(found.dumps())
    return found.id


async def test_a_panorama_s_recipe_keeps_its_calibration_whatever_is_calibrated_later(
        tmp_path: Path, pool: Pool) -> None:
    name = calibrated(tmp_path / "data")
    recipe = await recipes(tmp_path, pool, layout="panorama").freeze(FILM, SIZES)
    assert recipe.canvas.layout == "panorama"
    assert (recipe.fallback, recipe.skipped) == ("", ())
    used = recipe.canvas.calibration
    assert used is not None
    assert used.id == name
    (tmp_path / "data" / "calibration.json").write_text("{}")
    assert hashlib.sha256(Path(used.path).read_bytes()).hexdigest() == used.sha256


@pytest.mark.parametrize(("content", "why"), [
    (None, "the cameras are not calibrated: run `ezrec calibrate`"), ("{}", "version None"),
    ("\x00", "cannot be read")])
async def test_without_a_calibration_that_can_be_used_the_film_is_cross_faded_and_says_why(
        tmp_path: Path, pool: Pool, content: str | None, why: str) -> None:
    (tmp_path / "data").mkdir()
    if content is not None:
        (tmp_path / "data" / "calibration.json").write_text(content)
    recipe = await recipes(tmp_path, pool, layout="panorama").freeze(FILM, SIZES)
    assert recipe.canvas == (await recipes(tmp_path, pool).freeze(FILM, SIZES)).canvas
    assert why in recipe.fallback
    assert recipe.skipped == (f"panorama: {recipe.fallback}",)


async def test_pictures_of_another_shape_than_was_calibrated_are_cross_faded(tmp_path: Path, pool: Pool) -> None:
    calibrated(tmp_path / "data")
    other = {"left": (320, 180), "right": (320, 240)}
    recipe = await recipes(tmp_path, pool, layout="panorama").freeze(FILM, other)
    assert (recipe.canvas.layout, recipe.canvas.calibration) == ("feather", None)
    assert "camera right" in recipe.fallback


async def test_one_camera_alone_makes_no_panorama_and_that_is_no_fallback(tmp_path: Path, pool: Pool) -> None:
    recipe = await recipes(tmp_path, pool, layout="panorama").freeze(FILM, {"left": (320, 180)})
    assert (len(recipe.canvas.views), recipe.fallback) == (1, "")
