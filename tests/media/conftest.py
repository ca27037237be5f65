"""Small moving pictures with a frame counter that survives encoding, as segments, clips and chunks."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame

from ezrec.domain.film import ChunkJob, EncoderOptions, Footage, Recipe, Rung
from ezrec.media.geometry import canvas_for

WIDTH, HEIGHT = 320, 180
BITS, BLOCK, COUNTER_X, COUNTER_Y = 12, 8, 96, 80
RATE = 30
SECOND = 1_000_000


def drawn(counter: int, width: int = WIDTH, height: int = HEIGHT) -> VideoFrame:
    """A moving gradient in limited-range YUV with `counter` in black and white blocks on it."""
    frame = VideoFrame(width, height, "yuv420p")
    rows, columns = np.mgrid[0:height, 0:width]
    luma = 60 + (columns * 2 + rows + counter * 3) % 97
    for bit in range(BITS):
        left = COUNTER_X + bit * BLOCK
        luma[COUNTER_Y : COUNTER_Y + 2 * BLOCK, left : left + BLOCK] = 220 if counter >> bit & 1 else 20
    planes: Any = frame.planes
    for number, value in enumerate((luma, 90 + counter % 60, 160)):
        plane = np.frombuffer(planes[number], np.uint8).reshape(-1, planes[number].line_size)
        step = 2 if number else 1
        plane[: -(-height // step), : -(-width // step)] = value
    return frame


def read_counter(luma: Any, x: int = 0) -> int:
    """The counter in a film's luma whose view begins at column `x`."""
    found = 0
    for bit in range(BITS):
        left = x + COUNTER_X + bit * BLOCK
        block = luma[COUNTER_Y + 4 : COUNTER_Y + 2 * BLOCK - 4, left + 2 : left + BLOCK - 2]
        found |= int(block.mean() > 120) << bit
    return found


def luma_of(frame: VideoFrame) -> Any:
    plane: Any = frame.planes[0]
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: frame.height, : frame.width].copy()


def write_segment(path: Path, shots: Sequence[tuple[int, int]], size: tuple[int, int] = (WIDTH, HEIGHT)) -> None:
    """Encode `shots` (µs from the segment's start, counter) as a camera does: no B-frames, a key frame every 15."""
    with av.open(str(path), "w", format="mpegts") as container:
        stream: Any = container.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 90_000)
        stream.codec_context.options = {"preset": "ultrafast", "crf": "14", "bf": "0", "g": "15"}
        for time, counter in shots:
            frame = drawn(counter, *size)
            frame.pts, frame.time_base = round(time * 90_000 / SECOND), Fraction(1, 90_000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.fixture
def footage(tmp_path: Path) -> Callable[..., tuple[Footage, ...]]:
    """Write a camera's frames (sensor time µs, counter) as segments of at most `each` frames."""

    def write(
        name: str, shots: Sequence[tuple[int, int]], each: int = 30, size: tuple[int, int] = (WIDTH, HEIGHT)
    ) -> tuple[Footage, ...]:
        pieces = []
        for at in range(0, len(shots), each):
            part = shots[at : at + each]
            path = tmp_path / f"{name}{at}.ts"
            write_segment(path, [(time - part[0][0], counter) for time, counter in part], size)
            following = shots[at + each][0] if at + each < len(shots) else part[-1][0] + SECOND // RATE
            pieces.append(Footage(str(path), part[0][0], following))
        return tuple(pieces)

    return write


def shots(count: int, start_us: int = 0, rate: float = RATE) -> list[tuple[int, int]]:
    """`count` frames of a camera that runs evenly."""
    return [(start_us + round(n * SECOND / rate), n) for n in range(count)]


@pytest.fixture
def recipe() -> Recipe:
    sizes = {"left": (WIDTH, HEIGHT), "right": (WIDTH, HEIGHT)}
    encoder = EncoderOptions(preset="ultrafast", crf=18, keyint=15, threads=1)
    return Recipe(Fraction(RATE), canvas_for("feather", sizes, overlap=0.1), encoder, index_reserve=16384)


@pytest.fixture
def job(tmp_path: Path, recipe: Recipe) -> Callable[..., ChunkJob]:
    def make(left: Any = (), right: Any = (), first: int = 0, ticks: int = 30, **more: Any) -> ChunkJob:
        values: dict[str, Any] = {"recipe": recipe, "anchor_us": 0, "rung": Rung.FULL} | more
        out = values.pop("out", str(tmp_path / f"chunk{first}.mp4"))
        return ChunkJob(first_tick=first, ticks=ticks, footage={"left": left, "right": right}, out=out, **values)

    return make


def pictures(path: str | Path) -> list[VideoFrame]:
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def write_clip(
    path: Path,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    times: Sequence[float] | None = None,
    codec: str = "libx264",
    sound: bool = False,
    video: bool = True,
    seconds: float = 1.0,
    rate: int = 25,
) -> Path:
    """A clip as a venue might hand it in; `times` (s) makes its rate vary."""
    shown = times if times is not None else [n / rate for n in range(round(seconds * rate))]
    with av.open(str(path), "w") as container:
        voice: Any = container.add_stream("aac" if path.suffix == ".mp4" else "libopus", rate=48_000) if sound else None
        if video:
            stream: Any = container.add_stream(codec, rate=rate)
            stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
            stream.codec_context.time_base = Fraction(1, 1000)
            if codec == "libvpx-vp9":
                stream.codec_context.options = {"cpu-used": "8", "deadline": "realtime"}
            for n, time in enumerate(shown):
                frame = drawn(n, *size)
                frame.pts, frame.time_base = round(time * 1000), Fraction(1, 1000)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        if voice is not None:
            tone = np.sin(np.arange(round(seconds * 48_000)) * 0.05).astype(np.float32) * 0.3
            for at in range(0, len(tone), 960):
                block = np.stack([tone[at : at + 960]] * 2)
                sounding = AudioFrame.from_ndarray(block, format="fltp", layout="stereo")
                sounding.sample_rate, sounding.pts, sounding.time_base = 48_000, at, Fraction(1, 48_000)
                container.mux(voice.encode(sounding))
            container.mux(voice.encode(None))
    return path


@pytest.fixture
def tools() -> Any:
    """The functions of this file, for tests (a folder of tests is no package that could be imported from)."""

    class Tools:
        drawn = staticmethod(drawn)
        read_counter = staticmethod(read_counter)
        luma_of = staticmethod(luma_of)
        shots = staticmethod(shots)
        pictures = staticmethod(pictures)
        write_clip = staticmethod(write_clip)
        write_segment = staticmethod(write_segment)

    return Tools
