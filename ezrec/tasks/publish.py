"""Publishing: the `videos` row of a film whose object is complete and verified goes into the outbox, exactly once."""

from collections.abc import Callable
from pathlib import PurePosixPath
from zoneinfo import ZoneInfo

from ezrec.config.sections import SiteSettings
from ezrec.domain.certificate import Certificate
from ezrec.domain.clock import local_datetime, utc_text
from ezrec.domain.film import Film
from ezrec.domain.messages import Video
from ezrec.store import Store


class Publish:
    """The publish task. `posted` is called when a row has been put into the outbox."""

    def __init__(self, store: Store, site: SiteSettings, zone: ZoneInfo, posted: Callable[[], None]) -> None:
        self._store = store
        self._site = site
        self._zone = zone
        self._posted = posted

    async def work(self, film: Film) -> bool:
        """Have the film's row written. Never finished here: the film is published once the row is confirmed."""
        await self._store.post_video(film.booking_id, self._video(film))
        self._posted()
        return False

    def _video(self, film: Film) -> Video:
        certificate = film.certificate or Certificate()
        local = local_datetime(film.starts_at, self._zone)
        return Video(
            booking_id=film.booking_id,
            recording_id=film.recording_id,
            user_id=self._site.user_id,
            camera_id=self._site.camera_id,
            storage_path=film.object_key or "",
            video_url=film.url or "",
            poster_url=(certificate.object.poster_url if certificate.object else None) or "",
            duration_seconds=certificate.film_seconds + certificate.intro_seconds,
            file_size=film.bytes or 0,
            filename=PurePosixPath(film.object_key or "").name,
            date=f"{local:%Y-%m-%d}",
            uploaded_at=utc_text(film.changed_at),
        )
