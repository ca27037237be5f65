"""Limits of time and memory for work on files from outside, which may be anything.

They hold in the worker itself: time that a call waits for a worker does not count, and a decoder that never comes back
is ended by the kernel. What is given up politely says so in words.

Limits: Linux. Memory is what the process asks for (RLIMIT_DATA), over what it had; a clock alarm is set in worker
processes only, for it ends the process.
"""

import multiprocessing
import resource
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ezrec.domain.errors import BadMedia

PREPARE_S = 60.0
PREPARE_BYTES = 400_000_000
LATE_S = 5.0  # so much later the process is ended


class Deadline:
    """Until when a piece of work may go on."""

    def __init__(self, name: str, seconds: float) -> None:
        self._name = name
        self._began = time.monotonic()
        self._seconds = 0.0
        self.extend(seconds)

    def extend(self, seconds: float) -> None:
        """The work may take so long altogether, if that is longer than it could before."""
        self._seconds = max(self._seconds, seconds)
        if multiprocessing.parent_process() is not None:
            left = self._began + self._seconds - time.monotonic()
            signal.setitimer(signal.ITIMER_REAL, max(left, 0.0) + LATE_S)

    def check(self) -> None:
        """Raises BadMedia if the time is over."""
        if time.monotonic() > self._began + self._seconds:
            raise BadMedia(f"{self._name}: is not ready after {self._seconds:.0f} s")

    @staticmethod
    def end() -> None:
        """Set no alarm off any more."""
        if multiprocessing.parent_process() is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)


@contextmanager
def within(name: str, seconds: float = PREPARE_S, size: int = PREPARE_BYTES) -> Iterator[Deadline]:
    """Do the block's work, on what is called `name`, in so many seconds and with so many bytes more than there are.

    Raises:
        BadMedia: there was not enough memory.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = _data_bytes() + size
    resource.setrlimit(resource.RLIMIT_DATA, (most if soft == resource.RLIM_INFINITY else min(most, soft), hard))
    deadline = Deadline(name, seconds)
    try:
        yield deadline
    except MemoryError as error:
        raise BadMedia(f"{name}: needs more than {size // 1_000_000} MB of memory") from error
    finally:
        deadline.end()
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _data_bytes() -> int:
    """What the process has asked for until now, as RLIMIT_DATA counts."""
    for line in Path("/proc/self/status").read_text("ascii", "replace").splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) << 10
    return 0
