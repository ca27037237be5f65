"""`ezrec calibrate` on real files and kept footage: what it says, what it keeps, and that a good one stays."""

import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from ezrec.domain.booking import Booking
from ezrec.domain.clock import SECOND
from ezrec.domain.timeline import Segment
from ezrec.store import Store
from tests.fakes.angled import Rig, foreign, frame_of, view

ROOT = Path(__file__).parents[2]
RIG = Rig()


def still(path: Path, rig: Rig, camera: int) -> Path:
    cv2.imwrite(str(path), frame_of(view(rig, camera)).to_ndarray(format="bgr24"))
    return path


def film(path: Path, rig: Rig, camera: int, form: str = "mp4") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format=form) as container:
        stream: Any = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = *rig.size, "yuv420p"
        stream.codec_context.options = {"preset": "ultrafast", "crf": "12", "bf": "0", "g": "5"}
        for tick in range(10):
            frame = frame_of(view(rig, camera))
            frame.pts, frame.time_base = tick, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def ezrec(place: Path, *words: str) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "ezrec", "--data", str(place / "data"), "calibrate", *words]
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "COLUMNS": "100", "LANG": "C.UTF-8"}
    done = subprocess.run(command, cwd=place, env=env, capture_output=True, text=True, timeout=240, check=False)
    return done.returncode, done.stdout, done.stderr


def test_two_stills_give_a_calibration_and_a_picture_and_wrong_ones_leave_it_alone(tmp_path: Path) -> None:
    left, right = (still(tmp_path / f"{name}.png", RIG, camera) for camera, name in enumerate(("left", "right")))
    status, out, err = ezrec(tmp_path, str(left), str(right))
    assert (status, err) == (0, "")
    assert "following" in out  # it says how far it is
    assert "\ngood: " in out
    assert 'film.layout = "panorama"' in out
    kept = (tmp_path / "data" / "calibration.json").read_bytes()
    assert json.loads(kept)["quality"]["tracked"] > 0.65
    picture = cv2.imread(str(tmp_path / "data" / "calibration.jpg"))
    assert picture is not None
    assert picture.shape[1] == 1600

    other = still(tmp_path / "other.png", foreign(RIG), 1)
    status, out, err = ezrec(tmp_path, str(left), str(other))
    assert status == 1
    assert "points in common" in err
    assert "the calibration that is there stays" in err
    status, out, _ = ezrec(tmp_path, "--json", str(left), str(other))
    assert (status, json.loads(out)["verdict"], json.loads(out)["kept"]) == (1, "refused", False)
    assert (tmp_path / "data" / "calibration.json").read_bytes() == kept


async def test_without_arguments_the_newest_footage_of_both_cameras_is_taken(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    store = await Store.open(data / "ezrec.db", create=True)
    await store.put_booking(Booking("match", "cli", 10 * SECOND, 20 * SECOND, "scheduled"))
    run = await store.begin_run("boot", 0, 0)
    for number in range(2):
        for camera, name in enumerate(("left", "right")):
            place = f"segments/{run}/{name}/{number}.ts"
            size = film(data / place, RIG, camera, "mpegts").stat().st_size
            await store.add_segment(Segment(name, run, number * SECOND, (number + 1) * SECOND, 10, 0, size, place))
    await store.close()
    before = sorted(path.name for path in data.glob("segments/*/*/*"))
    status, out, err = ezrec(tmp_path, "--json")
    assert (status, err) == (0, "")
    assert json.loads(out)["verdict"] == "good"
    assert json.loads(out)["of"] == "footage"
    assert sorted(path.name for path in data.glob("segments/*/*/*")) == before


@pytest.mark.parametrize(("words", "why"), [
    ((), "no footage of both cameras is kept"), (("one.png",), "give both LEFT and RIGHT, or neither"),
    (("gone.png", "gone.png"), "gone.png: No such file or directory"), (("text.mp4", "text.mp4"), "text.mp4"),
    (("flat.png", "flat.png"), "shows nothing")])
async def test_what_is_missing_is_named(tmp_path: Path, words: tuple[str, ...], why: str) -> None:
    (tmp_path / "data").mkdir()
    await (await Store.open(tmp_path / "data" / "ezrec.db", create=True)).close()
    (tmp_path / "text.mp4").write_text("no film")
    cv2.imwrite(str(tmp_path / "flat.png"), np.full((360, 640, 3), 90, np.uint8))
    status, _, err = ezrec(tmp_path, *words)
    assert status != 0
    assert why in " ".join(err.split())
    assert not (tmp_path / "data" / "calibration.json").exists()
