"""What a person may ask of films, and do: list them, look at one, read its story, send one on its way again."""

from dataclasses import dataclass

from ezrec.domain.errors import EzrecError
from ezrec.domain.film import Film
from ezrec.domain.stages import Stage
from ezrec.store import Store
from ezrec.store.rows import ChunkRow, Message, PartRow, StoryEntry


@dataclass(frozen=True)
class FilmDetails:
    """A film with the chunks and the parts of its generation, and what the cloud must still be told of it."""

    film: Film
    chunks: list[ChunkRow]
    parts: list[PartRow]
    messages: list[Message]


@dataclass(frozen=True)
class Story:
    """A film's story, oldest first. The film itself may be gone."""

    film: Film | None
    events: list[StoryEntry]
    messages: list[Message]


async def listing(store: Store) -> list[tuple[Film, list[ChunkRow]]]:
    """All films with the chunks of their generation, oldest window first."""
    return [(film, await store.chunks(film.booking_id, film.generation)) for film in await store.films()]


async def describe(store: Store, booking_id: str) -> FilmDetails:
    """One film. Raises EzrecError if there is none."""
    film = await _film(store, booking_id)
    return FilmDetails(film, await store.chunks(booking_id, film.generation),
                       await store.parts(booking_id, film.generation), await store.outbox(booking_id))


async def story(store: Store, booking_id: str) -> Story:
    """A film's story, also of one that is gone. Raises EzrecError if there never was one."""
    events = await store.events(booking_id)
    film = await store.film(booking_id) if events else await _film(store, booking_id)
    return Story(film, events, await store.outbox(booking_id))


async def retry(store: Store, booking_id: str) -> None:
    """Send a parked or waiting film on its way again, or publish what was recorded of a cancelled booking.

    Raises:
        EzrecError: there is no film, or nothing that could be tried again.
    """
    film = await _film(store, booking_id)
    if film.stage is Stage.CANCELLED:
        if not await store.has_footage(booking_id):
            raise EzrecError(f"nothing was recorded for {booking_id!r} before it was cancelled")
        await store.retry(booking_id, to=Stage.RECORDED)
        return
    waits = film.parked_step is not None or film.retry_at is not None or any(
        message.parked_reason or message.retry_at for message in await store.outbox(booking_id))
    if not waits:
        raise EzrecError(f"the film of {booking_id!r} is {film.stage} and neither parked nor waiting: "
                         "there is nothing to retry")
    await store.retry(booking_id)


async def _film(store: Store, booking_id: str) -> Film:
    film = await store.film(booking_id)
    if film is None:
        raise EzrecError(f"there is no film of booking {booking_id!r}; `ezrec films list` shows what there is")
    return film
