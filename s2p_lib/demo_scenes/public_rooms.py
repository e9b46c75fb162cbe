"""The public places indoors."""

import numpy as np

from s2p_lib.demo_scenes.canvas import Canvas
from s2p_lib.demo_scenes.chance import Rng, pick, picks, some
from s2p_lib.demo_scenes.colors import ACCENTS, BOOKS, GOODS, WALLS, WOODS, dark, fade, light
from s2p_lib.demo_scenes.perspective import DEPTH, Space
from s2p_lib.demo_scenes.rooms import ceiling_lamps, hanging_lamp, room, wall_band, window


def gymnasium(c: Canvas, rng: Rng) -> None:
    """A sports hall: shiny floor with court lines, a hoop, wall bars, high windows, roof beams."""
    s = room(c, rng, "#e6e2d6 #cfd8dc #e9d8b8 #b9cbd6", "#d99a52 #c8874a #e0ad6a #6f9db5")
    band, line = pick(rng, ACCENTS), pick(rng, "#ffffff #2f4f8c #c8323a")
    wall_band(s, (0.04, 0.3), band, dark(band, 0.15))
    for x in (0, 1):
        for k in range(7):
            s.face(x, (0.72, 0.92), (k / 5.5, k / 5.5 + 0.13), "#eaf4fb", lit=True)
        for k in range(9):
            s.face(x, (0.06 + 0.06 * k, 0.075 + 0.06 * k), (0.25, 0.62), "#b9844f")
    for z in (k / 4.5 for k in range(6)):
        s.face((0, 1), 1, (z, z + 0.05), "#8c98a3")
        s.face((0.2, 0.3), 0.99, (z, z + 0.1), "#fffdf0", lit=True)
        s.face((0.7, 0.8), 0.99, (z, z + 0.1), "#fffdf0", lit=True)
    court = (((0.06, 0.94), (0.06, 0.075)), ((0.06, 0.07), (0.06, 1.3)), ((0.93, 0.94), (0.06, 1.3)))
    key = (((0.34, 0.35), (0.06, 0.5)), ((0.65, 0.66), (0.06, 0.5)), ((0.34, 0.66), (0.48, 0.5)))
    s.paint_floor((*court, *key), line)
    c.oval(*s.p(0.5, 0, 0.6), 0.2, 0.05, fade(line, 60))
    s.put("hoop", rng.uniform(0.4, 0.6), 0, 0.17, y=0.5)
    for _ in range(some(rng, 1, 4)):
        s.put("ball", rng.uniform(0.1, 0.9), rng.uniform(0.2, 0.7), 0.022, "#d9662b")


def classroom(c: Canvas, rng: Rng) -> None:
    """A board with chalk marks, windows, posters and rows of desks that face the board."""
    s = room(c, rng, WALLS, WOODS + " #a8b0b0", "wood tile")
    boards = "#2f5d4a #e8efe6", "#2f5d4a #f2f0d8", "#35424a #f0efe9", "#fbfbf7 #3b5fa8"
    (board, chalk), wood, seat = pick(rng, boards).split(), pick(rng, WOODS), pick(rng, ACCENTS)
    cols = some(rng, 3, 4)
    s.face((0.16, 0.84), (0.36, 0.8), 0, "#b98a5e")
    s.face((0.18, 0.82), (0.385, 0.775), 0, board)
    for y in (0.48, 0.56, 0.64, 0.72):
        x = rng.uniform(0.2, 0.32)
        s.face((x, x + rng.uniform(0.1, 0.4)), (y, y + 0.014), 0, chalk)
    s.put("clock", 0.5, 0, 0.035, y=0.9)
    for z in (0.1, 0.5, 0.9):
        s.face(1, (0.35, 0.8), (z, z + 0.3), "#d8ecf5", lit=True)
        s.face(0, (0.45, 0.75), (z + 0.05, z + 0.25), pick(rng, ACCENTS))
    s.table((0.36, 0.64), 0.24, (0.06, 0.14), dark(wood, 0.1))
    for z in (0.3, 0.55, 0.78):
        for x in ((k + 0.5) / cols for k in range(cols)):
            s.table((x - 0.08, x + 0.08), 0.2, (z, z + 0.08), wood)
            s.put("chair", x, z + 0.14, 0.13, seat)


def office(c: Canvas, rng: Rng) -> None:
    """Desks with screens, swivel chairs, big windows, ceiling panels, a plant."""
    s = room(c, rng, "#dfe3e6 #cfd8d3 #e3ded4 #b9c4cc", "#8a929c #a8a398 #6f7f8c #b59c7c", "plain")
    top, seat = pick(rng, WOODS + " #f0ece2"), pick(rng, "#30343d #3d5a80 #6b7280 #c8553d")
    screen = "#8fc7ea #33476b #bfe3d0"
    ceiling_lamps(s, [(0.15, 0.4), (0.6, 0.85)], [(k / 3.5, k / 3.5 + 0.15) for k in range(4)], "#fdfdf6")
    window(s, rng, (0.1, 0.48), (0.36, 0.86))
    window(s, rng, (0.54, 0.92), (0.36, 0.86))
    if rng.uniform() < 0.6:
        s.block((0.0, 0.1), (0, 0.5), (0.0, 0.3), pick(rng, "#9aa5ad #e9e4da #9c6b45"))
    s.put("plant", pick(rng, (0.05, 0.95)), 0.12, 0.22, "#e9e3d5")
    for x, z in ((0.24, 0.25), (0.74, 0.25), (0.16, 0.66), (0.82, 0.66))[: some(rng, 2, 4)]:
        s.table((x - 0.17, x + 0.17), 0.27, (z, z + 0.14), top)
        for dx in (-0.07, 0.07)[: some(rng, 1, 2)]:
            s.put("monitor", x + dx, z + 0.05, 0.13, pick(rng, screen), pick(rng, ACCENTS), y=0.27)
        s.put("swivel", x, z + 0.24, 0.2, seat)


def conference_room(c: Canvas, rng: Rng) -> None:
    """A long table with chairs all round, a screen with a chart, pendant lamps."""
    s = room(c, rng, "#c9ccd0 #d8cfc2 #8fa0a8 #e3e0da", "#6f7680 #8c7b6b #9c6b45 #59636e", "plain")
    wood, seat = pick(rng, WOODS + " #efece4"), pick(rng, "#30343d #3d5a80 #8c3b3b #5f6f65 #d08a4f")
    for k in range(4 if rng.uniform() < 0.5 else 0):
        s.face(1, (0.1, 0.9), (0.05 + 0.32 * k, 0.33 + 0.32 * k), "#cfe6f2", lit=True)
    s.face((0.26, 0.74), (0.42, 0.86), 0, "#23262e")
    s.face((0.275, 0.725), (0.445, 0.835), 0, pick(rng, "#f6f8fa #2f5d9c #e3eef7"), lit=True)
    for k, tall in enumerate(rng.uniform(0.05, 0.26, 5).tolist()):
        s.face((0.32 + 0.07 * k, 0.37 + 0.07 * k), (0.48, 0.48 + tall), 0, pick(rng, ACCENTS), lit=True)
    s.put("swivel", 0.5, 0.08, 0.17, seat)
    for z in (0.2, 0.42, 0.6, 0.74):
        s.put("swivel", 0.22, z, 0.18, seat)
        s.put("swivel", 0.78, z, 0.18, seat)
    s.face((0.38, 0.62), (0, 0.22), 0.8, dark(wood, 0.5))
    s.block((0.3, 0.7), (0.22, 0.26), (0.16, 0.88), wood)
    for x, z in ((0.36, 0.3), (0.6, 0.3), (0.36, 0.5), (0.6, 0.5), (0.36, 0.7), (0.6, 0.7)):
        s.face((x, x + 0.05), 0.262, (z, z + 0.05), "#fdfcf7")
    lamp = pick(rng, "#30343d #d9a441 #f4f1ea")
    for z in (0.2, 0.42, 0.62):
        hanging_lamp(s, 0.5, z, 0.05, lamp)


def supermarket(c: Canvas, rng: Rng) -> None:
    """An aisle of shelves full of bright packets under strip lights."""
    s = room(c, rng, "#dfe6e8 #f0ead8 #d3e3d6", "#dcd8ce #c9d0d3 #e6dcc8", "tile")
    s.shelf(rng, (0.3, 0.7), (0.05, 0.62), 0, 4, 16, picks(rng, GOODS, 5))
    s.face((0.3, 0.7), (0.66, 0.82), 0, pick(rng, "#c8323a #2a9d8f #457b9d #e07a3f"))
    s.face((0.36, 0.6), (0.71, 0.77), 0, "#fffdf2")
    ceiling_lamps(s, [(0.3, 0.38), (0.62, 0.7)], [(k / 4, k / 4 + 0.16) for k in range(5)], "#ffffff")
    for x, inner in ((0.2, (0.0, 0.2)), (0.8, (0.8, 1.0))):
        s.block(inner, (0, 0.74), DEPTH, "#b9bec4")
        s.shelf(rng, x, (0.04, 0.74), (0.0, 1.25), some(rng, 4, 5), 20, picks(rng, GOODS, 6))
        s.face(x, (0.74, 0.8), DEPTH, pick(rng, ACCENTS))
    if rng.uniform() < 0.6:
        s.put("trolley", rng.uniform(0.34, 0.66), rng.uniform(0.4, 0.7), 0.2)


def library(c: Canvas, rng: Rng) -> None:
    """Bookcases on both sides and at the back, a reading table with green lamps."""
    wood = pick(rng, "#7a5236 #5f4030 #a67b5b #8c6a4a #d3b48c")
    s = room(c, rng, "#d9cbb0 #c9b99a #8f6f52 #dcd8cc", "#8a5a3c #7b3f3f #9c7b5b #4f6b5f")
    for x in ((0.02, 0.34), (0.66, 0.98)):
        s.block(x, (0, 0.88), (0, 0.04), wood)
        s.shelf(rng, (x[0] + 0.02, x[1] - 0.02), (0.06, 0.86), 0.045, 5, 14, BOOKS.split())
    window(s, rng, (0.41, 0.59), (0.34, 0.84))
    for x, inner in ((0.12, (-0.05, 0.12)), (0.88, (0.88, 1.05))):
        for z0, z1 in ((0.16, 0.5), (0.6, 0.86), (0.94, 1.25)):
            s.block(inner, (0, 0.92), (z0, z1), wood)
            s.shelf(rng, x, (0.05, 0.9), (z0 + 0.02, z1 - 0.02), 5, 13, BOOKS.split())
    s.table((0.32, 0.68), 0.2, (0.3, 0.62), light(wood, 0.2))
    for x, z in ((0.42, 0.36), (0.58, 0.5)):
        s.put("desk_lamp", x, z, 0.1, y=0.2)
    for x in (0.38, 0.62)[: some(rng, 1, 2)]:
        s.put("chair", x, 0.72, 0.15, dark(wood, 0.1))


def church(c: Canvas, rng: Rng) -> None:
    """A nave: columns and arches, stained glass, an altar with a cross, rows of pews."""
    stone, wood = pick(rng, "#d9cdb8 #c2b8a8 #e6dfd0 #a89c90"), pick(rng, "#6b4228 #83532f #57382a")
    s = room(c, rng, stone, "#a89a86 #8d8379 #b39a80", "tile")
    s.face((0, 1), 1, DEPTH, dark(stone, 0.45))
    for z in (0.1, 0.3, 0.5, 0.7, 0.9, 1.1):
        rib = [s.p(x, y, z) for x, y in ((0, 0.9), (0.22, 1.12), (0.5, 1.2), (0.78, 1.12), (1, 0.9))]
        c.line(rib, light(stone, 0.2), 0.018)
    for x, w in ((0.2, 0.1), (0.5, 0.14), (0.8, 0.1)):
        _stained_glass(s, rng, x, w)
    s.block((0.36, 0.64), (0, 0.16), (0.02, 0.1), "#f0e9da")
    s.face((0.36, 0.64), (0.1, 0.16), 0.101, pick(rng, "#9c2f3a #3b5f8c #5f7a46"))
    s.put("cross", 0.5, 0.02, 0.13, y=0.17)
    for z in (0.12, 0.38, 0.6, 0.78, 0.94):
        for x in (0.03, 0.97):
            s.block((x - 0.035, x + 0.035), (0, 0.86), (z, z + 0.04), light(stone, 0.1))
            s.block((x - 0.05, x + 0.05), (0.82, 0.88), (z - 0.01, z + 0.05), light(stone, 0.3))
    s.face((0.44, 0.56), 0, (0.1, 1.3), pick(rng, "#9c2f3a #7b3340 #8d8379 #345a7a"))
    for z in (0.22, 0.36, 0.48, 0.59, 0.69, 0.78, 0.87, 0.96):
        s.block((0.1, 0.41), (0, 0.15), (z, z + 0.02), wood)
        s.block((0.59, 0.9), (0, 0.15), (z, z + 0.02), wood)


def _stained_glass(s: Space, rng: Rng, x: float, w: float) -> None:
    """A pointed window of coloured panes that glow."""
    glass, lead = "#e63946 #f4b942 #2a6fdb #3fb68b #8e5bd0 #ffd98a", "#4a433f"
    s.face((x - w * 0.56, x + w * 0.56), (0.34, 0.74), 0, lead)
    s.c.poly([s.p(x - w * 0.56, 0.74, 0), s.p(x, 0.74 + w * 1.7, 0), s.p(x + w * 0.56, 0.74, 0)], lead)
    for i, j in np.ndindex(6, 3):
        a, b = x + w * (j / 3 - 0.5), 0.355 + 0.063 * i
        s.face((a + w * 0.03, a + w * 0.3), (b, b + 0.055), 0, pick(rng, glass), lit=True)
    tip = [s.p(x - w * 0.4, 0.745, 0), s.p(x, 0.72 + w * 1.5, 0), s.p(x + w * 0.4, 0.745, 0)]
    s.c.poly(tip, pick(rng, glass), lit=True)
    s.c.glow(*s.p(x, 0.6, 0), 0.25, "#fff0c0", 0.4)
