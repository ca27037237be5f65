"""A year at a court in fast time: is every film published once, and does the recorder take no more in the end?

    python tests/year/year.py [--seed 1] [--days 365] [--picture year.svg]

Clock, cameras, chunks, the cloud's answers and the disk's room are made up; the supervisor with all its tasks, the
store and the files are real. The same seed draws the same bookings and the same harm.
"""

import argparse
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # as a command it is started with this folder on the path only

from rich.console import Console
from rich.table import Table

from tests.year.almanac import DAY_US, YEAR, Measure
from tests.year.flat import grown, growth
from tests.year.picture import picture
from tests.year.play import Year

MOST_TOLD = 30


def measure_of(days: int) -> Measure:
    """A year's measure for fewer days."""
    def share(of: int) -> int:
        return max(1, round(of * days / YEAR.days))

    return YEAR if days == YEAR.days else Measure(
        days, share(YEAR.bookings) * 9 // 10, share(YEAR.outages), share(YEAR.full_disks), share(YEAR.upgrades),
        share(YEAR.starts_in_1970))


def main() -> int:
    """Play it, print what it came to, draw it; 0 if all held."""
    parser = argparse.ArgumentParser(description="play a year at a court in fast time")
    parser.add_argument("--seed", type=int, default=None, help="of bookings and harm, to play the same ones again")
    parser.add_argument("--days", type=int, default=YEAR.days, help="fewer than a year, at least 14")
    parser.add_argument("--picture", type=Path, default=Path("year.svg"), help="where the plots go")
    wanted = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if wanted.seed is None else wanted.seed
    console, began = Console(highlight=False), time.monotonic()
    random.seed(seed)  # of the delays before what failed is tried again
    year = Year(measure_of(wanted.days), seed, lambda text: console.print(text, markup=False))
    signal.signal(signal.SIGINT, lambda *_: year.stop())
    try:
        year.run()
    finally:
        year.close()
    _print(console, year, f"{wanted.days} days, seed {seed}, {time.monotonic() - began:.0f} s")
    begin = year.almanac.begin
    wanted.picture.write_text(picture(year.samples, [((one.start - begin) / DAY_US, (one.end - begin) / DAY_US)
                                                     for one in year.almanac.outages]), "utf-8")
    console.print(f"drawn: {wanted.picture}", markup=False)
    wrong = [*year.wrong, *grown(year.samples)]
    for one in wrong[:MOST_TOLD]:
        console.print(f"does not hold: {one}", markup=False)
    return 1 if wrong else 0


def _print(console: Console, year: Year, title: str) -> None:
    table = Table("what", "how often", title=title)
    counts = year.tally + year.recorder.warnings + year.recorder.kept + Counter({
        "check-ups": year.recorder.checkups,
        "archives of logs": year.recorder.project.archives if year.recorder.project else 0})
    for what, count in sorted(counts.items()):
        table.add_row(what, str(count))
    console.print(table)
    table = Table("of its machine", "settled", "in the end", "most", "flat up to")
    for field, (first, now, most) in growth(year.samples).items():
        peak = max(getattr(sample, field) for sample in year.samples)
        table.add_row(field, f"{first:.0f}", f"{now:.0f}", f"{peak:.0f}", f"{most:.0f}")
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
