"""What a fleet asks of its project before, while and after nobody reaches it: the recorder's own parts, made-up time.

Run as a program it draws the picture in docs/scale.md:  python -m tests.bench.wave docs/pictures/wave.svg
"""

import asyncio
import contextlib
import heapq
import random
import sys
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from ezrec.adapters.bookings.court import CourtBookings
from ezrec.adapters.status.court import CourtStatus
from ezrec.adapters.supabase.functions import Mark
from ezrec.config import Settings
from ezrec.domain.clock import SECOND
from ezrec.domain.errors import RetryError
from tests.fakes.clocks import MadeUpClock

BEAT_S, POLL_S = Settings().supabase.heartbeat_s, Settings().bookings.poll_s
OUTAGE = 120, 720  # s: from, to
END_S = 900


class Project:
    """Counts the calls of each second; answers unless it is away."""

    def __init__(self, clock: MadeUpClock) -> None:
        self._clock = clock
        self.calls: Counter[int] = Counter()

    async def call(self, what: str, name: str, **_: Any) -> list[dict[str, Any]]:
        """As `Functions.call`."""
        second = self._clock.mono_us() // SECOND
        self.calls[second] += 1
        if OUTAGE[0] <= second < OUTAGE[1]:
            raise RetryError(f"{what}: no answer")
        return [{"mark": "1", "bookings": []}] if name == "ezrec_bookings" else [{"mark": "1", "other_device": None}]


async def simulate(courts: int, seed: int = 1) -> list[float]:
    """Calls of each second, per court, as attempted."""
    dice = random.Random(seed)
    clock = MadeUpClock(0, 1_800_000_000)
    project: Any = Project(clock)
    due: list[tuple[int, int, float, Callable[[], Coroutine[Any, Any, object]]]] = []
    for _ in range(courts):
        mark = Mark(clock)
        bookings = CourtBookings(project, mark, clock, 30, BEAT_S, None)  # type: ignore[arg-type]  # never used
        status = CourtStatus(project, mark, 30, None)  # type: ignore[arg-type]  # never used
        for every_s, work in ((BEAT_S, lambda one=status: one.put({}, limit_s=1)), (POLL_S, bookings.fetch)):
            due.append((round(dice.random() * every_s * SECOND), len(due), every_s, work))
    heapq.heapify(due)
    while due[0][0] < END_S * SECOND:
        at, number, every_s, work = heapq.heappop(due)
        clock.forward(at - clock.mono_us())
        with contextlib.suppress(RetryError):
            await work()
        jitter = 1.0 if every_s == BEAT_S else dice.uniform(0.9, 1.1)
        heapq.heappush(due, (at + round(every_s * jitter * SECOND), number, every_s, work))
    return [project.calls[second] / courts for second in range(END_S)]


def picture(calls: list[float]) -> str:
    """The calls of 10,000 courts as an SVG."""
    width, height, most = 900, 260, 7000
    across, up = (width - 80) / END_S, (height - 50) / most
    points = " ".join(f"{60 + second * across:.1f},{height - 30 - one * 10_000 * up:.1f}"
                      for second, one in enumerate(calls))
    away = [60 + second * (width - 80) / END_S for second in OUTAGE]
    lines = "".join(
        f'<line x1="60" x2="{width - 20}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
        f'<text x="54" y="{y + 4:.1f}" text-anchor="end">{rate:,}</text>'
        for rate in range(0, most, 1000) for y in [height - 30 - rate * (height - 50) / most])
    times = "".join(f'<text x="{60 + second * (width - 80) / END_S:.0f}" y="{height - 10}" text-anchor="middle">'
                    f'{second // 60} min</text>' for second in range(0, END_S + 1, 120))
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif"'
            f' font-size="12"><rect width="{width}" height="{height}" fill="white"/>'
            f'<rect x="{away[0]:.0f}" y="20" width="{away[1] - away[0]:.0f}" height="{height - 50}" fill="#f6e3e3"/>'
            f'{lines}{times}<text x="{sum(away) / 2:.0f}" y="36" text-anchor="middle">nobody reaches the project</text>'
            f'<polyline points="{points}" fill="none" stroke="#1f5fa8"/></svg>\n')


if __name__ == "__main__":
    random.seed(1)
    Path(sys.argv[1]).write_text(picture(asyncio.run(simulate(1000))), "utf-8")
