"""The figures of the evaluation: confusions, curves, thresholds, calibration and sources.

Private is orange, public is blue, as in ``plots``.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve, roc_curve

from s2p_lib.calibration import expected_calibration_error, reliability, with_temperature
from s2p_lib.metrics import ranking, wilson_interval
from s2p_lib.plots import COLOURS, NEUTRAL
from s2p_lib.samples import CLASSES


def plot_confusions(matrices: dict[str, np.ndarray]) -> Figure:
    """One panel per title: photos (and share of the row), rows labels, columns predictions."""
    figure, axes = plt.subplots(
        1, len(matrices), figsize=(4.4 * len(matrices), 3.6), squeeze=False, layout="constrained"
    )
    for ax, (title, counts) in zip(axes[0], matrices.items()):
        shares = counts / counts.sum(axis=1, keepdims=True)
        cells = np.array([f"{n:,}\n{share:.1%}" for n, share in zip(counts.ravel(), shares.ravel())]).reshape(2, 2)
        sns.heatmap(
            shares, annot=cells, fmt="", cmap="Blues", vmin=0, vmax=1, cbar=False, square=True, ax=ax,
            xticklabels=CLASSES, yticklabels=CLASSES, annot_kws={"fontsize": 12},
        )  # fmt: skip
        ax.set(title=title, xlabel="prediction", ylabel="label")
    return figure


def plot_roc_pr(labels: pd.Series, p_private: pd.Series) -> Figure:
    """ROC and precision-recall curves for private, with the operating point (p_private = 0.5) and chance."""
    is_private, scores = np.asarray(labels) == "private", ranking(labels, p_private)
    called = np.asarray(p_private) >= 0.5
    recall, false_rate = called[is_private].mean(), called[~is_private].mean()
    figure, (roc, pr) = plt.subplots(1, 2, figsize=(10, 3.9), layout="constrained")
    x, y, _ = roc_curve(is_private, p_private)
    roc.plot(x, y, color=COLOURS["private"], label=f"S2P, area {scores['roc_auc']:.3f}")
    roc.plot([0, 1], [0, 1], color=NEUTRAL, ls="--", lw=1, label="chance")
    roc.plot([false_rate], [recall], "o", color="black", label="operating point, p = 0.5")
    roc.set(xlabel="public photos called private (share)", ylabel="private photos found (recall)", title="ROC")
    precision, found, _ = precision_recall_curve(is_private, p_private)
    pr.plot(
        found, precision, color=COLOURS["private"], label=f"S2P, average precision {scores['average_precision']:.3f}"
    )
    pr.axhline(is_private.mean(), color=NEUTRAL, ls="--", lw=1, label="chance")
    if called.any():
        pr.plot([recall], [is_private[called].mean()], "o", color="black", label="operating point, p = 0.5")
    pr.set(xlabel="private photos found (recall)", ylabel="precision for private", title="Precision and recall")
    for ax in (roc, pr):
        ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        ax.legend(loc="lower right" if ax is roc else "lower left", fontsize=9)
    return figure


def plot_thresholds(table: pd.DataFrame, chosen: pd.DataFrame | None = None) -> Figure:
    """Figures against the threshold from which on a photo is called private; ``table`` as ``metrics.threshold_table``.

    ``chosen`` as ``metrics.thresholds_for_recall``: its thresholds are marked on the curve of private recall.
    """
    figure, ax = plt.subplots(figsize=(10, 4), layout="constrained")
    lines = {
        "private_recall": ("recall of private", COLOURS["private"], "-"),
        "private_precision": ("precision of private", COLOURS["private"], ":"),
        "public_recall": ("recall of public", COLOURS["public"], "--"),
        "balanced_accuracy": ("balanced accuracy", "black", "-."),
    }
    for column, (label, colour, style) in lines.items():
        ax.plot(table["threshold"], 100 * table[column], color=colour, ls=style, label=label)
    ax.axvline(0.5, color=NEUTRAL, lw=1, label="threshold 0.5")
    if chosen is not None and len(chosen):
        found = 100 * chosen["private_recall"]
        dots = {"color": COLOURS["private"], "mec": "black", "label": "chosen on val for this recall"}
        ax.plot(chosen["threshold"], found, "o", **dots)
        place = {"xytext": (0, -17), "textcoords": "offset points", "ha": "center", "fontsize": 9}
        box = {"facecolor": "white", "edgecolor": "none", "pad": 1, "alpha": 0.8}
        for row, percent in zip(chosen.itertuples(), found):
            ax.annotate(f"{100 * row.wanted_recall:.3g} %", (row.threshold, percent), **place, bbox=box)
    ax.set(xlabel="threshold: called private from this p_private on", ylabel="percent", xlim=(0, 1), ylim=(-2, 104))
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def plot_reliability(labels, p_private, temperature: float | None = None) -> Figure:
    """Share of private photos against p_private in bins, the photos of each bin below; also with a temperature.

    Labels and bins as in ``calibration.reliability``. Without a temperature (None) there is one panel.
    """
    panels = {"as predicted": np.asarray(p_private, dtype=float)}
    if temperature is not None:
        panels[f"temperature {temperature:.3g}"] = with_temperature(p_private, temperature)
    rows = {"sharex": True, "sharey": "row", "height_ratios": [3, 1]}
    figure, axes = plt.subplots(2, len(panels), figsize=(10, 4.6), squeeze=False, layout="constrained", **rows)
    for (above, below), (title, p) in zip(axes.T, panels.items()):
        error = 100 * expected_calibration_error(labels, p)
        above.set(title=f"{title}: calibration error {error:.1f} percentage points", ylim=(-0.03, 1.03))
        below.set(xlabel="p_private", xlim=(-0.01, 1.01))
        _draw_reliability(above, below, reliability(labels, p))
    axes[0, 0].set_ylabel("share of private photos")
    axes[1, 0].set_ylabel("photos")
    handles = [handle for ax in axes[:, 0] for handle in ax.get_legend_handles_labels()[0]]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=9)
    return figure


def _draw_reliability(above: Axes, below: Axes, table: pd.DataFrame) -> None:
    """Shares of private photos with their intervals, and the photos of each bin, private ones first."""
    above.plot([0, 1], [0, 1], color=NEUTRAL, ls="--", lw=1, label="perfectly calibrated")
    share = table["share_private"]
    n_private = (share * table["photos"]).fillna(0).round()
    low, high = np.transpose([wilson_interval(p, n) for p, n in zip(share, table["photos"])])
    # A bound may pass the share by a rounding error where it is 0 or 1.
    bars = [np.clip(share - low, 0, None), np.clip(high - share, 0, None)]
    style = {"fmt": "o", "color": "black", "ms": 5, "lw": 1, "capsize": 2, "label": "photos of a bin, 95 % interval"}
    above.errorbar(table["mean_p_private"], share, yerr=bars, **style)
    left, width = table["bin_low"], table["bin_high"] - table["bin_low"]
    below.bar(left, n_private, width, align="edge", color=COLOURS["private"], label="private")
    n_public = table["photos"] - n_private
    below.bar(left, n_public, width, n_private, align="edge", color=COLOURS["public"], label="public")


def plot_by_source(table: pd.DataFrame) -> Figure:
    """Recalls and balanced accuracy of each source with 95 % intervals; ``table`` as ``metrics.by_source``."""
    figure, ax = plt.subplots(figsize=(10, 0.75 * len(table) + 1.6), layout="constrained")
    figures = {
        "private_recall": ("recall of private", COLOURS["private"], "o", -0.22),
        "balanced_accuracy": ("balanced accuracy", "black", "D", 0.0),
        "public_recall": ("recall of public", COLOURS["public"], "s", 0.22),
    }
    for column, (label, colour, marker, offset) in figures.items():
        value, low, high = (100 * table[column + end].to_numpy() for end in ("", "_low", "_high"))
        place = np.arange(len(table)) + offset
        ax.errorbar(
            value,
            place,
            xerr=np.clip([value - low, high - value], 0, None),
            fmt=marker,
            color=colour,
            capsize=3,
            label=label,
        )
    ax.set_yticks(
        range(len(table)),
        [f"{row.source}\n{row.n_private:,} private\n{row.n_public:,} public" for row in table.itertuples()],
    )
    ax.set(xlabel="percent, with 95 % interval", xlim=(-2, 102), ylim=(len(table) - 0.5, -0.5))
    ax.grid(axis="y", visible=False)
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure
