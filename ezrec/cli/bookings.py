"""`ezrec bookings`: what is booked, and bookings of this device's own."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from ezrec.actions import bookings as actions
from ezrec.cli import words
from ezrec.cli.settings import CommandContext, show_json, with_store, zone_of
from ezrec.domain.booking import Booking
from ezrec.domain.clock import SECOND, utc_text
from ezrec.domain.errors import EzrecError
from ezrec.domain.naming import Named, shown_id

app = typer.Typer(no_args_is_help=True,
                  help="List, add, change, cancel and import bookings. Works while `ezrec run` runs.")

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]


@app.command("list")
def list_(context: typer.Context, as_json: JsonOption = False,
          everything: Annotated[bool, typer.Option(
              "--all", help="Past bookings too, not only from yesterday on.")] = False) -> None:
    """Show what is booked and how far each booking's film is."""
    command: CommandContext = context.obj
    settings = command.load()

    since = 0 if everything else round((datetime.now(UTC) - timedelta(days=1)).timestamp() * SECOND)
    rows = with_store(settings, lambda store: actions.listing(store, since))
    if as_json:
        show_json([plain(one.booking) | {"film": one.stage or "-"} for one in rows])
        return
    if not rows:
        print("nothing is booked; `ezrec bookings add --in 1m --for 10m` books the next ten minutes")
        return
    zone = zone_of(settings)
    table = words.table("booking", f"window ({settings.site.timezone})", "status", "film", "source")
    for one in rows:
        booking = one.booking
        table.add_row(shown_id(booking.id), words.window(booking.starts_at, booking.ends_at, zone), booking.status,
                      one.stage or "-", booking.source)
    words.console().print(table)


@app.command()
def add(
    context: typer.Context,
    start: Annotated[str | None, typer.Option(help='When it starts: "2026-11-20 18:00" or "18:00" (court time), or '
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

    Examples: `ezrec bookings add --start "2026-11-20 18:00" --for 1h`, `ezrec bookings add --in 30s --for 2m --id try`
    """
    command: CommandContext = context.obj
    settings = command.load()
    zone = zone_of(settings)
    now = datetime.now(UTC)
    if (start is None) == (starts_in is None) or (end is None) == (lasts is None):
        raise typer.BadParameter("say when it starts (--start or --in) and when it ends (--end or --for)")
    begins = now + _span(starts_in) if starts_in is not None else instant(str(start), now.astimezone(zone))
    ends = begins + _span(lasts) if lasts is not None else instant(str(end), begins.astimezone(zone))
    row = {"id": booking_id or f"cli-{begins.astimezone(zone):%Y%m%d-%H%M%S}", "start_time": begins.isoformat(),
           "end_time": ends.isoformat(), "status": "scheduled"}
    asked = actions.parse(row, settings)
    one = with_store(settings, lambda store: actions.book(store, settings, asked, _us(now)), create=True)
    if as_json:
        show_json(plain(one))
    else:
        print(f"booked: {shown_id(one.id)}, {words.window(one.starts_at, one.ends_at, zone)}, "
              f"{words.length((one.ends_at - one.starts_at) / SECOND)}")


@app.command()
def cancel(context: typer.Context, booking_id: Annotated[str, typer.Argument(
        help="The booking's id; if it was used again, the one that can still be cancelled. `ID@20261123T170000Z` means "
             "the one whose window holds that time (UTC).")]) -> None:
    """Cancel a booking that was added here.

    Recording stops at once. What was recorded is kept for a while, unpublished: `ezrec films retry` publishes it.
    """
    command: CommandContext = context.obj
    settings = command.load()

    one = with_store(settings, lambda store: actions.cancel(store, settings, booking_id, _us(datetime.now(UTC))))
    print(f"cancelled: {shown_id(one.id)}, {words.window(one.starts_at, one.ends_at, zone_of(settings))}")


@app.command("import")
def import_(context: typer.Context, file: Annotated[Path, typer.Argument(help="JSON: a list of bookings.")],
            as_json: JsonOption = False) -> None:
    """Add all bookings of a JSON file; rows with a mistake are named and skipped (exit status 1).

    Example of a file: `[{"id": "42", "start_time": "2026-11-20T18:00:00Z", "end_time": "2026-11-20T19:00:00Z"}]`;
    `"date": "2026-11-20"` with `"start_time": "18:00"` means court time.
    """
    command: CommandContext = context.obj
    settings = command.load()
    try:
        rows = json.loads(file.read_text("utf-8"))
    except OSError as error:
        raise EzrecError(f"{file} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise EzrecError(f"{file} is not JSON: {error}") from error
    rows = rows.get("bookings") if isinstance(rows, dict) else rows
    if not isinstance(rows, list):
        raise EzrecError(f'{file}: a list of bookings is wanted, or an object with the list as "bookings"')
    done = with_store(settings, lambda store: actions.take_all(store, settings, rows, _us(datetime.now(UTC))),
                      create=True)
    if as_json:
        show_json({"imported": [plain(one) for one in done.taken], "refused": done.refused})
    else:
        print(f"imported: {len(done.taken)}, refused: {len(done.refused)}")
        for reason in done.refused:
            typer.echo(f"  {reason}", err=True)
    if done.refused:
        raise typer.Exit(1)


def plain(one: Booking) -> dict[str, Any]:
    """A booking for machines; instants ISO 8601 UTC."""
    return {"id": one.id, "shown_id": shown_id(one.id), "full_id": Named(one.id, one.starts_at, one.ends_at).full_id,
            "source": one.source, "starts_at": utc_text(one.starts_at), "ends_at": utc_text(one.ends_at),
            "status": one.status}


def _us(moment: datetime) -> int:
    """An instant in UTC µs."""
    return round(moment.timestamp() * SECOND)


def _span(text: str) -> timedelta:
    """"90s", "5m", "1h", "1h30m" as a duration."""
    found = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?", text.strip())
    if not found or not any(found.groups()):
        raise typer.BadParameter(f"{text!r} is no duration; write 90s, 5m, 1h or 1h30m")
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return timedelta(hours=hours, minutes=minutes, seconds=seconds)


def instant(text: str, after: datetime) -> datetime:
    """An instant from the command line; "18:00" is the next one not before `after`, in court time."""
    if re.fullmatch(r"\d{1,2}:\d{2}", text.strip()):
        hour, minute = (int(part) for part in text.split(":"))
        try:
            at = after.replace(hour=hour, minute=minute, second=0, microsecond=0)
        except ValueError as error:
            raise typer.BadParameter(f"{text!r}: {error}") from error
        return at if at >= after.replace(second=0, microsecond=0) else at + timedelta(days=1)
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise typer.BadParameter(
            f'{text!r} is no time; write "18:00", "2026-11-20 18:00" or an ISO 8601 instant') from error
    return at if at.tzinfo else at.replace(tzinfo=after.tzinfo)
