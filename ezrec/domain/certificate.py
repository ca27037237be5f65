"""A film's certificate: what the film truly holds. It is written once (`certify.py`) and read by people and programs.

All durations are seconds, all instants ISO 8601 UTC. `to_json` and `from_json` are the only writer and reader of the
stored form; what another version wrote is read as far as this one knows it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from typing import Any

from ezrec.domain.stored import made_of, values_of


@dataclass(frozen=True)
class CameraPart:
    """What one camera gave to the film."""

    minutes: float = 0.0  # that show it
    shown_ticks: int = 0
    filled_ticks: int = 0  # ticks without it: its half was filled
    repeats: int = 0  # ticks that show the same frame as the tick before
    skips: int = 0  # frame times that lie between two shown frames and are not shown
    drops: int = 0  # frame times at which the camera delivered nothing
    corrupt: int = 0  # packets or frames that could not be decoded
    fps: float | None = None  # as its sensor's times tell
    drift_ppm: int | None = None  # how far that is from what it was asked for


@dataclass(frozen=True)
class Gap:
    """A time of the window that a camera, or `both`, did not see."""

    camera: str
    start: str = field(metadata={"key": "from"})
    end: str = field(metadata={"key": "to"})
    seconds: float
    at_s: float  # where in the film the cut lies, behind the intro


@dataclass(frozen=True)
class Sync:
    """How well the two halves belong together."""

    ticks_of_both: int = 0
    apart: int = 0  # of these, ticks whose halves are more than half a frame and 2 ms apart by sensor time
    within: float | None = None  # the share that is not; None: no tick shows both
    worst_ms: float = 0.0


@dataclass(frozen=True)
class Fallback:
    """A chunk that was made on a lower rung of the ladder; chunk 0 stands for the whole film."""

    chunk: int
    rung: str


@dataclass(frozen=True)
class CalibrationUsed:
    """What a panorama was drawn by."""

    id: str = ""
    verdict: str = ""  # good or poor
    tracked: float = 0.0  # share of what both cameras see that falls together
    p95_px: float = 0.0  # how far apart all but a twentieth of it lies at most


@dataclass(frozen=True)
class StoredObject:
    """The film as the storage holds it, verified."""

    key: str = ""
    bytes: int = 0
    etag: str = ""
    sha256: str = ""  # composite: over the parts' binary SHA-256s
    part_bytes: int = 0
    poster_url: str | None = None
    live_bytes: int | None = None  # stored before the film was closed; None: not known any more


@dataclass(frozen=True)
class Certificate:
    """What a film truly holds."""

    window: tuple[str, str] = ("", "")
    film_seconds: float = 0.0
    intro_seconds: float = 0.0
    rate: Fraction = Fraction(30)
    picture: tuple[int, int] = (0, 0)  # width and height, pixels
    layout: str = "single"  # or wide
    cameras: Mapping[str, CameraPart] = field(default_factory=dict)
    drawn: str = ""  # how the views became one picture: panorama, feather or side_by_side
    calibration: CalibrationUsed | None = None  # of a panorama
    gaps: tuple[Gap, ...] = ()
    sync: Sync = Sync()
    fallbacks: tuple[Fallback, ...] = ()
    skipped_media: tuple[str, ...] = ()
    runs: int = 0
    generation: int = 1
    notes: tuple[str, ...] = ()
    object: StoredObject | None = None  # once it is stored

    def to_json(self) -> dict[str, Any]:
        """The certificate as JSON values."""
        plain = asdict(self) | {"rate": f"{self.rate.numerator}/{self.rate.denominator}",
                                "gaps": [values_of(gap) for gap in self.gaps]}
        for name in ("object", "calibration", "drawn"):
            if not plain[name]:
                del plain[name]
        return {key: list(value) if isinstance(value, tuple) else value for key, value in plain.items()}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Certificate":
        """The certificate that this version or another one wrote."""
        known = dict(raw)
        for name in ("window", "picture", "skipped_media", "notes"):
            known[name] = tuple(raw[name]) if name in raw else getattr(cls, name)
        known["rate"] = Fraction(raw.get("rate", cls.rate))
        known["cameras"] = {name: made_of(CameraPart, part) for name, part in raw.get("cameras", {}).items()}
        known["gaps"] = tuple(made_of(Gap, gap) for gap in raw.get("gaps", ()))
        known["sync"] = made_of(Sync, raw.get("sync", {}))
        known["fallbacks"] = tuple(made_of(Fallback, one) for one in raw.get("fallbacks", ()))
        known["calibration"] = made_of(CalibrationUsed, raw["calibration"]) if raw.get("calibration") else None
        known["object"] = made_of(StoredObject, raw["object"]) if raw.get("object") else None
        return made_of(cls, known)
