"""A court that was offline for a week: its films wait on the disk, and go home in their order while it records."""

import asyncio
import hashlib
import json
import time
from pathlib import Path, PurePosixPath

import pytest

from ezrec.adapters.storage import Part, composite_etag
from ezrec.config import load
from ezrec.domain.booking import Booking
from ezrec.domain.clock import SECOND
from ezrec.factories import make_cloud, make_storage
from ezrec.store import Store
from ezrec.tasks.outbox import Outbox
from tests.fakes.clocks import MadeUpClock
from tests.fakes.cloud_site import CloudSite, MakeSite
from tests.fakes.court import Court, court

DAY_S = 86_400.0
EVENINGS, MATCHES, MATCH_S = 8, 5, 1.0  # 40 films
BOOT_S = 100_000.0  # on the monotonic clock, when the week begins
UNDER_WAY = 2  # films that may go before older ones: the one that is tried as the network heals, and the next in turn
DRAIN_LIMIT_S = 180.0
WORDS = ["recording", "completed", "video_processed", "video_uploaded"]

Windows = dict[str, tuple[float, float]]  # of bookings, UTC seconds


async def spend_a_week(site: CloudSite) -> Windows:
    """Eight evenings of matches without network, the last one yesterday, in made-up time: recorded and made into films.

    Every evening what waits is tried to be told.
    """
    first = time.time() - 8 * DAY_S
    clock = MadeUpClock(BOOT_S - 60, first - 60)
    settings = load(site.config)
    cloud, storage = make_cloud(settings, clock), make_storage(settings, site.data, lambda: False)
    windows: Windows = {}
    assert cloud.publisher
    try:
        async with court(site.data, clock) as here:
            outbox = Outbox(here.store, clock, storage, cloud.publisher, cloud.bookings, lambda: None)
            for evening in range(EVENINGS):
                at = evening * DAY_S
                tonight = {site.id(f"match-{evening}-{match}"): at + match * MATCH_S for match in range(MATCHES)}
                await play(here, tonight, first)
                windows |= {name: (first + begins, first + begins + MATCH_S) for name, begins in tonight.items()}
                assert not await outbox.run_once()
            waiting = await here.store.outbox()
            assert len(waiting) == 3 * len(windows)
            assert max(message.attempts for message in waiting) == EVENINGS
    finally:
        await cloud.close()
    return windows


async def play(here: Court, tonight: dict[str, float], first: float) -> None:
    """An evening of matches, one after the other; `tonight` has their begin in seconds of the week."""
    for name, begins in tonight.items():
        window = round((first + begins) * SECOND), round((first + begins + MATCH_S) * SECOND)
        await here.store.put_booking(Booking(name, "supabase", *window, "scheduled", reported=True))
    await here.jump(BOOT_S + min(tonight.values()) - 3)
    for name, begins in tonight.items():
        certificate, *shown = await here.made(name, BOOT_S + begins + MATCH_S)
        assert (shown, certificate["gaps"]) == ([BOOT_S + begins, BOOT_S + begins + MATCH_S], [])
    await here.to(BOOT_S + max(tonight.values()) + MATCH_S + 3)


async def remember(site: CloudSite, name: str, starts: float, ends: float) -> None:
    """A booking that the recorder had heard of before the network went."""
    store = await Store.open(site.data / "ezrec.db")
    try:
        await store.put_booking(Booking(name, "supabase", round(starts * SECOND), round(ends * SECOND), "scheduled",
                                        reported=True))
    finally:
        await store.close()


@pytest.mark.parametrize("device", [False, True])
def test_forty_films_of_a_week_offline_go_home_oldest_first_while_a_match_is_recorded(
        new_cloud_site: MakeSite, device: bool) -> None:
    site = new_cloud_site(device=device, film={"intro": ""})
    site.data.mkdir()
    site.s3_net.refuse()
    site.supabase_net.refuse()
    windows = asyncio.run(spend_a_week(site))
    names = list(windows)
    tonight = site.id("tonight")
    starts = round(time.time()) + 8.0  # the same in a float, in PostgreSQL and here
    asyncio.run(remember(site, tonight, starts, starts + 600))
    book_all(site, windows | {tonight: (starts, starts + 600)})
    films = {name: path_of(site, name) for name in names}
    etags = {name: etag_of(path) for name, path in films.items()}

    site.start()
    site.wait_said("step failed, trying again", step="upload")
    site.wait_stage(tonight, "recording")
    assert [name for name, path in films.items() if not path.exists()] == []
    assert (site.objects(), site.videos()) == ({}, [])
    site.heal()
    site.wait_said("film published", times=len(names), limit_s=DRAIN_LIMIT_S)
    for event in ("film uploaded", "film published"):
        order = [names.index(line["booking"]) for line in site.said(event)]
        assert sorted(order) == list(range(len(names)))
        behind = order[UNDER_WAY:]
        assert behind == sorted(behind), order

    site.wait_stage(tonight, "recording")
    site.book_at(tonight, starts, time.time() + 2)
    site.finish(tonight)
    site.wait_said("camera stopped", times=2)
    for camera in site.said("camera stopped"):
        assert camera["written"] == camera["delivered"] > 0
    assert site.said("camera lost") == []

    assert site.rows("SELECT * FROM outbox") == []
    there = etags_there(site)
    assert there.pop(tonight)
    assert there == etags
    assert sorted(row["booking_id"] for row in site.videos()) == sorted([*names, tonight])
    assert words(site) == dict.fromkeys([*names, tonight], WORDS)
    for name in (names[0], names[len(names) // 2], names[-1]):
        site.check_cloud(name)
    assert site.unfinished() == []
    site.check_no_leftovers()
    assert [line for line in site.lines if line.get("level") in ("error", "critical")] == []
    assert site.errors == ""


def book_all(site: CloudSite, windows: Windows) -> None:
    """The bookings' rows, which nobody has told anything yet."""
    site.cloud.supabase.run(
        "insert into bookings (id, user_id, camera_id, start_time, end_time) select key, :'user', :'camera',"
        " to_timestamp((value ->> 0)::float8), to_timestamp((value ->> 1)::float8)"
        " from jsonb_each(:'windows'::jsonb)", user=site.user, camera=site.camera, windows=json.dumps(windows))


def path_of(site: CloudSite, name: str) -> Path:
    """A film that waits on the disk."""
    film = site.film(name)
    assert film
    assert film["stage"] == "rendered"
    return site.data / "films" / film["recording_id"] / "film-1.mp4"


def etag_of(film: Path) -> str:
    """What S3 says of an object that was made of this file as its only part."""
    data = film.read_bytes()
    return composite_etag([Part(1, 0, len(data), hashlib.md5(data, usedforsecurity=False).hexdigest())])


def etags_there(site: CloudSite) -> dict[str, str]:
    """The ETags of the bucket's films, by booking; one film each."""
    with site.cloud.s3.client() as s3:
        listed = s3.list_objects_v2(Bucket=site.bucket)["Contents"]
    films = {PurePosixPath(one["Key"]): one["ETag"].strip('"') for one in listed if one["Key"].endswith(".mp4")}
    found = {key.stem: etag for key, etag in films.items()}
    assert len(found) == len(films)
    return found


def words(site: CloudSite) -> dict[str, list[str]]:
    """What the owners of this court's bookings were told, in its order, by booking."""
    rows = site.cloud.supabase.rows(
        "select booking, json_agg(word order by at) as words from tests.word"
        " where booking in (select id from bookings where user_id = :'user') group by booking", user=site.user)
    return {row["booking"]: row["words"] for row in rows}
