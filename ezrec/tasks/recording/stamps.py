"""A camera's stamps: which of them can be true, and the newest of those.

One that cannot be costs its own frame and no other: a frame from an hour ahead would have all that follow for an hour
count as old.
"""

from ezrec import logs
from ezrec.adapters.cameras import Frame, seen_us
from ezrec.domain.clock import SECOND, Clock

log = logs.get("recording")

AHEAD_US = 10 * SECOND  # of the clock; no camera sees what is to come
BEHIND_US = 10 * SECOND  # of a frame that came before: no camera holds its frames back so long


class Stamps:
    """What one camera's stamps say. `take` is for the camera's thread and never raises."""

    def __init__(self, camera: str, clock: Clock) -> None:
        self.newest_us = 0  # sensor time of the newest frame, run-monotonic µs; 0 if none came yet
        self._camera, self._clock = camera, clock
        self._impossible = 0

    def take(self, frame: Frame) -> int | None:
        """When the sensor saw this frame, run-monotonic µs; None if it cannot have been then."""
        us, now_us = seen_us(frame), self._clock.mono_us()
        if us is None or us > now_us + AHEAD_US or us < self.newest_us - BEHIND_US:
            self._impossible += 1
            if self._impossible & (self._impossible - 1) == 0:  # the 1st, 2nd, 4th, 8th …: a camera may go on like that
                log.warning("frame with an impossible time left out", camera=self._camera, so_far=self._impossible,
                            stamp=repr(frame.sensor_ns)[:40], now_us=now_us)
            return None
        self.newest_us = max(self.newest_us, us)
        return us
