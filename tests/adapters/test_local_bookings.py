"""Bookings from a file: nothing but a whole, valid file is ever an answer."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from ezrec.adapters.bookings import BookingSource
from ezrec.adapters.bookings.local import LARGEST, BookingsFile
from ezrec.domain.errors import RetryError

ROWS = [{"id": "b1", "start_time": "2026-11-20T18:00:00Z"}, 17]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "bookings.json"
    path.write_text(json.dumps(ROWS), "utf-8")
    return path


@pytest.mark.parametrize("text", [json.dumps(ROWS), json.dumps({"bookings": ROWS}), "\ufeff" + json.dumps(ROWS)])
async def test_the_rows_of_a_list_or_of_an_object_come_unparsed(file: Path, text: str) -> None:
    file.write_text(text, "utf-8")
    source: BookingSource = BookingsFile(file)
    assert source.name == "file"
    assert await source.fetch() == ROWS


async def test_a_file_that_did_not_change_has_nothing_new(file: Path) -> None:
    source = BookingsFile(file)
    await source.fetch()
    assert await source.fetch() is None
    assert await BookingsFile(file).fetch() == ROWS


async def test_a_file_that_was_replaced_by_one_of_the_same_size_and_time_is_read_again(file: Path) -> None:
    source = BookingsFile(file)
    await source.fetch()
    status = file.stat()
    other = file.with_name("other")
    other.write_text(json.dumps(ROWS).replace("b1", "b2"), "utf-8")
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.rename(file)
    rows: Any = await source.fetch()
    assert rows[0]["id"] == "b2"


async def test_an_edit_that_leaves_size_and_times_as_they_were_is_noticed(
        file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a tick of the file system's clock all times stay, the time of change included."""
    file.write_text('[{"id": "a"}]')
    source, before = BookingsFile(file), file.stat()
    assert await source.fetch() == [{"id": "a"}]
    with file.open("r+") as same:
        same.write('[{"id": "b"}]')
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    monkeypatch.setattr("ezrec.adapters.bookings.local.os.fstat", lambda _handle: before)
    assert await source.fetch() == [{"id": "b"}]
    assert await source.fetch() is None


async def test_an_empty_list_is_an_answer(file: Path) -> None:
    file.write_text("[]", "utf-8")
    assert await BookingsFile(file).fetch() == []


@pytest.mark.parametrize(("content", "words"), [
    (b"", "line 1, column 1"), (b'[\n{"id": "b1"', "line 2, column 12"), (b'"bookings"', "holds no list"),
    (b'{"booking": []}', "holds no list"), (b'{"bookings": null}', "holds no list"), (b"[\xff]", "byte 1"),
    (b"[" * 100_000, "cannot be read|not JSON"), (b"[" + b"9" * 5000 + b"]", "cannot be read")])
async def test_a_file_that_is_not_whole_is_an_error_that_says_where_until_it_is_mended(
        file: Path, content: bytes, words: str) -> None:
    source = BookingsFile(file)
    await source.fetch()
    file.write_bytes(content)
    for _ in range(2):
        with pytest.raises(RetryError, match=words) as caught:
            await source.fetch()
        assert str(file) in str(caught.value)
        assert "kept" in str(caught.value)
    file.write_text("[1]", "utf-8")
    assert await source.fetch() == [1]


async def test_a_file_that_vanishes_is_an_error_and_never_an_empty_schedule(file: Path) -> None:
    source = BookingsFile(file)
    await source.fetch()
    file.unlink()
    with pytest.raises(RetryError, match=r"no bookings file .*kept"):
        await source.fetch()


async def test_a_file_that_changes_while_it_is_read_is_not_believed(
        file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = BookingsFile(file)
    opened = os.fdopen

    def open_and_grow(*args: Any, **options: Any) -> Any:
        stream = opened(*args, **options)
        file.write_bytes(b"[1, 2, 3]")
        return stream

    with monkeypatch.context() as patch:
        patch.setattr("ezrec.adapters.bookings.local.os.fdopen", open_and_grow)
        with pytest.raises(RetryError, match="changed while it was read"):
            await source.fetch()
    assert await source.fetch() == [1, 2, 3]


async def test_a_file_over_the_limit_is_not_read(file: Path) -> None:
    with file.open("ab") as out:
        out.truncate(LARGEST + 1)
    with pytest.raises(RetryError, match="at most 8000000"):
        await BookingsFile(file).fetch()


@pytest.mark.parametrize("kind", ["folder", "pipe"])
async def test_what_is_not_a_file_is_refused_without_waiting_for_it(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "bookings.json"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(RetryError, match="is not a file"):
        await BookingsFile(path).fetch()
