"""Limits of time and memory for work on files from outside, which may be anything.

Work that looks at its time is given up with words; what never looks is killed with its worker some seconds later
(`adapters/workers.py`).

Limits: Linux. Memory is what the process asks for (RLIMIT_DATA), over what it had.
"""

import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ezrec.domain.errors import BadMedia

PREPARE_S = 55.0
PREPARE_BYTES = 400_000_000
STACK = 8 << 20  # bytes of a thread's stack, of which hardly any are used
THREADS = 2 * min(os.cpu_count() or 1, 4)  # decoders, scalers and filters start about so many


class Deadline:
    """Until when a piece of work may go on."""

    def __init__(self, name: str, seconds: float) -> None:
        self._name = name
        self._seconds = seconds
        self._over = time.monotonic() + seconds

    def check(self) -> None:
        """Raises BadMedia if the time is over."""
        if time.monotonic() > self._over:
            raise BadMedia(f"{self._name}: is not ready after {self._seconds:.0f} s")


@contextmanager
def within(name: str, seconds: float = PREPARE_S, size: int = PREPARE_BYTES) -> Iterator[Deadline]:
    """Do the block's work, on what is called `name`, in so many seconds and with so many bytes more than there are.

    Raises:
        BadMedia: there was not enough memory.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = _data_bytes() + size + THREADS * STACK
    resource.setrlimit(resource.RLIMIT_DATA, (most if soft == resource.RLIM_INFINITY else min(most, soft), hard))
    try:
        yield Deadline(name, seconds)
    except MemoryError as error:
        raise BadMedia(f"{name}: needs more than {size // 1_000_000} MB of memory") from error
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _data_bytes() -> int:
    """What the process has asked for until now, as RLIMIT_DATA counts."""
    for line in Path("/proc/self/status").read_text("ascii", "replace").splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) << 10
    return 0
