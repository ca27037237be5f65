"""Who holds the cameras: processes with a video or media device open, and how to make them let go.

Limits: Linux with /proc. Processes of other users are seen by root only; that is said where it matters.
"""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
DEVICES = re.compile(r"/dev/(video|media|v4l-subdev)\d+")
USUAL = {  # the usual holders, and what makes each of them let go for good
    "pipewire": "systemctl --user mask --now pipewire.socket pipewire.service",
    "wireplumber": "systemctl --user mask --now wireplumber.service",
    "motion": "sudo systemctl disable --now motion.service",
    "mediamtx": "sudo systemctl disable --now mediamtx.service",
}


@dataclass(frozen=True)
class Holder:
    """A process that has camera devices open."""

    pid: int
    command: str
    unit: str  # the systemd unit it belongs to; empty: none
    devices: tuple[str, ...]
    user_unit: bool = False

    @property
    def remedy(self) -> str:
        """What to do about it."""
        name = Path(self.command.split(" ")[0]).name
        if name in USUAL:
            return USUAL[name]
        if "ezrec" in self.command:
            return f"another EZREC runs: stop it ({self._stop() or f'kill {self.pid}'})"
        return self._stop() or f"kill {self.pid}"

    @property
    def words(self) -> str:
        """For people: who it is, what it holds and what to do about it."""
        unit = f", unit {self.unit}" if self.unit else ""
        return f"process {self.pid} ({self.command}{unit}) holds {', '.join(self.devices)}: {self.remedy}"

    def _stop(self) -> str:
        if not self.unit.endswith(".service"):
            return ""
        return f"systemctl --user stop {self.unit}" if self.user_unit else f"sudo systemctl stop {self.unit}"


def holders(proc: Path = PROC, own: int | None = None) -> list[Holder]:
    """All processes but this one that have a camera device open, by process id."""
    own = os.getpid() if own is None else own
    found = []
    for folder in proc.iterdir():
        if not folder.name.isdecimal() or int(folder.name) == own:
            continue
        if devices := _devices(folder):
            unit, of_user = _unit(folder)
            found.append(Holder(int(folder.name), _command(folder), unit, devices, of_user))
    return sorted(found, key=lambda one: one.pid)


def words_for(found: Iterable[Holder]) -> str:
    """For people: who holds the cameras and what to do, or that nobody is seen."""
    if said := [one.words for one in found]:
        return "; ".join(said)
    return "No process of this user is seen to hold a camera" + ("" if os.geteuid() == 0 else "; root sees all of them")


def _devices(folder: Path) -> tuple[str, ...]:
    seen = set()
    try:
        for link in (folder / "fd").iterdir():
            try:
                target = str(link.readlink())
            except OSError:  # closed in the meantime
                continue
            if DEVICES.fullmatch(target):
                seen.add(target)
    except OSError:  # ended, or somebody else's
        return ()
    return tuple(sorted(seen))


def _command(folder: Path) -> str:
    try:
        words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
        return words or (folder / "comm").read_text("utf-8", "replace").strip()
    except OSError:
        return "unknown"


def _unit(folder: Path) -> tuple[str, bool]:
    """The systemd unit of a process, from its control group, and whether it is a user's own service manager's."""
    try:
        group = (folder / "cgroup").read_text("utf-8", "replace")
    except OSError:
        return "", False
    units = re.findall(r"([^/\s]+\.(?:service|scope))", group)
    return (units[-1] if units else ""), "/user@" in group
