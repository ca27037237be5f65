"""The thread on which Picamera2's requests are encoded, instead of its own preview threads.

Picamera2's own (`NullPreview`) ends at the first error of an encoder or an output, in silence, and every later `stop`
then hangs. This one notes the error and goes on with the next frame.
"""

import os
import selectors
import threading
from collections.abc import Callable
from typing import Any

from ezrec.domain.errors import CameraLost

CHECK_EVERY_S = 0.2
JOIN_S = 3.0


class FrameLoop:
    """What Picamera2 takes for a preview. `failed` is called on the thread with every error, and must not raise."""

    def __init__(self, name: str, failed: Callable[[Exception], None]) -> None:
        self._name = name
        self._failed = failed
        self._leave = threading.Event()
        self._thread: threading.Thread | None = None
        self._camera: Any = None

    def start(self, picam2: Any) -> None:
        """Picamera2 begins: it hands itself over, and its requests are processed from now on."""
        self._camera = picam2
        picam2.attach_preview(self)
        self._leave.clear()
        self._thread = threading.Thread(target=self._work, args=(picam2,), name=self._name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread.

        Raises:
            CameraLost: it hangs.
        """
        self._leave.set()
        if self._camera is not None:
            os.write(self._camera.notifyme_w, b"\0")  # it need not wait for its next look
        if self._thread is not None:
            self._thread.join(JOIN_S)
            if self._thread.is_alive():
                raise CameraLost(f"the thread {self._name} does not end")
        self._thread = None
        camera, self._camera = self._camera, None
        if camera is not None:
            camera.detach_preview()

    def render_request(self, request: object) -> None:
        """Picamera2 would show the frame here."""

    def set_title_function(self, function: object) -> None:
        """Picamera2 would set a window's title here."""

    def _work(self, picam2: Any) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(picam2.notifyme_r, selectors.EVENT_READ)
            while not self._leave.is_set():
                if not selector.select(CHECK_EVERY_S):
                    continue
                picam2.notifymeread.read()
                try:
                    picam2.process_requests(self)
                except Exception as error:  # noqa: BLE001 - one frame's trouble must not end the stream
                    self._failed(error)
