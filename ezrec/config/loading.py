"""Reading the settings: find the places, put one over the other, refuse what cannot work, all of it at once.

Lowest first: defaults, TOML file, systemd credentials, the documents' environment names, EZREC_SECTION__KEY, the same
two kinds of names in `.env`, and what the caller overrides.
"""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from ezrec.config.addresses import wrong_addresses
from ezrec.config.places import (
    CONFIG_NAME,
    CREDENTIALS_NAME,
    SYSTEM_FILE,
    SettingsSource,
    read_credentials,
    read_dotenv,
    read_names,
    read_toml,
    read_tree,
)
from ezrec.config.sections import KEYS, PLACES, LogoSettings, Settings
from ezrec.config.values import nearest
from ezrec.domain.errors import SettingsError


class Refusal(NamedTuple):
    """A value that pydantic refused."""

    key: str  # as in KEYS
    spot: str  # the same, or a place inside: film.logos[0].width
    text: str


def load(
    path: Path | None = None,
    *,
    env: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Settings:
    """The settings of this process.

    The TOML file is `path`, else what $EZREC_CONFIG names, else ./config.toml, else /etc/ezrec/config.toml, else none.
    The `.env` file is the one beside the TOML file, else the one in the working directory, else none.

    Args:
        path: the TOML file; it must exist.
        env: the environment; None means this process's own.
        overrides: values by section and key that go over all others.

    Raises:
        SettingsError: something is unknown, missing or out of range; one line for each problem, naming key, place
            and remedy, and never holding a value.
    """
    problems: list[str] = []
    places = _places(path, os.environ if env is None else env, overrides or {}, problems)
    settings, refusals = _settings(places)
    problems += [_line(refusal, _origin(places, refusal.key)) for refusal in refusals]
    refused = {refusal.key for refusal in refusals}
    if refused:  # what is left is read again, so that combinations are named in the same breath
        settings, _ = _settings([place.without(refused) for place in places])
    if settings is not None:
        problems += [text for keys, text in _combinations(settings) if not refused.intersection(keys)]
    if problems or settings is None:
        raise SettingsError("\n".join(problems))
    settings._origins.update({  # noqa: SLF001 -- the one place that makes a Settings tells it this
        key: _origin(places, key) for place in places for key in place.values
    })
    return settings


def _places(
    path: Path | None, names: Mapping[str, str], overrides: Mapping[str, Any], problems: list[str]
) -> list[SettingsSource]:
    """All places, highest first."""
    toml = toml_file(path, names)
    dotenv = dotenv_file(toml)
    credentials = names.get(CREDENTIALS_NAME)
    found = [
        read_toml(toml, problems) if toml else {},
        read_credentials(Path(credentials), problems) if credentials else {},
        read_names(names, "the environment", problems),
        read_dotenv(dotenv, problems) if dotenv else {},
        read_tree(overrides, "given by the command", problems),
    ]
    return [SettingsSource(values) for values in reversed(found)]


def toml_file(path: Path | None, names: Mapping[str, str]) -> Path | None:
    """The file to read; one that was asked for is read even if it is not there, so that this is said."""
    if asked := path or names.get(CONFIG_NAME):
        return Path(asked)
    return next((file for file in (Path("config.toml"), SYSTEM_FILE) if os.path.isfile(file)), None)  # noqa: PTH113 -- Path.is_file raises where a folder may not be entered


def dotenv_file(toml: Path | None) -> Path | None:
    """The `.env` that is read: the one beside the settings file, or the one here."""
    beside = [toml.parent / ".env"] if toml else []
    return next((file for file in (*beside, Path(".env")) if os.path.isfile(file)), None)  # noqa: PTH113 -- as above


def _settings(places: list[SettingsSource]) -> tuple[Settings | None, list[Refusal]]:
    token = PLACES.set(tuple(places))
    try:
        return Settings(), []
    except ValidationError as error:
        # Taken apart here and never raised on: the error itself holds the refused values.
        return None, [
            _refusal(detail["loc"], detail["type"], detail["msg"], detail["input"])
            for detail in error.errors(include_url=False, include_context=False)
        ]
    finally:
        PLACES.reset(token)


def _refusal(loc: tuple[int | str, ...], kind: str, message: str, given: object) -> Refusal:
    """A refusal in our words: what is wrong, then what the key wants. Of what was given only a number is repeated:
    anything else may be a secret.
    """
    length = next(end for end in range(len(loc), 0, -1) if ".".join(map(str, loc[:end])) in KEYS)
    key = ".".join(map(str, loc[:length]))
    spot = key + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc[length:])
    name = str(loc[-1])
    field = LogoSettings.model_fields.get(name, KEYS[key]) if key == "film.logos" else KEYS[key]
    match kind:
        case "extra_forbidden":
            return Refusal(key, spot, f"unknown key{nearest(name, list(LogoSettings.model_fields))}")
        case "missing":
            return Refusal(key, spot, f"is missing; it is the {field.description}")
        case "greater_than_equal" | "less_than_equal" | "multiple_of":
            what, _, span = (field.description or "").rpartition("; ")
            return Refusal(key, spot, f"got {given}, must be {span}: {what}" if _is_number(given) else
                           f"must be {span}: {what}")
        case "path_type":
            return Refusal(key, spot, f"should be a path, in quotes; it is: {field.description}")
        case _:
            wrong = message.removeprefix("Value error, ").replace("Input should", "should", 1)
            return Refusal(key, spot, f"{wrong[:1].lower()}{wrong[1:]}; it is: {field.description}")


def _is_number(given: object) -> bool:
    return re.fullmatch(r"[-+]?\d{1,12}([.]\d{0,6})?", str(given).strip(), re.ASCII) is not None


def _line(refusal: Refusal, origin: str) -> str:
    return f"{refusal.spot} ({origin}): {refusal.text}"


def _origin(places: list[SettingsSource], key: str) -> str:
    """Where the value of `key` that counts was given."""
    return next((place.values[key].origin for place in places if key in place.values), "default")


def _combinations(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    """What is refused although each key alone is right: the keys it hangs on, and the words."""
    yield from _cameras(settings)
    yield from _cloud(settings)
    yield from _mail(settings)
    yield from _pairs(settings)
    yield from wrong_addresses(settings)
    names = [logo.name for logo in settings.film.logos]
    if len(set(names)) < len(names):
        yield ("film.logos",), "film.logos: two logos have the same name; give each its own"
    if settings.film.bufsize < settings.film.maxrate // 10:
        yield (("film.bufsize", "film.maxrate"),
               "film.bufsize: holds less than 0.1 s at film.maxrate; twice film.maxrate is usual")
    if settings.recorder.lost_s < settings.recorder.stall_s:
        yield (("recorder.lost_s", "recorder.stall_s"),
               "recorder.lost_s: is shorter than recorder.stall_s; a camera must count as stalled before it is lost")


def _cameras(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    cameras = settings.cameras
    if cameras.source == "replay":
        wanted = {"left": cameras.replay.left} | ({"right": cameras.replay.right} if cameras.dual else {})
        for side, file in wanted.items():
            if file is None:
                key = f"cameras.replay.{side}"
                yield (key, "cameras.source"), f'{key}: is missing; cameras.source = "replay" needs a video file here'
    if cameras.dual and cameras.left.id and cameras.left.id == cameras.right.id:
        yield (("cameras.left.id", "cameras.right.id"),
               "cameras.right.id: is the same as cameras.left.id; each camera has an id of its own")
    if settings.recorder.segment_s < cameras.keyframe_s:
        yield (("recorder.segment_s", "cameras.keyframe_s"),
               "recorder.segment_s: is shorter than cameras.keyframe_s; footage can only be cut at key frames")


def _cloud(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    """What the cloud's services cannot do without."""
    project, bucket = ("supabase.url", "supabase.key", "site.user_id"), (
        "s3.bucket", "s3.access_key_id", "s3.secret_access_key")
    for chooser, choice, needs in (("bookings.source", "supabase", project), ("publishing.kind", "supabase", project),
                                   ("storage.kind", "s3", bucket), ("logs.ship", "supabase", project[:2])):
        if str(settings.value(chooser)) == choice:
            yield from (((key, chooser), f'{key}: is missing; {chooser} = "{choice}" needs it')
                        for key in needs if not settings.value(key))
    if settings.logs.ship == "s3" and settings.storage.kind != "s3":
        yield ("logs.ship", "storage.kind"), 'logs.ship: "s3" is the films\' bucket; it needs storage.kind = "s3"'


def _mail(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    """What alerts by e-mail cannot do without."""
    if settings.alerts.mail_to and not settings.email.host:
        yield ("alerts.mail_to", "email.host"), "email.host: is missing; alerts.mail_to needs a mail server"
    elif settings.alerts.mail_to and not (settings.email.sender or settings.email.user):
        yield (("alerts.mail_to", "email.sender", "email.user"),
               "email.sender: is missing; alerts.mail_to needs an address that mail comes from")


def _pairs(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    """Keys that are of no use without their partner."""
    halves = {
        ("supabase.key", "supabase.url"): (settings.supabase.key.get_secret_value(), settings.supabase.url),
        ("s3.secret_access_key", "s3.access_key_id"): (
            settings.s3.secret_access_key.get_secret_value(), settings.s3.access_key_id),
        ("email.password", "email.user"): (settings.email.password.get_secret_value(), settings.email.user),
        ("alerts.webhook_secret", "alerts.webhook"): (
            settings.alerts.webhook_secret.get_secret_value(), settings.alerts.webhook),
    }
    for (one, other), (first, second) in halves.items():
        if bool(first) != bool(second):
            has, lacks = (one, other) if first else (other, one)
            yield (one, other), f"{lacks}: is missing; {has} is set and of no use without it"
