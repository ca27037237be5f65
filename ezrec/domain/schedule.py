"""What the bookings mean for the films: one pure decision, made again whenever either changes.

The windows are in UTC µs. While a film is `booked` or `recording` its booking may move, stretch, shrink or be called
off; afterwards a change is refused and said so.
"""

import random
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from ezrec.domain.booking import Booking
from ezrec.domain.clock import SECOND, local_datetime
from ezrec.domain.film import Film
from ezrec.domain.stages import CHANGEABLE, Stage

FORGIVEN_US = 24 * 3600 * SECOND
"""A booking first heard of after its window is `missed` if it ended within this time; older ones are history."""


@dataclass(frozen=True)
class Add:
    """A film for a booking that has none. `late`: its window is over already."""

    booking_id: str
    starts_at: int
    ends_at: int
    late: bool


@dataclass(frozen=True)
class Recover:
    """A film for a booking that was over when the store was lost: there may be footage of it, and a film already."""

    booking_id: str
    starts_at: int
    ends_at: int


@dataclass(frozen=True)
class Move:
    """The window of a film that may still change."""

    booking_id: str
    starts_at: int
    ends_at: int


@dataclass(frozen=True)
class Cancel:
    """Stop recording; keep what there is, unpublished."""

    booking_id: str


@dataclass(frozen=True)
class Revive:
    """A booking that was cancelled, or missed by a clock that was wrong, stands again: its window is not over."""

    booking_id: str


@dataclass(frozen=True)
class Withdraw:
    """The booking is gone and nothing was recorded: so is the film."""

    booking_id: str


@dataclass(frozen=True)
class Refuse:
    """The booking was changed too late; the film stays as it is."""

    booking_id: str
    starts_at: int
    ends_at: int
    cancelled: bool


Action = Add | Recover | Move | Cancel | Revive | Withdraw | Refuse


def reconcile(bookings: Mapping[str, Booking], films: Iterable[Film], now_us: int, *, called_off: Collection[str],
              window: Callable[[Booking], tuple[int, int]], recovered_at: int = 0,
              has_found: Callable[[int, int], bool] = lambda _from, _to: False) -> list[Action]:
    """What has to happen to the films so that they follow the bookings.

    `called_off` holds the status words that mean "do not record"; `window` gives a booking's window, rolls included.
    The store was last lost at `recovered_at` (UTC µs, 0: never); `has_found` tells whether there may be footage of a
    window on the runs from before that. What was over by then and has none is not judged: nobody knows what became of
    it.
    """
    known = {film.booking_id: film for film in films}
    actions: list[Action] = []
    for booking in bookings.values():
        film, off, (starts_at, ends_at) = known.get(booking.id), booking.status in called_off, window(booking)
        if film is None:
            lost = ends_at <= recovered_at
            if not off and lost and has_found(starts_at, ends_at):
                actions.append(Recover(booking.id, starts_at, ends_at))
            elif not off and not lost and ends_at > now_us - FORGIVEN_US:
                actions.append(Add(booking.id, starts_at, ends_at, late=ends_at <= now_us))
        else:
            actions += _follow(film, starts_at, ends_at, now_us, off=off)
    actions += [Withdraw(film.booking_id) for film in known.values()
                if film.stage is Stage.BOOKED and film.booking_id not in bookings and film.starts_at > now_us]
    return actions


def _follow(film: Film, starts_at: int, ends_at: int, now_us: int, *, off: bool) -> list[Action]:
    """What has to happen to a film whose booking asks for this window, or is called `off`."""
    changed = (film.starts_at, film.ends_at) != (starts_at, ends_at)
    move: list[Action] = [Move(film.booking_id, starts_at, ends_at)] if changed else []
    if film.stage in CHANGEABLE:
        return [Cancel(film.booking_id)] if off else move
    if film.stage in (Stage.CANCELLED, Stage.MISSED):
        return [Revive(film.booking_id), *move] if not off and ends_at > now_us else []
    if changed or (off and film.stage is not Stage.CLEANED):
        return [Refuse(film.booking_id, starts_at, ends_at, off)]
    return []


def recording_id(starts_at: int, zone: ZoneInfo) -> str:
    """A name for a film's folder: local start for people, random digits against doubles: 20261120-1800-3f2a9c1e."""
    return f"{local_datetime(starts_at, zone):%Y%m%d-%H%M}-{random.getrandbits(32):08x}"
