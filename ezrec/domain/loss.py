"""Footage that was recorded and cannot be read any more."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Loss:
    """A time that a segment's row promises and its file does not give, [from_us, to_us) in run-monotonic µs."""

    camera: str
    path: str  # as `film.Footage` has it
    from_us: int
    to_us: int
    reason: str  # words that follow the file's name: "is missing"


def in_words(losses: Sequence[Loss]) -> str:
    """What is wrong with which file: the first one, and how many more there are."""
    found = list(dict.fromkeys(f"{loss.path} {loss.reason}" for loss in losses))
    return found[0] if len(found) == 1 else f"{found[0]} (and {len(found) - 1} more)"
