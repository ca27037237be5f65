"""`ezrec setup`: asks for what a court needs, and writes settings and secrets."""

import os
import sys
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from ezrec.cli.settings import CommandContext
from ezrec.cli.words import say
from ezrec.config import load
from ezrec.config.loading import toml_file
from ezrec.config.places import SYSTEM_FILE, read_toml, read_tree
from ezrec.config.sections import KEYS, SECRETS
from ezrec.config.writing import kept_secrets, typed, write, write_secrets
from ezrec.device import folders_of
from ezrec.device.places import Places
from ezrec.domain.encodings import decode
from ezrec.domain.errors import SettingsError

Answers = dict[str, Any]


@dataclass(frozen=True)
class Question:
    """What is asked for a key."""

    key: str
    words: str


COURT = (Question("site.camera_id", "This court's camera ID, as bookings name it"),
         Question("site.timezone", "Its time zone, e.g. Europe/Berlin"))
SUPABASE = (Question("supabase.url", "The Supabase project's URL"),
            Question("site.user_id", "The owner's ID, as bookings name it"),
            Question("supabase.key", "The project's key (publishable with a device token, else the service role's)"),
            Question("supabase.device_token", "This device's token (empty: none)"))
S3 = (Question("s3.bucket", "The bucket for films"), Question("s3.region", "Its region"),
      Question("s3.endpoint", "The service's endpoint (empty: Amazon S3)"),
      Question("s3.access_key_id", "The access key's ID"), Question("s3.secret_access_key", "The secret access key"))
CAMERAS = (Question("cameras.source", "Cameras: picamera2 (a Raspberry Pi's), simulated or replay"),)


def setup(
    context: typer.Context,
    changes: Annotated[list[str] | None, typer.Option(
        "--set", metavar="SECTION.KEY=VALUE", help="Set a key, and ask nothing; again for another one.")] = None,
    source: Annotated[Path | None, typer.Option(
        "--from", help="Take keys and secrets from a TOML file with the same sections, and ask nothing.")] = None,
    swap: Annotated[bool, typer.Option(
        "--swap", help="The left camera is the right one, and the other way round.")] = False,
    ask: Annotated[bool | None, typer.Option(
        "--ask/--no-ask", help="Ask, or not; otherwise it asks on a terminal if nothing is given.")] = None,
) -> None:
    """Ask for what this court needs, and write it into the settings file and the secrets' places.

    Comments and keys that are not asked for stay. It may be run again: what is set is offered, and Enter keeps it.
    Nothing is written unless all of it together can be used.

    Examples: `ezrec setup`, `ezrec setup --set site.camera_id=court-2`, `ezrec check --cameras` and, if its pictures
    are the wrong way round, `ezrec setup --swap`.
    """
    command: CommandContext = context.obj
    path = (toml_file(command.config, os.environ) or Path("config.toml")).absolute()
    now = _current(path)
    wanted = _from_file(source) if source else {}
    wanted |= _from_words(changes or [])
    if swap:
        wanted |= {"cameras.left.id": now.get("cameras.right.id", "1"),
                   "cameras.right.id": now.get("cameras.left.id", "0")}
    given = bool(wanted)
    if ask or (ask is None and not given and sys.stdin.isatty()):
        wanted |= _asked(now | wanted, kept_secrets(path, SECRETS))
    secrets = {key: str(value) for key, value in wanted.items() if key in SECRETS}
    plain = {key: value for key, value in wanted.items() if key not in SECRETS and now.get(key) != value}
    _tried(path, plain, secrets)
    if not plain and not secrets:
        say("nothing is changed; `ezrec setup --help` says how to tell it what to set")
        return
    if plain:
        write(path, plain)
        say(f"{path}: {', '.join(sorted(plain))}")
    for file in write_secrets(path, secrets):
        say(f"{file}: closed to everybody but its owner")
    if path == SYSTEM_FILE:
        folders_of.write_drop_in(Places())
        say("now `systemctl daemon-reload` and `systemctl restart ezrec` (not while a match is recorded), then "
            "`ezrec check`")


def _current(path: Path) -> Answers:
    """What the settings file says. Raises SettingsError."""
    if not path.exists():
        return {}
    problems: list[str] = []
    found = read_toml(path, problems)
    if problems:
        raise SettingsError("\n".join(problems))
    return {key: given.value for key, given in found.items()}


def _from_file(path: Path) -> Answers:
    problems: list[str] = []
    try:
        tree = tomllib.loads(decode(path.read_bytes()))
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}; give the path of a TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid TOML; it has the sections of config.example.toml") from error
    found = read_tree(tree, str(path), problems)
    if problems:
        raise SettingsError("\n".join(problems))
    return {key: given.value for key, given in found.items()}


def _from_words(changes: list[str]) -> Answers:
    found: Answers = {}
    for change in changes:
        key, sign, words = change.partition("=")
        if not sign:
            raise typer.BadParameter("write section.key=value", param_hint="--set")
        if key in SECRETS:
            raise typer.BadParameter(f"{key} is a secret, and a command line is seen by everybody: let `ezrec setup` "
                                     "ask for it, or give a file (--from)", param_hint="--set")
        found[key] = typed(key, words)
    return found


def _asked(now: Answers, secrets: set[str]) -> Answers:
    """The person's answers. Raises typer.Abort."""
    found: Answers = {}
    say("Enter keeps what stands in brackets.")
    _ask(COURT, now, secrets, found)
    cloud = typer.confirm("Do bookings come from a Supabase project?", now.get("bookings.source") == "supabase")
    found["bookings.source"] = found["publishing.kind"] = "supabase" if cloud else "local"
    if cloud:
        _ask(SUPABASE, now, secrets, found)
    bucket = typer.confirm("Do films go to S3, R2 or another S3 service?", now.get("storage.kind") == "s3")
    found["storage.kind"] = "s3" if bucket else "local"
    if bucket:
        _ask(S3, now, secrets, found)
    _ask(CAMERAS, now, secrets, found)
    found["cameras.dual"] = typer.confirm("Two cameras?", bool(now.get("cameras.dual", True)))
    return found


def _ask(questions: tuple[Question, ...], now: Answers, secrets: set[str], found: Answers) -> None:
    for one in questions:
        if one.key in SECRETS:
            kept = one.key in secrets
            answer = typer.prompt(f"{one.words}{' [kept]' if kept else ''}", "", hide_input=True, show_default=False)
            if answer:
                found[one.key] = answer.strip()
            continue
        usual = KEYS[one.key].default
        answer = typer.prompt(one.words, str(now.get(one.key, usual if isinstance(usual, str) else "")))
        found[one.key] = typed(one.key, answer.strip())


def _tried(path: Path, plain: Mapping[str, Any], secrets: Mapping[str, str]) -> None:
    """Read the settings as they will be. Raises SettingsError if they cannot be used."""
    overrides: dict[str, Any] = {}
    for key, value in (*((one, "kept elsewhere") for one in kept_secrets(path, SECRETS)), *secrets.items()):
        *sections, name = key.split(".")
        inner = overrides
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[name] = value
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        if path.exists():
            copy.write_bytes(path.read_bytes())
        write(copy, plain)
        try:
            load(copy, env={}, overrides=overrides)
        except SettingsError as error:
            raise SettingsError(str(error).replace(str(copy), str(path))) from None
