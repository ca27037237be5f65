"""What every command needs first: the settings, and the store of the recorder they mean."""

import asyncio
import json
import os
import pwd
import shlex
import stat
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from ezrec import logs
from ezrec.cli.words import say
from ezrec.config import Settings, load
from ezrec.config.doubts import zone_doubt
from ezrec.domain.errors import SettingsError, StoreMissing
from ezrec.files import os_errors
from ezrec.folders import DataFolder
from ezrec.store import Store

_R = TypeVar("_R")


@dataclass(frozen=True)
class CommandContext:
    """Which settings file and which data folder a command was told to use."""

    config: Path | None = None
    data: Path | None = None

    def load(self, **overrides: Any) -> Settings:
        """The settings.

        Raises:
            SettingsError: they are not usable.
        """
        if self.data is not None:
            overrides = overrides | {"paths": {"data": self.data} | overrides.get("paths", {})}
        return load(self.config, overrides=overrides)


def data_folder(settings: Settings, *, written: bool = False) -> DataFolder:
    """The data folder, which need not be there; `written`: this user must be able to write to it if it is.

    Raises:
        SettingsError: a file has its name.
        EzrecError: this user cannot use it; names the remedy.
    """
    folder = DataFolder(settings.paths.data)
    with os_errors("use the data folder"):
        there = folder.root.is_dir()
        link = folder.root.is_symlink()
        waits = link and settings.paths.wait_for_data  # it may lead to a disk that is not mounted yet
        if not there and not waits and os.path.lexists(folder.root):
            kind = "a link that leads nowhere" if link else "a file"
            raise SettingsError(f"paths.data ({settings.origin('paths.data')}): {folder.root} is {kind}; name a folder")
        if written and there and not os.access(folder.root, os.R_OK | os.W_OK | os.X_OK):
            raise StoreMissing(_not_ours(folder.root, folder.root))
    return folder


@asynccontextmanager
async def opened(settings: Settings, *, create: bool = False) -> AsyncIterator[Store]:
    """The recorder's store, whether the recorder is running or not; `create` makes it if there is none yet.

    Raises:
        EzrecError: this user cannot use it; names the file and the remedy.
    """
    folder = data_folder(settings, written=True)
    with os_errors("use the data folder"):
        if create:
            folder.root.mkdir(parents=True, exist_ok=True)
        check_store(folder, create=create)
    store = await Store.open(folder.store, create=create)
    try:
        yield store
    finally:
        await store.close()


def check_store(folder: DataFolder, *, create: bool) -> None:
    """See that this user can write to the store: who reads it does, too (SQLite's write-ahead log).

    Raises:
        StoreMissing: it cannot be used, and why.
        OSError: it cannot be looked at.
    """
    root = folder.root
    files = [path for path in (folder.store, *(folder.store.with_name(f"{folder.store.name}-{end}")
                                               for end in ("wal", "shm"))) if path.exists()]
    if folder.store not in files and not create:
        return  # the store says so itself
    for path in files:
        if not path.is_file():
            kind = "a folder" if path.is_dir() else "no regular file"
            raise StoreMissing(f"{path} is {kind}, not the recorder's store: `ezrec run` puts it aside and makes one")
    for path, rights in ((root, os.R_OK | os.W_OK | os.X_OK), *((path, os.R_OK | os.W_OK) for path in files)):
        if not os.access(path, rights):
            raise StoreMissing(_not_ours(root, path))


def _not_ours(root: Path, path: Path) -> str:
    """Why a file or folder cannot be written, and what helps."""
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        return f"{path} cannot be written: its disk is mounted read-only"
    status = path.stat()
    owner, me = _user(status.st_uid), _user(os.geteuid())
    if status.st_uid == os.geteuid():
        return (f"{path} cannot be written: its mode is {stat.S_IMODE(status.st_mode):o}; "
                f"chmod u+rw{'x' if path.is_dir() else ''} {shlex.quote(str(path))}")
    return (f"{path} belongs to the user {owner}, and {me} may not write it: run the command as {owner} "
            f"(sudo -u {owner} ezrec ...), or give the folder to {me} (sudo chown -R {me} {shlex.quote(str(root))})")


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"#{number}"


def with_store(settings: Settings, work: Callable[[Store], Awaitable[_R]], *, create: bool = False) -> _R:
    """Run `work` on the recorder's store."""
    async def go() -> _R:
        logs.set_up("error", None, stream=sys.stderr)
        async with opened(settings, create=create) as store:
            return await work(store)

    return asyncio.run(go())


def zone_of(settings: Settings) -> ZoneInfo:
    """The court's time zone."""
    return ZoneInfo(settings.site.timezone)


def warn_of_zone(settings: Settings) -> None:
    """Say on stderr that local times may mean something else than the person thinks."""
    if doubt := zone_doubt(settings):
        say(f"warning: {doubt}", error=True)


def show_json(value: object) -> None:
    """Print for machines."""
    print(json.dumps(value, indent=2, sort_keys=True, default=str))
