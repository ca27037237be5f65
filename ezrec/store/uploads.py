"""A film's generations, and the upload of each: object key, upload id, parts that the storage confirmed."""

from ezrec import logs
from ezrec.domain.errors import IllegalStep
from ezrec.domain.events import GenerationBegun
from ezrec.domain.film import Film
from ezrec.domain.stages import UPLOADING, Stage
from ezrec.store.films import FilmTable
from ezrec.store.rows import PartRow, part_of

log = logs.get("store")


class UploadTable(FilmTable):
    """Generations and uploads of an open store's films."""

    async def next_generation(self, booking_id: str, reason: str, **columns: object) -> Film:
        """Begin the film's next generation: parts, key and upload of the old one are forgotten, chunks are kept.

        The old generation's upload is aborted sooner or later.
        """
        async with self._transaction() as db:
            film = await self._film_in(booking_id)
            if film.stage not in (Stage.RECORDING, Stage.RECORDED):
                raise IllegalStep(f"a film that is {film.stage} is not made again")
            await self._forget_upload(db, film)
            await self._set(db, booking_id, {"generation": film.generation + 1, "object_key": None} | columns)
            await self._record(db, booking_id, GenerationBegun(film.generation + 1, reason))
            return await self._film_in(booking_id)

    async def begin_again(self, booking_id: str, generation: int, reason: str) -> Film:
        """A closed film's file was damaged: take it back to `recorded`, in its next generation.

        Upload, parts and chunks are forgotten: the chunks' files went when the film was closed. Nothing happens to a
        film that has gone on or was begun again since.
        """
        log.debug("taking step", booking=booking_id, to=Stage.RECORDED)
        async with self._transaction() as db:
            film = await self._film_in(booking_id)
            if (film.stage, film.generation) == (Stage.RENDERED, generation):
                await self._forget_upload(db, film)
                await db.execute("DELETE FROM chunk WHERE film = ?", (booking_id,))
                await self._step(db, film, Stage.RECORDED, {
                    "generation": generation + 1, "object_key": None, "bytes": None, "certificate": None,
                    "sums": None})
                await self._record(db, booking_id, GenerationBegun(generation + 1, reason))
            film = await self._film_in(booking_id)
        log.debug("step taken", booking=booking_id, to=film.stage)
        return film

    async def upload_ids(self) -> set[str]:
        """The uploads that are known: those of films, and those that are still to be ended."""
        films = await self._read("SELECT upload_id AS id FROM film WHERE upload_id IS NOT NULL")
        aborts = await self._read("SELECT json_extract(body, '$.upload_id') AS id FROM outbox WHERE kind = 'abort'")
        return {str(row["id"]) for row in (*films, *aborts)}

    async def name_upload(self, booking_id: str, generation: int, key: str, upload_id: str | None = None) -> bool:
        """Store a generation's object key, and its upload once it is open.

        False, and the upload is aborted sooner or later, if the film was begun again or called off since.
        """
        async with self._transaction() as db:
            film = await self._film_in(booking_id)
            if film.generation != generation or film.stage not in UPLOADING:
                if upload_id:
                    await self._post_abort(db, booking_id, key, upload_id)
                return False
            await self._set(db, booking_id, {"object_key": key, "upload_id": upload_id})
            return True

    async def forget_upload(self, booking_id: str, generation: int) -> bool:
        """The storage no longer knows a generation's upload: it and its parts are forgotten, the key stays.

        False (and nothing changed) if the film was begun again since.
        """
        async with self._transaction() as db:
            film = await self._film_in(booking_id)
            if film.generation != generation:
                return False
            await db.execute("DELETE FROM part WHERE film = ?", (booking_id,))
            await self._set(db, booking_id, {"upload_id": None})
            return True

    async def parts(self, booking_id: str, generation: int) -> list[PartRow]:
        """The parts of a film's generation that the storage confirmed, by number."""
        return await self._values(
            part_of, "SELECT * FROM part WHERE film = ? AND generation = ? ORDER BY number", booking_id, generation)

    async def put_part(self, booking_id: str, generation: int, part: PartRow) -> None:
        """The storage confirmed a part."""
        await self._do("INSERT OR REPLACE INTO part (film, generation, number, offset, bytes, md5, sha256)"
                       " VALUES (?,?,?,?,?,?,?)", booking_id, generation, part.number, part.offset, part.bytes,
                       part.md5, part.sha256)
