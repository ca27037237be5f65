"""The journal: what is new of the unit's lines, bounded in time and size, and never an error."""

import json
import time
from pathlib import Path

import pytest

from ezrec.adapters import journal
from ezrec.adapters.journal import read_journal


def a_journalctl(folder: Path, script: str) -> str:
    """A made-up command: the real one has no unit of ours to tell of here."""
    command = folder / "journalctl"
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(0o755)
    return str(command)


def entries(folder: Path, *messages: object, more: str = "") -> str:
    """One that tells these messages, and writes down what it was asked."""
    lines = [json.dumps({"__CURSOR": f"s={number}", "__REALTIME_TIMESTAMP": str(number), "_PID": "7",
                         "MESSAGE": message, "_CMDLINE": "ezrec run --secret"})
             for number, message in enumerate(messages)]
    (folder / "said").write_text("\n".join(lines) + "\n" + more)
    return a_journalctl(folder, f'echo "$@" >> {folder}/asked; cat {folder}/said')


async def test_only_what_is_new_is_asked_for_and_of_the_fields_only_what_tells_something(tmp_path: Path) -> None:
    command = entries(tmp_path, "one", [98, 195, 40], more="no json\n[1]\n")
    found = await read_journal(None, command)
    assert [json.loads(line) for line in found.lines] == [
        {"__REALTIME_TIMESTAMP": "0", "_PID": "7", "MESSAGE": "one"},
        {"__REALTIME_TIMESTAMP": "1", "_PID": "7", "MESSAGE": "b\N{REPLACEMENT CHARACTER}("}]
    assert (found.cursor, found.note) == ("s=1", "")
    await read_journal(found.cursor, command)
    first, second = (tmp_path / "asked").read_text().splitlines()
    assert "--unit=ezrec.service" in first
    assert "--since=-1h" in first
    assert "--after-cursor=s=1" in second
    assert "--since" not in second


@pytest.mark.parametrize(("script", "note"), [
    ("exit 1", "status 1"), ("exec sleep 60", "took longer"), ("head -c 3000000 /dev/zero", "a line of over")])
async def test_a_journal_that_cannot_be_read_is_said_and_holds_nobody_up(
        tmp_path: Path, script: str, note: str) -> None:
    begun_s = time.monotonic()
    found = await read_journal(None, a_journalctl(tmp_path, script), limit_s=0.5 if "sleep" in script else 20)
    assert (found.lines, note in found.note) == ((), True)
    assert time.monotonic() - begun_s < 20


async def test_a_machine_without_journalctl_says_so(tmp_path: Path) -> None:
    found = await read_journal("s=1", str(tmp_path / "none"))
    assert (found.lines, found.cursor) == ((), "s=1")
    assert "no journal" in found.note


async def test_more_than_fits_is_left_for_the_next_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "MOST_BYTES", 1000)
    found = await read_journal(None, entries(tmp_path, *("x" * 300 for _ in range(20))))
    assert 0 < len(found.lines) < 10
    assert found.cursor == f"s={len(found.lines) - 1}"
    assert "the rest comes" in found.note


@pytest.mark.skipif(not Path("/usr/bin/journalctl").exists(), reason="no journalctl here")
async def test_the_real_command_takes_what_it_is_asked() -> None:
    if not Path("/run/log/journal").is_dir() and not Path("/var/log/journal").is_dir():
        return  # it would say that there is no journal
    found = await read_journal(None)
    assert "status" not in found.note
