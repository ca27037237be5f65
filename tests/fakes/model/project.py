"""A court's Supabase project on made-up time: it answers what `Supabase.rows` is asked for, as ezrec's functions do.

Limits: one court, functions only, no rights. What is kept of a booking is of fixed size, so that a year of them shows
in nobody's memory.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from ezrec.adapters.bookings.supabase import may_tell
from ezrec.domain.clock import SECOND
from ezrec.domain.errors import RetryError

DAY_US = 24 * 3600 * SECOND
BACK_US = 3 * DAY_US  # as of ezrec_bookings


class Project:
    """The project; `away` while nobody reaches it. It takes alerts, as a webhook, and logs."""

    def __init__(self, rows: Mapping[str, dict[str, Any]], starts: Mapping[str, int],
                 now_us: Callable[[], int]) -> None:
        """`rows` of bookings by id, in order of their `starts` (UTC µs); `now_us` is the true time."""
        self.away = False
        self.calls: Counter[str] = Counter()  # by function
        self.videos: dict[str, dict[str, Any]] = {}  # newest rows, by recording, until `take_videos`
        self.alerts: Counter[str] = Counter()  # posted, by kind
        self.archives = 0  # of logs
        self._rows, self._now_us = rows, now_us
        self._ids, self._starts = list(starts), list(starts.values())
        self._version = 0

    def changed(self) -> None:
        """A booking is not what it was."""
        self._version += 1

    def take_videos(self) -> list[dict[str, Any]]:
        """The rows of films that were put in since the last call."""
        taken, self.videos = list(self.videos.values()), {}
        return taken

    def rpc(self, name: str, arguments: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        """A request, as supabase-py builds it."""
        return name, arguments

    async def rows(self, what: str, build: Callable[[Any], tuple[str, Mapping[str, Any]]], *,
                   limit_s: float | None = None, expected: Collection[str] = ()) -> Sequence[dict[str, Any]]:
        """As `Supabase.rows`."""
        del limit_s, expected
        if self.away:
            raise RetryError(f"{what}: no answer, nobody reaches the project")
        name, arguments = build(self)
        self.calls[name] += 1
        answer: list[dict[str, Any]] = getattr(self, f"_{name}")(arguments)
        return answer

    async def post(self, message_id: str, body: Mapping[str, Any]) -> None:
        """As `Webhook.post`."""
        if self.away:
            raise RetryError(f"{message_id}: alerts.webhook cannot be reached")
        self.alerts[f"{body.get('kind')} {body.get('event')}"] += 1

    async def put_file(self, key: str, _: object) -> str:
        """As `Shelf.put_file`: an archive of logs."""
        if self.away:
            raise RetryError(f"{key}: nobody reaches the project")
        self.archives += 1
        return key

    async def close(self) -> None:
        """Nothing is open."""

    def _mark(self, days: int) -> str:
        """Another text whenever one of the court's bookings of these days is another, or comes near, or goes."""
        first, last = self._near(days)
        return f"{self._version}.{first}.{last}"

    def _near(self, days: int) -> tuple[int, int]:
        now = self._now_us()
        return bisect_left(self._starts, now - BACK_US), bisect_left(self._starts, now + days * DAY_US)

    def _ezrec_bookings(self, arguments: Mapping[str, Any]) -> list[dict[str, Any]]:
        first, last = self._near(arguments["days"])
        return [{"mark": self._mark(arguments["days"]), "device_options": None,
                 "bookings": [dict(self._rows[name]) for name in self._ids[first:last]]}]

    def _ezrec_beat(self, arguments: Mapping[str, Any]) -> list[dict[str, Any]]:
        return [{"mark": self._mark(arguments["days"]), "other_device": None}]

    def _ezrec_tell(self, arguments: Mapping[str, Any]) -> list[dict[str, Any]]:
        row = self._rows[arguments["booking"]]
        if may_tell(row["status"], arguments["status"], ("cancelled",)):
            row["status"] = arguments["status"]
            self.changed()
        return [{"word": row["status"], "problem": None}]

    def _publish_video(self, arguments: Mapping[str, Any]) -> list[dict[str, Any]]:
        video = dict(arguments["video"])
        self.videos[video["recording_id"]] = video
        self._ezrec_tell({"booking": video["booking_id"], "status": "video_uploaded"})
        return [video]

    def _ezrec_videos(self, arguments: Mapping[str, Any]) -> list[dict[str, Any]]:
        return [video for video in self.videos.values() if video["booking_id"] == arguments["booking"]]
