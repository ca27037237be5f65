"""Publishing: one row, the same however often it is written."""

from collections.abc import AsyncIterator
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from ezrec.adapters.publishing import Video
from ezrec.domain.clock import SECOND
from ezrec.domain.errors import ParkError, RetryError
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


class Publisher:
    """A table that keeps rows by recording and can lose its answer, before or after the work."""

    def __init__(self, *errors: Exception, done: bool = True) -> None:
        self.rows: dict[str, list[Video]] = {}
        self._errors = list(errors)
        self._done = done

    async def publish(self, video: Video) -> None:
        error = self._errors.pop(0) if self._errors else None
        if error is None or self._done:
            self.rows.setdefault(video.recording_id, []).append(video)
        if error:
            raise error


def publish(desk: Desk, publisher: Publisher) -> Publish:
    site = desk.settings(site={"user_id": "u-1", "camera_id": "court-7"}).site
    return Publish(desk.store, publisher, site, ZoneInfo("Europe/Berlin"))


async def test_a_row_says_what_the_film_is(desk: Desk) -> None:
    publisher = Publisher()
    assert await publish(desk, publisher).work(await desk.now())
    assert publisher.rows["rec-match"] == [Video(
        "match", "rec-match", "u-1", "court-7", "2027-01-15/match.mp4", "file:///m.mp4", "file:///p.jpg", 62.0, 123,
        "match.mp4", "2027-01-15", "2027-01-15T08:00:00.000+00:00")]
    assert (await desk.now()).stage is Stage.PUBLISHED


@pytest.mark.parametrize("done", [True, False])
async def test_an_answer_that_is_lost_leaves_one_row_that_never_changes(desk: Desk, done: bool) -> None:
    publisher = Publisher(RetryError("no answer"), done=done)
    task = publish(desk, publisher)
    with pytest.raises(RetryError):
        await task.work(await desk.now())
    assert (await desk.now()).stage is Stage.UPLOADED
    desk.clock.forward(3600 * SECOND)
    assert await task.work(await desk.now())
    assert list(publisher.rows) == ["rec-match"]
    assert len(set(publisher.rows["rec-match"])) == 1


async def test_a_row_that_is_refused_publishes_nothing(desk: Desk) -> None:
    before = await desk.now()
    with pytest.raises(ParkError):
        await publish(desk, Publisher(ParkError("no such column"), done=False)).work(before)
    assert await desk.now() == before
