"""A court that was offline for a week: its films wait on the disk, and go home in their order while it records."""

import asyncio
import hashlib
import json
import time
from pathlib import Path

from ezrec.adapters.storage import Part, composite_etag
from ezrec.choices import make_cloud, make_storage
from ezrec.config import load
from ezrec.domain.booking import Booking
from ezrec.domain.clock import SECOND
from ezrec.store import Store
from ezrec.tasks.outbox import Outbox
from tests.fakes.clocks import MadeUpClock
from tests.fakes.cloud_site import CloudSite, MakeSite
from tests.fakes.site import LIMIT_S
from tests.fakes.waiting import wait_until
from tests.whole.test_clock import Court, court

DAY_S = 86_400.0
EVENINGS, MATCHES, MATCH_S = 8, 5, 1.0  # 40 films
BOOT_S = 100_000.0  # on the monotonic clock, when the week begins
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
        await here.store.put_booking(Booking(name, "supabase", *window, "scheduled"))
    await here.jump(BOOT_S + min(tonight.values()) - 3)
    for name, begins in tonight.items():
        certificate, *shown = await here.made(name, BOOT_S + begins + MATCH_S)
        assert (shown, certificate["gaps"]) == ([BOOT_S + begins, BOOT_S + begins + MATCH_S], [])
    await here.to(BOOT_S + max(tonight.values()) + MATCH_S + 3)


async def remember(site: CloudSite, name: str, starts: float, ends: float) -> None:
    """A booking that the recorder had heard of before the network went."""
    store = await Store.open(site.data / "ezrec.db")
    try:
        await store.put_booking(Booking(name, "supabase", round(starts * SECOND), round(ends * SECOND), "scheduled"))
    finally:
        await store.close()


def test_forty_films_of_a_week_offline_go_home_oldest_first_while_a_match_is_recorded(
        new_cloud_site: MakeSite) -> None:
    site = new_cloud_site(film={"intro": ""})
    site.data.mkdir()
    site.s3_net.refuse()
    site.supabase_net.refuse()
    windows = asyncio.run(spend_a_week(site))
    names = list(windows)
    tonight = site.id("tonight")
    starts = time.time() + 8
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
    _, ends = site.book_at(tonight, starts, time.time() + 2)
    site.finish(tonight)
    site.wait_said("camera stopped", times=2)
    for camera in site.said("camera stopped"):
        assert camera["written"] == camera["delivered"] > 0
    assert site.said("camera lost") == []

    assert site.rows("SELECT * FROM outbox") == []
    assert {path.name: etag for path, etag in stored(site).items()} == {
        f"{name}.mp4": etag for name, etag in etags.items()} | {f"{tonight}.mp4"}
    assert sorted(row["booking_id"] for row in site.videos()) == sorted([*names, tonight])
    assert words(site) == dict.fromkeys([*names, tonight], WORDS)
    for name in (names[0], names[len(names) // 2], names[-1]):
        site.check_cloud(name)
    assert site.unfinished() == []
    site.check_no_leftovers()
    assert [line for line in site.lines if line.get("level") in ("error", "critical")] == []
    assert site.errors == ""


def etag_of(film: Path) -> str:
    """What S3 says of an object that was made of this file as its only part."""
    data = film.read_bytes()
    return composite_etag([Part(1, 0, len(data), hashlib.md5(data, usedforsecurity=False).hexdigest())])
