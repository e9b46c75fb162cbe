"""The private places indoors: at home and in hospital. The basement is an escape room."""

import math

import numpy as np

from s2p_lib.demo_scenes.canvas import Canvas
from s2p_lib.demo_scenes.chance import Rng, pick, picks
from s2p_lib.demo_scenes.colors import ACCENTS, GOODS, TOYS, WALLS, WOODS, Color, dark, fade, light, mix
from s2p_lib.demo_scenes.perspective import Space
from s2p_lib.demo_scenes.rooms import bed, ceiling_lamps, hanging_lamp, pictures, room, wall_band, window


def basement(c: Canvas, rng: Rng) -> None:
    """An escape room: dim bricks, chest, padlocks, clock, keypad, puzzle board, a warm lamp."""
    brick, door = pick(rng, "#a0674f #857269 #8f5a4a #6f7078"), pick(rng, (0.06, 0.74))
    s = room(c, rng, brick, "#6b5a4c #57524f #7a5f48", "wood tile")
    c.tint = pick(rng, ((0.86, 0.74, 0.62), (0.74, 0.68, 0.7), (0.95, 0.8, 0.62)))
    _bricks(s, rng, brick)
    s.face((door, door + 0.2), (0, 0.7), 0, "#2b2421")
    s.face((door + 0.015, door + 0.185), (0, 0.68), 0, pick(rng, "#6b4428 #58606a #4f6b5a"))
    for y in (0.12, 0.52):
        s.face((door + 0.015, door + 0.185), (y, y + 0.05), 0, "#3a3a40")
    s.put("padlock", door + 0.1, 0, 0.085, y=0.28)
    s.put("clock", rng.uniform(0.36, 0.64), 0, 0.06, y=0.84)
    s.put("keypad", 0.36, 0, 0.065, y=0.48)
    s.face((0.45, 0.7), (0.34, 0.68), 0, "#d8b983")
    for i, j in np.ndindex(3, 3):
        mark, x, y = pick(rng, "#e63946 #f4b942 #2fa6d0 #5f9c2a"), 0.495 + 0.08 * j, 0.4 + 0.11 * i
        s.c.at(*s.p(x, y, 0), 0.02).rect(-1, -1, 1, 1, mark, r=pick(rng, (0, 1)))
    s.put("chest", rng.uniform(0.4, 0.66), rng.uniform(0.3, 0.5), 0.22, pick(rng, "#8a5a30 #74482a #9c6b3c"))
    s.table((0.0, 0.2), 0.24, (0.3, 0.6), "#7a5236")
    s.put("padlock", 0.1, 0.5, 0.1, y=0.25)
    s.put("bulb", rng.uniform(0.35, 0.65), 0.4, 0.05, y=0.8)


def _bricks(s: Space, rng: Rng, brick: Color) -> None:
    """Rows of bricks on the back wall, single ones on the side walls."""
    for i, j in np.ndindex(12, 9):
        x, y, tone = (j + 0.5 * (i % 2)) / 9, i / 12, mix(brick, pick(rng, "#c08a70 #40302c #9a7a6a"), 0.3)
        s.face((x + 0.004, min(1, x + 0.107)), (y + 0.008, y + 0.078), 0, tone)
        for side in (0, 1) if (i + j) % 3 == 0 else ():
            s.face(side, (y + 0.008, y + 0.078), (x * 1.2, x * 1.2 + 0.11), mix(brick, dark(tone, 0.2), 0.5))


def bathroom(c: Canvas, rng: Rng) -> None:
    """Tiled walls, a bathtub, a basin under a mirror, a toilet, a bath mat."""
    tile, x = pick(rng, "#a3d0d4 #c9d6da #8fbccd #b9cfa8 #e3bfb4"), rng.uniform(0.4, 0.5)
    s = room(c, rng, pick(rng, "#e9ece6 #dfe6e8 #ece3d6"), "#c9cdd0 #8fa3a8 #5d6f78 #d9cdb8", "tile")
    wall_band(s, (0.03, 0.56), tile, dark(tile, 0.1))
    for k in range(1, 7):
        row = [s.p(x_row, k / 11, z) for x_row, z in ((0, 1.3), (0, 0), (1, 0), (1, 1.3))]
        c.line(row, "#ffffffb0", 0.005)
    for k in range(1, 12):
        c.line([s.p(k / 12, 0.03, 0), s.p(k / 12, 0.56, 0)], "#ffffffb0", 0.005)
    window(s, rng, (0.08, 0.3), (0.6, 0.88))
    _basin(s, rng, x)
    s.put("toilet", rng.uniform(0.68, 0.74), 0.12, 0.26)
    s.block((0.0, 0.32), (0, 0.26), (0.18, 0.85), "#f4f7f7")
    s.face((0.03, 0.29), 0.262, (0.22, 0.82), mix(tile, "#5fb4d0", 0.6))
    if rng.uniform() < 0.6:
        s.face(0.33, (0.2, 0.95), (0.12, 0.4), fade(pick(rng, ACCENTS), 215))
    s.block((0.92, 1.0), (0, 0.6), (0.2, 0.5), light(pick(rng, WOODS), 0.2))
    s.rug((0.42, 0.66), (0.4, 0.65), pick(rng, ACCENTS))


def _basin(s: Space, rng: Rng, x: float) -> None:
    """A basin with a tap, under a mirror."""
    s.face((x - 0.1, x + 0.1), (0.5, 0.9), 0, pick(rng, "#c9a24a #f4f4f0 #3a4048"))
    s.face((x - 0.085, x + 0.085), (0.525, 0.875), 0, "#cfe6f0", lit=True)
    gleam = ((-0.06, 0.54), (0, 0.86), (0.04, 0.86), (-0.02, 0.54))
    s.c.poly([s.p(x + a, y, 0) for a, y in gleam], "#ffffff90")
    s.block((x - 0.11, x + 0.11), (0.08, 0.34), (0, 0.16), pick(rng, "#a67b5b #f2efe8 #5f7a86"))
    s.block((x - 0.12, x + 0.12), (0.34, 0.38), (0, 0.18), "#fdfdfb")
    s.face((x - 0.01, x + 0.01), (0.38, 0.46), 0.02, "#8d979f")


def bedroom(c: Canvas, rng: Rng) -> None:
    """A double bed with pillows, night tables with lamps, a window or wardrobe, pictures, a rug."""
    s = room(c, rng, WALLS + " #5f7482 #7a6a78", WOODS)
    x, wide, wood = rng.uniform(0.36, 0.52), rng.uniform(0.34, 0.42), pick(rng, WOODS + " #f0ece4 #3f3a40")
    if rng.uniform() < 0.6:
        window(s, rng, (0.04, 0.24), (0.34, 0.84), light(pick(rng, ACCENTS), 0.4))
    else:
        s.block((0.0, 0.16), (0, 0.8), (0.0, 0.3), wood)
    pictures(s, rng, x, 0.6)
    s.rug((x - 0.14, x + wide + 0.14), (0.45, 1.05), pick(rng, ACCENTS))
    for a in (x - 0.1, x + wide + 0.1):
        s.block((a - 0.06, a + 0.06), (0, 0.2), (0.02, 0.12), wood)
        s.put("night_lamp", a, 0.07, 0.15, y=0.2)
    bed(s, (x, x + wide), (0.04, 0.72), wood, pick(rng, ACCENTS), 2, 0.2)
    if rng.uniform() < 0.4:
        s.put("plant", 0.06, 0.5, 0.26, pick(rng, "#c8704a #e9e3d5"))


def living_room(c: Canvas, rng: Rng) -> None:
    """A sofa with cushions, a low table on a rug, a lamp, pictures, a plant, perhaps a television."""
    s = room(c, rng, WALLS, WOODS)
    x, sofa, wood = rng.uniform(0.22, 0.34), pick(rng, ACCENTS + " #8d99a6 #d9cfc0"), pick(rng, WOODS)
    if rng.uniform() < 0.5:
        window(s, rng, (0.66, 0.94), (0.3, 0.84), pick(rng, ACCENTS))
    pictures(s, rng, x - 0.04, 0.52)
    s.rug((x - 0.06, x + 0.56), (0.3, 0.95), pick(rng, ACCENTS))
    s.put("floor_lamp", x - 0.08, 0.12, 0.38)
    s.put("plant", x + 0.6, 0.15, rng.uniform(0.2, 0.34), pick(rng, "#c8704a #e9e3d5 #4a5a68"))
    s.block((x, x + 0.5), (0.04, 0.42), (0.06, 0.12), sofa)
    s.block((x, x + 0.5), (0.04, 0.2), (0.12, 0.32), dark(sofa, 0.08))
    for a in (x + 0.05, x + 0.255):
        s.block((a, a + 0.195), (0.2, 0.25), (0.12, 0.33), light(sofa, 0.1))
        s.block((a + 0.05, a + 0.14), (0.25, 0.38), (0.13, 0.17), pick(rng, ACCENTS))
    for a in (x - 0.02, x + 0.46):
        s.block((a, a + 0.06), (0.04, 0.3), (0.06, 0.33), dark(sofa, 0.05))
    s.table((x + 0.12, x + 0.4), 0.13, (0.48, 0.68), wood)
    s.block((x + 0.2, x + 0.28), (0.13, 0.15), (0.54, 0.62), pick(rng, ACCENTS))
    if rng.uniform() < 0.6:
        s.block((0.92, 1.0), (0, 0.18), (0.3, 0.9), wood)
        s.face(0.99, (0.26, 0.62), (0.36, 0.84), "#1d2026")
        s.face(0.985, (0.28, 0.6), (0.38, 0.82), pick(rng, "#3f6f9c #22262e #7fb3c8"), lit=True)


def kitchen(c: Canvas, rng: Rng) -> None:
    """Cabinets above and below, a stove with a hood, a fridge, perhaps an island with lamps."""
    s = room(c, rng, WALLS, WOODS + " #c9c2b5 #8f979c", "wood tile")
    door = pick(rng, "#f4f1ea #5f7f86 #9c6b45 #3f5a4f #e3b778 #c8d3d0 #2f3d52")
    top = pick(rng, "#d9d3c8 #4a4d55 #c69c6d")
    stove, fridge = pick(rng, (2.5, 3.5)) / 6, pick(rng, ((0.0, 0.17), (0.83, 1.0)))
    s.face((0, 1), (0.4, 0.62), 0, pick(rng, "#f4f4ef #cfe0dd #e8c9a0 #9fb8c4"))
    for k in range(1, 24):
        c.line([s.p(k / 24, 0.4, 0), s.p(k / 24, 0.62, 0)], "#00000022", 0.003)
    _cabinets(s, rng, stove, door, top)
    for x in rng.uniform(0.1, 0.8, 4).tolist():
        s.block((x, x + 0.035), (0.4, 0.4 + rng.uniform(0.04, 0.12)), (0.08, 0.12), pick(rng, ACCENTS))
    s.block(fridge, (0, 0.8), (0, 0.27), pick(rng, "#e8ebed #b9c0c6 #d8614f #9fc4b8"))
    s.face(fridge, (0.5, 0.508), 0.271, "#6d747b")
    if rng.uniform() < 0.6:
        s.block((0.3, 0.7), (0, 0.25), (0.5, 0.75), dark(door, 0.1))
        s.block((0.27, 0.73), (0.25, 0.29), (0.48, 0.78), top)
        for x in (0.4, 0.6):
            hanging_lamp(s, x, 0.5, 0.055, pick(rng, ACCENTS), cord=0.86)


def _cabinets(s: Space, rng: Rng, stove: float, door: Color, top: Color) -> None:
    """Cabinets along the back wall, with a stove and its hood in one place."""
    for x in (k / 6 for k in range(6)):
        if abs(x + 1 / 12 - stove) > 0.1:
            s.block((x + 0.004, x + 0.163), (0.64, 0.93), (0, 0.1), door)
            s.face((x + 0.117, x + 0.127), (0.67, 0.73), 0.101, "#d8c9a0")
        s.block((x, x + 0.163), (0.03, 0.36), (0, 0.2), door)
        s.face((x + 0.05, x + 0.11), (0.3, 0.32), 0.201, "#d8c9a0")
    hood = ((-0.09, 0.66), (-0.04, 0.78), (-0.04, 0.95), (0.04, 0.95), (0.04, 0.78), (0.09, 0.66))
    s.c.poly([s.p(stove + x, y, 0.05) for x, y in hood], "#9aa3aa")
    s.block((0, 1), (0.36, 0.4), (0, 0.21), top)
    s.face((stove - 0.08, stove + 0.08), (0.02, 0.37), 0.212, "#33363d")
    s.face((stove - 0.06, stove + 0.06), (0.08, 0.25), 0.213, pick(rng, "#6b5347 #d9824a"))


def childs_room(c: Canvas, rng: Rng) -> None:
    """A small bed, bunting, toys, a teddy, a play tent or shelf, bright pastel colours."""
    wall, left = pick(rng, "#bfe3ef #fbd5d5 #d9efc7 #fdeab8 #dccff0"), rng.uniform(0.06, 0.12)
    s = room(c, rng, wall, "#d3b48c #e0c9a4 #caa27a")
    for i, j in np.ndindex(3, 8):
        s.put("dot", (j + 0.5 + 0.3 * (i % 2)) / 8.3, 0, 0.012, light(wall, 0.6), y=0.4 + 0.16 * i)
    for k, color in enumerate(picks(rng, TOYS + " #f28482 #84a59d", 11)):
        x, sag = (k + 0.5) / 11, 0.12 * math.sin(math.pi * (k + 0.5) / 11)
        c.at(*s.p(x, 0.98 - sag, 0), 0.05).poly([(-0.5, 0), (0.5, 0), (0, 0.9)], color)
    window(s, rng, (0.4, 0.62), (0.42, 0.78), pick(rng, ACCENTS))
    s.rug((0.35, 0.75), (0.35, 0.9), pick(rng, ACCENTS))
    frame, cover = pick(rng, "#ffffff #e76f51 #8ecae6 #d3b48c"), pick(rng, ACCENTS)
    bed(s, (left, left + 0.22), (0.04, 0.5), frame, cover, 1, 0.17)
    if rng.uniform() < 0.6:
        s.put("tent", 0.82, 0.2, 0.4, pick(rng, ACCENTS))
    else:
        s.block((0.7, 0.96), (0, 0.5), (0, 0.1), "#fdfaf2")
        s.shelf(rng, (0.71, 0.95), (0.05, 0.5), 0.101, 3, 7, GOODS.split())
    _toys(s, rng)


def _toys(s: Space, rng: Rng) -> None:
    """Toy bricks and balls all over the floor, and a teddy."""
    for z, x in sorted(rng.uniform((0.35, 0.3), 0.9, (7, 2)).tolist()):
        if rng.uniform() < 0.6:
            s.block((x, x + 0.045), (0, 0.07), (z, z + 0.04), pick(rng, TOYS))
        else:
            s.put("ball", x, z, 0.03, pick(rng, TOYS))
    s.put("teddy", rng.uniform(0.45, 0.65), rng.uniform(0.25, 0.5), 0.17, pick(rng, "#b07a4a #d9b48a #8f6a55"))


def hospital_room(c: Canvas, rng: Rng) -> None:
    """A hospital bed with rails and wheels, a drip stand, a heart monitor, a curtain, pale walls."""
    s = room(c, rng, "#d5e8e2 #dfe9ee #e8ece4 #cfe3ea", "#b9c7c6 #a9b8bf #cfcabd #9fb3a8", "plain")
    trim, x = pick(rng, "#4fa095 #5b8fb0 #7fb08a #8aa4b8"), rng.uniform(0.26, 0.36)
    ceiling_lamps(s, [(0.3, 0.7)], [(0.2, 0.4), (0.65, 0.9)], "#ffffff")
    wall_band(s, (0.34, 0.39), trim)
    window(s, rng, (0.76, 0.96), (0.44, 0.84))
    s.face((x - 0.03, x + 0.36), (0.5, 0.6), 0, "#f7f9f8")
    for k in range(5):
        s.put("dot", x + 0.03 + 0.07 * k, 0, 0.012, pick(rng, "#e63946 #3fa66b #3b7fc4"), y=0.55)
    s.put("vitals", x + 0.43, 0.08, 0.17, y=0.36)
    bed(s, (x, x + 0.32), (0.06, 0.7), "#aab6bf", pick(rng, f"{trim} #7fc4bb #8fb8dc #e9f0f0"), 1, 0.26)
    for a in (x - 0.012, x + 0.332):
        for y in (0.31, 0.37):
            s.face(a, (y, y + 0.02), (0.2, 0.56), "#7d8a94")
        for z in (0.22, 0.38, 0.54):
            s.face(a, (0.2, 0.39), (z, z + 0.015), "#7d8a94")
        s.put("dot", a, 0.7, 0.018, "#3a4048", y=0.02)
    s.put("drip", x - 0.08, 0.16, 0.42)
    for k in range(7):
        s.face(0.04, (0.1, 0.92), (0.02 + 0.11 * k, 0.14 + 0.11 * k), light(trim, 0.1 + 0.3 * (k % 2)))
    s.block((0.78, 0.9), (0, 0.24), (0.3, 0.44), "#eef0ee")
