"""The wheel that a release is made from: the one that this installer was read from, or made of what it was read from.

An installer runs from a wheel (Python reads it as it is), from a checkout, or from an environment that a wheel was
installed into (pipx, or an earlier release). A checkout is packed here, too: a device has no build tools.
"""

import tomllib
import zipfile
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from ezrec import __version__
from ezrec.domain.errors import EzrecError

PACKAGE = Path(__file__).parents[1]
PINS = "ezrec/device/pins.txt"  # in the wheel: the versions that EZREC was tested with
PINS_HERE = "requirements/lock.txt"  # the same in a checkout
NOT_OURS = ("INSTALLER", "REQUESTED", "RECORD", "direct_url.json")  # what an installation put beside what it unpacked


def wheel_into(folder: Path, given: Path | None) -> Path:
    """Put the wheel to install into `folder`, and return it.

    Args:
        folder: an empty folder.
        given: a wheel or a checkout that the person names.

    Raises:
        EzrecError: there is none, or none can be made.
    """
    place = given or PACKAGE.parent
    if place.is_file():
        return _copied(place, folder)
    if project := _project(place):
        return _made(place, project, folder)
    if given:
        raise EzrecError(f"{given} is neither a wheel nor a checkout of EZREC: name one of them")
    return _packed(folder)


def version_of(wheel: Path) -> str:
    """The version that a wheel's name tells."""
    return wheel.name.split("-")[1]


def pins_of(wheel: Path) -> str:
    """The versions that a wheel was tested with, as constraints for pip; none if it does not say."""
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(PINS).decode() if PINS in archive.namelist() else ""


def _copied(wheel: Path, folder: Path) -> Path:
    if not (wheel.suffix == ".whl" and wheel.name.startswith("ezrec-") and zipfile.is_zipfile(wheel)):
        raise EzrecError(f"{wheel} is no wheel of EZREC: its name begins with ezrec- and ends with .whl")
    target = folder / wheel.name
    target.write_bytes(wheel.read_bytes())
    return target


def _project(place: Path) -> Mapping[str, Any] | None:
    """The project's own description of a checkout; None if it is none."""
    try:
        project: dict[str, Any] = tomllib.loads((place / "pyproject.toml").read_text("utf-8"))["project"]
    except (OSError, KeyError, ValueError):
        return None
    return project if project.get("name") == "ezrec" else None


def _made(place: Path, project: Mapping[str, Any], folder: Path) -> Path:
    """The wheel of a checkout: https://packaging.python.org/en/latest/specifications/binary-distribution-format/."""
    found: dict[str, Any] = {}
    exec((place / "ezrec/__init__.py").read_text("utf-8"), found)  # noqa: S102 - the checkout is what is installed
    version = found["__version__"]
    about = f"ezrec-{version}.dist-info"
    required = [f"Requires-Dist: {one}" for one in project["dependencies"]]
    scripts = [f"{name} = {what}" for name, what in project["scripts"].items()]
    texts = {
        "METADATA": ["Metadata-Version: 2.1", "Name: ezrec", f"Version: {version}",
                     f"Requires-Python: {project['requires-python']}", *required],
        "WHEEL": ["Wheel-Version: 1.0", "Generator: ezrec", "Root-Is-Purelib: true", "Tag: py3-none-any"],
        "entry_points.txt": ["[console_scripts]", *scripts],
    }
    files = {path.relative_to(place).as_posix(): path for path in sorted((place / "ezrec").rglob("*"))
             if path.is_file() and path.parent.name != "__pycache__"}
    return _written(folder / f"ezrec-{version}-py3-none-any.whl", files | {PINS: place / PINS_HERE},
                    {f"{about}/{name}": "\n".join(lines) + "\n" for name, lines in texts.items()}, about)


def _packed(folder: Path) -> Path:
    """The wheel that was unpacked here, packed again."""
    distribution = metadata.distribution("ezrec")
    files = {file.as_posix(): Path(str(file.locate())) for file in distribution.files or ()
             if (file.parts[0] == "ezrec" or file.parts[0].endswith(".dist-info"))
             and "__pycache__" not in file.parts and file.name not in NOT_OURS}
    if "ezrec/__init__.py" not in files:
        raise EzrecError("this EZREC was installed in a way that no wheel can be made of; name one with --wheel")
    about = next(name for name in files if name.endswith(".dist-info/METADATA")).partition("/")[0]
    return _written(folder / f"ezrec-{__version__}-py3-none-any.whl", files, {}, about)


def _written(wheel: Path, files: Mapping[str, Path], texts: Mapping[str, str], about: str) -> Path:
    """A wheel of files and texts. Its times are all the same: the same files make the same bytes."""
    with zipfile.ZipFile(wheel, "x", zipfile.ZIP_DEFLATED) as archive:
        for name, path in files.items():
            archive.writestr(zipfile.ZipInfo(name), path.read_bytes(), zipfile.ZIP_DEFLATED)
        for name, text in texts.items():
            archive.writestr(zipfile.ZipInfo(name), text, zipfile.ZIP_DEFLATED)
        record = f"{about}/RECORD"
        archive.writestr(zipfile.ZipInfo(record), "".join(f"{name},,\n" for name in (*files, *texts, record)))
    return wheel
