"""Runs many sequences of the model of films (`tests/model/test_films.py`), and says what they came to.

    python tests/model/models.py [--runs 10000] [--seed 1] [--parallel 2]

The sequences are drawn in lots of `LOT`, each with a seed of its own. Of what does not hold hypothesis looks for the
shortest sequence of acts, and that is printed with the lot's seed: `--runs 100 --seed <that>` draws the lot again.
"""

import argparse
import os
import random
import resource
import sys
import time
import traceback
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # as a command it is started with this folder on the path only

from hypothesis import seed
from hypothesis.stateful import run_state_machine_as_test
from rich.console import Console
from rich.table import Table

LOT = 100


@dataclass
class Outcome:
    """What a lot came to."""

    seed: int
    tally: Counter[str] = field(default_factory=Counter)
    wrong: str = ""


def run_lot(number: int, count: int) -> Outcome:
    """Run some sequences."""
    from tests.model.play import TALLY  # noqa: PLC0415 - only workers need these
    from tests.model.test_films import Films, how_many  # noqa: PLC0415

    TALLY.clear()
    outcome = Outcome(number)
    try:
        run_state_machine_as_test(seed(number)(Films), settings=how_many(count, database=None))
    except Exception as error:  # noqa: BLE001 - whatever does not hold is what this looks for
        outcome.wrong = "".join(traceback.format_exception_only(error)) + "\n".join(
            getattr(error, "__notes__", ()))
    outcome.tally = Counter(TALLY)
    return outcome


def main() -> int:
    """Run all lots; 0 if all held."""
    parser = argparse.ArgumentParser(description="run many sequences of the model of films")
    parser.add_argument("--runs", type=int, default=10_000, help="how many sequences")
    parser.add_argument("--seed", type=int, default=None, help="of the first lot, to draw the same ones again")
    parser.add_argument("--parallel", type=int, default=os.cpu_count() or 1, help="how many processes")
    wanted = parser.parse_args()
    first = random.SystemRandom().randrange(1 << 32) if wanted.seed is None else wanted.seed
    lots = [(first + number, min(LOT, wanted.runs - number * LOT)) for number in range(-(-wanted.runs // LOT))]
    console, began = Console(), time.monotonic()
    tally: Counter[str] = Counter()
    wrong: list[Outcome] = []
    with ProcessPoolExecutor(wanted.parallel, mp_context=get_context("spawn")) as processes:
        for done in as_completed([processes.submit(run_lot, *lot) for lot in lots]):
            outcome = done.result()
            tally += outcome.tally
            console.print(f"{tally['sequences']} of {wanted.runs}, {time.monotonic() - began:.0f} s", highlight=False)
            if outcome.wrong:
                wrong.append(outcome)
                console.print(f"does not hold, seed {outcome.seed}:\n{outcome.wrong}", highlight=False, markup=False)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = (used.ru_utime + used.ru_stime) / max(tally["sequences"], 1)
    took = f"{time.monotonic() - began:.0f} s, {cpu_s:.2f} s of a core each"
    table = Table("what", "how often", title=f"{wanted.runs} sequences, seed {first}, {took}")
    for what, count in sorted(tally.items()):
        table.add_row(what, str(count))
    console.print(table)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
