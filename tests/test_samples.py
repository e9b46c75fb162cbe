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


def ipd_like(n: int = 2000) -> pd.DataFrame:
    """Two thirds public and all PicAlert's; private photos mostly VISPR's."""
    rng = np.random.default_rng(0)
    label = rng.choice(["private", "public"], n, p=[1 / 3, 2 / 3])
    source = np.where((label == "private") & (rng.random(n) < 0.57), "vispr", "picalert")
    split = rng.choice(samples.SPLITS, n, p=[0.53, 0.27, 0.2])
    names = [f"p{i}" for i in range(n)]
    return pd.DataFrame({"image": names, "path": names, "source": source, "label": label, "split": split})


@pytest.mark.parametrize("max_photos", [30, 137, 600, 1999])
def test_a_sample_has_exactly_so_many_photos_and_each_group_its_share(max_photos):
    table = ipd_like()
    sample = samples.draw_sample(table, max_photos)
    assert len(sample) == max_photos
    assert set(sample["image"]) <= set(table["image"])
    by = ["split", "label", "source"]
    shares = table.groupby(by).size() * max_photos / len(table)
    counts = sample.groupby(by).size()
    assert counts.index.equals(shares.index)
    # A group gets its share rounded up or down, one photo more or less where rounding did not add up.
    assert ((counts - shares).abs() < 2).all()
    samples.check_samples(sample)


def test_a_sample_keeps_the_order_and_the_rows_and_the_seed_decides_it():
    table = ipd_like()
    first, again, other = (samples.draw_sample(table, 100, seed) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(first, again)
    assert set(first["image"]) != set(other["image"])
    expected = table[table["image"].isin(first["image"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(first, expected)


def test_a_rare_label_keeps_two_photos_in_each_split():
    table = ipd_like()
    rare = table[table["label"] == "private"].groupby("split").head(3)
    table = pd.concat([rare, table[table["label"] == "public"]]).sample(frac=1, random_state=0)
    sample = samples.draw_sample(table, 40)
    assert len(sample) == 40
    assert (samples.count_labels(sample).loc[list(samples.SPLITS), "private"] >= 2).all()


def test_without_a_split_a_sample_has_enough_of_each_label_to_make_one():
    table = ipd_like().assign(split=None, source="own")
    private = table[table["label"] == "private"].head(12)
    table = pd.concat([private, table[table["label"] == "public"]], ignore_index=True)
    sample = samples.draw_sample(table, 60)
    assert (sample["label"] == "private").sum() >= 5
    samples.grouped_splits(sample["label"], pd.Series(range(60)), 0)


def test_all_photos_are_used_unless_fewer_are_asked_for():
    table = ipd_like(50)
    assert samples.draw_sample(table, None) is table
    assert samples.draw_sample(table, 50) is table


def test_a_sample_too_small_for_its_groups_is_refused_with_the_number_that_would_do():
    with pytest.raises(ValueError, match=r"max_photos=8 is too few: 9 groups .* need 12 photos"):
        samples.draw_sample(ipd_like(), 8)
    assert len(samples.draw_sample(ipd_like(), 12)) == 12


def test_examples_are_few_and_none_is_left_without_words():
    assert samples.examples(["a", "b", "c", "d"]) == "a, b, c"
    assert samples.examples(["", "b"]) == "'', b"
    assert samples.examples([]) == "none"
