"""What indoor places share: the empty room and its lamps, windows, pictures, beds."""

from collections.abc import Iterable
from itertools import product

from s2p_lib.demo_scenes.canvas import Canvas, Point
from s2p_lib.demo_scenes.chance import Rng, pick, picks, some
from s2p_lib.demo_scenes.colors import ACCENTS, Color, dark, fade, light, mix
from s2p_lib.demo_scenes.outdoors import LIGHTS, MOODS
from s2p_lib.demo_scenes.perspective import DEPTH, Space


def room(c: Canvas, rng: Rng, walls: str, floors: str, boards: str = "wood") -> Space:
    """Paint an empty room and set its lamp light; boards may hold "wood" (planks), "tile" or "plain"."""
    wall, floor, boards = pick(rng, walls), pick(rng, floors), pick(rng, boards)
    lamps = (1, 1, 1), (1.02, 0.96, 0.87), (1.03, 0.91, 0.77), (0.93, 0.97, 1.0), (0.85, 0.81, 0.82)
    c.tint = pick(rng, lamps)
    box = (rng.uniform(0.12, 0.28), rng.uniform(0.1, 0.2), rng.uniform(0.74, 0.9), rng.uniform(0.6, 0.7))
    s = Space(c, box, (rng.uniform(0.38, 0.62), rng.uniform(0.36, 0.44)), 2.8)
    s.face((0, 1), 1, DEPTH, mix(wall, "#ffffff", 0.6))
    s.face(0, (0, 1), DEPTH, dark(wall, 0.16))
    s.face(1, (0, 1), DEPTH, dark(wall, 0.08))
    c.shade(*box, light(wall, 0.2), wall)
    s.face((0, 1), 0, DEPTH, floor)
    seam, n = fade(dark(floor, 0.4), 90), {"wood": 14, "tile": 10, "plain": 0}[boards]
    for k in range(1, n):
        c.line([s.p(k / n, 0, 0), s.p(k / n, 0, 1.3)], seam, 0.003)
    for k in range(1, n if boards == "tile" else 0):
        c.line([s.p(0, 0, k / 8), s.p(1, 0, k / 8)], seam, 0.003)
    wall_band(s, (0, 0.035), light(wall, 0.55))
    return s


def wall_band(s: Space, y: Point, color: Color, sides: Color | None = None) -> None:
    """A band along all three walls; the side walls may have a colour of their own."""
    s.face((0, 1), y, 0, color)
    for x in (0, 1):
        s.face(x, y, DEPTH, sides or color)


def ceiling_lamps(s: Space, xs: Iterable[Point], zs: Iterable[Point], color: Color) -> None:
    """Flat lamps in the ceiling, wherever one of xs meets one of zs."""
    for x, z in product(xs, zs):
        s.face(x, 1, z, color, lit=True)


def hanging_lamp(s: Space, x: float, z: float, size: float, color: Color, cord: float = 0.85) -> None:
    """A lamp on a cord that ends at the height cord."""
    s.c.line([s.p(x, 1, z), s.p(x, cord, z)], "#2c2a2a", 0.004)
    s.put("pendant", x, z, size, color, y=0.84)


def window(s: Space, rng: Rng, x: Point, y: Point, curtain: Color | None = None) -> None:
    """A window in the back wall with a bit of sky or night behind it."""
    (x0, y1), (x1, y0), c = s.p(x[0], y[0], 0), s.p(x[1], y[1], 0), s.c
    top, low, _, _ = LIGHTS[pick(rng, MOODS)]
    c.rect(x0 - 0.012, y0 - 0.015, x1 + 0.012, y1 + 0.015, "#f7f3ea")
    c.shade(x0, y0, x1, y1, top, low, lit=True)
    c.pie(x0 * 0.6 + x1 * 0.4, y1, (x1 - x0) * 0.3, (y1 - y0) * 0.25, mix(low, "#3d7a55", 0.6))
    c.line([((x0 + x1) / 2, y0), ((x0 + x1) / 2, y1)], "#f7f3ea", 0.01)
    c.line([(x0, (y0 + y1) / 2), (x1, (y0 + y1) / 2)], "#f7f3ea", 0.01)
    w = (x1 - x0) * 0.13
    for edge in (x0, x1) if curtain else ():
        c.rect(edge - w, y0 - 0.02, edge + w, y1 + 0.06, curtain)
        c.rect(edge - w * 0.2, y0 - 0.02, edge + w * 0.2, y1 + 0.06, dark(curtain, 0.18))


def pictures(s: Space, rng: Rng, x: float, y: float) -> None:
    """One to three framed pictures on the back wall: abstract landscapes."""
    frame = pick(rng, "#3b2f2a #f4efe4 #b98b50")
    for k in range(some(rng, 1, 3)):
        a, top, (land, sun, sky) = x + 0.14 * k, y + rng.uniform(0.16, 0.28), picks(rng, ACCENTS, 3)
        s.face((a, a + 0.115), (y, top), 0, frame)
        s.face((a + 0.01, a + 0.105), (y + 0.015, top - 0.015), 0, light(sky, 0.5))
        s.face((a + 0.01, a + 0.105), (y + 0.015, y + 0.07), 0, land)
        s.put("dot", a + 0.07, 0, 0.014, sun, y=top - 0.06)


def bed(s: Space, x: Point, z: Point, frame: Color, cover: Color, pillows: int, high: float) -> None:
    """A bed with its head at the back wall."""
    fold, w = z[0] + (z[1] - z[0]) * 0.34, (x[1] - x[0]) / pillows
    s.block((x[0] - 0.01, x[1] + 0.01), (0, high + 0.24), (z[0] - 0.03, z[0]), frame)
    s.block((x[0] - 0.01, x[1] + 0.01), (0, high * 0.55), z, frame)
    s.block(x, (high * 0.55, high), z, "#faf7f0")
    s.block((x[0] - 0.006, x[1] + 0.006), (high * 0.4, high + 0.02), (fold, z[1] + 0.01), cover)
    s.face(x, high + 0.022, (fold, fold + 0.08), light(cover, 0.5))
    for k in range(pillows):
        pillow = (x[0] + w * (k + 0.12), x[0] + w * (k + 0.88))
        s.block(pillow, (high, high + 0.1), (z[0] + 0.01, z[0] + 0.05), "#ffffff")
