"""Bookings that change while their film goes up: what was begun for nothing leaves nothing at the server, also when the
storage is away at that moment.
"""

import time

import pytest

from tests.fakes.cloud_site import CloudSite, MakeSite
from tests.fakes.site import LIMIT_S
from tests.fakes.waiting import wait_until


def start(site: CloudSite, seconds: float) -> tuple[str, float]:
    """Start the recorder and book a window that opens in a moment: its id and when it starts, UTC seconds."""
    site.start()
    site.wait_said("ready")
    return site.id(), site.book(site.id(), 2.5, 2.5 + seconds)[0]


def end(site: CloudSite, booking_id: str) -> None:
    """There is the booking's object, its poster and its row, and nothing else anywhere."""
    film = site.film(booking_id)
    assert film
    assert set(site.objects()) == {film["object_key"], film["object_key"].removesuffix(".mp4") + ".jpg"}
    assert len(site.videos()) == 1
    assert site.unfinished() == []
    site.check_no_leftovers()
    assert site.stop() == 0
    assert [line for line in site.lines if line.get("level") in ("error", "critical")] == []


@pytest.mark.parametrize("device", [False, True])
def test_a_film_begun_again_leaves_no_second_object_or_row_and_nothing_open(
        new_cloud_site: MakeSite, device: bool) -> None:
    site = new_cloud_site(device=device)
    match, starts = start(site, 60)
    site.wait_said("chunk joined", 3)
    site.wait_said("part uploaded", part=2)
    site.book_at(match, starts + 1.5, time.time() + 2.5)
    certificate, _ = site.finish(match)
    assert certificate["generation"] == 2
    assert certificate["object"]["key"].endswith(f"{match}@2.mp4")
    assert site.words(match) == ["recording", "completed", "video_processed", "video_uploaded"]
    end(site, match)


def test_a_film_begun_again_while_the_storage_is_away_has_its_first_upload_aborted_later(
        new_cloud_site: MakeSite) -> None:
    site = new_cloud_site()
    match, starts = start(site, 60)
    site.wait_said("chunk joined", 3)
    site.wait_said("part uploaded", part=2)
    (first,) = site.unfinished()
    site.s3_net.refuse()
    site.book_at(match, starts + 1.5, time.time() + 2.5)
    site.wait_said("message not told, trying again", kind="abort")
    site.wait_stage(match, "rendered")
    assert site.unfinished() == [first]
    site.s3_net.heal()
    certificate, _ = site.finish(match)
    assert certificate["generation"] == 2
    end(site, match)


def test_a_film_begun_again_before_its_upload_is_known_to_be_open_leaves_nothing_open(
        new_cloud_site: MakeSite) -> None:
    """The server has opened it; the answer with its id is lost."""
    site = new_cloud_site()
    site.s3_net.hang_answer(method="POST", target=r"\?uploads")
    match, starts = start(site, 60)
    wait_until(site.unfinished, LIMIT_S, "the upload to be open at the server")
    site.wait_said("chunk joined", 3)
    site.book_at(match, starts + 1.5, time.time() + 2.5)
    site.wait_said("film begun again")
    site.s3_net.heal()
    certificate, _ = site.finish(match)
    assert certificate["generation"] == 2
    end(site, match)


def test_a_booking_cancelled_while_the_storage_is_away_leaves_nothing_and_may_be_published_later(
        new_cloud_site: MakeSite) -> None:
    site = new_cloud_site(device=True)
    match, _ = start(site, 20)
    site.wait_said("part uploaded", part=2)
    site.s3_net.refuse()
    site.change(match, status="cancelled")
    site.wait_stage(match, "cancelled")
    site.wait_said("message not told, trying again", kind="abort")
    assert len(site.unfinished()) == 1
    told = site.command("films", "explain", match)
    assert "The booking was cancelled" in told
    assert "Aborting the unfinished upload of" in told
    site.s3_net.heal()
    wait_until(lambda: not site.outbox(match), LIMIT_S, "all to be told")
    assert (site.unfinished(), site.objects(), site.videos()) == ([], {}, [])

    site.command("films", "retry", match)
    site.finish(match, status="cancelled")
    assert site.words(match) == ["recording", "cancelled"]  # the owner's word stays
    end(site, match)


def test_a_booking_cancelled_and_put_right_while_the_storage_is_away_has_its_film(
        new_cloud_site: MakeSite) -> None:
    site = new_cloud_site()
    match, starts = start(site, 60)
    site.wait_said("part uploaded", part=2)
    site.s3_net.refuse()
    site.change(match, status="cancelled")
    site.wait_stage(match, "cancelled")
    site.change(match, status="scheduled")
    site.wait_stage(match, "recording")
    site.book_at(match, starts, time.time() + 4)
    site.wait_said("message not told, trying again", kind="abort")
    site.s3_net.heal()
    site.finish(match)
    assert site.words(match)[:3] == ["recording", "cancelled", "scheduled"]
    assert site.words(match)[-3:] == ["completed", "video_processed", "video_uploaded"]
    end(site, match)
