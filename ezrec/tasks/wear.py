"""Wear: how much the data folder's disk is written while matches are recorded. A card has no gauge of its own.

Counted is what the kernel gave the disk, whoever wrote it: what the program writes, the file system's own writes and
other programs'. The count begins anew with the process; the log keeps what each recording came to.
"""

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ezrec import logs
from ezrec.adapters.power import SYS
from ezrec.domain.clock import SECOND, Clock

log = logs.get("wear")

LOOK_EVERY_S = 10.0
LEAST_US = 60 * SECOND  # of recording, before it is told what an hour of it writes
SECTOR = 512  # bytes, whatever the disk's own are: https://docs.kernel.org/block/stat.html
WRITTEN = 6  # its place in the file


def bytes_written(folder: Path, sys_folder: Path = SYS) -> int | None:
    """What the disk of a folder was given to write since the machine was started; None if the kernel does not say.

    Blocks.
    """
    try:
        disk = folder.stat().st_dev
        counts = (sys_folder / f"dev/block/{os.major(disk)}:{os.minor(disk)}/stat").read_text("ascii").split()
        return int(counts[WRITTEN]) * SECTOR
    except (OSError, ValueError, IndexError):
        return None


@dataclass
class Count:
    """What was written, and in how much time of recording."""

    written: int = 0  # bytes
    recorded_us: int = 0

    def add(self, written: int, recorded_us: int) -> None:
        """Some more."""
        self.written += written
        self.recorded_us += recorded_us

    @property
    def mb_per_hour(self) -> int | None:
        """MiB in an hour of recording; None before there is enough to tell."""
        return round((self.written >> 20) * 3600 * SECOND / self.recorded_us) if self.recorded_us >= LEAST_US else None


class Wear:
    """The task that counts. `read` gives the disk's counter, and may block."""

    def __init__(self, clock: Clock, recording: Callable[[], bool], read: Callable[[], int | None]) -> None:
        self._clock, self._recording, self._read = clock, recording, read
        self._before: tuple[int, int] | None = None  # time and counter of the look before, while a match is recorded
        self._all, self._this = Count(), Count()  # since the start; of the recording under way

    @property
    def mb_per_hour(self) -> int | None:
        """MiB that an hour of recording writes, as counted since the process began."""
        return self._all.mb_per_hour

    async def run(self) -> None:
        """Count until stopped."""
        while True:
            await self.run_once()
            await asyncio.sleep(LOOK_EVERY_S)

    async def run_once(self) -> None:
        """Look once at the counter."""
        recording, now = self._recording(), self._clock.mono_us()
        written = await asyncio.to_thread(self._read) if recording or self._before else None
        if written is not None and self._before:
            since_us, counter = self._before
            for count in (self._all, self._this):
                count.add(max(0, written - counter), now - since_us)
        self._before = (now, written) if recording and written is not None else None
        if not recording and self._this.recorded_us:
            log.info("written while recording", mb=self._this.written >> 20,
                     recorded_s=self._this.recorded_us // SECOND, mb_per_hour=self._this.mb_per_hour)
            self._this = Count()
