"""Whether what a row says can be true. A value that its column takes may still end every start, or lead out of the data
folder: a time that no calendar has, an id behind which there is none, a path with `..` in it.
"""

from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any

from ezrec.domain.clock import SECOND
from ezrec.folders import LARGEST_RUN

LARGEST_ID = LARGEST_RUN
"""A damaged number must not become the newest id, which the next one is counted from."""

LARGEST = 2**53
"""Of any other number. In µs it is 285 years; sums of a few of them stay far from SQLite's end."""

EARLIEST_US, LATEST_US = -7 * 24 * 3600 * SECOND, 7_258_118_400 * SECOND
"""UTC: about 1970, since a clock without a battery begins there; and the year 2200."""


def _segment(row: Any) -> bool:
    return bool(row["path"] == f"segments/{row['run']}/{row['camera']}/{row['start_us']}.ts")


def _film(row: Any) -> bool:
    return PurePosixPath(row["recording_id"]).parts == (row["recording_id"],) and row["recording_id"] != ".."


def _chunk(row: Any) -> bool:
    parts = PurePosixPath(row["path"]).parts
    return parts[:1] == ("films",) and ".." not in parts


_PATHS: Mapping[str, Callable[[Any], bool]] = {"segment": _segment, "film": _film, "chunk": _chunk}


def plausible(table: str, row: Any) -> bool:
    """Whether a row (a mapping by column) of a table can be true."""
    return all(_can_be(name, row[name]) for name in row.keys()) and (  # noqa: SIM118  sqlite3.Row iterates over values
        table not in _PATHS or _PATHS[table](row))


def _can_be(column: str, value: object) -> bool:
    if isinstance(value, str):
        value.encode()  # raises UnicodeError for bytes that are no text
        return "\0" not in value
    if not isinstance(value, int):
        return True
    if column == "at" or column.endswith("_at"):
        return EARLIEST_US <= value <= LATEST_US
    return abs(value) <= (LARGEST_ID if column == "id" else LARGEST)
