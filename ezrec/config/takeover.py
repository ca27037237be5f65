"""The predecessor's `.env` as settings of ours: which keys and secrets it would set, and what stays as it is."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomlkit

from ezrec.config import legacy
from ezrec.config.legacy import LEGACY_NAMES, LOGO_NAMES, OLDER_NAMES
from ezrec.config.loading import load
from ezrec.config.places import (
    OWN,
    SYSTEM_FILE,
    Values,
    is_secret_name,
    names_in,
    read_credentials,
    read_dotenv,
    read_names,
    read_toml,
)
from ezrec.config.sections import SECRETS, Settings, SupabaseSettings
from ezrec.config.values import Secret
from ezrec.config.writing import CREDENTIALS, kept_secrets, typed
from ezrec.domain.errors import SettingsError

CLOUD = (  # what is switched on where its credentials are known
    (("supabase.url", "supabase.key", "site.user_id"), {"bookings.source": "supabase", "publishing.kind": "supabase"}),
    (("s3.bucket", "s3.access_key_id", "s3.secret_access_key"), {"storage.kind": "s3"}),
)
FILE_NAMES = ("CAMERA_0_NAME", "CAMERA_1_NAME")  # no settings: they tell whose a recorded file is
DEVICE = frozenset({"supabase.device_token", "supabase.token_file", "supabase.token_command"})


@dataclass(frozen=True)
class Inherited:
    """What is to be set, and what is not."""

    plain: dict[str, Any] = field(default_factory=dict)  # key → value for the settings file
    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    kept: dict[str, str] = field(default_factory=dict)  # key → the name that says something else
    unused: tuple[str, ...] = ()  # names that nothing of ours corresponds to
    names: dict[str, str] = field(default_factory=dict, repr=False)  # the whole file

    def secret_values(self) -> list[str]:
        """Texts that must never be shown."""
        return [value for name, value in self.names.items() if value and is_secret_name(name)]


def wanted(dotenv: Path, path: Path, media: Mapping[str, str]) -> Inherited:
    """What a predecessor's `.env` sets of the settings file `path`. What that says already stays.

    `media` holds the files of its logos and its intro as they will lie, by name.

    Raises:
        SettingsError: one of the two cannot be read, or a value cannot be used.
    """
    problems: list[str] = []
    there = os.path.lexists(dotenv)
    names = names_in(dotenv, problems) if there else {}
    found = read_names(names, str(dotenv), problems)
    now = read_toml(path, problems) if path.exists() else {}
    if problems:
        raise SettingsError("\n".join(problems))
    found = {key: given for key, given in found.items() if key not in ("film.logos", "film.intro")}
    values: dict[str, Any] = {key: typed(key, given.value) if isinstance(given.value, str) else given.value
                              for key, given in found.items()}
    known = kept_secrets(path, SECRETS)
    given = values.keys() | now.keys() | known
    if given & DEVICE:
        values.pop("supabase.key", None)  # the project's secret key has no place beside a device's own
    for needs, switched in CLOUD:
        if given.issuperset(needs):
            values = switched | values
    values |= _media(names, media)
    if not now.keys() & {"site.user_id", "site.camera_id"} and "site.timezone" in values:
        now = {key: value for key, value in now.items() if key != "site.timezone"}  # only the installer's guess
    secrets = {key: str(values[key]) for key in values.keys() & SECRETS if key not in known and key not in now}
    plain = {key: value for key, value in values.items() if key not in SECRETS and key not in now}
    kept = {key: found[key].origin.partition(" ")[0] for key in values.keys() & now.keys() & found.keys()
            if str(now[key].value) != str(values[key])}
    understood = {*LEGACY_NAMES, *OLDER_NAMES, *LOGO_NAMES, *OWN, *FILE_NAMES}
    return Inherited(plain, secrets, kept, tuple(sorted(name for name in names if name not in understood)), names)


def with_old_key(settings: SupabaseSettings, names: Mapping[str, str]) -> SupabaseSettings:
    """The project as the predecessor reached it, if its `.env` names the key that opens the tables."""
    key = names.get("SUPABASE_SERVICE_ROLE_KEY") or names.get("SUPABASE_KEY")
    if not key:
        return settings
    return settings.model_copy(update={"key": Secret(key), "device_token": Secret(""), "token_file": None,
                                       "token_command": ""})


def settled(path: Path, changes: Inherited, **overrides: Any) -> Settings:
    """The settings as they will be once `changes` are made to the file `path`; its kept secrets count.

    Raises:
        SettingsError: they cannot be used.
    """
    tree: dict[str, Any] = {}
    problems: list[str] = []
    secrets: dict[str, Any] = {key: given.value for key, given in _secrets(path, problems).items()}
    if problems:
        raise SettingsError("\n".join(problems))
    for key, value in (secrets | changes.plain | changes.secrets).items():
        *sections, name = key.split(".")
        inner = tree
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[name] = value.unwrap() if hasattr(value, "unwrap") else value
    for section, values in overrides.items():
        tree[section] = tree.get(section, {}) | values
    return load(path if path.exists() else None, env={}, overrides=tree)


def _secrets(path: Path, problems: list[str]) -> Values:
    """The secrets that are kept for a settings file."""
    if path == SYSTEM_FILE:
        return read_credentials(CREDENTIALS, problems, "ezrec.")
    dotenv = path.parent / ".env"
    found = read_dotenv(dotenv, problems) if dotenv.is_file() else {}
    return {key: given for key, given in found.items() if key in SECRETS}


def _media(names: Mapping[str, str], media: Mapping[str, str]) -> dict[str, Any]:
    """Intro and logos, the logos last: nothing of their section may follow them."""
    found: dict[str, Any] = {"film.intro": media["intro"]} if "intro" in media else {}
    without = {name: value for name, value in names.items() if not name.endswith("_PATH")}
    try:
        logos = legacy.logos(without, media)
    except ValueError as error:
        raise SettingsError(f"film.logos: {error}") from error
    if logos:
        array = tomlkit.array()
        for logo in logos:
            table = tomlkit.inline_table()
            table.update(logo)
            array.append(table)
        found["film.logos"] = array.multiline(multiline=True)
    return found
