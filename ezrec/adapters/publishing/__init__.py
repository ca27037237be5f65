"""Where the world learns of a finished film: one row in a table of videos."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Video:
    """A film's row, under the names that its readers know."""

    booking_id: str
    recording_id: str  # the row's key: the same film is published under the same one, however often
    user_id: str
    camera_id: str
    storage_path: str  # the object's key
    video_url: str
    poster_url: str | None
    duration_seconds: float
    file_size: int  # bytes
    filename: str
    date: str  # YYYY-MM-DD, the booking's own local date
    uploaded_at: str  # ISO 8601, UTC


class Publisher(Protocol):
    """A table of videos."""

    async def publish(self, video: Video) -> None:
        """See to it that there is exactly one row for the recording and that it says this; may be repeated.

        Raises:
            RetryError: no confirmation; it may be there or not.
            ParkError: the row is refused, and asking again will not change that.
        """
