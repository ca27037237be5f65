"""An upgrade's trial: the new release is watched for a while, and the one before it comes back if it does not get
healthy.

What is known of it lies in a file, so that the watch goes on after a power cut. Steps of going back, each safe to do
again: stop; the store's copy, only if READY never came (what was recorded since belongs to the newer store, and older
releases can use that); the link and the units; the file goes; start.
"""

import json
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol

from ezrec.device import releases, store_copy
from ezrec.device.machine import State
from ezrec.device.places import Places
from ezrec.domain.errors import EzrecError
from ezrec.files import fsync_file, fsync_folder

READY_S = 180.0  # a release that is not ready by then never will be; as the unit's TimeoutStartSec
LOOK_EVERY_S = 1.0
MOST_ENDS = 2  # so many ends of the program in the time are an illness; a camera that hangs may end it once
FILE, INSTALLER = "trial.json", "installer.whl"
ENVIRONMENT = "environment"  # of the recorder while it is on trial; the unit reads it if it is there

Say = Callable[[str], None]


class Unit(Protocol):
    """What a trial does with the unit; see `machine.Service`."""

    def state(self) -> State: ...  # noqa: D102 - as in Service
    def start(self) -> None: ...  # noqa: D102
    def stop(self) -> None: ...  # noqa: D102
    def reload(self) -> None: ...  # noqa: D102


@dataclass(frozen=True)
class Trial:
    """An upgrade that has not proved itself yet."""

    old: str
    new: str
    data: str  # data folder
    copy: str | None  # the store as it was before
    watch_s: float
    ready_s: float = READY_S
    ready: bool = False  # READY=1 came once


def begin(places: Places, trial: Trial, installer: Path) -> None:
    """Write down that a trial begins, before anything is changed. Raises OSError."""
    places.trial.mkdir(exist_ok=True)
    shutil.copyfile(installer, places.trial / INSTALLER)
    fsync_file(places.trial / INSTALLER)
    (places.trial / ENVIRONMENT).write_text("ON_TRIAL=1\n", "ascii")
    fsync_file(places.trial / ENVIRONMENT)
    _write(places.trial / FILE, asdict(trial))


def read(places: Places) -> Trial | None:
    """The trial that is going on. Raises EzrecError if its file cannot be understood."""
    try:
        return Trial(**json.loads((places.trial / FILE).read_text("utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise EzrecError(f"{places.trial / FILE} cannot be read: {error}; remove {places.trial} to end the trial") \
            from error


def outcome(places: Places) -> dict[str, str]:
    """What became of the last upgrade: `new`, `old`, `outcome` (kept or gone back) and `why`."""
    with suppress(OSError, ValueError):
        return dict(json.loads(places.outcome.read_text("utf-8")))
    return {}


def watch(places: Places, unit: Unit, say: Say, *, mono: Callable[[], float] = time.monotonic,
          sleep: Callable[[float], None] = time.sleep) -> bool:
    """Watch the trial that is going on to its end; whether the new release stays (or nothing is on trial).

    Raises:
        EzrecError: systemd cannot be asked.
        OSError: the disk fails. Called again it goes on.
    """
    trial = read(places)
    if trial is None:
        return True
    why: str | None
    if releases.current(places) != trial.new:
        why = "the upgrade was cut off before the new release was started"
    else:
        trial, why = _illness(places, trial, unit, say, mono, sleep)
    if why is None:
        _end(places, trial, "kept", f"healthy for {trial.watch_s:.0f} s")
        say(f"release {trial.new} is healthy and stays")
        return True
    say(f"release {trial.new} goes: {why}; back to {trial.old}")
    _go_back(places, trial, unit, why)
    return False


def _illness(places: Places, trial: Trial, unit: Unit, say: Say, mono: Callable[[], float],
             sleep: Callable[[float], None]) -> tuple[Trial, str | None]:
    """Watch; the trial as it is then, and why the release is not healthy, or None."""
    began_s, seen, ends = mono(), unit.state().restarts, 0
    while True:
        state = unit.state()
        ends += max(0, state.restarts - seen)
        seen = state.restarts
        if state.active and not trial.ready:
            trial = replace(trial, ready=True)
            _write(places.trial / FILE, asdict(trial))
            say(f"release {trial.new} is ready after {mono() - began_s:.0f} s; it is watched for {trial.watch_s:.0f} s")
        if ends >= MOST_ENDS:
            return trial, f"its program ended {ends} times within {mono() - began_s:.0f} s"
        if not trial.ready and mono() - began_s > trial.ready_s:
            return trial, f"it was not ready after {trial.ready_s:.0f} s"
        if trial.ready and mono() - began_s > trial.watch_s:
            return trial, None if state.active else f"it is {state.doing} at the end of its trial"
        sleep(LOOK_EVERY_S)


def _go_back(places: Places, trial: Trial, unit: Unit, why: str) -> None:
    unit.stop()
    if trial.copy and not trial.ready and releases.current(places) == trial.new:
        store_copy.put_back(Path(trial.copy), Path(trial.data), trial.new)
    releases.activate(places, trial.old)
    unit.reload()
    _end(places, trial, "gone back", why)
    unit.start()


def _end(places: Places, trial: Trial, word: str, why: str) -> None:
    _write(places.outcome, {"new": trial.new, "old": trial.old, "outcome": word, "why": why})
    (places.trial / ENVIRONMENT).unlink(missing_ok=True)
    (places.trial / FILE).unlink()
    fsync_folder(places.trial)


def _write(path: Path, value: object) -> None:
    """Durably: the old text or the new one."""
    fresh = path.with_name(f"{path.name}.new")
    with fresh.open("w", encoding="utf-8") as file:
        json.dump(value, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    fsync_folder(path.parent)
