"""What of a store's footage may be deleted at once, found without writing a byte: for a disk that is completely full.

SQLite as the recorder uses it needs room beside the store's file even to read it. With the lock held for good it does
not: the index of the log is kept in memory (https://www.sqlite.org/wal.html, section 8).

Limits: nobody else may have the store open.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

from ezrec.domain.stages import Stage
from ezrec.domain.timeline import HOLD_US

OVER = (Stage.CANCELLED, Stage.MISSED, Stage.PUBLISHED, Stage.CLEANED)


def unwanted_footage(store: Path) -> list[str]:
    """The files, below the data folder, of segments that only films touched that are cancelled, missed or published;
    oldest first. Blocks.

    Nothing if the store cannot be read or is of another version.
    """
    try:
        with closing(sqlite3.connect(f"{store.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None)) as db:
            db.execute("PRAGMA locking_mode=EXCLUSIVE")
            marks = ",".join("?" * len(OVER))
            return [path for path, in db.execute(
                "SELECT path FROM segment JOIN run ON run.id = segment.run WHERE EXISTS (SELECT 1 FROM span"
                " WHERE span.run = segment.run AND span.reach_from_us < segment.end_us"
                " AND span.reach_to_us > segment.start_us)"
                " AND NOT EXISTS (SELECT 1 FROM span JOIN film ON film.booking_id = span.film"
                " WHERE span.run = segment.run AND span.reach_from_us - ? < segment.end_us"
                f" AND span.reach_to_us + ? > segment.start_us AND film.stage NOT IN ({marks}))"
                " ORDER BY segment.run, start_us", (HOLD_US, HOLD_US, *OVER))]
    except sqlite3.Error:
        return []
