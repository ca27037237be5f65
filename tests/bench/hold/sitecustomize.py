"""Notes whatever holds the real program's event loop: put this folder on PYTHONPATH and set LOOP_HOLD to a file.

Each callback of the loop that took longer than `LEAST_S` becomes a line of JSON: when it began (Unix time, s), how long
it took, how much of that its thread computed (the rest it waited for the GIL, the disk or a core), and its name.
"""

import os
import sys
from time import perf_counter, thread_time, time

LEAST_S = 0.02

_PATH = os.environ.get("LOOP_HOLD")

if _PATH and "--multiprocessing-fork" not in sys.orig_argv:
    import asyncio.events
    import json
    from pathlib import Path

    _FILE = Path(_PATH).open("a", buffering=1, encoding="utf-8")  # noqa: SIM115 - as long as the process lives
    _run = asyncio.events.Handle._run

    def _name(callback: object) -> str:
        owner = getattr(callback, "__self__", None)
        if isinstance(owner, asyncio.Task):
            return owner.get_name()
        return str(getattr(callback, "__qualname__", callback))

    def _watched_run(self: asyncio.events.Handle) -> None:
        name = _name(self._callback)
        begun, computed = perf_counter(), thread_time()
        _run(self)
        held = perf_counter() - begun
        if held > LEAST_S:
            words = {"at": time() - held, "held_s": held, "cpu_s": thread_time() - computed, "what": name}
            print(json.dumps(words), file=_FILE)

    asyncio.events.Handle._run = _watched_run
