"""The embedded demo dataset: drawn photos in the layout, formats and proportions of the published IPD.

It proves that the pipeline works. No figure measured on it is a result of the paper.
"""

import hashlib
import json
import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from s2p_lib import demo_scenes
from s2p_lib.datasets import DEMO_MARKER
from s2p_lib.metrics import CORRECT, FALSE_PRIVATE, MISSED_PRIVATE, outcomes
from s2p_lib.progress import progress
from s2p_lib.samples import labels_splits, stratified_splits

DEMO_SEED = 2025
PHOTOS_PER_BATCH = 250  # the published trees allow 1,000; fewer here, so that there are several folders
SIZES = [(640, 480), (480, 640), (500, 375), (375, 500), (500, 500), (640, 427), (427, 640), (800, 450), (320, 240)]
VISPR_SHARE_OF_PRIVATE = 6_392 / 11_211  # as in IPD; every public photo is PicAlert's

# What the photos show and how they are labelled: case, scene, people, private photos, public photos.
# "home" and "public place" are easy for a model that knows only the scene. The other cases are the card's:
# where scene and label disagree, such a model must fail.
PLAN = [
    ("bathroom", "bathroom", "none", 30, 5),
    ("bathroom", "bathroom", "one", 14, 1),
    ("home", "bedroom", "any", 43, 2),
    ("home", "living_room", "any", 44, 4),
    ("home", "kitchen", "any", 31, 6),
    ("home", "childs_room", "any", 30, 3),
    ("home", "hospital_room", "any", 28, 3),
    ("person at beach, pool or gym", "beach", "one", 16, 4),
    ("person at beach, pool or gym", "swimming_pool/outdoor", "one", 6, 4),
    ("person at beach, pool or gym", "gymnasium/indoor", "one", 12, 4),
    ("religious place", "church/indoor", "any", 8, 12),
    ("religious place", "mosque/outdoor", "any", 4, 12),
    ("religious place", "temple/asia", "any", 4, 14),
    ("escape room", "basement", "any", 12, 12),
    ("office-like", "classroom", "any", 4, 38),
    ("office-like", "office", "any", 5, 32),
    ("office-like", "conference_room", "any", 3, 28),
    ("public place", "beach", "any", 0, 28),
    ("public place", "swimming_pool/outdoor", "group", 0, 14),
    ("public place", "gymnasium/indoor", "group", 0, 16),
    ("public place", "mountain_snowy", "any", 0, 28),
    ("public place", "forest_path", "any", 0, 27),
    ("public place", "street", "any", 0, 34),
    ("public place", "highway", "none", 0, 28),
    ("public place", "skyscraper", "none", 0, 24),
    ("public place", "harbor", "any", 0, 24),
    ("public place", "playground", "any", 0, 24),
    ("public place", "desert/sand", "any", 0, 22),
    ("public place", "ski_slope", "any", 0, 26),
    ("public place", "stadium/soccer", "group", 0, 22),
    ("public place", "lighthouse", "none", 0, 22),
    ("public place", "windmill", "none", 0, 22),
    ("public place", "supermarket", "any", 0, 26),
    ("public place", "library/indoor", "any", 0, 23),
    ("wrong label", "street", "group", 3, 0),
    ("wrong label", "mountain_snowy", "none", 2, 0),
    ("wrong label", "supermarket", "any", 1, 0),
    ("wrong label", "bedroom", "one", 0, 3),
    ("wrong label", "bathroom", "none", 0, 3),
]
PLAN_COLUMNS = ["case", "scene", "people", "private", "public"]

# The failures that the card describes: in which case, and in which direction.
CARD_FAILURES = {
    "bathroom": (FALSE_PRIVATE,),
    "person at beach, pool or gym": (MISSED_PRIVATE,),
    "office-like": (MISSED_PRIVATE,),
    "religious place": (MISSED_PRIVATE, FALSE_PRIVATE),
    "escape room": (MISSED_PRIVATE, FALSE_PRIVATE),
    "wrong label": (MISSED_PRIVATE, FALSE_PRIVATE),
}

# Flaws that a downloaded tree has, one photo each, so that audit.csv has something to say.
FLAWS = ("missing", "truncated", "in another batch")


def make_demo(data_dir: str | Path, n_photos: int | None = None, seed: int = DEMO_SEED, workers: int = 2) -> Path:
    """Write the demo dataset as a tree of ``curated_*`` folders; nothing is done if it is already there.

    ``n_photos`` takes only the first photos of the plan (all 900 by default). The same seed gives the same pixels.
    Raises FileExistsError rather than touch a folder that this function did not make.
    """
    data_dir = Path(data_dir).resolve()  # through a link, if it is one
    stamp = {"seed": seed, "n_photos": n_photos, "code_sha256": _code_sha256()}
    marker = data_dir / DEMO_MARKER
    if marker.is_file() and json.loads(marker.read_text()) == stamp:
        return data_dir
    if data_dir.exists() and not marker.is_file() and any(data_dir.iterdir()):
        raise FileExistsError(f"{data_dir} exists and is not a demo dataset; choose another data_dir or move it away.")
    part = data_dir.with_name(data_dir.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    table = plan_photos(seed).head(n_photos)
    _draw_photos(table, part, seed, workers)
    _write_annotations(table, part)
    _add_flaws(table, part)
    (part / DEMO_MARKER).write_text(json.dumps(stamp))
    shutil.rmtree(data_dir, ignore_errors=True)
    os.replace(part, data_dir)
    return data_dir


def plan_photos(seed: int = DEMO_SEED) -> pd.DataFrame:
    """One row per photo, shuffled: image, source, batch, label, split columns, scene, people, case, width, height."""
    rng = np.random.default_rng(seed)
    plan = pd.DataFrame(PLAN, columns=PLAN_COLUMNS)
    long = plan.melt(["case", "scene", "people"], ["private", "public"], "label", "n")
    table = long.loc[long.index.repeat(long["n"])].drop(columns="n").sample(frac=1, random_state=rng)
    table = table.reset_index(drop=True)
    any_people = rng.choice(["none", "none", "one", "group"], size=len(table))
    table["people"] = table["people"].mask(table["people"] == "any", any_people)
    from_vispr = (table["label"] == "private") & (rng.random(len(table)) < VISPR_SHARE_OF_PRIVATE)
    table["source"] = np.where(from_vispr, "vispr", "picalert")
    table["image"] = [_image_name(rng, source) for source in table["source"]]
    nth = table.groupby("source").cumcount()
    table["batch"] = [f"batch{n // PHOTOS_PER_BATCH:02d}" for n in nth]
    sizes = rng.integers(len(SIZES), size=len(table))
    table[["width", "height"]] = np.array(SIZES)[sizes]
    # Stratified by case too: the test part is small, and each case of the card should be in it.
    return table.join(stratified_splits(table["label"] + table["case"], seed=seed))


def read_truth(data_dir: str | Path) -> pd.DataFrame:
    """What was drawn: image, scene, people, case. Only the demo dataset has it; training never sees it."""
    return pd.read_csv(Path(data_dir) / "curated_ipd" / "annotations" / "demo_truth.csv", dtype=str)


def failures_by_case(data_dir: str | Path, predictions: pd.DataFrame) -> pd.DataFrame:
    """Columns case, photos, failed, share: how many of the given predictions are wrong, per drawn case."""
    table = predictions.merge(read_truth(data_dir), on="image", validate="one_to_one")
    failed = (table["label"] != table["prediction"]).groupby(table["case"]).agg(["size", "sum", "mean"])
    failed.columns = ["photos", "failed", "share"]
    return failed.sort_values("share", ascending=False).reset_index()


def count_card_failures(data_dir: str | Path, predictions: pd.DataFrame) -> tuple[int, int]:
    """How many of the wrong predictions are failures that the card describes, and how many are wrong in all."""
    table = predictions.merge(read_truth(data_dir), on="image", validate="one_to_one")
    outcome = outcomes(table["label"], table["prediction"])
    described = [found in CARD_FAILURES.get(case, ()) for case, found in zip(table["case"], outcome)]
    return sum(described), int((outcome != CORRECT).sum())


def count_wrong_labels(data_dir: str | Path, suspects: pd.DataFrame, photos: pd.DataFrame) -> tuple[int, int]:
    """How many of the suspects were drawn with a wrong label on purpose, and how many of all ``photos`` were."""
    truth = read_truth(data_dir)
    wrong = truth.loc[truth["case"] == "wrong label", "image"]
    return int(suspects["image"].isin(wrong).sum()), int(photos["image"].isin(wrong).sum())


def _image_name(rng: np.random.Generator, source: str) -> str:
    """A name in the source's own style."""
    if source == "vispr":
        return f"2017_{rng.integers(10_000_000, 100_000_000)}"
    return f"{rng.integers(10**9, 10**10)}_{rng.bytes(5).hex()}_z"


def _photo_path(data_dir: Path, row) -> Path:
    return data_dir / f"curated_{row.source}" / "imgs" / row.batch / f"{row.image}.jpg"


def _draw_photos(table: pd.DataFrame, data_dir: Path, seed: int, workers: int) -> None:
    rows = list(table.itertuples(index=False))
    for folder in {_photo_path(data_dir, row).parent for row in rows}:
        folder.mkdir(parents=True)
    jobs = [
        (_photo_path(data_dir, row), row.scene, (row.width, row.height), row.people, [seed, number])
        for number, row in enumerate(rows)
    ]
    with ProcessPoolExecutor(workers) as pool:
        done = pool.map(_draw_photo, jobs, chunksize=16)
        list(progress(done, total=len(jobs), desc="drawing demo photos", unit="photo"))


def _draw_photo(job: tuple) -> None:
    path, scene, size, people, seed = job
    image = demo_scenes.draw_scene(scene, np.random.default_rng(seed), size, people)
    image.save(path, format="JPEG", quality=88)


def _write_annotations(table: pd.DataFrame, data_dir: Path) -> None:
    """The two published annotation files of IPD, and the demo's own record of what was drawn."""
    folder = data_dir / "curated_ipd" / "annotations"
    folder.mkdir(parents=True)
    labels_splits(table, table.filter(regex="^(Final|Fold)")).to_csv(folder / "labels_splits.csv", index=False)
    entries = [
        {"image": row.image, "dataset": row.source, "fullpath": f"{row.batch}/{row.image}.jpg"}
        for row in table.itertuples(index=False)
    ]
    # As in the published file, data_dir is where the authors had the photos: not a place on this machine.
    sources = {name: {"data_dir": f"/not/here/curated_{name}"} for name in ("picalert", "vispr")}
    (folder / "ipd_imgs_curated.json").write_text(json.dumps({"datasets": sources, "annotations": entries}, indent=1))
    table[["image", "scene", "people", "case"]].to_csv(folder / "demo_truth.csv", index=False)


def _add_flaws(table: pd.DataFrame, data_dir: Path) -> None:
    """Spoil one easy public training photo for each of ``FLAWS``."""
    easy = table[(table["case"] == "public place") & (table["Fold 0"] == 0)].head(len(FLAWS))
    gone, cut, moved = (_photo_path(data_dir, row) for row in easy.itertuples(index=False))
    gone.unlink()
    cut.write_bytes(cut.read_bytes()[:4000])
    other = moved.parent.with_name("batch99")
    other.mkdir()
    os.replace(moved, other / moved.name)


def _code_sha256() -> str:
    """Changes when the code that draws changes, so that an old demo dataset is not mistaken for the new one."""
    files = [*sorted(Path(demo_scenes.__file__).parent.glob("*.py")), Path(__file__)]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
