"""What a HEAD says of an object, and whether it tells other bytes than those that were sent."""

import asyncio
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ezrec.adapters.storage import Part, composite_etag
from ezrec.domain.errors import ParkError
from ezrec.files import os_errors

_COMPOSITE = re.compile(r"[0-9a-f]{32}-(\d+)")
_MD5 = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class S3Object:
    """An object as HEAD shows it."""

    bytes: int
    etag: str  # without quotes
    keyed: bool  # encrypted with a key that makes ETags other than MD5s


async def difference(found: S3Object, parts: Sequence[Part], film: Path) -> str | None:
    """In what an object's ETag tells other bytes than those of `parts`, in words.

    "" if in nothing; None if this kind of ETag tells nothing.

    Raises:
        ParkError: the whole film must be read for it, and cannot be.
    """
    if composite := _COMPOSITE.fullmatch(found.etag):
        same = int(composite[1]) == len(parts) if found.keyed else found.etag == composite_etag(parts)
        return "" if same else f"ETag {found.etag}, not {composite_etag(parts)}"
    if _MD5.fullmatch(found.etag) and not found.keyed:
        md5 = parts[0].md5 if len(parts) == 1 else await asyncio.to_thread(_md5_of, film)
        return "" if found.etag == md5 else f"MD5 {found.etag}, not {md5}"
    return None


def plain(etag: Any) -> str:
    """An ETag without its quotes, and without the mark of a weak one."""
    return str(etag or "").removeprefix("W/").strip('"').lower()


def _md5_of(film: Path) -> str:
    if not film.exists():
        raise ParkError(f"{film} is gone, so that the object cannot be compared with it")
    with os_errors(f"compare {film} with the object"), film.open("rb") as opened:
        return hashlib.file_digest(opened, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
