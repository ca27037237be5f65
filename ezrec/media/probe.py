"""What is in a media file: facts of a clip or segment, and the last look at a finished film before it goes out.

Limits: `probe` decodes one picture, `film_facts` the first and the last group of pictures; neither reads all pictures.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

from av.container import InputContainer
from av.video.stream import VideoStream

from ezrec.domain.errors import BadMedia
from ezrec.media.clip import look_at
from ezrec.pyav import opened

FIRST_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
BOX_HEADER = struct.Struct(">I4s")


@dataclass(frozen=True)
class VideoFacts:
    """What a clip holds. Width and height in pixels are as stored, before the rotation."""

    width: int
    height: int
    rate: Fraction | None  # average pictures per second, if the file tells
    frames: int | None  # pictures, if the file tells
    duration_s: float
    rotation: int  # degrees clockwise that a player turns it by: 0, 90, 180, 270
    sound: bool


@dataclass(frozen=True)
class FilmFacts:
    """What a finished film holds."""

    width: int
    height: int
    rate: Fraction
    frames: int
    duration_s: float
    bytes: int
    sound: bool


def video_of(container: InputContainer, path: str | Path) -> VideoStream:
    """The first video stream of `container`.

    Raises:
        BadMedia: there is none.
    """
    if not container.streams.video:
        raise BadMedia(f"{path}: holds no video")
    return container.streams.video[0]


def probe(path: str | Path) -> VideoFacts:
    """The facts of the clip or segment at `path`; its first picture is decoded to prove that one can be.

    Raises:
        BadMedia: naming the file and why it cannot be used.
    """
    look = look_at(path)
    with opened(path) as container:
        stream: Any = container.streams[look.stream]
        duration = _duration_s(container, stream)
        if duration is None:
            duration = _span_s(container, stream)
        return VideoFacts(
            width=look.width,
            height=look.height,
            rate=stream.average_rate or None,
            frames=stream.frames or None,
            duration_s=duration,
            rotation=look.orientation.degrees,
            sound=any(one.type == "audio" for one in container.streams),
        )


def _duration_s(container: InputContainer, stream: VideoStream) -> float | None:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    if container.duration:
        return container.duration / 1e6  # AV_TIME_BASE units are µs
    return None


def _span_s(container: InputContainer, stream: VideoStream) -> float:
    """From the first picture to the last, for files that do not tell their length."""
    times = [p.pts * p.time_base for p in container.demux(stream) if p.pts is not None]
    return float(max(times) - min(times)) if times else 0.0


def boxes(file: BinaryIO, start: int, end: int) -> Iterator[tuple[str, int, int]]:
    """The MP4 boxes in bytes [start, end) of `file`: name, first byte of the content, end (ISO/IEC 14496-12, 4.2)."""
    at = start
    while at + BOX_HEADER.size <= end:
        file.seek(at)
        size, name = BOX_HEADER.unpack(file.read(BOX_HEADER.size))
        content = at + BOX_HEADER.size
        if size == 1:  # a 64-bit size follows
            (size,) = struct.unpack(">Q", file.read(8))
            content += 8
        elif size == 0:  # up to the end of the file
            size = end - at
        if size < content - at or at + size > end:
            raise BadMedia(f"box {name!r} at byte {at} is cut short")
        yield name.decode("latin-1"), content, at + size
        at += size


def is_cut_off(path: str | Path) -> bool:
    """Whether an MP4 or MOV file ends within a box that holds pictures, sound or the index."""
    size = Path(path).stat().st_size
    with Path(path).open("rb") as file:
        at = 0
        while at + BOX_HEADER.size <= size:
            file.seek(at)
            length, name, longer = struct.unpack(">I4sQ", file.read(16).ljust(16, b"\0"))
            length = {0: size - at, 1: longer}.get(length, length)
            if at == 0 and name not in FIRST_BOXES:
                return False
            if at + length > size:
                return name in (b"moov", b"moof", b"mdat")
            at += max(length, BOX_HEADER.size)
    return at < size


def film_facts(path: str | Path) -> FilmFacts:
    """The facts of a finished film, checked: index in front, one constant rate, both ends decode.

    Raises:
        BadMedia: naming what is wrong with it.
    """
    size = Path(path).stat().st_size if Path(path).exists() else 0
    with opened(path) as container:
        _check_boxes(Path(path), size)
        stream = video_of(container, path)
        rate, base = stream.average_rate, stream.time_base
        if not rate or not base or not stream.frames:
            raise BadMedia(f"{path}: has no rate or no pictures")
        last = _check_ends(container, stream, path)
        if round(last * base * rate) != stream.frames - 1:
            raise BadMedia(f"{path}: the last of its {stream.frames} pictures is shown at {float(last * base):.3f} s")
        return FilmFacts(
            width=stream.codec_context.width,
            height=stream.codec_context.height,
            rate=Fraction(rate),
            frames=stream.frames,
            duration_s=float(stream.frames / rate),
            bytes=size,
            sound=bool(container.streams.audio),
        )


def _check_boxes(path: Path, size: int) -> None:
    """The index comes before the pictures, and the video's decoding times are one tick apart throughout."""
    with path.open("rb") as file:
        top = {name: (start, end) for name, start, end in boxes(file, 0, size)}
        if "moov" not in top or "mdat" not in top or top["moov"][0] > top["mdat"][0]:
            raise BadMedia(f"{path}: the index is not in front")
        for name, start, end in boxes(file, *top["moov"]):
            if name == "trak" and _is_video(file, start, end) and len(set(_deltas(file, start, end))) > 1:
                raise BadMedia(f"{path}: its rate is not constant")


def _inside(file: BinaryIO, span: tuple[int, int], *way: str) -> tuple[int, int]:
    """Where the content of the box lies that `way` leads to from the boxes in `span`."""
    for step in way:
        found = [(start, end) for name, start, end in boxes(file, *span) if name == step]
        if not found:
            raise BadMedia(f"the index has no box {'/'.join(way)}")
        span = found[0]
    return span


def _is_video(file: BinaryIO, start: int, end: int) -> bool:
    at, _ = _inside(file, (start, end), "mdia", "hdlr")
    file.seek(at + 8)  # version and flags, pre_defined
    return file.read(4) == b"vide"


def _deltas(file: BinaryIO, start: int, end: int) -> list[int]:
    """The sample durations in a track's stts box, one for each run."""
    at, stop = _inside(file, (start, end), "mdia", "minf", "stbl", "stts")
    file.seek(at + 8)
    return [delta for _, delta in struct.iter_unpack(">II", file.read(stop - at - 8))]


def _check_ends(container: InputContainer, stream: VideoStream, path: str | Path) -> int:
    """Decode the first and the last group of pictures; the largest pts seen, in the stream's units."""
    keys, shown = 0, 0
    for packet in container.demux(stream):
        keys += bool(packet.is_keyframe and packet.size)
        if keys > 1:
            break
        shown += len(packet.decode())
    if not shown and keys < 2:
        raise BadMedia(f"{path}: its first pictures do not decode")
    container.seek(stream.duration or 0, stream=stream)
    last = [frame.pts for packet in container.demux(stream) for frame in packet.decode() if frame.pts is not None]
    if not last:
        raise BadMedia(f"{path}: its last pictures do not decode")
    return max(last)
