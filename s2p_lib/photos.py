"""Open a photo as the released code does, or say why it cannot be opened."""

import errno
import hashlib
import re
import stat
import struct
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import BinaryIO

from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

# Photos come from outside: only plain photo decoders may see them (others can start programs, such as EPS).
PHOTO_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")

# Pictures in other formats, by bytes near the start of the file: (offset, bytes).
OTHER_FORMATS = {
    (0, b"%!PS"): "EPS",
    (0, b"%PDF"): "PDF",
    (0, b"8BPS"): "PSD",
    (4, b"jP  "): "JPEG 2000",
    (4, b"ftypavif"): "AVIF",
    (4, b"ftyphei"): "HEIC",
    (4, b"ftypmif1"): "HEIF",
}

MAX_FILE_MB = 200  # a file is read whole, one for each thread or process that decodes
START_BYTES = 16  # of a file, which tell its format

# What Pillow's decoders raise on damaged files.
UNREADABLE = (
    *(OSError, SyntaxError, ValueError, TypeError, EOFError, LookupError, ArithmeticError, MemoryError, struct.error),
    Image.DecompressionBombError,
)


class FileChanged(ValueError):
    """A file is not the one whose hash was taken: it has changed since."""


# The audit lists such photos. Set once: catch_warnings around each photo would not be safe in threads.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", message="Palette images with Transparency")


def open_image(source: str | Path | BinaryIO) -> Image.Image:
    """The picture with its header read and nothing decoded yet; errors as ``open_photo``."""
    return Image.open(source, formats=PHOTO_FORMATS)


def open_photo(path: str | Path | BinaryIO) -> Image.Image:
    """The photo as RGB, fully decoded; EXIF orientation is ignored, as in the released loader.

    Pillow itself turns a TIFF upright, there too. Raises OSError (missing, empty, truncated, not a photo),
    Image.DecompressionBombError (over 179 million pixels) or another of ``UNREADABLE`` for a damaged file.
    """
    with open_image(path) as image:
        return image.convert("RGB")


def open_with_notes(source: BinaryIO) -> tuple[Image.Image, list[str]]:
    """The same pixels as ``open_photo``, and what is special about the photo, each text beginning with its kind."""
    with open_image(source) as image:
        stored = str(image.tile)  # known only until the pixels are decoded
        image.load()
        # From RGB to RGB it would only copy. Elsewhere the copy is needed: counting frames can lose the decoded one.
        photo = image if (image.format, image.mode) == ("JPEG", "RGB") else image.convert("RGB")
        return photo, list(_notes(image, stored))


def _notes(image: Image.Image, stored: str) -> Iterator[str]:
    """Notes on a decoded picture; ``stored`` is how Pillow describes its pixels in the file."""
    if re.search("[^R];16", stored):  # "BGR;16" is a BMP with 16 bits for all three channels
        how = "all above 255 becomes white" if image.mode.startswith("I") else "the upper 8 are used"
        yield f"16 bits a channel, {how}"
    elif image.mode in ("I", "F"):
        yield "32 bits a channel, all below 0 becomes black and all above 255 white"
    if image.mode in ("CMYK", "YCbCr", "LAB"):
        yield f"{image.mode}, converted without its colour profile"
    if image.has_transparency_data:
        yield ("palette with transparency" if image.mode in ("P", "PA") else "transparency") + ", which is dropped"
    if image.width * image.height > Image.MAX_IMAGE_PIXELS:
        yield f"over {Image.MAX_IMAGE_PIXELS / 1e6:.0f} million pixels"
    yield from _note_of_frames(image)
    yield from _note_of_orientation(image)


def _note_of_frames(image: Image.Image) -> Iterator[str]:
    kind = "animated" if image.format in ("GIF", "PNG", "WEBP") else "several pictures"  # pages, or a phone's MPO
    try:
        n_frames = getattr(image, "n_frames", 1)
    except Exception:  # Pillow raises many kinds here; the first frame, which is used, is whole
        yield f"{kind}, damaged after the first, which is used"
    else:
        if n_frames > 1:
            yield f"{kind}, {n_frames} frames, the first is used"


def _note_of_orientation(image: Image.Image) -> Iterator[str]:
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # as above; the pixels do not depend on it
        return
    if orientation in range(2, 9):
        yield f"EXIF orientation {orientation}, ignored"


# Of a file that none of the decoders takes.
UNIDENTIFIED_KINDS = ("not an image", "unsupported format", "damaged header or unsupported mode")

# What the texts of problem_of begin with. Such a photo cannot be shown either.
UNREADABLE_KINDS = (
    "missing file",
    "cannot be read",
    "empty file",
    "truncated",
    "damaged",
    "unsupported mode",
    *UNIDENTIFIED_KINDS,
    "decompression bomb",
    "changed while it was read",
)

# Those of a file that was not even opened. If it was there a moment ago, its disk has gone away.
NOT_OPENED_KINDS = ("missing file", "cannot be read")


CRASHES_DECODER = "damaged: it crashes the decoder"  # the process ends, so no exception tells it


def problem_of(path: Path, error: Exception) -> str:
    """A short reason that begins with one of ``UNREADABLE_KINDS``, without the machine's path in it."""
    if isinstance(error, FileNotFoundError):
        return "missing file"
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read: {error.strerror}"
    if isinstance(error, FileChanged):
        return "changed while it was read"
    try:
        with open(path, "rb") as file:
            start = file.read(START_BYTES)
    except OSError as now:  # it has gone away since
        return problem_of(path, now)
    of_path, of_name = (text.replace("; ", ", ") for text in (str(path), path.name))
    return problem_of_content(start, error).replace(of_path, of_name)


def problem_of_content(content: bytes, error: Exception) -> str:
    """As ``problem_of``, by the first ``START_BYTES`` of the file or more."""
    if not content:
        return "empty file"
    if isinstance(error, UnidentifiedImageError):
        return _unidentified(content[:START_BYTES])
    if isinstance(error, Image.DecompressionBombError):
        return f"decompression bomb, over {2 * Image.MAX_IMAGE_PIXELS / 1e6:.0f} million pixels"
    text = str(error).replace("; ", ", ")  # "; " stands between two problems
    if "truncated" in text.lower():
        return "truncated"
    is_unsupported = not isinstance(error, TypeError) and any(
        word in text.lower() for word in ("unsupported", "not supported", "raw mode")
    )
    return f"unsupported mode: {text}" if is_unsupported else f"damaged: {text}"


def _unidentified(head: bytes) -> str:
    """What a file is that none of the decoders takes."""
    for (start, magic), name in OTHER_FORMATS.items():
        if head[start:].startswith(magic):
            return f"unsupported format, {name}"
    for name in PHOTO_FORMATS:
        _, accepts = Image.OPEN[name]
        if accepts(head) is True:
            return f"damaged header or unsupported mode, {name}"
    return "not an image"


def read_photo_file(path: Path) -> bytes:
    """A file's bytes. OSError also for what must not be read into memory."""
    facts = path.stat()
    check_before_reading(stat.S_ISREG(facts.st_mode), facts.st_size)
    return path.read_bytes()


def check_before_reading(ends: bool, n_bytes: int | None) -> None:
    """OSError for what may never end, such as a pipe or a device, and for a file of over ``MAX_FILE_MB``."""
    if not ends:
        raise OSError(errno.EINVAL, "not a file")
    if n_bytes is not None and n_bytes > MAX_FILE_MB * 1e6:
        raise OSError(errno.EFBIG, f"larger than {MAX_FILE_MB} MB")


def file_sha256(path: str | Path) -> str:
    """Hex sha256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_hashed(path: str | Path, sha256: str) -> bytes:
    """A file's bytes, which have this hex sha256. OSError for one that cannot be read, FileChanged for other bytes."""
    content = Path(path).read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise FileChanged(f"{path} has changed since its hash was taken")
    return content


def thumbnail(path: str | Path, size: int = 160) -> Image.Image:
    """The whole photo inside a ``size`` x ``size`` grey square, for galleries; a grey square if it is gone."""
    try:
        with open_image(path) as image:
            image.draft("RGB", (2 * size, 2 * size))  # decodes a JPEG at a fraction of its size: several times faster
            photo = image.convert("RGB")
            photo.info = {}  # a comment in the file would be written into every picture made of it
    except UNREADABLE:
        return Image.new("RGB", (size, size), "#9a9a9a")
    return ImageOps.pad(photo, (size, size), color="#eeeeee")


def ahead(pool: Executor, work: Callable, items: Iterable, n: int) -> Iterator:
    """``work(item)`` for each item, in order; at most ``n`` items are worked on ahead of the reader.

    Mostly in threads: Pillow decodes and resizes outside the interpreter lock, and no pixels have to be copied
    between processes.
    """
    waiting = deque()
    for item in items:
        waiting.append(pool.submit(work, item))
        if len(waiting) > n:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
