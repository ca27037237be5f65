"""The places that settings come from, each read into `section.key` → value and the words that name its origin.

Limits: nothing is checked here but names; a name that means nothing is refused with the likeliest right one. Values
never get into a problem's text: any of them may be a secret.
"""

import codecs
import io
import json
import os
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dotenv.parser import parse_stream
from pydantic.fields import FieldInfo
from pydantic_settings import PydanticBaseSettingsSource

from ezrec.config.sections import KEYS, SECRETS, Settings
from ezrec.config.values import nearest
from ezrec.domain.encodings import decode

PREFIX = "EZREC_"
CONFIG_NAME = "EZREC_CONFIG"
CREDENTIALS_NAME = "CREDENTIALS_DIRECTORY"  # set by systemd: systemd.exec(5), LoadCredential=
SYSTEM_FILE = Path("/etc/ezrec/config.toml")
LONGEST_SECRET = 65536  # bytes; a longer file is not a secret but a mistake
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

Meaning = Callable[[str], dict[str, Any]]


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


def _key(key: str) -> Meaning:
    return lambda value: {key: value}


QUALITIES: dict[str, dict[str, int]] = {
    "low": {"cameras.bitrate": 3_000_000, "film.crf": 28},
    "medium": {"cameras.bitrate": 6_000_000, "film.crf": 23},
    "high": {"cameras.bitrate": 10_000_000, "film.crf": 20},
}

LAYOUTS = {"side_by_side": "side_by_side", "feather": "feather", "feathered": "feather"}


def _quality(word: str) -> dict[str, Any]:
    if word.strip().lower() not in QUALITIES:
        raise ValueError("should be low, medium or high")
    return dict(QUALITIES[word.strip().lower()])


def _merge_method(word: str) -> dict[str, Any]:
    plain = word.strip().lower().replace("-", "_")
    if plain not in LAYOUTS:
        raise ValueError("should be side_by_side or feather")
    return {"film.layout": LAYOUTS[plain]}


LEGACY_NAMES: dict[str, Meaning] = {
    "SUPABASE_URL": _key("supabase.url"),
    "SUPABASE_SERVICE_ROLE_KEY": _key("supabase.key"),
    "USER_ID": _key("site.user_id"),
    "CAMERA_ID": _key("site.camera_id"),
    "TIMEZONE_NAME": _key("site.timezone"),
    "BOOKING_CHECK_INTERVAL": _key("bookings.poll_s"),
    "CAMERA_0_SERIAL": _key("cameras.left.id"),
    "CAMERA_1_SERIAL": _key("cameras.right.id"),
    "DUAL_CAMERA_MODE": _key("cameras.dual"),
    "RECORDING_FPS": _key("cameras.fps"),
    "RECORDING_QUALITY": _quality,
    "MERGE_METHOD": _merge_method,
    "AWS_ACCESS_KEY_ID": _key("s3.access_key_id"),
    "AWS_SECRET_ACCESS_KEY": _key("s3.secret_access_key"),
    "AWS_REGION": _key("s3.region"),
    "AWS_S3_BUCKET": _key("s3.bucket"),
    "AWS_USER_MEDIA_BUCKET": _key("s3.media_bucket"),
    "EMAIL_HOST": _key("email.host"),
    "EMAIL_PORT": _key("email.port"),
    "EMAIL_HOST_USER": _key("email.user"),
    "EMAIL_HOST_PASSWORD": _key("email.password"),
    "EMAIL_USE_TLS": _key("email.tls"),
    "EMAIL_FROM": _key("email.sender"),
    "SHARE_BASE_URL": _key("share.base_url"),
}
"""The names that the documents of EZREC's predecessor tell owners to set; an empty one counts as not set."""

LEGACY_SECRETS = frozenset({"SUPABASE_SERVICE_ROLE_KEY", "AWS_SECRET_ACCESS_KEY", "EMAIL_HOST_PASSWORD"})

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
    return name in LEGACY_SECRETS or OWN.get(name) in SECRETS


def read_names(names: Mapping[str, str], place: str, problems: list[str]) -> Values:
    """Values of environment names: the legacy ones, over them EZREC_SECTION__KEY. `place` is put into the origin.

    A secret's name with `_FILE` at its end gives the path of a file that holds it. Names that are neither
    legacy nor begin with EZREC_ are nobody's business here.
    """
    documents: Values = {}
    own: Values = {}
    for name, value in _with_secret_files(names, place, problems).items():
        origin = f"{name} in {place}"
        if name in LEGACY_NAMES:
            try:
                found = LEGACY_NAMES[name](value) if value else {}
            except ValueError as error:
                problems.append(f"{name} ({place}): {error}")
            else:
                documents |= {key: Given(meant, origin) for key, meant in found.items()}
        elif name in OWN:
            try:
                own[OWN[name]] = Given(_plain(OWN[name], value), origin)
            except ValueError:
                problems.append(f"{OWN[name]} ({origin}): is not valid JSON; write a JSON list")
        elif name.upper().startswith(PREFIX) and name != CONFIG_NAME:
            problems.append(f"{name} ({place}): unknown name{nearest(name.upper(), list(OWN))}")
    return documents | own


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


def read_credentials(folder: Path, problems: list[str]) -> Values:
    """Secrets that systemd was told to load: files named `section.key` in $CREDENTIALS_DIRECTORY."""
    values: Values = {}
    for key in sorted(SECRETS):
        if os.path.lexists(folder / key) and (secret := _secret(folder / key, f"{key} (credential)", problems)):
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
