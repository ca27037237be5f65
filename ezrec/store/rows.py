"""Rows become frozen values here, at the store's border. One that cannot be read is damage of the store."""

import json
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar

from ezrec.domain import events, messages
from ezrec.domain.booking import Booking
from ezrec.domain.certificate import Certificate
from ezrec.domain.errors import RowUnreadable
from ezrec.domain.events import FilmEvent
from ezrec.domain.film import ChunkReport, Film, Recipe, Rung
from ezrec.domain.messages import Body, MessageKind
from ezrec.domain.planning import Chunk
from ezrec.domain.stages import Stage
from ezrec.domain.timeline import Offset, Segment, Span

Row = sqlite3.Row
_T = TypeVar("_T")

UNREADABLE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What a reader raises for a row that cannot be true."""


def reader(read: Callable[[Row], _T]) -> Callable[[Row], _T]:
    """A reader that says so if it cannot read a row: nothing but mending the store helps then."""
    @wraps(read)
    def reading(row: Row) -> _T:
        try:
            return read(row)
        except UNREADABLE as error:
            what = read.__name__.removesuffix("_of")
            raise RowUnreadable(f"the store's row of a {what} cannot be read: {error}") from error

    return reading


@dataclass(frozen=True)
class ChunkRow:
    """A chunk and how far it is."""

    generation: int
    chunk: Chunk
    start_us: int
    rendered: bool
    path: str  # below the data folder
    rung: Rung
    attempts: int  # failures on this rung
    report_json: str | None = None  # the worker's report

    @property
    def report(self) -> ChunkReport | None:
        """The worker's report. It is read only when asked for: a long film has thousands."""
        return ChunkReport.loads(self.report_json) if self.report_json else None


@dataclass(frozen=True)
class Progress:
    """How much of a film's generation is rendered."""

    planned: int  # chunks
    rendered: int  # of these
    ticks: int  # of what is rendered


@dataclass(frozen=True)
class PartRow:
    """A range of the film that the storage confirmed."""

    number: int
    offset: int
    bytes: int
    md5: str
    sha256: str


@dataclass(frozen=True)
class Message:
    """Something that has still to be reported to the cloud."""

    id: int
    booking_id: str
    body: Body
    attempts: int
    retry_at: int | None  # UTC µs
    parked_reason: str | None

    @property
    def kind(self) -> MessageKind:
        """What kind of message it is."""
        return self.body.kind


@dataclass(frozen=True)
class Backlog:
    """How much is left to do."""

    films: dict[Stage, int]  # by stage, those that are not at their end
    parked: int  # of these, films that wait for a person
    outbox: int  # messages
    refused: int  # of these, messages that wait for a person
    reason: str | None  # why one of the films or messages waits


@dataclass(frozen=True)
class StoryEntry:
    """One entry of a film's story, and when it was written (UTC µs)."""

    at: int
    event: FilmEvent

    @property
    def kind(self) -> str:
        """The event's kind as it is stored."""
        return self.event.kind

    @property
    def detail(self) -> dict[str, Any]:
        """The event's facts as they are stored."""
        return events.to_json(self.event)


@reader
def booking_of(row: Row) -> Booking:
    """A booking from its row."""
    return Booking(id=row["id"], source=row["source"], starts_at=row["starts_at"], ends_at=row["ends_at"],
                   status=row["status"], row=json.loads(row["row"]), reported=bool(row["reported"]))


BRIEF = ("booking_id, recording_id, generation, stage, film.starts_at, film.ends_at, NULL AS recipe, object_key,"
         " upload_id, url, bytes, sha256, attempts, retry_at, parked_step, parked_reason, NULL AS certificate,"
         " changed_at, NULL AS sums, also_parked, passing")
"""A film's columns for `film_of`, without those that take long to read."""


@reader
def film_of(row: Row) -> Film:
    """A film from its row."""
    return Film(
        booking_id=row["booking_id"], recording_id=row["recording_id"], generation=row["generation"],
        stage=Stage(row["stage"]), starts_at=row["starts_at"], ends_at=row["ends_at"],
        recipe=Recipe.loads(row["recipe"]) if row["recipe"] else None, object_key=row["object_key"],
        upload_id=row["upload_id"], url=row["url"], bytes=row["bytes"], sha256=row["sha256"],
        attempts=row["attempts"], retry_at=row["retry_at"], parked_step=row["parked_step"],
        parked_reason=row["parked_reason"],
        certificate=Certificate.from_json(json.loads(row["certificate"])) if row["certificate"] else None,
        changed_at=row["changed_at"], sums=_sums(row["sums"]),
        also_parked=_by_step(row["also_parked"], str), passing=_by_step(row["passing"], int))


def _sums(text: str | None) -> tuple[str, ...]:
    """The parts' checksums; none if they cannot be read: then nothing is compared."""
    try:
        sums = json.loads(text or "[]")
    except ValueError:
        return ()
    return tuple(sums) if isinstance(sums, list) and all(isinstance(one, str) for one in sums) else ()


def _by_step(text: str | None, kind: type[_T]) -> dict[str, _T]:
    """What is noted of steps that are parked; nothing if that cannot be read: they are tried, and parked again."""
    try:
        noted = json.loads(text or "{}")
    except ValueError:
        return {}
    return {step: value for step, value in noted.items() if isinstance(value, kind)} if isinstance(noted, dict) else {}


def progress_of(row: Row) -> Progress:
    """A film's progress from a row of counts."""
    return Progress(row["planned"], row["rendered"], row["rendered_ticks"])


@reader
def offset_of(row: Row) -> Offset:
    """A run's offset from its row."""
    return Offset(row["from_us"], row["wall_offset_us"])


@reader
def span_of(row: Row) -> Span:
    """A film's window on a run from its row."""
    return Span(row["run"], row["start_offset_us"], row["start_us"], row["end_us"], row["anchor_us"],
                row["reach_from_us"], row["reach_to_us"])


@reader
def segment_of(row: Row) -> Segment:
    """A segment from its row."""
    return Segment(row["camera"], row["run"], row["start_us"], row["end_us"], row["frames"], row["dropped"],
                   row["bytes"], row["path"], tuple((start, end) for start, end in json.loads(row["gaps"])))


@reader
def chunk_of(row: Row) -> ChunkRow:
    """A chunk from its row."""
    return ChunkRow(row["generation"], Chunk(row["number"], row["run"], row["first_tick"], row["ticks"]),
                    row["start_us"], row["state"] == "rendered", row["path"], Rung(row["fallback"]), row["attempts"],
                    row["report"])


@reader
def part_of(row: Row) -> PartRow:
    """A part from its row."""
    return PartRow(row["number"], row["offset"], row["bytes"], row["md5"], row["sha256"])


@reader
def entry_of(row: Row) -> StoryEntry:
    """An entry of a story from its row."""
    return StoryEntry(row["at"], events.from_json(row["kind"], json.loads(row["detail"])))


@reader
def message_of(row: Row) -> Message:
    """A message from its row."""
    return Message(row["id"], row["booking_id"], messages.from_json(row["kind"], json.loads(row["body"])),
                   row["attempts"], row["retry_at"], row["parked_reason"])
