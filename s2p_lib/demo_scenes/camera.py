"""The camera: it turns a drawing into a photo, with the flaws of one."""

import math

import numpy as np
from PIL import Image, ImageChops, ImageFilter, ImageOps

from s2p_lib.demo_scenes.chance import Rng, some

SUPERSAMPLE = 2  # drawn at twice the size; the camera then smooths every edge


def photograph(image: Image.Image, rng: Rng, size: tuple[int, int]) -> Image.Image:
    """Shrink the drawing to its final size as a camera would: crop, tilt, mirror, blur, then develop it."""
    (w, h), k = size, SUPERSAMPLE
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
    grain = some(rng, 1, 6)
    photo = photo.point([min(255, round(v * g)) for g in gains.tolist() for v in range(256)])
    fall = Image.radial_gradient("L").point([round(255 * (1 - dark * (v / 180) ** 2)) for v in range(256)])
    fall = fall.resize(photo.size, Image.Resampling.NEAREST)
    photo = ImageChops.multiply(photo, Image.merge("RGB", [fall] * 3))
    noise = Image.fromarray(rng.integers(0, 2 * grain + 1, photo.size[::-1], dtype=np.uint8))
    return ImageChops.add(photo, Image.merge("RGB", [noise] * 3), 1, -grain)
