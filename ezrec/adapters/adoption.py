"""Adoption: what a crash left of a segment becomes a segment again, as far as its frames are whole.

A killed writer leaves a file whose last frame may be cut, and a power cut may take more from its end, or put zeros
there. Two sieves find the last whole frame: the file is read up to the first packet that does not belong to the
stream, and is decoded from its start up to the first frame that is marked corrupt (a cut frame decodes without an
exception into garbage with that mark). The file itself is not changed: the row's end says how far to trust it.
"""

import io
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import av
import av.error
import numpy as np

from ezrec.adapters.segments import Sealed, Tally
from ezrec.domain.clock import SECOND
from ezrec.domain.errors import RetryError
from ezrec.files import fsync_file, fsync_folder

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

LARGEST = 400 << 20
"""Bytes; the longest segment of the best picture that can be set is smaller, and a file is read into memory."""

PACKET = 188  # bytes of a packet of MPEG-TS
OPENING = 8  # packets in which every table and the video of a file of ours have shown up

FEWEST = 9
"""From so many frames on, a file's own rate is believed rather than the one that the camera is asked for."""


def adopt(path: Path, rate: Fraction, *, may_be_torn: bool = True) -> Sealed | None:
    """What the row of an orphan `<run>/<camera>/<start_us>.ts` should say; None if it holds nothing usable.

    Args:
        path: the file; it and its folder are fsynced before this returns a segment.
        rate: frames per second that the camera was asked for; the file's frames are believed if they tell another.
        may_be_torn: a crash may have cut it while it was written, so its frames are decoded to find the last whole
            one. A file that was followed by another one was closed: reading its packets is enough, and 50 times faster.

    Raises:
        RetryError: the file cannot be read or synced now.
    """
    try:
        run, start_us = int(path.parent.parent.name), int(path.stem)
    except ValueError:
        return None
    try:
        if path.stat().st_size > LARGEST:
            return None
        times = [start_us + us for us in _whole_frames(path, decode=may_be_torn)]
        if not times:
            return None
        fsync_file(path)
        fsync_folder(path.parent)
        size = path.stat().st_size
    except OSError as error:
        raise RetryError(f"{path} cannot be adopted now: {error}") from error
    tally = Tally(_measured_rate(times, rate))
    for us in times:
        tally.add(us)
    return Sealed(path.parent.name, run, start_us, tally.end_us, tally.frames, tally.dropped, size, path,
                  tuple(tally.gaps))


def _whole_frames(path: Path, *, decode: bool) -> Iterator[int]:
    """Times in µs from the file's start of the frames before the first one that is doubtful, in order."""
    try:
        with av.open(io.BytesIO(_sound_part(path.read_bytes())), "r", format="mpegts") as container:
            if not container.streams.video:
                return
            stream = container.streams.video[0]
            # one thread: with several, an error may be told with a later frame
            stream.thread_type = "SLICE"
            stream.codec_context.thread_count = 1
            base = stream.time_base or Fraction(1, 90_000)
            last = -1
            for frame in _decode(container, stream) if decode else _packets(container, stream):
                if frame.is_corrupt or frame.pts is None:
                    return
                us = round(frame.pts * base * SECOND)
                if us <= last:
                    return
                last = us
                yield us
    except av.error.FFmpegError as error:
        if isinstance(error, OSError):  # the disk's, not what the kill left
            raise


def _sound_part(data: bytes) -> bytes:
    """The beginning of an MPEG-TS file up to the first packet that is not the stream's next (ISO/IEC 13818-1, 2.4.3.2).

    Without it, some garbage behind a cut decodes as a picture without an error. The packet before goes as well: its
    head may be genuine and its end garbage.
    """
    packets = np.frombuffer(data, np.uint8, len(data) // PACKET * PACKET).reshape(-1, PACKET)
    heads = packets[:, :4].astype(np.int32)
    streams = (heads[:, 1] & 0x1F) << 8 | heads[:, 2]
    bad = (heads[:, 0] != 0x47) | (heads[:, 1] & 0x80 != 0) | ~np.isin(streams, streams[:OPENING])
    for stream in np.unique(streams[:OPENING]):
        places = np.flatnonzero((streams == stream) & (heads[:, 3] & 0x10 != 0))  # only packets with content count
        jumps = np.diff(heads[places, 3] & 0x0F) % 16 != 1
        bad[places[1:][jumps]] = True
    sound = max(0, int(np.argmax(bad)) - 1) if bad.any() else len(packets)
    return data[:sound * PACKET]


def _packets(container: "InputContainer", stream: "VideoStream") -> Iterator[Any]:
    """The packets that hold a picture."""
    return (packet for packet in container.demux(stream) if packet.size)


def _decode(container: "InputContainer", stream: "VideoStream") -> Iterator[av.VideoFrame]:
    """The frames of the packets before the first corrupt one."""
    for packet in container.demux(stream):
        if packet.is_corrupt:
            yield from stream.codec_context.decode(None)  # frames that the decoder still holds are whole
            return
        yield from packet.decode()


def _measured_rate(times: Sequence[int], rate: Fraction) -> Fraction:
    """The rate that the frames tell by their usual distance, if it is not about the one asked for."""
    if len(times) < FEWEST:
        return rate
    usual = median(after - before for before, after in pairwise(times))
    measured = SECOND / Fraction(usual)
    return rate if abs(measured - rate) < rate / 10 else measured

