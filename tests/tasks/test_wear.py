"""Wear: what the disk was given to write while matches were recorded, and nothing of the time between."""

import os
from pathlib import Path

from structlog.testing import capture_logs

from ezrec.domain.clock import SECOND
from ezrec.tasks.wear import Wear, bytes_written
from tests.fakes.clocks import MadeUpClock

MB = 1 << 20


class Rig:
    """A disk's counter that is set by hand."""

    def __init__(self) -> None:
        self.clock, self.recording, self.counter = MadeUpClock(1000, 1_800_000_000), False, 0
        self.silent = False
        self.wear = Wear(self.clock, lambda: self.recording, lambda: None if self.silent else self.counter)

    async def passes(self, minutes: int, mb: int, *, recording: bool) -> None:
        """So much time, in which so much is written every minute, its looks included."""
        self.recording = recording
        await self.wear.run_once()
        for _ in range(minutes):
            self.clock.forward(60 * SECOND)
            self.counter += mb * MB
            await self.wear.run_once()


async def test_what_is_written_while_nothing_is_recorded_does_not_count() -> None:
    rig = Rig()
    await rig.passes(60, 1000, recording=False)
    assert rig.wear.mb_per_hour is None
    await rig.passes(30, 2, recording=True)
    assert rig.wear.mb_per_hour == 120
    await rig.passes(60, 1000, recording=False)
    await rig.passes(30, 4, recording=True)
    assert rig.wear.mb_per_hour == 180


async def test_each_recording_s_own_figure_is_in_the_log() -> None:
    rig = Rig()
    with capture_logs() as lines:
        for mb in (2, 4):
            await rig.passes(30, mb, recording=True)
            await rig.passes(1, 0, recording=False)
    assert [(line["mb"], line["recorded_s"], line["mb_per_hour"]) for line in lines] == [
        (60, 1800, 120), (120, 1800, 240)]


async def test_a_counter_that_begins_anew_or_is_silent_spoils_no_figure() -> None:
    rig = Rig()
    await rig.passes(10, 2, recording=True)
    rig.counter = 0
    await rig.passes(10, 2, recording=True)
    rig.silent = True
    await rig.passes(10, 50, recording=True)
    rig.silent = False
    await rig.passes(10, 2, recording=True)
    assert rig.wear.mb_per_hour == 120


def test_the_kernel_s_sectors_are_read_of_the_disk_that_the_folder_lies_on(tmp_path: Path) -> None:
    disk = tmp_path.stat().st_dev
    counts = tmp_path / f"dev/block/{os.major(disk)}:{os.minor(disk)}/stat"
    counts.parent.mkdir(parents=True)
    counts.write_text("  11  2  33 4  500 6  8192 8 0 10 11 0 0 0 0 0 0\n")
    assert bytes_written(tmp_path, tmp_path) == 4 * MB
    counts.write_text("nonsense")
    assert bytes_written(tmp_path, tmp_path) is None
    counts.unlink()
    assert bytes_written(tmp_path, tmp_path) is None
    assert bytes_written(tmp_path / "gone", tmp_path) is None


def test_this_machine_s_counter_grows_with_what_is_written_and_synced(tmp_path: Path) -> None:
    before = bytes_written(tmp_path)
    if before is None:
        return  # a disk of which the kernel does not say: a tmpfs, say
    with (tmp_path / "some").open("wb") as out:
        out.write(os.urandom(4 * MB))
        out.flush()
        os.fsync(out.fileno())
    after = bytes_written(tmp_path)
    assert after is not None
    assert after - before >= 4 * MB
