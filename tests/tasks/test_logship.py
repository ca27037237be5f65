"""Log shipping: every line once, masked, in bounded archives that wait for the network and never for ever."""

import io
import json
import os
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ezrec import logs
from ezrec.adapters.journal import Journal
from ezrec.adapters.storage.s3 import S3Storage
from ezrec.adapters.supabase.shelf import Shelf
from ezrec.config import sections
from ezrec.config.sections import Secret, SupabaseSettings
from ezrec.domain.clock import SECOND
from ezrec.domain.errors import RetryError
from ezrec.folders import DataFolder
from ezrec.tasks import logship
from ezrec.tasks.logship import LogShip
from tests.fakes.clocks import MadeUpClock
from tests.fakes.cloud.s3 import S3
from tests.fakes.cloud.shelf import BUCKET, KEY, a_shelf

SECRETS = ["hunter2-and-more", "line one\nline two of a key", 'with "quotes" & sons', "grüße-und-küsse"]


class Known:
    """Settings with secrets."""

    def secret_values(self) -> list[str]:
        return SECRETS


class Rig:
    """A log folder, a place that keeps what it is given, and a journal that is set by hand."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock = DataFolder(folder / "data"), MadeUpClock(1000, 1_800_000_000)
        self.folder.root.mkdir()
        self.logs = folder / "logs"
        self.logs.mkdir()
        self.log = self.logs / "ezrec.log"
        self.stored: dict[str, bytes] = {}
        self.journal: list[str] = []
        self.asked: list[str | None] = []
        self.error: Exception | None = None
        self.ship = self.make()

    def make(self) -> LogShip:
        """As after a start."""
        return LogShip(self.clock, self.folder, self.logs, "court-1", self, 900, self.read)

    async def put_file(self, key: str, file: Path) -> str:
        if self.error:
            raise self.error
        self.stored[key] = file.read_bytes()
        return key

    async def read(self, cursor: str | None) -> Journal:
        self.asked.append(cursor)
        lines, self.journal = tuple(self.journal), []
        return Journal(lines, f"s={len(self.asked)}", "")

    def write(self, *lines: str, whole: bool = True) -> None:
        with self.log.open("a", encoding="utf-8") as out:
            out.write("\n".join(lines) + "\n" * whole)

    async def after(self, minutes: int = 15) -> None:
        self.clock.forward(minutes * 60 * SECOND)
        await self.ship.run_once()

    def shipped(self, name: str = "ezrec.log") -> list[str]:
        """All lines that arrived."""
        return [line for data in self.stored.values()
                for line in zipfile.ZipFile(io.BytesIO(data)).read(name).decode().splitlines()]

    def waiting(self) -> list[str]:
        return sorted(path.name for path in self.folder.logs_waiting.iterdir())


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_secrets", logs._Secrets())
    logs.register_secrets(Known())


async def test_every_line_arrives_once_through_restarts_and_rotations(rig: Rig) -> None:
    rig.write("1", "2")
    await rig.after()
    await rig.after()  # nothing is new: nothing is sent
    assert list(rig.stored) == ["logs/court-1/20270115T081500Z_logs.zip"]
    rig.write("3")
    rig.log.rename(rig.logs / "ezrec.log.1")
    rig.write("4")
    rig.ship = rig.make()
    await rig.after()
    rig.log.unlink()
    rig.write("5")
    rig.journal = ['{"MESSAGE": "six"}']
    await rig.after()
    assert rig.shipped() == ["1", "2", "3", "4", "5"]
    assert rig.shipped("journal.jsonl") == ['{"MESSAGE": "six"}']
    assert rig.asked == [None, "s=1", "s=2", "s=3"]
    assert not rig.waiting()


async def test_half_a_line_waits_for_its_other_half(rig: Rig) -> None:
    rig.write("whole", "ha", whole=False)
    await rig.after()
    assert rig.shipped() == ["whole"]
    rig.write("lf")
    await rig.after()
    assert rig.shipped() == ["whole", "half"]


async def test_a_kill_before_the_place_is_noted_has_lines_twice_and_loses_none(
        rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.write("1")
    with monkeypatch.context() as patch:
        patch.setattr(logship.files, "write_atomically", lambda *_: (_ for _ in ()).throw(OSError(5, "killed here")))
        await rig.after()
    rig.stored.clear()  # what was sent after it counts as well: look at what the next life sends
    rig.ship = rig.make()
    await rig.after()
    assert rig.shipped() == ["1"]


async def test_archives_wait_while_the_network_is_away_and_go_in_their_order(rig: Rig) -> None:
    rig.error = RetryError("no network")
    for number in range(4):
        rig.write(str(number))
        await rig.after()
    assert len(rig.waiting()) == 4
    rig.ship, rig.error = rig.make(), None
    await rig.after()
    assert rig.shipped() == ["0", "1", "2", "3"]
    assert not rig.waiting()


async def test_a_month_without_network_costs_the_oldest_logs_and_not_the_disk(
        rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.error = RetryError("no network")
    for number in range(logship.MOST_WAITING + 5):
        rig.write(str(number))
        await rig.after()
    assert len(rig.waiting()) == logship.MOST_WAITING
    rig.error = None
    await rig.after()
    assert rig.shipped()[0] == "5"
    monkeypatch.setattr(logship, "MOST_BYTES", 1000)
    rig.error = RetryError("no network")
    for number in range(5):
        rig.write(f"more {number}")
        await rig.after()
    assert sum(path.stat().st_size for path in rig.folder.logs_waiting.iterdir()) <= 1000


async def test_of_a_flood_the_newest_whole_lines_are_kept_and_the_rest_is_counted(
        rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logship, "MOST_NEW", 100)
    rig.write(*(f"line {number:03}" for number in range(50)))
    rig.log.rename(rig.logs / "ezrec.log.1")
    rig.write(*(f"line {number:03}" for number in range(50, 56)))
    await rig.after()
    lines = rig.shipped()
    assert lines == [f"line {number:03}" for number in range(56 - len(lines), 56)]
    assert 9 <= len(lines) <= 11
    (data,) = rig.stored.values()
    assert json.loads(zipfile.ZipFile(io.BytesIO(data)).read("about.json"))["log_bytes_left_out"] == 56 * 9 - 100


@pytest.mark.parametrize("nonsense", [
    "", "[]", '{"files": [1]}', '{"files": {"1": "x"}}', '{"files": {}, "cursor": 7}'])
async def test_nonsense_where_the_place_is_noted_ships_what_is_there(rig: Rig, nonsense: str) -> None:
    rig.folder.logs_shipped.write_text(nonsense)
    rig.write("1")
    await rig.after()
    assert rig.shipped() == ["1"]


async def test_two_archives_of_one_second_are_two(rig: Rig) -> None:
    rig.error = RetryError("no network")
    for number in range(3):
        rig.write(str(number))
        await rig.after(0)
    assert len(rig.waiting()) == 3
    rig.error = None
    await rig.after(0)
    assert rig.shipped() == ["0", "1", "2"]


async def test_a_disk_that_takes_no_archive_is_said_once_and_loses_no_line(
        rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.write("1")
    with monkeypatch.context() as patch:
        patch.setattr(logship.zipfile, "ZipFile", lambda *_: (_ for _ in ()).throw(OSError(28, os.strerror(28))))
        await rig.after()
    await rig.after()
    assert rig.shipped() == ["1"]


@pytest.mark.usefixtures("secrets")
async def test_no_secret_reaches_an_archive_whoever_wrote_it(rig: Rig) -> None:
    filler = "x" * 50
    for secret in SECRETS:
        rig.write(*([filler] * 2000), f"somebody wrote {secret}", json.dumps({"error": f"refused {secret}"}))
        rig.journal += [json.dumps({"MESSAGE": f"Traceback: {secret}"}),
                        json.dumps({"MESSAGE": secret}, ensure_ascii=False)]
    rig.write("Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoiZXpyZWMifQ.c2lnbmF0dXJl")
    await rig.after()
    everything = "\n".join([*rig.shipped(), *rig.shipped("journal.jsonl")])
    assert everything.count(logs.MASK) >= 4 * len(SECRETS)
    for secret in SECRETS:
        for part in (secret, json.dumps(secret)[1:-1], *secret.splitlines()):
            assert part not in everything
    assert "eyJhbGci" not in everything


# ---- real places


@pytest.fixture
async def shelf_url() -> AsyncIterator[tuple[str, dict[str, bytes]]]:
    async with a_shelf() as server:
        yield server.url, server.files


async def test_archives_go_to_supabase_storage_below_the_court_s_own_folder(
        rig: Rig, shelf_url: tuple[str, dict[str, bytes]]) -> None:
    url, stored = shelf_url
    shelf = Shelf(SupabaseSettings(url=url, key=Secret(KEY)), BUCKET)
    rig.ship = LogShip(rig.clock, rig.folder, rig.logs, "court-1", shelf, 900, rig.read, shelf.close)
    rig.write("1")
    await rig.after()
    await shelf.close()
    assert list(stored) == ["logs/court-1/20270115T081500Z_logs.zip"]
    assert zipfile.ZipFile(io.BytesIO(stored[next(iter(stored))])).read("ezrec.log") == b"1\n"


async def test_archives_go_to_the_films_bucket(rig: Rig, ministack: S3, bucket: str) -> None:
    storage = S3Storage(sections.S3Settings(endpoint=ministack.endpoint, bucket=bucket, access_key_id=ministack.key,
                                            secret_access_key=Secret(ministack.secret)), lambda: False)
    rig.ship = LogShip(rig.clock, rig.folder, rig.logs, "court-1", storage, 900, rig.read)
    rig.write("1")
    await rig.after()
    await storage.close()
    assert list(ministack.objects(bucket)) == ["logs/court-1/20270115T081500Z_logs.zip"]
