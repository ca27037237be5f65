"""What every storage promises, run over each implementation."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

import pytest

from ezrec.adapters.storage import Part, Storage, composite_etag
from ezrec.adapters.storage.local import LocalStorage
from ezrec.adapters.storage.s3 import S3Storage
from ezrec.config import sections
from ezrec.domain.booking import LONGEST_ID
from ezrec.domain.errors import OtherObject, ParkError, RetryError, UploadGone
from tests.fakes.cloud.s3 import S3

KEY = "court/2026-11-20/b1-0.mp4"
PART = 4096  # bytes; the last part is shorter
CHECKSUMS_OF_PARTS = pytest.mark.parametrize("place", ["link", "copy", "ministack"], indirect=True)


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "data" / "film.mp4"
    path.parent.mkdir()
    path.write_bytes(bytes((n * 31 + n // 251) % 256 for n in range(3 * PART + 1234)))
    return path


class Place(Protocol):
    """What stays where it is when a process ends."""

    def open(self) -> Storage:
        """A storage that knows nothing but what is durable: called again, it is the storage after a crash."""

    def at_url(self, url: str) -> bytes:
        """What whoever follows the URL is given."""


class Library(Place):
    def __init__(self, folder: Path, by_link: bool) -> None:
        self.folder, self.by_link = folder, by_link

    def open(self) -> Storage:
        return LocalStorage(self.folder / "library", self.folder / "data", link=self.by_link)

    def at_url(self, url: str) -> bytes:
        return Path(unquote(urlsplit(url).path)).read_bytes()


class Bucket(Place):
    def __init__(self, server: S3) -> None:
        self.server, self.bucket = server, server.make_bucket()
        self.opened: list[S3Storage] = []

    def open(self) -> Storage:
        settings = sections.S3Settings(endpoint=self.server.endpoint, access_key_id=self.server.key, bucket=self.bucket,
                               secret_access_key=sections.Secret(self.server.secret))
        self.opened.append(S3Storage(settings, lambda: False))
        return self.opened[-1]

    def at_url(self, url: str) -> bytes:
        return self.server.read(self.bucket, unquote(urlsplit(url).path).removeprefix(f"/{self.bucket}/"))


@pytest.fixture(params=["link", "copy", "ministack", "rclone_s3"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    if request.param in ("link", "copy"):
        yield Library(tmp_path, by_link=request.param == "link")
        return
    bucket = Bucket(request.getfixturevalue(request.param))
    yield bucket
    for storage in bucket.opened:
        await storage.close()


@pytest.fixture
def storage(place: Place) -> Storage:
    return place.open()


def cut(film: Path, size: int = PART) -> list[Part]:
    data = film.read_bytes()
    pieces = [data[at:at + size] for at in range(0, len(data), size)]
    return [Part(number, (number - 1) * size, len(piece), hashlib.md5(piece, usedforsecurity=False).hexdigest())
            for number, piece in enumerate(pieces, 1)]


async def upload(storage: Storage, film: Path, key: str = KEY) -> str:
    """Begin and put all parts, the first one last; returns the upload's id."""
    upload_id = await storage.begin(key)
    parts = cut(film)
    for part in [*parts[1:], parts[0]]:
        await storage.put_part(key, upload_id, part, film)
    return upload_id


async def test_an_object_has_the_films_bytes_whatever_order_its_parts_came_in(
        place: Place, storage: Storage, film: Path) -> None:
    parts = cut(film)
    upload_id = await storage.begin(KEY)
    for number in (3, 4, 2, 1):
        await storage.put_part(KEY, upload_id, parts[number - 1], film)
    stored = await storage.complete(KEY, upload_id, parts, film)
    assert place.at_url(stored.url) == film.read_bytes()
    assert (stored.key, stored.bytes) == (KEY, film.stat().st_size)


@CHECKSUMS_OF_PARTS
async def test_an_objects_etag_is_that_of_its_parts(storage: Storage, film: Path) -> None:
    stored = await storage.complete(KEY, await upload(storage, film), cut(film), film)
    assert stored.etag == composite_etag(cut(film))


async def test_the_order_in_which_parts_are_listed_does_not_matter(place: Place, storage: Storage, film: Path) -> None:
    upload_id = await upload(storage, film)
    stored = await storage.complete(KEY, upload_id, cut(film)[::-1], film)
    assert place.at_url(stored.url) == film.read_bytes()


async def test_a_film_of_one_short_part_is_stored(place: Place, storage: Storage, film: Path) -> None:
    film.write_bytes(b"short")
    upload_id = await upload(storage, film)
    assert place.at_url((await storage.complete(KEY, upload_id, cut(film), film)).url) == b"short"


async def test_there_is_no_object_before_complete(storage: Storage, film: Path) -> None:
    await upload(storage, film)
    assert await storage.verify(KEY, cut(film), film) is None


async def test_parts_go_up_while_the_film_grows(place: Place, storage: Storage, film: Path) -> None:
    whole = film.read_bytes()
    parts = cut(film)
    film.write_bytes(b"\0" * PART + whole[PART:2 * PART])  # the index in front is not there yet
    upload_id = await storage.begin(KEY)
    await storage.put_part(KEY, upload_id, parts[1], film)
    with pytest.raises(RetryError):
        await storage.put_part(KEY, upload_id, parts[2], film)
    with film.open("r+b") as file:
        file.write(whole)
    for part in (parts[2], parts[3], parts[0]):
        await storage.put_part(KEY, upload_id, part, film)
    assert place.at_url((await storage.complete(KEY, upload_id, parts, film)).url) == whole


async def test_after_a_crash_an_upload_goes_on_with_the_parts_that_are_not_listed(
        place: Place, film: Path) -> None:
    parts, before = cut(film), place.open()
    upload_id = await before.begin(KEY)
    for part in parts[1:3]:
        await before.put_part(KEY, upload_id, part, film)

    after = place.open()
    there = await after.parts(KEY, upload_id)
    assert all(parts[number - 1].md5 == md5 for number, md5 in there.items())
    for part in parts:
        if part.number not in there:
            await after.put_part(KEY, upload_id, part, film)
    assert place.at_url((await after.complete(KEY, upload_id, parts, film)).url) == film.read_bytes()


async def test_every_call_may_be_repeated_after_a_lost_answer(place: Place, storage: Storage, film: Path) -> None:
    parts = cut(film)
    await storage.begin(KEY)
    upload_id = await upload(storage, film)
    for part in parts:
        await storage.put_part(KEY, upload_id, part, film)
    first = await storage.complete(KEY, upload_id, parts, film)
    assert await storage.complete(KEY, upload_id, parts, film) == first
    assert await storage.verify(KEY, parts, film) == first
    assert await storage.verify(KEY, parts, film) == first
    await storage.abort(KEY, upload_id)
    await storage.abort(KEY, upload_id)
    assert await storage.verify(KEY, parts, film) == first
    assert place.at_url(first.url) == film.read_bytes()


async def test_a_part_that_is_put_again_with_other_bytes_before_the_first_one_counts_as_it_was_put_last(
        place: Place, storage: Storage, film: Path) -> None:
    upload_id = await storage.begin(KEY)
    for part in cut(film)[1:]:
        await storage.put_part(KEY, upload_id, part, film)
    with film.open("r+b") as file:
        file.seek(PART + 5)
        file.write(b"the index grew")
    parts = cut(film)
    for part in (parts[1], parts[0]):
        await storage.put_part(KEY, upload_id, part, film)
    stored = await storage.complete(KEY, upload_id, parts, film)
    assert place.at_url(stored.url) == film.read_bytes()


async def test_complete_confirms_after_a_crash_an_object_that_is_there(
        place: Place, film: Path) -> None:
    parts, before = cut(film), place.open()
    upload_id = await upload(before, film)
    first = await before.complete(KEY, upload_id, parts, film)
    assert await place.open().complete(KEY, upload_id, parts, film) == first
    assert await place.open().verify(KEY, parts, film) == first


@CHECKSUMS_OF_PARTS
async def test_complete_confirms_an_object_whose_film_is_gone(place: Place, film: Path) -> None:
    parts, before = cut(film), place.open()
    upload_id = await upload(before, film)
    first = await before.complete(KEY, upload_id, parts, film)
    film.unlink()
    assert await place.open().complete(KEY, upload_id, parts, film) == first


@pytest.mark.parametrize("change", [b"", b"!"], ids=["same length", "longer"])
async def test_an_object_of_other_bytes_is_left_alone_and_named(
        place: Place, film: Path, change: bytes) -> None:
    first = place.open()
    other = film.with_name("other.mp4")
    other.write_bytes(film.read_bytes()[::-1] + change)
    stored = await first.complete(KEY, await upload(first, other), cut(other), other)

    for storage in (first, place.open()):
        upload_id = await upload(storage, film)
        with pytest.raises(ParkError, match=KEY):
            await storage.complete(KEY, upload_id, cut(film), film)
        with pytest.raises(ParkError, match=KEY):
            await storage.verify(KEY, cut(film), film)
    assert place.at_url(stored.url) == other.read_bytes()


async def test_parts_that_do_not_lie_end_to_end_are_refused(storage: Storage, film: Path) -> None:
    upload_id = await upload(storage, film)
    parts = cut(film)
    shifted = Part(2, PART + 1, PART, parts[1].md5)
    longer_last = [Part(1, 0, 10, parts[0].md5), Part(2, 10, film.stat().st_size - 10, parts[1].md5)]
    for wrong in ([], parts[1:], [*parts, parts[-1]], [parts[0], shifted, *parts[2:]], longer_last):
        with pytest.raises(ParkError):
            await storage.complete(KEY, upload_id, wrong, film)
    assert await storage.verify(KEY, parts, film) is None


async def test_an_aborted_upload_leaves_no_parts_and_no_object(storage: Storage, film: Path) -> None:
    upload_id = await upload(storage, film)
    await storage.abort(KEY, upload_id)
    with suppress(UploadGone):  # either will do
        assert await storage.parts(KEY, upload_id) == {}
    assert await storage.verify(KEY, cut(film), film) is None


async def test_a_sweep_at_start_costs_an_upload_that_is_known_nothing(
        place: Place, storage: Storage, film: Path) -> None:
    upload_id = await upload(storage, film)
    confirmed = await storage.parts(KEY, upload_id)
    assert await storage.sweep({upload_id}) == 0
    assert await storage.parts(KEY, upload_id) == confirmed
    assert place.at_url((await storage.complete(KEY, upload_id, cut(film), film)).url) == film.read_bytes()


async def test_two_uploads_do_not_touch_each_other(place: Place, storage: Storage, film: Path) -> None:
    other = film.with_name("other.mp4")
    other.write_bytes(film.read_bytes()[::-1])
    ids = await upload(storage, film, "a.mp4"), await upload(storage, other, "b.mp4")
    await storage.abort("b.mp4", ids[1])
    assert place.at_url((await storage.complete("a.mp4", ids[0], cut(film), film)).url) == film.read_bytes()
    assert await storage.verify("b.mp4", cut(other), other) is None


async def test_a_small_file_replaces_the_one_before_it(place: Place, storage: Storage, tmp_path: Path) -> None:
    poster = tmp_path / "poster.jpg"
    poster.write_bytes(b"first")
    first = await storage.put_file("court/poster.jpg", poster)
    poster.write_bytes(b"second")
    assert await storage.put_file("court/poster.jpg", poster) == first
    assert place.at_url(first) == b"second"


@pytest.mark.parametrize("name", ["monday-18@20261123T170000Z", "match@2", "a=b@2",
                                  "x" * LONGEST_ID + "@20261123T170000Z@999999"])
async def test_a_film_and_its_poster_are_found_at_their_urls_whatever_mark_their_key_bears(
        place: Place, storage: Storage, film: Path, name: str) -> None:
    other = film.with_name("other.mp4")
    other.write_bytes(film.read_bytes()[::-1])
    for key, file in ((f"2026-11-23/{name}.mp4", film), (f"2026-11-23/{name.partition('@')[0]}.mp4", other)):
        stored = await storage.complete(key, await upload(storage, file, key), cut(file), file)
        poster = file.with_name("poster.jpg")
        poster.write_bytes(key.encode())
        at = await storage.put_file(key.replace(".mp4", ".jpg"), poster)
        assert (place.at_url(stored.url), place.at_url(at)) == (file.read_bytes(), key.encode())
        assert await place.open().verify(key, cut(file), file) == stored


@pytest.mark.parametrize("key", ["", "/etc/passwd", "../film.mp4", "a/../b.mp4", "a//b.mp4", "a/", "./a", "a/./b",
                                 ".uploads/x", "a\nb", "a\0b", "a\ud800b", "x" * 256, "ü" * 128])
async def test_a_key_that_could_lead_out_of_the_library_is_refused_everywhere(
        storage: Storage, film: Path, key: str) -> None:
    upload_id, parts = "0" * 32, cut(film)
    for call in (lambda: storage.begin(key), lambda: storage.parts(key, upload_id),
                 lambda: storage.put_part(key, upload_id, parts[0], film), lambda: storage.verify(key, parts, film),
                 lambda: storage.complete(key, upload_id, parts, film), lambda: storage.put_file(key, film)):
        with pytest.raises(ParkError, match="cannot be an object's key"):
            await call()


async def test_an_object_that_is_removed_makes_room_for_another(place: Place, storage: Storage, film: Path) -> None:
    await storage.remove(KEY)  # none is there
    other = film.with_name("other.mp4")
    other.write_bytes(film.read_bytes()[::-1])
    await storage.complete(KEY, await upload(storage, other), cut(other), other)
    with pytest.raises(OtherObject):
        await storage.complete(KEY, await upload(storage, film), cut(film), film)
    await storage.remove(KEY)
    stored = await storage.complete(KEY, await upload(storage, film), cut(film), film)
    assert place.at_url(stored.url) == film.read_bytes()
