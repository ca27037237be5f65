"""Files with secrets that others may read: found by their modes, and told with the command that closes them."""

import grp
import os
import shlex
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from ezrec.config.loading import dotenv_file, toml_file
from ezrec.config.places import is_secret_name, names_in, read_toml
from ezrec.config.sections import SECRETS


def exposed(path: Path | None = None, env: Mapping[str, str] | None = None) -> list[str]:
    """What is open to others of the files that `load` reads secrets from (same arguments), in words."""
    names = os.environ if env is None else env
    return [words for file in dict.fromkeys(_files(path, names)) if (words := _words(file))]


def _files(path: Path | None, names: Mapping[str, str]) -> Iterator[Path]:
    """The files that hold a secret."""
    toml = toml_file(path, names)
    dotenv = dotenv_file(toml)
    values = read_toml(toml, []) if toml else {}
    if toml and SECRETS & values.keys():
        yield toml
    written = values.get("supabase.token_file")
    if token := names.get("EZREC_SUPABASE__TOKEN_FILE") or (written and written.value):
        yield Path(str(token))
    if dotenv and any(value and is_secret_name(name) for name, value in names_in(dotenv, []).items()):
        yield dotenv
    for given in (names, names_in(dotenv, []) if dotenv else {}):
        yield from (Path(value) for name, value in given.items()
                    if value and name.endswith("_FILE") and is_secret_name(name.removesuffix("_FILE")))


def _words(file: Path) -> str | None:
    try:
        status = file.stat()
    except OSError:
        return None
    mode, name = stat.S_IMODE(status.st_mode), shlex.quote(str(file))
    if not mode & stat.S_IRWXO:
        return None
    if status.st_uid == os.geteuid():
        remedy = f"chmod 600 {name}"
    else:  # whoever reads it as one of all others must be able to read it afterwards
        remedy = f"sudo chgrp {_group()} {name} && sudo chmod 640 {name}"
    return f"{file} holds secrets and is open to every user (mode {mode:04o}): {remedy}"


def _group() -> str:
    try:
        return grp.getgrgid(os.getegid()).gr_name
    except KeyError:
        return str(os.getegid())
