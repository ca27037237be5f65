"""Night: once a day, at 03:00 local time, the house is kept: clean-up, the database's copy, check and packing.

What was missed, because the box was off or a match was on, is done as soon as it can be. While a window is open, or one
begins soon, nothing is begun. What a person asks for (`ezrec cleanup`) is done in the same way, but without waiting for
the night. A step that fails is said and costs none of the others.
"""

import asyncio
import ctypes
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

from ezrec import files, logs
from ezrec.config import Settings
from ezrec.domain.clock import EARLIEST_US, SECOND, Clock, local_datetime
from ezrec.domain.errors import EzrecError, LeaveError, StoreDamaged
from ezrec.folders import DataFolder
from ezrec.store import Store
from ezrec.store.copies import DAMAGED, copies, name_of, surplus
from ezrec.tasks.cleanup import Cleanup
from ezrec.tasks.keeping import left_over, unknown_films, wanted_free
from ezrec.tasks.opening import put_aside

log = logs.get("night")

HOUR = 3  # local time
LOOK_EVERY_S = 20.0
SOON_US = 15 * 60 * SECOND  # before a window nothing is begun
COPY_LIMIT_S = 600.0
ROOM_FOR_COPY = 3  # times the store's size, which must be free beside what clean-up keeps free

MakeCopy = Callable[[Path, Path], Awaitable[None]]
"""Copies a store to a path, and raises StoreDamaged if the copy is, EzrecError if it cannot be made."""


async def copy_in_a_process(store: Path, copy: Path) -> None:
    """Make a copy in a process of its own, which is killed when it takes too long.

    Raises:
        StoreDamaged: the copy is damaged.
        EzrecError: it cannot be made, or not in time.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ezrec.store.copies", str(store), str(copy), stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE)
    try:
        async with asyncio.timeout(COPY_LIMIT_S):
            _, said = await process.communicate()
    except TimeoutError as error:
        raise EzrecError(f"the copy {copy.name} took longer than {COPY_LIMIT_S:.0f} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        words = said.decode("utf-8", "replace").strip()[-500:] or f"status {process.returncode}"
        raise (StoreDamaged if process.returncode == DAMAGED else EzrecError)(words)


class Night:
    """The nightly task. `busy` tells whether the cameras record; `also` holds more steps, by name."""

    def __init__(self, store: Store, clock: Clock, folder: DataFolder, settings: Settings, cleanup: Cleanup,
                 busy: Callable[[], bool], also: Mapping[str, Callable[[], Awaitable[None]]] | None = None,
                 make_copy: MakeCopy = copy_in_a_process) -> None:
        self._store, self._clock, self._folder, self._settings = store, clock, folder, settings
        self._cleanup, self._busy, self._make_copy = cleanup, busy, make_copy
        self._zone = ZoneInfo(settings.site.timezone)
        self._tidy: dict[str, Callable[[], Awaitable[None]]] = {
            "unfinished files": self._unfinished, "unknown films": self._unknown, "what nobody needs": self._retention}
        self._upkeep = {"copy of the database": self._copy, "packing the database": self._pack} | dict(also or {})

    async def run(self) -> None:
        """Keep the house until stopped."""
        while True:
            await self.run_once()
            await asyncio.sleep(LOOK_EVERY_S)

    async def run_once(self) -> bool:
        """Do what is due, if nothing is in the way; whether it was done."""
        asked = await asyncio.to_thread(self._folder.cleanup_wanted.exists)
        day = await self._due_day()
        if not (asked or day):
            return False
        for name, work in (self._tidy | (self._upkeep if day else {})).items():
            if not await self._quiet():
                return False  # a window opens: all of it once more, later
            await self._do(name, work)
        await asyncio.to_thread(self._note, day, asked)
        _give_memory_back()
        log.info("house kept", night=day, asked=asked or None)
        return True

    async def _do(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except (LeaveError, StoreDamaged):
            raise
        except (EzrecError, OSError) as error:
            log.warning("part of the housekeeping not done, again tomorrow", what=name, error=str(error))
        except Exception:
            log.exception("part of the housekeeping not done, again tomorrow", what=name)

    async def _due_day(self) -> str | None:
        """The day whose night's work is due; None if it was done. A new recorder has nothing to do before its first
        night.
        """
        now = self._clock.wall_us()
        if now < EARLIEST_US:
            return None
        day = (local_datetime(now, self._zone) - timedelta(hours=HOUR)).date()
        kept = await asyncio.to_thread(self._kept)
        if kept is None:
            oldest = await self._store.oldest_run_at()
            kept = "" if oldest is None else str(
                (local_datetime(max(oldest, EARLIEST_US), self._zone) - timedelta(hours=HOUR)).date())
        return str(day) if str(day) != kept else None

    def _kept(self) -> str | None:
        try:
            return str(json.loads(self._folder.housekept.read_text("utf-8"))["day"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _note(self, day: str | None, asked: bool) -> None:
        if day:
            with files.os_errors("note the housekeeping"):
                files.write_atomically(self._folder.housekept, json.dumps({"day": day}).encode())
        if asked:
            files.remove(self._folder.cleanup_wanted)

    async def _quiet(self) -> bool:
        """Whether no match is recorded, nor begins soon."""
        now = self._clock.wall_us()
        return not self._busy() and not await self._store.booked_films(now - SOON_US, now + SOON_US)

    # ---- what is done

    async def tidy(self) -> None:
        """What a person may ask for: all of it, whatever is recorded."""
        for name, work in self._tidy.items():
            await self._do(name, work)

    async def _unfinished(self) -> None:
        def remove() -> int:
            old = left_over(self._folder, self._clock.wall_us())
            gone = [*old, *surplus(self._folder.copies, self._settings.disk.keep_copies)]
            files.remove(*gone)
            return len(gone)

        if count := await asyncio.to_thread(remove):
            log.info("files that nobody needs deleted", files=count)

    async def _unknown(self) -> None:
        await asyncio.to_thread(put_aside, self._folder, *await unknown_films(self._store, self._folder))

    async def _retention(self) -> None:
        await self._cleanup.run_once(await wanted_free(self._store, self._settings))

    async def _copy(self) -> None:
        """A copy of today's store, checked; nothing while the disk is short."""
        if not self._settings.disk.keep_copies:
            return
        size = (await asyncio.to_thread(self._folder.store.stat)).st_size
        if files.free_bytes(self._folder.root) < ROOM_FOR_COPY * size + (self._settings.disk.min_free_mb << 20):
            log.warning("no copy of the database: the disk is short", needed_mb=ROOM_FOR_COPY * size >> 20)
            return
        day = str(local_datetime(self._clock.wall_us(), self._zone).date())
        try:
            await self._make_copy(self._folder.store, self._folder.copies / name_of(day))
        except StoreDamaged as error:  # the store, or only its copy: the look at the store itself decides
            self._store.doubted = True
            raise EzrecError(str(error)) from error
        await asyncio.to_thread(lambda: files.remove(*surplus(self._folder.copies, self._settings.disk.keep_copies)))
        log.info("database copied and checked", copy=name_of(day), mb=round(size / (1 << 20), 1),
                 copies=len(await asyncio.to_thread(partial(copies, self._folder.copies))))

    async def _pack(self) -> None:
        if files.free_bytes(self._folder.root) < ROOM_FOR_COPY * self._folder.store.stat().st_size:
            return
        with_free = await self._store.pack()
        if with_free:
            log.info("database packed", mb=round(self._folder.store.stat().st_size / (1 << 20), 1))


def _give_memory_back() -> None:
    """What this took, a client of the storage of its own for one, is not needed before tomorrow: malloc_trim(3)."""
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
