"""What a person may do with bookings: see them, make, change and cancel this device's own, import a list."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from zoneinfo import ZoneInfo

from ezrec.config import Settings
from ezrec.domain import booking as bookings
from ezrec.domain.booking import Booking, show_local
from ezrec.domain.errors import BadBooking, EzrecError
from ezrec.domain.stages import CHANGEABLE, Stage
from ezrec.store import Store

SOURCE = "cli"  # of bookings that were made on this device

OPEN = CHANGEABLE | {Stage.CANCELLED, Stage.MISSED}
"""While its film is here, a booking may be changed."""


@dataclass(frozen=True)
class Listed:
    """A booking, and how far its film is; None if it has none yet."""

    booking: Booking
    stage: Stage | None


@dataclass(frozen=True)
class Imported:
    """What became of a list of bookings."""

    taken: list[Booking]
    refused: list[str]  # why, in words


async def listing(store: Store, since_us: int) -> list[Listed]:
    """The bookings that end at `since_us` (UTC µs) or later, by start."""
    return [Listed(booking, stage) for booking, stage in await store.bookings_with_stages(since_us)]


def parse(row: object, settings: Settings) -> Booking:
    """A booking of this device's own from a row.

    Raises:
        BadBooking: it is malformed.
    """
    return bookings.parse(row, source=SOURCE, zone=ZoneInfo(settings.site.timezone),
                          longest_s=settings.bookings.longest_h * 3600)


async def book(store: Store, settings: Settings, booking: Booking, now_us: int) -> None:
    """Make a booking, or change the one of its id.

    Raises:
        BadBooking: it is over (`now_us`, UTC µs), its film is too far, or its id belongs to another source.
    """
    if booking.ends_at <= now_us:
        ended = show_local(booking.ends_at, ZoneInfo(settings.site.timezone))
        raise BadBooking(f"booking {booking.id!r} ends at {ended}, which is over; say a later time", booking.id)
    async with store.together() as tx:
        stage = await _too_far(tx, booking.id)
        if stage is not None:
            raise BadBooking(f"the film of {booking.id!r} is {stage}: it is too late to change that booking; give the "
                             "new one an --id of its own", booking.id)
        if not await tx.put_booking(booking):
            raise BadBooking(f"the id {booking.id!r} belongs to another source of bookings; choose another one",
                             booking.id)


async def cancel(store: Store, booking_id: str) -> None:
    """Cancel a booking that was made on this device. Recording stops at once; what was recorded is kept for a while.

    Raises:
        EzrecError: there is none of this id, it comes from elsewhere, or its film is too far.
    """
    async with store.together() as tx:
        booking = await tx.booking(booking_id)
        if booking is None:
            raise EzrecError(f"there is no booking {booking_id!r}; `ezrec bookings list` shows what there is")
        if booking.source != SOURCE:
            raise EzrecError(f"booking {booking_id!r} comes from {booking.source!r}: cancel it there")
        stage = await _too_far(tx, booking_id)
        if stage is not None:
            raise EzrecError(f"the film of {booking_id!r} is {stage}: it is too late to cancel")
        await tx.put_booking(replace(booking, status="cancelled"))


async def take_all(store: Store, settings: Settings, rows: Iterable[object]) -> Imported:
    """Make or change all bookings of a list; what is wrong with a row keeps no other one from it."""
    good, bad = bookings.parse_many(rows, source=SOURCE, zone=ZoneInfo(settings.site.timezone),
                                    longest_s=settings.bookings.longest_h * 3600)
    taken, refused = [], [str(error) for error in bad]
    async with store.together() as tx:
        for one in good:
            if await tx.put_booking(one):
                taken.append(one)
            else:
                refused.append(f"booking {one.id!r}: another source has this id")
    return Imported(taken, refused)


async def _too_far(store: Store, booking_id: str) -> Stage | None:
    """The stage of a booking's film if that is past every change."""
    film = await store.film(booking_id)
    return film.stage if film and film.stage not in OPEN else None
