"""How the commands speak to people: a console, listings, instants and lengths in words, sentences that wrap as
sentences.

Text is text: nothing in it is markup, and what a terminal would obey is shown (`domain/showing.py`). What goes into a
pipe or a file is not wrapped: a sentence is a line there.
"""

import os
import shlex
import shutil
import sys
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from urllib.parse import unquote, urlparse
from zoneinfo import ZoneInfo

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ezrec.domain.clock import SECOND, local_datetime
from ezrec.domain.showing import visible, visible_lines
from ezrec.domain.stages import Stage

PIPED_WIDTH = 200  # characters of a listing that no terminal limits
APART = 2  # columns between cells


def program() -> str:
    """How this program was called, for a command that a person is to type."""
    called = Path(sys.argv[0])
    script = called if called.name == "ezrec" else Path(sys.executable).with_name("ezrec")
    if shutil.which("ezrec") == str(script) or not script.is_file():
        return "ezrec"
    here = Path.cwd()
    return shlex.quote(str(script.relative_to(here) if script.is_relative_to(here) else script))


def say(text: str, *, error: bool = False) -> None:
    """Print a sentence, or several lines; `error`: to stderr."""
    print(visible_lines(text), file=sys.stderr if error else sys.stdout)


def console() -> Console:
    """Where a command prints for people."""
    free = "COLUMNS" not in os.environ and not sys.stdout.isatty()
    return Console(highlight=False, markup=False, emoji=False, width=PIPED_WIDTH if free else None)


class Listing:
    """Rows under headings, each with a note that may be long: a path, a reason.

    What does not fit the terminal goes on below: first the notes, then everything behind the first column. Nothing is
    cut, and an id stays in one piece: it is there to be copied.
    """

    def __init__(self, *columns: str, note: str = "") -> None:
        self._rows: list[tuple[list[str], str]] = [(list(columns), note)]

    def add(self, *cells: str, note: str = "") -> None:
        """Add a row."""
        self._rows.append(([visible(cell) for cell in cells], visible(note)))

    def print(self, out: Console) -> None:
        """Print it as wide as the console is."""
        widths = [max(map(cell_len, column)) for column in zip(*(cells for cells, _ in self._rows), strict=True)]
        together = sum(widths) + APART * (len(widths) - 1)
        notes = max(cell_len(note) for _, note in self._rows)
        apart = together > out.width
        beside = not apart and together + APART + notes <= out.width
        for at, (cells, note) in enumerate(self._rows):
            style = "" if at else "bold"
            first, rest = ([cells[0]], cells[1:]) if apart else ([], cells)
            for cell in first:
                _line(out, cell, style)
            line = (" " * APART).join(_padded(cell, width) for cell, width in
                                      zip(rest, widths[len(first):], strict=True))
            _line(out, f"{line}{' ' * APART}{note}" if beside and note else line, style, indent=APART * len(first))
            if note and not beside and at:
                _line(out, note, style, indent=2 * APART)


def _padded(text: str, width: int) -> str:
    return text + " " * (width - cell_len(text))


def _line(out: Console, text: str, style: str, *, indent: int = 0) -> None:
    """One line, wrapped between words where it is too long and folded where a word is."""
    grid = Table.grid(padding=0)
    grid.add_column(width=indent)
    grid.add_column(overflow="fold")
    grid.add_row("", Text(text.rstrip(), style))
    out.print(grid) if cell_len(text) + indent > out.width else out.print(Text(" " * indent + text.rstrip(), style))


def sentences(out: Console, rows: Iterable[tuple[str, str] | str]) -> None:
    """Print sentences, each behind its label if it has one; what is too long goes on below its own beginning."""
    for row in rows:
        label, words = ("", row) if isinstance(row, str) else row
        label, words = visible(label), visible(words)
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


def window(starts_at: int, ends_at: int, zone: ZoneInfo, *, between: str = " to ") -> str:
    """A window (UTC µs) in court time: seconds only where they matter, the day of its end only if it is another one.

    Where the clocks change, each time says which of the two it is: 2027-10-31 01:30 CEST to 02:30 CET.
    """
    exact = any(us % (60 * SECOND) >= SECOND for us in (starts_at, ends_at))
    start, end = (clock_time(us, zone, seconds=exact) for us in (starts_at, ends_at))
    end = end[11:] if start[:10] == end[:10] else end
    if _clocks_change(starts_at, ends_at, zone):
        start, end = (f"{text} {local_datetime(us, zone):%Z}" for text, us in ((start, starts_at), (end, ends_at)))
    return f"{start}{between}{end}"


def window_short(starts_at: int, ends_at: int, zone: ZoneInfo) -> str:
    """A window (UTC µs) in court time for a listing: 2026-11-20 18:00–19:00."""
    return window(starts_at, ends_at, zone, between="–")


def _clocks_change(starts_at: int, ends_at: int, zone: ZoneInfo) -> bool:
    """Whether the clocks are changed within a window, or one of its ends is a time that comes twice that day."""
    start, end = (local_datetime(us, zone) for us in (starts_at, ends_at))
    twice = any(moment.replace(fold=1 - moment.fold).utcoffset() != moment.utcoffset() for moment in (start, end))
    return twice or start.utcoffset() != end.utcoffset()


def length(seconds: float | Fraction) -> str:
    """A length in words: 12.5 s, 45 min, 61 min 30 s."""
    if seconds < 120:
        return f"{round(float(seconds), 1):g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"


def stage(stage: Stage | None, url: str | None) -> str:
    """How far a film is, for people: one that is stored, and of which no working file is left, is done."""
    if stage is None:
        return "-"
    return "done" if stage is Stage.CLEANED and url else str(stage)


def place(url: str) -> str:
    """Where a film is, for people: the path of one on this device."""
    parts = urlparse(url)
    return unquote(parts.path) if parts.scheme == "file" else url


def many(count: int, what: str) -> str:
    """A number of things: "1 frame", "2 frames"."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
