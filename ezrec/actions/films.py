"""What a person may ask of films, and do: list them, look at one, read its story, send one on its way again."""

from dataclasses import dataclass

from ezrec.domain.errors import EzrecError
from ezrec.domain.film import Film
from ezrec.domain.stages import Stage
from ezrec.store import Store
from ezrec.store.rows import Message, PartRow, Progress, StoryEntry


@dataclass(frozen=True)
class FilmDetails:
    """A film with the progress and the stored parts of its generation, and its messages to the cloud."""

    film: Film
    progress: Progress
    parts: list[PartRow]
    messages: list[Message]


@dataclass(frozen=True)
class Story:
    """A film's story, oldest first. The film itself may be gone."""

    film: Film | None
    events: list[StoryEntry]
    messages: list[Message]


async def listing(store: Store) -> list[tuple[Film, Progress]]:
    """All films with the progress of their generation, oldest window first."""
    return await store.films_with_progress()


async def describe(store: Store, booking_id: str) -> FilmDetails:
    """One film. Raises EzrecError if there is none."""
    async with store.snapshot() as now:
        for film, progress in await now.films_with_progress(booking_id):
            return FilmDetails(film, progress, await now.parts(booking_id, film.generation),
                               await now.outbox(booking_id))
    raise _missing(booking_id)


async def story(store: Store, booking_id: str) -> Story:
    """A film's story, also of one that is gone. Raises EzrecError if there never was one."""
    async with store.snapshot() as now:
        found = Story(await now.film(booking_id), await now.events(booking_id), await now.outbox(booking_id))
    if not found.film and not found.events:
        raise _missing(booking_id)
    return found


async def retry(store: Store, booking_id: str) -> None:
    """Send a parked or waiting film on its way again, or publish what was recorded of a cancelled booking.

    Raises:
        EzrecError: there is no film, or nothing that could be tried again.
    """
    async with store.together() as tx:
        film = await tx.film(booking_id)
        if film is None:
            raise _missing(booking_id)
        if film.stage is Stage.CANCELLED:
            if not await tx.has_footage(booking_id):
                raise EzrecError(f"nothing was recorded for {booking_id!r} before it was cancelled")
            await tx.retry(booking_id, to=Stage.RECORDED)
            return
        waits = film.parked_step is not None or film.retry_at is not None or any(
            message.parked_reason or message.retry_at for message in await tx.outbox(booking_id))
        if not waits:
            raise EzrecError(f"the film of {booking_id!r} is {film.stage} and neither parked nor waiting: "
                             "there is nothing to retry")
        await tx.retry(booking_id)


def _missing(booking_id: str) -> EzrecError:
    return EzrecError(f"there is no film of booking {booking_id!r}; `ezrec films list` shows what there is")
