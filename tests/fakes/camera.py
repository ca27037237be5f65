"""A camera for a made-up clock: it delivers, when it is told to, every frame that is due by then."""

import threading
from fractions import Fraction

from ezrec.adapters.cameras import CameraHealth, Sink
from ezrec.adapters.cameras.synthetic.court import CourtView, counter_at, due_us, index_at
from ezrec.adapters.cameras.synthetic.encoder import H264Encoder, new_picture
from ezrec.domain.clock import Clock
from ezrec.pyav import planes_of

SIZE = (192, 108)


class ScriptedCamera:
    """One camera of a pair that sees the simulated cameras' court, frame n at n/rate of `clock`'s monotonic time."""

    def __init__(self, name: str, clock: Clock, rate: Fraction) -> None:
        self.name, self.rate, self.size = name, rate, SIZE
        self.starts = 0
        self.frames = 0  # handed over since it was made
        self._clock = clock
        self._lock = threading.Lock()  # started and stopped by the lane's thread, told to deliver by the test's
        self._sink: Sink | None = None
        self._next = 0
        self._view = CourtView(SIZE, name, 0.1)
        self._picture = new_picture(SIZE)
        self._planes = planes_of(self._picture)
        self._view.paint(self._planes)

    @property
    def streaming(self) -> bool:
        return self._sink is not None

    def open(self) -> None:
        """Nothing to take."""

    def start(self, sink: Sink) -> None:
        with self._lock:
            self._encoder = H264Encoder(SIZE, self.rate, 200_000, 1.0)
            self._next = index_at(self._clock.mono_us(), self.rate) + 1
            self._sink = sink
            self.starts += 1

    def stop(self) -> None:
        with self._lock:
            self._sink = None

    def rest(self) -> None:
        self.stop()

    def close(self) -> None:
        self.stop()

    def health(self) -> CameraHealth:
        return CameraHealth("scripted", "streaming" if self.streaming else "closed", self.frames)

    def catch_up(self) -> None:
        """Deliver all frames that are due and not delivered yet, if it is started."""
        with self._lock:
            if self._sink is None:
                return
            for index in range(self._next, index_at(self._clock.mono_us(), self.rate) + 1):
                us = due_us(index, self.rate)
                self._view.draw(self._planes, us, counter_at(index))
                for frame in self._encoder.encode(self._picture, us):
                    self._sink(frame)
                    self.frames += 1
            self._next = index_at(self._clock.mono_us(), self.rate) + 1
