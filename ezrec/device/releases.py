"""Releases: a folder for each, with an environment of its own; one of them is current.

A release is complete once its last file, `complete`, is there; one without it is what a cut-off installation left, and
is made again. The link `current` is replaced by a rename, so that at any moment it leads to a complete release.
"""

import hashlib
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

from ezrec.device import constraints
from ezrec.device.machine import SYSTEM_PYTHON, run
from ezrec.device.places import TRIAL_UNIT, UNIT, Places
from ezrec.device.wheel import pins_of, version_of
from ezrec.domain.errors import EzrecError
from ezrec.files import fsync_folder

ROOM_MB = 700  # what a release takes, and what pip needs meanwhile
KEPT = 2  # older releases that stay for a person to go back to
SHELL_COMMAND = "ezrec.sh"
DEVICE_FILES = (UNIT, TRIAL_UNIT, SHELL_COMMAND)

Say = Callable[[str], None]


def current(places: Places) -> str | None:
    """The name of the release that is used; None if there is none."""
    try:
        name = places.current.readlink().name
    except OSError:
        return None
    return name if is_complete(places.releases / name) else None


def is_complete(release: Path) -> bool:
    """Whether a release was installed to its end."""
    return (release / "complete").is_file()


def build(places: Places, wheel: Path, say: Say, *, system: dict[str, str], wheels: Path | None = None) -> str:
    """Install a wheel as a release of its own; its name. What runs is not touched.

    Args:
        places: where.
        wheel: what.
        say: told what is being done.
        system: what the system has and must stay, as `constraints.of_system` found it.
        wheels: a folder with all wheels that are needed, for machines without a network.

    Raises:
        EzrecError: there is no room, a dependency cannot be had, or the program does not start. Nothing is left of it.
    """
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    name = _name_of(places, wheel, digest)
    release = places.releases / name
    if is_complete(release):
        say(f"release {name} is installed already")
        return name
    if (free_mb := shutil.disk_usage(places.releases).free >> 20) < ROOM_MB:
        raise EzrecError(f"{places.releases} has {free_mb} MiB free, a release needs {ROOM_MB}: make room; nothing was "
                         "changed")
    shutil.rmtree(release, ignore_errors=True)
    brought = ", ".join(f"{one} {at}" for one, at in system.items())
    say(f"release {name}: its environment{f', beside the {brought} of the system' if brought else ''}")
    try:
        _fill(release, wheel, system, wheels, say)
    except (EzrecError, OSError) as error:
        shutil.rmtree(release, ignore_errors=True)
        raise EzrecError(f"the new release could not be installed, and nothing was changed: {error}") from error
    os.sync()  # a mark that a power cut leaves beside half an environment would be a lie
    (release / "complete").write_text(digest, "ascii")
    os.sync()
    return name


def _name_of(places: Places, wheel: Path, digest: str) -> str:
    """The wheel's version; with a number behind it if another wheel of that version is installed."""
    version = version_of(wheel)
    number, name = 1, version
    while is_complete(places.releases / name) and (places.releases / name / "complete").read_text("ascii") != digest:
        number += 1
        name = f"{version}.{number}"
    return name


def _fill(release: Path, wheel: Path, system: dict[str, str], wheels: Path | None, say: Say) -> None:
    release.mkdir(parents=True)
    kept = release / wheel.name
    shutil.copyfile(wheel, kept)
    with zipfile.ZipFile(wheel) as archive:
        for name in DEVICE_FILES:
            (release / name).write_bytes(archive.read(f"ezrec/device/{name}"))
    (release / SHELL_COMMAND).chmod(0o755)
    run(SYSTEM_PYTHON, "-m", "venv", "--system-site-packages", str(release / "venv"))
    python = str(release / "venv" / "bin" / "python")
    pip = [python, "-m", "pip", "install", "--quiet", "--only-binary=:all:", "--constraint",
           str(release / "constraints.txt")]
    pip += ["--no-index", "--find-links", str(wheels)] if wheels else []
    env = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_CACHE_DIR": "1", "PIP_ROOT_USER_ACTION": "ignore"}
    (release / "constraints.txt").write_text(constraints.merged(pins_of(wheel), system), "utf-8")
    try:
        run(*pip, str(kept), env=env)
    except EzrecError as error:
        say(f"the versions that EZREC was tested with do not go with this system's; others are taken ({error})")
        (release / "constraints.txt").write_text(constraints.lines(system), "utf-8")
        run(*pip, str(kept), env=env)
    run(python, "-m", "compileall", "-q", str(release / "venv" / "lib"), env={"PYTHONWARNINGS": "ignore"})
    run(python, "-m", "ezrec", "--version", cwd=release)


def activate(places: Places, name: str) -> None:
    """Make a release the current one, with its units and its command. Safe at any moment, and to run again.

    Raises:
        OSError: a file could not be written.
    """
    release = places.releases / name
    for unit in (UNIT, TRIAL_UNIT):
        _put(release / unit, places.units / unit, 0o644)
    _put(release / SHELL_COMMAND, places.command, 0o755)
    fresh = places.current.with_name("current.new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(Path("releases") / name)
    fresh.replace(places.current)
    fsync_folder(places.base)


def _put(source: Path, target: Path, mode: int) -> None:
    fresh = target.with_name(f".{target.name}.new")
    shutil.copyfile(source, fresh)
    fresh.chmod(mode)
    with fresh.open("rb") as file:
        os.fsync(file.fileno())
    fresh.replace(target)
    fsync_folder(target.parent)


def prune(places: Places, *needed: str | None) -> None:
    """Take old releases away: all but the newest few, the current one and those that are needed. Raises OSError."""
    keep = {current(places), *needed}
    old = sorted((path for path in places.releases.iterdir() if path.name not in keep),
                 key=lambda path: path.stat().st_mtime, reverse=True)
    complete = [path for path in old if is_complete(path)]
    for path in old:
        if path not in complete[:KEPT]:
            shutil.rmtree(path)
