"""Join chunks to one film by stream copy, while it is being uploaded.

The film is an MP4 with a reserve in front. While chunks are added nothing behind the reserve ever changes. Closing
writes the index into the reserve and nothing behind the index, so that what it leaves empty can be stored before, too.
The same chunks give the same bytes, so that a film whose joiner died is made again and its upload goes on. A reserve
that is too small would ruin the front of the film on closing, and the file would still open: hence the size of the
index is calculated while the film grows, and checked before it is closed.

The SHA-256 of each of the film's parts is taken of the bytes as they are written, and a chunk's before it is joined:
what a disk makes of them later is found out.

Limits: one thread at a time; the intro, if the recipe has one, is added first.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import OutputContainer

from ezrec.domain.errors import BadMedia, ChunkDamaged, IndexOutgrown
from ezrec.domain.film import EncoderOptions, Recipe
from ezrec.files import fsync_file, fsync_folder
from ezrec.media.decode import READING
from ezrec.media.encode import MUXER
from ezrec.media.hashing import HashingFile, sha256_of
from ezrec.media.probe import FilmFacts, film_facts, video_of
from ezrec.pyav import LibavError, copied_stream, forget, opened, translated

FRONT = 64  # bytes: the boxes around the index (ftyp 32, an empty box 8, mdat's header 8), rounded up
RUN = 1 << 20  # bytes: libavformat's mov muxer puts neighbouring samples into one MP4 chunk up to this size
SPARE = 64  # bytes: an empty box behind the index, for who writes a title into it later
FIXED = 1616 + SPARE  # bytes: movie, track, media and sample description boxes of two tracks, no parameter sets
HEADERS = 16  # bytes: the empty box and mdat's header, which libavformat puts before the first picture
SOUND_S = 120  # s of intro sound that a reserve has room for


def index_growth(ticks: int, encoder: EncoderOptions, media_bytes: int) -> int:
    """By how many bytes the index of a film grows with so many ticks, at most.

    A tick takes 4 bytes for its size, 8 for its place in showing order if there are B-frames, and up to 4 as a key
    frame: with B-frames one in two at most. `media_bytes` is the size of the pictures at the encoder's limit; each MP4
    chunk of them takes 20 bytes. There may be twice as many as full ones would be.
    """
    each = 4 + (8 if encoder.bframes else 0) + 4
    return ticks * each + 2 * 20 * media_bytes // RUN


def index_reserve(ticks_booked: int, encoder: EncoderOptions, sound: bool, media_bytes: int = 0) -> int:
    """How many bytes to keep in front of a film of `ticks_booked` ticks: enough for one twice as long.

    `media_bytes` is the size of all pictures of the longer one at the encoder's limit.
    """
    voice = SOUND_S * 48_000 // 1024 * 24 if sound else 0
    return (index_growth(2 * ticks_booked, encoder, media_bytes) + voice + FIXED + 65536) // 4096 * 4096


@dataclass
class _Track:
    """What its sample tables in the index grow with, counted for one track (ISO/IEC 14496-12, 8.6 and 8.7)."""

    samples: int = 0
    keys: int = 0
    runs: int = 0  # of equal distances between decoding and showing
    chunks: int = 0
    disposable: bool = False  # then libavformat writes a byte more for each sample
    _distance: int | None = None
    _size: int = 0

    def take(self, size: int, key: bool, distance: int, follows: bool) -> None:
        """Count one sample; `follows` says that the one before it in the file is of this track, too."""
        self.samples += 1
        self.keys += key
        self.runs += distance != self._distance
        self._distance = distance
        if follows and self.chunks and self._size + size < RUN:
            self._size += size
        else:
            self.chunks += 1
            self._size = size

    def bytes(self, offset_bytes: int) -> int:
        """Upper bound of the track's tables; chunk offsets take 4 or 8 bytes."""
        return (
            4 * self.samples
            + 8 * self.runs
            + 4 * self.keys
            + (12 + offset_bytes) * self.chunks
            + (self.samples if self.disposable else 0)
        )


@dataclass
class _Chunk:
    """A chunk file as read: its packets in the order of the file, checked."""

    packets: list[Any] = field(default_factory=list)
    ticks: dict[int, int] = field(default_factory=dict)  # a video packet's pts → its tick in the chunk


class Joiner:
    """One film that grows. `add` and `close` block on the disk: call them from a thread of the film's own."""

    def __init__(self, path: str | Path, recipe: Recipe) -> None:
        self._path = Path(path)
        self._recipe = recipe
        self._container: OutputContainer | None = None
        self._file: HashingFile | None = None
        self._streams: dict[str, Any] = {}
        self._extradata: bytes | None = None
        self._ticks = 0
        self._tracks = {"video": _Track(), "audio": _Track()}
        self._before = ""  # the kind of the packet added last
        self._whole = 0  # the film's length behind its newest whole chunk, in bytes

    @property
    def ticks(self) -> int:
        """The film's length so far."""
        return self._ticks

    @property
    def grown(self) -> int:
        """The film's length in bytes up to the end of its newest whole chunk.

        From `recipe.index_reserve` up to here nothing will change any more: what is in the file of a chunk that is
        being added may still turn out to be other bytes.
        """
        return self._whole

    @property
    def sums(self) -> Mapping[int, str]:
        """Part number → SHA-256, of the parts that are final; while the film grows always the same mapping.

        All parts that end within `grown` and lie behind the reserve are in it, and once the film is closed all others.
        """
        return self._file.sums if self._file is not None else {}

    def index_bytes(self) -> int:
        """Upper bound of the index as it would be written now, in bytes."""
        far = self.grown > 0xFFFF_FFFF
        tables = sum(track.bytes(8 if far else 4) for track in self._tracks.values())
        return FRONT + FIXED + 2 * len(self._extradata or b"") + tables

    def add(self, chunk: str | Path, ticks: int, sha256: str = "") -> None:
        """Append a chunk (the intro first) that must hold just `ticks` pictures; nothing is written if it does not.

        `sha256` is that of the chunk's file as it was rendered, if it is known.

        Raises:
            ChunkDamaged: it is not the chunk that was asked for, or comes from other encoder options than the first.
            BadMedia: it cannot be joined; half of it may have been.
            OSError: the disk is full.
        """
        sound = False
        try:
            if sha256:
                _compare(Path(chunk), sha256)
            with opened(chunk, READING) as source:
                video = video_of(source, chunk)
                self._check(chunk, video)
                audio = source.streams.audio[0] if self._voiced() and source.streams.audio else None
                read = _read(source, [video] if audio is None else [video, audio], chunk, ticks)
                sound = True
                if self._container is None:
                    self._begin(video, audio)
                self._append(read)
        except BadMedia as error:
            if sound:
                raise
            raise ChunkDamaged(str(error)) from error
        self._ticks += ticks
        self._whole = self._file.end if self._file is not None else 0

    def close(self) -> FilmFacts:
        """Write the index, make the film durable and look at it once more.

        Raises:
            IndexOutgrown: the index would not fit; nothing was written, `discard` is what is left to do.
            BadMedia: the closed film is not what was joined.
        """
        if self._container is None:
            raise BadMedia(f"{self._path}: nothing has been joined")
        if self.index_bytes() > self._recipe.index_reserve:
            raise IndexOutgrown(
                f"{self._path}: its index takes up to {self.index_bytes()} bytes, "
                f"but {self._recipe.index_reserve} are reserved"
            )
        container, self._container = self._container, None
        file: Any = self._file
        index_at = int.from_bytes(file.front(0, 4))  # behind ftyp
        headers_at = index_at + self._recipe.index_reserve - FRONT
        headers = file.front(headers_at, HEADERS)
        try:
            container.close()
        except LibavError as error:
            raise translated(error, self._path, "cannot be joined") from error
        _begin_media_behind_index(file, index_at, headers_at, headers)
        file.finish()
        fsync_file(self._path)
        fsync_folder(self._path.parent)
        facts = film_facts(self._path)
        if facts.frames != self._ticks:
            raise BadMedia(f"{self._path}: holds {facts.frames} pictures in place of {self._ticks}")
        return facts

    def discard(self) -> None:
        """Give the film up and remove its file. Harmless if nothing was joined or it was discarded before."""
        self._whole = 0
        if self._file is not None:
            self._file.drop()
        container, self._container = self._container, None
        if container is not None:
            forget(container)
        self._path.unlink(missing_ok=True)  # last: a disk that fails here leaves nothing behind but the file

    def _voiced(self) -> bool:
        return self._ticks == 0 and self._recipe.intro is not None and self._recipe.intro.sound

    def _check(self, chunk: str | Path, video: Any) -> None:
        context, canvas = video.codec_context, self._recipe.canvas
        if (context.width, context.height) != (canvas.width, canvas.height):
            raise BadMedia(f"{chunk}: is {context.width}x{context.height}, the film {canvas.width}x{canvas.height}")
        if self._extradata is not None and self._extradata != context.extradata:
            raise BadMedia(f"{chunk}: was encoded with other options than the film")

    def _begin(self, video: Any, audio: Any) -> None:
        options = MUXER | {
            "moov_size": str(self._recipe.index_reserve - FRONT),
            "flush_packets": "1",
            "max_interleave_delta": "1",  # or the picture is held back for 10 s once the intro's sound has ended
        }
        self._file = HashingFile(self._path, self._recipe.part_size, self._recipe.index_reserve)
        self._container = av.open(self._file, "w", format="mp4", options=options)
        self._extradata = bytes(video.codec_context.extradata or b"")
        self._streams = {"video": copied_stream(self._container, video)}
        if audio is not None:
            self._streams["audio"] = copied_stream(self._container, audio)

    def _append(self, chunk: _Chunk) -> None:
        base = 1 / Fraction(self._recipe.rate)
        for packet in chunk.packets:
            kind = packet.stream.type
            key = bool(packet.is_keyframe)
            if kind == "video":
                packet.pts = self._ticks + chunk.ticks[packet.pts]
                packet.dts = self._tracks["video"].samples - self._recipe.encoder.reorder
                packet.duration = 1
                packet.time_base = base
            track = self._tracks[kind]
            track.disposable |= bool(packet.is_disposable)
            track.take(packet.size, key and kind == "video", packet.pts - packet.dts, self._before == kind)
            self._before = kind
            packet.stream = self._streams[kind]
            try:
                self._container.mux_one(packet)  # type: ignore[union-attr]  # opened by `_begin`
            except LibavError as error:
                raise translated(error, self._path, "cannot be joined") from error


def _begin_media_behind_index(file: HashingFile, index_at: int, headers_at: int, headers: bytes) -> None:
    """Let mdat begin where the index ends, `SPARE` behind it, and leave the `headers` before the first picture alone.

    They hold mdat's length, which is known last of all, and lie in a part that may be stored already. That mdat has
    more in it than pictures is nothing to a player: the index says where each of them is.
    """
    end = index_at + int.from_bytes(file.front(index_at, 4))
    file.seek(end)
    file.write(struct.pack(f">I4s{SPARE - 8}xI4sQ", SPARE, b"free", 1, b"mdat", file.end - end - SPARE))
    file.seek(headers_at)
    file.write(headers)


def _compare(chunk: Path, sha256: str) -> None:
    """A chunk that lay on the disk must be what was rendered. Raises BadMedia: it is not, or cannot be read."""
    try:
        found = sha256_of(chunk)
    except OSError as error:
        raise BadMedia(f"{chunk}: cannot be read ({error.strerror})") from error
    if found != sha256:
        raise BadMedia(f"{chunk}: was damaged on the disk, it is not what was rendered")


def _read(source: Any, streams: Sequence[Any], chunk: str | Path, ticks: int) -> _Chunk:
    """The chunk's packets, after a look at their number, order and first picture."""
    read = _Chunk([packet for packet in source.demux(*streams) if packet.size])
    pictures = [packet for packet in read.packets if packet.stream.type == "video"]
    if len(pictures) != ticks:
        raise BadMedia(f"{chunk}: holds {len(pictures)} pictures in place of {ticks}")
    if not pictures or not pictures[0].is_keyframe:
        raise BadMedia(f"{chunk}: does not begin with a key frame")
    shown = sorted({packet.pts for packet in pictures})
    if len(shown) != ticks or shown[0] != pictures[0].pts:
        raise BadMedia(f"{chunk}: its pictures are not in order")
    read.ticks = {pts: tick for tick, pts in enumerate(shown)}
    return read
