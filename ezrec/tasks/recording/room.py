"""Whether the disk has room for a film that has not begun."""

from collections.abc import Callable
from pathlib import Path

from ezrec import logs

log = logs.get("recording")


class Room:
    """The room on a data folder's disk; that there is too little is said once, and when there is enough again."""

    def __init__(self, data: Path, free_bytes: Callable[[Path], int], wanted_bytes: int) -> None:
        self._data, self._free_bytes, self._wanted = data, free_bytes, wanted_bytes
        self._logged = logs.Troubles(log)

    def is_there_for(self, booking_id: str) -> bool:
        """Whether this booking's film may begin."""
        free = self._free_bytes(self._data)
        if free >= self._wanted:
            self._logged.over("disk", "disk has room again", free_mb=free >> 20)
        else:
            self._logged.say("disk", "disk nearly full, no new film is begun", "too little is free", level="error",
                             booking=booking_id, free_mb=free >> 20, wanted_mb=self._wanted >> 20)
        return free >= self._wanted
