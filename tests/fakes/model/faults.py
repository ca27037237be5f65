"""What may fail while a model runs: each fault is asked for by name, and strikes the next jobs of its kind."""

import errno
import sqlite3
from collections.abc import Callable
from concurrent.futures import Executor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from typing import Any

from ezrec.domain.errors import BadMedia, FilmAway, FilmDamaged, FootageAway, ParkError, RetryError, UploadGone
from tests.fakes.model.loop import Job


def _os_error(number: int) -> Callable[[], Exception]:
    return lambda: OSError(number, "made up")


def _locked() -> Exception:
    error = sqlite3.OperationalError("database is locked")
    error.sqlite_errorcode = sqlite3.SQLITE_BUSY
    return error


class Hung(Exception):
    """A worker that never answers."""


class Gone(Exception):
    """All of a chunk's footage cannot be read."""


UNFORESEEN: dict[str, Callable[[], Exception]] = {"unforeseen": lambda: ValueError("a bug"),
                                                  "no memory": _os_error(errno.ENOMEM)}
WAYS: dict[str, dict[str, Callable[[], Exception]]] = {
    "worker": UNFORESEEN | {
        "died": lambda: BrokenProcessPool("made up"), "bad media": lambda: BadMedia("made up"),
        "memory": MemoryError, "away": lambda: FootageAway("made up"), "gone": Gone,
        "hung": Hung, "retry": lambda: RetryError("made up"), "disk": _os_error(errno.EIO)},
    "join": UNFORESEEN | {"disk full": _os_error(errno.ENOSPC), "too large": _os_error(errno.EFBIG),
                          "bad media": lambda: BadMedia("made up")},
    "storage": UNFORESEEN | {"retry": lambda: RetryError("made up"), "park": lambda: ParkError("made up"),
                             "refused": lambda: ParkError("made up", passing=True),
                             "upload gone": lambda: UploadGone("made up"), "disk": _os_error(errno.EIO)},
    "part": UNFORESEEN | {"away": lambda: FilmAway("made up"), "damaged": lambda: FilmDamaged("made up")},
    "store": {"locked": _locked},
    "cleanup": UNFORESEEN | {"retry": lambda: RetryError("made up")},
    "source": {"retry": lambda: RetryError("made up"), "park": lambda: ParkError("made up")},
}
"""Place → its ways to fail."""

MODULES = {"ezrec.adapters.storage.local": "storage", "ezrec.tasks.parts": "part", "ezrec.tasks.cleanup": "cleanup"}
AFTERWARDS = frozenset({"join", "storage", "cleanup"})
"""Where something may have been done although the answer is a failure."""


@dataclass
class Fault:
    """The next `count` jobs of a place fail, after `skip` that do not. `lost`: they are done all the same.

    `about`: only those whose statement and values hold all of this.
    """

    place: str
    way: str
    count: int = 1
    skip: int = 0
    lost: bool = False
    about: tuple[str, ...] = ()

    def strike(self) -> Exception | None:
        """The failure of the next job, if it is to fail."""
        if self.skip:
            self.skip -= 1
            return None
        if self.count <= 0:
            return None
        self.count -= 1
        return WAYS[self.place][self.way]()


class Faults:
    """The faults that are still to strike."""

    def __init__(self) -> None:
        self.pending: dict[str, Fault] = {}
        self.struck: set[tuple[str, str]] = set()  # in this life and all before

    def add(self, fault: Fault) -> None:
        """A fault takes the place of what was to strike there."""
        self.pending[fault.place] = fault

    def clear(self) -> None:
        """All goes well from now on."""
        self.pending.clear()

    def at(self, place: str, what: str = "") -> Exception | None:
        """What the next call of a place meets, which is about `what`."""
        fault = self.pending.get(place)
        if fault is None or not all(words in what for words in fault.about):
            return None
        error = fault.strike()
        if error:
            self.struck.add((place, fault.way))
        if fault.count <= 0:
            self.pending.pop(place)
        return error

    def watch(self, job: Job) -> None:
        """For a loop: have a job fail that is to fail."""
        place = place_of(job)
        if place is None or (fault := self.pending.get(place)) is None:
            return
        lost = fault.lost and place in AFTERWARDS
        job.fails, job.lost = self.at(place), lost


def place_of(job: Job) -> str | None:
    """Where a thread's job belongs."""
    what: Any = job.what
    while isinstance(what, partial):  # asyncio.to_thread wraps the function into its context's `run`
        what = what.args[0] if what.args and callable(what.args[0]) else what.func
    if isinstance(job.line, Executor):
        return None if what.__name__ == "discard" else "join"  # what is given up is closed, whatever the disk says
    return MODULES.get(getattr(what, "__module__", ""))
