"""The wheel that a release is made from, wherever the installer was read from."""

import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ezrec import __version__
from ezrec.device import wheel as wheel_module
from ezrec.device.wheel import pins_of, version_of, wheel_into
from ezrec.domain.errors import EzrecError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """The wheel of this checkout."""
    (tmp_path / "made").mkdir()
    return wheel_into(tmp_path / "made", ROOT)


def test_a_checkout_is_packed_with_its_data_and_the_versions_it_was_tested_with(made: Path) -> None:
    assert version_of(made) == __version__
    with zipfile.ZipFile(made) as archive:
        names = archive.namelist()
        about = archive.read(f"ezrec-{__version__}.dist-info/METADATA").decode()
    assert {"ezrec/store/schema.sql", "ezrec/device/ezrec.service", "ezrec/device/ezrec.sh"} <= set(names)
    assert not [name for name in names if "__pycache__" in name]
    assert "Requires-Dist: aiosqlite>=0.19" in about
    assert pins_of(made) == (ROOT / "requirements/lock.txt").read_text("utf-8")


def test_the_same_checkout_makes_the_same_bytes(made: Path, tmp_path: Path) -> None:
    second = tmp_path / "second"
    second.mkdir()
    assert hashlib.sha256(made.read_bytes()).digest() == hashlib.sha256(wheel_into(second, ROOT).read_bytes()).digest()


def test_the_installer_runs_from_the_wheel_on_a_python_without_anything(made: Path) -> None:
    code = (f"import sys; sys.path.insert(0, {str(made)!r}); from ezrec.device.__main__ import main; "
            "main(['install', '--help'])")
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--wheels" in done.stdout


def test_what_was_installed_from_a_wheel_is_packed_into_the_same_files(made: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(site),
                    str(made)], check=True, capture_output=True)
    (tmp_path / "again").mkdir()
    code = (f"import sys; sys.path.insert(0, {str(site)!r}); from pathlib import Path; from ezrec.device import wheel; "
            f"print(wheel.wheel_into(Path({str(tmp_path / 'again')!r}), None))")
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False,
                          cwd=tmp_path, env={"PATH": os.environ["PATH"]})
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(done.stdout.strip()) as again, zipfile.ZipFile(made) as first:
        assert sorted(again.namelist()) == sorted(first.namelist())
        assert all(again.read(name) == first.read(name) for name in first.namelist() if not name.endswith("RECORD"))


@pytest.mark.parametrize("name", ["other-1.0-py3-none-any.whl", "ezrec-1.0-py3-none-any.whl"])
def test_a_file_that_is_no_wheel_of_ours_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"nothing")
    with pytest.raises(EzrecError, match="no wheel of EZREC"):
        wheel_into(tmp_path, tmp_path / name)


def test_a_folder_that_is_no_checkout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EzrecError, match="neither a wheel nor a checkout"):
        wheel_into(tmp_path, tmp_path)


def test_the_folder_that_the_package_lies_in_is_known() -> None:
    assert (wheel_module.PACKAGE / "__init__.py").is_file()
