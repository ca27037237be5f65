"""Cuts the power of the real program at named and at random moments, on a disk that is slow to sync, and looks at what
it makes of its films.

Run as root by `make powercut [N=…]`. The cases are those of `make torture`; but the data folder is a disk image on a
loop device, whose unsynced writes are thrown away with the kill (`tests.fakes.power`), and each of its syncs takes 0.1
to 1 s until the match is over. In some the disk is full as well, from just before the cut until the program has
started again. Then there must be one film, one object and one row, a sound store, gaps that are stated to the frame,
and no more lost than promise 5 allows.
"""

import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[2]))  # as a command it is started with this folder on the path only

from tests.fakes.many import arguments, keep_of, run_all, seed_of
from tests.fakes.power import PowerSite, missing
from tests.whole import torture
from tests.whole.torture import Case, Kill, Outcome

WINDOWS = ((("match", 0.0, 8.0),),) * 3 + ((("first", 0.0, 5.0), ("second", 5.0, 10.0)),)  # id, start and end in s
SYNCS_S = (0.1, 1.0)  # what a sync takes: promise 5 holds for these
FULL_SHARE = 0.15  # of the cases
FULL_S = (0.2, 1.2)  # how long before the cut

EXCUSED = ("disk too slow",)  # on a busy machine a sync of a second takes longer


@dataclass(frozen=True)
class Cut:
    """What is done, drawn from `seed`."""

    seed: int
    case: Case = field(compare=False)
    sync_s: float = 0.1
    full_s: float = 0.0

    def __str__(self) -> str:
        return f"seed {self.seed}: {self.case}{', disk full' if self.full_s else ''}, syncs of {self.sync_s:.2f} s"


def draw(seed: int) -> Cut:
    """The cut of this seed."""
    dice = random.Random(seed)
    full = dice.random() < FULL_SHARE
    event, where = dice.choice([moment for moment in torture.MOMENTS if "intro" not in moment[0]])
    kill = Kill(event, where) if dice.random() < 0.4 and not full else Kill(after_s=dice.uniform(0, 9))
    kills = (kill, Kill(after_s=dice.uniform(0, 3))) if dice.random() < 0.2 and not full else (kill,)
    case = Case(kills, windows=dice.choice(WINDOWS),
                segment_s=dice.choice((1.0, 4.0)), cameras={"preflight_s": 0}, excused=None if full else EXCUSED)
    return Cut(seed, case, round(dice.uniform(*SYNCS_S), 2), round(dice.uniform(*FULL_S), 1) if full else 0.0)


def run_cut(folder: Path, cut: Cut) -> Outcome:
    """Carry a cut out in `folder`, which must be empty; what went wrong is told, not raised."""
    return torture.run_case(folder, cut.case, partial(PowerSite, sync_s=cut.sync_s, full_s=cut.full_s))


# ---- the command


def main() -> int:
    """Make as many cuts as asked, several at a time; the exit status."""
    wanted = arguments("Cut the real program's power on a slow disk, again and again, and look at what it leaves.") \
        .parse_args()
    if reason := missing():
        print(f"powercut: {reason}", file=sys.stderr)
        return 1
    seed, keep = seed_of(wanted), keep_of(wanted, "powercut")
    console = Console(width=None if sys.stdout.isatty() else 150)
    console.print(f"{wanted.runs} cuts, {wanted.parallel} at a time, seeds from {seed}")
    began = time.monotonic()
    cuts = [draw(seed + number) for number in range(wanted.runs)]
    outcomes = [(cuts[number - 1], outcome) for number, outcome in run_all(
        cuts, run_cut, _said, parallel=wanted.parallel, keep=keep, console=console)]
    console.print(_table(outcomes))
    bad = [cut for cut, outcome in outcomes if outcome.wrong]
    for cut in bad:
        console.print(f"bad: make powercut N=1 ARGS=\"--seed {cut.seed}\"", highlight=False, markup=False)
    lost = sorted(outcome.lost_s for _, outcome in outcomes if outcome.killed_s)
    worst = max((outcome.back_s for _, outcome in outcomes), default=0.0)
    console.print(f"{len(outcomes) - len(bad)} of {len(outcomes)} good; "
                  f"{sum(len(outcome.killed_s) for _, outcome in outcomes)} cuts; lost from before a cut: median "
                  f"{lost[len(lost) // 2] if lost else 0:.2f} s, at worst {lost[-1] if lost else 0:.2f} s; slowest "
                  f"start {worst:.1f} s; {time.monotonic() - began:.0f} s in all; seeds from {seed}")
    return 1 if bad else 0


def _said(cut: Cut, outcome: Outcome) -> str:
    return f"bad: {cut}: {outcome.wrong.splitlines()[0][:300]}" if outcome.wrong else ""


def _table(outcomes: Sequence[tuple[Cut, Outcome]]) -> Table:
    table = Table("seed", "moment", "sync, s", "cut at, s", "lost before, s", "missing, s", "stated, s", "film, s",
                  "ready after, s", "verdict")
    for cut, outcome in outcomes:
        verdict = "[red]bad[/red]" if outcome.wrong else "good, never came" if outcome.never else "good"
        table.add_row(str(cut.seed), f"{cut.case}{', disk full' if cut.full_s else ''}", f"{cut.sync_s:.2f}",
                      ", ".join(f"{at:.2f}" for at in outcome.killed_s), f"{outcome.lost_s:.2f}",
                      f"{outcome.missing_s:.2f}", f"{outcome.stated_s:.2f}", f"{outcome.film_s:.2f}",
                      f"{outcome.back_s:.1f}", verdict)
    return table


if __name__ == "__main__":
    sys.exit(main())
