"""Datasets on disk -> one samples table: the published trees, and folders of own photos.

A samples table has the columns ``image`` (name without extension, unique), ``path`` (relative to the dataset's
folder; of the photo, or of its scene file), ``source``, ``label`` (``private`` or ``public``) and ``split`` (``train``,
``val``, ``test``, or missing where the dataset has no split of its own). Whatever cannot become a sample is a row of a
problems table: ``image``, ``path``, ``problem``, ``action``.
"""

import json
import os
import posixpath
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import pandas as pd

from s2p_lib.samples import (
    CLASSES,
    EXTENSIONS,
    PRIVATE_IS_0,
    PROBLEM_COLUMNS,
    PUBLIC_IS_0,
    SAMPLE_COLUMNS,
    SPLIT_CODES,
    SPLITS,
    bare_name,
    check_own_fold,
    examples,
    fold_column,
    printable,
)

FEATURES = ("photos", "published_scenes")
INVALID = -1  # label or split code of a photo that is not to be used

ELSEWHERE = "in another batch folder than listed"
OTHER_EXTENSION = "with another extension than listed"
ALSO_IN = "that name is also in"
RENAMED = "named after its whole path, as another photo has the same name"
USED = (ELSEWHERE, OTHER_EXTENSION, ALSO_IN, RENAMED)  # problems that do not keep a photo from being used

LABEL_FILES = ("labels_splits.csv", "labels_split.csv", "labels.csv")  # the first that is there
OWN_LABEL_FILE = "labels.csv"  # in a folder of own photos


@dataclass(frozen=True)
class Source:
    """Where photos come from: names of its photo folder, and of its folder of published scene probabilities."""

    photo_folders: tuple[str, ...]
    scene_folder: str


SOURCES = {
    "picalert": Source(("curated_picalert",), "PicAlert"),
    "vispr": Source(("curated_vispr",), "VISPR"),
    "privacyalert": Source(("curated_privacyalert", "curated-privacy-alert-dataset"), "PrivacyAlert"),
}


@dataclass(frozen=True)
class Dataset:
    """A dataset that the kit knows.

    ``codes`` says which label a code means, in its label file and in released predictions and checkpoints. ``fold`` is
    the split that the paper uses. ``published`` has the published numbers of photos by (part, label), where a part is
    ``all``, a split or a source, and the label ``both`` stands for private and public together.
    """

    folders: tuple[str, ...]
    codes: Mapping[int, str]
    fold: int | str
    published: Mapping[tuple[str, str], int]


# What the model card and the paper's data record print for IPD.
IPD_PUBLISHED = {
    ("all", "private"): 11_211,
    ("all", "public"): 23_351,
    ("test", "private"): 2_304,
    ("test", "public"): 4_608,
    ("vispr", "private"): 6_392,
    ("vispr", "public"): 0,
    ("picalert", "private"): 4_819,
    ("picalert", "public"): 23_351,
}
# 6,800 rows of which 7 are invalid.
PRIVACYALERT_PUBLISHED = {("all", "both"): 6_793, ("test", "private"): 450, ("test", "public"): 1_350}

DATASETS = {
    "demo": Dataset(("curated_ipd",), PRIVATE_IS_0, 0, {}),
    "ipd": Dataset(("curated_ipd",), PRIVATE_IS_0, 0, IPD_PUBLISHED),
    "privacyalert": Dataset(SOURCES["privacyalert"].photo_folders, PUBLIC_IS_0, "original", PRIVACYALERT_PUBLISHED),
    "picalert": Dataset(SOURCES["picalert"].photo_folders, PUBLIC_IS_0, 0, {}),
    "vispr": Dataset(SOURCES["vispr"].photo_folders, PUBLIC_IS_0, 0, {}),
    "folder": Dataset((), PRIVATE_IS_0, 0, {}),
}


# In a folder whose photos the kit has drawn, or whose scene probabilities it has made.
DEMO_MARKER, MADE_MARKER = "demo.json", "made_scenes.json"


def is_made(data_dir: str | Path) -> bool:
    """Whether the kit made what lies there: what is measured on it must never be judged as the paper's."""
    return any((Path(data_dir) / marker).is_file() for marker in (DEMO_MARKER, MADE_MARKER))


class Listing(NamedTuple):
    """What ``read`` found: ``samples`` and ``problems`` (see the module), ``labels`` (image, label, split of every row
    of the label file, invalid ones as NaN), the number of files that no label file names, and whether there is a split.
    """

    samples: pd.DataFrame
    problems: pd.DataFrame
    labels: pd.DataFrame
    n_unlisted: int
    has_split: bool


def read(dataset: str, data_dir: str | Path, fold: int | str | None = None, features: str = "photos") -> Listing:
    """The samples of one of ``DATASETS`` below ``data_dir``, joined by image name and sorted by it.

    ``data_dir`` is the parent of the ``curated_*`` folders (and of ``PicAlert``, ``VISPR``, .. for published scenes),
    or the folder of own photos. ``fold`` is a number, ``final`` or ``original``; by default the paper's. With
    ``features="published_scenes"`` a sample's path is that of its scene file, and no photo is needed. Raises
    FileNotFoundError for a wrong folder and ValueError for a label file that cannot be used.
    """
    data_dir = Path(data_dir)
    fold = DATASETS[dataset].fold if fold is None else fold
    if dataset == "folder":
        return _read_folder(data_dir, fold)
    label_file = label_file_of(dataset, data_dir)
    labels = _read_labels(label_file, fold, DATASETS[dataset].codes)
    _check_coding(dataset, labels, label_file)
    if dataset in ("demo", "ipd"):
        listed = _read_photo_index(_photo_index(data_dir))
        _must_share_names(labels["image"], listed["image"], label_file, _photo_index(data_dir).name)
    else:
        listed = _listed_by_labels(dataset, label_file)
    if features == "published_scenes":  # a scene file has its photo's name, whatever the photo's extension
        listed["listed"] = [path and path.rpartition("/")[0] + "/" + bare_name(path) for path in listed["listed"]]
    by_source = dict(iter(listed.groupby("source", sort=False)))
    files = {source: _files_of(source, data_dir, features, of_source) for source, of_source in by_source.items()}
    if not any(of_source.root.is_dir() for of_source in files.values()):
        raise FileNotFoundError(_no_files(next(iter(by_source)), data_dir, features, files))
    located = [_locate(of_source, files[source], data_dir) for source, of_source in by_source.items()]
    places = pd.concat([places for places, _ in located])
    if places["note"].astype(str).str.startswith("missing file").all():
        _must_share_names(labels["image"], [], label_file, f"the folder(s) of {features}")
    return _joined(labels, places, sum(n for _, n in located), label_file.name)


def label_file_of(dataset: str, data_dir: str | Path) -> Path:
    """The label file of a published dataset; FileNotFoundError that says what is where instead."""
    data_dir = Path(data_dir)
    for folder in DATASETS[dataset].folders:
        for name in LABEL_FILES:
            if (path := data_dir / folder / "annotations" / name).is_file():
                return path
    raise FileNotFoundError(_wrong_folder(dataset, data_dir))


def read_labels(dataset: str, data_dir: str | Path, fold: int | str | None = None) -> pd.DataFrame:
    """Columns image, label, split of every valid row of a published label file; no photo needs to be there.

    Errors as those of ``read``; ValueError for a label file without a split.
    """
    fold = DATASETS[dataset].fold if fold is None else fold
    label_file = label_file_of(dataset, data_dir)
    labels = _read_labels(label_file, fold, DATASETS[dataset].codes)
    if "split" not in labels:
        raise ValueError(f"{label_file} has no split column, so it does not say which photos are to be predicted")
    _check_coding(dataset, labels, label_file)
    return labels.dropna().reset_index(drop=True)


def annotation_files(dataset: str, data_dir: str | Path) -> list[Path]:
    """The files that decide labels and splits, for the record of a run's inputs."""
    if dataset == "folder":
        own = Path(data_dir) / OWN_LABEL_FILE
        return [own] if own.is_file() else []
    files = [label_file_of(dataset, data_dir)]
    return [*files, _photo_index(Path(data_dir))] if dataset in ("demo", "ipd") else files


def counts_beside_published(dataset: str, listing: Listing, samples: pd.DataFrame) -> pd.DataFrame:
    """Photos by part and label: published, in the label file (labelled), here (in ``samples``), here as a share in %.

    A part is ``all``, a split or a source. What was not published is NaN. For the demo dataset the published numbers
    are those of IPD, whose shape it has.
    """
    published = dict(DATASETS["ipd" if dataset == "demo" else dataset].published)
    published |= {
        (part, "both"): n + published[part, "public"] for (part, label), n in published.items() if label == "private"
    } | published
    parts = [("all", None), *((split, "split") for split in SPLITS)]
    if samples["source"].nunique() > 1:
        parts += [(source, "source") for source in sorted(samples["source"].unique())]
    rows = {}
    for part, column in parts:
        for label in (*CLASSES, "both"):
            counts = [published.get((part, label), np.nan)]
            for table in (listing.labels.dropna(subset="label"), samples):
                has = column is None or column in table
                counts.append(_count(table, part, column, label) if has else np.nan)
            rows[part, label] = counts
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["published", "labelled", "here"])
    table.index = pd.MultiIndex.from_tuples(table.index, names=["part", "label"])
    whole = table["labelled"] if dataset == "demo" else table["published"].fillna(table["labelled"])
    share = (100 * table["here"] / whole.where(whole > 0)).round(1)
    return table.astype("Int64").assign(here_percent=share)


def mismatches(table: pd.DataFrame) -> list[str]:
    """Where the label file differs from what was published, with both numbers; from ``counts_beside_published``."""
    known = table.dropna(subset=["published", "labelled"])
    return [
        f"{part}, {label}: published {int(row.published):,}, in the label file {int(row.labelled):,}"
        for (part, label), row in known.iterrows()
        if row.published != row.labelled
    ]


def published_folds(dataset: str, data_dir: str | Path) -> pd.DataFrame:
    """One row per fold column of the label file, to see what kind of split it is; empty where there is none.

    Columns: fold, train, val, test (labelled photos), private_percent_train, .._val, .._test, same_test (the test
    photos are those of the first fold) and val_seen_before (photos of val that an earlier fold has in its val).
    """
    path = None if dataset == "folder" else label_file_of(dataset, data_dir)
    columns = [] if path is None else [c for c in _read_csv(path).columns if re.fullmatch(r"Fold \d+", c)]
    tables = {c: _read_labels(path, int(c.split()[1]), DATASETS[dataset].codes).dropna() for c in columns}
    first_test, seen = None, set()
    rows = []
    for column, table in tables.items():
        test, val = (set(table.loc[table["split"] == split, "image"]) for split in ("test", "val"))
        first_test = test if first_test is None else first_test
        sizes = {split: int((table["split"] == split).sum()) for split in SPLITS}
        is_private = (table["label"] == "private").groupby(table["split"]).mean() * 100
        shares = {f"private_percent_{split}": round(is_private.get(split, np.nan), 2) for split in SPLITS}
        same = {"same_test": test == first_test, "val_seen_before": len(val & seen)}
        rows.append({"fold": column, **sizes, **shares, **same})
        seen |= val
    percent = [f"private_percent_{split}" for split in SPLITS]
    return pd.DataFrame(rows, columns=["fold", *SPLITS, *percent, "same_test", "val_seen_before"])


def _count(table: pd.DataFrame, part: str, column: str | None, label: str) -> int:
    chosen = table if column is None else table[table[column] == part]
    return len(chosen) if label == "both" else int((chosen["label"] == label).sum())


# Label files


def _read_csv(path: Path) -> pd.DataFrame:
    """Every cell as text; ValueError that names the file if it is no CSV table."""
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False, index_col=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no CSV table in UTF-8: {error}") from None


def _read_labels(path: Path, fold: int | str, codes: Mapping[int, str]) -> pd.DataFrame:
    """Columns image, label, split of one released label file; an invalid label or split is NaN.

    Without any split column there is no column split: the kit makes one later.
    """
    table = _read_csv(path)
    needed = ["Image Name", "Label 2-class"]
    has_split = any(re.fullmatch(r"Fold \d+|Final|Original", c) for c in table.columns)
    if has_split:
        needed.append(fold_column(fold))
    else:
        check_own_fold(fold)
    missing = [column for column in needed if column not in table.columns]
    if missing:
        raise ValueError(
            f"{path} lacks the column(s) {missing}; it has {list(table.columns)}. "
            "Use the released label file of this dataset, or choose a fold that it has (parameter fold)."
        )
    _must_be_unique_names(table["Image Name"], path)
    labels = pd.DataFrame({"image": table["Image Name"]})
    labels["label"] = _codes(table, "Label 2-class", [*codes, INVALID], path).map(dict(codes))
    if has_split:
        labels["split"] = _codes(table, fold_column(fold), [*SPLIT_CODES, INVALID], path).map(SPLIT_CODES)
    return labels


def _codes(table: pd.DataFrame, column: str, allowed: list[int], path: Path) -> pd.Series:
    """The column as numbers (``1.0`` is 1), NaN where it is empty; ValueError for the first that is not ``allowed``."""
    codes = pd.to_numeric(table[column], errors="coerce")
    wrong = table.loc[~codes.isin(allowed) & (table[column].str.strip() != ""), ["Image Name", column]]
    if len(wrong):
        image, value = wrong.iloc[0]
        raise ValueError(
            f"{path}: column {column!r} of image {image} holds {value!r} ({len(wrong)} such row(s)); allowed: {allowed}"
        )
    return codes


def _check_coding(dataset: str, labels: pd.DataFrame, path: Path) -> None:
    """Raise if private and public look swapped: each published dataset but VISPR has fewer private than public."""
    counts = labels["label"].value_counts()
    private, public = (int(counts.get(label, 0)) for label in CLASSES)
    if dataset != "vispr" and private > public:
        codes = ", ".join(f"{code} = {label}" for code, label in DATASETS[dataset].codes.items())
        raise ValueError(
            f"{path}: read with the codes of {dataset} ({codes}) it labels {private:,} photos private and only "
            f"{public:,} public, but {dataset} has more public photos. Is its label coding swapped, or is it the label "
            f"file of another dataset? IPD codes 0 = private; PrivacyAlert, PicAlert and VISPR code 0 = public. "
            "Use the released file, or dataset=folder with labels by name for photos of your own."
        )


def _must_share_names(labelled, others, path: Path, where: str) -> None:
    if set(labelled).isdisjoint(others):
        raise ValueError(
            f"{path} names {len(labelled):,} images (such as {examples(labelled)}), but none of them is in {where}. "
            "Is it the label file of another dataset, or the wrong photos? Give both of the same dataset."
        )


def _must_be_unique_names(images: pd.Series, path: Path) -> None:
    if (images == "").any():
        raise ValueError(f"{path} has {(images == '').sum()} row(s) without an image name; give each row one.")
    doubled = sorted(images[images.duplicated()].unique())
    if doubled:
        raise ValueError(
            f"{path} names {len(doubled)} image(s) more than once: {examples(doubled)}. "
            "Samples are joined by image name, so keep one row for each."
        )


# Where each photo should be


ENTRY_KEYS = ("image", "dataset", "fullpath")  # of ipd_imgs_curated.json


def _photo_index(data_dir: Path) -> Path:
    path = data_dir / "curated_ipd" / "annotations" / "ipd_imgs_curated.json"
    if not path.is_file():
        raise FileNotFoundError(_wrong_folder("ipd", data_dir, path))
    return path


def _read_photo_index(path: Path) -> pd.DataFrame:
    """Columns image, source, listed (``batch00/p1.jpg``) and folder (of the authors) of ``ipd_imgs_curated.json``."""
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
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
    rows = [tuple(str(entry[key]) for key in ENTRY_KEYS) for entry in annotations]
    table = pd.DataFrame(rows, columns=["image", "source", "listed"])
    _must_be_unique_names(table["image"], path)
    for image, source, listed in table.itertuples(index=False):
        _must_stay_inside(listed, image, path)
        if not re.fullmatch(r"[\w-]+", source):  # it becomes part of a folder's name
            raise ValueError(f"{path}: the dataset {source!r} of image {image} is no plain name; refused.")
    folders = {name: entry.get("data_dir") for name, entry in datasets.items() if isinstance(entry, dict)}
    table["folder"] = table["source"].map({name: f for name, f in folders.items() if isinstance(f, str)})
    return table.assign(source=table["source"].str.lower())


def _must_stay_inside(listed: str, image: str, path: Path) -> None:
    parts = PurePosixPath(listed.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts:
        raise ValueError(f"{path}: the path {listed!r} of image {image} leaves its dataset folder; refused.")


def _listed_by_labels(dataset: str, label_file: Path) -> pd.DataFrame:
    """Columns as of ``_read_photo_index``, from a label file; listed is ``batch3/name``, or None without batches."""
    table = _read_csv(label_file)
    listed = None
    if "batch" in table:
        listed = "batch" + table["batch"].str.removeprefix("batch") + "/" + table["Image Name"]
        for image, path in zip(table["Image Name"], listed):
            _must_stay_inside(path, image, label_file)
    columns = {"image": table["Image Name"], "source": dataset, "listed": listed, "folder": None}
    return pd.DataFrame(columns).astype(object)


# Where each photo is


class _Files:
    """The files in ``root`` and its batch folders, by name without extension; none if there is no such folder."""

    def __init__(self, root: Path):
        self.root, self.by_name = root, defaultdict(list)
        for entry in sorted(_entries(root), key=lambda entry: entry.name) if root.is_dir() else ():
            inside = (f"{entry.name}/{file.name}" for file in _entries(entry.path)) if entry.is_dir() else [entry.name]
            for path in sorted(inside):
                self.by_name[bare_name(path)].append(path)


def _entries(folder: Path | str) -> Iterator[os.DirEntry]:
    with os.scandir(folder) as entries:
        yield from entries


def _files_of(source: str, data_dir: Path, features: str, entries: pd.DataFrame) -> _Files:
    """The photos, or published scene files, of one source.

    The folder in ``data_dir`` is preferred to the one written in the photo index, which is often a path of the
    authors' machine, and must not point a moved dataset back to its old place.
    """
    known = SOURCES.get(source, Source((f"curated_{source}",), source))
    if features == "published_scenes":
        folders = [data_dir / known.scene_folder / "scenes"]
    else:
        folders = [data_dir / name / "imgs" for name in known.photo_folders]
        folders += [Path(folder) / "imgs" for folder in entries["folder"].dropna().unique()]
    return _Files(next((folder for folder in folders if folder.is_dir()), folders[0]))


def _no_files(source: str, data_dir: Path, features: str, files: Mapping[str, _Files]) -> str:
    """What to say if no source has a folder of photos (or scene files)."""
    scenes = features == "published_scenes"
    roots = [of_source.root for of_source in files.values()]
    scene_folder = SOURCES.get(source, Source((), source)).scene_folder
    if scenes:
        hint = f"Get them with: s2p fetch scenes --into {data_dir}"
    elif (data_dir / scene_folder / "scenes").is_dir():
        hint = "Its published scene probabilities are there: use them with -p features published_scenes."
    else:
        hint = "Get the photos, or work without them: s2p fetch scenes, then -p features published_scenes."
    near = _nested(roots[0], "scenes" if scenes else "imgs")
    if not near and (inside := next(iter(sorted(data_dir.glob(f"*/{roots[0].parent.name}/{roots[0].name}"))), None)):
        near = f"There is {inside}: move {inside.parent} up into {data_dir}. "
    return (
        f"no {'scene files' if scenes else 'photos'}: none of {', '.join(map(str, roots))} is a folder. data_dir must "
        "be the parent folder of the curated_* folders and, for published scenes, of PicAlert, VISPR, PrivacyAlert. "
        f"{near}{hint}"
    )


def _locate(entries: pd.DataFrame, files: _Files, data_dir: Path) -> tuple[pd.DataFrame, int]:
    """Columns image, source, path, note: each listed photo at its place, else under its name elsewhere.

    Also the number of files that no entry names.
    """
    rows, n_found = [], 0
    root = _relative(files.root, data_dir)
    for image, source, listed in entries[["image", "source", "listed"]].itertuples(index=False):
        place, note = _place(image, listed, files)
        n_found += place is not None
        rows.append((image, source, f"{root}/{place or listed or image}", note))
    n_files = sum(len(places) for places in files.by_name.values())
    return pd.DataFrame(rows, columns=["image", "source", "path", "note"], dtype=object), n_files - n_found


def _place(image: str, listed: str | None, files: _Files) -> tuple[str | None, str | None]:
    """Where a photo is, below the root of ``files``, and what is to be said about that."""
    listed = listed and posixpath.normpath(listed)
    places = files.by_name.get(bare_name(listed) if listed else image, [])
    if len(places) > 1 and not listed:
        return None, f"found more than once, so none is used: {', '.join(places)}"
    here = [p for p in places if p == listed]
    here = here or sorted((p for p in places if posixpath.dirname(p) == posixpath.dirname(listed or p)), key=_jpg_first)
    if not here and len(places) == 1:
        return places[0], f"{ELSEWHERE} ({listed})"
    if not here:
        return None, f"missing file, that name is in: {', '.join(places)}" if places else "missing file"
    others = ", ".join(p for p in places if p != here[0])
    if listed and here[0] != listed and listed.lower().endswith(EXTENSIONS):
        return here[0], f"{OTHER_EXTENSION} ({listed})"
    return here[0], f"{ALSO_IN}: {others}" if others else None


def _jpg_first(path: str) -> tuple:
    """Sorts ``.jpg`` before ``.png`` before others, as the released loader tries them."""
    extension = posixpath.splitext(path)[1].lower()
    return extension != ".jpg", extension != ".png", path


def _relative(path: Path, folder: Path) -> str:
    """``path`` relative to ``folder`` where it lies below it, so that a run's tables hold no machine path."""
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)


def _joined(labels: pd.DataFrame, places: pd.DataFrame, n_unlisted: int, label_file: str) -> Listing:
    """Labels and places joined by image name."""
    has_split = "split" in labels
    if not has_split:
        labels = labels.assign(split=None)
    table = labels.merge(places, on="image", how="outer", validate="one_to_one")
    problem = table["note"].astype(object)
    problem = problem.mask(table["path"].isna(), "no photo listed in ipd_imgs_curated.json")
    if has_split:
        problem = problem.mask(table["split"].isna(), f"no valid split in {label_file}")
    problem = problem.mask(table["label"].isna(), f"no valid label in {label_file}")
    table["problem"] = problem.where(problem.notna(), None)
    usable = table["problem"].isna() | table["problem"].str.startswith(USED)
    table["action"] = np.where(usable, "used", "left out")
    samples = table.loc[usable, SAMPLE_COLUMNS].reset_index(drop=True)
    problems = table.loc[table["problem"].notna(), PROBLEM_COLUMNS].reset_index(drop=True)
    return Listing(samples, problems, labels, n_unlisted, has_split)


# Folders of own photos


def _read_folder(data_dir: Path, fold: int | str) -> Listing:
    """Own photos: sub-folders ``private/`` and ``public/``, or ``labels.csv`` with image and label (by name)."""
    n_unlisted, unwritable = 0, set()
    if (data_dir / OWN_LABEL_FILE).is_file():
        table = _read_own_labels(data_dir, fold)
    elif all((data_dir / label).is_dir() for label in CLASSES):
        files = [
            (file.relative_to(data_dir).as_posix(), label) for label in CLASSES for file in _walk(data_dir / label)
        ]
        photos = [(path, label) for path, label in files if _looks_like_photo(path)]
        n_unlisted = len(files) - len(photos)
        unwritable = {printable(path) for path, _ in photos if path != printable(path)}
        table = pd.DataFrame([(printable(path), label) for path, label in photos], columns=["path", "label"])
    else:
        there = ", ".join(sorted(p.name for p in data_dir.iterdir())[:8]) if data_dir.is_dir() else "nothing"
        raise FileNotFoundError(
            f"{data_dir} is no folder of own photos: it needs sub-folders private/ and public/, or {OWN_LABEL_FILE} "
            f"with the columns image (path of the photo) and label (private or public). Found: {there or 'nothing'}."
        )
    if table.empty:
        raise ValueError(f"{data_dir} holds no photo. Put photos into private/ and public/.")
    if "split" not in table:
        check_own_fold(fold)
    names = table["path"].map(bare_name)
    doubled = names.duplicated(keep=False)
    table["image"] = names.mask(doubled, table["path"].str.replace("[/.]", "_", regex=True))
    _must_be_unique_names(table["image"], data_dir)
    exists = [(data_dir / path).is_file() for path in table["path"]]
    note = pd.Series(np.where(doubled, RENAMED, None), dtype=object)
    note = note.where(exists, "missing file")
    table["note"] = note.mask(table["path"].isin(unwritable), "file name is not UTF-8, rename the file to use it")
    columns = ["image", "label", "split"] if "split" in table else ["image", "label"]
    places = table.assign(source="folder")[["image", "source", "path", "note"]]
    return _joined(table[columns], places, n_unlisted, OWN_LABEL_FILE)


def _looks_like_photo(path: str) -> bool:
    name = posixpath.basename(path)
    return name.lower().endswith(EXTENSIONS) and not name.startswith(".")  # macOS leaves ._x.jpg beside x.jpg


def _walk(folder: Path) -> Iterator[Path]:
    return (file for file in sorted(folder.rglob("*")) if file.is_file())


def _read_own_labels(data_dir: Path, fold: int | str) -> pd.DataFrame:
    """Columns path, label and, if it is there, split of ``labels.csv``; for fold ``final`` val is train."""
    file = data_dir / OWN_LABEL_FILE
    table = _read_csv(file)
    if missing := [column for column in ("image", "label") if column not in table]:
        raise ValueError(f"{file} lacks the column(s) {missing}; it needs image and label, and may have split")
    for column, allowed in (("label", CLASSES), ("split", SPLITS)):
        if column in table and len(wrong := table[~table[column].isin(allowed)]):
            first = wrong.iloc[0]
            raise ValueError(
                f"{file}: {column} of image {first['image']} is {first[column]!r} ({len(wrong)} such row(s)); "
                f"allowed, by name: {', '.join(allowed)}"
            )
    for path in table["image"]:
        _must_stay_inside(path, path, file)
    table["image"] = table["image"].str.replace("\\", "/").map(posixpath.normpath)
    if "split" in table:
        if fold not in (0, "final"):
            raise ValueError(f"fold={fold!r}: {file} has one split of its own; allowed are 0 and final (val is train)")
        table["split"] = table["split"].replace("val", "train") if fold == "final" else table["split"]
    if (doubled := table["image"].duplicated()).any():
        some = ", ".join(table.loc[doubled, "image"].head(3))
        raise ValueError(f"{file} names {doubled.sum()} photo(s) more than once: {some}. Keep one row for each.")
    return table.rename(columns={"image": "path"})


# What to say about a wrong folder


def _wrong_folder(dataset: str, data_dir: Path, wanted: Path | None = None) -> str:
    wanted = wanted or data_dir / DATASETS[dataset].folders[0] / "annotations" / LABEL_FILES[0]
    folder = DATASETS[dataset].folders[0]
    there = ", ".join(sorted(p.name for p in data_dir.iterdir())[:8]) if data_dir.is_dir() else "no such folder"
    if (data_dir / "annotations").is_dir():
        hint = f"This is a dataset's own folder; data_dir must be its parent: {data_dir.resolve().parent}. "
    elif not (hint := _nested(data_dir / folder, "annotations")):
        inside = next(iter(sorted(data_dir.glob(f"*/{folder}"))), None)
        hint = f"It is one folder further in: -p data_dir {inside.parent}. " if inside else ""
    return (
        f"{wanted} not found. data_dir must be the parent folder of {', '.join(DATASETS[dataset].folders)} "
        f"(for ipd also of curated_picalert and curated_vispr), as unpacked from the published archive. {data_dir} "
        f"holds: {there or 'nothing'}. {hint}Get the label files with: s2p fetch labels --into {data_dir}"
    )


def _nested(folder: Path, inner: str) -> str:
    """A hint for a tree that was unzipped into a folder of its own name: ``curated_ipd/curated_ipd/annotations``."""
    folder = folder.parent if folder.name == inner else folder
    twice = folder / folder.name
    if (twice / inner).is_dir():
        return f"It was unzipped twice: move the content of {twice} up into {folder}. "
    return ""
