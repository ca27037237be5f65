"""What the cloud must still be told is written with the fact that it tells of, and only for who wants to know."""

from typing import Any

import pytest

from ezrec.domain.messages import StatusReport, UploadAbort
from ezrec.domain.stages import Stage
from ezrec.store import Store
from ezrec.store.rows import Message
from tests.fakes.records import VIDEO, booking, film_in, segment, span


async def said(store: Store, booking_id: str = "b") -> list[tuple[str, Any]]:
    """The messages: their kinds, and the status word or the upload."""
    return [(one.kind, getattr(one.body, "status", getattr(one.body, "upload_id", None)))
            for one in await store.outbox(booking_id)]


async def delivered(store: Store) -> list[Message]:
    """Tell everything; what was told."""
    done: list[Message] = []
    while heads := await store.outbox_heads():
        for message in heads:
            await store.delivered(message)
            done.append(message)
    return done


async def test_each_step_that_has_a_word_is_told_and_the_row_before_the_last_word(store: Store) -> None:
    await store.put_booking(booking(source="supabase", reported=True))
    await film_in(store, Stage.UPLOADED)
    await store.post_video("b", VIDEO)
    await store.post_video("b", VIDEO)  # a step that is done again
    assert [(one.kind, getattr(one.body, "status", None)) for one in await delivered(store)] == [
        ("status", "recording"), ("status", "completed"), ("status", "video_processed"), ("video", None),
        ("status", "video_uploaded")]
    film = await store.film("b")
    assert film
    assert film.stage is Stage.PUBLISHED
    assert [event.detail["status"] for event in await store.events("b") if event.kind == "told"] == [
        "recording", "completed", "video_processed", "video_uploaded"]


@pytest.mark.parametrize("stage", [Stage.PUBLISHED, Stage.CLEANED])
async def test_a_row_that_has_just_been_confirmed_is_not_written_again(store: Store, stage: Stage) -> None:
    """The publish task looked at the film before that, and comes too late: the message would never go away."""
    await film_in(store, stage)
    await store.post_video("b", VIDEO)
    assert await store.outbox("b") == []


async def test_the_first_footage_of_a_window_is_told(store: Store) -> None:
    await store.put_booking(booking(source="supabase", reported=True))
    await store.add_film("b", "r-b", 100, 200)
    await store.begin_run("boot", 0, 0)
    await store.put_span("b", span())
    assert await store.add_segment(segment(120, 150)) == ["b"]
    await store.add_segment(segment(150, 180))
    assert await said(store) == [("status", "recording")]


@pytest.mark.parametrize("source", ["cli", "file"])
async def test_nobody_is_told_of_a_booking_made_at_the_court(store: Store, source: str) -> None:
    await store.put_booking(booking(source=source))
    await film_in(store, Stage.CLEANED)
    await store.park("b", "cleanup", "read-only")
    assert await said(store) == []


async def test_a_booking_that_was_missed_failed_for_a_reason(store: Store) -> None:
    await store.put_booking(booking(source="supabase", reported=True))
    await film_in(store, Stage.MISSED)
    assert [one.body for one in await store.outbox("b")] == [
        StatusReport("failed", "nothing was recorded in the window")]


async def test_a_parked_film_stays_failed_until_its_retry_has_succeeded(store: Store) -> None:
    await store.put_booking(booking(source="supabase", reported=True))
    await film_in(store, Stage.RECORDING)
    await store.park("b", "upload", "the bucket is gone")
    await store.step("b", Stage.RECORDED)  # the other steps go on
    assert await said(store) == [("status", "recording"), ("status", "failed")]
    assert (await store.outbox("b"))[-1].body.reason == "the bucket is gone"
    await store.retry("b")
    assert (await said(store))[2:] == []
    await store.step("b", Stage.RENDERED)
    assert (await said(store))[2:] == [("status", "video_processed")]


# ---- order


async def test_a_booking_has_one_message_told_at_a_time_and_the_oldest_first(store: Store) -> None:
    for name in ("b", "c"):
        await store.put_booking(booking(name, source="supabase", reported=True))
        await film_in(store, Stage.RENDERED, name)
    heads = await store.outbox_heads()
    assert [(one.booking_id, one.body.status) for one in heads] == [("b", "recording"), ("c", "recording")]
    await store.delivered(heads[0])
    assert [(one.booking_id, one.body.status) for one in await store.outbox_heads()] == [
        ("b", "completed"), ("c", "recording")]


async def test_what_goes_elsewhere_does_not_wait_for_the_others(store: Store) -> None:
    await store.put_booking(booking(source="supabase", reported=True))
    await film_in(store, Stage.UPLOADED)
    await store.post_video("b", VIDEO)
    assert [one.kind for one in await store.outbox_heads()] == ["status"]
    assert [one.kind for one in await store.outbox_heads({"video", "abort"})] == ["status", "video"]


# ---- refused


async def test_a_status_that_is_refused_steps_aside_and_goes_with_the_next_one(store: Store) -> None:
    await store.put_booking(booking(source="supabase", reported=True))
    await film_in(store, Stage.RECORDED)
    first, second = await store.outbox("b")
    await store.message_refused(first, "no such column")
    assert [one.id for one in await store.outbox_heads()] == [second.id]
    assert (await store.events("b"))[-1].detail == {"what": "status", "status": "recording", "reason": "no such column"}
    film = await store.film("b")
    assert film
    assert film.parked_step is None
    await store.delivered(second)
    assert await store.outbox("b") == []


async def test_a_row_that_is_refused_parks_the_film_until_it_is_retried(store: Store) -> None:
    await store.put_booking(booking(source="supabase", reported=True))
    await film_in(store, Stage.UPLOADED)
    await delivered(store)
    await store.post_video("b", VIDEO)
    (row,) = await store.outbox("b")
    await store.message_refused(row, "no permission")
    film = await store.film("b")
    assert film
    assert (film.stage, film.parked_step, film.parked_reason) == (Stage.UPLOADED, "publish", "no permission")
    (parked,) = [event for event in await store.events("b") if event.kind == "parked"]
    assert parked.detail == {"parked_step": "publish", "parked_reason": "no permission"}
    assert [one.body for one in await store.outbox_heads()] == [StatusReport("failed", "no permission")]
    await store.retry("b")
    assert [(one.kind, one.parked_reason) for one in await delivered(store)] == [
        ("video", None), ("status", None), ("status", None)]
    film = await store.film("b")
    assert film
    assert (film.stage, film.parked_step) == (Stage.PUBLISHED, None)


# ---- uploads that nobody needs any more


@pytest.mark.parametrize("upload_id", [None, "u"])
async def test_an_upload_is_aborted_with_its_generation_even_if_its_id_never_came(
        store: Store, upload_id: str | None) -> None:
    await film_in(store, Stage.RECORDING)
    await store.name_upload("b", 1, "k", upload_id)
    await store.next_generation("b", "moved")
    assert [(one.kind, one.body) for one in await store.outbox("b")] == [
        ("abort", UploadAbort("k", upload_id or ""))]


async def test_an_upload_is_aborted_when_its_booking_is_called_off(store: Store) -> None:
    await film_in(store, Stage.RECORDING)
    await store.name_upload("b", 1, "k", "u")
    film = await store.step("b", Stage.CANCELLED)
    assert (film.object_key, film.upload_id, await said(store)) == ("k", None, [("abort", "u")])


@pytest.mark.parametrize("off", ["called off", "begun again"])
async def test_an_upload_that_opens_too_late_is_aborted(store: Store, off: str) -> None:
    await film_in(store, Stage.RECORDING)
    if off == "called off":
        await store.step("b", Stage.CANCELLED)
    else:
        await store.next_generation("b", "moved")
    assert not await store.name_upload("b", 1, "k", "u")
    assert await said(store) == [("abort", "u")]


async def test_nothing_is_aborted_where_nothing_was_begun(store: Store) -> None:
    await film_in(store, Stage.RECORDING)
    await store.next_generation("b", "moved")
    await store.step("b", Stage.CANCELLED)
    assert await said(store) == []


async def test_an_upload_that_the_storage_forgot_is_forgotten_with_its_parts_but_not_its_key(store: Store) -> None:
    await film_in(store, Stage.RECORDING)
    await store.name_upload("b", 1, "k", "u")
    assert await store.forget_upload("b", 1)
    film = await store.film("b")
    assert film
    assert (film.object_key, film.upload_id) == ("k", None)
    assert await said(store) == []
    assert not await store.forget_upload("b", 2)
