"""Publishing through the project's functions; where it has none, as `SupabasePublisher` does."""

from dataclasses import asdict

from ezrec.adapters.publishing.supabase import DOUBLE, SupabasePublisher, double
from ezrec.adapters.supabase import Row
from ezrec.adapters.supabase.functions import FunctionMissing, Functions, Ways
from ezrec.domain.errors import Refused, RetryError
from ezrec.domain.messages import Video


class CourtPublisher:
    """A `Publisher` over functions, or over `table` in a project without them."""

    def __init__(self, functions: Functions, ways: Ways, table: SupabasePublisher) -> None:
        self._functions = functions
        self._called_off = list(ways.cancelled)
        self._table = table

    async def holds(self, booking_id: str, day: str) -> bool:
        """Whether there is a row of a film of this booking on this local day (`Publisher.holds`)."""
        try:
            rows = await self._films(booking_id)
        except FunctionMissing:
            return await self._table.holds(booking_id, day)
        return any((row.get("date") or day) == day for row in rows)

    async def publish(self, video: Video) -> None:
        """Put the film's row in and confirm it; may be repeated.

        Raises:
            RetryError: no confirmation; it may be there or not.
            ParkError: the row is refused, as that of another recording of the same booking.
        """
        try:
            confirmed = await self._functions.call("publish a video", "publish_video", expected=[DOUBLE],
                                                   video=asdict(video), keep_statuses=self._called_off)
        except FunctionMissing:
            return await self._table.publish(video)
        except Refused as error:
            if error.code != DOUBLE:
                raise
            confirmed = await self._films(video.booking_id)  # a call whose answer was lost just now may have put it in
            if confirmed and all(row.get("recording_id") != video.recording_id for row in confirmed):
                raise double(video) from error
        if all(row.get("recording_id") != video.recording_id for row in confirmed):
            raise RetryError(f"the row of {video.recording_id} in videos was not confirmed")
        return None

    async def _films(self, booking_id: str) -> list[Row]:
        return await self._functions.call("look for a video", "ezrec_videos", booking=booking_id)
