"""What the library folder promises beyond the contract of all storages."""

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ezrec.adapters.storage import Part
from ezrec.adapters.storage.local import LocalStorage
from ezrec.domain.errors import ParkError, RetryError

KEY = "court/film.mp4"
PART = 1000


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "data" / "film.mp4"
    path.parent.mkdir()
    path.write_bytes(os.urandom(2 * PART + 500))
    return path


@pytest.fixture
def library(tmp_path: Path) -> Path:
    return tmp_path / "library"


@pytest.fixture
def object_path(library: Path) -> Path:
    return library / KEY


def parts_of(film: Path) -> list[Part]:
    data = film.read_bytes()
    return [Part(n + 1, at, len(data[at:at + PART]), hashlib.md5(data[at:at + PART]).hexdigest())
            for n, at in enumerate(range(0, len(data), PART))]


def storage_of(film: Path, library: Path, link: bool | None = None) -> LocalStorage:
    return LocalStorage(library, film.parent, link)


async def upload(storage: LocalStorage, film: Path) -> str:
    upload_id = await storage.begin(KEY)
    for part in parts_of(film):
        await storage.put_part(KEY, upload_id, part, film)
    return upload_id


def leftovers(library: Path) -> list[str]:
    return sorted(file.name for file in (library / ".uploads").iterdir())


def refuse_links(monkeypatch: pytest.MonkeyPatch, code: int = errno.EPERM) -> None:
    def link(source: object, target: object) -> None:
        raise OSError(code, os.strerror(code), str(source))

    monkeypatch.setattr("ezrec.adapters.storage.local.os.link", link)


async def test_on_one_file_system_the_object_is_the_films_own_file(
        film: Path, library: Path, object_path: Path) -> None:
    before = film.stat()
    storage = storage_of(film, library)
    await storage.complete(KEY, await upload(storage, film), parts_of(film), film)
    assert object_path.stat().st_ino == before.st_ino
    assert object_path.stat().st_mtime_ns == before.st_mtime_ns
    assert leftovers(library) == []


async def test_where_links_are_refused_the_film_is_copied(
        film: Path, library: Path, object_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_links(monkeypatch)
    storage = storage_of(film, library)
    upload_id = await upload(storage, film)
    assert await storage.parts(KEY, upload_id) == {part.number: part.md5 for part in parts_of(film)}
    await storage.complete(KEY, upload_id, parts_of(film), film)
    assert object_path.read_bytes() == film.read_bytes()
    assert object_path.stat().st_ino != film.stat().st_ino
    assert object_path.stat().st_mode & 0o777 == 0o640
    assert leftovers(library) == []


async def test_where_links_are_refused_an_object_of_other_bytes_is_still_left_alone(
        film: Path, library: Path, object_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_links(monkeypatch)
    storage = storage_of(film, library)
    upload_id = await upload(storage, film)
    object_path.parent.mkdir()
    object_path.write_bytes(b"other")
    with pytest.raises(ParkError, match=KEY):
        await storage.complete(KEY, upload_id, parts_of(film), film)
    assert object_path.read_bytes() == b"other"


async def test_a_library_that_moved_to_another_disk_in_mid_film_gets_a_copy(
        film: Path, library: Path, object_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = storage_of(film, library, link=True)
    upload_id = await upload(storage, film)
    refuse_links(monkeypatch, errno.EXDEV)
    with pytest.raises(RetryError, match="will be copied"):
        await storage.complete(KEY, upload_id, parts_of(film), film)
    assert await storage.parts(KEY, upload_id) == {}
    for part in parts_of(film):
        await storage.put_part(KEY, upload_id, part, film)
    await storage.complete(KEY, upload_id, parts_of(film), film)
    assert object_path.read_bytes() == film.read_bytes()


async def test_an_object_in_a_library_of_links_is_not_read_again_by_who_linked_it(
        film: Path, library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = storage_of(film, library, link=True)
    parts = parts_of(film)
    upload_id = await upload(storage, film)

    def read(*_: object) -> bool:
        raise AssertionError("gigabytes were read")

    monkeypatch.setattr("ezrec.adapters.storage.local._is_there", read)
    await storage.complete(KEY, upload_id, parts, film)
    await storage.verify(KEY, parts, film)
    after_a_crash = storage_of(film, library, link=True)
    await after_a_crash.complete(KEY, upload_id, parts, film)


async def test_verify_sees_that_an_object_was_changed_after_it_was_stored(
        film: Path, library: Path, object_path: Path) -> None:
    storage, parts = storage_of(film, library, link=False), parts_of(film)
    await storage.complete(KEY, await upload(storage, film), parts, film)
    status = object_path.stat()
    object_path.write_bytes(bytes(len(film.read_bytes())))
    os.utime(object_path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    with pytest.raises(ParkError, match=KEY):
        await storage.verify(KEY, parts, film)


@pytest.mark.parametrize("link", [True, False])
async def test_an_object_that_is_only_a_name_of_a_damaged_film_loses_that_name_and_a_copy_keeps_it(
        film: Path, library: Path, object_path: Path, link: bool) -> None:
    storage, parts = storage_of(film, library, link=link), parts_of(film)
    await storage.complete(KEY, await upload(storage, film), parts, film)
    film.write_bytes(bytes(len(film.read_bytes())))
    after_a_crash = storage_of(film, library, link=link)
    stored = await after_a_crash.verify(KEY, parts, film)
    assert (stored is None, object_path.exists()) == (link, not link)
    assert film.exists()


async def test_a_film_that_changed_its_length_is_not_linked(film: Path, library: Path, object_path: Path) -> None:
    storage, parts = storage_of(film, library, link=True), parts_of(film)
    upload_id = await upload(storage, film)
    with film.open("ab") as file:
        file.write(b"more")
    with pytest.raises(ParkError, match="was changed"):
        await storage.complete(KEY, upload_id, parts, film)
    assert not object_path.exists()


async def test_a_range_whose_bytes_are_others_than_announced_is_not_taken(film: Path, library: Path) -> None:
    storage, parts = storage_of(film, library, link=False), parts_of(film)
    upload_id = await storage.begin(KEY)
    film.write_bytes(bytes(2 * PART + 500))
    with pytest.raises(ParkError, match="not those that were announced"):
        await storage.put_part(KEY, upload_id, parts[0], film)
    assert await storage.parts(KEY, upload_id) == {}


async def test_a_part_that_was_damaged_while_the_program_was_off_is_asked_for_again(
        film: Path, library: Path, object_path: Path) -> None:
    parts = parts_of(film)
    upload_id = await upload(storage_of(film, library, link=False), film)
    with (library / ".uploads" / upload_id).open("r+b") as file:
        file.seek(PART + 10)
        file.write(b"damage")

    storage = storage_of(film, library, link=False)
    with pytest.raises(RetryError, match="part 2"):
        await storage.complete(KEY, upload_id, parts, film)
    assert not object_path.exists()
    assert sorted(await storage.parts(KEY, upload_id)) == [1, 3]
    await storage.put_part(KEY, upload_id, parts[1], film)
    await storage.complete(KEY, upload_id, parts, film)
    assert object_path.read_bytes() == film.read_bytes()


async def test_a_part_that_was_never_put_is_missed(film: Path, library: Path, object_path: Path) -> None:
    storage, parts = storage_of(film, library, link=False), parts_of(film)
    upload_id = await storage.begin(KEY)
    for part in (parts[0], parts[2]):
        await storage.put_part(KEY, upload_id, part, film)
    with pytest.raises(RetryError, match="part 2"):
        await storage.complete(KEY, upload_id, parts, film)
    assert not object_path.exists()


async def test_a_torn_line_of_the_journal_costs_no_other_part(film: Path, library: Path) -> None:
    parts = parts_of(film)
    storage = storage_of(film, library, link=False)
    upload_id = await storage.begin(KEY)
    await storage.put_part(KEY, upload_id, parts[0], film)
    with (library / ".uploads" / f"{upload_id}.parts").open("ab") as journal:
        journal.write(b'{"number": 2, "off')
    after = storage_of(film, library, link=False)
    await after.put_part(KEY, upload_id, parts[1], film)
    assert sorted(await after.parts(KEY, upload_id)) == [1, 2]


async def test_killed_between_naming_the_object_and_forgetting_the_upload_it_completes_again(
        film: Path, library: Path, object_path: Path) -> None:
    parts = parts_of(film)
    upload_id = await upload(storage_of(film, library, link=False), film)
    object_path.parent.mkdir()
    os.link(library / ".uploads" / upload_id, object_path)

    await storage_of(film, library, link=False).complete(KEY, upload_id, parts, film)
    assert object_path.read_bytes() == film.read_bytes()
    assert leftovers(library) == []


UPLOADER = """
import asyncio, json, os, signal, sys
from pathlib import Path
from ezrec.adapters.storage import Part
from ezrec.adapters.storage.local import LocalStorage

async def main():
    library, film, parts, upto = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]), int(sys.argv[4])
    storage = LocalStorage(library, film.parent, link=False)
    upload_id = await storage.begin("court/film.mp4")
    print(upload_id, flush=True)
    for part in parts[:upto]:
        await storage.put_part("court/film.mp4", upload_id, Part(**part), film)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def test_the_parts_of_a_killed_process_are_there_for_the_next(
        film: Path, library: Path, object_path: Path) -> None:
    parts = parts_of(film)
    plain = json.dumps([vars(part) for part in parts])
    killed = subprocess.run([sys.executable, "-c", UPLOADER, library, film, plain, "2"],
                            stdout=subprocess.PIPE, text=True, check=False, timeout=30)
    assert killed.returncode == -9
    upload_id = killed.stdout.strip()

    storage = storage_of(film, library, link=False)
    assert await storage.parts(KEY, upload_id) == {part.number: part.md5 for part in parts[:2]}
    await storage.put_part(KEY, upload_id, parts[2], film)
    await storage.complete(KEY, upload_id, parts, film)
    assert object_path.read_bytes() == film.read_bytes()


async def test_a_sweep_removes_what_unknown_uploads_left_and_nothing_else(
        film: Path, library: Path, object_path: Path) -> None:
    storage = storage_of(film, library, link=False)
    await storage.complete(KEY, await upload(storage, film), parts_of(film), film)
    known, _unknown = await upload(storage, film), await upload(storage, film)
    (library / ".uploads" / "0123.tmp").touch()

    after = storage_of(film, library, link=False)
    assert await after.sweep({known}) == 3
    assert leftovers(library) == [known, f"{known}.parts"]
    assert sorted(await after.parts(KEY, known)) == [1, 2, 3]
    assert object_path.read_bytes() == film.read_bytes()


async def test_a_sweep_of_a_library_that_is_not_there_finds_nothing(film: Path, library: Path) -> None:
    assert await storage_of(film, library).sweep(set()) == 0


@pytest.mark.parametrize("put", [os.mkfifo, Path.touch, Path.mkdir, lambda place: place.symlink_to("nowhere")],
                         ids=["a pipe", "a file", "a folder", "a link to nothing"])
@pytest.mark.parametrize("ending", ["", "/{}", "/{}.parts"], ids=["all uploads", "a copy", "a journal"])
async def test_a_sweep_removes_what_is_in_the_way_of_uploads(
        film: Path, library: Path, object_path: Path, ending: str, put: Callable[[Path], object]) -> None:
    known = await upload(storage_of(film, library, link=False), film)
    place = Path(f"{library / '.uploads'}{ending.format(known)}")
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    put(place)

    after = storage_of(film, library, link=False)
    await after.sweep({known})
    assert await after.parts(KEY, known) == {}
    for part in parts_of(film):
        await after.put_part(KEY, known, part, film)
    await after.complete(KEY, known, parts_of(film), film)
    assert object_path.read_bytes() == film.read_bytes()


@pytest.mark.parametrize("upload_id", [" ", "../film", "0" * 31, "Z" * 32])
async def test_an_upload_id_never_becomes_a_path(film: Path, library: Path, upload_id: str) -> None:
    storage = storage_of(film, library, link=False)
    for call in (lambda: storage.parts(KEY, upload_id), lambda: storage.abort(KEY, upload_id),
                 lambda: storage.put_part(KEY, upload_id, parts_of(film)[0], film),
                 lambda: storage.complete(KEY, upload_id, parts_of(film), film)):
        with pytest.raises(ParkError, match="is not an upload"):
            await call()


@pytest.mark.parametrize(("code", "verdict"), [(errno.ENOSPC, RetryError), (errno.EIO, RetryError),
                                               (errno.EROFS, ParkError), (errno.EACCES, ParkError)])
async def test_a_disk_error_says_whether_waiting_helps(
        film: Path, library: Path, monkeypatch: pytest.MonkeyPatch, code: int, verdict: type[Exception]) -> None:
    storage = storage_of(film, library, link=False)
    upload_id = await storage.begin(KEY)

    def pwrite(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("ezrec.adapters.storage.local.os.pwrite", pwrite)
    with pytest.raises(verdict, match=f"cannot store part 1 of {KEY}"):
        await storage.put_part(KEY, upload_id, parts_of(film)[0], film)


async def test_a_file_where_a_folder_is_needed_parks(film: Path, library: Path) -> None:
    storage = storage_of(film, library)
    library.mkdir()
    (library / "court").write_bytes(b"")
    upload_id = await upload(storage, film)
    with pytest.raises(ParkError, match="court"):
        await storage.complete(KEY, upload_id, parts_of(film), film)
