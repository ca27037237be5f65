"""Rows become frozen values here, at the store's border."""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ezrec.domain.booking import Booking
from ezrec.domain.film import ChunkReport, Film, Recipe, Rung
from ezrec.domain.planning import Chunk
from ezrec.domain.stages import Stage
from ezrec.domain.timeline import Segment

Row = sqlite3.Row | Sequence[Any]


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
    report_json: str | None = None  # what the worker told of it, JSON

    @property
    def report(self) -> ChunkReport | None:
        """What the worker told of it; read only when asked for, since a long film has thousands."""
        return ChunkReport.loads(self.report_json) if self.report_json else None


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
    """Something that the cloud must still be told."""

    id: int
    booking_id: str
    kind: str  # status: {status, reason}; video: the row; abort: {key, upload_id} of an unfinished upload
    body: dict[str, Any]
    attempts: int
    retry_at: int | None  # UTC µs
    parked_reason: str | None


@dataclass(frozen=True)
class Backlog:
    """How much is left to do."""

    films: dict[Stage, int]  # by stage, those that are not at their end
    parked: int  # of these, films that wait for a person
    outbox: int  # messages
    refused: int  # of these, messages that wait for a person
    reason: str | None  # why one of the films or messages waits


@dataclass(frozen=True)
class Event:
    """One sentence of a film's story."""

    at: int  # UTC µs
    kind: str
    detail: dict[str, Any]


def booking_of(row: Row) -> Booking:
    """A booking from its columns id, source, starts_at, ends_at, status, row."""
    return Booking(id=row[0], source=row[1], starts_at=row[2], ends_at=row[3], status=row[4], row=json.loads(row[5]))


def film_of(row: Row) -> Film:
    """A film from all its columns, in the schema's order."""
    (booking_id, recording_id, generation, stage, starts_at, ends_at, recipe, object_key, upload_id, url, size, sha256,
     attempts, retry_at, parked_step, parked_reason, certificate, changed_at) = row
    return Film(booking_id, recording_id, generation, Stage(stage), starts_at, ends_at,
                Recipe.loads(recipe) if recipe else None, object_key, upload_id, url, size, sha256, attempts, retry_at,
                parked_step, parked_reason, json.loads(certificate) if certificate else None, changed_at)


def segment_of(row: Row) -> Segment:
    """A segment from all its columns, in the schema's order."""
    camera, run, start_us, end_us, frames, dropped, size, path, gaps, _doomed = row
    return Segment(camera, run, start_us, end_us, frames, dropped, size, path,
                   tuple((start, end) for start, end in json.loads(gaps)))


def chunk_of(row: Row) -> ChunkRow:
    """A chunk from all its columns, in the schema's order."""
    _film, generation, number, run, start_us, first_tick, ticks, state, path, _bytes, fallback, attempts, report = row
    return ChunkRow(generation, Chunk(number, run, first_tick, ticks), start_us, state == "rendered", path,
                    Rung(fallback), attempts, report)


def part_of(row: Row) -> PartRow:
    """A part from its columns number, offset, bytes, md5, sha256."""
    return PartRow(*row)


def event_of(row: Row) -> Event:
    """An event from its columns at, kind, detail."""
    return Event(row[0], row[1], json.loads(row[2]))


def message_of(row: Row) -> Message:
    """A message from all its columns, in the schema's order."""
    return Message(row[0], row[1], row[2], json.loads(row[3]), row[4], row[5], row[6])
