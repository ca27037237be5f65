"""Upload: puts the film into the storage while it is being made, part by part, and verifies the object.

Parts that the index does not touch go as the film grows, several at a time where the storage takes that; those that it
touches go after the film is closed, number 1 last. What was confirmed before a crash is compared with the film as it is
now, never trusted. An upload that the storage has forgotten is begun again, unless its object is there already.

No part is stored that is not what was written into the film's file. A film whose file was damaged is made again.
"""

import asyncio
import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

from ezrec import logs
from ezrec.adapters.storage import Part, Storage, Stored
from ezrec.config import Settings
from ezrec.domain.certificate import Certificate, StoredObject
from ezrec.domain.clock import SECOND, Clock, local_datetime
from ezrec.domain.errors import EzrecError, FilmAway, FilmDamaged, OtherObject, ParkError, RetryError, UploadGone
from ezrec.domain.film import Film, Recipe
from ezrec.domain.stages import Stage
from ezrec.store import Store
from ezrec.store.rows import PartRow
from ezrec.tasks.film.growing import Growth
from ezrec.tasks.parts import Range, due_parts, is_same, part_of, read_part

log = logs.get("upload")

MOST_GENERATIONS = 6  # that a film from before the store was lost is looked for under

NO_OWNER = "-"  # in a key, where site.user_id is empty

AWAY_S = 60  # so long a film's file may not be readable, as while its disk is away, before the film is made again


@dataclass
class OpenUpload:
    """An upload as this process knows it."""

    generation: int
    upload_id: str
    there: dict[int, str]  # part → MD5, which the storage held when this process first saw the upload
    rows: dict[int, PartRow]  # what the store remembers, from before that too
    sure: dict[int, PartRow] = field(default_factory=dict)  # put, or compared with the bytes that are here now
    live: dict[int, int] = field(default_factory=dict)  # part → bytes, of those there before the film was closed
    doubted: bool = False  # it could not be completed: the storage may have lost a part

    @property
    def live_bytes(self) -> int:
        """How much of the film was there before it was closed."""
        return sum(self.live.values())

    def is_sure(self, growth: Growth, number: int) -> bool:
        """Whether a part is stored, with the bytes that were written into the film's file: one made anew may differ."""
        row = self.sure.get(number)
        return row is not None and growth.sums.get(number, row.sha256) == row.sha256


class PartUpload:
    """Puts the parts that are due. `growth` tells how far a film's file is.

    `gives_way` says whether another film goes before this one: then one part goes up at a time, each call one.
    """

    def __init__(self, store: Store, storage: Storage, growth: Callable[[Film], Growth | None],
                 gives_way: Callable[[Film], bool]) -> None:
        self._store = store
        self._storage = storage
        self._growth = growth
        self._gives_way = gives_way

    async def put(self, film: Film, recipe: Recipe, upload: OpenUpload) -> bool:
        """Put all parts that are due, as many at a time as the storage takes; while the film grows on, the next too.

        After a failure nothing new is begun, and what is under way ends by itself: what goes up need not go again.
        Returns False if there are more, and another film's turn has come.

        Raises:
            EzrecError: the first failure.
        """
        under_way: dict[asyncio.Task[None], int] = {}
        failures: list[EzrecError] = []
        begun, left = 0, False
        try:
            while True:
                for growth, part in [] if failures else self._due(film, recipe, upload, under_way.values()):
                    gives_way = self._gives_way(film)
                    left = gives_way and begun > 0
                    if left or len(under_way) >= (1 if gives_way else self._storage.in_flight):
                        break
                    task = asyncio.create_task(self._put(film, growth, part, upload), name="upload")
                    under_way[task] = part[0]
                    begun += 1
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
        return not left

    def _due(self, film: Film, recipe: Recipe, upload: OpenUpload,
             under_way: Collection[int]) -> Iterator[tuple[Growth, Range]]:
        """The parts that are due and neither stored for sure nor under way."""
        if growth := self._growth(film):
            for part in due_parts(growth, recipe.part_size, recipe.index_reserve):
                if not upload.is_sure(growth, part[0]) and part[0] not in under_way:
                    yield growth, part

    async def _put(self, film: Film, growth: Growth, part: Range, upload: OpenUpload) -> None:
        """Put one part, unless the storage holds it with the bytes that were written into this film."""
        number, _, size = part
        known, md5 = upload.rows.get(number), upload.there.pop(number, None)
        # What is stored as it was written need not be read: here it may have been damaged since.
        row = known if known and known.md5 == md5 and is_same(growth, known, part) else \
            await self.read(film, growth, part)
        there = md5 == row.md5
        if not there:
            log.debug("uploading part", booking=film.booking_id, part=number, bytes=size)
            try:
                await self._storage.put_part(film.object_key or "", film.upload_id or "", part_of(row), growth.path)
            except ParkError:
                await self.read(film, growth, part)  # was it changed in the meantime?
                raise
        if upload.rows.get(number) != row:
            await self._store.put_part(film.booking_id, film.generation, row)
        upload.sure[number] = row
        now = self._growth(film)
        upload.live[number] = size if now and not now.closed else 0  # one that is stored once more came late
        log.debug("part found" if there else "part uploaded", booking=film.booking_id, part=number, bytes=size)

    async def read(self, film: Film, growth: Growth, part: Range) -> PartRow:
        """A part as it is in the film's file now.

        Raises:
            RetryError: the file that grew is being made anew, or closed, and this was not the new one.
            FilmDamaged, FilmAway: see `read_part`.
        """
        try:
            return await asyncio.to_thread(read_part, growth, *part)
        except (FilmDamaged, FilmAway) as error:
            now = self._growth(film)
            if not growth.closed and (now is None or now.sums is not growth.sums):
                raise RetryError("the film's file is being made again") from error
            raise


class Upload:
    """The upload task. `growth` tells how far a film's file is; `make_again` is told of a damaged one, and why.

    `gives_way` says whether another film goes before this one: then its parts go up one at a time, each call one, and
    `again` is called when there are more.
    """

    def __init__(self, store: Store, clock: Clock, storage: Storage, settings: Settings, zone: ZoneInfo,
                 growth: Callable[[Film], Growth | None], make_again: Callable[[Film, str], Awaitable[None]],
                 gives_way: Callable[[Film], bool] = lambda _: False,
                 again: Callable[[], None] = lambda: None) -> None:
        self._store = store
        self._clock = clock
        self._storage = storage
        self._key = partial(object_key, settings.storage.key, camera_id=settings.site.camera_id, zone=zone,
                            user_id=settings.site.user_id, secret=key_secret(settings))
        self._court_keys = settings.storage.court_keys
        self._growth = growth
        self._make_again = make_again
        self._again = again
        self._parts = PartUpload(store, storage, growth, gives_way)
        self._uploads: dict[str, OpenUpload] = {}  # by booking
        self._away: dict[str, int] = {}  # booking → since when its film's file cannot be read, monotonic µs

    async def work(self, film: Film) -> bool:
        """Store what is final of a film; True once its object is complete and verified.

        Raises:
            RetryError: the storage, or the disk with the film's file, may work later.
            ParkError: it refuses, another object lies at the film's key, or a damaged film cannot be made again.
        """
        try:
            done = await self._work(film)
        except FilmAway as away:
            since = self._away.setdefault(film.booking_id, self._clock.mono_us())
            if self._clock.mono_us() - since < AWAY_S * SECOND:
                raise
            reason = str(away)
        except FilmDamaged as damaged:
            reason = str(damaged)
        except EzrecError:
            self._away.pop(film.booking_id, None)
            raise
        else:
            self._away.pop(film.booking_id, None)
            return done
        self._away.pop(film.booking_id, None)
        if await self._is_stored_already(film):
            return True
        await self._make_again(film, reason)
        return False

    async def _work(self, film: Film) -> bool:
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
        if not await self._parts.put(film, recipe, upload):
            self._again()
            return False
        growth = self._growth(film)
        if growth is None or not growth.closed:
            return False
        whole = sorted(due_parts(growth, recipe.part_size, 0))
        rows = [upload.sure[number] for number, _, _ in whole]
        key, parts = film.object_key or "", _parts(rows)
        if self._court_keys and await self._store.was_found(film.booking_id):
            await _remove_others(self._storage, film, self._key)
        try:
            log.debug("storing film", booking=film.booking_id, key=key)
            stored = await self._storage.complete(key, film.upload_id or "", parts, growth.path)
        except ParkError as error:
            for part in whole:
                await self._parts.read(film, growth, part)  # is the film's file to blame?
            if isinstance(error, OtherObject) and self._court_keys:
                await _remove_lost(self._store, self._storage, film, key, error)
            raise
        except EzrecError:
            upload.doubted = True
            raise
        log.debug("film stored", booking=film.booking_id, key=key)
        await self._finish(film, growth.path, stored, rows, upload.live_bytes)
        return True

    async def _begin(self, film: Film) -> Film:
        """The film with its key and its upload; the key is stored before anything is uploaded."""
        key = film.object_key or self._key(film)
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

    async def forget(self, booking_id: str) -> None:
        """Keep nothing of a film's upload: what is stored of it is asked for, if it goes on."""
        self._uploads.pop(booking_id, None)
        self._away.pop(booking_id, None)

    # ---- an upload that is gone

    async def _is_stored_already(self, film: Film) -> bool:
        """Whether a film whose file is damaged is in the storage whole: then its file is not needed any more."""
        growth, recipe = self._growth(film), film.recipe
        if growth is None or recipe is None or not growth.closed:
            return False
        try:
            return await self._is_complete(film, growth, recipe)
        except (FilmDamaged, FilmAway, ParkError):
            return False

    async def _is_complete(self, film: Film, growth: Growth, recipe: Recipe) -> bool:
        """Whether the object is there already, complete: its upload is gone because the answer to that was lost."""
        known = self._uploads.pop(film.booking_id, None)
        film = await self._now(film)
        if not growth.closed or film.object_key is None:
            return False
        before = {row.number: row for row in await self._store.parts(film.booking_id, film.generation)}
        rows: list[PartRow] = []
        for part in sorted(due_parts(growth, recipe.part_size, 0)):
            if known and known.is_sure(growth, part[0]):
                rows.append(known.sure[part[0]])
            elif (row := before.get(part[0])) and is_same(growth, row, part):
                rows.append(row)
            else:
                rows.append(await self._parts.read(film, growth, part))
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
        if await asyncio.to_thread(_can_be_read, poster):  # a film is published without one as well
            poster_url = await self._storage.put_file(poster_key(stored.key), poster)
        joined = b"".join(bytes.fromhex(row.sha256) for row in rows)
        sha256 = f"{hashlib.sha256(joined).hexdigest()}-{len(rows)}"
        certificate = replace(film.certificate or Certificate(), object=StoredObject(
            key=stored.key, bytes=stored.bytes, etag=stored.etag, sha256=sha256, part_bytes=rows[0].bytes,
            poster_url=poster_url, live_bytes=live_bytes))
        await self._store.step(film.booking_id, Stage.UPLOADED, url=stored.url, sha256=sha256, sums=None,
                               certificate=json.dumps(certificate.to_json(), sort_keys=True))
        self._uploads.pop(film.booking_id, None)
        log.info("film uploaded", booking=film.booking_id, key=stored.key, bytes=stored.bytes, live_bytes=live_bytes)


def _can_be_read(file: Path) -> bool:
    try:
        return file.is_file() and len(file.read_bytes()) > 0
    except OSError:
        return False


async def _remove_lost(store: Store, storage: Storage, film: Film, key: str, error: OtherObject) -> None:
    """Make room at the key of a film that was stored and not published when the store was lost: it is made anew.

    Raises:
        RetryError: there is room now.
        FilmDamaged: the key is that of an earlier film, which a lost store knew: this one needs another.
    """
    recovered_at = await store.recovered_at()
    if film.ends_at <= recovered_at:
        log.warning("film of a lost store makes room for the new one", booking=film.booking_id, key=key)
        await storage.remove(key)
        raise RetryError(f"{error}, and has been removed") from error
    if recovered_at and film.generation == 1:
        raise FilmDamaged(f"its key {key} is that of an earlier film, from before the store was lost") from error


async def _remove_others(storage: Storage, film: Film, key_of: Callable[[Film], str]) -> None:
    """Remove what a lost store had stored of a film under other generations, and not published."""
    for generation in set(range(1, MOST_GENERATIONS)) - {film.generation}:
        await storage.remove(key_of(replace(film, generation=generation)))


def _parts(rows: Sequence[PartRow]) -> list[Part]:
    return [part_of(row) for row in rows]


def key_secret(settings: Settings) -> bytes:
    """What the random part of this court's keys is made with: the same after the store was lost, unknown to others.

    It comes from the bucket's secret key by scrypt (RFC 7914), so that from a film's key even a short secret is not
    found by trying. Keys in a library are no secrets.
    """
    secret = settings.s3.secret_access_key.get_secret_value() if settings.storage.kind == "s3" else ""
    return hashlib.scrypt(secret.encode(), salt=b"EZREC object keys", n=1 << 14, r=8, p=1) if secret else b""


def object_key(template: str, film: Film, camera_id: str, zone: ZoneInfo, user_id: str = "",
               secret: bytes = b"") -> str:
    """The object's key, from validated ids and the booking's own local date; each generation has its own.

    `{random}` is an HMAC of the booking with `secret`: who does not know that cannot guess it, and it is found again.

    No two films of a device have one key, as long as its template and its camera's id stay (`test_upload.py` tries).
    All fields but the booking's id have a fixed length there, so where that id begins and ends follows from the key's
    length. '@' stands in no id, no other field and no template. Behind the last '@' there are digits alone if it is a
    generation's, and a 'T' among them if it is a store id's (`domain/naming.py`).
    """
    local = local_datetime(film.starts_at, zone)
    whose = "\n".join((user_id, camera_id, film.booking_id, str(film.starts_at)))
    random = hmac.new(secret, whose.encode(), "sha256").hexdigest()[:32]
    base = template.format(date=f"{local:%Y-%m-%d}", year=f"{local:%Y}", month=f"{local:%m}", day=f"{local:%d}",
                           time=f"{local:%H%M}", booking_id=film.booking_id, camera_id=camera_id,
                           recording_id=film.recording_id, user_id=user_id or NO_OWNER, random=random)
    return f"{base}.mp4" if film.generation == 1 else f"{base}@{film.generation}.mp4"


def poster_key(key: str) -> str:
    """The key of the poster that belongs to the film at `key`."""
    return f"{key.removesuffix('.mp4')}.jpg"
