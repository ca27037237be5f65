"""How long the event loop is held at a time, in CPU time, so that a busy machine does not count."""

import asyncio
import gc
import threading
import time
from asyncio.events import Handle
from typing import Any, Self


class Holding:
    """While it is entered: the longest and the total CPU time of the callbacks of this thread's loop, in s."""

    def __init__(self) -> None:
        self.longest_s = 0.0
        self.total_s = 0.0
        self.what = ""

    def __enter__(self) -> Self:
        gc.collect()
        gc.freeze()  # what other tests have left in memory is not this one's to collect
        self._real: Any = Handle._run
        real, ours = self._real, threading.get_ident()

        def run(handle: Handle) -> None:
            if threading.get_ident() != ours:  # a loop of another thread holds nobody up
                real(handle)
                return
            before = time.thread_time()
            real(handle)
            took = time.thread_time() - before
            self.total_s += took
            if took > self.longest_s:
                self.longest_s, self.what = took, repr(handle)

        Handle._run = run  # type: ignore[method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        gc.unfreeze()
        Handle._run = self._real  # type: ignore[method-assign]


def in_the_loop() -> bool:
    """Whether this is called from an event loop's thread while it runs."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
