"""The places in nature, and what stands there: the lighthouse, the windmill."""

import math

import numpy as np

from s2p_lib.demo_scenes.canvas import Canvas
from s2p_lib.demo_scenes.chance import Rng, pick, picks, some, spread
from s2p_lib.demo_scenes.colors import ACCENTS, PAINTS, Color, dark, fade, light, mix
from s2p_lib.demo_scenes.outdoors import COLD_MOODS, hill, sky, snowy_pine, specks


def beach(c: Canvas, rng: Rng) -> None:
    """Sea, a curved shore with foam, parasols, towels, palms."""
    h, sand = rng.uniform(0.32, 0.46), pick(rng, "#f0d9a8 #e8c98f #f5e6c8")
    deep = pick(rng, "#1f7fa8 #1b6a9c #2a9fb0")
    sky(c, rng, h)
    if rng.uniform() < 0.5:
        hill(c, rng, h, h - 0.02, 0.03, mix("#4d7a6a", c.haze, 0.5))
    c.shade(0, h, 1, 0.9, deep, mix(deep, "#a5e8dc", 0.75))
    specks(c, rng, h + 0.01, ["#ffffff70"], 60, 0.05)
    if rng.uniform() < 0.6:
        c.put("sailboat", rng.uniform(0.1, 0.9), h + 0.02, rng.uniform(0.1, 0.2), pick(rng, PAINTS))
    left, right, seed = rng.uniform(0.52, 0.66), rng.uniform(0.66, 0.84), some(rng, 0, 9999)
    for lift, tone in ((0.04, "#ffffff90"), (0.025, "#ffffff"), (0.0, dark(sand, 0.2)), (-0.035, sand)):
        hill(c, np.random.default_rng(seed), left - lift, right - lift, 0.02, tone)  # one shore, four times
    specks(c, rng, 0.85, [dark(sand, 0.12), light(sand)], 50, 0.03)
    for x in spread(rng, 0.05, 0.95, some(rng, 1, 3)):
        y, color, towel = rng.uniform(0.8, 0.9), pick(rng, ACCENTS), pick(rng, ACCENTS)
        c.poly([(x + 0.03, y), (x + 0.16, y), (x + 0.2, y + 0.05), (x + 0.05, y + 0.05)], towel)
        c.put("parasol", x, y, rng.uniform(0.26, 0.36), color)
    if rng.uniform() < 0.5:
        c.put("palm", *pick(rng, ((0.04, 0.95), (0.9, 1.0))), rng.uniform(0.65, 0.9))


def mountain_snowy(c: Canvas, rng: Rng) -> None:
    """High snowy peaks over a dark pine forest, with snow, a meadow or a lake in front."""
    h, leaf = rng.uniform(0.6, 0.74), pick(rng, "#2d5547 #345c50 #28474a")
    rock = pick(rng, "#5f7391 #6b6f86 #4f6d86")
    sky(c, rng, h, COLD_MOODS)
    hill(c, rng, h - 0.22, h - 0.2, 0.05, mix(light(rock, 0.5), c.haze, 0.5), 0.5)
    for x in spread(rng, 0.0, 1.0, some(rng, 2, 4), 0.8):
        far = rng.uniform(0, 0.25)
        _peak(c, rng, x, h + 0.02, rng.uniform(0.26, 0.4), rng.uniform(0.3, 0.56), mix(rock, c.haze, far))
    if rng.uniform() < 0.4:
        c.shade(0, h, 1, 1, mix(c.haze, "#6aa0c0", 0.5), "#2c5f86")
        specks(c, rng, h + 0.02, ["#ffffff50"], 30, 0.08)
    else:
        hill(c, rng, h, h + 0.02, 0.02, pick(rng, "#e8f0f8 #58735c #dfe9f4"))
    for x in spread(rng, 0, 1, some(rng, 9, 21), 1.0):
        c.put("pine", x, h + rng.uniform(0.01, 0.06), rng.uniform(0.08, 0.15), leaf)
    for x in (*spread(rng, -0.02, 0.2, 2), *spread(rng, 0.82, 1.02, 2)):
        snowy_pine(c, x, rng.uniform(0.95, 1.1), rng.uniform(0.3, 0.5), leaf)


def _peak(c: Canvas, rng: Rng, x: float, base: float, w: float, h: float, rock: Color) -> None:
    """A mountain with a lit side, a shaded side and a toothed snow cap."""
    mid, t = x + rng.uniform(-0.05, 0.05), rng.uniform(0.5, 0.7)
    c.poly([(x - w, base), (x - w * 0.45, base - h * 0.52), (x, base - h), (mid, base)], light(rock, 0.22))
    c.poly([(mid, base), (x, base - h), (x + w * 0.4, base - h * 0.58), (x + w, base)], rock)
    for side, tone in ((-1, "#fbfdff"), (1, "#c9d8ee")):
        a, b = side * w * 0.155 * t, h * t
        edge = [(x + a * k, base - h + b * k * 0.23) for k in range(5)]
        teeth = [(x + a * k * 0.87, base - h + b * float(rng.uniform(0.75, 1.15))) for k in range(4, -1, -1)]
        c.poly([*edge, *teeth], tone)


def forest_path(c: Canvas, rng: Rng) -> None:
    """Layers of trunks in haze and a path that winds between them."""
    greens = (
        "#3f7a45 #dcedc1 #5c7f45",
        "#c9762e #f6e3b4 #a0703a",
        "#2f5f52 #cfe3df #4a6b4f",
        "#6b8f3a #f3f2c4 #6f8f46",
    )
    (leaf, mist, ground), h, end = pick(rng, greens).split(), rng.uniform(0.46, 0.6), rng.uniform(0.38, 0.62)
    c.tint = pick(rng, ((1, 1, 1), (1.05, 0.95, 0.8), (0.8, 0.83, 0.92), (0.6, 0.65, 0.82)))
    c.shade(0, 0, 1, h + 0.1, mix(leaf, mist, 0.5), mist)
    c.glow(end, h * 0.75, 0.6, "#fffbe0", 0.8 * c.tint[2])
    hill(c, rng, h, h, 0.02, mix(ground, mist, 0.25))
    c.shade(0, h + 0.06, 1, 1, ground, dark(ground, 0.25))
    steps, bend = np.linspace(0, 1.05, 12).tolist(), rng.uniform(-0.15, 0.15)
    path = pick(rng, "#c9a878 #b08d68 #d8c4a0")
    rows = [(end + bend * math.sin(3 * t) * (1 - t), h + (1 - h) * t, 0.015 + 0.3 * t**1.4) for t in steps]
    c.poly([(x - w, y) for x, y, w in rows] + [(x + w, y) for x, y, w in reversed(rows)], path)
    specks(c, rng, h + 0.05, [light(ground, 0.2), dark(ground, 0.3)], 90, 0.03)
    _forest_layers(c, rng, h, end, leaf, mist)


def _forest_layers(c: Canvas, rng: Rng, h: float, end: float, leaf: Color, mist: Color) -> None:
    """Trunks and leaves, the far ones first and fainter; the path, which ends at x = end, stays free."""
    for layer in range(4):
        wide, far = 0.012 * 1.75**layer, 0.6 - 0.2 * layer
        for x in spread(rng, 0, 1, 9 - 2 * layer, 0.9):
            if abs(x - end) > 0.06 + 0.085 * layer:
                tone = mix(pick(rng, "#5a4332 #4a3b35"), mist, far)
                t = c.at(x, h + 0.03 + 0.1 * layer, wide)
                t.poly([(-2, 1), (-1, -1), (-1, -90), (1, -90), (1, -1), (2, 1)], tone)
        for x in spread(rng, 0, 1, 11):
            t = c.at(x, rng.uniform(-0.05, 0.16 - 0.03 * layer), 0.14)
            t.oval(0, 0, 1, 0.7, mix(dark(leaf, 0.1 * layer), mist, far - 0.1))


def desert(c: Canvas, rng: Rng) -> None:
    """Dunes with sharp crests, one side in the shade."""
    h, sand, n = rng.uniform(0.35, 0.55), pick(rng, "#e3a95c #e8b878 #d98e4f #efcf98"), some(rng, 3, 5)
    sky(c, rng, h, "day clear clear golden dusk dawn night")
    steps = np.linspace(0, 1, 9).tolist()
    for k in range(n):
        near, x, bend = k / (n - 1), rng.uniform(0.15, 0.85), rng.uniform(0.04, 0.12)
        wide = rng.uniform(0.5, 0.9)
        tone, y = mix(sand, c.haze, 0.45 * (1 - near)), h + (0.85 - h) * near
        top, fall = y - rng.uniform(0.08, 0.2), 0.25 + rng.uniform(0.08, 0.2)
        hill(c, rng, y, y + 0.02, 0.02, tone)
        crest = [(x + bend * math.sin(4 * q) * q, top + fall * q) for q in steps]
        c.poly([*((x - wide * (1 - q), top + fall * (1 - q**1.7)) for q in steps), *crest], light(tone, 0.3))
        c.poly([*((x + wide * q, top + fall * q**0.75) for q in steps), *crest[::-1]], dark(tone, 0.25))
    hill(c, rng, 0.88, 0.92, 0.03, sand)
    for y in spread(rng, 0.86, 1.0, 7):
        ripple = [(x / 12, y + 0.008 * math.sin(x * 1.3 + 40 * y)) for x in range(13)]
        c.line(ripple, fade(dark(sand), 70), 0.006)


def ski_slope(c: Canvas, rng: Rng) -> None:
    """A white slope with tracks, firs, a chair lift and slalom gates."""
    left, right = rng.uniform(0.26, 0.46), rng.uniform(0.46, 0.72)
    sky(c, rng, 0.7, COLD_MOODS)
    for x in spread(rng, 0, 1, 2):
        _peak(c, rng, x, 0.6, 0.45, rng.uniform(0.3, 0.45), mix("#7189a8", c.haze, 0.35))
    edge = hill(c, rng, left, right, 0.015, "#eef4fb")
    hill(c, rng, left + 0.25, right + 0.22, 0.03, "#dfe9f6")
    steps = np.linspace(0, 1, 12).tolist()
    for k in spread(rng, 0.2, 0.8, 5):
        track = [(k + 0.05 * math.sin(5 * t + 9 * k) + (k - 0.4) * t, left + 0.18 + 0.8 * t) for t in steps]
        c.line(track, "#b9cbe2", 0.005)
    firs = [(x, y + 0.02, rng.uniform(0.09, 0.2)) for x, y in edge[1 :: some(rng, 2, 3)]]
    for x, y, size in (*firs, (0.03, rng.uniform(0.8, 1), 0.4), (pick(rng, (0.12, 0.97)), 0.95, 0.36)):
        snowy_pine(c, x, y, size, "#2f574c")
    _chair_lift(c, rng, left - 0.26, right - left + 0.12)
    for k, x in enumerate(spread(rng, 0.3, 0.75, 4, 1)):
        c.put("gate", x, 0.58 + 0.1 * k, 0.08 + 0.012 * k, "#e5383b" if k % 2 else "#2b6fc9")


def _chair_lift(c: Canvas, rng: Rng, y: float, slope: float) -> None:
    """A rope that starts at (0, y), with masts and chairs."""
    c.line([(0, y), (1, y + slope)], "#2f3440", 0.006)
    for x in spread(rng, 0.1, 0.9, 3):
        c.line([(x, y + slope * x), (x, y + slope * x + 0.25)], "#525a69", 0.014)
    for x in spread(rng, 0, 1, 6):
        c.put("lift_chair", x, y + slope * x, 0.06)


def lighthouse(c: Canvas, rng: Rng) -> None:
    """A striped tower on a rocky point above the sea."""
    h, x, side = rng.uniform(0.58, 0.7), rng.uniform(0.3, 0.7), pick(rng, (-1, 1))
    land, rock = pick(rng, "#6d8a4c #7f9460 #8a8f72"), pick(rng, "#75695f #6b6f78 #8a7560")
    deep = pick(rng, "#1f6f95 #2f6690")
    sky(c, rng, h)
    c.shade(0, h, 1, 1, mix(deep, c.haze, 0.4), deep)
    specks(c, rng, h + 0.02, ["#ffffff60"], 50, 0.06)
    c.night = c.night or c.tint[0] < 0.9  # its lamp is on at dusk too
    for k, tone in enumerate((land, rock, dark(rock, 0.3))):
        y = h + 0.02 + 0.06 * k
        edge = ((-0.26 - 0.04 * k, 0.1), (-0.2, 0.03), (-0.1, 0), (0.4, -0.02), (1, -0.03))
        foot = [(x + side, 1.1), (x - side * (0.3 + 0.05 * k), 0.82 + 0.14 * k)]
        c.poly([*((x + side * a, y + b) for a, b in edge), *foot], tone)
    for a in spread(rng, -0.36, 0.5, 9):
        y, size = rng.uniform(0.89, 0.98), rng.uniform(0.04, 0.08)
        c.put("rock", x + side * a, y, size, dark(rock, rng.uniform(0, 0.3)))
    c.put("lighthouse", x, h + 0.05, rng.uniform(0.46, 0.58), pick(rng, "#d1383d #c8362f #2b4f81 #33343c"))


def windmill(c: Canvas, rng: Rng) -> None:
    """A mill with four lattice sails among rows of flowers."""
    h, x, field = rng.uniform(0.55, 0.66), rng.uniform(0.25, 0.75), pick(rng, "#86a84e #b9b04f #6f9c4a")
    sky(c, rng, h)
    hill(c, rng, h, h, 0.015, mix("#5f8f5a", c.haze, 0.4))
    c.shade(0, h + 0.01, 1, 1, light(field, 0.2), dark(field, 0.15))
    flowers = picks(rng, f"#e63956 #f4b942 #c45ab3 #ff8552 #f4f1e0 {field}", 3)
    for k in range(-12, 13):
        a, b = 0.5 + k * 0.045, 0.5 + k * 0.2
        c.poly([(a, h + 0.05), (a + 0.018, h + 0.05), (b + 0.1, 1), (b, 1)], flowers[k % 3])
    t, turn = c.at(x, h + 0.08, rng.uniform(0.5, 0.66)), rng.uniform(0, math.pi / 2)
    t.draw("windmill", pick(rng, "#8c5a3c #e9dfcb #6d5a4e #a34a3a"))
    for angle in (turn + k * math.pi / 2 for k in range(4)):
        u, v = math.cos(angle) / 10, math.sin(angle) / 10
        grid = {(a, b): (u * a - v * b, v * a + u * b - 0.64) for a in range(6) for b in (0, 1.2)}
        t.poly([grid[1, 0], grid[5, 0], grid[5, 1.2], grid[1, 1.2]], "#f2e8d2")
        t.line([grid[0, 0], grid[5, 0]], "#3e2c25", 0.022)
        for a in range(1, 6):
            t.line([grid[a, 0], grid[a, 1.2]], "#8a7460", 0.01)
