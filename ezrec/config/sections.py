"""The settings, a class for each section: every key with its default, unit and range.

Limits: values only. Where they come from is in `places`, how they are read and refused in `loading`. Everything is
frozen and unknown keys are refused. `config.example.toml` says the same for people; a test keeps the two together.
"""

from collections.abc import Iterator
from contextvars import ContextVar
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from ezrec.config.values import (
    Folder,
    Id,
    KeyTemplate,
    MaybeFloat,
    MaybeInt,
    MaybePath,
    MaybeRate,
    Rate,
    RequiredId,
    Secret,
    SizeOrNone,
    TimeZone,
    Url,
    Words,
    number,
    text,
    whole,
)
from ezrec.folders import DataFolder

MASK = "********"
Position = Literal["top_left", "top_right", "bottom_left", "bottom_right"]
Rotation = Annotated[Literal[0, 90, 180, 270], BeforeValidator(whole)]


class Section(BaseModel):
    """Base of all sections."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=True, allow_inf_nan=False)


class SiteSettings(Section):
    """Whose court this is."""

    user_id: Id = text("", "the owner's id, as Supabase knows it; letters, digits, _ - .")
    camera_id: RequiredId = text("court-1", "court's id, as bookings name it; letters, digits, _ - .")
    name: str = text("", "the court's name for people; at most 100 characters", max_length=100)
    timezone: TimeZone = text("UTC", "IANA time zone that bookings without one are meant in, e.g. Europe/Berlin")


class PathsSettings(Section):
    """Where files are kept. Relative paths are relative to the working directory."""

    data: Folder = text(Path("data"), "folder of everything EZREC keeps: store, segments, films")
    wait_for_data: bool = text(
        False, "a data folder that is not there is waited for, e.g. until its disk is mounted; false: it is made")
    library: MaybePath = text(None, 'folder of finished films; empty: "library" in the data folder')
    library_group: str = text(
        "", "group that may read finished films beside EZREC's own user, e.g. www-data; empty: none", max_length=32)
    logs: MaybePath = text(None, 'folder of the log files; empty: "logs" in the data folder')

    @property
    def library_folder(self) -> Path:
        """Where finished films go."""
        return self.library or DataFolder(self.data).library

    @property
    def log_folder(self) -> Path:
        """Where log files go."""
        return self.logs or DataFolder(self.data).logs


class BookingsSettings(Section):
    """Which times are recorded."""

    source: Literal["local", "supabase"] = text(
        "local", "where bookings come from; local (commands and the JSON file) or supabase (and those as well)")
    file: MaybePath = text(None, "JSON file of bookings, read again when it changes; empty: none")
    poll_s: float = number(5, 0.1, 3600, "s", "how often bookings are looked at")
    pre_roll_s: float = number(0, 0, 900, "s", "how long before a booking recording starts")
    post_roll_s: float = number(0, 0, 900, "s", "how long after a booking recording ends")
    longest_h: float = number(6, 0.1, 24, "h", "bookings longer than this are refused as mistakes")
    days_ahead: int = number(30, 1, 365, "days", "how far ahead Supabase is asked for bookings")
    ignore_statuses: Words = text(
        ("cancelled", "canceled", "rejected", "no_show"),
        "status words that mean: do not record; a list of words of at most 64 characters",
    )


class SideSettings(Section):
    """One camera of the pair."""

    id: str = text("", "id of its camera, or its end, or a model, or its place in the list; at most 200 characters",
                   max_length=200)
    model: str = text("", "model that its camera must be, e.g. imx708; at most 50 characters", max_length=50)
    rotation: Rotation = text(0, "degrees clockwise that its picture is turned by; 0, 90, 180 or 270")


class SimulatedSettings(Section):
    """Made-up cameras that look at a made-up court."""

    faults: MaybePath = text(None, "JSON file, read while running, that makes them fail; empty: none")
    overlap: float = number(0.1, 0, 0.5, "fraction of a view's width", "how much of the court both see")


class Picamera2Settings(Section):
    """Cameras on a Raspberry Pi."""

    sensor_mode: SizeOrNone = text(None, "what the sensor reads out, e.g. 2304x1296; empty: what fits best")
    lens: MaybeFloat = number(
        None, 0, 32, "dioptres", "where the focus is held, 0 is far away; empty: the camera decides")
    exposure: Literal["auto", "hold", "equal"] = text(
        "auto", "auto; hold: as it was when the cameras had settled; equal: the same for both; auto, hold or equal")
    settle_s: float = number(2.0, 0, 30, "s", "how long after its start a camera's exposure counts as settled")
    sync: bool = text(True, "the sensors are kept in step, where the platform can")


class ReplaySettings(Section):
    """Video files played as cameras, in real time and looped."""

    left: MaybePath = text(None, 'video file of the left camera; needed by source = "replay"')
    right: MaybePath = text(None, 'video file of the right camera; needed by source = "replay" if dual')


class CamerasSettings(Section):
    """The cameras and what they are asked for."""

    source: Literal["simulated", "replay", "picamera2"] = text(
        "simulated", "kind of cameras; simulated, replay or picamera2")
    fps: Rate = text(Fraction(30), 'frames per second, 1 to 120; 30, 29.97 or "30000/1001"')
    width: int = number(1920, 64, 4608, "pixels", "width of one camera's picture", multiple_of=2)
    height: int = number(1080, 64, 2592, "pixels", "height of one camera's picture", multiple_of=2)
    bitrate: int = number(6_000_000, 100_000, 50_000_000, "bit/s", "what one camera's encoder aims at")
    keyframe_s: float = number(1.0, 0.1, 4, "s", "time between key frames, where segments may be cut")
    lead_s: float = number(3.0, 0, 60, "s", "how long before a window the cameras are started")
    keep_warm: bool = text(
        False, "between bookings the cameras stay on, their exposure settled; false: they are closed")
    preflight_s: float = number(600, 0, 7200, "s", "how long before a booking its cameras are looked at; 0: never")
    dual: bool = text(True, "two cameras; false: only the left one")
    left: SideSettings = SideSettings()
    right: SideSettings = SideSettings()
    picamera2: Picamera2Settings = Picamera2Settings()
    simulated: SimulatedSettings = SimulatedSettings()
    replay: ReplaySettings = ReplaySettings()


class RecorderSettings(Section):
    """How footage is written, and when a camera counts as stuck."""

    segment_s: float = number(4.0, 0.5, 60, "s", "length of a segment, the piece of footage a film is cut from")
    queue_mb: int = number(16, 1, 256, "MiB", "footage of a camera that may wait for the disk; more is dropped")
    stall_s: float = number(1.5, 0.2, 60, "s", "a camera silent for this long is started again")
    lost_s: float = number(10.0, 0.5, 120, "s", "a camera silent for this long is not waited for by the film")
    retry_max_s: float = number(5.0, 0.1, 600, "s", "longest pause between two tries to start a camera")


class LogoSettings(Section):
    """One logo that is drawn into the film."""

    name: str = Field(description="name of the logo, once only; 1 to 50 characters", min_length=1, max_length=50)
    file: Folder = Field(description="picture file, with or without transparency")
    position: Position = Field(description="corner: top_left, top_right, bottom_left or bottom_right")
    width: float = number(0.08, 0.01, 1, "fraction of the film's width", "width of the logo")
    margin: float = number(0.01, 0, 0.5, "fraction of the film's width", "distance to the edges and to its neighbour")
    opacity: float = number(1.0, 0, 1, "", "0 is invisible, 1 is solid")


class FilmSettings(Section):
    """What a film looks like and how it is made."""

    layout: Literal["feather", "side_by_side"] = text(
        "feather", "how the two views are put together; feather (cross-faded over the overlap) or side_by_side")
    overlap: float = number(0.1, 0, 0.5, "fraction of a view's width", "what both cameras see; 0: nothing")
    rate: MaybeRate = text(
        None, 'frames per second, 1 to 120; 30, 29.97 or "30000/1001"; empty: the left camera\'s')
    chunk_s: float = number(4.0, 0.5, 60, "s", "length of the pieces a film is rendered in")
    preset: Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium"] = text(
        "veryfast", "effort of the encoder; ultrafast, superfast, veryfast, faster, fast or medium")
    crf: int = number(23, 0, 51, "", "constant rate factor: 18 is hard to tell from the source, 28 is poor")
    maxrate: int = number(12_000_000, 200_000, 100_000_000, "bit/s", "upper limit of the film's bit rate")
    bufsize: int = number(24_000_000, 200_000, 200_000_000, "bit", "how much the limit may be overdrawn for a moment")
    threads: int = number(2, 1, 8, "", "threads of one encoder; another number gives other bytes")
    workers: int = number(1, 1, 8, "", "chunks rendered at the same time")
    worker_mb: int = number(3000, 200, 64_000, "MiB", "memory that one of them may take")
    intro: MaybePath = text(None, "clip shown in front of every film; empty: none")
    intro_max_s: float = number(60, 1, 600, "s", "a longer intro is not used")
    logos: tuple[LogoSettings, ...] = text((), "logos drawn into the film, at most 6", max_length=6)
    keep_segments_h: float = number(0, 0, 8760, "h", "how long footage is kept after its film is published")
    keep_cancelled_h: float = number(168, 0, 8760, "h", "how long footage of a cancelled booking is kept")
    index_reserve_kb: MaybeInt = number(
        None, 16, 65536, "KiB", "room kept in front of a film for its index; empty: reckoned from the length")


class StorageSettings(Section):
    """Where finished films are put."""

    kind: Literal["local", "s3"] = text("local", "kind of storage; local (the library folder) or s3")
    part_mb: int = number(5, 5, 5120, "MiB", "size of the parts a film is put there in; the last go after it is over")
    key: KeyTemplate = text(
        "{date}/{booking_id}", "name of a film without its ending; at most 500 characters; may hold {date} {year} "
        "{month} {day} {time} {booking_id} {camera_id} {recording_id}")


class PublishingSettings(Section):
    """Who is told about finished films."""

    kind: Literal["local", "supabase"] = text(
        "local", "where films are announced; local (the table of films on this device) or supabase")


class DiskSettings(Section):
    """When the disk counts as full."""

    min_free_mb: int = number(2048, 0, 1_000_000, "MiB", "with less than this free no new film is begun")
    keep_found_h: float = number(
        168, 0, 8760, "h", "how long footage is kept that no booking is known for, because the store was lost")
    keep_aside_h: float = number(720, 0, 8760, "h", "how long files are kept that could not be used")
    keep_stories_days: float = number(
        365, 7, 36500, "days", "how long the story of a film is kept whole; its short form stays")


class LogsSettings(Section):
    """What is logged."""

    level: Literal["debug", "info", "warning", "error"] = text(
        "info", "least level that is logged; debug, info, warning or error")
    file_mb: int = number(10, 1, 1024, "MiB", "size at which a new log file is begun")
    files: int = number(5, 1, 100, "", "log files that are kept")


class SupabaseSettings(Section):
    """The venue's Supabase project."""

    url: Url = text("", "the project's URL, https://...; empty: none")
    key: Secret = text(
        Secret(""), "the service role's key, or with device_token the publishable one; secret; empty: none",
        max_length=4096)
    device_token: Secret = text(
        Secret(""), "this device's own JWT, held to its own rows (see `ezrec tables`); secret; empty: none",
        max_length=4096)
    limit_s: float = number(10, 1, 120, "s", "a call that takes longer is given up and made again")
    heartbeat_s: float = number(3, 1, 3600, "s", "how often this device reports itself in system_status")


class S3Settings(Section):
    """The object storage for finished films."""

    access_key_id: str = text("", "id of the access key; empty: none", max_length=200)
    secret_access_key: Secret = text(Secret(""), "the access key; secret; empty: none", max_length=4096)
    region: str = text("us-east-1", "region of the buckets; at most 64 characters", min_length=1, max_length=64)
    bucket: str = text("", "bucket for films; empty: none", max_length=63)
    media_bucket: str = text("", "bucket of the owner's logos and intro; empty: none", max_length=63)
    endpoint: Url = text("", "URL of another S3 service, https://...; empty: Amazon's")
    addressing: Literal["auto", "path", "virtual"] = text(
        "auto", "where the bucket's name stands; path (in the path), virtual (in the host) or auto")
    public_url: Url = text("", "URL below which players find the bucket's objects; empty: the endpoint's own")
    parts_in_flight: int = number(3, 1, 8, "", "parts that go up at the same time; each takes its size in memory")
    rate_kbit: int = number(0, 0, 10_000_000, "kbit/s", "most that uploads may take of the network; 0: no limit")
    recording_rate_kbit: int = number(0, 0, 10_000_000, "kbit/s", "the same while recording; 0: no other limit")
    min_rate_kbit: int = number(256, 8, 1_000_000, "kbit/s", "an upload slower than this counts as stuck")


class EmailSettings(Section):
    """The mail server that share links are sent through."""

    host: str = text("", "name of the SMTP server; empty: none", max_length=253)
    port: int = number(587, 1, 65535, "", "port of the SMTP server")
    user: str = text("", "user at the SMTP server; empty: none", max_length=320)
    password: Secret = text(Secret(""), "password at the SMTP server; secret; empty: none", max_length=4096)
    tls: bool = text(True, "STARTTLS is demanded")
    sender: str = text("", "address that mails come from; empty: none", max_length=320)


class ShareSettings(Section):
    """Share links."""

    base_url: Url = text("", "URL under which players reach this device, https://...; empty: none")


PLACES: ContextVar[tuple[PydanticBaseSettingsSource, ...]] = ContextVar("PLACES", default=())
"""The places that the next `Settings` is read from, highest first; set by `loading.load` only."""


class Settings(BaseSettings):
    """All settings. Made by `ezrec.config.load`; made directly it holds the defaults and what it is given."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=True)

    site: SiteSettings = SiteSettings()
    paths: PathsSettings = PathsSettings()
    bookings: BookingsSettings = BookingsSettings()
    cameras: CamerasSettings = CamerasSettings()
    recorder: RecorderSettings = RecorderSettings()
    film: FilmSettings = FilmSettings()
    storage: StorageSettings = StorageSettings()
    publishing: PublishingSettings = PublishingSettings()
    disk: DiskSettings = DiskSettings()
    logs: LogsSettings = LogsSettings()
    supabase: SupabaseSettings = SupabaseSettings()
    s3: S3Settings = S3Settings()
    email: EmailSettings = EmailSettings()
    share: ShareSettings = ShareSettings()

    _origins: dict[str, str] = PrivateAttr(default_factory=dict)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 -- pydantic's signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 -- pydantic's signature
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 -- pydantic's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 -- pydantic's signature
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Our own places instead of pydantic's: theirs cannot say which place a refused value came from."""
        return (init_settings, *PLACES.get())

    def describe(self) -> list[tuple[str, str, str]]:
        """Every key as (section.key, value as text with secrets masked, place it came from or "default")."""
        return [(key, _words(self.value(key)), self._origins.get(key, "default")) for key in KEYS]

    def secret_values(self) -> list[str]:
        """The secrets in the clear, for the log's mask and nobody else."""
        values = (self.value(key) for key in SECRETS)
        return [value.get_secret_value() for value in values if isinstance(value, Secret) and value.get_secret_value()]

    def value(self, key: str) -> object:
        """The value of `section.key`."""
        value: object = self
        for name in key.split("."):
            value = getattr(value, name)
        return value


def _words(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case Secret():
            return MASK if value.get_secret_value() else ""
        case tuple():
            return ", ".join(map(_words, value))
        case LogoSettings():
            return f"{value.name} ({value.file}, {value.position})"
        case _:
            return str(value)


def _fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        inner: Any = field.annotation
        if isinstance(inner, type) and issubclass(inner, Section):
            yield from _fields(inner, f"{prefix}{name}.")
        else:
            yield prefix + name, field


KEYS: dict[str, FieldInfo] = dict(_fields(Settings))
"""Every key there is, as `section.key`, in the order of the sections."""

SECRETS = frozenset(key for key, field in KEYS.items() if field.annotation is Secret)
"""Keys whose values are never shown."""
