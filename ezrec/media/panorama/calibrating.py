"""Measures how two cameras look at one court, from several moments of both, and says how good that is.

Moving things vanish in the median of the moments. Common points give the lenses and the turn between them; optical flow
where both see refines that three times; what is left becomes a smooth shift.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from ezrec.domain.calibration import Area, Calibration, CalibrationVerdict, Quality, Tone
from ezrec.domain.errors import BadMedia
from ezrec.media.panorama.bundle import Fit, fit
from ezrec.media.panorama.cylinder import CameraPair, grid, levelled, without_holes
from ezrec.media.panorama.lens import Array, in_widths
from ezrec.media.panorama.maps import sampled
from ezrec.media.panorama.matching import Matches, match
from ezrec.media.panorama.seam import find_seam
from ezrec.media.panorama.tones import BLOCK, means, toned, tones_of
from ezrec.media.panorama.tracking import Tracked, track, warp_of
from ezrec.pyav import Plane, Planes

FEWEST = 20  # common points
ENOUGH = 60
WELL = 0.65  # share of textured points that are tracked
FAR_PX = 2.0  # in a film of 1080 lines
LINES = 1080
ROUNDS = 3
WARPS = 4  # at most
LEVEL = 45.0  # degrees that one camera may be turned against the other
SMALL = 4  # of how many pixels one is looked at for the seam
SEAM = 129  # places that the seam is kept at
CONTRAST = 2.5  # steps of luma, below which a picture shows nothing

Said = Callable[[str], None]


@dataclass(frozen=True)
class CommonView:
    """What the moments of one camera have in common, turned, and how it was turned to be so."""

    planes: Planes
    rotation: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, pixels."""
        return self.planes.y.shape[1], self.planes.y.shape[0]


class CannotCalibrate(BadMedia):
    """Two pictures that do not belong together, or show too little."""


def common(moments: Sequence[Planes], rotation: int) -> CommonView:
    """What stays the same in several pictures of one camera."""
    if not moments or len({moment.y.shape for moment in moments}) > 1:
        raise CannotCalibrate("the pictures of one camera must be there, and of one size")
    planes = (np.median(np.stack([moment[n] for moment in moments]), axis=0).astype(np.uint8) for n in range(3))
    return CommonView(Planes(*planes), rotation)


def calibrate(left: CommonView, right: CommonView, said: Said = lambda _: None) -> tuple[Calibration, Matches]:
    """The calibration of two cameras, good or poor, and the points that it began with.

    Raises:
        CannotCalibrate: they do not overlap as they should; the words say what to change.
    """
    for name, one in (("left", left), ("right", right)):
        if float(one.planes.y.std()) < CONTRAST:
            raise CannotCalibrate(f"the {name} picture shows nothing: is there light, and is the lens free?")
    said("looking for points that both cameras see")
    found = match(left.planes.y, right.planes.y)
    _refuse(left, right, found)
    said(f"fitting lenses and angles to {len(found.left)} points")
    sizes, rotations = (left.size, right.size), (left.rotation, right.rotation)
    fitted = fit(in_widths(found.left, left.size), in_widths(found.right, right.size), _shapes(sizes),
                 _in_widths(found.homography, sizes))
    pair, tracked, density = _refined(fitted, left, right, rotations, said)
    said("laying out the panorama")
    area, covered = without_holes(pair, density)
    tones, seam, step = _drawn(pair, area, left, right)
    quality = Quality(len(found.left), round(tracked.share, 3), _pixels(tracked, 50), _pixels(tracked, 95),
                      round(covered, 3), round(step, 2))
    verdict, advice = _judged(quality, FAR_PX * max(area.height * density / LINES, 1))
    return Calibration(*pair.lenses, area, pair.warp, seam, tones, quality, verdict, advice), found


def _refuse(left: CommonView, right: CommonView, found: Matches) -> None:
    """Raises CannotCalibrate if two cameras have too little in common."""
    if len(found.left) >= FEWEST:
        if abs(found.turned) > LEVEL:
            raise CannotCalibrate(
                f"the right camera's picture is turned by {found.turned:.0f} degrees against the left one's: set "
                "cameras.left.rotation and cameras.right.rotation so that both stand upright")
        return
    swapped = match(right.planes.y, left.planes.y)
    if len(swapped.left) >= FEWEST and len(swapped.left) > 2 * len(found.left):
        raise CannotCalibrate("left and right seem to be exchanged: what they have in common lies at their outer sides")
    raise CannotCalibrate(
        f"the cameras have only {len(found.left)} points in common ({FEWEST} are needed): let their views overlap by a "
        "quarter, calibrate in good light, and put something with a pattern where both look if there is nothing")


def _shapes(sizes: tuple[tuple[int, int], tuple[int, int]]) -> tuple[float, float]:
    return sizes[0][1] / sizes[0][0], sizes[1][1] / sizes[1][0]


def _in_widths(homography: Array, sizes: tuple[tuple[int, int], tuple[int, int]]) -> Array:
    """A homography between pixels as one between picture widths."""
    one, other = (np.array([[1 / w, 0, (1 - w) / 2 / w], [0, 1 / w, (1 - h) / 2 / w], [0, 0, 1]]) for w, h in sizes)
    return np.asarray(other @ homography @ np.linalg.inv(one))


def _refined(fitted: Fit, left: CommonView, right: CommonView, rotations: tuple[int, int],
             said: Said) -> tuple[CameraPair, Tracked, float]:
    """The cameras after optical flow has been followed and fitted to some times; the last flow; pixels for a radian.

    A round that makes it worse is not taken.
    """
    sizes, pictures = (left.size, right.size), (left.planes.y, right.planes.y)
    density = (fitted.left.focal * sizes[0][0] + fitted.right.focal * sizes[1][0]) / 2
    pair = levelled(fitted, sizes, rotations)
    tracked = track(pair, pictures, density)
    for number in range(ROUNDS):
        if len(tracked.left) < FEWEST:
            break
        said(f"following {len(tracked.left)} points where both see ({number + 1} of {ROUNDS})")
        points = [in_widths(pair.seen(camera, side[:, 0], side[:, 1])[0], sizes[camera])
                  for camera, side in enumerate((tracked.left, tracked.right))]
        again = fit(points[0], points[1], _shapes(sizes), start=fitted)
        density = (again.left.focal * sizes[0][0] + again.right.focal * sizes[1][0]) / 2
        trial = levelled(again, sizes, rotations)
        found = track(trial, pictures, density)
        if _worth(found) < _worth(tracked):
            break
        fitted, pair, tracked = again, trial, found
    density = (fitted.left.focal * sizes[0][0] + fitted.right.focal * sizes[1][0]) / 2
    for _ in range(WARPS):
        if len(tracked.left) < FEWEST:
            break
        trial = replace(pair, warp=warp_of(tracked, pair))
        found = track(trial, pictures, density)
        if _worth(found) < _worth(tracked):
            break
        pair, tracked = trial, found
    return pair, tracked, density


def _worth(tracked: Tracked) -> float:
    """More is better: points that fall together, the nearer the more."""
    return float(np.sum(1 / (1 + tracked.pixels**2))) if len(tracked.pixels) else 0.0


def _pixels(tracked: Tracked, percent: int) -> float:
    return round(float(np.percentile(tracked.pixels, percent)), 3) if len(tracked.pixels) else 99.0


def _drawn(pair: CameraPair, area: Area, left: CommonView, right: CommonView,
           ) -> tuple[tuple[Tone, Tone], tuple[float, ...], float]:
    """Tones and seam, and how far luma is apart along the seam."""
    columns = max(round(area.width * area.density / SMALL), 32)
    rows = max(round(area.height * area.density / SMALL), 16)
    a, t = grid(area, columns, rows)
    views: list[list[Plane]] = []
    masks = []
    for camera, one in enumerate((left, right)):
        pixels, seen = pair.seen(camera, a, t)
        masks.append(seen)
        x, y = pixels[..., 0], pixels[..., 1]
        views.append([_small(one.planes.y, x, y, SMALL),
                      *(_small(plane, x / 2, (y - 0.5) / 2, SMALL / 2) for plane in one.planes[1:])])
    both = masks[0] & masks[1]
    block = BLOCK // 2
    use = means((both * 255).astype(np.uint8), block) > 254
    blocks = [tuple(means(plane, block) for plane in view) for view in views]
    tones = tones_of((blocks[0][0], blocks[0][1], blocks[0][2]), (blocks[1][0], blocks[1][1], blocks[1][2]), use)
    luma = [toned(view[0], tone.gain, tone.offset) for view, tone in zip(views, tones, strict=True)]
    inner = cv2.erode(both.astype(np.uint8), np.ones((3, 5), np.uint8)).astype(bool)
    path = find_seam(luma[0], luma[1], inner if inner.any() else both)
    places = np.interp(np.linspace(0, rows - 1, SEAM), np.arange(rows), path)
    seam = tuple(float(area.left + (at + 0.5) * area.width / columns) for at in places)
    step = luma[0].astype(np.float64) - luma[1]
    near = [np.median(step[row, max(int(at) - 4, 0) : int(at) + 5]) for row, at in enumerate(path)]
    return tones, seam, float(np.mean(np.abs(near)))


def _small(plane: Plane, x: Array, y: Array, times: float) -> Plane:
    """A plane seen through tables that take every `times`th pixel, which is smoothed before."""
    smooth = cv2.GaussianBlur(plane, (0, 0), times / 2)
    return sampled(np.asarray(smooth, np.uint8), np.stack([x, y], axis=-1).astype(np.float32))


def _judged(quality: Quality, far_px: float) -> tuple[CalibrationVerdict, tuple[str, ...]]:
    """Good or poor, and what would make it better."""
    advice = []
    if quality.matches < ENOUGH:
        advice.append(f"only {quality.matches} points agree ({ENOUGH} make it sure): let the views overlap more, or "
                      "calibrate in better light")
    if quality.tracked < WELL:
        advice.append(f"only {quality.tracked:.0%} of what both cameras see falls together ({WELL:.0%} make it sure): "
                      "bring the cameras closer together, see that both are sharp, and calibrate on an empty court")
    if quality.p95_px > far_px:
        advice.append(f"some places are {quality.p95_px:.1f} pixels apart ({far_px:.1f} are good): bring the cameras "
                      "closer together, or keep near things out of the overlap")
    return (CalibrationVerdict.POOR if advice else CalibrationVerdict.GOOD), tuple(advice)

