"""What can happen to a film: the entries of its story, each with the facts that belong to it.

An entry goes into the store by `to_json` and comes back by `from_json`. Stored kinds and keys never change, so that old
stories stay readable. An entry of a kind that this version does not know, or one that lacks a fact, comes back as
`Unknown`. Facts that a later version added to an entry are left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

from ezrec.domain.stored import made_of, values_of


class EventKind(StrEnum):
    """The kinds as they are stored."""

    BOOKED = "booked"
    MOVED = "moved"
    WITHDRAWN = "withdrawn"
    ANNOUNCED_LATE = "heard too late"
    CHANGE_REFUSED = "change refused"
    FOOTAGE_FOUND = "footage found"
    RESCUED = "rescued"
    STAGE = "stage"
    RECIPE = "recipe"
    GENERATION = "generation"
    FALLBACK = "fallback"
    RENDERING_WAITS = "rendering waits"
    FOOTAGE_LOST = "footage lost"
    PARKED = "parked"
    RETRIED = "retried"
    PREFLIGHT_BEGUN = "pre-flight begun"
    PREFLIGHT = "pre-flight"
    STATUS_DELIVERED = "told"
    MESSAGE_REFUSED = "refused"


@dataclass(frozen=True)
class Booked:
    """A film was made for a booking. Instants are UTC µs."""

    kind: ClassVar = EventKind.BOOKED
    starts_at: int
    ends_at: int


@dataclass(frozen=True)
class Moved:
    """The booking's window was changed. Instants are UTC µs."""

    kind: ClassVar = EventKind.MOVED
    starts_at: int
    ends_at: int


@dataclass(frozen=True)
class Withdrawn:
    """The booking disappeared before its window opened."""

    kind: ClassVar = EventKind.WITHDRAWN


@dataclass(frozen=True)
class AnnouncedLate:
    """The booking was first heard of after its window."""

    kind: ClassVar = EventKind.ANNOUNCED_LATE


@dataclass(frozen=True)
class ChangeRefused:
    """The booking was changed or cancelled too late. Instants are UTC µs."""

    kind: ClassVar = EventKind.CHANGE_REFUSED
    starts_at: int
    ends_at: int
    cancelled: bool


@dataclass(frozen=True)
class FootageFound:
    """The store had been lost; the film is made of footage that was found again."""

    kind: ClassVar = EventKind.FOOTAGE_FOUND


@dataclass(frozen=True)
class Rescued:
    """A person had the film made of footage that is kept."""

    kind: ClassVar = EventKind.RESCUED


@dataclass(frozen=True)
class StageChanged:
    """The film took a step of the stage table."""

    kind: ClassVar = EventKind.STAGE
    before: str = field(metadata={"key": "from"})
    after: str = field(metadata={"key": "to"})


@dataclass(frozen=True)
class RecipeFrozen:
    """How the film will look was fixed."""

    kind: ClassVar = EventKind.RECIPE


@dataclass(frozen=True)
class GenerationBegun:
    """The film was begun again."""

    kind: ClassVar = EventKind.GENERATION
    generation: int
    reason: str


@dataclass(frozen=True)
class FallbackTaken:
    """A chunk is tried on a lower rung of the ladder from now on."""

    kind: ClassVar = EventKind.FALLBACK
    chunk: int
    rung: str
    error: str


@dataclass(frozen=True)
class RenderingWaits:
    """The machine was too hot to render while a match was recorded."""

    kind: ClassVar = EventKind.RENDERING_WAITS


@dataclass(frozen=True)
class FootageLost:
    """Footage of a camera cannot be read: the film goes on as if it had not seen that time. Instants are UTC µs."""

    kind: ClassVar = EventKind.FOOTAGE_LOST
    camera: str
    starts_at: int
    ends_at: int
    files: tuple[str, ...]  # below the data folder
    reason: str  # words that follow a file's name


@dataclass(frozen=True)
class Parked:
    """A step of the film waits for a person."""

    kind: ClassVar = EventKind.PARKED
    parked_step: str
    parked_reason: str


@dataclass(frozen=True)
class Retried:
    """A person sent the film on its way again."""

    kind: ClassVar = EventKind.RETRIED


@dataclass(frozen=True)
class PreflightBegun:
    """The cameras are inspected before the match."""

    kind: ClassVar = EventKind.PREFLIGHT_BEGUN


@dataclass(frozen=True)
class PreflightDone:
    """What the inspection before the match found."""

    kind: ClassVar = EventKind.PREFLIGHT
    problems: tuple[str, ...]


@dataclass(frozen=True)
class StatusDelivered:
    """The booking's owner was told a status."""

    kind: ClassVar = EventKind.STATUS_DELIVERED
    status: str


@dataclass(frozen=True)
class MessageRefused:
    """The cloud refused a message for good. `status` and `key` say which, where it has one."""

    kind: ClassVar = EventKind.MESSAGE_REFUSED
    what: str
    reason: str
    status: str | None = None
    key: str | None = None


@dataclass(frozen=True)
class Unknown:
    """An entry that this version does not know."""

    kind: str
    detail: Mapping[str, Any] = field(default_factory=dict)


Known = (Booked | Moved | Withdrawn | AnnouncedLate | ChangeRefused | FootageFound | Rescued | StageChanged
         | RecipeFrozen | GenerationBegun | FallbackTaken | RenderingWaits | FootageLost | Parked | Retried
         | PreflightBegun | PreflightDone | StatusDelivered | MessageRefused)
FilmEvent = Known | Unknown

_CLASSES: dict[str, type[Known]] = {known.kind: known for known in Known.__args__}


def to_json(event: FilmEvent) -> dict[str, Any]:
    """An entry's facts as JSON values; those that are None are left out."""
    if isinstance(event, Unknown):
        return dict(event.detail)
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values_of(event).items()
            if value is not None}


def from_json(kind: str, detail: Mapping[str, Any]) -> FilmEvent:
    """The entry that was stored; `Unknown` if its kind is not known or a fact is missing."""
    known = _CLASSES.get(kind)
    if known is None:
        return Unknown(kind, detail)
    facts = {key: tuple(value) if isinstance(value, list) else value for key, value in detail.items()}
    try:
        return made_of(known, facts)
    except TypeError:  # a fact is missing
        return Unknown(kind, detail)
