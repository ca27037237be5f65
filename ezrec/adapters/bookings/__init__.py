"""Where bookings come from, and who is told what became of them: small protocols, an implementation for each place."""

from typing import Protocol


class BookingSource(Protocol):
    """A place that lists this court's bookings.

    A source hands on what it was given, unparsed; what a row means is decided in one place for all of them
    (`ezrec.domain.booking`). A row may be dropped only on the word of the source it came from, so an answer counts
    only if it is complete: any doubt is an error, never a shorter list.
    """

    name: str  # kept with every booking; only this source may drop it again
    reuses_ids: bool  # an id may come back with another time and mean another booking; False: a table's keys
    reported: bool  # it is a `StatusBoard` as well: its bookings' owners want to know what becomes of them

    async def fetch(self) -> list[object] | None:
        """All rows of a complete, well-formed answer; None if nothing is new since the last one.

        Raises:
            RetryError: no answer, or none that can be believed; what is known stays.
            ParkError: the source refuses, and asking again will not change that.
        """

    def forget(self) -> None:
        """The rows of the last answer could not be stored: hand them on again the next time."""


class StatusBoard(Protocol):
    """A source whose bookings' owners want to know what becomes of them."""

    async def tell_status(self, booking_id: str, status: str, reason: str | None) -> None:
        """Set a booking's status word (`domain/stages.py`), with a reason if it is `failed`; may be repeated.

        Words only move forward, except out of `failed`, and never replace a cancellation: what comes too late changes
        nothing. A booking that is gone needs no word.

        Raises:
            RetryError: no confirmation; it may be set or not.
            ParkError: it is refused, and asking again will not change that.
        """
