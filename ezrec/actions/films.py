"""What a person may ask of films, and do: list them, look at one, read its story, send one on its way again."""

from dataclasses import dataclass
from zoneinfo import ZoneInfo

from ezrec.actions.bookings import several
from ezrec.domain import naming
from ezrec.domain.errors import EzrecError
from ezrec.domain.film import Film
from ezrec.domain.naming import Named
from ezrec.domain.stages import Stage
from ezrec.store import Store
from ezrec.store.rows import Message, PartRow, Progress, StoryEntry

BEFORE, AFTER = 50, 20  # films that are listed when nobody asks for more: those of some days


@dataclass(frozen=True)
class FilmDetails:
    """A film with the progress and the stored parts of its generation, and its messages to the cloud."""

    film: Film
    progress: Progress
    parts: list[PartRow]
    messages: list[Message]
    others: int  # films of the same plain id


@dataclass(frozen=True)
class Story:
    """A film's story, oldest first. The film itself may be gone."""

    film: Film | None
    events: list[StoryEntry]
    messages: list[Message]


@dataclass(frozen=True)
class Recent:
    """The films that matter most, each with the progress of its generation, and how many others there are."""

    films: list[tuple[Film, Progress]]
    left_out: int


async def listing(store: Store, since_us: int = 0) -> list[tuple[Film, Progress]]:
    """All films that end at `since_us` (UTC µs) or later, with the progress of their generation, oldest first."""
    return await store.films_with_progress(since_us=since_us)


async def recent(store: Store, now_us: int) -> Recent:
    """The last and the next films (`BEFORE` and `AFTER` of them), and all that have work left, oldest window first."""
    films, count = await store.recent_films(now_us, BEFORE, AFTER)
    return Recent(films, count - len(films))


async def describe(store: Store, words: str) -> FilmDetails:
    """One film. `words` are a full id, or a plain one: that means its newest film.

    Raises:
        EzrecError: there is none.
    """
    async with store.snapshot() as now:
        found, same = await _asked_for(now, words), await _asked_for(now, naming.shown_id(words))
        if not found:
            raise _missing(words)
        booking_id = found[0].booking_id
        ((film, progress),) = await now.films_with_progress(booking_id)
        return FilmDetails(film, progress, await now.parts(booking_id, film.generation), await now.outbox(booking_id),
                           len(same) - 1)


async def story(store: Store, words: str) -> Story:
    """A film's story, also of one that is gone; `words` as in `describe`. Raises EzrecError if there never was one."""
    async with store.snapshot() as now:
        booking_id = next((film.booking_id for film in await _asked_for(now, words)), words)
        found = Story(await now.film(booking_id), await now.events(booking_id), await now.outbox(booking_id))
    if not found.film and not found.events:
        raise _missing(words)
    return found


async def retry(store: Store, words: str, zone: ZoneInfo) -> Film:
    """Send a parked or waiting film on its way again, or publish what was recorded of a cancelled booking.

    `words` are a full id, or a plain one: that means its only film that can be sent on its way. `zone` is the court's.

    Raises:
        EzrecError: there is no film, nothing that could be tried again, or more than one film that could.
    """
    async with store.together() as tx:
        found = await _asked_for(tx, words)
        can = [film for film in found if await _retriable(tx, film)]
        if len(can) > 1:
            raise EzrecError(several(words, [_named(film) for film in can], zone))
        film = await tx.film((can or found)[0].booking_id) if found else None
        if film is None:
            raise _missing(words)
        if film.stage is Stage.CANCELLED:
            if not await tx.has_footage(film.booking_id):
                raise EzrecError(f"nothing was recorded for {words!r} before it was cancelled")
            await tx.retry(film.booking_id, to=Stage.RECORDED)
        elif not can:
            raise EzrecError(f"the film of {words!r} is {film.stage} and neither parked nor waiting: "
                             "there is nothing to retry")
        else:
            await tx.retry(film.booking_id)
    return film


async def _asked_for(store: Store, words: str) -> list[Film]:
    """The films that are meant, the newest first."""
    films = {film.booking_id: film for film in await store.films_of([naming.shown_id(words)])}
    return [films[one.id] for one in naming.asked_for(words, map(_named, films.values()))]


def _named(film: Film) -> Named:
    return Named(film.booking_id, film.starts_at, film.ends_at)


async def _retriable(store: Store, film: Film) -> bool:
    if film.stage is Stage.CANCELLED:
        return await store.has_footage(film.booking_id)
    return film.parked_step is not None or film.retry_at is not None or any(
        message.parked_reason or message.retry_at for message in await store.outbox(film.booking_id))


def _missing(words: str) -> EzrecError:
    return EzrecError(f"there is no film of booking {words!r}; `ezrec films list` shows what there is")
