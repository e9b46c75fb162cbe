"""The card's failure statements, each tested on a named slice of a run's test photos, and the slices that fail most.

A slice is chosen by the scene with the largest logit (the top scene), never by looking at the photo. Which scenes
belong to a statement, and the bounds that decide it, are the kit's: the card names kinds of scene and gives no figure.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import ImageStat
from scipy.stats import fisher_exact

from s2p_lib.metrics import wilson_interval
from s2p_lib.model import PACKAGE, SCENES
from s2p_lib.photos import UNREADABLE, ahead, open_image
from s2p_lib.samples import CLASSES, examples

HOLDS, CONTRADICTED, UNDECIDED, NOT_TESTABLE = "holds", "contradicted", "undecided", "not testable"
FINDINGS = (HOLDS, CONTRADICTED, UNDECIDED, NOT_TESTABLE)
SHARE, DIFFERENCE = "share called private", "difference of the share called private"
COLUMNS = ["statement", "claim", "slice", "photos", "measure", "value", "low", "high", "finding", "why"]

# Scene -> indoor or outdoor, for all of Places365. The kit's own grouping, made by reading the names: those that end
# in /indoor or /outdoor decide themselves, the others by common sense. Scenes that exist as both (train station,
# arena, stable) went where most such places are.
PLACES = pd.read_csv(PACKAGE / "scene_places.csv", index_col="scene")["place"].to_dict()

PEOPLE = ("none", "one", "group")
MIN_PHOTOS = 10  # with nine photos all called alike, the 95 % interval still spans 30 points

# What slice_table finds, the worst first.
WORSE, NOT_TOLD_APART, BETTER = "worse than the rest", "not told apart", "better than the rest"
TOO_FEW = "too few photos"
SLICE_FINDINGS = (WORSE, NOT_TOLD_APART, BETTER, TOO_FEW)
LEVEL = 0.05  # chance of any false finding in a table
SLICE_COLUMNS = ["kind", "slice", "photos", "failed", "error_rate", "low", "high", "p_value", "p_adjusted", "finding"]

Where = Mapping[str, tuple[str, ...]]  # column -> values that it may take


@dataclass(frozen=True)
class Statement:
    """A failure statement of the card, as data.

    ``slices``: words -> which photos, as a mapping from column (label, prediction, top_scene, place, people, case) to
    the values that it may take. The statement holds if the whole interval of ``measure`` lies within ``bounds``, both
    fractions, in every slice. ``unknown`` says why it cannot be tested where the photos lack a column, ``unseen`` what
    of the statement the slices cannot see.
    """

    id: str
    claim: str
    slices: Mapping[str, Where] = field(default_factory=dict)
    bounds: tuple[float, float] = (0.0, 1.0)
    measure: str = SHARE
    unknown: str = ""
    unseen: str = ""


AMBIGUOUS = (0.2, 0.8)  # called either way, each at least once in five

STATEMENTS = (
    Statement(
        "people-presence",
        "Whether people are in the photo does not drive the decision.",
        {
            "with people": {"people": ("one", "group")},
            "without people": {"people": ("none",)},
        },
        bounds=(-0.1, 0.1),
        measure=DIFFERENCE,
        unknown="The published annotations do not say which photos show people; a table with image and people "
        f"({', '.join(PEOPLE)}) is needed.",
    ),
    Statement(
        "indoor-outdoor",
        "Indoor photos as such, or outdoor photos as such, are not all given one class.",
        {"top scene indoor": {"place": ("indoor",)}, "top scene outdoor": {"place": ("outdoor",)}},
        bounds=(0.05, 0.95),
    ),
    Statement(
        "bathroom",
        "Bathrooms are called private.",
        {"top scene a bathroom": {"top_scene": ("bathroom", "shower")}},
        bounds=(0.5, 1.0),
    ),
    Statement(
        "religious",
        "Religious places and ceremonies are ambiguous: called private as well as public.",
        {
            "top scene a religious place": {
                "top_scene": (
                    "church/indoor", "church/outdoor", "mosque/outdoor", "pagoda", "synagogue/outdoor", "temple/asia",
                )
            }
        },
        bounds=AMBIGUOUS,
        unseen="ceremonies in other places are not in the slice",
    ),
    Statement(
        "escape-room",
        "Escape rooms are ambiguous: called private as well as public.",
        {"escape rooms": {"case": ("escape room",)}},
        bounds=AMBIGUOUS,
        unknown="Places365 has no escape room among its scenes, so that no top scene picks such photos; somebody must "
        "say which they are.",
    ),
    Statement(
        "office-like",
        "Office-like scenes are called public.",
        {
            "top scene office-like": {
                "top_scene": (
                    "auditorium", "classroom", "computer_room", "conference_center", "conference_room", "home_office",
                    "lecture_room", "office", "office_cubicles",
                )
            }
        },
        bounds=(0.0, 0.5),
    ),
    Statement(
        "beach-gym",
        "Private photos of one person at a beach or in a gym are missed.",
        {
            "labelled private, top scene a beach, water to swim in or a gym": {
                "label": ("private",),
                "top_scene": (
                    "beach", "coast", "gymnasium/indoor", "martial_arts_gym", "ocean", "swimming_hole",
                    "swimming_pool/indoor", "swimming_pool/outdoor",
                ),
            }
        },
        bounds=(0.0, 0.5),
        unseen="how many people a photo shows is not asked, and places to swim count as beach (our choice)",
    ),
    Statement(
        "labels",
        "The labels are subjective and may be wrong.",
        unknown="A run has one label per photo; people who judge the photos again are needed.",
    ),
)  # fmt: skip


def judge_slices(table: pd.DataFrame, scene_logits: np.ndarray, truth: pd.DataFrame | None = None) -> pd.DataFrame:
    """Every statement of ``STATEMENTS`` with what the photos say to it; one row per slice, columns ``COLUMNS``.

    ``table``, ``scene_logits`` and ``truth`` as in ``describe_photos``. value, low and high are fractions, with the
    95 % Wilson interval; ``photos`` counts those in the slice. The rows of a statement share one finding. With people
    known, people-presence has the two shares, weighted so that both groups have the same mix of top scenes, and a
    third row with their difference, which decides. With fewer than ``MIN_PHOTOS`` photos a slice decides nothing.
    """
    photos = describe_photos(table, scene_logits, truth)
    rows = [row for statement in STATEMENTS for row in _judge(statement, photos)]
    return pd.DataFrame(rows, columns=COLUMNS)


def describe_photos(table: pd.DataFrame, scene_logits: np.ndarray, truth: pd.DataFrame | None = None) -> pd.DataFrame:
    """``table`` with what slices choose by: top_scene, place (indoor or outdoor), and people and case where known.

    ``table`` has the columns image, label and prediction, row i belonging to ``scene_logits[i]`` [N, 365] (logits, or
    anything that grows with them). ``truth`` tells more of the photos: image, people (none, one, group), and case if
    known, as ``demo.read_truth``; it is joined by image and may hold more photos. ValueError for tables that do not
    fit, with examples.
    """
    _check_table(table, scene_logits)
    top_scene = np.array(SCENES)[scene_logits.argmax(axis=1)]
    photos = table.drop(columns=["people", "case"], errors="ignore")  # only truth tells them, checked
    photos = photos.assign(top_scene=top_scene, place=[PLACES[scene] for scene in top_scene])
    if truth is None:
        return photos
    _check_truth(truth, photos)
    known = truth[[column for column in ("image", "people", "case") if column in truth]]
    return photos.merge(known, on="image", validate="one_to_one")


def in_slice(photos: pd.DataFrame, where: Where) -> pd.Series:
    """[N] bool: which of the described ``photos`` belong to a slice of a ``Statement``."""
    return pd.DataFrame({column: photos[column].isin(values) for column, values in where.items()}).all(axis=1)


def can_be_sliced(statement: Statement, described: pd.DataFrame) -> bool:
    """Whether the statement has slices, and the described photos (``describe_photos``) tell what those choose by."""
    needed = {column for where in statement.slices.values() for column in where}
    return bool(needed) and needed <= set(described)


def photos_of_statements(
    photos: pd.DataFrame, scene_logits: np.ndarray, truth: pd.DataFrame | None = None
) -> dict[str, pd.DataFrame]:
    """Statement id -> the photos in its slices, described (``describe_photos``) and with a column ``slice``.

    Every statement of ``STATEMENTS`` is there; those that cannot be tested with what is known have no photo. A
    photo in two slices of a statement is there twice. Arguments as for ``judge_slices``; ``photos`` may have more
    columns, which are kept.
    """
    described = describe_photos(photos, scene_logits, truth)
    return {statement.id: _photos_of(statement, described) for statement in STATEMENTS}


def slice_table(photos: pd.DataFrame, min_photos: int = MIN_PHOTOS) -> pd.DataFrame:
    """Error rates of slices of the photos, and which of them are worse or better than all other photos.

    ``photos`` has the columns label, prediction, top_scene and source, as ``failures.photo_table`` gives them, and
    width, height (pixels) and brightness where known (``photo_properties``). Slices are of the kinds top scene, place
    (indoor or outdoor, by the top scene), source, label, and size (width x height) and brightness in thirds of the
    photos; equal values are in one third, so that thirds may be uneven, and photos without a value are in none.

    One row per slice, columns ``SLICE_COLUMNS``: photos, failed (counts), error_rate with its 95 % Wilson interval
    (low, high), p_value (Fisher's exact test, two-sided, of the slice against all other photos), p_adjusted (Holm 1979,
    over all slices of all kinds that are tested) and finding, one of ``SLICE_FINDINGS``, in which order the rows are;
    within a finding the highest ``low`` comes first. Many slices are looked at, and some differ by chance, so a finding
    needs a p_adjusted of at most ``LEVEL``: that is then the chance that any of them is false, however slices overlap
    and even if others do differ (the labels nearly always do, which would loosen a false discovery rate). A slice of
    fewer than ``min_photos`` photos is not tested, nor is one that all photos are in (finding ``not told apart``). A
    finding tells where errors are, not what causes them: one source may be worse for having more private photos.
    ValueError for missing columns or scenes that Places365 lacks.
    """
    _check_sliceable(photos)
    failed = (photos["label"] != photos["prediction"]).to_numpy()
    rows = [
        (kind, name, *_errors_of(failed, (names == name).to_numpy(), min_photos))
        for kind, names in _slice_names(photos).items()
        for name in names.dropna().unique()
    ]
    columns = [name for name in SLICE_COLUMNS if name not in ("p_adjusted", "finding")]
    table = pd.DataFrame(rows, columns=[*columns, "rate_of_rest"])
    table["p_adjusted"] = _holm(table["p_value"])
    certain = table["p_adjusted"] <= LEVEL
    is_worse = table["error_rate"] > table["rate_of_rest"]
    few = table["photos"] < min_photos
    table["finding"] = np.select([few, certain & is_worse, certain], [TOO_FEW, WORSE, BETTER], NOT_TOLD_APART)
    order = table["finding"].map(SLICE_FINDINGS.index)
    order = table.assign(order=order).sort_values(["order", "low", "photos"], ascending=[True, False, False]).index
    return table.loc[order, SLICE_COLUMNS].reset_index(drop=True)


def photo_properties(paths: Sequence[str], data_dir: str | Path, workers: int = 1) -> pd.DataFrame:
    """One row per path, in order: path, width, height (pixels, as stored) and brightness; NaN for unreadable photos.

    ``paths`` are relative to ``data_dir``, as in splits.csv. Brightness is the mean luma (ITU-R 601) of the photo, from
    0 (black) to 1 (white). JPEGs are decoded at a fraction of their size, in ``workers`` threads.
    """
    files = [Path(data_dir) / path for path in paths]
    with ThreadPoolExecutor(workers) as pool:
        rows = list(ahead(pool, _size_and_brightness, files, 4 * workers))
    table = pd.DataFrame(rows, columns=["width", "height", "brightness"], dtype=float)
    table.insert(0, "path", list(paths))
    return table


def _judge(statement: Statement, photos: pd.DataFrame) -> list[tuple]:
    if not can_be_sliced(statement, photos):
        words = "; ".join(statement.slices) or "none"
        nothing = (words, 0, statement.measure if statement.slices else "none", np.nan, np.nan, np.nan)
        return [(statement.id, statement.claim, *nothing, NOT_TESTABLE, statement.unknown)]
    chosen = {words: photos[in_slice(photos, where)] for words, where in statement.slices.items()}
    if statement.measure == DIFFERENCE:
        measured, deciding = _difference(chosen)
    else:
        measured = deciding = [_share(words, of_slice) for words, of_slice in chosen.items()]
    finding, rule = _finding(measured, deciding, statement.bounds), _rule(statement, n_slices=len(deciding))
    return [(statement.id, statement.claim, *row, finding, f"{_numbers(row)}; {rule}") for row in measured]


def _share(words: str, photos: pd.DataFrame) -> tuple:
    """slice, photos, measure, value, low, high."""
    n, called = len(photos), int((photos["prediction"] == "private").sum())
    share = called / n if n else np.nan
    return words, n, SHARE, share, *wilson_interval(share, n)


def _difference(chosen: dict[str, pd.DataFrame]) -> tuple[list[tuple], list[tuple]]:
    """The rows of two groups and of their difference (first less second), and the last alone, which decides.

    Only top scenes seen in both groups count, scene s with n_s and m_s photos weighing n_s m_s / (n_s + m_s) (Mantel
    and Haenszel), so that the groups differ by what is asked, not by their scenes. A weighted share p has the Wilson
    interval of 1 / sum(w_s^2 / n_s) photos (w_s the weights, adding up to 1). The difference's interval is Newcombe's
    (1998), from those two. In simulations it covers the truth in 95 % of cases where the scenes are alike and in more
    where they differ, so it is wider than it need be rather than too narrow.
    """
    n = pd.concat([photos["top_scene"].value_counts() for photos in chosen.values()], axis=1, keys=chosen).dropna()
    weights = n.prod(axis=1) / n.sum(axis=1)
    weights /= weights.sum()
    rows, shared = [], "scenes seen in both"
    for words, photos in chosen.items():
        called = (photos["prediction"] == "private").groupby(photos["top_scene"]).mean()
        share = float((weights * called.reindex(n.index)).sum()) if len(n) else np.nan
        effective = float(1 / (weights**2 / n[words]).sum()) if len(n) else 0
        n_photos, interval = int(n[words].sum()), wilson_interval(share, effective)
        rows.append((f"{words} ({shared})", n_photos, f"{SHARE}, weighted", share, *interval))
    (_, n_first, _, p, p_low, p_high), (_, n_second, _, q, q_low, q_high) = rows
    low = p - q - np.hypot(p - p_low, q_high - q)
    high = p - q + np.hypot(p_high - p, q - q_low)
    both = (f"{', less '.join(chosen)} ({shared})", n_first + n_second, DIFFERENCE, p - q, float(low), float(high))
    return [*rows, both], [both]


def _finding(measured: list[tuple], deciding: list[tuple], bounds: tuple[float, float]) -> str:
    if min(row[1] for row in measured) < MIN_PHOTOS:
        return UNDECIDED
    intervals = [row[-2:] for row in deciding]
    if any(high < bounds[0] or low > bounds[1] for low, high in intervals):
        return CONTRADICTED
    return HOLDS if all(bounds[0] <= low and high <= bounds[1] for low, high in intervals) else UNDECIDED


def _numbers(row: tuple) -> str:
    _, n, measure, value, low, high = row
    if n == 0:
        return "no such photo"
    unit = "points" if measure == DIFFERENCE else "%"
    few = f", fewer than the {MIN_PHOTOS} that a finding needs" if n < MIN_PHOTOS else ""
    numbers = f"{measure} {100 * value:.1f} {unit} (95 % interval {100 * low:.1f} to {100 * high:.1f})"
    return f"{n:,} photo{'s' * (n > 1)}{few}: {numbers}"


def _rule(statement: Statement, n_slices: int) -> str:
    low, high = (f"{100 * bound:g}" for bound in statement.bounds)
    what, unit = ("of the difference ", "points") if statement.measure == DIFFERENCE else ("", "%")
    which = f"the whole interval {what}lies" if n_slices == 1 else "the whole interval of every slice lies"
    wholly = "it" if n_slices == 1 else "one"
    rule = (
        f"holds if {which} within {low} to {high} {unit}, is contradicted if {wholly} lies wholly outside (our bounds)"
    )
    return f"{rule}; {statement.unseen}" if statement.unseen else rule


def _photos_of(statement: Statement, described: pd.DataFrame) -> pd.DataFrame:
    if not can_be_sliced(statement, described):
        return described.head(0).assign(slice="")
    parts = [described[in_slice(described, w)].assign(slice=words) for words, w in statement.slices.items()]
    return pd.concat(parts, ignore_index=True)


def _slice_names(photos: pd.DataFrame) -> dict[str, pd.Series]:
    """Kind -> the name [N] of the slice that each photo is in; NaN where it is in none."""
    names = {
        "top scene": photos["top_scene"],
        "place": photos["top_scene"].map(PLACES),
        "source": photos["source"],
        "label": photos["label"],
    }
    if {"width", "height"} <= set(photos):
        names["size"] = _thirds(photos["width"] * photos["height"] / 1e6, ("small", "medium", "large"), " megapixels")
    if "brightness" in photos:
        names["brightness"] = _thirds(photos["brightness"], ("dark", "medium", "bright"), "")
    return names


def _thirds(values: pd.Series, words: tuple[str, str, str], unit: str) -> pd.Series:
    """``words`` with the range of each third of ``values``, cut at its quantiles; NaN stays NaN."""
    first, second = values.quantile([1 / 3, 2 / 3])
    ranges = (f"up to {first:.2f}", f"{first:.2f} to {second:.2f}", f"above {second:.2f}")
    names = [f"{word}, {span}{unit}" for word, span in zip(words, ranges)]
    chosen = np.select([values <= first, values <= second, values > second], names, "")
    return pd.Series(chosen, values.index).where(values.notna())


def _errors_of(failed: np.ndarray, inside: np.ndarray, min_photos: int) -> tuple:
    """photos, failed, error_rate, low, high, p_value, error rate of the other photos."""
    n, n_failed = int(inside.sum()), int(failed[inside].sum())
    rest, rest_failed = len(failed) - n, int(failed.sum()) - n_failed
    p_value = np.nan
    if n >= min_photos and rest:
        p_value = float(fisher_exact([[n_failed, n - n_failed], [rest_failed, rest - rest_failed]]).pvalue)
    rate = n_failed / n
    return n, n_failed, rate, *wilson_interval(rate, n), p_value, rest_failed / rest if rest else np.nan


def _holm(p_values: pd.Series) -> pd.Series:
    """Step-down adjustment of Holm (1979): the i-th smallest of m times m - i + 1, never falling; NaN stays NaN."""
    ascending = p_values.dropna().sort_values()
    return (ascending * np.arange(len(ascending), 0, -1)).cummax().clip(upper=1).reindex(p_values.index)


def _size_and_brightness(path: Path) -> tuple[float, float, float]:
    try:
        with open_image(path) as image:
            width, height = image.size
            image.draft("RGB", (160, 160))  # as much of a JPEG as a thumbnail needs: several times faster
            # RGB first: it makes of unusual modes what the model sees
            grey = image.convert("RGB").convert("L")
    except UNREADABLE:
        return np.nan, np.nan, np.nan
    return width, height, ImageStat.Stat(grey).mean[0] / 255


def _check_sliceable(photos: pd.DataFrame) -> None:
    if missing := [name for name in ("label", "prediction", "top_scene", "source") if name not in photos]:
        raise ValueError(f"the photos lack the column(s) {missing}; they have {list(photos)}")
    unknown = ~photos["top_scene"].isin(SCENES)
    if unknown.any():
        names = examples(photos.loc[unknown, "top_scene"].unique())
        raise ValueError(f"{unknown.sum():,} photo(s) have a top_scene that is none of Places365: {names}")


def _check_table(table: pd.DataFrame, scene_logits: np.ndarray) -> None:
    if missing := {"image", "label", "prediction"} - set(table):
        raise ValueError(f"the predictions lack the column(s) {sorted(missing)}; they have {list(table)}")
    if scene_logits.shape != (len(table), len(SCENES)):
        raise ValueError(
            f"scene_logits have the shape {scene_logits.shape}; {len(table)} photos need {(len(table), len(SCENES))}"
        )
    problems = {
        "more than one row": table["image"].duplicated(),
        "a scene logit that is no number": np.isnan(scene_logits).any(axis=1),
    }
    for column in ("label", "prediction"):
        problems[f"a {column} other than {' and '.join(CLASSES)}"] = ~table[column].isin(CLASSES)
    for problem, bad in problems.items():
        if bad.any():
            raise ValueError(f"{bad.sum()} photo(s) have {problem}: {examples(table.loc[bad, 'image'])}")


def _check_truth(truth: pd.DataFrame, photos: pd.DataFrame) -> None:
    if missing := {"image", "people"} - set(truth):
        raise ValueError(f"truth lacks the column(s) {sorted(missing)}; it has {list(truth)}")
    twice, bad = truth["image"].duplicated(), ~truth["people"].isin(PEOPLE)
    if twice.any():
        raise ValueError(f"truth names {twice.sum()} image(s) more than once: {examples(truth.loc[twice, 'image'])}")
    if bad.any():
        values = sorted(set(truth.loc[bad, "people"].map(str)))[:3]
        raise ValueError(f"truth has {bad.sum()} row(s) with people {values}; allowed are {', '.join(PEOPLE)}")
    unknown = ~photos["image"].isin(truth["image"])
    if unknown.any():
        raise ValueError(
            f"truth lacks {unknown.sum()} of {len(photos)} photos: {examples(photos.loc[unknown, 'image'])}"
        )
