"""A clip's pictures in the film's colours: 8 bits, BT.709, limited range, no alpha channel.

High dynamic range (HLG and PQ) and wide gamuts are mapped by a table, a cube of 33 x 33 x 33 colours between which is
interpolated. It is made of these formulae:

- HLG: inverse OETF and OOTF for a display of 1000 cd/m² (ITU-R BT.2100-2, table 5; system gamma 1.2)
- PQ: EOTF (ITU-R BT.2100-2, table 4)
- to standard range: the EETF of ITU-R BT.2390-10, 5.4.1, on the largest of R, G and B, from 1000 cd/m² to 203 cd/m²,
  which is HDR's reference white (ITU-R BT.2408-5, 2.1)
- BT.2020 to BT.709 in linear light: ITU-R BT.2087-0, 4; Display P3 likewise; what lies outside is clipped
- the display's gamma of 2.4: ITU-R BT.1886

Limits: what is brighter than 1000 cd/m² becomes white, whatever a file tells of the display it was mastered on. A clip
that names no matrix is taken for BT.601 below 720 lines, else for BT.709.
"""

from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from av.filter import Graph
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from ezrec.media.clip import ClipLook
from ezrec.media.drawing import FULL_RANGE, fit
from ezrec.pyav import Planes

HD_LINES = 720  # a clip of fewer lines that names no matrix was made with BT.601
CUBE = 33  # colours along an edge of the table
PEAK, WHITE = 1000.0, 203.0  # cd/m²
PQ, HLG = 16, 18  # transfer characteristics, as all numbers here: ITU-T H.273, tables 2 to 4
BT2020, P3 = 9, 12  # primaries

MATRICES: dict[int, str | int] = {4: "FCC", 5: "ITU601", 6: "ITU601", 7: "SMPTE240M", 9: 9, 10: 9}
"""Matrix coefficients, as swscale calls them; all others are taken for BT.709."""

TO_709 = {
    BT2020: np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]),
    P3: np.array([[1.2249, -0.2247, 0.0], [-0.0420, 1.0419, 0.0], [-0.0197, -0.0786, 1.0979]]),
}

Light = NDArray[np.float64]


class FilmColours:
    """Brings a clip's pictures to a size and to the film's colours, upright, one after the other."""

    def __init__(self, look: ClipLook) -> None:
        self._orientation = look.orientation
        self._colours = look.transfer, look.primaries
        self._is_wide = look.transfer in (PQ, HLG) or look.primaries in TO_709
        self._graph: Graph | None = None
        self._form: tuple[int, int, int, int] | None = None

    def planes(self, frame: VideoFrame, width: int, height: int) -> Planes:
        """The planes of `frame`, upright, at `width` x `height` pixels."""
        degrees, mirrored = self._orientation
        frame = on_black(frame)
        matrix = matrix_of(frame)
        if self._is_wide:
            frame, matrix = self._mapped(frame, *((height, width) if degrees % 180 else (width, height))), "ITU709"
        return fit(frame, width, height, degrees, matrix, mirrored)

    def _mapped(self, frame: VideoFrame, width: int, height: int) -> VideoFrame:
        full = frame.format.name.startswith("yuvj") or int(frame.color_range) == FULL_RANGE
        colour = frame.reformat(width, height, "gbrp10le", src_colorspace=matrix_of(frame),
                                src_color_range="JPEG" if full else "MPEG", dst_color_range="JPEG",
                                interpolation="BICUBIC")
        form = width, height, *self._colours
        if self._graph is None or form != self._form:
            self._graph, self._form = _table_graph(*form), form
        colour.time_base = colour.time_base or frame.time_base
        self._graph.push(colour)
        mapped: Any = self._graph.pull()
        return mapped  # type: ignore[no-any-return]


def matrix_of(frame: VideoFrame) -> str | int:
    """Which matrix made the picture's samples, by swscale's name or number."""
    named = int(frame.colorspace)
    if named == 2:  # it is not told
        return "ITU709" if frame.height >= HD_LINES else "ITU601"
    return MATRICES.get(named, "ITU709")


def on_black(frame: VideoFrame) -> VideoFrame:
    """The picture as it looks on black: itself, if it has no alpha channel."""
    form = frame.format
    if not form.has_palette and not any(one.is_alpha for one in form.components):
        return frame
    full = int(frame.color_range) == FULL_RANGE
    shown = frame.reformat(format="rgba", src_colorspace=matrix_of(frame), src_color_range="JPEG" if full else "MPEG",
                           dst_color_range="JPEG")
    pixels = shown.to_ndarray()
    flat = np.empty((*pixels.shape[:2], 3), np.uint8)
    for row in range(len(pixels)):  # line by line: a whole picture of 16-bit products would take much memory
        flat[row] = (pixels[row, :, :3].astype(np.uint16) * pixels[row, :, 3:] + 127) // 255
    return VideoFrame.from_ndarray(flat, format="rgb24")


def cube(transfer: int, primaries: int) -> Light:
    """The table: for each blue, green and red signal (0 to 1) the BT.709 signals R, G and B."""
    steps = np.linspace(0, 1, CUBE)
    blue, green, red = np.meshgrid(steps, steps, steps, indexing="ij")
    signal: Light = np.stack([red, green, blue], axis=-1)
    if transfer in (PQ, HLG):
        light = pq_light(signal) if transfer == PQ else hlg_light(signal)
        brightest = light.max(axis=-1, keepdims=True)
        light *= standard_range(brightest) / np.maximum(brightest, 1e-6) / WHITE
    else:
        light = signal**2.4
    if transfer in (PQ, HLG) and primaries not in TO_709:
        primaries = BT2020  # HDR that names no primaries has these
    light = light @ TO_709[primaries].T
    result: Light = np.clip(light, 0, 1) ** (1 / 2.4)
    return result


def pq_light(signal: Light) -> Light:
    """The light that PQ's signal (0 to 1) stands for, in cd/m²."""
    root = signal ** (1 / 78.84375)
    light: Light = 10_000 * (np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)) ** (1 / 0.1593017578125)
    return light


def pq_signal(light: Light) -> Light:
    """The inverse of `pq_light`."""
    root = (light / 10_000) ** 0.1593017578125
    signal: Light = ((0.8359375 + 18.8515625 * root) / (1 + 18.6875 * root)) ** 78.84375
    return signal


def hlg_light(signal: Light) -> Light:
    """The light of HLG's signal (R, G and B, each 0 to 1) on a display of `PEAK`, in cd/m²."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    luminance = scene @ np.array([0.2627, 0.6780, 0.0593])
    light: Light = PEAK * scene * luminance[..., None] ** 0.2
    return light


def standard_range(light: Light) -> Light:
    """What becomes of light up to `PEAK` on a display of `WHITE`, both in cd/m²: highlights are rolled off."""
    top = pq_signal(np.array(PEAK))
    most = pq_signal(np.array(WHITE)) / top
    knee = 1.5 * most - 0.5
    value = np.minimum(pq_signal(light) / top, 1)
    t = (value - knee) / (1 - knee)
    bent = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (3 * t**2 - 2 * t**3) * most
    return pq_light(np.where(value < knee, value, bent) * top)


def _table_graph(width: int, height: int, transfer: int, primaries: int) -> Graph:
    """What maps pictures of this size (gbrp10le) by a table."""
    graph = Graph()
    source = graph.add_buffer(width=width, height=height, format=VideoFormat("gbrp10le"), time_base=Fraction(1))
    with TemporaryDirectory() as folder:  # the filter reads its file when it is added
        file = Path(folder) / "table.cube"
        rows = cube(transfer, primaries).reshape(-1, 3)
        lines = [f"LUT_3D_SIZE {CUBE}", *(f"{red:.5f} {green:.5f} {blue:.5f}" for red, green, blue in rows)]
        file.write_text("\n".join(lines) + "\n", "ascii")
        table = graph.add("lut3d", file=str(file), interp="tetrahedral")
    graph.link_nodes(source, table, graph.add("buffersink"))
    graph.configure()
    return graph
