"""The card's metrics, from names of classes. Every figure is a fraction in [0, 1]."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import confusion_matrix

from s2p_lib.samples import CLASSES, PRIVATE_IS_0, bare_name

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


# The measures that can pick the kept epoch, named as in the released configuration.
MEASURES = ("balanced_accuracy", "accuracy", "macro_f1_score", "weighted_f1_score")

RELEASED_COLUMNS = ("image", "probability", "pred_class")  # of a prediction file

N_RESAMPLES, BOOTSTRAP_SEED = 10_000, 789

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


def predictions_table(samples: pd.DataFrame, p_private: np.ndarray) -> pd.DataFrame:
    """Columns image, split, label, prediction, p_private; ``p_private`` [N] belongs to the rows of ``samples``.

    Private is predicted above 0.5; at exactly 0.5 too, as argmax takes the first of equal logits.
    """
    table = samples[["image", "split", "label"]].copy()
    table["prediction"] = np.where(p_private >= 0.5, *CLASSES)
    return table.assign(p_private=p_private)


def released_predictions(predictions: pd.DataFrame, codes: Mapping[int, str] = PRIVATE_IS_0) -> pd.DataFrame:
    """The released format: image, probability (of the predicted class), pred_class (as ``codes`` says)."""
    p_private = predictions["p_private"]
    return pd.DataFrame(
        {
            "image": predictions["image"],
            "probability": np.maximum(p_private, 1 - p_private),
            "pred_class": predictions["prediction"].map({name: code for code, name in codes.items()}),
        }
    )


def read_released_predictions(
    path: str | Path, samples: pd.DataFrame, codes: Mapping[int, str] = PRIVATE_IS_0
) -> pd.DataFrame:
    """A prediction file in the released format, joined to ``samples`` (image, split, label) by image name.

    Columns image, split, label, prediction, probability, in the order of ``samples``. What ``probability`` means
    differs from model to model in the released files: that of the predicted class for S2P. ``codes`` says which class a
    ``pred_class`` is (``1.0`` is 1); PrivacyAlert's files mean the opposite of IPD's. An image may be written as a path
    or with an extension. ValueError for a file that is no such table, or lacks, doubles or adds an image.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no CSV table in UTF-8: {error}") from None
    if missing := [column for column in RELEASED_COLUMNS if column not in table]:
        raise ValueError(f"{path} lacks the column(s) {missing}; a released prediction file has {RELEASED_COLUMNS}")
    table["image"] = [bare_name(image) for image in table["image"]]
    wanted, found = set(samples["image"]), set(table["image"])
    for problem, names in {
        "names more than once": table.loc[table["image"].duplicated(), "image"],
        "lacks": wanted - found,
        "holds beyond the samples": found - wanted,
    }.items():
        if len(names):
            some = ", ".join(sorted(set(names))[:3])
            raise ValueError(f"{path} {problem} {len(set(names))} image(s), such as {some}; each needs one row")
    table["prediction"] = pd.to_numeric(table["pred_class"], errors="coerce").map(codes)
    table["probability"] = pd.to_numeric(table["probability"], errors="coerce")
    bad = table["prediction"].isna() | ~table["probability"].between(0, 1)
    if bad.any():
        row = table[bad].iloc[0]
        raise ValueError(
            f"{path}: image {row['image']} has pred_class {row['pred_class']!r} and probability {row['probability']}; "
            f"allowed are {dict(codes)} and 0 to 1 ({bad.sum()} such row(s))"
        )
    return samples[["image", "split", "label"]].merge(
        table[["image", "prediction", "probability"]], on="image", validate="one_to_one"
    )
