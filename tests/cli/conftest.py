"""Commands that run in this process, in an empty folder."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ezrec import cli
from ezrec.config import loading

Said = tuple[int, str, str]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder; the machine has no settings of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loading, "SYSTEM_FILE", tmp_path / "etc" / "config.toml")
    monkeypatch.setenv("COLUMNS", "400")
    return tmp_path


@pytest.fixture
def ezrec(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Run a command in this process: exit status, stdout, stderr."""
    def run(*words: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["ezrec", *words])
        with pytest.raises(SystemExit) as left:
            cli.main()
        out, err = capsys.readouterr()
        return int(left.value.code or 0), out, err

    return run
