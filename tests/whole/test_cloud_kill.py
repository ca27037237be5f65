"""Exactly once, with the cloud: the real program is killed at every moment that the cloud takes part in, answers are
lost, both at once; after all of it there is one object, one row, the last word, and nothing open at the server.

Each life of the recorder ends at the next of a list of moments, in the order in which they come, until one lives on.
Most of them need no window that is open, so one booking serves for all of them, and a slow machine only takes longer.
"""

import signal
from collections.abc import Mapping
from typing import Any

import pytest

from tests.fakes.cloud_site import CloudSite, MakeSite
from tests.fakes.site import LIMIT_S
from tests.fakes.waiting import wait_until

Moment = tuple[str, Mapping[str, Any]]

WORDS = ["recording", "completed", "video_processed", "video_uploaded"]


def around(doing: str, done: str, **where: Any) -> tuple[Moment, Moment]:
    """The line of the log before a durable step, and the one behind it."""
    return (doing, where), (done, where)


MOMENTS: dict[str, tuple[Moment, ...]] = {
    "while it is played": (
        *around("writing status", "status written", status="recording"),
        *around("opening upload", "upload opened"),
        *around("uploading part", "part uploaded", part=2),
        *around("uploading part", "part uploaded", part=3),
    ),
    "when it is over": (
        *around("uploading part", "part uploaded", part=1),
        *around("storing film", "film stored"),
        *around("taking step", "step taken", to="uploaded"),
    ),
    "when it is told": (
        *around("writing status", "status written", status="completed"),
        *around("writing status", "status written", status="video_processed"),
        *around("writing row", "row written"),
        *around("taking step", "step taken", to="published"),
        *around("writing status", "status written", status="video_uploaded"),
    ),
}


def order(moment: Moment) -> dict[str, Any]:
    event, where = moment
    return {"event": event, "where": dict(where)}


def book(site: CloudSite, seconds: float) -> str:
    """Book a window that opens in a moment, once the recorder is ready; the booking's id."""
    site.wait_said("ready")
    site.book(site.id(), 2.5, 2.5 + seconds)
    return site.id()


def die(site: CloudSite, moment: Moment) -> None:
    """Wait until this life of the recorder has ended at its moment."""
    lines = len(site.lines)
    status = site.wait_dead(2 * LIMIT_S)
    event, where = moment
    assert status == -signal.SIGKILL, f"{moment}: it ended with {status}\n{site.errors[-600:]}"
    last = [line for line in site.lines if line.get("event") == event
            and all(line.get(key) == value for key, value in where.items())]
    assert last, f"{moment}: it died of something else, {site.lines[lines:]}"


def finish(site: CloudSite, booking_id: str) -> None:
    """Everything is as if nothing had happened."""
    site.finish(booking_id)
    assert site.words(booking_id) == WORDS
    assert (len(site.videos()), len(site.objects())) == (1, 2)  # the film and its poster
    assert site.unfinished() == []
    site.check_no_leftovers()
    assert site.stop() == 0
    assert [line for line in site.lines if line.get("level") in ("error", "critical")] == []


@pytest.mark.parametrize(("when", "device"), [
    ("while it is played", True), ("when it is over", False), ("when it is told", False), ("when it is told", True)])
def test_a_kill_around_any_step_in_the_cloud_leaves_one_object_and_one_row(
        new_cloud_site: MakeSite, when: str, device: bool) -> None:
    site = new_cloud_site(device=device)
    first, *others = MOMENTS[when]
    site.start(order(first))
    match = book(site, 5)
    die(site, first)
    for moment in others:
        site.start(order(moment))
        die(site, moment)
    site.start()
    finish(site, match)


@pytest.mark.parametrize("device", [False, True])
def test_answers_that_are_lost_one_after_the_other_change_nothing(new_cloud_site: MakeSite, device: bool) -> None:
    site = new_cloud_site(device=device)
    lost = [site.s3_net.cut_answer(method=method, target=target, times=1) for method, target in (
        ("POST", r"\?uploads"), ("PUT", "partNumber=2"), ("PUT", r"partNumber=1(&|$)"), ("POST", r"\?uploadId="),
        ("PUT", r"\.jpg"))]
    lost += [site.supabase_net.cut_answer(method=method, target=target, times=1) for method, target in (
        ("POST", "/rpc/ezrec_tell"), ("POST", "/rpc/publish_video"))]
    site.start()
    match = book(site, 5)
    finish(site, match)
    assert [fault.hits for fault in lost] == [1] * len(lost)


def test_kills_while_an_answer_is_awaited_that_never_comes_change_nothing(new_cloud_site: MakeSite) -> None:
    """The server has done what it was asked; the recorder dies before it hears of it, again and again."""
    site = new_cloud_site(device=True)

    def has(number: int) -> bool:
        ((key, upload),) = site.unfinished()
        with site.cloud.s3.client() as s3:
            parts = s3.list_parts(Bucket=site.bucket, Key=key, UploadId=upload).get("Parts", ())
            return number in [part["PartNumber"] for part in parts]

    booked = False
    match = site.id()
    for net, method, target, done in (
            (site.supabase_net, "POST", "/rpc/ezrec_tell", lambda: site.words(match) == ["recording"]),
            (site.s3_net, "POST", r"\?uploads", site.unfinished),
            (site.s3_net, "PUT", "partNumber=2", lambda: has(2)),
            (site.s3_net, "PUT", r"partNumber=1(&|$)", lambda: has(1)),
            (site.s3_net, "POST", r"\?uploadId=", site.objects),
            (site.supabase_net, "POST", "/rpc/publish_video", site.videos)):
        fault = net.hang_answer(method=method, target=target)
        site.start()
        if not booked:
            book(site, 5)
            booked = True
        wait_until(lambda fault=fault, done=done: fault.hits and done(), 2 * LIMIT_S, f"{method} {target} to be done")
        site.kill()
        net.heal()
    site.start()
    finish(site, match)


def test_a_kill_around_the_end_of_an_unwanted_upload_leaves_nothing_at_the_server(
        new_cloud_site: MakeSite) -> None:
    site = new_cloud_site()
    first, then = around("aborting upload", "upload aborted")
    site.start(order(first))
    match = book(site, 60)
    site.wait_said("part uploaded", part=2)
    (upload,) = site.unfinished()
    site.change(match, status="cancelled")
    die(site, first)
    assert site.unfinished() == [upload]
    site.start(order(then))
    die(site, then)
    assert site.unfinished() == []
    site.start()
    wait_until(lambda: not site.outbox(match), LIMIT_S, "all to be told")
    film = site.wait_stage(match, "cancelled")
    assert film["parked_reason"] is None
    assert (site.objects(), site.unfinished(), site.videos()) == ({}, [], [])
    assert site.words(match) == ["recording", "cancelled"]
    assert site.stop() == 0


def test_kills_around_telling_that_nothing_was_recorded_have_it_told_once(new_cloud_site: MakeSite) -> None:
    site = new_cloud_site()
    missed = site.id("missed")
    site.book(missed, -100, -90)
    for moment in around("writing status", "status written", status="failed"):
        site.start(order(moment))
        die(site, moment)
    site.start()
    wait_until(lambda: site.rows("SELECT 1 FROM film") and not site.outbox(missed), LIMIT_S, "all to be told")
    assert site.words(missed) == ["failed"]
    assert site.booking(missed)["status_reason"] == "nothing was recorded in the window"
    assert (site.objects(), site.videos()) == ({}, [])
    assert site.stop() == 0


def test_a_recorder_that_is_told_to_stop_while_both_clouds_hang_stops_in_order_and_goes_on_later(
        new_cloud_site: MakeSite) -> None:
    site = new_cloud_site()
    site.start()
    match = book(site, 5)
    site.wait_said("booking known")
    site.s3_net.hang()
    site.supabase_net.hang()
    site.wait_said("writing status")
    site.wait_said("opening upload")
    assert site.stop() == 0
    assert site.objects() == {}
    site.heal()
    site.start()
    finish(site, match)
