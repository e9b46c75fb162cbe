"""Palettes (words, to be picked from) and ways to change a colour."""

from PIL import ImageColor

Color = str | tuple[int, ...]

LAMPLIGHT = "#ffd98a"  # a window with a lamp behind it
ACCENTS = "#e76f51 #2a9d8f #e9c46a #457b9d #b56576 #6d597a #84a59d #f28482 #3d5a80 #f4a261"
BOOKS = "#8c3b2e #27465f #c79a4b #3e5c3a #5b2f45 #d9cdb4 #6b4226 #a7553a"
FACADES = "#d98f6a #e8cfa9 #b4594a #c9b8a4 #8fa39a #e3b36d #a8747a #d7d2c4 #7b8ea6"
GOODS = "#e63946 #ffb703 #2a9d8f #219ebc #f4f1de #8ac926 #ff7b54 #6a4c93 #fff3b0"
LEAVES = "#3f7d4e #4f9a5a #2f6b4a #6aa84f #7d9d45"
PAINTS = "#c8323a #2f5d8c #f0efe9 #30343d #e0a72e #5b8c7b #9aa3ad"
TOYS = "#e63946 #f4a300 #2a9df4 #2fae66 #8e5bd0"
WALLS = "#e8dccb #cfdad6 #d8c8bd #b9c9d4 #e5d3c8 #c9cfb8 #d9d3e0 #9fb3b5 #e9e4da"
WOODS = "#b98a5e #9c6b45 #caa27a #7a553c #d3b48c #a67b5b"


def rgb(color: Color) -> tuple[int, ...]:
    """Turn "#rrggbb" or "#rrggbbaa" into a tuple; leave tuples alone."""
    return ImageColor.getrgb(color) if isinstance(color, str) else color


def mix(a: Color, b: Color, t: float) -> tuple[int, ...]:
    """Return the colour that lies the fraction t of the way from a to b."""
    return tuple(round(p + (q - p) * t) for p, q in zip(rgb(a)[:3], rgb(b)[:3], strict=True))


def light(color: Color, t: float = 0.25) -> tuple[int, ...]:
    """Return a lighter, warmer colour."""
    return mix(color, "#fff6e5", t)


def dark(color: Color, t: float = 0.25) -> tuple[int, ...]:
    """Return a darker colour, pulled to blue as shadows are."""
    return mix(color, "#141229", t)


def fade(color: Color, alpha: int) -> tuple[int, ...]:
    """Return the colour with an opacity (0 to 255)."""
    return (*rgb(color)[:3], alpha)
