"""The samples table, one row per photo: its columns, splits, counts and checks.

Columns: ``image`` (name without extension, unique), ``path`` (relative to the dataset's folder), ``source``, ``label``
(``private`` or ``public``) and ``split`` (``train``, ``val`` or ``test``). Datasets are read in ``datasets.py``.
"""

import itertools
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, train_test_split

CLASSES = ("private", "public")  # also the order of the two privacy logits in the released IPD models
SPLITS = ("train", "val", "test")
SAMPLE_COLUMNS = ["image", "path", "source", "label", "split"]
PROBLEM_COLUMNS = ["image", "path", "problem", "action"]

# What the codes of the released files mean: labels, predictions, and the order of the privacy logits.
PRIVATE_IS_0 = {0: "private", 1: "public"}  # IPD
PUBLIC_IS_0 = {0: "public", 1: "private"}  # PrivacyAlert, PicAlert, VISPR
SPLIT_CODES = {0: "train", 1: "val", 2: "test"}

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")

N_FOLDS, TEST_SHARE, SPLIT_SEED = 3, 0.2, 789  # of splits that the kit makes; the card says K = 3


def bare_name(name: str) -> str:
    """``batch0/123.jpg`` -> ``123``; a dot that begins no photo's (or scene file's) extension belongs to the name."""
    name = PurePosixPath(name).name
    stem, dot, extension = name.rpartition(".")
    return stem if stem and (dot + extension).lower() in (*EXTENSIONS, ".csv") else name


def printable(text: str) -> str:
    """The text with what no UTF-8 file can hold (from odd file names) written as ``\\udce9``."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def examples(names: Iterable, n: int = 3) -> str:
    """The first ``n`` names, with commas, for an error message; an empty name as ``''``, no name at all as ``none``."""
    return ", ".join(str(name) or "''" for name in itertools.islice(names, n)) or "none"


def fold_column(fold: int | str) -> str:
    """The column of ``labels_splits.csv`` that holds the split: ``Fold 0``, ``Fold 1``, .., ``Final``, ``Original``."""
    return f"Fold {fold}" if isinstance(fold, int) else fold.capitalize()


def labels_splits(samples: pd.DataFrame, splits: pd.DataFrame, codes: Mapping[int, str] = PRIVATE_IS_0) -> pd.DataFrame:
    """The released ``labels_splits.csv``; ``splits`` holds its split columns, ``codes`` says what a label code means.

    Row i of ``splits`` (0 train, 1 val, 2 test) belongs to row i of ``samples`` (columns image, label).
    """
    codes = {name: code for code, name in codes.items()}
    table = pd.DataFrame({"ID": range(len(samples)), "Image Name": samples["image"].to_numpy()})
    table["Label 2-class"] = samples["label"].map(codes).to_numpy()
    return table.join(splits.reset_index(drop=True))


def released_splits(
    samples: pd.DataFrame, fold: int | str, label_codes: Mapping[int, str] = PRIVATE_IS_0
) -> pd.DataFrame:
    """``labels_splits`` of a samples table: ``Final`` (no validation) and the column of ``fold``."""
    codes = samples["split"].map({name: code for code, name in SPLIT_CODES.items()})
    columns = {"Final": codes.replace(1, 0)} | ({} if fold == "final" else {fold_column(fold): codes})
    return labels_splits(samples, pd.DataFrame(columns), label_codes)


def stratified_splits(
    labels: pd.Series, n_folds: int = N_FOLDS, test_share: float = TEST_SHARE, seed: int = SPLIT_SEED
) -> pd.DataFrame:
    """Split codes (0 train, 1 val, 2 test) in columns ``Final, Fold 0, ..``: one test part, then K folds.

    Both steps are stratified by ``labels``. ``Final`` has no validation part.
    """
    rest, test = train_test_split(np.arange(len(labels)), test_size=test_share, stratify=labels, random_state=seed)
    codes = np.zeros((len(labels), 1 + n_folds), dtype=int)
    codes[test] = 2
    folds = StratifiedKFold(n_folds, shuffle=True, random_state=seed).split(rest, np.asarray(labels)[rest])
    for fold, (_, val) in enumerate(folds):
        codes[rest[val], 1 + fold] = 1
    return pd.DataFrame(codes, columns=["Final"] + [f"Fold {k}" for k in range(n_folds)])


def check_own_fold(fold: int | str) -> None:
    """Raise ValueError unless ``grouped_splits`` can make this fold."""
    if fold not in (*range(N_FOLDS), "final"):
        raise ValueError(f"fold={fold!r}: this dataset has no published split; the kit makes 0 to {N_FOLDS - 1}, final")


def grouped_splits(labels: pd.Series, groups: pd.Series, fold: int | str, seed: int = SPLIT_SEED) -> pd.Series:
    """``train``, ``val`` or ``test`` for each photo, as ``stratified_splits``, with each group whole in one split.

    ``groups`` [N] numbers the photos that are copies of each other alike. The test part is about ``TEST_SHARE`` of the
    photos; ``fold`` is 0 to ``N_FOLDS`` - 1, or ``final`` (no val). ValueError for another fold or too few photos.
    """
    check_own_fold(fold)
    labels, groups = np.asarray(labels), np.asarray(groups)
    n_parts = round(1 / TEST_SHARE)
    n_groups = {label: len(np.unique(groups[labels == label])) for label in CLASSES}
    if min(n_groups.values()) < n_parts:
        raise ValueError(
            f"a split into train, val and test needs at least {n_parts} different photos of each class; there are "
            + ", ".join(f"{n} {label}" for label, n in n_groups.items())
            + ". audit.csv tells which photos were left out, and why."
        )
    split = np.full(len(labels), "train", dtype=object)
    parts = StratifiedGroupKFold(n_parts, shuffle=True, random_state=seed).split(labels, labels, groups)
    rest, test = next(iter(parts))
    split[test] = "test"
    if fold != "final":
        folds = StratifiedGroupKFold(N_FOLDS, shuffle=True, random_state=seed)
        val = list(folds.split(rest, labels[rest], groups[rest]))[fold][1]
        split[rest[val]] = "val"
    return pd.Series(split, dtype=object)


def draw_sample(samples: pd.DataFrame, max_photos: int | None, seed: int = SPLIT_SEED) -> pd.DataFrame:
    """At most ``max_photos`` rows of a samples table, in their order; all of them by default (None).

    Stratified by split (where there is one), label and source: each group has its share, but at least one photo, and
    each label of a split at least two. Without a split each label has at least as many as ``grouped_splits`` needs. The
    same seed draws the same photos. ValueError if ``max_photos`` is too few for that.
    """
    if max_photos is None or max_photos >= len(samples):
        return samples
    least = 2 if samples["split"].notna().any() else round(1 / TEST_SHARE)
    table = samples.assign(split=samples["split"].astype(object).fillna("none"))
    groups = table.groupby(["split", "label", "source"])
    sizes = groups.size()
    at_least = pd.Series(1, index=sizes.index)
    for _, cell in sizes.groupby(["split", "label"]):
        for _ in range(max(0, min(least, cell.sum()) - len(cell))):
            at_least[(cell - at_least[cell.index]).idxmax()] += 1
    if at_least.sum() > max_photos:
        raise ValueError(
            f"max_photos={max_photos} is too few: {len(sizes)} groups of split, label and source need {at_least.sum()} "
            f"photos to have {least} of each label in each split and one of each source; give more"
        )
    wanted = sizes * max_photos / len(samples)
    n = np.maximum(at_least, np.floor(wanted).astype(int))
    while n.sum() != max_photos:  # what rounding and the least numbers have made too many or too few
        if n.sum() > max_photos:
            n[(n - wanted).where(n > at_least).idxmax()] -= 1
        else:
            n[(n - wanted).where(n < sizes).idxmin()] += 1
    parts = [group.sample(n.iloc[i], random_state=seed) for i, (_, group) in enumerate(groups)]
    return samples.loc[np.sort(np.concatenate([part.index for part in parts]))].reset_index(drop=True)


def check_samples(samples: pd.DataFrame, fold: int | str = 0) -> None:
    """Raise ValueError unless every split of ``fold`` has photos of both classes; ``final`` has no val."""
    counts = count_labels(samples)
    for split in ("train", "test") if fold == "final" else SPLITS:
        for label in CLASSES:
            if counts.loc[split, label] == 0:
                raise ValueError(
                    f"split {split!r} has no {label} photo ({len(samples)} samples in all; per split and label:\n"
                    f"{counts.to_string()}\nTraining and testing need both classes in each split. "
                    "Check audit.csv for photos that were left out, and the label file's fold column."
                )


def count_labels(samples: pd.DataFrame) -> pd.DataFrame:
    """Photos per split (rows) and label (columns), zeros included, with totals in row ``all``."""
    counts = pd.crosstab(samples["split"], samples["label"]).reindex(index=SPLITS, columns=CLASSES, fill_value=0)
    counts.loc["all"] = counts.sum()
    return counts.astype(int)
