"""One camera's segments as a row of pictures with sensor times, decoded only where they are wanted.

A segment is read once: its packets give the times that the picking needs, and are decoded afterwards in order. What is
damaged is left out up to the next key frame, since the pictures between are smeared; the ticks show the last good one.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import Any

from av.video.frame import VideoFrame

from ezrec.domain.clock import SECOND
from ezrec.domain.errors import BadMedia
from ezrec.domain.film import Footage
from ezrec.media.probe import video_of
from ezrec.pyav import LibavError, opened

READING = {"analyzeduration": "0", "fpsprobesize": "0"}
"""A segment's rate is not asked for, so libavformat need not read on to find it."""


@dataclass
class _Clip:
    """The packets of one segment, in the order of decoding, with their sensor times in µs (None: not to be shown)."""

    footage: Footage
    packets: list[Any] = field(default_factory=list)
    times: list[int | None] = field(default_factory=list)
    keys: list[bool] = field(default_factory=list)
    context: Any = None  # the segment's decoder

    def start_for(self, wanted_us: int) -> int:
        """The packet to begin at so that everything from `wanted_us` on decodes: the last key frame up to it."""
        start = 0
        for at, (time, key) in enumerate(zip(self.times, self.keys, strict=True)):
            if key and time is not None and time <= wanted_us:
                start = at
        return start


class Reel:
    """What one camera gives to a chunk. Wanted pictures must be asked for in order of time.

    `usable` holds the segments that could be read, `times` the sorted sensor times (µs) of their pictures and
    `corrupt` counts packets, pictures and whole files that could not be used.
    """

    def __init__(self, footage: Sequence[Footage]) -> None:
        self.corrupt = 0
        self.times: list[int] = []
        self.usable: list[Footage] = []
        self._clips: list[_Clip] = []
        self._current: tuple[int, VideoFrame] | None = None
        self._ahead: tuple[int, VideoFrame] | None = None
        self._pictures: Iterator[tuple[int, VideoFrame]] | None = None
        for piece in sorted(footage, key=lambda one: one.start_us):
            self._read(piece)

    def period_us(self, otherwise: float) -> float:
        """The camera's frame period in µs: the median of its frame distances, or `otherwise` if there are none."""
        gaps = [later - earlier for earlier, later in pairwise(self.times)]
        return float(median(gaps)) if gaps else otherwise

    def narrow(self, first: int, last: int) -> None:
        """Let go of the segments that pictures `first` to `last` of `times` do not need."""
        begin = max(bisect_right(self._starts(), self.times[first]) - 1, 0)
        end = bisect_right(self._starts(), self.times[last])
        self._clips = self._clips[begin:end]

    def _starts(self) -> list[int]:
        """When the first picture of each segment was taken."""
        return [min(time for time in clip.times if time is not None) for clip in self._clips]

    def picture(self, index: int) -> tuple[int, VideoFrame]:
        """Picture `index` of `times` and its sensor time in µs; the good one before it if it is damaged.

        Raises:
            BadMedia: not one picture from here on can be decoded.
        """
        wanted = self.times[index]
        if self._pictures is None:
            self._pictures = self._decoded(wanted)
        while self._current is None or self._current[0] < wanted:
            following = self._ahead or next(self._pictures, None)
            self._ahead = None
            if following is None:
                break
            if self._current is not None and following[0] > wanted:
                self._ahead = following  # the wanted one was damaged; this one's turn comes later
                break
            self._current = following
        if self._current is None:
            raise BadMedia(f"{self.usable[0].path}: not one picture of it can be decoded")
        return self._current

    def _read(self, piece: Footage) -> None:
        """Take in one segment's packets; what cannot be read of it is counted, not raised."""
        clip = _Clip(piece)
        last = self.times[-1] if self.times else None
        try:
            with opened(piece.path, READING) as container:
                stream = video_of(container, piece.path)
                clip.context = stream.codec_context
                for packet in container.demux(stream):
                    if packet.size:
                        self._take(clip, packet, last)
        except BadMedia:
            self.corrupt += 1  # missing, empty or cut off in the middle; what was read of it stays
        times = sorted(time for time in clip.times if time is not None)
        if times:
            self.usable.append(piece)
            self.times.extend(times)
            self._clips.append(clip)

    def _take(self, clip: _Clip, packet: Any, last: int | None) -> None:
        time: int | None = None
        if packet.pts is not None:
            time = clip.footage.start_us + round(packet.pts * packet.time_base * SECOND)
        if time is None or packet.is_corrupt or (last is not None and time <= last):
            clip.times.append(None)
        else:
            clip.times.append(time if clip.footage.start_us <= time < clip.footage.end_us else None)
        clip.packets.append(packet)
        clip.keys.append(bool(packet.is_keyframe))

    def _decoded(self, wanted_us: int) -> Iterator[tuple[int, VideoFrame]]:
        """The good pictures in order of time, beginning no later than the last one up to `wanted_us`."""
        first = max(bisect_right(self._starts(), wanted_us) - 1, 0)
        showable = set(self.times)
        for number, clip in enumerate(self._clips[first:]):
            start = clip.start_for(wanted_us) if number == 0 else 0
            for frame in self._frames(clip, start):
                time = clip.footage.start_us + round(frame.pts * frame.time_base * SECOND)
                if time in showable:
                    yield time, frame
            clip.packets.clear()

    def _frames(self, clip: _Clip, start: int) -> Iterator[Any]:
        """The undamaged pictures of `clip` from packet `start` on; after damage, from the next key frame on."""
        context = clip.context
        context.thread_count = 1  # the encoder's threads fill the cores; more here only cost memory
        torn = {packet.pts for packet in clip.packets if packet.is_corrupt}  # the decoder may take them for whole
        damaged = False
        for packet in [*clip.packets[start:], None]:
            try:
                frames = context.decode(packet)
            except LibavError:
                self.corrupt += 1
                damaged = True
                continue
            for frame in frames:
                damaged = frame.is_corrupt or frame.pts in torn or (damaged and not frame.key_frame)
                if damaged or frame.pts is None:
                    self.corrupt += 1
                else:
                    yield frame
