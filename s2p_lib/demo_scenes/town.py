"""The places in town, under the open sky."""

from collections.abc import Sequence

import numpy as np

from s2p_lib.demo_scenes.canvas import Canvas
from s2p_lib.demo_scenes.chance import Rng, pick, picks, some, spread
from s2p_lib.demo_scenes.colors import (
    ACCENTS,
    FACADES,
    GOODS,
    LAMPLIGHT,
    LEAVES,
    PAINTS,
    TOYS,
    Color,
    dark,
    fade,
    light,
    mix,
)
from s2p_lib.demo_scenes.outdoors import facade_windows, hill, sky, specks
from s2p_lib.demo_scenes.perspective import DEPTH, Space


def street(c: Canvas, rng: Rng) -> None:
    """A street between house fronts, with pavements, lamps, trees and cars."""
    h, end = rng.uniform(0.46, 0.54), rng.uniform(0.42, 0.58)
    sky(c, rng, h)
    s = Space(c, (end - 0.09, h - 0.1, end + 0.09, h + 0.04), (end, h), 6.5)
    c.rect(0, h, 1, 1, "#b3aea6")
    for x, y in ((-0.16, 0.14), (-0.04, 0.2), (0.07, 0.15)):
        c.rect(end + x, h - y, end + x + 0.1, h + 0.03, mix(pick(rng, FACADES), c.haze, 0.5))
    s.face((0, 1), 0, (0, 1.2), pick(rng, "#4f525c #5c5f66 #474a55"))
    for x in (-0.02, 1.0):
        s.face((x, x + 0.02), 0, (0, 1.2), "#e3ded2")
    for x in (-0.45, 1.45):
        for z in range(5):
            _house_front(s, rng, x, 0.22 * z - 0.1, rng.uniform(1.5, 2.8))
    for k in range(11):
        s.face((0.485, 0.515), 0, (k / 10, k / 10 + 0.05), "#f2ead2")
    for k in range(7 if rng.uniform() < 0.5 else 0):
        s.face((0.03 + k / 7, 0.1 + k / 7), 0, (0.84, 0.9), "#f2efe6")
    for x, z in ((-0.22, 0.3), (1.22, 0.5), (-0.22, 0.75), (1.22, 0.85)):
        prop, color = pick(rng, ("tree", "street_lamp")), pick(rng, LEAVES)
        s.put(prop, x, z, 0.135, color, flip=x > 0.5)
    for x, z in ((0.16, 0.5), (0.76, 0.66), (0.2, 0.86))[: some(rng, 1, 3)]:
        s.put("car", x, z, 0.045, pick(rng, PAINTS))


def _house_front(s: Space, rng: Rng, x: float, z: float, top: float) -> None:
    """One house along the street: wall, windows, shop window, door, awning."""
    wall, floors, night = pick(rng, FACADES), round(top * 1.7), s.c.night
    inward = x + (0.16 if x < 0.5 else -0.16)
    s.face(x, (0, top), (z, z + 0.21), wall)
    s.face(x, (top * 0.96, top), (z, z + 0.21), dark(wall, 0.3))
    for i, j in np.ndindex(floors - 1, 3):
        lit, z0, y0 = night and rng.uniform() < 0.5, z + 0.07 * (j + 0.25), top * (i + 1.2) / floors
        s.face(x, (y0, y0 + top * 0.5 / floors), (z0, z0 + 0.035), LAMPLIGHT if lit else "#5b7186", lit)
    y = top * 0.85 / floors
    s.face(x, (0.05, y * 0.8), (z + 0.015, z + 0.13), "#ffe3a6" if night else "#7d97a8", night)
    s.face(x, (0, y * 0.8), (z + 0.15, z + 0.19), dark(wall, 0.55))
    far, near = z + 0.01, z + 0.2
    awning = [s.p(x, y, far), s.p(x, y, near), s.p(inward, y * 0.8, near), s.p(inward, y * 0.8, far)]
    s.c.poly(awning, pick(rng, ACCENTS))


def highway(c: Canvas, rng: Rng) -> None:
    """A wide road to the horizon with lanes, guard rails and a sign bridge."""
    h, end, lanes = rng.uniform(0.42, 0.54), rng.uniform(0.36, 0.64), some(rng, 3, 5)
    land, marks = pick(rng, "#7f9a5b #b59a63 #6c8f5e #a8a06a"), (0.3, 0.55, 0.7, 0.8, 0.87, 0.92, 0.965, 1.0)
    sky(c, rng, h)
    hill(c, rng, h - 0.05, h - 0.03, 0.04, mix(dark(land, 0.2), c.haze, 0.5))
    c.shade(0, h, 1, 1, mix(land, c.haze, 0.3), land)
    s = Space(c, (end - 0.06, h - 0.1, end + 0.06, h + 0.02), (end, h), 18)
    s.face((-0.12, 1.12), 0, DEPTH, pick(rng, "#5a5d66 #6b6c70 #4b4f5a"))
    for x in (-0.05, 1.03):
        s.face((x, x + 0.02), 0, DEPTH, "#f4efdc")
    for lane in range(1, lanes):
        for z in marks:
            s.face((lane / lanes - 0.008, lane / lanes + 0.008), 0, (z, z + 0.025), "#f4efdc")
    for x in (-0.18, 1.18):
        s.face(x, (0.045, 0.085), DEPTH, "#b9bfc6")
        for z in marks:
            s.face(x, (0, 0.085), (z, z + 0.004), "#7e858e")
    if rng.uniform() < 0.7:
        _sign_bridge(s, rng, rng.uniform(0.72, 0.8))
    for z in spread(rng, 0.6, 0.97, some(rng, 2, 5)):
        s.put("car", (some(rng, 0, lanes - 1) + 0.5) / lanes, z, 0.075 / lanes, pick(rng, PAINTS))


def _sign_bridge(s: Space, rng: Rng, z: float) -> None:
    """A gantry with green or blue boards; the text is little bars."""
    board = pick(rng, "#1f7a4d #1f7a4d #2458a6")
    for x in (-0.3, 1.28):
        s.face((x, x + 0.03), (0, 0.78), z, "#8b929b")
    s.face((-0.3, 1.3), (0.74, 0.78), z, "#8b929b")
    for x in (0.0, 0.55):
        s.face((x, x + 0.42), (0.56, 0.86), z, "#f4f4ee")
        s.face((x + 0.01, x + 0.41), (0.57, 0.85), z, board)
        for y in (0.61, 0.69, 0.77):
            s.face((x + 0.06, x + rng.uniform(0.2, 0.36)), (y, y + 0.035), z, "#f4f4ee")


def skyscraper(c: Canvas, rng: Rng) -> None:
    """Glass towers that fill the sky, the highest with a spire."""
    sky(c, rng, 0.98)
    for x in spread(rng, 0, 1, 9, 1):
        w, top = rng.uniform(0.04, 0.08), rng.uniform(0.4, 0.65)
        c.rect(x - w, top, x + w, 1, mix("#7d8ea6", c.haze, 0.55))
    for x in spread(rng, 0.05, 0.95, some(rng, 4, 6), 0.9):
        _tower(c, rng, x, rng.uniform(0.06, 0.1), rng.uniform(0.22, 0.5))
    x, w, top = rng.uniform(0.3, 0.7), rng.uniform(0.09, 0.14), rng.uniform(0.1, 0.2)
    c.line([(x, top), (x, top - 0.1)], "#dfe5ea", 0.012)
    roof = [(x + w * a, top - b) for a, b in ((-0.7, 0), (-0.4, 0.05), (0.4, 0.05), (0.7, 0))]
    c.poly(roof, "#5a6f86")
    _tower(c, rng, x, w, top)
    for x in spread(rng, 0, 1, 8, 1):
        c.put("tree", x, 1.04, rng.uniform(0.1, 0.16), pick(rng, LEAVES))


def _tower(c: Canvas, rng: Rng, x: float, w: float, top: float) -> None:
    """One high-rise with a lit and a shaded face; windows in a grid or in bands."""
    wall = pick(rng, "#4f7396 #6f8fa8 #3d566e #8c8f99 #5f8a8b #b39b84 #2f4a63")
    glass, corner = light(wall, rng.uniform(0.25, 0.45)), x + w * rng.uniform(0.2, 0.5)
    rows = int((1 - top) * 17)
    c.shade(x - w, top, x + w, 1, light(wall, 0.1), dark(wall, 0.15))
    facade_windows(c, rng, (x - w, top + 0.01, corner, 1), pick(rng, (1, 3, 4)), rows, glass)
    c.rect(corner, top, x + w, 1, dark(wall, 0.35))
    facade_windows(c, rng, (corner, top + 0.01, x + w, 1), 2, rows, dark(glass, 0.3))


def harbor(c: Canvas, rng: Rng) -> None:
    """Fishing boats before a row of gabled houses, perhaps a crane, a quay in front."""
    h, deep = rng.uniform(0.42, 0.52), pick(rng, "#2f6f8c #3a7f95 #27567a")
    sky(c, rng, h)
    hill(c, rng, h - 0.06, h - 0.03, 0.03, mix("#5b7d78", c.haze, 0.5))
    c.shade(0, h, 1, 1, mix(deep, c.haze, 0.35), dark(deep, 0.2))
    _waterfront(c, rng, h)
    c.rect(0, h - 0.005, 1, h + 0.022, "#8b8278")
    for x in spread(rng, 0.1, 0.9, some(rng, 1, 3)) if rng.uniform() < 0.4 else ():
        c.put("crane", x, h, rng.uniform(0.3, 0.42), pick(rng, "#e07a3f #d94f4f #e8b84a"))
    specks(c, rng, h + 0.05, ["#ffffff50", "#10204040"], 60, 0.07)
    for y in (0.03, 0.12, 0.24)[: some(rng, 2, 3)]:
        for x in spread(rng, 0.02, 0.98, some(rng, 3, 5) - int(8 * y)):
            color, sail = pick(rng, PAINTS), pick(rng, ACCENTS)
            c.put("fishing_boat", x, h + 0.03 + y, 0.24 + y, color, sail, flip=rng.uniform() < 0.5)
    quay, y = pick(rng, "#a08a70 #9a9790 #b59a78"), rng.uniform(0.84, 0.92)
    c.rect(0, y, 1, 1, dark(quay, 0.3))
    c.shade(0, y + 0.025, 1, 1, light(quay, 0.15), quay)
    for x in spread(rng, 0, 1, 4):
        c.at(x, y + 0.05, 0.03).rect(-0.5, -1.6, 0.5, 0, "#2f3440", r=0.4)


def _waterfront(c: Canvas, rng: Rng, h: float) -> None:
    """A row of gabled houses, mirrored in the water."""
    for x in spread(rng, 0, 1, some(rng, 6, 11)):
        w, top, wall = 0.05, h - rng.uniform(0.07, 0.16), pick(rng, FACADES)
        c.rect(x - w, top, x + w, h, wall)
        c.poly([(x - w, top), (x, top - 0.05), (x + w, top)], dark(wall, 0.3))
        facade_windows(c, rng, (x - w, top + 0.01, x + w, h - 0.01), 3, 2, "#4a5d70")
        c.rect(x - w, h + 0.025, x + w, h + 0.025 + (h - top) * 0.8, fade(wall, 60))


def playground(c: Canvas, rng: Rng) -> None:
    """A slide tower, swings, a sandbox and a spring horse in a park."""
    h, grass, kit = rng.uniform(0.42, 0.52), pick(rng, "#86b35a #79a656 #9bb866"), picks(rng, TOYS, 4)
    sky(c, rng, h)
    hill(c, rng, h - 0.03, h - 0.02, 0.03, mix(pick(rng, LEAVES), c.haze, 0.4))
    c.shade(0, h, 1, 1, grass, dark(grass, 0.15))
    for x in spread(rng, 0, 1, some(rng, 3, 6)):
        c.put("tree", x, h + 0.03, rng.uniform(0.24, 0.4), pick(rng, LEAVES))
    c.oval(0.5, 0.82, rng.uniform(0.42, 0.56), 0.2, pick(rng, "#e6c88f #c98f6b #d3b083 #5f93a8"))
    specks(c, rng, h + 0.05, [light(grass, 0.3)], 40, 0.02)
    c.put("swing", rng.uniform(0.7, 0.8), rng.uniform(0.74, 0.8), rng.uniform(0.34, 0.46), *kit)
    flip, x = rng.uniform() < 0.5, rng.uniform(0.24, 0.34)
    c.put("slide", x, rng.uniform(0.8, 0.88), rng.uniform(0.44, 0.58), *kit, flip=flip)
    if rng.uniform() < 0.6:
        c.put("sandbox", rng.uniform(0.45, 0.65), 0.94, 0.24, kit[3])
    if rng.uniform() < 0.5:
        c.put("spring_horse", rng.uniform(0.5, 0.9), 0.92, 0.13, kit[1])


def soccer_stadium(c: Canvas, rng: Rng) -> None:
    """A striped pitch with lines and a goal, stands full of coloured seats, floodlights."""
    h, stand = rng.uniform(0.42, 0.52), pick(rng, "#4b5568 #6b7280 #8a8f99")
    grass = pick(rng, "#4f9a48 #3f8a42 #5fa84f")
    seats, tall = [*picks(rng, GOODS, 3), "#dfe3ea", "#39424f"], rng.uniform(0.18, 0.28)
    sky(c, rng, h)
    _stands(c, rng, h - tall, h, stand, seats)
    for x in (0.12, 0.88):
        c.put("floodlight", x, h - tall, rng.uniform(0.16, 0.22))
    s = Space(c, (0.12, h - 0.2, 0.88, h), (rng.uniform(0.4, 0.6), h - 0.16), 2.6)
    for k in range(13):
        s.face((-0.6, 1.6), 0, (k / 10, k / 10 + 0.1), grass if k % 2 else light(grass, 0.14))
    box = (((0.2, 0.8), (0.5, 0.52)), ((0.2, 0.206), (0.06, 0.5)), ((0.794, 0.8), (0.06, 0.5)))
    s.paint_floor((((-0.1, 1.1), (0.06, 0.07)), ((-0.4, 1.4), (0.9, 0.93)), *box), "#f6faf0")
    _goal(s)


def _stands(c: Canvas, rng: Rng, top: float, h: float, wall: Color, seats: Sequence[Color]) -> None:
    """Rows of seats under a roof, with an advertising band at their foot."""
    c.rect(0, top, 1, h + 0.02, wall)
    for y in np.arange(top + 0.03, h - 0.05, 0.03).tolist():
        for x in spread(rng, 0, 1, 34):
            c.rect(x - 0.008, y, x + 0.008, y + 0.016, pick(rng, seats))
    c.rect(0, top - 0.04, 1, top, light(wall, 0.5))
    c.rect(0, h - 0.035, 1, h, pick(rng, ACCENTS))


def _goal(s: Space) -> None:
    """A net in its white frame."""
    for k in range(11):
        s.face((0.34 + 0.032 * k, 0.343 + 0.032 * k), (0, 0.6), 0.07, "#e8eef090")
        s.face((0.34, 0.66), (0.06 * k, 0.06 * k + 0.01), 0.07, "#e8eef090")
    for x, y in (((0.33, 0.34), (0, 0.64)), ((0.66, 0.67), (0, 0.64)), ((0.33, 0.67), (0.6, 0.64))):
        s.face(x, y, 0.07, "#ffffff")


def swimming_pool(c: Canvas, rng: Rng) -> None:
    """A turquoise pool with a pale deck, loungers, parasols, palms and a hedge."""
    h, leaf = rng.uniform(0.34, 0.44), pick(rng, LEAVES)
    deck = pick(rng, "#ead9c0 #e3e0da #d9b99b #efe7d8")
    water, near, a = pick(rng, "#2fb8cf #38c6d9 #2aa5cc"), rng.uniform(0.8, 1.15), rng.uniform(0.1, 0.6)
    sky(c, rng, h)
    if rng.uniform() < 0.5:
        c.rect(a, h - 0.2, a + 0.34, h + 0.02, light(pick(rng, FACADES), 0.5))
        facade_windows(c, rng, (a, h - 0.17, a + 0.34, h + 0.03), 4, 2, "#7fa6b8")
    for x in spread(rng, 0, 1, 5):
        c.put(pick(rng, ("palm", "palm", "tree")), x, h + 0.02, rng.uniform(0.26, 0.42), leaf, flip=x > 0.5)
    hill(c, rng, h - 0.03, h - 0.03, 0.01, leaf)
    c.shade(0, h + 0.03, 1, 1, deck, dark(deck, 0.1))
    s = Space(c, (0.14, 0.1, 0.86, h + 0.12), (rng.uniform(0.35, 0.65), h - 0.05), 2.4)
    _pool(s, rng, near, water)
    for x in spread(rng, 0.02, 0.98, some(rng, 2, 4)):
        c.put("lounger", x, h + 0.1, 0.16, pick(rng, ACCENTS))
        if rng.uniform() < 0.5:
            c.put("parasol", x + 0.05, h + 0.1, 0.24, pick(rng, ACCENTS))
    s.put("ladder", pick(rng, (0.1, 0.9)), 0.12, 0.12)


def _pool(s: Space, rng: Rng, near: float, water: Color) -> None:
    """The basin with its rim, ripples and perhaps lanes."""
    s.face((-0.04, 1.04), 0, (-0.06, near + 0.05), "#fbfaf5")
    s.face((0, 1), 0, (0, near), light(water, 0.3))
    s.face((0, 1), 0, (0.05, near), water)
    for x, z in rng.uniform((0.03, 0.08), (0.9, near - 0.03), (46, 2)).tolist():
        s.face((x, x + 0.08), 0, (z, z + 0.008), pick(rng, "#ffffffa0 #bff3f5c0 #1685a860"))
    for k in (1, 2, 3) if rng.uniform() < 0.3 else ():
        s.face((k / 4 - 0.006, k / 4 + 0.006), 0, (0, near), "#f2545b")


def mosque(c: Canvas, rng: Rng) -> None:
    """Domes, minarets and pointed arches around a paved court."""
    h, wall = rng.uniform(0.68, 0.78), pick(rng, "#f1e7d3 #e3cfa8 #f5f2ec #d9c0a0")
    dome, court = pick(rng, "#2a9d8f #3f88a8 #d9a441 #6f97a8 #e8e2d2"), pick(rng, "#d9ccb4 #c9b899 #dcdad2")
    sky(c, rng, h)
    hill(c, rng, h - 0.08, h - 0.08, 0.03, mix("#a39a80", c.haze, 0.5))
    c.shade(0, h, 1, 1, court, dark(court, 0.15))
    t = c.at(rng.uniform(0.42, 0.58), h + 0.02, rng.uniform(0.6, 0.74))
    for x in pick(rng, ((-0.62, 0.62), (-0.5, 0.5), (-0.66, -0.4, 0.4, 0.66), (0.56,))):
        t.put("minaret", x, 0, 1, wall, dome)
    for x in (-0.34, 0.34):
        t.put("dome", x, -0.34, 0.13, dome)
    t.rect(-0.52, -0.34, 0.52, 0, wall)
    t.rect(-0.24, -0.46, 0.24, 0, light(wall, 0.3))
    t.put("dome", 0, -0.46, 0.23, dome)
    for x, size in ((0, 0.11), (-0.44, 0.055), (-0.32, 0.055), (0.32, 0.055), (0.44, 0.055)):
        t.put("arch", x, 0, size)
    for k in range(-4, 5):
        c.line([(0.5 + k * 0.1, h + 0.03), (0.5 + k * 0.32, 1)], fade(dark(court, 0.4), 70), 0.004)


def temple(c: Canvas, rng: Rng) -> None:
    """A pagoda with curved roofs, lanterns and blossoming trees."""
    h, x, tiers = rng.uniform(0.66, 0.76), rng.uniform(0.36, 0.64), some(rng, 2, 4)
    roofs = "#39434d #b23a35", "#2f5b57 #c8503c", "#3b3540 #8c4a34", "#a8442f #d9a441", "#4a5a63 #e7dcc6"
    (roof, wood), ground = pick(rng, roofs).split(), pick(rng, "#cdbfa6 #b8b39f #9bab72")
    blossom = pick(rng, "#f4b6c6 #e88fae #4f8a52 #d9622f")
    sky(c, rng, h)
    hill(c, rng, h - 0.2, h - 0.16, 0.06, mix("#5f8a72", c.haze, 0.55))
    hill(c, rng, h - 0.06, h - 0.06, 0.02, mix("#4f7a55", c.haze, 0.2))
    c.shade(0, h, 1, 1, ground, dark(ground, 0.2))
    for a in (*spread(rng, 0, x - 0.22, 2), *spread(rng, x + 0.22, 1, 2)):
        c.put("tree", a, h + 0.05, rng.uniform(0.28, 0.42), blossom)
    t = c.at(x, h + 0.05, rng.uniform(0.62, 0.72))
    for k in range(3):
        t.rect(-0.5 + 0.05 * k, -0.035 * (k + 1), 0.5 - 0.05 * k, -0.035 * k, light("#a89f92", 0.15 * k))
    y, size = -0.1, 0.8 * 0.18 / (1 - 0.82**tiers)  # the tiers shrink by 0.82 and add up to the same height
    for k in range(tiers):
        size_k = min(size, 0.36) * 0.82**k
        t.put("tier", 0, y, size_k, roof, wood)
        y -= size_k * 0.98
    t.line([(0, y + 0.02), (0, y - 0.14)], "#d9a441", 0.02)
    for a in (-0.62, 0.62):
        t.put("lantern", a, 0.03, 0.3)
