"""A Raspberry Pi for tests: the real Picamera2 on the stand-in for libcamera (`standin/`)."""

import json
import os
import sys
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from ezrec.domain.clock import SystemClock

STANDIN = Path(__file__).parent / "standin"
SIDES = ("left", "right")


def environment(faults: Path) -> dict[str, str]:
    """What a program needs to find the stand-in; `faults` is read while it runs. Goes over PYTHONPATH."""
    return {"PYTHONPATH": os.pathsep.join(filter(None, (str(STANDIN), os.environ.get("PYTHONPATH")))),
            "STANDIN_FAULTS": str(faults)}


def here() -> None:
    """Let this process import the stand-in."""
    if str(STANDIN) not in sys.path:
        sys.path.insert(0, str(STANDIN))


def say(faults: Path, **cameras: Mapping[str, Any]) -> None:
    """Tell the cameras to misbehave, e.g. left={"stalled": True}; without arguments: to behave."""
    temporary = faults.with_suffix(".new")
    temporary.write_text(json.dumps(cameras), "utf-8")
    temporary.replace(faults)


def pi_pair(sides: tuple[str, ...] = SIDES, wanted: Mapping[str, Any] | None = None, exposure: Any = "auto",
            settle_s: float = 0.3, **asked: Any) -> list[Any]:
    """Cameras as the settings would make them, small and quick."""
    here()
    from ezrec.adapters.cameras.pi.camera import Asked, PicameraCamera  # noqa: PLC0415
    from ezrec.adapters.cameras.pi.exposure import ExposureMatcher  # noqa: PLC0415
    from ezrec.adapters.cameras.pi.identity import Remembered, Wanted  # noqa: PLC0415
    from ezrec.adapters.cameras.pi.pair import Pair  # noqa: PLC0415

    matcher = ExposureMatcher(exposure, len(sides), settle_s)
    pair = Pair(wanted or {side: Wanted() for side in sides}, matcher, Remembered())
    wish = {"size": (320, 180), "rate": Fraction(50), "bitrate": 1_000_000, "keyframe_s": 0.2} | asked
    return [PicameraCamera(side, Asked(**wish), pair, SystemClock()) for side in sides]
