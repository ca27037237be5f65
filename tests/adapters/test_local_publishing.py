"""Publishing into the local table."""

from dataclasses import asdict

import pytest

from ezrec.adapters.publishing import Publisher
from ezrec.adapters.publishing.local import LocalPublisher
from ezrec.domain.errors import RetryError
from ezrec.domain.messages import Video

VIDEO = Video(booking_id="b1", recording_id="b1-0", user_id="u1", camera_id="c1", storage_path="c1/b1.mp4",
              video_url="file:///library/c1/b1.mp4", poster_url=None, duration_seconds=3600.5, file_size=900_000_000,
              filename="b1.mp4", date="2026-11-20", uploaded_at="2026-11-20T19:00:05Z")


class Table:
    """A store's table of videos, by recording."""

    def __init__(self) -> None:
        self.rows: dict[str, Video] = {}

    async def put_video(self, video: Video) -> None:
        self.rows[video.recording_id] = video

    async def has_video(self, booking_id: str, day: str) -> bool:
        return any((row.booking_id, row.date) == (booking_id, day) for row in self.rows.values())


async def test_a_film_published_twice_has_one_row_with_every_field() -> None:
    table = Table()
    publisher: Publisher = LocalPublisher(table)
    await publisher.publish(VIDEO)
    await publisher.publish(VIDEO)
    assert {name: asdict(row) for name, row in table.rows.items()} == {"b1-0": {
        "booking_id": "b1", "recording_id": "b1-0", "user_id": "u1", "camera_id": "c1", "storage_path": "c1/b1.mp4",
        "video_url": "file:///library/c1/b1.mp4", "poster_url": None, "duration_seconds": 3600.5,
        "file_size": 900_000_000, "filename": "b1.mp4", "date": "2026-11-20", "uploaded_at": "2026-11-20T19:00:05Z"}}


async def test_a_store_that_cannot_write_now_is_heard() -> None:
    class Locked(Table):
        async def put_video(self, video: Video) -> None:
            raise RetryError("the database is locked")

    with pytest.raises(RetryError):
        await LocalPublisher(Locked()).publish(VIDEO)


async def test_whether_there_is_a_film_of_a_booking_is_told_by_its_day() -> None:
    publisher: Publisher = LocalPublisher(Table())
    await publisher.publish(VIDEO)
    assert await publisher.holds("b1", "2026-11-20")
    assert not await publisher.holds("b1", "2026-11-27")
    assert not await publisher.holds("b2", "2026-11-20")
