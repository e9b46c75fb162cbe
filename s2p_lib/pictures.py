"""How a photo is shown to a reader: as it is, blurred, or not at all, for the privacy of the people in it."""

import io
from pathlib import Path

from PIL import Image

from s2p_lib.photos import thumbnail

BLURRED_PIXELS = 8  # the whole photo on so many pixels a side: colours of a scene, but no face, plate or text


def picture(path: str | Path, how: str, size: int = 240) -> Image.Image | None:
    """The photo in a square of ``size`` pixels if ``how`` is ``photos`` or ``blurred``; None if it is ``scenes``.

    With ``scenes`` the file is not opened: the reader sees the scenes that the model saw, and no pixel of the photo.
    """
    if how == "scenes":
        return None
    image = thumbnail(path, size)
    if how == "photos":
        return image
    if how != "blurred":
        raise ValueError(f"how={how!r} is unknown; allowed: photos, blurred, scenes")
    small = image.resize((BLURRED_PIXELS, BLURRED_PIXELS), Image.Resampling.BOX)
    return small.resize((size, size), Image.Resampling.BICUBIC)


def as_jpeg(image: Image.Image, quality: int = 80) -> bytes:
    """The bytes of a picture as a JPEG."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
