"""`ezrec device`: the boxes that a Supabase project knows, with a token for each."""

import asyncio
import os
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ezrec.cli import words
from ezrec.cli.cloud import quiet
from ezrec.cli.framework import Command, Group
from ezrec.cli.settings import CommandContext, show_json
from ezrec.cli.words import say
from ezrec.domain.errors import EzrecError
from ezrec.files import os_errors, replacing

if TYPE_CHECKING:
    from ezrec.actions.devices import SigningKey

KEY_NAME = "SUPABASE_SIGNING_KEY"  # in the environment
TOKEN_MODE = 0o600

app = typer.Typer(cls=Group, no_args_is_help=True, rich_markup_mode="markdown",
                  help="Make, list and withdraw the devices of a Supabase project. This needs its secret key.")

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]


@app.command("add", cls=Command)
def add(
    context: typer.Context,
    key: Annotated[Path | None, typer.Option(
        "--key", help=f"File with the key that signs tokens: the project's old JWT secret, or a private ES256 key "
                      f"(JSON Web Key or PEM). Default: what ${KEY_NAME} holds.")] = None,
    key_id: Annotated[str | None, typer.Option("--kid", help="The key's id, where its file does not say it.")] = None,
    name: Annotated[str, typer.Option("--name", help="Which box it is, for people.")] = "",
    owner: Annotated[str | None, typer.Option("--owner", help="Whose court. Default: site.user_id.")] = None,
    court: Annotated[str | None, typer.Option("--court", help="Which court. Default: site.camera_id.")] = None,
    days: Annotated[float, typer.Option("--days", min=0.01, max=36500, help="How long the token is good.")] = 3650,
    to: Annotated[Path | None, typer.Option(
        "--to", help="File for the token, mode 600. Default: it is printed, this once.")] = None,
    replaces: Annotated[bool, typer.Option(
        "--replaces", help="Withdraw all other devices of this court: a new box takes a dead one's place.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a device for a court, with a token that calls this court's functions and nothing else.

    The signing key is read and used, never stored. The token is tried before anything else is withdrawn.

    Example: `ezrec device add --key jwt-secret.txt --name "the box in the shed" --to device_token`
    """
    from ezrec.actions import devices  # noqa: PLC0415 - loads postgrest-py

    command: CommandContext = context.obj
    site = {name: value for name, value in (("user_id", owner), ("camera_id", court)) if value}
    settings = command.load(**({"site": site} if site else {}))
    quiet(settings)
    signing = _signing_key(key, key_id)
    made = asyncio.run(devices.add(settings, signing, name, days))
    try:
        if to:
            with os_errors("write the token"), replacing(to) as temporary:
                temporary.touch(TOKEN_MODE)
                temporary.chmod(TOKEN_MODE)
                temporary.write_text(made.token + "\n", "ascii")
    except EzrecError:
        asyncio.run(devices.revoke(settings, made.id))
        raise
    gone = asyncio.run(devices.revoke_others(settings, made)) if replaces else []
    if as_json:
        show_json({"id": made.id, "user_id": made.user_id, "camera_id": made.camera_id,
                   "revoked": [row["id"] for row in gone]} | ({"file": str(to)} if to else {"token": made.token}))
        return
    say(f"device {made.id} may report for court {made.camera_id} of {made.user_id}", error=True)
    for row in gone:
        say(f"device {row['id']} ({row['name'] or 'without a name'}) was withdrawn", error=True)
    if to:
        say(f"its token is in {to}: name that file in EZREC_SUPABASE__DEVICE_TOKEN_FILE", error=True)
    else:
        say("its token, which nobody can show again:", error=True)
        print(made.token)


@app.command("list", cls=Command)
def show(
    context: typer.Context,
    owner: Annotated[str | None, typer.Option("--owner", help="Only this owner's devices (a user_id).")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the devices of the project: court, name, when each was heard of, and whether it was withdrawn."""
    from ezrec.actions import devices  # noqa: PLC0415 - loads postgrest-py

    command: CommandContext = context.obj
    settings = command.load()
    quiet(settings)
    rows = asyncio.run(devices.listed(settings, owner))
    if as_json:
        show_json({"devices": rows})
        return
    if not rows:
        say("the project has no devices")
        return
    table = words.Listing("device", "owner", "court", "last seen", "is", note="name")
    for row in rows:
        table.add(str(row["id"]), str(row["user_id"]), str(row["camera_id"]), str(row["last_seen"] or "never")[:16],
                  f"withdrawn {str(row['revoked_at'])[:16]}" if row["revoked_at"] else "good", note=str(row["name"]))
    table.print(words.console())


@app.command("revoke", cls=Command)
def revoke(
    context: typer.Context,
    device: Annotated[uuid.UUID, typer.Argument(help="Its id, as `ezrec device list` shows it.")],
    as_json: JsonOption = False,
) -> None:
    """Withdraw a device: from its next call on it may do nothing. It records on and keeps its films.

    Example: `ezrec device revoke 7f1a2b3c-0000-4000-8000-000000000001`
    """
    from ezrec.actions import devices  # noqa: PLC0415 - loads postgrest-py

    command: CommandContext = context.obj
    settings = command.load()
    quiet(settings)
    row = asyncio.run(devices.revoke(settings, str(device)))
    if as_json:
        show_json(row)
    else:
        say(f"device {row['id']} of court {row['camera_id']} is withdrawn")


def _signing_key(file: Path | None, key_id: str | None) -> "SigningKey":
    from ezrec.actions import devices  # noqa: PLC0415 - loads postgrest-py

    if file:
        return devices.read_key(file, key_id)
    if not (text := os.environ.pop(KEY_NAME, "").strip()):
        raise EzrecError(f"which key signs the token? give its file with --key, or the key itself in ${KEY_NAME}")
    return devices.parse_key(text, key_id)
