"""What a person may ask of footage, and do with it: see what lies here, and have a film made of it by hand."""

import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from operator import attrgetter
from zoneinfo import ZoneInfo

from ezrec.actions.bookings import SOURCE
from ezrec.config import Settings
from ezrec.domain import booking as bookings
from ezrec.domain import schedule
from ezrec.domain.booking import Booking
from ezrec.domain.clock import SECOND
from ezrec.domain.errors import EzrecError
from ezrec.domain.events import Rescued
from ezrec.domain.stages import Stage
from ezrec.domain.timeline import Segment, Span, begin_span, length
from ezrec.store import Store

APART_US = 10 * SECOND
"""Footage of a run with a longer pause in it is two pieces."""


@dataclass(frozen=True)
class Piece:
    """Footage of one run without a longer pause. Instants are UTC µs."""

    run: int
    starts_at: int
    ends_at: int
    seconds: dict[str, float]  # by camera
    segments: int
    bytes: int
    found: bool  # its run was found again after the store was lost
    bookings: tuple[str, ...]  # whose films it belongs to


async def listing(store: Store) -> list[Piece]:
    """All footage that has a row, oldest run first."""
    async with store.snapshot() as now:
        runs = await now.runs()
        films = await now.spans_in(*(stage for stage in Stage if stage is not Stage.CLEANED))
        pieces = []
        for run, found in sorted(runs.items()):
            segments = await now.segments(run, 0, 1 << 62)
            offsets = await now.offsets(run)
            if segments and offsets:
                touching = [(span, booking_id) for booking_id, spans in films.items() for span in spans
                            if span.run == run]
                pieces += [_piece(run, ours, offsets[-1].wall_us, touching, found=found) for ours in _apart(segments)]
    return pieces


async def rescue(store: Store, settings: Settings, booking_id: str, window: tuple[int, int] | None,
                 now_us: int) -> Booking:
    """Have a film made of the footage that is kept, for a booking that has none.

    `window` is from and to in UTC µs; None: that of the booking, which must be known then.

    Raises:
        EzrecError: there is no such booking, no footage of that time, or a film already; or the time is not over yet.
    """
    async with store.together() as tx:
        booking = await tx.booking(booking_id)
        if window is None and booking is None:
            raise EzrecError(f"there is no booking {booking_id!r}: say from when to when (--start, --end)")
        if booking is None or window is not None:
            starts, ends = window or (0, 0)
            booking = Booking(bookings.validate_id(booking_id) if booking is None else booking.id,
                              booking.source if booking else SOURCE, starts, ends, "scheduled")
        if booking.ends_at <= booking.starts_at or booking.ends_at > now_us:
            raise EzrecError("a film is rescued of a time that is over, and that ends after it starts")
        film = await tx.film(booking.id)
        if film and film.stage is not Stage.MISSED:
            raise EzrecError(f"there is a film of {booking_id!r} already, it is {film.stage}; give this one another "
                             "id, or see `ezrec films retry`")
        starts_at, ends_at = bookings.window(booking, settings.bookings.pre_roll_s, settings.bookings.post_roll_s)
        spans = await _spans(tx, starts_at, ends_at)
        if not spans:
            raise EzrecError("there is no footage of that time; `ezrec footage` shows what there is")
        if not await tx.put_booking(booking):
            raise EzrecError(f"the id {booking_id!r} belongs to another source of bookings; choose another one")
        await tx.add_film(booking.id, schedule.recording_id(starts_at, ZoneInfo(settings.site.timezone)), starts_at,
                          ends_at)
        if film:
            await tx.step(booking.id, Stage.BOOKED)
            await tx.move_film(booking.id, starts_at, ends_at)
        for span in spans:
            await tx.put_span(booking.id, span)
        await tx.record(booking.id, Rescued())
        await tx.step(booking.id, Stage.RECORDING)
        await tx.step(booking.id, Stage.RECORDED)
    return booking


async def _spans(store: Store, starts_at: int, ends_at: int) -> list[Span]:
    """A window (UTC µs) as it lies on the runs that have footage of it."""
    found = []
    for run in sorted(await store.runs()):
        offsets = await store.offsets(run)
        span = begin_span(run, starts_at, ends_at, offsets[-1].wall_us) if offsets else None
        if span and await store.segments(run, span.start_us, span.end_us):
            found.append(span)
    return found


def _apart(segments: Sequence[Segment]) -> list[list[Segment]]:
    """Segments in groups with longer pauses between them, in order of time."""
    groups: list[list[Segment]] = []
    end = 0
    for segment in sorted(segments, key=attrgetter("start_us")):
        if not groups or segment.start_us - end > APART_US:
            groups.append([])
        groups[-1].append(segment)
        end = max(end, segment.end_us)
    return groups


def _piece(run: int, segments: Sequence[Segment], offset_us: int, touching: Collection[tuple[Span, str]], *,
           found: bool) -> Piece:
    start, end = segments[0].start_us, max(segment.end_us for segment in segments)
    by_camera = itertools.groupby(sorted(segments, key=attrgetter("camera")), attrgetter("camera"))
    return Piece(
        run, start + offset_us, end + offset_us,
        {camera: round(length((one.start_us, one.end_us) for one in ours) / SECOND, 1) for camera, ours in by_camera},
        len(segments), sum(segment.bytes for segment in segments), found,
        tuple(sorted({booking_id for span, booking_id in touching if span.start_us < end and span.end_us > start})))
