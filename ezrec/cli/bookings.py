"""`ezrec bookings`: what is booked, and bookings of this device's own."""

import asyncio
import json
import re
import time
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer

from ezrec.actions import bookings as actions
from ezrec.cli import words
from ezrec.cli.framework import Command, Group
from ezrec.cli.settings import CommandContext, show_json, warn_of_zone, with_store, zone_of
from ezrec.cli.words import say
from ezrec.config import Settings
from ezrec.domain import booking as bookings
from ezrec.domain.booking import Booking
from ezrec.domain.clock import SECOND, local_datetime, utc_datetime, utc_text
from ezrec.domain.encodings import decode, guess_in_words
from ezrec.domain.errors import BadBooking, EzrecError
from ezrec.domain.naming import Named, shown_id
from ezrec.domain.showing import visible

app = typer.Typer(cls=Group, no_args_is_help=True,
                  help="List, add, change, cancel and import bookings. Works while `ezrec run` runs.")

DAY_US = 86_400 * SECOND
LARGEST = 50_000_000  # bytes of a file that is imported
LONGEST_NUMBER = 5  # digits in a duration: 99,999 h are eleven years

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]


@app.command("list", cls=Command)
def list_(context: typer.Context, as_json: JsonOption = False,
          everything: Annotated[bool, typer.Option(
              "--all", help="Past bookings too, not only from yesterday on.")] = False) -> None:
    """Show what is booked, how far each booking's film is, and which rows were refused, and why."""
    command: CommandContext = context.obj
    settings = command.load()

    since = 0 if everything else _now_us() - DAY_US
    rows = with_store(settings, lambda store: actions.listing(store, since))
    if as_json:
        show_json([plain(one.booking) | {"film": one.stage or "-", "url": one.url} for one in rows])
    elif rows:
        zone = zone_of(settings)
        table = words.Listing("booking", f"window ({settings.site.timezone})", "status", "film", "source")
        for one in rows:
            booking = one.booking
            table.add(shown_id(booking.id), words.window_short(booking.starts_at, booking.ends_at, zone),
                      "done" if one.url else booking.status, words.stage(one.stage, one.url), booking.source)
        table.print(words.console())
    else:
        say("nothing is booked; `ezrec bookings add --in 1m --for 10m` books ten minutes from in a minute on")
    for refused in asyncio.run(actions.refused(settings, _now_us())):
        say(f"refused ({refused.source}): {visible(refused.reason)}", error=as_json)


@app.command(cls=Command)
def add(
    context: typer.Context,
    start: Annotated[str | None, typer.Option(help='When it starts: "18:00" or "2030-11-20 18:00" (court time), or '
                                                   "an ISO 8601 instant.")] = None,
    end: Annotated[str | None, typer.Option(help="When it ends, like --start.")] = None,
    starts_in: Annotated[str | None, typer.Option(
        "--in", help="Instead of --start: from now on, e.g. 30s, 5m, 1h.")] = None,
    lasts: Annotated[str | None, typer.Option(
        "--for", help="Instead of --end: how long, e.g. 90s, 60m, 1h.")] = None,
    booking_id: Annotated[str | None, typer.Option(
        "--id", help="Its id. The same id again changes the booking; once that has begun, a time that does not overlap "
                     "it makes another one.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Add a booking, or change one that was added here.

    Examples: `ezrec bookings add --start 18:00 --for 1h`, `ezrec bookings add --in 30s --for 2m --id try`
    """
    command: CommandContext = context.obj
    settings = command.load()
    zone, now = zone_of(settings), _now_us()
    if (start is None) == (starts_in is None) or (end is None) == (lasts is None):
        raise typer.BadParameter("say when it starts (--start or --in) and when it ends (--end or --for)")
    begins = now + span(starts_in) if starts_in is not None else instant(str(start), zone, now)
    ends = begins + span(lasts) if lasts is not None else instant(str(end), zone, begins, end=True)
    row = {"id": booking_id or f"cli-{local_datetime(begins, zone):%Y%m%d-%H%M%S}",
           "start_time": utc_datetime(begins).isoformat(), "end_time": utc_datetime(ends).isoformat(),
           "status": "scheduled"}
    asked = actions.parse(row, settings)
    one = with_store(settings, lambda store: actions.book(store, settings, asked, now), create=True)
    if as_json:
        show_json(plain(one))
    else:
        say(f"booked: {confirmed(one, settings)}, {words.length((one.ends_at - one.starts_at) / SECOND)}")
    warn_of_zone(settings)


@app.command(cls=Command)
def cancel(context: typer.Context, booking_id: Annotated[str, typer.Argument(
        help="The booking's id; if it was used again, the one that can still be cancelled. `ID@20261123T170000Z` means "
             "the one whose window holds that time (UTC).")]) -> None:
    """Cancel a booking that was added here.

    Recording stops at once. What was recorded is kept for a while, unpublished: `ezrec films retry` publishes it.
    """
    command: CommandContext = context.obj
    settings = command.load()

    one = with_store(settings, lambda store: actions.cancel(store, settings, booking_id, _now_us()))
    say(f"cancelled: {confirmed(one, settings)}")


@app.command("import", cls=Command)
def import_(context: typer.Context, file: Annotated[Path, typer.Argument(help="JSON: a list of bookings.")],
            as_json: JsonOption = False) -> None:
    """Add all bookings of a JSON file; rows with a mistake are named and skipped (exit status 1).

    Example of a file: `[{"id": "42", "start_time": "2030-11-20T18:00:00Z", "end_time": "2030-11-20T19:00:00Z"}]`;
    `"date": "2030-11-20"` with `"start_time": "18:00"` means court time.
    """
    command: CommandContext = context.obj
    settings = command.load()
    rows = _rows(file)
    done = with_store(settings, lambda store: actions.take_all(store, settings, rows, _now_us()), create=True)
    if as_json:
        show_json({"imported": [plain(one) for one in done.taken], "refused": done.refused,
                   "over": [one.id for one in done.over]})
    else:
        over = "1 is over" if len(done.over) == 1 else f"{len(done.over)} are over"
        said = [f"imported: {len(done.taken)}", f"refused: {len(done.refused)}",
                *([f"{over}, nothing is recorded"] if done.over else [])]
        say(", ".join(said) + _zone_if_unchosen(settings))
        for reason in (*done.refused, *done.remarks):
            say(f"  {visible(reason)}", error=True)
    warn_of_zone(settings)
    if done.refused:
        raise typer.Exit(1)


def _rows(file: Path) -> list[object]:
    """The rows of a JSON file.

    Raises:
        EzrecError: it holds none; says why.
    """
    try:
        with file.open("rb") as stream:
            data = stream.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise EzrecError(f"{file} holds more than {LARGEST / 1e6:.0f} MB: that is no list of bookings")
        rows = json.loads(decode(data))
    except OSError as error:
        raise EzrecError(f"{file} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise EzrecError(f"{file} is not JSON: {error}{guess_in_words(data)}") from error
    rows = rows.get("bookings") if isinstance(rows, dict) else rows
    if not isinstance(rows, list):
        raise EzrecError(f'{file} should hold a list of bookings, or an object with the list as "bookings"')
    return rows


def plain(one: Booking) -> dict[str, Any]:
    """A booking for machines; instants ISO 8601 UTC."""
    return {"id": one.id, "shown_id": shown_id(one.id), "full_id": Named(one.id, one.starts_at, one.ends_at).full_id,
            "source": one.source, "starts_at": utc_text(one.starts_at), "ends_at": utc_text(one.ends_at),
            "status": one.status}


def confirmed(one: Booking, settings: Settings) -> str:
    """A booking in a confirmation: which, when, and in which time zone, if nobody has chosen it."""
    window = words.window(one.starts_at, one.ends_at, zone_of(settings))
    return f"{shown_id(one.id)}, {window}{_zone_if_unchosen(settings)}"


def _zone_if_unchosen(settings: Settings) -> str:
    """The time zone that local times are meant in, where nobody has chosen one."""
    return f" ({settings.site.timezone})" if settings.origin("site.timezone") == "default" else ""


def _now_us() -> int:
    """UTC µs."""
    return time.time_ns() // 1000


def span(text: str) -> int:
    """"90s", "5m", "1h", "1h30m" in µs. Raises BadParameter."""
    found = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?|(\d+)", text.strip(), re.ASCII)
    if not found or not any(found.groups()):
        raise typer.BadParameter(f"{text[:40]!r} is no duration; write 90s, 5m, 1h or 1h30m")
    digits = [part or "0" for part in found.groups()]
    if max(map(len, digits)) > LONGEST_NUMBER:
        raise typer.BadParameter(f"{text[:40]!r} is too long; write 90s, 5m, 1h or 1h30m")
    hours, minutes, seconds, bare = map(int, digits)
    return (hours * 3600 + minutes * 60 + seconds + bare) * SECOND


def instant(text: str, zone: ZoneInfo, after_us: int, *, end: bool = False) -> int:
    """An instant from the command line, in UTC µs; "18:00" is the next one from `after_us` on, in court time.

    What a change of clocks made of it is said on stderr.
    """
    try:
        found = bookings.time_of(text, zone, after_us=after_us, end=end)
    except BadBooking as error:
        hint = "" if re.match(r"[\d-]+[T ]?\d*:\d\d", text.strip(), re.ASCII) else \
            '; write "18:00", "2030-11-20 18:00" or an ISO 8601 instant'
        raise typer.BadParameter(f"{text[:40]!r} is no time{hint}" if hint else str(error)) from error
    if found.remark:
        say(f"note: {found.remark}", error=True)
    return found.us
