"""Bring a venue's intro clip to the film's form, so that it can be joined as chunk 0.

Any size, shape, rate, codec and rotation that libavcodec knows, with or without sound, becomes the canvas's size
(letterboxed in black), the film's constant rate, its encoder options, and AAC sound at 48 kHz.

Limits: one clip of at most `LARGEST_BYTES`; its sound is held in memory (23 MB a minute). Sound that cannot be decoded
is left out rather than the clip.
"""

import gc
import hashlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.container import OutputContainer
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from ezrec.domain.errors import BadMedia
from ezrec.domain.film import Canvas, Intro, Recipe
from ezrec.files import put_in_place
from ezrec.media.drawing import black, fit
from ezrec.media.encode import MUXER, coded_frame, finish, video_stream
from ezrec.media.probe import probe, video_of
from ezrec.pyav import LibavError, opened, planes_of

LARGEST_BYTES = 1_000_000_000
SOUND_RATE = 48_000  # Hz
SOUND_BITRATE = 128_000  # bit/s
SOUND_FRAME = 1024  # samples in an AAC frame
EARLY = Fraction(1, 4)  # of a tick: a picture this little late still counts for its tick (rounded time stamps)
HD_LINES = 720  # a clip of fewer lines that names no matrix was made with BT.601

Samples = NDArray[np.float32]


def normalise(source: str | Path, recipe: Recipe, out: str | Path, max_s: float) -> Intro:
    """Write the clip `source` to `out` in the form that `recipe` asks for; `recipe.intro` is not looked at.

    Raises:
        BadMedia: naming why the clip cannot be used: missing, empty, over 1 GB, longer than `max_s` seconds, without
            video, or not decodable.
    """
    source = Path(source)
    try:
        if source.stat().st_size > LARGEST_BYTES:
            raise BadMedia(f"{source}: is larger than {LARGEST_BYTES // 1_000_000_000} GB")
    except OSError as error:
        raise BadMedia(f"{source}: {error.strerror}") from error
    facts = probe(source)
    if facts.duration_s > max_s:
        raise BadMedia(f"{source}: is {facts.duration_s:.1f} s long; an intro may have {max_s:g} s")
    sound = _sound(source, max_s) if facts.sound else None
    try:
        with put_in_place(out) as temporary:
            ticks = _write(source, recipe, temporary, max_s, facts.rotation, sound)
    finally:
        gc.collect()  # containers and streams refer to each other: the worker would keep their codecs' memory
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Intro(path=str(out), sha256=digest, ticks=ticks, sound=sound is not None)


def _write(source: Path, recipe: Recipe, path: str, max_s: float, rotation: int, sound: Samples | None) -> int:
    """Encode the clip, turned by `rotation` degrees clockwise; returns its length in ticks."""
    rate = Fraction(recipe.rate)
    with opened(source) as clip, av.open(path, "w", format="mp4", options=MUXER) as film:
        video = video_stream(film, recipe)
        voice = _Voice(film, sound) if sound is not None else None
        frame = coded_frame(recipe.canvas)
        drawn: VideoFrame | None = None
        ticks = 0
        for picture in _at_rate(_pictures(clip, source), rate):
            if ticks >= max_s * rate + 1:
                raise BadMedia(f"{source}: is longer than the {max_s:g} s that an intro may have")
            if picture is not drawn:
                _draw(picture, rotation, black(frame), recipe.canvas, _shape(clip))
                drawn = picture
            film.mux(video.encode(finish(frame, recipe.canvas, ticks, rate)))
            ticks += 1
            if voice is not None:
                voice.speak_up_to(ticks / rate)
        if not ticks:
            raise BadMedia(f"{source}: no picture in it can be decoded")
        film.mux(video.encode(None))
        if voice is not None:
            voice.end()
    return ticks


def _pictures(clip: Any, source: Path) -> Iterator[tuple[Fraction, Fraction, VideoFrame]]:
    """The clip's pictures: time and duration in s, from the first one's time on. Damaged ones are left out."""
    stream = video_of(clip, source)
    usual = 1 / Fraction(stream.average_rate or 25)
    first: Fraction | None = None
    for packet in clip.demux(stream):
        try:
            frames = packet.decode()
        except LibavError:
            continue
        for frame in frames:
            if frame.pts is None:
                continue
            time = frame.pts * Fraction(frame.time_base)
            first = time if first is None else first
            yield time - first, usual, frame


def _at_rate(pictures: Iterator[tuple[Fraction, Fraction, VideoFrame]], rate: Fraction) -> Iterator[VideoFrame]:
    """One picture for each tick: the newest one whose time has come. Each is held until the next."""
    tick, held, end = 0, None, Fraction(0)
    for time, duration, picture in pictures:
        while held is not None and tick + EARLY < time * rate:
            yield held
            tick += 1
        held, end = picture, time + duration
    while held is not None and (tick == 0 or tick + EARLY < end * rate):
        yield held
        tick += 1


def _shape(clip: Any) -> Fraction:
    """Width by height of one sample of the clip's pictures."""
    return Fraction(clip.streams.video[0].codec_context.sample_aspect_ratio or 1)


def _draw(picture: VideoFrame, rotation: int, frame: VideoFrame, canvas: Canvas, sample_shape: Fraction) -> None:
    """Put `picture` upright into the middle of `canvas` on `frame`, as large as fits."""
    wide, high = picture.width * sample_shape, Fraction(picture.height)
    if rotation % 180:
        wide, high = high, wide
    scale = min(canvas.width / wide, canvas.height / high)
    width = max(round(wide * scale / 2) * 2, 2)
    height = max(round(high * scale / 2) * 2, 2)
    x, y = (canvas.width - width) // 4 * 2, (canvas.height - height) // 4 * 2
    parts = fit(picture, width, height, rotation, _matrix(picture))
    for number, (target, part) in enumerate(zip(planes_of(frame), parts, strict=True)):
        step = 2 if number else 1
        target[y // step : (y + height) // step, x // step : (x + width) // step] = part


def _matrix(picture: VideoFrame) -> str:
    """Which matrix made the picture's samples, by swscale's name (ITU-T H.273: 1 is BT.709, 2 is not told)."""
    named = int(picture.colorspace)
    if named == 2:
        return "ITU709" if picture.height >= HD_LINES else "ITU601"
    return "ITU601" if named in (5, 6) else "ITU709"


def _sound(source: Path, max_s: float) -> Samples | None:
    """The clip's sound as stereo, shape (2, samples) at 48 kHz, beginning with its first picture; None if it fails."""
    try:
        with opened(source) as clip:
            begin = _first_time(clip, source)
            clip.seek(0)
            resampler = AudioResampler(format="fltp", layout="stereo", rate=SOUND_RATE)
            pieces: list[Samples] = []
            start: float | None = None
            length = 0
            for packet in clip.demux(clip.streams.audio[0]):
                for frame in packet.decode():
                    start = float(frame.time or 0.0) if start is None else start
                    for even in resampler.resample(frame):
                        pieces.append(even.to_ndarray().astype(np.float32, copy=False))
                        length += pieces[-1].shape[1]
                if length > (max_s + 1) * SOUND_RATE:
                    break
    except BadMedia:
        return None
    if start is None or not pieces:
        return None
    samples = np.concatenate(pieces, axis=1)
    late = round((start - begin) * SOUND_RATE)
    if late > 0:
        return np.concatenate([np.zeros((2, late), np.float32), samples], axis=1)
    return samples[:, -late:] if late else samples


def _first_time(clip: Any, source: Path) -> float:
    """When the clip's first picture is shown, in s."""
    for time in (p.pts * p.time_base for p in clip.demux(video_of(clip, source)) if p.pts is not None):
        return float(time)
    return 0.0


class _Voice:
    """The sound track of the intro, written as the picture goes on and exactly as long."""

    def __init__(self, film: OutputContainer, samples: Samples) -> None:
        self._film = film
        self._samples = samples
        self._stream: Any = film.add_stream("aac", rate=SOUND_RATE)
        self._stream.codec_context.bit_rate = SOUND_BITRATE
        self._stream.codec_context.layout = "stereo"
        self._stream.codec_context.options = {"flags": "+global_header+bitexact"}
        self._spoken = 0
        self._until = 0

    def speak_up_to(self, time_s: Fraction) -> None:
        """Write whole AAC frames up to `time_s`; silence where the clip's sound has ended."""
        self._until = round(time_s * SOUND_RATE)
        while self._spoken + SOUND_FRAME <= self._until:
            self._write(SOUND_FRAME)

    def end(self) -> None:
        """Write what is left."""
        if self._spoken < self._until:
            self._write(self._until - self._spoken)
        self._film.mux(self._stream.encode(None))

    def _write(self, count: int) -> None:
        block = np.zeros((2, count), np.float32)
        piece = self._samples[:, self._spoken : self._spoken + count]
        block[:, : piece.shape[1]] = piece
        frame = AudioFrame.from_ndarray(block, format="fltp", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = SOUND_RATE, self._spoken, Fraction(1, SOUND_RATE)
        self._film.mux(self._stream.encode(frame))
        self._spoken += count
