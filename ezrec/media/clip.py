"""A clip from outside as a player shows it: which of its streams count, which pictures are shown, when and how.

Times are those of decoded pictures. Packets tell less: a clip that was trimmed without encoding it again (an edit
list) still holds packets from before its beginning, which are decoded and not shown. Cover art and thumbnails are no
pictures of the clip. Interlaced pictures are deinterlaced, at their own rate.

Limits: one picture is at hand at a time, and the decoder's own.
"""

import gc
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
from av.filter import Graph
from av.video.frame import VideoFrame

from ezrec.domain.errors import BadMedia
from ezrec.pyav import LibavError, Orientation, opened, orientation_of, shown_at

DEFAULT, ATTACHED, THUMBNAILS = 1, 0x400, 0x800  # AV_DISPOSITION_*, libavformat/avformat.h
ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # libavcodec's own decoders leave the alpha channel out
RATES = (1, 1000)  # pictures per second; an average beyond them comes from damaged times
USUAL_RATE = 25
LARGEST_PIXELS = 8192 * 4320  # 8K; a picture of 4:2:0 of it takes 53 MB


class Shown(NamedTuple):
    """A picture with the time at which it is shown and how long, in s on the clip's clock."""

    time: Fraction
    duration: Fraction
    frame: VideoFrame


@dataclass(frozen=True)
class ClipLook:
    """Which stream of a clip is shown, and how."""

    stream: int  # its number in the file
    shape: Fraction  # width by height of one sample
    orientation: Orientation
    start: Fraction  # when the first picture is shown, in s on the clip's clock
    width: int  # of the first picture, as stored, pixels
    height: int
    transfer: int  # characteristics, and
    primaries: int  # of its colours, by ITU-T H.273

    def shown_size(self, width: int, height: int) -> tuple[Fraction, Fraction]:
        """Width and height of a picture of this stored size as it is shown, upright, in square pixels."""
        wide, high = width * self.shape, Fraction(height)
        return (high, wide) if self.orientation.degrees % 180 else (wide, high)


def streams_of(container: Any, kind: str) -> list[Any]:
    """The streams of a kind ("video" or "audio") that a player would take, its first choice first."""
    streams = [stream for stream in container.streams if stream.type == kind and stream.codec_context is not None]
    flags = {stream.index: _disposition(stream) for stream in streams}
    return sorted((stream for stream in streams if not flags[stream.index] & (ATTACHED | THUMBNAILS)),
                  key=lambda stream: (not flags[stream.index] & DEFAULT, kind == "video" and not stream.average_rate))


def _disposition(stream: Any) -> int:
    """AV_DISPOSITION_* flags; none from PyAV 12, which does not tell them. PyAV 14 has an enum that is no number."""
    told: Any = getattr(stream, "disposition", 0)
    return int(getattr(told, "value", told))


def look_at(path: str | Path) -> ClipLook:
    """What of the clip at `path` is shown, and how: the first stream of which a picture can be decoded.

    Raises:
        BadMedia: it cannot be read, holds no video, or no picture of it can be decoded.
    """
    with opened(path) as container:
        numbers = [stream.index for stream in streams_of(container, "video")]
    if not numbers:
        raise BadMedia(f"{path}: holds no video that can be decoded")
    for number in numbers:
        look = _first_look(path, number)
        gc.collect()  # containers and streams refer to each other, and keep their decoders' memory
        if look is not None:
            return look
    raise BadMedia(f"{path}: no picture in it can be decoded")


def _first_look(path: str | Path, number: int) -> ClipLook | None:
    """How stream `number` is shown, by its first picture."""
    with opened(path) as container:
        stream: Any = container.streams[number]
        shown = next(pictures(stream, deinterlaced=False), None)
        if shown is None:
            return None
        context = stream.codec_context
        shape = stream.sample_aspect_ratio or context.sample_aspect_ratio or 1
        return ClipLook(number, Fraction(shape), orientation_of(shown.frame), shown.time, shown.frame.width,
                        shown.frame.height, int(context.color_trc), int(context.color_primaries))


def pictures(stream: Any, *, deinterlaced: bool = True) -> Iterator[Shown]:
    """The pictures that a player shows of `stream`, from where its container stands. Those that cannot be decoded
    are left out.

    Raises:
        BadMedia: its pictures are larger than 8K.
    """
    rate = stream.average_rate or 0
    usual = 1 / Fraction(rate if RATES[0] <= rate <= RATES[1] else USUAL_RATE)
    decoder = _decoder(stream)
    weaver = _Deinterlacer()
    end = Fraction(0)
    for packet in stream.container.demux(stream):
        size = stream.codec_context.width * stream.codec_context.height
        if size > LARGEST_PIXELS:
            raise BadMedia(f"{stream.container.name}: has pictures of {stream.codec_context.width}x"
                           f"{stream.codec_context.height}; 8192x4320 are allowed")
        try:
            frames = decoder.decode(packet)
        except LibavError:
            continue
        for frame in frames:
            time = shown_at(frame)
            lasts = (getattr(frame, "duration", 0) or 0) * Fraction(frame.time_base or 0)
            shown = Shown(end if time is None else time, lasts if lasts > 0 else usual, frame)
            end = shown.time + shown.duration
            if deinterlaced:
                yield from weaver.through(shown)
            else:
                yield shown
    yield from weaver.rest()


def _decoder(stream: Any) -> Any:
    """The stream's decoder, or one that keeps the alpha channel, if there is one and the stream has it."""
    name = ALPHA_DECODERS.get(stream.codec_context.name)
    if name is None or stream.metadata.get("alpha_mode") != "1" or name not in av.codecs_available:
        return stream.codec_context
    return av.CodecContext.create(name, "r")


class _Deinterlacer:
    """Passes progressive pictures on as they are, and makes one whole picture of the two fields of an interlaced one.

    It begins with the first interlaced picture, and from then on holds each picture until the next one comes.
    """

    def __init__(self) -> None:
        self._graph: Graph | None = None
        self._form: tuple[int, int, str] | None = None
        self._held: deque[tuple[Fraction, Fraction]] = deque()  # time and duration of what is in the graph

    def through(self, shown: Shown) -> Iterator[Shown]:
        """Take a picture; yields those that are ready."""
        frame = shown.frame
        form = frame.width, frame.height, frame.format.name
        if self._graph is not None and form != self._form:
            yield from self.rest()
        if self._graph is None:
            if not frame.interlaced_frame:
                yield shown
                return
            self._graph, self._form = self._begun(frame), form
        self._held.append((shown.time, shown.duration))
        self._graph.push(frame)
        yield from self._ready()

    def rest(self) -> Iterator[Shown]:
        """Those that are still held."""
        if self._graph is not None:
            self._graph.push(None)
            yield from self._ready()
        self._graph = None
        self._held.clear()

    @staticmethod
    def _begun(frame: VideoFrame) -> Graph:
        graph = Graph()
        source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format,
                                  time_base=Fraction(frame.time_base or 1))
        graph.link_nodes(source, graph.add("bwdif", mode="send_frame", deint="interlaced"), graph.add("buffersink"))
        graph.configure()
        return graph

    def _ready(self) -> Iterator[Shown]:
        while self._graph is not None and self._held:
            try:
                frame: Any = self._graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            yield Shown(*self._held.popleft(), frame)
