"""A court on a disk of its own whose power is cut: what was written and not synced is gone.

The data folder is an ext4 image on a loop device (data=writeback). When the recorder is killed the file system is shut
down in the same moment, as EXT4_IOC_SHUTDOWN does it without writing its journal, and mounted again. Its syncs are as
slow as wanted (`slow_disk`). Needs root, loop devices and gcc.
"""

import fcntl
import json
import os
import shutil
import signal
import sqlite3
import struct
import subprocess
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from ezrec.store.damage import damage
from tests.fakes import slow_disk
from tests.fakes.site import LIMIT_S, Site
from tests.fakes.waiting import wait_until

IMAGE_MB = 160
SHUTDOWN, WITHOUT_JOURNAL = 0x8004587D, 2  # EXT4_IOC_SHUTDOWN, EXT4_GOING_FLAGS_NOLOGFLUSH


@cache
def missing() -> str:
    """What this machine lacks for power cuts, and what to do about it; empty if nothing."""
    if os.geteuid() != 0:
        return "only root can mount a disk image"
    if not slow_disk.can_be_built():
        return slow_disk.NEEDS
    if not shutil.which("mkfs.ext4"):
        return "mkfs.ext4 not found: apt-get install e2fsprogs"
    done = subprocess.run(["losetup", "-f"], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else f"no loop devices here: {done.stderr.strip()}"


class PowerSite(Site):
    """A site whose SIGKILL is a power cut."""

    def __init__(self, folder: Path, *, sync_s: float, full_s: float = 0.0, **changes: Mapping[str, Any]) -> None:
        """`sync_s` is what each sync takes. `full_s` before a cut somebody fills the disk, until the next start."""
        self._image, self._full_s = folder / "disk.img", full_s
        (folder / "data").mkdir(parents=True)
        with self._image.open("xb") as file:
            file.truncate(IMAGE_MB << 20)
        # Blocks as large as the pages of memory, as on any disk of a box: on smaller ones SQLite's shared memory has
        # holes, and a full disk has no room for them (SIGBUS).
        _do("mkfs.ext4", "-q", "-F", "-m", "0", "-b", "4096", str(self._image))
        super().__init__(folder, **changes)
        self._mount()
        self._slow = slow_disk.slow_disk(folder, sync_s)
        self._ballast = self.data / "lost+found" / "ballast"
        self._was_full = False
        self._reading = threading.Lock()  # the store's shared memory is gone with the power: reading it ends a process

    def rows(self, sql: str, *values: object) -> list[dict[str, Any]]:
        """Rows of the store; never in the moment of a cut."""
        with self._reading:
            return super().rows(sql, *values)

    def start(self, kill_at: Mapping[str, Any] | None = None, environment: Mapping[str, str] | None = None) -> None:
        """Start the recorder on its slow disk."""
        super().start(kill_at, self._slow | dict(environment or {}))
        if self._ballast.exists():
            threading.Thread(target=self._free_when_met, args=(len(self.lines),)).start()
        threading.Thread(target=self._be_quick_in_the_end).start()

    def wait_dead(self, limit_s: float = LIMIT_S) -> int:
        """Wait until the recorder has ended; if it was killed the power is gone too."""
        status = super().wait_dead(limit_s)
        if status == -signal.SIGKILL:
            self._cut()
        return status

    def signal(self, number: int) -> None:
        """Send a signal to the recorder; before a cut the disk becomes full, if it is to."""
        if number == signal.SIGKILL and self._full_s and not self._was_full:
            self._was_full = True
            self._fill()
            until = time.monotonic() + self._full_s
            wait_until(lambda: time.monotonic() >= until)
        super().signal(number)

    def stop(self) -> int:
        """SIGTERM, and wait; the exit status. The store must be sound."""
        status = super().stop()
        assert (wrong := damage(self.data / "ezrec.db")) is None, wrong
        return status

    def end(self) -> None:
        """End it, and give its disk back; what it said is kept."""
        super().end()
        (self.folder / "said.json").write_text("\n".join(map(json.dumps, self.lines)), "utf-8")
        self._unmount()
        self._image.unlink()

    def check_no_leftovers(self) -> None:
        """As of any site. Segments that a full disk did not take are adopted at the next start, and what a cut left
        without a whole frame was set aside."""
        if self._was_full:
            super().stop()
            since = len(self.lines)
            self.start()
            wait_until(lambda: any(line.get("event") == "ready" for line in self.lines[since:]), LIMIT_S, "ready")
        for aside in (self.data / "aside", self.data / "segments" / "aside"):
            shutil.rmtree(aside, ignore_errors=True)
        super().check_no_leftovers()

    # ---- the power

    def _cut(self) -> None:
        assert _device_of(self.data).startswith("/dev/loop"), "this is no disk of ours"
        with self._reading:
            handle = os.open(self.data, os.O_RDONLY)
            try:
                fcntl.ioctl(handle, SHUTDOWN, struct.pack("I", WITHOUT_JOURNAL))
            finally:
                os.close(handle)
            self._unmount()
            self._mount()

    def _mount(self) -> None:
        _do("mount", "-o", "loop,data=writeback", str(self._image), str(self.data))

    def _unmount(self) -> None:
        """Unmount, once the recorder's workers have ended: the power is gone for them as well."""
        def unmounted() -> bool:
            for pid in _users_of(self.data):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return subprocess.run(["umount", str(self.data)], capture_output=True, check=False).returncode == 0

        if _device_of(self.data):
            wait_until(unmounted, LIMIT_S, f"{self.data} to be unmounted")

    # ---- the room

    def _fill(self) -> None:
        """Take all the room there is, and let it be durable."""
        with suppress(OSError), self._ballast.open("wb") as file:
            with suppress(OSError):
                while True:
                    os.posix_fallocate(file.fileno(), file.tell(), 1 << 20)
                    file.seek(1 << 20, os.SEEK_CUR)
            os.fsync(file.fileno())

    def _be_quick_in_the_end(self) -> None:
        """Once all windows are over its syncs are quick: what is left takes as many of them as they are long."""
        def over() -> bool:
            try:
                stages = {row["stage"] for row in self.rows("SELECT stage FROM film")}
            except sqlite3.Error:
                stages = set()
            return not self.alive() or (bool(stages) and not stages & {"booked", "recording"})

        with suppress(AssertionError):
            wait_until(over, 2 * LIMIT_S)
        if self.alive():
            (self.folder / "quick").touch()

    def _free_when_met(self, since: int) -> None:
        """Somebody makes room again once the recorder has met the full disk."""
        met = ("disk full, room is made", "ready")
        with suppress(AssertionError):
            wait_until(lambda: not self.alive() or any(line.get("event") in met for line in self.lines[since:]))
        if self.alive():
            self._ballast.unlink(missing_ok=True)


def _do(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"


def _device_of(place: Path) -> str:
    """What is mounted at a place; empty if nothing is."""
    found = [line.split() for line in Path("/proc/self/mounts").read_text("utf-8").splitlines()]
    return next((words[0] for words in found if words[1] == str(place)), "")


def _users_of(place: Path) -> set[int]:
    """The processes that have something open there; never this one."""
    found = set()
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):
            if link.readlink().is_relative_to(place):
                found.add(int(link.parts[2]))
    return found - {os.getpid()}
