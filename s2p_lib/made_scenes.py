"""Made scene probabilities in the published layout of IPD, of any size: for tests and ``s2p bench``.

They have IPD's numbers of photos by label, source and split. The probabilities are drawn; no figure measured on them
is a result of the paper.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedKFold

from s2p_lib.datasets import IPD_PUBLISHED, MADE_MARKER, SOURCES
from s2p_lib.model import SCENES
from s2p_lib.samples import labels_splits

PER_BATCH = 1_000  # photos in a batch folder, as published
SPREAD, SHIFT = 2.5, 0.8  # of the drawn logits; chosen so that a linear layer is right about four times in five
N_TELLING = 12  # scenes that tell private from public


def make_scene_tree(folder: str | Path, n_photos: int = 34_562, seed: int = 0) -> Path:
    """Write labels, photo index and scene files of about ``n_photos`` below ``folder``; as many as IPD by default."""
    folder = Path(folder)
    rng = np.random.default_rng(seed)
    table = _plan(n_photos, rng)
    _write_annotations(table, folder / "curated_ipd" / "annotations")
    telling = rng.choice(len(SCENES), N_TELLING, replace=False)
    for row in table.itertuples(index=False):
        logits = rng.normal(-2.0, SPREAD, len(SCENES))
        logits[telling] += SHIFT if row.label == "private" else -SHIFT
        path = folder / SOURCES[row.source].scene_folder / "scenes" / row.batch / f"{row.image}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(scene_file(1 / (1 + np.exp(-logits))))
    (folder / MADE_MARKER).write_text(json.dumps({"n_photos": len(table), "seed": seed}))
    return folder


def scene_file(probabilities: np.ndarray) -> str:
    """The text of a published scene file from [365] probabilities."""
    return "scene;conf\n" + "".join(map("%s;%.6f\n".__mod__, zip(SCENES, probabilities)))


def _plan(n_photos: int, rng: np.random.Generator) -> pd.DataFrame:
    """One row per photo, shuffled: image, source, label, batch, and the split columns Final, Fold 0 .. Fold 2."""
    n_all = IPD_PUBLISHED["all", "private"] + IPD_PUBLISHED["all", "public"]
    parts = []
    for source in ("vispr", "picalert"):
        for label in ("private", "public"):
            n = round(n_photos * IPD_PUBLISHED[source, label] / n_all)
            parts.append(pd.DataFrame({"source": source, "label": label}, index=range(n)))
    table = pd.concat(parts).sample(frac=1, random_state=rng).reset_index(drop=True)
    number = np.arange(len(table))
    table["image"] = np.where(table["source"] == "vispr", "2017_", "4") + pd.Series(10_000_000 + number).astype(str)
    table["batch"] = [f"batch{n // PER_BATCH:02d}" for n in table.groupby("source").cumcount()]
    test = np.zeros(len(table), dtype=bool)
    for label in ("private", "public"):
        n_test = round(n_photos * IPD_PUBLISHED["test", label] / n_all)
        test[np.flatnonzero(table["label"] == label)[:n_test]] = True
    rest = np.flatnonzero(~test)
    table["Final"] = np.where(test, 2, 0)
    folds = StratifiedKFold(3, shuffle=True, random_state=0).split(rest, table.loc[rest, "label"])
    for fold, (_, val) in enumerate(folds):
        table[f"Fold {fold}"] = table["Final"]
        table.loc[rest[val], f"Fold {fold}"] = 1
    return table


def _write_annotations(table: pd.DataFrame, folder: Path) -> None:
    folder.mkdir(parents=True)
    labels_splits(table, table.filter(regex="^(Final|Fold)")).to_csv(folder / "labels_splits.csv", index=False)
    entries = [
        {"image": row.image, "dataset": row.source, "fullpath": f"{row.batch}/{row.image}.jpg"}
        for row in table.itertuples(index=False)
    ]
    index = {"datasets": {name: {"data_dir": f"/not/here/curated_{name}"} for name in ("picalert", "vispr")}}
    (folder / "ipd_imgs_curated.json").write_text(json.dumps(index | {"annotations": entries}))
