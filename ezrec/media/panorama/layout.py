"""The panorama as a layout of the film: its canvas from a calibration, and what draws on it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from av.video.frame import VideoFrame

from ezrec.domain.calibration import Calibration, misfit
from ezrec.domain.errors import BadMedia
from ezrec.domain.film import Calibrated, Canvas, Rung, View
from ezrec.media.overlay import Placed
from ezrec.media.panorama.composing import PanoramaComposer
from ezrec.media.panorama.maps import kept_beside
from ezrec.media.side_by_side import FlatComposer, SideBySide

NAME = "panorama"
WIDEST = 3840  # pixels; decoders of phones end at 4096
HIGHEST = 2160
COLUMNS = 16  # an H.264 macroblock


def panorama_canvas(path: Path, sha256: str, calibration: Calibration, sizes: Mapping[str, tuple[int, int]],
                    rotations: Mapping[str, int]) -> Canvas:
    """The canvas of two cameras whose encoded pictures have these sizes (pixels), from a calibration kept at `path`.

    Its views tell where the cameras would be without it: a chunk that cannot be drawn as a panorama fits the canvas.

    Raises:
        BadMedia: the calibration is not of these cameras' pictures; the words say what differs.
    """
    turned = []
    for name, lens in (("left", calibration.left), ("right", calibration.right)):
        if name not in sizes:
            raise BadMedia(f"camera {name} gives no picture")
        size, rotation = sizes[name], rotations.get(name, 0)
        size = size[::-1] if rotation % 180 else size
        if why := misfit(lens, size, rotation):
            raise BadMedia(f"camera {name}: {why}; run `ezrec calibrate`")
        turned.append(size)
    area = calibration.area
    density = area.density * min(size[0] / lens.size[0] for size, lens in
                                 zip(turned, (calibration.left, calibration.right), strict=True))
    density *= min(1.0, WIDEST / (area.width * density), HIGHEST / (area.height * density))
    width = max(int(area.width * density) // COLUMNS * COLUMNS, COLUMNS)
    height = max(round(area.height / area.width * width / 2) * 2, 2)
    edges = [min(max(round((edge - area.left) / area.width * width / 2) * 2, 2), width - 2) for edge in area.both[:2]]
    views = (View("left", 0, edges[1], height, rotations.get("left", 0)),
             View("right", edges[0], width - edges[0], height, rotations.get("right", 0)))
    used = Calibrated(str(path), sha256, (turned[0], turned[1]), calibration.id, str(calibration.verdict),
                      calibration.quality.tracked, calibration.quality.p95_px)
    return Canvas(width, height, views, NAME, used)


class Panorama:
    """A `Geometry`."""

    def canvas(self, sizes: Mapping[str, tuple[int, int]], rotations: Mapping[str, int], overlap: float) -> Canvas:
        """See `Geometry.canvas`. Nothing is calibrated here: it is that of feather (`panorama_canvas` is the other)."""
        return SideBySide("feather", feathered=True).canvas(sizes, rotations, overlap)

    def composer(self, canvas: Canvas, rung: Rung, logos: Sequence[Placed],
                 frame: VideoFrame) -> PanoramaComposer | FlatComposer:
        """See `Geometry.composer`.

        Raises:
            BadMedia: the calibration that the film began with is gone or damaged.
        """
        used = canvas.calibration
        if rung is not Rung.FULL:
            return FlatComposer(canvas, logos, feather=rung is Rung.FEATHER, frame=frame)
        if used is None:
            raise BadMedia("the film's recipe names no calibration")
        calibration, tables = kept_beside(Path(used.path), used.sha256, canvas.width, canvas.height, used.sizes)
        return PanoramaComposer(canvas, calibration, tables, logos, frame)
