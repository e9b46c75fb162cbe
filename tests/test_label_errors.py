import warnings

import cleanlab.rank
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from cleanlab.filter import find_label_issues
from conftest import save_photo
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score, recall_score
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler

from s2p_lib import audit, label_error_plots, label_errors
from s2p_lib.datasets import Listing

N_WRONG = 20
FEW = 6  # 1 % of the made photos


def made_photos(n: int = 600, n_wrong: int = N_WRONG) -> tuple[pd.DataFrame, np.ndarray, set[str]]:
    """Photos of two clear kinds of scenes, a third of them private; ``n_wrong`` labels are turned round."""
    rng = np.random.default_rng(4)
    is_private = np.arange(n) % 3 == 0
    logits = rng.normal(size=(n, 365)).astype(np.float32)
    logits[:, :40] += np.where(is_private, 0.8, -0.8)[:, None]
    wrong = rng.choice(n, n_wrong, replace=False)
    is_private[wrong] = ~is_private[wrong]
    photos = pd.DataFrame({"image": [f"p{i}" for i in range(n)], "source": "picalert"})
    photos["path"] = photos["image"] + ".jpg"
    photos["label"] = np.where(is_private, "private", "public")
    photos["split"] = np.array(["train", "val", "test"])[rng.integers(3, size=n)]
    return photos, logits, set(photos["image"][wrong])


@pytest.fixture(scope="module")
def planted():
    """photos, scene logits, images with a wrong label, p_private, suspects."""
    photos, logits, wrong = made_photos()
    p_private = label_errors.cross_validated_p(logits, photos["label"])
    return photos, logits, wrong, p_private, label_errors.suspects(photos, p_private)


def with_predictions(photos: pd.DataFrame, p_private: np.ndarray) -> pd.DataFrame:
    return photos.assign(prediction=np.where(p_private >= 0.5, "private", "public"))


def test_planted_errors_are_found(planted):
    """The kinds are 1.6 sqrt(40) = 10 standard deviations apart, so a wrong label stands out: nine in ten are found.

    But the model learns 365 weights from 480 photos, some labelled wrongly, and errs itself: up to ``FEW`` right labels
    may be doubted too (drawn at random, 23 suspects would hold 22 of them).
    """
    *_, wrong, _, found = planted
    assert len(wrong & set(found["image"])) >= 0.9 * N_WRONG
    assert len(set(found["image"]) - wrong) <= FEW


def test_right_labels_give_few_suspects():
    """The kinds are as far apart as above."""
    photos, logits, _ = made_photos(n_wrong=0)
    p_private = label_errors.cross_validated_p(logits, photos["label"])
    assert len(label_errors.suspects(photos, p_private)) <= FEW


def test_perfectly_sure_and_right_probabilities_give_an_empty_table(planted):
    photos, logits, *_ = planted
    p_private = (photos["label"] == "private").to_numpy(dtype=float)
    found = label_errors.suspects(photos, p_private)
    assert len(found) == 0
    beside = label_errors.side_by_side(photos, p_private, found, logits)
    assert len(beside) == 0
    assert {"other_image", "similarity"} <= set(beside.columns)
    curve = label_errors.without_suspects(with_predictions(photos, p_private), found)
    assert curve["removed"].tolist() == [0]


def test_suspects_are_those_of_cleanlab(planted):
    """Called directly, with 0 for private and columns in that order."""
    photos, _, _, p_private, found = planted
    codes, p = (photos["label"] == "public").to_numpy(dtype=int), np.stack([p_private, 1 - p_private], axis=1)
    ranked = find_label_issues(
        codes,
        p,
        return_indices_ranked_by="self_confidence",
        rank_by_kwargs={"adjust_pred_probs": True},
        n_jobs=1,
    )
    assert found["image"].tolist() == photos["image"].iloc[ranked].tolist()
    quality = cleanlab.rank.get_label_quality_scores(codes, p, adjust_pred_probs=True)
    np.testing.assert_array_equal(found["quality"], quality[ranked])
    np.testing.assert_array_equal(found["p_of_label"], p[ranked, codes[ranked]])
    assert (found["suggested_label"] != found["label"]).all()
    assert found["rank"].tolist() == list(range(1, len(found) + 1))


def test_probabilities_are_those_of_folds_fitted_by_hand(planted):
    photos, logits, _, p_private, _ = planted
    labels, x = photos["label"].to_numpy(), logits.astype(np.float64)
    expected = np.empty(len(labels))
    for train, held_out in StratifiedKFold(5, shuffle=True, random_state=789).split(x, labels == "private"):
        scaler = StandardScaler().fit(x[train])
        model = LogisticRegression(C=1.0, max_iter=1000).fit(scaler.transform(x[train]), labels[train])
        column = model.classes_.tolist().index("private")
        expected[held_out] = model.predict_proba(scaler.transform(x[held_out]))[:, column]
    # 1e-4: with the classes the other way round the solver stops at another point of the same optimum
    np.testing.assert_allclose(p_private, expected, atol=1e-4)


def test_a_copy_in_another_fold_does_not_vouch_for_a_wrong_label():
    """Each photo is there twice with the same label, which is a coin's: only a copy can tell it."""
    rng = np.random.default_rng(1)
    logits = np.repeat(rng.normal(size=(150, 365)), 2, axis=0)
    is_private = np.repeat(rng.random(150) < 0.5, 2)
    labels, groups = np.where(is_private, "private", "public"), np.repeat(np.arange(150), 2)

    def right(**options) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return ((label_errors.cross_validated_p(logits, labels, **options) > 0.5) == is_private).mean()

    assert right() > 0.75, "most copies are in another fold"
    # 150 coins are right within 0.5 +- 4 standard deviations (0.04)
    assert abs(right(groups=groups) - 0.5) < 0.16


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": ["private"] * 30}, "30 private, 0 public"),
        ({"labels": ["secret"] * 30}, "secret"),
        ({"labels": ["private"] * 10}, "10 labels"),
        ({"scene_logits": np.full((30, 365), np.nan)}, "30 of 30 photos are not finite"),
        ({"groups": np.arange(30) % 2}, "at least 5 different"),
    ],
)
def test_what_cannot_be_cross_validated_is_named(change, message):
    good = {"scene_logits": np.zeros((30, 365)), "labels": ["private", "public"] * 15}
    with pytest.raises(ValueError, match=message):
        label_errors.cross_validated_p(**good | change)


@pytest.fixture
def copies(tmp_path):
    """Photos of two pairs with different labels (the same file, and one saved anew), one pair alike, one alone."""
    for i, name in enumerate(["a", "b", "c", "d"]):
        save_photo(tmp_path / f"{name}.png", i)
        Image.open(tmp_path / f"{name}.png").resize((320, 240)).save(tmp_path / f"{name}.png")
    (tmp_path / "a2.png").write_bytes((tmp_path / "a.png").read_bytes())
    for name in ("b", "c"):
        Image.open(tmp_path / f"{name}.png").save(tmp_path / f"{name}2.jpg", quality=80)
    files = {"a": "a.png", "a2": "a2.png", "b": "b.png", "b2": "b2.jpg", "c": "c.png", "c2": "c2.jpg", "d": "d.png"}
    photos = pd.DataFrame({"image": files.keys(), "path": files.values(), "source": "own", "split": "train"})
    photos["label"] = ["public", "private", "private", "public", "private", "private", "public"]
    return photos, tmp_path


def test_copies_with_different_labels_are_paired(copies):
    photos, folder = copies
    pairs = label_errors.contradicting_copies(photos, audit.audit_photos(photos, folder, 1))
    assert pairs[["image_a", "label_a", "image_b", "label_b"]].to_numpy().tolist() == [
        ["a2", "private", "a", "public"],
        ["b", "private", "b2", "public"],
    ]
    assert pairs[["path_a", "path_b"]].iloc[1].tolist() == ["b.png", "b2.jpg"]
    assert pairs["bits"].iloc[0] == 0
    assert pairs["bits"].le(audit.MAX_BITS).all()


def test_only_photos_that_the_audit_names_need_hashing_again(copies):
    """The texts of audit.csv pick the photos; pairs and groups of these alone are those of all."""
    photos, folder = copies
    everything = audit.audit_photos(photos, folder, 1)
    no_problems = pd.DataFrame(columns=["image", "path", "problem", "action"])
    listing = Listing(photos, no_problems, photos["label"], 0, True)
    problems = audit.put_together(listing, everything).problems
    few = label_errors.photos_with_copies(photos, problems)
    assert sorted(few["image"]) == ["a", "a2", "b", "b2", "c", "c2"]
    again = audit.audit_photos(few, folder, 1)
    pd.testing.assert_frame_equal(
        label_errors.contradicting_copies(few, again), label_errors.contradicting_copies(photos, everything)
    )
    groups = label_errors.groups_of_copies(photos["image"], again)
    assert groups.tolist() == [0, 0, 1, 1, 2, 2, 3]


def test_photos_without_contrast_are_copies_only_as_the_same_file():
    photos = pd.DataFrame({"image": ["a", "b", "c"], "path": ["a", "b", "c"], "label": ["private", "public", "public"]})
    facts = pd.DataFrame({"image": ["a", "b", "c"], "sha256": ["x", "x", "y"]})
    facts["phash"] = pd.array([None, None, None], dtype="UInt64")
    pairs = label_errors.contradicting_copies(photos, facts)
    assert pairs[["image_a", "image_b", "bits"]].to_numpy().tolist() == [["a", "b", 0]]


def test_the_curve_is_that_of_scikit_learn_on_the_photos_left(planted):
    photos, _, _, p_private, found = planted
    photos = with_predictions(photos, np.random.default_rng(2).permutation(p_private))  # many are wrong
    curve = label_errors.without_suspects(photos, found)
    of_test = found.loc[found["split"] == "test", "image"].tolist()
    assert curve["removed"].tolist() == list(range(len(of_test) + 1))
    for n in (0, 1, len(of_test)):
        left = photos[(photos["split"] == "test") & ~photos["image"].isin(of_test[:n])]
        row = curve.iloc[n]
        assert row["photos"] == len(left)
        assert row["accuracy"] == pytest.approx(accuracy_score(left["label"], left["prediction"]))
        assert row["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(left["label"], left["prediction"]))
        recall = recall_score(left["label"], left["prediction"], pos_label="private")
        assert row["private_recall"] == pytest.approx(recall)


def test_random_photos_leave_the_figures_as_they_are_on_average(planted):
    """The share that is right among photos drawn at random is, in the mean, that of all."""
    photos, _, _, p_private, found = planted
    curve = label_errors.without_suspects(with_predictions(photos, p_private), found)
    for name in label_errors.MEASURES_LEFT:
        # 1,000 drawings of at most 20 of about 200 photos: the mean is within 0.002 (about 8 standard errors)
        np.testing.assert_allclose(curve[f"{name}_random"], curve[name].iloc[0], atol=0.002)
        assert (curve[f"{name}_random_low"] <= curve[f"{name}_random_high"]).all()
        assert curve[[f"{name}_random_low", f"{name}_random_high"]].iloc[0].eq(curve[name].iloc[0]).all()
        assert curve[name].iloc[-1] >= curve[f"{name}_random_high"].iloc[-1], "suspects raise it beyond chance"


def test_the_curve_ends_at_n_max_and_names_what_it_cannot_use(planted):
    photos, _, _, p_private, found = planted
    photos = with_predictions(photos, p_private)
    assert label_errors.without_suspects(photos, found, n_max=2)["removed"].tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="n_max=-1"):
        label_errors.without_suspects(photos, found, n_max=-1)
    with pytest.raises(ValueError, match="none is of the split test"):
        label_errors.without_suspects(photos[photos["split"] == "val"], found)
    with pytest.raises(ValueError, match="must be of the same run"):
        label_errors.without_suspects(photos.assign(image="x" + photos["image"]), found)


def test_a_recall_without_photos_is_missing_and_one_photo_is_left():
    photos = pd.DataFrame({"image": ["a", "b", "c"], "split": "test", "label": ["private", "public", "public"]})
    photos["prediction"] = ["public", "private", "public"]
    doubted = photos[["image", "split"]]
    curve = label_errors.without_suspects(photos, doubted)
    assert curve["photos"].tolist() == [3, 2, 1]
    assert curve["private_recall"].iloc[0] == 0
    assert curve[["private_recall", "balanced_accuracy"]].iloc[1:].isna().all(axis=None)
    assert curve["accuracy"].tolist() == [pytest.approx(1 / 3), 0.5, 1]


def test_the_other_photo_is_the_most_similar_sure_one(planted):
    photos, logits, _, p_private, found = planted
    table = label_errors.side_by_side(photos, p_private, found, logits)
    assert table["image"].tolist() == found["image"].tolist()
    similar = cosine_similarity(StandardScaler().fit_transform(logits.astype(np.float64)))
    for pair, suggested in zip(table.itertuples(), found["suggested_label"]):
        p = p_private if suggested == "private" else 1 - p_private
        of_class = (photos["label"] == suggested).to_numpy()
        sure = of_class & (p >= p[of_class].mean()) & ~photos["image"].isin(found["image"]).to_numpy()
        here = photos["image"].tolist().index(pair.image)
        best = np.flatnonzero(sure)[similar[here, sure].argmax()]
        assert pair.other_image == photos["image"][best]
        assert pair.other_label == suggested
        assert pair.similarity == pytest.approx(similar[here, best])


def test_rows_are_joined_by_name(planted):
    photos, logits, _, p_private, found = planted
    order = np.random.default_rng(0).permutation(len(photos))
    expected = label_errors.side_by_side(photos, p_private, found, logits)
    shuffled = label_errors.side_by_side(
        photos.iloc[order].reset_index(drop=True), p_private[order], found, logits[order]
    )
    pd.testing.assert_frame_equal(shuffled, expected)


def test_without_a_sure_photo_nothing_stands_beside_a_suspect():
    photos = pd.DataFrame({"image": ["a", "b"], "path": ["a.jpg", "b.jpg"], "label": ["private", "public"]})
    doubted = photos.assign(rank=[1, 2], suggested_label=["public", "private"], p_of_label=0.1)
    table = label_errors.side_by_side(photos, np.array([0.1, 0.9]), doubted, np.eye(2, 365))
    assert table[["other_image", "other_path", "other_label", "similarity"]].isna().all(axis=None)


@pytest.mark.parametrize("how", ["photos", "blurred", "scenes"])
def test_side_by_side_is_drawn_without_names(planted, tmp_path, how):
    """Photos that vanished, pairs without another photo, and no suspects at all are drawn as well."""
    photos, logits, _, p_private, found = planted
    table = label_errors.side_by_side(photos, p_private, found, logits)
    table.loc[0, ["other_image", "other_path", "other_label"]] = None
    figure = label_error_plots.plot_side_by_side(table, tmp_path, how, n=4)
    figure.canvas.draw()
    n_pictures = sum(len(ax.images) for ax in figure.axes)
    assert n_pictures == (0 if how == "scenes" else 7)
    texts = " ".join(text.get_text() for text in figure.findobj(plt.Text))
    assert not any(name in texts.split() for name in table["image"])
    empty = label_error_plots.plot_side_by_side(table.head(0), tmp_path, how)
    assert "No label is doubted" in empty.axes[0].texts[0].get_text()
    plt.close("all")


def test_pairs_of_copies_are_drawn_without_names(copies):
    photos, folder = copies
    pairs = label_errors.contradicting_copies(photos, audit.audit_photos(photos, folder, 1))
    figure = label_error_plots.plot_copies(pairs, folder, "photos")
    assert sum(len(ax.images) for ax in figure.axes) == 4
    titles = [ax.get_title().split("\n")[0] for ax in figure.axes if ax.images]
    assert titles == ["1: labelled private", "labelled public", "2: labelled private", "labelled public"]
    empty = label_error_plots.plot_copies(pairs.head(0), folder, "photos")
    assert "No two copies" in empty.axes[0].texts[0].get_text()
    plt.close("all")


def test_doubted_labels_are_the_suspects_and_their_pairs(planted):
    photos, logits, _, p_private, found = planted
    suspects, pairs = label_errors.doubted_labels(photos, logits)
    pd.testing.assert_frame_equal(suspects, found)
    pd.testing.assert_frame_equal(pairs, label_errors.side_by_side(photos, p_private, found, logits))
    assert (suspects.columns.tolist(), pairs.columns.tolist()) == (
        label_errors.SUSPECT_COLUMNS,
        label_errors.PAIR_COLUMNS,
    )


@pytest.mark.parametrize(("n_private", "groups"), [(4, None), (0, None), (12, np.arange(30) % 4)])
def test_too_few_photos_are_told_and_nothing_is_doubted(n_private, groups):
    """The tables can be used as others: the curve has its first point, the figure has the reason."""
    photos, logits, _ = made_photos(30, 0)
    photos["label"] = ["private"] * n_private + ["public"] * (30 - n_private)
    suspects, pairs = label_errors.doubted_labels(photos, logits, groups)
    reason = suspects.attrs["reason"]
    assert "5 folds need at least 5 different photos of each class" in reason
    assert (len(suspects), len(pairs)) == (0, 0)
    figure = label_error_plots.plot_side_by_side(pairs, ".", "photos")
    assert figure.axes[0].texts[0].get_text() == reason
    curve = label_errors.without_suspects(photos.assign(prediction="public", split="test"), suspects)
    assert curve["accuracy"].tolist() == [1 - n_private / 30]
    plt.close("all")


def test_the_curve_is_drawn_in_percent(planted):
    photos, _, _, p_private, found = planted
    curve = label_errors.without_suspects(with_predictions(photos, p_private), found)
    figure = label_error_plots.plot_without_suspects(curve)
    assert [ax.get_title() for ax in figure.axes] == ["balanced accuracy", "private recall", "accuracy"]
    np.testing.assert_allclose(figure.axes[2].lines[-1].get_ydata(), 100 * curve["accuracy"])
    plt.close("all")
