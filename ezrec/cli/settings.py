"""What every command needs first: the settings, and the store of the recorder they mean."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from ezrec import logs
from ezrec.config import Settings, load
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


@asynccontextmanager
async def opened(settings: Settings, *, create: bool = False) -> AsyncIterator[Store]:
    """The recorder's store, whether the recorder is running or not; `create` makes it if there is none yet."""
    data = settings.paths.data.absolute()
    if create:
        data.mkdir(parents=True, exist_ok=True)
    store = await Store.open(DataFolder(data).store, create=create)
    try:
        yield store
    finally:
        await store.close()


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


def show_json(value: object) -> None:
    """Print for machines."""
    print(json.dumps(value, indent=2, sort_keys=True, default=str))
