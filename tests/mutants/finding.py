"""What can be changed in a source file so that a good test fails: each change is one mutant.

Changed are comparisons (by one boundary), arithmetic, `and` and `or` and their parts, `not`, conditions, numbers,
truths, words, entries of sets and dicts, returned values, statements left out, `break` and `continue`, and the
operators inside SQL. Named numbers are also set to nothing and doubled.

Left alone is what no test should pin down: log lines, texts for people, annotations, decorators, docstrings, the names
of tasks, protocols without a body. Positions are bytes of the file, so that a mutant differs in one place only and its
diff reads like a person's.
"""

import ast
import re
from itertools import pairwise

from tests.mutants.mutations import Mutant

COMPARISONS = {
    ast.Lt: ("<", "<="), ast.LtE: ("<=", "<"), ast.Gt: (">", ">="), ast.GtE: (">=", ">"), ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="), ast.Is: ("is", "is not"), ast.IsNot: ("is not", "is"), ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
}
ARITHMETIC = {
    ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.Mult: ("*", "/"), ast.Div: ("/", "*"), ast.FloorDiv: ("//", "/"),
    ast.Mod: ("%", "/"), ast.Pow: ("**", "*"), ast.LShift: ("<<", ">>"), ast.RShift: (">>", "<<"),
    ast.BitAnd: ("&", "|"),
}
SAME_EITHER_WAY = ("name", "thread_name_prefix", "sort_keys", "strict", "encoding")
"""Arguments that name a task or a thread, or ask for an order or a check that a right program does not need."""
CALLS = {"min": "max", "max": "min", "any": "all", "all": "any"}

_LOG_LINE = re.compile(r"(await )?(self\._)?(log|logs|say|_say)\b")
_SAYS = re.compile(r"\blogs?\.")
_WORD = re.compile(r"[A-Za-z0-9_.:/-]+")
_SQL = re.compile(r"""f?["']+\s*(SELECT|INSERT|UPDATE|DELETE|WHERE|AND|OR|ON|FROM|ORDER|GROUP)\b""")
_SQL_CHANGES = (
    (re.compile(r"(?<= )(<=|>=|<|>|!=|=)(?= )"),
     {"<": "<=", ">": ">=", "<=": "<", ">=": ">", "=": "!=", "!=": "="}),
    (re.compile(r"(?<= )(AND|OR)(?= (?!REPLACE|IGNORE))"), {"AND": "OR", "OR": "AND"}),
    (re.compile(r"\b(IS NULL|IS NOT NULL|NOT EXISTS|NOT IN)\b"),
     {"IS NULL": "IS NOT NULL", "IS NOT NULL": "IS NULL", "NOT EXISTS": "EXISTS", "NOT IN": "IN"}),
    (re.compile(r"\b(min|max)(?=\()"), {"min": "max", "max": "min"}),
    (re.compile(r"(?<== )([01])\b"), {"0": "1", "1": "0"}),
    (re.compile(r"(?<= )(ORDER BY \w+(?![\w,])|(?<=ORDER BY )\w+, |DESC)"), {}),
    (re.compile(r"\b(OR REPLACE|OR IGNORE)\b"), {"OR REPLACE": "OR IGNORE", "OR IGNORE": "OR REPLACE"}),
)


def mutants_of(file: str, source: bytes) -> list[Mutant]:
    """All mutants of a file, in its order."""
    found = _Statements(file, source)
    found.visit(ast.parse(source))
    different = {(mutant.start, mutant.end, mutant.new): mutant for mutant in found.mutants}
    return sorted(different.values(), key=lambda mutant: (mutant.start, mutant.end, mutant.new))


class _Text:
    """A file by bytes: where nodes begin and end, and what stands between them."""

    def __init__(self, source: bytes) -> None:
        self.source = source
        self._lines = [0]
        for line in source.splitlines(keepends=True):
            self._lines.append(self._lines[-1] + len(line))

    def span(self, node: ast.AST) -> tuple[int, int]:
        where = node  # any of them: expr, stmt, keyword
        return (self._lines[where.lineno - 1] + where.col_offset,  # type: ignore[attr-defined]
                self._lines[where.end_lineno - 1] + where.end_col_offset)  # type: ignore[attr-defined]

    def outer(self, node: ast.AST, low: int, high: int) -> tuple[int, int]:
        """The span of a node with the parentheses around it that lie in [low, high)."""
        start, end = self.span(node)
        while True:
            before, after = start - 1, end
            while before >= low and self.source[before:before + 1].isspace():
                before -= 1
            while after < high and self.source[after:after + 1].isspace():
                after += 1
            around = self.source[before:before + 1] == b"(" and self.source[after:after + 1] == b")"
            if not around or before < low or after >= high:
                return start, end
            start, end = before, after + 1

    def text(self, start: int, end: int) -> str:
        return self.source[start:end].decode()

    def lines(self, start: int, end: int) -> tuple[int, int]:
        """The bytes of the whole lines that [start, end) touches."""
        return self.source.rfind(b"\n", 0, start) + 1, self._line_end(end)

    def _line_end(self, at: int) -> int:
        found = self.source.find(b"\n", at)
        return len(self.source) if found < 0 else found


class _Expressions(ast.NodeVisitor):
    """Changes what stands inside a statement, and collects the mutants of both."""

    def __init__(self, file: str, source: bytes) -> None:
        self.mutants: list[Mutant] = []
        self._file = file
        self._text = _Text(source)
        self._names: list[str] = []
        self._functions = 0
        self._seen_by = (1, source.count(b"\n") + 1)

    # ---- collecting

    def _add(self, kind: str, start: int, end: int, new: str) -> None:
        low, high = self._text.lines(start, end)
        was = self._text.text(low, high)
        now = self._text.text(low, start) + new + self._text.text(end, high)
        self.mutants.append(Mutant(self._file, ".".join(self._names), kind, start, end, new, *self._seen_by,
                                   " ".join(was.split()), " ".join(now.split())))

    def _replace(self, kind: str, node: ast.AST, new: str) -> None:
        self._add(kind, *self._text.span(node), new)

    def _operator(self, kind: str, left: ast.AST, right: ast.AST, change: tuple[str, str]) -> None:
        """Change the operator that stands between two nodes."""
        start, end = self._text.span(left)[1], self._text.span(right)[0]
        pattern = r"\s+".join(re.escape(part) for part in change[0].split())
        if change[0][0].isalpha():
            pattern = rf"\b{pattern}\b"
        if found := re.search(pattern, self._text.text(start, end)):
            self._add(kind, start + found.start(), start + found.end(), change[1])

    # ---- expressions

    def _condition(self, test: ast.expr) -> None:
        """Turn a condition round that has no operator of its own to change."""
        has_one = isinstance(test, ast.Compare | ast.BoolOp | ast.Constant) or (
            isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not))
        if not has_one:
            self._replace("condition", test, f"not ({self._text.text(*self._text.span(test))})")

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self._condition(node.test)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        for test in node.ifs:
            self._replace("condition", test, "True")
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        nodes = [node.left, *node.comparators]
        for number, operator in enumerate(node.ops):
            self._operator("comparison", nodes[number], nodes[number + 1], COMPARISONS[type(operator)])
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        low, high = self._text.span(node)
        spans = [self._text.outer(value, low, high) for value in node.values]
        old, new = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        texts = [self._text.text(*span) for span in spans]
        between = [self._text.text(one[1], other[0]).replace(old, new, 1)
                   for one, other in pairwise(spans)]
        swapped = texts[0] + "".join(gap + text for gap, text in zip(between, texts[1:], strict=True))
        self._add("and, or", low, high, swapped)
        self._drop_each("and, or", spans)
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        sides = (node.left, node.right)
        texts = any(isinstance(side, ast.JoinedStr) or (isinstance(side, ast.Constant) and isinstance(side.value, str))
                    for side in sides)
        if isinstance(node.op, ast.BitOr):
            if not any(_is_type(side) for side in sides):
                start, end = self._text.span(node)
                self._add("arithmetic", self._text.outer(node.left, start, end)[1], end, "")
        elif type(node.op) in ARITHMETIC and not texts:
            self._operator("arithmetic", *sides, ARITHMETIC[type(node.op)])
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        start, end = self._text.span(node)
        if isinstance(node.op, ast.Not):
            self._add("not", start, self._text.outer(node.operand, start, end)[0], "")
        elif isinstance(node.op, ast.USub) and not isinstance(node.operand, ast.Constant):
            self._add("arithmetic", start, self._text.outer(node.operand, start, end)[0], "")
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name in ("cast", "TypeVar"):
            return
        if name in CALLS:
            self._replace("call", node.func, CALLS[name])
        self.visit(node.func)
        for value in node.args:
            self.visit(value)
        for keyword in node.keywords:
            if keyword.arg not in SAME_EITHER_WAY:
                self.visit(keyword.value)

    def visit_Set(self, node: ast.Set) -> None:
        if len(node.elts) > 1:
            low, high = self._text.span(node)
            self._drop_each("entry", [self._text.outer(value, low, high) for value in node.elts])
        self.generic_visit(node)

    def visit_Dict(self, node: ast.Dict) -> None:
        if len(node.keys) > 1 and all(node.keys):
            low, high = self._text.span(node)
            self._drop_each("entry", [(self._text.span(key)[0], self._text.outer(value, low, high)[1])
                                      for key, value in zip(node.keys, node.values, strict=True) if key])
        self.generic_visit(node)

    def _drop_each(self, kind: str, spans: list[tuple[int, int]]) -> None:
        """Drop one of several that follow each other, with what stands between it and its neighbour."""
        for number, (start, end) in enumerate(spans):
            if number:
                self._add(kind, spans[number - 1][1], end, "")
            else:
                self._add(kind, start, spans[1][0], "")

    def visit_Constant(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, bool):
            self._replace("truth", node, str(not value))
        elif isinstance(value, int):
            self._replace("number", node, str(value + 1 if value < 10 else value * 2))
        elif isinstance(value, float):
            self._replace("number", node, str(value * 2 or 1.0))
        elif isinstance(value, str):
            self._string(node)
            if _WORD.fullmatch(value) and value != "utf-8":
                start, end = self._text.span(node)
                if self._text.text(start, end) in (f'"{value}"', f"'{value}'"):
                    self._add("word", start + 1, start + 1, "XX")

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        self._string(node)

    def _string(self, node: ast.Constant | ast.JoinedStr) -> None:
        """Change what is SQL in a text."""
        start, end = self._text.span(node)
        text = self._text.text(start, end)
        if not _SQL.match(text):
            return
        for pattern, changes in _SQL_CHANGES:
            for found in pattern.finditer(text):
                token = found.group(1)
                if token == "=" and not _is_compared(text[: found.start()]):
                    continue
                low = start + len(text[: found.start(1)].encode())
                self._add("SQL", low, low + len(token.encode()), changes.get(token, ""))


class _Statements(_Expressions):
    """Walks a file: changes its statements, and knows which function it is in and who runs it."""

    def visit(self, node: ast.AST) -> None:
        if isinstance(node, ast.stmt) and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            before = self._seen_by
            if self._functions:
                body = getattr(node, "body", None)
                last = body[0].lineno - 1 if body else node.end_lineno or node.lineno
                self._seen_by = (node.lineno, max(node.lineno, last))
            super().visit(node)
            self._seen_by = before
        else:
            super().visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        if any(isinstance(base, ast.Name) and base.id == "Protocol" for base in node.bases):
            return
        self._names.append(node.name)
        for statement in node.body:
            self.visit(statement)
        self._names.pop()

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        before = self._seen_by
        self._names.append(node.name)
        self._functions += 1
        self._seen_by = (node.body[0].lineno, node.end_lineno or node.lineno)
        for default in (*node.args.defaults, *node.args.kw_defaults):
            if default:
                self.visit(default)
        for statement in node.body:
            self.visit(statement)
        self._functions -= 1
        self._names.pop()
        self._seen_by = before

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815 - ast names it

    def visit_Expr(self, node: ast.Expr) -> None:
        value = node.value.value if isinstance(node.value, ast.Await) else node.value
        if isinstance(value, ast.Constant) or _LOG_LINE.match(self._text.text(*self._text.span(node))):
            return
        if isinstance(value, ast.Call):
            self._replace("statement left out", node, "pass")
        self.visit(node.value)

    def visit_Assign(self, node: ast.Assign) -> None:
        target = node.targets[0]
        text = self._text.text(*self._text.span(node))
        if _SAYS.search(text) or (isinstance(target, ast.Name) and target.id == "__all__"):
            return
        if isinstance(target, ast.Attribute | ast.Subscript) and "__init__" not in self._names[-1:]:
            self._replace("statement left out", node, "pass")
        named = isinstance(target, ast.Name) and target.id.lstrip("_").isupper() and not self._functions
        if named and _is_number(node.value):
            self._replace("named number", node.value, "0")
            self._replace("named number", node.value, f"2 * ({self._text.text(*self._text.span(node.value))})")
            return
        self.visit(node.value)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value:
            self.visit(node.value)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if type(node.op) in (ast.Add, ast.Sub):
            old, new = ARITHMETIC[type(node.op)]
            self._operator("arithmetic", node.target, node.value, (f"{old}=", f"{new}="))
        else:
            self._replace("statement left out", node, "pass")
        self.visit(node.value)

    def visit_Delete(self, node: ast.Delete) -> None:
        self._replace("statement left out", node, "pass")

    def visit_Raise(self, node: ast.Raise) -> None:
        self._replace("statement left out", node, "pass")

    def visit_Break(self, node: ast.Break) -> None:
        self._replace("loop", node, "continue")

    def visit_Continue(self, node: ast.Continue) -> None:
        self._replace("loop", node, "break")

    def visit_Return(self, node: ast.Return) -> None:
        if node.value is None:
            return
        if not (isinstance(node.value, ast.Constant) and node.value.value in (None, True, False)):
            self._replace("returned value", node.value, "None")
        self.visit(node.value)

    def visit_If(self, node: ast.If) -> None:
        if "TYPE_CHECKING" not in self._text.text(*self._text.span(node.test)):
            self._condition(node.test)
            self.generic_visit(node)

    def visit_While(self, node: ast.While) -> None:
        self._condition(node.test)
        self.generic_visit(node)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        for statement in node.body:
            self.visit(statement)


def _is_number(node: ast.expr) -> bool:
    """Whether an expression is made of numbers and the names of numbers."""
    if isinstance(node, ast.BinOp):
        return _is_number(node.left) and _is_number(node.right)
    if isinstance(node, ast.Name):
        return node.id.isupper()
    return isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool)


def _is_type(node: ast.expr) -> bool:
    """Whether an operand of `|` is a type."""
    if isinstance(node, ast.BinOp):
        return _is_type(node.left)
    if isinstance(node, ast.Name):
        return node.id[0].isupper() or node.id in ("str", "int", "float", "bool", "bytes", "dict", "list", "tuple")
    return isinstance(node, ast.Subscript) or (isinstance(node, ast.Constant) and node.value is None) or (
        isinstance(node, ast.Attribute) and node.attr[0].isupper())


def _is_compared(before: str) -> bool:
    """Whether an `=` behind this SQL compares, and does not set."""
    words: list[str] = re.findall(r"\b(?:WHERE|ON|AND|OR|SET|WHEN)\b", before)
    return bool(words) and words[-1] != "SET"
