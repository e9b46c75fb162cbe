"""Small drawn "photos" of thirty kinds of places, for the demo data set that comes with the kit.

The drawings are stand-ins: they let anyone run the whole pipeline (scene classifier, then private/public
layer) without downloading a photo, and they prove only that the pipeline works. They are never evidence
about the paper.

`draw_scene` makes one photo. All randomness comes from the generator it is given and no font is used, so the
same generator state and arguments give the same pixels everywhere.

The file runs from tools to pictures: colours, `Canvas`, small things described as text (`_PROPS`), sky and
land, `_Space` for perspective, the places, the people, the camera.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from PIL import Image, ImageChops, ImageColor, ImageDraw, ImageFilter, ImageOps

Rng = np.random.Generator
Color = str | tuple[int, ...]
Point = tuple[float, float]
Span = float | tuple[float, float]

_SUPERSAMPLE = 2  # drawn at twice the size; the camera then smooths every edge

_ACCENTS = "#e76f51 #2a9d8f #e9c46a #457b9d #b56576 #6d597a #84a59d #f28482 #3d5a80 #f4a261"
_BOOKS = "#8c3b2e #27465f #c79a4b #3e5c3a #5b2f45 #d9cdb4 #6b4226 #a7553a"
_FACADES = "#d98f6a #e8cfa9 #b4594a #c9b8a4 #8fa39a #e3b36d #a8747a #d7d2c4 #7b8ea6"
_GOODS = "#e63946 #ffb703 #2a9d8f #219ebc #f4f1de #8ac926 #ff7b54 #6a4c93 #fff3b0"
_LEAVES = "#3f7d4e #4f9a5a #2f6b4a #6aa84f #7d9d45"
_PAINTS = "#c8323a #2f5d8c #f0efe9 #30343d #e0a72e #5b8c7b #9aa3ad"
_TOYS = "#e63946 #f4a300 #2a9df4 #2fae66 #8e5bd0"
_WALLS = "#e8dccb #cfdad6 #d8c8bd #b9c9d4 #e5d3c8 #c9cfb8 #d9d3e0 #9fb3b5 #e9e4da"
_WOODS = "#b98a5e #9c6b45 #caa27a #7a553c #d3b48c #a67b5b"


def _pick(rng: Rng, options: Sequence | str):
    """Draw one of the options; a string is a list of words."""
    options = options.split() if isinstance(options, str) else options
    return options[int(rng.integers(len(options)))]


def _picks(rng: Rng, options: str, n: int) -> list[str]:
    """Draw n times, with repeats."""
    return [_pick(rng, options) for _ in range(n)]


def _spread(rng: Rng, low: float, high: float, n: int, loose: float = 0.6) -> list[float]:
    """Return n rising positions between low and high, evenly spaced but loosened."""
    step = (high - low) / n
    return [low + step * (i + 0.5 + loose * float(rng.uniform(-0.5, 0.5))) for i in range(n)]


def _some(rng: Rng, low: int, high: int) -> int:
    """Draw a count from low to high, both included."""
    return int(rng.integers(low, high + 1))


def _rgb(color: Color) -> tuple[int, ...]:
    """Turn "#rrggbb" or "#rrggbbaa" into a tuple; leave tuples alone."""
    return ImageColor.getrgb(color) if isinstance(color, str) else color


def _mix(a: Color, b: Color, t: float) -> tuple[int, ...]:
    """Return the colour that lies the fraction t of the way from a to b."""
    return tuple(round(p + (q - p) * t) for p, q in zip(_rgb(a)[:3], _rgb(b)[:3], strict=True))


def _light(color: Color, t: float = 0.25) -> tuple[int, ...]:
    """Return a lighter, warmer colour."""
    return _mix(color, "#fff6e5", t)


def _dark(color: Color, t: float = 0.25) -> tuple[int, ...]:
    """Return a darker colour, pulled to blue as shadows are."""
    return _mix(color, "#141229", t)


def _fade(color: Color, alpha: int) -> tuple[int, ...]:
    """Return the colour with an opacity (0 to 255)."""
    return (*_rgb(color)[:3], alpha)


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

    def __init__(self, image: Image.Image, origin: Point = (0, 0), scale: Point | None = None) -> None:
        self.image, self.origin, self.scale = image, origin, scale or image.size
        self.unit = min(abs(self.scale[0]), self.scale[1])
        self.tint, self.haze, self.night = (1.0, 1.0, 1.0), (215, 228, 236), False
        self.pens = (
            ImageDraw.Draw(image),
            ImageDraw.Draw(image, "RGBA"),
        )  # opaque; see-through, which is slower

    def at(self, x: float, y: float, size: float, flip: bool = False) -> Canvas:
        """Return a frame at (x, y) whose unit is size times the shorter side, mirrored if flip."""
        frame = Canvas.__new__(Canvas)
        frame.__dict__ |= self.__dict__
        frame.origin, frame.unit = self._px((x, y)), size * self.unit
        frame.scale = (-frame.unit if flip else frame.unit, frame.unit)
        return frame

    def put(self, prop: str, x: float, y: float, size: float, *colors: Color, flip: bool = False) -> None:
        """Draw one of _PROPS at (x, y)."""
        self.at(x, y, size, flip).draw(prop, *colors)

    def draw(self, prop: str, *colors: Color) -> None:
        """Draw one of _PROPS around the origin; its colours A, B, ... are those given."""
        for kind, color, v in _PROPS[prop]:
            if kind[0] == "?" and not self.night:
                continue
            ink, lit = self._prop_color(color, colors)
            points = list(zip(v[1 if "L" in kind else 0 :: 2], v[2 if "L" in kind else 1 :: 2], strict=False))
            match kind[-1]:
                case "R":
                    self.rect(*v[:4], ink, r=v[4] if len(v) > 4 else 0, lit=lit)
                case "O":
                    self.oval(*v, ink, lit=lit)
                case "P":
                    self.poly(points, ink, lit=lit)
                case "L":
                    self.line(points, ink, v[0], lit=lit)
                case "T":
                    self.pie(*v[:4], ink, *(v[4:] or (180, 360)))
                case "G":
                    self.glow(*v[:3], ink, v[3])

    def _prop_color(self, word: str, colors: Sequence[Color]) -> tuple[Color, bool]:
        """Read a colour word of _PROPS: see there."""
        if word == "window":
            return ("#ffd98a", True) if self.night else ("#54687d", False)
        name = word.rstrip("!+-")
        color = colors["ABCD".index(name)] if name in "ABCD" else name
        for mark in word[len(name) :].rstrip("!"):
            color = _light(color, 0.3) if mark == "+" else _dark(color, 0.22)
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
        r, g, b, *alpha = _rgb(color)
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
            self.image.paste(_rgb(color)[:3], (px - size, py - size), mask)


# ---------------------------------------------------------------- small things, described as text

# One thing per paragraph, its foot at (0, 0) and about one unit high, y down. Shape: kind, colour, numbers.
#   R x0 y0 x1 y1 [corner]   O x y rx ry   P x y x y ...   L width x y x y ...   G x y radius strength (light)
#   T x y rx ry [from to] (slice of an oval, by default its upper half).   "?" before the kind: only at night.
# Colours: A B C D are given by the caller; + lighter, - darker, ! shines by itself; "window" is lit at night.
_PROP_TEXT = """
dot: O A 0 0 1 1
tree: O #14122946 .05 0 .32 .04; P #6b4a36 -.035 0 -.02 -.5 .02 -.5 .04 0; O A- -.11 -.5 .17 .16
  O A- .2 -.5 .17 .16; O A- .05 -.72 .2 .2; O A- .03 -.54 .2 .2; O A -.16 -.5 .16 .15; O A .14 -.5 .15 .15
  O A -.02 -.73 .19 .19; O A -.02 -.54 .19 .19; O A+ -.2 -.54 .1 .09; O A+ -.07 -.78 .12 .11
  O A+ .05 -.58 .1 .08
pine: R #5a4034 -.03 -.15 .03 0; P A- -.21 -.1 0 -.55 .21 -.1; P A -.21 -.1 0 -.55 .02 -.1
  P A- -.16 -.33 0 -.78 .16 -.33; P A -.16 -.33 0 -.78 .02 -.33; P A- -.1 -.58 0 -1 .1 -.58
  P A -.1 -.58 0 -1 .01 -.58
snow: P #f3f8ff -.14 -.25 0 -.55 .09 -.3 .03 -.34 -.03 -.28; P #f3f8ff -.11 -.47 0 -.78 .07 -.52 0 -.53
  P #f3f8ff -.065 -.73 0 -1 .045 -.78 0 -.76
palm: L #8a6545 .05 0 0 .01 -.16 .03 -.32 .07 -.48 .12 -.64 .18 -.8
  P #2f7d4f .18 -.8 -.03 -.83 -.2 -.62 -.02 -.74; P #3f9a5b .18 -.8 -.01 -.95 -.18 -.88 0 -.86
  P #256b45 .18 -.8 .05 -1.03 -.03 -1.06 .12 -.93; P #2f7d4f .18 -.8 .15 -1.01 .26 -1.1 .25 -.94
  P #3f9a5b .18 -.8 .34 -1 .46 -1 .32 -.88; P #256b45 .18 -.8 .42 -.93 .57 -.82 .38 -.82
  P #2f7d4f .18 -.8 .4 -.82 .54 -.58 .34 -.74
rock: O #f4fbff90 0 .5 1.6 .4; P A -1 .6 -.6 -.4 .1 -.7 .8 -.1 1.1 .6; P A- .1 -.7 .8 -.1 1.1 .6 .2 .6
parasol: O #14122946 .12 0 .5 .06; L #e8e0d0 .03 0 0 .06 -.9; T A .06 -.62 .55 .36
  T #fff8ea .06 -.62 .55 .36 210 240; T #fff8ea .06 -.62 .55 .36 270 300; T #fff8ea .06 -.62 .55 .36 330 360
lounger: O #14122946 0 0 .5 .06; L #f2efe8 .05 -.3 0 -.3 -.2; L #f2efe8 .05 .35 0 .35 -.2
  L A .12 -.75 -.55 -.3 -.22 .5 -.22
ladder: L #dfe6ea .07 -.15 .4 -.15 -.5 .05 -.6 .2 -.2; L #dfe6ea .07 .15 .4 .15 -.5 .35 -.6 .5 -.2
sailboat: L #5b4636 .035 0 0 0 -1; P #fffaf0 .03 -.98 .03 -.2 .42 -.2; P #e9e2d4 -.03 -.85 -.03 -.2 -.3 -.2
  P A -.45 -.14 .52 -.14 .36 .06 -.34 .06; R #ffffff60 -.34 .07 .36 .1
fishing_boat: P #10204050 -.3 .12 .34 .12 .24 .24 -.2 .24; L #6d5b4a .022 0 -.2 0 -1
  L #e5ded0 .008 -.36 -.02 0 -.95 .4 -.05; R #fbf7ee -.16 -.22 .08 -.05 .03; R window -.12 -.18 -.04 -.11
  L B .06 0 -.3 -.3 -.28; P A -.38 -.08 .44 -.08 .3 .12 -.3 .12; P A-- -.31 .05 .345 .05 .3 .12 -.3 .12
crane: L A .035 -.14 0 -.06 -.7; L A .035 .14 0 .06 -.7; L A .03 -.1 -.3 .1 -.3
  L A .05 -.4 -.66 0 -.7 .7 -.95; L A- .015 0 -.7 .1 -1 .7 -.95; L #3a3f48 .012 .66 -.94 .66 -.45
  R A- -.42 -.68 -.28 -.56
car: O #14122946 0 0 .6 .07; R #1c1c24 -.42 -.14 -.26 .02 .05; R #1c1c24 .26 -.14 .42 .02 .05
  P A- -.38 -.4 -.28 -.72 .28 -.72 .38 -.4; P #a9c7d8 -.31 -.42 -.24 -.66 .24 -.66 .31 -.42
  R A -.48 -.45 .48 -.08 .09; R #ff5a4f! -.45 -.38 -.28 -.28 .03; R #ff5a4f! .28 -.38 .45 -.28 .03
  R #f5f1e4 -.13 -.27 .13 -.18
street_lamp: L #3c414d .025 0 0 0 -.94 .16 -1; R #e8e8e0 .12 -1.02 .28 -.97; ?R #ffe9b0! .12 -1.02 .28 -.97
  ?G #ffdf9a .2 -.96 .5 .7
floodlight: L #6a707c .04 0 0 0 -.9; R #3d424d -.18 -1 .18 -.8; L #fffbe0! .06 -.13 -.95 .13 -.95
  L #fffbe0! .06 -.13 -.86 .13 -.86; ?G #fdfbe8 0 -.9 .8 .9
lift_chair: L #2f3440 .13 0 0 0 .8 -.45 .8 -.45 1.3 .45 1.3
gate: L #3a3f4c .06 0 0 0 -1; P A 0 -1 .7 -.85 0 -.6
lighthouse: R #f5efe2 .1 -.17 .42 0; P A .06 -.17 .26 -.3 .46 -.17; R window .3 -.12 .36 -.05
  P #fbf7ee -.13 0 -.075 -.8 .075 -.8 .13 0; P A -.119 -.16 -.108 -.32 .108 -.32 .119 -.16
  P A -.097 -.48 -.086 -.64 .086 -.64 .097 -.48; P #14122932 .045 0 .03 -.8 .075 -.8 .13 0
  R #2c2d36 -.11 -.83 .11 -.79; R #ffe08a! -.06 -.93 .06 -.83; T A 0 -.925 .09 .1; R #3b4a57 -.03 -.12 .03 0
  ?P #fff3b050! 0 -.88 -2.2 -1.15 -2.2 -.7; ?P #fff3b050! 0 -.88 2.2 -1.15 2.2 -.7; ?G #fff0b0 0 -.88 .3 .9
windmill: O #14122946 .05 0 .3 .03; P A -.2 0 -.12 -.62 .12 -.62 .2 0; P A- .07 0 .04 -.62 .12 -.62 .2 0
  T #4a3630 0 -.61 .14 .17; R #3e2c25 -.05 -.16 .05 0 .02; R window -.03 -.42 .03 -.34
  R window -.03 -.29 .03 -.22
slide: O #14122946 .1 0 .6 .04; L A .04 -.36 0 -.36 -.8; L A .04 -.06 0 -.06 -.8
  L B- .022 -.36 -.06 -.06 -.06; L B- .022 -.36 -.16 -.06 -.16; L B- .022 -.36 -.26 -.06 -.26
  L B- .022 -.36 -.36 -.06 -.36; P C -.06 -.5 .08 -.48 .56 -.06 .72 -.06 .72 0 .5 0 -.06 -.4
  L C+ .03 -.06 -.52 .08 -.51 .57 -.09 .72 -.09; R D -.38 -.5 -.04 -.44; P B -.46 -.76 -.21 -1 .04 -.76
  P B- -.21 -.76 -.21 -1 .04 -.76
swing: L B .04 -.76 0 -.62 -1 -.48 0; L B .04 .48 0 .62 -1 .76 0; L A .05 -.64 -1 .64 -1
  L #e6e6ea .016 -.37 -1 -.29 -.3; L #e6e6ea .016 -.19 -1 -.11 -.3; L #e6e6ea .016 .17 -1 .12 -.3
  L #e6e6ea .016 .35 -1 .3 -.3; R C -.33 -.31 -.07 -.25; R C .08 -.31 .34 -.25
sandbox: P A -.5 0 -.35 -.16 .35 -.16 .5 0; P #f0dca6 -.42 -.01 -.31 -.12 .31 -.12 .42 -.01
spring_horse: O #14122946 0 0 .5 .1; L #77808a .1 0 0 .1 -.1 -.1 -.2 .1 -.3; L A .3 -.35 -.5 .25 -.5 .45 -.85
  O A .5 -.9 .22 .16; O #1d1b22 .54 -.94 .04 .04
minaret: R A -.045 -.86 .045 0; R A- .01 -.86 .045 0; R A+ -.07 -.5 .07 -.47; R A+ -.07 -.8 .07 -.77
  P B -.055 -.86 0 -1.06 .055 -.86; L #d9a441 .012 0 -1.04 0 -1.12
dome: P A -.85 0 -1 -.3 -.98 -.62 -.82 -.95 -.52 -1.25 0 -1.75 .52 -1.25 .82 -.95 .98 -.62 1 -.3 .85 0
  P A- .4 0 .47 -.3 .46 -.62 .38 -.95 .24 -1.25 0 -1.75 .52 -1.25 .82 -.95 .98 -.62 1 -.3 .85 0
  R A++ -.9 -.12 .9 0; L #d9a441 .05 0 -1.7 0 -2; O #e8b84a 0 -2.08 .12 .13
arch: R window -1 -2 1 0; P window -1 -1.95 -.7 -2.6 0 -3 .7 -2.6 1 -1.95
tier: R B+ -.78 -.62 .78 0; R B -.76 -.62 -.7 0; R B -.4 -.62 -.34 0; R B .34 -.62 .4 0; R B .7 -.62 .76 0
  R window -.2 -.46 .2 0; P A -1.45 -.72 -1.2 -.58 1.2 -.58 1.45 -.72 .95 -.76 .6 -1.02 -.6 -1.02 -.95 -.76
  L B .04 -1.2 -.58 1.2 -.58; O #e63b2e -1 -.42 .07 .1; O #e63b2e 1 -.42 .07 .1; ?G #ff9a5a -1 -.42 .4 .6
  ?G #ff9a5a 1 -.42 .4 .6
lantern: R #8d8a86 -.1 -.6 .1 0; R #a5a29c -.2 -.8 .2 -.55; R window -.1 -.75 .1 -.6
  P #77736f -.4 -.78 0 -1.1 .4 -.78
hoop: R #fdfdfb -.9 -1.2 .9 0; R #d0453a -.9 -1.2 .9 -1.1; R #d0453a -.35 -.75 .35 -.2
  R #fdfdfb -.27 -.67 .27 -.27; P #ffffffb0 -.36 -.1 .36 -.1 .22 .5 -.22 .5; R #f0622d -.4 -.16 .4 -.06
ball: O #14122946 .2 0 1.2 .3; O A 0 -.9 1 1; L A-- .1 -.9 -.9 .9 -.9; O A+ -.35 -1.3 .25 .22
clock: O #2d2b33 0 0 1 1; O #fbf7ec 0 0 .82 .82; L #2d2b33 .14 0 -.6 0 0 .4 .2
chair: R A-- -.26 -.5 -.2 0; R A-- .2 -.5 .26 0; R A- -.3 -.55 .3 -.42 .05; R A -.28 -1 .28 -.52 .1
  R A+ -.2 -.93 .2 -.62 .06
swivel: L #2c2f36 .07 0 0 0 -.4; L #2c2f36 .06 -.28 0 0 -.1 .28 0; R A- -.3 -.5 .3 -.38 .06
  R A -.27 -1.02 .27 -.5 .14; R A+ -.2 -.95 .2 -.78 .08
monitor: R #3a3f48 -.06 -.3 .06 0; R #3a3f48 -.2 -.04 .2 0; R #23262e -.52 -.95 .52 -.2 .05
  R A! -.46 -.89 .46 -.27; R #ffffffb0! -.38 -.8 .2 -.75; R #ffffffb0! -.38 -.68 .32 -.63
  R #ffffffb0! -.38 -.56 -.02 -.51; R B! .08 -.54 .36 -.36
trolley: O #2c2f36 -.3 -.05 .07 .07; O #2c2f36 .3 -.05 .07 .07
  L #c8323a .06 -.55 -.95 -.4 -.9 -.28 -.15 .35 -.15; P #cfd6dc -.4 -.82 .5 -.72 .36 -.32 -.3 -.28
  L #77808a .03 -.28 -.8 -.22 -.3; L #77808a .03 -.08 -.78 -.06 -.3; L #77808a .03 .12 -.76 .1 -.3
  L #77808a .03 .32 -.74 .26 -.3
desk_lamp: L #c9a24a .08 0 0 0 -.6; G #ffe9a8 0 -.3 2.4 .6; T #2f7a55 0 -.5 .5 .4; O #fff4c8! 0 -.5 .42 .06
cross: R #c99a3f -.06 -1 .06 0; R #c99a3f -.32 -.74 .32 -.62
pendant: G #ffe9b8 0 .2 2.6 .6; T A 0 .3 .8 .9; O #fff4d0! 0 .3 .7 .12
floor_lamp: L #3b3434 .02 0 0 0 -.8; O #3b3434 0 0 .1 .02; G #ffe3a6 0 -.85 .9 .7
  P #ffe3a6! -.1 -1 .1 -1 .16 -.76 -.16 -.76
night_lamp: G #ffdf9a 0 -.7 1.9 .65; L #6b5a48 .1 0 0 0 -.6; P #fff0cc! -.2 -1 .2 -1 .36 -.5 -.36 -.5
bulb: L #1c1818 .1 0 -4 0 -.6; G #ffc56b 0 0 10 .75; O #fff0b8! 0 0 .6 .75
plant: O #14122946 0 0 .2 .04; P #3f7d4e 0 -.3 -.24 -.52 -.4 -.5 -.18 -.42
  P #4f9a5a 0 -.3 -.2 -.72 -.3 -.86 -.08 -.66; P #2f6b4a 0 -.3 -.06 -.8 -.04 -1 .06 -.74
  P #6aa84f 0 -.3 .12 -.76 .22 -.9 .2 -.64; P #3f7d4e 0 -.3 .24 -.56 .42 -.6 .18 -.44
  P A -.15 -.32 .15 -.32 .11 0 -.11 0; P A- .04 -.32 .15 -.32 .11 0 .03 0
padlock: T #c9ced6 0 -.55 .34 .45; T #3a3230 0 -.55 .2 .3; R #e8b53f! -.42 -.58 .42 .1 .1
  O #3a2c18 0 -.28 .1 .1; R #3a2c18 -.04 -.28 .04 -.05
keypad: R #24272e -.7 -1.2 .7 1 .1; R #7df09a! -.5 -1.05 .5 -.65; R #d8dbe0 -.5 -.45 -.24 -.15
  R #d8dbe0 -.13 -.45 .13 -.15; R #d8dbe0 .24 -.45 .5 -.15; R #d8dbe0 -.5 -.03 -.24 .27
  R #d8dbe0 -.13 -.03 .13 .27; R #ff6b5a! .24 -.03 .5 .27; R #d8dbe0 -.5 .39 -.24 .69
  R #d8dbe0 -.13 .39 .13 .69; R #d8dbe0 .24 .39 .5 .69
chest: O #14122946 0 0 .75 .1; R A+ -.65 -.9 .65 -.3 .25; R A -.65 -.55 .65 0; R #d1a84a -.56 -.9 -.44 0
  R #d1a84a .44 -.9 .56 0; R #3a2c22 -.65 -.57 .65 -.5; R #ffd35e! -.12 -.62 .12 -.36 .05
  R #3a2c18 -.03 -.52 .03 -.42
toilet: R #f8fafa -.24 -.95 .24 -.45 .05; R #e3e9ea -.26 -1 .26 -.92; P #e0e7e8 -.2 -.4 .2 -.4 .13 0 -.13 0
  O #fdfefe 0 -.42 .27 .16; O #b9c9cc 0 -.43 .17 .09
tent: P A -.5 0 0 -.92 .5 0; P A++ -.3 0 0 -.92 -.12 0; P A++ .1 0 0 -.92 .28 0; P A-- -.16 0 0 -.62 .16 0
  L #8a6545 .03 -.06 -1 0 -.9 .06 -1
teddy: O A -.2 -.08 .13 .13; O A .2 -.08 .13 .13; O A 0 -.28 .25 .25; O A -.16 -.86 .09 .09
  O A .16 -.86 .09 .09; O A 0 -.68 .23 .23; O A++ 0 -.26 .15 .16; O A++ 0 -.61 .1 .08
  O #2c2420 -.09 -.72 .03 .03; O #2c2420 .09 -.72 .03 .03; O #2c2420 0 -.64 .03 .03
vitals: L #8f9aa2 .07 0 0 0 2; R #e3e8ea -.6 -.95 .6 0 .08; R #10202a -.5 -.85 .5 -.1
  L #5dff8f! .05 -.46 -.6 -.2 -.6 -.12 -.78 -.02 -.45 .06 -.6 .46 -.6
  L #5ac8ff! .05 -.46 -.25 -.2 -.35 0 -.22 .22 -.35 .46 -.25
drip: L #8f9aa2 .03 -.14 0 0 -.06 .14 0; L #a9b3ba .022 0 0 0 -1; L #a9b3ba .02 -.12 -.96 0 -1 .12 -.96
  R #bfe6f2 .04 -.95 .18 -.68 .03; R #8fd0e6 .04 -.82 .18 -.68 .03; L #d6eef5 .012 .1 -.68 .08 -.5 .24 -.36
"""


def _read_props(text: str) -> dict[str, list[tuple[str, str, list[float]]]]:
    """Parse the paragraphs above into name -> list of (kind, colour word, numbers)."""
    props: dict[str, list[tuple[str, str, list[float]]]] = {}
    for row in text.strip().splitlines():
        if not row.startswith(" "):
            name, row = row.split(":")
            props[name] = []
        for kind, color, *numbers in (shape.split() for shape in row.split(";")):
            props[name].append((kind, color, [float(n) for n in numbers]))
    return props


_PROPS = _read_props(_PROP_TEXT)

# ---------------------------------------------------------------- outdoors: sky, land, houses

_LIGHTS = {  # sky above, sky at the horizon, colour of the sun, light on things
    "day": ("#3b8fd6", "#d3ecf8", "#fffbe6", (1.0, 1.0, 1.0)),
    "clear": ("#4fb3e8", "#fdf1d8", "#fff7d1", (1.03, 1.0, 0.95)),
    "golden": ("#7db1cf", "#ffd08a", "#fff0b8", (1.05, 0.92, 0.78)),
    "dusk": ("#3f3f86", "#ff9d7a", "#ffd9a8", (0.82, 0.68, 0.80)),
    "dawn": ("#8f8bcb", "#ffd9d2", "#fff2e6", (0.97, 0.88, 0.91)),
    "cloudy": ("#8ea3b5", "#e3e9ec", "#eef2f4", (0.90, 0.92, 0.96)),
    "night": ("#0a1230", "#3a4c86", "#f4f1de", (0.46, 0.52, 0.76)),
}
_MOODS = "day day clear clear golden dusk dawn cloudy night"
_COLD_MOODS = "day day day clear cloudy dawn dusk night"  # golden light would turn snow into sand


def _sky(c: Canvas, rng: Rng, horizon: float, moods: str = _MOODS) -> None:
    """Paint the sky beyond the horizon and set the light for all that is drawn later."""
    mood = _pick(rng, moods)
    top, low, sun, tint = _LIGHTS[mood]
    c.shade(0, 0, 1, min(1, horizon + 0.15), top, low, lit=True)
    for x, y, r in rng.uniform(0, 1, (60 if mood == "night" else 0, 3)).tolist():
        c.put("dot", x, y * horizon, 0.001 + 0.003 * r, "#dfe6ff")
    high = rng.uniform(0.7, 0.92) if mood in ("golden", "dusk") else rng.uniform(0.15, 0.5)
    sun_x = rng.uniform(0.1, 0.9)
    if mood != "cloudy":
        c.glow(sun_x, horizon * high, rng.uniform(0.4, 0.7), sun, 0.8)
        c.put("dot", sun_x, horizon * high, 0.045, sun)
    white = _mix(low, "#ffffff", 0.1 if mood == "night" else 0.6)
    for _ in range(_some(rng, 1, 5) + 3 * (mood == "cloudy")):
        _cloud(c.at(rng.uniform(), horizon * rng.uniform(0.08, 0.75), rng.uniform(0.1, 0.26)), rng, white)
    c.tint, c.haze, c.night = tint, _rgb(low), mood == "night"


def _cloud(t: Canvas, rng: Rng, color: Color) -> None:
    """A flat-bottomed heap of see-through puffs."""
    ink = _fade(color, _some(rng, 90, 200))
    for x in _spread(rng, -1, 1, 5):
        r = (1.1 - abs(x)) * rng.uniform(0.25, 0.42)
        t.oval(x, -r * 0.6, r * 1.3, r, ink, lit=True)
    t.rect(-1.1, -0.14, 1.1, 0.0, ink, r=0.07, lit=True)


def _hill(c: Canvas, rng: Rng, left: float, right: float, amp: float, color: Color, rough=0.0) -> list[Point]:
    """Fill the land below a wavy line from (0, left) to (1, right); rough adds teeth. Returns the line."""
    phases, n, line = rng.uniform(0, 6.3, 3).tolist(), 36, []
    for i, tooth in enumerate(rng.uniform(-1, 1, n + 1).tolist()):
        wave = sum(math.sin(f * i / n + p) / f for f, p in zip((3.1, 6.7, 13.3), phases, strict=True)) * 2.2
        line.append((i / n, left + (right - left) * i / n - amp * ((1 - rough) * wave + rough * tooth)))
    c.poly([*line, (1, 1), (0, 1)], color)
    return line


def _specks(c: Canvas, rng: Rng, top: float, colors: Sequence[Color], n: int, size: float) -> None:
    """Scatter flat strokes below y = top that grow towards the viewer: ripples, grass, pebbles."""
    for x, t in rng.uniform(0, 1, (n, 2)).tolist():
        c.at(x, top + (1 - top) * t**1.5, size * (0.25 + t)).oval(0, 0, 1, 0.16, _pick(rng, colors))


def _peak(c: Canvas, rng: Rng, x: float, base: float, w: float, h: float, rock: Color) -> None:
    """A mountain with a lit side, a shaded side and a toothed snow cap."""
    mid, t = x + rng.uniform(-0.05, 0.05), rng.uniform(0.5, 0.7)
    c.poly([(x - w, base), (x - w * 0.45, base - h * 0.52), (x, base - h), (mid, base)], _light(rock, 0.22))
    c.poly([(mid, base), (x, base - h), (x + w * 0.4, base - h * 0.58), (x + w, base)], rock)
    for side, tone in ((-1, "#fbfdff"), (1, "#c9d8ee")):
        a, b = side * w * 0.155 * t, h * t
        edge = [(x + a * k, base - h + b * k * 0.23) for k in range(5)]
        teeth = [(x + a * k * 0.87, base - h + b * float(rng.uniform(0.75, 1.15))) for k in range(4, -1, -1)]
        c.poly([*edge, *teeth], tone)


def _windows(c: Canvas, rng: Rng, box: Sequence[float], cols: int, rows: int, glass: Color) -> None:
    """A grid of window panes over a facade; at night many of them are lit."""
    (x0, y0, x1, y1), lamp = box, rng.uniform(size=(rows, cols)) < (0.5 if c.night else 0.04)
    w, h = (x1 - x0) / cols, (y1 - y0) / rows
    for i, j in np.ndindex(rows, cols):
        x, y, lit = x0 + w * (j + 0.22), y0 + h * (i + 0.2), bool(lamp[i, j])
        c.rect(x, y, x + w * 0.56, y + h * 0.6, "#ffd98a" if lit else glass, lit=lit)


# ---------------------------------------------------------------- perspective: rooms, roads, furniture


def _pair(span: Span) -> Point:
    """Return a span as (from, to); a plain number is a span without width."""
    return span if isinstance(span, tuple) else (span, span)


class _Space:
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
        else:  # floor-like or wall-like: the same four corners, as y and z then move together
            corners = ((x0, y0, z0), (x1, y0, z0), (x1, y1, z1), (x0, y1, z1))
        self.c.poly([self.p(*corner) for corner in corners], color, lit)

    def block(self, x: Point, y: Point, z: Point, color: Color) -> None:
        """Draw the visible faces of a box; draw far boxes first."""
        if self.p(x[0], 0, 0)[0] > self.vanish[0]:
            self.face(x[0], y, z, _dark(color, 0.28))
        if self.p(x[1], 0, 0)[0] < self.vanish[0]:
            self.face(x[1], y, z, _dark(color, 0.28))
        if self.p(0, y[1], 0)[1] > self.vanish[1]:
            self.face(x, y[1], z, _light(color, 0.3))
        elif self.p(0, y[0], 0)[1] < self.vanish[1]:
            self.face(x, y[0], z, _dark(color, 0.4))
        self.face(x, y, z[1], color)

    def put(
        self, prop: str, x: float, z: float, size: float, *colors: Color, y: float = 0, flip=False
    ) -> None:
        """Draw one of _PROPS, its foot at (x, y, z)."""
        self.c.put(prop, *self.p(x, y, z), size * self.size(z), *colors, flip=flip)

    def table(self, x: Point, y: float, z: Point, color: Color) -> None:
        """A board on four legs."""
        for a in (x[0], x[1] - 0.02):
            for b in z:
                self.face((a, a + 0.02), (0, y), b, _dark(color, 0.35))
        self.block(x, (y - 0.035, y), z, color)

    def rug(self, x: Point, z: Point, color: Color) -> None:
        """A rug with a border."""
        dx, dz = (x[1] - x[0]) * 0.08, (z[1] - z[0]) * 0.1
        self.face(x, 0, z, color)
        self.face((x[0] + dx, x[1] - dx), 0, (z[0] + dz, z[1] - dz), _light(color, 0.4))

    def shelf(self, rng: Rng, x: Span, y: Point, z: Span, rows: int, n: int, colors: Sequence[Color]) -> None:
        """Rows of upright things (books, packets); along a side wall if x is a plain number."""
        (x0, x1), (z0, z1), step = _pair(x), _pair(z), (y[1] - y[0]) / rows
        for r in range(rows):
            low = y[0] + r * step
            for i, tall in enumerate(rng.uniform(0.6, 0.88, n).tolist()):
                (a, b), up = ((i + 0.07) / n, (i + 0.93) / n), (low + step * 0.05, low + step * tall)
                wide = (x0 + (x1 - x0) * a, x0 + (x1 - x0) * b) if x1 > x0 else x0
                deep = (z0 + (z1 - z0) * a, z0 + (z1 - z0) * b) if z1 > z0 else z0
                self.face(wide, up, deep, _pick(rng, colors))
            self.face(x, (low - step * 0.06, low + step * 0.04), z, "#e9e4d8")


def _room(c: Canvas, rng: Rng, walls: str, floors: str, boards: str = "wood") -> _Space:
    """Paint an empty room and set its lamp light; boards may hold "wood" (planks), "tile" or "plain"."""
    wall, floor, boards = _pick(rng, walls), _pick(rng, floors), _pick(rng, boards)
    lamps = (1, 1, 1), (1.02, 0.96, 0.87), (1.03, 0.91, 0.77), (0.93, 0.97, 1.0), (0.85, 0.81, 0.82)
    c.tint = _pick(rng, lamps)
    box = (rng.uniform(0.12, 0.28), rng.uniform(0.1, 0.2), rng.uniform(0.74, 0.9), rng.uniform(0.6, 0.7))
    s = _Space(c, box, (rng.uniform(0.38, 0.62), rng.uniform(0.36, 0.44)), 2.8)
    s.face((0, 1), 1, (0, 1.3), _mix(wall, "#ffffff", 0.6))
    s.face(0, (0, 1), (0, 1.3), _dark(wall, 0.16))
    s.face(1, (0, 1), (0, 1.3), _dark(wall, 0.08))
    c.shade(*box, _light(wall, 0.2), wall)
    s.face((0, 1), 0, (0, 1.3), floor)
    seam, n = _fade(_dark(floor, 0.4), 90), {"wood": 14, "tile": 10, "plain": 0}[boards]
    for k in range(1, n):
        c.line([s.p(k / n, 0, 0), s.p(k / n, 0, 1.3)], seam, 0.003)
    for k in range(1, n if boards == "tile" else 0):
        c.line([s.p(0, 0, k / 8), s.p(1, 0, k / 8)], seam, 0.003)
    for x, z in (((0, 1), 0), (0, (0, 1.3)), (1, (0, 1.3))):
        s.face(x, (0, 0.035), z, _light(wall, 0.55))
    return s


def _window(s: _Space, rng: Rng, x: Point, y: Point, curtain: Color | None = None) -> None:
    """A window in the back wall with a bit of sky or night behind it."""
    (x0, y1), (x1, y0), c = s.p(x[0], y[0], 0), s.p(x[1], y[1], 0), s.c
    top, low, _, _ = _LIGHTS[_pick(rng, _MOODS)]
    c.rect(x0 - 0.012, y0 - 0.015, x1 + 0.012, y1 + 0.015, "#f7f3ea")
    c.shade(x0, y0, x1, y1, top, low, lit=True)
    c.pie(x0 * 0.6 + x1 * 0.4, y1, (x1 - x0) * 0.3, (y1 - y0) * 0.25, _mix(low, "#3d7a55", 0.6))
    c.line([((x0 + x1) / 2, y0), ((x0 + x1) / 2, y1)], "#f7f3ea", 0.01)
    c.line([(x0, (y0 + y1) / 2), (x1, (y0 + y1) / 2)], "#f7f3ea", 0.01)
    w = (x1 - x0) * 0.13
    for edge in (x0, x1) if curtain else ():
        c.rect(edge - w, y0 - 0.02, edge + w, y1 + 0.06, curtain)
        c.rect(edge - w * 0.2, y0 - 0.02, edge + w * 0.2, y1 + 0.06, _dark(curtain, 0.18))


def _pictures(s: _Space, rng: Rng, x: float, y: float) -> None:
    """One to three framed pictures on the back wall: abstract landscapes."""
    frame = _pick(rng, "#3b2f2a #f4efe4 #b98b50")
    for k in range(_some(rng, 1, 3)):
        a, top, (land, sun, sky) = x + 0.14 * k, y + rng.uniform(0.16, 0.28), _picks(rng, _ACCENTS, 3)
        s.face((a, a + 0.115), (y, top), 0, frame)
        s.face((a + 0.01, a + 0.105), (y + 0.015, top - 0.015), 0, _light(sky, 0.5))
        s.face((a + 0.01, a + 0.105), (y + 0.015, y + 0.07), 0, land)
        s.put("dot", a + 0.07, 0, 0.014, sun, y=top - 0.06)


def _bed(s: _Space, x: Point, z: Point, frame: Color, cover: Color, pillows: int, high: float) -> None:
    """A bed with its head at the back wall."""
    fold, w = z[0] + (z[1] - z[0]) * 0.34, (x[1] - x[0]) / pillows
    s.block((x[0] - 0.01, x[1] + 0.01), (0, high + 0.24), (z[0] - 0.03, z[0]), frame)
    s.block((x[0] - 0.01, x[1] + 0.01), (0, high * 0.55), z, frame)
    s.block(x, (high * 0.55, high), z, "#faf7f0")
    s.block((x[0] - 0.006, x[1] + 0.006), (high * 0.4, high + 0.02), (fold, z[1] + 0.01), cover)
    s.face(x, high + 0.022, (fold, fold + 0.08), _light(cover, 0.5))
    for k in range(pillows):
        pillow = (x[0] + w * (k + 0.12), x[0] + w * (k + 0.88))
        s.block(pillow, (high, high + 0.1), (z[0] + 0.01, z[0] + 0.05), "#ffffff")


# ---------------------------------------------------------------- the places: nature


def _beach(c: Canvas, rng: Rng) -> None:
    """Sea, a curved shore with foam, parasols, towels, palms."""
    h, sand = rng.uniform(0.32, 0.46), _pick(rng, "#f0d9a8 #e8c98f #f5e6c8")
    deep = _pick(rng, "#1f7fa8 #1b6a9c #2a9fb0")
    _sky(c, rng, h)
    if rng.uniform() < 0.5:
        _hill(c, rng, h, h - 0.02, 0.03, _mix("#4d7a6a", c.haze, 0.5))
    c.shade(0, h, 1, 0.9, deep, _mix(deep, "#a5e8dc", 0.75))
    _specks(c, rng, h + 0.01, ["#ffffff70"], 60, 0.05)
    if rng.uniform() < 0.6:
        c.put("sailboat", rng.uniform(0.1, 0.9), h + 0.02, rng.uniform(0.1, 0.2), _pick(rng, _PAINTS))
    left, right, seed = rng.uniform(0.52, 0.66), rng.uniform(0.66, 0.84), _some(rng, 0, 9999)
    for lift, tone in ((0.04, "#ffffff90"), (0.025, "#ffffff"), (0.0, _dark(sand, 0.2)), (-0.035, sand)):
        _hill(c, np.random.default_rng(seed), left - lift, right - lift, 0.02, tone)  # one shore, four times
    _specks(c, rng, 0.85, [_dark(sand, 0.12), _light(sand)], 50, 0.03)
    for x in _spread(rng, 0.05, 0.95, _some(rng, 1, 3)):
        y, color, towel = rng.uniform(0.8, 0.9), _pick(rng, _ACCENTS), _pick(rng, _ACCENTS)
        c.poly([(x + 0.03, y), (x + 0.16, y), (x + 0.2, y + 0.05), (x + 0.05, y + 0.05)], towel)
        c.put("parasol", x, y, rng.uniform(0.26, 0.36), color)
    if rng.uniform() < 0.5:
        c.put("palm", *_pick(rng, ((0.04, 0.95), (0.9, 1.0))), rng.uniform(0.65, 0.9))


def _mountain_snowy(c: Canvas, rng: Rng) -> None:
    """High snowy peaks over a dark pine forest, with snow, a meadow or a lake in front."""
    h, leaf = rng.uniform(0.6, 0.74), _pick(rng, "#2d5547 #345c50 #28474a")
    rock = _pick(rng, "#5f7391 #6b6f86 #4f6d86")
    _sky(c, rng, h, _COLD_MOODS)
    _hill(c, rng, h - 0.22, h - 0.2, 0.05, _mix(_light(rock, 0.5), c.haze, 0.5), 0.5)
    for x in _spread(rng, 0.0, 1.0, _some(rng, 2, 4), 0.8):
        far = rng.uniform(0, 0.25)
        _peak(c, rng, x, h + 0.02, rng.uniform(0.26, 0.4), rng.uniform(0.3, 0.56), _mix(rock, c.haze, far))
    if rng.uniform() < 0.4:
        c.shade(0, h, 1, 1, _mix(c.haze, "#6aa0c0", 0.5), "#2c5f86")
        _specks(c, rng, h + 0.02, ["#ffffff50"], 30, 0.08)
    else:
        _hill(c, rng, h, h + 0.02, 0.02, _pick(rng, "#e8f0f8 #58735c #dfe9f4"))
    for x in _spread(rng, 0, 1, _some(rng, 9, 21), 1.0):
        c.put("pine", x, h + rng.uniform(0.01, 0.06), rng.uniform(0.08, 0.15), leaf)
    for x in (*_spread(rng, -0.02, 0.2, 2), *_spread(rng, 0.82, 1.02, 2)):
        y, size = rng.uniform(0.95, 1.1), rng.uniform(0.3, 0.5)
        c.put("pine", x, y, size, leaf)
        c.put("snow", x, y, size)


def _forest_path(c: Canvas, rng: Rng) -> None:
    """Layers of trunks in haze and a path that winds between them."""
    greens = (
        "#3f7a45 #dcedc1 #5c7f45",
        "#c9762e #f6e3b4 #a0703a",
        "#2f5f52 #cfe3df #4a6b4f",
        "#6b8f3a #f3f2c4 #6f8f46",
    )
    (leaf, mist, ground), h, end = _pick(rng, greens).split(), rng.uniform(0.46, 0.6), rng.uniform(0.38, 0.62)
    c.tint = _pick(rng, ((1, 1, 1), (1.05, 0.95, 0.8), (0.8, 0.83, 0.92), (0.6, 0.65, 0.82)))
    c.shade(0, 0, 1, h + 0.1, _mix(leaf, mist, 0.5), mist)
    c.glow(end, h * 0.75, 0.6, "#fffbe0", 0.8 * c.tint[2])
    _hill(c, rng, h, h, 0.02, _mix(ground, mist, 0.25))
    c.shade(0, h + 0.06, 1, 1, ground, _dark(ground, 0.25))
    steps, bend = np.linspace(0, 1.05, 12).tolist(), rng.uniform(-0.15, 0.15)
    path = _pick(rng, "#c9a878 #b08d68 #d8c4a0")
    rows = [(end + bend * math.sin(3 * t) * (1 - t), h + (1 - h) * t, 0.015 + 0.3 * t**1.4) for t in steps]
    c.poly([(x - w, y) for x, y, w in rows] + [(x + w, y) for x, y, w in reversed(rows)], path)
    _specks(c, rng, h + 0.05, [_light(ground, 0.2), _dark(ground, 0.3)], 90, 0.03)
    for layer in range(4):
        wide, far = 0.012 * 1.75**layer, 0.6 - 0.2 * layer
        for x in _spread(rng, 0, 1, 9 - 2 * layer, 0.9):
            if abs(x - end) > 0.06 + 0.085 * layer:
                tone = _mix(_pick(rng, "#5a4332 #4a3b35"), mist, far)
                t = c.at(x, h + 0.03 + 0.1 * layer, wide)
                t.poly([(-2, 1), (-1, -1), (-1, -90), (1, -90), (1, -1), (2, 1)], tone)
        for x in _spread(rng, 0, 1, 11):
            c.at(x, rng.uniform(-0.05, 0.16 - 0.03 * layer), 0.14).oval(
                0, 0, 1, 0.7, _mix(_dark(leaf, 0.1 * layer), mist, far - 0.1)
            )


def _desert_sand(c: Canvas, rng: Rng) -> None:
    """Dunes with sharp crests, one side in the shade."""
    h, sand, n = rng.uniform(0.35, 0.55), _pick(rng, "#e3a95c #e8b878 #d98e4f #efcf98"), _some(rng, 3, 5)
    _sky(c, rng, h, "day clear clear golden dusk dawn night")
    steps = np.linspace(0, 1, 9).tolist()
    for k in range(n):
        near, x, bend = k / (n - 1), rng.uniform(0.15, 0.85), rng.uniform(0.04, 0.12)
        wide = rng.uniform(0.5, 0.9)
        tone, y = _mix(sand, c.haze, 0.45 * (1 - near)), h + (0.85 - h) * near
        top, fall = y - rng.uniform(0.08, 0.2), 0.25 + rng.uniform(0.08, 0.2)
        _hill(c, rng, y, y + 0.02, 0.02, tone)
        crest = [(x + bend * math.sin(4 * q) * q, top + fall * q) for q in steps]
        c.poly([*((x - wide * (1 - q), top + fall * (1 - q**1.7)) for q in steps), *crest], _light(tone, 0.3))
        c.poly([*((x + wide * q, top + fall * q**0.75) for q in steps), *crest[::-1]], _dark(tone, 0.25))
    _hill(c, rng, 0.88, 0.92, 0.03, sand)
    for y in _spread(rng, 0.86, 1.0, 7):
        ripple = [(x / 12, y + 0.008 * math.sin(x * 1.3 + 40 * y)) for x in range(13)]
        c.line(ripple, _fade(_dark(sand), 70), 0.006)


def _ski_slope(c: Canvas, rng: Rng) -> None:
    """A white slope with tracks, firs, a chair lift and slalom gates."""
    left, right = rng.uniform(0.26, 0.46), rng.uniform(0.46, 0.72)
    _sky(c, rng, 0.7, _COLD_MOODS)
    for x in _spread(rng, 0, 1, 2):
        _peak(c, rng, x, 0.6, 0.45, rng.uniform(0.3, 0.45), _mix("#7189a8", c.haze, 0.35))
    edge = _hill(c, rng, left, right, 0.015, "#eef4fb")
    _hill(c, rng, left + 0.25, right + 0.22, 0.03, "#dfe9f6")
    steps = np.linspace(0, 1, 12).tolist()
    for k in _spread(rng, 0.2, 0.8, 5):
        track = [(k + 0.05 * math.sin(5 * t + 9 * k) + (k - 0.4) * t, left + 0.18 + 0.8 * t) for t in steps]
        c.line(track, "#b9cbe2", 0.005)
    firs = [(x, y + 0.02, rng.uniform(0.09, 0.2)) for x, y in edge[1 :: _some(rng, 2, 3)]]
    for x, y, size in (*firs, (0.03, rng.uniform(0.8, 1), 0.4), (_pick(rng, (0.12, 0.97)), 0.95, 0.36)):
        c.put("pine", x, y, size, "#2f574c")
        c.put("snow", x, y, size)
    a, slope = left - 0.26, right - left + 0.12
    c.line([(0, a), (1, a + slope)], "#2f3440", 0.006)
    for x in _spread(rng, 0.1, 0.9, 3):
        c.line([(x, a + slope * x), (x, a + slope * x + 0.25)], "#525a69", 0.014)
    for x in _spread(rng, 0, 1, 6):
        c.put("lift_chair", x, a + slope * x, 0.06)
    for k, x in enumerate(_spread(rng, 0.3, 0.75, 4, 1)):
        c.put("gate", x, 0.58 + 0.1 * k, 0.08 + 0.012 * k, "#e5383b" if k % 2 else "#2b6fc9")


def _lighthouse(c: Canvas, rng: Rng) -> None:
    """A striped tower on a rocky point above the sea."""
    h, x, side = rng.uniform(0.58, 0.7), rng.uniform(0.3, 0.7), _pick(rng, (-1, 1))
    land, rock = _pick(rng, "#6d8a4c #7f9460 #8a8f72"), _pick(rng, "#75695f #6b6f78 #8a7560")
    deep = _pick(rng, "#1f6f95 #2f6690")
    _sky(c, rng, h)
    c.shade(0, h, 1, 1, _mix(deep, c.haze, 0.4), deep)
    _specks(c, rng, h + 0.02, ["#ffffff60"], 50, 0.06)
    c.night = c.night or c.tint[0] < 0.9  # its lamp is on at dusk too
    for k, tone in enumerate((land, rock, _dark(rock, 0.3))):
        y = h + 0.02 + 0.06 * k
        edge = ((-0.26 - 0.04 * k, 0.1), (-0.2, 0.03), (-0.1, 0), (0.4, -0.02), (1, -0.03))
        foot = [(x + side, 1.1), (x - side * (0.3 + 0.05 * k), 0.82 + 0.14 * k)]
        c.poly([*((x + side * a, y + b) for a, b in edge), *foot], tone)
    for a in _spread(rng, -0.36, 0.5, 9):
        y, size = rng.uniform(0.89, 0.98), rng.uniform(0.04, 0.08)
        c.put("rock", x + side * a, y, size, _dark(rock, rng.uniform(0, 0.3)))
    c.put("lighthouse", x, h + 0.05, rng.uniform(0.46, 0.58), _pick(rng, "#d1383d #c8362f #2b4f81 #33343c"))


def _windmill(c: Canvas, rng: Rng) -> None:
    """A mill with four lattice sails among rows of flowers."""
    h, x, field = rng.uniform(0.55, 0.66), rng.uniform(0.25, 0.75), _pick(rng, "#86a84e #b9b04f #6f9c4a")
    _sky(c, rng, h)
    _hill(c, rng, h, h, 0.015, _mix("#5f8f5a", c.haze, 0.4))
    c.shade(0, h + 0.01, 1, 1, _light(field, 0.2), _dark(field, 0.15))
    flowers = _picks(rng, f"#e63956 #f4b942 #c45ab3 #ff8552 #f4f1e0 {field}", 3)
    for k in range(-12, 13):
        a, b = 0.5 + k * 0.045, 0.5 + k * 0.2
        c.poly([(a, h + 0.05), (a + 0.018, h + 0.05), (b + 0.1, 1), (b, 1)], flowers[k % 3])
    t, turn = c.at(x, h + 0.08, rng.uniform(0.5, 0.66)), rng.uniform(0, math.pi / 2)
    t.draw("windmill", _pick(rng, "#8c5a3c #e9dfcb #6d5a4e #a34a3a"))
    for angle in (turn + k * math.pi / 2 for k in range(4)):
        u, v = math.cos(angle) / 10, math.sin(angle) / 10
        grid = {(a, b): (u * a - v * b, v * a + u * b - 0.64) for a in range(6) for b in (0, 1.2)}
        t.poly([grid[1, 0], grid[5, 0], grid[5, 1.2], grid[1, 1.2]], "#f2e8d2")
        t.line([grid[0, 0], grid[5, 0]], "#3e2c25", 0.022)
        for a in range(1, 6):
            t.line([grid[a, 0], grid[a, 1.2]], "#8a7460", 0.01)


# ---------------------------------------------------------------- the places: city and open air


def _street(c: Canvas, rng: Rng) -> None:
    """A street between house fronts, with pavements, lamps, trees and cars."""
    h, end = rng.uniform(0.46, 0.54), rng.uniform(0.42, 0.58)
    _sky(c, rng, h)
    s = _Space(c, (end - 0.09, h - 0.1, end + 0.09, h + 0.04), (end, h), 6.5)
    c.rect(0, h, 1, 1, "#b3aea6")
    for x, y in ((-0.16, 0.14), (-0.04, 0.2), (0.07, 0.15)):
        c.rect(end + x, h - y, end + x + 0.1, h + 0.03, _mix(_pick(rng, _FACADES), c.haze, 0.5))
    s.face((0, 1), 0, (0, 1.2), _pick(rng, "#4f525c #5c5f66 #474a55"))
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
        prop, color = _pick(rng, ("tree", "street_lamp")), _pick(rng, _LEAVES)
        s.put(prop, x, z, 0.135, color, flip=x > 0.5)
    for x, z in ((0.16, 0.5), (0.76, 0.66), (0.2, 0.86))[: _some(rng, 1, 3)]:
        s.put("car", x, z, 0.045, _pick(rng, _PAINTS))


def _house_front(s: _Space, rng: Rng, x: float, z: float, top: float) -> None:
    """One house along the street: wall, windows, shop window, door, awning."""
    wall, floors, night = _pick(rng, _FACADES), round(top * 1.7), s.c.night
    inward = x + (0.16 if x < 0.5 else -0.16)
    s.face(x, (0, top), (z, z + 0.21), wall)
    s.face(x, (top * 0.96, top), (z, z + 0.21), _dark(wall, 0.3))
    for i, j in np.ndindex(floors - 1, 3):
        lit, z0, y0 = night and rng.uniform() < 0.5, z + 0.07 * (j + 0.25), top * (i + 1.2) / floors
        s.face(x, (y0, y0 + top * 0.5 / floors), (z0, z0 + 0.035), "#ffd98a" if lit else "#5b7186", lit)
    y = top * 0.85 / floors
    s.face(x, (0.05, y * 0.8), (z + 0.015, z + 0.13), "#ffe3a6" if night else "#7d97a8", night)
    s.face(x, (0, y * 0.8), (z + 0.15, z + 0.19), _dark(wall, 0.55))
    far, near = z + 0.01, z + 0.2
    awning = [s.p(x, y, far), s.p(x, y, near), s.p(inward, y * 0.8, near), s.p(inward, y * 0.8, far)]
    s.c.poly(awning, _pick(rng, _ACCENTS))


def _highway(c: Canvas, rng: Rng) -> None:
    """A wide road to the horizon with lanes, guard rails and a sign bridge."""
    h, end, lanes = rng.uniform(0.42, 0.54), rng.uniform(0.36, 0.64), _some(rng, 3, 5)
    land, marks = _pick(rng, "#7f9a5b #b59a63 #6c8f5e #a8a06a"), (0.3, 0.55, 0.7, 0.8, 0.87, 0.92, 0.965, 1.0)
    _sky(c, rng, h)
    _hill(c, rng, h - 0.05, h - 0.03, 0.04, _mix(_dark(land, 0.2), c.haze, 0.5))
    c.shade(0, h, 1, 1, _mix(land, c.haze, 0.3), land)
    s = _Space(c, (end - 0.06, h - 0.1, end + 0.06, h + 0.02), (end, h), 18)
    s.face((-0.12, 1.12), 0, (0, 1.3), _pick(rng, "#5a5d66 #6b6c70 #4b4f5a"))
    for x in (-0.05, 1.03):
        s.face((x, x + 0.02), 0, (0, 1.3), "#f4efdc")
    for lane in range(1, lanes):
        for z in marks:
            s.face((lane / lanes - 0.008, lane / lanes + 0.008), 0, (z, z + 0.025), "#f4efdc")
    for x in (-0.18, 1.18):
        s.face(x, (0.045, 0.085), (0, 1.3), "#b9bfc6")
        for z in marks:
            s.face(x, (0, 0.085), (z, z + 0.004), "#7e858e")
    if rng.uniform() < 0.7:
        _sign_bridge(s, rng, rng.uniform(0.72, 0.8))
    for z in _spread(rng, 0.6, 0.97, _some(rng, 2, 5)):
        s.put("car", (_some(rng, 0, lanes - 1) + 0.5) / lanes, z, 0.075 / lanes, _pick(rng, _PAINTS))


def _sign_bridge(s: _Space, rng: Rng, z: float) -> None:
    """A gantry with green or blue boards; the text is little bars."""
    board = _pick(rng, "#1f7a4d #1f7a4d #2458a6")
    for x in (-0.3, 1.28):
        s.face((x, x + 0.03), (0, 0.78), z, "#8b929b")
    s.face((-0.3, 1.3), (0.74, 0.78), z, "#8b929b")
    for x in (0.0, 0.55):
        s.face((x, x + 0.42), (0.56, 0.86), z, "#f4f4ee")
        s.face((x + 0.01, x + 0.41), (0.57, 0.85), z, board)
        for y in (0.61, 0.69, 0.77):
            s.face((x + 0.06, x + rng.uniform(0.2, 0.36)), (y, y + 0.035), z, "#f4f4ee")


def _skyscraper(c: Canvas, rng: Rng) -> None:
    """Glass towers that fill the sky, the highest with a spire."""
    _sky(c, rng, 0.98)
    for x in _spread(rng, 0, 1, 9, 1):
        w, top = rng.uniform(0.04, 0.08), rng.uniform(0.4, 0.65)
        c.rect(x - w, top, x + w, 1, _mix("#7d8ea6", c.haze, 0.55))
    for x in _spread(rng, 0.05, 0.95, _some(rng, 4, 6), 0.9):
        _tower(c, rng, x, rng.uniform(0.06, 0.1), rng.uniform(0.22, 0.5))
    x, w, top = rng.uniform(0.3, 0.7), rng.uniform(0.09, 0.14), rng.uniform(0.1, 0.2)
    c.line([(x, top), (x, top - 0.1)], "#dfe5ea", 0.012)
    roof = [(x + w * a, top - b) for a, b in ((-0.7, 0), (-0.4, 0.05), (0.4, 0.05), (0.7, 0))]
    c.poly(roof, "#5a6f86")
    _tower(c, rng, x, w, top)
    for x in _spread(rng, 0, 1, 8, 1):
        c.put("tree", x, 1.04, rng.uniform(0.1, 0.16), _pick(rng, _LEAVES))


def _tower(c: Canvas, rng: Rng, x: float, w: float, top: float) -> None:
    """One high-rise with a lit and a shaded face; windows in a grid or in bands."""
    wall = _pick(rng, "#4f7396 #6f8fa8 #3d566e #8c8f99 #5f8a8b #b39b84 #2f4a63")
    glass, corner = _light(wall, rng.uniform(0.25, 0.45)), x + w * rng.uniform(0.2, 0.5)
    rows = int((1 - top) * 17)
    c.shade(x - w, top, x + w, 1, _light(wall, 0.1), _dark(wall, 0.15))
    _windows(c, rng, (x - w, top + 0.01, corner, 1), _pick(rng, (1, 3, 4)), rows, glass)
    c.rect(corner, top, x + w, 1, _dark(wall, 0.35))
    _windows(c, rng, (corner, top + 0.01, x + w, 1), 2, rows, _dark(glass, 0.3))


def _harbor(c: Canvas, rng: Rng) -> None:
    """Fishing boats before a row of gabled houses, perhaps a crane, a quay in front."""
    h, deep = rng.uniform(0.42, 0.52), _pick(rng, "#2f6f8c #3a7f95 #27567a")
    _sky(c, rng, h)
    _hill(c, rng, h - 0.06, h - 0.03, 0.03, _mix("#5b7d78", c.haze, 0.5))
    c.shade(0, h, 1, 1, _mix(deep, c.haze, 0.35), _dark(deep, 0.2))
    for x in _spread(rng, 0, 1, _some(rng, 6, 11)):
        w, top, wall = 0.05, h - rng.uniform(0.07, 0.16), _pick(rng, _FACADES)
        c.rect(x - w, top, x + w, h, wall)
        c.poly([(x - w, top), (x, top - 0.05), (x + w, top)], _dark(wall, 0.3))
        _windows(c, rng, (x - w, top + 0.01, x + w, h - 0.01), 3, 2, "#4a5d70")
        c.rect(x - w, h + 0.025, x + w, h + 0.025 + (h - top) * 0.8, _fade(wall, 60))
    c.rect(0, h - 0.005, 1, h + 0.022, "#8b8278")
    for x in _spread(rng, 0.1, 0.9, _some(rng, 1, 3)) if rng.uniform() < 0.4 else ():
        c.put("crane", x, h, rng.uniform(0.3, 0.42), _pick(rng, "#e07a3f #d94f4f #e8b84a"))
    _specks(c, rng, h + 0.05, ["#ffffff50", "#10204040"], 60, 0.07)
    for y in (0.03, 0.12, 0.24)[: _some(rng, 2, 3)]:
        for x in _spread(rng, 0.02, 0.98, _some(rng, 3, 5) - int(8 * y)):
            color, sail = _pick(rng, _PAINTS), _pick(rng, _ACCENTS)
            c.put("fishing_boat", x, h + 0.03 + y, 0.24 + y, color, sail, flip=rng.uniform() < 0.5)
    quay, y = _pick(rng, "#a08a70 #9a9790 #b59a78"), rng.uniform(0.84, 0.92)
    c.rect(0, y, 1, 1, _dark(quay, 0.3))
    c.shade(0, y + 0.025, 1, 1, _light(quay, 0.15), quay)
    for x in _spread(rng, 0, 1, 4):
        c.at(x, y + 0.05, 0.03).rect(-0.5, -1.6, 0.5, 0, "#2f3440", r=0.4)


def _playground(c: Canvas, rng: Rng) -> None:
    """A slide tower, swings, a sandbox and a spring horse in a park."""
    h, grass, kit = rng.uniform(0.42, 0.52), _pick(rng, "#86b35a #79a656 #9bb866"), _picks(rng, _TOYS, 4)
    _sky(c, rng, h)
    _hill(c, rng, h - 0.03, h - 0.02, 0.03, _mix(_pick(rng, _LEAVES), c.haze, 0.4))
    c.shade(0, h, 1, 1, grass, _dark(grass, 0.15))
    for x in _spread(rng, 0, 1, _some(rng, 3, 6)):
        c.put("tree", x, h + 0.03, rng.uniform(0.24, 0.4), _pick(rng, _LEAVES))
    c.oval(0.5, 0.82, rng.uniform(0.42, 0.56), 0.2, _pick(rng, "#e6c88f #c98f6b #d3b083 #5f93a8"))
    _specks(c, rng, h + 0.05, [_light(grass, 0.3)], 40, 0.02)
    c.put("swing", rng.uniform(0.7, 0.8), rng.uniform(0.74, 0.8), rng.uniform(0.34, 0.46), *kit)
    flip, x = rng.uniform() < 0.5, rng.uniform(0.24, 0.34)
    c.put("slide", x, rng.uniform(0.8, 0.88), rng.uniform(0.44, 0.58), *kit, flip=flip)
    if rng.uniform() < 0.6:
        c.put("sandbox", rng.uniform(0.45, 0.65), 0.94, 0.24, kit[3])
    if rng.uniform() < 0.5:
        c.put("spring_horse", rng.uniform(0.5, 0.9), 0.92, 0.13, kit[1])


def _soccer(c: Canvas, rng: Rng) -> None:
    """A striped pitch with lines and a goal, stands full of coloured seats, floodlights."""
    h, stand = rng.uniform(0.42, 0.52), _pick(rng, "#4b5568 #6b7280 #8a8f99")
    grass = _pick(rng, "#4f9a48 #3f8a42 #5fa84f")
    seats, tall = [*_picks(rng, _GOODS, 3), "#dfe3ea", "#39424f"], rng.uniform(0.18, 0.28)
    _sky(c, rng, h)
    c.rect(0, h - tall, 1, h + 0.02, stand)
    for y in np.arange(h - tall + 0.03, h - 0.05, 0.03).tolist():
        for x in _spread(rng, 0, 1, 34):
            c.rect(x - 0.008, y, x + 0.008, y + 0.016, _pick(rng, seats))
    c.rect(0, h - tall - 0.04, 1, h - tall, _light(stand, 0.5))
    c.rect(0, h - 0.035, 1, h, _pick(rng, _ACCENTS))
    for x in (0.12, 0.88):
        c.put("floodlight", x, h - tall, rng.uniform(0.16, 0.22))
    s = _Space(c, (0.12, h - 0.2, 0.88, h), (rng.uniform(0.4, 0.6), h - 0.16), 2.6)
    for k in range(13):
        s.face((-0.6, 1.6), 0, (k / 10, k / 10 + 0.1), grass if k % 2 else _light(grass, 0.14))
    box = (((0.2, 0.8), (0.5, 0.52)), ((0.2, 0.206), (0.06, 0.5)), ((0.794, 0.8), (0.06, 0.5)))
    for x, z in (((-0.1, 1.1), (0.06, 0.07)), ((-0.4, 1.4), (0.9, 0.93)), *box):
        s.face(x, 0, z, "#f6faf0")
    for k in range(11):
        s.face((0.34 + 0.032 * k, 0.343 + 0.032 * k), (0, 0.6), 0.07, "#e8eef090")
        s.face((0.34, 0.66), (0.06 * k, 0.06 * k + 0.01), 0.07, "#e8eef090")
    for x, y in (((0.33, 0.34), (0, 0.64)), ((0.66, 0.67), (0, 0.64)), ((0.33, 0.67), (0.6, 0.64))):
        s.face(x, y, 0.07, "#ffffff")


def _pool(c: Canvas, rng: Rng) -> None:
    """A turquoise pool with a pale deck, loungers, parasols, palms and a hedge."""
    h, leaf = rng.uniform(0.34, 0.44), _pick(rng, _LEAVES)
    deck = _pick(rng, "#ead9c0 #e3e0da #d9b99b #efe7d8")
    water, near, a = _pick(rng, "#2fb8cf #38c6d9 #2aa5cc"), rng.uniform(0.8, 1.15), rng.uniform(0.1, 0.6)
    _sky(c, rng, h)
    if rng.uniform() < 0.5:
        c.rect(a, h - 0.2, a + 0.34, h + 0.02, _light(_pick(rng, _FACADES), 0.5))
        _windows(c, rng, (a, h - 0.17, a + 0.34, h + 0.03), 4, 2, "#7fa6b8")
    for x in _spread(rng, 0, 1, 5):
        c.put(_pick(rng, ("palm", "palm", "tree")), x, h + 0.02, rng.uniform(0.26, 0.42), leaf, flip=x > 0.5)
    _hill(c, rng, h - 0.03, h - 0.03, 0.01, leaf)
    c.shade(0, h + 0.03, 1, 1, deck, _dark(deck, 0.1))
    s = _Space(c, (0.14, 0.1, 0.86, h + 0.12), (rng.uniform(0.35, 0.65), h - 0.05), 2.4)
    s.face((-0.04, 1.04), 0, (-0.06, near + 0.05), "#fbfaf5")
    s.face((0, 1), 0, (0, near), _light(water, 0.3))
    s.face((0, 1), 0, (0.05, near), water)
    for x, z in rng.uniform((0.03, 0.08), (0.9, near - 0.03), (46, 2)).tolist():
        s.face((x, x + 0.08), 0, (z, z + 0.008), _pick(rng, "#ffffffa0 #bff3f5c0 #1685a860"))
    for k in (1, 2, 3) if rng.uniform() < 0.3 else ():
        s.face((k / 4 - 0.006, k / 4 + 0.006), 0, (0, near), "#f2545b")
    for x in _spread(rng, 0.02, 0.98, _some(rng, 2, 4)):
        c.put("lounger", x, h + 0.1, 0.16, _pick(rng, _ACCENTS))
        if rng.uniform() < 0.5:
            c.put("parasol", x + 0.05, h + 0.1, 0.24, _pick(rng, _ACCENTS))
    s.put("ladder", _pick(rng, (0.1, 0.9)), 0.12, 0.12)


def _mosque(c: Canvas, rng: Rng) -> None:
    """Domes, minarets and pointed arches around a paved court."""
    h, wall = rng.uniform(0.68, 0.78), _pick(rng, "#f1e7d3 #e3cfa8 #f5f2ec #d9c0a0")
    dome, court = _pick(rng, "#2a9d8f #3f88a8 #d9a441 #6f97a8 #e8e2d2"), _pick(rng, "#d9ccb4 #c9b899 #dcdad2")
    _sky(c, rng, h)
    _hill(c, rng, h - 0.08, h - 0.08, 0.03, _mix("#a39a80", c.haze, 0.5))
    c.shade(0, h, 1, 1, court, _dark(court, 0.15))
    t = c.at(rng.uniform(0.42, 0.58), h + 0.02, rng.uniform(0.6, 0.74))
    for x in _pick(rng, ((-0.62, 0.62), (-0.5, 0.5), (-0.66, -0.4, 0.4, 0.66), (0.56,))):
        t.put("minaret", x, 0, 1, wall, dome)
    for x in (-0.34, 0.34):
        t.put("dome", x, -0.34, 0.13, dome)
    t.rect(-0.52, -0.34, 0.52, 0, wall)
    t.rect(-0.24, -0.46, 0.24, 0, _light(wall, 0.3))
    t.put("dome", 0, -0.46, 0.23, dome)
    for x, size in ((0, 0.11), (-0.44, 0.055), (-0.32, 0.055), (0.32, 0.055), (0.44, 0.055)):
        t.put("arch", x, 0, size)
    for k in range(-4, 5):
        c.line([(0.5 + k * 0.1, h + 0.03), (0.5 + k * 0.32, 1)], _fade(_dark(court, 0.4), 70), 0.004)


def _temple_asia(c: Canvas, rng: Rng) -> None:
    """A pagoda with curved roofs, lanterns and blossoming trees."""
    h, x, tiers = rng.uniform(0.66, 0.76), rng.uniform(0.36, 0.64), _some(rng, 2, 4)
    roofs = "#39434d #b23a35", "#2f5b57 #c8503c", "#3b3540 #8c4a34", "#a8442f #d9a441", "#4a5a63 #e7dcc6"
    (roof, wood), ground = _pick(rng, roofs).split(), _pick(rng, "#cdbfa6 #b8b39f #9bab72")
    blossom = _pick(rng, "#f4b6c6 #e88fae #4f8a52 #d9622f")
    _sky(c, rng, h)
    _hill(c, rng, h - 0.2, h - 0.16, 0.06, _mix("#5f8a72", c.haze, 0.55))
    _hill(c, rng, h - 0.06, h - 0.06, 0.02, _mix("#4f7a55", c.haze, 0.2))
    c.shade(0, h, 1, 1, ground, _dark(ground, 0.2))
    for a in (*_spread(rng, 0, x - 0.22, 2), *_spread(rng, x + 0.22, 1, 2)):
        c.put("tree", a, h + 0.05, rng.uniform(0.28, 0.42), blossom)
    t = c.at(x, h + 0.05, rng.uniform(0.62, 0.72))
    for k in range(3):
        t.rect(-0.5 + 0.05 * k, -0.035 * (k + 1), 0.5 - 0.05 * k, -0.035 * k, _light("#a89f92", 0.15 * k))
    y, size = -0.1, 0.8 * 0.18 / (1 - 0.82**tiers)  # the tiers shrink by 0.82 and add up to the same height
    for k in range(tiers):
        size_k = min(size, 0.36) * 0.82**k
        t.put("tier", 0, y, size_k, roof, wood)
        y -= size_k * 0.98
    t.line([(0, y + 0.02), (0, y - 0.14)], "#d9a441", 0.02)
    for a in (-0.62, 0.62):
        t.put("lantern", a, 0.03, 0.3)


# ---------------------------------------------------------------- the places: indoors, public


def _gymnasium(c: Canvas, rng: Rng) -> None:
    """A sports hall: shiny floor with court lines, a hoop, wall bars, high windows, roof beams."""
    s = _room(c, rng, "#e6e2d6 #cfd8dc #e9d8b8 #b9cbd6", "#d99a52 #c8874a #e0ad6a #6f9db5")
    band, line = _pick(rng, _ACCENTS), _pick(rng, "#ffffff #2f4f8c #c8323a")
    s.face((0, 1), (0.04, 0.3), 0, band)
    for x in (0, 1):
        s.face(x, (0.04, 0.3), (0, 1.3), _dark(band, 0.15))
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
    for x, z in (*court, *key):
        s.face(x, 0, z, line)
    c.oval(*s.p(0.5, 0, 0.6), 0.2, 0.05, _fade(line, 60))
    s.put("hoop", rng.uniform(0.4, 0.6), 0, 0.17, y=0.5)
    for _ in range(_some(rng, 1, 4)):
        s.put("ball", rng.uniform(0.1, 0.9), rng.uniform(0.2, 0.7), 0.022, "#d9662b")


def _classroom(c: Canvas, rng: Rng) -> None:
    """A board with chalk marks, windows, posters and rows of desks that face the board."""
    s = _room(c, rng, _WALLS, _WOODS + " #a8b0b0", "wood tile")
    boards = "#2f5d4a #e8efe6", "#2f5d4a #f2f0d8", "#35424a #f0efe9", "#fbfbf7 #3b5fa8"
    (board, chalk), wood, seat = _pick(rng, boards).split(), _pick(rng, _WOODS), _pick(rng, _ACCENTS)
    cols = _some(rng, 3, 4)
    s.face((0.16, 0.84), (0.36, 0.8), 0, "#b98a5e")
    s.face((0.18, 0.82), (0.385, 0.775), 0, board)
    for y in (0.48, 0.56, 0.64, 0.72):
        x = rng.uniform(0.2, 0.32)
        s.face((x, x + rng.uniform(0.1, 0.4)), (y, y + 0.014), 0, chalk)
    s.put("clock", 0.5, 0, 0.035, y=0.9)
    for z in (0.1, 0.5, 0.9):
        s.face(1, (0.35, 0.8), (z, z + 0.3), "#d8ecf5", lit=True)
        s.face(0, (0.45, 0.75), (z + 0.05, z + 0.25), _pick(rng, _ACCENTS))
    s.table((0.36, 0.64), 0.24, (0.06, 0.14), _dark(wood, 0.1))
    for z in (0.3, 0.55, 0.78):
        for x in ((k + 0.5) / cols for k in range(cols)):
            s.table((x - 0.08, x + 0.08), 0.2, (z, z + 0.08), wood)
            s.put("chair", x, z + 0.14, 0.13, seat)


def _office(c: Canvas, rng: Rng) -> None:
    """Desks with screens, swivel chairs, big windows, ceiling panels, a plant."""
    s = _room(c, rng, "#dfe3e6 #cfd8d3 #e3ded4 #b9c4cc", "#8a929c #a8a398 #6f7f8c #b59c7c", "plain")
    top, seat = _pick(rng, _WOODS + " #f0ece2"), _pick(rng, "#30343d #3d5a80 #6b7280 #c8553d")
    screen = "#8fc7ea #33476b #bfe3d0"
    for z in (k / 3.5 for k in range(4)):
        s.face((0.15, 0.4), 1, (z, z + 0.15), "#fdfdf6", lit=True)
        s.face((0.6, 0.85), 1, (z, z + 0.15), "#fdfdf6", lit=True)
    _window(s, rng, (0.1, 0.48), (0.36, 0.86))
    _window(s, rng, (0.54, 0.92), (0.36, 0.86))
    if rng.uniform() < 0.6:
        s.block((0.0, 0.1), (0, 0.5), (0.0, 0.3), _pick(rng, "#9aa5ad #e9e4da #9c6b45"))
    s.put("plant", _pick(rng, (0.05, 0.95)), 0.12, 0.22, "#e9e3d5")
    for x, z in ((0.24, 0.25), (0.74, 0.25), (0.16, 0.66), (0.82, 0.66))[: _some(rng, 2, 4)]:
        s.table((x - 0.17, x + 0.17), 0.27, (z, z + 0.14), top)
        for dx in (-0.07, 0.07)[: _some(rng, 1, 2)]:
            s.put("monitor", x + dx, z + 0.05, 0.13, _pick(rng, screen), _pick(rng, _ACCENTS), y=0.27)
        s.put("swivel", x, z + 0.24, 0.2, seat)


def _conference_room(c: Canvas, rng: Rng) -> None:
    """A long table with chairs all round, a screen with a chart, pendant lamps."""
    s = _room(c, rng, "#c9ccd0 #d8cfc2 #8fa0a8 #e3e0da", "#6f7680 #8c7b6b #9c6b45 #59636e", "plain")
    wood, seat = _pick(rng, _WOODS + " #efece4"), _pick(rng, "#30343d #3d5a80 #8c3b3b #5f6f65 #d08a4f")
    for k in range(4 if rng.uniform() < 0.5 else 0):
        s.face(1, (0.1, 0.9), (0.05 + 0.32 * k, 0.33 + 0.32 * k), "#cfe6f2", lit=True)
    s.face((0.26, 0.74), (0.42, 0.86), 0, "#23262e")
    s.face((0.275, 0.725), (0.445, 0.835), 0, _pick(rng, "#f6f8fa #2f5d9c #e3eef7"), lit=True)
    for k, tall in enumerate(rng.uniform(0.05, 0.26, 5).tolist()):
        s.face((0.32 + 0.07 * k, 0.37 + 0.07 * k), (0.48, 0.48 + tall), 0, _pick(rng, _ACCENTS), lit=True)
    s.put("swivel", 0.5, 0.08, 0.17, seat)
    for z in (0.2, 0.42, 0.6, 0.74):
        s.put("swivel", 0.22, z, 0.18, seat)
        s.put("swivel", 0.78, z, 0.18, seat)
    s.face((0.38, 0.62), (0, 0.22), 0.8, _dark(wood, 0.5))
    s.block((0.3, 0.7), (0.22, 0.26), (0.16, 0.88), wood)
    for x, z in ((0.36, 0.3), (0.6, 0.3), (0.36, 0.5), (0.6, 0.5), (0.36, 0.7), (0.6, 0.7)):
        s.face((x, x + 0.05), 0.262, (z, z + 0.05), "#fdfcf7")
    lamp = _pick(rng, "#30343d #d9a441 #f4f1ea")
    for z in (0.2, 0.42, 0.62):
        s.c.line([s.p(0.5, 1, z), s.p(0.5, 0.85, z)], "#2c2a2a", 0.004)
        s.put("pendant", 0.5, z, 0.05, lamp, y=0.84)


def _supermarket(c: Canvas, rng: Rng) -> None:
    """An aisle of shelves full of bright packets under strip lights."""
    s = _room(c, rng, "#dfe6e8 #f0ead8 #d3e3d6", "#dcd8ce #c9d0d3 #e6dcc8", "tile")
    s.shelf(rng, (0.3, 0.7), (0.05, 0.62), 0, 4, 16, _picks(rng, _GOODS, 5))
    s.face((0.3, 0.7), (0.66, 0.82), 0, _pick(rng, "#c8323a #2a9d8f #457b9d #e07a3f"))
    s.face((0.36, 0.6), (0.71, 0.77), 0, "#fffdf2")
    for z in (k / 4 for k in range(5)):
        s.face((0.3, 0.38), 1, (z, z + 0.16), "#ffffff", lit=True)
        s.face((0.62, 0.7), 1, (z, z + 0.16), "#ffffff", lit=True)
    for x, inner in ((0.2, (0.0, 0.2)), (0.8, (0.8, 1.0))):
        s.block(inner, (0, 0.74), (0, 1.3), "#b9bec4")
        s.shelf(rng, x, (0.04, 0.74), (0.0, 1.25), _some(rng, 4, 5), 20, _picks(rng, _GOODS, 6))
        s.face(x, (0.74, 0.8), (0, 1.3), _pick(rng, _ACCENTS))
    if rng.uniform() < 0.6:
        s.put("trolley", rng.uniform(0.34, 0.66), rng.uniform(0.4, 0.7), 0.2)


def _library(c: Canvas, rng: Rng) -> None:
    """Bookcases on both sides and at the back, a reading table with green lamps."""
    wood = _pick(rng, "#7a5236 #5f4030 #a67b5b #8c6a4a #d3b48c")
    s = _room(c, rng, "#d9cbb0 #c9b99a #8f6f52 #dcd8cc", "#8a5a3c #7b3f3f #9c7b5b #4f6b5f")
    for x in ((0.02, 0.34), (0.66, 0.98)):
        s.block(x, (0, 0.88), (0, 0.04), wood)
        s.shelf(rng, (x[0] + 0.02, x[1] - 0.02), (0.06, 0.86), 0.045, 5, 14, _BOOKS.split())
    _window(s, rng, (0.41, 0.59), (0.34, 0.84))
    for x, inner in ((0.12, (-0.05, 0.12)), (0.88, (0.88, 1.05))):
        for z0, z1 in ((0.16, 0.5), (0.6, 0.86), (0.94, 1.25)):
            s.block(inner, (0, 0.92), (z0, z1), wood)
            s.shelf(rng, x, (0.05, 0.9), (z0 + 0.02, z1 - 0.02), 5, 13, _BOOKS.split())
    s.table((0.32, 0.68), 0.2, (0.3, 0.62), _light(wood, 0.2))
    for x, z in ((0.42, 0.36), (0.58, 0.5)):
        s.put("desk_lamp", x, z, 0.1, y=0.2)
    for x in (0.38, 0.62)[: _some(rng, 1, 2)]:
        s.put("chair", x, 0.72, 0.15, _dark(wood, 0.1))


def _church(c: Canvas, rng: Rng) -> None:
    """A nave: columns and arches, stained glass, an altar with a cross, rows of pews."""
    stone, wood = _pick(rng, "#d9cdb8 #c2b8a8 #e6dfd0 #a89c90"), _pick(rng, "#6b4228 #83532f #57382a")
    s = _room(c, rng, stone, "#a89a86 #8d8379 #b39a80", "tile")
    s.face((0, 1), 1, (0, 1.3), _dark(stone, 0.45))
    for z in (0.1, 0.3, 0.5, 0.7, 0.9, 1.1):
        rib = [s.p(x, y, z) for x, y in ((0, 0.9), (0.22, 1.12), (0.5, 1.2), (0.78, 1.12), (1, 0.9))]
        c.line(rib, _light(stone, 0.2), 0.018)
    for x, w in ((0.2, 0.1), (0.5, 0.14), (0.8, 0.1)):
        _stained_glass(s, rng, x, w)
    s.block((0.36, 0.64), (0, 0.16), (0.02, 0.1), "#f0e9da")
    s.face((0.36, 0.64), (0.1, 0.16), 0.101, _pick(rng, "#9c2f3a #3b5f8c #5f7a46"))
    s.put("cross", 0.5, 0.02, 0.13, y=0.17)
    for z in (0.12, 0.38, 0.6, 0.78, 0.94):
        for x in (0.03, 0.97):
            s.block((x - 0.035, x + 0.035), (0, 0.86), (z, z + 0.04), _light(stone, 0.1))
            s.block((x - 0.05, x + 0.05), (0.82, 0.88), (z - 0.01, z + 0.05), _light(stone, 0.3))
    s.face((0.44, 0.56), 0, (0.1, 1.3), _pick(rng, "#9c2f3a #7b3340 #8d8379 #345a7a"))
    for z in (0.22, 0.36, 0.48, 0.59, 0.69, 0.78, 0.87, 0.96):
        s.block((0.1, 0.41), (0, 0.15), (z, z + 0.02), wood)
        s.block((0.59, 0.9), (0, 0.15), (z, z + 0.02), wood)


def _stained_glass(s: _Space, rng: Rng, x: float, w: float) -> None:
    """A pointed window of coloured panes that glow."""
    glass, lead = "#e63946 #f4b942 #2a6fdb #3fb68b #8e5bd0 #ffd98a", "#4a433f"
    s.face((x - w * 0.56, x + w * 0.56), (0.34, 0.74), 0, lead)
    s.c.poly([s.p(x - w * 0.56, 0.74, 0), s.p(x, 0.74 + w * 1.7, 0), s.p(x + w * 0.56, 0.74, 0)], lead)
    for i, j in np.ndindex(6, 3):
        a, b = x + w * (j / 3 - 0.5), 0.355 + 0.063 * i
        s.face((a + w * 0.03, a + w * 0.3), (b, b + 0.055), 0, _pick(rng, glass), lit=True)
    tip = [s.p(x - w * 0.4, 0.745, 0), s.p(x, 0.72 + w * 1.5, 0), s.p(x + w * 0.4, 0.745, 0)]
    s.c.poly(tip, _pick(rng, glass), lit=True)
    s.c.glow(*s.p(x, 0.6, 0), 0.25, "#fff0c0", 0.4)


# ---------------------------------------------------------------- the places: indoors, home and care


def _basement(c: Canvas, rng: Rng) -> None:
    """An escape room: dim bricks, chest, padlocks, clock, keypad, puzzle board, a warm lamp."""
    brick, door = _pick(rng, "#a0674f #857269 #8f5a4a #6f7078"), _pick(rng, (0.06, 0.74))
    s = _room(c, rng, brick, "#6b5a4c #57524f #7a5f48", "wood tile")
    c.tint = _pick(rng, ((0.86, 0.74, 0.62), (0.74, 0.68, 0.7), (0.95, 0.8, 0.62)))
    for i, j in np.ndindex(12, 9):
        x, y, tone = (j + 0.5 * (i % 2)) / 9, i / 12, _mix(brick, _pick(rng, "#c08a70 #40302c #9a7a6a"), 0.3)
        s.face((x + 0.004, min(1, x + 0.107)), (y + 0.008, y + 0.078), 0, tone)
        for side in (0, 1) if (i + j) % 3 == 0 else ():
            s.face(
                side, (y + 0.008, y + 0.078), (x * 1.2, x * 1.2 + 0.11), _mix(brick, _dark(tone, 0.2), 0.5)
            )
    s.face((door, door + 0.2), (0, 0.7), 0, "#2b2421")
    s.face((door + 0.015, door + 0.185), (0, 0.68), 0, _pick(rng, "#6b4428 #58606a #4f6b5a"))
    for y in (0.12, 0.52):
        s.face((door + 0.015, door + 0.185), (y, y + 0.05), 0, "#3a3a40")
    s.put("padlock", door + 0.1, 0, 0.085, y=0.28)
    s.put("clock", rng.uniform(0.36, 0.64), 0, 0.06, y=0.84)
    s.put("keypad", 0.36, 0, 0.065, y=0.48)
    s.face((0.45, 0.7), (0.34, 0.68), 0, "#d8b983")
    for i, j in np.ndindex(3, 3):
        mark, x, y = _pick(rng, "#e63946 #f4b942 #2fa6d0 #5f9c2a"), 0.495 + 0.08 * j, 0.4 + 0.11 * i
        s.c.at(*s.p(x, y, 0), 0.02).rect(-1, -1, 1, 1, mark, r=_pick(rng, (0, 1)))
    s.put("chest", rng.uniform(0.4, 0.66), rng.uniform(0.3, 0.5), 0.22, _pick(rng, "#8a5a30 #74482a #9c6b3c"))
    s.table((0.0, 0.2), 0.24, (0.3, 0.6), "#7a5236")
    s.put("padlock", 0.1, 0.5, 0.1, y=0.25)
    s.put("bulb", rng.uniform(0.35, 0.65), 0.4, 0.05, y=0.8)


def _bathroom(c: Canvas, rng: Rng) -> None:
    """Tiled walls, a bathtub, a basin under a mirror, a toilet, a bath mat."""
    tile, x = _pick(rng, "#a3d0d4 #c9d6da #8fbccd #b9cfa8 #e3bfb4"), rng.uniform(0.4, 0.5)
    s = _room(c, rng, _pick(rng, "#e9ece6 #dfe6e8 #ece3d6"), "#c9cdd0 #8fa3a8 #5d6f78 #d9cdb8", "tile")
    for side, z in (((0, 1), 0), (0, (0, 1.3)), (1, (0, 1.3))):
        s.face(side, (0.03, 0.56), z, tile if z == 0 else _dark(tile, 0.1))
    for k in range(1, 7):
        row = [s.p(x_row, k / 11, z) for x_row, z in ((0, 1.3), (0, 0), (1, 0), (1, 1.3))]
        c.line(row, "#ffffffb0", 0.005)
    for k in range(1, 12):
        c.line([s.p(k / 12, 0.03, 0), s.p(k / 12, 0.56, 0)], "#ffffffb0", 0.005)
    _window(s, rng, (0.08, 0.3), (0.6, 0.88))
    s.face((x - 0.1, x + 0.1), (0.5, 0.9), 0, _pick(rng, "#c9a24a #f4f4f0 #3a4048"))
    s.face((x - 0.085, x + 0.085), (0.525, 0.875), 0, "#cfe6f0", lit=True)
    gleam = ((-0.06, 0.54), (0, 0.86), (0.04, 0.86), (-0.02, 0.54))
    c.poly([s.p(x + a, y, 0) for a, y in gleam], "#ffffff90")
    s.block((x - 0.11, x + 0.11), (0.08, 0.34), (0, 0.16), _pick(rng, "#a67b5b #f2efe8 #5f7a86"))
    s.block((x - 0.12, x + 0.12), (0.34, 0.38), (0, 0.18), "#fdfdfb")
    s.face((x - 0.01, x + 0.01), (0.38, 0.46), 0.02, "#8d979f")
    s.put("toilet", rng.uniform(0.68, 0.74), 0.12, 0.26)
    s.block((0.0, 0.32), (0, 0.26), (0.18, 0.85), "#f4f7f7")
    s.face((0.03, 0.29), 0.262, (0.22, 0.82), _mix(tile, "#5fb4d0", 0.6))
    if rng.uniform() < 0.6:
        s.face(0.33, (0.2, 0.95), (0.12, 0.4), _fade(_pick(rng, _ACCENTS), 215))
    s.block((0.92, 1.0), (0, 0.6), (0.2, 0.5), _light(_pick(rng, _WOODS), 0.2))
    s.rug((0.42, 0.66), (0.4, 0.65), _pick(rng, _ACCENTS))


def _bedroom(c: Canvas, rng: Rng) -> None:
    """A double bed with pillows, night tables with lamps, a window or wardrobe, pictures, a rug."""
    s = _room(c, rng, _WALLS + " #5f7482 #7a6a78", _WOODS)
    x, wide, wood = rng.uniform(0.36, 0.52), rng.uniform(0.34, 0.42), _pick(rng, _WOODS + " #f0ece4 #3f3a40")
    if rng.uniform() < 0.6:
        _window(s, rng, (0.04, 0.24), (0.34, 0.84), _light(_pick(rng, _ACCENTS), 0.4))
    else:
        s.block((0.0, 0.16), (0, 0.8), (0.0, 0.3), wood)
    _pictures(s, rng, x, 0.6)
    s.rug((x - 0.14, x + wide + 0.14), (0.45, 1.05), _pick(rng, _ACCENTS))
    for a in (x - 0.1, x + wide + 0.1):
        s.block((a - 0.06, a + 0.06), (0, 0.2), (0.02, 0.12), wood)
        s.put("night_lamp", a, 0.07, 0.15, y=0.2)
    _bed(s, (x, x + wide), (0.04, 0.72), wood, _pick(rng, _ACCENTS), 2, 0.2)
    if rng.uniform() < 0.4:
        s.put("plant", 0.06, 0.5, 0.26, _pick(rng, "#c8704a #e9e3d5"))


def _living_room(c: Canvas, rng: Rng) -> None:
    """A sofa with cushions, a low table on a rug, a lamp, pictures, a plant, perhaps a television."""
    s = _room(c, rng, _WALLS, _WOODS)
    x, sofa, wood = rng.uniform(0.22, 0.34), _pick(rng, _ACCENTS + " #8d99a6 #d9cfc0"), _pick(rng, _WOODS)
    if rng.uniform() < 0.5:
        _window(s, rng, (0.66, 0.94), (0.3, 0.84), _pick(rng, _ACCENTS))
    _pictures(s, rng, x - 0.04, 0.52)
    s.rug((x - 0.06, x + 0.56), (0.3, 0.95), _pick(rng, _ACCENTS))
    s.put("floor_lamp", x - 0.08, 0.12, 0.38)
    s.put("plant", x + 0.6, 0.15, rng.uniform(0.2, 0.34), _pick(rng, "#c8704a #e9e3d5 #4a5a68"))
    s.block((x, x + 0.5), (0.04, 0.42), (0.06, 0.12), sofa)
    s.block((x, x + 0.5), (0.04, 0.2), (0.12, 0.32), _dark(sofa, 0.08))
    for a in (x + 0.05, x + 0.255):
        s.block((a, a + 0.195), (0.2, 0.25), (0.12, 0.33), _light(sofa, 0.1))
        s.block((a + 0.05, a + 0.14), (0.25, 0.38), (0.13, 0.17), _pick(rng, _ACCENTS))
    for a in (x - 0.02, x + 0.46):
        s.block((a, a + 0.06), (0.04, 0.3), (0.06, 0.33), _dark(sofa, 0.05))
    s.table((x + 0.12, x + 0.4), 0.13, (0.48, 0.68), wood)
    s.block((x + 0.2, x + 0.28), (0.13, 0.15), (0.54, 0.62), _pick(rng, _ACCENTS))
    if rng.uniform() < 0.6:
        s.block((0.92, 1.0), (0, 0.18), (0.3, 0.9), wood)
        s.face(0.99, (0.26, 0.62), (0.36, 0.84), "#1d2026")
        s.face(0.985, (0.28, 0.6), (0.38, 0.82), _pick(rng, "#3f6f9c #22262e #7fb3c8"), lit=True)


def _kitchen(c: Canvas, rng: Rng) -> None:
    """Cabinets above and below, a stove with a hood, a fridge, perhaps an island with lamps."""
    s = _room(c, rng, _WALLS, _WOODS + " #c9c2b5 #8f979c", "wood tile")
    door = _pick(rng, "#f4f1ea #5f7f86 #9c6b45 #3f5a4f #e3b778 #c8d3d0 #2f3d52")
    top = _pick(rng, "#d9d3c8 #4a4d55 #c69c6d")
    stove, fridge = _pick(rng, (2.5, 3.5)) / 6, _pick(rng, ((0.0, 0.17), (0.83, 1.0)))
    s.face((0, 1), (0.4, 0.62), 0, _pick(rng, "#f4f4ef #cfe0dd #e8c9a0 #9fb8c4"))
    for k in range(1, 24):
        c.line([s.p(k / 24, 0.4, 0), s.p(k / 24, 0.62, 0)], "#00000022", 0.003)
    for x in (k / 6 for k in range(6)):
        if abs(x + 1 / 12 - stove) > 0.1:
            s.block((x + 0.004, x + 0.163), (0.64, 0.93), (0, 0.1), door)
            s.face((x + 0.117, x + 0.127), (0.67, 0.73), 0.101, "#d8c9a0")
        s.block((x, x + 0.163), (0.03, 0.36), (0, 0.2), door)
        s.face((x + 0.05, x + 0.11), (0.3, 0.32), 0.201, "#d8c9a0")
    hood = ((-0.09, 0.66), (-0.04, 0.78), (-0.04, 0.95), (0.04, 0.95), (0.04, 0.78), (0.09, 0.66))
    c.poly([s.p(stove + x, y, 0.05) for x, y in hood], "#9aa3aa")
    s.block((0, 1), (0.36, 0.4), (0, 0.21), top)
    s.face((stove - 0.08, stove + 0.08), (0.02, 0.37), 0.212, "#33363d")
    s.face((stove - 0.06, stove + 0.06), (0.08, 0.25), 0.213, _pick(rng, "#6b5347 #d9824a"))
    for x in rng.uniform(0.1, 0.8, 4).tolist():
        s.block((x, x + 0.035), (0.4, 0.4 + rng.uniform(0.04, 0.12)), (0.08, 0.12), _pick(rng, _ACCENTS))
    s.block(fridge, (0, 0.8), (0, 0.27), _pick(rng, "#e8ebed #b9c0c6 #d8614f #9fc4b8"))
    s.face(fridge, (0.5, 0.508), 0.271, "#6d747b")
    if rng.uniform() < 0.6:
        s.block((0.3, 0.7), (0, 0.25), (0.5, 0.75), _dark(door, 0.1))
        s.block((0.27, 0.73), (0.25, 0.29), (0.48, 0.78), top)
        for x in (0.4, 0.6):
            c.line([s.p(x, 1, 0.5), s.p(x, 0.86, 0.5)], "#2c2a2a", 0.004)
            s.put("pendant", x, 0.5, 0.055, _pick(rng, _ACCENTS), y=0.84)


def _childs_room(c: Canvas, rng: Rng) -> None:
    """A small bed, bunting, toys, a teddy, a play tent or shelf, bright pastel colours."""
    wall, bed = _pick(rng, "#bfe3ef #fbd5d5 #d9efc7 #fdeab8 #dccff0"), rng.uniform(0.06, 0.12)
    s = _room(c, rng, wall, "#d3b48c #e0c9a4 #caa27a")
    for i, j in np.ndindex(3, 8):
        s.put("dot", (j + 0.5 + 0.3 * (i % 2)) / 8.3, 0, 0.012, _light(wall, 0.6), y=0.4 + 0.16 * i)
    for k, color in enumerate(_picks(rng, _TOYS + " #f28482 #84a59d", 11)):
        x, sag = (k + 0.5) / 11, 0.12 * math.sin(math.pi * (k + 0.5) / 11)
        c.at(*s.p(x, 0.98 - sag, 0), 0.05).poly([(-0.5, 0), (0.5, 0), (0, 0.9)], color)
    _window(s, rng, (0.4, 0.62), (0.42, 0.78), _pick(rng, _ACCENTS))
    s.rug((0.35, 0.75), (0.35, 0.9), _pick(rng, _ACCENTS))
    frame, cover = _pick(rng, "#ffffff #e76f51 #8ecae6 #d3b48c"), _pick(rng, _ACCENTS)
    _bed(s, (bed, bed + 0.22), (0.04, 0.5), frame, cover, 1, 0.17)
    if rng.uniform() < 0.6:
        s.put("tent", 0.82, 0.2, 0.4, _pick(rng, _ACCENTS))
    else:
        s.block((0.7, 0.96), (0, 0.5), (0, 0.1), "#fdfaf2")
        s.shelf(rng, (0.71, 0.95), (0.05, 0.5), 0.101, 3, 7, _GOODS.split())
    for z, x in sorted(rng.uniform((0.35, 0.3), 0.9, (7, 2)).tolist()):
        if rng.uniform() < 0.6:
            s.block((x, x + 0.045), (0, 0.07), (z, z + 0.04), _pick(rng, _TOYS))
        else:
            s.put("ball", x, z, 0.03, _pick(rng, _TOYS))
    x, z, fur = rng.uniform(0.45, 0.65), rng.uniform(0.25, 0.5), _pick(rng, "#b07a4a #d9b48a #8f6a55")
    s.put("teddy", x, z, 0.17, fur)


def _hospital_room(c: Canvas, rng: Rng) -> None:
    """A hospital bed with rails and wheels, a drip stand, a heart monitor, a curtain, pale walls."""
    s = _room(c, rng, "#d5e8e2 #dfe9ee #e8ece4 #cfe3ea", "#b9c7c6 #a9b8bf #cfcabd #9fb3a8", "plain")
    trim, x = _pick(rng, "#4fa095 #5b8fb0 #7fb08a #8aa4b8"), rng.uniform(0.26, 0.36)
    for z in ((0.2, 0.4), (0.65, 0.9)):
        s.face((0.3, 0.7), 1, z, "#ffffff", lit=True)
    for side, z in (((0, 1), 0), (0, (0, 1.3)), (1, (0, 1.3))):
        s.face(side, (0.34, 0.39), z, trim)
    _window(s, rng, (0.76, 0.96), (0.44, 0.84))
    s.face((x - 0.03, x + 0.36), (0.5, 0.6), 0, "#f7f9f8")
    for k in range(5):
        s.put("dot", x + 0.03 + 0.07 * k, 0, 0.012, _pick(rng, "#e63946 #3fa66b #3b7fc4"), y=0.55)
    s.put("vitals", x + 0.43, 0.08, 0.17, y=0.36)
    _bed(s, (x, x + 0.32), (0.06, 0.7), "#aab6bf", _pick(rng, f"{trim} #7fc4bb #8fb8dc #e9f0f0"), 1, 0.26)
    for a in (x - 0.012, x + 0.332):
        for y in (0.31, 0.37):
            s.face(a, (y, y + 0.02), (0.2, 0.56), "#7d8a94")
        for z in (0.22, 0.38, 0.54):
            s.face(a, (0.2, 0.39), (z, z + 0.015), "#7d8a94")
        s.put("dot", a, 0.7, 0.018, "#3a4048", y=0.02)
    s.put("drip", x - 0.08, 0.16, 0.42)
    for k in range(7):
        s.face(0.04, (0.1, 0.92), (0.02 + 0.11 * k, 0.14 + 0.11 * k), _light(trim, 0.1 + 0.3 * (k % 2)))
    s.block((0.78, 0.9), (0, 0.24), (0.3, 0.44), "#eef0ee")


SCENES: dict[str, Callable[[Canvas, Rng], None]] = {
    "beach": _beach,
    "mountain_snowy": _mountain_snowy,
    "forest_path": _forest_path,
    "street": _street,
    "highway": _highway,
    "skyscraper": _skyscraper,
    "harbor": _harbor,
    "playground": _playground,
    "desert/sand": _desert_sand,
    "ski_slope": _ski_slope,
    "stadium/soccer": _soccer,
    "lighthouse": _lighthouse,
    "windmill": _windmill,
    "swimming_pool/outdoor": _pool,
    "gymnasium/indoor": _gymnasium,
    "classroom": _classroom,
    "office": _office,
    "conference_room": _conference_room,
    "supermarket": _supermarket,
    "library/indoor": _library,
    "church/indoor": _church,
    "mosque/outdoor": _mosque,
    "temple/asia": _temple_asia,
    "basement": _basement,
    "bathroom": _bathroom,
    "bedroom": _bedroom,
    "living_room": _living_room,
    "kitchen": _kitchen,
    "childs_room": _childs_room,
    "hospital_room": _hospital_room,
}


# ---------------------------------------------------------------- people: the same figures in every place

_SKINS = "#f6d3b8 #e8b98f #d09a6b #a8714a #7d5035 #5a3826 #f0c8a8"
_HAIRS = "#2a2020 #4a3020 #7a4a2a #b9783c #e0b868 #8f8a88 #1c1a20"
_CLOTHES = "#e63946 #457b9d #f4a261 #2a9d8f #f1faee #6d597a #264653 #e9c46a #b56576 #5f8f6a #33363f #8fb8de"
# left elbow, hand; right elbow, hand (from the shoulder); left knee, foot; right knee, foot; hip height
_POSES = {
    "standing": "-.04 .17 -.03 .34  .04 .17 .03 .34  -.05 -.24 -.055 0  .05 -.24 .055 0  .47",
    "walking": "-.08 .15 -.03 .3  .07 .16 .11 .3  -.1 -.25 -.15 -.02  .07 -.25 .1 0  .47",
    "waving": "-.04 .17 -.02 .34  .13 -.03 .15 -.2  -.05 -.24 -.055 0  .05 -.24 .065 0  .47",
    "cheering": "-.12 -.08 -.14 -.26  .12 -.08 .16 -.25  -.06 -.24 -.08 0  .06 -.24 .09 0  .47",
    "hands on hips": "-.13 .13 0 .26  .13 .13 0 .26  -.06 -.24 -.08 0  .06 -.24 .08 0  .47",
    "sitting": "-.07 .15 -.12 .26  .07 .15 .12 .26  -.22 -.1 .04 -.025  .22 -.1 -.04 -.025  .09",
}


def _figure(t: Canvas, rng: Rng, poses: Sequence[str] = (*_POSES, "standing", "walking")) -> None:
    """One person, one unit high from the feet at (0, 0), in random clothes, seen from the front or back."""
    v = [float(n) for n in _POSES[_pick(rng, poses)].split()]
    joints, hip = list(zip(v[:-1:2], v[1:-1:2], strict=True)), v[-1]
    skin, hair, top, low = (_pick(rng, tones) for tones in (_SKINS, _HAIRS, _CLOTHES, _CLOTHES))
    back, style, y = rng.uniform() < 0.35, _pick(rng, "short long bun round cap"), -hip - 0.33
    t.oval(0, 0, 0.2, 0.03, "#14122946")
    if style == "long" and not back:
        t.rect(-0.095, y - 0.16, 0.095, y + 0.07, hair, r=0.08)
    _legs(t, rng, joints[4:], hip, _dark(low, 0.3), skin)
    right = [(0.085, y), (0.118, y + 0.03), (0.088, -hip + 0.03)]
    t.poly([*((-a, b) for a, b in right[::-1]), *right], top)
    t.poly([(0.035, y), *right, (0.05, -hip + 0.03)], _dark(top, 0.14))
    sleeve = 3 if rng.uniform() < 0.5 else 2
    for side, bend in ((-1, joints[:2]), (1, joints[2:4])):
        arm = [(side * 0.1 + a, y + 0.035 + b) for a, b in ((0, 0), *bend)]
        t.line(arm, skin, 0.042)
        t.line(arm[:sleeve], _dark(top, 0.08), 0.052)
        t.oval(*arm[2], 0.027, 0.027, skin)
    _head(t.at(0, y - 0.115, 1), skin, hair, style, back)


def _legs(t: Canvas, rng: Rng, joints: Sequence[Point], hip: float, low: Color, skin: Color) -> None:
    """Trousers, shorts or a skirt, and shoes."""
    kind, shoe = _pick(rng, "trousers trousers shorts skirt"), _pick(rng, "#2c2a30 #f4f1ea #8a4a35")
    for side, (knee, foot) in ((-1, joints[:2]), (1, joints[2:])):
        leg = [(side * 0.045, -hip), knee, foot]
        t.line(leg, low if kind == "trousers" else skin, 0.07)
        if kind == "shorts":
            t.line(leg[:2], low, 0.085)
        t.oval(foot[0] + side * 0.012, foot[1] - 0.005, 0.05, 0.025, shoe)
    if kind == "skirt":
        y, wide = -hip * 0.5, 0.13 if hip > 0.2 else 0.2
        t.poly([(-0.085, -hip - 0.02), (0.085, -hip - 0.02), (wide, y), (-wide, y)], low)
    t.rect(-0.088, -hip - 0.02, 0.088, -hip + 0.05, low, r=0.03)


def _head(t: Canvas, skin: Color, hair: Color, style: str, back: bool) -> None:
    """Neck, face and hair around (0, 0); from behind the hair covers the head."""
    t.rect(-0.03, 0, 0.03, 0.13, _dark(skin, 0.14))
    if style == "round":
        t.oval(0, -0.025, 0.115, 0.11, hair)
    if style == "bun":
        t.oval(0, -0.1, 0.045, 0.04, hair)
    t.oval(0, 0, 0.072, 0.085, skin)
    if back:
        t.oval(0, -0.01, 0.08, 0.085, hair)
        t.rect(-0.085, -0.03, 0.085, 0.17 if style == "long" else 0.02, hair, r=0.07)
    else:
        t.pie(0, -0.012, 0.08, 0.085, hair)
        t.oval(0, -0.012, 0.055, 0.02, skin)
        for x in (-0.026, 0.026):
            t.oval(x, 0.008, 0.008, 0.01, "#2a2226")
        t.line([(-0.018, 0.043), (0, 0.05), (0.018, 0.043)], _dark(skin, 0.45), 0.008)
    if style == "cap":
        cap = _mix(hair, "#d94f3d", 0.7)
        t.pie(0, -0.02, 0.083, 0.085, cap)
        t.rect(-0.083, -0.03, 0.06 if back else 0.12, -0.012, _dark(cap, 0.2))


def _nobody(canvas: Canvas, rng: Rng) -> None:
    """Leave the place empty."""


def _one(canvas: Canvas, rng: Rng) -> None:
    """One big figure in the foreground, whole or cut by the lower edge."""
    x, flip = rng.uniform(0.22, 0.78), rng.uniform() < 0.5
    if rng.uniform() < 0.5:
        _figure(canvas.at(x, rng.uniform(0.93, 1.0), rng.uniform(0.78, 0.95), flip), rng)
    else:
        size = rng.uniform(1.1, 1.5)
        feet = 0.16 + size * canvas.unit / canvas.scale[1]  # so that the head stays in the picture
        _figure(canvas.at(x, feet, size, flip), rng, ("standing", "walking", "waving", "hands on hips"))


def _group(canvas: Canvas, rng: Rng) -> None:
    """Three to seven smaller figures, the far ones first."""
    n = _some(rng, 3, 7)
    for y, x in sorted(zip(rng.uniform(0.7, 0.96, n).tolist(), _spread(rng, 0.06, 0.94, n), strict=True)):
        size, flip = (0.3 + 0.65 * (y - 0.7)) * rng.uniform(0.85, 1.05), rng.uniform() < 0.5
        _figure(canvas.at(x, y, size, flip), rng)


_PEOPLE = {"none": _nobody, "one": _one, "group": _group}


# ---------------------------------------------------------------- the camera


def _photograph(image: Image.Image, rng: Rng, size: tuple[int, int]) -> Image.Image:
    """Shrink the drawing to its final size as a camera would: crop, tilt, mirror, blur, then develop it."""
    (w, h), k = size, _SUPERSAMPLE
    if rng.uniform() < 0.7:  # held level: a plain crop, several times faster than a turn
        crop, dx, dy = rng.uniform(0, 0.08), *rng.uniform(0, k, 2).tolist()
        left, top = w * crop * dx, h * crop * dy
        box = (left, top, left + k * w * (1 - crop), top + k * h * (1 - crop))
        photo = image.resize(size, Image.Resampling.BOX, box=box)
    else:
        tilt = rng.uniform(-0.045, 0.045)
        zoom = math.cos(tilt) + math.sin(abs(tilt)) * max(w / h, h / w)
        a, b = k / zoom * math.cos(tilt), k / zoom * math.sin(tilt)
        matrix = (a, -b, (k * w - a * w + b * h) / 2, b, a, (k * h - b * w - a * h) / 2)
        photo = image.transform(size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    photo = ImageOps.mirror(photo) if rng.uniform() < 0.5 else photo
    if rng.uniform() < 0.3:
        photo = photo.filter(ImageFilter.BoxBlur(rng.uniform(0.3, 0.8) * min(size) / 480))
    return _develop(photo, rng)


def _develop(photo: Image.Image, rng: Rng) -> Image.Image:
    """Apply exposure, white balance, vignette and sensor noise, all in whole numbers."""
    gains, dark = rng.uniform(0.9, 1.05) * rng.uniform(0.97, 1.03, 3), rng.uniform(0, 0.14)
    grain = _some(rng, 1, 6)
    photo = photo.point([min(255, round(v * g)) for g in gains.tolist() for v in range(256)])
    fall = Image.radial_gradient("L").point([round(255 * (1 - dark * (v / 180) ** 2)) for v in range(256)])
    fall = fall.resize(photo.size, Image.Resampling.NEAREST)
    photo = ImageChops.multiply(photo, Image.merge("RGB", [fall] * 3))
    noise = Image.fromarray(rng.integers(0, 2 * grain + 1, photo.size[::-1], dtype=np.uint8))
    return ImageChops.add(photo, Image.merge("RGB", [noise] * 3), 1, -grain)


def _check(name: str, value: str, allowed: Iterable[str]) -> None:
    """Raise ValueError that names what came and what is allowed."""
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}; allowed are {', '.join(allowed)}")


def draw_scene(scene: str, rng: np.random.Generator, size: tuple[int, int], people: str) -> Image.Image:
    """Draw one photo of a kind of place.

    Parameters
    ----------
    scene : str
        A Places365 name, one of SCENES. "basement" is drawn as an escape room.
    rng : numpy.random.Generator
        The only source of randomness.
    size : (int, int)
        Width and height in pixels, any aspect.
    people : str
        "none", "one" (one big figure in the foreground) or "group" (3 to 7 smaller ones).

    Returns
    -------
    PIL.Image.Image
        An RGB image of exactly `size`.

    Raises
    ------
    ValueError
        If scene or people is unknown.
    """
    _check("scene", scene, SCENES)
    _check("people", people, _PEOPLE)
    canvas = Canvas(Image.new("RGB", (size[0] * _SUPERSAMPLE, size[1] * _SUPERSAMPLE)))
    SCENES[scene](canvas, rng)
    canvas.tint = tuple(0.5 + 0.5 * t for t in canvas.tint)  # a flash: people stay visible at night
    _PEOPLE[people](canvas, rng)
    return _photograph(canvas.image, rng, size)
