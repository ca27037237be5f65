"""Whether the disk has room for a film that has not begun."""

from collections.abc import Callable
from pathlib import Path

from ezrec import logs
from ezrec.domain.clock import SECOND

log = logs.get("recording")

HOUR_US = 3600 * SECOND


LEAST_BYTES = 2 << 30
"""Free for the shortest film, unless less is wanted for all."""


def room_for(length_us: int, wanted_bytes: int) -> int:
    """How many bytes must be free for a film of so many µs, `wanted_bytes` being for an hour or more."""
    return min(wanted_bytes, max(LEAST_BYTES, wanted_bytes * length_us // HOUR_US))


class Room:
    """The room on a data folder's disk; that there is too little is said once, and when there is enough again.

    `wanted_bytes` are for a film of an hour or more; a shorter one needs its share.
    """

    def __init__(self, data: Path, free_bytes: Callable[[Path], int], wanted_bytes: int) -> None:
        self._data, self._free_bytes, self._wanted = data, free_bytes, wanted_bytes
        self._logged = logs.Troubles(log)

    def is_there_for(self, booking_id: str, length_us: int) -> bool:
        """Whether this booking's film, of so many µs, may begin."""
        free = self._free_bytes(self._data)
        wanted = room_for(length_us, self._wanted)
        if free >= wanted:
            self._logged.over("disk", "disk has room again", free_mb=free >> 20)
        else:
            self._logged.say("disk", "disk nearly full, no new film is begun", "too little is free", level="error",
                             booking=booking_id, free_mb=free >> 20, wanted_mb=wanted >> 20)
        return free >= wanted
