"""A calibration: how two cameras look at one court, and how their pictures become one panorama.

It is measured by `media/panorama/calibrating.py`, lies in the data folder as JSON, and is frozen with a film's recipe.
Lengths are in widths of a camera's picture and angles in radians, so that it holds for every size of one shape.

The panorama lies on a cylinder around the cameras. A direction in space is (sin a, t, cos a): `a` is the angle around
the cylinder's axis, `t` how far down along it. A camera sees a direction X at its own R·X.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from ezrec.domain.errors import BadMedia
from ezrec.domain.stored import made_of

VERSION = 1
ALIKE = 0.004  # by how much the shape of pictures may differ from the one that was calibrated


class CalibrationVerdict(StrEnum):
    """What a calibration is worth."""

    GOOD = "good"
    POOR = "poor"  # kept if there is none; never in a good one's place
    REFUSED = "refused"


@dataclass(frozen=True)
class Lens:
    """One camera: its lens (Brown's model with two radial terms) and where it looks. Pictures count as turned."""

    size: tuple[int, int]  # of the pictures it was measured on, turned, pixels
    rotation: int  # degrees clockwise by which the camera's pictures were turned
    focal: float  # picture widths
    k1: float
    k2: float
    middle: tuple[float, float]  # where the lens's axis meets the picture, from its middle, picture widths
    turn: tuple[tuple[float, float, float], ...]  # R, row by row


@dataclass(frozen=True)
class Area:
    """The part of the cylinder that the film shows."""

    left: float  # rad
    top: float
    width: float  # rad
    height: float
    density: float  # pixels for a radian, at the size of the pictures that were calibrated
    both: tuple[float, float, float, float]  # what both cameras see: left, right, top, bottom, rad


@dataclass(frozen=True)
class Tone:
    """What is done to one camera's samples: value · gain + offset, for luma and both chromas."""

    gain: float = 1.0
    offset: float = 0.0
    blue: float = 0.0
    red: float = 0.0


@dataclass(frozen=True)
class Quality:
    """How good a calibration is. Distances are pixels of the film at the size that was calibrated."""

    matches: int = 0  # that agree
    tracked: float = 0.0  # share of the textured points that both cameras see which fall together
    median_px: float = 0.0  # how far apart they are
    p95_px: float = 0.0
    coverage: float = 0.0  # share of all that the cameras see which the film shows
    luma_step: float = 0.0  # mean difference of luma along the seam


@dataclass(frozen=True)
class Calibration:
    """All that the panorama needs to know of two cameras."""

    left: Lens
    right: Lens
    area: Area
    warp: tuple[float, ...]  # of what is left between the cameras: see `media/panorama/cylinder.py`
    seam: tuple[float, ...]  # where the right camera takes over, rad, from the top to the bottom at equal distances
    tones: tuple[Tone, Tone]  # left, right
    quality: Quality
    verdict: CalibrationVerdict
    advice: tuple[str, ...] = field(default=())
    made_at: str = ""  # ISO 8601 UTC
    of: str = ""  # what it was measured on, in words
    program: str = ""  # the version of EZREC that made it

    def dumps(self) -> str:
        """The calibration as JSON."""
        return json.dumps({"version": VERSION, **asdict(self)}, sort_keys=True, indent=1)

    @classmethod
    def loads(cls, text: str | bytes) -> "Calibration":
        """What `dumps` wrote.

        Raises:
            BadMedia: it is none, or of a version that this one does not know.
        """
        try:
            raw: dict[str, Any] = json.loads(text)
            if raw.get("version") != VERSION:
                raise BadMedia(f"the calibration is of version {raw.get('version')!r}, this program knows {VERSION}: "
                               "run `ezrec calibrate`")
            area = made_of(Area, raw["area"] | {"both": _numbers(raw["area"]["both"])})
            return made_of(cls, raw | {
                "left": _lens(raw["left"]), "right": _lens(raw["right"]), "area": area,
                "warp": _numbers(raw["warp"]), "seam": _numbers(raw["seam"]),
                "tones": tuple(made_of(Tone, tone) for tone in raw["tones"]),
                "quality": made_of(Quality, raw["quality"]), "verdict": CalibrationVerdict(raw["verdict"]),
                "advice": tuple(map(str, raw.get("advice", ())))})
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadMedia(f"the calibration cannot be read ({error!r}): run `ezrec calibrate`") from error

    @property
    def id(self) -> str:
        """What the calibration is called: twelve digits of its content's SHA-256."""
        return hashlib.sha256(self.dumps().encode()).hexdigest()[:12]


def better(new: Calibration, old: Calibration | None) -> bool:
    """Whether `new` takes the place of `old`: a good one always does, a poor one unless there is a good one."""
    if new.verdict is CalibrationVerdict.REFUSED:
        return False
    return new.verdict is CalibrationVerdict.GOOD or old is None or old.verdict is not CalibrationVerdict.GOOD


def misfit(lens: Lens, size: tuple[int, int], rotation: int) -> str | None:
    """Why a calibrated camera is not that of turned pictures of this `size`, in words; None if it is."""
    if rotation != lens.rotation:
        return f"it was calibrated turned by {lens.rotation} degrees, and is turned by {rotation} now"
    was, now = lens.size[1] / lens.size[0], size[1] / size[0]
    if abs(now / was - 1) > ALIKE:
        return f"it was calibrated with {lens.size[0]}x{lens.size[1]} pixels, and gives {size[0]}x{size[1]} now"
    return None


def _lens(raw: dict[str, Any]) -> Lens:
    turn = tuple(_numbers(row) for row in raw["turn"])
    if len(turn) != 3 or any(len(row) != 3 for row in turn):
        raise ValueError("turn")
    return made_of(Lens, raw | {"size": tuple(map(int, raw["size"])), "middle": _numbers(raw["middle"]), "turn": turn})


def _numbers(values: Sequence[Any]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
