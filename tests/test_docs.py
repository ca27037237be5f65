"""The commands in README.md and docs/: each `ezrec …` is one that the program takes, the harmless ones are run, and
the others are run by the tests that are named here or in the device (`make test-device`).
"""

import asyncio
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from ezrec.cli import app
from ezrec.config import load
from ezrec.config.places import read_tree
from ezrec.device.__main__ import _parser
from ezrec.store import Store
from tests.device.scenario import RUN_FOR_DOCS
from tests.fakes.cloud.s3 import S3

ROOT = Path(__file__).parents[1]
PAGES = sorted((*ROOT.glob("docs/*.md"), ROOT / "README.md"))
OPERATORS = ("install", "upgrading", "supabase", "replacing", "tunnel", "trouble", "migrating", "alerts")
"""The pages that an operator works by: every command in them is run by some test."""

HARMLESS = ("status", "alerts list", "bookings list", "films list", "footage", "tables", "--version")
PLACES = {"ID": "7f1a2b3c-0000-4000-8000-000000000001"}  # what stands for a value that only one kind of text can be
FILES = ("court_left.mp4", "court_right.mp4")
RUN_ELSEWHERE = {  # not ours, or not on this machine
    'psql "$DATABASE_URL"': "tests/cloud: what `ezrec tables` prints, run by psql on projects of every age",
    "ssh court-1": "the operator's own machine",
}


@cache
def _program() -> Any:
    return typer.main.get_command(app)


def blocks(page: Path) -> list[tuple[str, str]]:
    """The blocks of code of a page: language and text."""
    found = re.findall(r"^ *```(\w*)\n(.*?)^ *```$", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    return [(language, text) for language, text in found]


def lines(page: Path) -> list[str]:
    """The command lines of a page: in blocks that have no other language, and between backticks."""
    found = [line.strip() for language, block in blocks(page) if language in ("", "bash")
             for line in block.splitlines()]
    rest = re.sub(r"^ *```.*?^ *```$", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    found += [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", rest)]
    return [line.partition("   #")[0].strip() for line in found if line]


def parts(line: str) -> Iterator[str]:
    """The commands of a line, without what only says who runs them and where their output goes."""
    for part in line.split(" | "):
        plain = part.removeprefix("$ ").removeprefix("sudo ").removeprefix(".venv/bin/").strip()
        yield re.sub(r"\s*>\s*\S+$", "", plain)


def ours(page: Path) -> list[str]:
    """The `ezrec …` commands of a page; one with dots in it is none that a person types."""
    found = [part for line in lines(page) for part in parts(line)]
    return sorted({one for one in found if re.match(r"ezrec [a-z-]", one) and "…" not in one and "..." not in one})


def parse(command: str) -> None:
    """Let the program take a command line apart, without doing what it says. Raises what a wrong one raises."""
    words = [PLACES.get(word, word) for word in shlex.split(command)[1:]]
    if words[0] in ("install", "uninstall"):
        _parser().parse_args(words)
        return
    at: Any = _program()
    name = "ezrec"
    while hasattr(at, "commands"):
        while words and words[0].startswith("-"):
            words.pop(0)
        if not words:
            return
        name, at = words[0], at.commands[words[0]]
        words = words[1:]
    if words or not any(param.required for param in at.params):  # without any it is only named
        at.make_context(name, words).close()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_of_ours_in_a_page_is_one_that_the_program_takes(
        page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in FILES:
        Path(name).touch()
    for command in ours(page):
        try:
            parse(command)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - Typer has a Click of its own
            pytest.fail(f"{page.name}: {command}: {error!r}")


@pytest.mark.parametrize("page", OPERATORS)
def test_every_other_command_of_an_operators_page_is_run_by_some_test(page: str) -> None:
    commands = {part for language, block in blocks(ROOT / "docs" / f"{page}.md") if not language
                for line in block.splitlines() for part in parts(line.strip()) if part}
    known = {*RUN_FOR_DOCS, *RUN_ELSEWHERE}
    left = sorted(one for one in commands if not one.startswith("ezrec ")
                  and re.sub(r"ezrec-[0-9.]+-py3", "ezrec-…-py3", one) not in known)
    assert left == []


def test_the_harmless_ones_work_on_a_recorders_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    async def furnish() -> None:
        await (await Store.open(tmp_path / "data" / "ezrec.db", create=True)).close()

    (tmp_path / "data").mkdir()
    asyncio.run(furnish())
    commands = {one for page in PAGES for one in ours(page)
                if one.removeprefix("ezrec ").startswith(HARMLESS) and "--start" not in one}
    assert len(commands) >= len(HARMLESS) - 1
    for command in sorted(commands):
        done = CliRunner().invoke(app, shlex.split(command)[1:])
        assert done.exit_code == 0, f"{command}: {done.output} {done.exception!r}"


def test_settings_in_a_page_are_settings_that_can_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = [(page, block) for page in PAGES for language, block in blocks(page) if language == "toml"]
    assert {page.stem for page, _ in found} >= {"supabase", "README"}
    for page, block in found:
        problems: list[str] = []
        tree = tomllib.loads("\n".join(line.strip() for line in block.splitlines()))
        read_tree(tree, page.name, problems)
        assert problems == []
        if page.stem == "supabase":
            load(None, env={}, overrides=tree)


def test_the_buckets_rules_in_the_page_are_rules_that_an_s3_service_takes(ministack: S3) -> None:
    rules, cors = (json.loads(block) for language, block in blocks(ROOT / "docs" / "supabase.md")
                   if language == "json")
    bucket = ministack.make_bucket()
    with ministack.client() as s3:
        s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration=rules)
        s3.put_bucket_cors(Bucket=bucket, CORSConfiguration=cors)
        assert s3.get_bucket_cors(Bucket=bucket)["CORSRules"][0]["AllowedMethods"] == ["GET", "HEAD"]


def test_every_page_is_in_the_readmes_list() -> None:
    listed = set(re.findall(r"\(docs/([\w-]+)\.md", (ROOT / "README.md").read_text("utf-8")))
    assert {page.stem for page in PAGES if page.parent.name == "docs"} - {"README"} <= listed
