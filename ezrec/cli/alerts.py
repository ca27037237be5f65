"""`ezrec alerts`: what needs a person, and whether a person would be told."""

import asyncio
import sys
from dataclasses import asdict
from typing import Annotated

import typer

from ezrec import logs
from ezrec.cli import words
from ezrec.cli.framework import Command, Group
from ezrec.cli.settings import CommandContext, show_json, with_store, zone_of
from ezrec.cli.words import say
from ezrec.domain.alerts import REMEDIES, Alert
from ezrec.domain.clock import SECOND, SystemClock, utc_text
from ezrec.domain.errors import EzrecError
from ezrec.store import Store

app = typer.Typer(cls=Group, no_args_is_help=True, help="See what needs a person, and try whether alerts arrive.")

MONTH_US = 30 * 24 * 3600 * SECOND


@app.command("list", cls=Command)
def list_alerts(
    context: typer.Context,
    everything: Annotated[bool, typer.Option("--all", help="Also those of the last 30 days that are over.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
) -> None:
    """List the alerts that were told and last, and what helps.

    Example: `ezrec alerts list --all`
    """
    command: CommandContext = context.obj
    settings = command.load()

    async def read(store: Store) -> list[Alert]:
        return await store.alerts(SystemClock().wall_us() - MONTH_US if everything else None)

    found = [one for one in with_store(settings, read) if one.told_at is not None]
    if as_json:
        show_json({"alerts": [for_machines(one) for one in found]})
        return
    rows: list[tuple[str, str] | str] = []
    for one in found:
        until = f" to {words.clock_time(one.over_at, zone_of(settings))}" if one.over_at else ""
        rows.append((f"{one.kind:20}", f"{words.clock_time(one.since_at, zone_of(settings))}{until}: {one.text}"))
        rows += [] if one.over_at else [(" " * 20, f"what helps: {REMEDIES[one.kind]}")]
    words.sentences(words.console(), rows or ["nothing needs a person"])


@app.command("test", cls=Command)
def try_channels(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
) -> None:
    """Send a test alert to the webhook and to every address of the settings, and say what became of it.

    Exit status 0 only if each was taken. The recorder need not run.

    Example: `ezrec alerts test`
    """
    from ezrec.actions.alerts import send_test  # noqa: PLC0415 - loads what sends
    from ezrec.factories import make_mailer, make_webhook  # noqa: PLC0415

    command: CommandContext = context.obj
    settings, clock = command.load(), SystemClock()
    logs.register_secrets(settings)
    logs.set_up("error", None, stream=sys.stderr)
    if not settings.alerts.webhook and not settings.alerts.mail_to:
        raise EzrecError("nobody is told of alerts: set alerts.webhook or alerts.mail_to")
    tried = asyncio.run(send_test(settings, clock, make_mailer(settings), make_webhook(settings, clock)))
    if as_json:
        show_json({"sent": [asdict(one) for one in tried]})
    for one in () if as_json else tried:
        to = f"{one.channel} {one.recipient}".strip()
        say(f"{to}: {f'NOT TAKEN: {logs.masked(one.error)}' if one.error else 'taken'}")
    if any(one.error for one in tried):
        raise typer.Exit(1)


def for_machines(alert: Alert) -> dict[str, object]:
    """An alert as JSON values."""
    return {"kind": str(alert.kind), "about": alert.about, "text": alert.text, "since": utc_text(alert.since_at),
            "over": utc_text(alert.over_at) if alert.over_at else None, "remedy": REMEDIES[alert.kind]}
