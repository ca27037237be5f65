"""How the commands speak to people: a console, instants and lengths in words, sentences that wrap as sentences.

What goes into a pipe or a file is not wrapped: a sentence is a line there.
"""

import os
import sys
from collections.abc import Iterable
from fractions import Fraction
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ezrec.domain.clock import SECOND, local_datetime

PIPED_WIDTH = 200  # characters of a table that no terminal limits


def console() -> Console:
    """Where a command prints for people."""
    free = "COLUMNS" not in os.environ and not sys.stdout.isatty()
    return Console(highlight=False, width=PIPED_WIDTH if free else None)


def table(*columns: str) -> Table:
    """A table whose cells are folded where they are too long, never cut: ids are there to be copied."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in columns:
        made.add_column(name, overflow="fold")
    return made


def sentences(out: Console, rows: Iterable[tuple[str, str] | str]) -> None:
    """Print sentences, each behind its label if it has one; what is too long goes on below its own beginning."""
    for row in rows:
        label, words = ("", row) if isinstance(row, str) else row
        if not out.is_terminal:
            print(f"{label}  {words}" if label else words, file=out.file)
            continue
        grid = Table.grid(padding=(0, 2, 0, 0))
        if label:
            grid.add_column(no_wrap=True)
        grid.add_column(overflow="fold")
        grid.add_row(*([Text(label)] if label else []), Text(words))
        out.print(grid)


def clock_time(us: int, zone: ZoneInfo, *, seconds: bool = True) -> str:
    """An instant (UTC µs) in court time: 2026-11-20 18:00:05."""
    return local_datetime(us, zone).strftime(
        "%Y-%m-%d %H:%M:%S" if seconds else "%Y-%m-%d %H:%M")


def window(starts_at: int, ends_at: int, zone: ZoneInfo) -> str:
    """A window (UTC µs) in court time: seconds only where they matter, the day of its end only if it is another one."""
    exact = any(us % (60 * SECOND) >= SECOND for us in (starts_at, ends_at))
    start, end = (clock_time(us, zone, seconds=exact) for us in (starts_at, ends_at))
    return f"{start} to {end[11:] if start[:10] == end[:10] else end}"


def length(seconds: float | Fraction) -> str:
    """A length in words: 12.5 s, 45 min, 61 min 30 s."""
    if seconds < 120:
        return f"{round(float(seconds), 1):g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"


def many(count: int, what: str) -> str:
    """A number of things: "1 frame", "2 frames"."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
