"""The films that recording has to do with now, and how they lie on the runs; those far ahead are left alone."""

from ezrec.domain.clock import SECOND, Clock
from ezrec.domain.film import Film
from ezrec.domain.stages import CHANGEABLE, Stage
from ezrec.domain.timeline import Span
from ezrec.store import Store

AHEAD_US = 3600 * SECOND  # films that start later are not looked at, however the clock steps in half a second


class NearFilms:
    """Reads them at every look. There may be thousands ahead."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._laid: set[str] = set()  # booked films that lie on a run, though they may have been moved far ahead since

    async def begin(self) -> None:
        """See what earlier runs laid."""
        self._laid = set(await self._store.spans_in(Stage.BOOKED))

    def laid(self, booking_id: str) -> None:
        """A film was laid onto this run: from now on it is looked at, wherever it is moved to."""
        self._laid.add(booking_id)

    async def look(self) -> tuple[list[Film], dict[str, list[Span]]]:
        """The films, oldest window first, and by booking the spans of those that have any."""
        films = await self._store.films_to_record(self._clock.wall_us() + AHEAD_US)
        for booking_id in sorted(self._laid - {film.booking_id for film in films}):
            film = await self._store.film(booking_id)
            if film and film.stage in CHANGEABLE:
                films.append(film)
        spans = await self._store.spans_of(film.booking_id for film in films)
        self._laid = {film.booking_id for film in films if film.stage is Stage.BOOKED and film.booking_id in spans}
        return films, spans
