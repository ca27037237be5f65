"""What the mutants change, and what they leave alone: a runner that changes nothing would find every test good."""

from pathlib import Path

import pytest

from tests.mutants.finding import mutants_of
from tests.mutants.mutations import is_whole

ROOT = Path(__file__).parents[2]


def changes(source: str) -> set[str]:
    """The changed lines of all mutants of a small file."""
    return {mutant.now for mutant in mutants_of("a.py", source.encode())}


def inside(statement: str) -> set[str]:
    return changes(f"def work(a, b, c):\n    {statement}\n")


@pytest.mark.parametrize(("statement", "expected"), [
    ("x = a < b", {"x = a <= b"}),
    ("x = a not in b", {"x = a in b"}),
    ("x = a is not b", {"x = a is b"}),
    ("x = a + b", {"x = a - b"}),
    ("x = a // b", {"x = a / b"}),
    ("x += a", {"x -= a"}),
    ("x = a and (b or c)", {"x = a or (b or c)", "x = (b or c)", "x = a", "x = a and (b and c)", "x = a and (c)",
                            "x = a and (b)"}),
    ("x = not (a)", {"x = (a)"}),
    ("x = a[-1]", {"x = a[-2]"}),
    ("x = 100", {"x = 200"}),
    ("x = True", {"x = False"}),
    ("x = 'word'", {"x = 'XXword'"}),
    ("x = {a, b}", {"x = {b}", "x = {a}"}),
    ("x = {a: (b), c: a}", {"x = {c: a}", "x = {a: (b)}"}),
    ("x = [a for a in b if a]", {"x = [a for a in b if True]"}),
    ("x = min(a, b)", {"x = max(a, b)"}),
    ("x = a if b else c", {"x = a if not (b) else c"}),
    ("a(b)", {"pass"}),
    ("a.b = c", {"pass"}),
    ("raise a", {"pass"}),
    ("return a", {"return None"}),
    ("while a: break", {"while not (a): break", "while a: continue"}),
])
def test_a_statement_is_changed_in_each_way_that_counts(statement: str, expected: set[str]) -> None:
    assert inside(statement) == expected


@pytest.mark.parametrize("statement", [
    '"""A docstring with 1 < 2."""', 'log.info("said", number=1)', 'raise a("for people", 1) from None',
    'x = "a text for people"', "x: dict[int, 'str'] = a", 'x = call(name="task")', "x = f'{a + 1}'",
])
def test_what_no_test_should_pin_down_is_left_alone(statement: str) -> None:
    assert inside(statement) <= {"pass"}


def test_a_named_number_is_set_to_nothing_and_doubled() -> None:
    assert changes("LIMIT_US = 6 * SECOND\n") == {"LIMIT_US = 0", "LIMIT_US = 2 * (6 * SECOND)"}


@pytest.mark.parametrize(("sql", "expected"), [
    ("SELECT a FROM b WHERE c = ? AND d < ?", {"c != ? AND d < ?", "c = ? OR d < ?", "c = ? AND d <= ?"}),
    ("SELECT a FROM b WHERE c IS NULL", {"c IS NOT NULL"}),
])
def test_a_question_to_the_database_is_changed_where_it_decides(sql: str, expected: set[str]) -> None:
    assert {now.partition("WHERE ")[2].rstrip('"') for now in inside(f'x = "{sql}"')} == expected


def test_what_a_row_is_set_to_is_no_comparison() -> None:
    assert inside('x = "UPDATE a SET b = ?"') == set()


def test_an_order_is_dropped_by_its_first_column() -> None:
    assert inside('x = "SELECT a FROM b ORDER BY c, d"') == {'x = "SELECT a FROM b ORDER BY d"'}
    assert inside('x = "SELECT a FROM b ORDER BY c"') == {'x = "SELECT a FROM b "'}


def test_every_change_of_a_real_file_is_a_program_that_differs_in_one_place() -> None:
    file = ROOT / "ezrec" / "domain" / "planning.py"
    source = file.read_bytes()
    mutants = mutants_of("ezrec/domain/planning.py", source)
    assert len(mutants) > 50
    for mutant in mutants:
        assert is_whole(mutant, source), mutant
        assert mutant.applied(source)[: mutant.start] == source[: mutant.start]


def test_a_change_keeps_its_name_when_its_line_moves() -> None:
    text = "def work(a):\n    return a < 1\n"
    assert {one.key for one in mutants_of("a.py", text.encode())} == {
        one.key for one in mutants_of("a.py", f"\n\nUNIT = 'ü'\n{text}".encode()) if one.function}
