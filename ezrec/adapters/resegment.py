"""Segments of a film: the video of a clip from elsewhere, cut into closed MPEG-TS files as a lane writes them.

H.264 in order of showing is copied as it is, at the speed of the disk. Anything else (pictures in another order,
another codec) is encoded anew, at a quality that nobody sees.
"""

from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import av
from av.bitstream import BitStreamFilterContext

from ezrec.adapters.segments import TsFile
from ezrec.domain.clock import SECOND
from ezrec.domain.errors import BadMedia
from ezrec.files import remove
from ezrec.media.probe import video_of
from ezrec.pyav import LibavError, opened

_Picture = tuple[bytes, int, bool]  # as H.264 with its headers; µs from the clip's own zero; whether it is a key frame

US = Fraction(1, SECOND)
RATE = Fraction(30)  # of a clip that tells none
ENCODER = {"preset": "ultrafast", "tune": "zerolatency", "crf": "18"}


class _NotCopied(Exception):
    """The clip's pictures cannot be taken as they are."""


def segments_of(clip: Path, folder: Path, start_us: int, segment_us: int) -> list[Path]:
    """Cut the video of `clip` into segments in `folder`, whose names count from `start_us`; all are durable.

    What comes behind a fault in the clip is left out. The folder two above `folder` must be there.

    Raises:
        BadMedia: there is no picture in it.
        OSError: the disk is full, or fails.
    """
    for way in (_copied, _encoded):
        made: list[Path] = []
        try:
            _cut(way(clip), folder, start_us, segment_us, _rate(clip), made)
        except _NotCopied:
            remove(*made)
            continue
        if made:
            return made
        raise BadMedia(f"{clip}: holds no picture that can be decoded")
    raise BadMedia(f"{clip}: its pictures come in no order")


def _cut(pictures: Iterator[_Picture], folder: Path, start_us: int, segment_us: int, rate: Fraction,
         made: list[Path]) -> None:
    """Write the pictures; the segments' files are put into `made` as they are begun."""
    first = next((one for one in pictures if one[2]), None)  # what comes before a key frame cannot be shown
    if first is None:
        return
    file: TsFile | None = None
    try:
        for data, us, key in chain([first], pictures):
            at = start_us + us - first[1]
            if file is None or (key and at - file.start_us >= segment_us):
                if file:
                    ended, file = file, None
                    ended.seal()
                file = TsFile(folder, at, rate)
                made.append(file.path)
            if not file.write(data, at, key=key):
                raise _NotCopied
    finally:
        if file:
            file.seal()


def _rate(clip: Path) -> Fraction:
    with opened(clip) as container:
        return Fraction(video_of(container, clip).average_rate or RATE)


def _copied(clip: Path) -> Iterator[_Picture]:
    with opened(clip) as container:
        stream = video_of(container, clip)
        if stream.codec_context.name != "h264":
            raise _NotCopied
        headers = BitStreamFilterContext("h264_mp4toannexb", stream)
        with suppress(LibavError):  # what is behind a fault is left out
            for packet in container.demux(stream):
                if packet.size and packet.pts is not None:
                    for one in headers.filter(packet):
                        yield bytes(one), _us(one.pts, stream.time_base), bool(one.is_keyframe)


def _encoded(clip: Path) -> Iterator[_Picture]:
    with opened(clip) as container:
        stream = video_of(container, clip)
        rate = Fraction(stream.average_rate or RATE)
        encoder: Any = av.CodecContext.create("libx264", "w")
        last = -1
        with suppress(LibavError):
            for frame in container.decode(stream):
                if frame.pts is None or (us := _us(frame.pts, stream.time_base)) <= last:
                    continue
                last = us
                if not encoder.is_open:
                    encoder.width, encoder.height = frame.width // 2 * 2, frame.height // 2 * 2
                    encoder.pix_fmt, encoder.options, encoder.framerate = "yuv420p", ENCODER, rate
                    encoder.time_base, encoder.gop_size = US, max(1, round(rate))
                even = frame.reformat(encoder.width, encoder.height, "yuv420p")
                even.pts, even.time_base = us, US
                for packet in encoder.encode(even):
                    yield bytes(packet), _us(packet.pts, US), bool(packet.is_keyframe)
        if encoder.is_open:
            for packet in encoder.encode(None):
                yield bytes(packet), _us(packet.pts, US), bool(packet.is_keyframe)


def _us(pts: int | None, base: Fraction | None) -> int:
    """A time stamp in µs. Packets of older PyAV do not know their base: it is that of what they come from."""
    return round((pts or 0) * (base or US) * SECOND)
