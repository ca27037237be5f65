"""The folders that the settings name, and what the unit must know of them.

The settings are read as far as that takes, by nobody's rules but TOML's: an installer has no dependencies. What is
wrong with them the recorder says when it starts.
"""

import tomllib
from pathlib import Path
from typing import NamedTuple

from ezrec.device.places import Places
from ezrec.domain.encodings import decode
from ezrec.domain.errors import EzrecError


class Folders(NamedTuple):
    """Where an installed recorder keeps things, as the device sees it."""

    data: Path
    library: Path | None
    logs: Path | None

    @property
    def all(self) -> list[Path]:
        """Each of them once."""
        return list(dict.fromkeys(path for path in self if path))


def read(places: Places) -> Folders:
    """The folders of the settings file; relative ones lie below /var/lib/ezrec, where the unit starts.

    Raises:
        EzrecError: it is no TOML.
    """
    try:
        paths = tomllib.loads(decode(places.settings.read_bytes())).get("paths", {})
    except FileNotFoundError:
        paths = {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise EzrecError(f"{places.settings} is not valid TOML: {error}; put it right first") from error
    home = Path("/var/lib/ezrec")
    found = {key: home / str(paths[key]) for key in ("data", "library", "logs") if paths.get(key)}
    return Folders(found.get("data", home / "data"), found.get("library"), found.get("logs"))


def drop_in(folders: Folders) -> str:
    """The unit's part that the settings decide."""
    quoted = [f'"{path}"' for path in folders.all]
    return ("# Written by `make install` and `ezrec setup` from the settings' paths.\n[Unit]\n"
            f"RequiresMountsFor={' '.join(quoted)}\n[Service]\n"
            # A path that is missing is none's fault: the recorder waits for its disk, or makes the folder.
            f"ReadWritePaths={' '.join(f'-{path}' for path in quoted)}\n")


def write_drop_in(places: Places) -> None:
    """Write the unit's part. Raises EzrecError, OSError."""
    places.drop_in.parent.mkdir(parents=True, exist_ok=True)
    places.drop_in.write_text(drop_in(read(places)), "utf-8")
    places.drop_in.chmod(0o644)
