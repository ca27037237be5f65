"""What the system brings and a release must not replace: Picamera2, numpy and PyAV, and what they were built against.

A second numpy in a release's environment would be of another binary shape than the one that Picamera2's parts were
built for ("numpy.dtype size changed"), so pip is held to the system's versions.
"""

import json

from ezrec.device.machine import SYSTEM_PYTHON, run
from ezrec.domain.errors import EzrecError

SYSTEMS = ("numpy", "av", "picamera2", "simplejpeg", "PiDNG", "piexif", "pillow", "python-prctl", "videodev2",
           "v4l2-python3")
OLDEST_PYAV = (12,)
OLDEST_PYTHON = (3, 11)

_ASK = """
import json, sys
from importlib import metadata
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        pass
print(json.dumps({"python": list(sys.version_info[:2]), "found": found}))
"""


def of_system(python: str = SYSTEM_PYTHON) -> dict[str, str]:
    """The versions that the system has, by name.

    Raises:
        EzrecError: its Python or its PyAV is too old; says which Debian brings a newer one.
    """
    said = json.loads(run(python, "-I", "-c", _ASK, *SYSTEMS, limit_s=60))
    check(tuple(said["python"]), said["found"])
    return dict(said["found"])


def check(python: tuple[int, ...], found: dict[str, str]) -> None:
    """Refuse what EZREC cannot run on, in words. Raises EzrecError."""
    if python < OLDEST_PYTHON:
        raise EzrecError(f"this system's Python is {'.'.join(map(str, python))}, EZREC needs 3.11 or newer: use Debian "
                         "12 (bookworm) or newer")
    if "av" in found and numbers(found["av"]) < OLDEST_PYAV:
        raise EzrecError(
            f"this system's PyAV (python3-av) is {found['av']}, EZREC needs 12 or newer, and the system's own must not "
            "be replaced: use Raspberry Pi OS trixie, or on bookworm a newer python3-av from the Raspberry Pi's "
            "archive (apt-get update, apt-get install python3-av). Without cameras of a Pi: apt-get remove python3-av")


def lines(found: dict[str, str]) -> str:
    """Constraints for pip. What follows a plus is the packager's and unknown to pip's index."""
    return "".join(f"{name}=={version}\n" for name, version in sorted(found.items()))


def merged(pins: str, found: dict[str, str]) -> str:
    """Pins, but the system's versions where it has any."""
    own = {_plain(name) for name in found}
    kept = [line for line in pins.splitlines() if "==" in line and _plain(line.partition("==")[0]) not in own]
    return lines(found) + "".join(f"{line}\n" for line in kept)


def numbers(version: str) -> tuple[int, ...]:
    """The numbers that a version begins with."""
    found: list[int] = []
    for part in version.split("."):
        digits = part[:len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        found.append(int(digits))
    return tuple(found)


def _plain(name: str) -> str:
    return name.strip().lower().replace("_", "-").replace(".", "-")
