"""Segments: a few seconds of one camera, each a closed MPEG-TS file, written by a thread of the camera's own.

A camera's thread puts frames on a queue that is bounded in bytes and never waits; the writer thread muxes them. The
muxer writes into memory and each whole frame then goes to the file in one piece, so a full disk can be cut back to the
last whole frame. A file's time stamps count from its start, which its name carries in run-monotonic µs.

What is promised: a `Sealed` is handed out only for a closed file that is fsynced, with its folder. Before that the
footage is taken to the disk once a second, beside the writing (`syncing`): a disk that takes long costs no frame. What
a crash leaves behind without a row is for `adoption.adopt`.
"""

import errno
import os
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import av.error
import structlog

from ezrec.adapters.cameras import Frame, seen_us
from ezrec.adapters.syncing import PATIENCE_S, SYNC_US, FileSyncs, SyncPace
from ezrec.domain.clock import SECOND, Clock
from ezrec.domain.errors import SegmentFailed
from ezrec.domain.timeline import HOLD_US, Interval, Segment
from ezrec.files import all_soon, fsync_folder, make_folders

log = structlog.get_logger(task="recording")

TICKS = Fraction(90_000, SECOND)  # of the clock of MPEG-TS, per µs (ISO/IEC 13818-1, 2.4.3.7)

PAUSE_S = 0.5
"""How long the writer leaves a disk alone that has just failed, in seconds."""


@dataclass(frozen=True)
class Sealed:
    """A segment as its row will tell it: a closed, fsynced file. Times are run-monotonic µs."""

    camera: str
    run: int
    start_us: int
    end_us: int  # the last frame's time and one frame more
    frames: int
    dropped: int  # frames missing inside, as the sensor times tell; those of `gaps` are not counted
    bytes: int
    path: Path
    gaps: tuple[Interval, ...] = ()  # [from, to): HOLD_US or more without a frame

    def row(self, below: Path) -> Segment:
        """The segment with its path told from the data folder `below`."""
        return Segment(self.camera, self.run, self.start_us, self.end_us, self.frames, self.dropped, self.bytes,
                       self.path.relative_to(below).as_posix(), self.gaps)


@dataclass(frozen=True)
class Counters:
    """What a writer has done since it was made."""

    frames: int = 0  # written
    dropped: int = 0  # missing in sealed segments, as the sensor times tell
    overflowed: int = 0  # thrown away because the queue was full
    discarded: int = 0  # thrown away: no key frame before, no time, none after the last one, a disk error, or the end
    failures: int = 0
    segments: int = 0  # sealed
    queue_bytes: int = 0  # waiting now
    late_max_us: int = 0  # the longest time from the sensor to the file


class Tally:
    """Counts the frames of one segment, and what is missing between them."""

    def __init__(self, rate: Fraction) -> None:
        """Start with nothing; `rate` in frames per second tells what is missing."""
        self._period = SECOND / rate
        self.frames = 0
        self.dropped = 0
        self.gaps: list[Interval] = []
        self.last_us = 0

    def add(self, us: int) -> None:
        """Count a frame seen at `us`, which must be after the one before."""
        delta = us - self.last_us
        if self.frames and delta >= HOLD_US:
            self.gaps.append((self.end_us, us))
        elif self.frames and delta > self._period * 3 / 2:
            self.dropped += round(delta / self._period) - 1
        self.frames += 1
        self.last_us = us

    @property
    def end_us(self) -> int:
        """When the last frame's time is over."""
        return self.last_us + round(self._period)


class _Memory:
    """What the muxer writes to; it never fails and cannot seek."""

    def __init__(self) -> None:
        self.bytes = bytearray()

    def write(self, data: bytes) -> int:
        self.bytes += data
        return len(data)


class TsFile:
    """One MPEG-TS file that grows by whole frames. For one thread; another one may `sync` meanwhile."""

    def __init__(self, folder: Path, start_us: int, rate: Fraction) -> None:
        """Make `<folder>/<start_us>.ts`, or the next µs that is free: nothing is overwritten.

        The folder two above `folder` must be there: a disk that was taken away is not written beside. Raises OSError.
        """
        self._memory = _Memory()
        self._muxer = av.open(self._memory, "w", format="mpegts", options={"flush_packets": "1"})
        if hasattr(self._muxer, "add_mux_stream"):  # newer PyAV only
            self._stream = self._muxer.add_mux_stream("h264", rate=rate)
        else:  # an encoder that is never fed: 16 pixels square costs about 2 ms
            self._stream = self._muxer.add_stream("libx264", rate=rate, options={"preset": "ultrafast"})
            self._stream.width = self._stream.height = 16
            self._stream.pix_fmt = "yuv420p"
            self._stream.codec_context.thread_count = 1
        self._names = [folder]  # the folders that must be synced for the file to be found
        while True:
            if not folder.is_dir():
                make_folders(folder, below=folder.parent.parent, durable=False)
                self._names = [folder.parent.parent, folder.parent, folder]
            self.path = folder / f"{start_us}.ts"
            try:
                self._handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
                break
            except FileExistsError:
                start_us += 1
            except FileNotFoundError:  # clean-up has just taken the empty folder away
                continue
        self.start_us = start_us
        self.size = 0  # bytes of whole frames
        self._tick = -1
        self._doubtful = False  # a failed sync may have lost pages, and the next one would not say so

    def write(self, data: bytes, us: int, *, key: bool) -> bool:
        """Add a frame seen at `us`; False if that is no later than the one before on the file's clock (90 kHz).

        Raises:
            OSError: the disk refused; the file ends behind the frame before and may still be sealed.
        """
        tick = max(0, round((us - self.start_us) * TICKS))
        if tick <= self._tick:
            return False
        packet = av.Packet(data)
        packet.stream = self._stream
        packet.time_base = 1 / TICKS / SECOND
        packet.pts = packet.dts = tick
        packet.is_keyframe = key
        self._muxer.mux(packet)
        self._tick = tick
        self._spill()
        return True

    def sync(self) -> None:
        """Take everything written to the disk. Raises OSError."""
        try:
            all_soon(partial(os.fdatasync, self._handle), *self._naming())
            self._names = []
        except OSError:
            self._doubtful = True
            raise

    def _naming(self) -> list[Callable[[], None]]:
        """What makes the file's name durable, if it is not yet."""
        return [partial(fsync_folder, folder) for folder in self._names]

    def seal(self, sync_is_over: Callable[[], object] = lambda: None) -> int:
        """Close the file for good, with its folder's entry; its length in bytes.

        `sync_is_over` waits for a sync that is under way.

        Raises:
            OSError: it may not be durable; it stays as it is, closed.
        """
        names = self._naming()
        try:
            self._muxer.close()
            self._spill()
            all_soon(*names[:-1], partial(os.fsync, self._handle), *names[-1:])
        finally:
            sync_is_over()
            os.close(self._handle)
        if self._doubtful:
            raise OSError(errno.EIO, "an earlier sync failed", str(self.path))
        return self.size

    def discard(self) -> None:
        """Close and remove the file. Raises OSError."""
        self._muxer.close()
        os.close(self._handle)
        self.path.unlink(missing_ok=True)

    def _spill(self) -> None:
        """Write what the muxer made, all or nothing."""
        rest = memoryview(bytes(self._memory.bytes))
        self._memory.bytes.clear()
        length = len(rest)
        try:
            while rest:
                rest = rest[os.write(self._handle, rest):]
        except OSError:
            self._doubtful = True  # unless the torn frame can be cut off
            os.ftruncate(self._handle, self.size)
            os.lseek(self._handle, self.size, os.SEEK_SET)
            self._doubtful = False
            raise
        self.size += length


class _OpenSegment:
    """The segment that is being written."""

    def __init__(self, file: TsFile, rate: Fraction, syncs: FileSyncs) -> None:
        self.file = file
        self.tally = Tally(rate)
        self.syncs = syncs

    def words(self, camera: str, run: int) -> dict[str, object]:
        """What the log says of it."""
        return {"camera": camera, "run": run, "start_us": self.file.start_us}

    def sealed(self, camera: str, run: int) -> Sealed:
        """What is handed out of it."""
        tally, file = self.tally, self.file
        return Sealed(camera, run, file.start_us, tally.end_us, tally.frames, tally.dropped, file.size, file.path,
                      tuple(tally.gaps))


class _Flush:
    """An order on the queue: seal what is there."""

    def __init__(self) -> None:
        self.done = threading.Event()


class SegmentWriter:
    """Writes one camera's frames of one run into segments."""

    def __init__(self, folder: Path, camera: str, run: int, *, rate: Fraction, segment_us: int = 4 * SECOND,
                 queue_bytes: int, clock: Clock, sealed: Callable[[Sealed], None], failed: Callable[[Exception], None],
                 pause_s: float = PAUSE_S, pace: SyncPace | None = None) -> None:
        """Start the writer thread.

        Args:
            folder: segments go to `<folder>/<run>/<camera>/<start_us>.ts`; it must be there.
            camera: left or right.
            run: the run's number.
            rate: frames per second that the camera is asked for.
            segment_us: a segment ends at the first key frame at or after this length, µs.
            queue_bytes: what may wait at most, bytes.
            clock: the clock that sensor times lie on.
            sealed: called from the writer thread for each sealed segment; if it raises, the file counts as an orphan.
            failed: called from the writer thread with a `SegmentFailed`; the writer goes on.
            pause_s: how long the disk is left alone after it failed, s.
            pace: told how long each sync takes; one for all writers of a disk.
        """
        self._home = folder / str(run) / camera
        self._camera, self._run, self._rate = camera, run, rate
        self._segment_us, self._room, self._clock = segment_us, queue_bytes, clock
        self._sealed, self._failed, self._pause_s, self._pace = sealed, failed, pause_s, pace or SyncPace()
        self._lock = threading.Condition()  # guards everything down to `_ending`
        self._queue: deque[Frame | _Flush] = deque()
        self._counters = Counters()
        self._skipping = False  # the queue overflowed: nothing is taken before the next key frame
        self._cuts: list[int] = []
        self._held_us: int | None = None  # time of the frame that the writer thread has in its hands
        self._unsealed: list[int] = []  # starts of the segments that are not sealed yet, oldest first
        self._last_us: int | None = None  # newest frame written
        self._ending = False
        self._open: _OpenSegment | None = None  # touched by the writer thread only, as is
        self._closing: _OpenSegment | None = None  # the segment that is being sealed, while the next one is written
        self._thread = threading.Thread(target=self._write_on, name=f"segments-{camera}", daemon=True)
        self._thread.start()

    # --- for the camera and the recorder, from any thread -------------------------------------------------------

    def put(self, frame: Frame) -> None:
        """Take a frame; never waits and never raises. On overflow whole rests of groups of pictures are lost."""
        size = len(frame.data)
        with self._lock:
            if self._ending or seen_us(frame) is None:
                self._count(discarded=1)
                return
            full = self._counters.queue_bytes + size > self._room
            if full or (self._skipping and not frame.key):
                self._skipping = True
                self._count(overflowed=1)
                return
            self._skipping = False
            self._queue.append(frame)
            self._count(queue_bytes=size)
            self._lock.notify()

    def cut_after(self, us: int) -> None:
        """Begin a new segment at the first key frame at or after `us` (run-monotonic µs), however young this one is."""
        with self._lock:
            self._cuts.append(us)

    def flush(self, timeout_s: float) -> bool:
        """Seal what has been put so far; for a camera that stops or is silent. False if `timeout_s` is over first.

        A disk that refuses is told through `failed`, not here.
        """
        order = _Flush()
        with self._lock:
            ending = self._ending
            if not ending:
                self._queue.append(order)
                self._lock.notify()
        return self.close(timeout_s) if ending else order.done.wait(timeout_s)

    def close(self, timeout_s: float) -> bool:
        """Take no more frames, seal what was put, end the thread. False if `timeout_s` is over first."""
        with self._lock:
            self._ending = True
            self._lock.notify()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def pending_from_us(self) -> int | None:
        """Time of the oldest frame that is not in a sealed segment yet, run-monotonic µs; None if there is none."""
        with self._lock:
            if self._unsealed:
                return self._unsealed[0]
            if self._held_us is not None:
                return self._held_us
            return next((_us(item) for item in self._queue if isinstance(item, Frame)), None)

    @property
    def last_frame_us(self) -> int | None:
        """Time of the newest frame written, run-monotonic µs."""
        with self._lock:
            return self._last_us

    @property
    def counters(self) -> Counters:
        """What has been done so far."""
        with self._lock:
            return self._counters

    # --- the writer thread --------------------------------------------------------------------------------------

    def _write_on(self) -> None:
        """The thread's whole life: it ends only when told to, and what breaks is reported."""
        while True:
            item = self._next()
            try:
                if isinstance(item, Frame):
                    self._write(item)
                elif item is None:
                    self._look_at_disk()
                else:
                    self._seal()
                    self._finish_sealing(None)
            except Exception as error:  # noqa: BLE001  # the disk or a bug of ours: it costs frames, not the match
                self._seal()
                self._report(error, None)
            with self._lock:
                self._held_us = None
            if isinstance(item, _Flush):
                item.done.set()
                if self._over():
                    return

    def _over(self) -> bool:
        with self._lock:
            return self._ending and not self._queue

    def _next(self) -> Frame | _Flush | None:
        """The next thing to do; None if a sync has ended, or nothing came for so long that the disk wants one."""
        with self._lock:
            if not self._queue and not self._ending:
                self._lock.wait(SYNC_US / SECOND if self._open or self._closing else None)
            if not self._queue:
                return _Flush() if self._ending else None
            item = self._queue.popleft()
            if isinstance(item, Frame):
                self._held_us = _us(item)
                self._count(queue_bytes=-len(item.data))
            return item

    def _write(self, frame: Frame) -> None:
        """Write one frame, beginning a new segment where one is due."""
        us = _us(frame)
        late = self._last_us is not None and us <= self._last_us
        if not late and frame.key and self._open is not None and self._is_due(self._open.file.start_us, us):
            self._seal()
        written = False
        try:
            if not late and (frame.key or self._open is not None):
                now = self._open or self._begin(us)
                written = now.file.write(frame.data, us, key=frame.key)
                if written:
                    now.tally.add(us)
        finally:
            late_us = self._clock.mono_us() - us
            with self._lock:
                if written:
                    self._last_us = us
                    self._counters = replace(self._counters, frames=self._counters.frames + 1,
                                             late_max_us=max(late_us, self._counters.late_max_us))
                else:
                    self._count(discarded=1)
        self._look_at_disk()

    def _is_due(self, start_us: int, us: int) -> bool:
        """Whether a key frame at `us` begins a new segment."""
        with self._lock:
            cut = any(start_us < cut <= us for cut in self._cuts)
            self._cuts = [cut for cut in self._cuts if cut > us]
        return cut or us - start_us >= self._segment_us

    def _begin(self, us: int) -> _OpenSegment:
        file = TsFile(self._home, us, self._rate)
        self._open = _OpenSegment(file, self._rate, FileSyncs(file, us, self._clock, self._pace, self._wake))
        with self._lock:
            self._unsealed.append(file.start_us)
        return self._open

    def _wake(self) -> None:
        """From another thread: a sync has ended."""
        with self._lock:
            self._lock.notify()

    def _look_at_disk(self) -> None:
        """Begin the syncs that are due, and take what became of those under way."""
        self._finish_sealing(0)
        if self._open is not None:
            self._open.syncs.look(self._open.tally.last_us)

    def _seal(self) -> None:
        """Begin to close the open segment for good; nothing to do if there is none."""
        self._finish_sealing(None)
        now, self._open = self._open, None
        if now is None:
            return
        self._closing = now
        if now.tally.frames:
            log.debug("sealing segment", **now.words(self._camera, self._run))
            now.syncs.seal()
        self._finish_sealing(PATIENCE_S)

    def _finish_sealing(self, limit_s: float | None) -> None:
        """Hand out the segment that is being sealed once it is, waiting so long at most. What fails is reported."""
        now = self._closing
        if now is None:
            return
        try:
            if not now.tally.frames:
                now.file.discard()
            elif not now.syncs.is_sealed(limit_s):
                return
            else:
                log.debug("segment written", **now.words(self._camera, self._run))
                self._sealed(now.sealed(self._camera, self._run))
                with self._lock:
                    self._count(dropped=now.tally.dropped, segments=1)
        except Exception as error:  # noqa: BLE001  # disk or receiver: the file lies there, and is adopted
            self._report(error, now.file.path)
        self._closing = None
        with self._lock:  # only now: a watermark must not pass a segment whose row is not asked for yet
            self._unsealed.remove(now.file.start_us)

    def _report(self, error: Exception, left: Path | None) -> None:
        """Say that something failed, and leave the disk alone for a while. `left` is a file without a row."""
        known = isinstance(error, OSError | av.error.FFmpegError)
        log.warning("segment failed", camera=self._camera, run=self._run, left=str(left) if left else None,
                    exc_info=None if known else error, reason=str(error))
        failure = SegmentFailed(f"camera {self._camera}: a segment could not be written: {error}", left)
        failure.__cause__ = error
        try:
            self._failed(failure)
        except Exception:  # the report's receiver must not end the writing
            log.exception("segment failure could not be reported", camera=self._camera, run=self._run)
        with self._lock:
            self._count(failures=1)
            self._lock.wait_for(lambda: self._ending, self._pause_s)

    def _count(self, **more: int) -> None:
        """Add to the counters; the lock is held."""
        self._counters = replace(self._counters,
                                 **{name: getattr(self._counters, name) + value for name, value in more.items()})


def _us(frame: Frame) -> int:
    return frame.sensor_ns // 1000
