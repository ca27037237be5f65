"""Publishing into the table `videos` of the venue's Supabase project.

The SQL function `publish_video` (sql/6_films.sql) puts it in and moves the booking's status, both or neither, so that a
repeated call after a lost answer changes nothing. Projects without it get the row alone; the status is told by whoever
tells the others. A booking has one row: a second recording of it (the data folder was lost, or two devices have one
identity) is refused rather than put in the first one's place, which players may have the link of.
"""

from collections.abc import Collection
from dataclasses import asdict
from typing import Any

from ezrec import logs
from ezrec.adapters.supabase import Supabase
from ezrec.domain.errors import ParkError, Refused, RetryError
from ezrec.domain.messages import Video

log = logs.get("publish")

TABLE = "videos"
DOUBLE = "23505"  # unique_violation: the row's own key is dealt with, so it is the booking's
NO_KEY = "42P10"  # no unique key over these columns: of version 0.1.0, or a court's own
NO_FUNCTION = frozenset({"PGRST202", "42883"})


class SupabasePublisher:
    """A `Publisher` into `supabase`."""

    def __init__(self, supabase: Supabase, called_off: Collection[str]) -> None:
        """`called_off`: words that mean cancelled, in lower case; a booking's status that is one of them stays."""
        self._supabase = supabase
        self._called_off = sorted(word.lower() for word in called_off)
        self._logged = logs.Troubles(log)

    async def holds(self, booking_id: str, day: str) -> bool:
        """Whether there is a row of a film of this booking on this local day, of whatever recording.

        A row that names no day counts, too.

        Raises:
            RetryError: no answer.
            ParkError: it is not told.
        """
        rows = await self._supabase.rows(
            "look for a video", lambda client: client.table(TABLE).select("*").eq("booking_id", booking_id))
        return any((row.get("date") or day) == day for row in rows)

    async def publish(self, video: Video) -> None:
        """Put the film's row in and confirm it; may be repeated.

        Raises:
            RetryError: no confirmation; it may be there or not.
            ParkError: the row is refused, as that of another recording of the same booking.
        """
        asked: dict[str, Any] = {"video": asdict(video), "keep_statuses": self._called_off}
        try:
            confirmed = await self._supabase.rows(
                "publish a video", lambda client: client.rpc("publish_video", asked), expected=NO_FUNCTION)
        except Refused as error:
            if error.code == DOUBLE:
                return await self._confirm(video, error)
            if error.code not in NO_FUNCTION:
                raise
            self._say_older()
            return await self._put(video)
        self._logged.over("function", "the project has the function publish_video now")
        if [one.get("recording_id") for one in confirmed] != [video.recording_id]:
            raise RetryError(f"the row of {video.recording_id} in videos was not confirmed")
        return None

    async def _confirm(self, video: Video, refused: Refused) -> None:
        """See whose row is in the way: it may be this very one, put in by a call whose answer was lost just now.

        Raises:
            RetryError: none is there any more.
            ParkError: it is another recording's, or another court's.
        """
        rows = await self._supabase.rows(
            "read a video", lambda client: client.table(TABLE).select("recording_id", "user_id", "camera_id")
            .eq("booking_id", video.booking_id))
        if any((row.get("recording_id"), str(row.get("user_id")), str(row.get("camera_id")))
               == (video.recording_id, video.user_id, video.camera_id) for row in rows):
            return
        if rows:
            raise double(video) from refused
        raise RetryError(f"the row of {video.recording_id} in videos was not confirmed") from refused

    async def _put(self, video: Video) -> None:
        """The row alone, into a table that may not even keep its bookings apart."""
        others = await self._supabase.rows(
            "read a video", lambda client: client.table(TABLE).select("recording_id").limit(1)
            .eq("booking_id", video.booking_id).neq("recording_id", video.recording_id))
        if others:
            raise double(video)
        try:
            await self._supabase.upsert(TABLE, asdict(video), "recording_id")
        except Refused as error:
            if error.code != NO_KEY:
                raise
            await self._supabase.upsert(TABLE, asdict(video), "user_id,camera_id,recording_id")

    def _say_older(self) -> None:
        self._logged.say("function", "the project lacks the function publish_video, the row is written without it",
                         "no such function", hint="`ezrec tables` prints the SQL that makes it")


def double(video: Video) -> ParkError:
    """What is said of a film whose booking has one already."""
    return ParkError(f"videos has a film of booking {video.booking_id} already, from another recording; if "
                     f"{video.recording_id} is to take its place, delete that row")
