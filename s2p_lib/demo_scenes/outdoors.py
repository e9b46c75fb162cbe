"""What outdoor places share: sky and its light, land, house windows."""

import math
from collections.abc import Sequence

import numpy as np

from s2p_lib.demo_scenes.canvas import Canvas, Point
from s2p_lib.demo_scenes.chance import Rng, pick, some, spread
from s2p_lib.demo_scenes.colors import LAMPLIGHT, Color, fade, mix, rgb

LIGHTS = {  # sky above, sky at the horizon, colour of the sun, light on things
    "day": ("#3b8fd6", "#d3ecf8", "#fffbe6", (1.0, 1.0, 1.0)),
    "clear": ("#4fb3e8", "#fdf1d8", "#fff7d1", (1.03, 1.0, 0.95)),
    "golden": ("#7db1cf", "#ffd08a", "#fff0b8", (1.05, 0.92, 0.78)),
    "dusk": ("#3f3f86", "#ff9d7a", "#ffd9a8", (0.82, 0.68, 0.80)),
    "dawn": ("#8f8bcb", "#ffd9d2", "#fff2e6", (0.97, 0.88, 0.91)),
    "cloudy": ("#8ea3b5", "#e3e9ec", "#eef2f4", (0.90, 0.92, 0.96)),
    "night": ("#0a1230", "#3a4c86", "#f4f1de", (0.46, 0.52, 0.76)),
}
MOODS = "day day clear clear golden dusk dawn cloudy night"
COLD_MOODS = "day day day clear cloudy dawn dusk night"  # golden light would turn snow into sand


def sky(c: Canvas, rng: Rng, horizon: float, moods: str = MOODS) -> None:
    """Paint the sky beyond the horizon and set the light for all that is drawn later."""
    mood = pick(rng, moods)
    top, low, sun, tint = LIGHTS[mood]
    c.shade(0, 0, 1, min(1, horizon + 0.15), top, low, lit=True)
    for x, y, r in rng.uniform(0, 1, (60 if mood == "night" else 0, 3)).tolist():
        c.put("dot", x, y * horizon, 0.001 + 0.003 * r, "#dfe6ff")
    high = rng.uniform(0.7, 0.92) if mood in ("golden", "dusk") else rng.uniform(0.15, 0.5)
    sun_x = rng.uniform(0.1, 0.9)
    if mood != "cloudy":
        c.glow(sun_x, horizon * high, rng.uniform(0.4, 0.7), sun, 0.8)
        c.put("dot", sun_x, horizon * high, 0.045, sun)
    white = mix(low, "#ffffff", 0.1 if mood == "night" else 0.6)
    for _ in range(some(rng, 1, 5) + 3 * (mood == "cloudy")):
        _cloud(c.at(rng.uniform(), horizon * rng.uniform(0.08, 0.75), rng.uniform(0.1, 0.26)), rng, white)
    c.tint, c.haze, c.night = tint, rgb(low), mood == "night"


def _cloud(t: Canvas, rng: Rng, color: Color) -> None:
    """A flat-bottomed heap of see-through puffs."""
    ink = fade(color, some(rng, 90, 200))
    for x in spread(rng, -1, 1, 5):
        r = (1.1 - abs(x)) * rng.uniform(0.25, 0.42)
        t.oval(x, -r * 0.6, r * 1.3, r, ink, lit=True)
    t.rect(-1.1, -0.14, 1.1, 0.0, ink, r=0.07, lit=True)


def hill(c: Canvas, rng: Rng, left: float, right: float, amp: float, color: Color, rough=0.0) -> list[Point]:
    """Fill the land below a wavy line from (0, left) to (1, right); rough adds teeth. Returns the line."""
    phases, n, line = rng.uniform(0, 6.3, 3).tolist(), 36, []
    for i, tooth in enumerate(rng.uniform(-1, 1, n + 1).tolist()):
        wave = sum(math.sin(f * i / n + p) / f for f, p in zip((3.1, 6.7, 13.3), phases, strict=True)) * 2.2
        line.append((i / n, left + (right - left) * i / n - amp * ((1 - rough) * wave + rough * tooth)))
    c.poly([*line, (1, 1), (0, 1)], color)
    return line


def specks(c: Canvas, rng: Rng, top: float, colors: Sequence[Color], n: int, size: float) -> None:
    """Scatter flat strokes below y = top that grow towards the viewer: ripples, grass, pebbles."""
    for x, t in rng.uniform(0, 1, (n, 2)).tolist():
        c.at(x, top + (1 - top) * t**1.5, size * (0.25 + t)).oval(0, 0, 1, 0.16, pick(rng, colors))


def snowy_pine(c: Canvas, x: float, y: float, size: float, leaf: Color) -> None:
    """A fir with snow on its branches."""
    c.put("pine", x, y, size, leaf)
    c.put("snow", x, y, size)


def facade_windows(c: Canvas, rng: Rng, box: Sequence[float], cols: int, rows: int, glass: Color) -> None:
    """A grid of window panes over a facade; at night many of them are lit."""
    (x0, y0, x1, y1), lamp = box, rng.uniform(size=(rows, cols)) < (0.5 if c.night else 0.04)
    w, h = (x1 - x0) / cols, (y1 - y0) / rows
    for i, j in np.ndindex(rows, cols):
        x, y, lit = x0 + w * (j + 0.22), y0 + h * (i + 0.2), bool(lamp[i, j])
        c.rect(x, y, x + w * 0.56, y + h * 0.6, LAMPLIGHT if lit else glass, lit=lit)
