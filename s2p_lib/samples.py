"""Dataset trees in the published layout -> one table of samples, one row per photo.

A samples table has the columns ``image`` (name without extension, unique), ``path`` (relative to the
dataset's folder), ``source`` (``picalert`` or ``vispr``), ``label`` (``private`` or ``public``) and
``split`` (``train``, ``val`` or ``test``). Whatever cannot become a sample is a row of a problems table:
``image``, ``path``, ``problem``, ``action``.
"""

import json
from collections import defaultdict
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedKFold, train_test_split

CLASSES = ("private", "public")  # also the order of the two privacy logits in the released IPD models
SPLITS = ("train", "val", "test")
SAMPLE_COLUMNS = ["image", "path", "source", "label", "split"]
PROBLEM_COLUMNS = ["image", "path", "problem", "action"]

IPD_LABELS = {0: "private", 1: "public"}  # PrivacyAlert's files mean the opposite
SPLIT_CODES = {0: "train", 1: "val", 2: "test"}
ENTRY_KEYS = ("image", "dataset", "fullpath")  # of ipd_imgs_curated.json
ELSEWHERE = "in another batch folder than listed"  # such a photo is used
INVALID = -1

# What the model card and the paper's data record print for IPD, photos by label.
IPD_PUBLISHED = {"all": {"private": 11_211, "public": 23_351}, "test": {"private": 2_304, "public": 4_608}}


def read_ipd(data_dir: str | Path, fold: int | str = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Samples and problems of an Image Privacy Dataset tree.

    ``data_dir`` is the parent of ``curated_ipd``, ``curated_picalert`` and ``curated_vispr``. Labels and the
    published split of ``fold`` (a number, ``final`` or ``original``) are joined to the photos by image name, and rows
    are sorted by it, so that the order of the files does not matter. Raises FileNotFoundError for a missing tree and
    ValueError for a label file that cannot be used.
    """
    label_file, photo_index = ipd_annotations(data_dir)
    labels = _read_labels(label_file, fold_column(fold))
    photos = _read_photo_index(photo_index, Path(data_dir))
    table = labels.merge(photos, on="image", how="outer", validate="one_to_one")
    table["problem"] = _first_problem(table)
    usable = table["problem"].isna() | table["problem"].str.startswith(ELSEWHERE)
    table["action"] = np.where(usable, "used", "left out")
    samples = table.loc[usable, SAMPLE_COLUMNS].reset_index(drop=True)
    problems = table.loc[table["problem"].notna(), PROBLEM_COLUMNS].reset_index(drop=True)
    return samples, problems


def fold_column(fold: int | str) -> str:
    """The column of ``labels_splits.csv`` that holds the split: ``Fold 0``, ``Fold 1``, .., ``Final``, ``Original``."""
    return f"Fold {fold}" if isinstance(fold, int) else fold.capitalize()


def labels_splits(samples: pd.DataFrame, splits: pd.DataFrame) -> pd.DataFrame:
    """The released ``labels_splits.csv`` of IPD: label code 0 is private; ``splits`` holds its split columns.

    Row i of ``splits`` (0 train, 1 val, 2 test) belongs to row i of ``samples`` (columns image, label).
    """
    codes = {name: code for code, name in IPD_LABELS.items()}
    table = pd.DataFrame({"ID": range(len(samples)), "Image Name": samples["image"].to_numpy()})
    table["Label 2-class"] = samples["label"].map(codes).to_numpy()
    return table.join(splits.reset_index(drop=True))


def released_splits(samples: pd.DataFrame, fold: int | str) -> pd.DataFrame:
    """``labels_splits`` of a samples table: ``Final`` (no validation) and the column of ``fold``."""
    codes = samples["split"].map({name: code for code, name in SPLIT_CODES.items()})
    columns = {"Final": codes.replace(1, 0)} | ({} if fold == "final" else {fold_column(fold): codes})
    return labels_splits(samples, pd.DataFrame(columns))


def ipd_annotations(data_dir: str | Path) -> tuple[Path, Path]:
    """The two published annotation files: labels and splits, and where the photos are."""
    folder = Path(data_dir) / "curated_ipd" / "annotations"
    return folder / "labels_splits.csv", folder / "ipd_imgs_curated.json"


def stratified_splits(labels: pd.Series, n_folds: int = 3, test_share: float = 0.2, seed: int = 789) -> pd.DataFrame:
    """Split codes (0 train, 1 val, 2 test) in columns ``Final, Fold 0, ..``: one test part, then K folds.

    Both steps are stratified by ``labels``. ``Final`` has no validation part. The card says K = 3.
    """
    rest, test = train_test_split(np.arange(len(labels)), test_size=test_share, stratify=labels, random_state=seed)
    codes = np.zeros((len(labels), 1 + n_folds), dtype=int)
    codes[test] = 2
    folds = StratifiedKFold(n_folds, shuffle=True, random_state=seed).split(rest, np.asarray(labels)[rest])
    for fold, (_, val) in enumerate(folds):
        codes[rest[val], 1 + fold] = 1
    return pd.DataFrame(codes, columns=["Final"] + [f"Fold {k}" for k in range(n_folds)])


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


def counts_beside_card(samples: pd.DataFrame) -> pd.DataFrame:
    """Photos by label, in all and in test: the card's IPD beside ours, with the share of private photos in percent."""
    counts = count_labels(samples)
    rows = {
        f"{where}, {part}": {**of_part, "private share, %": round(100 * of_part["private"] / sum(of_part.values()), 2)}
        for part in ("all", "test")
        for where, of_part in (("card (IPD)", IPD_PUBLISHED[part]), ("ours", counts.loc[part].to_dict()))
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def published_folds(data_dir: str | Path) -> pd.DataFrame:
    """One row per fold column of the label file, to see what kind of split it is.

    Columns: fold, train, val, test (labelled photos), private_percent_train, .._val, .._test, and same_test (the test
    photos are those of the first fold).
    """
    path = ipd_annotations(data_dir)[0]
    columns = [c for c in _read_csv(path).columns if c.startswith("Fold ")]
    tables = {column: _read_labels(path, column).dropna() for column in columns}
    first_test = None
    rows = []
    for column, table in tables.items():
        test = set(table.loc[table["split"] == "test", "image"])
        first_test = test if first_test is None else first_test
        sizes = {split: int((table["split"] == split).sum()) for split in SPLITS}
        is_private = (table["label"] == "private").groupby(table["split"]).mean() * 100
        shares = {f"private_percent_{split}": round(is_private.get(split, np.nan), 2) for split in SPLITS}
        rows.append({"fold": column, **sizes, **shares, "same_test": test == first_test})
    return pd.DataFrame(rows)


def _read_csv(path: Path) -> pd.DataFrame:
    """Every cell as text; ValueError that names the file if it is no CSV table."""
    try:
        return pd.read_csv(_must_exist(path), dtype=str, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no CSV table in UTF-8: {error}") from None


def _read_labels(path: Path, fold_column: str) -> pd.DataFrame:
    """Columns image, label, split of one released ``labels_splits.csv``; invalid label or split as NaN."""
    table = _read_csv(path)
    needed = ["Image Name", "Label 2-class", fold_column]
    missing = [column for column in needed if column not in table.columns]
    if missing:
        raise ValueError(
            f"{path} lacks the column(s) {missing}; it has {list(table.columns)}. "
            "Use the released labels_splits.csv, or choose a fold that it has (parameter fold)."
        )
    _must_be_unique_names(table["Image Name"], path)
    labels = _codes(table, "Label 2-class", [*IPD_LABELS, INVALID], path)
    splits = _codes(table, fold_column, [*SPLIT_CODES, INVALID], path)
    return pd.DataFrame(
        {"image": table["Image Name"], "label": labels.map(IPD_LABELS), "split": splits.map(SPLIT_CODES)}
    )


def _read_photo_index(path: Path, data_dir: Path) -> pd.DataFrame:
    """Columns image, source, path, note of ``ipd_imgs_curated.json``; the note says if a file is not in its place.

    The sibling folder ``curated_<source>`` is preferred to the ``data_dir`` written in the file, which is often
    a path of the authors' machine, and must not point a moved dataset back to its old place.
    """
    datasets, entries = _read_index(path)
    _must_be_unique_names(entries["image"], path)
    located = [
        _locate(of_source, _source_folder(data_dir, source, datasets), data_dir, path)
        for source, of_source in entries.groupby("dataset", sort=False)
    ]
    return pd.concat(located)


def _read_index(path: Path) -> tuple[dict, pd.DataFrame]:
    """The ``datasets`` object, and the annotations as text columns image, dataset, fullpath."""
    try:
        index = json.loads(_must_exist(path).read_text(encoding="utf-8"))
    except ValueError as error:  # broken JSON, or not UTF-8
        raise ValueError(f"{path} is no JSON file: {error}") from None
    datasets, annotations = (index.get(key) if isinstance(index, dict) else None for key in ("datasets", "annotations"))
    if not isinstance(datasets, dict) or not isinstance(annotations, list) or not annotations:
        raise ValueError(
            f"{path} needs an object 'datasets' and a list 'annotations'. Use the released ipd_imgs_curated.json."
        )
    for entry in annotations:
        if not isinstance(entry, dict) or any(entry.get(key) in (None, "") for key in ENTRY_KEYS):
            raise ValueError(f"{path}: the annotation {entry!r} lacks one of {ENTRY_KEYS}.")
    return datasets, pd.DataFrame(annotations)[list(ENTRY_KEYS)].astype(str)


def _source_folder(data_dir: Path, source: str, datasets: dict) -> Path:
    sibling = data_dir / f"curated_{source}"
    listed = Path((datasets.get(source) or {}).get("data_dir", sibling))
    for folder in (sibling, listed):
        if (folder / "imgs").is_dir():
            return folder
    raise FileNotFoundError(
        f"no photos of {source!r}: neither {sibling / 'imgs'} nor {listed / 'imgs'} is a folder. "
        "data_dir must be the parent folder of the curated_* folders."
    )


def _locate(entries: pd.DataFrame, root: Path, data_dir: Path, listed_in: Path) -> pd.DataFrame:
    """Where each listed photo really is: at its place, else under the same name in another batch folder."""
    on_disk = {file.relative_to(root / "imgs").as_posix() for file in (root / "imgs").glob("*/*")}
    by_name = defaultdict(list)
    for path in sorted(on_disk):
        by_name[PurePosixPath(path).name].append(path)
    rows = []
    for image, source, fullpath in entries.itertuples(index=False):
        _must_stay_inside(fullpath, image, listed_in)
        listed = PurePosixPath(fullpath).as_posix()
        elsewhere = by_name[PurePosixPath(listed).name]
        if listed in on_disk:
            place, note = listed, None
        elif len(elsewhere) == 1:
            place, note = elsewhere[0], f"{ELSEWHERE} ({listed})"
        else:
            place, note = (
                listed,
                f"missing file; that name is in: {', '.join(elsewhere)}" if elsewhere else "missing file",
            )
        rows.append((image, source, _relative(root / "imgs" / place, data_dir), note))
    return pd.DataFrame(rows, columns=["image", "source", "path", "note"], dtype=object)


def _relative(path: Path, folder: Path) -> str:
    """``path`` relative to ``folder`` where it lies below it, so that a run's tables hold no machine path."""
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)


def _first_problem(table: pd.DataFrame) -> pd.Series:
    """The reason that keeps each row from being a plain sample, most basic first; None for a good row."""
    problem = table["note"].astype(object)
    problem = problem.mask(table["path"].isna(), "no photo listed in ipd_imgs_curated.json")
    problem = problem.mask(table["split"].isna(), "no valid split in labels_splits.csv")
    problem = problem.mask(table["label"].isna(), "no valid label in labels_splits.csv")
    return problem.where(problem.notna(), None)


def _must_exist(path: Path) -> Path:
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} not found. data_dir must be the parent folder of curated_ipd, curated_picalert and "
            "curated_vispr, as unpacked from the published archive."
        )
    return path


def _must_be_unique_names(images: pd.Series, path: Path) -> None:
    if (images == "").any():
        raise ValueError(f"{path} has {(images == '').sum()} row(s) without an image name; give each row one.")
    doubled = sorted(images[images.duplicated()].unique())
    if doubled:
        raise ValueError(
            f"{path} names {len(doubled)} image(s) more than once: {', '.join(doubled[:3])}. "
            "Samples are joined by image name, so keep one row for each."
        )


def _codes(table: pd.DataFrame, column: str, allowed: list[int], path: Path) -> pd.Series:
    """The column as numbers (``1.0`` is 1); ValueError for the first that is not one of ``allowed``."""
    codes = pd.to_numeric(table[column], errors="coerce")
    wrong = table.loc[~codes.isin(allowed), ["Image Name", column]]
    if len(wrong):
        image, value = wrong.iloc[0]
        raise ValueError(
            f"{path}: column {column!r} of image {image} holds {value!r} ({len(wrong)} such row(s)); allowed: {allowed}"
        )
    return codes


def _must_stay_inside(listed: str, image: str, path: Path) -> None:
    parts = PurePosixPath(listed)
    if parts.is_absolute() or ".." in parts.parts:
        raise ValueError(f"{path}: fullpath {listed!r} of image {image} leaves its dataset folder; refused.")
