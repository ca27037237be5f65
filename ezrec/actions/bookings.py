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
    stages = {film.booking_id: film.stage for film in await store.films()}
    return [Listed(one, stages.get(one.id)) for one in await store.bookings() if one.ends_at >= since_us]


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
    stage = await store.film_stage_unless_booked(booking, OPEN)
    if stage is not None:
        raise BadBooking(f"the film of {booking.id!r} is {stage}: it is too late to change that booking; give the "
                         "new one an --id of its own", booking.id)
    if not await store.has_booking(booking.id, booking.source):
        raise BadBooking(f"the id {booking.id!r} belongs to another source of bookings; choose another one", booking.id)


async def cancel(store: Store, booking_id: str) -> None:
    """Cancel a booking that was made on this device. Recording stops at once; what was recorded is kept for a while.

    Raises:
        EzrecError: there is none of this id, it comes from elsewhere, or its film is too far.
    """
    one = next((one for one in await store.bookings() if one.id == booking_id), None)
    if one is None:
        raise EzrecError(f"there is no booking {booking_id!r}; `ezrec bookings list` shows what there is")
    if one.source != SOURCE:
        raise EzrecError(f"booking {booking_id!r} comes from {one.source!r}: cancel it there")
    stage = await store.film_stage_unless_booked(replace(one, status="cancelled"), OPEN)
    if stage is not None:
        raise EzrecError(f"the film of {booking_id!r} is {stage}: it is too late to cancel")


async def take_all(store: Store, settings: Settings, rows: Iterable[object]) -> Imported:
    """Make or change all bookings of a list; what is wrong with a row keeps no other one from it."""
    good, bad = bookings.parse_many(rows, source=SOURCE, zone=ZoneInfo(settings.site.timezone),
                                    longest_s=settings.bookings.longest_h * 3600)
    taken, refused = [], [str(error) for error in bad]
    for one in good:
        if await store.put_booking(one):
            taken.append(one)
        else:
            refused.append(f"booking {one.id!r}: another source has this id")
    return Imported(taken, refused)
