"""One-point perspective and the plain furniture that is drawn in it, for rooms, roads and pitches."""

from collections.abc import Iterable, Sequence

from s2p_lib.demo_scenes.canvas import Canvas, Point
from s2p_lib.demo_scenes.chance import Rng, pick
from s2p_lib.demo_scenes.colors import Color, dark, light

Span = float | tuple[float, float]

DEPTH = (0, 1.3)  # from the back wall to behind the viewer, so that no near edge shows


def _pair(span: Span) -> Point:
    """Return a span as (from, to); a plain number is a span without width."""
    return span if isinstance(span, tuple) else (span, span)


class Space:
    """One-point perspective: x 0..1 between the walls, y 0..1 from the floor up, z 0 (back) to 1 (near)."""

    def __init__(self, canvas: Canvas, box: Sequence[float], vanish: Point, zoom: float) -> None:
        self.c, self.box, self.vanish, self.k = canvas, box, vanish, 1 - 1 / zoom

    def size(self, z: float) -> float:
        """How much larger things look at depth z than at the back wall."""
        return 1 / max(0.015, 1 - self.k * z)

    def p(self, x: float, y: float, z: float) -> Point:
        """Project a point of the space onto the canvas."""
        (left, top, right, bottom), (vx, vy), s = self.box, self.vanish, self.size(z)
        return vx + (left + (right - left) * x - vx) * s, vy + (bottom - (bottom - top) * y - vy) * s

    def face(self, x: Span, y: Span, z: Span, color: Color, lit: bool = False) -> None:
        """Fill the flat rectangle spanned by the three ranges, one of which is a plain number."""
        (x0, x1), (y0, y1), (z0, z1) = _pair(x), _pair(y), _pair(z)
        if x0 == x1:
            corners = ((x0, y0, z0), (x0, y1, z0), (x0, y1, z1), (x0, y0, z1))
        else:  # y or z is the plain number, so that one formula does for floors and for walls
            corners = ((x0, y0, z0), (x1, y0, z0), (x1, y1, z1), (x0, y1, z1))
        self.c.poly([self.p(*corner) for corner in corners], color, lit)

    def block(self, x: Point, y: Point, z: Point, color: Color) -> None:
        """Draw the visible faces of a box; draw far boxes first."""
        if self.p(x[0], 0, 0)[0] > self.vanish[0]:
            self.face(x[0], y, z, dark(color, 0.28))
        if self.p(x[1], 0, 0)[0] < self.vanish[0]:
            self.face(x[1], y, z, dark(color, 0.28))
        if self.p(0, y[1], 0)[1] > self.vanish[1]:
            self.face(x, y[1], z, light(color, 0.3))
        elif self.p(0, y[0], 0)[1] < self.vanish[1]:
            self.face(x, y[0], z, dark(color, 0.4))
        self.face(x, y, z[1], color)

    def put(self, prop: str, x: float, z: float, size: float, *colors: Color, y: float = 0, flip=False) -> None:
        """Draw one of PROPS, its foot at (x, y, z)."""
        self.c.put(prop, *self.p(x, y, z), size * self.size(z), *colors, flip=flip)

    def paint_floor(self, marks: Iterable[tuple[Span, Span]], color: Color) -> None:
        """Paint rectangles (x, z) on the floor: the lines of a court."""
        for x, z in marks:
            self.face(x, 0, z, color)

    def table(self, x: Point, y: float, z: Point, color: Color) -> None:
        """A board on four legs."""
        for a in (x[0], x[1] - 0.02):
            for b in z:
                self.face((a, a + 0.02), (0, y), b, dark(color, 0.35))
        self.block(x, (y - 0.035, y), z, color)

    def rug(self, x: Point, z: Point, color: Color) -> None:
        """A rug with a border."""
        dx, dz = (x[1] - x[0]) * 0.08, (z[1] - z[0]) * 0.1
        self.face(x, 0, z, color)
        self.face((x[0] + dx, x[1] - dx), 0, (z[0] + dz, z[1] - dz), light(color, 0.4))

    def shelf(self, rng: Rng, x: Span, y: Point, z: Span, rows: int, n: int, colors: Sequence[Color]) -> None:
        """Rows of upright things (books, packets); along a side wall if x is a plain number."""
        (x0, x1), (z0, z1), step = _pair(x), _pair(z), (y[1] - y[0]) / rows
        for r in range(rows):
            low = y[0] + r * step
            for i, tall in enumerate(rng.uniform(0.6, 0.88, n).tolist()):
                (a, b), up = ((i + 0.07) / n, (i + 0.93) / n), (low + step * 0.05, low + step * tall)
                wide = (x0 + (x1 - x0) * a, x0 + (x1 - x0) * b) if x1 > x0 else x0
                deep = (z0 + (z1 - z0) * a, z0 + (z1 - z0) * b) if z1 > z0 else z0
                self.face(wide, up, deep, pick(rng, colors))
            self.face(x, (low - step * 0.06, low + step * 0.04), z, "#e9e4d8")
