"""``failures.html``: the failed test photos as one page to look through, without kernel, server or network."""

import base64
import hashlib
import math
import os.path
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pandas as pd
from markupsafe import Markup

from s2p_lib.failures import flip_words, flips, signed
from s2p_lib.metrics import CORRECT, FALSE_PRIVATE, MISSED_PRIVATE
from s2p_lib.pictures import picture
from s2p_lib.report import jpeg_uri, render_page
from s2p_lib.run_folder import RunFolder
from s2p_lib.samples import examples
from s2p_lib.slices import STATEMENTS

SCRIPT = (Path(__file__).parent / "templates" / "failures.js").read_text(encoding="utf-8")
SIZES = ((448, 80), (320, 75), (240, 70), (160, 60))  # pixels a side, JPEG quality: the first that fits is taken
N_SCENES = 8  # bars in the explanation of a photo; the other scenes share one bar
COLUMNS = (
    *("image", "path", "source", "label", "prediction", "p_private", "outcome", "confidence", "loss", "margin"),
    *("top_scene", "top_scenes", "top_scene_p", "reasons"),
)

Explain = Callable[[str], pd.DataFrame]
Slices = dict[tuple[str, str], set[str]]  # (id of the statement, words of the slice) -> images


def write_failures_page(
    run: RunFolder,
    photos: pd.DataFrame,
    explain: Explain,
    statements: Mapping[str, pd.DataFrame] | None = None,
    max_photos: int = 300,
    max_bytes: float = 15e6,
    n_unreadable: int = 0,
) -> None:
    """``failures.html``: failed photos, the most confident first, with filters, sorting and an explanation of each.

    ``photos`` is ``failures.photo_table`` of all test photos. ``explain(image)`` gives ``failures.explain`` of a photo;
    it is asked only for those on the page. ``statements`` is ``slices.photos_of_statements`` of the same photos. Up to
    ``max_photos`` are on the page; where failures leave room, correct photos drawn at random join them. If the page
    would be larger than ``max_bytes``, pictures are made smaller, and then photos are left off, correct ones first; the
    page tells so, as it does of ``n_unreadable`` test photos of the run that are not in ``photos``.

    The page loads nothing, and no script but its own can run in it: the content policy names that script by its hash.
    ValueError for missing columns, an image twice, statements about other photos, or limits too small to be kept.
    """
    slices = {
        (statement, words): set(of_slice["image"])
        for statement, of_statement in (statements or {}).items()
        for words, of_slice in of_statement.groupby("slice", sort=False)
    }
    _check(photos, slices, max_photos)
    chosen = _choose(photos, max_photos)
    explained = [_explained(row, explain(row["image"])) for row in chosen.to_dict("records")]
    limits = {"max_photos": max_photos, "max_bytes": max_bytes}
    draw = partial(_page, run, photos, slices, n_unreadable=n_unreadable, **limits)
    run.write_text("failures.html", _within(run, explained, draw, max_bytes))


def _choose(photos: pd.DataFrame, max_photos: int) -> pd.DataFrame:
    """Failures first, the most confident first; then a random sample of correct photos as far as there is room."""
    order = {"by": ["confidence", "image"], "ascending": [False, True]}
    failed = photos[photos["outcome"] != CORRECT].sort_values(**order).head(max_photos)
    correct = photos[photos["outcome"] == CORRECT]
    sample = correct.sample(min(max_photos - len(failed), len(correct)), random_state=0)
    return pd.concat([failed, sample.sort_values(**order)])


def _within(run: RunFolder, explained: list[dict], draw: Callable[[list[dict], int], str], max_bytes: float) -> str:
    """The page with the largest pictures, and then with the most photos, that keep to ``max_bytes``."""
    sizes = SIZES if run.from_photos else SIZES[:1]  # without pictures there is nothing to make smaller
    for size, quality in sizes:
        shown = _with_pictures(run, explained, size, quality)
        page = draw(shown, size)
        n_bytes = len(page.encode())
        if n_bytes <= max_bytes:
            return page
    while shown:
        shown = shown[: min(len(shown) - 1, int(0.97 * len(shown) * max_bytes / n_bytes))]
        page = draw(shown, size)
        n_bytes = len(page.encode())
        if n_bytes <= max_bytes:
            return page
    raise ValueError(
        f"{max_bytes / 1e6:g} MB is too small: the page without any photo has {n_bytes / 1e6:.3f} MB; allow it more"
    )


def _with_pictures(run: RunFolder, explained: list[dict], size: int, quality: int) -> list[dict]:
    def pictured(photo: dict) -> dict:
        path = run.data_dir / str(photo["path"])
        image = picture(path, run.pictures_in_pages, size)
        # Not Path.is_file: it raises for a name that is too long for the file system.
        is_gone = run.from_photos and not os.path.isfile(path)
        return photo | {"uri": image and jpeg_uri(image, quality), "gone": is_gone}

    with ThreadPoolExecutor() as pool:
        return list(pool.map(pictured, explained))


def _page(
    run: RunFolder,
    photos: pd.DataFrame,
    slices: Slices,
    shown: list[dict],
    size: int,
    *,
    max_photos: int,
    max_bytes: float,
    n_unreadable: int,
) -> str:
    n_of = photos["outcome"].value_counts().reindex([MISSED_PRIVATE, FALSE_PRIVATE, CORRECT], fill_value=0)
    n_shown = pd.Series([photo["outcome"] for photo in shown], dtype=object).value_counts()
    return render_page(
        run,
        "failures.html",
        photos=shown,
        data=[_data(photo, slices) for photo in shown],
        script=Markup(SCRIPT),
        script_sha256=base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode(),
        n_of=n_of.to_dict(),
        n_shown=n_shown.reindex(n_of.index, fill_value=0).to_dict(),
        n_failed=int(n_of.sum() - n_of[CORRECT]),
        n_failed_shown=len(shown) - int(n_shown.get(CORRECT, 0)),
        n_unreadable=n_unreadable,
        n_gone=sum(photo["gone"] for photo in shown),
        statements=list(_options(slices, {photo["image"] for photo in shown})),
        choices={column: sorted({photo[column] for photo in shown}) for column in ("source", "top_scene")},
        size=size,
        smaller=run.from_photos and size < SIZES[0][0],
        max_photos=max_photos,
        max_megabytes=f"{max_bytes / 1e6:g}",
        by_size=len(shown) < min(max_photos, len(photos)),
    )


def _options(slices: Slices, shown: set[str]) -> Iterator[dict]:
    """The statements that have photos, each with its slices and how many of their photos are on the page."""
    for statement in STATEMENTS:
        of_statement = {words: images for (id_, words), images in slices.items() if id_ == statement.id}
        if of_statement:
            counted = [
                {"key": _key(statement.id, words), "words": words, "n": len(images), "n_shown": len(shown & images)}
                for words, images in of_statement.items()
            ]
            yield {"claim": statement.claim, "slices": counted}


def _key(statement: str, words: str) -> str:
    return f"{statement}: {words}"


def _explained(row: dict, explanation: pd.DataFrame) -> dict:
    """A row of the photo table with its scenes, its explanation cut to what a page shows, and what would flip it."""
    margin_private = row["margin"] if row["label"] == "private" else -row["margin"]
    largest, contribution = explanation.head(N_SCENES), explanation["contribution"]
    return row | {
        "source": row["source"] if isinstance(row["source"], str) else "unknown",
        "scenes": list(zip(row["top_scenes"].split(", "), map(float, row["top_scene_p"].split(", ")))),
        "bars": largest[["scene", "logit", "mean", "contribution"]].values.tolist(),
        "rest": [len(explanation) - len(largest), contribution[len(largest) :].sum()],
        "margins": [margin_private - contribution.sum(), contribution.sum(), margin_private],
        "flip": _flip(explanation, margin_private),
    }


def _flip(explanation: pd.DataFrame, margin_private: float) -> dict:
    """What would turn the decision, in words and as lines; between the first lines and the last, some are left out."""
    table = flips(explanation, margin_private)
    lines = [f"{row.scene}: the margin becomes {signed(row.margin_after)}" for row in table.itertuples()]
    if len(table) > N_SCENES:
        lines[N_SCENES - 1 : -1] = [f"{len(table) - N_SCENES} more scenes"]
    return {"words": flip_words(table, margin_private), "scenes": lines}


def _data(photo: dict, slices: Slices) -> dict:
    """What the script needs of a photo; the figure beside it in the page has the picture and the reasons."""
    texts = ("image", "source", "label", "prediction", "outcome", "top_scene", "reasons", "scenes", "gone", "flip")
    numbers = ("p_private", "confidence", "loss", "margin", "bars", "rest", "margins")
    return {
        **{name: photo[name] for name in texts},
        **{name: _rounded(photo[name]) for name in numbers},
        "slices": [_key(*names) for names, images in slices.items() if photo["image"] in images],
    }


def _rounded(value):
    """Numbers to five decimals; None, which JSON can write, for what is not finite."""
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    if isinstance(value, str):
        return value
    return round(float(value), 5) if math.isfinite(value) else None


def _check(photos: pd.DataFrame, slices: Slices, max_photos: int) -> None:
    if missing := [column for column in COLUMNS if column not in photos]:
        raise ValueError(f"the photo table lacks the column(s) {missing}; failures.photo_table makes them")
    if max_photos < 1:
        raise ValueError(f"max_photos={max_photos} is not allowed; 1 or more is")
    twice = photos["image"].duplicated()
    if twice.any():
        raise ValueError(
            f"the photo table has {twice.sum()} image(s) more than once: {examples(photos['image'][twice])}"
        )
    for (statement, words), images in slices.items():
        if unknown := sorted(images - set(photos["image"])):
            raise ValueError(
                f"slice {words!r} of {statement} has {len(unknown)} photo(s) that the photo table lacks: "
                f"{examples(unknown)}"
            )
