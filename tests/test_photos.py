import numpy as np
import pytest
from PIL import Image

from s2p_lib import photos, samples


def test_exif_orientation_is_ignored_as_in_the_released_loader(tmp_path):
    pixels = np.arange(8 * 4 * 3, dtype=np.uint8).reshape(8, 4, 3)
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn by 90 degrees"
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(np.asarray(photos.open_photo(tmp_path / "a.png")), pixels)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "I;16"])
def test_every_colour_mode_becomes_rgb(tmp_path, mode):
    name = tmp_path / ("a.tiff" if mode == "CMYK" else "a.png")
    Image.new("I;16" if mode == "I;16" else mode, (5, 4)).save(name)
    assert photos.open_photo(name).mode == "RGB"


def test_a_format_that_can_start_programs_is_not_opened(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.eps")
    (tmp_path / "a.eps").rename(tmp_path / "a.jpg")
    with pytest.raises(photos.UNREADABLE):
        photos.open_photo(tmp_path / "a.jpg")


def test_unreadable_photos_are_left_out_with_a_reason(tree):
    tree.photo(0).write_bytes(b"")
    tree.photo(1).write_bytes(b"this is no photo")
    tree.photo(2).write_bytes(tree.photo(2).read_bytes()[:300])
    table, _ = samples.read_ipd(tree.dir)
    tree.photo(3).unlink()  # gone between listing and reading
    audit = photos.audit_photos(table, tree.dir)
    good, problems = photos.leave_out_unreadable(table, audit)
    photos.stop_on_bad_photo(problems, "report")
    reasons = problems.set_index("image")["problem"]
    assert set(reasons.index) == {"p0", "p1", "p2", "p3"}
    assert len(good) == 8
    assert reasons["p0"] == "empty file"
    assert reasons["p3"] == "missing file"
    assert str(tree.dir) not in " ".join(reasons)


def test_on_bad_photo_stop_names_the_first(tree):
    tree.photo(4).write_bytes(b"")
    table, _ = samples.read_ipd(tree.dir)
    audit = photos.audit_photos(table, tree.dir)
    _, problems = photos.leave_out_unreadable(table, audit)
    with pytest.raises(ValueError, match=r"1 photo\(s\) cannot be used.*p4\.jpg: empty file"):
        photos.stop_on_bad_photo(problems, "stop")


def test_audit_is_joined_by_name(tree):
    table, _ = samples.read_ipd(tree.dir)
    tree.photo(4).write_bytes(b"")
    audit = photos.audit_photos(table, tree.dir).sample(frac=1, random_state=3)
    _, problems = photos.leave_out_unreadable(table, audit)
    assert problems["image"].tolist() == ["p4"]


def test_a_copy_in_another_split_is_found(tree):
    tree.photo(10).write_bytes(tree.photo(4).read_bytes())
    table, _ = samples.read_ipd(tree.dir)
    copies = photos.find_copies(table, photos.audit_photos(table, tree.dir))
    assert copies[["image", "split"]].values.tolist() == [["p10", "test"], ["p4", "train"]]
    problems = photos.problems_of_copies(copies)
    assert problems["problem"].tolist() == ["same file as another photo, in test, train"] * 2
    assert set(problems["action"]) == {"used"}


def test_without_copies_there_are_no_problems_of_copies(tree):
    table, _ = samples.read_ipd(tree.dir)
    copies = photos.find_copies(table, photos.audit_photos(table, tree.dir))
    assert photos.problems_of_copies(copies).empty


def test_all_problems_of_a_photo_stand_in_one_row(tree):
    other = tree.dir / "curated_vispr" / "imgs" / "batch05"
    other.mkdir()
    tree.photo(1).rename(other / "p1.jpg").write_bytes(b"")  # moved, and unreadable
    table, moved = samples.read_ipd(tree.dir)
    _, unreadable = photos.leave_out_unreadable(table, photos.audit_photos(table, tree.dir))
    (row,) = photos.one_row_per_image([moved, unreadable]).to_dict("records")
    assert row["problem"] == "in another batch folder than listed (batch00/p1.jpg); empty file"
    assert row["action"] == "left out"


def test_unreadable_photos_are_not_copies_of_each_other(tree):
    for i in (4, 5):
        tree.photo(i).write_bytes(b"")
    table, _ = samples.read_ipd(tree.dir)
    audit = photos.audit_photos(table, tree.dir)
    good, _ = photos.leave_out_unreadable(table, audit)
    assert photos.find_copies(good, audit).empty


def test_a_thumbnail_of_a_lost_photo_is_a_grey_square(tmp_path):
    image = photos.thumbnail(tmp_path / "gone.jpg", size=40)
    assert image.size == (40, 40)
    assert len(image.getcolors()) == 1


def test_hashes_are_those_of_the_files(tree):
    import hashlib

    table, _ = samples.read_ipd(tree.dir)
    audit = photos.audit_photos(table, tree.dir)
    expected = [hashlib.sha256((tree.dir / path).read_bytes()).hexdigest() for path in table["path"]]
    assert audit["sha256"].tolist() == expected
