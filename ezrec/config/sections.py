"""The settings, a class for each section: every key with its default, unit and range.

Limits: values only. Where they come from is in `places`, how they are read and refused in `loading`. Everything is
frozen and unknown keys are refused. `config.example.toml` says the same for people; a test keeps the two together.
"""

from collections.abc import Iterator
from contextvars import ContextVar
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from ezrec.config.values import (
    Addresses,
    Command,
    Folder,
    Id,
    Ids,
    KeyTemplate,
    MaybeFloat,
    MaybeInt,
    MaybePath,
    MaybeRate,
    Rate,
    Reckoned,
    RequiredId,
    Secret,
    SizeOrNone,
    StatusWords,
    TimeZone,
    Url,
    Words,
    number,
    text,
    whole,
)
from ezrec.folders import DataFolder

MASK = "********"
LIBRARY_KEY = "{date}/{booking_id}"
BUCKET_KEY = "{user_id}/{camera_id}/{date}/{random}/{booking_id}"
Position = Literal["top_left", "top_right", "bottom_left", "bottom_right"]
Rotation = Annotated[Literal[0, 90, 180, 270], BeforeValidator(whole)]


class Section(BaseModel):
    """Base of all sections."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=True, allow_inf_nan=False)


class SiteSettings(Section):
    """Whose court this is."""

    user_id: Id = text("", "owner ID, as in Supabase; letters, digits, _ - .")
    camera_id: RequiredId = text("court-1", "camera ID of this court, as bookings name it; letters, digits, _ - .")
    name: str = text("", "display name of the court; at most 100 characters; no effect yet", max_length=100)
    timezone: TimeZone = text("UTC", "IANA time zone of times that name none, e.g. Europe/Berlin")


class PathsSettings(Section):
    """Where files are stored. Relative paths are relative to the working directory."""

    data: Folder = text(Path("data"), "data folder: database, footage, films")
    wait_for_data: bool = text(
        False, "wait for a data folder that is missing, e.g. until its disk is mounted; false: create it")
    library: MaybePath = text(None, 'folder for finished films; empty: "library" in the data folder')
    library_group: str = text("", "group that may read finished films, e.g. www-data; empty: none", max_length=32)
    logs: MaybePath = text(None, 'log folder; empty: "logs" in the data folder')

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
    file: MaybePath = text(None, "JSON file of bookings, reloaded when it changes; empty: none")
    poll_s: float = number(5, 0.1, 3600, "s", "polling interval")
    pre_roll_s: float = number(0, 0, 900, "s", "recording starts this long before the booking")
    post_roll_s: float = number(0, 0, 900, "s", "recording ends this long after the booking")
    longest_h: float = number(6, 0.1, 24, "h", "longer bookings are rejected as invalid")
    days_ahead: int = number(30, 1, 365, "days", "how far ahead bookings are fetched from Supabase")
    ignore_statuses: Words = text(
        ("cancelled", "canceled", "rejected", "no_show"),
        "booking statuses that are not recorded; a list of words of at most 64 characters",
    )
    cancelled_columns: Words = text(
        ("deleted_at",), "columns of the table bookings that mean the same if there is something in them; a list")
    camera_ids: Ids = text(
        (), "what bookings of this court may name instead of site.camera_id, as an old page writes them (0), or null: "
        "nothing; a list")
    status_words: StatusWords = text(
        (), "the venue's own words of status for ours (recording, completed, video_processed, video_uploaded, failed), "
        "as completed=Done; a list; failed= : that is not told")


class SideSettings(Section):
    """One camera of the pair."""

    id: str = text("", "camera ID, or its ending, or a sensor model, or an index of the list; at most 200 characters",
                   max_length=200)
    model: str = text("", "required sensor model, e.g. imx708; at most 50 characters", max_length=50)
    rotation: Rotation = text(0, "clockwise rotation of its picture in degrees; 0, 90, 180 or 270")


class SimulatedSettings(Section):
    """Simulated cameras that show a made-up court."""

    faults: MaybePath = text(None, "JSON file of faults to simulate, read while running; empty: none")
    overlap: float = number(0.1, 0, 0.5, "fraction of a view's width", "overlap of the two views")


class Picamera2Settings(Section):
    """Cameras on a Raspberry Pi."""

    sensor_mode: SizeOrNone = text(None, "sensor mode, e.g. 2304x1296; empty: the best match")
    lens: MaybeFloat = number(
        None, 0, 32, "dioptres", "fixed focus in dioptres (0 = infinity); empty: the camera decides")
    exposure: Literal["auto", "hold", "equal"] = text(
        "auto", "auto, hold (locked once the cameras have settled) or equal (locked to the same for both)")
    settle_s: float = number(2.0, 0, 30, "s", "time after its start until a camera's exposure counts as settled")
    sync: bool = text(True, "synchronise the sensors, where the platform can")


class ReplaySettings(Section):
    """Video files played as cameras, in real time and looped."""

    left: MaybePath = text(None, 'video file for the left camera; required by source = "replay"')
    right: MaybePath = text(None, 'video file for the right camera; required by source = "replay" if dual')


class CamerasSettings(Section):
    """The cameras and what they are asked for."""

    source: Literal["simulated", "replay", "picamera2"] = text(
        "simulated", "camera type; simulated, replay or picamera2")
    fps: Rate = text(Fraction(30), 'frames per second, 1 to 120; 30, 29.97 or "30000/1001"')
    width: int = number(1920, 64, 4608, "pixels", "width of one camera's picture", multiple_of=2)
    height: int = number(1080, 64, 2592, "pixels", "height of one camera's picture", multiple_of=2)
    bitrate: int = number(6_000_000, 100_000, 50_000_000, "bit/s", "target bit rate of each camera's encoder")
    keyframe_s: float = number(1.0, 0.1, 4, "s", "key frame interval; segments are cut at key frames")
    lead_s: float = number(3.0, 0, 60, "s", "the cameras are started this long before a window")
    keep_warm: bool = text(
        False, "leave the cameras on between bookings, their exposure settled; false: close them")
    preflight_s: float = number(600, 0, 7200, "s", "pre-flight check this long before a booking; 0: none")
    dual: bool = text(True, "two cameras; false: only the left one")
    left: SideSettings = SideSettings()
    right: SideSettings = SideSettings()
    picamera2: Picamera2Settings = Picamera2Settings()
    simulated: SimulatedSettings = SimulatedSettings()
    replay: ReplaySettings = ReplaySettings()


class RecorderSettings(Section):
    """How footage is written, and when a camera counts as stuck."""

    segment_s: float = number(4.0, 0.5, 60, "s", "segment length; films are cut from segments")
    queue_mb: int = number(16, 1, 256, "MiB", "write buffer of each camera; footage that does not fit is dropped")
    stall_s: float = number(1.5, 0.2, 60, "s", "a camera without a frame for this long is restarted")
    lost_s: float = number(10.0, 0.5, 120, "s", "a camera without a frame for this long is not waited for by the film")
    retry_max_s: float = number(5.0, 0.1, 600, "s", "longest delay between attempts to start a camera")


class LogoSettings(Section):
    """A logo that is drawn into the film."""

    name: str = Field(description="unique name of the logo; 1 to 50 characters", min_length=1, max_length=50)
    file: Folder = Field(description="image file, with or without transparency")
    position: Position = Field(description="corner: top_left, top_right, bottom_left or bottom_right")
    width: float = number(0.08, 0.01, 1, "fraction of the film's width", "width of the logo")
    margin: float = number(0.01, 0, 0.5, "fraction of the film's width", "distance to the edges and to its neighbour")
    opacity: float = number(1.0, 0, 1, "", "0 is transparent, 1 is opaque")


class FilmSettings(Section):
    """How a film looks and how it is encoded."""

    layout: Literal["feather", "side_by_side", "panorama"] = text(
        "feather", "how the two views are combined; feather (cross-faded over the overlap), side_by_side, or panorama "
        "(one picture, as one camera would see it; run `ezrec calibrate` first)")
    overlap: float = number(0.1, 0, 0.5, "fraction of a view's width", "overlap of the two views; 0: none")
    rate: MaybeRate = text(
        None, 'frames per second, 1 to 120; 30, 29.97 or "30000/1001"; empty: the left camera\'s')
    chunk_s: float = number(4.0, 0.5, 60, "s", "chunk length; films are rendered chunk by chunk")
    preset: Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium"] = text(
        "veryfast", "x264 preset; ultrafast, superfast, veryfast, faster, fast or medium")
    crf: int = number(23, 0, 51, "", "constant rate factor; 18 is hard to tell from the source, 28 is poor")
    maxrate: int = number(12_000_000, 200_000, 100_000_000, "bit/s", "maximum bit rate")
    bufsize: int = number(24_000_000, 200_000, 200_000_000, "bit", "encoder buffer (VBV) size")
    threads: int = number(2, 1, 8, "", "encoder threads; another number gives other bytes")
    workers: int = number(1, 1, 8, "", "chunks rendered in parallel")
    worker_mb: int = number(3000, 200, 64_000, "MiB", "memory limit of a worker")
    intro: MaybePath = text(None, "clip played before every film; empty: none")
    intro_max_s: float = number(60, 1, 600, "s", "longer intros are left out")
    logos: tuple[LogoSettings, ...] = text((), "logos drawn into the film, at most 6", max_length=6)
    keep_segments_h: float = number(0, 0, 8760, "h", "footage is kept this long after its film is published")
    keep_cancelled_h: float = number(168, 0, 8760, "h", "footage of a cancelled booking is kept this long")
    index_reserve_kb: MaybeInt = number(
        None, 16, 65536, "KiB", "space reserved at the start for the MP4 index; empty: enough for the longest booking")


class StorageSettings(Section):
    """Where finished films are stored."""

    kind: Literal["local", "s3"] = text("local", "storage type; local (the library folder) or s3")
    part_mb: int = number(5, 5, 5120, "MiB", "part size of uploads")
    key: KeyTemplate = text(
        LIBRARY_KEY, "object key of a film without its extension; at most 500 characters; may hold {date} {year} "
        f"{{month}} {{day}} {{time}} {{booking_id}} {{recording_id}} {{user_id}} {{camera_id}} and {{random}}, which "
        f"nobody can guess; default with kind = \"s3\": {BUCKET_KEY}")

    @property
    def court_keys(self) -> bool:
        """Whether no other court's film can lie at a key of this court."""
        return self.kind == "local" or "{random}" in self.key or all(
            field in self.key for field in ("{user_id}", "{camera_id}"))

    @model_validator(mode="before")
    @classmethod
    def _key_by_kind(cls, given: Any) -> Any:
        """A library is one court's. A bucket may be many courts', and its films may be there for all the world."""
        return {"key": BUCKET_KEY} | given if isinstance(given, dict) and given.get("kind") == "s3" else given


class PublishingSettings(Section):
    """Where finished films are announced."""

    kind: Literal["local", "supabase"] = text(
        "local", "where films are announced; local (the table of films on this device) or supabase")


class DiskSettings(Section):
    """When the disk counts as full."""

    min_free_mb: Reckoned = number(
        None, 0, 1_000_000, "MiB",
        "minimum free space for a new film of an hour or more; empty: what an hour of the cameras and its film take; "
        "a shorter film needs its share, 2 GiB at least")
    keep_found_h: float = number(
        168, 0, 8760, "h", "footage without a booking, found after the database was lost, is kept this long")
    keep_aside_h: float = number(720, 0, 8760, "h", "files that could not be used are kept this long")
    keep_free_h: float = number(
        2, 0, 240, "h", "recording that clean-up makes room for at night, at the bit rate of what was recorded lately")
    keep_copies: int = number(5, 0, 60, "", "daily copies of the database that are kept; 0: none is made")
    keep_stories_days: float = number(
        365, 7, 36500, "days", "full stories of films are kept this long, then shortened")


class LogsSettings(Section):
    """What is logged."""

    level: Literal["debug", "info", "warning", "error"] = text(
        "info", "minimum log level; debug, info, warning or error")
    file_mb: int = number(10, 1, 1024, "MiB", "log file size at which a new one is started")
    files: int = number(5, 1, 100, "", "number of log files kept")
    ship: Literal["off", "supabase", "s3"] = text(
        "off", "where archives of log and journal go, as logs/<camera_id>/<time>_logs.zip; off, supabase (its Storage) "
        "or s3 (the films' bucket)")
    ship_min: float = number(15, 1, 1440, "min", "time between two archives")
    bucket: str = text("ezrec", "bucket of Supabase Storage for these archives", min_length=1, max_length=100)


class SupabaseSettings(Section):
    """The venue's Supabase project."""

    url: Url = text("", "project URL, https://...; empty: none")
    key: Secret = text(
        Secret(""), "service role key, or with device_token the publishable key; secret; empty: none",
        max_length=4096)
    device_token: Secret = text(
        Secret(""), "JWT of this device, limited to its own rows (see `ezrec tables`); secret; empty: none",
        max_length=4096)
    token_file: MaybePath = text(
        None, "file with this device's JWT, in the place of device_token: read again when it changes; empty: none")
    token_command: Command = text(
        "", "command that prints this device's JWT, in the place of both: run before it runs out and when it is "
        "refused; empty: none")
    limit_s: float = number(10, 1, 120, "s", "request timeout; the request is made again")
    heartbeat_s: float = number(3, 1, 3600, "s", "heartbeat interval (table system_status)")

    @property
    def device(self) -> bool:
        """Whether a device's token is the credential, and not the project's key."""
        return bool(self.token_command or self.token_file or self.device_token.get_secret_value())


class S3Settings(Section):
    """The S3 object storage for finished films."""

    access_key_id: str = text("", "access key ID; empty: none", max_length=200)
    secret_access_key: Secret = text(Secret(""), "secret access key; secret; empty: none", max_length=4096)
    region: str = text("us-east-1", "region of the bucket; at most 64 characters", min_length=1, max_length=64)
    bucket: str = text("", "bucket for films; empty: none", max_length=63)
    media_bucket: str = text("", "bucket for the owner's logos and intro; empty: none; no effect yet", max_length=63)
    endpoint: Url = text("", "endpoint URL of another S3 service, https://...; empty: Amazon S3")
    addressing: Literal["auto", "path", "virtual"] = text(
        "auto", "bucket addressing; path (name in the path), virtual (name in the host) or auto")
    public_url: Url = text("", "base URL of the bucket for players; empty: the endpoint's own")
    parts_in_flight: int = number(3, 1, 8, "", "concurrent part uploads; each takes its size in memory")
    rate_kbit: int = number(0, 0, 10_000_000, "kbit/s", "upload bandwidth limit; 0: none")
    recording_rate_kbit: int = number(0, 0, 10_000_000, "kbit/s", "the same while recording; 0: no separate limit")
    min_rate_kbit: int = number(256, 8, 1_000_000, "kbit/s", "slower uploads count as stalled")


class EmailSettings(Section):
    """The mail server for alerts, and for share links."""

    host: str = text("", "SMTP server; empty: none", max_length=253)
    port: int = number(587, 1, 65535, "", "SMTP port; 465 is encrypted from the beginning")
    user: str = text("", "SMTP user; empty: none", max_length=320)
    password: Secret = text(Secret(""), "SMTP password; secret; empty: none", max_length=4096)
    tls: bool = text(True, "require STARTTLS; without it a password is sent to this machine only")
    sender: str = text("", "sender address; empty: the SMTP user", max_length=320)


class AlertsSettings(Section):
    """Who is told of what needs a person."""

    webhook: Url = text("", "address that alerts are posted to, https://...; empty: none")
    webhook_secret: Secret = text(
        Secret(""), "key of the signature of what is posted (HMAC-SHA256); secret; empty: none", max_length=4096)
    mail_to: Addresses = text((), "addresses that alerts are mailed to; a list")
    after_s: float = number(120, 0, 86400, "s", "trouble is told after it lasted this long, its end likewise")
    late_h: float = number(6, 0.1, 720, "h", "a film that is not published this long after its end is late")
    hot_c: float = number(
        80, 40, 110, "°C", "the processor is too hot from here on: an alert; while recording, rendering waits")


class ShareSettings(Section):
    """Share links. No effect yet."""

    base_url: Url = text("", "base URL of share links, https://...; empty: none; no effect yet")


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
    alerts: AlertsSettings = AlertsSettings()
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

    @model_validator(mode="after")
    def _reckon(self) -> Self:
        """Fill in what follows from other settings."""
        if "min_free_mb" not in self.disk.model_fields_set or self.disk.min_free_mb is None:
            bits = self.cameras.bitrate * (2 if self.cameras.dual else 1) + self.film.maxrate  # in a second
            self.__dict__["disk"] = self.disk.model_copy(update={"min_free_mb": bits * 3600 // 8 >> 20})
        return self

    def describe(self) -> list[tuple[str, str, str]]:
        """Every key as (section.key, value as text with secrets masked, place it came from or "default")."""
        return [(key, _words(self.value(key)), self.origin(key)) for key in KEYS]

    def origin(self, key: str) -> str:
        """The place that the value of `section.key` came from, or "default"."""
        return self._origins.get(key, "default")

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
