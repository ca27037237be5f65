"""The machine that EZREC is installed on: its commands, its service manager, its packages, its users.

Limits: Debian and its children. What a command says on stderr is in the error that is raised.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ezrec.device.places import TRIAL_UNIT, UNIT
from ezrec.domain.errors import EzrecError

SYSTEM_PYTHON = "/usr/bin/python3"  # Debian's: picamera2, numpy and PyAV are made for it
PACKAGES = ("python3-venv", "python3-numpy", "python3-av")
PI_PACKAGES = ("python3-picamera2",)  # known to a Raspberry Pi's archive only
LIMIT_S = 1800.0  # of a command; apt and pip on a slow line


def run(*words: str, env: Mapping[str, str] | None = None, limit_s: float = LIMIT_S, cwd: Path = Path("/")) -> str:
    """Run a command; what it said on stdout.

    Raises:
        EzrecError: it failed, or took longer than `limit_s`; the text ends with what it said last.
    """
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=limit_s,  # noqa: S603 - ours
                              env=None if env is None else {**os.environ, **env}, stdin=subprocess.DEVNULL, cwd=cwd)
    except subprocess.TimeoutExpired:
        raise EzrecError(f"`{' '.join(words)}` took longer than {limit_s:.0f} s") from None
    except OSError as error:
        raise EzrecError(f"`{words[0]}` cannot be run: {error.strerror}; install it") from error
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-6:]
        raise EzrecError(f"`{' '.join(words)}` failed ({done.returncode}): {' / '.join(said)}")
    return done.stdout


def told(*words: str, limit_s: float = LIMIT_S) -> tuple[bool, str]:
    """Whether a command ended well, and all that it said. Raises EzrecError if it cannot be run."""
    try:
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,  # noqa: S603 - ours
                              timeout=limit_s, stdin=subprocess.DEVNULL, cwd="/")
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EzrecError(f"`{' '.join(words)}`: {error}") from error
    return done.returncode == 0, done.stdout


def works(*words: str) -> bool:
    """Whether a command ends well."""
    try:
        run(*words, limit_s=60)
    except EzrecError:
        return False
    return True


@dataclass(frozen=True)
class State:
    """How the unit is."""

    active: bool  # READY=1 came
    restarts: int  # since it was last started by hand
    doing: str  # systemd's own words


class Service:
    """`ezrec.service`, as systemd runs it."""

    def there(self) -> bool:
        """Whether systemd runs this machine, and not a package's folder or a container without it."""
        return Path("/run/systemd/system").is_dir() and shutil.which("systemctl") is not None

    def state(self) -> State:
        """How it is now. Raises EzrecError."""
        said = run("systemctl", "show", UNIT, "-p", "ActiveState,SubState,NRestarts", limit_s=60)
        found = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
        return State(found.get("ActiveState") == "active", int(found.get("NRestarts") or 0),
                     f"{found.get('ActiveState', 'unknown')} ({found.get('SubState', 'unknown')})")

    def reload(self) -> None:
        """Let systemd read its units again. Raises EzrecError."""
        run("systemctl", "daemon-reload", limit_s=120)

    def enable(self) -> None:
        """Let it start with the machine, and an unfinished upgrade go on. Raises EzrecError."""
        run("systemctl", "enable", "--quiet", UNIT, TRIAL_UNIT, limit_s=120)

    def disable(self) -> None:
        """The opposite. What was not there is no error."""
        works("systemctl", "disable", "--quiet", UNIT, TRIAL_UNIT)

    def start(self) -> None:
        """Let it start; whether it gets ready is seen in `state`. Raises EzrecError."""
        run("systemctl", "start", "--no-block", UNIT, limit_s=120)

    def stop(self) -> None:
        """Stop it, and wait until it has. Raises EzrecError."""
        run("systemctl", "stop", UNIT, limit_s=180)

    def watch(self) -> None:
        """Let the trial be watched beside whoever installs. Raises EzrecError."""
        run("systemctl", "restart", "--no-block", TRIAL_UNIT, limit_s=120)

    def watched(self) -> bool:
        """Whether the trial is being watched."""
        return works("systemctl", "is-active", "--quiet", TRIAL_UNIT)


def missing_packages() -> list[str]:
    """The Debian packages that are wanted, known to apt and not there; all of them were told by apt, none fetched."""
    wanted = [*PACKAGES, *(name for name in PI_PACKAGES if works("apt-cache", "show", name))]
    return [name for name in wanted if not works("dpkg-query", "--show", "--showformat=${db:Status-Status}", name)
            or run("dpkg-query", "--show", "--showformat=${db:Status-Status}", name).strip() != "installed"]


def install_packages(names: Sequence[str]) -> None:
    """Install Debian packages. Raises EzrecError."""
    env = {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        run("apt-get", "install", "-y", "--no-install-recommends", *names, env=env)
    except EzrecError:  # its lists may be old, or not there yet
        run("apt-get", "update", env=env)
        run("apt-get", "install", "-y", "--no-install-recommends", *names, env=env)
