"""`ezrec films`: what became of the bookings."""

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ezrec.cli import story
from ezrec.cli.settings import Place, show_json, with_store, zone_of
from ezrec.domain.booking import show_local
from ezrec.domain.certificate import utc
from ezrec.domain.clock import SECOND
from ezrec.domain.errors import EzrecError
from ezrec.domain.film import Film
from ezrec.domain.stages import Stage
from ezrec.store import Store
from ezrec.store.rows import ChunkRow, Event, PartRow

app = typer.Typer(no_args_is_help=True, help="List films, show one, tell its story, send a parked one on its way again. "
                                             "Works while `ezrec run` runs.")

BookingId = Annotated[str, typer.Argument(help="The booking's id.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]


@app.command("list")
def list_(context: typer.Context, as_json: JsonOption = False) -> None:
    """Show every film, how far it is and where it is."""
    place: Place = context.obj
    settings = place.load()

    async def read(store: Store) -> list[tuple[Film, list[ChunkRow]]]:
        return [(film, await store.chunks(film.booking_id, film.generation)) for film in await store.films()]

    films = with_store(settings, read)
    if as_json:
        show_json([plain(film, chunks) for film, chunks in films])
        return
    if not films:
        print("there are no films yet")
        return
    zone = zone_of(settings)
    table = Table("booking", f"window ({settings.site.timezone})", "stage", "film", "remark")
    for film, chunks in films:
        window = f"{show_local(film.starts_at, zone)} to {show_local(film.ends_at, zone)[11:]}"
        table.add_row(film.booking_id, window, str(film.stage), _extent(film, chunks), _remark(film))
    Console().print(table)


@app.command()
def show(context: typer.Context, booking_id: BookingId, as_json: JsonOption = False) -> None:
    """Show one film: window, stage, parts, certificate."""
    place: Place = context.obj
    settings = place.load()

    async def read(store: Store) -> tuple[Film, list[ChunkRow], list[PartRow]]:
        film = await _film(store, booking_id)
        return (film, await store.chunks(booking_id, film.generation), await store.parts(booking_id, film.generation))

    film, chunks, parts = with_store(settings, read)
    if as_json:
        show_json(plain(film, chunks) | {"parts": len(parts), "certificate": film.certificate})
        return
    zone, console = zone_of(settings), Console(highlight=False)
    console.print(f"[bold]{film.booking_id}[/bold]  {show_local(film.starts_at, zone)} to {show_local(film.ends_at, zone)}, "
                  f"stage [bold]{film.stage}[/bold], generation {film.generation}")
    if film.parked_reason:
        console.print(f"[red]parked at {film.parked_step}:[/red] {film.parked_reason}\n"
                      f"`ezrec films retry {film.booking_id}` sends it on its way again")
    elif film.attempts:
        console.print(f"failed {film.attempts} times, tried again at {show_local(film.retry_at or 0, zone)}")
    if film.url:
        console.print(f"film: {film.url}")
    console.print(f"made so far: {_extent(film, chunks)}; parts stored: {len(parts)}")
    for line in story.certificate_lines(film.certificate):
        console.print(line)


@app.command()
def explain(context: typer.Context, booking_id: BookingId, as_json: JsonOption = False) -> None:
    """Tell a film's story in plain sentences: what happened, when, and what is missing."""
    place: Place = context.obj
    settings = place.load()

    async def read(store: Store) -> tuple[Film, list[Event]]:
        return await _film(store, booking_id), await store.events(booking_id)

    film, events = with_store(settings, read)
    if as_json:
        show_json([{"at": utc(event.at), "kind": event.kind, "detail": event.detail} for event in events])
        return
    for line in story.tell(film, events, zone_of(settings)):
        print(line)


@app.command()
def retry(context: typer.Context, booking_id: BookingId) -> None:
    """Send a parked film on its way again, or publish what was recorded of a cancelled booking."""
    place: Place = context.obj

    async def change(store: Store) -> None:
        film = await _film(store, booking_id)
        if film.stage is Stage.CANCELLED:
            if not await store.has_footage(booking_id):
                raise EzrecError(f"nothing was recorded for {booking_id!r} before it was cancelled")
            await store.step(booking_id, Stage.RECORDED)
        elif film.parked_step is None and film.retry_at is None:
            raise EzrecError(f"the film of {booking_id!r} is {film.stage} and neither parked nor waiting: "
                             "there is nothing to retry")
        await store.update_film(booking_id, "retried", parked_step=None, parked_reason=None, attempts=0, retry_at=None)

    with_store(place.load(), change)
    print(f"on its way again: {booking_id}")


def plain(film: Film, chunks: list[ChunkRow]) -> dict[str, Any]:
    """A film for machines; instants ISO 8601 UTC."""
    return {
        "booking_id": film.booking_id, "recording_id": film.recording_id, "stage": film.stage,
        "starts_at": utc(film.starts_at), "ends_at": utc(film.ends_at), "generation": film.generation,
        "object_key": film.object_key, "url": film.url, "bytes": film.bytes, "sha256": film.sha256,
        "chunks_planned": len(chunks), "chunks_rendered": sum(row.rendered for row in chunks),
        "attempts": film.attempts, "retry_at": utc(film.retry_at) if film.retry_at else None,
        "parked_step": film.parked_step, "parked_reason": film.parked_reason,
    }


async def _film(store: Store, booking_id: str) -> Film:
    film = await store.film(booking_id)
    if film is None:
        raise EzrecError(f"there is no film of booking {booking_id!r}; `ezrec films list` shows what there is")
    return film


def _extent(film: Film, chunks: list[ChunkRow]) -> str:
    if film.certificate:
        return f"{film.certificate['film_seconds'] / 60:.1f} min, {(film.bytes or 0) / 1e6:.1f} MB"
    if not film.recipe:
        return "-"
    done = sum(row.chunk.ticks for row in chunks if row.rendered) / film.recipe.rate
    return f"{float(done) / 60:.1f} of {(film.ends_at - film.starts_at) / SECOND / 60:.1f} min"


def _remark(film: Film) -> str:
    if film.parked_reason:
        return f"parked: {film.parked_reason}"
    if film.attempts:
        return f"failed {film.attempts} times, waiting"
    return film.url or ""
