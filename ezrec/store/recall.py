"""What a store that was made anew lacks is taken from the newest copy of the old one that can be read.

Only what cannot be wrong because it is old is taken: films that were done with, with their windows and their story, the
local rows of published films, runs, and bookings that are still to come. Films that were under way are left to what
recovery does without a copy: their footage is found, and their storage asked. What is there already stays as it is.

Limits: copies of this version of the schema or of one that knows the same tables.
"""

import sqlite3
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from pathlib import Path

from ezrec.domain.stages import Stage

OLDEST = 6  # version of the schema in whose time copies began
DONE = (Stage.PUBLISHED, Stage.CLEANED, Stage.MISSED)
LIMIT_S = 2.0  # recording waits for it

_WHAT = {  # in the order of what hangs on what; the story, which is long, comes last
    "run": "true",
    "run_end": "true",
    "offset": "true",
    "booking": "ends_at > :now",
    "video": "true",
    "film": f"stage IN ({', '.join(repr(str(stage)) for stage in DONE)})",
    "span": "film IN (SELECT booking_id FROM temp.came)",
    "event": "booking_id IN (SELECT booking_id FROM temp.came)",
}
TABLES = tuple(_WHAT)


def recall(copies: Sequence[Path], fresh: Path, now_us: int, lost: Collection[str] = TABLES, *,
           limit_s: float = LIMIT_S,
           monotonic: Callable[[], float] = time.monotonic) -> tuple[Path, dict[str, int]] | None:
    """Take into the store `fresh` what it lacks of the tables `lost`, from the first of `copies` that can be read,
    within `limit_s` seconds.

    Returns the copy and how many rows came of each table; None if there is no copy to take from. Blocks.

    Raises:
        sqlite3.OperationalError: `fresh` cannot be written.
    """
    end_s = monotonic() + limit_s
    for copy in copies:
        with closing(sqlite3.connect(fresh, isolation_level=None, uri=True)) as db:
            try:
                db.execute("ATTACH ? AS copy", (f"{copy.absolute().as_uri()}?immutable=1",))
                if db.execute("PRAGMA copy.user_version").fetchone()[0] < OLDEST:
                    continue
            except sqlite3.Error:
                continue
            db.execute("PRAGMA foreign_keys=ON")
            db.execute("CREATE TEMP TABLE came (booking_id TEXT PRIMARY KEY)")
            db.set_progress_handler(lambda: monotonic() >= end_s, 1000)
            return copy, {table: count for table, where in _WHAT.items()
                          if table in lost and (count := _take(db, table, where, now_us))}
    return None


def _take(db: sqlite3.Connection, table: str, where: str, now_us: int) -> int:
    """Take a table's rows, all or none: what of the copy is damaged, or takes too long, is left out."""
    names = [row[1] for row in db.execute(f"PRAGMA main.table_info({table})")]
    there = {row[1] for row in db.execute(f"PRAGMA copy.table_info({table})")}
    columns = ", ".join(name for name in names if name in there)
    if not columns:
        return 0
    try:
        db.execute("BEGIN IMMEDIATE")
        if table == "film":
            db.execute(f"INSERT INTO temp.came SELECT booking_id FROM copy.film WHERE {where}"
                       " AND booking_id NOT IN (SELECT booking_id FROM main.film)"
                       " AND recording_id NOT IN (SELECT recording_id FROM main.film)")
        count = db.execute(f"INSERT OR IGNORE INTO main.{table} ({columns}) SELECT {columns} FROM copy.{table}"
                           f" WHERE {where}", {"now": now_us} if ":now" in where else {}).rowcount
        db.execute("COMMIT")
    except sqlite3.DatabaseError:
        if db.in_transaction:
            db.execute("ROLLBACK")
        return 0
    return max(0, count)
