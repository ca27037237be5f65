"""Time as EZREC sees it: one monotonic clock that everything recorded lives on, and a wall clock that may step.

All instants are integers in µs: `mono_us` counts on the machine's monotonic clock (the one that cameras stamp their
frames with), `wall_us` is UTC since 1970. Code that needs the time takes a `Clock`; tests hand one in.
"""

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

SECOND = 1_000_000  # µs

STEP_US = SECOND // 2
"""A wall clock that moved by more than this against the monotonic one has stepped; less is drift, and ignored."""

EARLIEST_US = 1_735_689_600 * SECOND
"""UTC: the year 2025. A wall clock that says less has not been set; EZREC is younger."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def utc_datetime(us: int) -> datetime:
    """The instant `us` (UTC µs since 1970), exact to the µs."""
    return _EPOCH + timedelta(microseconds=us)


def utc_text(us: int) -> str:
    """The instant `us` (UTC µs since 1970) for machines and people: ISO 8601, UTC, milliseconds."""
    return utc_datetime(us).isoformat(timespec="milliseconds")


def local_datetime(us: int, zone: ZoneInfo) -> datetime:
    """The instant `us` (UTC µs since 1970) as the clock on the court's wall shows it."""
    return utc_datetime(us).astimezone(zone)


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
