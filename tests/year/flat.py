"""Whether what a recorder takes of its machine stays what it is, after it has settled."""

from collections.abc import Sequence
from statistics import median

from tests.year.play import Sample

ROOM = {"rss_kb": (0.08, 8 << 10), "descriptors": (0, 2), "threads": (0, 1), "tasks": (0, 1), "store_kb": (0.05, 256),
        "disk_kb": (0.05, 512), "waiting": (0, 0)}
"""Field → by how much the end may be above the middle: a share of it and an amount, whichever is more."""

HISTORY_KB = 2.2
"""Of a film's row, certificate and short story, which stay in the store: so much for each that was published between
both.
"""

SETTLED, MIDDLE = 0.3, 0.65  # of the days: caches are warm, and the oldest stories are shortened


def growth(samples: Sequence[Sample]) -> dict[str, tuple[float, float, float]]:
    """Field → the median when it had settled, in the end, and what the end may be; quiet nights only."""
    last = samples[-1].day
    settled = [one for one in samples if one.quiet and SETTLED * last <= one.day < MIDDLE * last]
    end = [one for one in samples if one.quiet and one.day >= 0.85 * last]
    assert settled, "no quiet night in the beginning"
    assert end, "no quiet night in the end"
    found = {}
    for field, (share, amount) in ROOM.items():
        first, now = (median(getattr(one, field) for one in some) for some in (settled, end))
        films = median(one.films for one in end) - median(one.films for one in settled)
        history = HISTORY_KB * films if field == "store_kb" else 0
        found[field] = first, now, first + max(share * first, amount) + history
    return found


def grown(samples: Sequence[Sample]) -> list[str]:
    """What is not flat, in words."""
    return [f"{field} grew from {first:.0f} to {now:.0f}, at most {most:.0f} is flat"
            for field, (first, now, most) in growth(samples).items() if now > most]
