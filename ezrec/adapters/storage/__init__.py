"""Where finished films go: numbered parts of a growing file, and an object once all of them are there.

A film grows behind a reserved front; the parts that touch the reserve come last. An upload may be asked for its parts
at any time (after a crash, say), and completing it never replaces other bytes at the same key.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ezrec.config.values import LONGEST_KEY, LONGEST_NAME
from ezrec.domain.errors import ParkError


@dataclass(frozen=True)
class Part:
    """A numbered range of the film. All parts but the last are equally long."""

    number: int  # from 1
    offset: int  # bytes
    bytes: int
    md5: str  # hex, of these bytes


@dataclass(frozen=True)
class Stored:
    """An object that is complete and verified."""

    key: str
    bytes: int
    etag: str
    url: str  # where players or operators find it


def composite_etag(parts: Sequence[Part]) -> str:
    """The ETag of a multipart object: md5 over the parts' binary MD5s, a dash, their number.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html
    """
    joined = b"".join(bytes.fromhex(part.md5) for part in sorted(parts, key=lambda part: part.number))
    return f"{hashlib.md5(joined, usedforsecurity=False).hexdigest()}-{len(parts)}"


def check_key(key: str) -> list[str]:
    """The names between a key's slashes. No key can mean another object elsewhere, or lead out of a folder.

    Raises:
        ParkError: it cannot be an object's key.
    """
    names = key.split("/")
    for name in names:
        # A surrogate is not printable, so `encode` cannot fail.
        if not name or name[0] == "." or not name.isprintable() or len(name.encode()) > LONGEST_NAME:
            raise ParkError(f"{key[:LONGEST_NAME]!r} cannot be an object's key: names between slashes must not be "
                            f"empty, begin with a dot, hold control characters, or be over {LONGEST_NAME} bytes")
    if len(key.encode()) > LONGEST_KEY:
        raise ParkError(f"{key[:LONGEST_NAME]!r}… cannot be an object's key: it is over {LONGEST_KEY} bytes")
    return names


def object_length(key: str, parts: Sequence[Part]) -> int:
    """The length in bytes of the object that `parts` make up.

    They must lie end to end, all but the last equally long (some object stores insist, so every one does).

    Raises:
        ParkError: they do not.
    """
    ordered = sorted(parts, key=lambda part: part.number)
    if not ordered:
        raise ParkError(f"{key} has no parts")
    at = 0
    for number, part in enumerate(ordered, 1):
        fits = part.bytes == ordered[0].bytes or (number == len(ordered) and 0 < part.bytes < ordered[0].bytes)
        if part.number != number or part.offset != at or not fits:
            raise ParkError(f"part {part.number} of {key} does not follow the one before it: {part}")
        at += part.bytes
    return at


class Storage(Protocol):
    """An object store. Every call may be repeated after a lost answer without harm.

    Raises (all calls): RetryError where waiting may help, ParkError where it cannot; where an upload is named:
    UploadGone if the store does not know it (any more) and cannot begin it again by itself.
    """

    in_flight: int  # parts that may be put at the same time

    async def begin(self, key: str) -> str:
        """Open an upload for `key`, or take over one that was opened for exactly this key before; returns its id."""

    async def parts(self, key: str, upload_id: str) -> dict[int, str]:
        """The parts that are already there: number → MD5 (hex) of the bytes that lie there."""

    async def put_part(self, key: str, upload_id: str, part: Part, film: Path) -> None:
        """Store `part`, read from its range of the file `film`."""

    async def complete(self, key: str, upload_id: str, parts: Sequence[Part], film: Path) -> Stored:
        """Make the object out of its parts, or confirm that it is there already with just these bytes.

        Raises:
            OtherObject: another object lies at `key`; it is left alone.
        """

    async def verify(self, key: str, parts: Sequence[Part], film: Path) -> Stored | None:
        """The object at `key` if it has the length and the checksum of `parts`; None if there is no object.

        `film` is only read where the store's own checksum is one of the whole file; it may be gone otherwise.

        Raises:
            OtherObject: the object's bytes are others.
        """

    async def abort(self, key: str, upload_id: str) -> None:
        """Forget an unfinished upload and its parts; harmless if there is none.

        Without an `upload_id`: all unfinished uploads for exactly this key.
        """

    async def remove(self, key: str) -> None:
        """Remove the object at `key`; harmless if there is none."""

    async def put_file(self, key: str, file: Path) -> str:
        """Store a small file (a poster) whole, replacing what lies at `key`; returns its URL."""

    async def sweep(self, known: set[str]) -> int:
        """At start, before any upload: remove what uploads other than `known` left on this machine; how many files."""

    async def close(self) -> None:
        """Let go of connections; no call may follow."""
