"""Syncing: a file that grows is taken to the disk beside its being written, and slow disks are told of.

A sync of an SD card may take a second. So each has a thread of its own: whoever writes waits for it for a moment, as
long as most take, and then writes on. Of one file no two syncs run at a time, until it is sealed.
"""

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol

import structlog

from ezrec.domain.clock import SECOND, Clock
from ezrec.files import temporary_beside

log = structlog.get_logger(task="recording")

SYNC_US = SECOND
"""Footage is taken to the disk this often, in the footage's time and in real time."""

PATIENCE_S = 0.25
"""How long a writer waits for a sync before it writes on, in seconds."""

LONGEST_S = 1.25
"""A sync that takes longer breaks promise 5: what one takes to the disk was written while the one before it was under
way, and both together may take 2 s. A quarter of a second is for a machine that is busy.
"""

TRIES, TRY_BYTES = 4, 1_500_000  # of a try-out: as many bytes as two cameras give in a second
LATELY = 20  # syncs that are looked at: some ten seconds of two cameras
REMEDY = "take a faster card or disk for paths.data, or keep others from writing there"


class SyncPace:
    """How long the syncs of one disk take; from any thread. A disk that is too slow is said once, and its end.

    It is if two syncs of the last ones took too long, or one took twice that: any disk may stumble once.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lately: deque[int] = deque(maxlen=LATELY)  # µs
        self._slowest_us = 0  # since it became too slow; 0: it is fast enough

    def took(self, us: int) -> None:
        """A sync took so long."""
        with self._lock:
            self._lately.append(us)
            was, now = self._judge(us)
        _say(was, now)

    def takes(self, us: int) -> None:
        """A sync that is still under way takes so long already."""
        if us <= 2 * LONGEST_S * SECOND:
            return
        with self._lock:
            if not self._slowest_us:
                self._lately.append(us)
            was, now = self._judge(us)
        _say(was, now)

    def _judge(self, us: int) -> tuple[int, int]:
        """The slowest sync as it was told before, and now; the lock is held."""
        was, slow = self._slowest_us, [one for one in self._lately if one > LONGEST_S * SECOND]
        if was or len(slow) > 1 or us > 2 * LONGEST_S * SECOND:
            self._slowest_us = max(was, us, *slow) if slow else 0
        return was, self._slowest_us

    @property
    def trouble(self) -> str:
        """What is wrong with the disk now, in words; empty if nothing is."""
        with self._lock:
            return too_slow(self._slowest_us) if self._slowest_us else ""


def too_slow(us: int) -> str:
    """In words, that a sync took so many µs."""
    return f"a sync takes {us / SECOND:.1f} s: a power cut may cost more than 2 s of footage"


def _say(was_us: int, now_us: int) -> None:
    if now_us and not was_us:
        log.error("disk too slow", error=too_slow(now_us), hint=REMEDY)
    elif was_us and not now_us:
        log.info("disk is fast enough again", slowest_s=was_us / SECOND)


class _Sync:
    """One sync, on a thread of its own."""

    def __init__(self, work: Callable[[], object], clock: Clock, pace: SyncPace, ended: Callable[[], None]) -> None:
        """Begin `work`; `ended` is called from its thread when it is done."""
        self.began_us = self.ended_us = clock.mono_us()
        self._work, self._clock, self._pace, self._ended = work, clock, pace, ended
        self._done = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="sync", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._work()
        except Exception as error:  # noqa: BLE001 - handed to whoever asks for the result
            self._error = error
        self.ended_us = self._clock.mono_us()
        self._pace.took(self.ended_us - self.began_us)
        self._done.set()
        self._ended()

    def wait(self, limit_s: float | None) -> bool:
        """Wait until it has ended, with a limit in seconds or without one; whether it has."""
        if self._done.wait(limit_s):
            return True
        self._pace.takes(self._clock.mono_us() - self.began_us)
        return False

    def result(self) -> None:
        """Wait for its end; raise what its work raised."""
        self._thread.join()
        if self._error:
            raise self._error


class Growing(Protocol):
    """A file that grows until it is sealed."""

    def sync(self) -> None:
        """Take everything written to the disk. Raises OSError."""

    def seal(self, sync_is_over: Callable[[], object]) -> int:
        """Close it for good and make it durable; a sync under way is waited for before that. Raises OSError."""


class FileSyncs:
    """The syncs of one file that grows, up to its sealing. For the thread that writes it."""

    def __init__(self, file: Growing, from_us: int, clock: Clock, pace: SyncPace, ended: Callable[[], None]) -> None:
        """`from_us` is where the file's footage begins; `ended` is called from another thread when a sync has ended."""
        self._file, self._clock, self._pace, self._ended = file, clock, pace, ended
        self._under_way: _Sync | None = None
        self._asked_us = from_us  # footage before this is durable, or will be with the sync under way
        self._ended_us = clock.mono_us()  # when the last sync ended

    def look(self, newest_us: int) -> None:
        """Begin a sync where a second of footage has come since the last one began, or one has passed since it ended.

        Raises:
            OSError: the last one failed.
        """
        if not self._is_over(0):
            return
        if newest_us - self._asked_us >= SYNC_US or self._clock.mono_us() - self._ended_us >= SYNC_US:
            self._asked_us = newest_us
            self._begin(self._file.sync)
            self._is_over(PATIENCE_S)

    def seal(self) -> None:
        """Begin to seal the file; there is nothing to `look` after any more."""
        before = self._under_way
        wait = partial(before.wait, None) if before else lambda: True
        self._begin(partial(self._file.seal, wait))  # beside it, or the two would take too long on a slow disk

    def is_sealed(self, limit_s: float | None) -> bool:
        """Wait for the sealing, with a limit in seconds or without one; whether it is over.

        Raises:
            OSError: it failed.
        """
        return self._is_over(limit_s)

    def _begin(self, work: Callable[[], object]) -> None:
        self._under_way = _Sync(work, self._clock, self._pace, self._ended)

    def _is_over(self, limit_s: float | None) -> bool:
        sync = self._under_way
        if sync is None:
            return True
        if not sync.wait(limit_s):
            return False
        self._under_way, self._ended_us = None, sync.ended_us
        sync.result()
        return True


def measure(folder: Path) -> list[int]:
    """How long some syncs of new footage take on the disk of `folder`, µs each: a try-out. Blocks for some seconds.

    Raises:
        OSError: the disk refuses.
    """
    took = []
    path = temporary_beside(folder / "sync")
    try:
        with path.open("xb", buffering=0) as file:
            for _ in range(TRIES):
                file.write(os.urandom(TRY_BYTES))
                began = time.monotonic_ns()
                os.fdatasync(file.fileno())
                took.append((time.monotonic_ns() - began) // 1000)
    finally:
        path.unlink(missing_ok=True)
    return took
