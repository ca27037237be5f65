"""What holds for all tests."""

import os
from collections import Counter

import pytest

from tests.fakes.cloud.fixtures import *  # noqa: F403  pytest finds fixtures by their names here


def _skipped(config: pytest.Config) -> int:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    return len(reporter.stats.get("skipped", ())) if reporter else 0


def _why(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Why a test was skipped: the reason names the command that brings what is missing."""
    words = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return words.removeprefix("Skipped: ")


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a test that was skipped is a test that failed: everything it needs is there or can be installed."""
    if os.environ.get("CI") and _skipped(session.config) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what the skipped tests lack, a line for each reason, and why a session without a failed test failed."""
    reasons = Counter(_why(report) for report in terminalreporter.stats.get("skipped", ()))
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"{count} skipped: {reason}", yellow=True)
    if os.environ.get("CI") and (skipped := _skipped(config)):
        terminalreporter.write_line(f"skipped in CI: {skipped}; that counts as failed", red=True)
