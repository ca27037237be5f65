"""`ezrec films`: what became of the bookings."""

import re
import time
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer

from ezrec.actions import films as actions
from ezrec.actions.footage import rescue as rescue_footage
from ezrec.cli import story, words
from ezrec.cli.bookings import confirmed, instant
from ezrec.cli.framework import Command, Group
from ezrec.cli.settings import CommandContext, show_json, with_store, zone_of
from ezrec.cli.words import say
from ezrec.domain import messages
from ezrec.domain.clock import SECOND, local_datetime, utc_text
from ezrec.domain.film import Film
from ezrec.domain.naming import Named, shown_id
from ezrec.store.rows import Message, Progress

app = typer.Typer(cls=Group, no_args_is_help=True,
                  help="List films, show one, tell its story, retry a failed one. Works while `ezrec run` runs.")

BookingId = Annotated[str, typer.Argument(
    help="The booking's id; if it was used again, that of its newest film. `ID@20261123T170000Z` means the film "
         "whose window holds that time (UTC).")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]


@app.command("list", cls=Command)
def list_(context: typer.Context, as_json: JsonOption = False,
          since: Annotated[str | None, typer.Option(
              help='All films from this time on: "2026-11-20", "2026-11-20 18:00" (court time), or an ISO 8601 '
                   "instant.")] = None,
          everything: Annotated[bool, typer.Option("--all", help="All films there ever were.")] = False) -> None:
    """Show the last and the next films, how far each is and where it is; those with work left always."""
    command: CommandContext = context.obj
    settings = command.load()

    now, left_out = time.time_ns() // 1000, 0
    if everything or since is not None:
        since_us = _since(since, zone_of(settings), now) if since is not None else 0
        films = with_store(settings, lambda store: actions.listing(store, since_us))
    else:
        found = with_store(settings, lambda store: actions.recent(store, now))
        films, left_out = found.films, found.left_out
    if left_out:
        more = f"{words.many(left_out, 'film')} more: `ezrec films list --since DATE`, or --all"
        typer.echo(more, err=True)
    if as_json:
        show_json([plain(film, progress) for film, progress in films])
        return
    if not films:
        say("there are no films yet; `ezrec bookings add --in 1m --for 10m` books one" if since is None else
            f"there are no films since {since}")
        return
    zone = zone_of(settings)
    table = words.Listing("booking", f"window ({settings.site.timezone})", "stage", "film", note="where, or why not")
    for film, progress in films:
        table.add(shown_id(film.booking_id), words.window_short(film.starts_at, film.ends_at, zone),
                  words.stage(film.stage, film.url), _extent(film, progress), note=_remark(film))
    table.print(words.console())


@app.command(cls=Command)
def show(context: typer.Context, booking_id: BookingId, as_json: JsonOption = False) -> None:
    """Show one film: window, stage, parts, certificate."""
    command: CommandContext = context.obj
    settings = command.load()

    found = with_store(settings, lambda store: actions.describe(store, booking_id))
    film, progress, parts, waiting = found.film, found.progress, found.parts, found.messages
    if as_json:
        show_json(plain(film, progress) | {"parts": len(parts), "outbox": [_plain(message) for message in waiting],
                                         "certificate": film.certificate.to_json() if film.certificate else None})
        return
    zone, out = zone_of(settings), words.console()
    generation = f", generation {film.generation}" if film.generation > 1 else ""
    words.sentences(out, [
        ("booking", shown_id(film.booking_id)),
        *([("full id", f"{_full_id(film)}; {words.many(found.others, 'other film')} of this id")]
          if found.others else []),
        ("window ", f"{words.window(film.starts_at, film.ends_at, zone)} ({settings.site.timezone})"),
        ("stage  ", f"{words.stage(film.stage, film.url)}{generation}"),
        *([("film   ", _extent(film, progress)), ("where  ", words.place(film.url))] if film.url else
          [("film   ", f"{_extent(film, progress)} made so far, {words.many(len(parts), 'part')} stored")]),
        *story.standing(film, zone),
        *story.waiting(waiting, zone),
        *story.certificate_lines(film.certificate, zone),
        *story.reassurance(film.certificate)])


@app.command(cls=Command)
def explain(context: typer.Context, booking_id: BookingId, as_json: JsonOption = False) -> None:
    """Tell a film's story in plain sentences: what happened, when, and what is missing."""
    command: CommandContext = context.obj
    settings = command.load()

    found = with_store(settings, lambda store: actions.story(store, booking_id))
    if as_json:
        show_json([{"at": utc_text(event.at), "kind": event.kind, "detail": _iso(event.detail)}
                   for event in found.events])
        return
    words.sentences(words.console(), story.tell(found.film, found.events, found.messages, zone_of(settings)))


@app.command(cls=Command)
def retry(context: typer.Context, booking_id: BookingId) -> None:
    """Retry a failed film, or publish what was recorded of a cancelled booking."""
    command: CommandContext = context.obj
    settings = command.load()

    film = with_store(settings, lambda store: actions.retry(store, booking_id, zone_of(settings)))
    say(f"on its way again: {shown_id(film.booking_id)}, "
        f"{words.window(film.starts_at, film.ends_at, zone_of(settings))}")


@app.command(cls=Command)
def rescue(
    context: typer.Context,
    booking_id: Annotated[str, typer.Argument(help="The booking's id; a new one if no booking of that time is known.")],
    start: Annotated[str | None, typer.Option(
        help='From when: "2030-11-20 18:00" (court time), or an ISO 8601 instant. Needed if the booking is not known.',
    )] = None,
    end: Annotated[str | None, typer.Option(help="Until when, like --start.")] = None,
) -> None:
    """Have a film made of footage that is kept, for a time that has none. `ezrec footage` shows what is kept.

    Example: `ezrec films rescue lost-match --start "18:00" --end "19:00"`
    """
    command: CommandContext = context.obj
    settings = command.load()
    zone, now = zone_of(settings), time.time_ns() // 1000
    if (start is None) != (end is None):
        raise typer.BadParameter("say both: from when (--start) and until when (--end)")
    midnight = instant(f"{local_datetime(now, zone):%Y-%m-%d} 00:00", zone, now)  # "18:00" is today's
    window = None if start is None or end is None else (
        instant(start, zone, midnight), instant(end, zone, midnight, end=True))
    one = with_store(settings, lambda store: rescue_footage(store, settings, booking_id, window, now))
    say(f"a film is made of what there is: {confirmed(one, settings)}")


def _since(text: str, zone: ZoneInfo, now_us: int) -> int:
    """A time as a person gives it, in UTC µs; a day alone means its beginning, "18:00" is today's."""
    day = re.fullmatch(r"\d{4}-\d{2}-\d{2}", text.strip())
    midnight = instant(f"{local_datetime(now_us, zone):%Y-%m-%d} 00:00", zone, now_us)
    return instant(f"{text.strip()} 00:00" if day else text, zone, midnight)


def plain(film: Film, progress: Progress) -> dict[str, Any]:
    """A film for machines; instants ISO 8601 UTC."""
    return {
        "booking_id": film.booking_id, "shown_id": shown_id(film.booking_id), "full_id": _full_id(film),
        "recording_id": film.recording_id, "stage": film.stage,
        "starts_at": utc_text(film.starts_at), "ends_at": utc_text(film.ends_at), "generation": film.generation,
        "object_key": film.object_key, "url": film.url, "place": words.place(film.url) if film.url else None,
         "bytes": film.bytes, "sha256": film.sha256,
        "chunks_planned": progress.planned, "chunks_rendered": progress.rendered,
        "attempts": film.attempts, "retry_at": utc_text(film.retry_at) if film.retry_at else None,
        "parked_step": film.parked_step, "parked_reason": film.parked_reason, "also_parked": dict(film.also_parked),
    }


def _full_id(film: Film) -> str:
    return Named(film.booking_id, film.starts_at, film.ends_at).full_id


def _plain(message: Message) -> dict[str, Any]:
    """What must still be sent to the cloud, for machines."""
    return {"kind": message.kind, "body": messages.to_json(message.body), "attempts": message.attempts,
            "retry_at": utc_text(message.retry_at) if message.retry_at else None,
            "parked_reason": message.parked_reason}


def _iso(detail: dict[str, Any]) -> dict[str, Any]:
    """An event's detail with its instants (keys that end in _at) as ISO 8601 UTC."""
    return {key: utc_text(value) if key.endswith("_at") and isinstance(value, int) else value
            for key, value in detail.items()}


def _extent(film: Film, progress: Progress) -> str:
    if film.certificate:
        return f"{words.length(film.certificate.film_seconds)}, {(film.bytes or 0) / 1e6:.1f} MB"
    if not film.recipe:
        return "nothing"
    done = words.length(progress.ticks / film.recipe.rate)
    return f"{done} of {words.length((film.ends_at - film.starts_at) / SECOND)}"


def _remark(film: Film) -> str:
    if film.parked_reason:
        return f"parked: {'; '.join(film.parked.values())}"
    if film.attempts:
        return f"failed {words.many(film.attempts, 'time')}, waiting"
    return words.place(film.url) if film.url else ""
