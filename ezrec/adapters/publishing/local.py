"""Publishing without a cloud: the `videos` table of this device's own store."""

from typing import Protocol

from ezrec.domain.messages import Video


class VideoRows(Protocol):
    """What is needed of the store."""

    async def put_video(self, video: Video) -> None:
        """Insert the row, or replace the one with the same `recording_id`, durably."""

    async def has_video(self, booking_id: str, day: str) -> bool:
        """Whether there is a row of this booking on this day."""


class LocalPublisher:
    """A `Publisher` into `rows`."""

    def __init__(self, rows: VideoRows) -> None:
        self._rows = rows

    async def holds(self, booking_id: str, day: str) -> bool:
        """Whether there is a row of a film of this booking on this day. Errors are those of `rows`."""
        return await self._rows.has_video(booking_id, day)

    async def publish(self, video: Video) -> None:
        """Put the film's row into the local table; durable when this returns. Errors are those of `rows`."""
        await self._rows.put_video(video)
