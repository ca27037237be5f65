"""Clocks for tests: one whose wall side can be stepped, and one that is made up altogether."""

import time

from ezrec.domain.clock import SECOND


class SteppingClock:
    """The machine's monotonic clock with a wall clock that goes as it does but says what it is told."""

    def __init__(self, wall_s: float | None = None) -> None:
        """Let the wall clock begin at `wall_s` (UTC, s); without it, at the machine's own."""
        self._offset_us = time.time_ns() // 1000 - self.mono_us()
        if wall_s is not None:
            self.set(wall_s)

    def mono_us(self) -> int:
        """CLOCK_MONOTONIC in µs."""
        return time.monotonic_ns() // 1000

    def wall_us(self) -> int:
        """UTC in µs as far as this clock knows."""
        return self.mono_us() + self._offset_us

    def step(self, seconds: float) -> None:
        """Let the wall clock jump."""
        self._offset_us += round(seconds * SECOND)

    def set(self, wall_s: float) -> None:
        """Let the wall clock jump to an instant (UTC, s)."""
        self._offset_us = round(wall_s * SECOND) - self.mono_us()


class MadeUpClock:
    """A pair of clocks that stand still until they are moved."""

    def __init__(self, mono_s: float, wall_s: float) -> None:
        """Begin at `mono_s` and `wall_s` (UTC)."""
        self._mono_us = round(mono_s * SECOND)
        self._offset_us = round(wall_s * SECOND) - self._mono_us

    def mono_us(self) -> int:
        """Monotonic time in µs."""
        return self._mono_us

    def wall_us(self) -> int:
        """UTC in µs."""
        return self._mono_us + self._offset_us

    def forward(self, us: int) -> None:
        """Let `us` µs pass."""
        self._mono_us += us

    def step(self, seconds: float) -> None:
        """Let the wall clock jump."""
        self._offset_us += round(seconds * SECOND)
