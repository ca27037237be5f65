"""The simulated cameras' frame counters in a finished film, and whether it decodes from end to end."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import av
import av.error

from ezrec.adapters.cameras.synthetic.court import read_counter
from ezrec.domain.errors import BadMedia
from ezrec.pyav import planes_of

COUNTERS = 1 << 24  # where the simulated cameras' counter begins again


@dataclass
class Seen:
    """What was found in a film: one entry a tick of the match, the intro left out. None: no counter to read."""

    ticks: int = 0
    keys: list[int] = field(default_factory=list)  # ticks, intro included, that are key frames
    counters: dict[str, list[int | None]] = field(default_factory=dict)

    def repeats(self, camera: str) -> int:
        """Ticks that show the same frame as the tick before."""
        return sum(step == 0 for step in self.steps(camera))

    def skips(self, camera: str) -> int:
        """Frame times left out between neighbouring ticks."""
        return sum(max(0, step - 1) for step in self.steps(camera))

    def steps(self, camera: str) -> Iterator[int]:
        """By how much the counter moves from tick to tick, where both show one."""
        for one, other in pairwise(self.counters[camera]):
            if one is not None and other is not None:
                yield (other - one) % COUNTERS


def look_at(film: Path, intro_ticks: int, cameras: list[str]) -> Seen:
    """Decode all of a film and read the counters of the simulated cameras.

    Raises:
        BadMedia: it does not decode.
    """
    seen = Seen(counters={camera: [] for camera in cameras})
    try:
        _read(film, intro_ticks, cameras, seen)
    except av.error.FFmpegError as error:
        raise BadMedia(f"{film} does not decode from end to end: {error}") from error
    return seen


def _read(film: Path, intro_ticks: int, cameras: list[str], seen: Seen) -> None:
    with av.open(str(film)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for number, frame in enumerate(container.decode(stream)):
            if frame.is_corrupt:  # concealed by the decoder, which raises nothing
                raise BadMedia(f"{film}: frame {number} is damaged")
            if frame.key_frame:
                seen.keys.append(number)
            if number < intro_ticks:
                continue
            seen.ticks += 1
            luma = planes_of(frame).y
            for camera in cameras:
                seen.counters[camera].append(read_counter(luma, camera))
