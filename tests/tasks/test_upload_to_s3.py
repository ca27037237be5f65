"""The upload task with a real S3 service behind a network that fails: one object with the film's bytes, no more."""

import asyncio
import hashlib
import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ezrec.adapters.storage import s3_client
from ezrec.adapters.storage.s3 import S3Storage
from ezrec.config import Settings, sections
from ezrec.domain.errors import CredentialError, ParkError, RetryError
from ezrec.domain.film import Film
from ezrec.domain.stages import Stage
from ezrec.tasks.film.growing import Growth
from ezrec.tasks.upload import Upload
from tests.fakes.cloud import faults
from tests.fakes.cloud.chaos import S3_FAULTS, ChaosProxy
from tests.fakes.cloud.s3 import S3
from tests.fakes.desk import RECIPE, Desk, a_desk, not_damaged

KEY = "2027-01-15/match.mp4"
CONTENT = random.Random(5).randbytes(4300)  # four parts of 1000 and one of 300; the reserve touches two
IMPATIENT_S = 2.0  # for calls that are meant to hang
UNHARMED = {"slow"}  # what every call comes through by itself


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with a_desk(tmp_path / "data") as one:
        yield one


class Scene:
    """A film, its upload, and the bucket that it goes to."""

    def __init__(self, desk: Desk, server: S3, bucket: str, url: str) -> None:
        self.desk, self.server, self.bucket, self.url = desk, server, bucket, url
        self.file = desk.data / "films" / "rec-match" / "film-1.mp4"
        self.file.parent.mkdir(parents=True)
        self.file.write_bytes(CONTENT)
        self.final, self.closed = len(CONTENT), True
        self.opened: list[S3Storage] = []
        self.restart()

    def restart(self) -> None:
        """What a new process begins with."""
        settings = sections.S3Settings(endpoint=self.url, bucket=self.bucket, access_key_id=self.server.key,
                               secret_access_key=sections.Secret(self.server.secret), min_rate_kbit=1_000_000)
        self.storage = S3Storage(settings, lambda: False)
        self.opened.append(self.storage)
        self.upload = Upload(self.desk.store, self.desk.clock, self.storage, self.desk.settings(), ZoneInfo("UTC"),
                             self._growth, not_damaged)

    def _growth(self, _: Film) -> Growth:
        return Growth(self.file, self.final, self.closed)

    async def work(self) -> bool:
        return await self.upload.work(await self.desk.now())

    async def assert_home(self) -> None:
        """The film is in the bucket, once and whole, and nothing is left of how it came there."""
        film = await self.desk.now()
        assert film.stage is Stage.UPLOADED
        assert self.server.objects(self.bucket) == {KEY: len(CONTENT)}
        assert self.server.sha256(self.bucket, KEY) == hashlib.sha256(CONTENT).hexdigest()
        assert self.server.unfinished(self.bucket) == []


@pytest.fixture
async def scene(desk: Desk, ministack: S3, bucket: str, s3_net: ChaosProxy,
                monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    monkeypatch.setattr(s3_client, "ATTEMPTS", 1)  # what the calls do not do by themselves is what is tested
    await desk.film(Stage.RENDERED, recipe=RECIPE.dumps(), bytes=len(CONTENT), certificate="{}")
    made = Scene(desk, ministack, bucket, s3_net.url)
    yield made
    for storage in made.opened:
        await storage.close()


# ---- the network

MOMENTS: dict[str, dict[str, Any]] = {
    "begin": {"method": "POST", "target": "uploads"},
    "part": {"method": "PUT", "target": "partNumber=4"},
    "complete": {"method": "POST", "target": "uploadId="},
}
ONE_REQUEST: dict[str, Callable[..., Any]] = {
    "hung mid-body": ChaosProxy.hang_request, "request cut": ChaosProxy.cut_request,
    "answer cut after the commit": ChaosProxy.cut_answer, "answer hung": ChaosProxy.hang_answer,
    "502 with HTML": ChaosProxy.bad_gateway, "200 with HTML": ChaosProxy.portal,
    "credential expired": ChaosProxy.s3_expired,
}


@pytest.mark.parametrize("fault", list(S3_FAULTS))
async def test_whatever_the_network_does_the_film_is_brought_home_when_it_heals(
        scene: Scene, s3_net: ChaosProxy, fault: str) -> None:
    scene.closed, scene.final = False, 3000
    await scene.work()  # part 3 is there, the connection is open
    scene.closed, scene.final = True, len(CONTENT)
    scene.storage._s3.limit_s = IMPATIENT_S
    S3_FAULTS[fault](s3_net)
    failure: Exception | None = None
    try:
        await scene.work()
    except RetryError as error:
        failure = error
    assert failure or fault in UNHARMED
    assert isinstance(failure, CredentialError) == (fault in ("credential expired", "key unknown"))
    s3_net.heal()
    scene.storage._s3.limit_s = 30
    if (await scene.desk.now()).stage is not Stage.UPLOADED:
        assert await scene.work()
    await scene.assert_home()


@pytest.mark.parametrize("moment", list(MOMENTS))
@pytest.mark.parametrize("fault", list(ONE_REQUEST))
async def test_a_request_that_goes_wrong_is_made_good(
        scene: Scene, s3_net: ChaosProxy, fault: str, moment: str) -> None:
    struck = ONE_REQUEST[fault](s3_net, **MOMENTS[moment], times=1)
    scene.storage._s3.limit_s = IMPATIENT_S
    for _ in range(2):
        try:
            done = await scene.work()
            break
        except RetryError:
            scene.storage._s3.limit_s = 30
            if moment == "part":
                scene.restart()
    else:
        done = await scene.work()
    assert done
    assert struck.hits == 1
    await scene.assert_home()


# ---- the storage


@pytest.mark.parametrize("closed", [True, False])
async def test_an_upload_that_the_service_has_dropped_is_begun_again(scene: Scene, closed: bool) -> None:
    scene.closed, scene.final = False, 4000
    await scene.work()
    ((_, upload_id),) = scene.server.unfinished(scene.bucket)
    scene.server.abort(scene.bucket, KEY, upload_id)
    scene.closed, scene.final = closed, len(CONTENT)
    if not closed:  # nothing new is due: it is found out when the film has grown
        scene.file.write_bytes(CONTENT + bytes(1000))
        scene.final = len(CONTENT) + 1000
        assert not await scene.work()
        scene.file.write_bytes(CONTENT)
        scene.closed, scene.final = True, len(CONTENT)
    scene.restart()
    assert await scene.work()
    await scene.assert_home()


async def test_a_process_that_ends_between_completing_and_the_step_leaves_one_object(
        scene: Scene, s3_net: ChaosProxy) -> None:
    film = await scene.desk.now()
    steps = scene.desk.store.step

    async def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    scene.desk.store.step = killed  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        await scene.work()
    scene.desk.store.step = steps  # type: ignore[method-assign]
    assert (await scene.desk.now()).stage is film.stage
    assert scene.server.objects(scene.bucket) == {KEY: len(CONTENT)}
    puts = s3_net.count("PUT")
    scene.restart()
    assert await scene.work()
    assert s3_net.count("PUT") == puts  # nothing goes up twice
    await scene.assert_home()


async def test_an_upload_whose_id_was_never_written_down_is_taken_over(scene: Scene, s3_net: ChaosProxy) -> None:
    s3_net.cut_answer(method="POST", target="uploads", times=1)
    with pytest.raises(RetryError):
        await scene.work()
    ((_, upload_id),) = scene.server.unfinished(scene.bucket)
    scene.restart()
    scene.closed, scene.final = False, 3000
    await scene.work()
    assert (await scene.desk.now()).upload_id == upload_id
    scene.closed, scene.final = True, len(CONTENT)
    assert await scene.work()
    await scene.assert_home()


async def test_another_object_at_the_key_is_left_alone_until_somebody_moves_it_away(scene: Scene) -> None:
    scene.server.put(scene.bucket, KEY, b"somebody else's")
    with pytest.raises(ParkError, match="holds something else"):
        await scene.work()
    assert scene.server.read(scene.bucket, KEY) == b"somebody else's"
    with scene.server.client() as s3:
        s3.delete_object(Bucket=scene.bucket, Key=KEY)
    assert await scene.work()
    await scene.assert_home()


async def test_a_permanent_refusal_parks_and_a_right_that_is_given_brings_the_film_home(
        scene: Scene, s3_net: ChaosProxy) -> None:
    refused = s3_net.answer(faults.S3_DENIED, method="PUT")
    with pytest.raises(ParkError, match=r"AccessDenied.*let the access key"):
        await scene.work()
    s3_net.forget(refused)
    assert await scene.work()
    await scene.assert_home()


async def test_most_of_a_film_is_there_before_it_is_closed(scene: Scene) -> None:
    scene.closed, scene.final = False, 4000
    await scene.work()
    scene.closed, scene.final = True, len(CONTENT)
    assert await scene.work()
    await scene.assert_home()
    certificate = (await scene.desk.now()).certificate
    assert certificate
    assert certificate.to_json()["object"]["live_bytes"] == 2000
    assert json.dumps(certificate.to_json())


# ---- courts that share a bucket

class Box(Scene):
    """A court with settings of its own, and a film of the same booking as every other's."""

    def __init__(self, desk: Desk, server: S3, bucket: str, url: str, content: bytes, **settings: Any) -> None:
        self.content, self.given = content, settings
        super().__init__(desk, server, bucket, url)
        self.file.write_bytes(content)

    def restart(self) -> None:
        where = {"endpoint": self.url, "bucket": self.bucket, "access_key_id": self.server.key,
                 "secret_access_key": self.server.secret, "min_rate_kbit": 1_000_000}
        settings = Settings.model_validate({"s3": where, **self.given})
        self.storage = S3Storage(settings.s3, lambda: False, court_keys=settings.storage.court_keys)
        self.opened.append(self.storage)
        self.upload = Upload(self.desk.store, self.desk.clock, self.storage, settings, ZoneInfo("UTC"),
                             self._growth, not_damaged)


@pytest.fixture
async def boxes(tmp_path: Path, ministack: S3, bucket: str, s3_net: ChaosProxy) -> AsyncIterator[Callable[..., Any]]:
    async with AsyncExitStack() as stack:
        async def box(name: str, content: bytes, folder: str = "", **storage: str) -> Box:
            desk = await stack.enter_async_context(a_desk(tmp_path / (folder or name)))
            await desk.film(Stage.RENDERED, recipe=RECIPE.dumps(), bytes=len(content), certificate="{}")
            made = Box(desk, ministack, bucket, s3_net.url, content, storage={"kind": "s3", **storage},
                       site={"user_id": "owner", "camera_id": name})
            stack.push_async_callback(lambda: asyncio.gather(*(one.close() for one in made.opened)))
            return made
        yield box


OTHERS = CONTENT[::-1]


async def test_two_courts_with_one_weekly_booking_have_two_films_in_one_bucket(boxes: Callable[..., Any]) -> None:
    first, second = await boxes("court-1", CONTENT), await boxes("court-2", OTHERS)
    first.closed, first.final = False, 3000
    await first.work()  # under way while the other comes
    assert await second.work()
    first.closed, first.final = True, len(CONTENT)
    assert await first.work()
    keys = [(await one.desk.now()).object_key for one in (first, second)]
    assert first.server.objects(first.bucket).keys() == set(keys)
    assert [key.split("/")[:3] for key in keys] == [["owner", f"court-{n}", "2027-01-15"] for n in (1, 2)]
    assert [first.server.sha256(first.bucket, key) for key in keys] == [
        hashlib.sha256(content).hexdigest() for content in (CONTENT, OTHERS)]
    assert len({key.split("/")[3] for key in keys}) == 2
    assert all(len(key.split("/")[3]) == 32 for key in keys)


async def test_a_plain_key_takes_nothing_of_another_court_over_and_ends_none_of_its_uploads(
        boxes: Callable[..., Any]) -> None:
    plain = {"key": "{date}/{booking_id}"}
    first, second = await boxes("court-1", CONTENT, **plain), await boxes("court-2", OTHERS, **plain)
    first.closed, first.final = False, 3000
    await first.work()
    assert await second.work()
    await second.storage.abort(KEY, "")  # as after a film that was called off before its upload's id was known
    assert [key for key, _ in first.server.unfinished(first.bucket)] == [KEY]
    first.closed, first.final = True, len(CONTENT)
    await first.desk.store.note_recovery("lost")  # a lost store makes room for its own films, not for these
    with pytest.raises(ParkError, match="may be another court's film"):
        await first.work()
    assert first.server.sha256(first.bucket, KEY) == hashlib.sha256(OTHERS).hexdigest()


async def test_a_film_of_a_lost_store_has_the_key_that_it_had(boxes: Callable[..., Any]) -> None:
    first = await boxes("court-1", CONTENT)
    assert await first.work()
    again = await boxes("court-1", CONTENT, folder="again")
    assert await again.work()
    assert (await again.desk.now()).object_key == (await first.desk.now()).object_key
    assert len(first.server.objects(first.bucket)) == 1


async def test_a_template_without_a_random_part_gives_the_key_that_it_says(boxes: Callable[..., Any]) -> None:
    one = await boxes("court-1", CONTENT, key="{user_id}/{camera_id}/{booking_id}")
    assert await one.work()
    assert list(one.server.objects(one.bucket)) == ["owner/court-1/match.mp4"]
