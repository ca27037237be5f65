"""Runs many cases of the whole program, several at a time, and keeps what those leave that went wrong."""

import argparse
import random
import shutil
import tempfile
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Protocol, TypeVar

from rich.console import Console
from rich.progress import Progress


class Judged(Protocol):
    """What one case came to; `wrong` says what went wrong, "" if nothing did."""

    wrong: str


_C = TypeVar("_C")
_O = TypeVar("_O", bound=Judged)


def arguments(description: str) -> argparse.ArgumentParser:
    """The options that every such command has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--runs", type=int, default=100, help="how many cases")
    parser.add_argument("--parallel", type=int, default=3, help="how many at a time")
    parser.add_argument("--seed", type=int, default=None, help="to draw the same cases again")
    parser.add_argument("--keep", type=Path, default=None, help="folder for what failed cases leave")
    return parser


def seed_of(wanted: argparse.Namespace) -> int:
    """The seed that was asked for, or a new one."""
    return random.SystemRandom().randrange(1 << 32) if wanted.seed is None else int(wanted.seed)


def keep_of(wanted: argparse.Namespace, name: str) -> Path:
    """The folder for what failed cases leave."""
    return wanted.keep or Path(tempfile.mkdtemp(prefix=f"ezrec-{name}-"))


def judge(folder: Path, case: object, outcome: _O, work: Callable[[], None]) -> _O:
    """The outcome after `work`: what breaks in it is told in `wrong`, not raised."""
    try:
        work()
    except Exception as error:  # noqa: BLE001 - whatever breaks is this case's outcome
        outcome.wrong = str(error) or f"not true: {traceback.extract_tb(error.__traceback__)[-1].line}"
        (folder / "wrong.txt").write_text(f"{case}\n{traceback.format_exc()}", "utf-8")
    return outcome


def run_all(cases: Sequence[_C], run: Callable[[Path, _C], _O], say: Callable[[_C, _O], str], *, parallel: int,
            keep: Path, console: Console) -> list[tuple[int, _O]]:
    """All cases' outcomes with their numbers; the folder of a good one is removed.

    `say` makes the line that is printed of a case as soon as it is done; none if that is empty.
    """
    def one(number: int, case: _C) -> tuple[int, _C, _O]:
        folder = keep / str(number)
        folder.mkdir(parents=True)
        outcome = run(folder, case)
        if not outcome.wrong:
            shutil.rmtree(folder)
        return number, case, outcome

    outcomes = []
    with Progress(console=console) as progress, ThreadPoolExecutor(parallel) as threads:
        bar = progress.add_task("running", total=len(cases))
        for done in as_completed([threads.submit(one, number, case) for number, case in enumerate(cases, 1)]):
            number, case, outcome = done.result()
            outcomes.append((number, outcome))
            progress.advance(bar)
            if line := say(case, outcome):
                progress.print(f"{number} {line}", highlight=False, markup=False)
    return sorted(outcomes, key=lambda pair: pair[0])
