"""A panorama is drawn as the calibration says, whatever a camera's rotation, light or absence, and twice the same."""

import hashlib
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from ezrec.domain.calibration import Calibration
from ezrec.domain.errors import BadMedia
from ezrec.domain.film import Canvas, ChunkJob, EncoderOptions, Footage, Recipe, Rung, ladder
from ezrec.media.chunk import render
from ezrec.media.drawing import BANDS
from ezrec.media.encode import coded_frame
from ezrec.media.geometry import composer_for
from ezrec.media.panorama import maps
from ezrec.media.panorama.calibrating import calibrate, common
from ezrec.media.panorama.cylinder import grid
from ezrec.media.panorama.layout import panorama_canvas
from ezrec.pyav import Planes, planes_of
from tests.fakes.angled import DENSITY, HIGH, WIDE, Rig, frame_of, scene, turns, view

RIG = Rig(gain=1.25)
SECOND = 1_000_000


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    return calibrate(common([view(RIG, 0)], 0), common([view(RIG, 1)], 0))[0]


def kept(folder: Path, calibration: Calibration) -> tuple[Path, str]:
    content = calibration.dumps().encode()
    sha256 = hashlib.sha256(content).hexdigest()
    path = folder / f"{sha256}.json"
    path.write_bytes(content)
    return path, sha256


@pytest.fixture
def canvas(tmp_path: Path, calibration: Calibration) -> Canvas:
    return panorama_canvas(*kept(tmp_path, calibration), calibration, {"left": RIG.size, "right": RIG.size}, {})


def frames(rig: Rig = RIG) -> dict[str, VideoFrame | None]:
    return {"left": frame_of(view(rig, 0)), "right": frame_of(view(rig, 1))}


def drawn(canvas: Canvas, pictures: dict[str, VideoFrame | None], rung: Rung = Rung.FULL) -> NDArray[np.float64]:
    """The luma that is drawn."""
    made = composer_for(canvas, rung, (), coded_frame(canvas)).compose(pictures)
    return planes_of(made).y[: canvas.height, : canvas.width].astype(np.float64)


def seam_of(canvas: Canvas, calibration: Calibration) -> tuple[int, int]:
    at = (np.asarray(calibration.seam) - calibration.area.left) / calibration.area.width * canvas.width
    return int(at.min()), int(at.max())


def test_there_is_no_black_and_both_halves_are_as_bright_where_they_meet(
        canvas: Canvas, calibration: Calibration) -> None:
    luma = drawn(canvas, frames())
    first, end = seam_of(canvas, calibration)
    assert (luma <= 18).mean() < 0.002
    beside = luma[:, first - 30 : first - 12].mean() - luma[:, end + 12 : end + 30].mean()
    plain = drawn(canvas, frames(replace(RIG, gain=1.0)))
    truth = plain[:, first - 30 : first - 12].mean() - plain[:, end + 12 : end + 30].mean()
    assert abs(beside) < abs(truth) + 12  # 1.25 times as bright it would be 25


def test_the_film_shows_the_court_as_it_is(canvas: Canvas, calibration: Calibration) -> None:
    """Against the scene itself: the best shift is none, and what is left is the cameras' own softness."""
    luma = drawn(canvas, frames(replace(RIG, gain=1.0)))
    a, t = np.broadcast_arrays(*grid(calibration.area, canvas.width, canvas.height))
    rays = np.stack([np.sin(a), t, np.cos(a)], axis=-1) @ (np.asarray(calibration.left.turn).T @ turns(RIG)[0])
    a, t = np.arctan2(rays[..., 0], rays[..., 2]), rays[..., 1] / np.hypot(rays[..., 0], rays[..., 2])
    x, y = (np.round(value).astype(int) for value in ((a + WIDE / 2) * DENSITY, (t + HIGH / 2) * DENSITY))
    court = scene(RIG.seed)
    inside = court[np.clip(y, 0, court.shape[0] - 1), np.clip(x, 0, court.shape[1] - 1)].astype(np.float64)
    truth = 16 + inside @ (np.array([0.0722, 0.7152, 0.2126]) * 219 / 255)
    middle = (slice(40, -40), slice(60, -60))
    best = {(dx, dy): np.corrcoef(luma[middle].ravel(), np.roll(truth, (dy, dx), (0, 1))[middle].ravel())[0, 1]
            for dx in (-2, -1, 0, 1, 2) for dy in (-2, -1, 0, 1, 2)}
    assert max(best, key=lambda one: best[one]) == (0, 0)
    assert best[0, 0] > 0.8


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_camera_that_is_turned_gives_the_same_picture(
        tmp_path: Path, canvas: Canvas, calibration: Calibration, rotation: int) -> None:
    """The turn is in the tables. `rot90` turns the other way than a rotation of the settings."""
    turned = replace(calibration, left=replace(calibration.left, rotation=rotation))
    raw = Planes(*(np.ascontiguousarray(np.rot90(plane, rotation // 90)) for plane in view(RIG, 0)))
    size = raw.y.shape[1], raw.y.shape[0]
    again = panorama_canvas(*kept(tmp_path, turned), turned, {"left": size, "right": RIG.size}, {"left": rotation})
    assert (again.width, again.height) == (canvas.width, canvas.height)
    apart = np.abs(drawn(again, {**frames(), "left": frame_of(raw)}) - drawn(canvas, frames()))
    assert apart.max() <= 2


def test_a_camera_that_is_away_leaves_the_fill_where_only_it_looked(canvas: Canvas) -> None:
    both = drawn(canvas, frames())
    for away, side in (("right", slice(-100, None)), ("left", slice(0, 100))):
        luma = drawn(canvas, {**frames(), away: None})
        assert set(luma[:, side].ravel()) <= set(BANDS)
        other = slice(0, 100) if away == "right" else slice(-100, None)
        assert np.array_equal(luma[:, other], both[:, other])
    assert set(drawn(canvas, {"left": None, "right": None}).ravel()) <= set(BANDS)


def test_every_rung_below_fits_the_same_canvas(canvas: Canvas) -> None:
    assert ladder(canvas) == [Rung.FULL, Rung.FEATHER, Rung.PLAIN, Rung.LEFT, Rung.RIGHT]
    made = {rung: drawn(canvas, frames(), rung) for rung in ladder(canvas)}
    assert {luma.shape for luma in made.values()} == {(canvas.height, canvas.width)}
    assert not np.array_equal(made[Rung.FEATHER], made[Rung.PLAIN])
    assert not set(made[Rung.PLAIN].ravel()) <= set(BANDS)


def test_a_calibration_that_is_gone_or_changed_is_told(canvas: Canvas) -> None:
    assert canvas.calibration is not None
    path = Path(canvas.calibration.path)
    maps._kept.cache_clear()
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(BadMedia, match="is not the calibration"):
        drawn(canvas, frames())
    path.unlink()
    with pytest.raises(BadMedia, match="is gone"):
        drawn(canvas, frames())


def test_tables_are_made_once_and_again_if_they_are_damaged(canvas: Canvas, tmp_path: Path) -> None:
    maps._kept.cache_clear()
    first = drawn(canvas, frames())
    table = next(tmp_path.glob("*.maps"))
    whole = table.read_bytes()
    for damage in (b"", whole[: len(whole) // 2], whole[:5000] + b"\xff" * 4000 + whole[9000:]):
        table.write_bytes(damage)
        maps._kept.cache_clear()
        assert np.array_equal(drawn(canvas, frames()), first)
        assert table.read_bytes() == whole


def test_pictures_of_another_shape_are_refused_and_of_another_size_are_not(
        tmp_path: Path, calibration: Calibration) -> None:
    with pytest.raises(BadMedia, match=r"camera right: it was calibrated with 640x360 pixels, and gives 640x480"):
        panorama_canvas(*kept(tmp_path, calibration), calibration, {"left": (640, 360), "right": (640, 480)}, {})
    half = panorama_canvas(*kept(tmp_path, calibration), calibration, {"left": (320, 180), "right": (320, 180)}, {})
    assert half.width < 800
    small = Rig(size=(320, 180), gain=RIG.gain)
    assert drawn(half, frames(small)).std() > 10


# ---- in the chunk worker


def record(folder: Path, name: str, camera: int, gains: list[float]) -> tuple[Footage, ...]:
    """Segments of a second each, every one as bright as told."""
    found = []
    for number, gain in enumerate(gains):
        path = folder / f"{name}{number}.ts"
        planes = view(replace(RIG, gain=gain), camera)
        with av.open(str(path), "w", format="mpegts") as container:
            stream: Any = container.add_stream("libx264", rate=10)
            stream.width, stream.height, stream.pix_fmt = *RIG.size, "yuv420p"
            stream.codec_context.options = {"preset": "ultrafast", "crf": "12", "bf": "0", "g": "5"}
            for tick in range(10):
                frame = frame_of(planes)
                frame.pts, frame.time_base = tick, Fraction(1, 10)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        found.append(Footage(str(path), number * SECOND, (number + 1) * SECOND))
    return tuple(found)


def job(canvas: Canvas, folder: Path, gains: list[float], first: int = 0, ticks: int = 10) -> ChunkJob:
    encoder = EncoderOptions(preset="ultrafast", crf=10, keyint=20, threads=1)
    recipe = Recipe(Fraction(10), canvas, encoder, index_reserve=16384)
    shot = {"left": record(folder, "l", 0, gains), "right": record(folder, "r", 1, gains)}
    return ChunkJob(recipe, 0, first, ticks, shot, str(folder / f"chunk{first}.mp4"))


def test_the_same_chunk_has_the_same_bytes(canvas: Canvas, tmp_path: Path) -> None:
    asked = job(canvas, tmp_path, [1.25, 1.3])
    sums = []
    for _ in range(2):
        maps._kept.cache_clear()
        sums.append(render(asked).sha256)
    assert sums[0] == sums[1]


def test_light_that_changes_is_followed_evenly_and_the_next_chunk_goes_on_where_one_ended(
        canvas: Canvas, tmp_path: Path) -> None:
    gains = [1.25, 1.25, 1.0, 1.0]
    one, two = (render(job(canvas, tmp_path, gains, first, 20)) for first in (0, 20))
    assert one.lights[1] == two.lights[0]
    assert abs(one.lights[0].luma) < 0.02
    assert two.lights[1].luma > 0.12  # the right camera has become darker than it was calibrated


def test_the_lights_stand_in_the_chunk_s_row(canvas: Canvas, tmp_path: Path) -> None:
    report = render(job(canvas, tmp_path, [1.25, 1.1]))
    assert len(report.lights) == 2
    assert type(report).loads(report.dumps()) == report


def test_a_chunk_whose_calibration_is_gone_is_made_on_the_next_rung(canvas: Canvas, tmp_path: Path) -> None:
    asked = job(canvas, tmp_path, [1.25])
    Path(asked.recipe.canvas.calibration.path).unlink()  # type: ignore[union-attr]
    maps._kept.cache_clear()
    with pytest.raises(BadMedia):
        render(asked)
    report = render(replace(asked, rung=Rung.FEATHER))
    assert (report.lights, report.both) == ((), 10)
    with av.open(asked.out) as container:
        frame = next(container.decode(video=0))
        assert (frame.width, frame.height) == (canvas.width, canvas.height)


def test_a_recipe_with_a_panorama_is_read_back(canvas: Canvas) -> None:
    recipe = Recipe(Fraction(30), canvas, EncoderOptions(), fallback="")
    assert Recipe.loads(recipe.dumps()) == recipe
