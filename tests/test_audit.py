import hashlib
import os
import signal
from pathlib import Path

import imagehash
import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageEnhance

from s2p_lib import audit, datasets, photos
from s2p_lib.samples import PROBLEM_COLUMNS

FAR = 0xFFFF << 48  # a hash that differs from small ones in 16 bits


def listed(tree) -> pd.DataFrame:
    return datasets.read("ipd", tree.dir).samples


def audited(tree) -> pd.DataFrame:
    return audit.audit_photos(listed(tree), tree.dir)


def photo(seed: int, size: tuple[int, int] = (160, 120)) -> Image.Image:
    """A picture of soft blotches, unlike that of another seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def table(**columns) -> pd.DataFrame:
    """A samples table of photos a, b, .. with a path, and ``split`` and ``label`` where they are not given."""
    n = len(next(iter(columns.values())))
    images = [chr(ord("a") + i) for i in range(n)]
    defaults = {"image": images, "path": [f"{image}.jpg" for image in images], "source": "s"}
    return pd.DataFrame(defaults | {"label": ["public"] * n, "split": ["train"] * n} | columns)


def facts(sha256: str, phash: list) -> pd.DataFrame:
    """An audit table of photos a, b, .. with these one-letter file hashes."""
    images = [chr(ord("a") + i) for i in range(len(phash))]
    hashes = pd.Series(phash, dtype=object).astype("UInt64")  # by way of object: no number becomes a float
    return pd.DataFrame({"image": images, "sha256": list(sha256), "phash": hashes})


def problems(*rows: tuple[str, str, str]) -> pd.DataFrame:
    """A problems table of (image, problem, action)."""
    return pd.DataFrame([(i, f"{i}.jpg", p, a) for i, p, a in rows], columns=PROBLEM_COLUMNS)


def test_a_good_photo_has_its_hash_its_size_and_nothing_to_tell(tree):
    checked = audited(tree).set_index("image")
    assert checked["problem"].isna().all()
    assert checked["note"].isna().all()
    assert checked.loc["p3", "sha256"] == hashlib.sha256(tree.photo(3).read_bytes()).hexdigest()
    assert checked.loc["p3", ["width", "height"]].tolist() == [32, 24]


def test_rows_follow_the_samples_and_problems_are_joined_by_name(tree):
    tree.photo(4).write_bytes(b"")
    samples = listed(tree).sample(frac=1, random_state=3)
    checked = audit.audit_photos(samples, tree.dir, workers=3)
    assert checked["image"].tolist() == samples["image"].tolist()
    _, bad = audit.leave_out_unreadable(samples, checked.sample(frac=1, random_state=4))
    assert bad["image"].tolist() == ["p4"]


def test_a_file_is_read_once(tree, monkeypatch):
    """It may be gone as soon as its bytes are there."""
    read_bytes = Path.read_bytes

    def read_and_remove(path: Path) -> bytes:
        content = read_bytes(path)
        path.unlink()
        return content

    monkeypatch.setattr(Path, "read_bytes", read_and_remove)
    assert audited(tree)["problem"].isna().all()


def test_unreadable_photos_are_left_out_with_a_reason(tree):
    tree.photo(0).write_bytes(b"")
    tree.photo(1).write_bytes(b"this is no photo")
    tree.photo(2).write_bytes(tree.photo(2).read_bytes()[:300])
    samples = listed(tree)
    tree.photo(3).unlink()  # gone between listing and reading
    tree.photo(4).unlink()
    tree.photo(4).mkdir()
    good, bad = audit.leave_out_unreadable(samples, audit.audit_photos(samples, tree.dir))
    assert bad.set_index("image")["problem"].to_dict() == {
        "p0": "empty file",
        "p1": "not an image",
        "p2": "truncated",
        "p3": "missing file",
        "p4": "cannot be read: not a file",
    }
    assert set(bad["action"]) == {"left out"}
    assert set(good["image"]) == {f"p{i}" for i in range(5, 12)}
    assert good.columns.tolist() == samples.columns.tolist()


def test_a_photo_that_crashes_the_decoder_is_named_and_the_others_are_checked(tree, monkeypatch):
    """Workers are forked from this process, so they have what is patched here."""
    deadly, open_with_notes = tree.photo(5).read_bytes(), audit.open_with_notes

    def open_or_die(file):
        if file.getvalue() == deadly:
            os.kill(os.getpid(), signal.SIGKILL)  # SIGSEGV would do too, with a long dump
        return open_with_notes(file)

    monkeypatch.setattr(audit, "open_with_notes", open_or_die)
    checked = audit.audit_photos(listed(tree), tree.dir, workers=1).set_index("image")
    assert checked["problem"].dropna().to_dict() == {"p5": "damaged: it crashes the decoder"}
    assert checked["sha256"].notna().sum() == 11


def test_a_pipe_is_not_waited_for(tree):
    samples = listed(tree)
    tree.photo(0).unlink()
    os.mkfifo(tree.photo(0))
    assert audit.audit_photos(samples, tree.dir)["problem"].dropna().tolist() == ["cannot be read: not a file"]


def test_a_very_large_file_is_not_read(tree, monkeypatch):
    monkeypatch.setattr(photos, "MAX_FILE_MB", 0.0001)
    monkeypatch.setattr(Path, "read_bytes", None)
    assert set(audited(tree)["problem"]) == {"cannot be read: larger than 0.0001 MB"}


def test_notes_become_problems_of_photos_that_are_used(tree):
    exif = Image.Exif()
    exif[0x0112] = 8
    photo(5).convert("CMYK").save(tree.photo(5), exif=exif)
    samples, checked = listed(tree), audited(tree)
    noted = audit.problems_of_notes(samples, checked)
    path = samples.set_index("image").loc["p5", "path"]
    text = "CMYK, converted without its colour profile; EXIF orientation 8, ignored"
    assert noted.values.tolist() == [["p5", path, text, "used"]]
    assert len(audit.leave_out_unreadable(samples, checked)[0]) == 12


def test_the_perceptual_hash_is_that_of_imagehash(tree):
    grid = photo(1, (256, 256))
    grid.save(tree.photo(1), format="PNG")
    expected = int(str(imagehash.phash(grid.reduce(8).convert("L"))), 16)
    assert audited(tree).set_index("image").loc["p1", "phash"] == expected


def test_photos_with_almost_no_contrast_are_noted_and_not_compared(tree):
    for i in range(6):
        Image.new("RGB", (40, 30), (10 * i, 0, 0)).save(tree.photo(i))
    checked = audited(tree)
    assert checked.dropna(subset="note").set_index("image")["note"].to_dict() == {
        f"p{i}": "almost no contrast, so it is not compared with other photos" for i in range(6)
    }
    assert audit.near_copies(listed(tree), checked).empty
    assert audit.copy_groups(checked).is_unique


COPIES = {
    "saved again": lambda image, file: image.save(file, quality=50),
    "half the size": lambda image, file: image.resize((image.width // 2, image.height // 2)).save(file, quality=88),
    "brighter": lambda image, file: ImageEnhance.Brightness(image).enhance(1.1).save(file, quality=88),
    "cropped": lambda image, file: image.crop((3, 2, image.width - 3, image.height - 2)).save(file, quality=88),
}


@pytest.fixture(scope="module")
def drawn(small_demo) -> pd.DataFrame:
    """Thirty different photos of the demo dataset, with absolute paths."""
    samples = datasets.read("demo", small_demo).samples.head(30)
    return samples.assign(path=[str(small_demo / path) for path in samples["path"]])


@pytest.mark.parametrize("kind", COPIES)
def test_an_altered_copy_is_found_beside_different_photos(drawn, tmp_path, kind):
    sources = drawn.tail(10)
    copies = sources.assign(image="copy of " + sources["image"], path=[f"{tmp_path}/{i}.jpg" for i in range(10)])
    for source, copy in zip(sources["path"], copies["path"]):
        COPIES[kind](photos.open_photo(source), copy)
    samples = pd.concat([drawn, copies], ignore_index=True)
    near = audit.near_copies(samples, audit.audit_photos(samples, "/")).set_index("image")
    assert near["nearest"].to_dict() == dict(zip(sources["image"], copies["image"])) | dict(
        zip(copies["image"], sources["image"])
    )


def test_different_photos_are_no_copies(drawn):
    checked = audit.audit_photos(drawn, "/")
    assert audit.near_copies(drawn, checked).empty
    assert audit.find_copies(drawn, checked).empty
    assert audit.copy_groups(checked).is_unique


def test_photos_are_near_up_to_the_limit_and_no_further():
    checked = facts("abc", [0, 2**audit.MAX_BITS - 1, FAR])
    near = audit.near_copies(table(label=["public"] * 3), checked)
    assert near[["image", "nearest", "bits"]].values.tolist() == [["a", "b", 4], ["b", "a", 4]]
    too_far = facts("ab", [0, 2 ** (audit.MAX_BITS + 1) - 1])
    assert audit.near_copies(table(label=["public"] * 2), too_far).empty


def test_photos_that_are_near_through_others_are_one_group_and_the_nearest_is_named():
    checked = facts("abcde", [0xFF, 0x0F, 0x01, FAR, FAR ^ 3])
    samples = table(label=["public"] * 5).iloc[[3, 4, 2, 0, 1]]  # in any order
    near = audit.near_copies(samples, checked)
    assert near[["group", "image", "nearest", "bits"]].values.tolist() == [
        [0, "d", "e", 2],
        [0, "e", "d", 2],
        [1, "a", "b", 4],
        [1, "b", "c", 3],
        [1, "c", "b", 3],
    ]


def test_exact_copies_are_near_copies_only_of_other_files():
    checked = facts("aab", [1, 1, 3])
    samples = table(label=["public"] * 3)
    near = audit.near_copies(samples, checked)
    assert near[["image", "nearest", "bits"]].values.tolist() == [["a", "c", 1], ["b", "c", 1], ["c", "a", 1]]
    assert audit.near_copies(samples.head(2), checked.head(2)).empty
    assert audit.find_copies(samples, checked)["image"].tolist() == ["a", "b"]


def test_the_comparison_in_blocks_is_that_of_all_pairs(monkeypatch):
    monkeypatch.setattr(audit, "HASHES_AT_ONCE", 7)
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, 100, dtype=np.uint64)
    hashes = np.concatenate([hashes, hashes[:40] ^ np.uint64(0b101), hashes[:20] ^ np.uint64(1 << 63)])
    rng.shuffle(hashes)
    group, nearest, bits = audit._compare(hashes)
    differ = np.bitwise_count(hashes[:, None] ^ hashes).astype(int) + 100 * np.eye(len(hashes), dtype=int)
    is_near = differ.min(axis=1) <= audit.MAX_BITS
    assert np.array_equal(bits <= audit.MAX_BITS, is_near)
    assert np.array_equal(bits[is_near], differ.min(axis=1)[is_near])
    assert np.array_equal(differ[is_near, nearest[is_near]], bits[is_near])
    assert len(np.unique(group)) == 100
    assert (group[differ.argmin(axis=1)] == group)[is_near].all()


def test_without_photos_nothing_is_compared():
    assert [part.tolist() for part in audit._compare(np.zeros(0, np.uint64))] == [[], [], []]


def test_exact_and_near_copies_share_a_group_and_others_do_not():
    checked = facts("aabcdde", [1, 1, 3, FAR, None, None, None])
    checked.loc[6, "sha256"] = None  # unreadable
    checked = pd.concat([checked, facts("z", [None]).assign(image="z", sha256=None)], ignore_index=True)
    groups = audit.copy_groups(checked)
    assert groups.index.tolist() == [*"abcdefg", "z"]
    assert groups.tolist() == [0, 0, 0, 1, 2, 2, 3, 4]


def test_a_copy_in_another_split_is_found(tree):
    tree.photo(10).write_bytes(tree.photo(4).read_bytes())
    copies = audit.find_copies(listed(tree), audited(tree))
    assert copies[["image", "split"]].values.tolist() == [["p10", "test"], ["p4", "train"]]
    found = audit.problems_of_copies(copies)
    assert found["problem"].tolist() == ["same file as another photo, in test, train"] * 2
    assert set(found["action"]) == {"used"}


def test_unreadable_photos_are_not_copies_of_each_other(tree):
    for i in (4, 5):
        tree.photo(i).write_bytes(b"")
    assert audit.find_copies(listed(tree), audited(tree)).empty


def test_copies_with_different_labels_say_so():
    samples = table(label=["private", "public", "public", "public"])
    found = audit.problems_of_copies(audit.find_copies(samples, facts("aabb", [1, 1, FAR, FAR])))
    assert found["problem"].tolist() == [
        "same file as another photo, in train, labelled private, public",
        "same file as another photo, in train, labelled private, public",
        "same file as another photo, in train",
        "same file as another photo, in train",
    ]


def test_near_copies_say_which_how_near_and_where():
    samples = table(label=["private", "public", "public"], split=["train", "test", "test"])
    found = audit.problems_of_near_copies(audit.near_copies(samples, facts("abc", [0, 7, FAR])))
    where = "in test, train, labelled private, public"
    assert found.values.tolist() == [
        ["a", "a.jpg", f"nearly the same as another photo: b (3 of 64 bits differ), {where}", "used"],
        ["b", "b.jpg", f"nearly the same as another photo: a (3 of 64 bits differ), {where}", "used"],
    ]


def test_without_splits_copies_say_nothing_of_splits():
    samples = table(label=["private", "public"], split=[None, None])
    exact = audit.problems_of_copies(audit.find_copies(samples, facts("aa", [1, 1])))
    near = audit.problems_of_near_copies(audit.near_copies(samples, facts("ab", [1, 1])))
    assert exact["problem"][0] == "same file as another photo, labelled private, public"
    assert near["problem"][0] == ("nearly the same as another photo: b (0 of 64 bits differ), labelled private, public")


def test_without_copies_there_are_no_problems_of_copies(tree):
    samples, checked = listed(tree), audited(tree)
    assert audit.problems_of_copies(audit.find_copies(samples, checked)).empty
    assert audit.problems_of_near_copies(audit.near_copies(samples, checked)).empty


def test_all_problems_of_a_photo_stand_in_one_row(tree):
    other = tree.dir / "curated_vispr" / "imgs" / "batch05"
    other.mkdir()
    tree.photo(1).rename(other / "p1.jpg").write_bytes(b"")  # moved, and unreadable
    samples, moved, *_ = datasets.read("ipd", tree.dir)
    _, unreadable = audit.leave_out_unreadable(samples, audit.audit_photos(samples, tree.dir))
    (row,) = audit.one_row_per_image([moved, unreadable]).to_dict("records")
    assert row["problem"] == "in another batch folder than listed (batch00/p1.jpg); empty file"
    assert row["action"] == "left out"


def test_on_bad_photo_stop_names_the_first(tree):
    tree.photo(4).write_bytes(b"")
    _, bad = audit.leave_out_unreadable(listed(tree), audited(tree))
    audit.stop_on_bad_photo(bad, "report")
    with pytest.raises(ValueError, match=r"1 photo\(s\) cannot be used.*p4\.jpg: empty file"):
        audit.stop_on_bad_photo(bad, "stop")


def test_a_photo_that_is_used_stops_nothing():
    audit.stop_on_bad_photo(problems(("a", "EXIF orientation 6, ignored", "used")), "stop")


def test_photos_are_counted_by_the_kind_of_each_of_their_problems():
    found = problems(
        ("a", "EXIF orientation 6, ignored", "used"),
        ("b", "CMYK, converted without its colour profile; EXIF orientation 6, ignored", "used"),
        ("c", "in another batch folder than listed (batch01/c.jpg); empty file", "left out"),
        ("d", "in another batch folder than listed (batch01/d.jpg)", "used"),
        ("e", "CMYK, one text; CMYK, another", "used"),
    )
    assert audit.counts_by_kind(found).values.tolist() == [
        ["CMYK", 2, "used"],
        ["EXIF orientation 6", 2, "used"],
        ["empty file", 1, "left out"],
        ["in another batch folder than listed", 1, "left out"],
        ["in another batch folder than listed", 1, "used"],
    ]


def test_without_problems_there_are_no_kinds(tmp_path):
    assert audit.counts_by_kind(problems()).empty
    assert audit.examples(problems(), tmp_path).empty


def test_examples_are_a_few_photos_of_each_kind_that_can_be_shown(tmp_path):
    found = problems(
        *((i, "same file as another photo, in test", "used") for i in "abcd"),
        ("e", "truncated", "left out"),
        ("f", "no valid label in labels.csv", "left out"),
        ("g", "no valid label in labels.csv", "left out"),
    )
    for image in "abcdeg":
        photo(1).save(tmp_path / f"{image}.jpg")
    found = pd.concat([found, problems(("h", "no photo listed", "left out")).assign(path=None)])
    shown = audit.examples(found, tmp_path, n=3)
    assert shown[["kind", "image"]].values.tolist() == [
        ["no valid label in labels.csv", "g"],
        *(["same file as another photo", image] for image in "abc"),
    ]
    assert shown.columns.tolist() == ["kind", *PROBLEM_COLUMNS]


def test_no_text_holds_the_place_of_the_dataset(tree):
    for i in range(0, 8):
        tree.photo(i).write_bytes(tree.photo(i).read_bytes()[: 40 * i])
    checked = audited(tree)
    assert checked["problem"].notna().sum() == 8
    assert not checked["problem"].dropna().str.contains(str(tree.dir)).any()


def test_copies_are_counted_by_what_differs_between_them():
    samples = table(label=["private", "public", "public", "public"], split=["train", "train", "train", "test"])
    checked = facts("aabc", [1, 1, FAR, FAR ^ 1])
    found = audit.Audited(samples, problems(), audit.find_copies(samples, checked), audit.near_copies(samples, checked))
    assert audit.count_copies(found).to_dict("index") == {
        "exact copies": {"photos": 2, "groups": 1, "across splits": 0, "across labels": 1},
        "near copies": {"photos": 2, "groups": 1, "across splits": 1, "across labels": 0},
    }


def finished(data_dir, dataset="ipd", fold=0) -> audit.Audited:
    listing = datasets.read(dataset, data_dir, fold)
    checked = audit.audit_photos(listing.samples, data_dir)
    found = audit.put_together(listing, checked)
    return found._replace(samples=audit.with_split(listing, found.samples, checked, fold))


def test_listing_and_audit_become_samples_and_one_table_of_problems(tree):
    tree.photo(0).write_bytes(b"")
    tree.photo(1).unlink()
    tree.photo(10).write_bytes(tree.photo(4).read_bytes())
    found = finished(tree.dir)
    assert set(found.samples["image"]) == {f"p{i}" for i in range(2, 12)}
    problems = found.problems.set_index("image")
    assert problems["action"].to_dict() == {"p0": "left out", "p1": "left out", "p4": "used", "p10": "used"}
    assert audit.count_copies(found).loc["exact copies"].tolist() == [2, 1, 1, 0]
    assert audit.count_copies(found).loc["near copies"].tolist() == [0, 0, 0, 0]


def test_a_dataset_without_a_split_gets_one_that_keeps_copies_together(own_photos):
    original = Image.open(own_photos / "private" / "IMG 1.jpg")
    pixels = np.asarray(original.resize((320, 240), Image.Resampling.BICUBIC))
    for quality in (60, 75, 95):
        Image.fromarray(pixels).save(own_photos / "private" / f"again {quality}.jpg", quality=quality)
    found = finished(own_photos, "folder")
    again = found.samples[found.samples["image"].str.startswith("again")]
    assert len(again) == 3
    assert again["split"].nunique() == 1
    assert set(found.samples["split"]) == {"train", "val", "test"}
    assert audit.count_copies(found).loc["near copies", "across splits"] == 0


def test_a_published_split_is_left_as_it_is(tree):
    assert finished(tree.dir).samples.equals(datasets.read("ipd", tree.dir).samples)


def test_the_problems_are_known_before_a_split_is_made(own_photos):
    """Else the reason why there are too few photos for a split would be lost."""
    for file in (own_photos / "private").rglob("*.jpg"):
        file.write_bytes(b"")
    listing = datasets.read("folder", own_photos)
    checked = audit.audit_photos(listing.samples, own_photos)
    found = audit.put_together(listing, checked)
    assert audit.counts_by_kind(found.problems).values.tolist() == [["empty file", 12, "left out"]]
    with pytest.raises(ValueError, match=r"there are 0 private, 18 public\. audit\.csv tells"):
        audit.with_split(listing, found.samples, checked, 0)


def test_a_published_split_stays_published_when_no_photo_is_left(tree):
    for i in range(12):
        tree.photo(i).write_bytes(b"")
    assert finished(tree.dir).samples.empty
