"""What a film is made of: recipe, canvas, chunks, and what rendering a chunk tells about it.

The recipe is everything that decides a film's bytes. It is frozen when the first chunk is planned and stored with the
film, so that settings changed in mid-film count for the next one and a film made again comes out the same.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from fractions import Fraction
from typing import Any

from ezrec.domain.certificate import Certificate
from ezrec.domain.clock import SECOND
from ezrec.domain.loss import Loss
from ezrec.domain.stages import Stage
from ezrec.domain.stored import made_of


class Rung(StrEnum):
    """The fallback ladder of a chunk, best first; a chunk that fails three times is tried on the next rung."""

    FULL = "full"  # everything the recipe asks for
    FEATHER = "feather"  # of a panorama: the views cross-faded where they would overlap
    PLAIN = "side_by_side"  # no feather, no logos
    LEFT = "left_only"  # the left view alone, the right half filled
    RIGHT = "right_only"  # the right view alone, the left half filled


@dataclass(frozen=True)
class View:
    """Where one camera's picture lies on the canvas, in pixels; all numbers even."""

    camera: str
    x: int
    width: int
    height: int
    rotation: int = 0  # degrees clockwise, applied before scaling: 0, 90, 180, 270


@dataclass(frozen=True)
class Calibrated:
    """The calibration that a panorama is drawn by."""

    path: str  # a file kept by EZREC, named for its content
    sha256: str
    sizes: tuple[tuple[int, int], tuple[int, int]]  # of the left and the right camera's pictures, turned, pixels
    id: str = ""
    verdict: str = ""  # good or poor, and two of its figures, for the certificate
    tracked: float = 0.0
    p95_px: float = 0.0


@dataclass(frozen=True)
class Light:
    """How much lighter one chunk finds the left camera than its calibration did, and how much bluer and redder."""

    luma: float = 0.0  # natural logarithm
    blue: float = 0.0  # steps of 8 bits
    red: float = 0.0


@dataclass(frozen=True)
class Canvas:
    """The film's fixed picture: size in pixels, the views on it, left to right, and the layout that draws them.

    Two neighbouring views may overlap: the second one's `x` is then smaller than the first one's right edge, and the
    strip between is feathered (a linear cross-fade).
    """

    width: int
    height: int
    views: tuple[View, ...]
    layout: str = "feather"  # of `media/geometry.py`
    calibration: Calibrated | None = None  # of a panorama


def ladder(canvas: Canvas) -> list[Rung]:
    """The rungs that a chunk on this canvas can be rendered on, best first.

    Every ladder begins with FULL, whatever a layout makes of it: a chunk's row is planned on that rung. What a layout
    adds of its own comes after it.
    """
    single = [Rung.LEFT, Rung.RIGHT] if len(canvas.views) > 1 else []
    crossfaded = [Rung.FEATHER] if canvas.calibration else []
    return [Rung.FULL, *crossfaded, Rung.PLAIN, *single]


@dataclass(frozen=True)
class EncoderOptions:
    """libx264 options of every chunk; `threads` is part of them because it changes the bytes.

    With one thread a chunk rendered again has the same bytes always, with more only where `maxrate` does not bind.
    """

    preset: str = "veryfast"
    crf: int = 23
    maxrate: int = 12_000_000  # bit/s
    bufsize: int = 24_000_000  # bit
    keyint: int = 60  # ticks: the longest closed group of pictures
    bframes: int = 2
    threads: int = 2

    @property
    def reorder(self) -> int:
        """How many ticks decoding runs ahead of showing (x264 with `b_pyramid=none` reorders by one)."""
        return 1 if self.bframes else 0


@dataclass(frozen=True)
class Logo:
    """One logo as the film shows it. `path` is a file kept by EZREC, named for its content."""

    name: str
    path: str
    sha256: str
    position: str  # top_left, top_right, bottom_left, bottom_right
    width: int  # pixels on the canvas, even
    margin: int  # pixels to the canvas's edge and to a neighbour in the same corner
    opacity: float = 1.0


@dataclass(frozen=True)
class Intro:
    """The clip in front, already normalised to the canvas, rate and encoder: the film's chunk 0."""

    path: str
    sha256: str  # of the clip as the venue gave it
    ticks: int
    sound: bool
    made_sha256: str = ""  # of the file at `path`; empty if an older version made it
    left_out: str = ""  # what of the clip could not be used, in words for the certificate


RECIPE_VERSION = 2
"""Of the recipe's JSON. 1 (written by EZREC 0.1.0): neither `version` nor `canvas.layout`."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a film's bytes."""

    rate: Fraction  # ticks per second
    canvas: Canvas
    encoder: EncoderOptions
    logos: tuple[Logo, ...] = ()
    intro: Intro | None = None
    part_size: int = 8 << 20  # bytes
    index_reserve: int = 1 << 20  # bytes kept free in front of the film for its index
    skipped: tuple[str, ...] = ()  # what was asked for and could not be used, in words for the certificate
    fallback: str = ""  # why the film has not the layout that was asked for, in words

    def dumps(self) -> str:
        """The recipe as canonical JSON (sorted keys), with its version, for the film's row."""
        plain = asdict(self) | {"rate": f"{self.rate.numerator}/{self.rate.denominator}", "version": RECIPE_VERSION}
        return json.dumps(plain, sort_keys=True)

    @classmethod
    def loads(cls, text: str) -> "Recipe":
        """The recipe that this version or another one wrote.

        Keys that are missing have their defaults, and keys that are not known are left out: films under way survive an
        upgrade, and a way back.
        """
        raw: dict[str, Any] = json.loads(text)
        canvas = {**raw["canvas"], "views": tuple(made_of(View, view) for view in raw["canvas"]["views"]),
                  "calibration": _calibrated(raw["canvas"].get("calibration"))}
        return made_of(cls, raw | {
            "rate": Fraction(raw["rate"]), "canvas": made_of(Canvas, canvas),
            "encoder": made_of(EncoderOptions, raw["encoder"]),
            "logos": tuple(made_of(Logo, logo) for logo in raw.get("logos", ())),
            "intro": made_of(Intro, raw["intro"]) if raw.get("intro") else None,
            "skipped": tuple(raw.get("skipped", ()))})


def _calibrated(raw: dict[str, Any] | None) -> Calibrated | None:
    if raw is None:
        return None
    left, right = raw["sizes"]
    return made_of(Calibrated, raw | {"sizes": ((left[0], left[1]), (right[0], right[1]))})


@dataclass(frozen=True)
class Footage:
    """One segment file as a chunk uses it: only frames whose sensor time lies in [start_us, end_us) count."""

    path: str
    start_us: int  # run-monotonic µs of the file's pts 0
    end_us: int  # run-monotonic µs; what the file holds after it is not to be trusted
    gaps: tuple[tuple[int, int], ...] = ()  # [from, to) in run-monotonic µs inside the file where no frame came


def tick_us(anchor_us: int, tick: int, rate: Fraction) -> int:
    """The run-monotonic time in µs of `tick` on the grid that starts at `anchor_us`; `tick` may be negative."""
    return anchor_us + round(tick * SECOND / rate)


@dataclass(frozen=True)
class ChunkJob:
    """All that a worker needs to render one chunk: files and numbers, no state."""

    recipe: Recipe
    anchor_us: int  # run-monotonic µs of the run's tick 0
    first_tick: int
    ticks: int
    footage: dict[str, tuple[Footage, ...]]  # camera → its segments in order of time
    out: str  # the chunk's file; written beside it and renamed, fsynced
    rung: Rung = Rung.FULL
    poster: str | None = None  # where to write a JPEG of the chunk's middle picture, if asked for
    accept_loss: bool = False  # footage that may come back has been waited for: go on without it


@dataclass(frozen=True)
class CameraShare:
    """What one camera gave to a chunk, counted in ticks."""

    shown: int = 0  # ticks with a picture of this camera
    filled: int = 0  # ticks without: its half was filled
    repeats: int = 0  # ticks that show the same frame as the tick before
    skips: int = 0  # frame times that lie between two shown frames and are not shown (drops included)
    drops: int = 0  # frame times at which the camera delivered nothing, though it did before and after
    corrupt: int = 0  # packets or frames that could not be decoded
    first_us: int | None = None  # sensor time of the first and the last frame shown, run-monotonic µs
    last_us: int | None = None


@dataclass(frozen=True)
class ChunkReport:
    """What a worker tells of a chunk it rendered."""

    bytes: int
    cameras: dict[str, CameraShare]
    both: int = 0  # ticks that show both cameras
    apart: int = 0  # of these, ticks whose halves are more than half a frame and 2 ms apart by sensor time
    worst_us: int = 0  # the largest distance between the halves, µs
    lost: tuple[Loss, ...] = ()  # what of the footage could not be read; its camera's view is filled there
    sha256: str = ""  # of the chunk's file; empty if an older version made it
    lights: tuple[Light, ...] = ()  # of a panorama: at the chunk's beginning and at its end

    def dumps(self) -> str:
        """The report as JSON, for the chunk's row."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def loads(cls, text: str) -> "ChunkReport":
        """The report that this version or another one wrote."""
        raw = json.loads(text)
        cameras = {name: made_of(CameraShare, share) for name, share in raw["cameras"].items()}
        lost = tuple(made_of(Loss, loss) for loss in raw.get("lost", ()))
        lights = tuple(made_of(Light, light) for light in raw.get("lights", ()))
        return made_of(cls, raw | {"cameras": cameras, "lost": lost, "lights": lights})


@dataclass(frozen=True)
class Film:
    """A film's row: one booking's product and how far it is. Instants are UTC µs."""

    booking_id: str
    recording_id: str  # made here; names the film's folder
    generation: int
    stage: Stage
    starts_at: int  # the window, rolls included
    ends_at: int
    recipe: Recipe | None
    object_key: str | None
    upload_id: str | None
    url: str | None
    bytes: int | None
    sha256: str | None
    attempts: int
    retry_at: int | None
    parked_step: str | None
    parked_reason: str | None
    certificate: Certificate | None
    changed_at: int
    sums: tuple[str, ...] = ()  # SHA-256 of each part of the closed film, as it was joined; gone once it is stored
    also_parked: Mapping[str, str] = field(default_factory=dict)  # step → reason, beside the one that was parked first
    passing: Mapping[str, int] = field(default_factory=dict)  # step that is parked → when it is tried again by itself

    @property
    def parked(self) -> dict[str, str]:
        """The steps that wait for a person, each with its reason."""
        first = {self.parked_step: self.parked_reason or ""} if self.parked_step else {}
        return first | dict(self.also_parked)


def recipe_of(film: Film) -> Recipe:
    """The recipe of a film whose first chunk is planned.

    Raises:
        ValueError: it has none yet.
    """
    if film.recipe is None:
        raise ValueError(f"the film of {film.booking_id} has no recipe yet")
    return film.recipe
