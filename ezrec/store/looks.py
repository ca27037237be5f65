"""What the recorder asks for again and again: only what can still change, so that no look grows with the years behind.

Films come without recipe, certificate and checksums here: reading those of thousands takes seconds.
"""

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from ezrec.domain.booking import Booking
from ezrec.domain.film import Film
from ezrec.domain.stages import CHANGEABLE, Stage
from ezrec.store.films import FilmTable
from ezrec.store.rows import BRIEF, booking_of, film_of

_FILMS = f"SELECT {BRIEF} FROM film"
_OF_IDS = ("SELECT {columns} FROM json_each(?) AS asked JOIN {table} ON {table}.{id} = asked.value UNION ALL"
           " SELECT {columns} FROM json_each(?) AS asked JOIN {table} ON {table}.{id} > asked.value || '@'"
           " AND {table}.{id} < asked.value || 'A'")  # '@' and the letter behind it: the store ids of a plain one


@dataclass(frozen=True)
class Rules:
    """How a booking's window and status are meant."""

    pre_us: int  # that its window begins before it
    post_us: int  # that its window ends after it
    called_off: Collection[str]  # status words that mean: do not record


class LookTable(FilmTable):
    """The regular looks at an open store."""

    async def films_to_record(self, until_us: int) -> list[Film]:
        """The films that recording has to do with: begun, waiting to be made, or booked to start until `until_us`
        (UTC µs); oldest window first.
        """
        return await self._values(
            film_of, "SELECT * FROM film WHERE stage IN (?, ?) UNION ALL"
            " SELECT * FROM film WHERE stage = ? AND starts_at <= ?"
            " ORDER BY starts_at, booking_id", Stage.RECORDING, Stage.RECORDED, Stage.BOOKED, until_us)

    async def booked_films(self, from_us: int, to_us: int) -> list[Film]:
        """The booked films that start in [from_us, to_us), UTC µs, in their order."""
        return await self._values(
            film_of, f"{_FILMS} WHERE stage = ? AND starts_at >= ? AND starts_at < ? ORDER BY starts_at, booking_id",
            Stage.BOOKED, from_us, to_us)

    async def any_film_between(self, from_us: int, to_us: int) -> bool:
        """Whether a film that was or will be recorded starts in [from_us, to_us), UTC µs. Looks through all films."""
        return bool(await self._read("SELECT 1 FROM film WHERE starts_at >= ? AND starts_at < ? AND stage NOT IN (?, ?)"
                                     " LIMIT 1", from_us, to_us, Stage.CANCELLED, Stage.MISSED))

    async def films_unchanged_since(self, stage: Stage, at_us: int) -> list[Film]:
        """The films that took their step to `stage` at `at_us` (UTC µs) or earlier, oldest window first."""
        return await self._values(
            film_of, f"{_FILMS} WHERE stage = ? AND changed_at <= ? ORDER BY starts_at, booking_id", stage, at_us)

    async def films_brief(self, *wanted: Stage) -> list[Film]:
        """As `films`, without recipe, certificate and checksums."""
        marks = ",".join("?" * len(wanted))
        where = f"WHERE stage IN ({marks})" if wanted else ""
        return await self._values(film_of, f"{_FILMS} {where} ORDER BY starts_at, booking_id", *wanted)

    async def not_of_films(self, names: Iterable[str]) -> list[str]:
        """Which of these names are no film's recording id."""
        return [row["value"] for row in await self._read(
            "SELECT value FROM json_each(?) WHERE NOT EXISTS (SELECT 1 FROM film WHERE recording_id = value)",
            json.dumps(list(names)))]

    async def films_of(self, plain_ids: Iterable[str]) -> list[Film]:
        """All films of some plain ids (`domain/naming.py`)."""
        ids = json.dumps(sorted(set(plain_ids)))
        return await self._values(film_of, _OF_IDS.format(columns=BRIEF, table="film", id="booking_id"), ids, ids)

    async def bookings_of(self, plain_ids: Iterable[str]) -> list[Booking]:
        """All bookings of some plain ids."""
        ids = json.dumps(sorted(set(plain_ids)))
        return await self._values(booking_of, _OF_IDS.format(columns="booking.*", table="booking", id="id"), ids, ids)

    async def to_follow(self, rules: Rules, now_us: int, since_us: int,
                        recovered_at: int) -> tuple[list[Booking], list[Film]]:
        """The bookings that their films do not follow yet, with those films; and booked films without a booking.

        Of bookings that were over before `since_us`, and were not changed since either, none is looked at; but for
        those without a film that were over when the store was last lost (`recovered_at`). All UTC µs.
        """
        off = json.dumps(sorted(rules.called_off))
        async with self.snapshot() as now:
            bookings = await now._values(  # noqa: SLF001 - a store like this one
                booking_of,
                "SELECT booking.* FROM booking LEFT JOIN film ON film.booking_id = booking.id"
                " WHERE (booking.ends_at > ?1 OR booking.seen_at > ?1 OR booking.ends_at <= ?2 AND film.stage IS NULL)"
                " AND CASE WHEN stage IS NULL THEN booking.status NOT IN (SELECT value FROM json_each(?3))"
                f" WHEN stage IN ({_words(CHANGEABLE)}) THEN {_CHANGED} OR {_OFF}"
                f" WHEN stage IN ({_words((Stage.CANCELLED, Stage.MISSED))}) THEN booking.ends_at > ?6 AND NOT {_OFF}"
                f" ELSE {_CHANGED} OR ({_OFF} AND stage != '{Stage.CLEANED}') END",
                since_us, recovered_at - rules.post_us, off, rules.pre_us, rules.post_us, now_us - rules.post_us)
            ids = json.dumps([one.id for one in bookings])
            films = await now._values(  # noqa: SLF001
                film_of, f"{_FILMS} WHERE booking_id IN (SELECT value FROM json_each(?)) UNION ALL"
                f" {_FILMS} WHERE stage = ? AND starts_at > ? AND NOT EXISTS (SELECT 1 FROM booking"
                " WHERE booking.id = film.booking_id)", ids, Stage.BOOKED, now_us)
        return bookings, films


_CHANGED = "(film.starts_at, film.ends_at) != (booking.starts_at - ?4, booking.ends_at + ?5)"
_OFF = "booking.status IN (SELECT value FROM json_each(?3))"


def _words(wanted: Iterable[Stage]) -> str:
    return ", ".join(f"'{stage}'" for stage in sorted(wanted))
