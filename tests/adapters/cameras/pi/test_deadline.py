"""A limit that holds while nothing but C runs."""

import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[4]

HANGS = """
import ctypes
from ezrec.adapters.cameras.pi.deadline import at_most

def stuck_in_the_library() -> None:
    ctypes.PyDLL(None).usleep(20_000_000)  # keeps the interpreter's lock

with at_most(60), at_most(0.3):
    stuck_in_the_library()
"""

IN_TIME = """
import threading
from ezrec.adapters.cameras.pi.deadline import at_most

with at_most(0.3):
    pass
with at_most(60):
    with at_most(0.3):
        pass
    threading.Event().wait(0.6)
print("still here")
"""


def run(program: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, timeout=60,
                          check=False)


def test_a_call_that_keeps_the_interpreter_ends_the_process_which_says_where() -> None:
    done = run(HANGS)
    assert done.returncode == -signal.SIGALRM
    assert "in stuck_in_the_library" in done.stderr


def test_a_block_that_is_left_in_time_has_no_limit_any_more() -> None:
    assert run(IN_TIME).stdout == "still here\n"
