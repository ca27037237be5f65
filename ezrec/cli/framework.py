"""Typer, as the commands use it: options of the whole program stand before a command's name or behind it."""

from collections.abc import Iterator, Sequence
from typing import Any

from typer.core import TyperCommand, TyperGroup

ANYWHERE = ("--config", "-c", "--data")
"""Options that take a value and stand anywhere on the command line."""


class _PlainFlags:
    """A flag's help says what it does, not that it is a `<bool>`."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The command's options and arguments."""
        params: list[Any] = super().get_params(ctx)  # type: ignore[misc]  # of the class that this one is mixed into
        for param in params:
            if getattr(param, "is_flag", False):
                param.metavar = ""
        return params


class Command(_PlainFlags, TyperCommand):
    """A command."""


class Group(_PlainFlags, TyperGroup):
    """A group of commands."""


class Program(Group):
    """All of them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take the program's own options from wherever they stand."""
        return super().parse_args(ctx, in_front(args))


def in_front(args: Sequence[str]) -> list[str]:
    """The command line with the options that may stand anywhere before everything else."""
    own: list[str] = []
    others: list[str] = []
    rest = iter(args)
    for word in rest:
        if word == "--":
            others += [word, *rest]
        elif word in ANYWHERE:
            own += [word, *_one(rest)]
        elif word.startswith(tuple(f"{name}=" for name in ANYWHERE if name.startswith("--"))):
            own.append(word)
        else:
            others.append(word)
    return own + others


def _one(rest: Iterator[str]) -> Iterator[str]:
    """The next word, if there is one."""
    word = next(rest, None)
    if word is not None:
        yield word
