"""One court in a Supabase project of the tests: its own user and camera, its rows, and our clients for it."""

import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import SecretStr

from ezrec.adapters.bookings.court import CourtBookings
from ezrec.adapters.bookings.supabase import SupabaseBookings
from ezrec.adapters.publishing.court import CourtPublisher
from ezrec.adapters.publishing.supabase import SupabasePublisher
from ezrec.adapters.status.court import CourtStatus
from ezrec.adapters.status.supabase import SupabaseStatus
from ezrec.adapters.supabase import Supabase
from ezrec.adapters.supabase.functions import Functions, Mark, Ways
from ezrec.config.sections import SiteSettings, SupabaseSettings
from ezrec.domain.clock import SECOND
from ezrec.domain.messages import Video
from tests.fakes.clocks import MadeUpClock
from tests.fakes.cloud.supabase import Supabase as Project

NOW = datetime(2026, 11, 20, 17, 0, tzinfo=UTC)
CALLED_OFF = ("cancelled", "canceled", "rejected", "no_show")
PATIENT_S = 60.0  # for what must succeed, on however busy a machine


HEARTBEAT_S = 5.0
WAYS = Ways(cancelled=CALLED_OFF)


@dataclass(frozen=True)
class Court:
    """What a recorder has of a project."""

    bookings: CourtBookings
    publisher: CourtPublisher
    status: CourtStatus


@dataclass
class Venue:
    """A court of its own in `project`."""

    project: Project
    user: str = field(default_factory=lambda: f"u-{uuid.uuid4()}")
    camera: str = "c1"
    clock: MadeUpClock = field(default_factory=lambda: MadeUpClock(1000.0, NOW.timestamp()))

    @property
    def site(self) -> SiteSettings:
        return SiteSettings(user_id=self.user, camera_id=self.camera)

    def settings(self, url: str = "", *, device: bool = False, **more: Any) -> SupabaseSettings:
        """How a device of this court finds its project; `device`: with a JWT of its own, not the secret key."""
        own: dict[str, Any] = {"key": SecretStr(self.project.service_key)}
        if device:
            own = {"key": SecretStr(self.project.publishable_key), "device_token": SecretStr(
                self.project.device_token(self.user, self.camera))}
        return SupabaseSettings(**{"url": url or self.project.url, "limit_s": PATIENT_S} | own | more)

    @asynccontextmanager
    async def client(self, url: str = "", *, device: bool = False, **more: Any) -> AsyncIterator[Supabase]:
        """A client that is closed in the end."""
        supabase = Supabase(self.settings(url, device=device, **more))
        try:
            yield supabase
        finally:
            await supabase.close()

    def bookings(self, supabase: Supabase, **more: Any) -> SupabaseBookings:
        return SupabaseBookings(supabase, self.site, self.clock, 30, CALLED_OFF, **more)

    def publisher(self, supabase: Supabase) -> SupabasePublisher:
        return SupabasePublisher(supabase, CALLED_OFF)

    def functions(self, supabase: Supabase, *, device: bool = False, ways: Ways = WAYS) -> Functions:
        return Functions(supabase, self.site, ways, self.clock, device=device)

    def court(self, supabase: Supabase, *, device: bool = False, ways: Ways = WAYS) -> "Court":
        """Everything of this court through functions, over its tables where the project has none."""
        functions, mark = self.functions(supabase, device=device, ways=ways), Mark(self.clock)
        return Court(
            CourtBookings(functions, mark, self.clock, 30, HEARTBEAT_S, self.bookings(supabase, ways=ways)),
            CourtPublisher(functions, ways, self.publisher(supabase)),
            CourtStatus(functions, mark, 30, SupabaseStatus(supabase)))

    def book(self, booking_id: str, hours: float = 1.0, *, status: str = "scheduled", user: str = "",
             camera: str = "") -> str:
        """A row for an hour that begins so many hours from now; returns its id."""
        starts = NOW + timedelta(hours=hours)
        self.project.run(
            "insert into bookings (id, user_id, camera_id, start_time, end_time, status)"
            " values (:'id', :'user', :'camera', :'starts', :'ends', :'status')",
            id=booking_id, user=user or self.user, camera=camera or self.camera, status=status,
            starts=starts.isoformat(), ends=(starts + timedelta(hours=1)).isoformat())
        return booking_id

    def book_all(self, statuses: dict[str, str]) -> None:
        """Rows for the coming hour, by id."""
        self.project.run(
            "insert into bookings (id, user_id, camera_id, start_time, end_time, status)"
            " select key, :'user', :'camera', :'starts', :'ends', value from jsonb_each_text(:'statuses')",
            user=self.user, camera=self.camera, statuses=json.dumps(statuses), starts=NOW.isoformat(),
            ends=(NOW + timedelta(hours=1)).isoformat())

    def id(self, name: str) -> str:
        """An id that no other court has."""
        return f"{name}-{self.user[2:]}"

    def booking(self, booking_id: str) -> dict[str, Any]:
        return self.project.rows("select * from bookings where id::text = :'id'", id=booking_id)[0]

    def videos(self) -> list[dict[str, Any]]:
        return self.project.rows("select * from videos where user_id::text = :'user' order by recording_id",
                                 user=self.user)

    def video(self, booking_id: str, recording_id: str = "") -> Video:
        return Video(booking_id=booking_id, recording_id=recording_id or f"{booking_id}-0", user_id=self.user,
                     camera_id=self.camera, storage_path=f"{self.camera}/{booking_id}.mp4",
                     video_url=f"https://films.example.org/{booking_id}.mp4", poster_url="", duration_seconds=3600.5,
                     file_size=900_000_000, filename=f"{booking_id}.mp4", date="2026-11-20",
                     uploaded_at="2026-11-20T19:00:05.123+00:00")

    def forward(self, seconds: float) -> None:
        self.clock.forward(round(seconds * SECOND))
