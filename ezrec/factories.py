"""What the settings choose: which cameras, which storage, which parts of a Supabase project.

Each kind is imported only where it is wanted: the cloud's libraries alone take 69 MB.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ezrec.adapters import system
from ezrec.adapters.bookings import BookingSource
from ezrec.adapters.bookings.local import BookingsFile
from ezrec.adapters.cameras import Camera
from ezrec.adapters.publishing import Publisher
from ezrec.adapters.storage import Storage
from ezrec.adapters.storage.local import LocalStorage
from ezrec.config import Settings
from ezrec.domain.clock import Clock
from ezrec.folders import DataFolder

if TYPE_CHECKING:
    from ezrec.adapters.bookings.court import CourtBookings
    from ezrec.adapters.mail import Mailer
    from ezrec.adapters.status.court import CourtStatus
    from ezrec.adapters.supabase import Supabase
    from ezrec.adapters.webhook import Webhook
    from ezrec.store import Store
    from ezrec.tasks.logship import LogShip, Place


def make_cameras(settings: Settings, clock: Clock) -> list[Camera]:
    """The cameras that the settings ask for, left before right. Each kind is imported only where it is wanted."""
    cameras = settings.cameras
    names = ["left", "right"] if cameras.dual else ["left"]
    if cameras.source == "replay":
        from ezrec.adapters.cameras.synthetic.replay import ReplayCamera  # noqa: PLC0415

        films = {"left": cameras.replay.left, "right": cameras.replay.right}
        return [ReplayCamera(name, Path(films[name] or ""), bitrate=cameras.bitrate, keyframe_s=cameras.keyframe_s,
                             clock=clock) for name in names]
    if cameras.source == "picamera2":
        from ezrec.adapters.cameras.pi.factory import pi_cameras  # noqa: PLC0415

        return pi_cameras(cameras, clock, DataFolder(settings.paths.data))
    from ezrec.adapters.cameras.synthetic.simulated import SimulatedCamera  # noqa: PLC0415

    return [SimulatedCamera(name, size=(cameras.width, cameras.height), rate=cameras.fps, bitrate=cameras.bitrate,
                            keyframe_s=cameras.keyframe_s, overlap=cameras.simulated.overlap, clock=clock,
                            faults=cameras.simulated.faults) for name in names]


def describe_cameras(settings: Settings) -> dict[str, Any]:
    """What there is to say of where the cameras come from: `software` versions and the cameras `found`; {} if nothing.

    Raises:
        CameraLost: the cameras cannot be listed.
    """
    if settings.cameras.source != "picamera2":
        return {}
    from ezrec.adapters.cameras.pi import factory  # noqa: PLC0415

    return {"software": factory.software(), "found": factory.found()}


def make_storage(settings: Settings, folder: DataFolder, recording: Callable[[], bool]) -> Storage:
    """The storage that the settings ask for; `recording` tells whether a camera is on."""
    if settings.storage.kind == "s3":
        from ezrec.adapters.storage.s3 import S3Storage  # noqa: PLC0415

        return S3Storage(settings.s3, recording, court_keys=settings.storage.court_keys)
    return LocalStorage(settings.paths.library_folder.absolute(), folder.root)


def leftovers(settings: Settings, store: "Store", clock: Clock) -> dict[str, Callable[[], Awaitable[None]]]:
    """What there is to end at night of unfinished uploads in the bucket, as a step by its name; {} if nothing."""
    if settings.storage.kind != "s3":
        return {}
    from ezrec.adapters.storage.s3_leftovers import Leftovers, own_prefix  # noqa: PLC0415

    prefix = own_prefix(settings)
    return {} if prefix is None else {"unfinished uploads": Leftovers(settings, prefix, clock, store.upload_ids).end}


@dataclass(frozen=True)
class Cloud:
    """What there is to do with a Supabase project; None where the settings do not ask for it."""

    bookings: "CourtBookings | None" = None
    publisher: Publisher | None = None
    status: "CourtStatus | None" = None
    connections: "tuple[Supabase, ...]" = ()

    def troubles(self) -> list[str]:
        """What of the project a person should hear of."""
        return [words for part in (self.status, self.bookings) if part for words in part.troubles()]

    async def close(self) -> None:
        """Let go of all connections."""
        for one in self.connections:
            await one.close()


def make_cloud(settings: Settings, clock: Clock, changed: Callable[[], None] = lambda: None) -> Cloud:
    """The parts of the Supabase project that the settings ask for; its libraries are imported only then.

    `changed` is called when a heartbeat hears that the court's bookings are not what they were.
    """
    if not settings.supabase.url:
        return Cloud()
    from ezrec.adapters.supabase import Supabase  # noqa: PLC0415

    project, beats = Supabase(settings.supabase), Supabase(settings.supabase)  # nothing makes a beat late
    return court_cloud(settings, clock, project, beats, changed)


def court_cloud(settings: Settings, clock: Clock, project: "Supabase", beats: "Supabase",
                changed: Callable[[], None] = lambda: None) -> Cloud:
    """What there is to do with the project, over these connections to it; heartbeats have `beats` to themselves."""
    from ezrec.adapters.bookings.court import CourtBookings  # noqa: PLC0415
    from ezrec.adapters.bookings.supabase import SupabaseBookings  # noqa: PLC0415
    from ezrec.adapters.publishing.court import CourtPublisher  # noqa: PLC0415
    from ezrec.adapters.publishing.supabase import SupabasePublisher  # noqa: PLC0415
    from ezrec.adapters.status.court import CourtStatus  # noqa: PLC0415
    from ezrec.adapters.status.supabase import SupabaseStatus  # noqa: PLC0415
    from ezrec.adapters.supabase.functions import Functions, Mark, Ways  # noqa: PLC0415

    site, days, ways, mark = settings.site, settings.bookings.days_ahead, Ways.of(settings.bookings), Mark(
        clock, changed)
    device = settings.supabase.device
    calls, beat_calls = (Functions(one, site, ways, clock, device=device, box=system.box(),
                                   beat_s=settings.supabase.heartbeat_s) for one in (project, beats))
    return Cloud(
        CourtBookings(calls, mark, clock, days, settings.supabase.heartbeat_s,
                      SupabaseBookings(project, site, clock, days, ways.cancelled, ways=ways))
        if settings.bookings.source == "supabase" else None,
        CourtPublisher(calls, ways, SupabasePublisher(project, ways.cancelled))
        if settings.publishing.kind == "supabase" else None,
        CourtStatus(beat_calls, mark, days, SupabaseStatus(beats)) if site.user_id else None, (project, beats))


def make_sources(settings: Settings, cloud: Cloud) -> list[BookingSource]:
    """Where bookings come from, beside commands."""
    sources: list[BookingSource] = [cloud.bookings] if cloud.bookings else []
    if settings.bookings.file:
        sources.append(BookingsFile(settings.bookings.file))
    return sources


def make_log_ship(settings: Settings, clock: Clock, folder: DataFolder, storage: Storage) -> "LogShip | None":
    """What ships logs; None if the settings do not ask for it."""
    if settings.logs.ship == "off":
        return None
    from ezrec.tasks.logship import LogShip  # noqa: PLC0415

    place: Place = storage
    close = None
    if settings.logs.ship == "supabase":
        from ezrec.adapters.supabase.shelf import Shelf  # noqa: PLC0415

        place = shelf = Shelf(settings.supabase, settings.logs.bucket)
        close = shelf.close
    return LogShip(clock, folder, settings.paths.log_folder.absolute(), settings.site.camera_id, place,
                   settings.logs.ship_min * 60, close=close)


def make_mailer(settings: Settings) -> "Mailer | None":
    """What sends e-mail; None without a mail server in the settings."""
    if not settings.email.host:
        return None
    from ezrec.adapters.mail import Mailer  # noqa: PLC0415

    return Mailer(settings.email)


def make_webhook(settings: Settings, clock: Clock) -> "Webhook | None":
    """What posts alerts; None without an address in the settings."""
    if not settings.alerts.webhook:
        return None
    from ezrec.adapters.webhook import Webhook  # noqa: PLC0415

    return Webhook(settings.alerts.webhook, settings.alerts.webhook_secret.get_secret_value(), clock)
