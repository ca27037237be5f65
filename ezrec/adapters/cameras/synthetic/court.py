"""A make-believe sports court for cameras that do not exist: one wide scene, of which each camera sees its part.

The scene is drawn straight into YUV420 planes. Everything that never moves is painted once; a picture then costs only
the crowd (a quarter of the luma, one of a few prepared textures) and some small patches. Where players and ball are
is a function of time alone, so two cameras that know nothing of each other agree, and what both see is pixel for pixel
the same. No lens, no perspective between the cameras, no sensor noise.

Each view carries a frame counter near its bottom outer corner, 4 x 8 cells that are black or white: a program reads it
back from the encoded, scaled or joined film and so knows of every frame that is missing.
"""

import math
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ezrec.domain.clock import SECOND
from ezrec.pyav import Planes

Luma = NDArray[np.uint8]

COUNTER_BITS = 24
ROWS, COLUMNS = 4, 8  # of the counter's cells
SYNC = (1, 0, 0, 1)  # the first bits; what is no counter fails here, or at the checksum
BLACK, WHITE = 24, 232  # luma of a cell that is 0 and of one that is 1
SURE = 40  # a cell whose luma is nearer to the middle than this is not a cell
RAISED = 6  # cells of room under the counter, for a logo in the bottom corner

WIDEST_OVERLAP = 0.4  # beyond it the counters would come into what both cameras see
STANDS = 4  # one part in so many of the height is the stands
CROWD_PICTURES = 4
CROWD_US = SECOND // 10  # the crowd moves ten times a second
PLAYERS = 10
SEED = 1851  # of everything that looks random; both cameras must come to the same world


def counter_at(index: int) -> int:
    """The counter that frame `index` shows: it begins again after 2^24 frames (6.5 days at 30 per second)."""
    return index % (1 << COUNTER_BITS)


def index_at(us: int, rate: Fraction) -> int:
    """The newest frame that is due at `us` on the grid of `rate` frames per second that starts at time 0."""
    return math.floor(us * rate / SECOND)


def due_us(index: int, rate: Fraction) -> int:
    """When frame `index` is due, in µs; rounded up, so that `index_at` leads back to it."""
    return math.ceil(index * SECOND / rate)


def checksum(counter: int) -> int:
    """CRC-4 (polynomial x^4 + x + 1, ITU-T G.704) over the counter's 24 bits: finds every single wrong cell."""
    rest = counter << 4
    for bit in range(COUNTER_BITS + 3, 3, -1):
        if rest >> bit & 1:
            rest ^= 0b10011 << (bit - 4)
    return rest


def cell_size(height: int) -> int:
    """The edge of one counter cell in a view of `height` pixels, in pixels: even, at least 8."""
    return max(8, height // 45 // 2 * 2)


def counter_cells(counter: int) -> Luma:
    """The counter as a (4, 8) array of 0 and 1: sync, counter with its highest bit first, checksum."""
    bits = [*SYNC, *(counter >> bit & 1 for bit in range(COUNTER_BITS - 1, -1, -1))]
    bits += [checksum(counter) >> bit & 1 for bit in range(3, -1, -1)]
    return np.array(bits, np.uint8).reshape(ROWS, COLUMNS)


def read_counter(luma: Luma, side: str, view_height: int | None = None) -> int | None:
    """Read the counter of one view from the luma of a whole picture, a view's own or a film's.

    Args:
        luma: (height, width) uint8, the whole picture.
        side: `left` or `right`: the edge of the picture that the view's outer edge lies on.
        view_height: the height in pixels that the view was drawn at, if the picture has been scaled since.

    Returns:
        The counter, or None if there is none to read: another picture, a filled half, a damaged cell.
    """
    height, width = luma.shape
    drawn_at = view_height or height
    cell = cell_size(drawn_at) * height / drawn_at
    top = height - (RAISED + ROWS) * cell
    left = cell if side == "left" else width - (1 + COLUMNS) * cell
    if top < 0 or left < 0 or width < (1 + COLUMNS) * cell:
        return None
    half = max(1, round(cell / 2))
    bits = []
    for row in range(ROWS):
        for column in range(COLUMNS):
            y, x = top + (row + 0.25) * cell, left + (column + 0.25) * cell
            inner = slice(round(y), round(y) + half), slice(round(x), round(x) + half)
            mean = float(luma[inner].mean()) - (BLACK + WHITE) / 2
            if abs(mean) < SURE:
                return None
            bits.append(mean > 0)
    number = sum(bit << place for place, bit in enumerate(reversed(bits[len(SYNC):])))
    counter = number >> 4
    if tuple(bits[:len(SYNC)]) != SYNC or number & 15 != checksum(counter):
        return None
    return counter


class Sprite(NamedTuple):
    """Something small that moves: its shape (bool, even edges) and colour."""

    shape: NDArray[np.bool_]
    colour: tuple[int, int, int]  # Y, U, V


class CourtView:
    """What one camera of the pair sees of the court."""

    def __init__(self, size: tuple[int, int], side: str, overlap: float) -> None:
        """Prepare the scene.

        Args:
            size: width and height of the view in pixels, even.
            side: `left` or `right`.
            overlap: the part of the view's width (0 to 0.4) that the other camera sees as well.

        Raises:
            ValueError: the view is too small for the counter, or its sides are odd, or the overlap is out of range.
        """
        width, height = size
        smallest = 2 * (1 + COLUMNS) * cell_size(height), (RAISED + ROWS) * cell_size(height)
        if width < smallest[0] or height < smallest[1] or width % 2 or height % 2 or not 0 <= overlap <= WIDEST_OVERLAP:
            raise ValueError(f"a court view needs even sides of at least {smallest[0]}x{smallest[1]} pixels and an "
                             f"overlap of 0 to {WIDEST_OVERLAP}, not {width}x{height} and {overlap}")
        self.size = size
        common = round(width * overlap / 2) * 2
        self._world = 2 * width - common
        self._x = 0 if side == "left" else width - common
        self._stands = height // STANDS // 2 * 2
        self._still, self._crowds = _scene(self._world, self._x, size, self._stands)
        self._cell = cell_size(height)
        top = height - (RAISED + ROWS) * self._cell
        left = self._cell if side == "left" else width - (1 + COLUMNS) * self._cell
        self._counter = (slice(top, top + ROWS * self._cell), slice(left, left + COLUMNS * self._cell))
        for plane in (self._still.u, self._still.v):
            plane[tuple(slice(edge.start // 2, edge.stop // 2) for edge in self._counter)] = 128
        self._players = [_player(number, height) for number in range(PLAYERS)]
        ball = max(4, height // 90 // 2 * 2)
        self._ball = Sprite(_disc(ball, ball), (225, 60, 150))
        self._drawn: list[tuple[slice, slice]] = []

    def paint(self, planes: Planes) -> None:
        """Paint all of the picture that does not move. Once for each set of planes, before the first `draw`."""
        for plane, still in zip(planes, self._still, strict=True):
            plane[:] = still
        self._drawn = []

    def draw(self, planes: Planes, us: int, counter: int) -> None:
        """Draw what moves, as it is at `us`, over the picture that the last call left in `planes`."""
        for y, x in self._drawn:
            half = (slice(y.start // 2, y.stop // 2), slice(x.start // 2, x.stop // 2))
            planes.y[y, x] = self._still.y[y, x]
            planes.u[half] = self._still.u[half]
            planes.v[half] = self._still.v[half]
        self._drawn = []
        planes.y[:self._stands] = self._crowds[us // CROWD_US % CROWD_PICTURES]
        for number, player in enumerate(self._players):
            self._put(planes, player, *self._where(number, us))
        self._put(planes, self._ball, *self._where(PLAYERS, us))
        cells = BLACK + (WHITE - BLACK) * counter_cells(counter)
        planes.y[self._counter] = cells.repeat(self._cell, axis=0).repeat(self._cell, axis=1)

    def _where(self, number: int, us: int) -> tuple[float, float]:
        """Where a player (or the ball, after them) stands in the world: a slow figure of Lissajous over the floor."""
        t = us / SECOND
        fast = 3.0 if number == PLAYERS else 1.0
        across = math.sin(fast * (0.21 + 0.017 * number) * t + number * 2.4)
        along = math.sin(fast * (0.29 + 0.013 * number) * t + number * 1.1)
        floor = self.size[1] - self._stands
        return (0.5 + 0.46 * across) * self._world, self._stands + (0.5 + 0.4 * along) * floor

    def _put(self, planes: Planes, sprite: Sprite, x: float, y: float) -> None:
        """Put `sprite` with its middle at (x, y) of the world; what lies outside the view is cut off."""
        tall, wide = sprite.shape.shape
        left, top = (round(x) - self._x - wide // 2) // 2 * 2, (round(y) - tall // 2) // 2 * 2
        ys, xs = slice(max(0, top), min(self.size[1], top + tall)), slice(max(0, left), min(self.size[0], left + wide))
        if ys.start >= ys.stop or xs.start >= xs.stop:
            return
        shape = sprite.shape[ys.start - top:ys.stop - top, xs.start - left:xs.stop - left]
        half = (slice(ys.start // 2, ys.stop // 2), slice(xs.start // 2, xs.stop // 2))
        planes.y[ys, xs][shape] = sprite.colour[0]
        planes.u[half][shape[::2, ::2]] = sprite.colour[1]
        planes.v[half][shape[::2, ::2]] = sprite.colour[2]
        self._drawn.append((ys, xs))


def _scene(world: int, left: int, size: tuple[int, int], stands: int) -> tuple[Planes, list[Luma]]:
    """What of a `world` pixels wide never moves in the view that begins at `left`, and the crowd's textures there."""
    width, height = size
    noise = np.random.default_rng(SEED)
    block = max(4, height // 90 // 2 * 2)  # the edge of a spectator, pixels
    seats = (stands // block + 1, world // block + 1)

    def random_blocks(low: int, high: int, edge: int) -> Luma:
        blocks = noise.integers(low, high, seats, np.uint8).repeat(edge, axis=0).repeat(edge, axis=1)
        scale = block // edge  # 1 on luma, 2 on chroma
        return blocks[:stands // scale, left // scale:(left + width) // scale].copy()

    people = random_blocks(50, 170, block)
    crowds = [people + random_blocks(0, 36, block) for _ in range(CROWD_PICTURES)]
    planes = Planes(np.empty((height, width), np.uint8), np.full((height // 2, width // 2), 112, np.uint8),
                    np.full((height // 2, width // 2), 148, np.uint8))
    grain = noise.integers(0, 11, (height, world), np.uint8)[:, left:left + width]
    planes.y[:] = np.linspace(100, 135, height).astype(np.uint8)[:, None] + grain
    planes.y[:stands] = crowds[0]
    for plane in (planes.u, planes.v):
        plane[:stands // 2] = random_blocks(105, 151, block // 2)
    _paint_lines(planes, world, left, stands)
    return planes, crowds


def _paint_lines(planes: Planes, world: int, left: int, stands: int) -> None:
    """The court's lines: the field, its middle, a circle and two areas, with sides that lean together far away."""
    height, width = planes.y.shape
    down = ((np.arange(height, dtype=np.float32) - stands) / (height - stands))[:, None]  # 0 stands, 1 bottom
    place = (np.arange(left, left + width, dtype=np.float32) / world - 0.5)[None, :]
    across = place / (0.80 + 0.20 * down)  # -0.5 to 0.5 over the width of the floor
    thick = 0.0022
    upright = np.zeros(across.shape, np.bool_)
    for line in (0.0, 0.30, 0.46):
        upright |= np.abs(np.abs(across) - line) < thick
    upright |= np.abs(np.hypot(across * 2.4, down - 0.5) - 0.18) < 3 * thick
    upright &= (down > 0.05) & (down < 0.95)
    level = (np.abs(down - 0.05) < 4 * thick) | (np.abs(down - 0.95) < 4 * thick)
    white = upright | (level & (np.abs(across) < 0.46 + thick))
    planes.y[white] = 215
    pale = white[::2, ::2]
    planes.u[pale], planes.v[pale] = 128, 128


def _disc(tall: int, wide: int) -> NDArray[np.bool_]:
    """An ellipse that fills a box."""
    y, x = np.mgrid[0:tall, 0:wide]
    inside: NDArray[np.bool_] = np.hypot((y + 0.5) * 2 / tall - 1, (x + 0.5) * 2 / wide - 1) <= 1
    return inside


def _player(number: int, height: int) -> Sprite:
    """A body with a head, in the shirt of one of two teams."""
    tall = max(8, height // 9 // 2 * 2)
    wide, head = tall // 4 * 2, tall // 4
    shape = np.zeros((tall, wide), np.bool_)
    shape[head:] = _disc(tall - head, wide)
    shape[:head, (wide - head) // 2:(wide - head) // 2 + head] |= _disc(head, head)
    team = ((70, 175, 95), (185, 75, 165))[number % 2]
    return Sprite(shape, (team[0] + 3 * number, team[1], team[2]))
