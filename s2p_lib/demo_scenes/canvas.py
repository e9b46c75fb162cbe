"""The drawing surface: shapes in relative coordinates, under the light of the scene."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy

import numpy as np
from PIL import Image, ImageDraw

from s2p_lib.demo_scenes.colors import LAMPLIGHT, Color, dark, light, rgb
from s2p_lib.demo_scenes.props import PROPS

Point = tuple[float, float]


def _points(numbers: Sequence[float]) -> list[Point]:
    """Read x y x y ... as points."""
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _glow_mask(strength: float) -> Image.Image:
    """Return a round light: bright in the middle, 0 at the rim (where the built-in gradient is 181)."""
    table = [round(255 * strength * max(0.0, 1 - v / 180) ** 2) for v in range(256)]
    return Image.radial_gradient("L").point(table)


class Canvas:
    """A drawing surface in relative coordinates, x to the right and y down.

    The root canvas runs from 0 to 1 over the whole picture, so a layout fits every aspect. `at` opens a frame
    with square units around a point, so that things in it (trees, people) keep their proportions.
    `tint` multiplies every colour: it is the light of the scene. Pass lit=True for what shines by itself.
    """

    def __init__(self, image: Image.Image) -> None:
        self.image, self.origin, self.scale, self.unit = image, (0, 0), image.size, min(image.size)
        self.tint, self.haze, self.night = (1.0, 1.0, 1.0), (215, 228, 236), False
        # Two pens, opaque and see-through: one pen could do both, but the see-through one is slower.
        self.pens = ImageDraw.Draw(image), ImageDraw.Draw(image, "RGBA")

    def at(self, x: float, y: float, size: float, flip: bool = False) -> Canvas:
        """Return a frame at (x, y) whose unit is size times the shorter side, mirrored if flip."""
        frame = copy(self)
        frame.origin, frame.unit = self._px((x, y)), size * self.unit
        frame.scale = (-frame.unit if flip else frame.unit, frame.unit)
        return frame

    def put(self, prop: str, x: float, y: float, size: float, *colors: Color, flip: bool = False) -> None:
        """Draw one of PROPS at (x, y)."""
        self.at(x, y, size, flip).draw(prop, *colors)

    def draw(self, prop: str, *colors: Color) -> None:
        """Draw one of PROPS around the origin; its colours A, B, ... are those given."""
        for kind, color, v in PROPS[prop]:
            if kind[0] == "?" and not self.night:
                continue
            ink, lit = self._prop_color(color, colors)
            match kind[-1]:
                case "R":
                    self.rect(*v[:4], ink, *v[4:], lit=lit)
                case "O":
                    self.oval(*v, ink, lit=lit)
                case "P":
                    self.poly(_points(v), ink, lit=lit)
                case "L":
                    self.line(_points(v[1:]), ink, v[0], lit=lit)
                case "T":
                    self.pie(*v[:4], ink, *v[4:])
                case "G":
                    self.glow(*v[:3], ink, v[3])

    def _prop_color(self, word: str, colors: Sequence[Color]) -> tuple[Color, bool]:
        """Read a colour word of PROPS: see there."""
        if word == "window":
            return (LAMPLIGHT, True) if self.night else ("#54687d", False)
        name = word.rstrip("!+-")
        color = colors["ABCD".index(name)] if name in "ABCD" else name
        for mark in word[len(name) :].rstrip("!"):
            color = light(color, 0.3) if mark == "+" else dark(color, 0.22)
        return color, word.endswith("!")

    def _px(self, point: Point) -> tuple[int, int]:
        """Whole pixels, so that tiny differences between machines cannot show."""
        (x, y), (left, top), (wide, high) = point, self.origin, self.scale
        return round(left + wide * x), round(top + high * y)

    def _box(self, x0: float, y0: float, x1: float, y1: float) -> tuple[int, int, int, int]:
        """Return left, top, right, bottom in pixels."""
        (a, b), (c, d) = self._px((x0, y0)), self._px((x1, y1))
        return min(a, c), min(b, d), max(a, c), max(b, d)

    def _ink(self, color: Color, lit: bool) -> tuple[ImageDraw.ImageDraw, tuple[int, ...]]:
        """Return the pen for this colour and the colour under the scene's light."""
        r, g, b, *alpha = rgb(color)
        if not lit:
            r, g, b = (min(255, round(v * t)) for v, t in zip((r, g, b), self.tint, strict=True))
        return self.pens[bool(alpha)], (r, g, b, *alpha)

    def rect(self, x0: float, y0: float, x1: float, y1: float, color: Color, r: float = 0, lit=False) -> None:
        """Fill a rectangle with corners rounded by r."""
        (pen, ink), box = self._ink(color, lit), self._box(x0, y0, x1, y1)
        radius = min(round(r * self.unit), (box[2] - box[0]) // 2, (box[3] - box[1]) // 2)
        if radius > 0:
            pen.rounded_rectangle(box, radius, fill=ink)
        else:
            pen.rectangle(box, fill=ink)

    def poly(self, points: Iterable[Point], color: Color, lit: bool = False) -> None:
        """Fill a polygon."""
        pen, ink = self._ink(color, lit)
        pen.polygon([self._px(p) for p in points], fill=ink)

    def oval(self, x: float, y: float, rx: float, ry: float, color: Color, lit: bool = False) -> None:
        """Fill an ellipse around (x, y)."""
        pen, ink = self._ink(color, lit)
        pen.ellipse(self._box(x - rx, y - ry, x + rx, y + ry), fill=ink)

    def pie(self, x: float, y: float, rx: float, ry: float, color: Color, start=180.0, end=360.0) -> None:
        """Fill a slice of an ellipse between two angles in degrees, by default its upper half."""
        pen, ink = self._ink(color, False)
        if self.scale[0] < 0:
            start, end = 180 - end, 180 - start
        pen.pieslice(self._box(x - rx, y - ry, x + rx, y + ry), start, end, fill=ink)

    def line(self, points: Sequence[Point], color: Color, width: float, lit: bool = False) -> None:
        """Draw a polyline; thick ones get round joints and ends."""
        (pen, ink), pixels = self._ink(color, lit), [self._px(p) for p in points]
        thick = round(width * self.unit)
        pen.line(pixels, fill=ink, width=max(1, thick))
        if thick > 5 and len(ink) == 3:
            half = thick // 2
            for a, b in pixels:
                pen.ellipse((a - half, b - half, a + half, b + half), fill=ink)

    def shade(self, x0: float, y0: float, x1: float, y1: float, top: Color, low: Color, lit=False) -> None:
        """Fill a rectangle with a gradient from top to bottom."""
        left, upper, right, lower = self._box(x0, y0, x1, y1)
        size, t = (right - left, lower - upper), np.linspace(0, 1, max(0, lower - upper))[:, None, None]
        if min(size) <= 0:
            return
        a, b = (np.array(self._ink(c, lit)[1][:3]) for c in (top, low))
        column = Image.fromarray(np.rint(a + (b - a) * t).astype(np.uint8))
        self.image.paste(column.resize(size, Image.Resampling.NEAREST), (left, upper))

    def glow(self, x: float, y: float, r: float, color: Color, strength: float = 0.6) -> None:
        """Add a soft round light of radius r."""
        (px, py), size = self._px((x, y)), round(r * self.unit)
        if size > 1:
            mask = _glow_mask(strength).resize((2 * size, 2 * size), Image.Resampling.NEAREST)
            self.image.paste(rgb(color)[:3], (px - size, py - size), mask)
