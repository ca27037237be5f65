"""The places that settings come from, each read into `section.key` → value and the words that name its origin.

Limits: nothing is checked here but names; a name that means nothing is refused with the likeliest right one. Values
never get into a problem's text: any of them may be a secret.
"""

import codecs
import io
import json
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dotenv.parser import parse_stream
from pydantic.fields import FieldInfo
from pydantic_settings import PydanticBaseSettingsSource

from ezrec.config import legacy
from ezrec.config.legacy import (
    LEGACY_NAMES,
    LEGACY_SECRETS,
    NO_KEYS,
    OLDER_NAMES,
    OLDER_SECRETS,
    QUALITIES,  # noqa: F401 - for whoever looks for the names' meanings here
)
from ezrec.config.sections import KEYS, SECRETS, Settings
from ezrec.config.values import nearest
from ezrec.domain.encodings import decode

PREFIX = "EZREC_"
CONFIG_NAME = "EZREC_CONFIG"
CREDENTIALS_NAME = "CREDENTIALS_DIRECTORY"  # set by systemd: systemd.exec(5), LoadCredential=
SYSTEM_FILE = Path("/etc/ezrec/config.toml")
LONGEST_SECRET = 65536  # bytes; a longer file is not a secret but a mistake
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class Given(NamedTuple):
    """A value as it was given, and where."""

    value: Any
    origin: str


Values = dict[str, Given]


class SettingsSource(PydanticBaseSettingsSource):
    """One place as pydantic-settings reads it."""

    def __init__(self, values: Values) -> None:
        super().__init__(Settings)
        self.values = values

    def without(self, keys: set[str]) -> "SettingsSource":
        """The same place, had it not spoken of `keys`."""
        return SettingsSource({key: given for key, given in self.values.items() if key not in keys})

    def get_field_value(self, _field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """One section's values; pydantic-settings asks for this beside the whole."""
        return self().get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        """All values, nested by section."""
        tree: dict[str, Any] = {}
        for key, given in self.values.items():
            *sections, name = key.split(".")
            inner = tree
            for section in sections:
                inner = inner.setdefault(section, {})
            inner[name] = given.value
        return tree


OWN = {PREFIX + key.upper().replace(".", "__"): key for key in KEYS}
"""EZREC_SECTION__KEY → section.key"""

SECTIONS = {key[:dot] for key in KEYS for dot, sign in enumerate(key) if sign == "."}


def read_tree(tree: Mapping[str, Any], origin: str, problems: list[str]) -> Values:
    """Values of a nested mapping (a TOML document, or what a caller overrides)."""
    return dict(_leaves(tree, "", origin, problems))


def _leaves(tree: Mapping[str, Any], prefix: str, origin: str, problems: list[str]) -> Iterator[tuple[str, Given]]:
    for name, value in tree.items():
        key = prefix + name
        if key in KEYS:
            yield key, Given(value, origin)
        elif key not in SECTIONS:
            problems.append(f"{key} ({origin}): unknown key{_likeliest(key)}")
        elif isinstance(value, Mapping):
            yield from _leaves(value, f"{key}.", origin, problems)
        else:
            problems.append(f"{key} ({origin}): is a section and cannot hold a value; write [{key}] and its keys below")


def _likeliest(key: str) -> str:
    """A hint at the right key: the same name in another section, or a like name."""
    name = key.rpartition(".")[2]
    same = [known for known in KEYS if known.rpartition(".")[2] == name]
    return f" (did you mean {same[0]}?)" if len(same) == 1 else nearest(key, [*KEYS, *sorted(SECTIONS)])


def read_toml(path: Path, problems: list[str]) -> Values:
    """Values of a TOML file, in whatever encoding an editor has saved it."""
    try:
        tree = tomllib.loads(decode(path.read_bytes()))
    except tomllib.TOMLDecodeError as error:
        problems.append(f"{path}: is not valid TOML: {str(error).splitlines()[0]}")
    except UnicodeDecodeError:
        problems.append(f"{path}: is not text; save it as UTF-8")
    except RecursionError:
        problems.append(f"{path}: is not valid TOML: its brackets are nested too deeply")
    except OSError as error:
        problems.append(f"{path}: cannot be read: {error.strerror}; give the path of a readable file")
    else:
        return read_tree(tree, str(path), problems)
    return {}


def read_dotenv(path: Path, problems: list[str]) -> Values:
    """Values of a `.env` file: NAME=value lines, quotes and comments as python-dotenv reads them, nothing expanded."""
    names = names_in(path, problems)
    if CONFIG_NAME in names:
        del names[CONFIG_NAME]
        problems.append(f"{CONFIG_NAME} ({path}): only works in the environment, for it decides which .env is read")
    return read_names(names, str(path), problems)


def names_in(path: Path, problems: list[str]) -> dict[str, str]:
    """The names of a `.env` file with their values."""
    names: dict[str, str] = {}
    try:
        for binding in parse_stream(io.StringIO(decode(path.read_bytes()))):
            if binding.error:
                problems.append(f"{path}, line {binding.original.line}: cannot be read; write NAME=value")
            elif binding.key is not None:
                names[binding.key] = binding.value or ""
    except UnicodeDecodeError:
        problems.append(f"{path}: is not text; save it as UTF-8")
    except OSError as error:
        problems.append(f"{path}: cannot be read: {error.strerror}; make it readable or take it away")
    return names


def is_secret_name(name: str) -> bool:
    """Whether an environment name is a secret's."""
    return name in LEGACY_SECRETS or name in OLDER_SECRETS or OWN.get(name) in SECRETS


def read_names(names: Mapping[str, str], place: str, problems: list[str]) -> Values:
    """Values of environment names: the predecessor's, over them EZREC_SECTION__KEY. `place` is put into the origin.

    A secret's name with `_FILE` at its end gives the path of a file that holds it. Names that are neither
    the predecessor's nor begin with EZREC_ are nobody's business here.
    """
    documents: Values = {}
    own: Values = {}
    known = OLDER_NAMES | LEGACY_NAMES  # in this order: one that comes later goes over another word for the same
    names = _with_secret_files(names, place, problems)
    for name, meaning in known.items():
        if value := names.get(name):
            try:
                documents |= {key: Given(meant, f"{name} in {place}") for key, meant in meaning(value).items()}
            except ValueError as error:
                problems.append(f"{name} ({place}): {error}")
    documents |= _logos(names, place, problems)
    for name, value in names.items():
        origin = f"{name} in {place}"
        if name in OWN:
            try:
                own[OWN[name]] = Given(_plain(OWN[name], value), origin)
            except ValueError:
                problems.append(f"{OWN[name]} ({origin}): is not valid JSON; write a JSON list")
        elif name.upper().startswith(PREFIX) and name != CONFIG_NAME and name not in NO_KEYS:
            problems.append(f"{name} ({place}): unknown name{nearest(name.upper(), list(OWN))}")
    return documents | own


def _logos(names: Mapping[str, str], place: str, problems: list[str]) -> Values:
    try:
        found = legacy.logos(names)
    except ValueError as error:
        problems.append(f"film.logos ({place}): {error}")
        found = []
    return {"film.logos": Given(found, f"MAIN_LOGO_PATH and the like in {place}")} if found else {}


def _plain(key: str, value: str) -> Any:
    """Lists may be written as JSON; logos have to be."""
    return json.loads(value) if key == "film.logos" or value.startswith("[") else value


def _with_secret_files(names: Mapping[str, str], place: str, problems: list[str]) -> dict[str, str]:
    """`names` with every NAME_FILE of a secret replaced by NAME and what the file holds."""
    plain = dict(names)
    secrets = LEGACY_SECRETS | {name for name, key in OWN.items() if key in SECRETS}
    for name in sorted(secrets):
        file = plain.pop(f"{name}_FILE", "")
        if not file:
            continue
        if plain.get(name):
            problems.append(f"{name} ({place}): is given twice; keep either {name} or {name}_FILE")
        else:
            plain[name] = _secret(Path(file), f"{name}_FILE ({place})", problems) or ""
    return plain


def read_credentials(folder: Path, problems: list[str], prefix: str = "") -> Values:
    """Secrets that systemd was told to load: files named `section.key` in $CREDENTIALS_DIRECTORY.

    With a `prefix` before the names it is the folder that systemd takes them from.
    """
    values: Values = {}
    for key in sorted(SECRETS):
        file = folder / f"{prefix}{key}"
        if os.path.lexists(file) and (secret := _secret(file, f"{key} (credential)", problems)):
            values[key] = Given(secret, f"credential {key}")
    return values


def _secret(file: Path, whose: str, problems: list[str]) -> str | None:
    """What a secret's file holds, without the line end that editors add.

    Its path is not named in a problem: somebody may have put the secret itself where the path belongs.
    """
    try:
        with file.open("rb") as stream:
            raw = stream.read(LONGEST_SECRET + 1)
        secret = (raw.decode("utf-16") if raw.startswith(UTF_16) and len(raw) > 2 else raw.decode("utf-8-sig")).strip()
    except UnicodeDecodeError:
        problems.append(f"{whose}: the file is not UTF-8 text")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a path"
        problems.append(f"{whose}: the file cannot be read: {reason}; give the path of a readable file")
    else:
        if secret and len(raw) <= LONGEST_SECRET:
            return secret
        problems.append(f"{whose}: the file is {'too long for a secret' if secret else 'empty'}")
    return None
