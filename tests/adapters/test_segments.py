"""Segments: what is handed out as sealed is whole and durable; what goes wrong costs as little as possible."""

import errno
import os
import threading
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ezrec.adapters import segments
from ezrec.adapters.cameras import Frame
from ezrec.adapters.cameras.synthetic.court import CourtView, counter_at, due_us, read_counter
from ezrec.adapters.cameras.synthetic.encoder import H264Encoder, new_picture
from ezrec.adapters.segments import Sealed, SegmentWriter, Tally, TsFile
from ezrec.config.sections import RecorderSettings
from ezrec.domain.errors import SegmentFailed
from ezrec.pyav import Planes, planes_of

LIMIT_S = 10.0
RATE = Fraction(30)
GROUP = 10  # frames from one key frame to the next
FIRST = 30_000  # the index of the first frame: 1000 s
NO_LIMIT = 1 << 30


class Hand:
    """A clock that is set by hand."""

    us = 0

    def mono_us(self) -> int:
        return self.us

    def wall_us(self) -> int:
        return self.us


def until(condition: Callable[[], bool]) -> None:
    """Wait until `condition` is true, with a limit."""
    late = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < late, "it never came true"
        threading.Event().wait(0.005)


@pytest.fixture(scope="module")
def footage() -> list[Frame]:
    """Four seconds of court; the frames' indices begin with FIRST."""
    view, picture = CourtView((320, 180), "left", 0.1), new_picture((320, 180))
    planes: Planes = planes_of(picture)
    view.paint(planes)
    encoder = H264Encoder((320, 180), RATE, 1_000_000, GROUP / 30)
    frames = []
    for index in range(FIRST, FIRST + 120):
        view.draw(planes, due_us(index, RATE), counter_at(index))
        frames += encoder.encode(picture, due_us(index, RATE))
    return frames


class Rig:
    """A writer, what it handed out, and what it complained of."""

    def __init__(self, folder: Path, **more: object) -> None:
        self.sealed: list[Sealed] = []
        self.failed: list[Exception] = []
        options = {"rate": RATE, "segment_us": 1_000_000, "queue_bytes": NO_LIMIT, "clock": Hand(),
                   "sealed": self.sealed.append, "failed": self.failed.append, "pause_s": 0.01} | more
        self.writer = SegmentWriter(folder, "left", 7, **options)  # type: ignore[arg-type]

    def put(self, frames: list[Frame]) -> "Rig":
        for frame in frames:
            self.writer.put(frame)
        return self

    def written(self) -> "Rig":
        """Wait until the queue is empty and the last frame dealt with."""
        until(lambda: self.writer._queue == type(self.writer._queue)() and self.writer._held_us is None)
        return self


@pytest.fixture
def rig(tmp_path: Path):
    made = Rig(tmp_path)
    yield made
    assert made.writer.close(LIMIT_S)


def us(frame: Frame) -> int:
    return frame.sensor_ns // 1000


def shown(path: Path) -> list[tuple[int | None, int]]:
    """Counter and time (run-monotonic µs) of every frame of a segment file."""
    with av.open(str(path)) as container:
        return [(read_counter(planes_of(frame).y, "left"), int(path.stem) + round(frame.pts / 90_000 * 1_000_000))
                for frame in container.decode(video=0)]


def test_segments_are_split_at_key_frames_and_miss_nothing_between_them(rig: Rig, footage: list[Frame]) -> None:
    rig.put(footage)
    assert rig.writer.close(LIMIT_S)
    assert [one.frames for one in rig.sealed] == [30, 30, 30, 30]
    for one, after in zip(rig.sealed, rig.sealed[1:], strict=False):
        assert abs(after.start_us - one.end_us) <= 1
    told = [pair for one in rig.sealed for pair in shown(one.path)]
    assert [counter for counter, _ in told] == list(range(FIRST, FIRST + 120))
    assert all(abs(at - us(frame)) <= 6 for (_, at), frame in zip(told, footage, strict=True))
    assert not rig.failed


def test_a_sealed_segment_tells_where_it_lies_and_what_it_holds(rig: Rig, footage: list[Frame], tmp_path: Path) -> None:
    rig.put(footage[:30])
    assert rig.writer.flush(LIMIT_S)
    [one] = rig.sealed
    assert one.path == tmp_path / "7" / "left" / f"{us(footage[0])}.ts"
    assert (one.camera, one.run, one.start_us, one.dropped, one.gaps) == ("left", 7, us(footage[0]), 0, ())
    assert one.end_us == us(footage[29]) + 33_333
    assert one.bytes == one.path.stat().st_size
    assert one.row(tmp_path).path == f"7/left/{one.start_us}.ts"


def test_a_segment_is_synced_with_its_folder_before_it_is_handed_out(
        tmp_path: Path, footage: list[Frame], monkeypatch: pytest.MonkeyPatch) -> None:
    story: list[str] = []
    fsync = os.fsync

    def spy(handle: int) -> None:
        story.append(Path(f"/proc/self/fd/{handle}").readlink().name)
        fsync(handle)

    monkeypatch.setattr(os, "fsync", spy)
    rig = Rig(tmp_path, sealed=lambda one: story.append("sealed"))
    rig.put(footage[:12])
    assert rig.writer.close(LIMIT_S)
    assert story[-3:] == [f"{us(footage[0])}.ts", "left", "sealed"]
    assert story.index("7") < story.index("left")  # the folders made were made durable as well


def test_footage_is_taken_to_the_disk_once_a_second_of_its_own_time(
        tmp_path: Path, footage: list[Frame], monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", lambda handle: synced.append(rig.writer.counters.frames))
    rig = Rig(tmp_path, segment_us=60_000_000)
    rig.put(footage).written()
    assert rig.writer.close(LIMIT_S)
    assert synced == [31, 61, 91]


def test_footage_is_taken_to_the_disk_once_a_second_of_real_time(
        tmp_path: Path, footage: list[Frame], monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", lambda handle: synced.append(rig.writer.counters.frames))
    clock = Hand()
    rig = Rig(tmp_path, clock=clock)
    rig.put(footage[:3]).written()
    clock.us += 1_000_000
    rig.put(footage[3:4]).written()
    assert rig.writer.close(LIMIT_S)
    assert synced == [4]


def test_a_sync_that_takes_seconds_is_followed_by_the_next_one_a_second_of_footage_later(
        tmp_path: Path, footage: list[Frame], monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    clock = Hand()

    def slow(_: int) -> None:
        synced.append(rig.writer.counters.frames)
        clock.us += 2_000_000

    monkeypatch.setattr(os, "fdatasync", slow)
    rig = Rig(tmp_path, clock=clock, segment_us=60_000_000)
    rig.put(footage).written()
    assert rig.writer.close(LIMIT_S)
    assert synced == [31, 61, 91]


class SlowDisk:
    """A disk that takes a sync and gives it back when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *calls: str) -> None:
        self.under_way = 0
        self.go_on = threading.Event()
        for call in calls:
            monkeypatch.setattr(segments, "os", Os(**{call: self.sync}))

    def sync(self, handle: int) -> None:
        self.under_way += 1
        assert self.go_on.wait(LIMIT_S)


def test_a_sync_costs_no_frame_however_long_it_takes(
        tmp_path: Path, footage: list[Frame], monkeypatch: pytest.MonkeyPatch) -> None:
    rig, disk = Rig(tmp_path, segment_us=60_000_000), SlowDisk(monkeypatch, "fdatasync")
    rig.put(footage)
    until(lambda: rig.writer.counters.frames == 120)
    assert (disk.under_way, rig.writer.counters.queue_bytes) == (1, 0)
    disk.go_on.set()
    assert rig.writer.close(LIMIT_S)
    assert [one.frames for one in rig.sealed] == [120]


def test_the_next_segment_is_written_while_the_last_one_is_being_sealed(
        tmp_path: Path, footage: list[Frame], monkeypatch: pytest.MonkeyPatch) -> None:
    rig, disk = Rig(tmp_path, segment_us=2_000_000), SlowDisk(monkeypatch, "fsync")
    rig.put(footage[:100])
    until(lambda: rig.writer.counters.frames == 100)
    assert disk.under_way == 1
    assert not rig.sealed  # nothing is handed out that may be lost
    assert rig.writer.pending_from_us == us(footage[0])
    assert not rig.writer.flush(0.01)
    disk.go_on.set()
    assert rig.writer.close(LIMIT_S)
    assert [one.frames for one in rig.sealed] == [60, 40]
    assert rig.writer.pending_from_us is None


def test_a_file_stays_open_until_a_sync_of_it_is_over(tmp_path: Path, footage: list[Frame]) -> None:
    """Its number would become another file's meanwhile."""
    file, sizes = TsFile(tmp_path / "7" / "left", us(footage[0]), RATE), []
    assert file.write(footage[0].data, us(footage[0]), key=True)
    assert file.seal(lambda: sizes.append(os.fstat(file._handle).st_size)) == sizes[0]
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(file._handle)


def test_a_segment_is_sealed_beside_a_sync_that_is_under_way_and_handed_out_after_it(
        tmp_path: Path, footage: list[Frame], monkeypatch: pytest.MonkeyPatch) -> None:
    rig, disk = Rig(tmp_path, segment_us=2_000_000), SlowDisk(monkeypatch)
    synced: list[int] = []
    monkeypatch.setattr(segments, "os", Os(fdatasync=disk.sync, fsync=synced.append))
    rig.put(footage[:61])
    until(lambda: len(synced) == 1)
    assert (disk.under_way, rig.sealed) == (1, [])
    disk.go_on.set()
    assert rig.writer.close(LIMIT_S)
    assert [one.frames for one in rig.sealed] == [60, 1]


def test_a_sync_that_fails_while_frames_are_written_costs_the_segment_and_is_told(
        tmp_path: Path, footage: list[Frame], monkeypatch: pytest.MonkeyPatch) -> None:
    rig, disk = Rig(tmp_path, segment_us=60_000_000), SlowDisk(monkeypatch)

    def fail(handle: int) -> None:
        disk.sync(handle)
        refuse(handle)

    monkeypatch.setattr(segments, "os", Os(fdatasync=fail))
    rig.put(footage[:45])
    until(lambda: rig.writer.counters.frames == 45)
    disk.go_on.set()
    until(lambda: len(rig.failed) >= 2)
    assert rig.writer.close(LIMIT_S)
    assert not rig.sealed
    assert rig.failed[0].left is not None  # type: ignore[attr-defined]


def test_the_name_of_a_first_segment_is_durable_after_a_single_slow_sync(
        tmp_path: Path, footage: list[Frame], monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other they would take four times as long, and promise 5 would be lost with a sync of a second."""
    synced: list[str] = []
    together = threading.Barrier(4)

    def slow(handle: int) -> None:
        synced.append(Path(f"/proc/self/fd/{handle}").readlink().name)
        together.wait(LIMIT_S)

    monkeypatch.setattr(os, "fsync", slow)
    monkeypatch.setattr(os, "fdatasync", slow)
    file = TsFile(tmp_path / "7" / "left", us(footage[0]), RATE)
    assert file.write(footage[0].data, us(footage[0]), key=True)
    file.sync()
    assert sorted(synced) == sorted([f"{us(footage[0])}.ts", tmp_path.name, "7", "left"])


@pytest.mark.parametrize("stamp", [float("nan"), None, "soon", -1], ids=str)
def test_a_stamp_that_is_no_time_costs_its_frame_alone(rig: Rig, footage: list[Frame], stamp: object) -> None:
    rig.put([*footage[:5], footage[5]._replace(sensor_ns=stamp), *footage[6:9]])  # type: ignore[arg-type]
    assert rig.writer.flush(LIMIT_S)
    assert [one.frames for one in rig.sealed] == [8]
    assert rig.writer.counters.discarded == 1


def test_frames_before_the_first_key_frame_are_discarded_and_counted(rig: Rig, footage: list[Frame]) -> None:
    rig.put(footage[5:25])
    assert rig.writer.flush(LIMIT_S)
    assert [counter for counter, _ in shown(rig.sealed[0].path)] == list(range(FIRST + 10, FIRST + 25))
    assert rig.writer.counters.discarded == 5


def test_a_frame_that_is_not_after_the_last_one_is_discarded_and_counted(rig: Rig, footage: list[Frame]) -> None:
    rig.put([*footage[:6], footage[5]._replace(data=footage[6].data), footage[4], *footage[6:9]])
    assert rig.writer.flush(LIMIT_S)
    assert [counter for counter, _ in shown(rig.sealed[0].path)] == list(range(FIRST, FIRST + 9))
    assert rig.writer.counters.discarded == 2
    assert rig.writer.counters.frames == 9


def test_footage_that_was_sealed_already_is_not_written_again(rig: Rig, footage: list[Frame]) -> None:
    rig.put(footage[:25])
    assert rig.writer.flush(LIMIT_S)
    rig.put(footage[10:25] + footage[30:33])
    assert rig.writer.flush(LIMIT_S)
    assert [one.start_us for one in rig.sealed] == [us(footage[0]), us(footage[30])]
    assert rig.writer.counters.discarded == 15


def moved(frames: list[Frame], by_us: int) -> list[Frame]:
    return [frame._replace(sensor_ns=frame.sensor_ns + by_us * 1000) for frame in frames]


def test_a_short_hole_is_told_as_drops_and_a_long_one_as_a_gap(rig: Rig, footage: list[Frame]) -> None:
    rig.put(footage[:4] + moved(footage[4:6], 100_000) + moved(footage[6:9], 800_000))
    assert rig.writer.flush(LIMIT_S)
    [one] = rig.sealed
    assert one.dropped == 3
    assert one.gaps == ((us(footage[5]) + 100_000 + 33_333, us(footage[6]) + 800_000),)
    assert rig.writer.counters.dropped == 3


@given(st.lists(st.integers(1, 40), min_size=1, max_size=60), st.integers(0, 8_000))
def test_frames_drops_and_gaps_add_up_to_the_time_they_cover(steps: list[int], jitter_us: int) -> None:
    tally, index, at = Tally(RATE), 0, [0]
    tally.add(0)
    for n, step in enumerate(steps):
        index += step
        at.append(due_us(index, RATE) + (jitter_us if n % 2 else 0))
        tally.add(at[-1])
    in_gaps = sum(round((to - start) * RATE / 1_000_000) for start, to in tally.gaps)
    assert tally.frames + tally.dropped + in_gaps == index + 1
    assert tally.end_us == at[-1] + 33_333


def test_a_cut_splits_a_young_segment_at_the_next_key_frame_and_only_once(rig: Rig, footage: list[Frame]) -> None:
    rig.writer.cut_after(us(footage[12]))
    rig.put(footage[:60])
    assert rig.writer.flush(LIMIT_S)
    assert [one.frames for one in rig.sealed] == [20, 30, 10]


def test_a_cut_before_the_segments_start_splits_nothing(rig: Rig, footage: list[Frame]) -> None:
    rig.writer.cut_after(us(footage[0]) - 1)
    rig.put(footage[:30])
    assert rig.writer.flush(LIMIT_S)
    assert [one.frames for one in rig.sealed] == [30]


def test_pending_tells_the_oldest_frame_that_is_not_in_a_sealed_segment(rig: Rig, footage: list[Frame]) -> None:
    assert rig.writer.pending_from_us is None
    assert rig.writer.last_frame_us is None
    rig.put(footage[:31])
    until(lambda: len(rig.sealed) == 1)
    until(lambda: rig.writer.last_frame_us == us(footage[30]))
    assert rig.writer.pending_from_us == us(footage[30])
    assert rig.writer.flush(LIMIT_S)
    assert rig.writer.pending_from_us is None
    assert rig.writer.last_frame_us == us(footage[30])


def test_pending_stays_until_the_segment_was_handed_out(tmp_path: Path, footage: list[Frame]) -> None:
    pending: list[int | None] = []
    rig = Rig(tmp_path, sealed=lambda one: pending.append(rig.writer.pending_from_us))
    rig.put(footage[:31])
    assert rig.writer.close(LIMIT_S)
    assert pending == [us(footage[0]), us(footage[30])]


def held(tmp_path: Path, **more: object) -> tuple[Rig, threading.Event]:
    """A rig whose writer thread is held up when the first segment is handed out."""
    go_on = threading.Event()
    rig = Rig(tmp_path, **more)
    rig.writer._sealed = lambda one: (rig.sealed.append(one), go_on.wait(LIMIT_S))  # type: ignore[assignment]
    return rig, go_on


def test_a_full_queue_loses_whole_rests_of_groups_and_counts_them(tmp_path: Path, footage: list[Frame]) -> None:
    room = sum(len(frame.data) for frame in footage[31:45]) + 1
    rig, go_on = held(tmp_path, queue_bytes=room)
    for frame in footage[:31]:
        rig.put([frame])
        until(lambda: rig.writer.counters.queue_bytes == 0)
    until(lambda: len(rig.sealed) == 1)
    rig.put(footage[31:47])  # the thread is held: these only fit up to the 45th
    assert rig.writer.counters.queue_bytes <= room
    assert rig.writer.counters.overflowed == 2
    go_on.set()
    rig.written().put(footage[47:60])  # there is room again, but no picture to build on before the 50th
    assert rig.writer.close(LIMIT_S)
    told = [counter for one in rig.sealed for counter, _ in shown(one.path)]
    assert told == [FIRST + n for n in range(60) if not 45 <= n < 50]
    assert rig.writer.counters.overflowed == 5


def test_a_disk_that_stalls_for_two_seconds_costs_no_frame_with_the_queue_of_the_settings(
        tmp_path: Path, footage: list[Frame], monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(tmp_path, queue_bytes=RecorderSettings().queue_mb << 20)
    rig.put(footage[:31]).written()
    write, go_on, stuck = os.write, threading.Event(), threading.Event()

    def stalled(handle: int, data: bytes) -> int:
        stuck.set()
        assert go_on.wait(LIMIT_S)
        return write(handle, data)

    monkeypatch.setattr(os, "write", stalled)
    rig.put(footage[31:91])  # two seconds of the sensor's time
    assert stuck.wait(LIMIT_S)
    go_on.set()
    rig.put(footage[91:])
    assert rig.writer.close(LIMIT_S)
    assert [counter for one in rig.sealed for counter, _ in shown(one.path)] == list(range(FIRST, FIRST + 120))
    assert (rig.writer.counters.overflowed, rig.writer.counters.dropped) == (0, 0)


def test_flush_and_close_say_when_their_time_is_over(tmp_path: Path, footage: list[Frame]) -> None:
    rig, go_on = held(tmp_path)
    rig.put(footage[:3])
    assert not rig.writer.flush(0.01)
    assert not rig.writer.close(0.01)
    go_on.set()
    assert rig.writer.close(LIMIT_S)
    assert rig.writer.flush(LIMIT_S)
    rig.put(footage[3:5])
    assert rig.writer.counters.discarded == 2


def test_a_closed_writer_leaves_no_thread(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    assert Rig(tmp_path).writer.close(LIMIT_S)
    assert set(threading.enumerate()) <= before


def test_what_exists_is_never_overwritten(tmp_path: Path, footage: list[Frame]) -> None:
    older = tmp_path / "7" / "left" / f"{us(footage[0])}.ts"
    older.parent.mkdir(parents=True)
    older.write_bytes(b"older")
    rig = Rig(tmp_path)
    rig.put(footage[:5])
    assert rig.writer.close(LIMIT_S)
    assert older.read_bytes() == b"older"
    assert rig.sealed[0].path.name == f"{us(footage[0]) + 1}.ts"
    assert len(shown(rig.sealed[0].path)) == 5


class FullDisk:
    """os.write for segment files, until `room` bytes are written; then a part of what was asked for, then ENOSPC."""

    def __init__(self, room: int) -> None:
        self.room = room

    def __call__(self, handle: int, data: bytes) -> int:
        if self.room <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        part = data[:self.room]
        self.room -= len(part)
        return WRITE(handle, part)


WRITE = os.write


class Os:
    """The module `os` with some calls replaced, for the segment files alone."""

    def __init__(self, **calls: object) -> None:
        self.__dict__.update(calls)

    def __getattr__(self, name: str) -> object:
        return getattr(os, name)


def test_a_full_disk_costs_the_rest_of_the_group_and_seals_what_was_whole(
        tmp_path: Path, footage: list[Frame], monkeypatch: pytest.MonkeyPatch) -> None:
    disk = FullDisk(room=0)
    rig = Rig(tmp_path, failed=lambda error: (rig.failed.append(error), setattr(disk, "room", NO_LIMIT)))
    first = TsFile(tmp_path / "measure", 0, RATE)
    for frame in footage[:15]:
        assert first.write(frame.data, us(frame) - us(footage[0]), key=frame.key)
    disk.room = first.seal() + 100  # full in the middle of the 16th frame
    monkeypatch.setattr(segments, "os", Os(write=disk))
    rig.put(footage[:40])
    assert rig.writer.close(LIMIT_S)
    told = [[counter for counter, _ in shown(one.path)] for one in rig.sealed]
    assert told == [list(range(FIRST, FIRST + 15)), list(range(FIRST + 20, FIRST + 40))]
    [error] = rig.failed
    assert isinstance(error, SegmentFailed)
    assert isinstance(error.__cause__, OSError)
    assert error.left is None
    assert rig.sealed[0].bytes == rig.sealed[0].path.stat().st_size
    assert rig.writer.counters.discarded == 5
    assert rig.writer.counters.failures == 1


def test_a_disk_that_is_full_from_the_start_leaves_no_empty_files(
        tmp_path: Path, footage: list[Frame], monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(tmp_path)
    monkeypatch.setattr(segments, "os", Os(write=FullDisk(0)))
    rig.put(footage[:20])
    assert rig.writer.close(LIMIT_S)
    assert rig.writer.counters.failures == 2
    assert not rig.sealed
    assert not list(tmp_path.rglob("*.ts"))
    assert rig.writer.pending_from_us is None


def refuse(handle: int) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_a_segment_that_cannot_be_synced_is_not_handed_out_but_left_for_adoption(
        tmp_path: Path, footage: list[Frame], monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(tmp_path)
    monkeypatch.setattr(segments, "os", Os(fsync=refuse))
    rig.put(footage[:40])
    until(lambda: len(rig.failed) == 1)
    monkeypatch.setattr(segments, "os", os)
    assert rig.writer.close(LIMIT_S)
    [error] = rig.failed
    assert isinstance(error, SegmentFailed)
    assert error.left is not None
    assert len(shown(error.left)) == 30
    assert [one.frames for one in rig.sealed] == [10]  # the key frame that began it was not lost with the first


def test_after_a_failed_sync_no_later_one_is_believed(
        tmp_path: Path, footage: list[Frame], monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(tmp_path, segment_us=60_000_000)
    monkeypatch.setattr(segments, "os", Os(fdatasync=refuse))
    rig.put(footage[:31])
    until(lambda: len(rig.failed) >= 2)
    assert rig.writer.close(LIMIT_S)
    assert not rig.sealed
    assert {error.left.name for error in rig.failed if error.left} == {f"{us(footage[0])}.ts"}  # type: ignore[attr-defined]


def test_a_receiver_that_raises_does_not_end_the_writing(tmp_path: Path, footage: list[Frame]) -> None:
    seen: list[Sealed] = []

    def sealed(one: Sealed) -> None:
        seen.append(one)
        raise RuntimeError("no row")

    def failed(error: Exception) -> None:
        raise RuntimeError("nobody listens")

    rig = Rig(tmp_path, sealed=sealed, failed=failed)
    rig.put(footage[:90])
    assert rig.writer.close(LIMIT_S)
    assert [one.frames for one in seen] == [30, 30, 30]
    assert rig.writer.counters.failures == 3
    assert all(one.path.exists() for one in seen)


def test_the_latest_frame_tells_how_late_the_writer_ever_was(tmp_path: Path, footage: list[Frame]) -> None:
    clock = Hand()
    rig = Rig(tmp_path, clock=clock)
    clock.us = us(footage[0]) + 70_000
    rig.put(footage[:1]).written()
    clock.us = us(footage[1]) + 20_000
    rig.put(footage[1:2]).written()
    assert rig.writer.close(LIMIT_S)
    assert rig.writer.counters.late_max_us == 70_000
