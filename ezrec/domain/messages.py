"""What has still to be reported to the cloud: the bodies of the outbox's messages.

A body goes into the store by `to_json` and comes back by `from_json`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

from ezrec.domain.stored import made_of, values_of


class MessageKind(StrEnum):
    """The kinds as they are stored."""

    STATUS = "status"
    VIDEO = "video"
    ABORT = "abort"


@dataclass(frozen=True)
class StatusReport:
    """A booking's status word for its owner, with a reason if it is `failed`."""

    kind: ClassVar = MessageKind.STATUS
    status: str
    reason: str | None


@dataclass(frozen=True)
class Video:
    """A film's row, under the names that its readers know."""

    kind: ClassVar = MessageKind.VIDEO
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


@dataclass(frozen=True)
class UploadAbort:
    """An unfinished upload that is of no use any more. Without an id: whatever is unfinished at exactly that key."""

    kind: ClassVar = MessageKind.ABORT
    key: str
    upload_id: str  # "" if it is not known


Body = StatusReport | Video | UploadAbort

_CLASSES: dict[str, type[Body]] = {one.kind: one for one in (StatusReport, Video, UploadAbort)}


def to_json(body: Body) -> dict[str, Any]:
    """A message's body as JSON values."""
    return values_of(body)


def from_json(kind: str, values: Mapping[str, Any]) -> Body:
    """The body that this version or an older one stored. Keys that are not known are left out.

    Raises:
        KeyError: there is no such kind.
        TypeError: a key is missing.
    """
    return made_of(_CLASSES[kind], values)
