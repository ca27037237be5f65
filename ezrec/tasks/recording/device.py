"""A camera as its lane uses it: every call on a thread of its own, with a limit.

A call that does not come back cannot be repaired inside the process: it raises `CameraStuck`, and the process leaves.
"""

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ezrec import logs
from ezrec.adapters.cameras import Camera, Sink
from ezrec.domain.clock import SECOND, Clock
from ezrec.domain.errors import CameraLost, CameraStuck

log = logs.get("recording")

OPEN_LIMIT_S = 10.0
START_LIMIT_S = 8.0
STOP_LIMIT_S = 2.0  # of which frames are lost if it hangs; a stop takes 0.1 to 0.7 s
CLOSE_LIMIT_S = 8.0
CHECK_EVERY_S = 0.1  # how often a call under way is looked at


class CameraThread:
    """One daemon thread that does one camera's blocking calls in turn; it can hang without taking anybody along."""

    def __init__(self, name: str, clock: Clock) -> None:
        self._name = name
        self._clock = clock
        self._hung = False  # a call never came back: none behind it ever will
        self.longest_s = 0.0  # that a call took
        self._calls: queue.SimpleQueue[tuple[Callable[[], Any], asyncio.Future[Any]]] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._work, name=name, daemon=True).start()

    async def call(self, what: Callable[[], Any], limit_s: float) -> Any:
        """Run `what` on the thread.

        Raises:
            CameraStuck: it did not return within `limit_s`, or an earlier call did not.
        """
        if self._hung:
            raise CameraStuck(f"{self._name}: a camera call hangs")
        future: asyncio.Future[Any] = self._loop.create_future()
        self._calls.put((what, future))
        until_us = self._clock.mono_us() + round(limit_s * SECOND)
        while not future.done():
            left_s = (until_us - self._clock.mono_us()) / SECOND
            if left_s <= 0:
                self._hung = True
                raise CameraStuck(f"{self._name}: a camera call hung for {limit_s:.1f} s")
            await asyncio.wait([future], timeout=min(left_s, CHECK_EVERY_S))
        return future.result()

    def _work(self) -> None:
        while True:
            what, future = self._calls.get()
            began = time.monotonic()
            try:
                result, error = what(), None
            except Exception as caught:  # noqa: BLE001 - handed to whoever called
                result, error = None, caught
            self.longest_s = max(self.longest_s, time.monotonic() - began)
            try:
                self._loop.call_soon_threadsafe(self._settle, future, result, error)
            except RuntimeError:
                return  # the loop has gone: the process is leaving

    @staticmethod
    def _settle(future: asyncio.Future[Any], result: object, error: Exception | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)


class CameraDevice:
    """One camera. With `keep_warm` it rests while it is not used; else it is closed."""

    def __init__(self, camera: Camera, clock: Clock, *, keep_warm: bool) -> None:
        self.camera = camera
        self.warm = False  # it rests
        self._keep_warm = keep_warm
        self._thread = CameraThread(f"camera-{camera.name}", clock)

    @property
    def longest_call_s(self) -> float:
        """How long the longest call took."""
        return self._thread.longest_s

    async def open(self) -> None:
        """See `Camera.open`."""
        await self._thread.call(self.camera.open, OPEN_LIMIT_S)

    async def start(self, sink: Sink) -> None:
        """See `Camera.start`."""
        await self._thread.call(lambda: self.camera.start(sink), START_LIMIT_S)

    async def stop(self) -> None:
        """Stop the camera; one that does not stop well is closed next, so that is only logged."""
        self.warm = False
        with self._logging_errors("stop"):
            await self._thread.call(self.camera.stop, STOP_LIMIT_S)

    async def close(self) -> None:
        """Give the camera back; what does not work is logged."""
        with self._logging_errors("close"):
            await self._thread.call(self.camera.close, CLOSE_LIMIT_S)

    async def rest(self) -> bool:
        """Let the camera rest, if it is to be kept warm; whether it does."""
        self.warm = False
        if self._keep_warm:
            with self._logging_errors("rest"):
                await self._thread.call(self.camera.rest, START_LIMIT_S)
                self.warm = True
        return self.warm

    async def warm_up(self) -> None:
        """Open the camera and let it rest, if it is to be kept warm; one that cannot is opened when it is wanted."""
        if not self._keep_warm:
            return
        with self._logging_errors("open"):
            await self.open()
            if await self.rest():
                return
        await self.stop()
        await self.close()

    @contextmanager
    def _logging_errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except CameraLost as error:
            log.warning("camera trouble", camera=self.camera.name, at=what, error=str(error))
