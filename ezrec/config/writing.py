"""Writing settings: keys are changed in a TOML file, everything else in it stays, comments and order included.

Secrets go elsewhere: onto a device's credential store (`/etc/credstore`, a file each, which our unit hands over), or,
where the settings are nobody's device, into `.env` beside them.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import tomlkit
from dotenv import set_key
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Table

from ezrec.config.places import OWN, SYSTEM_FILE
from ezrec.config.sections import KEYS
from ezrec.domain.encodings import decode
from ezrec.domain.errors import SettingsError
from ezrec.files import FILE_MODE, os_errors, put_in_place

SECRET_MODE = 0o600
CREDENTIALS = Path("/etc/credstore")
NAMES = {key: name for name, key in OWN.items()}


def edited(text: str, changes: Mapping[str, Any]) -> str:
    """A TOML text with `section.key` set to other values; None takes a key out.

    Raises:
        SettingsError: it is no TOML, or a section's name holds a value.
    """
    try:
        document = tomlkit.parse(text)
        for key, value in changes.items():
            *sections, name = key.split(".")
            table: Any = document
            for section in sections:
                if section not in table:
                    table[section] = tomlkit.table(is_super_table=False)
                table = table[section]
            if value is None:
                table.pop(name, None)
            else:
                table[name] = value
                if isinstance(table, Table) and len(table) == 1:
                    table.trivia.indent = ""
        return tomlkit.dumps(document)
    except (TOMLKitError, TypeError, AttributeError) as error:
        raise SettingsError(f"the settings file cannot be changed: {error}; put its TOML right first") from error


def typed(key: str, words: str) -> Any:
    """What a person has written for a key, as TOML should hold it.

    Raises:
        SettingsError: there is no such key.
    """
    if key not in KEYS:
        raise SettingsError(f"{key}: there is no such key; config.example.toml has them all")
    usual = KEYS[key].default
    if isinstance(usual, (bool, int, float, tuple)):
        try:
            value = tomlkit.parse(f"value = {words}").unwrap()["value"]
        except TOMLKitError:
            return words  # whoever reads the settings says what is wrong with it
        return value if not isinstance(value, str) else words
    return words


def write(path: Path, changes: Mapping[str, Any]) -> None:
    """Change keys of a settings file, or make it; its owner and its mode stay.

    Raises:
        SettingsError: it is no TOML.
        EzrecError: it cannot be written.
    """
    with os_errors("write the settings"):
        there = path.stat() if path.exists() else None
        text = edited(decode(path.read_bytes()) if there else "", changes)
        path.parent.mkdir(parents=True, exist_ok=True)
        with put_in_place(path) as temporary:
            fresh = Path(temporary)
            fresh.write_text(text, "utf-8")
            fresh.chmod(there.st_mode & 0o7777 if there else FILE_MODE)
            if there and (there.st_uid, there.st_gid) != (os.geteuid(), os.getegid()):
                os.chown(fresh, there.st_uid, there.st_gid)


def write_secrets(path: Path, secrets: Mapping[str, str], store: Path = CREDENTIALS) -> list[Path]:
    """Keep secrets where the settings file `path` has them read from, closed to everybody else; the files.

    Raises:
        EzrecError: they cannot be written.
    """
    if path != SYSTEM_FILE:
        return _into_dotenv(path.parent / ".env", secrets) if secrets else []
    files = []
    with os_errors("write a secret"):
        for key, secret in secrets.items():
            file = store / f"ezrec.{key}"
            store.mkdir(mode=0o700, parents=True, exist_ok=True)
            with put_in_place(file) as temporary:
                handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, SECRET_MODE)
                with os.fdopen(handle, "w", encoding="utf-8") as stream:
                    stream.write(secret)
            files.append(file)
    return files


def kept_secrets(path: Path, names: Iterable[str], store: Path = CREDENTIALS) -> set[str]:
    """Those of the secrets `names` that are kept for the settings file `path`; this user may not be let to see it."""
    if path == SYSTEM_FILE:
        return {key for key in names if os.path.lexists(store / f"ezrec.{key}")}
    try:
        text = (path.parent / ".env").read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return set()
    return {key for key in names if f"{NAMES[key]}=" in text}


def _into_dotenv(file: Path, secrets: Mapping[str, str]) -> list[Path]:
    with os_errors("write the secrets"):
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, SECRET_MODE))
        file.chmod(SECRET_MODE)
        for key, secret in secrets.items():
            set_key(file, NAMES[key], secret)
        file.chmod(SECRET_MODE)
    return [file]
