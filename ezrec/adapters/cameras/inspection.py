"""Trying a camera out: whether frames flow, and whether the picture is one that anybody would want to see.

Judged is the luma of key frames at a small size: black or blank, frozen (two pictures that are the same), blurred, or
of something else than the camera's reference picture. Thresholds are for indoor and outdoor courts; a verdict warns
people in time, it never keeps a match from being recorded.
"""

import io
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np
from numpy.typing import NDArray

from ezrec.adapters.cameras import Camera, Frame
from ezrec.domain.clock import SECOND
from ezrec.domain.errors import CameraLost
from ezrec.files import write_atomically
from ezrec.pyav import ANY_TAGS

SMALL = (320, 180)  # what pictures are judged at, pixels
BLACK = 30.0  # mean luma below it is black; 16 is the blackest there is
BLANK = 4.0  # standard deviation of the luma below it: nothing is in the picture
SHARP_SHARE = 0.35  # of the reference's sharpness; less is blurred
SHARP_LEAST = 0.5  # without a reference; two real courts have 1.6, blurred by 1/64 of their width 0.15
MISSING_SHARE = 0.1  # of the frames: with more missing the machine is too busy for its pictures to be judged
ALIKE = 0.5  # correlation with the reference; less is another view
GRID = (32, 18)  # what views are compared at: coarse enough for people who walk through them
STILL_US = SECOND // 2  # two pictures this far apart are compared to see whether the camera is frozen


class Sample:
    """A sink that counts frames and keeps what is needed to judge them. Bounded: two key frames at most."""

    def __init__(self, rate: Fraction) -> None:
        self._period_us = SECOND / rate
        self._more = threading.Condition()
        self.frames = 0
        self.missing = 0  # as the sensor times tell
        self.first_us = self.last_us = 0  # sensor times
        self.keys: list[Frame] = []  # an earlier one and the newest

    def __call__(self, frame: Frame) -> None:
        """Take a frame."""
        us = frame.sensor_ns // 1000
        with self._more:
            if self.frames:
                self.missing += max(0, round((us - self.last_us) / self._period_us) - 1)
            else:
                self.first_us = us
            self.frames, self.last_us = self.frames + 1, us
            if frame.key:
                early = [one for one in self.keys[:1] if us - one.sensor_ns // 1000 >= STILL_US]
                self.keys = [*(early or self.keys[:1]), frame][-2:] if self.keys else [frame]
            self._more.notify_all()

    @property
    def ready(self) -> bool:
        """Whether there is enough to judge: two pictures that are far enough apart."""
        return len(self.keys) == 2 and self.keys[1].sensor_ns - self.keys[0].sensor_ns >= STILL_US * 1000

    def wait(self, seconds: float) -> bool:
        """Wait until it is ready; False if `seconds` are over first."""
        with self._more:
            return self._more.wait_for(lambda: self.ready, seconds)


@dataclass(frozen=True)
class Verdict:
    """What became of a trial."""

    problems: Sequence[str]
    frames: int = 0
    missing: int = 0
    rate: float | None = None  # measured, frames per second
    brightness: float | None = None  # mean luma, 16 to 235
    sharpness: float | None = None
    likeness: float | None = None  # correlation with the reference picture
    picture: bytes = field(default=b"", repr=False)  # JPEG

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def judge(sample: Sample, reference: Path | None = None) -> Verdict:
    """Judge what was sampled; `reference` is a JPEG file of what the camera should see, if there is one.

    Takes some tens of milliseconds of CPU.
    """
    if not sample.frames:
        return Verdict(["no frame came"])
    span_us = sample.last_us - sample.first_us
    rate = round((sample.frames - 1) * SECOND / span_us, 2) if span_us else None
    try:
        pictures = [decoded(frame.data) for frame in sample.keys]
    except CameraLost as error:
        return Verdict([str(error)], sample.frames, sample.missing, rate)
    if not pictures:
        return Verdict(["no key frame came"], sample.frames, sample.missing, rate)
    lumas = [small(picture) for picture in pictures]
    wanted = reference_luma(reference)
    now = lumas[-1]
    likeness = alike(now, wanted) if wanted is not None else None
    large = pictures[-1].width >= SMALL[0] and pictures[-1].height >= SMALL[1]  # a smaller one is blurred by enlarging
    busy = sample.missing > MISSING_SHARE * (sample.frames + sample.missing)
    problems = faults(now, lumas[0] if sample.ready else None, wanted, sharp=large and not busy)
    if sample.missing:
        problems.append(f"{sample.missing} of {sample.frames + sample.missing} frames are missing")
    return Verdict(problems, sample.frames, sample.missing, rate, round(float(now.mean()), 1), round(sharpness(now), 2),
                   None if likeness is None else round(likeness, 3), jpeg(pictures[-1]))


def faults(now: NDArray[np.uint8], earlier: NDArray[np.uint8] | None, wanted: NDArray[np.uint8] | None, *,
           sharp: bool = True) -> list[str]:
    """What is wrong with a picture, in words; `earlier` was taken at least STILL_US before it.

    `sharp`: it is one whose sharpness can be judged.
    """
    found = []
    if now.mean() < BLACK:
        found.append("the picture is black: is the lens covered?")
    elif now.std() < BLANK:
        found.append("the picture is blank: is the lens covered?")
    if earlier is not None and int(np.abs(now.astype(np.int16) - earlier).max()) <= 1:
        found.append("the picture is frozen")
    if found:
        return found
    least = SHARP_LEAST if wanted is None else SHARP_SHARE * sharpness(wanted)
    if sharp and sharpness(now) < least:
        found.append("the picture is blurred: is the lens dirty or out of focus?")
    if wanted is not None and alike(now, wanted) < ALIKE:
        found.append("the camera looks at something else than in its reference picture: was it moved?")
    return found


def libav_versions() -> dict[str, str]:
    """The versions of the FFmpeg libraries that PyAV uses, by name."""
    return {name: ".".join(map(str, version)) for name, version in sorted(av.library_versions.items())}


def decoded(data: bytes) -> av.VideoFrame:
    """The picture of one key frame.

    Raises:
        CameraLost: it cannot be decoded.
    """
    try:
        decoder = av.CodecContext.create("h264", "r")
        decoder.thread_count = 1
        pictures = [*decoder.decode(av.Packet(data)), *decoder.decode(None)]
    except av.error.FFmpegError as error:
        raise CameraLost(f"its frames cannot be decoded: {error}") from error
    if not pictures:
        raise CameraLost("its frames cannot be decoded")
    picture: av.VideoFrame = pictures[0]
    return picture


def small(picture: av.VideoFrame) -> NDArray[np.uint8]:
    """The luma of a picture at the size that is judged."""
    return np.asarray(picture.reformat(SMALL[0], SMALL[1], "gray").to_ndarray(), np.uint8)


def sharpness(luma: NDArray[np.uint8]) -> float:
    """How much of a picture is edges, whatever the light.

    The variance of its Laplacian (Pech-Pacheco et al., 2000) divided by its own.
    """
    at = luma.astype(np.int32)
    inner = 4 * at[1:-1, 1:-1] - at[:-2, 1:-1] - at[2:, 1:-1] - at[1:-1, :-2] - at[1:-1, 2:]
    return float(inner.var() / max(1.0, luma.var()))


def alike(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """How much two views are alike, -1 to 1, whatever the light: the correlation of coarse pictures."""
    coarse = [_coarse(luma) for luma in (one, other)]
    spread = coarse[0].std() * coarse[1].std()
    return float((coarse[0] * coarse[1]).mean() / spread) if spread else 0.0


def _coarse(luma: NDArray[np.uint8]) -> NDArray[np.float64]:
    blocks = luma.reshape(GRID[1], SMALL[1] // GRID[1], GRID[0], SMALL[0] // GRID[0]).mean(axis=(1, 3))
    centred: NDArray[np.float64] = blocks - blocks.mean()
    return centred


def reference_luma(file: Path | None) -> NDArray[np.uint8] | None:
    """The luma of a reference picture; None if there is none, or none that can be read."""
    if file is None:
        return None
    try:
        with av.open(str(file), **ANY_TAGS) as container:
            return small(next(container.decode(video=0)))
    except (OSError, StopIteration, IndexError, av.error.FFmpegError):
        return None


def jpeg(picture: av.VideoFrame) -> bytes:
    """The picture as a JPEG file."""
    memory = io.BytesIO()
    with av.open(memory, "w", format="mjpeg") as container:
        stream = container.add_stream("mjpeg", rate=1)
        stream.width, stream.height, stream.pix_fmt = picture.width, picture.height, "yuvj420p"
        stream.codec_context.qmin = stream.codec_context.qmax = 3
        made = picture.reformat(format="yuvj420p")
        made.pts, made.time_base = 0, Fraction(1)
        container.mux(stream.encode(made))
        container.mux(stream.encode(None))
    return memory.getvalue()


def keep_picture(file: Path, verdict: Verdict) -> None:
    """Write the trial's picture, for people or as the camera's reference. Raises OSError."""
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, verdict.picture)


def try_out(camera: Camera, seconds: float, reference: Path | None = None) -> Verdict:
    """Open a camera, look at it for up to `seconds` after its first frames, close it again; blocks.

    Raises:
        CameraLost: it is not there, does not start, or does not stop.
    """
    sample = Sample(camera.rate)
    try:
        camera.open()
        camera.start(sample)
        sample.wait(seconds)
    finally:
        camera.stop()
        camera.close()
    return judge(sample, reference)
