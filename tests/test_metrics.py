import numpy as np
import pandas as pd
import pytest
import scipy.stats
from sklearn import metrics as oracle

from s2p_lib import metrics
from s2p_lib.claims import CARD_CONFUSION
from s2p_lib.samples import CLASSES


def random_predictions(seed: int, n: int = 200) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.choice(CLASSES, n, p=[0.3, 0.7])
    return labels, np.where(rng.random(n) < 0.7, labels, rng.choice(CLASSES, n))


def test_the_cards_confusion_matrix_gives_the_cards_figures():
    figures = metrics.metrics_of_counts(CARD_CONFUSION)
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


# Percent, from the README of the reference data: private P R F1, public P R F1, macro P, BA, ACC.
PUBLISHED_FILES = {
    ("ipd", "rand-fold0", "gt-fold0", 0): [33.21, 49.00, 39.59, 66.54, 50.72, 57.56, 49.87, 49.86, 50.14],
    ("ipd", "cls0-fold0", "gt-fold0", 0): [33.33, 100, 50, 0, 0, 0, 16.67, 50, 33.33],
    ("privacyalert", "rand-original", "gt-original", 1): [
        24.23,
        47.33,
        32.05,
        74.27,
        50.67,
        60.24,
        49.25,
        49.00,
        49.83,
    ],
    ("privacyalert", "cls1-original", "gt-original", 1): [25, 100, 40, 0, 0, 0, 12.5, 50, 25],
}


@pytest.mark.parametrize(("dataset", "file", "truth", "private_code"), PUBLISHED_FILES)
def test_published_prediction_files_have_the_expected_figures(reference, dataset, file, truth, private_code):
    folder = reference / "released_predictions" / dataset
    codes = {private_code: "private", 1 - private_code: "public"}
    images = pd.read_csv(folder / f"{file}.csv", dtype={"image": str})["image"]
    samples = pd.DataFrame({"image": images, "split": "test", "label": "unknown"})
    labels = metrics.read_released_predictions(folder / f"{truth}.csv", samples, codes)
    samples["label"] = labels["prediction"]
    table = metrics.read_released_predictions(folder / f"{file}.csv", samples, codes)
    figures = metrics.card_metrics(table["label"], table["prediction"])
    expected = PUBLISHED_FILES[dataset, file, truth, private_code]
    assert [round(100 * value, 2) for value in figures.values()] == pytest.approx(expected, abs=0.0051)


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
    labels, predictions = counts_to_photos(CARD_CONFUSION)
    evaluation = metrics.evaluate(labels, predictions)
    assert evaluation["photos"] == {"private": 2304, "public": 4608}
    assert evaluation["confusion"]["private_called_public"] == 635
    assert evaluation["figures"]["accuracy"]["value"] == pytest.approx(0.8312, abs=5e-5)


def test_released_format_keeps_meaning_and_order():
    samples = pd.DataFrame({"image": ["b", "a"], "split": "test", "label": ["public", "private"]})
    table = metrics.predictions_table(samples, np.array([0.9, 0.2]))
    released = metrics.released_predictions(table)
    assert table["prediction"].tolist() == ["private", "public"]
    assert released["image"].tolist() == ["b", "a"]
    assert released["pred_class"].tolist() == [0, 1]
    assert released["probability"].tolist() == [0.9, 0.8]


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
def three() -> pd.DataFrame:
    return pd.DataFrame({"image": ["1.5", "a", "007"], "split": "test", "label": ["public", "private", "public"]})


def test_written_predictions_are_read_back(three, tmp_path):
    predictions = metrics.predictions_table(three, np.array([0.9, 0.2, 0.5]))
    metrics.released_predictions(predictions).iloc[::-1].to_csv(tmp_path / "p.csv", index=False)
    read = metrics.read_released_predictions(tmp_path / "p.csv", three)
    assert read["image"].tolist() == ["1.5", "a", "007"]
    assert read["prediction"].tolist() == predictions["prediction"].tolist()
    assert read["probability"].tolist() == [0.9, 0.8, 0.5]


def test_names_with_folders_and_extensions_and_codes_as_floats_are_read(three, tmp_path):
    rows = "image,probability,pred_class\nbatch0/a.jpg,0.7,1.0\n/data/imgs/1.5,0.6,0.0\n007.PNG,1,0\n"
    (tmp_path / "p.csv").write_text(rows)
    read = metrics.read_released_predictions(tmp_path / "p.csv", three).set_index("image")
    assert read["prediction"].to_dict() == {"1.5": "private", "a": "public", "007": "private"}
    opposite = metrics.read_released_predictions(tmp_path / "p.csv", three, {0: "public", 1: "private"})
    assert opposite["prediction"].tolist() == ["public", "private", "public"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("image,pred_class\na,1\n", "lacks the column.*probability"),
        ("image,probability,pred_class\na,1,1\n007,1,1\n", r"lacks 1 image\(s\), such as 1\.5"),
        ("image,probability,pred_class\na,1,1\n007,1,1\n1.5,1,1\na.jpg,1,1\n", "more than once 1 image.*such as a"),
        ("image,probability,pred_class\na,1,1\n007,1,1\n1.5,1,1\nb,1,1\n", "beyond the samples 1 image.*such as b"),
        ("image,probability,pred_class\na,1,2\n007,1,1\n1.5,1,1\n", "image a has pred_class '2'"),
        ("image,probability,pred_class\na,1.2,1\n007,1,1\n1.5,1,1\n", "probability 1.2"),
        ("", "is no CSV table"),
    ],
)
def test_a_prediction_file_that_cannot_be_used_is_named(three, tmp_path, text, said):
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(ValueError, match=rf"p\.csv.*{said}"):
        metrics.read_released_predictions(tmp_path / "p.csv", three)
