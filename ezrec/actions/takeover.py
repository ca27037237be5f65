"""A predecessor's recordings become films of ours, each exactly once.

Files of cameras become segments of a run of their own, which the recorder makes the film of, as of any other footage. A
film that was finished already is taken as it is and only stored and published.

What is known of a recording is one transaction of the store, written when its files lie complete in their place: a kill
before it leaves files that the next attempt uses or makes anew, a kill after it leaves nothing to do. The booking's id
is the film's key, so that no recording becomes a film twice. The predecessor's own files are read and never changed.
"""

import asyncio
import hashlib
import json
import math
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

from ezrec import files
from ezrec.actions.bookings import SOURCE
from ezrec.adapters import run_facts
from ezrec.adapters.adoption import adopt
from ezrec.adapters.predecessor import CameraFile, OldMatch
from ezrec.adapters.resegment import RATE, segments_of
from ezrec.adapters.run_facts import RunFacts
from ezrec.config import Settings
from ezrec.domain import booking as bookings
from ezrec.domain import schedule
from ezrec.domain.booking import Booking
from ezrec.domain.certificate import Certificate
from ezrec.domain.clock import SECOND, local_datetime, utc_text
from ezrec.domain.errors import BadBooking, BadMedia, EzrecError, RetryError
from ezrec.domain.events import Rescued
from ezrec.domain.film import Canvas, EncoderOptions, Film, Recipe
from ezrec.domain.stages import Stage
from ezrec.domain.timeline import Offset, Segment, begin_span
from ezrec.folders import DataFolder
from ezrec.media.probe import VideoFacts, probe
from ezrec.store import Store

BASE_US = 10 * SECOND  # where a taken over run begins on its own clock
ROOM = 1.1  # over the size of what is copied
EARLY_US = 120 * SECOND  # the predecessor may have begun so long before the booking
MOST_PARTS = 10_000

CAMERAS, MERGED, FILM = "its cameras' files", "the merged file", "the finished film"
"""What is taken of a recording."""


@dataclass(frozen=True)
class Taken:
    """What of a recording is to be taken, under which booking."""

    recording: OldMatch
    booking_id: str
    booking: Booking | None  # as it is known from elsewhere
    way: str
    parts: tuple[CameraFile, ...]  # files of cameras, or the merged one as one camera's
    film: Path | None
    facts: VideoFacts
    bad: tuple[str, ...] = ()  # what of its files cannot be used, in words

    @property
    def bytes(self) -> int:
        """How much is copied."""
        return sum(path.stat().st_size for path in ([self.film] if self.film else [one.path for one in self.parts]))

    @property
    def token(self) -> str:
        """What its files are called until the store knows them."""
        return hashlib.sha256(self.recording.name.encode()).hexdigest()[:16]


def choose(recording: OldMatch, known: Sequence[Booking], own: Sequence[Booking], zone: ZoneInfo) -> Taken:
    """What can be taken of a recording: the finished film, else both cameras, else the merged file, else what is left.

    `known` holds the bookings that anybody knows of, `own` those of them that are this court's.

    Raises:
        BadMedia: none of its files can be read.
    """
    booking = _booking(recording, known, own)
    booking_id = booking.id if booking else _id(recording, zone)
    bad: list[str] = []
    film = _facts(recording.film, bad)
    if film:
        return Taken(recording, booking_id, booking, FILM, (), recording.film, film, tuple(bad))
    read = [(part, facts) for part in recording.parts if (facts := _facts(part.path, bad))]
    whole = read and len(read) == len(recording.parts)
    merged = None if whole else _facts(recording.merged, bad)
    if merged and recording.merged:
        part = CameraFile("left", recording.merged, recording.starts_at)
        return Taken(recording, booking_id, booking, MERGED, (part,), None, merged, tuple(bad))
    if read:
        return Taken(recording, booking_id, booking, CAMERAS, tuple(part for part, _ in read), None, read[0][1],
                     tuple(bad))
    raise BadMedia("; ".join(bad) or "there is no file of it any more")


async def take(store: Store, settings: Settings, taken: Taken, owner: tuple[int, int] | None) -> Booking:
    """Make a film of ours of it; the booking that it is the film of. Safe to be killed at any moment and done again.

    `owner` (user and group) is given what is written, None: it is this user's anyway.

    Raises:
        EzrecError: it cannot be used, the disk has no room, or there is a film of that booking; nothing has changed.
        OSError: the disk is full, or fails; the same.
    """
    folder = DataFolder(settings.paths.data)
    free = await asyncio.to_thread(files.free_bytes, folder.root)
    if taken.bytes * ROOM > free:
        raise RetryError(f"{taken.bytes >> 20} MiB are needed and {free >> 20} MiB free: make room, then "
                         "`ezrec migrate` again")
    if taken.film:
        return await _take_film(store, settings, folder, taken, taken.film, owner)
    run = await asyncio.to_thread(_run_of, folder, taken.token)
    if run is None:
        staged = folder.migrating / taken.token
        await asyncio.to_thread(_write_segments, folder, settings, taken, staged, owner)
        highest = max(await asyncio.to_thread(folder.runs), default=0)
        async with store.together() as tx:
            run = await tx.next_run(highest)
            await tx.recover_run(run, _boot(taken.token), [_offset(taken)])
        await asyncio.to_thread(_put, staged, folder.run(run))
    segments = await asyncio.to_thread(_rows, folder, folder.run(run), settings.cameras.fps)
    if not segments:
        raise BadMedia(f"{taken.recording.name}: nothing of it can be read")
    wall_us = _offset(taken).wall_us
    window = min(one.start_us for one in segments) + wall_us, max(one.end_us for one in segments) + wall_us
    async with store.together() as tx:
        booking, film = await _begun(tx, settings, taken, window)
        await tx.recover_run(run, _boot(taken.token), [_offset(taken)])
        await tx.add_segment(*segments)
        await tx.put_span(booking.id, begin_span(run, film.starts_at, film.ends_at, wall_us))
        await tx.step(booking.id, Stage.RECORDING)
        await tx.step(booking.id, Stage.RECORDED)
    return booking


async def _take_film(store: Store, settings: Settings, folder: DataFolder, taken: Taken, film_file: Path,
                     owner: tuple[int, int] | None) -> Booking:
    """Take a finished film: a copy of it is what the recorder stores and publishes."""
    staged = folder.film(f"migrating-{taken.token}") / "film.mp4"
    size = max(settings.storage.part_mb, math.ceil(taken.bytes * ROOM / (MOST_PARTS << 20))) << 20
    sums = await asyncio.to_thread(_copied, folder, film_file, staged, size)
    start, facts = taken.recording.starts_at, taken.facts
    window = start, start + max(SECOND, round(facts.duration_s * SECOND))
    rate = facts.rate or RATE
    recipe = Recipe(rate, Canvas(facts.width, facts.height, ()), EncoderOptions(), part_size=size, index_reserve=0)
    async with store.together() as tx:
        booking, film = await _begun(tx, settings, taken, window)
        certificate = Certificate(
            (utc_text(window[0]), utc_text(window[1])), round(facts.duration_s, 3), rate=rate,
            picture=(facts.width, facts.height), notes=("the predecessor made this film; it was taken as it was",))
        for stage in (Stage.RECORDING, Stage.RECORDED):
            await tx.step(booking.id, stage)
        await tx.step(booking.id, Stage.RENDERED, recipe=recipe.dumps(), bytes=staged.stat().st_size,
                      certificate=json.dumps(certificate.to_json(), sort_keys=True), sums=json.dumps(sums))
        # The last thing before the commit: a folder without its film's row would be swept away.
        place = folder.film_file(film.recording_id, film.generation)
        await asyncio.to_thread(_put_film, folder, staged, place, owner)
    return booking


async def _begun(tx: Store, settings: Settings, taken: Taken, window: tuple[int, int]) -> tuple[Booking, Film]:
    """A film in stage `booked` for what was recorded in `window` (UTC µs), with its booking.

    Raises:
        EzrecError: there is a film already.
    """
    there, film = await tx.booking(taken.booking_id), await tx.film(taken.booking_id)
    if film and film.stage not in (Stage.MISSED, Stage.BOOKED):
        raise EzrecError(f"there is a film of booking {taken.booking_id} already; it is {film.stage}")
    booking = there or taken.booking or Booking(taken.booking_id, SOURCE, *window, "completed")
    rolls = settings.bookings.pre_roll_s, settings.bookings.post_roll_s
    starts_at, ends_at = bookings.window(booking, *rolls)
    if booking not in (there, taken.booking) or ends_at <= window[0] or starts_at >= window[1]:
        starts_at, ends_at = window  # nobody knows the booking's times, or they are not those of what was recorded
    if not there:
        await tx.put_booking(booking)
    await tx.add_film(booking.id, schedule.recording_id(starts_at, ZoneInfo(settings.site.timezone)), starts_at,
                      ends_at)
    if film and film.stage is Stage.MISSED:
        await tx.step(booking.id, Stage.BOOKED)
    if film and (film.starts_at, film.ends_at) != (starts_at, ends_at):
        await tx.move_film(booking.id, starts_at, ends_at)
    if not taken.film:
        await tx.record(booking.id, Rescued())
    made = await tx.film(booking.id)
    if made is None:
        raise RetryError(f"the film of booking {booking.id} went away meanwhile")
    return booking, made


def _booking(recording: OldMatch, known: Sequence[Booking], own: Sequence[Booking]) -> Booking | None:
    """The booking that a recording belongs to: by its id, else by its time."""
    if recording.booking_id:
        return next((one for one in known if one.id == recording.booking_id), None)
    at = recording.starts_at if recording.booked_at is None else recording.booked_at
    return next((one for one in own if one.starts_at - EARLY_US <= at < one.ends_at), None)


def _id(recording: OldMatch, zone: ZoneInfo) -> str:
    with suppress(BadBooking):
        return bookings.validate_id(recording.booking_id)
    return f"{local_datetime(recording.starts_at, zone):%Y%m%d-%H%M%S}"


def _facts(path: Path | None, bad: list[str]) -> VideoFacts | None:
    if path is None:
        return None
    try:
        return probe(path)
    except Exception as error:  # noqa: BLE001 - whatever a file holds, the others come next
        foreseen = isinstance(error, EzrecError | OSError)
        bad.append(str(error) if foreseen else f"{path}: {type(error).__name__}: {error}")
        return None


# ---- files


def _boot(token: str) -> str:
    return f"migrated:{token}"


def _offset(taken: Taken) -> Offset:
    return Offset(0, min(part.starts_at for part in taken.parts) - BASE_US)


def _run_of(folder: DataFolder, token: str) -> int | None:
    """The run that an earlier attempt, which was killed, has made of it."""
    return next((run for run in folder.runs()
                 if (facts := run_facts.read(folder.run_facts(run))) and facts.boot_id == _boot(token)), None)


def _write_segments(folder: DataFolder, settings: Settings, taken: Taken, staged: Path,
                    owner: tuple[int, int] | None) -> None:
    """Write the segments of a run that is to be. Raises BadMedia, OSError."""
    shutil.rmtree(staged, ignore_errors=True)
    files.make_folders(staged, below=folder.root)
    begin = min(part.starts_at for part in taken.parts)
    made, faults = 0, []
    for part in taken.parts:
        try:
            made += len(segments_of(part.path, staged / part.camera, BASE_US + part.starts_at - begin,
                                    round(settings.recorder.segment_s * SECOND)))
        except BadMedia as error:  # the other camera's file may be well
            faults.append(str(error))
    if not made:
        raise BadMedia("; ".join(faults))
    run_facts.write(staged / folder.run_facts(0).name, RunFacts(_boot(taken.token), (_offset(taken),)))
    for path in (folder.segments, folder.migrating, staged, *staged.rglob("*")):
        _give(path, owner)


def _put(staged: Path, place: Path) -> None:
    """Let a run's folder be in its place, durably."""
    staged.rename(place)
    files.all_soon(partial(files.fsync_folder, staged.parent), partial(files.fsync_folder, place.parent))
    with suppress(OSError):
        staged.parent.rmdir()


def _rows(folder: DataFolder, run: Path, rate: Fraction) -> list[Segment]:
    """The segments of a run's folder."""
    found = (adopt(path, rate, may_be_torn=False) for path in sorted(run.glob("*/*.ts")))
    return [replace(sealed.row(folder.root), run=int(run.name)) for sealed in found if sealed]


def _copied(folder: DataFolder, film: Path, staged: Path, part: int) -> list[str]:
    """Copy a film, durably; the SHA-256 of its parts of `part` bytes."""
    files.make_folders(staged.parent, below=folder.root)
    sums = []
    with film.open("rb") as source, staged.open("wb") as copy:
        while data := source.read(part):
            copy.write(data)
            sums.append(hashlib.sha256(data).hexdigest())
    staged.chmod(files.FILE_MODE)
    files.fsync_file(staged)
    return sums


def _put_film(folder: DataFolder, staged: Path, place: Path, owner: tuple[int, int] | None) -> None:
    """Let a film be in its place, durably."""
    files.make_folders(place.parent, below=folder.root)
    staged.rename(place)
    files.fsync_file(place)
    files.fsync_folder(place.parent)
    for path in (folder.films, place.parent, place):
        _give(path, owner)
    with suppress(OSError):
        staged.parent.rmdir()


def clear(folder: DataFolder) -> None:
    """Remove what attempts that were killed have left of recordings that are not taken any more."""
    shutil.rmtree(folder.migrating, ignore_errors=True)


def _give(path: Path, owner: tuple[int, int] | None) -> None:
    if owner:
        os.chown(path, *owner)
