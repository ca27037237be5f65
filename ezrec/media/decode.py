"""One camera's segments as a row of pictures with sensor times, decoded only where they are wanted.

A segment is read once: its packets give the times that the picking needs, and are decoded afterwards in order. What is
damaged is left out up to the next key frame, since the pictures between are smeared; the ticks show the last good one.
Where that would last for `HOLD_US` or longer, the time is lost: no camera's row is believed against its file.

Limits: a segment is held in memory while it is read (3 MB at the default settings).
"""

import errno
import io
import os
import stat
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from statistics import median
from typing import Any

import av
from av.video.frame import VideoFrame

from ezrec.domain.clock import SECOND
from ezrec.domain.errors import BadMedia, FootageAway, FootageGone
from ezrec.domain.film import Footage
from ezrec.domain.loss import Loss, in_words
from ezrec.domain.timeline import HOLD_US, Interval, coverage, union, without
from ezrec.media.probe import video_of
from ezrec.pyav import LibavError

READING = {"analyzeduration": "0", "fpsprobesize": "0"}
"""A segment's rate is not asked for, so libavformat need not read on to find it."""

SLIVER_US = HOLD_US // 5
"""A row's ends and its file's frames differ by up to a frame's time: less than this between them is no loss."""

LARGEST = 400 << 20
"""Bytes; the longest segment of the best picture that can be set is smaller."""

DAMAGED = "is damaged"

_Picture = tuple[int, VideoFrame]  # with its sensor time in µs


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


class Undecodable(BadMedia):
    """The pictures from `times[0]` to before `times[1]` (µs) are there and cannot be decoded."""

    def __init__(self, camera: str, times: Interval) -> None:
        super().__init__(camera, times)
        self.camera = camera
        self.times = times


class Reel:
    """What one camera gives to a chunk. Wanted pictures must be asked for in order of time.

    `times` holds the sorted sensor times (µs) of its pictures, `period_us` the usual distance between them, and
    `corrupt` counts packets, pictures and whole files that could not be used. `lost` is what the segments' rows promise
    and their files do not give; `usable` holds the segments with that among their gaps. `away` is what of it may still
    come back.
    """

    def __init__(self, camera: str, footage: Sequence[Footage], period_us: float, from_us: int = 0,
                 without_times: Sequence[Interval] = ()) -> None:
        """`period_us` counts for a camera of which fewer than two pictures are there.

        Nothing is called lost that lies before `from_us`: it has been shown. Pictures in `without_times` are known not
        to decode.
        """
        self.camera = camera
        self.corrupt = 0
        self.times: list[int] = []
        self.lost: list[Loss] = []
        self._without = without_times
        self._reasons: dict[str, str] = {}  # of files that cannot be read to their end
        self._away: set[str] = set()  # those of them that may come back
        self._clips: list[_Clip] = []
        self._current: _Picture | None = None
        self._ahead: _Picture | None = None
        self._pictures: Iterator[_Picture] | None = None
        pieces = sorted(footage, key=lambda one: one.start_us)
        for piece in pieces:
            self._read(piece)
        distances = [later - earlier for earlier, later in pairwise(self.times)]
        self.period_us = float(median(distances)) if distances else period_us
        self.usable = self._compared(pieces, from_us)

    @property
    def away(self) -> list[Loss]:
        """What of `lost` is missing or on a failing disk, and may come back."""
        return [loss for loss in self.lost if loss.path in self._away]

    def narrow(self, first: int, last: int) -> None:
        """Let go of the segments that pictures `first` to `last` of `times` do not need."""
        begin = max(bisect_right(self._starts(), self.times[first]) - 1, 0)
        end = bisect_right(self._starts(), self.times[last])
        self._clips = self._clips[begin:end]

    def _starts(self) -> list[int]:
        """When the first picture of each segment was taken."""
        return [min(time for time in clip.times if time is not None) for clip in self._clips]

    def picture(self, index: int) -> _Picture:
        """Picture `index` of `times` and its sensor time in µs; the good one before it if it is damaged.

        Raises:
            Undecodable: no picture near enough can be decoded.
        """
        wanted = self.times[index]
        if self._pictures is None:
            self._pictures = self._decoded(wanted)
        while self._current is None or self._current[0] < wanted:
            following = self._ahead or next(self._pictures, None)
            self._ahead = None
            if following is not None and following[0] <= wanted:
                self._current = following
                continue
            self._current, self._ahead = self._stand_in(wanted, self._current, following)
            break
        return self._current

    def _stand_in(self, wanted: int, before: _Picture | None,
                  behind: _Picture | None) -> tuple[_Picture, _Picture | None]:
        """What is shown for a damaged picture: the good one before it, or else behind it; and which comes next.

        Raises:
            Undecodable: both are too far away.
        """
        after = wanted - 1 if before is None else before[0]
        damaged = sorted(time for clip in self._clips for time in clip.times
                         if time is not None and after < time and (behind is None or time < behind[0]))
        end = damaged[-1] + round(self.period_us)
        if end - damaged[0] < HOLD_US:
            if before is not None and wanted - before[0] < HOLD_US:
                return before, behind
            if behind is not None and behind[0] - wanted < HOLD_US:
                return behind, None
        raise Undecodable(self.camera, (damaged[0], end))

    def key_picture(self, time_us: int) -> VideoFrame | None:
        """The key frame nearest to a time, if there is one within `HOLD_US` and it can be decoded.

        Must be asked for before any other picture.
        """
        near = [(abs(time - time_us), time, clip.packets[at]) for clip in self._clips
                for at, (time, key) in enumerate(zip(clip.times, clip.keys, strict=True))
                if key and time is not None and abs(time - time_us) <= HOLD_US]
        if not near:
            return None
        packet = min(near, key=lambda one: one[:2])[2]
        context: Any = av.CodecContext.create(packet.stream.codec_context.name, "r")
        try:
            frames = [*context.decode(av.Packet(bytes(packet))), *context.decode(None)]
        except LibavError:
            return None
        return frames[0] if frames and not frames[0].is_corrupt else None

    def first_picture(self) -> VideoFrame | None:
        """The first picture that can be decoded."""
        return next((frame for _, frame in self._decoded(self.times[0])), None) if self.times else None

    # ---- reading

    def _read(self, piece: Footage) -> None:
        """Take in one segment's packets; what cannot be read of it is counted, not raised."""
        clip = _Clip(piece)
        last = self.times[-1] if self.times else None
        try:
            content = _content(piece.path)
            # Behind a damaged place the next packet is looked for to the file's end, however far that is.
            options = READING | {"resync_size": str(len(content))}
            with io.BytesIO(content) as file, av.open(file, "r", format="mpegts", options=options) as container:
                stream = video_of(container, piece.path)
                clip.context = stream.codec_context
                for packet in container.demux(stream):
                    if packet.size:
                        self._take(clip, packet, last)
        except (BadMedia, LibavError):
            self.corrupt += 1  # what was read of it stays
        except OSError as error:
            self.corrupt += 1
            self._away.add(piece.path)
            self._reasons[piece.path] = ("is missing" if error.errno == errno.ENOENT
                                         else f"cannot be read ({error.strerror or error})")
        times = sorted(time for time in clip.times if time is not None)
        if times:
            self.times.extend(times)
            self._clips.append(clip)

    def _take(self, clip: _Clip, packet: Any, last: int | None) -> None:
        time: int | None = None
        if packet.pts is not None:
            time = clip.footage.start_us + round(packet.pts * packet.time_base * SECOND)
        if time is not None and (packet.is_corrupt or (last is not None and time <= last)
                                 or not clip.footage.start_us <= time < clip.footage.end_us
                                 or any(start <= time < end for start, end in self._without)):
            time = None
        clip.times.append(time)
        clip.packets.append(packet)
        clip.keys.append(bool(packet.is_keyframe))

    def _compared(self, pieces: Sequence[Footage], from_us: int) -> list[Footage]:
        """The segments with what is lost of them among their gaps; `lost` says the same."""
        given = [(time, time + round(self.period_us)) for time in self.times]
        if given:  # at the outer ends, too, a frame stands for what is less than `HOLD_US` away
            start_us, end_us = pieces[0].start_us, max(piece.end_us for piece in pieces)
            given = [*union([(start_us - 1, start_us), *given, (end_us, end_us + 1)], HOLD_US)]
        usable = []
        for piece in pieces:
            promised = without([(max(piece.start_us, from_us), piece.end_us)], piece.gaps)
            missing = [hole for hole in without(promised, given) if hole[1] - hole[0] >= SLIVER_US]
            usable.append(replace(piece, gaps=union((*piece.gaps, *missing))))
        seen = coverage(usable)  # holes that are short enough are bridged
        for piece, found in zip(pieces, usable, strict=True):
            for hole in without(without(found.gaps, piece.gaps), seen):
                self.lost.append(Loss(self.camera, piece.path, *hole, self._reasons.get(piece.path, DAMAGED)))
        return usable

    # ---- decoding

    def _decoded(self, wanted_us: int) -> Iterator[_Picture]:
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
        """The undamaged pictures of `clip` from packet `start` on; after damage, from the next key frame on.

        The decoder does not tell all damage. It may take a torn packet for whole, leave pictures out without an error
        and go on with smeared ones, or not notice that packets are missing.
        """
        context = clip.context
        context.thread_count = 1  # the encoder's threads fill the cores; more here only cost memory
        torn = {packet.pts for packet in clip.packets if packet.is_corrupt}
        due = deque(packet.pts for packet in clip.packets[start:])
        ends = {loss.to_us for loss in self.lost if loss.path == clip.footage.path}
        behind = {packet.pts for packet, time in zip(clip.packets, clip.times, strict=True) if time in ends}
        damaged = False
        for packet in [*clip.packets[start:], None]:
            try:
                frames = context.decode(packet)
            except LibavError:
                self.corrupt += 1
                damaged = True
                continue
            for frame in frames:
                damaged = _overtakes(frame.pts, due) or frame.pts in behind or damaged
                damaged = frame.is_corrupt or frame.pts in torn or (damaged and not frame.key_frame)
                if damaged or frame.pts is None:
                    self.corrupt += 1
                else:
                    yield frame


def _overtakes(pts: int | None, due: deque[int | None]) -> bool:
    """Whether pictures that are due before the one at `pts` have not come; takes all up to it out of `due`."""
    before = 0
    if pts in due:
        while due.popleft() != pts:
            before += 1
    return before > 0


def _content(path: str) -> bytes:
    """All bytes of a file. They are read here, and not by libavformat, which takes an error of the disk for the end.

    Raises:
        OSError: it is not there, or the disk fails.
        BadMedia: what lies there is no file, or far too large for a segment.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # opening a pipe would wait for a writer
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST:
            raise BadMedia(f"{path} is no segment")
        with os.fdopen(handle, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(handle)


@dataclass(frozen=True)
class SizeJob:
    """Asks for a camera's picture size; `accept_loss` as in `film.ChunkJob`."""

    camera: str
    footage: Sequence[Footage]
    accept_loss: bool = False


def picture_size(job: SizeJob) -> tuple[int, int]:
    """Width and height in pixels of the first picture that a camera's segments give.

    Raises:
        FootageAway: none gives one now, and some may come back.
        FootageGone: none gives one.
    """
    away: list[Loss] = []
    lost: list[Loss] = []
    for piece in job.footage:
        reel = Reel(job.camera, [piece], float(piece.end_us - piece.start_us))
        picture = reel.first_picture()
        if picture is not None:
            return picture.width, picture.height
        away += reel.away
        lost += reel.lost or [Loss(job.camera, piece.path, piece.start_us, piece.end_us, DAMAGED)]
    if away and not job.accept_loss:
        raise away_error(away)
    raise FootageGone(lost)


def away_error(losses: Sequence[Loss]) -> FootageAway:
    """What to raise for losses that may come back."""
    return FootageAway(f"{in_words(losses)}: the disk may come back")
