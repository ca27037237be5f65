"""The store: EZREC's memory in one SQLite file, and the only SQL.

One connection, one transaction at a time, every commit durable (WAL, synchronous=FULL). Methods take and give frozen
values of the domain. Commands that run beside the recorder open the same file; they never migrate it. Each group of
tables has a file of its own.
"""

from ezrec.store.alerts import AlertTable
from ezrec.store.bookings import BookingTable
from ezrec.store.chunks import ChunkTable
from ezrec.store.database import VERSION
from ezrec.store.looks import LookTable, Rules
from ezrec.store.pruning import PruneTable
from ezrec.store.recovered import RecoveredTable
from ezrec.store.runs import RunTable
from ezrec.store.segments import SegmentTable
from ezrec.store.upkeep import UpkeepTable
from ezrec.store.uploads import UploadTable

__all__ = ["VERSION", "Rules", "Store"]


class Store(BookingTable, UploadTable, RunTable, SegmentTable, LookTable, ChunkTable, RecoveredTable,
            PruneTable, AlertTable, UpkeepTable):
    """All durable state. Made with `Store.open`."""
