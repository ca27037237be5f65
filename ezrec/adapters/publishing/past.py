"""What a Supabase project knows of one owner's films and bookings from before EZREC came: its tables, read once."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ezrec.domain.errors import ParkError

if TYPE_CHECKING:  # the cloud's libraries are large, and a plan may need none
    from ezrec.adapters.supabase import Supabase

Row = dict[str, Any]

PAGE = 1000  # rows in one answer, as Supabase sets it
NAMES = ("booking_id", "recording_id", "filename", "storage_path")
"""The columns of `videos` by which a film may be known."""


@dataclass(frozen=True)
class Past:
    """The rows of an owner's films and bookings."""

    films: frozenset[str] = frozenset()  # ids, file names and keys of films that have a row
    bookings: list[Row] = field(default_factory=list)

    def holds(self, booking_id: str, called: frozenset[str]) -> str:
        """By which name a film has its row; empty: it has none."""
        return next((name for name in (booking_id, *sorted(called)) if name and name in self.films), "")


async def read_past(supabase: "Supabase", user_id: str) -> Past:
    """All films and bookings of an owner.

    Raises:
        RetryError: no answer.
        ParkError: the films are not told.
    """
    videos = await _all(supabase, "videos", user_id)
    try:
        bookings = await _all(supabase, "bookings", user_id)
    except ParkError:  # it only helps to find out which booking a recording was made for
        bookings = []
    return Past(frozenset(str(row[name]) for row in videos for name in NAMES if row.get(name)), bookings)


async def _all(supabase: "Supabase", table: str, user_id: str) -> list[Row]:
    rows: list[Row] = []
    while True:
        begin = len(rows)
        page = await supabase.rows(f"read {table}", lambda client: client.table(table).select("*").eq(
            "user_id", user_id).order("id").range(begin, begin + PAGE - 1))  # noqa: B023 - called at once
        rows += page
        if len(page) < PAGE:
            return rows
