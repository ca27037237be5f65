"""Which tests can see a mutant: those that ran a line of the statement that it changes, as one run of all showed.

A change outside of all functions happens on import, which belongs to no test. It is seen by the tests that run
anything of the file, or a line with the changed name in another one.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import coverage

from tests.mutants.mutations import Mutant

BUDGET_S = 45.0  # of tests' time for one mutant; the nearest and fastest come first
MOST = 300  # tests for one mutant


@dataclass(frozen=True)
class Test:
    """A test function with all its parameters."""

    name: str  # pytest's
    seconds: float


class Seen:
    """What each test ran, from the files that `seeing` wrote."""

    def __init__(self, root: Path, out: Path) -> None:
        self._root = root
        seconds: dict[str, float] = {}
        for file in out.parent.glob(f"{out.name}.tests.*"):
            seconds |= json.loads(file.read_text("utf-8"))
        self._seconds: dict[str, float] = defaultdict(float)
        for test, took in seconds.items():
            self._seconds[_function_of(test)] += took
        self._lines: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
        for file in out.parent.glob(f"{out.name}.lines.*"):
            self._read(file)
        self._sources = {name: (root / name).read_text("utf-8").splitlines() for name in self._lines}

    def _read(self, file: Path) -> None:
        data = coverage.CoverageData(str(file))
        data.read()
        for path in data.measured_files():
            name = str(Path(path).relative_to(self._root))
            for line, contexts in data.contexts_by_lineno(path).items():
                self._lines[name][line].update(_function_of(context) for context in contexts if context)

    def __len__(self) -> int:
        return len(self._seconds)

    def tests_for(self, mutant: Mutant) -> list[Test]:
        """The tests that may kill a mutant, in the order in which they should run; none if nothing runs its lines."""
        seeing: set[str] = set()
        for name, line in self._lines_of(mutant):
            seeing |= self._lines[name].get(line, set())
        folder = _mirror(mutant.file)
        near = sorted((not test.startswith(folder), self._seconds[test], test)
                      for test in seeing & self._seconds.keys())
        chosen: list[Test] = []
        for _, seconds, test in near:
            if sum(one.seconds for one in chosen) + seconds <= BUDGET_S and len(chosen) < MOST:
                chosen.append(Test(test, seconds))
        return chosen

    def _lines_of(self, mutant: Mutant) -> Iterator[tuple[str, int]]:
        """The lines that somebody runs who can see the mutant."""
        if _in_function(mutant):
            yield from ((mutant.file, line) for line in range(mutant.first_line, mutant.last_line + 1))
            return
        named = re.match(r"(\w+)(?:: [^=]+)? = ", mutant.was)
        word = re.compile(rf"\b{named.group(1)}\b") if named else None
        for name, lines in self._sources.items():
            for number, line in enumerate(lines, 1):
                if name == mutant.file or (word and word.search(line)):
                    yield name, number


def folders_for(mutant: Mutant, root: Path) -> str:
    """The folder of tests that mirrors a mutant's file, as far as it is there."""
    folder = Path(_mirror(mutant.file))
    while not (root / folder).is_dir():
        folder = folder.parent
    return str(folder)


def _in_function(mutant: Mutant) -> bool:
    return bool(mutant.function) and not mutant.function.split(".")[-1][:1].isupper()


def _mirror(file: str) -> str:
    """tests/domain/ for ezrec/domain/film.py."""
    return f"tests/{'/'.join(file.split('/')[1:-1])}/"


def _function_of(test: str) -> str:
    return test.partition("[")[0]


def total_s(tests: Iterable[Test]) -> float:
    """How long tests take together."""
    return sum(test.seconds for test in tests)
