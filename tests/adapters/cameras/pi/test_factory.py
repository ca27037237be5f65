"""A Raspberry Pi's cameras as the settings ask for them: what is checked at start, and how it is said."""

import sys
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from ezrec.adapters.cameras.pi import factory as pi
from ezrec.config.sections import CamerasSettings
from ezrec.domain.clock import SystemClock
from ezrec.domain.errors import SettingsError
from ezrec.folders import DataFolder
from tests.fakes.pi import here

here()


def made(tmp_path: Path, **cameras: Any) -> list[Any]:
    return pi.pi_cameras(CamerasSettings(source="picamera2", **cameras), SystemClock(), DataFolder(tmp_path))


def test_two_pictures_are_encoded_at_start_as_picamera2_will() -> None:
    assert pi.smoke() == ""


def test_an_encoder_that_does_not_work_is_refused_with_versions_and_remedy(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pi, "smoke", lambda: "ValueError: strides")
    with pytest.raises(SettingsError, match=r"encoding fails \(ValueError: strides\) with .*picamera2 0\.3\.\d+.*venv"):
        made(tmp_path)


def test_versions_that_were_never_tried_are_only_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"picamera2": "0.3.99", "libcamera": "v0.7.2+7-gabc", "av": "13.1.0", "encoder": "libx264"}
    monkeypatch.setattr(pi, "software", lambda: versions)
    with capture_logs() as lines:
        assert len(made(tmp_path)) == 2
    assert [(line["event"], line.get("package")) for line in lines] == [
        ("camera software", None), ("untried version", "picamera2"), ("untried version", "av")]


@pytest.mark.parametrize(("package", "version", "tried"), [
    ("picamera2", "0.3.30", False), ("picamera2", "0.3.31", True), ("picamera2", "0.3.38", True),
    ("picamera2", "0.3.39", False), ("av", "14.2.0", True), ("av", "18.1.0", True), ("av", "19.0", False),
    ("libcamera", "0.7.9", True), ("libcamera", "unknown", False)])
def test_a_version_between_those_that_were_tried_counts_as_tried(package: str, version: str, tried: bool) -> None:
    versions = {"picamera2": "0.3.35", "libcamera": "0.7.2", "av": "17.1.0"} | {package: version}
    assert (package not in pi.untried(versions)) is tried


def test_a_picamera2_that_cannot_be_imported_is_refused_with_the_cause(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", None)  # as a broken one: importing it raises
    monkeypatch.setattr(pi.importlib.util, "find_spec", lambda _: True)
    with pytest.raises(SettingsError, match=r"the package picamera2 cannot be used \(ModuleNotFoundError.*apt install"):
        made(tmp_path)


def test_the_settings_become_what_each_camera_is_asked_for(tmp_path: Path) -> None:
    left, right = made(tmp_path, width=1280, height=720, fps="30000/1001", left={"rotation": 180, "id": "0"},
                       right={"rotation": 90}, picamera2={"sensor_mode": "2304x1296", "lens": 0.5, "sync": False})
    assert (left.name, left.size, str(left.rate)) == ("left", (1280, 720), "30000/1001")
    assert (left._asked.turned, right._asked.turned) == (True, False)
    assert (left.turned, right.turned) == (180, 0)  # which the film does not turn again
    assert (left._asked.sensor_mode, left._asked.lens, left._asked.sync) == ((2304, 1296), 0.5, False)
    assert left._pair is right._pair
    assert left._pair.wanted["left"].id == "0"
    assert [one.name for one in made(tmp_path, dual=False)] == ["left"]
