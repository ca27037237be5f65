"""A film joined from chunks: its bytes, its index, its time stamps, and what is refused."""

import errno
import hashlib
import itertools
import os
import struct
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

from ezrec.domain.errors import BadMedia, ChunkDamaged, IndexOutgrown
from ezrec.domain.film import ChunkJob, EncoderOptions, Intro, Recipe
from ezrec.media.chunk import render
from ezrec.media.intro import normalise
from ezrec.media.join import FRONT, Joiner, _Track, index_reserve
from ezrec.media.probe import film_facts
from ezrec.pyav import forget

LENGTHS = (20, 1, 2, 15, 7)


@pytest.fixture
def chunks(job: Callable[..., ChunkJob], footage: Any, tools: Any) -> list[tuple[str, int]]:
    """Chunks of odd lengths that follow each other."""
    left, right = footage("l", tools.shots(60)), footage("r", tools.shots(60))
    made, first = [], 0
    for ticks in LENGTHS:
        one = job(left, right, first=first, ticks=ticks)
        render(one)
        made.append((one.out, ticks))
        first += ticks
    return made


def joined(path: Path, recipe: Recipe, chunks: list[tuple[str, int]]) -> Path:
    joiner = Joiner(path, recipe)
    for chunk, ticks in chunks:
        joiner.add(chunk, ticks)
    facts = joiner.close()
    assert facts.frames == sum(ticks for _, ticks in chunks)
    return path


def moov_size(path: Path) -> int:
    data = path.read_bytes()
    at = data.index(b"moov")
    return int.from_bytes(data[at - 4 : at], "big")


def test_a_film_has_all_pictures_in_order_at_a_constant_rate(
    tmp_path: Path, recipe: Recipe, chunks: list[tuple[str, int]], tools: Any
) -> None:
    film = joined(tmp_path / "film.mp4", recipe, chunks)
    with av.open(str(film)) as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
        tick = 1 / (recipe.rate * Fraction(stream.time_base or 1))
        assert (stream.frames, stream.start_time, stream.duration) == (45, 0, 45 * tick)
    assert sorted(packet.pts for packet in packets) == [n * tick for n in range(45)]
    assert [packet.dts for packet in packets] == [(n - 1) * tick for n in range(45)]
    assert [tools.read_counter(tools.luma_of(frame)) for frame in tools.pictures(film)] == list(range(45))


def test_the_same_chunks_give_the_same_bytes(tmp_path: Path, recipe: Recipe, chunks: list[tuple[str, int]]) -> None:
    films = [joined(tmp_path / name, recipe, chunks) for name in ("one.mp4", "two.mp4")]
    assert len({hashlib.sha256(film.read_bytes()).digest() for film in films}) == 1


def test_nothing_behind_the_reserve_changes_by_later_chunks_or_by_closing(
    tmp_path: Path, recipe: Recipe, chunks: list[tuple[str, int]]
) -> None:
    path = tmp_path / "film.mp4"
    joiner = Joiner(path, recipe)
    seen = b""
    assert joiner.grown == 0
    for chunk, ticks in chunks:
        joiner.add(chunk, ticks)
        now = path.read_bytes()
        assert joiner.grown == len(now)
        assert now[recipe.index_reserve :].startswith(seen)
        assert len(now) > recipe.index_reserve + len(seen)
        seen = now[recipe.index_reserve :]
    joiner.close()
    assert path.read_bytes()[recipe.index_reserve :] == seen


def test_the_sums_of_a_films_parts_are_known_as_it_grows_and_those_of_its_front_once_it_is_closed(
    tmp_path: Path, recipe: Recipe, chunks: list[tuple[str, int]]
) -> None:
    path = tmp_path / "film.mp4"
    small = replace(recipe, part_size=5000, index_reserve=12_000)
    joiner = Joiner(path, small)
    for chunk, ticks in chunks:
        joiner.add(chunk, ticks)
        now = path.read_bytes()
        assert dict(joiner.sums) == {n: one for n, one in parts_of(now).items() if 3 < n <= len(now) // 5000}
    assert len(joiner.sums) > 3
    joiner.close()
    assert dict(joiner.sums) == parts_of(path.read_bytes())


def test_sums_are_those_of_what_was_joined_whatever_became_of_it_on_the_disk(
    tmp_path: Path, recipe: Recipe, chunks: list[tuple[str, int]]
) -> None:
    sound = Joiner(tmp_path / "sound.mp4", recipe)
    damaged = Joiner(tmp_path / "film.mp4", recipe)
    for joiner in (sound, damaged):
        for chunk, ticks in chunks:
            joiner.add(chunk, ticks)
    with (tmp_path / "film.mp4").open("r+b") as file:
        file.seek(recipe.index_reserve + 3000)
        file.write(bytes(2000))
    sound.close()
    damaged.close()
    assert damaged.sums == sound.sums
    assert (tmp_path / "film.mp4").read_bytes() != (tmp_path / "sound.mp4").read_bytes()


def test_a_chunk_that_is_not_what_was_rendered_is_refused_and_the_film_goes_on(
    tmp_path: Path, recipe: Recipe, job: Callable[..., ChunkJob]
) -> None:
    one = job(ticks=20)
    report = render(one)
    assert report.sha256 == hashlib.sha256(Path(one.out).read_bytes()).hexdigest()
    joiner = Joiner(tmp_path / "film.mp4", recipe)
    joiner.add(one.out, 20, report.sha256)
    data = bytearray(Path(one.out).read_bytes())
    data[len(data) // 2] ^= 1
    Path(one.out).write_bytes(data)
    grown = joiner.grown
    with pytest.raises(ChunkDamaged, match="not what was rendered"):
        joiner.add(one.out, 20, report.sha256)
    Path(one.out).unlink()
    with pytest.raises(ChunkDamaged, match="No such file"):
        joiner.add(one.out, 20, report.sha256)
    assert (joiner.grown, joiner.ticks) == (grown, 20)
    assert joiner.close().frames == 20


def test_a_film_has_grown_only_by_whole_chunks(
    tmp_path: Path, recipe: Recipe, chunks: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    joiner = Joiner(tmp_path / "film.mp4", recipe)
    joiner.add(*chunks[0])
    whole, seen = joiner.grown, []
    write = os.pwrite

    def fails_late(*args: Any) -> int:
        seen.append(joiner.grown)
        if len(seen) == 5:
            raise OSError(errno.ENOMEM, "Cannot allocate memory")
        return write(*args)

    with monkeypatch.context() as patch:
        patch.setattr("os.pwrite", fails_late)
        with pytest.raises(OSError, match="Cannot allocate memory"):
            joiner.add(*chunks[3])
    assert (tmp_path / "film.mp4").stat().st_size > whole  # half a chunk is in it
    assert set(seen) == {whole} == {joiner.grown}


def test_a_film_that_meets_a_full_disk_is_discarded_without_another_error(
    tmp_path: Path, recipe: Recipe, chunks: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    joiner = Joiner(tmp_path / "film.mp4", recipe)
    joiner.add(*chunks[0])
    with monkeypatch.context() as patch:
        patch.setattr("os.pwrite", full_disk)
        with pytest.raises(OSError, match=r"No space left on device: '.*film\.mp4'"):
            joiner.add(*chunks[1])
        joiner.discard()
    assert not (tmp_path / "film.mp4").exists()


def test_a_film_whose_file_cannot_be_removed_leaves_nothing_open(
    tmp_path: Path, recipe: Recipe, chunks: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = []
    monkeypatch.setattr("ezrec.media.join.forget", lambda container: closed.append(container) or forget(container))
    joiner = Joiner(tmp_path / "film.mp4", recipe)
    joiner.add(*chunks[0])
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", failing_disk)
        with pytest.raises(OSError, match="Input/output error"):
            joiner.discard()
    assert len(closed) == 1
    joiner.discard()
    assert len(closed) == 1
    assert not (tmp_path / "film.mp4").exists()


def failing_disk(*_: object, **__: object) -> None:
    raise OSError(errno.EIO, "Input/output error")


def full_disk(*_: object) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


def parts_of(data: bytes) -> dict[int, str]:
    return {n: hashlib.sha256(data[at : at + 5000]).hexdigest() for n, at in enumerate(range(0, len(data), 5000), 1)}


def test_an_index_that_does_not_fit_is_told_before_anything_is_written(
    tmp_path: Path, recipe: Recipe, chunks: list[tuple[str, int]]
) -> None:
    path = tmp_path / "film.mp4"
    joiner = Joiner(path, replace(recipe, index_reserve=2000))
    for chunk, ticks in chunks:
        joiner.add(chunk, ticks)
    before = path.read_bytes()
    with pytest.raises(IndexOutgrown, match="2000"):
        joiner.close()
    assert path.read_bytes() == before
    joiner.discard()
    joiner.discard()
    assert not path.exists()


def test_the_reckoned_index_is_never_too_small_and_hardly_too_large(
    tmp_path: Path, recipe: Recipe, chunks: list[tuple[str, int]]
) -> None:
    many = replace(recipe, index_reserve=1 << 18)
    joiner = Joiner(tmp_path / "film.mp4", many)
    for _ in range(40):
        for chunk, ticks in chunks:
            joiner.add(chunk, ticks)
    reckoned = joiner.index_bytes()
    joiner.close()
    real = moov_size(tmp_path / "film.mp4")
    assert real + FRONT <= reckoned <= real * 1.1


@pytest.mark.parametrize("sound", [False, True])
@pytest.mark.parametrize("bframes", [0, 1, 2, 3])
def test_closing_changes_nothing_between_the_reckoned_index_and_the_films_end(
    tmp_path: Path, recipe: Recipe, job: Callable[..., ChunkJob], footage: Any, tools: Any, bframes: int, sound: bool
) -> None:
    recipe = replace(recipe, encoder=replace(recipe.encoder, preset="veryfast", bframes=bframes), index_reserve=1 << 18)
    one = job(footage("l", tools.shots(40)), footage("r", tools.shots(40)), ticks=40, recipe=recipe)
    render(one)
    if sound:
        clip = tools.write_clip(tmp_path / "clip.mp4", sound=True, seconds=3)
        recipe = replace(recipe, intro=normalise(clip, recipe, tmp_path / "intro.mp4", 10))
    path = tmp_path / "film.mp4"
    joiner = Joiner(path, recipe)
    if recipe.intro:
        joiner.add(recipe.intro.path, recipe.intro.ticks)
    for _ in range(30):
        joiner.add(one.out, 40)
    reckoned, before = joiner.index_bytes(), path.read_bytes()
    joiner.close()
    after, real = path.read_bytes(), moov_size(path)
    assert before[reckoned:] == after[reckoned:len(before)]
    assert before[reckoned:recipe.index_reserve - 32] == bytes(recipe.index_reserve - 32 - reckoned)
    assert real + FRONT <= reckoned <= real * 1.05 + 2048
    assert boxes_of(path) == [b"ftyp", b"moov", b"free", b"mdat"]


def boxes_of(path: Path) -> list[bytes]:
    """The film's boxes; each ends where the next begins, the last one where the file does."""
    found, at = [], 0
    with path.open("rb") as file:
        while at < path.stat().st_size:
            file.seek(at)
            size, kind, large = struct.unpack(">I4sQ", file.read(16))
            found.append(kind)
            at += large if size == 1 else size
    assert at == path.stat().st_size
    return found


def test_the_reckoned_index_and_the_media_box_are_right_beyond_4_gib(
    tmp_path: Path, recipe: Recipe, chunks: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    big = tmp_path / "big.mp4"
    write_padded(Path(chunks[0][0]), big, [400_000, 400_000, 900_000])  # MP4 chunks of two pictures and of one
    ticks = chunks[0][1]
    recipe = replace(recipe, index_reserve=1 << 19)
    path = tmp_path / "film.mp4"
    joiner = Joiner(path, recipe)
    joiner.add(*chunks[0])
    rounds = (1 << 32) // big.stat().st_size + 1
    with monkeypatch.context() as patch:  # what lies in the middle is neither written nor hashed: it takes too long
        patch.setattr("os.pwrite", lambda _, data, at: len(data))
        patch.setattr(joiner._file, "_append", lambda at, data: setattr(joiner._file, "_hashed", at + len(data)))
        for _ in range(rounds):
            joiner.add(big, ticks)
    joiner.add(*chunks[0])
    reckoned = joiner.index_bytes()
    assert joiner.close().frames == (rounds + 2) * ticks
    assert path.stat().st_size > 1 << 32
    assert boxes_of(path) == [b"ftyp", b"moov", b"free", b"mdat"]
    with path.open("rb") as file:
        front = file.read(recipe.index_reserve)
    at = front.index(b"moov") - 4
    real = int.from_bytes(front[at:at + 4], "big")
    assert b"co64" in front[at:at + real]
    assert real + FRONT <= reckoned <= real * 1.05 + 2048


def write_padded(source: Path, target: Path, extra: list[int]) -> None:
    """A chunk whose pictures have so many bytes of filler, in turn."""
    sizes = itertools.cycle(extra)
    with av.open(str(source)) as one, av.open(str(target), "w", format="mp4") as other:
        stream = other.add_stream_from_template(one.streams.video[0], opaque=True)
        for packet in one.demux(video=0):
            if packet.size:
                size = next(sizes)
                filler = (size + 1).to_bytes(4, "big") + b"\x0c" + b"\xff" * size
                more = av.Packet(bytes(packet) + filler)
                more.pts, more.dts, more.duration = packet.pts, packet.dts, packet.duration
                more.time_base, more.is_keyframe, more.stream = packet.time_base, packet.is_keyframe, stream
                other.mux_one(more)


def test_a_reserve_that_is_just_large_enough_is_enough(
    tmp_path: Path, recipe: Recipe, chunks: list[tuple[str, int]]
) -> None:
    probe = Joiner(tmp_path / "probe.mp4", recipe)
    for chunk, ticks in chunks:
        probe.add(chunk, ticks)
    exact = probe.index_bytes()
    probe.discard()
    joined(tmp_path / "film.mp4", replace(recipe, index_reserve=exact), chunks)
    with pytest.raises(IndexOutgrown):
        joined(tmp_path / "film.mp4", replace(recipe, index_reserve=exact - 1), chunks)


def test_a_reserve_has_room_for_twice_the_booked_length(
    tmp_path: Path, recipe: Recipe, chunks: list[tuple[str, int]]
) -> None:
    booked = 45 * 20
    reserve = index_reserve(booked, recipe.encoder, sound=False)
    joiner = Joiner(tmp_path / "film.mp4", replace(recipe, index_reserve=reserve))
    for _ in range(40):
        for chunk, ticks in chunks:
            joiner.add(chunk, ticks)
    assert joiner.close().frames == 2 * booked
    assert index_reserve(30 * 3600, EncoderOptions(), sound=True) < 4 << 20


@pytest.mark.parametrize(("bframes", "sound", "expected"), [
    (2, False, 2 * 30_000 * 16), (0, False, 2 * 30_000 * 8), (2, True, 2 * 30_000 * 16 + 5625 * 24)])
def test_a_reserve_is_reckoned_by_bytes_for_each_tick_and_each_frame_of_the_intros_sound(
    bframes: int, sound: bool, expected: int
) -> None:
    reserve = index_reserve(30_000, EncoderOptions(bframes=bframes), sound=sound)
    assert reserve == (expected + 1600 + 65536) // 4096 * 4096


@pytest.mark.parametrize("kind", ["count", "text", "missing", "truncated", "options", "size"])
def test_a_chunk_that_is_not_what_was_asked_for_is_refused_and_the_film_goes_on(
    tmp_path: Path,
    recipe: Recipe,
    chunks: list[tuple[str, int]],
    job: Callable[..., ChunkJob],
    kind: str,
) -> None:
    bad, ticks = tmp_path / "bad.mp4", 20
    data = Path(chunks[0][0]).read_bytes()
    if kind == "count":
        bad.write_bytes(data)
        ticks = 21
    elif kind == "text":
        bad.write_bytes(b"no film at all " * 100)
    elif kind == "truncated":
        bad.write_bytes(data[: len(data) // 2])
    elif kind == "options":
        other = replace(recipe, encoder=replace(recipe.encoder, bframes=0))
        render(job(ticks=20, recipe=other, out=str(bad)))
    elif kind == "size":
        other = replace(recipe, canvas=replace(recipe.canvas, width=640))
        render(job(ticks=20, recipe=other, out=str(bad)))
    joiner = Joiner(tmp_path / "film.mp4", recipe)
    joiner.add(*chunks[0])
    grown = joiner.grown
    reason = {"count": "holds 20 pictures in place of 21", "text": "cannot be read", "missing": "No such file",
              "truncated": "", "options": "other options", "size": "is 640x180, the film 608x180"}[kind]
    with pytest.raises(ChunkDamaged, match=rf"bad\.mp4.*{reason}"):
        joiner.add(bad, ticks)
    assert (joiner.grown, joiner.ticks) == (grown, 20)
    joiner.add(*chunks[1])
    assert joiner.close().frames == 21


def test_a_film_without_b_frames_is_joined_as_well(
    tmp_path: Path, recipe: Recipe, job: Callable[..., ChunkJob]
) -> None:
    plain = replace(recipe, encoder=replace(recipe.encoder, bframes=0))
    made = []
    for first in (0, 5):
        one = job(first=first, ticks=5, recipe=plain)
        render(one)
        made.append((one.out, 5))
    joined(tmp_path / "film.mp4", plain, made)


def test_an_intro_with_sound_comes_first_and_the_film_keeps_growing_after_it(
    tmp_path: Path, recipe: Recipe, chunks: list[tuple[str, int]], tools: Any
) -> None:
    clip = tools.write_clip(tmp_path / "clip.mp4", sound=True)
    intro = normalise(clip, recipe, tmp_path / "intro.mp4", 10)
    assert intro.sound
    with_intro = replace(recipe, intro=intro)
    all_of_it = [(intro.path, intro.ticks), *chunks, *chunks]
    path = tmp_path / "film.mp4"
    joiner = Joiner(path, with_intro)
    grown = [joiner.grown]
    for chunk, ticks in all_of_it:
        joiner.add(chunk, ticks)
        grown.append(joiner.grown)
        fed = sum(Path(one).stat().st_size for one, _ in all_of_it[: len(grown) - 1])
        assert grown[-1] - with_intro.index_reserve > fed * 0.5  # nothing is held back
    assert joiner.index_bytes() < with_intro.index_reserve
    before = path.read_bytes()[with_intro.index_reserve :]
    facts = joiner.close()
    assert path.read_bytes()[with_intro.index_reserve :][: len(before)] == before
    assert moov_size(path) + FRONT <= joiner.index_bytes()
    assert (facts.frames, facts.sound) == (30 + 90, True)
    assert joined(tmp_path / "again.mp4", with_intro, all_of_it).read_bytes() == path.read_bytes()
    with av.open(str(path)) as container:
        sound = list(container.decode(audio=0))
        assert abs(sum(frame.samples for frame in sound) / 48_000 - 1) < 0.05


def test_a_silent_intro_brings_no_sound_track(
    tmp_path: Path, recipe: Recipe, chunks: list[tuple[str, int]], tools: Any
) -> None:
    intro: Intro = normalise(tools.write_clip(tmp_path / "clip.mp4"), recipe, tmp_path / "intro.mp4", 10)
    joined(tmp_path / "film.mp4", replace(recipe, intro=intro), [(intro.path, intro.ticks), *chunks])
    assert not film_facts(tmp_path / "film.mp4").sound


def test_closing_a_film_of_nothing_is_refused(tmp_path: Path, recipe: Recipe) -> None:
    joiner = Joiner(tmp_path / "film.mp4", recipe)
    with pytest.raises(BadMedia, match="nothing"):
        joiner.close()
    joiner.discard()


def test_the_index_is_reckoned_with_a_new_chunk_for_each_megabyte_of_a_track() -> None:
    track = _Track()
    for size in (400_000, 400_000, 400_000, 600_000, 48_576, 1):
        track.take(size, key=False, distance=0, follows=True)
    # ISO/IEC 14496-12: 4 bytes a sample, 8 for a run of distances, 12 and 4 for each of the chunks
    assert track.chunks == 3  # 0.8 MB, then 0.4 + 0.6 + 0.05 MB less a byte than 1 MiB, then the rest
    assert track.bytes(4) == 4 * 6 + 8 + 16 * 3


def test_the_index_is_reckoned_with_the_parameter_sets(
    tmp_path: Path, recipe: Recipe, chunks: list[tuple[str, int]]
) -> None:
    joiner = Joiner(tmp_path / "film.mp4", recipe)
    empty = joiner.index_bytes()
    joiner.add(*chunks[0])
    with av.open(chunks[0][0]) as chunk:
        sets = len(chunk.streams.video[0].codec_context.extradata or b"")
    assert sets > 20
    assert joiner.index_bytes() - joiner._tracks["video"].bytes(4) == empty + 2 * sets
    joiner.discard()


def test_a_sample_behind_another_track_begins_a_new_chunk() -> None:
    track = _Track()
    for follows in (False, True, False):
        track.take(10, key=True, distance=1, follows=follows)
    assert (track.chunks, track.keys, track.runs) == (2, 3, 1)


@pytest.mark.parametrize(("fault", "reason"), [
    ("no key frame", "does not begin with a key frame"), ("two at once", "not in order"),
    ("first last", "not in order"),
])
def test_a_chunk_whose_pictures_are_not_in_order_is_refused(
    tmp_path: Path, recipe: Recipe, chunks: list[tuple[str, int]], fault: str, reason: str
) -> None:
    bad, ticks = tmp_path / "bad.mp4", 20
    with av.open(chunks[0][0]) as source, av.open(str(bad), "w") as target:
        packets = [packet for packet in source.demux(video=0) if packet.size]
        stream = target.add_stream_from_template(source.streams.video[0], opaque=True)
        if fault == "no key frame":
            packets, ticks = packets[1:], 19
        elif fault == "two at once":
            packets[2].pts = packets[1].pts
        else:
            packets[0].pts = max(packet.pts or 0 for packet in packets) + 512
        for packet in packets:
            packet.stream = stream
            target.mux_one(packet)
    with pytest.raises(BadMedia, match=reason):
        Joiner(tmp_path / "film.mp4", recipe).add(bad, ticks)


@pytest.mark.parametrize(("grown", "each"), [(0xFFFF_FFFF, 4), (1 << 32, 8)])
def test_beyond_4_gib_a_chunks_offset_takes_8_bytes_in_the_index(
    tmp_path: Path, recipe: Recipe, chunks: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch, grown: int,
    each: int,
) -> None:
    joiner = Joiner(tmp_path / "film.mp4", recipe)
    joiner.add(*chunks[0])
    now = joiner.index_bytes()
    monkeypatch.setattr(Joiner, "grown", property(lambda _: grown))
    assert joiner.index_bytes() - now == (each - 4) * joiner._tracks["video"].chunks
    joiner.discard()
