"""Publishing: the `videos` row of a film whose object is complete and verified, exactly once."""

from datetime import UTC, datetime
from pathlib import PurePosixPath
from zoneinfo import ZoneInfo

from ezrec import logs
from ezrec.adapters.publishing import Publisher, Video
from ezrec.config.sections import Site as SiteSettings
from ezrec.domain.clock import SECOND
from ezrec.domain.film import Film
from ezrec.domain.stages import Stage
from ezrec.store import Store

log = logs.get("publish")


class Publish:
    """The publish task."""

    def __init__(self, store: Store, publisher: Publisher, site: SiteSettings, zone: ZoneInfo) -> None:
        self._store = store
        self._publisher = publisher
        self._site = site
        self._zone = zone

    async def work(self, film: Film) -> bool:
        """Write the film's row and confirm it; True once it is in.

        Raises:
            RetryError: the publisher may work later.
            ParkError: it refuses the row.
        """
        log.debug("writing row", booking=film.booking_id)
        await self._publisher.publish(self._video(film))
        log.debug("row written", booking=film.booking_id)
        log.debug("taking step", booking=film.booking_id, to=Stage.PUBLISHED)
        await self._store.step(film.booking_id, Stage.PUBLISHED)
        log.debug("step taken", booking=film.booking_id, to=Stage.PUBLISHED)
        log.info("film published", booking=film.booking_id, url=film.url)
        return True

    def _video(self, film: Film) -> Video:
        certificate = film.certificate or {}
        stored = certificate.get("object", {})
        local = datetime.fromtimestamp(film.starts_at / SECOND, UTC).astimezone(self._zone)
        return Video(
            booking_id=film.booking_id,
            recording_id=film.recording_id,
            user_id=self._site.user_id,
            camera_id=self._site.camera_id,
            storage_path=film.object_key or "",
            video_url=film.url or "",
            poster_url=stored.get("poster_url") or "",
            duration_seconds=certificate.get("film_seconds", 0.0) + certificate.get("intro_seconds", 0.0),
            file_size=film.bytes or 0,
            filename=PurePosixPath(film.object_key or "").name,
            date=f"{local:%Y-%m-%d}",
            uploaded_at=datetime.fromtimestamp(film.changed_at / SECOND, UTC).isoformat(timespec="milliseconds"),
        )
