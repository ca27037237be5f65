"""What a file is said to hold, and what a finished film is refused for."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import pytest

from ezrec.domain.errors import BadMedia
from ezrec.domain.film import ChunkJob, Recipe
from ezrec.media.chunk import render
from ezrec.media.join import Joiner
from ezrec.media.probe import boxes, film_facts, probe
from ezrec.pyav import copied_stream


@pytest.fixture
def film(tmp_path: Path, recipe: Recipe, job: Callable[..., ChunkJob], footage: Any, tools: Any) -> Path:
    made = job(footage("l", tools.shots(50)), footage("r", tools.shots(50)), ticks=40)
    render(made)
    joiner = Joiner(tmp_path / "film.mp4", recipe)
    joiner.add(made.out, 40)
    joiner.close()
    return tmp_path / "film.mp4"


def test_a_clip_is_described(tmp_path: Path, tools: Any) -> None:
    facts = probe(tools.write_clip(tmp_path / "clip.mp4", sound=True))
    assert (facts.width, facts.height, facts.frames, facts.rotation, facts.sound) == (320, 180, 25, 0, True)
    assert (float(facts.rate or 0), round(facts.duration_s, 1)) == (25.0, 1.0)


def test_a_segment_is_described(tmp_path: Path, tools: Any) -> None:
    tools.write_segment(tmp_path / "one.ts", tools.shots(30))
    facts = probe(tmp_path / "one.ts")
    assert (facts.width, facts.height, facts.frames, facts.sound) == (320, 180, None, False)
    assert 0.9 < facts.duration_s < 1.1


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "No such file"), (b"", "0 bytes"), (b"hello\n" * 200, "cannot be read"), (bytes(5000), "x.mp4")],
)
def test_what_is_no_film_is_refused_by_name_and_reason(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "x.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadMedia, match=reason) as caught:
        probe(path)
    assert str(path) in str(caught.value)


def test_text_is_not_played_as_ansi_art(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("hello\n" * 200)
    with pytest.raises(BadMedia):
        probe(tmp_path / "x.txt")


def test_sound_alone_is_no_film(tmp_path: Path, tools: Any) -> None:
    with pytest.raises(BadMedia, match="no video"):
        probe(tools.write_clip(tmp_path / "clip.mp4", video=False, sound=True))


def test_a_finished_film_is_described(film: Path) -> None:
    facts = film_facts(film)
    assert (facts.width, facts.height, facts.frames, facts.rate, facts.sound) == (608, 180, 40, 30, False)
    assert facts.bytes == film.stat().st_size
    assert round(facts.duration_s, 3) == 1.333


def test_a_film_cut_short_is_refused(film: Path) -> None:
    film.write_bytes(film.read_bytes()[:-3000])
    with pytest.raises(BadMedia):
        film_facts(film)


def test_a_film_with_its_index_behind_is_refused(film: Path, job: Callable[..., ChunkJob]) -> None:
    made = job(ticks=10, out=str(film.with_name("plain.mp4")))
    render(made)
    with pytest.raises(BadMedia, match="not in front"):
        film_facts(made.out)


@pytest.mark.parametrize("box", [b"moov", b"mdat"])
def test_a_film_without_its_index_or_its_pictures_is_refused(film: Path, box: bytes) -> None:
    data = bytearray(film.read_bytes())
    at = data.index(box)
    data[at : at + 4] = b"free"
    film.write_bytes(data)
    with pytest.raises(BadMedia):
        film_facts(film)


def test_a_film_of_uneven_rate_is_refused(film: Path) -> None:
    data = bytearray(film.read_bytes())
    at = data.index(b"stts") + 4
    assert int.from_bytes(data[at + 4 : at + 8], "big") == 1
    (count, delta) = (int.from_bytes(data[at + 8 + n : at + 12 + n], "big") for n in (0, 4))
    spare = data.index(b"free")
    data[at + 4 : at + 16] = b"".join(n.to_bytes(4, "big") for n in (2, count - 1, delta))
    grown = bytes(data[: at + 16]) + (1).to_bytes(4, "big") + (delta * 3).to_bytes(4, "big") + bytes(data[at + 16 :])
    film.write_bytes(_resized(grown, spare))
    with pytest.raises(BadMedia, match="its rate is not constant"):
        film_facts(film)


def _resized(data: bytes, spare: int) -> bytes:
    """Repair the sizes of the boxes around an stts box that has grown by 8 bytes, and take them from the free box."""
    out = bytearray(data)
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stts"):
        at = out.index(name) - 4
        out[at : at + 4] = (int.from_bytes(out[at : at + 4], "big") + 8).to_bytes(4, "big")
    free = spare + 8 - 4
    out[free : free + 4] = (int.from_bytes(out[free : free + 4], "big") - 8).to_bytes(4, "big")
    del out[free + 8 : free + 16]
    return bytes(out)


def box(name: bytes, size: int, content: bytes = b"") -> bytes:
    return size.to_bytes(4, "big") + name + content


def test_boxes_are_found_whether_their_size_has_32_or_64_bits_or_is_left_to_the_end_of_the_file() -> None:
    data = box(b"ftyp", 12, b"isom") + box(b"mdat", 1, (20).to_bytes(8, "big") + b"film") + box(b"free", 0, b"rest")
    assert list(boxes(io.BytesIO(data), 0, len(data))) == [("ftyp", 8, 12), ("mdat", 28, 32), ("free", 40, 44)]
    empty = box(b"free", 8)
    assert list(boxes(io.BytesIO(empty), 0, 8)) == [("free", 8, 8)]


@pytest.mark.parametrize("data", [
    box(b"ftyp", 13, b"isom"), box(b"ftyp", 7, b"isom"), box(b"mdat", 1, (15).to_bytes(8, "big") + b"film")],
    ids=["longer than the file", "shorter than its header", "shorter than its long header"])
def test_a_box_that_cannot_be_as_long_as_it_says_is_refused(data: bytes) -> None:
    with pytest.raises(BadMedia, match="cut short"):
        list(boxes(io.BytesIO(data), 0, len(data)))


def test_a_clip_that_begins_with_damage_is_described_by_the_first_picture_that_decodes(
        tmp_path: Path, tools: Any) -> None:
    path = tools.write_clip(tmp_path / "clip.mp4", codec="mpeg4")
    with av.open(str(path)) as clip:
        first = next(packet for packet in clip.demux(video=0) if packet.size)
        at, size = first.pos or 0, first.size
    data = bytearray(path.read_bytes())
    data[at : at + size] = b"\xff" * size
    path.write_bytes(data)
    facts = probe(path)
    assert (facts.width, facts.height) == (320, 180)


def test_a_film_that_does_not_say_how_many_pictures_it_has_is_refused(
        tmp_path: Path, recipe: Recipe, film: Path) -> None:
    loose = tmp_path / "loose.mp4"
    with av.open(str(film)) as source, av.open(
            str(loose), "w", options={"movflags": "frag_keyframe+empty_moov"}) as target:
        stream = copied_stream(target, source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux_one(packet)
    with pytest.raises(BadMedia, match="has no rate or no pictures"):
        film_facts(loose)


def test_a_film_whose_index_lacks_a_box_is_refused_by_its_name(film: Path) -> None:
    data = bytearray(film.read_bytes())
    at = data.index(b"hdlr")
    data[at : at + 4] = b"free"
    film.write_bytes(data)
    with pytest.raises(BadMedia, match="the index has no box mdia/hdlr"):
        film_facts(film)
