"""Simulated cameras: the make-believe court seen by two cameras that can be told to misbehave.

What goes wrong stands in a JSON file that may be changed while the camera runs, by camera name:

    {"left": {"absent": true}, "right": {"late_s": 3, "drop": 0.01, "rate_ppm": 300}}

The file is looked at no more than ten times a second. One that cannot be read changes nothing.
"""

import json
import random
import threading
from dataclasses import dataclass, fields
from fractions import Fraction
from pathlib import Path

import av
import structlog

from ezrec.adapters.cameras import Sink
from ezrec.adapters.cameras.synthetic.court import CourtView, counter_at
from ezrec.adapters.cameras.synthetic.encoder import new_picture
from ezrec.adapters.cameras.synthetic.frame_loop import PacedCamera
from ezrec.domain.clock import SECOND, Clock
from ezrec.domain.errors import CameraLost
from ezrec.pyav import Planes, planes_of

log = structlog.get_logger(task="recording")

CHECK_EVERY_US = SECOND // 10
"""How often the file of faults is looked at, at most."""

MILLION = 1_000_000


@dataclass(frozen=True)
class Faults:
    """How a simulated camera misbehaves."""

    absent: bool = False  # not there: does not open or start; a stream that runs is lost
    stalled: bool = False  # gives no frames and says nothing; afterwards goes on at the true time
    late_s: float = 0.0  # how long `start` takes
    drop: float = 0.0  # the share of frames that never come, 0 to 1, at random
    rate_ppm: float = 0.0  # how much too fast its clock runs, in millionths
    start_fails: bool = False
    stop_hangs_s: float = 0.0  # how long `stop` takes


def faults_of(raw: object) -> Faults:
    """The faults of one camera from what the JSON file says.

    Raises:
        ValueError: an unknown fault, or a value of the wrong kind or range.
    """
    if not isinstance(raw, dict):
        raise ValueError("a camera's faults are an object")  # noqa: TRY004  # bad content, not a bad call
    known = {field.name: type(field.default) for field in fields(Faults)}
    for name, value in raw.items():
        kind = known.get(name)
        if kind is None:
            raise ValueError(f"unknown fault {name!r}; known are {', '.join(known)}")
        if isinstance(value, bool) is not (kind is bool) or not isinstance(value, (bool, int, float)):
            raise ValueError(f"{name} must be {'true or false' if kind is bool else 'a number'}")
    faults = Faults(**raw)
    if not 0 <= faults.drop <= 1 or faults.late_s < 0 or faults.stop_hangs_s < 0 or abs(faults.rate_ppm) > MILLION / 2:
        raise ValueError("a fault is out of its range")
    return faults


def faults_in(text: str, camera: str) -> Faults:
    """The faults of `camera` from the text of a faults file; none if the file does not name it.

    Raises:
        ValueError: the text is no JSON object, or the camera's part of it is malformed.
    """
    raw = json.loads(text)
    if not isinstance(raw, dict):
        raise ValueError("the file holds no object")  # noqa: TRY004  # bad content, not a bad call
    return faults_of(raw.get(camera, {}))


class FaultsFile:
    """The faults of one camera, read again whenever the file changes."""

    def __init__(self, path: Path | None, camera: str, clock: Clock) -> None:
        """Watch `path`, if there is one; nothing is read yet."""
        self._path, self._camera, self._clock = path, camera, clock
        self._lock = threading.Lock()  # asked by the camera's caller and by its own thread
        self._checked_us: int | None = None
        self._seen: tuple[int, int, int] | None = None
        self._now = Faults()

    def now(self) -> Faults:
        """What is wrong with the camera now."""
        if self._path is None:
            return self._now
        with self._lock:
            us = self._clock.mono_us()
            if self._checked_us is None or us - self._checked_us >= CHECK_EVERY_US:
                self._checked_us = us
                self._reread(self._path)
            return self._now

    def _reread(self, path: Path) -> None:
        try:
            state = path.stat()
        except OSError:  # no file, no faults
            self._seen, self._now = None, Faults()
            return
        seen = (state.st_mtime_ns, state.st_size, state.st_ino)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._now = faults_in(path.read_text("utf-8"), self._camera)
        except (OSError, ValueError) as error:  # bad JSON is a ValueError; each state of the file is said once
            log.warning("faults file ignored", camera=self._camera, path=str(path), reason=str(error))


class SimulatedCamera(PacedCamera):
    """One camera of the simulated pair."""

    model = "simulated"

    def __init__(self, name: str, *, size: tuple[int, int], rate: Fraction, bitrate: int, keyframe_s: float,
                 overlap: float, clock: Clock, faults: Path | None = None) -> None:
        """Build the camera; nothing is drawn before it is opened.

        Args:
            name: left or right.
            size: width and height in pixels, even.
            rate: frames per second.
            bitrate: bit/s.
            keyframe_s: seconds from one key frame to the next.
            overlap: the part of each view's width, 0 to 0.4, that both cameras see.
            clock: frame n is due at n/rate of its monotonic time.
            faults: the JSON file that tells the camera to misbehave.
        """
        super().__init__(name, size=size, rate=rate, bitrate=bitrate, keyframe_s=keyframe_s, clock=clock)
        self._overlap = overlap
        self._faults = FaultsFile(faults, name, clock)
        self._dice = random.Random(name)
        self._view: CourtView | None = None
        self._canvas: tuple[av.VideoFrame, Planes] | None = None

    def open(self) -> None:
        """Draw the court.

        Raises:
            CameraLost: the faults say that the camera is absent.
        """
        self._must_be_there()
        if self._view is None:
            self._view = CourtView(self.size, self.name, self._overlap)
            picture = new_picture(self.size)
            self._canvas = picture, planes_of(picture)
            self._view.paint(self._canvas[1])
        self._state = "open"

    def start(self, sink: Sink) -> None:
        """Begin to hand frames to `sink`, late if the faults say so.

        Raises:
            CameraLost: it is not open, or the faults say that it is absent or does not start.
        """
        self._must_be_there()
        faults = self._faults.now()
        if faults.start_fails:
            raise CameraLost(f"camera {self.name} does not start (simulated)")
        if faults.late_s:
            threading.Event().wait(faults.late_s)
        super().start(sink)

    def stop(self) -> None:
        """Hand over no more frames; takes as long as the faults say."""
        hangs_s = self._faults.now().stop_hangs_s if self._thread is not None else 0.0
        super().stop()
        if hangs_s:
            threading.Event().wait(hangs_s)

    def close(self) -> None:
        """Give back the drawing's memory."""
        super().close()
        self._view = self._canvas = None

    def _must_be_there(self) -> None:
        if self._faults.now().absent:
            raise CameraLost(f"camera {self.name} is not there (simulated)")

    def _grid(self) -> Fraction:
        return self.rate * (1 + Fraction(self._faults.now().rate_ppm) / MILLION)

    def _picture(self, index: int, us: int) -> av.VideoFrame | None:
        self._must_be_there()
        faults = self._faults.now()
        if self._view is None or self._canvas is None or faults.stalled:
            return None
        if faults.drop and self._dice.random() < faults.drop:
            return None
        picture, planes = self._canvas
        self._view.draw(planes, us, counter_at(index))
        return picture
