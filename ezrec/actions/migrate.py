"""Taking over from EZREC's predecessor: what there is to do, and each part of it.

Nothing of the predecessor's is deleted or changed but that its services are stopped and its lines go out of crontabs.
Every part may be done again: what is there already stays as it is.
"""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from zoneinfo import ZoneInfo

from ezrec import files
from ezrec.actions import takeover
from ezrec.actions.bookings import SOURCE
from ezrec.actions.takeover import Taken
from ezrec.adapters import predecessor
from ezrec.adapters.predecessor import OldMatch
from ezrec.adapters.publishing.past import Past
from ezrec.config import Settings
from ezrec.config.takeover import Inherited, settled, wanted
from ezrec.config.writing import write, write_secrets
from ezrec.device import predecessor as services
from ezrec.device.predecessor import Crontab, OldUnit
from ezrec.domain import booking as bookings
from ezrec.domain.booking import Booking
from ezrec.domain.clock import SECOND
from ezrec.domain.errors import EzrecError
from ezrec.domain.stages import Stage
from ezrec.folders import DataFolder
from ezrec.store import Store

SIGNS = (".env", "recordings", "backend", "api", "pending_uploads.json", "processed", "final", "media_cache")
NO_COURT = ("", "0")  # what its old pages write where a booking's court should stand
WRITTEN_US = 60 * SECOND  # a file that was written to so lately may be one that is being recorded


@dataclass(frozen=True)
class Fate:
    """What is to become of a recording."""

    recording: OldMatch
    taken: Taken | None  # None: it is left
    why: str  # in words
    failed: bool = False  # it is left, and should not have to be


@dataclass(frozen=True)
class Takeover:
    """What there is to do."""

    old: Path
    path: Path  # the settings file
    settings: Settings  # as they will be
    wanted: Inherited
    media: Mapping[str, tuple[Path, Path]]  # name → where it lies, where it will lie
    units: Sequence[OldUnit] = ()
    tunnel: bool = False
    crontabs: Sequence[Crontab] = ()
    bookings: Sequence[Booking] = ()  # that are not over and not known yet
    known: Sequence[Booking] = ()  # all that anybody knows of
    fates: Sequence[Fate] = field(default_factory=tuple)


def look(old: Path, path: Path, overrides: Mapping[str, dict[str, object]]) -> Takeover:
    """What there is to do in the folder `old`, without bookings and recordings; nothing is changed.

    Raises:
        EzrecError: it is no folder of the predecessor's.
        SettingsError: the settings would not be usable.
    """
    old = old.absolute()
    if not old.is_dir() or not any((old / sign).exists() for sign in SIGNS):
        raise EzrecError(f"{old} is no folder of EZREC's predecessor: none of {', '.join(SIGNS)} is in it")
    dotenv = old / ".env"
    if dotenv.exists() and not os.access(dotenv, os.R_OK):
        raise EzrecError(f"{dotenv} cannot be read by this user: run the command as root (sudo)")
    names = wanted(dotenv, path, {}).names
    found = predecessor.media(old, names)
    media = {name: (file, path.parent / "media" / f"{name}{file.suffix.lower()}") for name, file in found.items()}
    changes = wanted(dotenv, path, {name: str(place) for name, (_, place) in media.items()})
    media = {name: places for name, places in media.items() if not places[1].exists()}
    return Takeover(old, path, settled(path, changes, **overrides), changes, media, services.units(),
                bool(services.units((services.TUNNEL,))), services.crontabs(old))


async def read(plan: Takeover, store: Store | None, past: Past, now_us: int) -> Takeover:
    """The plan with bookings and recordings. `past` is what the project knows of; `now_us`: UTC µs."""
    settings = plan.settings
    own, cached = predecessor.booking_rows(plan.old)
    cloud = settings.bookings.source == "supabase"
    listed = {one.id: one for one in _parsed(past.bookings, "supabase", settings)}
    local = {one.id: one for one in _parsed(own, SOURCE, settings)}  # of one id the project's own row counts
    local |= {one.id: one for one in _parsed(cached, "supabase" if cloud else SOURCE, settings)}
    # What the project lists the recorder reads there.
    ahead = [one for one in local.values() if one.ends_at > now_us and one.id not in listed and _wanted(one, settings)
             and not (store and await store.booking(one.id))]
    found = predecessor.recordings(plan.old, ZoneInfo(settings.site.timezone), plan.wanted.names)
    plan = replace(plan, bookings=sorted(ahead, key=lambda one: one.starts_at), known=list((local | listed).values()))
    return replace(plan, fates=[await judge(plan, one, store, past, now_us) for one in found])


def _wanted(booking: Booking, settings: Settings) -> bool:
    """Whether a booking is this court's, and stands."""
    court = str(booking.row.get("camera_id") or "")
    return booking.status not in settings.bookings.ignore_statuses and court in (
        *NO_COURT, settings.site.camera_id, *settings.bookings.camera_ids)


async def judge(plan: Takeover, recording: OldMatch, store: Store | None, past: Past, now_us: int) -> Fate:
    """What is to become of a recording."""
    if why := _published(recording, past, recording.booking_id):
        return Fate(recording, None, why)
    try:
        own = [one for one in plan.known if _wanted(one, plan.settings)]
        taken = takeover.choose(recording, plan.known, own, ZoneInfo(plan.settings.site.timezone))
    except EzrecError as error:
        return Fate(recording, None, f"cannot be used: {error}", failed=True)
    if why := _published(recording, past, taken.booking_id) or await _made(taken, store):
        return Fate(recording, None, why)
    if taken.booking and taken.booking.ends_at > now_us:
        return Fate(recording, None, f"its booking {taken.booking_id} is not over: again when it is", failed=True)
    left = f"; left out: {'; '.join(taken.bad)}" if taken.bad else ""
    return Fate(recording, taken, f"{taken.way}, as booking {taken.booking_id}{left}")


def _published(recording: OldMatch, past: Past, booking_id: str) -> str:
    """How it is known that the predecessor has published a recording; empty: it has not."""
    if recording.uploaded:
        return "published by the predecessor: its mark .completed lies beside it"
    name = past.holds(booking_id, recording.called)
    return f"published by the predecessor: the table videos has a row of {name}" if name else ""


async def _made(taken: Taken, store: Store | None) -> str:
    """That there is a film of ours of it already, in words; empty: there is none."""
    film = await store.film(taken.booking_id) if store else None
    if film is None or film.stage in (Stage.BOOKED, Stage.MISSED):
        return ""
    return f"there is a film of booking {taken.booking_id} already: it was taken over before, or is EZREC's own"


def recording_now(plan: Takeover, now_us: int) -> str:
    """The file that the predecessor is writing, in words; empty: none. `now_us`: UTC µs."""
    for fate in plan.fates:
        for path in fate.recording.files:
            try:
                written = path.stat().st_mtime_ns // 1000
            except OSError:
                continue
            if 0 <= now_us - written < WRITTEN_US:
                return f"{path} was written to less than a minute ago: a match is being recorded, or was until just now"
    return ""


# ---- doing it


def stop_services(plan: Takeover) -> list[str]:
    """Stop the predecessor's services; what was done, in words.

    Raises:
        EzrecError: one does not stop, or a crontab cannot be written.
    """
    services.stop(plan.units)
    done = [f"stopped and disabled: {', '.join(one.name for one in plan.units)}"] if plan.units else []
    for crontab in plan.crontabs:
        kept = plan.path.parent / f"crontab-{crontab.user or 'root'}.before-ezrec"
        with files.os_errors(f"keep the crontab of {crontab.owner}"):
            kept.parent.mkdir(parents=True, exist_ok=True)
            services.clear(crontab, kept)
        done.append(f"{len(crontab.ours)} of {len(crontab.lines)} lines taken out of the crontab of {crontab.owner}; "
                    f"as it was: {kept}")
    return done


def take_media(plan: Takeover) -> list[str]:
    """Copy logos and intro; what was done, in words.

    Raises:
        EzrecError: they cannot be written.
    """
    with files.os_errors("copy logos and intro"):
        for source, place in plan.media.values():
            place.parent.mkdir(parents=True, exist_ok=True)
            place.parent.chmod(0o755)
            with files.put_in_place(place) as fresh:
                shutil.copyfile(source, fresh)
                Path(fresh).chmod(0o644)
    return [f"copied: {', '.join(str(place) for _, place in plan.media.values())}"] if plan.media else []


def take_settings(plan: Takeover) -> list[str]:
    """Write settings and secrets; what was done, in words.

    Raises:
        SettingsError: the settings file cannot be changed.
        EzrecError: they cannot be written.
    """
    done = []
    if plan.wanted.plain:
        write(plan.path, plan.wanted.plain)
        done.append(f"{plan.path}: {', '.join(plan.wanted.plain)}")
    return done + [f"{file}: closed to everybody but its owner" for file in write_secrets(
        plan.path, plan.wanted.secrets)]


async def take_bookings(plan: Takeover, store: Store) -> list[str]:
    """Take the bookings that are not over; what was done, in words."""
    for one in plan.bookings:
        async with store.together() as tx:
            if await tx.booking(one.id) is None:
                await tx.put_booking(one)
    return [f"{len(plan.bookings)} bookings that are not over"] if plan.bookings else []


async def take_recordings(plan: Takeover, store: Store, tell: Callable[[Fate, str, bool], None]) -> None:
    """Take the recordings, one after the other; one that cannot be taken keeps no other one from it.

    `tell` is called with what became of each, in words, and whether that is well.
    """
    owner = _owner(DataFolder(plan.settings.paths.data))
    for fate in plan.fates:
        if fate.taken is None:
            tell(fate, fate.why, not fate.failed)
            continue
        try:
            booking = await takeover.take(store, plan.settings, fate.taken, owner)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one, the others come next
            foreseen = isinstance(error, EzrecError | OSError)
            tell(fate, str(error) if foreseen else f"{type(error).__name__}: {error}", False)
        else:
            left = f"; left out: {'; '.join(fate.taken.bad)}" if fate.taken.bad else ""
            tell(fate, f"taken over as booking {booking.id} ({fate.taken.way}){left}", True)
    takeover.clear(DataFolder(plan.settings.paths.data))


def own_store(settings: Settings) -> None:
    """Give a store that root has just made to the owner of its folder. Raises OSError."""
    folder = DataFolder(settings.paths.data)
    if owner := _owner(folder):
        for path in folder.root.glob(f"{folder.store.name}*"):
            os.chown(path, *owner)


def _owner(folder: DataFolder) -> tuple[int, int] | None:
    """Whose the data folder is, if this is root and it is another's: SQLite does the same for its own files."""
    status = folder.root.stat()
    return (status.st_uid, status.st_gid) if os.geteuid() == 0 and status.st_uid else None


def _parsed(rows: Sequence[object], source: str, settings: Settings) -> list[Booking]:
    """The bookings of rows; what is none is left out."""
    good, _ = bookings.parse_many(rows, source=source, zone=ZoneInfo(settings.site.timezone),
                                  longest_s=settings.bookings.longest_h * 3600)
    return [replace(one, reported=source == "supabase") for one in good]


