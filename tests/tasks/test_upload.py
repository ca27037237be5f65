"""Upload: one whole object, whatever the storage does with its answers and the disk with the film."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ezrec.adapters.publishing.local import LocalPublisher
from ezrec.adapters.storage import Part, Stored, check_key, composite_etag
from ezrec.adapters.storage.local import LocalStorage
from ezrec.config.sections import StorageSettings
from ezrec.config.values import KEY_CHARACTERS, KEY_FIELDS, KEY_IDS
from ezrec.domain.booking import LONGEST_ID
from ezrec.domain.clock import SECOND
from ezrec.domain.errors import OtherObject, ParkError, RetryError, UploadGone
from ezrec.domain.events import FootageFound
from ezrec.domain.film import Film
from ezrec.domain.naming import store_id
from ezrec.domain.stages import Stage
from ezrec.tasks import upload as upload_module
from ezrec.tasks.film.growing import Growth
from ezrec.tasks.publish import Publish
from ezrec.tasks.upload import Upload, object_key, poster_key
from tests.domain.test_schedule import film as a_film
from tests.fakes.desk import RECIPE, WALL_S, Desk, a_desk, not_damaged

BERLIN = ZoneInfo("Europe/Berlin")
CONTENT = bytes(range(256)) * 41  # 10,496 bytes: ten parts of 1000 and one of 496


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with a_desk(tmp_path / "data") as one:
        yield one


# ---- the storage's answers


class Storage:
    """The local library (by copy), which loses answers, forgets uploads and counts what it was asked."""

    def __init__(self, library: Path, data: Path) -> None:
        self.in_flight = 1
        self.under_way = self.most = 0  # parts being put
        self.gate: Callable[[str], Awaitable[None]] | None = None  # what each call waits for
        self.gone: set[str] = set()  # uploads that it has forgotten
        self._real = LocalStorage(library, data, link=False)
        self.library = library
        self.loses: list[tuple[str, bool]] = []  # call, whether the work was done before the answer was lost
        self.asked: list[str] = []

    async def begin(self, key: str) -> str:
        return await self._call("begin", key)

    async def parts(self, key: str, upload_id: str) -> dict[int, str]:
        return await self._call("parts", key, upload_id)

    async def put_part(self, key: str, upload_id: str, part: Part, film: Path) -> None:
        await self._call("put_part", key, upload_id, part, film, tell=f"put {part.number}")

    async def complete(self, key: str, upload_id: str, parts: Sequence[Part], film: Path) -> Stored:
        return await self._call("complete", key, upload_id, parts, film)

    async def verify(self, key: str, parts: Sequence[Part], film: Path) -> Stored | None:
        return await self._call("verify", key, parts, film)

    async def abort(self, key: str, upload_id: str) -> None:
        await self._call("abort", key, upload_id)

    async def remove(self, key: str) -> None:
        await self._call("remove", key)

    async def put_file(self, key: str, file: Path) -> str:
        return await self._call("put_file", key, file)

    async def close(self) -> None:
        await self._real.close()

    async def _call(self, name: str, *args: Any, tell: str | None = None) -> Any:
        self.asked.append(tell or name)
        if name in ("parts", "put_part", "complete") and args[1] in self.gone:
            raise UploadGone(f"{name}: no such upload")
        lost = next((one for one in self.loses if one[0] == name), None)
        if lost:
            self.loses.remove(lost)
        if lost and not lost[1]:
            raise RetryError(f"{name}: no answer")
        putting = name == "put_part"
        self.under_way += putting
        self.most = max(self.most, self.under_way)
        try:
            if self.gate:
                await self.gate(tell or name)
            answer = await getattr(self._real, name)(*args)
        finally:
            self.under_way -= putting
        if lost:
            raise RetryError(f"{name}: no answer")
        return answer

    def objects(self) -> dict[str, bytes]:
        return {str(path.relative_to(self.library)): path.read_bytes() for path in self.library.rglob("*")
                if path.is_file()}


class Scene:
    """A film's file that grows, and its upload."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.storage = Storage(desk.data / "library", desk.data)
        self.file = desk.data / "films" / "rec-match" / "film-1.mp4"
        self.file.parent.mkdir(parents=True)
        self.final = len(CONTENT)
        self.closed = True
        self.sums: dict[int, str] = {}
        self.index: int | None = None
        self.again: list[str] = []  # why the film was to be made again
        self.file.write_bytes(CONTENT)
        self.restart()

    def restart(self) -> None:
        self.upload = Upload(self.desk.store, self.desk.clock, self.storage, self.desk.settings(), BERLIN,
                             self._growth, self._make_again)
        self.storage.asked.clear()

    def _growth(self, _: Film) -> Growth:
        return Growth(self.file, self.final, self.closed, self.sums, self.index)

    async def _make_again(self, _: Film, reason: str) -> None:
        self.again.append(reason)

    async def work(self) -> bool:
        return await self.upload.work(await self.desk.now())

    async def put_home(self, limit: int = 30) -> int:
        """Work as the pipeline would until the film is uploaded; how many tries failed."""
        for failures in range(limit):
            try:
                if await self.work():
                    return failures
            except RetryError:
                pass
        raise AssertionError("it never succeeded")


@pytest.fixture
async def scene(desk: Desk) -> Scene:
    await desk.film(Stage.RENDERED, recipe=RECIPE.dumps(), bytes=len(CONTENT), certificate='{"film_seconds": 3}')
    return Scene(desk)


async def test_a_film_becomes_one_object_with_its_checksums_in_the_certificate(scene: Scene) -> None:
    scene.file.with_name("poster.jpg").write_bytes(b"picture")
    assert await scene.work()
    film = await scene.desk.now()
    key = "2027-01-15/match.mp4"
    assert scene.storage.objects() == {key: CONTENT, "2027-01-15/match.jpg": b"picture"}
    assert (film.stage, film.object_key, film.url) == (Stage.UPLOADED, key, (scene.storage.library / key).as_uri())
    sums = [hashlib.sha256(CONTENT[at:at + 1000]).digest() for at in range(0, len(CONTENT), 1000)]
    assert film.sha256 == f"{hashlib.sha256(b''.join(sums)).hexdigest()}-11"
    assert film.certificate
    assert film.certificate.film_seconds == 3
    stored = film.certificate.to_json()["object"]
    parts = [Part(n, 0, 0, hashlib.md5(CONTENT[at:at + 1000]).hexdigest())
             for n, at in enumerate(range(0, len(CONTENT), 1000), 1)]
    assert (stored["bytes"], stored["etag"], stored["sha256"]) == (len(CONTENT), composite_etag(parts), film.sha256)
    assert stored["poster_url"].endswith("match.jpg")
    assert (stored["key"], stored["part_bytes"], stored["live_bytes"]) == (key, 1000, 0)


async def test_a_film_that_grows_goes_up_part_by_part_and_each_part_once(scene: Scene) -> None:
    scene.closed = False
    for scene.final in (0, 999, 2500, 3000, 7100, 7900):
        assert not await scene.work()
    assert [one for one in scene.storage.asked if one.startswith("put ")] == [f"put {n}" for n in (3, 4, 5, 6, 7)]
    assert "complete" not in scene.storage.asked
    scene.closed, scene.final = True, len(CONTENT)
    assert await scene.work()
    assert [one for one in scene.storage.asked if one.startswith("put ")][5:] == [
        "put 8", "put 9", "put 10", "put 11", "put 2", "put 1"]
    assert scene.storage.asked.count("begin") == 1
    assert scene.storage.objects()["2027-01-15/match.mp4"] == CONTENT


async def test_the_key_is_stored_before_anything_is_uploaded(scene: Scene) -> None:
    scene.storage.loses = [("begin", False)]
    with pytest.raises(RetryError):
        await scene.work()
    assert ((await scene.desk.now()).object_key, scene.storage.asked) == ("2027-01-15/match.mp4", ["begin"])


async def test_a_film_that_has_its_key_keeps_it_when_the_settings_name_another(scene: Scene) -> None:
    scene.storage.loses = [("begin", False)]
    with pytest.raises(RetryError):
        await scene.work()
    settings = scene.desk.settings(storage={"key": "elsewhere/{booking_id}"})
    scene.upload = Upload(scene.desk.store, scene.desk.clock, scene.storage, settings, BERLIN, scene._growth,
                          not_damaged)
    assert await scene.work()
    assert list(scene.storage.objects()) == ["2027-01-15/match.mp4"]


@pytest.mark.parametrize("done", [True, False], ids=["after the work", "before the work"])
@pytest.mark.parametrize("call", ["begin", "put_part", "complete", "put_file"])
@pytest.mark.parametrize("in_flight", [1, 3])
async def test_a_lost_answer_leaves_one_object_and_one_row(
        scene: Scene, call: str, done: bool, in_flight: int) -> None:
    """Promise 4."""
    scene.storage.in_flight = in_flight
    scene.file.with_name("poster.jpg").write_bytes(b"picture")
    scene.storage.loses = [(call, done), (call, done)]
    assert await scene.put_home() in (1, 2)
    assert scene.storage.objects().keys() == {"2027-01-15/match.mp4", "2027-01-15/match.jpg"}
    assert scene.storage.objects()["2027-01-15/match.mp4"] == CONTENT
    publish = Publish(scene.desk.store, scene.desk.settings().site, BERLIN, lambda: None)
    for _ in range(2):
        await publish.work(await scene.desk.now())
    (message,) = await scene.desk.store.outbox()
    publisher = LocalPublisher(scene.desk.store)
    for _ in range(2):
        await publisher.publish(message.body)
    assert len(await scene.desk.store.videos()) == 1
    assert not list((scene.storage.library / ".uploads").iterdir())


async def test_after_a_restart_only_what_the_storage_holds_with_these_very_bytes_is_not_put_again(scene: Scene) -> None:
    scene.storage.loses = [("complete", False)]
    with pytest.raises(RetryError):
        await scene.work()
    (copy,) = (path for path in (scene.storage.library / ".uploads").iterdir() if not path.suffix)
    damaged = bytearray(copy.read_bytes())
    damaged[4500] ^= 1  # in part 5, there
    copy.write_bytes(damaged)
    changed = bytearray(CONTENT)
    changed[8500] ^= 1  # in part 9, here
    scene.file.write_bytes(changed)
    scene.restart()
    assert await scene.work()
    assert [one for one in scene.storage.asked if one.startswith("put ")] == ["put 5", "put 9"]
    assert scene.storage.objects()["2027-01-15/match.mp4"] == bytes(changed)


async def test_after_a_restart_parts_that_the_film_has_not_reached_again_are_compared_once_it_has(scene: Scene) -> None:
    scene.closed, scene.final = False, 9000
    await scene.work()
    scene.restart()
    scene.final = 5000  # joined again up to here
    await scene.work()
    changed = bytearray(CONTENT)
    changed[8500] ^= 1
    scene.file.write_bytes(changed)
    scene.final, scene.closed = len(CONTENT), True
    assert await scene.work()
    assert "put 9" in scene.storage.asked
    assert not {"put 3", "put 6", "put 8"} & set(scene.storage.asked)
    assert scene.storage.objects()["2027-01-15/match.mp4"] == bytes(changed)


async def test_a_part_that_the_storage_lost_before_completing_is_put_again(scene: Scene) -> None:
    scene.closed, scene.final = False, 9000
    await scene.work()
    (copy,) = (path for path in (scene.storage.library / ".uploads").iterdir() if not path.suffix)
    copy.write_bytes(b"\0" * 9000)
    scene.storage._real._checked.clear()
    scene.final, scene.closed = len(CONTENT), True
    assert await scene.put_home() == 1
    assert scene.storage.objects()["2027-01-15/match.mp4"] == CONTENT


# ---- several parts at a time


async def test_as_many_parts_go_up_at_a_time_as_the_storage_takes(scene: Scene) -> None:
    scene.storage.in_flight = 3
    three = asyncio.Event()

    async def gate(call: str) -> None:
        if call.startswith("put "):
            if scene.storage.under_way == 3:
                three.set()
            await three.wait()  # so that no part is done before three are under way

    scene.storage.gate = gate
    assert await scene.work()
    assert scene.storage.most == 3
    puts = [one for one in scene.storage.asked if one.startswith("put ")]
    assert len(puts) == 11
    assert "put 1" in puts[-3:]
    assert scene.storage.objects()["2027-01-15/match.mp4"] == CONTENT


async def test_parts_that_become_due_while_others_go_up_join_them(scene: Scene) -> None:
    scene.closed, scene.final = False, 4000
    scene.storage.in_flight = 2

    async def gate(call: str) -> None:
        if call == "put 3":
            scene.final = 7000

    scene.storage.gate = gate
    assert not await scene.work()
    puts = [one for one in scene.storage.asked if one.startswith("put ")]
    assert sorted(puts) == [f"put {n}" for n in (3, 4, 5, 6, 7)]


async def test_beside_a_live_film_an_old_one_puts_one_part_a_call(scene: Scene) -> None:
    again: list[int] = []
    scene.storage.in_flight = 3
    gives_way = True
    scene.upload = Upload(scene.desk.store, scene.desk.clock, scene.storage, scene.desk.settings(), BERLIN,
                          scene._growth, scene._make_again, lambda _: gives_way, lambda: again.append(1))
    for calls in range(1, 4):
        assert not await scene.work()
        assert (len(puts(scene)), len(again)) == (calls, calls)
    scene.closed, scene.final = False, 6500  # as far as it has grown
    assert not await scene.work()
    gives_way = False
    scene.closed, scene.final = True, len(CONTENT)
    assert await scene.work()
    assert (len(puts(scene)), len(again)) == (11, 3)
    assert scene.storage.objects()["2027-01-15/match.mp4"] == CONTENT


async def test_what_is_forgotten_of_an_upload_is_asked_for(scene: Scene) -> None:
    scene.closed, scene.final = False, 6500
    await scene.work()
    await scene.upload.forget("match")
    scene.closed, scene.final = True, len(CONTENT)
    assert await scene.work()
    assert len(puts(scene)) == 11
    assert scene.storage.asked.count("parts") == 2


def puts(scene: Scene) -> list[str]:
    return [one for one in scene.storage.asked if one.startswith("put ")]


async def test_after_a_failure_nothing_new_is_begun_and_what_is_under_way_stays_confirmed(scene: Scene) -> None:
    scene.storage.in_flight = 3
    failed = asyncio.Event()

    async def gate(call: str) -> None:
        if call == "put 4":
            failed.set()
            raise RetryError("no answer")
        if call.startswith("put "):
            await failed.wait()

    scene.storage.gate = gate
    with pytest.raises(RetryError, match="no answer"):
        await scene.work()
    assert {row.number for row in await scene.desk.store.parts("match", 1)} == {3, 5}
    assert sorted(scene.storage.asked[-3:]) == ["put 3", "put 4", "put 5"]
    scene.storage.gate = None
    assert await scene.work()
    assert scene.storage.asked.count("put 3") == scene.storage.asked.count("put 5") == 1
    assert scene.storage.objects()["2027-01-15/match.mp4"] == CONTENT


async def test_an_unforeseen_error_of_a_part_is_raised_once_the_others_have_ended(scene: Scene) -> None:
    scene.storage.in_flight = 2
    hanging = asyncio.Event()

    async def gate(call: str) -> None:
        if call == "put 3":
            await hanging.wait()
            raise ZeroDivisionError
        if call.startswith("put "):
            hanging.set()
            await asyncio.Event().wait()

    scene.storage.gate = gate
    with pytest.raises(ZeroDivisionError):
        await scene.work()
    assert scene.storage.under_way == 0


async def test_an_upload_that_is_stopped_leaves_no_part_behind_that_goes_on(scene: Scene) -> None:
    scene.storage.in_flight = 3
    reached = asyncio.Event()

    async def gate(call: str) -> None:
        if call.startswith("put "):
            reached.set()
            await asyncio.Event().wait()

    scene.storage.gate = gate
    work = asyncio.create_task(scene.work())
    await reached.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert scene.storage.under_way == 0
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "upload"]


async def test_the_certificate_says_how_much_went_up_before_the_film_was_closed(scene: Scene) -> None:
    scene.closed, scene.final = False, 7100
    await scene.work()
    scene.closed, scene.final = True, len(CONTENT)
    assert await scene.work()
    certificate = (await scene.desk.now()).certificate
    assert certificate
    assert certificate.to_json()["object"]["live_bytes"] == 5000


@pytest.mark.parametrize("restarted", [False, True])
async def test_an_empty_part_of_the_reserve_goes_early_and_once_more_if_the_index_grew_into_it(
        desk: Desk, restarted: bool) -> None:
    recipe = replace(RECIPE, index_reserve=4500)
    await desk.film(Stage.RENDERED, recipe=recipe.dumps(), bytes=len(CONTENT), certificate="{}")
    scene = Scene(desk)
    scene.file.write_bytes(bytes(4500) + CONTENT[4500:])
    scene.closed, scene.final, scene.index = False, 7100, 900
    await scene.work()
    assert [call for call in scene.storage.asked if call.startswith("put")] == [f"put {n}" for n in (6, 7, 2, 3, 4, 5)]
    closed = CONTENT[:1500] + bytes(3000) + CONTENT[4500:]  # the index ends in part 2
    scene.file.write_bytes(closed)
    scene.closed, scene.final, scene.index = True, len(CONTENT), None
    scene.sums = {n: hashlib.sha256(closed[at:at + 1000]).hexdigest()
                  for n, at in enumerate(range(0, len(closed), 1000), 1)}
    if restarted:
        scene.restart()
    scene.storage.asked.clear()
    assert await scene.work()
    assert [call for call in scene.storage.asked if call.startswith("put")] == [
        f"put {n}" for n in (8, 9, 10, 11, 2, 1)] + ["put_file"] * scene.storage.asked.count("put_file")
    assert list(scene.storage.objects().values()) == [closed]
    certificate = (await desk.now()).certificate
    assert certificate
    assert restarted or certificate.to_json()["object"]["live_bytes"] == 5000


# ---- an upload that the storage has forgotten


@pytest.mark.parametrize("closed", [True, False])
async def test_an_upload_that_is_gone_is_begun_again_at_once(scene: Scene, closed: bool) -> None:
    scene.closed, scene.final = False, 5000
    await scene.work()
    old = (await scene.desk.now()).upload_id
    assert old
    scene.storage.gone.add(old)
    await scene.storage._real.abort("2027-01-15/match.mp4", old)
    scene.closed, scene.final = closed, len(CONTENT)
    assert await scene.work() is closed
    assert ("verify" in scene.storage.asked) is closed  # no object can be there while its film grows
    film = await scene.desk.now()
    assert film.upload_id != old
    numbers = range(1, 12) if closed else range(3, 11)
    assert {row.number for row in await scene.desk.store.parts("match", 1)} == set(numbers)
    assert scene.storage.asked.count("put 3") == 2
    if closed:
        assert scene.storage.objects() == {"2027-01-15/match.mp4": CONTENT}


@pytest.mark.parametrize("restart", [False, True])
async def test_an_upload_that_is_gone_because_its_object_is_complete_is_not_begun_again(
        scene: Scene, restart: bool) -> None:
    scene.file.with_name("poster.jpg").write_bytes(b"picture")
    scene.storage.loses = [("complete", True)]
    with pytest.raises(RetryError):
        await scene.work()
    upload_id = (await scene.desk.now()).upload_id
    assert upload_id
    scene.storage.gone.add(upload_id)
    if restart:
        scene.restart()
    assert await scene.work()
    assert scene.storage.asked.count("begin") == (0 if restart else 1)
    film = await scene.desk.now()
    assert film.stage is Stage.UPLOADED
    assert film.certificate
    assert film.certificate.to_json()["object"]["poster_url"].endswith("match.jpg")


async def test_an_upload_that_vanishes_again_and_again_is_begun_again_after_a_while(scene: Scene) -> None:
    async def gate(call: str) -> None:
        if call.startswith("put "):
            raise UploadGone("no such upload")

    scene.storage.gate = gate
    with pytest.raises(UploadGone):
        await scene.work()
    assert scene.storage.asked.count("begin") == 2


async def test_an_upload_that_is_gone_because_the_film_was_begun_again_is_not_begun_again(desk: Desk) -> None:
    old = await desk.film(Stage.RECORDING, recipe=RECIPE.dumps())
    scene = Scene(desk)
    scene.closed = False

    async def gate(call: str) -> None:
        if call.startswith("put "):
            await desk.store.next_generation("match", "moved")
            raise UploadGone("no such upload")

    scene.storage.gate = gate
    with pytest.raises(RetryError, match="begun again"):
        await scene.upload.work(old)
    assert scene.storage.asked.count("begin") == 1


async def test_after_a_film_could_not_be_completed_nothing_is_put_or_hashed_that_is_still_there(
        scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.storage.loses = [("complete", False)]
    with pytest.raises(RetryError):
        await scene.work()
    scene.storage.asked.clear()
    monkeypatch.setattr(upload_module, "read_part", None)
    assert await scene.work()
    assert scene.storage.asked == ["parts", "complete"]


# ---- what does not go up


async def test_nothing_is_uploaded_before_there_is_a_recipe_or_a_file(desk: Desk) -> None:
    await desk.film(Stage.RECORDING)
    scene = Scene(desk)
    assert not await scene.work()
    scene.upload = Upload(desk.store, desk.clock, scene.storage, desk.settings(), BERLIN, lambda _: None, not_damaged)
    await desk.store.update_film("match", recipe=RECIPE.dumps())
    assert not await scene.work()
    assert scene.storage.asked == []


async def test_another_object_at_the_key_is_left_alone_and_the_film_parked(scene: Scene) -> None:
    other = scene.storage.library / "2027-01-15" / "match.mp4"
    other.parent.mkdir(parents=True)
    other.write_bytes(b"somebody else's")
    with pytest.raises(ParkError, match="something else"):
        await scene.work()
    assert other.read_bytes() == b"somebody else's"
    assert (await scene.desk.now()).stage is Stage.RENDERED


async def test_an_upload_that_is_overtaken_by_the_next_generation_names_nothing_for_it(desk: Desk) -> None:
    old = await desk.film(Stage.RECORDING, recipe=RECIPE.dumps())
    scene = Scene(desk)
    scene.closed = False
    await desk.store.next_generation("match", "moved")
    with pytest.raises(RetryError, match="begun again"):
        await scene.upload.work(old)
    film = await desk.now()
    assert (film.generation, film.object_key, film.upload_id) == (2, None, None)
    await scene.work()
    assert (await desk.now()).object_key == "2027-01-15/match@2.mp4"


# ---- a film that is not what was written


SUMS = {number: hashlib.sha256(CONTENT[at:at + 1000]).hexdigest()
        for number, at in enumerate(range(0, len(CONTENT), 1000), 1)}


def damage(scene: Scene, at: int, data: bytes = b"damage") -> None:
    with scene.file.open("r+b") as file:
        file.seek(at)
        file.write(data)


async def test_a_part_that_is_not_what_was_written_is_not_stored_and_the_film_made_again(scene: Scene) -> None:
    scene.sums = SUMS
    damage(scene, 4200)
    assert not await scene.work()
    assert scene.again == ["the film's file was damaged: part 5 is not what was written"]
    assert "put 5" not in scene.storage.asked
    assert "2027-01-15/match.mp4" not in scene.storage.objects()
    assert (await scene.desk.now()).stage is Stage.RENDERED


async def test_a_damaged_film_whose_checksums_nobody_knows_is_stored_as_it_is(scene: Scene) -> None:
    damage(scene, 4200)
    assert await scene.work()
    assert scene.again == []


async def test_damage_to_a_part_that_is_stored_already_is_harmless(scene: Scene) -> None:
    scene.closed, scene.final, scene.sums = False, 7100, SUMS
    assert not await scene.work()
    scene.restart()
    damage(scene, 2000, bytes(5000))  # parts 3 to 7
    scene.closed, scene.final = True, len(CONTENT)
    assert await scene.work()
    assert scene.storage.objects()["2027-01-15/match.mp4"] == CONTENT
    assert scene.again == []
    assert [one for one in scene.storage.asked if one.startswith("put ")] == [
        "put 8", "put 9", "put 10", "put 11", "put 2", "put 1"]


async def test_a_part_that_the_storage_holds_otherwise_than_it_was_written_is_put_again(scene: Scene) -> None:
    scene.closed, scene.final = False, 7100
    damage(scene, 4200)
    assert not await scene.work()  # an older version: it knows no checksums
    scene.restart()
    damage(scene, 4200, CONTENT[4200:4206])
    scene.closed, scene.final, scene.sums = True, len(CONTENT), SUMS
    assert await scene.work()
    assert scene.storage.objects()["2027-01-15/match.mp4"] == CONTENT
    assert "put 5" in scene.storage.asked
    assert "put 4" not in scene.storage.asked


async def test_a_film_that_is_gone_but_stored_whole_is_not_made_again(scene: Scene) -> None:
    scene.sums = SUMS
    scene.storage.loses = [("complete", True)]
    with pytest.raises(RetryError):
        await scene.work()
    scene.restart()
    scene.file.unlink()
    assert await scene.work()
    film = await scene.desk.now()
    assert (film.stage, film.sums, scene.again) == (Stage.UPLOADED, (), [])
    assert scene.storage.objects() == {"2027-01-15/match.mp4": CONTENT}


async def test_a_film_that_is_changed_while_a_part_goes_up_is_made_again(scene: Scene) -> None:
    async def change(call: str) -> None:
        if call == "put 9":
            damage(scene, 8100)

    scene.sums, scene.storage.gate = SUMS, change
    assert not await scene.work()
    assert scene.again == ["the film's file was damaged: part 9 is not what was written"]


async def test_a_film_that_is_damaged_before_the_library_takes_it_whole_is_made_again(desk: Desk) -> None:
    await desk.film(Stage.RENDERED, recipe=RECIPE.dumps(), bytes=len(CONTENT))
    scene = Scene(desk)
    scene.sums = SUMS
    scene.storage._real = LocalStorage(scene.storage.library, desk.data, link=True)

    async def change(call: str) -> None:
        if call == "complete":
            scene.file.write_bytes(CONTENT[:-1])

    scene.storage.gate = change
    assert not await scene.work()
    assert scene.again == ["the film's file was damaged: 1 bytes of part 11 are missing"]
    assert scene.storage.objects() == {}


async def test_a_film_whose_name_in_the_library_names_damaged_bytes_loses_that_name(desk: Desk) -> None:
    await desk.film(Stage.RENDERED, recipe=RECIPE.dumps(), bytes=len(CONTENT))
    scene = Scene(desk)
    scene.sums = SUMS
    scene.storage._real = LocalStorage(scene.storage.library, desk.data, link=True)
    scene.storage.loses = [("complete", True)]
    with pytest.raises(RetryError):
        await scene.work()
    assert scene.storage.objects() == {"2027-01-15/match.mp4": CONTENT}
    scene.restart()
    scene.storage._real = LocalStorage(scene.storage.library, desk.data, link=True)
    damage(scene, 100)
    assert not await scene.work()
    assert scene.again == ["the film's file was damaged: part 1 is not what was written"]
    assert scene.storage.objects() == {}


async def test_a_film_that_cannot_be_read_is_tried_for_a_minute_and_then_made_again(scene: Scene) -> None:
    scene.sums = SUMS
    films, away = scene.file.parent.parent, scene.desk.data / "away"
    films.rename(away)
    for _ in range(2):
        with pytest.raises(RetryError, match="cannot be read"):
            await scene.work()
        scene.desk.clock.forward(40 * SECOND)
    assert not await scene.work()
    assert scene.again == ["the film's file cannot be read: No such file or directory"]


async def test_a_network_that_fails_says_nothing_of_how_long_a_film_cannot_be_read(scene: Scene) -> None:
    films, away = scene.file.parent.parent, scene.desk.data / "away"
    for _ in range(2):
        films.rename(away)
        with pytest.raises(RetryError, match="cannot be read"):
            await scene.work()
        away.rename(films)
        scene.storage.loses = [("put_part", False)]
        with pytest.raises(RetryError, match="no answer"):
            await scene.work()
        scene.desk.clock.forward(100 * SECOND)
    assert await scene.work()
    assert scene.again == []


async def test_a_film_that_can_be_read_again_within_a_minute_is_stored_and_the_minute_begins_anew(scene: Scene) -> None:
    scene.closed, scene.final, scene.sums = False, 7100, SUMS
    films, away = scene.file.parent.parent, scene.desk.data / "away"
    for _ in range(2):
        films.rename(away)
        with pytest.raises(RetryError, match="cannot be read"):
            await scene.work()
        scene.desk.clock.forward(50 * SECOND)
        away.rename(films)
        await scene.work()
        scene.desk.clock.forward(50 * SECOND)
        scene.final += 1000
    scene.closed, scene.final = True, len(CONTENT)
    assert await scene.work()
    assert scene.again == []


async def test_a_film_that_grows_is_joined_again_only_if_it_is_still_the_file_that_was_read(
        scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.closed, scene.final, scene.sums = False, 7100, SUMS
    damage(scene, 4200)
    assert not await scene.work()
    assert scene.again == ["the film's file was damaged: part 5 is not what was written"]
    read: Callable[..., Any] = upload_module.read_part

    def made_anew(*args: Any) -> Any:
        scene.sums = dict(SUMS)
        return read(*args)

    monkeypatch.setattr(upload_module, "read_part", made_anew)
    with pytest.raises(RetryError, match="made again"):
        await scene.work()
    assert len(scene.again) == 1


async def test_parts_of_a_file_that_was_made_anew_with_other_bytes_are_put_again(scene: Scene) -> None:
    scene.closed, scene.final, scene.sums = False, 7100, SUMS
    assert not await scene.work()
    other = CONTENT[:4200] + b"rendered again" + CONTENT[4214:]
    scene.file.write_bytes(other)
    scene.sums = SUMS | {5: hashlib.sha256(other[4000:5000]).hexdigest()}
    scene.closed, scene.final = True, len(CONTENT)
    assert await scene.work()
    assert scene.storage.objects()["2027-01-15/match.mp4"] == other
    assert [scene.storage.asked.count(f"put {number}") for number in (4, 5, 6)] == [1, 2, 1]


@pytest.mark.parametrize("there", ["nothing", "a folder"])
async def test_a_film_whose_poster_cannot_be_read_is_stored_without_one(scene: Scene, there: str) -> None:
    if there == "a folder":
        scene.file.with_name("poster.jpg").mkdir()
    assert await scene.work()
    film = await scene.desk.now()
    assert film.certificate
    assert film.certificate.to_json()["object"]["poster_url"] is None


# ---- and its cost


async def test_no_more_than_a_block_of_a_part_is_read_at_a_time(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ezrec.tasks.parts.READ_BYTES", 64)
    assert await scene.work()
    assert scene.storage.objects()["2027-01-15/match.mp4"] == CONTENT


async def test_hashing_does_not_hold_the_event_loop(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[bool] = []
    hashes: Callable[..., Any] = upload_module.read_part

    def watched(*args: Any) -> Any:
        try:
            asyncio.get_running_loop()
            threads.append(False)
        except RuntimeError:
            threads.append(True)
        return hashes(*args)

    monkeypatch.setattr(upload_module, "read_part", watched)
    await scene.work()
    assert len(threads) == 11
    assert all(threads)


@pytest.mark.parametrize(("template", "generation", "key"), [
    ("{date}/{booking_id}", 1, "2027-01-15/match.mp4"),
    ("{date}/{booking_id}", 3, "2027-01-15/match@3.mp4"),
    ("{camera_id}/{year}/{month}/{day}/{time}-{recording_id}", 1, "court-7/2027/01/15/0859-rec-match.mp4")])
async def test_a_key_is_made_of_the_bookings_own_local_date(desk: Desk, template: str, generation: int,
                                                             key: str) -> None:
    film = await desk.film(Stage.RECORDING)
    assert object_key(template, replace(film, generation=generation), "court-7", BERLIN) == key


def made(booking_id: str, generation: int = 1, starts_s: float = WALL_S, recording: int = 0) -> Film:
    starts_at = round(starts_s * SECOND)
    day = datetime.fromtimestamp(starts_s, BERLIN)
    film = a_film(Stage.RECORDING, booking_id=booking_id)
    return replace(film, recording_id=f"{day:%Y%m%d-%H%M}-{recording:08x}", generation=generation, starts_at=starts_at,
                   ends_at=starts_at + SECOND)


def test_a_generation_and_a_booking_that_is_named_like_one_have_two_keys() -> None:
    keys = [object_key("{date}/{booking_id}", made(booking_id, generation), "court-7", BERLIN)
            for booking_id in ("a", "a.2", "a-2", "a_2", "a2", store_id("a", WALL_S * SECOND), "a.mp4", "a.jpg")
            for generation in (1, 2, 22)]
    assert len(set(keys)) == len(keys) == 24


PLAIN = sorted(KEY_CHARACTERS - {"/", "."})
ids = st.sampled_from(sorted(KEY_IDS)).map(lambda name: f"{{{name}}}")
pieces = (st.text(PLAIN, min_size=1, max_size=3) | st.sampled_from(["1", "T", "Z", "=2", "x.2", "-"])
          | st.sampled_from(sorted(KEY_FIELDS)).map(lambda name: f"{{{name}}}"))
between = st.lists(pieces | st.sampled_from(["/"]), max_size=3).map("".join)
templates = st.tuples(between, ids, between).map("".join)
plain_ids = st.from_regex(r"[A1T][A12TZ._-]{0,5}", fullmatch=True).filter(lambda text: ".." not in text)
some_ids = plain_ids | st.tuples(plain_ids, st.integers(0, 90)).map(lambda one: store_id(one[0], one[1] * SECOND))

some_bookings = st.lists(st.tuples(some_ids, st.integers(0, 3)), min_size=2, max_size=4, unique_by=lambda one: one[0])


@settings(deadline=None)
@given(templates, some_bookings, st.lists(st.sampled_from([1, 2, 3, 11, 12]), min_size=2, unique=True),
       st.sampled_from(["1", "T-2", "court-7"]))
def test_no_two_generations_of_any_bookings_share_a_key_or_a_poster(
        template: str, bookings: list[tuple[str, int]], generations: list[int], camera: str) -> None:
    """Whatever template the settings take: templates that they refuse are passed over."""
    try:
        StorageSettings(key=template)
    except ValidationError:
        assume(False)
    films = [made(booking_id, generation, at * 10**9, number)
             for number, (booking_id, at) in enumerate(bookings) for generation in generations]
    keys = [object_key(template, film, camera, BERLIN) for film in films]
    assert len(set(keys)) == len(films)
    assert len({poster_key(key) for key in keys} | set(keys)) == 2 * len(films)
    folders = {str(folder) for key in keys for folder in PurePosixPath(key).parents}
    assert not folders & set(keys)
    for key in keys:
        check_key(key)


def test_the_longest_names_fit_into_a_disk_and_into_s3() -> None:
    film = made(store_id("x" * LONGEST_ID, WALL_S * SECOND), 999_999)
    for template in ("{date}/{booking_id}", "{booking_id}-{recording_id}-{camera_id}", "a/" * 100 + "{booking_id}"):
        check_key(object_key(StorageSettings(key=template).key, film, "c" * 64, BERLIN))
    for template in ("x" * 100 + "{booking_id}", "{booking_id}-{booking_id}", "{camera_id}/" * 14 + "{booking_id}"):
        with pytest.raises(ParkError, match="cannot be an object's key"):
            check_key(object_key(template, film, "c" * 64, BERLIN))
        with pytest.raises(ValidationError, match="is too long"):
            StorageSettings(key=template)


@pytest.mark.parametrize("lost", [True, False])
async def test_only_a_film_of_a_lost_store_makes_room_for_the_one_made_anew(scene: Scene, *, lost: bool) -> None:
    key = scene.storage.library / "2027-01-15" / "match.mp4"
    key.parent.mkdir(parents=True)
    key.write_bytes(b"of the store that was lost")
    if lost:
        await scene.desk.store.note_recovery("lost")
        with pytest.raises(RetryError, match="has been removed"):
            await scene.work()
        assert await scene.work()
        assert key.read_bytes() == CONTENT
    else:
        with pytest.raises(OtherObject):
            await scene.work()
        assert key.read_bytes() == b"of the store that was lost"


async def test_a_film_whose_key_a_lost_store_gave_to_another_one_is_made_under_the_next(scene: Scene) -> None:
    key = scene.storage.library / "2027-01-15" / "match.mp4"
    key.parent.mkdir(parents=True)
    key.write_bytes(b"a film of this id, earlier on this day")
    await scene.desk.store.note_recovery("lost")
    await scene.desk.store.update_film("match", ends_at=scene.desk.clock.wall_us() + 1)  # it came to be after that
    assert not await scene.work()
    assert scene.again == [f"its key 2027-01-15/{key.name} is that of an earlier film, from before the store was lost"]
    assert key.read_bytes() == b"a film of this id, earlier on this day"


async def test_a_film_made_anew_leaves_no_object_that_a_lost_store_had_stored_under_another_generation(
        scene: Scene) -> None:
    for name in ("match.mp4", "match@2.mp4", "match@3.mp4", "other@2.mp4"):
        key = scene.storage.library / "2027-01-15" / name
        key.parent.mkdir(parents=True, exist_ok=True)
        key.write_bytes(b"of the store that was lost")
    await scene.desk.store.note_recovery("lost")
    await scene.desk.store.record("match", FootageFound())
    await scene.put_home()
    left = {name: content for name, content in scene.storage.objects().items() if name.startswith("2027")}
    assert left == {"2027-01-15/match.mp4": CONTENT, "2027-01-15/other@2.mp4": b"of the store that was lost"}
