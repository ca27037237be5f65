"""Where finished films go: numbered parts of a growing file, and an object once all of them are there.

A film grows behind a reserved front; the parts that touch the reserve come last. An upload may be asked for its parts
at any time (after a crash, say), and completing it never replaces other bytes at the same key.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


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


class Storage(Protocol):
    """An object store. Every call may be repeated after a lost answer without harm.

    Raises (all calls): RetryError where waiting may help, ParkError where it cannot.
    """

    async def begin(self, key: str) -> str:
        """Open an upload for `key`; returns its id."""

    async def parts(self, key: str, upload_id: str) -> dict[int, Part]:
        """The parts that are already there, verified by their MD5, by number."""

    async def put_part(self, key: str, upload_id: str, part: Part, film: Path) -> None:
        """Store `part`, read from its range of the file `film`."""

    async def complete(self, key: str, upload_id: str, parts: Sequence[Part], film: Path) -> Stored:
        """Make the object out of its parts, or confirm that it is there already with just these bytes.

        Raises:
            ParkError: another object lies at `key`; it is left alone.
        """

    async def verify(self, key: str, parts: Sequence[Part]) -> Stored | None:
        """The object at `key` if it has the length and the ETag of `parts`; None if there is no object.

        Raises:
            ParkError: the object's bytes are others.
        """

    async def abort(self, key: str, upload_id: str) -> None:
        """Forget an unfinished upload and its parts; harmless if there is none."""

    async def put_file(self, key: str, file: Path) -> str:
        """Store a small file (a poster) whole, replacing what lies at `key`; returns its URL."""
