"""The figures of doubtful labels: what they weigh in the test figures, and suspects beside photos like them."""

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from s2p_lib.label_errors import MEASURES_LEFT
from s2p_lib.pictures import picture
from s2p_lib.plots import COLOURS, NEUTRAL

PAIRS_IN_A_ROW = 3


def plot_without_suspects(table: pd.DataFrame) -> Figure:
    """The test figures against the number of photos removed; ``table`` as ``label_errors.without_suspects``."""
    figure, axes = plt.subplots(1, len(MEASURES_LEFT), figsize=(10.5, 3.8), sharey=True, layout="constrained")
    marker = "o" if len(table) == 1 else None  # a line of one point would not be seen
    for ax, name in zip(axes, MEASURES_LEFT):
        low, high, mean = (100 * table[f"{name}_random{end}"] for end in ("_low", "_high", ""))
        ax.fill_between(table["removed"], low, high, color=NEUTRAL, alpha=0.2, lw=0, label="random photos, middle 95 %")
        ax.plot(table["removed"], mean, color=NEUTRAL, ls="--", marker=marker, label="random photos, mean")
        ax.plot(table["removed"], 100 * table[name], color="black", marker=marker)
        ax.set(title=name.replace("_", " "), xlabel="test photos removed")
        ax.xaxis.get_major_locator().set_params(integer=True)
    axes[0].set_ylabel("percent of the test photos left")
    axes[0].lines[-1].set_label("most doubtful labels first (an upper view)")
    handles = axes[0].get_legend_handles_labels()[0]
    figure.legend(handles=handles[::-1], loc="outside lower center", ncols=len(handles), fontsize=9)
    return figure


def plot_side_by_side(table: pd.DataFrame, data_dir: str | Path, pictures: str, n: int = 6) -> Figure:
    """The first ``n`` suspects, each with the photo most like it on its right; ``table`` as
    ``label_errors.side_by_side``.

    ``pictures`` as in ``pictures.picture``; with ``scenes`` nothing of a photo is shown, and a sentence says so. The
    numbers are the ranks in the table: no photo's name is in the figure.
    """
    if table.empty:
        return _words("No label is doubted, so there is nothing to compare.")
    if pictures == "scenes":
        return _words("Photos of this dataset are not shown here (parameter show_photos); the table names them.")
    shown = table.head(n)
    rows = -(-len(shown) // PAIRS_IN_A_ROW)
    widths = ([1, 1, 0.12] * PAIRS_IN_A_ROW)[:-1]  # the narrow columns keep pairs apart
    figure, axes = plt.subplots(
        rows, len(widths), figsize=(10.5, 2.4 * rows), squeeze=False, width_ratios=widths, layout="constrained"
    )
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
        sns.despine(ax=ax, left=True, bottom=True)
    for place, pair in enumerate(shown.itertuples(index=False)):
        left, right = axes[place // PAIRS_IN_A_ROW][3 * (place % PAIRS_IN_A_ROW) :][:2]
        title = f"{pair.rank}: labelled {pair.label}\nits probability {pair.p_of_label:.2f}"
        _show(left, Path(data_dir) / pair.path, pictures, title, COLOURS[pair.label])
        if pd.isna(pair.other_path):
            right.text(0.5, 0.5, "no photo\nto compare with", ha="center", va="center", fontsize=9)
            continue
        title = f"labelled {pair.other_label}\nsimilarity {pair.similarity:.2f}"
        _show(right, Path(data_dir) / pair.other_path, pictures, title, COLOURS[pair.other_label])
    return figure


def _show(ax: Axes, path: Path, pictures: str, title: str, colour: str) -> None:
    ax.imshow(picture(path, pictures))
    ax.set_title(title, fontsize=9, pad=3, color=colour)


def _words(text: str) -> Figure:
    """A sentence where a figure would be."""
    figure, ax = plt.subplots(figsize=(9, 0.6))
    ax.text(0, 0.5, text, va="center")
    ax.set_axis_off()
    return figure
