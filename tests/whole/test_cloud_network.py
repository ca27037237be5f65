"""The network goes wrong in every way while a match is recorded: no frame is lost, and all ends as if nothing had been.

What single calls do about each fault is tested with the adapters; here the whole program meets it in all that it does.
"""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from typing import Any

import pytest

from tests.fakes.cloud import faults
from tests.fakes.cloud.chaos import ChaosProxy, Seen
from tests.fakes.cloud.faults import Fault
from tests.fakes.cloud_site import CloudSite, MakeSite
from tests.fakes.site import LIMIT_S
from tests.fakes.waiting import wait_until

WORDS = ["recording", "completed", "video_processed", "video_uploaded"]
QUICK = {"supabase": {"limit_s": 2, "heartbeat_s": 2}}
OPENING = 3  # requests before a film's first part: which uploads are open, opening one, which parts are there

STARVED_S = 1.0  # a segment; on a machine that is too busy a made-up camera may leave out a little less

NETWORKS: dict[str, Callable[[ChaosProxy], None]] = {
    "refused": ChaosProxy.refuse,
    "reset": ChaosProxy.reset,
    "hung on accept": ChaosProxy.hang,
    "slow": lambda net: net.slow(50_000),
}
"""What befalls all that passes."""

REQUESTS: dict[str, tuple[Callable[..., Fault], Callable[..., Fault]]] = {
    "hung mid-body": (partial(ChaosProxy.hang_request, after=100),
                      partial(ChaosProxy.hang_request, after=100_000, method="PUT")),
    # nobody asks Supabase for a `100 Continue`: its answers hang instead
    "continue withheld": (ChaosProxy.hang_answer, ChaosProxy.withhold_continue),
    "answer cut after the commit": (ChaosProxy.cut_answer, partial(ChaosProxy.cut_answer, skip=OPENING)),
    "502 with HTML": (ChaosProxy.bad_gateway, partial(ChaosProxy.bad_gateway, skip=OPENING)),
    "200 with HTML": (ChaosProxy.portal, partial(ChaosProxy.portal, skip=OPENING)),
    "302": (ChaosProxy.redirect, partial(ChaosProxy.redirect, skip=OPENING)),
    "429 with Retry-After": (ChaosProxy.too_many, partial(ChaosProxy.too_many, skip=OPENING)),
    "truncated JSON": (ChaosProxy.truncated_json, partial(ChaosProxy.truncated_json, skip=OPENING)),
    "credential expired": (ChaosProxy.jwt_expired, partial(ChaosProxy.s3_expired, skip=OPENING)),
}
"""What befalls single requests, by name: of Supabase and of S3."""


@pytest.mark.parametrize(("name", "device"), [
    (name, number % 2 == 1) for number, name in enumerate([*NETWORKS, *REQUESTS])])  # each credential in turn
def test_a_match_is_recorded_without_loss_and_told_in_the_end_whatever_the_network_does(
        name: str, device: bool, new_cloud_site: MakeSite) -> None:
    """Two films of one recording: the early one is stored and published while the late one is still being recorded."""
    site = new_cloud_site(device=device, **QUICK)
    site.start()
    site.wait_said("ready")
    early, late = site.id("early"), site.id("late")
    starts, _ = site.book(early, 2.5, 4.5)
    site.book_at(late, starts, starts + 600)
    break_all(site, name, early)
    site.wait_said("film rendered", booking=early)
    assert site.videos() == []
    healed = heal_in_turn(site, name, early)
    site.finish(early)
    assert first_beat(site, healed).status in (200, 201)

    film = site.film(late)
    assert film
    assert film["stage"] == "recording"
    _, ends = site.book_at(late, starts, time.time() + 2)
    certificate, _ = site.finish(late)
    assert certificate["film_seconds"] > ends - starts - STARVED_S
    assert_no_frame_was_lost(site, certificate)
    for booking in (early, late):
        assert is_forward(site.words(booking))
    assert site.unfinished() == []
    site.check_no_leftovers()
    assert [line for line in site.lines if line.get("level") in ("error", "critical")] == []
    assert site.errors == ""


def first_beat(site: CloudSite, since: float) -> Seen:
    """The first beat that began after a time, when it is over: answered, or the next one has begun."""
    def there() -> list[Seen]:
        beats = [beat for beat in site.supabase_net.seen("POST", "/ezrec_beat") if beat.began > since]
        return beats if beats and (beats[0].ended or len(beats) > 1) else []

    return wait_until(there, LIMIT_S, "a beat after healing")[0]


def assert_no_frame_was_lost(site: CloudSite, certificate: dict[str, Any]) -> None:
    """The recorder wrote every frame that the cameras gave it, and the film has them."""
    site.wait_said("camera stopped", times=2)
    for camera in site.said("camera stopped"):
        assert camera["written"] == camera["delivered"] > 0
        assert camera["overflowed"] == camera["discarded"] == 0
    assert site.said("camera lost") == []
    assert sum(gap["seconds"] for gap in certificate["gaps"]) < STARVED_S


def break_all(site: CloudSite, name: str, booking: str) -> None:
    """Break both networks in the middle of a film's parts, and wait until a poll, a beat and an upload met that."""
    fault: Fault | None = None
    if name in NETWORKS:
        site.s3_net.slow(300_000)
    else:
        fault = REQUESTS[name][1](site.s3_net, target=booking)  # the other film's requests do not count
    site.wait_said("uploading part", booking=booking)
    site.wait_heartbeat(recording=True)
    before, broken = len(site.lines), time.monotonic()
    if name in NETWORKS:
        NETWORKS[name](site.s3_net)
        NETWORKS[name](site.supabase_net)
    else:
        REQUESTS[name][0](site.supabase_net)

    def struck() -> bool:
        site._must_live()
        said = {line["event"] for line in site.lines[before:]}
        if fault and not fault.hits:
            return False
        if name == "slow":  # nothing fails
            return all(any(one.began > broken for one in site.supabase_net.seen(*request))
                       for request in (("POST", "/ezrec_beat"), ("POST", "/ezrec_bookings")))
        return said >= {"heartbeat not taken", "bookings not read, keeping the last good answer"}

    wait_until(struck, LIMIT_S, "a poll, a beat and an upload to be struck")


def heal_in_turn(site: CloudSite, name: str, booking: str) -> float:
    """Heal S3, and Supabase once it could not be told of the film; when it healed (time.monotonic())."""
    if name in REQUESTS:
        site.heal()
        healed = time.monotonic()
        publishing = REQUESTS[name][0](site.supabase_net, target="rpc/publish_video", times=1)
        wait_until(lambda: publishing.hits or site._must_live(), LIMIT_S, "publishing to be struck")
    elif name == "slow":
        site.heal()
        return time.monotonic()
    else:
        site.s3_net.heal()
        site.wait_stage(booking, "uploaded")
        site.wait_said("message not told, trying again", booking=booking)
        site.supabase_net.heal()
        healed = time.monotonic()
    site.wait_said("heartbeat is back")
    return healed


def is_forward(words: list[str]) -> bool:
    """Whether a booking's owner heard words of ours in their order, the last one at last."""
    places = [WORDS.index(word) for word in words]
    return all(one < other for one, other in pairwise(places)) and words[-1] == WORDS[-1]


def test_an_upload_that_the_server_forgets_is_begun_again(new_cloud_site: MakeSite) -> None:
    site = new_cloud_site()
    site.start()
    site.wait_said("ready")
    match = site.id()
    starts, _ = site.book(match, 2.5, 600)
    site.wait_said("part uploaded", part=2)
    forget(site, match)  # while the match is played
    completing = site.s3_net.bad_gateway(method="POST", target="uploadId=")
    site.book_at(match, starts, time.time() + 2)
    site.wait_said("upload gone")
    wait_until(lambda: completing.hits or site._must_live(), LIMIT_S, "the film to be completed")
    forget(site, match)  # when all of it was there
    site.s3_net.heal()
    site.finish(match)
    assert (len(site.said("upload gone")), len(site.said("upload opened"))) == (2, 3)
    assert site.words(match) == WORDS
    site.check_no_leftovers()


def forget(site: CloudSite, booking: str) -> None:
    """Let the server drop a film's unfinished upload."""
    ((key, upload),) = site.unfinished(booking)
    site.cloud.s3.abort(site.bucket, key, upload)


def test_what_is_refused_for_good_waits_with_its_reason_and_comes_home_when_a_person_has_mended_it(
        new_cloud_site: MakeSite) -> None:
    """Films of one window, each refused in its own way; what one of them meets harms no other."""
    site = new_cloud_site(device=True, film={"intro": ""}, storage={"key": "{date}/{booking_id}"})
    taken, denied, homeless = site.id("taken"), site.id("denied"), site.id("homeless")
    barred, double, untold = site.id("barred"), site.id("double"), site.id("untold")
    site.start()
    site.wait_said("ready")
    starts, ends = site.book(untold, 4, 6)
    for booking in (taken, denied, homeless, barred, double):
        site.book_at(booking, starts, ends)
    key = f"{datetime.fromtimestamp(starts, UTC):%Y-%m-%d}/{taken}.mp4"
    site.cloud.s3.put(site.bucket, key, b"somebody else's")
    site.s3_net.s3_denied(target=denied)
    site.s3_net.answer(faults.s3_error(404, "NoSuchBucket", "The specified bucket does not exist"), target=homeless)
    site.cloud.supabase.run(refusal("videos", "insert", barred, "new.booking_id = '{}'"))
    site.cloud.supabase.run(refusal("bookings", "update", untold, "new.id = '{}' and new.status <> 'video_uploaded'"))
    site.cloud.supabase.run(
        "insert into videos (recording_id, booking_id, user_id, camera_id, storage_path, video_url, duration_seconds,"
        " file_size, filename, date, uploaded_at) values ('elsewhere', :'id', :'user', :'camera', 'x.mp4', 'http://x/',"
        " 1, 1, 'x.mp4', '2026-11-20', now())", id=double, user=site.user, camera=site.camera)

    reasons = {taken: ("upload", "holds something else"), denied: ("upload", "AccessDenied"),
               homeless: ("upload", "NoSuchBucket"), barred: ("publish", "22023"),
               double: ("publish", "another recording")}
    for booking, (step, why) in reasons.items():
        film = wait_parked(site, booking)
        assert (film["parked_step"], why in film["parked_reason"]) == (step, True), film
        row = site.wait_word(booking, "failed")
        assert row["status_reason"] == film["parked_reason"]
    site.finish(untold)  # a film that players can see matters more than a word about it
    assert site.words(untold) == ["video_uploaded"]

    # ---- what people and programs are told
    assert "Telling the booking's owner 'recording' was refused for good" in site.command("films", "explain", untold)
    shown = site.command("films", "show", barred)
    assert "It is parked while publishing the film: " in shown
    assert "Writing the film's row was refused: " in shown
    assert f"`ezrec films retry {barred}`" in shown
    shown = json.loads(site.command("films", "show", double, "--json"))
    assert (shown["stage"], shown["parked_step"]) == ("uploaded", "publish")
    assert [(one["kind"], one["parked_reason"]) for one in shown["outbox"]] == [("video", shown["parked_reason"])]
    told = json.loads(site.command("films", "explain", taken, "--json"))
    assert ("parked", "upload") in [(one["kind"], one["detail"].get("parked_step")) for one in told]
    beat = site.wait_heartbeat(recording=False)
    assert (beat["queues"]["parked"], beat["queues"]["refused"]) == (5, 2)
    assert beat["queues"]["reason"] in {site.film(booking)["parked_reason"] for booking in reasons}

    # ---- and sent on their way again
    site.command("films", "retry", taken)  # nothing is mended yet
    site.wait_said("film parked", times=2, booking=taken)
    assert site.cloud.s3.read(site.bucket, key) == b"somebody else's"
    with site.cloud.s3.client() as s3:
        s3.delete_object(Bucket=site.bucket, Key=key)
    site.heal()
    site.cloud.supabase.run(f'drop function "refuse_{barred}"() cascade; drop function "refuse_{untold}"() cascade')
    site.cloud.supabase.run("delete from videos where booking_id = :'id'", id=double)
    for booking in reasons:
        site.command("films", "retry", booking, status=None)  # what may pass has perhaps come home by itself
    for booking in reasons:
        site.finish(booking)
        words = site.words(booking)
        assert (words[0], words[-2:]) == ("recording", ["failed", "video_uploaded"])
    site.check_no_leftovers()
    assert site.errors == ""


def test_a_device_that_is_revoked_in_mid_match_records_on_keeps_its_film_and_says_why(
        new_cloud_site: MakeSite) -> None:
    site = new_cloud_site(device=True, film={"intro": ""})
    site.start()
    site.wait_said("ready")
    match = site.id()
    starts, ends = site.book(match, 3, 9)
    site.wait_word(match, "recording")
    site.cloud.supabase.run("update ezrec_devices set revoked_at = now() where user_id = :'user'", user=site.user)
    site.wait_stage(match, "uploaded")
    site.wait_said("message not told, trying again", booking=match)
    assert "was revoked" in site.said("message not told, trying again", booking=match)[0]["error"]
    assert "was revoked" in site.said("heartbeat not taken")[0]["error"]
    assert (site.words(match), site.videos(match)) == (["recording"], [])
    assert "it failed" in site.command("films", "show", match)
    site.cloud.supabase.run("update ezrec_devices set revoked_at = null where user_id = :'user'", user=site.user)
    certificate, _ = site.finish(match)
    gaps = sum(gap["seconds"] for gap in certificate["gaps"] if gap["camera"] == "both")
    assert abs(certificate["film_seconds"] + gaps - (ends - starts)) < 0.2
    assert site.words(match) == WORDS


def refusal(table: str, event: str, booking: str, what: str) -> str:
    """SQL after which the project refuses what is about one booking."""
    return f"""create function "refuse_{booking}"() returns trigger language plpgsql as
      $$ begin raise exception 'not this one' using errcode = '22023'; end $$;
      create trigger "refuse_{booking}" before {event} on {table} for each row when ({what.format(booking)})
      execute function "refuse_{booking}"();"""


def wait_parked(site: CloudSite, booking: str) -> dict[str, Any]:
    """Wait until a film is parked; its row."""
    def there() -> dict[str, Any] | None:
        site._must_live()
        film = site.film(booking)
        return film if film and film["parked_step"] else None

    return wait_until(there, LIMIT_S, f"{booking} to be parked; it is {site.film(booking)}")
