"""The figures of doubtful labels: what they weigh in the test figures, and suspects beside photos like them."""

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from s2p_lib.label_errors import MEASURES_LEFT
from s2p_lib.pictures import picture
from s2p_lib.plots import COLOURS, NEUTRAL, words

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
        return words(table.attrs.get("reason", "No label is doubted, so there is nothing to compare."))
    pairs = []
    for row in table.head(n).itertuples(index=False):
        left = row.path, row.label, f"{row.rank}: labelled {row.label}\nits probability {row.p_of_label:.2f}"
        right = row.other_path, row.other_label, f"labelled {row.other_label}\nsimilarity {row.similarity:.2f}"
        pairs.append((left, right))
    return _pairs(pairs, data_dir, pictures)


def plot_copies(table: pd.DataFrame, data_dir: str | Path, pictures: str, n: int = 6) -> Figure:
    """The first ``n`` pairs of ``label_errors.contradicting_copies``; ``pictures`` as in ``plot_side_by_side``."""
    if table.empty:
        return words("No two copies of a photo are labelled differently.")
    pairs = []
    for place, row in enumerate(table.head(n).itertuples(index=False), start=1):
        left = row.path_a, row.label_a, f"{place}: labelled {row.label_a}\n{row.bits} of 64 bits differ"
        pairs.append((left, (row.path_b, row.label_b, f"labelled {row.label_b}\n")))
    return _pairs(pairs, data_dir, pictures)


def _pairs(pairs: list[tuple[tuple, tuple]], data_dir: str | Path, pictures: str) -> Figure:
    """Pairs of photos, each given by its path, label and title; a path may be missing on the right."""
    if pictures == "scenes":
        return words("Photos of this dataset are not shown here (parameter show_photos); the table names them.")
    rows = -(-len(pairs) // PAIRS_IN_A_ROW)
    widths = ([1, 1, 0.12] * PAIRS_IN_A_ROW)[:-1]  # the narrow columns keep pairs apart
    figure, axes = plt.subplots(
        rows, len(widths), figsize=(10.5, 2.4 * rows), squeeze=False, width_ratios=widths, layout="constrained"
    )
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
        sns.despine(ax=ax, left=True, bottom=True)
    for place, pair in enumerate(pairs):
        row, column = divmod(place, PAIRS_IN_A_ROW)
        for ax, (path, label, title) in zip(axes[row][3 * column :], pair):
            if pd.isna(path):
                ax.text(0.5, 0.5, "no photo\nto compare with", ha="center", va="center", fontsize=9)
                continue
            ax.imshow(picture(Path(data_dir) / path, pictures))
            ax.set_title(title, fontsize=9, pad=3, color=COLOURS[label])
    return figure
