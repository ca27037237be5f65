"""The command line of the mutants, their sample, and the table."""

import argparse
import hashlib
import json
import shutil
import sys
import tempfile
import threading
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from queue import SimpleQueue

from rich.console import Console
from rich.table import Table

from tests.mutants.finding import mutants_of
from tests.mutants.mutations import Mutant, Name, is_whole
from tests.mutants.running import Tree, TreeBroken, Verdict
from tests.mutants.selection import Seen, folders_for

FOLDERS = ("domain", "store", "tasks", "media")
DECORATION = ("ezrec/media/demo_media.py",)
"""Not tried: what the demo's badges and its intro look like is nobody's promise."""
EQUIVALENTS = "tests/mutants/equivalents.toml"
Try = Callable[[Tree, Mutant], Verdict]


def run(root: Path) -> int:
    """Draw the sample, try it, and print what came of it; the exit status."""
    asked = _arguments()
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 170)
    build = root / "build" / "mutants"
    build.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    known = _equivalents(root)
    sample = _survivors(root, build) if asked.again else draw(root, asked.n, asked.seed, asked.only, known)
    for file, function, was, now in sorted(known - {mutant.named for mutant in _every(root)}):
        console.print(f"{EQUIVALENTS}: no such mutant any more: {file} {function}: {was} -> {now}", markup=False)
    if not sample:
        console.print("nothing to try")
        return 0
    folder = Path(tempfile.mkdtemp(prefix="ezrec-mutants-"))
    try:
        trees = [Tree(root, folder / str(number)) for number in range(asked.processes)]
        tried = _way(trees[0], build / "seen", asked, console)
        verdicts = _try_all(sample, trees, tried, console)
    except TreeBroken as broken:
        console.print(f"[red]{broken}[/red]", markup=True)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return _tell(verdicts, asked, build, console, time.monotonic() - began)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Put small faults into the program and see whether a test fails.")
    parser.add_argument("--n", type=int, default=200, help="how many mutants")
    parser.add_argument("--seed", type=int, default=1, help="which ones: the same seed draws the same")
    parser.add_argument("--processes", type=int, default=2, help="how many at a time")
    parser.add_argument("--floor", type=float, default=0.9, help="the share that has to be killed")
    parser.add_argument("--only", type=lambda text: tuple(text.split(",")), default=(), metavar="FILE,…",
                        help="only in files whose paths hold one of these")
    parser.add_argument("--again", action="store_true", help="try the last run's survivors again")
    return parser.parse_args()


# ---- the sample


def draw(root: Path, count: int, seed: int, only: Sequence[str], known: frozenset[Name]) -> list[Mutant]:
    """So many mutants, the same number from each folder as far as it has them."""
    drawn: list[Mutant] = []
    for number, name in enumerate(FOLDERS):
        share = (count - len(drawn)) // (len(FOLDERS) - number)
        found: list[tuple[str, Mutant, bytes]] = []
        for path in sorted((root / "ezrec" / name).rglob("*.py")):
            file = path.relative_to(root).as_posix()
            if file not in DECORATION and (not only or any(part in file for part in only)):
                source = path.read_bytes()
                found += [(hashlib.sha256(f"{seed} {mutant.key}".encode()).hexdigest(), mutant, source)
                          for mutant in mutants_of(file, source)
                          if mutant.named not in known]
        found.sort(key=lambda one: (one[0], one[1].start))
        mine: list[Mutant] = []
        for _, mutant, source in found:
            if len(mine) == share:
                break
            if is_whole(mutant, source):
                mine.append(mutant)
        drawn += mine
    return drawn


def _survivors(root: Path, build: Path) -> list[Mutant]:
    """The last run's survivors, as far as their lines are still there."""
    wanted = set(json.loads((build / "survivors.json").read_text("utf-8")))
    return [mutant for mutant in _every(root) if mutant.key in wanted]


def _every(root: Path) -> Iterator[Mutant]:
    for path in sorted((root / "ezrec").rglob("*.py")):
        yield from mutants_of(path.relative_to(root).as_posix(), path.read_bytes())


def _equivalents(root: Path) -> frozenset[Name]:
    """The mutants that are known to change nothing that anybody could see."""
    listed = tomllib.loads((root / EQUIVALENTS).read_text("utf-8")).get("equivalent", [])
    return frozenset((one["file"], one["function"], one["was"], one["now"]) for one in listed)


# ---- trying them


def _way(tree: Tree, out: Path, asked: argparse.Namespace, console: Console) -> Try:
    """How a mutant is tried: with the tests that see it, or with its folder's."""
    if asked.again:
        return lambda where, mutant: where.try_mutant(mutant, (), folders_for(mutant, where.path))
    console.print(f"{asked.n} mutants, seed {asked.seed}; first one run of the tests, to see which lines each runs")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    tree.see(out / "of", asked.processes)
    seen = Seen(tree.path, out / "of")
    console.print(f"{len(seen)} tests pass and are used")
    return lambda where, mutant: where.try_mutant(mutant, seen.tests_for(mutant))


def _try_all(sample: Sequence[Mutant], trees: Sequence[Tree], tried: Try, console: Console) -> list[Verdict]:
    free: SimpleQueue[Tree] = SimpleQueue()
    for tree in trees:
        free.put(tree)
    stopped = threading.Event()

    def one(mutant: Mutant) -> Verdict | None:
        if stopped.is_set():
            return None
        tree = free.get()
        try:
            return tried(tree, mutant)
        finally:
            free.put(tree)

    verdicts: list[Verdict] = []
    with ThreadPoolExecutor(len(trees)) as threads:
        try:
            for done in as_completed([threads.submit(one, mutant) for mutant in sample]):
                if verdict := done.result():
                    verdicts.append(verdict)
                    mutant = verdict.mutant
                    console.print(f"[{len(verdicts):3}/{len(sample)}] {'killed  ' if verdict.killed else 'SURVIVED'} "
                                  f"{mutant.file} {mutant.function}: {mutant.kind}; {verdict.by}"
                                  + ("" if verdict.killed else f"\n    - {mutant.was}\n    + {mutant.now}"),
                                  markup=False, soft_wrap=True)
        except BaseException:
            stopped.set()
            raise
    return verdicts


# ---- what came of it


def _tell(verdicts: Sequence[Verdict], asked: argparse.Namespace, build: Path, console: Console, took_s: float) -> int:
    survivors = sorted((one for one in verdicts if not one.killed), key=lambda one: (one.mutant.file, one.mutant.start))
    patches = (f"# {one.mutant.file} {one.mutant.function}: {one.mutant.kind}; {one.by}\n{one.diff}\n"
               for one in survivors)
    (build / "survivors.diff").write_text("".join(patches), "utf-8")
    (build / "survivors.json").write_text(json.dumps([one.mutant.key for one in survivors], indent=1), "utf-8")
    console.print(_table("in", verdicts, lambda one: one.mutant.file.split("/")[1]))
    console.print(_table("changed", verdicts, lambda one: one.mutant.kind))
    share = 1 - len(survivors) / len(verdicts)
    console.print(f"{len(verdicts) - len(survivors)} of {len(verdicts)} killed, {share:.1%}; wanted {asked.floor:.0%}; "
                  f"seed {asked.seed}; {took_s / 60:.0f} min; survivors in {build / 'survivors.diff'}")
    return 0 if share >= asked.floor else 1


def _table(what: str, verdicts: Sequence[Verdict], of: Callable[[Verdict], str]) -> Table:
    table = Table(what, "mutants", "killed", "survived", "share")
    for name in [*sorted({of(one) for one in verdicts}), ""]:
        mine = [one for one in verdicts if name in ("", of(one))]
        killed = sum(one.killed for one in mine)
        table.add_row(name or "all", str(len(mine)), str(killed), str(len(mine) - killed), f"{killed / len(mine):.0%}")
    return table
