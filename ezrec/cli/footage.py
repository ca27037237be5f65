"""`ezrec footage`: what the cameras recorded and is still kept."""

from typing import Annotated, Any

import typer

from ezrec.actions import footage as actions
from ezrec.actions.footage import Piece
from ezrec.cli import words
from ezrec.cli.settings import CommandContext, show_json, with_store, zone_of
from ezrec.cli.words import say
from ezrec.domain.clock import utc_text
from ezrec.domain.naming import shown_id
from ezrec.folders import DataFolder


def footage(context: typer.Context,
            as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False) -> None:
    """Show the footage that is kept, and whose it is. Works while `ezrec run` runs.

    Footage of no booking was found again after the database was lost. A booking that covers it
    gets its film by itself. `ezrec films rescue` makes one by hand. What nobody asks for is kept for
    `disk.keep_found_h` hours.

    Example: `ezrec films rescue lost-match --start "18:00" --end "19:00"`
    """
    command: CommandContext = context.obj
    settings = command.load()

    pieces = with_store(settings, actions.listing)
    aside = DataFolder(settings.paths.data).set_aside()
    if as_json:
        show_json({"footage": [plain(piece) for piece in pieces], "aside": [str(path) for path in aside]})
        return
    if not pieces:
        say("no footage is kept")
    else:
        zone, out = zone_of(settings), words.console()
        table = words.Listing("run", f"from–to ({settings.site.timezone})", "cameras", "size", "booking")
        for piece in pieces:
            table.add(str(piece.run), words.window_short(piece.starts_at, piece.ends_at, zone), _cameras(piece),
                          f"{piece.bytes / 1e6:.1f} MB", _whose(piece))
        table.print(out)
    if aside:
        say(f"{words.many(len(aside), 'thing')} that could not be used: {aside[0].parent}")


def plain(piece: Piece) -> dict[str, Any]:
    """A piece of footage for machines; instants ISO 8601 UTC."""
    return {"run": piece.run, "starts_at": utc_text(piece.starts_at), "ends_at": utc_text(piece.ends_at),
            "seconds": piece.seconds, "segments": piece.segments, "bytes": piece.bytes, "found": piece.found,
            "bookings": list(piece.bookings)}


def _cameras(piece: Piece) -> str:
    return ", ".join(f"{camera} {words.length(seconds)}" for camera, seconds in piece.seconds.items())


def _whose(piece: Piece) -> str:
    return ", ".join(map(shown_id, piece.bookings)) or ("none is known" if piece.found else "-")
