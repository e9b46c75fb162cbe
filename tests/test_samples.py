import numpy as np
import pandas as pd
import pytest

from s2p_lib import datasets, samples


def test_every_split_needs_both_classes(tree):
    table, *_ = datasets.read("ipd", tree.dir)
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


def test_only_the_final_split_may_lack_val(tree):
    table, *_ = datasets.read("ipd", tree.dir, "final")
    samples.check_samples(table, "final")
    with pytest.raises(ValueError, match="'val' has no private"):
        samples.check_samples(table, 0)
    with pytest.raises(ValueError, match="'test' has no"):
        samples.check_samples(table[table["split"] == "train"], "final")


def labelled(n: int = 300) -> pd.Series:
    return pd.Series(np.random.default_rng(0).permutation(["private"] * (n // 3) + ["public"] * (n - n // 3)))


@pytest.mark.parametrize("fold", [0, 1, 2, "final"])
def test_copies_stay_together_in_a_split_of_the_kits_own(fold):
    labels = labelled()
    groups = pd.Series(np.random.default_rng(1).integers(0, 150, len(labels)))  # copies of any label
    split = samples.grouped_splits(labels, groups, fold)
    assert split.groupby(groups).nunique().max() == 1
    assert set(split) == ({"train", "test"} if fold == "final" else {"train", "val", "test"})
    assert (split == "test").mean() == pytest.approx(0.2, abs=0.03)


def test_a_split_of_the_kits_own_is_stratified_and_validates_each_photo_once():
    labels = labelled()
    folds = [samples.grouped_splits(labels, pd.Series(range(300)), fold) for fold in range(3)]
    assert all(((f == "test") == (folds[0] == "test")).all() for f in folds)
    assert (sum((f == "val").astype(int) for f in folds) == (folds[0] != "test").astype(int)).all()
    for f in folds:
        for part in samples.SPLITS:
            assert (labels[f == part] == "private").mean() == pytest.approx(1 / 3, abs=0.02)


def test_a_split_of_too_few_photos_or_of_an_unknown_fold_is_refused():
    few = pd.Series(["private"] * 4 + ["public"] * 20)
    with pytest.raises(ValueError, match=r"at least 5 different photos of each class; there are 4 private, 20 public"):
        samples.grouped_splits(few, pd.Series(range(24)), 0)
    copies = pd.Series([0] * 10 + list(range(1, 91)))  # ten times the same private photo
    with pytest.raises(ValueError, match="there are 1 private"):
        samples.grouped_splits(pd.Series(["private"] * 10 + ["public"] * 90), copies, 0)
    with pytest.raises(ValueError, match="fold=7: this dataset has no published split; the kit makes 0 to 2, final"):
        samples.grouped_splits(labelled(), pd.Series(range(300)), 7)


@pytest.mark.parametrize(
    ("name", "bare"),
    [("batch0/123.jpg", "123"), ("a.b.PNG", "a.b"), ("x.csv", "x"), ("v1.2", "v1.2"), (".jpg", ".jpg"), ("p", "p")],
)
def test_a_bare_name_has_no_folder_and_no_photos_extension(name, bare):
    assert samples.bare_name(name) == bare
