"""The cameras: of a recorder that runs by their frames, as it says itself; else which are there and who holds them."""

from collections.abc import Iterator, Mapping
from typing import Any

import psutil

from ezrec.actions.checks import Found, Grade, Look, Surroundings
from ezrec.adapters.cameras.pi import factory
from ezrec.adapters.cameras.pi.holders import holders
from ezrec.domain.errors import CameraLost

STILL = "look at its cable; if that does not help, switch the box off and on"


def recorder(around: Surroundings) -> Iterator[Found]:
    """Whether the recorder runs on this data folder, and what it says is amiss."""
    said = around.recorder
    if said is None:
        yield Found("recorder", Grade.OK, "does not run on this data folder", facts={"recorder": None})
        return
    yield Found("recorder", Grade.OK, f"runs (process {said['pid']})", facts={"recorder": dict(said)})
    for trouble in said.get("degraded") or ():
        yield Found("recorder", Grade.WARNING, f"it says: {trouble}", "`ezrec status` tells more")


def cameras(around: Surroundings) -> Iterator[Found]:
    """How each camera is."""
    if around.recorder is not None:
        yield from by_frames(around.recorder.get("cameras") or {})
        return
    source = around.settings.cameras.source
    try:
        facts = dict(around.describe())
    except CameraLost as error:
        yield Found("cameras", Grade.BAD, str(error), "look at the cables, then switch the box off and on",
                   {"source": source})
        return
    found, wanted = facts.get("found"), 2 if around.settings.cameras.dual else 1
    if found is None:
        yield Found("cameras", Grade.OK, source, facts={"source": source} | facts)
        return
    words = "; ".join(f"{at}: {one}" for at, one in enumerate(found)) or "none"
    yield Found("cameras", Grade.OK if len(found) >= wanted else Grade.BAD, f"{source}; found: {words}",
               "" if len(found) >= wanted else f"{wanted} are wanted: look at the cables, with the box switched off",
               {"source": source} | facts)


def software(around: Surroundings) -> Iterator[Found]:
    """The versions of what a Pi's pictures come through, and whether they can be encoded."""
    if around.settings.cameras.source != "picamera2":
        return
    factory.must_be_here()
    versions = factory.software()
    words = ", ".join(f"{name} {version}" for name, version in versions.items())
    if versions["encoder"] == "libx264" and (wrong := factory.smoke()):
        yield Found("camera software", Grade.BAD, f"encoding fails ({wrong}) with {words}", factory.INSTALL)
    elif untried := factory.untried(versions):
        tried = "; ".join(f"{name} was tried from {oldest} to {newest}" for name, (oldest, newest) in untried.items())
        yield Found("camera software", Grade.WARNING, f"{words}; {tried}",
                    "look at the film that `ezrec check --record 10s` makes")
    else:
        yield Found("camera software", Grade.OK, words)


def by_frames(said: Mapping[str, Mapping[str, Any]]) -> Iterator[Found]:
    """How the cameras of a running recorder are, as its state says."""
    for name, one in said.items():
        state, note = str(one.get("state")), f"; {one['note']}" if one.get("note") else ""
        age = "" if one.get("last_frame_ms") is None else f", the newest frame {one['last_frame_ms']} ms old"
        if state == "lost":
            yield Found(f"camera {name}", Grade.BAD, f"gives no frames{note}", STILL)
        elif state == "off":
            yield Found(f"camera {name}", Grade.OK, f"is off until it is wanted{note}")
        else:
            yield Found(f"camera {name}", Grade.OK, f"is {state}{age}{note}")


def held(around: Surroundings) -> Iterator[Found]:
    """Who else holds camera devices."""
    if around.settings.cameras.source != "picamera2":
        return
    own = _recorder_processes(around.recorder)
    others = [one for one in holders(around.proc) if one.pid not in own]
    for one in others:
        yield Found("cameras held", Grade.BAD, one.words.removesuffix(f": {one.remedy}"), one.remedy)
    if not others:
        yield Found("cameras held", Grade.OK, "by nobody else")


def _recorder_processes(said: Mapping[str, Any] | None) -> set[int]:
    if said is None:
        return set()
    pid = int(said["pid"])
    try:
        return {pid, *(one.pid for one in psutil.Process(pid).children(recursive=True))}
    except psutil.Error:
        return {pid}


LOOKS = (Look("recorder", recorder), Look("cameras", cameras, 30.0), Look("camera software", software, 30.0),
         Look("cameras held", held, by_itself=True))
