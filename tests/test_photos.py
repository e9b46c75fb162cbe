import io
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from s2p_lib import photos

PIXELS = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
RGB = Image.fromarray(PIXELS)
UPRIGHT, TURNED = Image.Exif(), Image.Exif()
UPRIGHT[0x0112] = 1
TURNED[0x0112] = 6  # "turn by 90 degrees"


def encoded(image: Image.Image, format: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def png(width: int, height: int, bits: int, colour_type: int, rows: bytes) -> bytes:
    """A PNG from its parts; ``rows`` begin with their filter byte. Its header may claim more than there is."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


GREY_16 = Image.fromarray(np.array([[0, 100, 255, 256, 1000, 65535]], dtype=np.uint16))
RGB_16 = png(2, 1, 16, 2, b"\0" + np.array([0, 255, 256, 1000, 30000, 65535], dtype=">u2").tobytes())
# Two pixels of 5 bits red, 6 green, 5 blue; the channels' masks follow the header of 54 bytes.
BITMAP_16 = (
    struct.pack("<2sIHHI", b"BM", 70, 0, 0, 66)
    + struct.pack("<IiiHHIIiiII", 40, 2, 1, 1, 16, 3, 4, 0, 0, 0, 0)
    + struct.pack("<III", 0xF800, 0x07E0, 0x001F)
    + struct.pack("<HH", 0xF800, 0x001F)
)
FRAMES = [RGB.rotate(90 * i) for i in range(1, 4)]
LAST_FRAME_DAMAGED = encoded(RGB.convert("P"), "GIF", save_all=True, append_images=FRAMES)[:-740]

# What a photo can be that is used: (file name, content, the notes on it).
USED = {
    "plain JPEG": ("a.jpg", encoded(RGB, "JPEG"), []),
    "plain PNG": ("a.png", encoded(RGB, "PNG"), []),
    "grey JPEG": ("a.jpg", encoded(RGB.convert("L"), "JPEG"), []),
    "palette GIF": ("a.gif", encoded(RGB.convert("P"), "GIF"), []),
    "upright by EXIF": ("a.jpg", encoded(RGB, "JPEG", exif=UPRIGHT), []),
    "turned JPEG": ("a.jpg", encoded(RGB, "JPEG", exif=TURNED), ["EXIF orientation 6, ignored"]),
    "turned PNG": ("a.png", encoded(RGB, "PNG", exif=TURNED), ["EXIF orientation 6, ignored"]),
    "turned TIFF, which Pillow turns back itself": ("a.tif", encoded(RGB, "TIFF", exif=TURNED), []),
    "damaged EXIF": ("a.webp", encoded(RGB, "WEBP", exif=b"no EXIF at all"), []),
    "animated GIF": (
        "a.gif",
        encoded(RGB.convert("P"), "GIF", save_all=True, append_images=FRAMES),
        ["animated, 4 frames, the first is used"],
    ),
    "GIF that ends in its last frame": (
        "a.gif",
        LAST_FRAME_DAMAGED,
        ["animated, damaged after the first, which is used"],
    ),
    "animated WEBP": (
        "a.webp",
        encoded(RGB, "WEBP", save_all=True, append_images=FRAMES),
        ["animated, 4 frames, the first is used"],
    ),
    "pages of a TIFF": (
        "a.tif",
        encoded(RGB, "TIFF", save_all=True, append_images=FRAMES),
        ["several pictures, 4 frames, the first is used"],
    ),
    "two pictures of a phone": (
        "a.jpg",
        encoded(RGB, "MPO", save_all=True, append_images=FRAMES[:1]),
        ["several pictures, 2 frames, the first is used"],
    ),
    "16-bit grey": ("a.png", encoded(GREY_16, "PNG"), ["16 bits a channel, all above 255 becomes white"]),
    "16-bit colour": ("a.png", RGB_16, ["16 bits a channel, the upper 8 are used"]),
    "float TIFF": (
        "a.tif",
        encoded(Image.fromarray(np.array([[-5, 0.6, 254.7, 300]], dtype=np.float32)), "TIFF"),
        ["32 bits a channel, all below 0 becomes black and all above 255 white"],
    ),
    "CMYK": ("a.jpg", encoded(RGB.convert("CMYK"), "JPEG"), ["CMYK, converted without its colour profile"]),
    "palette with transparency": (
        "a.png",
        encoded(RGB.convert("P"), "PNG", transparency=bytes(range(256))),
        ["palette with transparency, which is dropped"],
    ),
    "RGBA": ("a.png", encoded(RGB.convert("RGBA"), "PNG"), ["transparency, which is dropped"]),
    "LA": ("a.png", encoded(RGB.convert("LA"), "PNG"), ["transparency, which is dropped"]),
    "one transparent colour": (
        "a.png",
        encoded(RGB, "PNG", transparency=(1, 2, 3)),
        ["transparency, which is dropped"],
    ),
    "a bitmap of 16 bits for all channels": ("a.bmp", BITMAP_16, []),
    "turned and CMYK": (
        "a.jpg",
        encoded(RGB.convert("CMYK"), "JPEG", exif=TURNED),
        ["CMYK, converted without its colour profile", "EXIF orientation 6, ignored"],
    ),
}

# What a file can be that cannot be used: (content, the problem).
UNUSABLE = {
    "empty": (b"", "empty file"),
    "text": (b"this is no photo", "not an image"),
    "web page": (b"<!DOCTYPE html><html><body>Photo removed</body></html>", "not an image"),
    "EPS": (encoded(RGB, "EPS"), "unsupported format, EPS"),
    "AVIF": (b"\0\0\0\x1cftypavif\0\0\0\0", "unsupported format, AVIF"),
    "truncated JPEG": (encoded(RGB, "JPEG")[:-100], "truncated"),
    "JPEG cut in its header": (encoded(RGB, "JPEG")[:200], "truncated"),
    "truncated PNG": (encoded(RGB, "PNG")[:-200], "truncated"),
    "bomb": (png(20_000, 20_000, 8, 2, b""), "decompression bomb, over 179 million pixels"),
    "TIFF of an unknown mode": (
        encoded(RGB, "TIFF", tiffinfo={262: 9}),
        "damaged header or unsupported mode, TIFF",
    ),
    "PNG with a damaged part": (
        encoded(RGB, "PNG").replace(b"IDAT", b"I\0\0\0", 1),
        "damaged",
    ),
}


def as_the_released_loader(path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
@pytest.mark.parametrize("kind", USED)
def test_the_pixels_are_those_of_the_released_loader(tmp_path, kind):
    name, content, _ = USED[kind]
    (tmp_path / name).write_bytes(content)
    expected = as_the_released_loader(tmp_path / name)
    photo, _ = photos.open_with_notes(io.BytesIO(content))
    assert np.array_equal(np.asarray(photo), expected)
    assert np.array_equal(np.asarray(photos.open_photo(tmp_path / name)), expected)


@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
@pytest.mark.parametrize("kind", USED)
def test_what_is_special_about_a_photo_is_noted(kind):
    _, content, notes = USED[kind]
    assert photos.open_with_notes(io.BytesIO(content))[1] == notes


def test_exif_orientation_is_ignored_as_in_the_released_loader(tmp_path):
    RGB.save(tmp_path / "a.png", exif=TURNED)
    assert np.array_equal(np.asarray(photos.open_photo(tmp_path / "a.png")), PIXELS)


def test_16_bit_grey_is_cut_off_at_255_as_its_note_says():
    photo, _ = photos.open_with_notes(io.BytesIO(encoded(GREY_16, "PNG")))
    assert np.asarray(photo)[0, :, 0].tolist() == [0, 100, 255, 255, 255, 255]


def test_of_16_bit_colours_the_upper_8_bits_are_used_as_their_note_says():
    photo, _ = photos.open_with_notes(io.BytesIO(RGB_16))
    assert np.asarray(photo).ravel().tolist() == [0, 0, 1, 1000 // 256, 30000 // 256, 255]


def test_a_photo_between_pillows_two_limits_is_used_without_a_warning_and_noted(tmp_path, monkeypatch, recwarn):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 24 * 32 - 1)
    RGB.save(tmp_path / "a.png")
    photo, notes = photos.open_with_notes(io.BytesIO((tmp_path / "a.png").read_bytes()))
    assert photo.size == (32, 24)
    assert [note.split()[0] for note in notes] == ["over"]


@pytest.mark.parametrize("kind", UNUSABLE)
def test_a_file_that_cannot_be_used_has_a_problem(tmp_path, kind):
    content, problem = UNUSABLE[kind]
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(photos.UNREADABLE) as raised:
        photos.open_photo(tmp_path / "a.jpg")
    text = photos.problem_of(tmp_path / "a.jpg", raised.value)
    assert text.startswith(problem)
    assert str(tmp_path) not in text
    assert text.split(",")[0].split(":")[0] in photos.UNREADABLE_KINDS


def test_a_photo_that_is_gone_is_missing(tmp_path):
    with pytest.raises(photos.UNREADABLE) as raised:
        photos.open_photo(tmp_path / "a.jpg")
    assert photos.problem_of(tmp_path / "a.jpg", raised.value) == "missing file"


def test_a_photo_that_goes_away_while_it_is_judged_is_missing(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"no photo")
    with pytest.raises(photos.UNREADABLE) as raised:
        photos.open_photo(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").unlink()
    assert photos.problem_of(tmp_path / "a.jpg", raised.value) == "missing file"


def test_a_file_is_read_with_the_hash_it_has_and_with_no_other(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"before")
    sha256 = photos.file_sha256(tmp_path / "a.jpg")
    assert photos.read_hashed(tmp_path / "a.jpg", sha256) == b"before"
    (tmp_path / "a.jpg").write_bytes(b"after")
    with pytest.raises(photos.UNREADABLE) as raised:
        photos.read_hashed(tmp_path / "a.jpg", sha256)
    text = photos.problem_of(tmp_path / "a.jpg", raised.value)
    assert text == "changed while it was read"
    assert text in photos.UNREADABLE_KINDS


def test_a_folder_named_like_a_photo_cannot_be_read(tmp_path):
    (tmp_path / "a.jpg").mkdir()
    with pytest.raises(photos.UNREADABLE) as raised:
        photos.open_photo(tmp_path / "a.jpg")
    assert photos.problem_of(tmp_path / "a.jpg", raised.value) == "cannot be read: Is a directory"


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (
            ValueError("conversion from X to RGB not supported"),
            "unsupported mode: conversion from X to RGB not supported",
        ),
        (SyntaxError("broken PNG file; chunk 1"), "damaged: broken PNG file, chunk 1"),
    ],
)
def test_other_errors_keep_their_text_without_what_separates_problems(tmp_path, error, problem):
    (tmp_path / "a.jpg").write_bytes(b"x")
    assert photos.problem_of(tmp_path / "a.jpg", error) == problem


def test_no_other_decoder_than_those_of_photos_sees_a_file(tmp_path):
    (tmp_path / "a.ppm").write_bytes(b"P6 1 1 255 abc")
    assert Image.open(tmp_path / "a.ppm").size == (1, 1)
    with pytest.raises(photos.UNREADABLE):
        photos.open_photo(tmp_path / "a.ppm")


def test_a_thumbnail_of_a_lost_photo_is_a_grey_square(tmp_path):
    image = photos.thumbnail(tmp_path / "gone.jpg", size=40)
    assert image.size == (40, 40)
    assert len(image.getcolors()) == 1


def test_work_is_done_in_order_and_only_so_far_ahead():
    taken = []

    def items():
        for i in range(20):
            taken.append(i)
            yield i

    with ThreadPoolExecutor(2) as pool:
        results = photos.ahead(pool, lambda i: i * i, items(), 5)
        assert next(results) == 0
        assert len(taken) == 6
        assert list(results) == [i * i for i in range(1, 20)]


def test_a_file_that_makes_pillow_fail_in_an_unusual_way_is_unreadable_too(tmp_path):
    """Its table says that the place of the pixels is a text."""
    content = encoded(RGB, "TIFF")
    start = content.index(struct.pack("<H", 273) + struct.pack("<H", 4))  # StripOffsets, a number
    (tmp_path / "a.tif").write_bytes(content[: start + 2] + struct.pack("<H", 2) + content[start + 4 :])
    with pytest.raises(photos.UNREADABLE) as error:
        photos.open_photo(tmp_path / "a.tif")
    assert photos.problem_of(tmp_path / "a.tif", error.value).split(":")[0] in photos.UNREADABLE_KINDS
