"""Upload: puts the film into the storage while it is being made, part by part, and verifies the object.

Parts behind the index reserve go as the film grows; those that touch it go after the film is closed, the first one
last. What was confirmed before a crash is compared with the bytes that are here now, never trusted.
"""

import asyncio
import hashlib
import json
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from ezrec import logs
from ezrec.adapters.storage import Part, Storage, Stored
from ezrec.config import Settings
from ezrec.domain.clock import SECOND
from ezrec.domain.errors import ParkError, RetryError
from ezrec.domain.film import Film
from ezrec.domain.stages import Stage
from ezrec.store import Store
from ezrec.store.rows import PartRow
from ezrec.tasks.film import Growth

log = logs.get("upload")

READ_BYTES = 1 << 20  # how much of a part is in memory at a time while it is hashed

Range = tuple[int, int, int]  # of a film: part number, offset, bytes


class Upload:
    """The upload task. `growth` tells how far a film's file is."""

    def __init__(self, store: Store, storage: Storage, settings: Settings, zone: ZoneInfo, data: Path,
                 growth: Callable[[Film], Growth | None]) -> None:
        self._store = store
        self._storage = storage
        self._template = settings.storage.key
        self._camera_id = settings.site.camera_id
        self._zone = zone
        self._data = data
        self._growth = growth
        self._sure: dict[str, tuple[int, set[int]]] = {}  # booking → generation, parts put or compared since start

    async def work(self, film: Film) -> bool:
        """Store what is final of a film; True once its object is complete and verified.

        Raises:
            RetryError: the storage may work later.
            ParkError: it refuses, or another object lies at the film's key.
        """
        growth, recipe = self._growth(film), film.recipe
        if growth is None or recipe is None:
            return False
        film = await self._begin(film)
        due = list(due_parts(growth, recipe.part_size, recipe.index_reserve))
        done = {row.number: row for row in await self._confirmed(film, growth, due)}
        for number, offset, size in due:
            if number not in done:
                done[number] = await self._put(film, growth, number, offset, size)
        if not growth.closed:
            return False
        try:
            await self._complete(film, growth.path, [done[number] for number in sorted(done)])
        finally:
            self._sure.pop(film.booking_id, None)  # if the storage has lost a part, it is found and put again
        return True

    async def _begin(self, film: Film) -> Film:
        """The film with its key and its upload; the key is stored before anything is uploaded."""
        key = film.object_key or object_key(self._template, film, self._camera_id, self._zone)
        if film.object_key is None:
            await self._name(film, key)
        upload_id = film.upload_id
        if upload_id is None:
            upload_id = await self._storage.begin(key)
            await self._name(film, key, upload_id)
        return replace(film, object_key=key, upload_id=upload_id)

    async def _name(self, film: Film, key: str, upload_id: str | None = None) -> None:
        if not await self._store.name_upload(film.booking_id, film.generation, key, upload_id):
            raise RetryError("the film has just been begun again or called off")

    async def _confirmed(self, film: Film, growth: Growth, due: Collection[Range]) -> list[PartRow]:
        """The parts that need not go again: put since the start, or held by the storage with the bytes of now."""
        generation, sure = self._sure.get(film.booking_id, (0, set()))
        if generation != film.generation:
            sure = set()
            self._sure[film.booking_id] = film.generation, sure
        rows = await self._store.parts(film.booking_id, film.generation)
        ranges = frozenset(due)
        doubtful = [row for row in rows if row.number not in sure and (row.number, row.offset, row.bytes) in ranges]
        there = await self._storage.parts(film.object_key or "", film.upload_id or "") if doubtful else {}
        for row in doubtful:
            if row.number in there and there[row.number].md5 == row.md5:
                md5, _ = await asyncio.to_thread(_hashes, growth, row.offset, row.bytes)
                if md5 == row.md5:
                    sure.add(row.number)
        return [row for row in rows if row.number in sure]

    async def _put(self, film: Film, growth: Growth, number: int, offset: int, size: int) -> PartRow:
        md5, sha256 = await asyncio.to_thread(_hashes, growth, offset, size)
        row = PartRow(number, offset, size, md5, sha256)
        log.debug("uploading part", booking=film.booking_id, part=number, bytes=size)
        part = Part(number, offset, size, md5)
        await self._storage.put_part(film.object_key or "", film.upload_id or "", part, growth.path)
        await self._store.put_part(film.booking_id, film.generation, row)
        self._sure[film.booking_id][1].add(number)
        log.debug("part uploaded", booking=film.booking_id, part=number, bytes=size)
        return row

    async def _complete(self, film: Film, path: Path, rows: list[PartRow]) -> None:
        key, parts = film.object_key or "", [Part(row.number, row.offset, row.bytes, row.md5) for row in rows]
        log.debug("storing film", booking=film.booking_id, key=key)
        stored: Stored = await self._storage.complete(key, film.upload_id or "", parts, path)
        log.debug("film stored", booking=film.booking_id, key=key)
        poster = path.with_name("poster.jpg")
        poster_url = None
        if poster.exists():
            poster_url = await self._storage.put_file(f"{key.removesuffix('.mp4')}.jpg", poster)
        joined = b"".join(bytes.fromhex(row.sha256) for row in rows)
        sha256 = f"{hashlib.sha256(joined).hexdigest()}-{len(rows)}"
        certificate = (film.certificate or {}) | {"object": {
            "key": key, "bytes": stored.bytes, "etag": stored.etag, "sha256": sha256,
            "part_bytes": rows[0].bytes, "poster_url": poster_url}}
        log.debug("taking step", booking=film.booking_id, to=Stage.UPLOADED)
        await self._store.step(film.booking_id, Stage.UPLOADED, url=stored.url, sha256=sha256,
                               certificate=json.dumps(certificate, sort_keys=True))
        log.debug("step taken", booking=film.booking_id, to=Stage.UPLOADED)
        log.info("film uploaded", booking=film.booking_id, key=key, bytes=stored.bytes)


def object_key(template: str, film: Film, camera_id: str, zone: ZoneInfo) -> str:
    """The object's key, from validated ids and the booking's own local date; each generation has its own."""
    local = datetime.fromtimestamp(film.starts_at / SECOND, UTC).astimezone(zone)
    base = template.format(date=f"{local:%Y-%m-%d}", year=f"{local:%Y}", month=f"{local:%m}", day=f"{local:%d}",
                           time=f"{local:%H%M}", booking_id=film.booking_id, camera_id=camera_id,
                           recording_id=film.recording_id)
    return f"{base}.mp4" if film.generation == 1 else f"{base}.{film.generation}.mp4"


def due_parts(growth: Growth, part_size: int, reserve: int) -> Iterator[Range]:
    """The parts that can go now, as (number, offset, bytes): those behind the reserve first, number 1 last.

    While the film grows only whole parts that lie behind the reserve and will not change are due.
    """
    front = -(-reserve // part_size)  # so many parts touch the reserve
    whole = growth.final // part_size
    for number in range(front + 1, whole + 1):
        yield number, (number - 1) * part_size, part_size
    if not growth.closed:
        return
    if growth.final % part_size and whole + 1 > front:
        yield whole + 1, whole * part_size, growth.final % part_size
    for number in range(min(front, -(-growth.final // part_size)), 0, -1):
        offset = (number - 1) * part_size
        yield number, offset, min(part_size, growth.final - offset)


def _hashes(growth: Growth, offset: int, size: int) -> tuple[str, str]:
    """MD5 and SHA-256 (hex) of a range of the film's file.

    Raises:
        RetryError: the film that grew there is being made again.
        ParkError: the closed film is gone or damaged.
    """
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    try:
        with growth.path.open("rb") as file:
            file.seek(offset)
            while size > 0 and (data := file.read(min(READ_BYTES, size))):
                md5.update(data)
                sha256.update(data)
                size -= len(data)
    except FileNotFoundError:
        pass
    if size and growth.closed:
        raise ParkError(f"{growth.path} is gone or {size} bytes too short")
    if size:
        raise RetryError(f"{growth.path} is being made again")
    return md5.hexdigest(), sha256.hexdigest()
