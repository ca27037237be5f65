"""Runs one server of the tests and ends it when the tests end, in whatever way they do.

`python guard.py SIGNAL USER FOLDER COMMAND…` starts the command as USER (`-`: as whoever runs this), in a session of
its own. When this program's own stdin is closed, which the kernel does for a test process that was killed too, the
command gets SIGNAL; what is left of its process group after five seconds is killed, and FOLDER, its temporary files, is
removed.
"""

import os
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import suppress

LIMIT_S = 5.0


def main(ending: str, user: str, folder: str, *command: str) -> int:
    """Run until the command ends or stdin does; the command's exit status."""
    as_user = {} if user == "-" else {"user": user, "group": user, "extra_groups": []}
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, **as_user)

    def watch() -> None:
        while os.read(0, 1):
            pass
        with suppress(ProcessLookupError):
            process.send_signal(signal.Signals[ending])
        try:
            process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()

    threading.Thread(target=watch, daemon=True).start()
    status = process.wait()
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
