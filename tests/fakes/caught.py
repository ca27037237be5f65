"""A camera's sink for tests."""

import threading

from ezrec.adapters.cameras import Frame

LIMIT_S = 10.0


class Caught:
    """A sink that remembers, and can be waited for."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.more = threading.Condition()

    def __call__(self, frame: Frame) -> None:
        with self.more:
            self.frames.append(frame)
            self.more.notify_all()

    def wait(self, number: int) -> list[Frame]:
        with self.more:
            assert self.more.wait_for(lambda: len(self.frames) >= number, LIMIT_S), "no frames"
            return list(self.frames)
