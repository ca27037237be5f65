"""Notes whatever holds the real program's event loop: put this folder on PYTHONPATH and set LOOP_HOLD to a file.

Each callback of the loop that took longer than `LEAST_S` becomes a line of JSON: when it began (Unix time, s), how long
it took, how much of that its thread computed (the rest it waited for the GIL, the disk or a core), and its name. A line
with `late_s` tells that the loop itself came that much too late: what held it need not be a callback.
"""

import os
import sys
from time import perf_counter, thread_time, time

LEAST_S = 0.02
EVERY_S = 0.05  # how often it is seen whether the loop is late

_PATH = os.environ.get("LOOP_HOLD")

if _PATH and "--multiprocessing-fork" not in sys.orig_argv:
    import asyncio.base_events
    import asyncio.events
    import json
    from pathlib import Path

    _FILE = Path(_PATH).open("a", buffering=1, encoding="utf-8")  # noqa: SIM115 - as long as the process lives
    _run, _forever = asyncio.events.Handle._run, asyncio.base_events.BaseEventLoop.run_forever

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

    def _tick(loop: asyncio.AbstractEventLoop, due: float) -> None:
        late = loop.time() - due
        if late > LEAST_S:
            print(json.dumps({"at": time() - late, "late_s": late}), file=_FILE)
        due = loop.time() + EVERY_S
        loop.call_at(due, _tick, loop, due)

    def _watched_forever(self: asyncio.base_events.BaseEventLoop) -> None:
        self.call_soon(_tick, self, self.time())
        _forever(self)

    asyncio.base_events.BaseEventLoop.run_forever = _watched_forever
    asyncio.events.Handle._run = _watched_run
