"""How the cameras' views become one picture: the layouts there are.

A layout decides the canvas of a film once, from the sizes of the cameras' pictures, and draws every picture of it. To
add one, write a `Geometry` in a file of its own and list it in `GEOMETRIES`. Its rungs stand in `domain/film.py`.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from av.video.frame import VideoFrame

from ezrec.domain.film import Canvas, Light, Rung
from ezrec.media.overlay import Placed
from ezrec.media.panorama.layout import NAME, Panorama
from ezrec.media.side_by_side import SideBySide


class Composer(Protocol):
    """Draws one film's pictures, one after the other."""

    def compose(self, pictures: Mapping[str, VideoFrame | None]) -> VideoFrame:
        """The film's picture of these camera pictures; the view of a camera without one is filled."""


@runtime_checkable
class Following(Protocol):
    """A `Composer` that follows slow changes of light between a chunk's beginning and its end."""

    def follow(self, first: Mapping[str, VideoFrame | None], last: Mapping[str, VideoFrame | None],
               ticks: int) -> tuple[Light, Light]:
        """Take the light from a picture of each camera near both ends of a chunk of so many ticks."""


class Geometry(Protocol):
    """A layout of the cameras' views."""

    def canvas(self, sizes: Mapping[str, tuple[int, int]], rotations: Mapping[str, int], overlap: float) -> Canvas:
        """The canvas of cameras whose encoded pictures have these sizes (pixels), left to right.

        `rotations` are degrees clockwise, `overlap` is the part of the narrowest view's width that neighbours share.
        One camera: its own picture.
        """

    def composer(self, canvas: Canvas, rung: Rung, logos: Sequence[Placed], frame: VideoFrame) -> Composer:
        """What draws onto `frame`, from its upper left corner, on one rung of the fallback ladder."""


GEOMETRIES: dict[str, Geometry] = {
    "feather": SideBySide("feather", feathered=True),
    NAME: Panorama(),
    "side_by_side": SideBySide("side_by_side", feathered=False),
}
"""By the name that the setting `film.layout` has for it."""


def canvas_for(layout: str, sizes: Mapping[str, tuple[int, int]], rotations: Mapping[str, int] | None = None,
               overlap: float = 0.0) -> Canvas:
    """The canvas of these cameras in a layout. See `Geometry.canvas`."""
    return GEOMETRIES[layout].canvas(sizes, rotations or {}, overlap)


def composer_for(canvas: Canvas, rung: Rung, logos: Sequence[Placed], frame: VideoFrame) -> Composer:
    """What draws pictures of this canvas. See `Geometry.composer`."""
    return GEOMETRIES[canvas.layout].composer(canvas, rung, logos, frame)
