"""Clips of every sort become chunk 0, or are refused with a reason."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame

from ezrec.domain.errors import BadMedia
from ezrec.domain.film import ChunkJob, Recipe
from ezrec.media import intro as intro_module
from ezrec.media.chunk import render
from ezrec.media.intro import _sound, normalise
from ezrec.media.probe import probe
from ezrec.pyav import copied_stream, planes_of

QUARTER_TURN = b"".join(
    value.to_bytes(4, "big", signed=True) for value in (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
)


def turned(path: Path) -> Path:
    """Write the matrix of a phone held upright into the clip (ISO/IEC 14496-12, 8.3.2: tkhd, version 0)."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    data[at : at + 36] = QUARTER_TURN
    path.write_bytes(data)
    return path


def bounds(luma: Any) -> tuple[int, int, int, int]:
    """Left, right, top and bottom of what is not black."""
    columns = np.flatnonzero((luma > 30).sum(axis=0) > luma.shape[0] * 0.2)
    rows = np.flatnonzero((luma > 30).sum(axis=1) > luma.shape[1] * 0.05)
    return int(columns[0]), int(columns[-1]) + 1, int(rows[0]), int(rows[-1]) + 1


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((608, 180), (0, 608, 0, 180)),
        ((320, 180), (144, 464, 0, 180)),
        ((608, 100), (0, 608, 40, 140)),
        ((161, 241), (244, 364, 0, 180)),
    ],
    ids=["same", "narrow", "flat", "odd"],
)
def test_a_clip_is_letterboxed_into_the_canvas(
    tmp_path: Path, recipe: Recipe, tools: Any, size: tuple[int, int], expected: tuple[int, ...]
) -> None:
    codec = "libx264" if size[0] % 2 == 0 else "mjpeg"
    clip = tmp_path / "clip.mp4"
    if codec == "mjpeg":
        clip = _mjpeg(tmp_path / "clip.avi", size, tools)
    else:
        tools.write_clip(clip, size, seconds=0.2)
    intro = normalise(clip, recipe, tmp_path / "intro.mp4", 5)
    film = tools.pictures(intro.path)
    assert (film[0].width, film[0].height) == (608, 180)
    assert max(abs(a - b) for a, b in zip(bounds(tools.luma_of(film[-1])), expected, strict=True)) <= 2


def _mjpeg(path: Path, size: tuple[int, int], tools: Any) -> Path:
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = *size, "yuvj420p"
        for n in range(5):
            frame = tools.drawn(n, *size).reformat(format="yuvj420p")
            frame.pts, frame.time_base = n, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_a_phone_clip_is_turned_upright(tmp_path: Path, recipe: Recipe, tools: Any) -> None:
    clip = turned(tools.write_clip(tmp_path / "clip.mp4", (320, 180), seconds=0.2))
    assert probe(clip).rotation == 90
    intro = normalise(clip, recipe, tmp_path / "intro.mp4", 5)
    left, right, top, bottom = bounds(tools.luma_of(tools.pictures(intro.path)[2]))
    assert (bottom - top) == 180
    assert abs((right - left) - 102) <= 4


@pytest.mark.parametrize(
    ("times", "ticks"),
    [
        ([n / 25 for n in range(25)], 30),
        ([n / 60 for n in range(60)], 30),
        ([0, 0.1, 0.15, 0.5, 0.55, 0.9], 31),
        ([0.5 + n / 30 for n in range(30)], 30),
    ],
    ids=["25", "60", "variable", "late start"],
)
def test_any_rate_becomes_the_films(tmp_path: Path, recipe: Recipe, tools: Any, times: list[float], ticks: int) -> None:
    rate = {60: 60, 30: 30}.get(len(times), 25)
    clip = tools.write_clip(tmp_path / "clip.mp4", times=times, rate=rate)
    intro = normalise(clip, recipe, tmp_path / "intro.mp4", 5)
    assert abs(intro.ticks - ticks) <= 2
    film = tools.pictures(intro.path)
    assert len(film) == intro.ticks
    shown = [tools.read_counter(tools.luma_of(one), 144) for one in film]
    began = times[0]
    for tick, counter in enumerate(shown[:-1]):
        assert counter == max(n for n, time in enumerate(times) if time - began <= tick / 30 + 0.0094)


RED_601, RED_709 = (81, 90, 240), (63, 102, 240)  # BT.601, table 3; BT.709, 3.2 to 3.5; limited range


def flat_clip(path: Path, size: tuple[int, int], colour: tuple[int, int, int], matrix: str = "") -> Path:
    """A clip of one colour that names its matrix, or does not."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.options = {"crf": "5", "preset": "ultrafast"} | ({"colorspace": matrix} if matrix else {})
        for number in range(3):
            frame = VideoFrame(*size, "yuv420p")
            for plane, value in zip(planes_of(frame), colour, strict=True):
                plane[:] = value
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(("lines", "matrix", "colour", "expected"), [
    (576, "", RED_601, RED_709), (718, "", RED_601, RED_709), (720, "", RED_709, RED_709),
    (720, "smpte170m", RED_601, RED_709), (720, "bt470bg", RED_601, RED_709), (576, "bt709", RED_709, RED_709)])
def test_red_stays_red_whichever_matrix_made_the_clip(
    tmp_path: Path, recipe: Recipe, tools: Any, lines: int, matrix: str, colour: tuple[int, int, int],
    expected: tuple[int, int, int],
) -> None:
    clip = flat_clip(tmp_path / "clip.mp4", (640, lines), colour, matrix)
    intro = normalise(clip, recipe, tmp_path / "intro.mp4", 5)
    planes = planes_of(tools.pictures(intro.path)[1])
    middle = [int(plane[plane.shape[0] // 2, plane.shape[1] // 2]) for plane in planes]
    assert all(abs(one - other) <= 2 for one, other in zip(middle, expected, strict=True)), middle


def test_the_intro_has_the_chunks_parameter_sets(tmp_path: Path, recipe: Recipe, tools: Any, job: Any) -> None:
    intro = normalise(tools.write_clip(tmp_path / "clip.mp4"), recipe, tmp_path / "intro.mp4", 5)
    chunk: ChunkJob = job(ticks=3)
    render(chunk)
    found = []
    for path in (intro.path, chunk.out):
        with av.open(path) as container:
            found.append(container.streams.video[0].codec_context.extradata)
    assert found[0] == found[1]


@pytest.mark.skipif("libvpx-vp9" not in av.codecs_available, reason="this PyAV has no encoder for VP9 clips")
def test_vp9_in_webm_with_opus_works(tmp_path: Path, recipe: Recipe, tools: Any) -> None:
    clip = tools.write_clip(tmp_path / "clip.webm", codec="libvpx-vp9", sound=True, seconds=0.5)
    intro = normalise(clip, recipe, tmp_path / "intro.mp4", 5)
    assert (intro.sound, intro.ticks) == (True, 15)


def test_sound_becomes_stereo_aac_and_as_long_as_the_picture(tmp_path: Path, recipe: Recipe, tools: Any) -> None:
    clip = tools.write_clip(tmp_path / "clip.mp4", sound=True, seconds=0.8)
    intro = normalise(clip, recipe, tmp_path / "intro.mp4", 5)
    with av.open(intro.path) as container:
        voice = container.streams.audio[0].codec_context
        assert (voice.name, voice.sample_rate, voice.layout.name) == ("aac", 48_000, "stereo")
        told = container.streams.audio[0]
        assert (told.duration or 0) * (told.time_base or 0) == intro.ticks / recipe.rate
        samples = np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)
    assert abs(samples.shape[1] - 0.8 * 48_000) <= 2048
    assert 0.1 < np.abs(samples[:, 9600:28_800]).max() < 0.5


@pytest.mark.parametrize("late", [-2, -1, 0, 1, 2])
def test_sound_begins_with_the_first_picture_to_the_sample(
    tmp_path: Path, tools: Any, monkeypatch: pytest.MonkeyPatch, late: int
) -> None:
    clip = tools.write_clip(tmp_path / "clip.mp4", sound=True, seconds=0.4)
    whole = _sound(clip, 5)
    monkeypatch.setattr(intro_module, "_first_time", lambda *_: -late / 48_000)
    moved = _sound(clip, 5)
    assert whole is not None
    assert moved is not None
    assert moved.shape[1] == whole.shape[1] + late
    assert np.abs(whole[:, 1024:3072]).max() > 0.1  # nothing of the beginning is lost
    assert (moved[:, max(late, 0):] == whole[:, max(-late, 0):]).all()
    assert not moved[:, : max(late, 0)].any()


def test_sound_that_begins_after_the_picture_does_so_in_the_intro(tmp_path: Path, tools: Any) -> None:
    clip, later = tools.write_clip(tmp_path / "clip.mp4", sound=True), tmp_path / "later.mp4"
    with av.open(str(clip)) as source, av.open(str(later), "w") as target:
        streams = {one.index: copied_stream(target, one) for one in source.streams}
        for packet in source.demux():
            if packet.size:
                shift = 24_000 if packet.stream.type == "audio" else 0
                packet.pts, packet.dts = (packet.pts or 0) + shift, (packet.dts or 0) + shift
                packet.stream = streams[packet.stream.index]
                target.mux(packet)
    sound = _sound(later, 5)
    assert sound is not None
    begins = int(np.flatnonzero(np.abs(sound[0]) > 0.05)[0]) / 48_000
    assert abs(begins - 0.5) < 0.03


def test_the_same_clip_gives_the_same_bytes(tmp_path: Path, recipe: Recipe, tools: Any) -> None:
    clip = tools.write_clip(tmp_path / "clip.mp4", sound=True, seconds=0.4)
    made = [normalise(clip, recipe, tmp_path / name, 5) for name in ("a.mp4", "b.mp4")]
    assert made[0].sha256 == made[1].sha256
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


@pytest.mark.parametrize("kind", ["missing", "empty", "text", "truncated", "no video", "too long", "a folder"])
def test_a_clip_that_cannot_be_used_is_refused_by_name_and_leaves_nothing(
    tmp_path: Path, recipe: Recipe, tools: Any, kind: str
) -> None:
    clip = tmp_path / "clip.mp4"
    if kind == "a folder":
        clip.mkdir()
    elif kind not in ("missing", "empty", "text"):
        tools.write_clip(clip, video=kind != "no video", sound=True)
    if kind == "empty":
        clip.touch()
    elif kind == "text":
        clip.write_text("#EXTM3U\nfile.ts\n" * 50)
    elif kind == "truncated":
        clip.write_bytes(clip.read_bytes()[:3000])
    with pytest.raises(BadMedia, match=r"clip\.mp4"):
        normalise(clip, recipe, tmp_path / "intro.mp4", 0.5 if kind == "too long" else 5)
    assert not list(tmp_path.glob("intro*"))
