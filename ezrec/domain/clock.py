"""Time as EZREC sees it: one monotonic clock that everything recorded lives on, and a wall clock that may step.

All instants are integers in µs: `mono_us` counts on the machine's monotonic clock (the one that cameras stamp their
frames with), `wall_us` is UTC since 1970. Code that needs the time takes a `Clock`; tests hand one in.
"""

import time
from typing import Protocol

SECOND = 1_000_000  # µs

STEP_US = SECOND // 2
"""A wall clock that moved by more than this against the monotonic one has stepped; less is drift, and ignored."""


class Clock(Protocol):
    """A pair of clocks, in µs."""

    def mono_us(self) -> int:
        """Monotonic time in µs; comparable between threads and with sensor time stamps."""

    def wall_us(self) -> int:
        """UTC in µs since 1970; may jump."""


class SystemClock:
    """The machine's own clocks."""

    def mono_us(self) -> int:
        """CLOCK_MONOTONIC in µs."""
        return time.monotonic_ns() // 1000

    def wall_us(self) -> int:
        """CLOCK_REALTIME in µs."""
        return time.time_ns() // 1000
