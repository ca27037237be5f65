"""A clip's sound as a player plays it, from a given moment on: stereo at 48 kHz, each sample at its time.

Sound that changes its rate or its channels half-way is brought to one form piece by piece. Where the clip has no sound
for a while there is silence, and pieces that cannot be decoded are such a while.

Limits: the samples lie in a file without a name, for ten minutes of them take 230 MB.
"""

from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
from av.audio.resampler import AudioResampler
from numpy.typing import NDArray

from ezrec.domain.errors import BadMedia
from ezrec.media.clip import streams_of
from ezrec.pyav import LibavError, opened, shown_at

SOUND_RATE = 48_000  # Hz
JUMP = Fraction(1, 100)  # s: time stamps are believed against counting from here on; below it they are rounded ones
LOST_S = 0.5  # sound of which more cannot be decoded is not used
BYTES = 8  # of a sample: two channels of float32

Samples = NDArray[np.float32]


def sound_of(path: str | Path, begin: float, most_s: float, folder: Path | None = None) -> Samples:
    """The sound of the clip at `path`: shape (2, samples), from `begin` (s on the clip's clock), at most `most_s`.

    The first stream that can be decoded is taken.

    Raises:
        BadMedia: there is none, or more than `LOST_S` of it cannot be decoded.
    """
    with opened(path) as clip:
        numbers = [stream.index for stream in streams_of(clip, "audio")]
    for number in numbers:
        with TemporaryFile(dir=folder) as file:
            tape = _Tape(file, Fraction(begin), round(most_s * SOUND_RATE))
            lost_s = _record(path, number, tape)
            if tape.length and lost_s <= LOST_S:
                file.flush()
                return np.memmap(file, np.float32, "r", shape=(tape.length, 2)).T
    raise BadMedia(f"{path}: its sound cannot be decoded")


def _record(path: str | Path, number: int, tape: "_Tape") -> float:
    """Put the sound of stream `number` onto the tape; returns how much of it cannot be decoded, in s."""
    lost = Fraction(0)
    with opened(path) as clip:
        for packet in clip.demux(clip.streams[number]):
            try:
                frames: list[Any] = list(packet.decode())
            except LibavError:
                lost += (packet.duration or 0) * Fraction(packet.time_base or 0)
                continue
            for frame in frames:
                tape.take(frame)
            if tape.is_full:
                break
        tape.end()
    return float(lost)


class _Tape:
    """Takes decoded sound and writes it down at its time."""

    def __init__(self, file: Any, begin: Fraction, most: int) -> None:
        self.length = 0  # samples
        self._file = file
        self._begin = begin
        self._most = most
        self._form: tuple[str, str, int] | None = None
        self._resampler: AudioResampler | None = None
        self._due = begin  # when the next piece should come, by counting

    @property
    def is_full(self) -> bool:
        """Whether it holds as much as is wanted."""
        return self.length >= self._most

    def take(self, frame: Any) -> None:
        """Take a decoded piece."""
        form = frame.format.name, frame.layout.name, frame.sample_rate
        time = shown_at(frame)
        if time is None:
            time = self._due
        if self._resampler is None or form != self._form or abs(time - self._due) > JUMP:
            self.end()
            self._resampler = AudioResampler(format="flt", layout="stereo", rate=SOUND_RATE)
            self._form, self._due = form, time
            self._move(round((time - self._begin) * SOUND_RATE))
        self._due += Fraction(frame.samples, frame.sample_rate)
        frame.pts = None
        self._write(self._resampler.resample(frame))

    def end(self) -> None:
        """Write down what the resampler still holds."""
        if self._resampler is not None:
            self._write(self._resampler.resample(None))
        self._resampler = None

    def _move(self, to: int) -> None:
        """Go on at sample `to`: silence up to there, or as many samples less of what comes."""
        self._skip = 0
        if to >= self.length:
            self.length = min(to, self._most)
            self._file.truncate(self.length * BYTES)
        else:
            self._skip = self.length - to

    def _write(self, pieces: list[Any]) -> None:
        for piece in pieces:
            samples = piece.to_ndarray().reshape(-1, 2)
            skipped = min(self._skip, len(samples))
            self._skip -= skipped
            samples = samples[skipped : skipped + self._most - self.length]
            self._file.seek(self.length * BYTES)
            self._file.write(samples.astype(np.float32, copy=False).tobytes())
            self.length += len(samples)
