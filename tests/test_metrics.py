import numpy as np
import pandas as pd
import pytest
import scipy.stats
from sklearn import metrics as oracle
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

from s2p_lib import metrics
from s2p_lib.samples import CLASSES


def random_predictions(seed: int, n: int = 200) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.choice(CLASSES, n, p=[0.3, 0.7])
    return labels, np.where(rng.random(n) < 0.7, labels, rng.choice(CLASSES, n))


def test_the_cards_confusion_matrix_gives_the_cards_figures():
    figures = metrics.metrics_of_counts(metrics.CARD_CONFUSION)
    assert {name: round(100 * float(value), 2) for name, value in figures.items()} == metrics.CARD_PERCENT


@pytest.mark.parametrize("seed", range(5))
def test_figures_agree_with_scikit_learn(seed):
    labels, predictions = random_predictions(seed)
    figures = metrics.card_metrics(labels, predictions)
    p, r, f, _ = oracle.precision_recall_fscore_support(labels, predictions, labels=CLASSES)
    # 1e-12: the same few divisions in another order
    assert [figures[f"private_{m}"] for m in ("precision", "recall", "f1")] == pytest.approx([p[0], r[0], f[0]], 1e-12)
    assert [figures[f"public_{m}"] for m in ("precision", "recall", "f1")] == pytest.approx([p[1], r[1], f[1]], 1e-12)
    assert figures["precision"] == pytest.approx(oracle.precision_score(labels, predictions, average="macro"), 1e-12)
    assert figures["balanced_accuracy"] == pytest.approx(oracle.balanced_accuracy_score(labels, predictions), 1e-12)
    assert figures["accuracy"] == pytest.approx(oracle.accuracy_score(labels, predictions), 1e-12)


def test_a_class_that_is_never_predicted_has_precision_zero():
    figures = metrics.card_metrics(["private", "public"], ["public", "public"])
    assert figures["private_precision"] == 0
    assert figures["private_f1"] == 0


def test_rows_of_the_confusion_matrix_are_labels():
    counts = metrics.confusion_counts(["private"] * 3 + ["public"], ["public"] * 3 + ["public"])
    assert counts.tolist() == [[0, 3], [0, 1]]


def test_bootstrap_intervals_agree_with_scipy():
    counts = np.array([[60, 40], [30, 170]])
    labels, predictions = counts_to_photos(counts)
    private_right = (predictions == labels)[labels == "private"]
    expected = scipy.stats.bootstrap(
        (private_right,), np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    low, high = metrics.bootstrap_intervals(counts)["private_recall"]
    # A recall over 100 photos moves in steps of 0.01; two bootstraps may differ by one step.
    assert [low, high] == pytest.approx([expected.low, expected.high], abs=0.0101)


def test_intervals_hold_the_figure_and_shrink_with_more_photos():
    small, large = np.array([[30, 20], [15, 85]]), np.array([[3000, 2000], [1500, 8500]])
    figures = metrics.metrics_of_counts(small)
    for name, (low, high) in metrics.bootstrap_intervals(small).items():
        assert low < figures[name] < high
        finer = metrics.bootstrap_intervals(large)[name]
        assert finer[1] - finer[0] < (high - low) / 5


def counts_to_photos(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    labels = np.repeat(CLASSES, counts.sum(axis=1))
    predictions = np.concatenate([np.repeat(CLASSES, row) for row in counts])
    return labels, predictions


def test_evaluate_holds_counts_and_figures():
    labels, predictions = counts_to_photos(metrics.CARD_CONFUSION)
    evaluation = metrics.evaluate(labels, predictions)
    assert evaluation["photos"] == {"private": 2304, "public": 4608}
    assert evaluation["confusion"]["private_called_public"] == 635
    assert evaluation["figures"]["accuracy"]["value"] == pytest.approx(0.8312, abs=5e-5)


def test_beside_card_joins_by_name():
    table = metrics.beside_card({name: value / 100 for name, value in reversed(metrics.CARD_PERCENT.items())})
    assert table["ours"].to_numpy() == pytest.approx(table["card"].to_numpy())
    assert table.index.tolist() == list(metrics.CARD_PERCENT)


def test_the_measures_that_pick_an_epoch_are_scikit_learns():
    rng = np.random.default_rng(3)
    counts = rng.integers(1, 40, (6, 2, 2))
    found = metrics.measures_of_counts(counts)
    assert tuple(found) == metrics.MEASURES
    for i, of_one in enumerate(counts):
        labels = np.repeat(["private", "private", "public", "public"], of_one.ravel())
        predictions = np.repeat(["private", "public", "private", "public"], of_one.ravel())
        expected = (
            oracle.balanced_accuracy_score(labels, predictions),
            oracle.accuracy_score(labels, predictions),
            oracle.f1_score(labels, predictions, average="macro"),
            oracle.f1_score(labels, predictions, average="weighted"),
        )
        assert [found[name][i] for name in metrics.MEASURES] == pytest.approx(expected, abs=1e-12)


@pytest.fixture
def sources() -> pd.DataFrame:
    """60 photos of ``b`` with both classes and 10 private ones of ``a``, of which 7 are found."""
    labels, predictions = random_predictions(7, 60)
    b = pd.DataFrame({"source": "b", "label": labels, "prediction": predictions})
    a = pd.DataFrame({"source": "a", "label": "private", "prediction": ["private"] * 7 + ["public"] * 3})
    return pd.concat([b, a], ignore_index=True)


def test_each_source_has_the_figures_of_its_photos_alone(sources):
    table = metrics.by_source(sources).set_index("source")
    assert table.index.tolist() == ["a", "b", "all"]
    for source, part in {"b": sources[sources["source"] == "b"], "all": sources}.items():
        expected = metrics.card_metrics(part["label"], part["prediction"])
        row = table.loc[source]
        for name in ("private_recall", "public_recall", "balanced_accuracy", "accuracy"):
            assert row[name] == pytest.approx(expected[name], abs=1e-12)
            assert row[f"{name}_low"] < row[name] < row[f"{name}_high"]


@pytest.mark.parametrize(("k", "n"), [(0, 10), (3, 10), (10, 10), (1234, 2304)])
def test_the_interval_is_scipys_wilson_interval(k, n):
    interval = scipy.stats.binomtest(k, n).proportion_ci(method="wilson")
    assert metrics.wilson_interval(k / n, n) == pytest.approx((interval.low, interval.high), abs=1e-12)


def test_a_source_without_public_photos_has_no_figure_that_needs_them(sources):
    row = metrics.by_source(sources).set_index("source").loc["a"]
    assert (row["n_private"], row["n_public"]) == (10, 0)
    wilson = proportion_confint(7, 10, method="wilson")
    for name in ("private_recall", "accuracy"):
        found = [row[name], row[f"{name}_low"], row[f"{name}_high"]]
        assert found == pytest.approx([0.7, *wilson], abs=1e-9)
    missing = [f"{name}{end}" for name in ("public_recall", "balanced_accuracy") for end in ("", "_low", "_high")]
    assert row[missing].isna().all()


def two_models(n: int = 300) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(11)
    labels = rng.choice(CLASSES, n, p=[0.3, 0.7])
    a, b = (
        np.where(rng.random(n) < right, labels, np.where(labels == "private", *CLASSES[::-1])) for right in (0.85, 0.75)
    )
    return labels, a, b


def test_mcnemars_test_is_that_of_statsmodels():
    labels, a, b = two_models()
    found = metrics.compare(labels, a, b)
    right = pd.crosstab(a == labels, b == labels)
    assert (found["only_a_right"], found["only_b_right"]) == (right.loc[True, False], right.loc[False, True])
    # 1e-9: two sums of the same binomial terms
    assert found["mcnemar_p"] == pytest.approx(mcnemar(right, exact=True).pvalue, rel=1e-9)


def test_the_difference_of_two_models_has_scipys_paired_bootstrap_interval():
    labels, a, b = two_models()
    found = metrics.compare(labels, a, b)["private_recall"]
    a_right, b_right = ((of == labels)[labels == "private"].astype(float) for of in (a, b))
    expected = scipy.stats.bootstrap(
        (a_right, b_right), lambda x, y, axis: x.mean(axis) - y.mean(axis), paired=True, vectorized=True,
        n_resamples=10_000, method="percentile", rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    assert found["difference"] == pytest.approx(a_right.mean() - b_right.mean(), abs=1e-12)
    # A difference over about 90 photos moves in steps of 1 / 90; two bootstraps may differ by one step.
    assert [found["low"], found["high"]] == pytest.approx(list(expected), abs=1.01 / len(a_right))


def test_differences_are_those_of_the_card_metrics_and_change_sign_with_the_order():
    labels, a, b = two_models()
    ours, theirs = metrics.card_metrics(labels, a), metrics.card_metrics(labels, b)
    ab, ba = metrics.compare(labels, a, b), metrics.compare(labels, b, a)
    for name in ("balanced_accuracy", "private_recall", "accuracy"):
        assert ab[name]["difference"] == pytest.approx(ours[name] - theirs[name], abs=1e-12)
        assert ba[name]["difference"] == pytest.approx(-ab[name]["difference"], abs=1e-12)
        assert ab[name]["low"] < ab[name]["difference"] < ab[name]["high"]


def test_a_model_does_not_differ_from_itself():
    labels, a, _ = two_models()
    found = metrics.compare(labels, a, a)
    assert (found["only_a_right"], found["only_b_right"], found["mcnemar_p"]) == (0, 0, 1.0)
    assert found["accuracy"] == {"difference": 0, "low": 0, "high": 0}


def test_models_are_only_compared_on_the_same_photos_of_both_classes():
    with pytest.raises(ValueError, match="2 labels, 2 predictions of a, 1 of b"):
        metrics.compare(["private", "public"], ["private"] * 2, ["private"])
    with pytest.raises(ValueError, match=r"\['private'\]; photos of both"):
        metrics.compare(["private"], ["private"], ["private"])


def scored(seed: int, n: int = 200) -> pd.DataFrame:
    """Photos with probabilities rounded to two digits, so that many are equal."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(CLASSES, n, p=[0.4, 0.6])
    p_private = np.clip(rng.normal(np.where(labels == "private", 0.6, 0.4), 0.2), 0, 1).round(2)
    return pd.DataFrame({"label": labels, "p_private": p_private})


def test_ranking_has_private_for_positive():
    found = metrics.ranking(["private", "private", "public", "public"], [0.9, 0.4, 0.6, 0.1])
    assert found["roc_auc"] == 0.75  # 3 of the 4 pairs are in order
    assert found["average_precision"] == pytest.approx((1 + 2 / 3) / 2)


def test_each_threshold_has_the_figures_of_the_predictions_it_makes():
    photos = scored(1)
    for row in metrics.threshold_table(photos["label"], photos["p_private"], [0, 0.37, 0.5, 0.9]).to_dict("records"):
        predictions = np.where(photos["p_private"] >= row["threshold"], *CLASSES)
        expected = metrics.card_metrics(photos["label"], predictions)
        assert row["called_private"] == (predictions == "private").sum()
        for name in ("private_recall", "private_precision", "public_recall", "balanced_accuracy", "accuracy"):
            assert row[name] == pytest.approx(expected[name], abs=1e-12)


def test_where_no_photo_is_called_private_there_is_no_precision():
    table = metrics.threshold_table(["private", "public"], [0.2, 0.2], [0.2, 0.3])
    assert table["called_private"].tolist() == [2, 0]
    assert table["private_precision"].isna().tolist() == [False, True]
    assert table["private_recall"].tolist() == [1, 0]


def test_a_threshold_for_a_recall_is_the_largest_that_reaches_it_on_the_other_split():
    val, test = scored(2), scored(3)
    table = metrics.thresholds_for_recall(val, test, (0.7, 0.95, 1))
    p_of_private = val.loc[val["label"] == "private", "p_private"]
    for row in table.itertuples():
        assert (p_of_private >= row.threshold).mean() == row.chosen_recall >= row.wanted_recall
        assert (p_of_private > row.threshold).mean() < row.wanted_recall
    expected = metrics.threshold_table(test["label"], test["p_private"], table["threshold"])
    pd.testing.assert_frame_equal(table[expected.columns], expected)


def test_without_val_photos_no_threshold_is_chosen():
    table = metrics.thresholds_for_recall(scored(2).iloc[:0], scored(3))
    assert table.empty
    assert table.columns[:3].tolist() == ["wanted_recall", "chosen_recall", "threshold"]


def test_a_recall_that_cannot_be_wanted_is_named():
    with pytest.raises(ValueError, match=r"wanted=\[0.0, 70.0\]"):
        metrics.thresholds_for_recall(scored(2), scored(3), (0, 0.5, 70))


@pytest.mark.parametrize(
    ("labels", "p_private", "said"),
    [
        (["public", "public"], [0.1, 0.2], r"\['public'\]; photos of both"),
        (["private", "public", "unknown"], [0.1, 0.2, 0.3], "no others"),
        (["private", "public"], [0.1], "2 labels, 1 probabilities"),
        (["private", "public"], [np.nan, 1.5], "2 of 2 probabilities are not in .*photo 0: nan, photo 1: 1.5"),
    ],
)
def test_probabilities_that_cannot_be_judged_are_named(labels, p_private, said):
    with pytest.raises(ValueError, match=said):
        metrics.ranking(labels, p_private)
