"""What a person may ask of clean-up: what it would delete, and that it does so now."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from ezrec import files
from ezrec.actions import state
from ezrec.config import Settings
from ezrec.domain.clock import Clock, SystemClock
from ezrec.domain.errors import AlreadyRunning
from ezrec.files import os_errors
from ezrec.folders import DataFolder, DataLock
from ezrec.store import Store
from ezrec.tasks.cleanup import Cleanup
from ezrec.tasks.keeping import Going, plan, total
from ezrec.tasks.night import Night


@dataclass(frozen=True)
class CleanedUp:
    """What went, or would go."""

    going: Sequence[Going]
    done: bool  # it is gone
    asked: bool  # the running recorder was asked

    @property
    def bytes(self) -> int:
        """In all."""
        return total(self.going)


async def clean_up(store: Store, folder: DataFolder, settings: Settings, *, dry_run: bool,
                   clock: Clock | None = None) -> CleanedUp:
    """Delete what nobody needs; a recorder that runs on the folder is asked to do it.

    Raises:
        EzrecError: the data folder or the store cannot be used now.
    """
    clock = clock or SystemClock()
    recorder = state.read(folder, clock.wall_us()) or {}
    with os_errors("look through the data folder"):
        going = await plan(store, folder, settings, clock.wall_us(), recorder.get("run"))
    if dry_run:
        return CleanedUp(going, done=False, asked=False)
    try:
        with DataLock(folder):
            async def forget(_: str) -> None:
                """Nobody keeps anything of a film here."""

            cleanup = Cleanup(store, clock, folder, settings, lambda: None, forget)
            await Night(store, clock, folder, settings, cleanup, lambda: False).tidy()
    except AlreadyRunning:
        with os_errors("ask the recorder"):
            files.write_atomically(folder.cleanup_wanted, f"{os.getuid()}\n".encode())
        return CleanedUp(going, done=False, asked=True)
    return CleanedUp(going, done=True, asked=False)
