"""The disk: whether the folders can be used and who else can read them, its room, its speed, its largest file."""

import os
import shlex
from collections.abc import Iterator
from typing import Any

from ezrec import files
from ezrec.actions.checks import Found, Grade, Look, Surroundings, there
from ezrec.adapters import syncing
from ezrec.domain.clock import SECOND
from ezrec.tasks.capacity import too_small

FEW_HOURS = 3.0  # of recording that still fit: less is worth a warning
SPARE = 2.0  # a disk should be so many times faster than what is recorded


def folders(around: Surroundings) -> Iterator[Found]:
    """Whether this user can use the data folder, the library and the log's folder."""
    root, existing = around.folder.root, around.existing
    facts = {"data": str(root)}
    if problems := around.unusable():
        yield from (Found("data folder", Grade.BAD, one, facts=facts) for one in problems)
    elif existing == root:
        yield Found("data folder", Grade.OK, str(root), facts=facts)
    else:
        yield Found("data folder", Grade.OK, f"{root}, which will be made", facts=facts)
    paths = around.settings.paths
    for name, folder in (("library", paths.library_folder.absolute()), ("log folder", paths.log_folder.absolute())):
        at = there(folder)
        inside = folder.is_relative_to(root) and at in (existing, *existing.parents)  # the data folder's own trouble
        if inside or (name == "library" and around.settings.storage.kind != "local"):
            continue
        if not at.is_dir():
            yield Found(name, Grade.BAD, f"{at} is a file, so there is no folder {folder}", f"move {at} away")
        elif not os.access(at, os.W_OK | os.X_OK):
            yield Found(name, Grade.BAD, f"this user cannot write to {at}",
                       f"give it to the user that runs EZREC: sudo chown -R ezrec {shlex.quote(str(at))}")
        else:
            yield Found(name, Grade.OK, str(folder))


def modes(around: Surroundings) -> Iterator[Found]:
    """Whether other users of this machine can see footage, films or logs."""
    paths = around.settings.paths
    wanted = {around.folder.root, around.folder.segments, around.folder.films, paths.log_folder.absolute()}
    if not paths.library_group:
        wanted.add(paths.library_folder.absolute())
    looked_at = sorted(one for one in wanted if one.is_dir())
    for folder in looked_at:
        if files.is_too_open(folder.stat()):
            yield Found("modes", Grade.WARNING, f"other users may look into {folder}",
                       f"chmod -R g-w,o-rwx {shlex.quote(str(folder))}")
            return
    if looked_at:
        yield Found("modes", Grade.OK, "footage, films and logs are closed to other users")


def room(around: Surroundings) -> Iterator[Found]:
    """How many hours of recording still fit."""
    least = around.settings.disk.min_free_mb
    free = files.free_bytes(around.existing)
    hours = round(free / around.bytes_a_second / 3600, 1)
    facts = {"free_hours": hours}
    fits = f"{hours:g} h of recording fit, footage and film"
    if free >> 20 < least:
        yield Found("room", Grade.BAD, f"the disk has {free >> 20} MiB free, {least} are wanted (disk.min_free_mb): "
                   f"{fits}", "make room, or take a larger disk; `ezrec films list` shows what waits", facts)
    elif hours < FEW_HOURS:
        yield Found("room", Grade.WARNING, f"only {fits} ({free >> 20} MiB free)",
                   "make room, or take a larger disk", facts)
    else:
        yield Found("room", Grade.OK, f"{fits} ({free >> 20} MiB free)", facts=facts)


def speed(around: Surroundings) -> Iterator[Found]:
    """How long syncs take, and how fast footage gets to the disk for good."""
    root = around.folder.root
    if around.existing != root or not os.access(root, os.W_OK | os.X_OK):
        return  # `folders` says so
    try:
        took_us = syncing.measure(root)
    except OSError as error:
        words = f"cannot be written: {error.strerror or error}"
        yield Found("disk", Grade.BAD, words, "make room, or mend the disk",
                   {"disk": {"ok": False, "sync_ms": None, "mb_s": None, "problems": [words]}})
        return
    longest_us = max(took_us)
    rate = len(took_us) * syncing.TRY_BYTES / max(1, sum(took_us)) * SECOND
    wanted = around.bytes_a_second
    figures = (f"a sync takes {longest_us // 1000} ms at most, {rate / 1e6:.1f} MB/s are written, "
               f"{wanted / 1e6:.1f} wanted")
    facts: dict[str, Any] = {"ok": True, "sync_ms": longest_us // 1000, "mb_s": round(rate / 1e6, 1), "problems": []}
    if longest_us > syncing.LONGEST_S * SECOND:
        facts |= {"ok": False, "problems": [f"{syncing.too_slow(longest_us)}: {syncing.REMEDY}"]}
        yield Found("disk", Grade.BAD, syncing.too_slow(longest_us), syncing.REMEDY, {"disk": facts})
    elif rate < wanted:
        facts |= {"ok": False, "problems": [f"{figures}: {syncing.REMEDY}"]}
        yield Found("disk", Grade.BAD, figures, syncing.REMEDY, {"disk": facts})
    elif rate < SPARE * wanted:
        yield Found("disk", Grade.WARNING, figures, syncing.REMEDY, {"disk": facts})
    else:
        yield Found("disk", Grade.OK, figures, facts={"disk": facts})


def largest_file(around: Surroundings) -> Iterator[Found]:
    """Whether a film of the longest booking can be one file: a limit of this process, or a FAT's."""
    if around.unusable() or not os.access(around.existing, os.W_OK | os.X_OK):
        return  # `folders` says so
    problems = too_small(around.settings)
    for problem in problems:
        yield Found("largest file", Grade.BAD, problem)
    if not problems:
        hours = around.settings.bookings.longest_h
        yield Found("largest file", Grade.OK, f"a film of {hours:g} h fits into one file")


LOOKS = (
    Look("room", room),  # first: what keeps a match from being recorded
    Look("data folder", folders, by_itself=True), Look("modes", modes), Look("disk", speed, 30.0, by_itself=True),
    Look("largest file", largest_file, by_itself=True),
)
