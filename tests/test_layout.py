"""The shape of the code: imports run downwards only, no file grows out of hand, and there is no junk room."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "ezrec").rglob("*.py"))
LONGEST = 500  # lines of a file
LONGEST_CLASS = 250
LONGEST_FUNCTION = 60
ONE_PAGE = "supervisor.py"  # the whole program; its one function is as long as there are things to build
BANNED = ("util", "utils", "helper", "helpers", "manager", "common", "misc", "base")


def test_imports_run_downwards_only_and_every_other_rule_of_the_layers_holds() -> None:
    done = subprocess.run([sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()",
                           "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout
    assert "imports run downwards only, and there is no other module KEPT" in done.stdout


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_file_is_short_enough_to_be_read(file: Path) -> None:
    assert len(file.read_text("utf-8").splitlines()) <= LONGEST


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_class_and_no_function_needs_a_long_scroll(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.ClassDef):
            assert (node.end_lineno or 0) - node.lineno < LONGEST_CLASS, node.name
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and file.name != ONE_PAGE:
            assert (node.end_lineno or 0) - node.lineno < LONGEST_FUNCTION, node.name


def test_no_two_classes_have_one_name() -> None:
    """A reader who meets a name knows what is meant; private classes are their file's own."""
    seen: dict[str, Path] = {}
    for file in SOURCES:
        for node in ast.parse(file.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                assert node.name not in seen, f"{node.name}: {seen[node.name]} and {file}"
                seen[node.name] = file


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_file_is_named_for_what_it_does_and_opens_with_its_purpose(file: Path) -> None:
    assert not set(BANNED) & set(file.stem.split("_"))
    assert file.read_text("utf-8").startswith('"""')


def test_a_task_has_a_file_of_its_name() -> None:
    """File name = asyncio task name = the log key `task`: a log line names its file."""
    tasks = ROOT / "ezrec" / "tasks"
    names = {path.stem for path in tasks.rglob("*.py")} | {path.name for path in tasks.iterdir()}
    names |= {path.stem for path in (ROOT / "ezrec" / "actions").glob("*.py")} | {"pipeline", "store", "supervisor"}
    text = "".join(path.read_text("utf-8") for path in (ROOT / "ezrec").rglob("*.py"))
    said = {part.split('"')[1] for part in text.split("logs.get(")[1:] if part.startswith('"')}
    assert said <= names | {"logs"}


def test_the_recorders_own_process_loads_nothing_that_its_settings_do_not_ask_for() -> None:
    """OpenCV takes 15 MB, and the recorder never draws; a cloud's libraries take as much."""
    code = ("import sys, ezrec.__main__, ezrec.cli, ezrec.supervisor;"
            " print(sorted({'cv2', 'httpx', 'postgrest', 'aioboto3', 'botocore', 'aiohttp'} & set(sys.modules)))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
