"""Open a photo as the released code does; check every photo of a dataset once."""

import hashlib
import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
from PIL import Image, ImageOps

from s2p_lib.progress import progress
from s2p_lib.samples import PROBLEM_COLUMNS

# Photos come from outside: only plain photo decoders may see them (others can start programs, such as EPS).
PHOTO_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")


def open_photo(path: str | Path) -> Image.Image:
    """The photo as RGB, fully decoded; EXIF orientation is ignored, as in the released loader.

    Raises OSError (missing, empty, truncated, not a photo) or Image.DecompressionBombError (over 179 million
    pixels).
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with Image.open(path, formats=PHOTO_FORMATS) as image:
            return image.convert("RGB")


# What Pillow's decoders raise on damaged files.
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)


def file_sha256(path: str | Path) -> str:
    """Hex sha256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def thumbnail(path: str | Path, size: int = 160) -> Image.Image:
    """The whole photo inside a ``size`` x ``size`` grey square, for galleries; a grey square if it is gone."""
    try:
        with Image.open(path, formats=PHOTO_FORMATS) as image:
            image.draft("RGB", (2 * size, 2 * size))  # decodes a JPEG at a fraction of its size: several times faster
            photo = image.convert("RGB")
    except UNREADABLE:
        return Image.new("RGB", (size, size), "#9a9a9a")
    return ImageOps.pad(photo, (size, size), color="#eeeeee")


def audit_photos(samples: pd.DataFrame, data_dir: str | Path, workers: int | None = None) -> pd.DataFrame:
    """Decode and hash every photo once: columns image, sha256, width, height, problem (None for a good photo)."""
    paths = [Path(data_dir) / path for path in samples["path"]]
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:  # Pillow decodes outside the interpreter lock
        facts = list(progress(pool.map(_check_photo, paths), total=len(paths), desc="checking photos", unit="photo"))
    table = pd.DataFrame(facts, columns=["sha256", "width", "height", "problem"], dtype=object)
    return table.assign(image=samples["image"].to_numpy())[["image", "sha256", "width", "height", "problem"]]


def leave_out_unreadable(samples: pd.DataFrame, audit: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Readable samples, and one problems row per unreadable photo."""
    table = samples.merge(audit[["image", "problem"]], on="image", validate="one_to_one")
    bad = table["problem"].notna()
    problems = table[bad].assign(action="left out")[PROBLEM_COLUMNS].reset_index(drop=True)
    return table.loc[~bad, samples.columns].reset_index(drop=True), problems


def stop_on_bad_photo(problems: pd.DataFrame, on_bad_photo: str) -> None:
    """With ``on_bad_photo="stop"``, raise ValueError if a photo had to be left out."""
    bad = problems[problems["action"] == "left out"]
    if len(bad) and on_bad_photo == "stop":
        first = bad.iloc[0]
        raise ValueError(
            f"{len(bad)} photo(s) cannot be used, the first is {first.path}: {first.problem}. All are in audit.csv. "
            "Mend or remove them, or use on_bad_photo='report' to leave them out."
        )


def find_copies(samples: pd.DataFrame, audit: pd.DataFrame) -> pd.DataFrame:
    """Photos whose file is byte for byte the same as another's: columns image, path, split, label, sha256.

    Sorted by hash; a group that spans two splits leaks training photos into the test.
    """
    table = samples.merge(audit[["image", "sha256"]], on="image", validate="one_to_one")
    same = table[table.duplicated("sha256", keep=False)]
    return same.sort_values(["sha256", "image"])[["image", "path", "split", "label", "sha256"]].reset_index(drop=True)


def problems_of_copies(copies: pd.DataFrame) -> pd.DataFrame:
    """One problems row per photo of ``find_copies``; copies are used, as in the released code."""
    splits = copies.groupby("sha256")["split"].transform(lambda split: ", ".join(sorted(set(split))))
    return copies.assign(problem="same file as another photo, in " + splits.astype(str), action="used")[PROBLEM_COLUMNS]


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


def _check_photo(path: Path) -> tuple[str | None, int | None, int | None, str | None]:
    try:
        width, height = open_photo(path).size
        return file_sha256(path), width, height, None
    except UNREADABLE as error:
        return None, None, None, problem_of(path, error)


def problem_of(path: Path, error: Exception) -> str:
    """A short reason without the machine's path in it."""
    if not path.exists():
        return "missing file"
    if path.stat().st_size == 0:
        return "empty file"
    text = str(error).replace(str(path), path.name)
    return f"unreadable: {type(error).__name__}: {text}"
