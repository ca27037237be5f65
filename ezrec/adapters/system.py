"""The machine and its service manager: systemd's notifications, memory, the clock, the boot.

Linux only. Everything here is quick (well under a millisecond, `process_tree_rss` a few) and may be called from the
event loop.
"""

import ctypes
import os
import socket
from contextlib import suppress
from pathlib import Path

import psutil

from ezrec.domain.errors import LeaveError

_TIME_ERROR = 5  # sys/timex.h
_TIMESYNC = Path("/run/systemd/timesync")  # systemd-timesyncd's, with a file `synchronized` once it has set the clock
_M_ARENA_MAX, _ARENAS = -8, 2  # malloc.h of glibc; how many pools
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_NOTIFY_LIMIT_S = 0.05  # longer than a healthy systemd ever needs, shorter than what would disturb the event loop


def spare_memory() -> None:
    """Keep this process's memory in few pools: each of its threads would otherwise open one that never shrinks."""
    with suppress(AttributeError, OSError):  # glibc only
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)


def notify(state: str) -> bool:
    """Tell systemd `state` (READY=1, WATCHDOG=1, STOPPING=1, STATUS=…; several with newlines between them).

    Returns whether it was handed over. Nothing happens without $NOTIFY_SOCKET, and nothing is ever raised: whether a
    service manager listens must not decide whether a match is recorded.
    https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address.startswith("@"):  # the abstract namespace
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
            out.settimeout(_NOTIFY_LIMIT_S)
            out.sendto(state.encode("utf-8", "replace"), address)
    except (OSError, ValueError):  # ValueError: an address that no socket can have
        return False
    return True


def watchdog_interval_s() -> float | None:
    """How often to send WATCHDOG=1, in seconds, or None if nobody waits for it.

    Half of systemd's limit, as it recommends.
    https://www.freedesktop.org/software/systemd/man/latest/sd_watchdog_enabled.html
    """
    limit_us = os.environ.get("WATCHDOG_USEC", "")
    meant_for = os.environ.get("WATCHDOG_PID", str(os.getpid()))
    if not (limit_us.isascii() and limit_us.isdigit()) or int(limit_us) == 0 or meant_for != str(os.getpid()):
        return None
    return int(limit_us) / 2 / 1_000_000


def clock_is_set() -> bool:
    """Whether the wall clock is held for synchronised; True where nobody says.

    The kernel says it first. A mode of 0 only asks; TIME_ERROR is what it returns for a clock that nobody sets (man 2
    adjtimex). Our unit (ProtectClock=yes) may not ask it: there systemd-timesyncd says it, where that runs.
    """
    question = (ctypes.c_byte * 512)()  # struct timex, and room to spare; its first field is the mode
    try:
        answer = int(ctypes.CDLL(None).adjtimex(question))
    except (OSError, AttributeError):
        answer = -1
    try:
        return answer != _TIME_ERROR if answer >= 0 else not _TIMESYNC.is_dir() or (_TIMESYNC / "synchronized").exists()
    except OSError:
        return True


def box() -> str:
    """This machine and its boot, for people and for telling it from another one, a copy of it included."""
    return f"{os.uname().nodename[:64]} (boot {boot_id()})"


def on_trial() -> bool:
    """Whether this release was just installed and may be taken back: our unit says so (`ezrec.device.trial`)."""
    return bool(os.environ.get("ON_TRIAL"))


def boot_id() -> str:
    """The kernel's name for this boot: two monotonic times are comparable only within one.

    Raises:
        LeaveError: the kernel does not say.
    """
    try:
        return _BOOT_ID.read_text("ascii").strip()
    except OSError as error:
        raise LeaveError(f"cannot tell one boot from the next: {_BOOT_ID}: {error.strerror}; EZREC needs Linux with "
                         "/proc mounted") from error


def process_tree_rss() -> int:
    """Resident memory of this process and all below it, in bytes; pages that several share count several times."""
    return sum(rss_bytes(process.pid) for process in [psutil.Process(), *psutil.Process().children(recursive=True)])


def rss_bytes(pid: int) -> int:
    """Resident memory of a process in bytes; 0 if there is none any more."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0
