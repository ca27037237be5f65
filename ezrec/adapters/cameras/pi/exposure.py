"""Two cameras that expose alike: what each has come to by itself is made one, and held.

The seam of a wide film shows where one half is brighter or warmer than the other. With `equal`, both cameras are left
alone until they have settled, and then get the average of what they came to; with `hold`, each keeps its own. Light
that changes later changes the film; `auto` leaves the cameras to themselves.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from ezrec.domain.clock import SECOND

Mode = Literal["auto", "hold", "equal"]
OTHER_US = 3 * SECOND  # how much longer one camera waits for the other
AUTOMATIC = {"ExposureTime": 0, "AnalogueGain": 0.0, "AwbEnable": True}
"""Controls that give a camera its own way again. Picamera2 turns the zeros into the modes that libcamera wants:
https://github.com/raspberrypi/picamera2/pull/1255
"""


@dataclass(frozen=True)
class Exposure:
    """How a camera exposes."""

    exposure_us: float
    gain: float
    colours: tuple[float, float]  # gains of red and blue

    @classmethod
    def of(cls, metadata: Mapping[str, Any]) -> Self | None:
        """From a frame's metadata; None if it does not tell."""
        try:
            red, blue = metadata["ColourGains"]
            return cls(float(metadata["ExposureTime"]), float(metadata["AnalogueGain"]), (float(red), float(blue)))
        except (KeyError, TypeError, ValueError):
            return None

    def controls(self) -> dict[str, Any]:
        """The controls that hold it. Setting a time, a gain and colours turns the automatic off."""
        return {"ExposureTime": round(self.exposure_us), "AnalogueGain": self.gain, "ColourGains": self.colours}


class ExposureMatcher:
    """Decides, for all cameras of the process, when to hold what. Called from each camera's own thread."""

    def __init__(self, mode: Mode, sides: int, settle_s: float) -> None:
        self._mode, self._sides, self._settle_us = mode, sides, round(settle_s * SECOND)
        self._lock = threading.Lock()
        self._seen: dict[str, Exposure] = {}  # what each camera came to, once settled
        self._held: dict[str, Exposure] = {}
        self._one: Exposure | None = None  # what both hold

    def controls_for(self, side: str, seen: Exposure | None, since_start_us: int) -> dict[str, Any] | None:
        """The controls to set on `side` now, if any; `seen` is its newest exposure."""
        with self._lock:
            if self._mode == "auto" or side in self._held:
                return None
            if self._one is not None:  # it was started again: it gets what the other one has
                return self._hold(side, self._one)
            if seen is None or since_start_us < self._settle_us:
                return None
            self._seen[side] = seen
            if self._mode == "hold":
                return self._hold(side, seen)
            if len(self._seen) < self._sides and since_start_us < self._settle_us + OTHER_US:
                return None
            self._one = average(list(self._seen.values()))
            return self._hold(side, self._one)

    def forget(self, side: str) -> None:
        """The camera was stopped; when the last one is, what was held is forgotten."""
        with self._lock:
            self._held.pop(side, None)
            self._seen.pop(side, None)
            if not self._held and not self._seen:
                self._one = None

    def holds(self, side: str) -> bool:
        """Whether a side's exposure is held."""
        with self._lock:
            return side in self._held

    def _hold(self, side: str, exposure: Exposure) -> dict[str, Any]:
        self._held[side] = exposure
        return exposure.controls()


def average(exposures: list[Exposure]) -> Exposure:
    """The middle of several exposures."""
    number = len(exposures)
    return Exposure(sum(one.exposure_us for one in exposures) / number, sum(one.gain for one in exposures) / number,
                (sum(one.colours[0] for one in exposures) / number, sum(one.colours[1] for one in exposures) / number))
