"""This run's folder: there with the run's facts whenever cameras may write."""

import asyncio
from pathlib import Path

from ezrec import files, logs
from ezrec.adapters import run_facts
from ezrec.adapters.run_facts import RunFacts
from ezrec.domain.clock import SECOND, Clock
from ezrec.folders import DataFolder

log = logs.get("recording")

MISSING_S = 60.0  # how long the folder of all segments may be away before a new one is made: a disk may come back


class RunFolder:
    """Keeps a run's folder and what it says of the run."""

    def __init__(self, folder: DataFolder, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock
        self._written: RunFacts | None = None
        self._missing_us: int | None = None  # since when there is no folder of segments any more, monotonic µs
        self._seen = False
        self._logged = logs.Troubles(log)

    async def keep(self, run: int, facts: RunFacts) -> None:
        """See to it that the run's folder holds `facts`. What the disk refuses is said once and tried again."""
        path = self._folder.run_facts(run)
        try:
            if facts == self._written and await asyncio.to_thread(path.exists):
                return
            if not await asyncio.to_thread(self._home, path.parent.parent):
                return
            await asyncio.to_thread(_write, path, facts)
            self._written = facts
            self._logged.over("facts", "run's facts are written again")
        except OSError as error:
            self._logged.say("facts", "run's facts not written", str(error), level="error")

    def _home(self, segments: Path) -> bool:
        """Whether the folder of all segments is there; made anew when it has been away for long."""
        now = self._clock.mono_us()
        if segments.is_dir():
            if self._missing_us is not None:
                log.info("folder of the segments is there again", path=str(segments))
            self._seen, self._missing_us = True, None
            return True
        if self._missing_us is None and self._seen:
            self._missing_us = now
            log.error("folder of the segments is gone", path=str(segments), made_anew_in_s=MISSING_S)
        if self._missing_us is not None and now - self._missing_us < MISSING_S * SECOND:
            return False
        files.make_folders(segments, below=self._folder.root)
        return True


def _write(path: Path, facts: RunFacts) -> None:
    try:
        run_facts.write(path, facts)
    except FileNotFoundError:  # clean-up has just taken the empty folder away
        run_facts.write(path, facts)
