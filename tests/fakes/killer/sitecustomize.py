"""Kills the real program at a line of its log, synchronously: put this folder on PYTHONPATH and set KILL_AT.

KILL_AT is JSON: {"event": "chunk planned", "nth": 2, "signal": 9, "where": {"to": "rendered"}}. The log writes each
line with one `os.write` to stdout; when the nth matching one has been written the process gets the signal, before it
does anything else. Worker processes log nothing and are not touched.

FULL_DISK is the path of a file: while it exists the disk is full for the program and its workers, as far as Python
sees the disk: files take no bytes, and SQLite's changes and commits fail.

NO_LINKS, if it is set, lets no file have a second name, as where the library lies on another file system.

WALL_AHEAD_S is by how many seconds the wall clock is ahead of the machine's; its monotonic clock stays.
"""

import errno
import json
import os
import signal
import stat
import time
from typing import Any

_ORDER = json.loads(os.environ.get("KILL_AT", "{}"))
_write = os.write
_seen = 0


def _matches(line: bytes) -> bool:
    try:
        said = json.loads(line)
    except ValueError:
        return False
    return said.get("event") == _ORDER["event"] and all(
        said.get(key) == value for key, value in _ORDER.get("where", {}).items())


def _killing_write(fd: int, data: bytes) -> int:
    global _seen  # noqa: PLW0603 - there is one program in a process
    written = _write(fd, data)
    if fd == 1 and any(_matches(line) for line in bytes(data).splitlines()):
        _seen += 1
        if _seen == _ORDER.get("nth", 1):
            os.kill(os.getpid(), _ORDER.get("signal", signal.SIGKILL))
    return written


if _ORDER:
    os.write = _killing_write

_FULL = os.environ.get("FULL_DISK", "")


def _refusing(call: Any) -> Any:
    def refuse(fd: int, *rest: Any) -> Any:
        if os.path.exists(_FULL) and stat.S_ISREG(os.fstat(fd).st_mode):  # noqa: PTH110 - pathlib is not loaded yet
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return call(fd, *rest)

    return refuse


if _FULL:
    import sqlite3
    from functools import partial

    class _Connection(sqlite3.Connection):
        def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
            if os.path.exists(_FULL) and sql.startswith(("COMMIT", "INSERT", "UPDATE", "DELETE")):  # noqa: PTH110
                raise sqlite3.OperationalError("database or disk is full")
            return super().execute(sql, *values)

    sqlite3.connect = partial(sqlite3.connect, factory=_Connection)
    for _name in ("write", "pwrite"):
        setattr(os, _name, _refusing(getattr(os, _name)))

if os.environ.get("NO_LINKS"):
    def _no_link(*_: Any, **__: Any) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    os.link = _no_link

if _AHEAD_NS := round(float(os.environ.get("WALL_AHEAD_S", "0")) * 1e9):
    _time_ns = time.time_ns
    time.time_ns = lambda: _time_ns() + _AHEAD_NS
    time.time = lambda: time.time_ns() / 1e9
