"""Harm at random to a data folder whose recorder is dead: to one file or folder of it, in one of many ways."""

import os
import random
from collections.abc import Callable
from pathlib import Path

from tests.fakes.harm import a_file, a_folder, in_place_of, overwrite

TARGETS: dict[str, tuple[float, tuple[str, ...]]] = {
    "a segment": (6, ("segments/*/*/*.ts",)),
    "the store": (4, ("ezrec.db",)),
    "the store's log": (4, ("ezrec.db-wal",)),
    "a file of a film": (5, ("films/*/*",)),
    "an upload": (3, ("library/.uploads/*",)),
    "a run's facts": (2, ("segments/*/run.json",)),
    "a small file": (2, ("cameras.json", "state.json", "ezrec.lock", "ezrec.db-reserve", "ezrec.db-shm", "logs/*",
                         "reference/*", "check/*")),
    "a folder": (4, ("segments", "segments/*/", "segments/*/*/", "films", "films/*/", "library/.uploads", "media",
                     "logs", "check", "reference")),
}
"""What is harmed: how often, and where it may lie."""


def do_harm(data: Path, target: str, dice: random.Random) -> str | None:
    """Harm something of this kind in the data folder; what was done, in words. None if there is no such thing.

    A film's file that the library has by a second name is not written into: that would be harm to the library.
    """
    folders = target == "a folder"
    found = sorted(path for pattern in TARGETS[target][1] for path in data.glob(pattern)
                   if not path.is_symlink() and (path.is_dir() if folders else path.is_file()))
    if not found:
        return None
    path = dice.choice(found)
    ways = REPLACED | (OF_FOLDERS if folders else OF_FILES if path.stat().st_nlink == 1 and path.stat().st_size else {})
    way = dice.choice(sorted(ways))
    ways[way](data, path, dice)
    return f"{path.relative_to(data)}: {way}"


def _flip(_: Path, path: Path, dice: random.Random) -> None:
    for _ in range(dice.choice((1, 20, 300))):
        overwrite(path, dice.randbytes(1), dice.randrange(path.stat().st_size))


def _zero(_: Path, path: Path, dice: random.Random) -> None:
    size = path.stat().st_size
    start = dice.randrange(size)
    overwrite(path, bytes(min(dice.choice((512, 4096, 65536)), size - start)), start)


def _lengthen(_: Path, path: Path, dice: random.Random) -> None:
    with path.open("ab") as file:
        file.write(dice.randbytes(dice.choice((1, 1000, 100_000))))


def _put_behind_link(data: Path, path: Path, dice: random.Random) -> None:
    """All that lies in a folder stays; it is reached through a link."""
    place = data.with_name(f"elsewhere-{dice.getrandbits(32)}")
    path.rename(place)
    path.symlink_to(place)


def _lose_half(_: Path, path: Path, dice: random.Random) -> None:
    for one in sorted(path.iterdir()):
        if dice.random() < 0.5:
            in_place_of(one, lambda _: None)


Way = Callable[[Path, Path, random.Random], object]

REPLACED: dict[str, Way] = {
    "gone": lambda _, path, dice: in_place_of(path, lambda _: None),
    "a folder": lambda _, path, dice: in_place_of(path, a_folder),
    "a file": lambda _, path, dice: in_place_of(path, a_file),
    "a pipe": lambda _, path, dice: in_place_of(path, os.mkfifo),
    "a link to nothing": lambda _, path, dice: in_place_of(path, lambda place: place.symlink_to("nowhere")),
    "a link to itself": lambda _, path, dice: in_place_of(path, lambda place: place.symlink_to(place.name)),
}
"""What lies in the place of a file or folder."""

OF_FILES: dict[str, Way] = {
    "bytes overwritten": _flip,
    "zeros in it": _zero,
    "cut short": lambda _, path, dice: os.truncate(path, dice.randrange(path.stat().st_size)),
    "empty": lambda _, path, dice: os.truncate(path, 0),
    "garbage": lambda _, path, dice: path.write_bytes(dice.randbytes(path.stat().st_size)),
    "longer": _lengthen,
}

OF_FOLDERS: dict[str, Way] = {
    "behind a link": _put_behind_link,
    "half of it gone": _lose_half,
}
