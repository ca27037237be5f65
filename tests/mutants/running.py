"""Copies of the project in which mutants are tried: the working tree itself is never touched."""

import difflib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.mutations import Mutant
from tests.mutants.selection import Test, total_s

SLOW_S = 0.5  # a test that takes longer may wait for real time: on a busy machine it may fail without a reason
LEAST_LIMIT_S, TIMES = 40.0, 4.0  # a run may take so many times what its tests take, and the least on top of it
LEFT_OUT = ("tests/whole", "tests/cloud", "tests/bench", "tests/lab", "tests/mutants", "tests/test_promises.py",
            "tests/test_layout.py", "tests/media/test_browser.py")
"""Tests of the whole program, of the sources' shape, and of what is not of Python: too slow, or too far away."""

NO_TESTS = 5  # pytest's status
_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant."""

    mutant: Mutant
    killed: bool
    by: str  # the test, or how else; why not
    diff: str = ""


class TreeBroken(Exception):
    """The tests do not even run, or fail without a mutant."""


class Tree:
    """A copy of the project's files as they are now, with a Python that imports the program from there."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.path = folder / "tree"
        self._folder = folder
        listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=root,
                                capture_output=True, text=True, check=True).stdout
        for name in filter(None, listed.split("\0")):
            if (root / name).is_file():
                (self.path / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(root / name, self.path / name)
        modules = "tests/fakes/cloud/node_modules"
        if (root / modules).is_dir():
            (self.path / modules).symlink_to((root / modules).resolve())

    def see(self, out: Path, processes: int) -> None:
        """Run all tests that may be asked for, and have written down what each runs.

        Raises:
            TreeBroken: none passed.
        """
        ignored = [f"--ignore={name}" for name in LEFT_OUT]
        status, output = self._pytest(["-p", "tests.mutants.seeing", "--seen", str(out), "-n", str(processes),
                                       *ignored, "tests"], limit_s=3600)
        if status not in (0, 1) or not list(out.parent.glob(f"{out.name}.tests.*")):
            raise TreeBroken(f"the tests do not run: pytest ended with {status}\n{output[-3000:]}")

    def try_mutant(self, mutant: Mutant, tests: Sequence[Test], folder: str = "") -> Verdict:
        """Apply a mutant, run the tests that can see it, and take it away again.

        With `folder` all tests of that folder run.
        """
        file = self.path / mutant.file
        source = file.read_bytes()
        diff = _diff(mutant, source)
        if not tests and not folder:
            return Verdict(mutant, killed=False, by="no test runs this line", diff=diff)
        try:
            file.write_bytes(mutant.applied(source))
            _forget_compiled(file)
            killed, by = self._is_killed([folder] if folder else [test.name for test in tests],
                                         {test.name: test.seconds for test in tests})
        finally:
            file.write_bytes(source)
            _forget_compiled(file)
        return Verdict(mutant, killed, by, diff)

    def _is_killed(self, names: Sequence[str], seconds: dict[str, float]) -> tuple[bool, str]:
        left = list(names)
        while left:
            limit_s = LEAST_LIMIT_S + TIMES * (total_s(Test(name, seconds.get(name, 60.0)) for name in left))
            status, output = self._pytest(["-x", *left], limit_s)
            if status is None:
                return True, f"no end within {limit_s:.0f} s"
            if status == 0:
                return False, f"{len(left)} passed"
            if status == NO_TESTS:
                raise TreeBroken(f"no tests: {left}\n{output[-2000:]}")
            failed = _FAILED.search(output)
            name = failed.group(1).partition("[")[0] if failed else ""
            if status != 1 or not name or seconds.get(name, SLOW_S) < SLOW_S:
                return True, failed.group(1) if failed else "the program cannot be imported"
            status, _ = self._pytest(["-x", name], LEAST_LIMIT_S + TIMES * seconds.get(name, 60.0))
            if status != 0:
                return True, failed.group(1) if failed else name
            left.remove(name)  # it failed once and not again: chance, which is no kill
        return False, "only chance failed"

    def _pytest(self, arguments: Sequence[str], limit_s: float) -> tuple[int | None, str]:
        """Pytest's status (None: it had to be ended) and what it printed."""
        scratch = self._folder / "tmp"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        environment = {name: value for name, value in os.environ.items() if name != "CI"}
        environment |= {"PYTHONPATH": str(self.path), "TMPDIR": str(scratch)}
        command = [sys.executable, "-m", "pytest", "-q", "--tb=no", "-rfE", "-p", "no:cacheprovider",
                   f"--basetemp={scratch / 'pytest'}", *arguments]
        with (self._folder / "output").open("w+", encoding="utf-8") as output:
            process = subprocess.Popen(command, cwd=self.path, env=environment, stdin=subprocess.DEVNULL, stdout=output,
                                       stderr=subprocess.STDOUT, start_new_session=True)
            try:
                status: int | None = process.wait(limit_s)
            except subprocess.TimeoutExpired:
                status = None
            finally:
                _end(process)
            output.seek(0)
            return status, output.read()


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a run and what it started; first in a way in which its fixtures still end what they started elsewhere."""
    for number, grace_s in ((signal.SIGINT, 10.0), (signal.SIGKILL, 10.0)):
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(grace_s)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # workers that outlived it


def _forget_compiled(file: Path) -> None:
    """A change within the same second and of the same length would not be noticed."""
    for compiled in (file.parent / "__pycache__").glob(f"{file.stem}.*.pyc"):
        compiled.unlink()


def _diff(mutant: Mutant, source: bytes) -> str:
    """The mutant as a patch."""
    before, after = (text.decode().splitlines(keepends=True) for text in (source, mutant.applied(source)))
    return "".join(difflib.unified_diff(before, after, f"a/{mutant.file}", f"b/{mutant.file}", n=3))
