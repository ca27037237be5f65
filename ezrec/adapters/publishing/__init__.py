"""Where the world learns of a finished film: one row in a table of videos."""

from typing import Protocol

from ezrec.domain.messages import Video


class Publisher(Protocol):
    """A table of videos."""

    async def holds(self, booking_id: str, day: str) -> bool:
        """Whether there is a row of a film of this booking on this local day (2026-11-20), of whatever recording.

        An id may have been used before, on another day.

        Raises:
            RetryError: no answer.
            ParkError: it is not told.
        """

    async def publish(self, video: Video) -> None:
        """See to it that there is exactly one row for the recording and that it says this; may be repeated.

        Raises:
            RetryError: no confirmation; it may be there or not.
            ParkError: the row is refused, and asking again will not change that.
        """
