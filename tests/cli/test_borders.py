"""What a command meets on a real machine: folders, stores, settings and streams that are not as they should be."""

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from ezrec import cli
from ezrec.domain.booking import Booking
from ezrec.domain.clock import SECOND
from ezrec.domain.stages import Stage
from ezrec.store import Store

ROOT = Path(__file__).parents[2]
ODD = "odd\x1b[31m\u202e [/x]"

WORDS = {  # of each command; what follows its name
    "run": [], "demo": ["--seconds", "2"], "check": [], "calibrate": [], "fleet": [], "device list": [],
    "device add": [], "device revoke": ["7f1a2b3c-0000-4000-8000-000000000001"], "footage": [], "tables": [],
    "cleanup": ["--dry-run"],
    "setup": ["--help"], "install": ["--help"], "uninstall": ["--help"],  # whoever runs the tests may be root
    "migrate": ["old", "--dry-run"], "status": [], "alerts list": ["--all"], "alerts test": [],
    "bookings list": ["--all"], "bookings add": ["--in", "1m", "--for", "1m"], "bookings cancel": ["match"],
    "bookings import": ["rows.json"], "films list": [], "films show": ["match"], "films explain": ["match"],
    "films retry": ["match"], "films rescue": ["match", "--start", "2020-01-01 10:00", "--end", "2020-01-01 11:00"],
}


def commands() -> Iterator[str]:
    """Every command that does something, by its words."""
    waiting: list[tuple[list[str], Any]] = [([], typer.main.get_command(cli.app))]
    while waiting:
        words, command = waiting.pop()
        inner = getattr(command, "commands", {})
        waiting += [([*words, name], one) for name, one in inner.items()]
        if not inner:
            yield " ".join(words)


async def furnish(data: Path) -> None:
    """A store with a film whose reason and whose booking's status hold what a terminal would obey."""
    store = await Store.open(data / "ezrec.db", create=True)
    await store.put_booking(Booking("match", "cli", 10 * SECOND, 20 * SECOND, ODD.lower()))
    await store.add_film("match", "19700101-0000-1", 10 * SECOND, 20 * SECOND)
    await store.step("match", Stage.RECORDING)
    await store.park("match", "film", ODD)
    await store.close()


def _sql(place: Path, text: str) -> None:
    with sqlite3.connect(place / "data" / "ezrec.db") as db:
        db.execute(text)
    db.close()


def _data_is_a_file(place: Path) -> None:
    (place / "data").rename(place / "other")
    (place / "data").write_text("x")


def _data_is_below_a_file(place: Path) -> None:
    (place / "file").write_text("x")
    (place / "config.toml").write_text('[paths]\ndata = "file/data"\n')


def _data_is_a_link_to_itself(place: Path) -> None:
    (place / "data").rename(place / "other")
    (place / "data").symlink_to("data")


def _data_cannot_be_written(place: Path) -> None:
    (place / "data").chmod(0o555)


def _data_cannot_be_entered(place: Path) -> None:
    (place / "data").chmod(0)


def _data_cannot_be_made(place: Path) -> None:
    (place / "shut").mkdir(0o555)
    (place / "config.toml").write_text('[paths]\ndata = "shut/data"\n')


def _the_store_is_another_user_s(place: Path) -> None:
    for path in (place / "data", *(place / "data").iterdir()):
        path.chmod(0o755 if path.is_dir() else 0o644)
        if os.geteuid() == 0:
            os.chown(path, 1, 1)
        else:
            path.chmod(0o555 if path.is_dir() else 0o444)


def _the_store_is_read_only(place: Path) -> None:
    (place / "data" / "ezrec.db").chmod(0o444)


def _the_store_is_a_folder(place: Path) -> None:
    (place / "data" / "ezrec.db").unlink()
    (place / "data" / "ezrec.db").mkdir()


def _the_store_is_no_database(place: Path) -> None:
    (place / "data" / "ezrec.db").write_bytes(b"\x07" * 9000)


def _the_store_is_of_a_later_version(place: Path) -> None:
    _sql(place, "PRAGMA user_version = 99")


def _the_store_holds_rows_that_cannot_be_true(place: Path) -> None:
    _sql(place, "UPDATE film SET ends_at = 9000000000000000000, certificate = '[1'")


def _the_settings_are_a_folder(place: Path) -> None:
    (place / "config.toml").mkdir()


def _the_settings_are_no_text(place: Path) -> None:
    (place / "config.toml").write_bytes(b"\x81\xff\x00")


def _the_settings_cannot_be_read(place: Path) -> None:
    (place / "config.toml").write_text("")
    (place / "config.toml").chmod(0)


def _the_settings_hold_odd_paths(place: Path) -> None:
    (place / "config.toml").write_text(f'[paths]\ndata = "{"x" * 300}"\nlogs = "a\\u0000b"\n')


def _the_rows_are_a_folder(place: Path) -> None:
    (place / "rows.json").unlink()
    (place / "rows.json").mkdir()
    (place / "config.toml").write_text('[bookings]\nfile = "rows.json"\n')


def _nothing(_place: Path) -> None:
    pass


SURROUNDINGS: dict[str, tuple[Callable[[Path], None], str]] = {
    make.__name__[1:]: (make, "") for make in (
        _data_is_a_file, _data_is_below_a_file, _data_is_a_link_to_itself, _data_cannot_be_written,
        _data_cannot_be_entered, _data_cannot_be_made, _the_store_is_another_user_s, _the_store_is_read_only,
        _the_store_is_a_folder, _the_store_is_no_database, _the_store_is_of_a_later_version,
        _the_store_holds_rows_that_cannot_be_true, _the_settings_are_a_folder, _the_settings_are_no_text,
        _the_settings_cannot_be_read, _the_settings_hold_odd_paths, _the_rows_are_a_folder)
} | {wrong.replace(" ", "_"): (_nothing, wrong) for wrong in (
    "stdin and stdout closed", "no streams", "stdout full", "no file may grow", "folder gone", "ascii",
    "no home and no terminal")}


def walk(place: Path, wrong: str = "") -> list[tuple[list[str], int, str, str]]:
    """Run every command in `place`: its words, exit status, stdout, stderr."""
    lines = [[*name.split(), *WORDS[name]] for name in sorted(commands())] + [["check", "--cameras"]]
    env = {name: value for name, value in os.environ.items() if not name.startswith("EZREC_")} | {
        "PYTHONPATH": str(ROOT), "COLUMNS": "80", "TERM": "dumb"}
    if wrong == "no home and no terminal":
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "LANG": "C"}
    done = subprocess.run([sys.executable, "-m", "tests.fakes.walk", json.dumps(lines), wrong], cwd=place, env=env,
                          capture_output=True, timeout=300, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr.decode()
    return [(words, *answer) for words, answer in zip(lines, json.loads(done.stdout), strict=True)]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "court"
    (place / "data").mkdir(parents=True)
    (place / "old" / "recordings").mkdir(parents=True)
    asyncio.run(furnish(place / "data"))
    row = {"id": "1", "start_time": "2020-01-01T10:00Z", "end_time": "2020-01-01T11:00Z"}
    (place / "rows.json").write_text(json.dumps([row]))
    yield place
    for path in (place / "data", place / "shut"):
        if path.is_dir():
            path.chmod(0o755)


@pytest.mark.parametrize("name", SURROUNDINGS)
def test_no_command_ends_with_a_traceback_whatever_its_surroundings_are(place: Path, name: str) -> None:
    make, wrong = SURROUNDINGS[name]
    make(place)
    for words, status, out, err in walk(place, wrong):
        said = f"{words}: {status}\n{out}\n{err}"
        assert "Traceback" not in out + err, said
        assert "a mistake in EZREC" not in out + err, said
        assert status in (0, 1, 2, -15, 130), said  # -15: it was at work, and asked to end
        if status in (1, 2) and wrong != "no streams" and words[0] not in ("check", "demo"):
            sentence = [line for line in err.splitlines() if line.startswith("ezrec: ") or "Error" in line]
            assert sentence or '"level": "error"' in out, said
            assert "[Errno" not in err, said
        assert "\x1b" not in out + err, said
        assert "\u202e" not in out + err, said
    if wrong == "no streams":  # nothing was printed into a file of ours
        with sqlite3.connect(place / "data" / "ezrec.db") as db:
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        db.close()


def test_every_command_is_walked() -> None:
    assert sorted(WORDS) == sorted(commands())
