"""Calibrating two cameras: from files, or from the footage that is kept; the old calibration stays until one is better.

Footage is only read, so it goes on beside a running recorder.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from ezrec import __version__
from ezrec.config import Settings
from ezrec.domain.calibration import Calibration, better
from ezrec.domain.clock import SECOND
from ezrec.domain.errors import BadMedia, EzrecError
from ezrec.domain.film import Footage
from ezrec.domain.timeline import Segment
from ezrec.files import os_errors, write_atomically
from ezrec.folders import CAMERAS, DataFolder
from ezrec.media.panorama import calibrating, picture
from ezrec.media.panorama.layout import panorama_canvas
from ezrec.media.panorama.moments import moments_of, moments_of_footage
from ezrec.store import Store

LATEST_US = 600 * SECOND
"""How much of the newest footage is looked at."""

Said = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """A calibration that was made, and whether it took the old one's place."""

    calibration: Calibration
    kept: bool
    old: Calibration | None
    picture: Path | None


async def newest_footage(store: Store, folder: DataFolder) -> dict[str, Sequence[Footage]]:
    """The newest footage of a run that holds both cameras, at most ten minutes of it, in order of time.

    Raises:
        EzrecError: there is none.
    """
    async with store.snapshot() as now:
        for run in sorted(await now.runs(), reverse=True):
            by_camera: dict[str, list[Segment]] = {camera: [] for camera in CAMERAS}
            for segment in await now.segments(run, 0, 1 << 62):
                by_camera[segment.camera].append(segment)
            if all(by_camera.values()):
                end = min(max(one.end_us for one in ours) for ours in by_camera.values())
                return {camera: [Footage(str(folder.path(one.path)), one.start_us, one.end_us) for one in
                                 sorted(ours, key=lambda one: one.start_us)
                                 if end - LATEST_US < one.end_us and one.start_us <= end]
                        for camera, ours in by_camera.items()}
    raise EzrecError("no footage of both cameras is kept: record something (`ezrec bookings add --in 1m --for 1m`), or "
                     "name two pictures or films: ezrec calibrate LEFT RIGHT")


def calibrate(settings: Settings, folder: DataFolder, sources: tuple[Path, Path] | dict[str, Sequence[Footage]],
              said: Said) -> Outcome:
    """Calibrate from two files or from footage, and keep the result if it is better than what there is.

    Raises:
        BadMedia: the pictures do not belong together, or cannot be read; the words say what to change.
        EzrecError: the result cannot be written.
    """
    rotations = [rotation(settings, camera) for camera in CAMERAS]
    said("reading pictures of both cameras")
    if isinstance(sources, dict):
        moments = [moments_of_footage(camera, sources[camera], turn) for camera, turn in
                   zip(CAMERAS, rotations, strict=True)]
        of = "footage"
    else:
        moments = [moments_of(path, turn) for path, turn in zip(sources, rotations, strict=True)]
        of = " and ".join(path.name for path in sources)
    left, right = (calibrating.common(ours, turn) for ours, turn in zip(moments, rotations, strict=True))
    found, matches = calibrating.calibrate(left, right, said)
    made = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    found = replace(found, made_at=made, of=of, program=__version__)
    old = current(folder)
    if not better(found, old):
        return Outcome(found, kept=False, old=old, picture=None)
    said("drawing a picture of it")
    sizes = {camera: one.size[::-1] if one.rotation % 180 else one.size
             for camera, one in zip(CAMERAS, (left, right), strict=True)}
    canvas = panorama_canvas(folder.calibration, "", found, sizes, dict(zip(CAMERAS, rotations, strict=True)))
    with os_errors("keep the calibration"):
        picture.draw(folder.calibration_picture, canvas, found, (left, right), matches)
        write_atomically(folder.calibration, found.dumps().encode())
    return Outcome(found, kept=True, old=old, picture=folder.calibration_picture)


def current(folder: DataFolder) -> Calibration | None:
    """The calibration that is kept; None if there is none that can be read."""
    try:
        return Calibration.loads(folder.calibration.read_bytes())
    except (OSError, BadMedia):
        return None


def rotation(settings: Settings, camera: str) -> int:
    """By how many degrees clockwise a camera's pictures are still to be turned; a Pi's turns by 180 itself."""
    wanted = {"left": settings.cameras.left.rotation, "right": settings.cameras.right.rotation}[camera]
    return 0 if settings.cameras.source == "picamera2" and wanted == 180 else int(wanted)
