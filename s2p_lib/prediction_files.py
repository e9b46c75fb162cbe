"""Prediction files in the released format: written, read by image name, checked and evaluated."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from s2p_lib.metrics import bootstrap_intervals, confusion_counts, evaluate
from s2p_lib.samples import CLASSES, PRIVATE_IS_0, bare_name, examples

RELEASED_COLUMNS = ("image", "probability", "pred_class")

MIN_PHOTOS_TO_DOUBT = 10  # of each class; all wrong by chance has then a probability below 0.1 % (1 / 2**10)


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


def evaluate_file(
    path: str | Path, samples: pd.DataFrame, codes: Mapping[int, str] = PRIVATE_IS_0
) -> tuple[dict, pd.DataFrame]:
    """``metrics.evaluate`` of a prediction file in the released format, and the table that was evaluated.

    ``samples`` (image, split, label) holds exactly the photos that the file must predict, such as those of one split.
    Arguments, table and errors are those of ``read_released_predictions`` and ``check_coding``.
    """
    table = read_released_predictions(path, samples, codes)
    try:
        check_coding(table, codes)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return evaluate(table["label"], table["prediction"]), table


def read_released_predictions(
    path: str | Path, samples: pd.DataFrame, codes: Mapping[int, str] = PRIVATE_IS_0
) -> pd.DataFrame:
    """A prediction file in the released format, joined to ``samples`` (image, split, label) by image name.

    Columns image, split, label, prediction, probability, in the order of ``samples``. What ``probability`` means
    differs from model to model in the released files: that of the predicted class for S2P. ``codes`` says which class a
    ``pred_class`` is (``1.0`` is 1); PrivacyAlert's files mean the opposite of IPD's. An image may be written as a path
    or with an extension. ValueError, with counts and up to three examples, for a file that is no such table; that
    lacks, doubles or adds an image; or that has another ``pred_class``, or a ``probability`` that is no number in
    [0, 1].
    """
    table = _read_columns(path)
    table["image"] = [bare_name(image) for image in table["image"]]
    _refuse(path, _name_problems(table["image"], samples["image"]), "each image needs exactly one row")
    predictions = pd.to_numeric(table["pred_class"], errors="coerce").map(codes)
    probabilities = pd.to_numeric(table["probability"], errors="coerce")
    allowed = f"allowed are probabilities from 0 to 1 and the classes {_words(codes)}"
    _refuse(path, _value_problems(table, predictions, probabilities), allowed)
    table = table[["image"]].assign(prediction=predictions, probability=probabilities)
    return samples[["image", "split", "label"]].merge(table, on="image", validate="one_to_one")


def check_coding(table: pd.DataFrame, codes: Mapping[int, str] = PRIVATE_IS_0) -> None:
    """Raise ValueError if predictions agree with labels so much less than chance that the coding must be another.

    ``table`` has the columns image, label, prediction, read with ``codes``. A file of PrivacyAlert (0 is public) read
    as one of IPD (0 is private) has each class for the other. That is said where the 99.9 % interval of the balanced
    accuracy (``metrics.bootstrap_intervals``) lies wholly below 50 %. With fewer than ``MIN_PHOTOS_TO_DOUBT`` photos of
    a class nothing is said: a good model may miss them all, as S2P does its nine released demo photos.
    """
    counts = confusion_counts(table["label"], table["prediction"])
    if counts.sum(axis=1).min() < MIN_PHOTOS_TO_DOUBT:
        return
    _, high = bootstrap_intervals(counts, confidence=0.999)["balanced_accuracy"]
    if high >= 0.5:
        return
    right, n = int(np.trace(counts)), int(counts.sum())
    wrong = table[table["label"] != table["prediction"]]
    found = [f"{row.image} (labelled {row.label}, read as {row.prediction})" for row in wrong.itertuples()]
    other = dict(zip(codes, reversed(list(codes.values()))))
    raise ValueError(
        f"read with {_words(codes)}, {right:,} of {n:,} predictions are right, far fewer than by chance; with the "
        f"codes swapped it would be {n - right:,}. Such as {examples(found)}. The file seems to use the other "
        f"dataset's coding: read it with {_words(other)} (--codes)"
    )


def _read_columns(path: str | Path) -> pd.DataFrame:
    """The ``RELEASED_COLUMNS`` of a file as text; an empty field is an empty text."""
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no CSV table in UTF-8: {error}") from None
    if not isinstance(table.index, pd.RangeIndex):  # pandas took the first field of each row for its name
        raise ValueError(f"{path} has rows of more fields than its first line, which names {list(table.columns)}")
    if missing := [column for column in RELEASED_COLUMNS if column not in table]:
        raise ValueError(
            f"{path} lacks the column(s) {missing}; a released prediction file has {RELEASED_COLUMNS}, "
            f"this one has {list(table.columns)}"
        )
    return table[list(RELEASED_COLUMNS)].fillna("")


def _name_problems(found: pd.Series, wanted: pd.Series) -> list[str]:
    """One sentence for each way in which the images of a file are not exactly the wanted ones."""
    names = {
        "named more than once": found[found.duplicated()],
        f"missing of the {len(wanted):,} to be predicted": set(wanted) - set(found),
        "beyond those to be predicted": set(found) - set(wanted),
    }
    return [
        f"{len(set(of)):,} image(s) {kind}, such as {examples(sorted(set(of)))}"
        for kind, of in names.items()
        if len(of)
    ]


def _value_problems(table: pd.DataFrame, predictions: pd.Series, probabilities: pd.Series) -> list[str]:
    """One sentence for each kind of value that no prediction can have; ``table`` has the values as written."""
    bad = {
        ("probability", "that is no number"): probabilities.isna(),
        ("probability", "outside [0, 1]"): probabilities.notna() & ~probabilities.between(0, 1),
        ("pred_class", "that is none of the codes"): predictions.isna(),
    }
    problems = []
    for (column, kind), rows in bad.items():
        if rows.any():
            found = [f"{row.image}: {getattr(row, column)!r}" for row in table[rows].itertuples()]
            problems.append(f"{rows.sum():,} row(s) have a {column} {kind}, such as {examples(found)}")
    return problems


def _refuse(path: str | Path, problems: list[str], allowed: str) -> None:
    if problems:
        raise ValueError(f"{path}: {'; '.join(problems)}. {allowed[0].upper()}{allowed[1:]}.")


def _words(codes: Mapping[int, str]) -> str:
    return ", ".join(f"{code} = {name}" for code, name in codes.items())
