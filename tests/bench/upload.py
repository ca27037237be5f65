"""How much memory it takes to store a film: a large one goes through the upload task, into the library and to S3."""

import asyncio
import logging
import shutil
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from zoneinfo import ZoneInfo

import structlog

from ezrec.adapters.storage import Storage
from ezrec.adapters.storage.local import LocalStorage
from ezrec.config import Settings
from ezrec.domain.clock import SystemClock
from ezrec.domain.film import Canvas, EncoderOptions, Recipe
from ezrec.domain.stages import Stage
from ezrec.store import Store
from ezrec.tasks.film.growing import Growth
from ezrec.tasks.upload import Upload
from tests.bench import clouds
from tests.bench.footage import RATE
from tests.bench.result import Plan, Row, Say, left_out, mb
from tests.bench.sink import Sink
from tests.fakes.cloud.chaos import ChaosProxy
from tests.fakes.desk import not_damaged

PARTS = 64  # of the film that goes into the library
PART = Settings().storage.part_mb << 20
BUCKET = "films"


@dataclass(frozen=True)
class Way:
    """How a film of so many bytes is stored: at an S3 service, or in the library, by link or by copy."""

    bytes: int
    endpoint: str = ""
    link: bool = True


@dataclass(frozen=True)
class Memory:
    """What it took, bytes of resident memory."""

    idle: int  # before, with everything imported and open
    peak: int

    @property
    def more(self) -> int:
        """The peak above what was there before."""
        return self.peak - self.idle


def measure(plan: Plan, say: Say) -> list[Row]:
    """The rows on upload memory, each measurement from a process of its own."""
    return [_into_the_library(plan, say), _to_s3(plan, say)]


def _into_the_library(plan: Plan, say: Say) -> Row:
    size = PARTS * PART
    say(f"storing a film of {mb(size)}")
    more = {words: _measured(plan, Way(size, link=words == "by link")).more for words in ("by link", "by copy")}
    worst = max(more.values())
    return Row("upload: memory above idle", "≤ 4 parts", f"{worst / PART:.2f} parts ({mb(worst)})", worst <= 4 * PART,
               f"peak while a film of {PARTS} parts of {mb(PART)} goes into the library, "
               + ", ".join(f"{words} {mb(amount)}" for words, amount in more.items()), {"bytes": more})


def _to_s3(plan: Plan, say: Say) -> Row:
    what, size, rate = "upload to a slow S3 service: memory above idle", plan.s3_bytes, plan.s3_bytes // plan.s3_s
    if absent := clouds.missing_packages("aioboto3"):
        return left_out(what, absent)
    say(f"uploading a film of {mb(size)} in about {plan.s3_s} s")
    with Sink() as sink, ChaosProxy(sink.url) as net:
        net.slow(rate)
        memory = _measured(plan, Way(size, endpoint=net.url))
        stored = [there for _, there in sink.objects.values()]
        puts = net.count("PUT", "partNumber=")
    if stored != [size]:
        raise SystemExit(f"the film was not stored: {stored} in place of {size} bytes")
    settings = Settings().s3
    return Row(what, "≤ 4 parts", f"{memory.more / PART:.2f} parts ({mb(memory.more)})", memory.more <= 4 * PART,
               f"peak while a film of {mb(size)} goes up in {puts} parts of {mb(PART)}, {settings.parts_in_flight} at "
               f"a time, at {rate * 8 / 1e6:.0f} Mbit/s to a service that checks each part's MD5; {mb(memory.idle)} "
               "before, with the client open", {"idle": memory.idle, "peak": memory.peak, "bytes": size, "puts": puts})


def _measured(plan: Plan, way: Way) -> Memory:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(_stored, plan.folder / "upload", way).result()


def _stored(folder: Path, way: Way) -> Memory:
    """What storing a film takes in this process."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    try:
        return asyncio.run(_store(folder, way))
    finally:
        shutil.rmtree(folder)


async def _store(folder: Path, way: Way) -> Memory:
    data, settings = folder / "data", Settings()
    path = data / "films" / "film.mp4"
    path.parent.mkdir(parents=True)
    _write(path, way.bytes)
    recipe = Recipe(RATE, Canvas(64, 64, ()), EncoderOptions(), part_size=PART)
    store = await Store.open(data / "ezrec.db", create=True, migrate=True)
    await store.add_film("bench", "bench", 0, 1)
    await store.update_film("bench", recipe=recipe.dumps())
    for stage in (Stage.RECORDING, Stage.RECORDED, Stage.RENDERED):
        film = await store.step("bench", stage)
    storage = _storage(way, folder, data)
    upload = Upload(store, SystemClock(), storage, settings, ZoneInfo("UTC"),
                    lambda film: Growth(path, way.bytes, closed=True), not_damaged)
    await storage.abort("nothing.mp4", "")  # opens the client and a connection
    Path("/proc/self/clear_refs").write_text("5", "ascii")  # the peak counts from here: proc(5)
    before = _status("VmRSS")
    if not await upload.work(film):
        raise SystemExit("the film was not stored")
    peak = _status("VmHWM")
    await storage.close()
    await store.close()
    return Memory(before, peak)


def _write(path: Path, size: int) -> None:
    """A sparse film, no two parts of which are alike: a part in the wrong place would be told by its MD5."""
    with path.open("wb") as file:
        file.truncate(size)
        for offset in range(0, size, PART):
            file.seek(offset)
            file.write(offset.to_bytes(8, "big"))


def _storage(way: Way, folder: Path, data: Path) -> Storage:
    if not way.endpoint:
        return LocalStorage(folder / "library", data, way.link)
    from ezrec.adapters.storage.s3 import S3Storage  # noqa: PLC0415 - its libraries count as idle only for this way

    where = {"endpoint": way.endpoint, "bucket": BUCKET, "addressing": "path", "access_key_id": "bench",
             "secret_access_key": "bench"}
    return S3Storage(Settings.model_validate({"s3": where}).s3, lambda: False)


def _status(key: str) -> int:
    """A number of /proc/self/status, in bytes."""
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    raise SystemExit(f"/proc/self/status has no {key}")
