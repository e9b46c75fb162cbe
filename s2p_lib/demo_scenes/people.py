"""The people: figures, and where they stand. They are the same in every place."""

from collections.abc import Sequence

from s2p_lib.demo_scenes.canvas import Canvas, Point
from s2p_lib.demo_scenes.chance import Rng, pick, some, spread
from s2p_lib.demo_scenes.colors import Color, dark, mix

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
    v = [float(n) for n in _POSES[pick(rng, poses)].split()]
    joints, hip = list(zip(v[:-1:2], v[1:-1:2], strict=True)), v[-1]
    skin, hair, top, low = (pick(rng, tones) for tones in (_SKINS, _HAIRS, _CLOTHES, _CLOTHES))
    back, style, y = rng.uniform() < 0.35, pick(rng, "short long bun round cap"), -hip - 0.33
    t.oval(0, 0, 0.2, 0.03, "#14122946")
    if style == "long" and not back:
        t.rect(-0.095, y - 0.16, 0.095, y + 0.07, hair, r=0.08)
    _legs(t, rng, joints[4:], hip, dark(low, 0.3), skin)
    right = [(0.085, y), (0.118, y + 0.03), (0.088, -hip + 0.03)]
    t.poly([*((-a, b) for a, b in right[::-1]), *right], top)
    t.poly([(0.035, y), *right, (0.05, -hip + 0.03)], dark(top, 0.14))
    sleeve = 3 if rng.uniform() < 0.5 else 2
    for side, bend in ((-1, joints[:2]), (1, joints[2:4])):
        arm = [(side * 0.1 + a, y + 0.035 + b) for a, b in ((0, 0), *bend)]
        t.line(arm, skin, 0.042)
        t.line(arm[:sleeve], dark(top, 0.08), 0.052)
        t.oval(*arm[2], 0.027, 0.027, skin)
    _head(t.at(0, y - 0.115, 1), skin, hair, style, back)


def _legs(t: Canvas, rng: Rng, joints: Sequence[Point], hip: float, low: Color, skin: Color) -> None:
    """Trousers, shorts or a skirt, and shoes."""
    kind, shoe = pick(rng, "trousers trousers shorts skirt"), pick(rng, "#2c2a30 #f4f1ea #8a4a35")
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
    t.rect(-0.03, 0, 0.03, 0.13, dark(skin, 0.14))
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
        t.line([(-0.018, 0.043), (0, 0.05), (0.018, 0.043)], dark(skin, 0.45), 0.008)
    if style == "cap":
        cap = mix(hair, "#d94f3d", 0.7)
        t.pie(0, -0.02, 0.083, 0.085, cap)
        t.rect(-0.083, -0.03, 0.06 if back else 0.12, -0.012, dark(cap, 0.2))


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
    n = some(rng, 3, 7)
    for y, x in sorted(zip(rng.uniform(0.7, 0.96, n).tolist(), spread(rng, 0.06, 0.94, n), strict=True)):
        size, flip = (0.3 + 0.65 * (y - 0.7)) * rng.uniform(0.85, 1.05), rng.uniform() < 0.5
        _figure(canvas.at(x, y, size, flip), rng)


PEOPLE = {"none": _nobody, "one": _one, "group": _group}
