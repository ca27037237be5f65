"""What both cameras of a Raspberry Pi share: who is who, one opening at a time, an even exposure, sensors in step."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import picamera2
import structlog

from ezrec.adapters.cameras.pi.deadline import at_most
from ezrec.adapters.cameras.pi.exposure import ExposureMatcher
from ezrec.adapters.cameras.pi.holders import Holder, holders, words_for
from ezrec.adapters.cameras.pi.identity import DetectedCamera, Remembered, Wanted, bind, missing
from ezrec.adapters.cameras.pi.picamera2_patches import causes
from ezrec.domain.errors import CameraLost

log = structlog.get_logger(task="recording")

LIST_LIMIT_S = 11.0
PATIENCE_S = 5.0  # for the other camera to be opened or closed


class Pair:
    """What the cameras of one process share: who is who, one opening at a time, an even exposure, sensors in step."""

    def __init__(self, wanted: Mapping[str, Wanted], matcher: ExposureMatcher, memory: Remembered) -> None:
        self.wanted = dict(wanted)
        self.matcher = matcher
        self.memory = memory
        self._lock = threading.Lock()  # Picamera2's list of cameras does not bear two that come and go at once
        self._holders: list[Holder] = []  # as they were said last

    @contextmanager
    def alone(self) -> Iterator[None]:
        """One camera at a time is opened or closed.

        Raises:
            CameraLost: the other one takes too long.
        """
        if not self._lock.acquire(timeout=PATIENCE_S):
            raise CameraLost("the other camera is being opened or closed, and does not get done with it")
        try:
            yield
        finally:
            self._lock.release()

    def report_holders(self) -> None:
        """Say who else holds cameras, if that has changed: it need not be these, and these may still open."""
        now = holders()
        if now and now != self._holders:
            log.warning("others hold cameras", who=words_for(now))
        self._holders = now

    def place(self, side: str) -> tuple[int, DetectedCamera]:
        """The place of a side's camera in Picamera2's list, and what is known of it.

        Raises:
            CameraLost: there is none for it; says what was found and what to write.
        """
        found = listed()
        bound = bind(found, self.wanted, self.memory.ids())
        if len(bound) == len(self.wanted):
            self.memory.keep({name: found[at].id for name, at in bound.items()})
        place = bound.get(side)
        if place is None:
            if not picamera2.Picamera2._cm.cameras:  # nothing is open: libcamera may look for cameras anew  # noqa: SLF001
                picamera2.Picamera2._cm.reset()  # noqa: SLF001
            raise CameraLost(missing(found, self.wanted, side))
        return place, found[place]

    def sync_mode(self, side: str) -> int:
        """The SyncMode of libcamera: the first side gives the time (1), the other follows (2); 0 with one camera."""
        if len(self.wanted) < 2:
            return 0
        return 1 if side == next(iter(self.wanted)) else 2


def listed() -> list[DetectedCamera]:
    """The cameras there are, in the order that `Picamera2(n)` counts in.

    Raises:
        CameraLost: libcamera fails.
    """
    try:
        with at_most(LIST_LIMIT_S):
            info = picamera2.Picamera2.global_camera_info()
    except Exception as error:
        raise CameraLost(f"libcamera cannot list the cameras: {causes(error)}") from error
    return [DetectedCamera(str(one["Id"]), str(one.get("Model", "unknown")), int(one["Num"])) for one in info]
