"""A film's file while it grows, really joined: what of it is stored when, up to the whistle and after it."""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from ezrec.domain.clock import SECOND
from ezrec.domain.film import Canvas, EncoderOptions, Film, Recipe
from ezrec.domain.stages import Stage
from ezrec.folders import DataFolder
from ezrec.media.encode import MUXER, coded_frame, finish, video_stream
from ezrec.tasks.film.growing import GrowingFiles
from ezrec.tasks.parts import Range, due_parts
from tests.tasks.film.test_recipe import FILM

TICKS = 60
CHUNKS = 20  # of a match
PART = 2000  # bytes
RECIPE = Recipe(Fraction(30), Canvas(64, 64, ()), EncoderOptions(crf=30, threads=1), part_size=PART)


@pytest.fixture(scope="module")
def chunk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("chunk") / "1.mp4"
    rng = np.random.default_rng(5)
    with av.open(str(path), "w", format="mp4", options=MUXER) as container:
        stream = video_stream(container, RECIPE)
        for tick in range(TICKS):
            frame = coded_frame(RECIPE.canvas)
            plane = frame.planes[0]
            plane.update(rng.integers(60, 90, plane.buffer_size, np.uint8).tobytes())
            container.mux(stream.encode(finish(frame, RECIPE.canvas, tick, RECIPE.rate)))
        container.mux(stream.encode(None))
    return path


@pytest.fixture
async def files(tmp_path: Path) -> AsyncIterator[GrowingFiles]:
    folder = DataFolder(tmp_path / "data")
    folder.film_file(FILM.recording_id, 1).parent.mkdir(parents=True)
    made = GrowingFiles(folder, lambda: None)
    yield made
    await made.drop_all()


class Match:
    """A film that is joined chunk by chunk, each part read as soon as it is due."""

    def __init__(self, files: GrowingFiles, chunk: Path, reserve: int, booked: int = CHUNKS) -> None:
        self.files, self.chunk, self.reserve = files, chunk, reserve
        recipe = replace(RECIPE, index_reserve=reserve)
        self.film: Film = replace(FILM, stage=Stage.RECORDING, recipe=recipe)
        self.book(booked)
        self.stored: dict[Range, bytes] = {}

    def book(self, chunks: int) -> None:
        self.film = replace(self.film, ends_at=self.film.starts_at + chunks * TICKS * SECOND // 30)

    async def play(self, first: int = 1, last: int = CHUNKS) -> None:
        for number in range(first, last + 1):
            await self.files.join(self.film, number, self.chunk, TICKS, lambda: "")
            growth = self.files.growth(self.film)
            assert growth
            for part in due_parts(growth, PART, self.reserve):
                if part not in self.stored:
                    data = growth.path.read_bytes()
                    self.stored[part] = data[part[1]:part[1] + part[2]]

    async def whistle(self) -> list[Range]:
        """Close the film; the parts that are left to be stored, or to be stored once more."""
        growth = await self.files.close(self.film)
        data = growth.path.read_bytes()
        left = [part for part in due_parts(growth, PART, self.reserve)
                if self.stored.get(part) != data[part[1]:part[1] + part[2]]]
        again = [number for number, _, _ in left if any(number == stored[0] for stored in self.stored)]
        for part, stored in self.stored.items():  # its sum tells which part must be stored once more
            assert (growth.sums[part[0]] == hashlib.sha256(stored).hexdigest()) == (part[0] not in again)
        return left


def index_of(path: Path) -> int:
    """Where the film's index ends."""
    data = path.read_bytes()
    at = data.index(b"moov") - 4
    return at + int.from_bytes(data[at:at + 4], "big") + 8


@pytest.mark.parametrize("reserve", [7_000, 8_000, 40_000, 200_000])
async def test_after_the_whistle_no_more_of_the_front_is_left_than_the_index_touches_however_large_the_reserve(
        files: GrowingFiles, chunk: Path, reserve: int) -> None:
    match = Match(files, chunk, reserve)
    await match.play()
    left = await match.whistle()
    growth_end = max(offset + size for _, offset, size in left)
    index = index_of(files._folder.film_file(FILM.recording_id, 1))
    front = [offset for _, offset, _ in left if offset < reserve]
    assert index > 2 * PART  # it takes several parts
    assert all(offset < index * 1.1 for offset in front)
    assert sum(size for _, _, size in left) <= index * 1.1 + 2 * PART
    assert growth_end > reserve  # the film's end is always left


async def test_no_part_is_stored_empty_that_the_index_grows_into_by_the_windows_end(
        files: GrowingFiles, chunk: Path) -> None:
    match = Match(files, chunk, 40_000)
    await match.play()
    before = {number for number, _, _ in match.stored}
    assert before & {number for number, _, _ in await match.whistle()} == set()
    assert len(before) > 15


async def test_a_part_that_was_stored_empty_and_that_a_longer_match_needs_is_told_by_its_sum(
        files: GrowingFiles, chunk: Path) -> None:
    match = Match(files, chunk, 40_000, booked=1)
    await match.play(1, 1)
    match.book(CHUNKS)
    await match.play(2)
    empty = {number for (number, _, _), stored in match.stored.items() if not any(stored)}
    left = {number for number, _, _ in await match.whistle()}
    assert empty & left == {3}
    assert empty - left  # the others stay as they are
