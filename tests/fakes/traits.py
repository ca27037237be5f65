"""Clips as venues hand them in, each with one odd trait, made small through PyAV.

All show the same: four quarters of different colours, so that one sees how the picture stands, and a white flash from
`FLASH_S` on for `FLASH_LASTS_S`, during which a tone sounds. So pictures and sound can be held against the clock.
"""

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from ezrec.pyav import copied_stream

SIZE = (192, 108)
RATE = 25  # pictures per second
SECONDS = 2.0
FLASH_S, FLASH_LASTS_S = 1.0, 0.2
SOUND_RATE = 48_000
QUARTERS = ((200, 40, 40), (40, 180, 40), (40, 40, 200), (128, 128, 128))  # R, G, B; upper two first
WHITE = (255, 255, 255)


def picture_at(time_s: float, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    """The picture at a time: (height, width, RGB)."""
    width, height = size
    image = np.empty((height, width, 3), np.uint8)
    image[:height // 2, :width // 2], image[:height // 2, width // 2:] = QUARTERS[0], QUARTERS[1]
    image[height // 2:, :width // 2], image[height // 2:, width // 2:] = QUARTERS[2], QUARTERS[3]
    if FLASH_S - 1e-6 <= time_s < FLASH_S + FLASH_LASTS_S - 1e-6:
        image[:] = WHITE
    return image


def tone(start_s: float, end_s: float, rate: int = SOUND_RATE) -> NDArray[np.float32]:
    """The sound between two times, one channel."""
    times = np.arange(round(start_s * rate), round(end_s * rate)) / rate
    sounds = (times >= FLASH_S) & (times < FLASH_S + FLASH_LASTS_S)
    return (np.sin(times * 2 * np.pi * 1000) * 0.5 * sounds).astype(np.float32)


@dataclass
class Video:
    """How a clip's pictures are encoded."""

    codec: str = "libx264"
    pix_fmt: str = "yuv420p"
    options: dict[str, str] | None = None
    size: tuple[int, int] = SIZE
    shape: Fraction | None = None  # of a sample
    tags: tuple[int, int, int, int] | None = None  # primaries, transfer, matrix, range (ITU-T H.273)
    draw: Callable[[float], av.VideoFrame] | None = None  # else `picture_at`


def write(path: Path, video: Video | None = None, sound: str | None = "aac", seconds: float = SECONDS,
          **metadata: str) -> Path:
    """Write a clip; `sound` is an encoder's name."""
    video = video or Video()
    with av.open(str(path), "w") as container:
        container.metadata.update(metadata)
        stream = _video_stream(container, video)
        voice: Any = container.add_stream(sound, rate=SOUND_RATE, layout="stereo") if sound else None
        pieces = max(round(seconds * RATE), 1)
        for number in range(pieces):
            frame = _frame(video, number / RATE)
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(stream.encode(frame))
            if voice is not None:
                container.mux(_spoken(voice, number / RATE, (number + 1) / RATE))
        container.mux(stream.encode(None))
        if voice is not None:
            container.mux(voice.encode(None))
    return path


def _video_stream(container: Any, video: Video) -> Any:
    stream = container.add_stream(video.codec, rate=RATE)
    stream.width, stream.height, stream.pix_fmt = *video.size, video.pix_fmt
    context = stream.codec_context
    context.options = {"preset": "ultrafast", "g": "100"} if video.options is None else video.options
    if video.shape:
        context.sample_aspect_ratio = video.shape
    if video.tags:
        context.color_primaries, context.color_trc, context.colorspace, context.color_range = video.tags
    return stream


def _frame(video: Video, time_s: float) -> av.VideoFrame:
    if video.draw:
        return video.draw(time_s)
    frame = av.VideoFrame.from_ndarray(picture_at(time_s, video.size), format="rgb24")
    full = video.tags is not None and video.tags[3] == 2
    matrix = {6: "ITU601"}.get(video.tags[2], "ITU709") if video.tags else "ITU601"
    return frame.reformat(format=video.pix_fmt, dst_colorspace=matrix, src_color_range="JPEG",
                          dst_color_range="JPEG" if full else "MPEG")


def _spoken(voice: Any, start_s: float, end_s: float) -> list[Any]:
    frame = sound_frame(tone(start_s, end_s))
    frame.pts, frame.time_base = round(start_s * SOUND_RATE), Fraction(1, SOUND_RATE)
    return list(voice.encode(frame))


def sound_frame(mono: NDArray[np.float32], layout: str = "stereo", rate: int = SOUND_RATE) -> av.AudioFrame:
    """A frame with the same sound on every channel."""
    channels = {"mono": 1, "stereo": 2, "5.1": 6}[layout]
    frame = av.AudioFrame.from_ndarray(np.stack([mono] * channels), format="fltp", layout=layout)
    frame.sample_rate = rate
    return frame


# ---- what is done to a clip that was written


def copied(source: Path, target: Path, change: Callable[[Any], Any], options: dict[str, str] | None = None) -> Path:
    """Write the packets of a clip, each as `change` returns it (None: left out), without encoding them again."""
    with av.open(str(source)) as old, av.open(str(target), "w", options=options or {}) as new:
        streams = {one.index: copied_stream(new, one) for one in old.streams}
        for packet in old.demux():
            if packet.size and change(packet) is not None:
                packet.stream = streams[packet.stream.index]
                new.mux(packet)
    return target


def trimmed(source: Path, target: Path, cut_s: float) -> Path:
    """The clip from `cut_s` on, not encoded again: the pictures before lie in it still, an edit list hides them."""

    def earlier(packet: Any) -> Any:
        shift = round(cut_s / packet.time_base)
        if packet.stream.type == "audio" and packet.pts + packet.duration <= shift:
            return None
        packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
        return packet

    return copied(source, target, earlier, {"avoid_negative_ts": "disabled"})


def patched(path: Path, old: bytes, new: bytes) -> Path:
    """Exchange bytes of a file for as many others."""
    data = path.read_bytes()
    assert old in data
    assert len(old) == len(new)
    path.write_bytes(data.replace(old, new))
    return path


def matrix(path: Path, degrees: int, mirrored: bool = False) -> Path:
    """Have an MP4's picture mirrored, then turned clockwise (ISO/IEC 14496-12, 8.3.2: the tkhd box)."""
    cosine, sine = {0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
    flip = -1 if mirrored else 1
    values = (flip * cosine << 16, flip * sine << 16, 0, -sine << 16, cosine << 16, 0, 0, 0, 1 << 30)
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    data[at:at + 36] = struct.pack(">9i", *values)
    path.write_bytes(data)
    return path


def covered(path: Path, picture: bytes) -> Path:
    """Put cover art in front of the tracks of an MP4 whose index stands at its end: it becomes stream 0."""
    data = path.read_bytes()
    at = data.index(b"moov") - 4
    moov = data[at + 8:]
    head = struct.unpack(">I", moov[:4])[0]  # mvhd stays first
    cover = _box(b"covr", _box(b"data", struct.pack(">II", 13, 0) + picture))  # 13 is JPEG
    handler = _box(b"hdlr", bytes(8) + b"mdirappl" + bytes(9))
    art = _box(b"udta", _box(b"meta", bytes(4) + handler + _box(b"ilst", cover)))
    path.write_bytes(data[:at] + _box(b"moov", moov[:head] + art + moov[head:]))
    return path


def _box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content) + 8) + name + content


def joined_sounds(path: Path, parts: Sequence[tuple[str, int]]) -> Path:
    """A transport stream whose sound has one layout and rate after the other, each for an equal part of its time."""
    each = SECONDS / len(parts)
    with av.open(str(path), "w", format="mpegts") as container:
        video = Video()
        stream = _video_stream(container, video)
        voice: Any = container.add_stream("aac", rate=parts[0][1], layout=parts[0][0])
        packets: list[Any] = []
        for number in range(round(SECONDS * RATE)):
            frame = _frame(video, number / RATE)
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            packets += stream.encode(frame)
        packets += stream.encode(None)
        for number, (layout, rate) in enumerate(parts):
            packets += _part(layout, rate, number * each, (number + 1) * each)
        for packet in sorted(packets, key=lambda one: one.dts * one.time_base):
            packet.stream = packet.stream or voice
            container.mux(packet)
    return path


def _part(layout: str, rate: int, start_s: float, end_s: float) -> Iterator[Any]:
    """Packets of AAC with ADTS headers, which carry their own parameters."""
    encoder: Any = av.CodecContext.create("aac", "w")
    encoder.sample_rate, encoder.layout, encoder.format = rate, layout, "fltp"
    encoder.time_base = Fraction(1, rate)
    frame = sound_frame(tone(start_s, end_s, rate), layout, rate)
    frame.pts, frame.time_base = round(start_s * rate), Fraction(1, rate)
    for packet in [*encoder.encode(frame), *encoder.encode(None)]:
        made = av.Packet(_adts(bytes(packet), rate, {"5.1": 6, "stereo": 2, "mono": 1}[layout]))
        made.pts, made.dts, made.time_base = packet.pts, packet.dts, Fraction(1, rate)
        yield made


def _adts(data: bytes, rate: int, channels: int) -> bytes:
    """AAC with its header (ISO/IEC 14496-3, 1.A.2.2)."""
    number = [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000].index(rate)
    size = len(data) + 7
    return bytes((0xFF, 0xF1, 1 << 6 | number << 2 | channels >> 2, (channels & 3) << 6 | size >> 11, size >> 3 & 0xFF,
                  (size & 7) << 5 | 0x1F, 0xFC)) + data


def display_width(path: Path, width: int, height: int) -> Path:
    """Have a WebM or MKV file tell the width and height at which its pictures are shown (RFC 9559, 5.1.4.1.28)."""
    shown = b"\x54\xb0\x82" + width.to_bytes(2, "big") + b"\x54\xba\x82" + height.to_bytes(2, "big")
    path.write_bytes(_extended(path.read_bytes(), [0x18538067, 0x1654AE6B, 0xAE, 0xE0], shown))
    return path


def _extended(data: bytes, way: list[int], more: bytes) -> bytes:
    """EBML with `more` added to the element that the ids of `way` lead to."""
    at = 0
    while at < len(data):
        name, begin = _number(data, at, keep=True)
        size, content = _number(data, begin, keep=False)
        end = min(content + size, len(data))
        if name == way[0]:
            inner = _extended(data[content:end], way[1:], more) if way[1:] else data[content:end] + more
            return data[:begin] + (1 << 56 | len(inner)).to_bytes(8, "big") + inner + data[end:]
        at = end
    raise ValueError("there is no such element")


def _number(data: bytes, at: int, keep: bool) -> tuple[int, int]:
    """A number of variable length, with its marker bit or without, and where it ends (RFC 8794, 4)."""
    length = 9 - data[at].bit_length()
    value = int.from_bytes(data[at:at + length], "big")
    return value if keep else value & ((1 << 7 * length) - 1), at + length


# ---- clips that look and sound like all others, if they are read as a player reads them

VP9 = {"cpu-used": "8", "deadline": "realtime", "auto-alt-ref": "0"}


def wide_samples(path: Path, video: Video, sound: str = "aac") -> Path:
    """A clip of narrow pictures that are shown as wide as the others'."""
    video.size, video.shape = (144, 108), Fraction(4, 3)
    return write(path, video, sound)


ODD: dict[str, Callable[[Path], Path]] = {
    "plain": lambda folder: write(folder / "a.mp4"),
    "tags in Latin-1": lambda folder: patched(
        write(folder / "a.mov", title="TitleXY"), b"TitleXY", b"A\xf1o \xe9\xff\xfe"),
    "tags in Latin-1, MKV": lambda folder: patched(
        write(folder / "a.mkv", title="TitleXY"), b"TitleXY", b"A\xf1o \xe9\xff\xfe"),
    "mono, then stereo": lambda folder: joined_sounds(folder / "a.ts", [("mono", 48_000), ("stereo", 48_000)]),
    "44.1 kHz, 48 kHz, 5.1, 22 kHz": lambda folder: joined_sounds(
        folder / "a.ts", [("stereo", 44_100), ("stereo", 48_000), ("5.1", 48_000), ("mono", 22_050)]),
    "samples that the bitstream tells": lambda folder: wide_samples(folder / "a.ts", Video()),
    "cover art as stream 0": lambda folder: covered(
        write(folder / "a.mp4"), cv2.imencode(".jpg", np.full((90, 90, 3), 99, np.uint8))[1].tobytes()),
    "full range": lambda folder: write(folder / "a.mp4", video=Video(pix_fmt="yuvj420p", tags=(1, 1, 1, 2))),
    "BT.601": lambda folder: write(folder / "a.mp4", video=Video(tags=(6, 6, 6, 1))),
    "B-frames in AVI": lambda folder: write(folder / "a.avi", video=Video("mpeg4", options={"bf": "2"}),
                                            sound="libmp3lame"),
    "MPEG-2, interlaced": lambda folder: write(folder / "a.mpg", video=Video("mpeg2video", options={
        "flags": "+ilme+ildct", "b": "4000000"}), sound="mp2"),
    "RGB": lambda folder: write(folder / "a.mov", video=Video("png", "rgb24", options={}), sound="pcm_s16le"),
    "FLV": lambda folder: write(folder / "a.flv"),
    "VP9 in MP4, samples that only the container tells": lambda folder: wide_samples(
        folder / "a.mp4", Video("libvpx-vp9", options=VP9)),
    "VP9 in WebM, samples that only the container tells": lambda folder: display_width(write(
        folder / "a.webm", video=Video("libvpx-vp9", options=VP9, size=(144, 108)), sound="libopus"), 192, 108),
}
"""How to write each into a folder, by its trait."""
