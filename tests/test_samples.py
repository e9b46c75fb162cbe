import numpy as np
import pandas as pd
import pytest

from s2p_lib import samples


def test_labels_and_splits_are_joined_by_name_not_by_row_order(tree):
    tree.labels = tree.labels.sample(frac=1, random_state=1)
    tree.write()
    table, problems = samples.read_ipd(tree.dir)
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
    table, problems = samples.read_ipd(tmp_path / "ipd")
    assert problems.empty
    assert table["split"].value_counts().to_dict() == {"train": 28, "val": 10, "test": 10}


def test_a_moved_dataset_does_not_need_the_authors_paths(tree):
    moved = tree.dir.rename(tree.dir.with_name("moved"))
    table, _ = samples.read_ipd(moved)
    assert all((moved / path).is_file() for path in table["path"])


def test_a_photo_in_another_batch_is_found_by_name_and_reported(tree):
    other = tree.dir / "curated_picalert" / "imgs" / "batch07"
    other.mkdir()
    tree.photo(6).rename(other / "p6.jpg")
    table, problems = samples.read_ipd(tree.dir)
    assert table.set_index("image").loc["p6", "path"] == "curated_picalert/imgs/batch07/p6.jpg"
    assert problems[["image", "action"]].values.tolist() == [["p6", "used"]]


def test_whatever_cannot_be_a_sample_is_reported_once(tree):
    tree.photo(5).unlink()
    tree.labels.loc[6, "Label 2-class"] = -1
    tree.labels.loc[7, "Fold 0"] = -1
    tree.entries = [e for e in tree.entries if e["image"] != "p8"]  # labelled, but no photo listed
    tree.labels = tree.labels[tree.labels["Image Name"] != "p9"]  # listed, but not labelled
    tree.write()
    table, problems = samples.read_ipd(tree.dir)
    assert len(table) + len(problems) == 12
    assert set(problems["image"]) == {"p5", "p6", "p7", "p8", "p9"}
    assert set(problems["action"]) == {"left out"}
    assert problems.set_index("image")["problem"].str.contains("missing file")["p5"]


@pytest.mark.parametrize("column", ["Image Name", "Label 2-class", "Fold 0"])
def test_a_label_file_without_a_needed_column_names_it(tree, column):
    tree.labels = tree.labels.rename(columns={column: "Something else"})
    tree.write()
    with pytest.raises(ValueError, match=rf"lacks the column.*{column}"):
        samples.read_ipd(tree.dir)


def test_only_the_bad_row_of_a_mixed_column_is_named(tree):
    tree.labels["Label 2-class"] = tree.labels["Label 2-class"].astype(object)
    tree.labels.loc[5, "Label 2-class"] = "?"
    tree.write()
    with pytest.raises(ValueError, match=r"image p5 holds '\?' \(1 such"):
        samples.read_ipd(tree.dir)


def test_codes_written_as_floats_are_read(tree):
    tree.labels["Label 2-class"] = tree.labels["Label 2-class"].astype(float)
    tree.write()
    assert len(samples.read_ipd(tree.dir)[0]) == 12


@pytest.mark.parametrize("names", [["NA", "null"], ["007", "1e5"]])
def test_names_that_look_like_numbers_or_nothing_are_names(tree, names):
    for i, name in enumerate(names):
        tree.labels.loc[i, "Image Name"] = name
        tree.entries[i]["image"] = name
    tree.write()
    table, problems = samples.read_ipd(tree.dir)
    assert problems.empty
    assert set(names) <= set(table["image"])


def test_names_written_as_numbers_in_the_photo_index_are_joined(tree):
    tree.labels.loc[0, "Image Name"] = "4711"
    tree.entries[0]["image"] = 4711
    tree.write()
    assert "4711" in set(samples.read_ipd(tree.dir)[0]["image"])


@pytest.mark.parametrize("content", ["", '"a', b"Image Name\n\xe9\n"])
def test_a_label_file_that_is_no_table_is_named(tree, content):
    path = tree.annotations / "labels_splits.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=r"labels_splits\.csv"):
        samples.read_ipd(tree.dir)


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
        samples.read_ipd(tree.dir)


def test_a_path_with_a_dot_is_the_same_path(tree):
    tree.entries[0]["fullpath"] = "./batch00/p0.jpg"
    tree.write()
    assert samples.read_ipd(tree.dir)[1].empty


def test_a_name_in_two_other_batches_is_not_guessed(tree):
    for batch in ("batch07", "batch08"):
        other = tree.dir / "curated_picalert" / "imgs" / batch
        other.mkdir()
        (other / "p6.jpg").write_bytes(tree.photo(6).read_bytes())
    tree.photo(6).unlink()
    table, problems = samples.read_ipd(tree.dir)
    assert "p6" not in set(table["image"])
    assert "batch07/p6.jpg, batch08/p6.jpg" in problems["problem"][0]


def test_published_folds_show_sizes_shares_and_the_common_test(tree):
    tree.labels["Fold 1"] = tree.labels["Fold 0"].map({0: 1, 1: 0, 2: 2})
    tree.labels["Fold 2"] = tree.labels["Fold 0"].map({0: 2, 1: 0, 2: 1})
    tree.write()
    folds = samples.published_folds(tree.dir).set_index("fold")
    assert folds.loc["Fold 0", ["train", "val", "test"]].tolist() == [6, 3, 3]
    assert folds.loc["Fold 0", "private_percent_train"] == 33.33
    assert folds["same_test"].tolist() == [True, True, False]


def test_an_unknown_fold_names_the_columns_that_exist(tree):
    with pytest.raises(ValueError, match=r"Fold 7.*Fold 0"):
        samples.read_ipd(tree.dir, fold=7)


def test_duplicate_names_are_refused(tree):
    tree.labels.loc[3, "Image Name"] = "p0"
    tree.write()
    with pytest.raises(ValueError, match="more than once: p0"):
        samples.read_ipd(tree.dir)


def test_a_row_without_a_name_is_refused(tree):
    tree.labels.loc[3, "Image Name"] = None
    tree.write()
    with pytest.raises(ValueError, match=r"1 row\(s\) without an image name"):
        samples.read_ipd(tree.dir)


def test_an_unknown_label_code_is_refused(tree):
    tree.labels.loc[3, "Label 2-class"] = 5
    tree.write()
    with pytest.raises(ValueError, match=r"image p3 holds '5'.*allowed: \[0, 1, -1\]"):
        samples.read_ipd(tree.dir)


@pytest.mark.parametrize("fullpath", ["../../../etc/passwd", "/etc/passwd", "batch00/../../x.jpg"])
def test_a_path_that_leaves_the_dataset_is_refused(tree, fullpath):
    tree.entries[0]["fullpath"] = fullpath
    tree.write()
    with pytest.raises(ValueError, match="refused"):
        samples.read_ipd(tree.dir)


def test_a_wrong_folder_says_what_is_expected(tmp_path):
    with pytest.raises(FileNotFoundError, match="parent folder of curated_ipd"):
        samples.read_ipd(tmp_path)


def test_every_split_needs_both_classes(tree):
    table, _ = samples.read_ipd(tree.dir)
    samples.check_samples(table)
    with pytest.raises(ValueError, match="'val' has no private"):
        samples.check_samples(table[(table["split"] != "val") | (table["label"] != "private")])
    with pytest.raises(ValueError, match="'train' has no public"):
        samples.check_samples(table[table["label"] == "private"])


def test_stratified_splits_keep_the_share_of_private_and_validate_each_photo_once():
    labels = pd.Series(["private"] * 300 + ["public"] * 600)
    codes = samples.stratified_splits(labels, n_folds=3, test_share=0.2, seed=1)
    folds = codes.filter(like="Fold")
    is_test = (codes["Final"] == 2).to_numpy()
    assert ((folds == 2).to_numpy() == is_test[:, None]).all()
    assert ((folds == 1).sum(axis=1) == np.where(is_test, 0, 1)).all()
    assert (labels[is_test] == "private").mean() == pytest.approx(1 / 3)
    for fold in folds:
        assert (labels[folds[fold] == 1] == "private").mean() == pytest.approx(1 / 3)


def test_counts_hold_zeros_and_a_total():
    table = pd.DataFrame({"split": ["train", "train"], "label": ["private", "public"]})
    counts = samples.count_labels(table)
    assert counts.loc["test"].tolist() == [0, 0]
    assert counts.loc["all"].tolist() == [1, 1]


@pytest.mark.parametrize("fold", [0, "final"])
def test_written_labels_and_splits_are_read_back(tree, fold):
    """Also when rows were lost on the way: what is written is what was used."""
    used = samples.read_ipd(tree.dir, fold)[0].iloc[1:].reset_index(drop=True)
    samples.released_splits(used, fold).to_csv(tree.annotations / "labels_splits.csv", index=False)
    again, problems = samples.read_ipd(tree.dir, fold)
    pd.testing.assert_frame_equal(again, used)
    assert problems["problem"].tolist() == ["no valid label in labels_splits.csv"]
    final, _ = samples.read_ipd(tree.dir, "final")
    assert set(final.loc[final["split"] == "test", "image"]) == set(used.loc[used["split"] == "test", "image"])
    assert "val" not in set(final["split"])


def test_the_original_split_is_a_column_like_the_others(tree):
    with pytest.raises(ValueError, match=r"lacks the column.*'Original'.*'Fold 0'.*parameter fold"):
        samples.read_ipd(tree.dir, "original")
    tree.labels["Original"] = [1, 0, 0, 2] + [0] * 6 + [1, 2]
    tree.write()
    table = samples.read_ipd(tree.dir, "original")[0].set_index("image")["split"]
    assert (table["p0"], table["p10"], table["p11"]) == ("val", "val", "test")


def test_only_the_final_split_may_lack_val(tree):
    table, _ = samples.read_ipd(tree.dir, "final")
    samples.check_samples(table, "final")
    with pytest.raises(ValueError, match="'val' has no private"):
        samples.check_samples(table, 0)
    with pytest.raises(ValueError, match="'test' has no"):
        samples.check_samples(table[table["split"] == "train"], "final")
