"""Adoption: whatever a kill leaves, every adopted frame is whole, and at most the last two before the cut are lost."""

import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from ezrec.adapters.adoption import LARGEST, adopt
from ezrec.adapters.cameras import Frame
from ezrec.adapters.cameras.synthetic.court import CourtView, counter_at, due_us, index_at, read_counter
from ezrec.adapters.cameras.synthetic.encoder import H264Encoder, new_picture
from ezrec.adapters.segments import TsFile
from ezrec.domain.errors import RetryError
from ezrec.pyav import planes_of

RATE = Fraction(30)
FIRST = 30_000
PACKET = 188


def court(number: int) -> list[Frame]:
    view, picture = CourtView((320, 180), "left", 0.1), new_picture((320, 180))
    planes = planes_of(picture)
    view.paint(planes)
    encoder = H264Encoder((320, 180), RATE, 1_000_000, 10 / 30)
    frames = []
    for index in range(FIRST, FIRST + number):
        view.draw(planes, due_us(index, RATE), counter_at(index))
        frames += encoder.encode(picture, due_us(index, RATE))
    return frames


def write(folder: Path, frames: list[Frame]) -> tuple[Path, list[int]]:
    """A segment of `frames` and the file's length after each of them."""
    file = TsFile(folder / "7" / "left", frames[0].sensor_ns // 1000, RATE)
    ends = []
    for frame in frames:
        assert file.write(frame.data, frame.sensor_ns // 1000, key=frame.key)
        ends.append(file.size)
    file.seal()
    return file.path, ends


class Whole:
    """A segment file as it should be."""  # not a dataclass: hypothesis would print all of it

    def __init__(self, path: Path, data: bytes, ends: list[int]) -> None:
        self.path, self.data = path, data
        self.ends = ends  # the file's length after each frame


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    path, ends = write(tmp_path_factory.mktemp("whole"), court(30))
    return Whole(path, path.read_bytes(), ends)


def shown(path: Path, frames: int) -> list[int | None]:
    """Counters of the first `frames` frames of a file; each must decode clean and lie where its counter says."""
    with av.open(str(path), format="mpegts") as container:
        container.streams.video[0].codec_context.thread_count = 1
        told: list[int | None] = []
        for frame in container.decode(video=0):
            if len(told) == frames:
                break
            assert not frame.is_corrupt
            told.append(read_counter(planes_of(frame).y, "left"))
            at = int(path.stem) + round(frame.pts / 90_000 * 1_000_000)
            assert index_at(at + 100, RATE) == told[-1]
        return told


def check(path: Path, cut: int, ends: list[int]) -> None:
    adopted = adopt(path, RATE)
    before_the_cut = sum(1 for end in ends if end <= cut)
    if adopted is None:
        assert before_the_cut <= 2
        return
    assert before_the_cut - 2 <= adopted.frames <= before_the_cut
    assert shown(path, adopted.frames) == list(range(FIRST, FIRST + adopted.frames))
    assert abs(adopted.end_us - due_us(FIRST + adopted.frames, RATE)) <= 7
    assert (adopted.camera, adopted.run, adopted.start_us) == ("left", 7, int(path.stem))
    assert (adopted.dropped, adopted.gaps, adopted.bytes) == (0, (), path.stat().st_size)


LENGTHS = st.one_of(st.floats(0, 1).map(lambda part: ("anywhere", part, 0)),
                    st.tuples(st.just("frame"), st.floats(0, 1), st.integers(-3 * PACKET, 3 * PACKET)),
                    st.tuples(st.just("packet"), st.floats(0, 1), st.integers(-1, 1)))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=LENGTHS)
def test_of_a_file_cut_anywhere_every_whole_frame_is_adopted_and_no_other(
        whole: Whole, tmp_path: Path, where: tuple[str, float, int]) -> None:
    path, data, ends = whole.path, whole.data, whole.ends
    kind, part, shift = where
    at = {"anywhere": round(part * len(data)), "frame": ends[round(part * (len(ends) - 1))],
          "packet": round(part * len(data) / PACKET) * PACKET}[kind]
    cut = min(max(0, at + shift), len(data))
    orphan = tmp_path / "7" / "left" / path.name
    orphan.parent.mkdir(parents=True, exist_ok=True)
    orphan.write_bytes(data[:cut])
    check(orphan, cut, ends)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(start=st.floats(0, 1), pages=st.integers(1, 8), fill=st.sampled_from([0, 0x47, 255]))
def test_of_a_file_whose_end_never_reached_the_disk_the_frames_before_are_adopted(
        whole: Whole, tmp_path: Path, start: float, pages: int, fill: int) -> None:
    path, data, ends = whole.path, whole.data, whole.ends
    cut = int(start * len(data)) // 4096 * 4096
    orphan = tmp_path / "7" / "left" / path.name
    orphan.parent.mkdir(parents=True, exist_ok=True)
    orphan.write_bytes(data[:cut] + bytes([fill]) * (4096 * pages))
    check(orphan, cut, ends)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0.2, 0.9), length=st.integers(1, 40))
def test_of_a_file_with_packets_missing_in_its_middle_only_the_frames_before_are_adopted(
        whole: Whole, tmp_path: Path, place: float, length: int) -> None:
    at = int(place * len(whole.data)) // PACKET * PACKET
    end = at + (length * 16 + 1) * PACKET
    lost = [whole.data[packet + 1:packet + 3] for packet in range(at, min(end, len(whole.data)), PACKET)]
    assume(lost.count(max(lost, key=lost.count)) % 16)  # the stream's counter has 4 bits: of 16 it knows nothing
    orphan = tmp_path / "7" / "left" / whole.path.name
    orphan.parent.mkdir(parents=True, exist_ok=True)
    orphan.write_bytes(whole.data[:at] + whole.data[end:])
    check(orphan, at, whole.ends)


def test_an_uncut_file_is_adopted_whole(whole: Whole) -> None:
    adopted = adopt(whole.path, RATE)
    assert adopted is not None
    assert adopted.frames == len(whole.ends)


def test_drops_and_gaps_of_an_orphan_are_told_as_the_writer_would(tmp_path: Path) -> None:
    frames = court(9)
    late = [frame._replace(sensor_ns=frame.sensor_ns + (100_000_000 if n >= 3 else 0) + (700_000_000 if n >= 6 else 0))
            for n, frame in enumerate(frames)]
    adopted = adopt(write(tmp_path, late)[0], RATE)
    assert adopted is not None
    assert adopted.dropped == 3
    [(start, end)] = adopted.gaps
    assert abs(start - (late[5].sensor_ns // 1000 + 33_333)) <= 7
    assert abs(end - late[6].sensor_ns // 1000) <= 7


def test_frames_that_tell_another_rate_are_believed(tmp_path: Path) -> None:
    frames = court(20)
    slow = [frame._replace(sensor_ns=frames[0].sensor_ns + n * 66_666_667) for n, frame in enumerate(frames)]
    adopted = adopt(write(tmp_path, slow)[0], RATE)
    assert adopted is not None
    assert adopted.dropped == 0
    assert abs(adopted.end_us - slow[-1].sensor_ns // 1000 - 66_667) <= 20


@pytest.mark.parametrize("content", [b"", b"\0" * 5000, b"not a film" * 999, b"\x47" * 188 * 20])
@pytest.mark.parametrize("may_be_torn", [True, False])
def test_a_file_without_a_frame_is_not_adopted(tmp_path: Path, content: bytes, *, may_be_torn: bool) -> None:
    orphan = tmp_path / "7" / "left" / "1000.ts"
    orphan.parent.mkdir(parents=True, exist_ok=True)
    orphan.write_bytes(content)
    assert adopt(orphan, RATE, may_be_torn=may_be_torn) is None
    assert orphan.read_bytes() == content


def test_a_file_too_large_to_be_a_segment_is_not_read(tmp_path: Path) -> None:
    orphan = tmp_path / "7" / "left" / "1000.ts"
    orphan.parent.mkdir(parents=True, exist_ok=True)
    with orphan.open("wb") as file:
        file.truncate(LARGEST + 1)
    assert adopt(orphan, RATE) is None


def test_a_file_with_a_foreign_name_is_not_adopted(tmp_path: Path, whole: Whole) -> None:
    for name in ("7/left/holiday.ts", "seven/left/1000.ts"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(whole.data)
        assert adopt(path, RATE) is None


def test_a_file_that_cannot_be_read_now_is_left_for_later(tmp_path: Path) -> None:
    with pytest.raises(RetryError):
        adopt(tmp_path / "7" / "left" / "1000.ts", RATE)


KILLED = """
import os
import sys
from fractions import Fraction
from pathlib import Path
import structlog
from ezrec.adapters.cameras.synthetic.court import CourtView, counter_at, due_us
from ezrec.adapters.cameras.synthetic.encoder import H264Encoder, new_picture
from ezrec.pyav import planes_of
from ezrec.adapters.segments import SegmentWriter
from ezrec.domain.clock import SystemClock

structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
rate = Fraction(30)
view, picture = CourtView((320, 180), "left", 0.1), new_picture((320, 180))
planes = planes_of(picture)
view.paint(planes)
encoder = H264Encoder((320, 180), rate, 1_000_000, 10 / 30)
writer = SegmentWriter(Path(sys.argv[1]), "left", 7, rate=rate, segment_us=1_000_000, queue_bytes=1 << 24,
                       clock=SystemClock(), sealed=lambda one: None, failed=lambda error: os.abort())
index = 30_000
while True:
    view.draw(planes, due_us(index, rate), counter_at(index))
    for frame in encoder.encode(picture, due_us(index, rate)):
        writer.put(frame)
    os.write(1, b"%d\\n" % writer.counters.frames)
    index += 1
"""


@pytest.mark.parametrize("lines", [3, 11, 47, 96])
def test_a_writer_that_is_killed_leaves_all_that_it_had_written(tmp_path: Path, lines: int) -> None:
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True, cwd=root) as child:
        assert child.stdout is not None
        said = [child.stdout.readline() for _ in range(lines)]
        child.send_signal(signal.SIGKILL)
        said += [line for line in child.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
    assert child.returncode == -signal.SIGKILL
    written = max(int(line) for line in said)
    files = sorted((tmp_path / "7" / "left").glob("*.ts"), key=lambda path: int(path.stem))
    expected = FIRST
    for path in files:
        adopted = adopt(path, RATE)
        if adopted is None:
            assert path == files[-1]
            break
        assert shown(path, adopted.frames) == list(range(expected, expected + adopted.frames))
        expected += adopted.frames
    assert expected - FIRST >= written - 2
