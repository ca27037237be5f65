"""Keeping: how long what is kept, and what clean-up would delete now and why, without deleting anything."""

import os
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ezrec import files
from ezrec.config import Settings
from ezrec.domain.clock import SECOND
from ezrec.domain.film import Film
from ezrec.domain.naming import shown_id
from ezrec.domain.stages import Stage
from ezrec.folders import DataFolder
from ezrec.store import Store
from ezrec.store.copies import surplus

ENDED = (Stage.MISSED, Stage.CANCELLED, Stage.PUBLISHED)  # in the order in which their films go
LEFT_US = 24 * 3600 * SECOND  # files that were being written so long ago are nobody's
SOME = 50  # segments of a few MB that go at a time when the disk is short


@dataclass(frozen=True)
class Keep:
    """How long what is kept, µs."""

    segments_us: int
    cancelled_us: int
    aside_us: int
    found_us: int
    stories_us: int

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """As the settings say."""
        hour, disk = 3600 * SECOND, settings.disk
        return cls(round(settings.film.keep_segments_h * hour), round(settings.film.keep_cancelled_h * hour),
                   round(disk.keep_aside_h * hour), round(disk.keep_found_h * hour),
                   round(disk.keep_stories_days * 24 * hour))

    def is_due(self, film: Film, now_us: int) -> bool:
        """Whether a film's files have been kept long enough; a cancelled booking may come back until its end."""
        if film.stage is Stage.PUBLISHED:
            return now_us - film.changed_at >= self.segments_us
        return now_us - max(film.changed_at, film.ends_at) >= self.cancelled_us


@dataclass(frozen=True)
class Going:
    """Something that clean-up deletes."""

    what: str  # for people: a film's files, footage, a copy of the database …
    which: str  # a booking, or a path below the data folder; how many where they are many
    why: str
    bytes: int


class _NotInTruth(Exception):
    """Ends a transaction in which it was only tried what clean-up would do."""


async def wanted_free(store: Store, settings: Settings) -> int:
    """Bytes that clean-up makes free at night: so many hours of recording, at the rate of what was recorded lately."""
    cameras, film = await store.recorded_lately()
    asked = settings.cameras
    cameras = cameras or asked.bitrate * (2 if asked.dual else 1) / 8
    hours = round((cameras + (film or settings.film.maxrate / 8)) * 3600 * settings.disk.keep_free_h)
    return max(settings.disk.min_free_mb << 20, hours)


def left_over(folder: DataFolder, now_us: int) -> list[Path]:
    """Files that were being written long ago, by a process that was killed. Blocks, raises OSError."""
    return [path for path in folder.unfinished_files() if now_us - path.stat().st_mtime_ns // 1000 >= LEFT_US]


async def plan(store: Store, folder: DataFolder, settings: Settings, now_us: int,
               recording_run: int | None = None) -> list[Going]:
    """What clean-up would delete now, in its order. Nothing is changed. Footage of the run that records is left out.

    Raises:
        RetryError: the store cannot be read now.
        OSError: the data folder cannot.
    """
    keep, going = Keep.of(settings), list[Going]()
    short = await wanted_free(store, settings) - files.free_bytes(folder.root)  # bytes that must be made
    for path in left_over(folder, now_us):
        going.append(Going("unfinished file", folder.relative(path), "its writer was killed", path.stat().st_size))
    for path in await unknown_films(store, folder):
        going.append(Going("unknown film", folder.relative(path), "no film of the database has it: it goes aside", 0))
    for path in surplus(folder.copies, settings.disk.keep_copies):
        going.append(Going("copy of the database", folder.relative(path),
                           f"more than {settings.disk.keep_copies} (disk.keep_copies)", path.stat().st_size))
    for since_us, path in sorted((path.lstat().st_ctime_ns // 1000, path) for path in folder.set_aside()):
        old = now_us - since_us >= keep.aside_us
        if old or short > total(going):
            going.append(Going("set aside", folder.relative(path), "kept for disk.keep_aside_h" if old else SHORT,
                               _size(path)))
    try:
        async with store.together() as tx:
            going += [one async for one in _films_and_footage(
                tx, folder, keep, now_us, short - total(going), recording_run)]
            raise _NotInTruth  # noqa: TRY301 - the transaction's own way to be undone
    except _NotInTruth:
        return going


SHORT = "the disk is short (disk.min_free_mb, disk.keep_free_h)"


async def _films_and_footage(tx: Store, folder: DataFolder, keep: Keep, now_us: int, short: int,
                             recording_run: int | None) -> AsyncIterator[Going]:
    """What goes of films and their footage; in the transaction of `tx`, which is not committed."""
    freed = 0
    hold = [] if recording_run is None else [(recording_run, 0)]

    async def footage() -> int:
        unneeded = await tx.unneeded_segments(hold, now_us - keep.found_us)
        await tx.doom(unneeded)
        return sum(one.bytes for one in unneeded)

    if size := await footage():
        freed += size
        yield Going("footage", f"{size >> 20} MiB", "no film needs it", size)
    for stage in ENDED:
        for film in await tx.films_brief(stage):
            due = keep.is_due(film, now_us)
            if not due and not (short > freed and await tx.has_footage(film.booking_id)):
                continue
            await tx.step(film.booking_id, Stage.CLEANED)
            size = _size(folder.film(film.recording_id)) + await footage()
            freed += size
            yield Going("film's files and footage", shown_id(film.booking_id),
                        f"{stage}, and kept long enough" if due else f"{stage}; {SHORT}", size)
    while short > freed and (found := await tx.found_footage(SOME)):
        await tx.doom(found)
        size = sum(one.bytes for one in found)
        freed += size
        yield Going("footage without a booking", f"{len(found)} segments of run {found[0].run}", SHORT, size)


async def unknown_films(store: Store, folder: DataFolder) -> list[Path]:
    """Folders of films that the database does not know."""
    names = [path.name for path in folder.films.iterdir()] if folder.films.is_dir() else []
    return [folder.films / name for name in await store.not_of_films(names)]


def _size(path: Path) -> int:
    """Bytes of a file, or of all in a folder."""
    if path.is_dir() and not path.is_symlink():
        return sum(_length(Path(place, name)) for place, _, names in os.walk(path) for name in names)
    return _length(path)


def _length(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0


def total(going: Iterable[Going]) -> int:
    """Bytes in all."""
    return sum(one.bytes for one in going)
