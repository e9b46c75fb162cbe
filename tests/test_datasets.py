import json
import os
import shutil

import pandas as pd
import pytest
from conftest import save_photo

from s2p_lib import datasets, samples


def test_labels_and_splits_are_joined_by_name_not_by_row_order(tree):
    tree.labels = tree.labels.sample(frac=1, random_state=1)
    tree.write()
    table, problems, *_ = datasets.read("ipd", tree.dir)
    by_name = table.set_index("image")
    assert len(table) == 12
    assert problems.empty
    assert set(by_name.index[by_name["label"] == "private"]) == {"p0", "p1", "p2", "p3"}
    assert by_name.loc["p2", "split"] == "val"
    assert by_name.loc["p0", "path"] == "curated_vispr/imgs/batch00/p0.jpg"


def test_reference_dataset_is_read_completely(reference, tmp_path):
    import subprocess
    import sys

    subprocess.run([sys.executable, reference / "make_reference_ipd.py", tmp_path / "ipd"], check=True)
    table, problems, *_ = datasets.read("ipd", tmp_path / "ipd")
    assert problems.empty
    assert table["split"].value_counts().to_dict() == {"train": 28, "val": 10, "test": 10}


def test_a_moved_dataset_does_not_need_the_authors_paths(tree):
    moved = tree.dir.rename(tree.dir.with_name("moved"))
    table, *_ = datasets.read("ipd", moved)
    assert all((moved / path).is_file() for path in table["path"])


def test_a_photo_in_another_batch_is_found_by_name_and_reported(tree):
    other = tree.dir / "curated_picalert" / "imgs" / "batch07"
    other.mkdir()
    tree.photo(6).rename(other / "p6.jpg")
    table, problems, *_ = datasets.read("ipd", tree.dir)
    assert table.set_index("image").loc["p6", "path"] == "curated_picalert/imgs/batch07/p6.jpg"
    assert problems[["image", "action"]].values.tolist() == [["p6", "used"]]


def test_whatever_cannot_be_a_sample_is_reported_once(tree):
    tree.photo(5).unlink()
    tree.labels.loc[6, "Label 2-class"] = -1
    tree.labels.loc[7, "Fold 0"] = -1
    tree.entries = [e for e in tree.entries if e["image"] != "p8"]  # labelled, but no photo listed
    tree.labels = tree.labels[tree.labels["Image Name"] != "p9"]  # listed, but not labelled
    tree.write()
    table, problems, *_ = datasets.read("ipd", tree.dir)
    assert len(table) + len(problems) == 12
    assert set(problems["image"]) == {"p5", "p6", "p7", "p8", "p9"}
    assert set(problems["action"]) == {"left out"}
    assert problems.set_index("image")["problem"].str.contains("missing file")["p5"]


@pytest.mark.parametrize("column", ["Image Name", "Label 2-class", "Fold 0"])
def test_a_label_file_without_a_needed_column_names_it(tree, column):
    tree.labels = tree.labels.rename(columns={column: "Something else"})
    tree.write()
    with pytest.raises(ValueError, match=rf"lacks the column.*{column}"):
        datasets.read("ipd", tree.dir)


def test_only_the_bad_row_of_a_mixed_column_is_named(tree):
    tree.labels["Label 2-class"] = tree.labels["Label 2-class"].astype(object)
    tree.labels.loc[5, "Label 2-class"] = "?"
    tree.write()
    with pytest.raises(ValueError, match=r"image p5 holds '\?' \(1 such"):
        datasets.read("ipd", tree.dir)


def test_codes_written_as_floats_are_read(tree):
    tree.labels["Label 2-class"] = tree.labels["Label 2-class"].astype(float)
    tree.write()
    assert len(datasets.read("ipd", tree.dir)[0]) == 12


@pytest.mark.parametrize("names", [["NA", "null"], ["007", "1e5"]])
def test_names_that_look_like_numbers_or_nothing_are_names(tree, names):
    for i, name in enumerate(names):
        tree.labels.loc[i, "Image Name"] = name
        tree.entries[i]["image"] = name
    tree.write()
    table, problems, *_ = datasets.read("ipd", tree.dir)
    assert problems.empty
    assert set(names) <= set(table["image"])


def test_names_written_as_numbers_in_the_photo_index_are_joined(tree):
    tree.labels.loc[0, "Image Name"] = "4711"
    tree.entries[0]["image"] = 4711
    tree.write()
    assert "4711" in set(datasets.read("ipd", tree.dir)[0]["image"])


@pytest.mark.parametrize("content", ["", '"a', b"Image Name\n\xe9\n"])
def test_a_label_file_that_is_no_table_is_named(tree, content):
    path = tree.annotations / "labels_splits.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=r"labels_splits\.csv"):
        datasets.read("ipd", tree.dir)


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"datasets": [], "annotations": []}',
        '{"datasets": {}, "annotations": []}',
        '{"datasets": {}, "annotations": [{"image": "a", "dataset": "vispr"}]}',
        '{"datasets": {}, "annotations": [{"image": "a", "dataset": null, "fullpath": "a/b.jpg"}]}',
    ],
)
def test_a_photo_index_that_cannot_be_used_is_named(tree, content):
    (tree.annotations / "ipd_imgs_curated.json").write_text(content)
    with pytest.raises(ValueError, match=r"ipd_imgs_curated\.json"):
        datasets.read("ipd", tree.dir)


def test_a_path_with_a_dot_is_the_same_path(tree):
    tree.entries[0]["fullpath"] = "./batch00/p0.jpg"
    tree.write()
    assert datasets.read("ipd", tree.dir)[1].empty


def test_a_name_in_two_other_batches_is_not_guessed(tree):
    for batch in ("batch07", "batch08"):
        other = tree.dir / "curated_picalert" / "imgs" / batch
        other.mkdir()
        (other / "p6.jpg").write_bytes(tree.photo(6).read_bytes())
    tree.photo(6).unlink()
    table, problems, *_ = datasets.read("ipd", tree.dir)
    assert "p6" not in set(table["image"])
    assert "batch07/p6.jpg, batch08/p6.jpg" in problems["problem"][0]


def test_published_folds_show_sizes_shares_and_the_common_test(tree):
    tree.labels["Fold 1"] = tree.labels["Fold 0"].map({0: 1, 1: 0, 2: 2})
    tree.labels["Fold 2"] = tree.labels["Fold 0"].map({0: 2, 1: 0, 2: 1})
    tree.labels["Fold 3"] = tree.labels["Fold 0"]
    tree.write()
    folds = datasets.published_folds("ipd", tree.dir).set_index("fold")
    assert folds.loc["Fold 0", ["train", "val", "test"]].tolist() == [6, 3, 3]
    assert folds.loc["Fold 0", "private_percent_train"] == 33.33
    assert folds["same_test"].tolist() == [True, True, False, True]
    assert folds["val_seen_before"].tolist() == [0, 0, 0, 3]


def test_an_unknown_fold_names_the_columns_that_exist(tree):
    with pytest.raises(ValueError, match=r"Fold 7.*Fold 0"):
        datasets.read("ipd", tree.dir, fold=7)


def test_duplicate_names_are_refused(tree):
    tree.labels.loc[3, "Image Name"] = "p0"
    tree.write()
    with pytest.raises(ValueError, match="more than once: p0"):
        datasets.read("ipd", tree.dir)


def test_a_row_without_a_name_is_refused(tree):
    tree.labels.loc[3, "Image Name"] = None
    tree.write()
    with pytest.raises(ValueError, match=r"1 row\(s\) without an image name"):
        datasets.read("ipd", tree.dir)


def test_an_unknown_label_code_is_refused(tree):
    tree.labels.loc[3, "Label 2-class"] = 5
    tree.write()
    with pytest.raises(ValueError, match=r"image p3 holds '5'.*allowed: \[0, 1, -1\]"):
        datasets.read("ipd", tree.dir)


@pytest.mark.parametrize("fullpath", ["../../../etc/passwd", "/etc/passwd", "batch00/../../x.jpg"])
def test_a_path_that_leaves_the_dataset_is_refused(tree, fullpath):
    tree.entries[0]["fullpath"] = fullpath
    tree.write()
    with pytest.raises(ValueError, match="refused"):
        datasets.read("ipd", tree.dir)


def test_a_wrong_folder_says_what_is_expected(tmp_path):
    with pytest.raises(FileNotFoundError, match="parent folder of curated_ipd"):
        datasets.read("ipd", tmp_path)


@pytest.mark.parametrize("fold", [0, "final"])
def test_written_labels_and_splits_are_read_back(tree, fold):
    """Also when rows were lost on the way: what is written is what was used."""
    used = datasets.read("ipd", tree.dir, fold)[0].iloc[1:].reset_index(drop=True)
    samples.released_splits(used, fold).to_csv(tree.annotations / "labels_splits.csv", index=False)
    again, problems, *_ = datasets.read("ipd", tree.dir, fold)
    pd.testing.assert_frame_equal(again, used)
    assert problems["problem"].tolist() == ["no valid label in labels_splits.csv"]
    final, *_ = datasets.read("ipd", tree.dir, "final")
    assert set(final.loc[final["split"] == "test", "image"]) == set(used.loc[used["split"] == "test", "image"])
    assert "val" not in set(final["split"])


def test_the_original_split_is_a_column_like_the_others(tree):
    with pytest.raises(ValueError, match=r"lacks the column.*'Original'.*'Fold 0'.*parameter fold"):
        datasets.read("ipd", tree.dir, "original")
    tree.labels["Original"] = [1, 0, 0, 2] + [0] * 6 + [1, 2]
    tree.write()
    table = datasets.read("ipd", tree.dir, "original")[0].set_index("image")["split"]
    assert (table["p0"], table["p10"], table["p11"]) == ("val", "val", "test")


def test_privacyalert_codes_1_as_private_and_uses_its_original_split(privacyalert):
    table, problems, labels, n_unlisted, has_split = datasets.read("privacyalert", privacyalert)
    assert len(labels) == 24
    assert len(table) == 22
    by_name = table.set_index("image")
    assert by_name.loc["50000000002", "label"] == "private"
    assert by_name.loc["50000000003", ["label", "split"]].tolist() == ["public", "val"]
    assert problems["problem"].tolist() == ["no valid label in labels_splits.csv"] * 2
    assert by_name.loc["50000000003", "path"] == "curated_privacyalert/imgs/batch1/50000000003.png"
    assert (set(table["source"]), n_unlisted, has_split) == ({"privacyalert"}, 0, True)


def test_privacyalert_is_found_in_the_folder_of_the_released_code_too(privacyalert):
    expected, *_ = datasets.read("privacyalert", privacyalert)
    (privacyalert / "curated_privacyalert").rename(privacyalert / "curated-privacy-alert-dataset")
    found, *_ = datasets.read("privacyalert", privacyalert)
    assert found["image"].tolist() == expected["image"].tolist()


def test_a_jpg_is_taken_before_a_png_of_the_same_name(privacyalert):
    save_photo(privacyalert / "curated_privacyalert/imgs/batch1/50000000003.jpg", 99)
    table, problems, *_ = datasets.read("privacyalert", privacyalert)
    assert table.set_index("image").loc["50000000003", "path"].endswith(".jpg")
    note = problems.set_index("image").loc["50000000003"]
    assert note.tolist()[1:] == ["that name is also in: batch1/50000000003.png", "used"]


def test_a_photo_of_privacyalert_in_another_batch_is_found(privacyalert):
    place = privacyalert / "curated_privacyalert/imgs"
    (place / "batch1/50000000003.png").rename(place / "batch0/50000000003.png")
    table, problems, *_ = datasets.read("privacyalert", privacyalert)
    assert "50000000003" in set(table["image"])
    text = problems.set_index("image").loc["50000000003", "problem"]
    assert text == "in another batch folder than listed (batch1/50000000003)"


def test_picalert_and_vispr_alone_have_labels_but_no_split(source_tree):
    name, data_dir = source_tree
    table, problems, labels, _, has_split = datasets.read(name, data_dir)
    assert (len(table), len(problems), len(labels), has_split) == (40, 0, 40, False)
    assert table["split"].isna().all()
    by_name = table.set_index("image")["label"]
    assert (by_name["q0"], by_name["q1"]) == ("private", "public")
    assert set(table["source"]) == {name}


def test_a_name_in_two_folders_of_a_dataset_without_batches_is_not_guessed(source_tree):
    name, data_dir = source_tree
    save_photo(data_dir / f"curated_{name}/imgs/batch09/q4.jpg", 1)
    table, problems, *_ = datasets.read(name, data_dir)
    assert "q4" not in set(table["image"])
    assert problems["problem"].tolist() == ["found more than once, so none is used: batch00/q4.jpg, batch09/q4.jpg"]


def test_a_folder_of_own_photos_is_labelled_by_its_sub_folders(own_photos):
    table, problems, *_ = datasets.read("folder", own_photos)
    assert table.groupby("label").size().to_dict() == {"private": 12, "public": 18}
    assert table.set_index("image").loc["IMG 5", "path"] == "private/holidays/IMG 5.jpg"
    assert problems.empty


def test_own_photos_of_the_same_name_are_named_after_their_path(own_photos):
    save_photo(own_photos / "public" / "IMG 3.png", 77)
    table, problems, *_ = datasets.read("folder", own_photos)
    assert {"private_IMG 3_jpg", "public_IMG 3_png"} <= set(table["image"])
    assert len(table) == 31
    assert set(problems["action"]) == {"used"}


def test_files_that_are_no_photos_are_only_counted_in_a_folder_of_own_photos(own_photos):
    for name in ("notes.txt", ".DS_Store", "._IMG 1.jpg", "Thumbs.db"):
        (own_photos / "public" / name).write_text("buy milk")
    listing = datasets.read("folder", own_photos)
    assert (len(listing.samples), len(listing.labels), listing.n_unlisted) == (30, 30, 4)
    assert listing.problems.empty


def test_a_file_name_that_no_table_can_hold_is_told(own_photos):
    save_photo(own_photos / "public" / "a.jpg", 3)
    os.rename(os.fsencode(own_photos / "public" / "a.jpg"), os.fsencode(own_photos / "public") + b"/caf\xe9.jpg")
    table, problems, *_ = datasets.read("folder", own_photos)
    assert len(table) == 30
    assert problems[["image", "action"]].values.tolist() == [[r"caf\udce9", "left out"]]
    problems.to_csv(own_photos / "written.csv")


def own_labels(folder, text: str) -> None:
    (folder / "labels.csv").write_text(text)


def test_own_labels_can_come_as_a_table_with_a_split(own_photos):
    rows = [
        "image,label,split",
        "private/IMG 1.jpg,public,train",
        "public/IMG 13.jpg,private,test",
        "gone.jpg,public,val",
    ]
    own_labels(own_photos, "\n".join(rows))
    table, problems, *_ = datasets.read("folder", own_photos)
    assert table[["image", "label", "split"]].values.tolist() == [
        ["IMG 1", "public", "train"],
        ["IMG 13", "private", "test"],
    ]
    assert problems[["image", "problem"]].values.tolist() == [["gone", "missing file"]]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("image,label\nprivate/IMG 1.jpg,0\n", r"label of image private/IMG 1\.jpg is '0'.*allowed, by name: private"),
        ("file,label\nprivate/IMG 1.jpg,private\n", r"lacks the column\(s\) \['image'\]"),
        ("image,label\n../secret.jpg,private\n", "leaves its dataset folder; refused"),
        ("image,label\n/etc/passwd,private\n", "leaves its dataset folder; refused"),
        ("image,label\na.jpg,private\na.jpg,public\n", "more than once: a.jpg"),
        ("image,label\n", "holds no photo"),
        ("image,label,split\na.jpg,private,tset\n", "split of image a.jpg is 'tset'"),
    ],
)
def test_own_labels_that_cannot_be_used_are_named(own_photos, text, said):
    own_labels(own_photos, text)
    with pytest.raises(ValueError, match=said):
        datasets.read("folder", own_photos)


def test_a_folder_that_holds_no_own_photos_says_what_it_needs(tmp_path):
    (tmp_path / "pictures").mkdir()
    with pytest.raises(FileNotFoundError, match=r"sub-folders private/ and public/, or labels.csv.*Found: pictures"):
        datasets.read("folder", tmp_path)


def test_scene_files_are_found_without_any_photo(scene_tree):
    table, problems, labels, *_ = datasets.read("ipd", scene_tree, features="published_scenes")
    assert problems.empty
    assert len(table) == len(labels) == 300
    assert table["path"].str.fullmatch(r"(PicAlert|VISPR)/scenes/batch00/\w+\.csv").all()
    assert set(table.loc[table["source"] == "vispr", "label"]) == {"private"}


def test_photos_that_are_not_there_lead_to_the_published_scenes(scene_tree):
    with pytest.raises(FileNotFoundError, match="-p features published_scenes"):
        datasets.read("ipd", scene_tree)


def test_scene_files_that_are_not_there_lead_to_fetch(tree):
    with pytest.raises(FileNotFoundError, match="s2p fetch scenes"):
        datasets.read("ipd", tree.dir, features="published_scenes")


def test_swapped_label_codes_are_noticed(tree):
    tree.labels["Label 2-class"] = 1 - tree.labels["Label 2-class"]
    tree.write()
    with pytest.raises(ValueError, match=r"8 photos private and only 4 public.*label coding swapped"):
        datasets.read("ipd", tree.dir)


def test_the_label_file_of_another_dataset_is_noticed(tree):
    tree.labels["Image Name"] = [f"50254927{i:03d}" for i in range(12)]
    tree.write()
    with pytest.raises(ValueError, match=r"names 12 images \(such as 50254927000, .*another dataset"):
        datasets.read("ipd", tree.dir)


def test_labels_of_ipd_in_the_place_of_privacyalerts_are_noticed(tree, privacyalert):
    place = privacyalert / "curated_privacyalert/annotations/labels_splits.csv"
    tree.labels.to_csv(place, index=False)
    with pytest.raises(ValueError, match=r"lacks the column\(s\) \['Original'\].*released label file of this dataset"):
        datasets.read("privacyalert", privacyalert)
    with pytest.raises(ValueError, match="more public photos"):
        datasets.read("privacyalert", privacyalert, fold=0)


def test_a_tree_that_was_unzipped_twice_is_explained(tree):
    inner = tree.dir / "curated_ipd" / "curated_ipd"
    inner.mkdir()
    tree.annotations.rename(inner / "annotations")
    with pytest.raises(FileNotFoundError, match="unzipped twice: move the content"):
        datasets.read("ipd", tree.dir)


def test_photos_that_were_unzipped_twice_are_explained(tree):
    for name in ("curated_picalert", "curated_vispr"):
        folder = tree.dir / name
        (folder / name).mkdir()
        (folder / "imgs").rename(folder / name / "imgs")
    with pytest.raises(FileNotFoundError, match="unzipped twice: move the content"):
        datasets.read("ipd", tree.dir)


def test_the_folder_above_and_the_folder_below_are_explained(tree, tmp_path):
    with pytest.raises(FileNotFoundError, match=rf"one folder further in: -p data_dir {tree.dir}"):
        datasets.read("ipd", tree.dir.parent)
    with pytest.raises(FileNotFoundError, match=rf"must be its parent: {tree.dir}"):
        datasets.read("ipd", tree.dir / "curated_ipd")
    with pytest.raises(FileNotFoundError, match="holds: no such folder"):
        datasets.read("ipd", tmp_path / "nowhere")


def test_a_photo_with_another_extension_than_listed_is_used_and_told(tree):
    tree.photo(3).unlink()
    save_photo(tree.photo(3).with_suffix(".png"), 3)
    table, problems, *_ = datasets.read("ipd", tree.dir)
    assert table.set_index("image").loc["p3", "path"].endswith("batch00/p3.png")
    assert problems["problem"].tolist() == ["with another extension than listed (batch00/p3.jpg)"]


def test_files_that_no_label_names_are_counted(tree):
    save_photo(tree.photo(3).with_name("extra.jpg"), 5)
    assert datasets.read("ipd", tree.dir).n_unlisted == 1


def test_a_partial_dataset_says_what_share_is_here(tree):
    for i in (4, 5, 6, 7):
        tree.photo(i).unlink()
    listing = datasets.read("ipd", tree.dir)
    counts = datasets.counts_beside_published("demo", listing, listing.samples)
    assert counts.loc[("all", "both"), ["labelled", "here"]].tolist() == [12, 8]
    assert counts.loc[("all", "both"), "here_percent"] == 66.7
    assert counts.loc[("all", "public"), "here_percent"] == 50.0


def test_counts_other_than_published_are_told_with_both_numbers(tree, scene_tree):
    listing = datasets.read("ipd", tree.dir)
    said = datasets.mismatches(datasets.counts_beside_published("ipd", listing, listing.samples))
    assert "all, private: published 11,211, in the label file 4" in said
    assert "test, public: published 4,608, in the label file 2" in said


def test_the_published_counts_add_up():
    published = datasets.IPD_PUBLISHED
    for label in samples.CLASSES:
        assert published["all", label] == published["vispr", label] + published["picalert", label]
    assert published["test", "public"] == 2 * published["test", "private"]


def test_made_scene_files_have_ipds_proportions(scene_tree):
    listing = datasets.read("ipd", scene_tree, features="published_scenes")
    assert (listing.samples["label"] == "private").mean() == pytest.approx(11_211 / 34_562, abs=0.005)
    test = listing.samples[listing.samples["split"] == "test"]
    assert (test["label"] == "private").mean() == pytest.approx(1 / 3, abs=0.01)


def test_scene_files_in_a_folder_of_their_archives_name_are_explained(scene_tree, tmp_path):
    shutil.copytree(scene_tree, tmp_path / "data")
    for name in ("PicAlert", "VISPR"):
        (tmp_path / "data" / f"scenes_{name}").mkdir()
        (tmp_path / "data" / name).rename(tmp_path / "data" / f"scenes_{name}" / name)
    with pytest.raises(FileNotFoundError, match=r"There is .*scenes_(PicAlert|VISPR).*move .* up into"):
        datasets.read("ipd", tmp_path / "data", features="published_scenes")


def test_a_partial_dataset_without_a_whole_source_goes_on(tree):
    """The photos of VISPR are 50 GB; their rows are missing files."""
    shutil.rmtree(tree.dir / "curated_vispr")
    table, problems, *_ = datasets.read("ipd", tree.dir)
    assert set(table["source"]) == {"picalert"}
    assert problems["problem"].tolist() == ["missing file"] * 4


def test_photos_beside_the_batch_folders_are_found(tree):
    place = tree.photo(5)
    place.rename(place.parent.parent / place.name)
    table, problems, *_ = datasets.read("ipd", tree.dir)
    assert len(table) == 12
    assert problems["problem"].tolist() == ["in another batch folder than listed (batch00/p5.jpg)"]


def test_empty_labels_and_splits_are_invalid_like_minus_one(tree):
    tree.labels["Label 2-class"] = tree.labels["Label 2-class"].astype(object)
    tree.labels.loc[5, "Label 2-class"] = ""
    tree.labels["Fold 0"] = tree.labels["Fold 0"].astype(object)
    tree.labels.loc[6, "Fold 0"] = ""
    tree.write()
    problems = datasets.read("ipd", tree.dir).problems.set_index("image")["problem"]
    assert problems.to_dict() == {
        "p5": "no valid label in labels_splits.csv",
        "p6": "no valid split in labels_splits.csv",
    }


def test_a_comma_at_the_end_of_rows_shifts_nothing(tree):
    file = tree.annotations / "labels_splits.csv"
    header, *rows = file.read_text().splitlines()
    file.write_text("\n".join([header, *(row + "," for row in rows)]))
    assert len(datasets.read("ipd", tree.dir).samples) == 12


@pytest.mark.parametrize("entry", ["somewhere", {"data_dir": 5}, None, ["x"]])
def test_an_odd_place_in_the_photo_index_is_not_followed(tree, entry):
    index = {"datasets": {"vispr": entry, "picalert": entry}, "annotations": tree.entries}
    (tree.annotations / "ipd_imgs_curated.json").write_text(json.dumps(index))
    assert len(datasets.read("ipd", tree.dir).samples) == 12


def test_a_column_that_only_looks_like_a_fold_is_none(tree):
    tree.labels["Fold one"] = 0
    tree.write()
    assert datasets.published_folds("ipd", tree.dir)["fold"].tolist() == ["Fold 0"]


def test_own_labels_with_a_split_obey_the_fold(own_photos):
    rows = "private/IMG 1.jpg,public,train\n.\\public\\IMG 13.jpg,private,val\n"
    own_labels(own_photos, "image,label,split\n" + rows)
    assert datasets.read("folder", own_photos).samples["split"].tolist() == ["train", "val"]
    assert datasets.read("folder", own_photos, "final").samples["split"].tolist() == ["train", "train"]
    with pytest.raises(ValueError, match="has one split of its own; allowed are 0 and final"):
        datasets.read("folder", own_photos, 1)


def test_one_photo_by_two_paths_is_named_twice(own_photos):
    own_labels(own_photos, "image,label\nprivate/IMG 1.jpg,public\n./private/IMG 1.jpg,private\n")
    with pytest.raises(ValueError, match="more than once"):
        datasets.read("folder", own_photos)


def test_a_fold_that_the_kit_does_not_make_is_refused_before_any_photo_is_read(source_tree, own_photos):
    name, data_dir = source_tree
    for dataset, folder in ((name, data_dir), ("folder", own_photos)):
        with pytest.raises(ValueError, match="fold='original': this dataset has no published split"):
            datasets.read(dataset, folder, "original")


@pytest.mark.parametrize("source", ["x/../../elsewhere", "../x", "a/b", ".", "a b"])
def test_a_source_that_is_no_plain_name_is_refused(tree, source):
    tree.entries[0]["dataset"] = source
    tree.write()
    with pytest.raises(ValueError, match="is no plain name; refused"):
        datasets.read("ipd", tree.dir)


def test_an_empty_batch_folder_holds_no_file(tree):
    (tree.dir / "curated_vispr" / "imgs" / "batch07").mkdir()
    assert datasets.read("ipd", tree.dir).n_unlisted == 0
