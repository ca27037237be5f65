"""Publishing: what a film's row says, and that it is put into the outbox once."""

from collections.abc import AsyncIterator
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from ezrec.domain.clock import SECOND
from ezrec.domain.messages import Video
from ezrec.domain.stages import Stage
from ezrec.tasks.publish import Publish
from tests.fakes.desk import Desk, a_desk

CERTIFICATE = '{"film_seconds": 59.5, "intro_seconds": 2.5, "object": {"poster_url": "file:///p.jpg"}}'


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with a_desk(tmp_path) as one:
        await one.film(Stage.UPLOADED, object_key="2027-01-15/match.mp4", url="file:///m.mp4", bytes=123,
                       certificate=CERTIFICATE)
        yield one


async def test_a_row_says_what_the_film_is_and_is_posted_once(desk: Desk) -> None:
    posted: list[bool] = []
    site = desk.settings(site={"user_id": "u-1", "camera_id": "court-7"}).site
    task = Publish(desk.store, site, ZoneInfo("Europe/Berlin"), lambda: posted.append(True))
    for _ in range(2):
        assert not await task.work(await desk.now())  # it is published when the row is confirmed, not before
        desk.clock.forward(3600 * SECOND)
    (message,) = await desk.store.outbox()
    assert (message.kind, message.body) == ("video", Video(
        "match", "rec-match", "u-1", "court-7", "2027-01-15/match.mp4", "file:///m.mp4", "file:///p.jpg", 62.0, 123,
        "match.mp4", "2027-01-15", "2027-01-15T08:00:00.000+00:00"))
    assert posted == [True, True]
    assert (await desk.now()).stage is Stage.UPLOADED


async def test_a_film_without_a_poster_says_so_with_an_empty_text(desk: Desk) -> None:
    await desk.store.update_film("match", certificate='{"film_seconds": 59.5, "object": {"poster_url": null}}')
    await Publish(desk.store, desk.settings().site, ZoneInfo("UTC"), lambda: None).work(await desk.now())
    (message,) = await desk.store.outbox()
    assert isinstance(message.body, Video)
    assert (message.body.poster_url, message.body.duration_seconds) == ("", 59.5)
