"""A made-up court around two cameras that stand at an angle, with lenses of known distortion and different exposure."""

from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from ezrec.media.panorama.lens import Bend, directions, in_widths
from ezrec.pyav import Planes, planes_of

WIDE, HIGH = 2.6, 1.6  # of the scene, rad and tangents
DENSITY = 900  # pixels for a unit of it


USUAL = Bend(0.72, -0.10, 0.01)


@dataclass(frozen=True)
class Rig:
    """Two cameras. Angles in degrees."""

    size: tuple[int, int] = (640, 360)
    apart: float = 46.0
    roll: float = 1.5  # of the right camera
    pitch: float = 1.0
    bend: Bend = USUAL
    gain: float = 1.0  # of the right camera's exposure
    noise: float = 0.0
    seed: int = 1


@lru_cache(maxsize=4)
def scene(seed: int) -> NDArray[np.uint8]:
    """The court as it lies on the cylinder, B, G, R: blurred noise, boards and lines."""
    chance = np.random.default_rng(seed)
    shape = (round(HIGH * DENSITY), round(WIDE * DENSITY))
    picture = np.full((*shape, 3), 120.0, np.float32)
    for cell, strength in ((4, 10), (16, 18), (80, 30)):
        grain = chance.normal(0, strength, (shape[0] // cell + 1, shape[1] // cell + 1, 3)).astype(np.float32)
        picture += np.asarray(cv2.resize(grain, shape[::-1], interpolation=cv2.INTER_CUBIC), np.float32)
    for _ in range(500):
        x, y = int(chance.integers(shape[1])), int(chance.integers(shape[0]))
        colour = [int(value) for value in chance.integers(40, 210, 3)]
        w, h = (int(side) for side in chance.integers(6, 60, 2))
        cv2.rectangle(picture, (x, y), (x + w, y + h), colour, -1 if chance.random() < 0.5 else 2)
    return np.asarray(np.clip(picture, 20, 235), np.uint8)


def turns(rig: Rig) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What turns a direction in space into the left and the right camera's."""
    half = np.radians(rig.apart / 2)
    left, _ = cv2.Rodrigues(np.array([0.0, half, 0.0]))
    right, _ = cv2.Rodrigues(np.array([0.0, -half, 0.0]))
    tilt, _ = cv2.Rodrigues(np.radians(np.array([rig.pitch, 0.0, rig.roll])))
    return np.asarray(left, np.float64), np.asarray(tilt @ right, np.float64)


def places(rig: Rig, camera: int, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where pixels (n, 2) of a camera look at, on the true cylinder (n, 2)."""
    rays = directions(in_widths(pixels, rig.size), rig.bend) @ turns(rig)[camera]
    return np.column_stack([np.arctan2(rays[:, 0], rays[:, 2]), rays[:, 1] / np.hypot(rays[:, 0], rays[:, 2])])


def view(rig: Rig, camera: int) -> Planes:
    """What a camera sees."""
    width, height = rig.size
    x, y = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))
    at = places(rig, camera, np.column_stack([x.ravel(), y.ravel()])).reshape(height, width, 2)
    across = ((at[..., 0] + WIDE / 2) * DENSITY).astype(np.float32)
    down = ((at[..., 1] + HIGH / 2) * DENSITY).astype(np.float32)
    smooth = cv2.GaussianBlur(scene(rig.seed), (0, 0), DENSITY / (rig.bend.focal * width) / 2)
    seen = cv2.remap(smooth, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101).astype(np.float32)
    seen = seen * (rig.gain if camera else 1.0)
    if rig.noise:
        seen = seen + np.random.default_rng(rig.seed + camera).normal(0, rig.noise, seen.shape)
    frame = VideoFrame.from_ndarray(np.clip(seen, 0, 255).astype(np.uint8), "bgr24")
    made = frame.reformat(width, height, "yuv420p", src_color_range="JPEG", dst_color_range="MPEG",
                          dst_colorspace="ITU709")
    return Planes(*(np.array(plane) for plane in planes_of(made)))


def frame_of(planes: Planes) -> VideoFrame:
    """A picture of these planes."""
    frame = VideoFrame(planes.y.shape[1], planes.y.shape[0], "yuv420p")
    for target, source in zip(planes_of(frame), planes, strict=True):
        target[:] = source
    return frame


def foreign(rig: Rig) -> Rig:
    """The same cameras in another hall."""
    return replace(rig, seed=rig.seed + 1000)
