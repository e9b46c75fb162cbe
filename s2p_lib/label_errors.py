"""Labels that may be wrong: found by confident learning, and by copies of one photo that are labelled differently.

A suspect is a photo whose label a model of the scenes doubts, and no more: the card's hard cases, where scene and label
disagree, are among them too. Whether the label or the model is wrong, a person must say.
"""

import numpy as np
import pandas as pd
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_predict
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from s2p_lib.audit import MAX_BITS, copy_groups
from s2p_lib.metrics import BOOTSTRAP_SEED, check_probabilities, confusion_counts, metrics_of_counts
from s2p_lib.samples import CLASSES, SPLIT_SEED, examples

# Inverse strength of the penalty, for standardised logits. On the 898 photos of the demo dataset the out-of-sample
# log-loss is 0.413 (C = 0.01), 0.369 (0.1), 0.349 (1), 0.366 (3) and 0.413 (10). It is fixed, so that the labels that
# are in question do not choose it; the more photos there are, the less it matters.
C_STANDARDISED = 1.0

COPY_KINDS = ("same file as another photo", "nearly the same as another photo")  # in audit.csv
MEASURES_LEFT = ("balanced_accuracy", "private_recall", "accuracy")
N_FOLDS = 5
N_RANDOM = 1_000
SUSPECT_COLUMNS = [*("rank", "image", "path", "source", "split", "label", "suggested_label", "p_of_label", "quality")]
PAIR_COLUMNS = [
    *("rank", "image", "path", "label", "p_of_label", "other_image", "other_path", "other_label", "similarity")
]


def doubted_labels(photos: pd.DataFrame, scene_logits: np.ndarray, groups=None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """``suspects`` by ``cross_validated_p``, and the same ``side_by_side``.

    Row i of ``photos`` (columns image, path, source, split, label) belongs to ``scene_logits[i]`` [N, 365]. Both tables
    are empty where a class has too few photos for ``N_FOLDS`` folds, and ``attrs["reason"]`` of both says so.
    """
    if reason := _too_few(photos["label"].to_numpy(), _groups_of(photos["label"], groups), N_FOLDS):
        empty = pd.DataFrame(columns=SUSPECT_COLUMNS), pd.DataFrame(columns=PAIR_COLUMNS)
        for table in empty:
            table.attrs["reason"] = f"labels cannot be checked: {reason}"
        return empty
    p_private = cross_validated_p(scene_logits, photos["label"], groups)
    found = suspects(photos, p_private)
    return found, side_by_side(photos, p_private, found, scene_logits)


def cross_validated_p(
    scene_logits: np.ndarray,
    labels,
    groups=None,
    n_folds: int = N_FOLDS,
    C: float = C_STANDARDISED,
    seed: int = SPLIT_SEED,
) -> np.ndarray:
    """[N] float64: probability of private of each photo, by a model that was fitted without that photo.

    Logistic regression on the standardised ``scene_logits`` [N, 365], in stratified folds over all photos whatever
    their split. ``labels`` [N] are class names. ``groups`` [N] (``groups_of_copies``) numbers copies of a photo alike:
    they stay in one fold, or a photo's own copy would vouch for its label. ValueError for lengths that differ, logits
    that are not finite, other labels than the two classes, and fewer than ``n_folds`` groups with photos of a class.
    """
    scene_logits, labels = np.asarray(scene_logits, dtype=np.float64), np.asarray(labels)
    groups = _groups_of(labels, groups)
    _check_photos(scene_logits, labels, groups, n_folds)
    is_private = labels == "private"
    alone = len(np.unique(groups)) == len(groups)
    # Without copies both split alike, but keeping groups together takes 5 s for the photos of IPD.
    folds = (StratifiedKFold if alone else StratifiedGroupKFold)(n_folds, shuffle=True, random_state=seed)
    parts = list(folds.split(scene_logits, is_private, None if alone else groups))
    model = make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=1000))
    return cross_val_predict(model, scene_logits, is_private, cv=parts, method="predict_proba")[:, 1]


def suspects(photos: pd.DataFrame, p_private: np.ndarray) -> pd.DataFrame:
    """The photos whose label confident learning doubts, one row each, the most doubtful first.

    ``photos`` has the columns image, path, source, split and label; ``p_private[i]`` is the out-of-sample probability
    of row i (``cross_validated_p``). Columns: rank (from 1), image, path, source, split, label, suggested_label,
    p_of_label (probability of the label given), quality (0 to 1, low is doubtful). The cut is cleanlab's: by the noise
    rates that its confident joint estimates (Northcutt, Jiang and Chuang, JAIR 70, 2021). The quality is cleanlab's
    self-confidence, adjusted by the mean of each class, so that photos of the rarer class, of which a model is less
    sure, are not doubted for that alone. Empty where no label is doubted. ValueError as
    ``metrics.check_probabilities``.
    """
    is_private, p_private = check_probabilities(photos["label"], p_private)
    codes = np.where(is_private, CLASSES.index("private"), CLASSES.index("public"))
    p = np.stack([p_private, 1 - p_private], axis=1)  # in the order of CLASSES
    table = photos[["image", "path", "source", "split", "label"]].assign(
        suggested_label=np.array(CLASSES, dtype=object)[1 - codes],
        p_of_label=p[np.arange(len(p)), codes],
        quality=get_label_quality_scores(codes, p, method="self_confidence", adjust_pred_probs=True),
    )
    table = table[find_label_issues(codes, p, n_jobs=1)]
    table = table.sort_values(["quality", "image"], ignore_index=True)
    table.insert(0, "rank", np.arange(1, len(table) + 1))
    return table


def photos_with_copies(photos: pd.DataFrame, problems: pd.DataFrame) -> pd.DataFrame:
    """The rows of ``photos`` of which audit.csv (``problems``) names an exact or a near copy.

    Their hashes are not kept by a run. So only these few photos need to be hashed again (``Run.check_files``), for
    ``contradicting_copies`` and ``groups_of_copies``.
    """
    has_copy = problems["problem"].str.contains("|".join(COPY_KINDS), na=False)
    return photos[photos["image"].isin(problems.loc[has_copy, "image"])].reset_index(drop=True)


def groups_of_copies(images: pd.Series, audit: pd.DataFrame) -> np.ndarray:
    """[N] int64: a number for each image, the same for copies of each other.

    ``audit`` has the columns of ``audit.audit_photos`` for all photos that have copies; any other is its own group.
    """
    numbers = copy_groups(audit)
    images = pd.Series(np.asarray(images))
    group = images.map(numbers).astype(object)
    return pd.factorize(group.where(group.notna(), "image " + images.astype(str)))[0]


def contradicting_copies(photos: pd.DataFrame, audit: pd.DataFrame) -> pd.DataFrame:
    """Pairs of copies with different labels, of which one must be wrong; the most alike first.

    ``photos`` has the columns image, path and label, ``audit`` those of ``audit.audit_photos``. Columns: image_a,
    label_a (private), path_a, image_b, label_b (public), path_b, bits (of 64 in which the perceptual hashes differ, at
    most ``audit.MAX_BITS``; 0 for the same file).
    """
    table = photos.merge(audit[["image", "sha256", "phash"]], on="image", validate="one_to_one").dropna(subset="sha256")
    table["hash"] = table["phash"].fillna(0).astype(np.uint64)
    private, public = (table[table["label"] == name].reset_index(drop=True) for name in CLASSES)
    rows = []
    for a in private.itertuples(index=False):
        bits = np.bitwise_count(public["hash"].to_numpy() ^ np.uint64(a.hash)).astype(int)
        bits[public["phash"].isna() | pd.isna(a.phash)] = 65  # almost no contrast: only the same file is a copy
        bits[public["sha256"] == a.sha256] = 0
        for n in np.flatnonzero(bits <= MAX_BITS):
            b = public.iloc[n]
            rows.append((a.image, a.label, a.path, b["image"], b["label"], b["path"], bits[n]))
    columns = ["image_a", "label_a", "path_a", "image_b", "label_b", "path_b", "bits"]
    pairs = pd.DataFrame(rows, columns=columns).astype({"bits": int})
    return pairs.sort_values(["bits", "image_a", "image_b"], ignore_index=True)


def without_suspects(photos: pd.DataFrame, suspects: pd.DataFrame, n_max: int | None = None) -> pd.DataFrame:
    """What the test figures would be without the first 0, 1, .., ``n_max`` suspects of the test split.

    An upper view, not a corrected result: removing photos that a like-minded model doubts raises any such model's
    figures, whether their labels are wrong or not. The curve of as many test photos drawn at random stands beside it.

    ``photos`` has the columns image, split, label and prediction, ``suspects`` those of ``suspects``. By default n_max
    is the number of test suspects, and never more; at least one photo is left. Columns: removed and photos (left), and
    for balanced_accuracy, private_recall and accuracy (fractions) the figure without the suspects, and _random,
    _random_low, _random_high: mean and middle 95 % over ``N_RANDOM`` random drawings. NaN where a drawing has taken
    every photo of a class. ValueError for a negative n_max, no test photos, and test suspects not among the photos.
    """
    test = photos[photos["split"] == "test"].reset_index(drop=True)
    if test.empty:
        raise ValueError(f"{len(photos)} photos of splits {sorted(set(photos['split']))}: none is of the split test")
    if n_max is not None and n_max < 0:
        raise ValueError(f"n_max={n_max}: it is a number of photos to remove, at least 0")
    rows = _rows_of(test, suspects.loc[suspects["split"] == "test", "image"])
    n_max = min(len(rows) if n_max is None else n_max, len(rows), len(test) - 1)
    counts, removed = confusion_counts(test["label"], test["prediction"]), np.arange(n_max + 1)
    first = test.iloc[rows[:n_max]]
    cells = 2 * (first["label"] == "public").to_numpy() + (first["prediction"] == "public").to_numpy()
    taken = np.zeros((n_max + 1, 4), dtype=np.int64)
    taken[1:] = np.eye(4, dtype=np.int64)[cells.astype(int)].cumsum(axis=0)
    # Of photos drawn at random, the numbers from the four cells are hypergeometric: no photo needs to be touched.
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    drawn = [rng.multivariate_hypergeometric(counts.ravel(), n, N_RANDOM, method="marginals") for n in removed]
    by_suspects = _figures_left(counts - taken.reshape(-1, 2, 2))
    by_chance = _figures_left(counts - np.stack(drawn).reshape(n_max + 1, N_RANDOM, 2, 2))
    table = pd.DataFrame({"removed": removed, "photos": len(test) - removed})
    for name in MEASURES_LEFT:
        low, high = np.quantile(by_chance[name], [0.025, 0.975], axis=1)
        table[name], table[f"{name}_random"] = by_suspects[name], by_chance[name].mean(axis=1)
        table[f"{name}_random_low"], table[f"{name}_random_high"] = low, high
    return table


def side_by_side(
    photos: pd.DataFrame, p_private: np.ndarray, suspects: pd.DataFrame, scene_logits: np.ndarray
) -> pd.DataFrame:
    """For each suspect the most similar photo that surely has the suggested label, for a person to compare.

    Row i of ``photos`` (columns image, path, label) belongs to ``p_private[i]`` and ``scene_logits[i]``; ``suspects``
    is the table of ``suspects``. Surely: it is no suspect, and the probability of its label is at least the mean of its
    class, confident learning's threshold. Columns, in the order of ``suspects``: rank, image, path, label, p_of_label,
    other_image, other_path, other_label, similarity (-1 to 1: cosine of the standardised logits, 0 for unrelated
    scenes). The last four are missing where no photo is sure. ValueError for lengths that differ and suspects not among
    the photos.
    """
    is_private, p_private = check_probabilities(photos["label"], p_private)
    if len(scene_logits) != len(photos):
        raise ValueError(f"{len(photos)} photos, scene logits of {len(scene_logits)}: they must be of the same photos")
    rows = _rows_of(photos, suspects["image"])
    x = StandardScaler().fit_transform(np.asarray(scene_logits, dtype=np.float64))
    table = suspects[["rank", "image", "path", "label", "p_of_label"]].reset_index(drop=True)
    other, similarity = np.full(len(table), -1), np.full(len(table), np.nan)
    for label, of_class, p in (("private", is_private, p_private), ("public", ~is_private, 1 - p_private)):
        sure = of_class & (p >= p[of_class].mean())
        sure[rows] = False
        candidates, asked = np.flatnonzero(sure), np.flatnonzero(suspects["suggested_label"] == label)
        if len(candidates) and len(asked):
            nearest = NearestNeighbors(n_neighbors=1, metric="cosine", algorithm="brute").fit(x[candidates])
            distance, place = nearest.kneighbors(x[rows[asked]])
            other[asked], similarity[asked] = candidates[place[:, 0]], 1 - distance[:, 0]
    for name in ("image", "path", "label"):
        found = photos[name].to_numpy(dtype=object)[other]
        table[f"other_{name}"] = pd.Series(np.where(other >= 0, found, None), dtype=object)
    return table.assign(similarity=similarity)


def _check_photos(scene_logits: np.ndarray, labels: np.ndarray, groups: np.ndarray, n_folds: int) -> None:
    if not len(scene_logits) == len(labels) == len(groups):
        raise ValueError(
            f"scene logits of {len(scene_logits)} photos, {len(labels)} labels, {len(groups)} groups: they must "
            "be of the same photos"
        )
    if unknown := sorted({str(label) for label in labels} - set(CLASSES)):
        raise ValueError(f"labels hold {unknown[:3]}; allowed: {CLASSES}")
    bad = (~np.isfinite(scene_logits)).any(axis=1)
    if bad.any():
        raise ValueError(f"scene logits of {bad.sum()} of {len(bad)} photos are not finite; leave them out first")
    if reason := _too_few(labels, groups, n_folds):
        raise ValueError(f"{reason}. Use fewer folds, or more photos")


def _groups_of(labels, groups) -> np.ndarray:
    """``groups``, or a group of its own for each photo."""
    return np.arange(len(labels)) if groups is None else np.asarray(groups)


def _too_few(labels: np.ndarray, groups: np.ndarray, n_folds: int) -> str:
    """Why these photos cannot be cross-validated; empty if they can."""
    n_groups = {name: len(np.unique(groups[labels == name])) for name in CLASSES}
    if min(n_groups.values()) >= n_folds:
        return ""
    there = ", ".join(f"{n} {name}" for name, n in n_groups.items())
    return f"{n_folds} folds need at least {n_folds} different photos of each class; there are {there}"


def _rows_of(photos: pd.DataFrame, images: pd.Series) -> np.ndarray:
    """Row numbers in ``photos`` of these images, joined by name."""
    names = pd.Index(photos["image"])
    if not names.is_unique:
        twice = names[names.duplicated()].unique()
        raise ValueError(f"{len(twice)} image(s) are there more than once, such as {examples(twice)}; each may be once")
    rows = names.get_indexer(images)
    if (rows < 0).any():
        unknown = list(images[rows < 0])
        raise ValueError(
            f"{len(unknown)} of {len(rows)} suspects are not among the {len(photos)} photos, such as "
            f"{examples(unknown)}; suspects and photos must be of the same run"
        )
    return rows


def _figures_left(counts: np.ndarray) -> dict[str, np.ndarray]:
    """The ``MEASURES_LEFT`` of confusion counts [..., 2, 2], each of shape [...]; NaN where a recall has no photo."""
    with np.errstate(invalid="ignore"):  # the F1 of a class without photos, which is not used
        figures, n_photos = metrics_of_counts(counts), counts.sum(axis=-1)
    has_photos = {"balanced_accuracy": n_photos.all(axis=-1), "private_recall": n_photos[..., 0] > 0, "accuracy": True}
    return {name: np.where(has_photos[name], figures[name], np.nan) for name in MEASURES_LEFT}
