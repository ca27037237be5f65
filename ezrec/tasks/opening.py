"""Opening the data folder, whatever lies in it: waited for if it must be there, with room to write in, nothing in the
way, and a store that can be used.

What cannot be used is moved aside, whole, and said; clean-up deletes it in its time. A damaged store goes aside after
all that can be read of it was saved into a new one.

Limits: knows nothing of cameras, films or the cloud. Done once, before anything else of the recorder exists.
"""

import asyncio
import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from ezrec import files, logs
from ezrec.adapters import run_facts, system
from ezrec.domain.clock import Clock, utc_datetime
from ezrec.domain.errors import LeaveError, RetryError, StoreDamaged
from ezrec.folders import DataFolder
from ezrec.store import Store
from ezrec.store.copies import copies
from ezrec.store.damage import anything_of, condemn, damage, move_aside
from ezrec.store.recall import TABLES, recall
from ezrec.store.salvage import Known, salvage
from ezrec.store.unwanted import unwanted_footage

log = logs.get("opening")

CHECK_EVERY_S = 1.0
SAY_EVERY = 30  # checks: how often it is said that the folder is waited for
RESERVE_BYTES = 8 << 20  # of disk that is given up when nothing else is left: enough for the store to delete footage
LEAST_BYTES = RESERVE_BYTES // 2  # with less than this free the reserve goes
SAID = 50  # things set aside together that are named: thousands of lines would keep the cameras waiting
SALVAGE_S = 2.0  # recording waits for it


async def wait_for_folder(folder: DataFolder, *, must_exist: bool) -> None:
    """Return once the data folder is there. One that `must_exist` is waited for and never made.

    A disk that is not mounted yet would otherwise be written beside, into the folder that it is mounted on.
    """
    if not must_exist:
        await asyncio.to_thread(files.make_folders, folder.root)
        return
    checks = 0
    while not await asyncio.to_thread(folder.root.is_dir):
        if checks % SAY_EVERY == 0:
            log.error("data folder is not there, waiting for it", data=str(folder.root),
                      hint="mount its disk; or set paths.wait_for_data to false, and a new one is made")
            system.notify(f"STATUS=waiting for the data folder {folder.root}\n"
                          f"EXTEND_TIMEOUT_USEC={round(3 * SAY_EVERY * CHECK_EVERY_S * 1e6)}")
        checks += 1
        await asyncio.sleep(CHECK_EVERY_S)
    if checks:
        log.info("data folder is there", data=str(folder.root))


def clear_the_way(folder: DataFolder) -> None:
    """Move aside what lies where a folder or file of ours should be. What cannot be moved is said. Blocks."""
    try:
        found = folder.unusable()
    except OSError as error:
        log.error("data folder cannot be looked through", error=str(error))  # noqa: TRY400 - foreseen
        return
    put_aside(folder, *found)
    for needed in (folder.segments, folder.films):
        try:
            # Where there is no store yet, that it is made makes their names durable too.
            files.make_folders(needed, below=folder.root, durable=folder.store.exists())
        except OSError as error:
            log.error("folder not made", path=str(needed), error=str(error))  # noqa: TRY400 - foreseen


def put_aside(folder: DataFolder, *paths: Path) -> None:
    """Move things aside, and say so; where that does not work, say that it stays. Blocks."""
    for number, path in enumerate(paths):
        try:
            place = folder.put_aside(path)
        except OSError as error:
            log.error("cannot be set aside, left where it is", path=str(path),  # noqa: TRY400 - foreseen
                      error=str(error))
            continue
        if number < SAID:
            log.warning("set aside", path=str(path), moved_to=str(place))
    if len(paths) > SAID:
        log.warning("set aside, and more than are named here", count=len(paths))


# ---- room


def make_room(folder: DataFolder) -> None:
    """Where the disk is full, delete what nobody needs until the store can be written: the reserve first. Blocks."""
    if files.free_bytes(folder.root) >= LEAST_BYTES:
        return
    for what, paths in _dispensable(folder):
        count = 0
        for path in paths():
            if files.free_bytes(folder.root) >= LEAST_BYTES:
                break
            _unlink(path)
            count += 1
        if count:
            log.error("disk full, room is made", deleted=what, files=count,
                      free_mb=files.free_bytes(folder.root) >> 20)


def _dispensable(folder: DataFolder) -> Iterator[tuple[str, Callable[[], list[Path]]]]:
    yield "reserve", lambda: [path for path in [folder.reserve] if path.exists()]
    yield "unfinished files", folder.unfinished_files
    yield "what was set aside", lambda: [Path(place, name) for aside in (folder.aside, folder.segments_aside)
                                         for place, _, names in os.walk(aside) for name in names]
    yield "footage that will not be published", lambda: [
        folder.path(path) for path in unwanted_footage(folder.store)]


def _unlink(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        log.warning("not deleted", path=str(path), error=str(error))


def give_up_reserve(folder: DataFolder) -> None:
    """Where the disk is full, give up the reserve, so that deletions can be written down. Blocks."""
    if files.free_bytes(folder.root) < LEAST_BYTES // 2 and folder.reserve.exists():
        log.error("disk full, its reserve is given up so that clean-up can write", data=str(folder.root))
        _unlink(folder.reserve)


def keep_reserve(folder: DataFolder) -> None:
    """Take the reserve again once there is room for it several times over. Blocks."""
    try:
        if not os.path.lexists(folder.reserve) and files.free_bytes(folder.root) > 4 * RESERVE_BYTES:
            files.allocate(folder.reserve, RESERVE_BYTES)
    except OSError as error:
        log.warning("no reserve kept on the disk", error=str(error))


# ---- the store


async def open_store(folder: DataFolder, clock: Clock) -> Store:
    """The store of a data folder that has room and nothing in the way. One that is damaged or lost is made anew, with
    what can be saved of it.

    Raises:
        LeaveError: there is no room for it, or a newer EZREC wrote it.
    """
    await asyncio.to_thread(make_room, folder)
    await asyncio.to_thread(clear_the_way, folder)
    try:
        try:
            return await _open(folder, clock)
        except StoreDamaged as error:  # it did not show before
            _leave_if_on_trial(str(error))
            await asyncio.to_thread(condemn, folder.store, str(error))
            return await _open(folder, clock)
    except (RetryError, OSError) as error:
        free_mb = files.free_bytes(folder.root) >> 20
        raise LeaveError(f"the store cannot be opened: {error}. The disk of {folder.root} has {free_mb} MiB left; "
                         "if that is little, free some room there") from error


def _leave_if_on_trial(wrong: str) -> None:
    """A release on trial makes no store anew: the fault may be its own, and the release before it is there still.

    Raises:
        LeaveError: it is on trial.
    """
    if system.on_trial():
        raise LeaveError(f"this release is on trial, and leaves the store to the one before it: {wrong}")


async def _open(folder: DataFolder, clock: Clock) -> Store:
    await _recover(folder, clock)
    if not await asyncio.to_thread(folder.store.exists):
        log.info("no store here yet, a new one is made", store=str(folder.store))
    return await Store.open(folder.store, clock=clock, create=True, migrate=True)


async def _recover(folder: DataFolder, clock: Clock) -> None:
    """Replace a store that is damaged or lost. A kill at any moment in here leaves what the next start goes on with.

    The new one gets its last name but one once it is complete, and its last one after the damaged one has gone aside.
    """
    complete, growing = folder.store.with_name("ezrec.db.saved"), folder.store.with_name("ezrec.db.saving")
    if not await asyncio.to_thread(_is_sound, folder, complete):
        found = await asyncio.to_thread(_what_is_wrong, folder)
        if found is None:
            return
        _leave_if_on_trial(found)
        await asyncio.to_thread(_remove_store, folder, growing)
        fresh = await Store.open(growing, clock=clock, create=True)
        await fresh.close()
        there = await asyncio.to_thread(os.path.lexists, folder.store)
        saved = await asyncio.to_thread(salvage, folder.store, growing, known=_known(folder), limit_s=SALVAGE_S) \
            if there else None
        recalled = await asyncio.to_thread(_recalled, folder, growing, clock.wall_us(),
                                           saved.lost() if saved else TABLES)
        fresh = await Store.open(growing, clock=clock)
        try:
            await fresh.note_recovery(found)
        finally:
            await fresh.close()
        await asyncio.to_thread(files.rename, growing, complete)
        log.error("store lost, a new one is made", reason=found, saved=saved.words() if saved else "nothing",
                  recalled=recalled)
    if await asyncio.to_thread(anything_of, folder.store):  # a log (-wal) alone would be taken for the new store's
        place = await asyncio.to_thread(move_aside, folder.store, folder.aside, utc_datetime(clock.wall_us()))
        log.error("damaged store set aside", moved_to=str(place))
    await asyncio.to_thread(files.rename, complete, folder.store)
    await asyncio.to_thread(_remove_store, folder, complete)  # what a look at it left beside it


def _recalled(folder: DataFolder, fresh: Path, now_us: int, lost: Collection[str]) -> str:
    """What the store that is made anew got from a copy, in words."""
    try:
        found = recall(copies(folder.copies), fresh, now_us, lost)
    except OSError as error:
        return f"nothing: {error}"
    if found is None:
        return "nothing: there is no copy"
    copy, counts = found
    return f"from {copy.name}: {', '.join(f'{number} of {name}' for name, number in counts.items()) or 'nothing'}"


def _what_is_wrong(folder: DataFolder) -> str | None:
    """Why the store must be made anew; None if it need not be, or if there is nothing here yet."""
    if os.path.lexists(folder.store):
        return damage(folder.store)
    places = (folder.segments, folder.films, folder.library, folder.media, folder.copies)
    used = [path for path in places if path.is_dir() and any(path.iterdir())]
    return "the store is missing, though a recorder ran here" if used or folder.reserve.exists() else None


def _is_sound(folder: DataFolder, complete: Path) -> bool:
    """Whether a new store was made when the last start was killed; what lies there and is none goes aside."""
    if not os.path.lexists(complete):
        return False
    if (wrong := damage(complete)) is None:
        return True
    log.error("a new store is damaged, it is made once more", reason=wrong)
    put_aside(folder, complete)
    return False


def _remove_store(folder: DataFolder, path: Path) -> None:
    for ending in ("", "-wal", "-shm", "-journal"):
        one = path.with_name(path.name + ending)
        if one.is_dir() and not one.is_symlink():
            put_aside(folder, one)
        else:
            one.unlink(missing_ok=True)


def _known(folder: DataFolder) -> Known:
    """The runs that have folders here, as rows, for a store that has lost them."""
    found = {run: facts for run in folder.runs() if (facts := run_facts.read(folder.run_facts(run)))}
    return {"run": [{"id": run, "boot_id": facts.boot_id,
                     "started_at": facts.offsets[0].from_us + facts.offsets[0].wall_us}
                    for run, facts in found.items()],
            "offset": [{"run": run, "from_us": one.from_us, "wall_offset_us": one.wall_us}
                       for run, facts in found.items() for one in facts.offsets]}
