"""The outbox: everything arrives in its order, whatever fails in between, and nothing is told twice in effect."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ezrec.domain.booking import Booking
from ezrec.domain.clock import SECOND
from ezrec.domain.errors import CredentialError, ParkError, RetryError
from ezrec.domain.messages import Video
from ezrec.domain.stages import Stage
from ezrec.tasks.outbox import Outbox
from tests.fakes.desk import Desk, a_desk
from tests.fakes.waiting import eventually

VIDEO = Video("match", "rec-match", "u", "c", "k", "url", None, 1.0, 2, "f.mp4", "2027-01-15", "now")


class Cloud:
    """A board, a table of videos and a storage in one: each can lose its answers, before or after the work."""

    def __init__(self) -> None:
        self.done: list[tuple[str, ...]] = []
        self.errors: list[Exception] = []
        self.lose_answers = False

    async def _do(self, *what: str) -> None:
        error = self.errors.pop(0) if self.errors else None
        if error is None or self.lose_answers:
            self.done.append(what)
        if error:
            raise error

    async def tell_status(self, booking_id: str, status: str, reason: str | None) -> None:
        await self._do(booking_id, status, *([reason] if reason else []))

    async def publish(self, video: Video) -> None:
        await self._do(video.booking_id, "row")

    async def abort(self, key: str, upload_id: str) -> None:
        await self._do("abort", key, upload_id)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with a_desk(tmp_path) as one:
        yield one


@pytest.fixture(autouse=True)
def longest_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "uniform", lambda _low, high: high)


def outbox(desk: Desk, cloud: Any, **more: Any) -> Outbox:
    return Outbox(desk.store, desk.clock, cloud, cloud, more.pop("board", cloud), lambda: None, **more)


async def film(desk: Desk, stage: Stage, booking_id: str = "match") -> None:
    now = desk.clock.wall_us()
    await desk.store.put_booking(Booking(booking_id, "supabase", now - 60 * SECOND, now, "scheduled", reported=True))
    await desk.film(stage, booking_id)


async def drain(task: Outbox) -> None:
    while await task.run_once():
        pass


async def test_a_film_s_whole_story_is_told_in_its_order(desk: Desk) -> None:
    await film(desk, Stage.UPLOADED)
    await desk.store.post_video("match", VIDEO)
    cloud = Cloud()
    await drain(outbox(desk, cloud))
    assert [what for _, what in cloud.done] == ["recording", "completed", "video_processed", "row", "video_uploaded"]
    assert (await desk.now()).stage is Stage.PUBLISHED
    assert await desk.store.outbox() == []


@pytest.mark.parametrize("lost", [False, True])
async def test_what_fails_is_told_again_after_a_while_and_what_follows_waits_for_it(desk: Desk, lost: bool) -> None:
    await film(desk, Stage.RECORDED)
    cloud = Cloud()
    cloud.errors, cloud.lose_answers = [RetryError("no network"), CredentialError("an old key")], lost
    task = outbox(desk, cloud)
    for attempts, rest_s in ((1, 2), (2, 4)):
        assert not await task.run_once()
        message = (await desk.store.outbox())[0]
        assert (message.attempts, message.retry_at) == (attempts, desk.clock.wall_us() + rest_s * SECOND)
        assert not await task.run_once()  # it rests
        desk.clock.forward(rest_s * SECOND)
    await drain(task)
    assert cloud.done == [("match", "recording")] * (3 if lost else 1) + [("match", "completed")]


async def test_once_the_network_is_back_everything_that_rests_is_told_at_once_oldest_first(desk: Desk) -> None:
    for name in ("one", "two", "three"):
        await film(desk, Stage.RECORDING, name)
    cloud = Cloud()
    cloud.errors = [RetryError("no network")] * 3
    task = outbox(desk, cloud)
    assert not await task.run_once()
    task.retry_now()
    await drain(task)
    assert [name for name, _ in cloud.done] == ["one", "two", "three"]


async def test_a_backlog_is_told_in_its_order_even_if_the_network_comes_back_half_way_through_it(desk: Desk) -> None:
    for name in ("one", "two", "three"):
        await film(desk, Stage.RECORDED, name)
    cloud = Cloud()
    cloud.errors = [RetryError("no network")] * 2
    task = outbox(desk, cloud)
    assert await task.run_once()
    task.retry_now()
    await drain(task)
    assert cloud.done == [("three", "recording"), ("one", "recording"), ("one", "completed"), ("two", "recording"),
                          ("two", "completed"), ("three", "completed")]


async def test_a_success_after_failures_has_the_others_tried_at_once(desk: Desk) -> None:
    for name in ("one", "two"):
        await film(desk, Stage.RECORDING, name)
    cloud = Cloud()
    cloud.errors = [RetryError("no network")] * 2
    task = outbox(desk, cloud)
    await task.run_once()
    task._rests[min(task._rests)] = 0
    await drain(task)
    assert len(cloud.done) == 2


async def test_what_is_refused_for_good_is_parked_and_told_again_when_somebody_says_so(desk: Desk) -> None:
    await film(desk, Stage.UPLOADED)
    await desk.store.post_video("match", VIDEO)
    cloud = Cloud()
    task = outbox(desk, cloud)
    for _ in range(3):
        await task.run_once()
    cloud.errors = [ParkError("no permission")]
    await drain(task)
    assert ((await desk.now()).parked_step, (await desk.now()).parked_reason) == ("publish", "no permission")
    assert cloud.done[-1] == ("match", "failed", "no permission")
    await desk.store.retry("match")
    await drain(task)
    assert cloud.done[-2:] == [("match", "row"), ("match", "video_uploaded")]


async def test_a_cloud_that_asks_not_to_be_called_is_not_called_before(desk: Desk) -> None:
    await film(desk, Stage.RECORDING)
    cloud = Cloud()
    cloud.errors = [RetryError("slow down", after_s=120)]
    task = outbox(desk, cloud)
    await task.run_once()
    desk.clock.forward(119 * SECOND)
    await task.run_once()
    assert cloud.done == []
    desk.clock.forward(1 * SECOND)
    await task.run_once()
    assert cloud.done == [("match", "recording")]


async def test_a_refusal_that_may_pass_is_told_at_once_holds_up_nothing_and_is_tried_again_by_itself(
        desk: Desk) -> None:
    await film(desk, Stage.UPLOADED)
    await desk.store.post_video("match", VIDEO)
    cloud = Cloud()
    task = outbox(desk, cloud)
    cloud.errors = [ParkError("stale schema", passing=True)]
    await drain(task)
    assert cloud.done == [("match", "completed"), ("match", "video_processed"), ("match", "row"),
                          ("match", "video_uploaded")]  # all but the first status
    assert (await desk.store.outbox(), (await desk.now()).parked) == ([], {})  # a status that is passed over is dropped


async def test_a_films_row_that_is_refused_and_may_pass_is_told_and_tried_again_by_itself(desk: Desk) -> None:
    await film(desk, Stage.UPLOADED)
    await desk.store.post_video("match", VIDEO)
    cloud = Cloud()
    task = outbox(desk, cloud)
    for _ in range(3):
        await task.run_once()
    for refusals in range(3):
        cloud.errors = [ParkError("stale schema", passing=True)]
        task._rests.clear()
        await drain(task)
        (message,) = await desk.store.outbox()
        assert (message.kind, message.parked_reason, message.attempts) == ("video", "stale schema", refusals)
        assert message.retry_at
        assert message.retry_at - desk.clock.wall_us() >= 300 * SECOND * 2**refusals
        assert (await desk.now()).parked == {"publish": "stale schema"}
    assert cloud.done[-1] == ("match", "failed", "stale schema")
    assert [entry.kind for entry in await desk.store.events("match")].count("parked") == 1
    again = outbox(desk, cloud)  # after a restart it is not waited for
    await drain(again)
    assert cloud.done[-2:] == [("match", "row"), ("match", "video_uploaded")]
    assert ((await desk.now()).parked, (await desk.now()).stage) == ({}, Stage.PUBLISHED)


async def test_a_message_that_fails_in_an_unforeseen_way_is_parked_after_three_attempts(desk: Desk) -> None:
    await film(desk, Stage.RECORDING)
    await film(desk, Stage.RECORDING, "other")
    cloud = Cloud()
    cloud.errors = [ValueError("a bug")]
    task = outbox(desk, cloud)
    for _ in range(3):
        await task.run_once()
        cloud.errors = [ValueError("a bug")]
        task._rests.clear()
    (message,) = await desk.store.outbox()
    assert message.parked_reason == "ValueError: a bug"
    assert cloud.done == [("other", "recording")]


async def test_a_retry_from_another_process_is_taken_up_while_the_message_rests(desk: Desk) -> None:
    await film(desk, Stage.RECORDING)
    cloud = Cloud()
    cloud.errors = [RetryError("no network")]
    task = outbox(desk, cloud)
    await task.run_once()
    await desk.store.retry("match")
    assert await task.run_once()


async def test_statuses_wait_where_nobody_is_there_to_be_told_and_rows_do_not(desk: Desk) -> None:
    await film(desk, Stage.UPLOADED)
    await desk.store.post_video("match", VIDEO)
    cloud = Cloud()
    await drain(outbox(desk, cloud, board=None, apart=frozenset({"abort", "video"})))
    assert cloud.done == [("match", "row")]
    assert {message.kind for message in await desk.store.outbox()} == {"status"}


async def test_an_upload_of_unknown_id_is_left_alone_once_its_film_has_taken_it_over(desk: Desk) -> None:
    await film(desk, Stage.RECORDING)
    await desk.store.name_upload("match", 1, "k")
    await desk.store.step("match", Stage.CANCELLED)
    await desk.store.step("match", Stage.RECORDING)
    await desk.store.name_upload("match", 1, "k", "u")
    cloud = Cloud()
    await drain(outbox(desk, cloud))
    assert [what for what in cloud.done if what[0] == "abort"] == []
    await desk.store.step("match", Stage.CANCELLED)
    await desk.store.step("match", Stage.RECORDING)
    await desk.store.name_upload("match", 1, "k", "u")
    await drain(outbox(desk, cloud))
    assert [what for what in cloud.done if what[0] == "abort"] == []
    await desk.store.step("match", Stage.CANCELLED)
    await drain(outbox(desk, cloud))
    assert cloud.done[-1] == ("abort", "k", "u")


async def test_a_storage_that_hangs_does_not_keep_statuses_waiting(desk: Desk) -> None:
    await film(desk, Stage.RECORDING)
    await desk.store.name_upload("match", 1, "k", "u")
    await desk.store.step("match", Stage.CANCELLED)
    cloud, reached = Cloud(), asyncio.Event()

    async def hang(_key: str, _upload_id: str) -> None:
        reached.set()
        await asyncio.Event().wait()

    cloud.abort = hang  # type: ignore[method-assign]
    running = asyncio.create_task(outbox(desk, cloud).run())
    await reached.wait()
    await film(desk, Stage.RECORDING, "other")

    async def delivered() -> bool:
        return ("other", "recording") in cloud.done

    await eventually(delivered)
    running.cancel()
    await asyncio.wait({running})


async def test_however_often_a_message_failed_it_is_tried_again_within_a_minute(desk: Desk) -> None:
    await film(desk, Stage.RECORDING)
    cloud = Cloud()
    task = outbox(desk, cloud)
    rests = []
    for _ in range(8):
        cloud.errors = [RetryError("no network")]
        await task.run_once()
        (message,) = await desk.store.outbox()
        rests.append(((message.retry_at or 0) - desk.clock.wall_us()) / SECOND)
        desk.clock.forward(round(rests[-1] * SECOND))
    assert rests == [2, 4, 8, 16, 32, 60, 60, 60]


async def test_everything_is_told_by_itself_and_each_arrival_is_announced(desk: Desk) -> None:
    await film(desk, Stage.UPLOADED)
    await desk.store.post_video("match", VIDEO)
    await desk.store._do("INSERT INTO outbox (booking_id, kind, body) VALUES ('match', 'abort', ?)",
                         '{"key": "k", "upload_id": "u"}')
    cloud, arrived = Cloud(), list[int]()
    task = Outbox(desk.store, desk.clock, cloud, cloud, cloud, lambda: arrived.append(len(cloud.done)))  # type: ignore[arg-type]
    running = asyncio.create_task(task.run())

    async def all_told() -> bool:
        return not await desk.store.outbox()

    await eventually(all_told)
    running.cancel()
    await asyncio.wait({running})
    assert (await desk.now()).stage is Stage.PUBLISHED
    assert ("abort", "k", "u") in cloud.done
    assert len(arrived) == len(cloud.done) == 6
