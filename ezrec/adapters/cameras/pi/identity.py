"""Which camera is left and which is right: bound by what stays put, never by the luck of enumeration.

libcamera tells no serial number. What stays is the id, which is the place in the device tree that the cable goes to.
A setting may hold the whole id, its end (what older settings call a serial), a model that only one camera has, or the
camera's place in the list. Where the settings say nothing, it is remembered which camera was which when all were
there, so that one that is missing does not make the other change sides.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from ezrec.domain.errors import CameraLost
from ezrec.files import write_atomically


@dataclass(frozen=True)
class DetectedCamera:
    """One camera that libcamera lists."""

    id: str
    model: str
    number: int  # libcamera's own; told for people only

    @property
    def words(self) -> str:
        """For people."""
        return f"{self.model} at {self.id}"


@dataclass(frozen=True)
class Wanted:
    """What the settings say of one side; both empty: any camera that no other side asks for."""

    id: str = ""
    model: str = ""


class Remembered:
    """Which camera was which when all were there last, in a small file. A lost file costs nothing but the memory."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._ids: dict[str, str] | None = None

    def ids(self) -> dict[str, str]:
        """The id of each side's camera; empty if nothing is remembered."""
        if self._ids is None:
            self._ids = {}
            if self._path is not None:
                with suppress(OSError, ValueError):
                    read = json.loads(self._path.read_text("utf-8"))
                    self._ids = {str(side): str(one) for side, one in dict(read).items()}
        return self._ids

    def keep(self, ids: Mapping[str, str]) -> None:
        """Remember them from now on."""
        if ids == self.ids():
            return
        self._ids = dict(ids)
        if self._path is not None:
            with suppress(OSError):  # it matters on a bad day only
                write_atomically(self._path, json.dumps(self._ids).encode())


def bind(found: Sequence[DetectedCamera], wanted: Mapping[str, Wanted],
         remembered: Mapping[str, str] = MappingProxyType({})) -> dict[str, int]:
    """The place in `found` of each side's camera; sides whose camera is missing are left out.

    `Picamera2(n)` takes this place, not `DetectedCamera.number`. A side that asks for nothing gets the camera that is
    remembered for it (side → id). Else it gets one that nobody asks for and that is remembered for no other side, in
    the order of the list. A side that asks and gets nothing leaves no room for others.

    Raises:
        CameraLost: the settings cannot be meant like this: two sides mean one camera, an id or model fits several, or
            two cameras are swapped. Says what was found and which lines to write.
    """
    bound: dict[str, int] = {}
    for side, one in wanted.items():
        if not one.id and not one.model:
            continue
        places = _matches(found, one)
        if len(places) > 1:
            raise CameraLost(f"cameras.{side} fits {len(places)} cameras. {advice(found, wanted)}")
        if places:
            bound[side] = places[0]
    if len(set(bound.values())) < len(bound):
        raise CameraLost(f"{' and '.join(bound)} are set to the same camera. {advice(found, wanted)}")
    _not_swapped(found, wanted, bound)
    return bound | _rest(found, [side for side, one in wanted.items() if not one.id and not one.model], bound,
                         remembered)


def _rest(found: Sequence[DetectedCamera], sides: Sequence[str], bound: Mapping[str, int],
          remembered: Mapping[str, str]) -> dict[str, int]:
    """The cameras of the sides that ask for nothing, from those that are left."""
    free = [place for place in range(len(found)) if place not in bound.values()]
    got = {side: place for side in sides for place in free if found[place].id == remembered.get(side)}
    rest = iter([place for place in free if place not in got.values()])
    for side in sides:
        if side not in got and (place := next(rest, None)) is not None:
            got[side] = place
    return got


def missing(found: Sequence[DetectedCamera], wanted: Mapping[str, Wanted], side: str) -> str:
    """Why a side has no camera, for people: what is asked for, what is there, and what to write."""
    one = wanted[side]
    asked = " ".join(filter(None, (one.model and f"model {one.model!r}", one.id and f"id {one.id!r}"))) or "any"
    return f"camera {side} ({asked}) is not there. {advice(found, wanted)}"


def advice(found: Sequence[DetectedCamera], wanted: Mapping[str, Wanted]) -> str:
    """What was found, and the lines to put into the settings."""
    if not found:
        return "No camera was found: look at the ribbon cables, and whether `rpicam-hello --list-cameras` shows any"
    listed = "; ".join(f"{place}: {one.words}" for place, one in enumerate(found))
    lines = "; ".join(f'{side}.id = "{one.id}"' for side, one in zip(wanted, found, strict=False))
    return f"Found {listed}. Settings that would fit, below [cameras]: {lines}"


def _matches(found: Sequence[DetectedCamera], one: Wanted) -> list[int]:
    """The places that fit a side's wish: by the whole id, by its end, by a model, by place; the first that fits any."""
    model = {place for place, camera in enumerate(found) if not one.model or camera.model == one.model}
    if not one.id:
        return sorted(model)
    for fits in (
        lambda _, camera: camera.id == one.id,
        lambda _, camera: camera.id.endswith(one.id) and not one.id.isdecimal(),
        lambda _, camera: camera.model == one.id,
        lambda place, _: str(place) == one.id,
    ):
        places = [place for place, camera in enumerate(found) if fits(place, camera)]
        if places:
            return places  # the model is looked at afterwards: one that differs means swapped cables
    return []


def _not_swapped(found: Sequence[DetectedCamera], wanted: Mapping[str, Wanted], bound: Mapping[str, int]) -> None:
    """Refuse a camera of another model than its side asks for: somebody has swapped the cables.

    Raises:
        CameraLost: a side's camera has the wrong model.
    """
    for side, place in bound.items():
        model = wanted[side].model
        if model and found[place].model != model:
            others = [name for name, other in bound.items() if name != side and found[other].model == model]
            swapped = f": {side} and {others[0]} seem to be swapped" if others else ""
            raise CameraLost(f"camera {side} should be a {model} but is a {found[place].words}{swapped}. "
                             f"{advice(found, wanted)}")
