"""Clean-up: what a film no longer needs goes, and what nobody needs; never a file that a film still needs.

A segment's deletion has three durable steps: row marked, file unlinked, row dropped; so that after a crash no deleted
time is taken for an orphan. On a disk without room for the mark the file goes first.

When the disk is short what was set aside goes first, then the footage of cancelled bookings, then what is kept of
published films, then footage that nobody knows a booking for, the oldest first; what is still to be published is never
touched.
"""

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path

from ezrec import files, logs
from ezrec.config import Settings
from ezrec.domain.clock import SECOND, Clock
from ezrec.domain.errors import EzrecError, RetryError
from ezrec.domain.film import Film
from ezrec.domain.stages import Stage
from ezrec.domain.timeline import Segment
from ezrec.folders import DataFolder
from ezrec.store import Store
from ezrec.tasks.keeping import ENDED, SOME, Keep
from ezrec.tasks.opening import give_up_reserve, keep_reserve, put_aside

log = logs.get("cleanup")

CHECK_EVERY_S = 15.0
PRUNED, PRUNE_EVERY_US = 100, 3600 * SECOND  # films whose stories are shortened at a time; how often that is looked for
SPARE_US = 60 * SECOND  # footage of the run that records is kept so long, whoever may still ask for it


class Cleanup:
    """The clean-up task. `forget` is called with a booking id before that film's files are deleted."""

    def __init__(self, store: Store, clock: Clock, folder: DataFolder, settings: Settings,
                 recording_run: Callable[[], int | None], forget: Callable[[str], Awaitable[None]]) -> None:
        self._store = store
        self._clock = clock
        self._folder = folder
        self._keep = Keep.of(settings)
        self._prune_due_us = 0
        self._min_free = settings.disk.min_free_mb << 20
        self._wanted = self._min_free  # bytes: with less free the disk is short
        self._recording_run = recording_run
        self._forget = forget
        self._turn = asyncio.Lock()  # two would take each other's folders away

    async def run(self) -> None:
        """Delete what nobody needs, again and again, until stopped."""
        while True:
            await self.run_once()
            await asyncio.to_thread(keep_reserve, self._folder)
            await self.prune()
            await asyncio.sleep(CHECK_EVERY_S)

    async def prune(self) -> None:
        """Shorten the stories of films of long ago, now and then; not while a match is recorded."""
        now = self._clock.mono_us()
        if now < self._prune_due_us or self._recording_run() is not None:
            return
        count = await self._store.prune(self._clock.wall_us() - self._keep.stories_us, PRUNED)
        if count:
            log.info("stories of old films shortened", films=count)
        self._prune_due_us = now + (0 if count == PRUNED else PRUNE_EVERY_US)

    async def run_once(self, free: int = 0) -> None:
        """Retention of cancelled and missed films, then segments that no film needs.

        The disk counts as short with less than `free` bytes, and always with less than the settings want.
        """
        async with self._turn:
            self._wanted = max(self._min_free, free)
            await asyncio.to_thread(give_up_reserve, self._folder)
            await asyncio.to_thread(self._drop_aside)
            await self._drop_segments()
            for stage in ENDED:
                for film in await self._kept_until_now(stage):
                    if self._is_due(film) or await self._goes_for_room(film):
                        await self._clean_or_say(film)
            await self._drop_found_for_room()
            self._wanted = self._min_free
            await asyncio.to_thread(self._drop_empty_runs)

    async def _kept_until_now(self, stage: Stage) -> list[Film]:
        """The films in a stage that may go: those kept long enough, or when the disk is short all."""
        if await asyncio.to_thread(self._is_short):
            return await self._store.films_brief(stage)
        kept_us = self._keep.segments_us if stage is Stage.PUBLISHED else self._keep.cancelled_us
        return await self._store.films_unchanged_since(stage, self._clock.wall_us() - kept_us)

    async def _clean_or_say(self, film: Film) -> None:
        try:
            await self._clean(film)
        except EzrecError as error:
            log.warning("film not cleaned", booking=film.booking_id, error=str(error))

    def _is_due(self, film: Film) -> bool:
        return self._keep.is_due(film, self._clock.wall_us())

    async def _goes_for_room(self, film: Film) -> bool:
        if not self._is_short() or not await self._store.has_footage(film.booking_id):
            return False
        log.warning("disk short: footage goes", booking=film.booking_id, stage=film.stage)
        return True

    def _is_short(self) -> bool:
        return files.free_bytes(self._folder.root) < self._wanted

    def _drop_aside(self) -> None:
        """Delete what was set aside long ago, or sooner when the disk is short: the oldest first."""
        try:
            found = sorted((path.lstat().st_ctime_ns // 1000, path) for path in self._folder.set_aside())
        except OSError as error:
            log.warning("what was set aside cannot be looked at", error=str(error))
            return
        for since_us, path in found:
            if self._clock.wall_us() - since_us < self._keep.aside_us and not self._is_short():
                return
            try:
                _remove_tree(path)
                log.info("deleted what was set aside", path=str(path))
            except EzrecError as error:
                log.warning("what was set aside is not deleted", error=str(error))

    async def _drop_found_for_room(self) -> None:
        """When the disk is still short: footage that nobody knows a booking for, the oldest first."""
        while await asyncio.to_thread(self._is_short) and (found := await self._store.found_footage(SOME)):
            log.warning("disk short: footage without a booking goes", segments=len(found), run=found[0].run)
            await self._doom(found)
            await self.finish_deletions()

    def _drop_empty_runs(self) -> None:
        """Delete the folders of runs that hold no footage any more; that of the run that records stays."""
        try:
            runs = self._folder.runs()
        except OSError as error:
            log.warning("folders of segments not looked through", error=str(error))
            return
        for run in runs:
            if run != self._recording_run():
                with suppress(OSError):  # one that cannot be read was said at start
                    self._drop_if_empty(self._folder.run(run))

    def _drop_if_empty(self, run: Path) -> None:
        """Delete a run's folder if nothing is left in it but what it says of itself."""
        for camera in run.iterdir():
            if camera.is_dir() and not any(camera.iterdir()):
                camera.rmdir()
        left = list(run.iterdir())
        if {path.name for path in left} <= {"run.json"}:
            for path in left:
                files.remove(path)
            run.rmdir()

    async def work(self, film: Film) -> bool:
        """Delete a published film's own files, and its segments once they need not be kept; True once none is left.

        Raises:
            EzrecError: they cannot be deleted.
        """
        async with self._turn:
            if not self._is_due(film):
                if self._folder.film(film.recording_id).exists():
                    await asyncio.to_thread(_remove_tree, self._folder.film(film.recording_id))
                return False
            await self._clean(film)
            return True

    async def _clean(self, film: Film) -> None:
        log.debug("cleaning film", booking=film.booking_id)
        await self._forget(film.booking_id)
        await asyncio.to_thread(_remove_tree, self._folder.film(film.recording_id))
        await self._store.drop_chunks(film.booking_id)
        log.debug("film cleaned", booking=film.booking_id)
        await self._store.step(film.booking_id, Stage.CLEANED)
        await self._drop_segments()

    async def _drop_segments(self) -> None:
        """Delete the segments that no film which is not cleaned ever touched."""
        run = self._recording_run()
        unneeded = await self._store.unneeded_segments(
            [] if run is None else [(run, self._clock.mono_us() - SPARE_US)],
            self._clock.wall_us() - self._keep.found_us)
        if unneeded:
            await self._doom(unneeded)
            log.debug("segments marked", count=len(unneeded))
        await self.finish_deletions()

    async def _doom(self, segments: Sequence[Segment]) -> None:
        """Mark segments. Without room for that on the disk their files go first: nobody else would make any."""
        try:
            await self._store.doom(segments)
        except RetryError:
            if not await asyncio.to_thread(self._is_short):
                raise
            await asyncio.to_thread(self._unlink, [self._folder.path(one.path) for one in segments])
            await self._store.doom(segments)

    async def finish_deletions(self) -> None:
        """Unlink the files of marked segments, then drop their rows; also done at start, after a crash."""
        paths = await self._store.doomed()
        if not paths:
            return
        left = await asyncio.to_thread(self._unlink, [self._folder.path(path) for path in paths])
        gone = [path for path in paths if self._folder.path(path) not in left]
        await self._store.drop_doomed(gone)
        log.debug("segments deleted", count=len(gone))
        await asyncio.to_thread(self._drop_empty_runs)

    def _unlink(self, paths: list[Path]) -> list[Path]:
        """Delete segments' files for good; returns those that are left. What lies there and is no file goes aside."""
        ours = [path for path in paths if self._folder.is_segment(path)]
        for path in ours:
            if path.is_dir() and not path.is_symlink():
                put_aside(self._folder, path)
        try:
            files.remove(*ours)
        except OSError:
            return [path for path in ours if not _removed(path)]
        return []


def _removed(path: Path) -> bool:
    try:
        files.remove(path)
    except OSError as error:
        log.warning("segment not deleted, tried again later", path=str(path), error=str(error))
        return False
    return True


def _remove_tree(folder: Path) -> None:
    """Remove a folder and all in it, so that no power cut brings it back; fine if it is gone already."""
    with files.os_errors(f"delete {folder}"):
        if folder.is_dir() and not folder.is_symlink():
            shutil.rmtree(folder)
        else:
            folder.unlink(missing_ok=True)
        if folder.parent.exists():  # also if it is gone: whoever removed it may have been killed before its fsync
            files.fsync_folder(folder.parent)
