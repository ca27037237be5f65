"""Upload: puts the film into the storage while it is being made, part by part, and verifies the object.

Parts behind the index reserve go as the film grows, several at a time where the storage takes that; those that touch
it go after the film is closed, number 1 last. What was confirmed before a crash is compared with the bytes that are
here now, never trusted. An upload that the storage has forgotten is begun again, unless its object is there already.
"""

import asyncio
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from zoneinfo import ZoneInfo

from ezrec import logs
from ezrec.adapters.storage import Part, Storage, Stored
from ezrec.config import Settings
from ezrec.domain.certificate import Certificate, StoredObject
from ezrec.domain.clock import local_datetime
from ezrec.domain.errors import EzrecError, ParkError, RetryError, UploadGone
from ezrec.domain.film import Film, Recipe
from ezrec.domain.stages import Stage
from ezrec.store import Store
from ezrec.store.rows import PartRow
from ezrec.tasks.film.growing import Growth

log = logs.get("upload")

READ_BYTES = 1 << 20  # how much of a part is in memory at a time while it is hashed

Range = tuple[int, int, int]  # of a film: part number, offset, bytes


@dataclass
class OpenUpload:
    """An upload as this process knows it."""

    generation: int
    upload_id: str
    there: dict[int, str]  # part → MD5, which the storage held when this process first saw the upload
    rows: dict[int, PartRow]  # what the store remembers, from before that too
    sure: dict[int, PartRow] = field(default_factory=dict)  # put, or compared with the bytes that are here now
    live_bytes: int = 0  # there before the film was closed
    doubted: bool = False  # it could not be completed: the storage may have lost a part


class Upload:
    """The upload task. `growth` tells how far a film's file is."""

    def __init__(self, store: Store, storage: Storage, settings: Settings, zone: ZoneInfo,
                 growth: Callable[[Film], Growth | None]) -> None:
        self._store = store
        self._storage = storage
        self._template = settings.storage.key
        self._camera_id = settings.site.camera_id
        self._zone = zone
        self._growth = growth
        self._uploads: dict[str, OpenUpload] = {}  # by booking

    async def work(self, film: Film) -> bool:
        """Store what is final of a film; True once its object is complete and verified.

        Raises:
            RetryError: the storage may work later.
            ParkError: it refuses, or another object lies at the film's key.
        """
        growth, recipe = self._growth(film), film.recipe
        if growth is None or recipe is None:
            return False
        try:
            return await self._store_what_is_final(film, recipe)
        except UploadGone as gone:
            log.warning("upload gone", booking=film.booking_id, error=str(gone))
            if await self._is_complete(film, growth, recipe):
                return True
            # At once, because nothing is wrong with the network; but if this one vanishes too, after a while.
            return await self._store_what_is_final(await self._forget(film), recipe)

    async def _store_what_is_final(self, film: Film, recipe: Recipe) -> bool:
        film = await self._begin(film)
        upload = await self._known(film)
        await self._put_parts(film, recipe, upload)
        growth = self._growth(film)
        if growth is None or not growth.closed:
            return False
        rows = [upload.sure[number] for number, _, _ in sorted(due_parts(growth, recipe.part_size, 0))]
        key, parts = film.object_key or "", _parts(rows)
        try:
            log.debug("storing film", booking=film.booking_id, key=key)
            stored = await self._storage.complete(key, film.upload_id or "", parts, growth.path)
        except EzrecError:
            upload.doubted = True
            raise
        log.debug("film stored", booking=film.booking_id, key=key)
        await self._finish(film, growth.path, stored, rows, upload.live_bytes)
        return True

    async def _begin(self, film: Film) -> Film:
        """The film with its key and its upload; the key is stored before anything is uploaded."""
        key = film.object_key or object_key(self._template, film, self._camera_id, self._zone)
        if film.object_key is None:
            await self._name(film, key)
        upload_id = film.upload_id
        if upload_id is None:
            log.debug("opening upload", booking=film.booking_id, key=key)
            upload_id = await self._storage.begin(key)
            await self._name(film, key, upload_id)
            log.debug("upload opened", booking=film.booking_id, key=key)
        return replace(film, object_key=key, upload_id=upload_id)

    async def _name(self, film: Film, key: str, upload_id: str | None = None) -> None:
        if not await self._store.name_upload(film.booking_id, film.generation, key, upload_id):
            raise RetryError("the film has just been begun again or called off")

    async def _known(self, film: Film) -> OpenUpload:
        """What is known of the film's upload; when it is first seen, what the storage and the store hold of it."""
        key, upload_id = film.object_key or "", film.upload_id or ""
        known = self._uploads.get(film.booking_id)
        if known is None or (known.generation, known.upload_id) != (film.generation, upload_id):
            rows = {row.number: row for row in await self._store.parts(film.booking_id, film.generation)}
            there = await self._storage.parts(key, upload_id)
            known = self._uploads[film.booking_id] = OpenUpload(film.generation, upload_id, there, rows)
        elif known.doubted:
            there = await self._storage.parts(key, upload_id)
            known.sure = {number: row for number, row in known.sure.items() if there.get(number) == row.md5}
            known.doubted = False
        return known

    async def _put_parts(self, film: Film, recipe: Recipe, upload: OpenUpload) -> None:
        """Put all parts that are due, as many at a time as the storage takes; while the film grows on, the next too.

        After a failure nothing new is begun, and what is under way ends by itself: what goes up need not go again.

        Raises:
            EzrecError: the first failure.
        """
        under_way: dict[asyncio.Task[None], int] = {}
        failures: list[EzrecError] = []
        try:
            while True:
                growth = self._growth(film)
                if growth and not failures:
                    for part in due_parts(growth, recipe.part_size, recipe.index_reserve):
                        if len(under_way) >= self._storage.in_flight:
                            break
                        if part[0] not in upload.sure and part[0] not in under_way.values():
                            task = asyncio.create_task(self._put(film, growth, part, upload), name="upload")
                            under_way[task] = part[0]
                if not under_way:
                    break
                ended, _ = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
                for task in ended:
                    del under_way[task]
                    if isinstance(error := task.exception(), EzrecError):
                        failures.append(error)
                    elif error:
                        raise error
        finally:
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)
        if failures:
            raise failures[0]

    async def _put(self, film: Film, growth: Growth, part: Range, upload: OpenUpload) -> None:
        """Put one part, unless the storage holds it with the bytes that are here now."""
        number, _, size = part
        row = await asyncio.to_thread(_row, growth, *part)
        there = upload.there.pop(number, None) == row.md5
        if not there:
            log.debug("uploading part", booking=film.booking_id, part=number, bytes=size)
            await self._storage.put_part(film.object_key or "", film.upload_id or "", _part(row), growth.path)
        if upload.rows.get(number) != row:
            await self._store.put_part(film.booking_id, film.generation, row)
        upload.sure[number] = row
        now = self._growth(film)
        upload.live_bytes += size if now and not now.closed else 0
        log.debug("part found" if there else "part uploaded", booking=film.booking_id, part=number, bytes=size)

    # ---- an upload that is gone

    async def _is_complete(self, film: Film, growth: Growth, recipe: Recipe) -> bool:
        """Whether the object is there already, complete: its upload is gone because the answer to that was lost."""
        known = self._uploads.pop(film.booking_id, None)
        film = await self._now(film)
        if not growth.closed or film.object_key is None:
            return False
        rows: list[PartRow] = []
        for part in sorted(due_parts(growth, recipe.part_size, 0)):
            if known and part[0] in known.sure:
                rows.append(known.sure[part[0]])
            else:
                rows.append(await asyncio.to_thread(_row, growth, *part))
        stored = await self._storage.verify(film.object_key, _parts(rows), growth.path)
        if stored:
            await self._finish(film, growth.path, stored, rows, known.live_bytes if known else None)
        return stored is not None

    async def _forget(self, film: Film) -> Film:
        """The film without its upload and its parts."""
        if not await self._store.forget_upload(film.booking_id, film.generation):
            raise RetryError("the film has just been begun again or called off")
        return await self._now(film)

    async def _now(self, film: Film) -> Film:
        now = await self._store.film(film.booking_id)
        if now is None or now.generation != film.generation:
            raise RetryError("the film has just been begun again or called off")
        return now

    # ---- the object

    async def _finish(self, film: Film, path: Path, stored: Stored, rows: Sequence[PartRow],
                      live_bytes: int | None) -> None:
        """Store the poster as well, write down what was stored, and take the step to `uploaded`."""
        poster = path.with_name("poster.jpg")
        poster_url = None
        if poster.exists():
            poster_url = await self._storage.put_file(f"{stored.key.removesuffix('.mp4')}.jpg", poster)
        joined = b"".join(bytes.fromhex(row.sha256) for row in rows)
        sha256 = f"{hashlib.sha256(joined).hexdigest()}-{len(rows)}"
        certificate = replace(film.certificate or Certificate(), object=StoredObject(
            key=stored.key, bytes=stored.bytes, etag=stored.etag, sha256=sha256, part_bytes=rows[0].bytes,
            poster_url=poster_url, live_bytes=live_bytes))
        await self._store.step(film.booking_id, Stage.UPLOADED, url=stored.url, sha256=sha256,
                               certificate=json.dumps(certificate.to_json(), sort_keys=True))
        self._uploads.pop(film.booking_id, None)
        log.info("film uploaded", booking=film.booking_id, key=stored.key, bytes=stored.bytes, live_bytes=live_bytes)


def _part(row: PartRow) -> Part:
    return Part(row.number, row.offset, row.bytes, row.md5)


def _parts(rows: Sequence[PartRow]) -> list[Part]:
    return [_part(row) for row in rows]


def object_key(template: str, film: Film, camera_id: str, zone: ZoneInfo) -> str:
    """The object's key, from validated ids and the booking's own local date; each generation has its own."""
    local = local_datetime(film.starts_at, zone)
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


def _row(growth: Growth, number: int, offset: int, size: int) -> PartRow:
    """A part with its MD5 and SHA-256, of the bytes that are in the film's file now.

    Raises:
        RetryError: the film that grew there is being made again.
        ParkError: the closed film is gone or damaged.
    """
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    left = size
    try:
        with growth.path.open("rb") as file:
            file.seek(offset)
            while left > 0 and (data := file.read(min(READ_BYTES, left))):
                md5.update(data)
                sha256.update(data)
                left -= len(data)
    except FileNotFoundError:
        pass
    if left and growth.closed:
        raise ParkError(f"{growth.path} is gone or {left} bytes too short")
    if left:
        raise RetryError(f"{growth.path} is being made again")
    return PartRow(number, offset, size, md5.hexdigest(), sha256.hexdigest())
