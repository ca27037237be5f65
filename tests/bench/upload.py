"""How much memory it takes to store a film: a large one goes through the upload task into the library."""

import asyncio
import logging
import shutil
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from zoneinfo import ZoneInfo

import structlog

from ezrec.adapters.storage.local import LocalStorage
from ezrec.config import Settings
from ezrec.domain.film import Canvas, Encoder, Recipe
from ezrec.domain.stages import Stage
from ezrec.store import Store
from ezrec.tasks.film import Growth
from ezrec.tasks.upload import Upload
from tests.bench.footage import RATE
from tests.bench.result import Plan, Row, Say, mb

PARTS = 64  # of the film


def measure(plan: Plan, say: Say) -> list[Row]:
    """The row on upload memory, from a process of its own."""
    part = Settings().storage.part_mb << 20
    say(f"storing a film of {mb(PARTS * part)}")
    more: dict[str, int] = {}
    for words, link in (("by link", True), ("by copy", False)):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            more[words] = process.submit(_stored, plan.folder / "upload", link).result()
    worst = max(more.values())
    return [Row("upload: memory above idle", "≤ 4 parts", f"{worst / part:.2f} parts ({mb(worst)})", worst <= 4 * part,
                f"peak while a film of {PARTS} parts of {mb(part)} goes into the library, "
                + ", ".join(f"{words} {mb(amount)}" for words, amount in more.items()), {"bytes": more})]


def _stored(folder: Path, link: bool) -> int:
    """By how much this process's peak of resident memory was over what it had before, bytes."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    try:
        return asyncio.run(_store(folder, link))
    finally:
        shutil.rmtree(folder)


async def _store(folder: Path, link: bool) -> int:
    data, settings = folder / "data", Settings()
    path = data / "films" / "film.mp4"
    path.parent.mkdir(parents=True)
    size = PARTS * (settings.storage.part_mb << 20)
    with path.open("wb") as file:
        file.truncate(size)
    recipe = Recipe(RATE, Canvas(64, 64, ()), Encoder(), part_size=settings.storage.part_mb << 20)
    store = await Store.open(data / "ezrec.db", create=True, migrate=True)
    await store.add_film("bench", "bench", 0, 1)
    await store.update_film("bench", recipe=recipe.dumps())
    for stage in (Stage.RECORDING, Stage.RECORDED, Stage.RENDERED):
        film = await store.step("bench", stage)
    upload = Upload(store, LocalStorage(folder / "library", data, link), settings, ZoneInfo("UTC"), data,
                    lambda film: Growth(path, size, closed=True))
    Path("/proc/self/clear_refs").write_text("5", "ascii")  # the peak counts from here: proc(5)
    before = _status("VmRSS")
    if not await upload.work(film):
        raise SystemExit("the film was not stored")
    await store.close()
    return _status("VmHWM") - before


def _status(key: str) -> int:
    """A number of /proc/self/status, in bytes."""
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    raise SystemExit(f"/proc/self/status has no {key}")
