"""Looks: what `ezrec check` looks at, each with a verdict, a remedy and a limit. A file for each family of them.

Each look has a thread of its own, so that one that hangs (a card that dies, a name server, a firmware) costs nothing
but its own answer. A look changes nothing that stays.
"""

import asyncio
import inspect
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from ezrec.adapters.power import SYS, VCGENCMD
from ezrec.config import Settings
from ezrec.domain.clock import Clock, SystemClock
from ezrec.domain.errors import EzrecError
from ezrec.folders import DataFolder


class Grade(StrEnum):
    """How a thing is. Only what is bad keeps the recorder, a film or its row from coming out right."""

    OK = "ok"
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True)
class Found:
    """What a look saw of one thing: for people `words` and what helps, for machines `facts` as well."""

    about: str
    grade: Grade
    words: str
    remedy: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def problem(self) -> str:
        """The whole of it in one sentence."""
        return f"{self.about}: {self.words}" + (f"; {self.remedy}" if self.remedy else "")


@dataclass(frozen=True)
class Surroundings:
    """What looks are made on. The roots are parameters, so that any machine can be made up."""

    settings: Settings
    folder: DataFolder
    recorder: Mapping[str, Any] | None = None  # what the running one says of itself (`actions.state`)
    unusable: Callable[[], Sequence[str]] = tuple  # why this user cannot use the data folder
    describe: Callable[[], Mapping[str, Any]] = dict  # which cameras are there, and through which software
    clock: Clock = field(default_factory=SystemClock)
    proc: Path = Path("/proc")
    sys: Path = SYS
    dev: Path = Path("/dev")
    vcgencmd: str = VCGENCMD
    systemctl: str = "systemctl"

    @property
    def existing(self) -> Path:
        """The part of the data folder's path that is there."""
        return there(self.folder.root)

    @property
    def bytes_a_second(self) -> float:
        """What recording and its film put on the disk, by the settings."""
        cameras = self.settings.cameras
        return (cameras.bitrate * (2 if cameras.dual else 1) + self.settings.film.maxrate) / 8


@dataclass(frozen=True)
class Look:
    """One look. `see` is a function or a coroutine function, and runs on a thread of its own."""

    about: str
    see: Callable[[Surroundings], Any]
    limit_s: float = 10.0
    by_itself: bool = False  # the recorder makes it too: it is harmless beside recording, and nobody else watches it


def there(path: Path) -> Path:
    """The part of a path that exists."""
    return next(one for one in (path, *path.parents) if os.path.exists(one))  # noqa: PTH110 - no error


class Looking:
    """A look under way."""

    def __init__(self, look: Look, around: Surroundings) -> None:
        self.look = look
        self._around = around
        self._seen: list[Found] = []
        self._over, self._done = threading.Event(), threading.Event()  # it is; nobody need wait for it
        self._began = time.monotonic()
        threading.Thread(target=self._run, name=f"check {look.about}", daemon=True).start()

    def _run(self) -> None:
        self._seen = _careful(self.look, self._around)
        self._over.set()
        self._done.set()

    @property
    def hangs(self) -> bool:
        """Whether it is still under way though its time is over."""
        return not self._over.is_set() and time.monotonic() - self._began >= self.look.limit_s

    def give_up(self) -> None:
        """Nobody waits for it any more."""
        self._done.set()

    def result(self) -> list[Found]:
        """What it saw; that it took too long if its time is over first."""
        self._done.wait(max(0.0, self._began + self.look.limit_s - time.monotonic()))
        if self._over.is_set():
            return self._seen
        return [Found(self.look.about, Grade.BAD, f"no answer within {self.look.limit_s:g} s",
                      "look again; if it stays so, what is looked at hangs")]


def see_all(looks: Iterable[Look], around: Surroundings) -> tuple[list[Found], bool]:
    """Make looks beside each other: what they saw, in their order, and whether one still hangs. Blocks."""
    under_way = [Looking(look, around) for look in looks]
    seen = [one for looking in under_way for one in looking.result()]
    return seen, any(looking.hangs for looking in under_way)


def _careful(look: Look, around: Surroundings) -> list[Found]:
    try:
        seen = look.see(around)
        return list(asyncio.run(_limited(seen, look.limit_s)) if inspect.isawaitable(seen) else seen)
    except TimeoutError:
        return [Found(look.about, Grade.BAD, f"no answer within {look.limit_s:g} s")]
    except (EzrecError, OSError) as error:
        return [Found(look.about, Grade.BAD, str(error))]
    except Exception as error:  # noqa: BLE001 - a bug in one look must not hide what the others saw
        return [Found(look.about, Grade.BAD, f"this look fails: {type(error).__name__}: {error}",
                     "this is a mistake in EZREC; please report it")]


async def _limited(seen: Any, limit_s: float) -> Any:
    async with asyncio.timeout(limit_s):
        return await seen
