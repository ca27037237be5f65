"""A limit that holds even where no Python can run: on calls into libcamera, which keep the interpreter to themselves.

Such a call that hangs freezes every thread, and the limits of the event loop with them. So the kernel keeps one timer
for the whole process, set to the earliest limit of all calls under way; when it runs out, the signal's handler, which
is C and needs no interpreter, writes where every thread stands to stderr and ends the process by SIGALRM.

Limits: a POSIX process may have one such timer; nobody else in this process may use `signal.setitimer(ITIMER_REAL)`.
"""

import faulthandler
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_lock = threading.Lock()
_ends: dict[int, float] = {}  # by call: monotonic seconds
_ready = False


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """End the process if the block is not left within `seconds`. For any thread, nested or beside others."""
    mark = object()
    with _lock:
        _ends[id(mark)] = time.monotonic() + seconds
        _set()
    try:
        yield
    finally:
        with _lock:
            del _ends[id(mark)]
            _set()


def _set() -> None:
    """Set the kernel's timer to the earliest end; the lock is held."""
    global _ready  # noqa: PLW0603 - a process has one timer
    if not _ready:
        with suppress(OSError, AttributeError, ValueError):  # stderr may be no file: then it ends without words
            faulthandler.register(signal.SIGALRM, file=sys.__stderr__.fileno(), all_threads=True,  # type: ignore[union-attr]
                                  chain=True)
        _ready = True
    left = max(0.001, min(_ends.values()) - time.monotonic()) if _ends else 0.0
    signal.setitimer(signal.ITIMER_REAL, left)
