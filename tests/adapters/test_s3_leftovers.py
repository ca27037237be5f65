"""Unfinished uploads in the bucket: what is surely ours, old and unknown is ended; nothing else, whoever's it is."""

from typing import Any

import pytest

from ezrec.adapters.storage.s3_leftovers import OLD_US, Leftovers, own_prefix
from ezrec.config import Settings
from ezrec.domain.clock import SECOND, SystemClock
from ezrec.domain.errors import EzrecError
from tests.fakes.clocks import SteppingClock
from tests.fakes.cloud.s3 import S3

OURS, NEIGHBOUR, OWNERS_OTHER = "u-1/court-1/2026/a.mp4", "u-1/court-10/2026/a.mp4", "u-2/court-1/2026/a.mp4"


def settings(server: S3 | None, bucket: str, key: str | None = None, user_id: str = "u-1",
             kind: str = "s3") -> Settings:
    place: dict[str, Any] = {} if server is None else {
        "endpoint": server.endpoint, "access_key_id": server.key, "secret_access_key": server.secret}
    return Settings(site={"user_id": user_id, "camera_id": "court-1"}, s3={"bucket": bucket, **place},
                    storage={"kind": kind} | ({"key": key} if key else {}))


@pytest.mark.parametrize(("key", "user_id", "kind", "prefix"), [
    (None, "u-1", "s3", "u-1/court-1/"),
    ("{user_id}/{camera_id}/{booking_id}", "u-1", "s3", "u-1/court-1/"),
    ("{date}/{user_id}/{camera_id}/{booking_id}", "u-1", "s3", None),
    ("films/{random}/{booking_id}", "u-1", "s3", None),
    ("{user_id}/{camera_id}-{booking_id}", "u-1", "s3", None),
    (None, "", "s3", None),  # every court without an owner has the same
    (None, "u-1", "local", None),
])
def test_only_a_folder_that_is_this_court_s_alone_is_its_own(
        key: str | None, user_id: str, kind: str, prefix: str | None) -> None:
    assert own_prefix(settings(None, "films", key, user_id, kind)) == prefix


async def end(server: S3, bucket: str, known: set[str], days: float) -> set[str]:
    """End what is left over `days` after it was begun; the keys that are still unfinished."""
    await ended(server, bucket, known, days)
    return {key for key, _ in server.unfinished(bucket)}


async def ended(server: S3, bucket: str, known: set[str], days: float) -> None:
    clock = SteppingClock(SystemClock().wall_us() / SECOND + days * 86400)

    async def ids() -> set[str]:
        return known

    made = settings(server, bucket)
    await Leftovers(made, str(own_prefix(made)), clock, ids).end()


def begin(server: S3, bucket: str, key: str) -> str:
    with server.client() as s3:
        return str(s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"])


async def test_old_uploads_of_this_court_that_nobody_knows_are_ended_and_no_others(ministack: S3, bucket: str) -> None:
    for key in (OURS, NEIGHBOUR, OWNERS_OTHER):
        begin(ministack, bucket, key)
    known = begin(ministack, bucket, "u-1/court-1/2026/b.mp4")
    old_days = OLD_US / SECOND / 86400
    everything = {OURS, NEIGHBOUR, OWNERS_OTHER, "u-1/court-1/2026/b.mp4"}
    assert await end(ministack, bucket, {known}, old_days - 0.1) == everything
    assert await end(ministack, bucket, {known}, old_days + 0.1) == everything - {OURS}


async def test_a_bucket_with_nothing_unfinished_or_that_cannot_be_asked_is_left(any_s3: S3) -> None:
    await ended(any_s3, any_s3.make_bucket(), set(), 30)
    with pytest.raises(EzrecError):
        await ended(any_s3, "no-such-bucket-here", set(), 30)
