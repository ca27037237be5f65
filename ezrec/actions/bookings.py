"""What a person may do with bookings: see them, make, change and cancel this device's own, import a list."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from zoneinfo import ZoneInfo

from ezrec.actions import state
from ezrec.adapters.bookings.local import BookingsFile
from ezrec.config import Settings
from ezrec.domain import booking as bookings
from ezrec.domain import naming
from ezrec.domain.booking import Booking, RefusedRow, show_local
from ezrec.domain.errors import BadBooking, EzrecError, ParkError, RetryError
from ezrec.domain.naming import Named
from ezrec.domain.stages import CHANGEABLE, OPEN, Stage
from ezrec.folders import DataFolder
from ezrec.store import Store

SOURCE = "cli"  # of bookings that were made on this device


@dataclass(frozen=True)
class Listed:
    """A booking, and how far its film is; None if it has none yet."""

    booking: Booking
    stage: Stage | None
    url: str | None = None  # of a film that is done


@dataclass(frozen=True)
class Imported:
    """What became of a list of bookings."""

    taken: list[Booking]
    refused: list[str]  # why, in words
    over: list[Booking]  # of those taken: their time has passed
    remarks: list[str]  # what changes of clocks made of local times, in words


async def listing(store: Store, since_us: int) -> list[Listed]:
    """The bookings that end at `since_us` (UTC µs) or later, by start."""
    async with store.snapshot() as now:
        found = []
        for booking, stage in await now.bookings_with_stages(since_us):
            film = await now.film(booking.id) if stage is Stage.CLEANED else None
            found.append(Listed(booking, stage, film.url if film else None))
        return found


async def refused(settings: Settings, now_us: int) -> list[RefusedRow]:
    """The rows that the sources hand in and that are no bookings: as the running recorder says, else as the bookings
    file has them now. `now_us`: UTC µs.
    """
    said = state.read(DataFolder(settings.paths.data), now_us)
    if said is not None:
        return [RefusedRow(str(one["source"]), str(one["reason"]))
                for one in (said.get("queues") or {}).get("refused_bookings", ())]
    if settings.bookings.file is None:
        return []
    try:
        rows = await BookingsFile(settings.bookings.file).fetch()
    except (RetryError, ParkError) as error:
        return [RefusedRow("file", str(error))]
    _, bad = bookings.parse_many(rows or [], source="file", zone=ZoneInfo(settings.site.timezone),
                                 longest_s=settings.bookings.longest_h * 3600, reuses_ids=True)
    return [RefusedRow("file", str(error)) for error in bad]


def parse(row: object, settings: Settings) -> Booking:
    """A booking of this device's own from a row.

    Raises:
        BadBooking: it is malformed.
    """
    return bookings.parse(row, source=SOURCE, zone=ZoneInfo(settings.site.timezone),
                          longest_s=settings.bookings.longest_h * 3600)


async def book(store: Store, settings: Settings, booking: Booking, now_us: int) -> Booking:
    """Make a booking, or change the one of its id that it means (`domain/naming.py`); returns it under its store id.

    Raises:
        BadBooking: it is over (`now_us`, UTC µs), its film is too far, or its id belongs to another source.
    """
    if booking.ends_at <= now_us:
        ended = show_local(booking.ends_at, ZoneInfo(settings.site.timezone))
        raise BadBooking(f"booking {booking.id!r} ends at {ended}, which is over; say a later time", booking.id)
    async with store.together() as tx:
        (one,) = await _named(tx, settings, [booking], now_us)
        stage = await _too_far(tx, one.id)
        if stage is not None:
            raise BadBooking(f"the film of {booking.id!r} is {stage}: it is too late to change that booking; for a new "
                             "one say a time that does not overlap it, or another id", booking.id)
        if not await tx.put_booking(one):
            raise BadBooking(f"the id {booking.id!r} belongs to another source of bookings; choose another one",
                             booking.id)
    return one


async def cancel(store: Store, settings: Settings, words: str, now_us: int) -> Booking:
    """Cancel a booking that was made on this device. Recording stops at once; what was recorded is kept for a while.

    `words` are a full id, or a plain one: that means the only booking of it that can still be cancelled.

    Raises:
        EzrecError: there is none of this id, or more than one; it comes from elsewhere, or its film is too far.
    """
    async with store.together() as tx:
        listed = {one.id: (one, stage) for one, stage in await tx.bookings_with_stages(0)}
        found = naming.asked_for(words, (Named(one.id, *_window(one, settings)) for one, _ in listed.values()))
        if not found:
            raise EzrecError(f"there is no booking {words!r}; `ezrec bookings list` shows what there is")
        can = [one for one in found if _may_cancel(*listed[one.id], settings, now_us)]
        if len(can) > 1:
            raise EzrecError(several(words, can, ZoneInfo(settings.site.timezone)))
        booking, _ = listed[(can or found)[0].id]
        if booking.source != SOURCE:
            raise EzrecError(f"booking {words!r} comes from {booking.source!r}: cancel it there")
        stage = await _too_far(tx, booking.id)
        if stage is not None:
            raise EzrecError(f"the film of {words!r} is {stage}: it is too late to cancel")
        cancelled = replace(booking, status="cancelled")
        await tx.put_booking(cancelled)
    return cancelled


async def take_all(store: Store, settings: Settings, rows: Iterable[object], now_us: int) -> Imported:
    """Make or change all bookings of a list; what is wrong with a row keeps no other one from it. `now_us`: UTC µs."""
    zone, rows = ZoneInfo(settings.site.timezone), list(rows)
    good, bad = bookings.parse_many(rows, source=SOURCE, zone=zone,
                                    longest_s=settings.bookings.longest_h * 3600, reuses_ids=True)
    taken, refused_rows = [], [str(error) for error in bad]
    malformed = {error.booking_id for error in bad if error.booking_id}
    async with store.together() as tx:
        for one in await _named(tx, settings, good, now_us, malformed):
            if await tx.put_booking(one):
                taken.append(one)
            else:
                refused_rows.append(f"booking {one.id!r}: another source has this id")
    used = {(naming.shown_id(one.id), one.starts_at) for one in taken}
    remarks = [remark for row in rows for remark in _remarks(row, settings, used)]
    return Imported(taken, refused_rows, [one for one in taken if one.ends_at <= now_us], remarks)


def _remarks(row: object, settings: Settings, used: Collection[tuple[str, int]]) -> list[str]:
    """What a change of clocks made of a row's times, if the row was taken."""
    try:
        one = parse(row, settings)
    except BadBooking:
        return []
    return bookings.remarks(row, ZoneInfo(settings.site.timezone)) if (one.id, one.starts_at) in used else []


def several(words: str, meant: Sequence[Named], zone: ZoneInfo) -> str:
    """That an id means more than one booking, in words, with the full id and the court time of each."""
    each = ", ".join(f"{one.full_id} ({show_local(one.starts_at, zone)} to {show_local(one.ends_at, zone)[11:]})"
                     for one in reversed(meant))
    return f"{words!r} may mean {len(meant)} bookings; say which one by its full id: {each}"


async def _named(tx: Store, settings: Settings, rows: Sequence[Booking], now_us: int,
                 malformed: Collection[str] = ()) -> list[Booking]:
    """Bookings of this device under their store ids."""
    ids = {row.id for row in rows}
    return naming.named(rows, await tx.bookings_of(ids), await tx.films_of(ids), now_us, malformed=malformed,
                        window=lambda one: _window(one, settings))


def _window(booking: Booking, settings: Settings) -> tuple[int, int]:
    return bookings.window(booking, settings.bookings.pre_roll_s, settings.bookings.post_roll_s)


def _may_cancel(booking: Booking, stage: Stage | None, settings: Settings, now_us: int) -> bool:
    """Whether it makes a difference to cancel it."""
    if booking.source != SOURCE or booking.status in settings.bookings.ignore_statuses:
        return False
    return booking.ends_at > now_us if stage is None else stage in CHANGEABLE


async def _too_far(store: Store, booking_id: str) -> Stage | None:
    """The stage of a booking's film if that is past every change."""
    film = await store.film(booking_id)
    return film.stage if film and film.stage not in OPEN else None
