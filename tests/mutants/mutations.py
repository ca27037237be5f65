"""A mutant: one change of one file of the program."""

import ast
from dataclasses import dataclass

Name = tuple[str, str, str, str]
"""File, function, and the changed lines before and after."""


@dataclass(frozen=True)
class Mutant:
    """One change of one file."""

    file: str  # below the project's root
    function: str  # with its classes, dotted; empty outside of all
    kind: str
    start: int  # what is changed: bytes of the file
    end: int
    new: str
    first_line: int  # of the statement that is changed: whoever runs it can see the change
    last_line: int
    was: str  # the changed lines, in one
    now: str

    def applied(self, source: bytes) -> bytes:
        """The file with this change."""
        return source[: self.start] + self.new.encode() + source[self.end:]

    @property
    def named(self) -> Name:
        """The change as equivalents.toml names it."""
        return self.file, self.function, self.was, self.now

    @property
    def key(self) -> str:
        """What names this change as long as its lines stay as they are, wherever in the file they stand."""
        return f"{self.file} {self.function} {self.kind} {self.was} -> {self.now}"


def is_whole(mutant: Mutant, source: bytes) -> bool:
    """Whether the mutant is still a program, and another one."""
    try:
        changed = ast.parse(mutant.applied(source))
    except SyntaxError:
        return False
    return ast.dump(changed) != ast.dump(ast.parse(source))
