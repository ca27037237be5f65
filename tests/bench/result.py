"""What a measurement says, and how the bench shows that it is at work."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

Say = Callable[[str], None]
"""Shows on the terminal what is being done now."""

LEFT_OUT = "left out"


@dataclass(frozen=True)
class Row:
    """One line of the table: a goal, what was measured, and whether that reaches it (None: nothing to reach)."""

    what: str
    goal: str
    measured: str
    good: bool | None
    how: str
    numbers: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """How long everything is measured, in seconds, and where files may go."""

    quick: bool
    folder: Path
    footage_s: int  # of film made, for its cost
    rounds: int  # of each way of making it
    short_s: int  # the two bookings
    long_s: int
    frames_s: int  # the booking at full size
    idle_s: int
    s3_bytes: int  # of the film that goes up through a slow S3 service
    s3_s: int  # how long that takes

    @classmethod
    def of(cls, folder: Path, *, quick: bool) -> "Plan":
        """The full bench, or the quick one."""
        return cls(True, folder, 8, 2, 12, 40, 60, 10, 256 << 20, 10) if quick else cls(
            False, folder, 20, 3, 60, 600, 600, 60, 2 << 30, 60)


def left_out(what: str, reason: str) -> Row:
    """A line that says what could not be measured here, and why."""
    return Row(what, "", LEFT_OUT, None, reason)


def spread(values: Sequence[float]) -> str:
    """Median and range, for people."""
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def mb(amount: float) -> str:
    """Bytes as MB (1e6), for people."""
    return f"{amount / 1e6:.0f} MB"
