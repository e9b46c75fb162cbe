"""Check every photo of a dataset once: missing or damaged, unusual, there twice or nearly so.

A photo that cannot be used is left out. Whatever else is found is listed, and the photo is used as the released loader
would use it: opened, converted to RGB, EXIF orientation ignored. Each text of a problems table begins with its kind,
which ends at the first of ``, : ; (``; several texts of one photo are joined by ``"; "``.
"""

import hashlib
import io
import itertools
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import NamedTuple

import imagehash
import numpy as np
import pandas as pd
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from s2p_lib.datasets import Listing
from s2p_lib.photos import (
    CRASHES_DECODER,
    UNREADABLE,
    UNREADABLE_KINDS,
    ahead,
    open_with_notes,
    problem_of,
    read_photo_file,
)
from s2p_lib.progress import progress
from s2p_lib.samples import PROBLEM_COLUMNS, grouped_splits

FACTS = ["sha256", "phash", "width", "height", "problem", "note"]

# Two photos are near copies if their perceptual hashes (64 bits) differ in at most so many. Measured on the 898
# readable photos of the demo dataset: with 4 bits none of 402,753 pairs of different photos is taken for copies, with 6
# three are. Found with 4 are all copies saved again as JPEG of quality 50, 99.8 % of those of half the size, 99.6 % of
# those 10 % brighter and 95 % of those 20 % brighter, 94 % of those cropped by 1 % at each side and 71 % by 2 %.
MAX_BITS = 4
# Grey levels (of 255) between the darkest and the brightest part. Below it the hash is that of noise, or of any blank
# photo: thousands of them would be copies of each other.
MIN_CONTRAST = 10
NO_CONTRAST = "almost no contrast, so it is not compared with other photos"
HASHES_AT_ONCE = 64  # compared with all others: 18 MB for the 34,562 photos of IPD


def audit_photos(samples: pd.DataFrame, data_dir: str | Path, workers: int | None = None) -> pd.DataFrame:
    """Read, hash and decode every photo once, in the order of ``samples``.

    Columns: image; sha256 (hex) of the file; phash (UInt64), missing for a photo that is unreadable or has almost no
    contrast; width and height (Int64, pixels); problem, why the photo cannot be used, else None; note, what is special
    about a photo that is used, else None. Memory is that of one decoded photo per worker, and the table.
    """
    paths = [Path(data_dir) / path for path in samples["path"]]
    facts = _check_photos(paths, max(1, workers or os.cpu_count()))
    facts = list(progress(facts, total=len(paths), desc="checking photos", unit="photo"))
    table = pd.DataFrame(facts, columns=FACTS, dtype=object)
    table = table.astype({"phash": "UInt64", "width": "Int64", "height": "Int64"})
    table.insert(0, "image", samples["image"].to_numpy())
    return table


def _check_photos(paths: list[Path], workers: int) -> Iterator[tuple]:
    """The ``FACTS`` of each photo, in order. In processes: a photo that crashes the decoder is named, and that is all.

    Later notebooks decode in threads, which cost less: they see only photos that were decoded here.
    """
    n_ahead, done = 8 * workers, 0
    while done < len(paths):
        try:
            with ProcessPoolExecutor(workers) as pool:
                for facts in ahead(pool, _check_photo, paths[done:], n_ahead):
                    yield facts
                    done += 1
        except BrokenProcessPool:  # one of those under way did it
            for path in paths[done : done + n_ahead + 1]:
                yield _check_alone(path)
                done += 1


def _check_alone(path: Path) -> tuple:
    try:
        with ProcessPoolExecutor(1) as pool:
            return pool.submit(_check_photo, path).result()
    except BrokenProcessPool:
        return None, None, None, None, CRASHES_DECODER, None


def readable(paths: Iterable[Path], n: int) -> list[Path]:
    """The first ``n`` of these photos that can be used; one that crashes the decoder does so in another process."""
    paths = list(paths)
    is_good = (facts[FACTS.index("problem")] is None for facts in _check_photos(paths, 1))
    return list(itertools.islice(itertools.compress(paths, is_good), n))


def _check_photo(path: Path) -> tuple:
    """The ``FACTS`` of one photo."""
    try:
        content = read_photo_file(path)
        photo, notes = open_with_notes(io.BytesIO(content))
    except UNREADABLE as error:
        return None, None, None, None, problem_of(path, error), None
    phash = _phash(photo)
    notes += [NO_CONTRAST] if phash is None else []
    return hashlib.sha256(content).hexdigest(), phash, *photo.size, None, "; ".join(notes) or None


def _phash(photo: Image.Image) -> int | None:
    """Perceptual hash of 64 bits of an RGB photo; None if it has almost no contrast.

    Of a grid of 256 x 256 pixels only: nearly as stable as hashing all of a photo, and cheap beside decoding it.
    """
    small = photo.resize((256, 256), Image.Resampling.NEAREST).reduce(8).convert("L")
    darkest, brightest = small.getextrema()
    if brightest - darkest < MIN_CONTRAST:
        return None
    return int.from_bytes(np.packbits(imagehash.phash(small).hash).tobytes(), "big")


def leave_out_unreadable(samples: pd.DataFrame, audit: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Readable samples, and one problems row per unreadable photo."""
    table = samples.merge(audit[["image", "problem"]], on="image", validate="one_to_one")
    bad = table["problem"].notna()
    problems = table[bad].assign(action="left out")[PROBLEM_COLUMNS].reset_index(drop=True)
    return table.loc[~bad, samples.columns].reset_index(drop=True), problems


def problems_of_notes(samples: pd.DataFrame, audit: pd.DataFrame) -> pd.DataFrame:
    """One problems row per photo that is special but used."""
    table = samples.merge(audit[["image", "note"]], on="image", validate="one_to_one")
    return table.dropna(subset="note").assign(problem=lambda t: t["note"], action="used")[PROBLEM_COLUMNS]


def find_copies(samples: pd.DataFrame, audit: pd.DataFrame) -> pd.DataFrame:
    """Photos whose file is byte for byte the same as another's: columns image, path, split, label, sha256.

    Sorted by hash; a group that spans two splits leaks training photos into the test.
    """
    table = samples.merge(audit[["image", "sha256"]], on="image", validate="one_to_one").dropna(subset="sha256")
    same = table[table.duplicated("sha256", keep=False)]
    return same.sort_values(["sha256", "image"])[["image", "path", "split", "label", "sha256"]].reset_index(drop=True)


def near_copies(samples: pd.DataFrame, audit: pd.DataFrame) -> pd.DataFrame:
    """Photos whose perceptual hash differs from another's, of another file, in at most ``MAX_BITS`` of 64 bits.

    Columns image, path, split, label, group (0, 1, ..; also photos that are near only through others share it),
    nearest (image) and bits (by which the two differ). Sorted by group.
    """
    table = samples.merge(audit[["image", "sha256", "phash"]], on="image", validate="one_to_one")
    table = table.dropna(subset="phash")
    files = table.drop_duplicates("sha256")
    group, nearest, bits = _compare(files["phash"].to_numpy(np.uint64))
    found = pd.DataFrame({"sha256": files["sha256"].to_numpy(), "group": group, "bits": bits})
    found["nearest"] = files["image"].to_numpy()[nearest]
    near = table.merge(found[bits <= MAX_BITS], on="sha256").sort_values(["group", "image"], ignore_index=True)
    near["group"] = pd.factorize(near["group"])[0]
    return near[["image", "path", "split", "label", "group", "nearest", "bits"]]


def copy_groups(audit: pd.DataFrame) -> pd.Series:
    """A number for each image (the index): exact copies, near copies and their near copies share it."""
    files = audit.dropna(subset="phash").drop_duplicates("sha256")
    group, _, _ = _compare(files["phash"].to_numpy(np.uint64))
    key = audit["sha256"].map(dict(zip(files["sha256"], group))).astype(object)
    key = key.fillna(audit["sha256"]).fillna("image " + audit["image"])
    return pd.Series(pd.factorize(key)[0], index=audit["image"].to_numpy(), name="group")


def _compare(hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each of ``hashes`` [N] uint64: number of its group, index of the nearest other one, bits it differs in.

    A group is held together by steps of at most ``MAX_BITS`` bits. Without another hash that near, bits is 65. Memory
    is that of N x ``HASHES_AT_ONCE`` comparisons.
    """
    n = len(hashes)
    group, nearest = np.arange(n), np.full(n, 65 * n)  # nearest: bits x N + index, so that the smallest is the nearest
    for start in range(0, n, HASHES_AT_ONCE):
        differ = np.bitwise_count(hashes[start : start + HASHES_AT_ONCE, None] ^ hashes[start:])
        i, j = np.nonzero(differ <= MAX_BITS)
        i, j, bits = i[i < j], j[i < j], differ[i, j][i < j].astype(int)
        np.minimum.at(nearest, start + i, n * bits + start + j)
        np.minimum.at(nearest, start + j, n * bits + start + i)
        group = _joined(group, start + i, start + j)
    return group, nearest % n, nearest // n


def _joined(group: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """Groups [N], each numbered by its first member, after members i[k] and j[k] have come together."""
    n = len(group)
    links = coo_array((np.ones(n + len(i), bool), (np.r_[:n, i], np.r_[group, j])), shape=(n, n))
    numbers = connected_components(links, directed=False)[1]
    return np.unique(numbers, return_index=True)[1][numbers]


def problems_of_copies(copies: pd.DataFrame) -> pd.DataFrame:
    """One problems row per photo of ``find_copies``; copies are used, as in the released code."""
    problem = "same file as another photo" + _whereabouts(copies, "sha256")
    return copies.assign(problem=problem, action="used")[PROBLEM_COLUMNS]


def problems_of_near_copies(near: pd.DataFrame) -> pd.DataFrame:
    """One problems row per photo of ``near_copies``; they are used, as in the released code."""
    which = near["nearest"].str.replace(";", ",") + " (" + near["bits"].astype(str) + " of 64 bits differ)"
    problem = "nearly the same as another photo: " + which + _whereabouts(near, "group")
    return near.assign(problem=problem, action="used")[PROBLEM_COLUMNS]


def _whereabouts(copies: pd.DataFrame, group: str) -> pd.Series:
    """For each photo ``, in test, train`` (if there are splits) and, if labels of its group differ, which they are."""

    def values(column: str) -> pd.Series:
        text = copies.groupby(group)[column].transform(lambda of_group: ", ".join(sorted(set(of_group.dropna()))))
        return text.astype(str)

    splits, labels = values("split"), values("label")
    of_labels = (", labelled " + labels).where(labels.str.contains(", "), "")
    return (", in " + splits).where(splits != "", "") + of_labels


def one_row_per_image(problems: list[pd.DataFrame]) -> pd.DataFrame:
    """Problems tables as one: all problems of an image in one row; it is left out if one of them says so."""
    table = pd.concat(problems, ignore_index=True)
    if table.empty:
        return table
    merged = table.groupby("image", sort=False, as_index=False).agg(
        path=("path", "last"),
        problem=("problem", lambda texts: "; ".join(dict.fromkeys(texts))),
        action=("action", "min"),  # "left out" < "used"
    )
    return merged[PROBLEM_COLUMNS]


def stop_on_bad_photo(problems: pd.DataFrame, on_bad_photo: str) -> None:
    """With ``on_bad_photo="stop"``, raise ValueError if a photo had to be left out."""
    bad = problems[problems["action"] == "left out"]
    if len(bad) and on_bad_photo == "stop":
        first = bad.iloc[0]
        raise ValueError(
            f"{len(bad)} photo(s) cannot be used, the first is {first.path}: {first.problem}. All are in audit.csv. "
            "Mend or remove them, or use on_bad_photo='report' to leave them out."
        )


def counts_by_kind(problems: pd.DataFrame) -> pd.DataFrame:
    """Columns kind, photos, action: how many photos have each kind of problem; the most frequent first."""
    counts = _by_kind(problems).groupby(["kind", "action"]).size().rename("photos").reset_index()
    return counts.sort_values(["photos", "kind"], ascending=[False, True], ignore_index=True)[
        ["kind", "photos", "action"]
    ]


def examples(problems: pd.DataFrame, data_dir: str | Path, n: int = 3) -> pd.DataFrame:
    """The first ``n`` photos of each kind that can still be shown: column kind, and those of ``problems``."""
    rows = _by_kind(problems)
    hidden = rows.loc[rows["kind"].isin(UNREADABLE_KINDS), "image"]
    rows = rows[rows["path"].notna() & ~rows["image"].isin(hidden)]
    is_there = np.array([(Path(data_dir) / path).is_file() for path in rows["path"]], dtype=bool)
    return rows[is_there].groupby("kind").head(n).sort_values("kind", kind="stable", ignore_index=True)


def _by_kind(problems: pd.DataFrame) -> pd.DataFrame:
    """One row per photo and kind of problem: column kind, and those of ``problems``, whose texts may be several."""
    rows = problems.assign(kind=problems["problem"].str.split("; ")).explode("kind", ignore_index=True)
    rows["kind"] = rows["kind"].str.extract("^([^,:;(]+)", expand=False).str.strip()
    return rows.drop_duplicates(["image", "kind"])[["kind", *PROBLEM_COLUMNS]]


class Audited(NamedTuple):
    """``samples`` that can be used; ``problems``, one row per image; copies as of ``find_copies`` and
    ``near_copies``.
    """

    samples: pd.DataFrame
    problems: pd.DataFrame
    exact: pd.DataFrame
    near: pd.DataFrame


def put_together(listing: Listing, audit: pd.DataFrame) -> Audited:
    """What a dataset lists and what ``audit_photos`` found; a split is not made here, see ``with_split``."""
    samples, unreadable = leave_out_unreadable(listing.samples, audit)
    exact, near = find_copies(samples, audit), near_copies(samples, audit)
    problems = [listing.problems, unreadable, problems_of_notes(samples, audit)]
    problems += [problems_of_copies(exact), problems_of_near_copies(near)]
    return Audited(samples, one_row_per_image(problems), exact, near)


def with_split(listing: Listing, samples: pd.DataFrame, audit: pd.DataFrame, fold: int | str) -> pd.DataFrame:
    """``samples``, in a split by ``grouped_splits`` if the dataset has none; copies stay together."""
    if listing.has_split:
        return samples
    groups = samples["image"].map(copy_groups(audit))
    return samples.assign(split=grouped_splits(samples["label"], groups, fold).to_numpy())


def count_copies(audited: Audited) -> pd.DataFrame:
    """Rows exact copies, near copies: photos, groups, and groups whose photos differ in split or in label."""
    rows = {}
    for kind, table, group in (("exact copies", audited.exact, "sha256"), ("near copies", audited.near, "group")):
        different = table.groupby(group)[["split", "label"]].nunique()
        rows[kind] = [len(table), len(different), *(different > 1).sum()]
    return pd.DataFrame.from_dict(rows, orient="index", columns=["photos", "groups", "across splits", "across labels"])
