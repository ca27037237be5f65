"""Starting a server for the tests, waiting until it answers, and ending it for certain.

Every server is a child of `guard.py`, which outlives the test process by exactly as long as it takes to end the server.
"""

import itertools
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

from tests.fakes.waiting import wait_until

GUARD = Path(__file__).with_name("guard.py")
START_LIMIT_S = 90.0  # three sets of servers may start at once on two cores

_ports = itertools.count()
_taken: list[socket.socket] = []


def free_port() -> int:
    """A port on 127.0.0.1 that nobody listens on, this process's own from now on.

    Outgoing connections are given ports from 32768 on; below, a name in Linux' abstract namespace says that a port is
    taken, also while nobody listens on it, to all processes that ask here. It goes with the process.
    """
    while True:
        port = 20000 + (os.getpid() * 211 + next(_ports)) % 12000
        name = socket.socket(socket.AF_UNIX)
        try:
            name.bind(f"\0ezrec-test-port-{port}")
        except OSError:
            name.close()
            continue
        _taken.append(name)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def answers(url: str) -> bool:
    """Whether an HTTP server answers there, whatever it says."""
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except urllib.error.HTTPError as answer:
        answer.close()
        return True
    except OSError:
        return False


class Server:
    """A process with a temporary folder (`folder`, of mode 0700, the user's own), a log in it, and an end."""

    def __init__(self, name: str, user: str | None = None) -> None:
        """Make the folder; `user` is who the server runs as, if not the one who runs the tests."""
        self.name = name
        self._user = user
        self._guard: subprocess.Popen[bytes] | None = None
        self.folder = Path(tempfile.mkdtemp(prefix=f"ezrec-{name}-"))
        if user:
            shutil.chown(self.folder, user, user)

    def start(self, command: Sequence[str | Path], ready: Callable[[], bool], *,
              environment: Mapping[str, str] | None = None, cwd: Path | None = None, ending: str = "SIGKILL") -> Self:
        """Start the command and wait until `ready`; AssertionError with its log if it ends before, or never is."""
        log = Path(f"{self.folder}.log")
        with log.open("ab") as file:
            self._guard = subprocess.Popen(
                [sys.executable, GUARD, ending, self._user or "-", self.folder, *command], stdin=subprocess.PIPE,
                stdout=file, stderr=file, start_new_session=True, cwd=cwd or self.folder,
                env=os.environ | {"PYTHONPATH": ""} | dict(environment or {}))

        def there() -> bool:
            assert self._guard
            assert self._guard.poll() is None, f"{self.name} ended: {log.read_text('utf-8', 'replace')[-3000:]}"
            return ready()

        try:
            wait_until(there, START_LIMIT_S, f"{self.name} to answer")
        except BaseException:
            self.end()
            raise
        finally:
            log.unlink(missing_ok=True)  # the server goes on writing it; nobody reads it later
        return self

    def end(self) -> None:
        """End the server and remove its folder; nothing happens if it has ended."""
        guard, self._guard = self._guard, None
        if guard is None:
            shutil.rmtree(self.folder, ignore_errors=True)
            return
        assert guard.stdin
        guard.stdin.close()
        guard.wait(START_LIMIT_S)
