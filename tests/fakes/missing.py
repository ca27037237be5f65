"""Which moments of a film's window its pictures lack, found without its certificate, and whether that states the same.

Frame n of a simulated camera is due at n/rate on the machine's monotonic clock and shows n. So the pictures of a
finished film tell by themselves which frames nobody can see. All times here are monotonic µs.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Any

from ezrec.adapters.cameras.synthetic.counters import Seen
from ezrec.domain.timeline import Interval, length, union, without
from tests.fakes.site import SETTINGS

RATE = int(SETTINGS["cameras"]["fps"])
TICK_US = 1_000_000 // RATE


@dataclass(frozen=True)
class Told:
    """Of one camera in one film: what its pictures lack, and what its certificate says is missing."""

    missing: tuple[Interval, ...]
    stated: tuple[Interval, ...]
    counted_us: int  # what the certificate counts as repeated or skipped, and one tick at each end of the window


def mono_us() -> int:
    """Monotonic time."""
    return time.monotonic_ns() // 1000


def clocks_us() -> int:
    """UTC minus monotonic time, now."""
    return round((time.time() - time.monotonic()) * 1e6)


def utc_us(text: str) -> int:
    """UTC µs of an instant in a certificate or a line of the log."""
    return round(datetime.fromisoformat(text).timestamp() * 1e6)


def window_of(certificate: dict[str, Any], clocks_us: int) -> Interval:
    """A film's window; UTC is monotonic time plus `clocks_us`."""
    start, end = (utc_us(text) - clocks_us for text in certificate["window"])
    return start, end


def hold_against(certificate: dict[str, Any], seen: Seen, clocks_us: int) -> dict[str, Told]:
    """By camera, what a film's pictures lack. AssertionError if its certificate states anything else."""
    start, end = window_of(certificate, clocks_us)
    told = {}
    for camera, said in certificate["cameras"].items():
        shown = [counter for counter in seen.counters[camera] if counter is not None]
        assert shown == sorted(shown), f"{camera}: frames are out of order"
        missing = tuple(_missing(shown, start, end))
        stated = union((utc_us(gap["from"]) - clocks_us, utc_us(gap["to"]) - clocks_us) for gap in certificate["gaps"]
                       if gap["camera"] in (camera, "both"))
        counted = (said["repeats"] + said["skips"] + 2) * TICK_US
        differing = length(without(missing, stated)) + length(without(stated, missing))
        assert differing <= counted + 2 * TICK_US * len(stated), (
            f"{camera}: missing {show(missing, start)}, stated {show(stated, start)}")
        told[camera] = Told(missing, stated, counted)
    return told


def _missing(shown: Sequence[int], start: int, end: int) -> Iterator[Interval]:
    """The frame times in [start, end) of which no frame is shown."""
    there = union((_due_us(number), _due_us(number + 1)) for number in shown)
    yield from without([(start, end)], there)


def _due_us(number: int) -> int:
    return round(Fraction(number * 1_000_000, RATE))


def show(times: Iterable[Interval], start: int) -> str:
    """Times in words, as seconds after `start`."""
    return ", ".join(f"{(a - start) / 1e6:.2f} to {(b - start) / 1e6:.2f} s" for a, b in times) or "nothing"
