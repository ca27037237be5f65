"""What two cameras of a court deliver, made once: their scene through their encoder, written as the recorder does."""

import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from ezrec.adapters.cameras.synthetic.court import CourtView, counter_at, due_us
from ezrec.adapters.cameras.synthetic.encoder import H264Encoder, new_picture
from ezrec.adapters.segments import TsFile
from ezrec.config import Settings
from ezrec.domain.clock import SECOND
from ezrec.domain.film import EncoderOptions, Footage, Logo, Recipe
from ezrec.domain.timeline import HOLD_US
from ezrec.media.geometry import canvas_for
from ezrec.pyav import planes_of

FIRST = 30_000  # the number of the first frame
SETTINGS = Settings()
RATE = SETTINGS.cameras.fps


@dataclass(frozen=True)
class Taken:
    """Footage of both cameras: as segments, and each in one file; and what taking it cost, CPU s."""

    segments: dict[str, list[Footage]]
    whole: dict[str, Path]
    start_us: int
    cpu_s: float

    def between(self, start_us: int, end_us: int) -> dict[str, tuple[Footage, ...]]:
        """The segments that a chunk from `start_us` to `end_us` is handed."""
        from_us, to_us = start_us - HOLD_US, end_us + HOLD_US
        return {camera: tuple(one for one in ours if one.end_us > from_us and one.start_us < to_us)
                for camera, ours in self.segments.items()}


def take(folder: Path, size: tuple[int, int], frames: int) -> Taken:
    """Take `frames` frames with both cameras, at the recorder's default settings but for the picture's size."""
    cameras, begun = SETTINGS.cameras, time.thread_time()
    segments: dict[str, list[Footage]] = {}
    whole: dict[str, Path] = {}
    for camera in ("left", "right"):
        (folder / camera).mkdir(parents=True)
        view = CourtView(size, camera, cameras.simulated.overlap)
        encoder = H264Encoder(size, RATE, bitrate(size), cameras.keyframe_s)
        picture = new_picture(size)
        planes = planes_of(picture)
        view.paint(planes)
        all_of_it = TsFile(folder / camera / "whole", due_us(FIRST, RATE), RATE)
        each = round(SETTINGS.recorder.segment_s * RATE)
        segments[camera] = []
        for first in range(FIRST, FIRST + frames, each):
            file = TsFile(folder / camera, due_us(first, RATE), RATE)
            last = min(first + each, FIRST + frames)
            for index in range(first, last):
                us = due_us(index, RATE)
                view.draw(planes, us, counter_at(index))
                for frame in encoder.encode(picture, us):
                    file.write(frame.data, us, key=frame.key)
                    all_of_it.write(frame.data, us, key=frame.key)
            file.seal()
            segments[camera].append(Footage(str(file.path), file.start_us, due_us(last, RATE)))
        all_of_it.seal()
        whole[camera] = all_of_it.path
    return Taken(segments, whole, due_us(FIRST, RATE), time.thread_time() - begun)


def bitrate(size: tuple[int, int]) -> int:
    """The default bit rate, in proportion to the picture."""
    usual = SETTINGS.cameras.width * SETTINGS.cameras.height
    return max(200_000, SETTINGS.cameras.bitrate * size[0] * size[1] // usual)


def recipe_for(size: tuple[int, int], logos: dict[str, Path]) -> Recipe:
    """The film that the default settings make of two cameras of this size, with a logo in either upper corner."""
    film = SETTINGS.film
    canvas = canvas_for("feather", {"left": size, "right": size}, overlap=film.overlap)
    width, margin = round(0.08 * canvas.width / 2) * 2, round(0.01 * canvas.width)
    corners = ("top_left", "top_right")
    placed = tuple(Logo(name, str(path), name, corner, width, margin)
                   for (name, path), corner in zip(logos.items(), corners, strict=True))
    encoder = EncoderOptions(film.preset, film.crf, film.maxrate, film.bufsize, keyint=int(2 * RATE),
                             threads=film.threads)
    return Recipe(Fraction(RATE), canvas, encoder, placed, index_reserve=1 << 20)


def chunk_us(ticks: int) -> int:
    """How long so many ticks are, µs."""
    return round(ticks * SECOND / RATE)
