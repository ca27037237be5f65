"""Bring a venue's intro clip to the film's form, so that it can be joined as chunk 0.

Any size, shape, rate, codec, colours and rotation that libavcodec knows, with or without sound, becomes the canvas's
size (letterboxed in black), the film's constant rate, its encoder options, and AAC sound at 48 kHz. Pictures and sound
are those that a player would show, at the times at which it would.

Limits: one clip of at most `LARGEST_BYTES`; limits of time and memory as in `media/limits.py`. Sound that cannot be
decoded is left out rather than the clip, and said.
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
from av.container import OutputContainer
from av.video.frame import VideoFrame

from ezrec.domain.errors import BadMedia
from ezrec.domain.film import Canvas, Intro, Recipe
from ezrec.files import put_in_place
from ezrec.media.clip import ClipLook, Shown, look_at, pictures
from ezrec.media.colours import FilmColours
from ezrec.media.drawing import black
from ezrec.media.encode import MUXER, coded_frame, finish, video_stream
from ezrec.media.limits import PREPARE_BYTES, Deadline, within
from ezrec.media.probe import is_cut_off, probe
from ezrec.media.sound import SOUND_RATE, Samples, sound_of
from ezrec.pyav import opened, planes_of

LARGEST_BYTES = 1_000_000_000
SOUND_BITRATE = 128_000  # bit/s
SOUND_FRAME = 1024  # samples in an AAC frame
EARLY = Fraction(1, 4)  # of a tick: a picture this little late still counts for its tick (rounded time stamps)
ROUNDED = Fraction(1, 10)  # of a tick: what is left of the last picture counts from here on
ENCODER = 80  # pictures' bytes: what encoding takes at most; a chunk of the film takes the same
MISSING_S = 0.1  # a clip that is so much shorter than it says has lost something
LARGEST_LOSS = 0.25  # of a clip's length; a clip that has lost more is not used


def normalise(source: str | Path, recipe: Recipe, out: str | Path, max_s: float) -> Intro:
    """Write the clip `source` to `out` in the form that `recipe` asks for; `recipe.intro` is not looked at.

    Raises:
        BadMedia: naming why the clip cannot be used: missing, empty, over 1 GB, longer than `max_s` seconds, without
            video, not decodable, cut off, or not ready in time or memory.
    """
    source = Path(source)
    try:
        if source.stat().st_size > LARGEST_BYTES:
            raise BadMedia(f"{source}: is larger than {LARGEST_BYTES // 1_000_000_000} GB")
    except OSError as error:
        raise BadMedia(f"{source}: {error.strerror}") from error
    try:
        picture = recipe.canvas.width * recipe.canvas.height * 3 // 2
        with within(str(source), size=PREPARE_BYTES + ENCODER * picture) as deadline:
            return _normalised(source, recipe, Path(out), max_s, deadline)
    finally:
        gc.collect()  # containers and streams refer to each other: the worker would keep their codecs' memory


def _normalised(source: Path, recipe: Recipe, out: Path, max_s: float, deadline: Deadline) -> Intro:
    facts = probe(source)
    if facts.duration_s > max_s:
        raise BadMedia(f"{source}: is {facts.duration_s:.1f} s long; an intro may have {max_s:g} s")
    sound = _sound(source, max_s, out.parent) if facts.sound else None
    deadline.check()
    left_out = ["its sound cannot be decoded"] if facts.sound and sound is None else []
    with put_in_place(out) as temporary:
        ticks = _write(source, recipe, temporary, max_s, sound, deadline)
        heard_s = sound.shape[1] / SOUND_RATE if sound is not None else 0.0
        missing_s = facts.duration_s - max(float(ticks / recipe.rate), heard_s)
        if missing_s > max(facts.duration_s * LARGEST_LOSS, MISSING_S):
            raise BadMedia(f"{source}: is cut off: {missing_s:.1f} s of its {facts.duration_s:.1f} s cannot be shown")
        if missing_s > MISSING_S:
            left_out.append(f"its last {missing_s:.1f} s cannot be shown")
        elif is_cut_off(source):
            left_out.append("its end, for the file is cut off")
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Intro(path=str(out), sha256=digest, ticks=ticks, sound=sound is not None,
                 left_out=", ".join(left_out))


def _write(source: Path, recipe: Recipe, path: str, max_s: float, sound: Samples | None, deadline: Deadline) -> int:
    """Encode the clip; returns its length in ticks."""
    rate = Fraction(recipe.rate)
    look = look_at(source)
    colours = FilmColours(look)
    with opened(source) as clip, av.open(path, "w", format="mp4", options=MUXER) as film:
        video = video_stream(film, recipe)
        voice = _Voice(film, sound) if sound is not None else None
        frame = coded_frame(recipe.canvas)
        drawn: VideoFrame | None = None
        ticks = 0
        for picture in _at_rate(pictures(clip.streams[look.stream]), look.start, rate):
            deadline.check()
            if ticks >= max_s * rate + 1:
                raise BadMedia(f"{source}: is longer than the {max_s:g} s that an intro may have")
            if picture is not drawn:
                _draw(picture, look, colours, black(frame), recipe.canvas)
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


def _at_rate(shown: Iterator[Shown], start: Fraction, rate: Fraction) -> Iterator[VideoFrame]:
    """One picture for each tick from `start` (s) on: the newest one whose time has come. It is held until the next."""
    tick, held, end = 0, None, Fraction(0)
    for time, duration, picture in shown:
        while held is not None and tick + EARLY < (time - start) * rate:
            yield held
            tick += 1
        held, end = picture, time - start + duration
    while held is not None and (tick == 0 or tick + ROUNDED < end * rate):
        yield held
        tick += 1


def _draw(picture: VideoFrame, look: ClipLook, colours: FilmColours, frame: VideoFrame, canvas: Canvas) -> None:
    """Put `picture` upright into the middle of `canvas` on `frame`, as large as fits."""
    wide, high = look.shown_size(picture.width, picture.height)
    scale = min(canvas.width / wide, canvas.height / high)
    width = max(round(wide * scale / 2) * 2, 2)
    height = max(round(high * scale / 2) * 2, 2)
    x, y = (canvas.width - width) // 4 * 2, (canvas.height - height) // 4 * 2
    parts = colours.planes(picture, width, height)
    for number, (target, part) in enumerate(zip(planes_of(frame), parts, strict=True)):
        step = 2 if number else 1
        target[y // step : (y + height) // step, x // step : (x + width) // step] = part


def _sound(source: Path, max_s: float, folder: Path | None = None) -> Samples | None:
    """The clip's sound as stereo, shape (2, samples) at 48 kHz, beginning with its first picture; None if it fails.

    It lies in a file without a name in `folder`.
    """
    try:
        return sound_of(source, float(_first_time(source)), max_s + 1, folder)
    except (BadMedia, ValueError):  # the resampler's word for channels that it does not know
        return None


def _first_time(source: Path) -> Fraction:
    """When the clip's first picture is shown, in s."""
    return look_at(source).start


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
