"""A plugin for pytest that writes down which lines of the program each test runs, and how long the test takes.

    python -m pytest -p tests.mutants.seeing --seen FILE

FILE.lines.N holds coverage's data, its contexts named by test, FILE.tests.N the tests' seconds; N differs from
process to process. Lines that another process runs (a worker of the pool) are not seen.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import coverage
import pytest

QUIET = ["already-imported", "module-not-imported", "module-not-measured", "no-data-collected"]
"""Warnings of coverage, which would be errors here. A process that only hands tests out sees nothing."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take the file's name."""
    parser.addoption("--seen", default=None)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Begin before the program is imported."""
    if config.getoption("--seen"):
        config.pluginmanager.register(_Seeing(Path(config.getoption("--seen"))), "seeing-tests")


class _Seeing:
    def __init__(self, out: Path) -> None:
        self._out = out
        self._seconds: dict[str, float] = {}
        self._failed: set[str] = set()
        self._coverage = coverage.Coverage(data_file=f"{out}.lines.{os.getpid()}", config_file=False,
                                           source=["ezrec"], messages=False)
        self._coverage.set_option("run:disable_warnings", QUIET)
        self._coverage.start()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._coverage.switch_context(item.nodeid)
        try:
            return (yield)
        finally:
            self._coverage.switch_context("")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds[report.nodeid] = self._seconds.get(report.nodeid, 0.0) + report.duration
        if report.outcome != "passed":
            self._failed.add(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        self._coverage.stop()
        self._coverage.save()
        tests = {test: seconds for test, seconds in self._seconds.items() if test not in self._failed}
        Path(f"{self._out}.tests.{os.getpid()}").write_text(json.dumps(tests), "utf-8")
