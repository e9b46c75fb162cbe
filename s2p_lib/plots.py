"""The figures of notebooks and report. Private is orange, public is blue: safe for colour-blind readers."""

import base64
import io
import textwrap
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from s2p_lib.metrics import CARD_PERCENT
from s2p_lib.pictures import picture
from s2p_lib.samples import CLASSES, SPLITS

COLOURS = {"private": "#D55E00", "public": "#0072B2"}  # from the palette of Okabe and Ito
MODE_COLOURS = {"frozen": "#595959", "adapted": "#0072B2", "released": "#D55E00"}
MODE_LINES = {"frozen": ":", "adapted": "--", "released": "-"}
TRAIN, VAL, NEUTRAL = "#56B4E9", "#D55E00", "#595959"

sns.set_theme(context="notebook", style="whitegrid", font_scale=0.9)


def plot_balance(samples: pd.DataFrame) -> Figure:
    """Photos per split and label, one panel per source."""
    counts = samples.groupby(["source", "split", "label"]).size().rename("photos").reset_index()
    sources = sorted(counts["source"].unique())
    figure, axes = plt.subplots(1, len(sources), figsize=(9, 3.4), sharey=True, squeeze=False, layout="constrained")
    for ax, source in zip(axes[0], sources):
        of_source = counts[counts["source"] == source]
        sns.barplot(
            of_source, x="split", y="photos", hue="label", order=SPLITS, hue_order=CLASSES, palette=COLOURS, ax=ax
        )
        for bars in ax.containers:
            ax.bar_label(bars, fontsize=9)
        ax.set(title=f"source: {source}", xlabel="split", ylabel="photos")
        ax.margins(y=0.12)  # room for the numbers above the bars
        ax.get_legend().set_visible(ax is axes[0, -1])
    return figure


def plot_photos(
    samples: pd.DataFrame, data_dir: Path, pictures: str = "photos", per_label: int = 12, seed: int = 0
) -> Figure:
    """Some photos of each label, drawn by ``seed``; ``pictures`` as in ``pictures.picture``."""
    if pictures == "scenes":
        return _words("Photos of this dataset are not shown here (parameter show_photos).")
    columns = 6
    rows = -(-per_label // columns)
    figure, axes = plt.subplots(2 * rows, columns, figsize=(10, 3.6 * rows), layout="constrained")
    for block, label in zip(axes.reshape(2, -1), CLASSES):
        of_label = samples[samples["label"] == label]
        chosen = of_label.sample(min(per_label, len(of_label)), random_state=seed)
        for ax, path in zip(block, chosen["path"]):
            ax.imshow(picture(Path(data_dir) / path, pictures))
            ax.set_title(label, color=COLOURS[label], fontsize=9, pad=2)
    _hide_frames(axes)
    return figure


def plot_problems(examples: pd.DataFrame, data_dir: Path, pictures: str = "photos", columns: int = 5) -> Figure:
    """Photos that the audit has something to tell about; ``examples`` has the columns kind and path."""
    if pictures == "scenes":
        return _words("Photos of this dataset are not shown here (parameter show_photos).")
    if examples.empty:
        return _words("No photo with something to tell can be shown.")
    rows = -(-len(examples) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(10.5, 2.5 * rows), squeeze=False, layout="constrained")
    _hide_frames(axes)
    for ax, row in zip(axes.flat, examples.itertuples(index=False)):
        ax.imshow(picture(Path(data_dir) / row.path, pictures))
        ax.set_title("\n".join(textwrap.wrap(row.kind, 26)), fontsize=8, pad=3)
    return figure


def _words(text: str) -> Figure:
    """A sentence where a figure would be."""
    figure, ax = plt.subplots(figsize=(9, 0.6))
    ax.text(0, 0.5, text, va="center")
    ax.set_axis_off()
    return figure


def plot_learning_curves(history: pd.DataFrame, kept_epoch: int) -> Figure:
    """Loss and balanced accuracy per epoch; dotted lines where the learning rate was lowered."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    halved = history.loc[history["lr"].diff() < 0, "epoch"]
    for ax, measure, label in zip(axes, ["loss", "balanced_accuracy"], ["loss", "balanced accuracy (fraction)"]):
        ax.plot(history["epoch"], history[f"train_{measure}"], color=TRAIN, label="train")
        judged = f"val_{measure}" if history[f"val_{measure}"].notna().any() else f"train_{measure}"
        if judged.startswith("val"):  # fold final has no val
            ax.plot(history["epoch"], history[judged], color=VAL, label="val")
        for i, epoch in enumerate(halved):
            ax.axvline(epoch, color=NEUTRAL, ls=":", lw=1, label=None if i else "learning rate lowered")
        kept = history.loc[history["epoch"] == kept_epoch, judged]
        ax.plot([kept_epoch], kept, "o", color="black", ms=6, label=f"kept epoch ({kept_epoch})")
        ax.set(xlabel="epoch", ylabel=label)
    axes[1].legend(loc="lower right")
    return figure


def plot_drift(drift_by_mode: dict[str, pd.DataFrame]) -> Figure:
    """How far BatchNorm statistics have moved, per layer from the input on; one line per mode.

    Each table has the columns of ``batchnorm.drift``.
    """
    if all(table.empty for table in drift_by_mode.values()):
        return _words("There is no BatchNorm layer whose statistics could move.")
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    names = {"mean_shift": "mean shift, old standard deviations", "std_ratio": "new / old standard deviation"}
    for ax, (column, label) in zip(axes, names.items()):
        for mode, table in drift_by_mode.items():
            ax.plot(table["depth"], table[column], color=MODE_COLOURS[mode], ls=MODE_LINES[mode], label=mode)
        ax.set(xlabel="BatchNorm layer, from the input", ylabel=label)
    axes[0].set_ylim(bottom=0)
    axes[1].legend(title="bn_mode", loc="best")
    return figure


def plot_modes(table: pd.DataFrame) -> Figure:
    """Test figures of each BatchNorm mode side by side; columns as from ``protocols.compare``."""
    names = [column for column in table.columns if column.startswith("test_")]
    figure, ax = plt.subplots(figsize=(10, 3.9), layout="constrained")
    styles = zip(["o", "s", "^", "D", "v"], sns.color_palette("colorblind"), np.linspace(-0.27, 0.27, len(table)))
    for (_, row), (marker, colour, offset) in zip(table.iterrows(), styles):
        x, percent = np.arange(len(names)) + offset, 100 * row[names].astype(float)
        label = f"{row['bn_mode']}, {row['precision']}"
        ax.plot(x, percent, marker, color=colour, ms=7, label=label)
        for place, value in zip(x, percent):
            ax.annotate(f"{value:.1f}", (place, value), (0, 7), textcoords="offset points", ha="center", fontsize=8)
    ax.set_xticks(range(len(names)), [name.removeprefix("test_").replace("_", " ") for name in names])
    ax.set(ylabel="test split, percent")
    ax.margins(y=0.15)
    ax.legend(title="bn_mode, precision", loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def plot_spread(spread: pd.DataFrame, convex: float, is_demo: bool) -> Figure:
    """Test balanced accuracy over seeds, with the convex optimum ``convex`` (a fraction) and the card's figure."""
    percent = 100 * spread["test_balanced_accuracy"]
    card = CARD_PERCENT["balanced_accuracy"]
    figure, ax = plt.subplots(figsize=(9, 4.2), layout="constrained")
    values = [*percent, card, 100 * convex]
    bins = np.arange(np.floor(min(values)) - 0.5, np.ceil(max(values)) + 0.75, 0.25)
    ax.hist(percent, bins=bins, color=COLOURS["public"], label=f"{len(spread)} seeds on the same scene logits")
    ax.axvline(percent.iloc[0], color="black", lw=1.5, label=f"seed {spread['seed'].iloc[0]}: {percent.iloc[0]:.2f}")
    ax.axvline(100 * convex, color=COLOURS["private"], ls="--", label=f"logistic regression: {100 * convex:.2f}")
    where = "on IPD, so not comparable" if is_demo else "on IPD"
    ax.axvline(card, color=NEUTRAL, ls=":", lw=2, label=f"card, {where}: {card:.2f}")
    ax.set(xlabel="balanced accuracy on the test split, percent", ylabel="heads", xlim=(bins[0], bins[-1]))
    figure.legend(loc="outside lower center", ncols=2, fontsize=9)
    return figure


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
    is_private = np.asarray(labels) == "private"
    called = np.asarray(p_private) >= 0.5
    recall, false_rate = called[is_private].mean(), called[~is_private].mean()
    figure, (roc, pr) = plt.subplots(1, 2, figsize=(10, 3.9), layout="constrained")
    x, y, _ = roc_curve(is_private, p_private)
    roc.plot(x, y, color=COLOURS["private"], label=f"S2P, area {roc_auc_score(is_private, p_private):.3f}")
    roc.plot([0, 1], [0, 1], color=NEUTRAL, ls="--", lw=1, label="chance")
    roc.plot([false_rate], [recall], "o", color="black", label="operating point, p = 0.5")
    roc.set(xlabel="public photos called private (share)", ylabel="private photos found (recall)", title="ROC")
    precision, found, _ = precision_recall_curve(is_private, p_private)
    mean_precision = average_precision_score(is_private, p_private)
    pr.plot(found, precision, color=COLOURS["private"], label=f"S2P, average precision {mean_precision:.3f}")
    pr.axhline(is_private.mean(), color=NEUTRAL, ls="--", lw=1, label="chance")
    if called.any():
        pr.plot([recall], [is_private[called].mean()], "o", color="black", label="operating point, p = 0.5")
    pr.set(xlabel="private photos found (recall)", ylabel="precision for private", title="Precision and recall")
    for ax in (roc, pr):
        ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        ax.legend(loc="lower right" if ax is roc else "lower left", fontsize=9)
    return figure


def plot_gallery(
    table: pd.DataFrame, data_dir: Path, pictures: str = "photos", n: int = 12, columns: int = 4
) -> Figure:
    """The first ``n`` photos of a failures table with label, prediction, probability and top scenes.

    ``pictures`` says what of the photos is shown (see ``pictures.picture``); with ``scenes`` bars stand in their place.
    """
    shown = table.head(n)
    rows = max(1, -(-len(shown) // columns))
    height = 1.9 if pictures == "scenes" else 3.25
    figure, axes = plt.subplots(rows, columns, figsize=(10.5, height * rows), squeeze=False, layout="constrained")
    _hide_frames(axes)
    for ax, row in zip(axes.flat, shown.itertuples(index=False)):
        image = picture(Path(data_dir) / row.path, pictures)
        if image is None:
            _draw_scenes(ax, row)
        else:
            ax.imshow(image)
            ax.set_xlabel(row.top_scenes.replace(", ", "\n"), fontsize=8, labelpad=3)
        ax.set_title(f"{row.label}, called {row.prediction} ({row.confidence:.2f})", fontsize=9, pad=3)
    return figure


def _draw_scenes(ax: Axes, row) -> None:
    """The three likeliest scenes of a photo as bars, where the photo itself is not shown."""
    names, p = row.top_scenes.split(", "), [float(value) for value in row.top_scene_p.split(", ")]
    ax.barh(range(len(names)), p, color="#cfd8e3")
    for place, (name, value) in enumerate(zip(names, p)):
        ax.text(0.02, place, f"{name}  {value:.2f}", va="center", fontsize=8)
    ax.set(xlim=(0, 1), ylim=(len(names) - 0.4, -0.6))
    ax.set_xlabel("sigmoid of the scene logit, 0 to 1", fontsize=7, labelpad=2)


def plot_cases(table: pd.DataFrame) -> Figure:
    """Share of photos that fail per case of the demo dataset; ``table``: case, photos, failed, share."""
    ordered = table.sort_values("share")
    figure, ax = plt.subplots(figsize=(9, 0.42 * len(ordered) + 1), layout="constrained")
    bars = ax.barh(ordered["case"], 100 * ordered["share"], color=COLOURS["public"])
    ax.bar_label(bars, [f"{f} of {n}" for f, n in zip(ordered["failed"], ordered["photos"])], padding=4, fontsize=9)
    ax.set(xlabel="test photos that fail, percent", xlim=(0, 115))
    ax.grid(axis="y", visible=False)
    return figure


def plot_energy(table: pd.DataFrame) -> Figure:
    """Energy of each stage of the run, in watt-hours."""
    figure, ax = plt.subplots(figsize=(9, 0.45 * len(table) + 1), layout="constrained")
    bars = ax.barh(table["stage"], 1000 * table["energy_kwh"], color=COLOURS["public"])
    labels = [f"{1000 * e:.3g} Wh in {s:.3g} s" for e, s in zip(table["energy_kwh"], table["duration_s"])]
    ax.bar_label(bars, labels, padding=4, fontsize=9)
    ax.set(xlabel="energy, Wh", xlim=(0, 1350 * table["energy_kwh"].max()))
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    return figure


def png_uri(figure: Figure) -> str:
    """The figure as a ``data:`` address for a page that needs no other file; closes the figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    plt.close(figure)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _hide_frames(axes: np.ndarray) -> None:
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
        sns.despine(ax=ax, left=True, bottom=True)
