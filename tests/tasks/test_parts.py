"""A film's parts: which are due when, and what is found out of a file that is not what was written."""

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ezrec.domain.errors import FilmAway, FilmDamaged
from ezrec.store.rows import PartRow
from ezrec.tasks.film.growing import Growth
from ezrec.tasks.parts import due_parts, is_same, read_part

sizes = st.tuples(st.integers(0, 5000), st.integers(1, 700), st.integers(1, 3000))


@given(sizes)
def test_the_parts_of_a_closed_film_cover_it_exactly_once_and_are_equal_but_the_last(
        given_: tuple[int, int, int]) -> None:
    final, part_size, reserve = given_
    parts = sorted(due_parts(Growth(Path(), final, closed=True), part_size, reserve))
    assert [number for number, _, _ in parts] == list(range(1, len(parts) + 1))
    at = 0
    for number, offset, size in parts:
        assert offset == at
        assert size == part_size or (number == len(parts) and 0 < size <= part_size)
        at += size
    assert at == final


@given(sizes)
def test_the_front_of_a_film_goes_last_and_part_one_at_the_very_end(given_: tuple[int, int, int]) -> None:
    final, part_size, reserve = given_
    order = list(due_parts(Growth(Path(), final, closed=True), part_size, reserve))
    front = [offset < reserve for _, offset, _ in order]
    assert front == sorted(front)
    if order:
        assert order[-1][0] == 1


@given(sizes)
def test_while_a_film_grows_nothing_is_due_that_may_still_change(given_: tuple[int, int, int]) -> None:
    final, part_size, reserve = given_
    for _, offset, size in due_parts(Growth(Path(), final, closed=False), part_size, reserve):
        assert reserve <= offset
        assert offset + size <= final
        assert size == part_size


@given(sizes, st.integers(0, 4000))
def test_while_a_film_grows_all_is_due_that_is_whole_and_that_the_index_does_not_touch(
        given_: tuple[int, int, int], index: int) -> None:
    final, part_size, reserve = given_
    due = list(due_parts(Growth(Path(), final, closed=False, index=index), part_size, reserve))
    untouched = range(-(-min(index, reserve) // part_size), final // part_size)
    assert sorted(due) == [(at + 1, at * part_size, part_size) for at in untouched]
    behind = [offset >= reserve for _, offset, _ in due]
    assert behind == sorted(behind, reverse=True)  # pictures first


@given(st.integers(1, 6), st.integers(1, 12), st.integers(0, 5000))
def test_what_is_left_of_the_front_after_the_whistle_does_not_depend_on_the_reserve(
        touched: int, more: int, final: int) -> None:
    reserve, final = 100 * (touched + more), 100 * (touched + more) + final
    index = 100 * touched - 50
    early = set(due_parts(Growth(Path(), final, closed=False, index=index), 100, reserve))
    left = set(due_parts(Growth(Path(), final, closed=True), 100, reserve)) - early
    assert sum(size for _, _, size in left) == 100 * touched + final % 100


@given(sizes, st.integers(0, 3000))
def test_what_was_due_once_is_due_as_the_same_part_ever_after(given_: tuple[int, int, int], more: int) -> None:
    final, part_size, reserve = given_
    before = set(due_parts(Growth(Path(), final, closed=False), part_size, reserve))
    for closed in (False, True):
        assert before <= set(due_parts(Growth(Path(), final + more, closed), part_size, reserve))


@given(st.integers(1, 4000))
def test_parts_go_as_soon_as_they_are_whole(final: int) -> None:
    numbers = [number for number, _, _ in due_parts(Growth(Path(), final, closed=False), 100, 250)]
    assert numbers == list(range(4, final // 100 + 1))


# ---- a part as it is

CONTENT = bytes(range(256)) * 4
SUMS = {number: hashlib.sha256(CONTENT[at:at + 500]).hexdigest() for number, at in enumerate(range(0, 1024, 500), 1)}
PARTS = [(1, 0, 500), (2, 500, 500), (3, 1000, 24)]


@pytest.fixture
def growth(tmp_path: Path) -> Growth:
    path = tmp_path / "films" / "rec" / "film-1.mp4"
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    return Growth(path, len(CONTENT), closed=True, sums=SUMS)


def test_a_part_comes_with_its_checksums(growth: Growth) -> None:
    for number, offset, size in PARTS:
        data = CONTENT[offset:offset + size]
        assert read_part(growth, number, offset, size) == PartRow(
            number, offset, size, hashlib.md5(data).hexdigest(), SUMS[number])


def test_a_part_that_is_not_what_was_written_is_damaged_and_the_others_are_not(growth: Growth) -> None:
    data = bytearray(CONTENT)
    data[777] ^= 1
    growth.path.write_bytes(data)
    with pytest.raises(FilmDamaged, match="part 2 is not what was written"):
        read_part(growth, *PARTS[1])
    for part in (PARTS[0], PARTS[2]):
        assert read_part(growth, *part).sha256 == SUMS[part[0]]


def test_of_a_film_whose_checksums_nobody_knows_nothing_is_compared(growth: Growth) -> None:
    growth.path.write_bytes(bytes(1024))
    older = Growth(growth.path, 1024, closed=True)
    assert read_part(older, *PARTS[1]).sha256 == hashlib.sha256(bytes(500)).hexdigest()


def test_a_film_that_ends_too_early_is_damaged(growth: Growth) -> None:
    os.truncate(growth.path, 990)
    read_part(growth, *PARTS[0])
    with pytest.raises(FilmDamaged, match="10 bytes of part 2 are missing"):
        read_part(growth, *PARTS[1])


@pytest.mark.parametrize("there", ["nothing", "a folder", "a pipe", "a link to itself", "a link to nothing"])
def test_a_film_in_whose_place_no_file_lies_is_gone(growth: Growth, there: str) -> None:
    path = growth.path
    path.unlink()
    if there == "a folder":
        path.mkdir()
    elif there == "a pipe":
        os.mkfifo(path)
    elif there.startswith("a link"):
        path.symlink_to(path if there == "a link to itself" else path.with_name("nowhere"))
    with pytest.raises(FilmDamaged, match="is gone"):
        read_part(growth, *PARTS[0])


def test_a_film_whose_own_folder_is_gone_is_gone(growth: Growth) -> None:
    growth.path.unlink()
    growth.path.parent.rmdir()
    with pytest.raises(FilmDamaged, match="is gone"):
        read_part(growth, *PARTS[0])


def test_a_film_whose_disk_is_away_or_fails_may_come_back(growth: Growth, tmp_path: Path) -> None:
    (tmp_path / "films").rename(tmp_path / "elsewhere")
    with pytest.raises(FilmAway, match="cannot be read: No such file"):
        read_part(growth, *PARTS[0])
    failing = Growth(Path("/proc/self/mem"), 1024, closed=True)  # its first page gives EIO
    with pytest.raises(FilmAway, match="Input/output error"):
        read_part(failing, *PARTS[0])


def test_a_film_that_may_not_be_read_is_neither_damaged_nor_away(
        growth: Growth, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(PermissionError):
        read_part(growth, *PARTS[0])


def test_a_part_from_before_is_the_same_only_with_its_place_and_the_checksum_of_now(growth: Growth) -> None:
    row = read_part(growth, *PARTS[1])
    assert is_same(growth, row, PARTS[1])
    assert not is_same(growth, row, (2, 500, 499))
    assert not is_same(Growth(growth.path, 1024, closed=True), row, PARTS[1])
    assert not is_same(Growth(growth.path, 1024, closed=True, sums=SUMS | {2: SUMS[1]}), row, PARTS[1])
