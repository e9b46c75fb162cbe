"""Figures of single decisions and of where errors are. Private is orange, to the right; public is blue, to the left."""

import textwrap
from collections.abc import Mapping
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from s2p_lib.failures import signed, with_minus_sign
from s2p_lib.plots import COLOURS, NEUTRAL, draw_gallery, gallery_height
from s2p_lib.slices import BETTER, NOT_TOLD_APART, STATEMENTS, TOO_FEW, WORSE, Statement, can_be_sliced

# finding -> marker, colour; from the palette of Okabe and Ito, none of them a class's
FINDING_STYLES = {
    WORSE: ("X", "#CC79A7"),
    NOT_TOLD_APART: ("o", NEUTRAL),
    BETTER: ("^", "#009E73"),
    TOO_FEW: (".", "#A6A6A6"),
}


def plot_explanation(explanation: pd.DataFrame, n: int = 10) -> Figure:
    """The ``n`` scenes that moved one photo's decision most, and all others in one bar, so that the bars add up.

    ``explanation`` as from ``failures.explain``.
    """
    shown, others = explanation.head(n), explanation.iloc[n:]
    names = [
        f"{row.scene} (logit {with_minus_sign(f'{row.logit:.1f}')}, mean {with_minus_sign(f'{row.mean:.1f}')})"
        for row in shown.itertuples(name="Row")
    ]
    values = shown["contribution"].tolist()
    if len(others):
        names.append(f"the other {len(others)} scenes")
        values.append(others["contribution"].sum())
    figure, ax = _signed_bars(names, values)
    ax.set_xlabel("contribution to the log-odds of private, against the mean photo")
    ax.set_title(f"all bars add up to {signed(explanation['contribution'].sum())}", loc="left")
    return figure


def plot_scene_weights(table: pd.DataFrame, n: int = 15) -> Figure:
    """The ``n`` scenes that speak most for private and the ``n`` that speak most for public.

    ``table`` as from ``failures.scene_weights``: the bars are the weights. Merged with
    ``failures.mean_abs_contribution`` it has that column too; then the bars are this contribution, on the side of the
    weight, and the scenes are those that in fact move the photos most.
    """
    in_fact = "mean_abs_contribution" in table
    weight = table.set_index("scene")["weight"]
    strength = np.sign(weight) * table.set_index("scene")["mean_abs_contribution"] if in_fact else weight
    private = strength[strength > 0].nlargest(n)
    public = strength[strength < 0].nsmallest(n)[::-1]
    chosen = pd.concat([private, public])
    figure, ax = _signed_bars(chosen.index.tolist(), chosen.tolist())
    ax.set_xlabel(
        "mean absolute contribution, log-odds, on the side that a high logit speaks for"
        if in_fact
        else "log-odds of private per unit of logit"
    )
    ax.set_title(f"{len(private)} + {len(public)} of {len(table)} scenes", loc="left")
    return figure


def plot_statements(
    photos: Mapping[str, pd.DataFrame], data_dir: str | Path, pictures: str = "photos", n: int = 4
) -> Figure:
    """Each of the card's failure statements with up to ``n`` photos of its slices, the largest loss first.

    ``photos`` as from ``slices.photos_of_statements`` of a photo table, ``pictures`` as in ``pictures.picture``. Where
    no photo can be shown, a sentence says why.
    """
    words, shown = {}, {}
    for statement in STATEMENTS:
        of_statement = photos[statement.id].drop_duplicates("image")
        words[statement.id] = "\n".join(textwrap.wrap(_words_on(statement, of_statement), 118))
        shown[statement.id] = of_statement.sort_values(["loss", "image"], ascending=[False, True]).head(n)
    lines = [0.25 + 0.2 * (text.count("\n") + 1) for text in words.values()]
    heights = [h + (gallery_height(len(t), pictures, n) if len(t) else 0) for h, t in zip(lines, shown.values())]
    figure = plt.figure(figsize=(10.5, sum(heights)), layout="constrained")
    for part, (id_, table) in zip(figure.subfigures(len(heights), height_ratios=heights), shown.items()):
        part.suptitle(words[id_], x=0.005, ha="left", fontsize=10, weight="bold")
        if len(table):
            draw_gallery(part, table, Path(data_dir), pictures, n)
    return figure


def plot_slice_table(table: pd.DataFrame, n: int = 20) -> Figure:
    """Error rates of the first ``n`` slices with 95 % intervals, by finding; dashed the rate of all photos.

    ``table`` as from ``slices.slice_table``, whole, so that every photo's label is in it.
    """
    of_label = table[table["kind"] == "label"]
    shown = table.head(n)
    figure, ax = plt.subplots(figsize=(9, 0.36 * len(shown) + 1.6), layout="constrained")
    if len(of_label):
        overall = 100 * of_label["failed"].sum() / of_label["photos"].sum()
        ax.axvline(overall, color=NEUTRAL, ls="--", lw=1, label=f"all photos, {overall:.1f} %")
    for finding, (marker, colour) in FINDING_STYLES.items():
        rows = shown[shown["finding"] == finding]
        ax.hlines(rows.index, 100 * rows["low"], 100 * rows["high"], color=colour, lw=2)
        ax.plot(100 * rows["error_rate"], rows.index, marker, color=colour, ms=8, ls="", label=finding)
    names = [f"{row.kind}: {row.slice} ({row.failed:,} of {row.photos:,})" for row in shown.itertuples()]
    ax.set_yticks(range(len(shown)), names, fontsize=9)
    ax.set(xlabel="photos called wrongly, percent", xlim=(-2, 102), ylim=(max(len(shown), 1) - 0.5, -0.5))
    ax.set_title(f"{len(shown)} of {len(table)} slices", loc="left")
    figure.legend(loc="outside lower center", ncols=5, fontsize=9)
    return figure


def _words_on(statement: Statement, photos: pd.DataFrame) -> str:
    if not can_be_sliced(statement, photos):
        return f"{statement.id}: {statement.claim} Not testable. {statement.unknown}"
    n_wrong = (photos["label"] != photos["prediction"]).sum()
    found = f"{n_wrong:,} of {len(photos):,} such photos called wrongly" if len(photos) else "There is no such photo"
    return f"{statement.id}: {statement.claim} {found}."


def _signed_bars(names: list[str], values: list[float]) -> tuple[Figure, Axes]:
    """Horizontal bars from top to bottom, with their values, coloured by the class that they speak for."""
    figure, ax = plt.subplots(figsize=(9, 0.3 * len(names) + 1.7), layout="constrained")
    colours = [COLOURS["private" if value > 0 else "public"] for value in values]
    bars = ax.barh(range(len(names)), values, color=colours)
    ax.bar_label(bars, [signed(value) for value in values], padding=4, fontsize=9)
    ax.axvline(0, color="black", lw=1)
    # By place, not by name: two bars may not merge because they are called alike.
    ax.set_yticks(range(len(names)), names, fontsize=9)
    ax.invert_yaxis()
    ax.margins(x=0.15, y=0.02)  # room for the values
    ax.grid(axis="y", visible=False)
    sides = [Patch(color=COLOURS[label], label=f"towards {label}") for label in ("public", "private")]  # as drawn
    figure.legend(handles=sides, loc="outside lower center", ncols=2, fontsize=9)
    return figure, ax
