"""`ezrec fleet`, and `ezrec check --cloud`: the venue's Supabase project."""

import asyncio
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from ezrec import logs
from ezrec.cli import words
from ezrec.cli.settings import CommandContext, show_json
from ezrec.cli.words import say
from ezrec.config import Settings

FINE = "the project takes all that this court will tell it, and none of its tables is open to strangers"


def fleet(
    context: typer.Context,
    owner: Annotated[str | None, typer.Option("--owner", help="Only this owner's courts (a user_id).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
) -> None:
    """Show how every court of the Supabase project is: recording, ready or offline, and what troubles it.

    A court is offline after 15 s without a heartbeat, or three of `supabase.heartbeat_s`. This needs the project's
    secret key.

    Example: `ezrec fleet --owner u-1`
    """
    from ezrec.actions import cloud  # noqa: PLC0415 - loads postgrest-py

    command: CommandContext = context.obj
    settings = command.load()
    quiet(settings)
    rows = asyncio.run(cloud.fleet(settings, owner))
    if as_json:
        show_json({"courts": rows})
        return
    if not rows:
        say("no court has reported to this project")
        return
    table = words.Listing("owner", "court", "is", "heard of", "version", "films waiting", "trouble")
    for row in rows:
        table.add(str(row["user_id"]), str(row["camera_id"]), _state(row), _ago(row["heard_at"]),
                  str(row["version"] or "?"), str(row["films_waiting"] or 0), _trouble(row))
    table.print(words.console())


def check_cloud(settings: Settings, *, as_json: bool) -> bool:
    """Say what the project would not take, what is open, which rows are amiss; whether there is but the last."""
    from ezrec.actions import cloud  # noqa: PLC0415 - loads postgrest-py

    quiet(settings)
    found = asyncio.run(cloud.problems(settings))
    if as_json:
        show_json({"problems": [asdict(one) for one in found]})
    else:
        rows: list[tuple[str, str] | str] = []
        for one in found:
            label = "warning " if one.untidy else "NOT OK  "
            rows += [(label, f"{one.about}: {one.problem}"), ("remedy  ", one.remedy)]
        words.sentences(words.console(), rows or [FINE])
    return all(one.untidy for one in found)


def quiet(settings: Settings) -> None:
    """What goes wrong is the command's to say, not the log's."""
    logs.register_secrets(settings)
    logs.set_up("error", None, stream=sys.stderr)


def _state(row: dict[str, Any]) -> str:
    return f"recording {row['booking_id']}" if row["state"] == "recording" and row["booking_id"] else str(row["state"])


def _ago(heard: object) -> str:
    """How long ago an instant of the project's is."""
    if not isinstance(heard, str):
        return "never"
    return f"{words.length(max(0, round((datetime.now(UTC) - datetime.fromisoformat(heard)).total_seconds())))} ago"


def _trouble(row: dict[str, Any]) -> str:
    last = f"last error: {row['last_error']}" if row["last_error"] else ""
    return "; ".join(filter(None, (row["trouble"], last))) or "none"
