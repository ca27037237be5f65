"""What every storage promises, run over each implementation."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from ezrec.adapters.storage import Part, Storage, composite_etag
from ezrec.adapters.storage.local import LocalStorage
from ezrec.domain.errors import ParkError, RetryError

KEY = "court/2026-11-20/b1-0.mp4"
PART = 4096  # bytes; the last part is shorter


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "data" / "film.mp4"
    path.parent.mkdir()
    path.write_bytes(bytes((n * 31 + n // 251) % 256 for n in range(3 * PART + 1234)))
    return path


@pytest.fixture(params=["link", "copy"])
def open_storage(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Storage]:
    """Makes a storage that knows nothing but what is durable: called again, it is the storage after a crash."""
    by_link = request.param == "link"
    return lambda: LocalStorage(tmp_path / "library", tmp_path / "data", link=by_link)


@pytest.fixture
def storage(open_storage: Callable[[], Storage]) -> Storage:
    return open_storage()


def cut(film: Path, size: int = PART) -> list[Part]:
    data = film.read_bytes()
    pieces = [data[at:at + size] for at in range(0, len(data), size)]
    return [Part(number, (number - 1) * size, len(piece), hashlib.md5(piece, usedforsecurity=False).hexdigest())
            for number, piece in enumerate(pieces, 1)]


def at_url(url: str) -> bytes:
    return Path(unquote(urlsplit(url).path)).read_bytes()


async def upload(storage: Storage, film: Path, key: str = KEY) -> str:
    """Begin and put all parts, the first one last; returns the upload's id."""
    upload_id = await storage.begin(key)
    parts = cut(film)
    for part in [*parts[1:], parts[0]]:
        await storage.put_part(key, upload_id, part, film)
    return upload_id


async def test_an_object_has_the_films_bytes_whatever_order_its_parts_came_in(storage: Storage, film: Path) -> None:
    parts = cut(film)
    upload_id = await storage.begin(KEY)
    for number in (3, 4, 2, 1):
        await storage.put_part(KEY, upload_id, parts[number - 1], film)
    stored = await storage.complete(KEY, upload_id, parts, film)
    assert at_url(stored.url) == film.read_bytes()
    assert (stored.key, stored.bytes, stored.etag) == (KEY, film.stat().st_size, composite_etag(parts))


async def test_the_order_in_which_parts_are_listed_does_not_matter(storage: Storage, film: Path) -> None:
    upload_id = await upload(storage, film)
    stored = await storage.complete(KEY, upload_id, cut(film)[::-1], film)
    assert stored.etag == composite_etag(cut(film))


async def test_a_film_of_one_short_part_is_stored(storage: Storage, film: Path) -> None:
    film.write_bytes(b"short")
    upload_id = await upload(storage, film)
    assert at_url((await storage.complete(KEY, upload_id, cut(film), film)).url) == b"short"


async def test_there_is_no_object_before_complete(storage: Storage, film: Path) -> None:
    await upload(storage, film)
    assert await storage.verify(KEY, cut(film)) is None


async def test_parts_go_up_while_the_film_grows(storage: Storage, film: Path) -> None:
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
    assert at_url((await storage.complete(KEY, upload_id, parts, film)).url) == whole


async def test_after_a_crash_an_upload_goes_on_with_the_parts_that_are_not_listed(
        open_storage: Callable[[], Storage], film: Path) -> None:
    parts, before = cut(film), open_storage()
    upload_id = await before.begin(KEY)
    for part in parts[1:3]:
        await before.put_part(KEY, upload_id, part, film)

    after = open_storage()
    there = await after.parts(KEY, upload_id)
    assert all(parts[number - 1] == part for number, part in there.items())
    for part in parts:
        if part.number not in there:
            await after.put_part(KEY, upload_id, part, film)
    assert at_url((await after.complete(KEY, upload_id, parts, film)).url) == film.read_bytes()


async def test_every_call_may_be_repeated_after_a_lost_answer(storage: Storage, film: Path) -> None:
    parts = cut(film)
    await storage.begin(KEY)
    upload_id = await upload(storage, film)
    for part in parts:
        await storage.put_part(KEY, upload_id, part, film)
    first = await storage.complete(KEY, upload_id, parts, film)
    assert await storage.complete(KEY, upload_id, parts, film) == first
    assert await storage.verify(KEY, parts) == first
    assert await storage.verify(KEY, parts) == first
    await storage.abort(KEY, upload_id)
    await storage.abort(KEY, upload_id)
    assert await storage.verify(KEY, parts) == first
    assert at_url(first.url) == film.read_bytes()


async def test_complete_confirms_after_a_crash_an_object_that_is_there(
        open_storage: Callable[[], Storage], film: Path) -> None:
    parts, before = cut(film), open_storage()
    upload_id = await upload(before, film)
    first = await before.complete(KEY, upload_id, parts, film)
    assert await open_storage().complete(KEY, upload_id, parts, film) == first
    assert await open_storage().verify(KEY, parts) == first


async def test_complete_confirms_an_object_whose_film_is_gone(open_storage: Callable[[], Storage], film: Path) -> None:
    parts, before = cut(film), open_storage()
    upload_id = await upload(before, film)
    first = await before.complete(KEY, upload_id, parts, film)
    film.unlink()
    assert await open_storage().complete(KEY, upload_id, parts, film) == first


@pytest.mark.parametrize("change", [b"", b"!"], ids=["same length", "longer"])
async def test_an_object_of_other_bytes_is_left_alone_and_named(
        open_storage: Callable[[], Storage], film: Path, change: bytes) -> None:
    first = open_storage()
    other = film.with_name("other.mp4")
    other.write_bytes(film.read_bytes()[::-1] + change)
    stored = await first.complete(KEY, await upload(first, other), cut(other), other)

    for storage in (first, open_storage()):
        upload_id = await upload(storage, film)
        with pytest.raises(ParkError, match=KEY):
            await storage.complete(KEY, upload_id, cut(film), film)
        with pytest.raises(ParkError, match=KEY):
            await storage.verify(KEY, cut(film))
    assert at_url(stored.url) == other.read_bytes()


async def test_parts_that_do_not_lie_end_to_end_are_refused(storage: Storage, film: Path) -> None:
    upload_id = await upload(storage, film)
    parts = cut(film)
    shifted = Part(2, PART + 1, PART, parts[1].md5)
    longer_last = [Part(1, 0, 10, parts[0].md5), Part(2, 10, film.stat().st_size - 10, parts[1].md5)]
    for wrong in ([], parts[1:], [*parts, parts[-1]], [parts[0], shifted, *parts[2:]], longer_last):
        with pytest.raises(ParkError):
            await storage.complete(KEY, upload_id, wrong, film)
    assert await storage.verify(KEY, parts) is None


async def test_an_aborted_upload_leaves_no_parts_and_no_object(storage: Storage, film: Path) -> None:
    upload_id = await upload(storage, film)
    await storage.abort(KEY, upload_id)
    assert await storage.parts(KEY, upload_id) == {}
    assert await storage.verify(KEY, cut(film)) is None


async def test_two_uploads_do_not_touch_each_other(storage: Storage, film: Path) -> None:
    other = film.with_name("other.mp4")
    other.write_bytes(film.read_bytes()[::-1])
    ids = await upload(storage, film, "a.mp4"), await upload(storage, other, "b.mp4")
    await storage.abort("b.mp4", ids[1])
    assert at_url((await storage.complete("a.mp4", ids[0], cut(film), film)).url) == film.read_bytes()
    assert await storage.verify("b.mp4", cut(other)) is None


async def test_a_small_file_replaces_the_one_before_it(storage: Storage, tmp_path: Path) -> None:
    poster = tmp_path / "poster.jpg"
    poster.write_bytes(b"first")
    first = await storage.put_file("court/poster.jpg", poster)
    poster.write_bytes(b"second")
    assert await storage.put_file("court/poster.jpg", poster) == first
    assert at_url(first) == b"second"


@pytest.mark.parametrize("key", ["", "/etc/passwd", "../film.mp4", "a/../b.mp4", "a//b.mp4", "a/", "./a", "a/./b",
                                 ".uploads/x", "a\nb", "a\0b", "a\ud800b", "x" * 201, "ü" * 101])
async def test_a_key_that_could_lead_out_of_the_library_is_refused_everywhere(
        storage: Storage, film: Path, key: str) -> None:
    upload_id, parts = "0" * 32, cut(film)
    for call in (lambda: storage.begin(key), lambda: storage.parts(key, upload_id),
                 lambda: storage.put_part(key, upload_id, parts[0], film), lambda: storage.verify(key, parts),
                 lambda: storage.complete(key, upload_id, parts, film), lambda: storage.put_file(key, film)):
        with pytest.raises(ParkError, match="cannot be an object's key"):
            await call()
