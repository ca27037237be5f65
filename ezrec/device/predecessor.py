"""The predecessor's services: its units are stopped, and its lines taken out of crontabs. Nothing of it is deleted.

The tunnel stays: it is the venue's way to the machine, not the predecessor's.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ezrec.device.machine import run
from ezrec.domain.errors import EzrecError
from ezrec.files import write_atomically

UNITS = ("dual_recorder.service", "video_worker.service", "ezrec-api.service", "system_status.timer",
         "system_status.service", "ezrec-backend.service")
TUNNEL = "cloudflared.service"
LIMIT_S = 120.0


@dataclass(frozen=True)
class OldUnit:
    """One of its units as systemd has it."""

    name: str
    active: bool
    enabled: bool


@dataclass(frozen=True)
class Crontab:
    """A user's crontab, and the lines in it that run the predecessor's programs."""

    user: str  # empty: whoever asks
    lines: tuple[str, ...]
    ours: tuple[str, ...]

    @property
    def owner(self) -> str:
        """Whose it is, in words."""
        return self.user or "this user"


def units(names: Sequence[str] = UNITS) -> list[OldUnit]:
    """Those of the units that run, or would with the machine; none where there is no systemd."""
    if not shutil.which("systemctl"):
        return []
    found = []
    for name in names:
        try:
            said = run("systemctl", "show", name, "-p", "LoadState,ActiveState,UnitFileState", limit_s=60)
        except EzrecError:  # systemd does not run here
            return []
        state = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
        one = OldUnit(name, state.get("ActiveState") in ("active", "activating", "reloading"),
                   state.get("UnitFileState") in ("enabled", "enabled-runtime"))
        if state.get("LoadState") == "loaded" and (one.active or one.enabled):
            found.append(one)
    return found


def stop(found: Sequence[OldUnit]) -> None:
    """Stop units, and start them with the machine no more; their files stay. Raises EzrecError."""
    if found:
        run("systemctl", "disable", "--now", *(one.name for one in found), limit_s=LIMIT_S)


def crontabs(old: Path) -> list[Crontab]:
    """The crontabs that run programs below the folder `old`: this user's, and as root also its owner's."""
    if not shutil.which("crontab"):
        return []
    users = [""]
    if os.geteuid() == 0 and old.exists() and old.stat().st_uid:
        with suppress(KeyError):  # a user that is gone has no crontab
            users.append(old.owner())
    found = []
    for user in users:
        try:
            lines = tuple(run("crontab", *(["-u", user] if user else []), "-l", limit_s=60).splitlines())
        except EzrecError:  # there is none
            continue
        if ours := tuple(line for line in lines if _runs(line, old)):
            found.append(Crontab(user, lines, ours))
    return found


def clear(crontab: Crontab, keep: Path) -> None:
    """Take the predecessor's lines out of a crontab; as it was it is kept at `keep`, if nothing is there.

    Raises:
        EzrecError: `crontab` refuses.
        OSError: it cannot be kept; nothing is changed then.
    """
    if not keep.exists():
        write_atomically(keep, "".join(f"{line}\n" for line in crontab.lines).encode())
    left = "".join(f"{line}\n" for line in crontab.lines if line not in crontab.ours)
    words = ["crontab", *(["-u", crontab.user] if crontab.user else []), "-"]
    done = subprocess.run(words, input=left, capture_output=True, text=True, check=False, timeout=LIMIT_S)  # noqa: S603 - ours
    if done.returncode:
        raise EzrecError(f"`{' '.join(words)}` failed ({done.returncode}): {done.stderr.strip()}")


def _runs(line: str, old: Path) -> bool:
    """Whether a line of a crontab runs a program of the predecessor's, and does not only speak of its folder."""
    folder = rf"(?<![\w/.-]){re.escape(str(old))}"
    program = rf"{folder}/(?!releases/|current/)(?:[\w./-]+\.(?:py|sh)(?![\w-])|[\w./-]*bin/python[\d.]*\s)"
    there = rf"cd\s+{folder}/?[\w./-]*\s*(?:&&|;).*\.(?:py|sh)(?![\w-])"
    return not line.lstrip().startswith("#") and re.search(f"{program}|{there}", line) is not None
