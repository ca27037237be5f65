"""Where a device says how it is doing: one row per device in a table that its owner watches."""

from collections.abc import Mapping
from typing import Any, Protocol

Row = Mapping[str, Any]
"""Column → value as JSON can hold it. `user_id` and `camera_id` are the key."""


class StatusTable(Protocol):
    """A table with one row per device."""

    async def put(self, row: Row, *, limit_s: float) -> None:
        """Make `row` the device's row, within `limit_s` seconds; cancelled, it ends at once.

        Raises:
            RetryError: no confirmation, or none in time.
            ParkError: the row is refused, and asking again will not change that.
        """

    async def close(self) -> None:
        """Let go of connections; no call may follow."""
