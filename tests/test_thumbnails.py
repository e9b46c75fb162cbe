import io
import os

import numpy as np
import pytest
from conftest import save_photo
from PIL import Image

from s2p_lib.thumbnails import Thumbnails, photo_jpeg


@pytest.fixture
def photo(tmp_path):
    save_photo(tmp_path / "photos" / "anna.jpg", 0)
    return tmp_path / "photos" / "anna.jpg"


@pytest.fixture
def opened(monkeypatch):
    """The photos that were opened to make a thumbnail."""
    made = []
    monkeypatch.setattr("s2p_lib.thumbnails.picture", lambda path, *a: made.append(path) or Image.new("RGB", (9, 9)))
    return made


def pixels(jpeg: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(jpeg)), dtype=float)


def test_a_thumbnail_is_made_once(photo, tmp_path, opened):
    first = Thumbnails(tmp_path / "kept", "photos").jpeg(photo)
    assert Thumbnails(tmp_path / "kept", "photos").jpeg(photo) == first
    assert opened == [photo]


def test_a_changed_photo_another_size_or_another_way_gets_its_own(photo, tmp_path, opened):
    kept = tmp_path / "kept"
    Thumbnails(kept, "photos").jpeg(photo)
    Thumbnails(kept, "photos", size=90).jpeg(photo)
    os.utime(photo, ns=(1, 1))
    Thumbnails(kept, "photos").jpeg(photo)
    photo.write_bytes(photo.read_bytes() + b"x")
    os.utime(photo, ns=(1, 1))
    Thumbnails(kept, "photos").jpeg(photo)
    assert len(opened) == len(list((kept / "photos").iterdir())) == 4


def test_sharp_thumbnails_do_not_outlive_the_wish_to_see_photos(photo, tmp_path, opened):
    kept = tmp_path / "kept"
    Thumbnails(kept, "photos").jpeg(photo)
    Thumbnails(kept, "blurred").jpeg(photo)
    assert len(opened) == 2  # a blurred one is never taken from a sharp one, or the other way round
    assert [folder.name for folder in kept.iterdir()] == ["blurred"]


@pytest.mark.parametrize("how", ["photos", "blurred"])
@pytest.mark.parametrize("kind", ["JPEG", "GIF"])
def test_a_comment_in_the_photos_file_is_not_passed_on(tmp_path, how, kind):
    square = Image.new("RGB", (150, 150), "red")  # a photo that is not padded is not made anew
    square.save(tmp_path / "a.jpg", kind, comment=b"taken at home")
    assert b"taken at home" in (tmp_path / "a.jpg").read_bytes()
    assert b"taken at home" not in Thumbnails(tmp_path / "kept", how).jpeg(tmp_path / "a.jpg")


def test_no_name_of_a_photo_is_in_the_folder(photo, tmp_path):
    Thumbnails(tmp_path / "kept", "photos").jpeg(photo)
    assert not any("anna" in path.name for path in (tmp_path / "kept").rglob("*"))


def test_a_vanished_photo_is_a_grey_square_that_is_not_kept(photo, tmp_path):
    thumbnails = Thumbnails(tmp_path / "kept", "photos")
    for name in ("gone.jpg", "x" * 300, "nul\0"):
        assert pixels(thumbnails.jpeg(photo.parent / name)).std() < 1
    assert not (tmp_path / "kept").exists()


def test_with_scenes_no_photo_is_opened_and_nothing_kept(photo, tmp_path, opened):
    assert Thumbnails(tmp_path / "kept", "scenes").jpeg(photo) is None
    assert opened == []
    assert not (tmp_path / "kept").exists()


def test_a_blurred_thumbnail_lacks_the_detail_of_the_photo(photo):
    """Noise loses its contrast where 8 pixels a side are left of it."""
    sharp, blurred = (pixels(photo_jpeg(photo, how, 150)) for how in ("photos", "blurred"))
    assert np.abs(np.diff(blurred, axis=1)).mean() < 0.3 * np.abs(np.diff(sharp, axis=1)).mean()
