"""The card's metrics, from names of classes: with intervals, per source, by threshold, and of two models compared.

Every figure is a fraction in [0, 1]. ``labels`` and ``predictions`` are sequences [N] of class names, ``p_private`` [N]
is the probability of private.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import binomtest, norm
from sklearn.metrics import average_precision_score, confusion_matrix, roc_auc_score

from s2p_lib.samples import CLASSES, examples

# Results table of the model card, S2P-IPD-1.0.0, IPD test split, in percent.
CARD_PERCENT = {
    "private_precision": 75.83,
    "private_recall": 72.44,
    "private_f1": 74.10,
    "public_precision": 86.52,
    "public_recall": 88.45,
    "public_f1": 87.48,
    "precision": 81.18,
    "balanced_accuracy": 80.45,
    "accuracy": 83.12,
}
CARD_CONFUSION = np.array([[1669, 635], [532, 4076]])  # the only one behind them: rows labels, columns predictions


# The measures that can pick the kept epoch, named as in the released configuration.
MEASURES = ("balanced_accuracy", "accuracy", "macro_f1_score", "weighted_f1_score")

N_RESAMPLES, BOOTSTRAP_SEED = 10_000, 789
Z_95 = norm.ppf(0.975)

THRESHOLDS = np.linspace(0, 1, 101)
WANTED_RECALLS = (0.7, 0.8, 0.9, 0.95)

MISSED_PRIVATE, FALSE_PRIVATE, CORRECT = "missed private", "false private", "correct"


def outcomes(labels, predictions) -> np.ndarray:
    """[N] of ``missed private`` (private called public), ``false private`` (public called private), ``correct``."""
    wrong = np.where(np.asarray(labels) == "private", MISSED_PRIVATE, FALSE_PRIVATE)
    return np.where(np.asarray(labels) == np.asarray(predictions), CORRECT, wrong)


def confusion_counts(labels, predictions) -> np.ndarray:
    """(2, 2) int64: rows are labels, columns predictions, both in the order private, public."""
    return confusion_matrix(labels, predictions, labels=list(CLASSES))


def card_metrics(labels, predictions) -> dict[str, float]:
    """The nine figures of the card's results table, keyed as in ``CARD_PERCENT``.

    ``labels`` and ``predictions`` are sequences [N] of class names.
    """
    figures = metrics_of_counts(confusion_counts(labels, predictions))
    return {name: float(value) for name, value in figures.items()}


def metrics_of_counts(counts: np.ndarray) -> dict[str, np.ndarray]:
    """The nine figures from confusion counts [..., 2, 2] (rows labels, columns predictions), each of shape [...].

    As scikit-learn with ``zero_division=0``: the precision of a class that is never predicted is 0.
    """
    counts = np.asarray(counts, dtype=float)
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    predicted, labelled = counts.sum(-2), counts.sum(-1)
    precision = np.divide(hits, predicted, out=np.zeros_like(hits), where=predicted > 0)
    recall = np.divide(hits, labelled, out=np.zeros_like(hits), where=labelled > 0)
    f1 = 2 * hits / (predicted + labelled)
    figures = {}
    for i, name in enumerate(CLASSES):
        figures |= {f"{name}_precision": precision[..., i], f"{name}_recall": recall[..., i], f"{name}_f1": f1[..., i]}
    figures |= {"precision": precision.mean(-1), "balanced_accuracy": recall.mean(-1)}
    return figures | {"accuracy": hits.sum(-1) / counts.sum((-2, -1))}


def measures_of_counts(counts: np.ndarray) -> dict[str, np.ndarray]:
    """The ``MEASURES`` from confusion counts [..., 2, 2] (rows labels, columns predictions), each of shape [...].

    The macro F1 is the plain mean of the two classes' F1, the weighted F1 their mean weighted by the labelled photos.
    """
    counts = np.asarray(counts, dtype=float)
    figures = metrics_of_counts(counts)
    f1 = np.stack([figures["private_f1"], figures["public_f1"]], axis=-1)
    share = counts.sum(-1) / counts.sum((-2, -1))[..., None]
    values = figures["balanced_accuracy"], figures["accuracy"], f1.mean(-1), (f1 * share).sum(-1)
    return dict(zip(MEASURES, values))


def bootstrap_intervals(
    counts: np.ndarray, n_resamples: int = N_RESAMPLES, confidence: float = 0.95, seed: int = BOOTSTRAP_SEED
) -> dict[str, tuple[float, float]]:
    """Percentile bootstrap intervals of the nine figures, resampling photos within each label.

    Drawing n photos with replacement from a label of which k were right makes the number right binomial(n, k/n),
    so the confusion counts are resampled directly and no photo needs to be touched.
    """
    counts = np.asarray(counts)
    labelled, hits = counts.sum(1), np.diagonal(counts)
    right = np.random.default_rng(seed).binomial(labelled, hits / labelled, size=(n_resamples, 2))
    resampled = np.zeros((n_resamples, 2, 2))
    resampled[:, [0, 1], [0, 1]] = right
    resampled[:, [0, 1], [1, 0]] = labelled - right
    tail = (1 - confidence) / 2
    return {
        name: tuple(float(bound) for bound in np.quantile(values, [tail, 1 - tail]))
        for name, values in metrics_of_counts(resampled).items()
    }


def evaluate(labels, predictions) -> dict:
    """What ``metrics.json`` holds for one split: counts, the nine figures, and their 95 % intervals.

    ValueError unless both classes are among the labels.
    """
    counts = confusion_counts(labels, predictions)
    if (counts.sum(axis=1) == 0).any():
        raise ValueError(f"labels hold {sorted(set(labels))}; the card's figures need photos of both {CLASSES}")
    intervals = bootstrap_intervals(counts)
    figures = {
        name: {"value": value, "interval_95": list(intervals[name])}
        for name, value in card_metrics(labels, predictions).items()
    }
    names = [f"{label}_called_{prediction}" for label in CLASSES for prediction in CLASSES]
    return {
        "photos": {name: int(n) for name, n in zip(CLASSES, counts.sum(1))},
        "confusion": dict(zip(names, map(int, counts.ravel()))),
        "figures": figures,
        "interval": f"percentile bootstrap within each label, {N_RESAMPLES:,} resamples, seed {BOOTSTRAP_SEED}",
    }


def beside_card(figures: dict[str, float]) -> pd.DataFrame:
    """One row per card figure, in percent, named as in ``CARD_PERCENT``: card, ours."""
    return pd.DataFrame({"card": CARD_PERCENT, "ours": {name: 100 * value for name, value in figures.items()}})


def by_source(predictions: pd.DataFrame) -> pd.DataFrame:
    """How well each source's photos are told apart; ``predictions`` has the columns source, label, prediction.

    One row per source in order of name, then ``all``. Columns: source, n_private, n_public, and private_recall,
    public_recall, balanced_accuracy, accuracy, each followed by its 95 % interval (_low, _high): Wilson's for recalls
    and accuracy, the bootstrap's (``bootstrap_intervals``) for the balanced accuracy. NaN where photos of a class are
    missing: every VISPR photo of IPD is private, so there the source alone tells the label.
    """
    parts = [*predictions.groupby("source"), ("all", predictions)]
    counts = {source: confusion_counts(part["label"], part["prediction"]) for source, part in parts}
    return pd.DataFrame([{"source": source} | _figures_of_source(of_source) for source, of_source in counts.items()])


def compare(labels, a, b) -> dict:
    """Two models ``a`` and ``b`` (their predictions for the same photos in the same order) against each other.

    ``n``; ``only_a_right`` and ``only_b_right``: photos on which they differ; ``mcnemar_p``: the exact two-sided
    McNemar test of these two counts (1 where there are none); and for balanced_accuracy, private_recall and accuracy
    the ``difference`` (a minus b) with ``low`` and ``high``, its 95 % percentile bootstrap interval over
    ``N_RESAMPLES`` resamples of photos within each label. A photo keeps both its predictions, so the intervals of the
    two models may overlap although this one lies clear of 0. ValueError for sequences of different lengths, and unless
    both classes are among the labels.

    Within a label a photo can only be right by both, by a, by b or by neither, so resampling n photos makes the four
    counts multinomial, and no photo needs to be touched.
    """
    labels, a, b = np.asarray(labels), np.asarray(a), np.asarray(b)
    if not len(labels) == len(a) == len(b):
        raise ValueError(
            f"{len(labels)} labels, {len(a)} predictions of a, {len(b)} of b: they must be of the same photos"
        )
    _check_labels(labels)
    kinds = 2 * (a == labels) + (b == labels)  # 0 neither, 1 only b, 2 only a, 3 both
    counts = np.array([np.bincount(kinds[labels == name], minlength=4) for name in CLASSES])
    n_photos = counts.sum(axis=1, keepdims=True)
    resampled = np.random.default_rng(BOOTSTRAP_SEED).multinomial(
        n_photos[:, 0], counts / n_photos, size=(N_RESAMPLES, len(CLASSES))
    )
    _, only_b, only_a, _ = map(int, counts.sum(axis=0))
    mcnemar_p = float(binomtest(only_a, only_a + only_b, 0.5).pvalue) if only_a + only_b else 1.0
    compared = {"n": len(labels), "only_a_right": only_a, "only_b_right": only_b, "mcnemar_p": mcnemar_p}
    differences, of_resamples = _differences(counts), _differences(resampled)
    for name, difference in differences.items():
        low, high = np.quantile(of_resamples[name], [0.025, 0.975])
        compared[name] = {"difference": float(difference), "low": float(low), "high": float(high)}
    return compared


def ranking(labels, p_private) -> dict[str, float]:
    """``roc_auc`` and ``average_precision`` (scikit-learn) of private against public, at no threshold.

    ValueError as ``check_probabilities``.
    """
    is_private, p_private = check_probabilities(labels, p_private)
    return {
        "roc_auc": float(roc_auc_score(is_private, p_private)),
        "average_precision": float(average_precision_score(is_private, p_private)),
    }


def threshold_table(labels, p_private, thresholds: Sequence[float] = THRESHOLDS) -> pd.DataFrame:
    """One row per threshold, from which on a photo is called private; 0.5 is the model's own.

    Columns: threshold, private_recall, private_precision (NaN where no photo is called private), public_recall,
    balanced_accuracy, accuracy, called_private (photos). ValueError as ``check_probabilities``.
    """
    is_private, p_private = check_probabilities(labels, p_private)
    thresholds = np.asarray(thresholds, dtype=float)
    missed = [np.searchsorted(np.sort(p_private[of_class]), thresholds) for of_class in (is_private, ~is_private)]
    called_public = np.stack(missed, axis=1)  # [thresholds, 2]: photos of each label below the threshold
    n_photos = np.array([is_private.sum(), (~is_private).sum()])
    counts = np.stack([n_photos - called_public, called_public], axis=2)
    called_private = counts[:, :, 0].sum(axis=1)
    figures = metrics_of_counts(counts)
    figures["private_precision"] = np.where(called_private > 0, figures["private_precision"], np.nan)
    names = ["private_recall", "private_precision", "public_recall", "balanced_accuracy", "accuracy"]
    table = pd.DataFrame({"threshold": thresholds} | {name: figures[name] for name in names})
    return table.assign(called_private=called_private)


def thresholds_for_recall(
    chosen_on: pd.DataFrame, evaluated_on: pd.DataFrame, wanted: Sequence[float] = WANTED_RECALLS
) -> pd.DataFrame:
    """Thresholds that reach a wanted recall of private on one split (val), and what they give on another (test).

    Both tables have the columns label and p_private. One row per wanted recall: wanted_recall, chosen_recall (that on
    ``chosen_on``, at least the wanted one), then the columns of ``threshold_table`` on ``evaluated_on``. The threshold
    is the largest that reaches the wanted recall. Empty where ``chosen_on`` has no private photo, as fold ``final`` has
    no val: a threshold chosen on the test photos themselves would flatter them. ValueError for a wanted recall outside
    (0, 1].
    """
    wanted = np.asarray(wanted, dtype=float)
    if bad := [float(recall) for recall in wanted if not 0 < recall <= 1]:
        raise ValueError(f"wanted={bad}: a wanted recall is above 0 and at most 1, such as {WANTED_RECALLS}")
    p_of_private = np.sort(chosen_on.loc[chosen_on["label"] == "private", "p_private"].to_numpy(dtype=float))[::-1]
    n = len(p_of_private)
    if n == 0:
        wanted = wanted[:0]
    n_needed = np.ceil(wanted * n - 1e-9).astype(int)  # 0.95 * 20 may come out just above 19
    table = threshold_table(evaluated_on["label"], evaluated_on["p_private"], p_of_private[n_needed - 1])
    table.insert(0, "wanted_recall", wanted)
    table.insert(1, "chosen_recall", (p_of_private >= table["threshold"].to_numpy()[:, None]).sum(axis=1) / n)
    return table


def wilson_interval(share: float, n: float) -> tuple[float, float]:
    """95 % score interval (Wilson 1927) of a share seen in ``n`` photos; NaN if there are none.

    ``n`` need not be whole: a weighted share has an effective number of photos.
    """
    if n == 0:
        return np.nan, np.nan
    centre = (share + Z_95**2 / (2 * n)) / (1 + Z_95**2 / n)
    half = Z_95 / (1 + Z_95**2 / n) * np.sqrt(share * (1 - share) / n + Z_95**2 / (4 * n**2))
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def check_probabilities(labels, p_private) -> tuple[np.ndarray, np.ndarray]:
    """Which photos are private, bool [N], and their ``p_private``, float64 [N].

    ValueError unless both classes and no other are among the labels, and there is a number in [0, 1] for each of them.
    """
    labels, p_private = np.asarray(labels), np.asarray(p_private, dtype=float)
    _check_labels(labels)
    if len(labels) != len(p_private):
        raise ValueError(f"{len(labels)} labels, {len(p_private)} probabilities: they must be of the same photos")
    bad = ~((p_private >= 0) & (p_private <= 1))  # NaN is neither
    if bad.any():
        some = examples(f"photo {i}: {p_private[i]}" for i in np.flatnonzero(bad))
        raise ValueError(f"{bad.sum():,} of {len(bad):,} probabilities are not in [0, 1], such as that of {some}")
    return labels == "private", p_private


def _check_labels(labels: np.ndarray) -> None:
    if (found := sorted({str(label) for label in labels})) != list(CLASSES):
        raise ValueError(
            f"the labels of {len(labels)} photos are {found}; photos of both {CLASSES} are needed, no others"
        )


def _figures_of_source(counts: np.ndarray) -> dict[str, float]:
    """The columns of ``by_source`` after the source, from its confusion counts."""
    n_photos, right = counts.sum(axis=1), np.diagonal(counts)
    figures = {"n_private": int(n_photos[0]), "n_public": int(n_photos[1])}
    for name, k, n in zip(CLASSES, right, n_photos):
        figures |= _named_interval(f"{name}_recall", k, n)
    value, (low, high) = np.nan, (np.nan, np.nan)
    if n_photos.all():
        value, (low, high) = (right / n_photos).mean(), bootstrap_intervals(counts)["balanced_accuracy"]
    figures |= {"balanced_accuracy": value, "balanced_accuracy_low": low, "balanced_accuracy_high": high}
    return figures | _named_interval("accuracy", right.sum(), n_photos.sum())


def _named_interval(name: str, right: int, n: int) -> dict[str, float]:
    share = right / n if n else np.nan
    low, high = wilson_interval(share, n)
    return {name: share, f"{name}_low": low, f"{name}_high": high}


def _differences(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Figures of a minus those of b from counts [..., 2 labels, 4 kinds as in ``compare``], each of shape [...]."""
    more_right, n_photos = counts[..., 2] - counts[..., 1], counts.sum(axis=-1)
    recalls = more_right / n_photos
    return {
        "balanced_accuracy": recalls.mean(axis=-1),
        "private_recall": recalls[..., CLASSES.index("private")],
        "accuracy": more_right.sum(axis=-1) / n_photos.sum(axis=-1),
    }
