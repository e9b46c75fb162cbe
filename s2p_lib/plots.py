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
from matplotlib.figure import Figure, FigureBase

from s2p_lib.carbon import CARD_CO2EQ
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
        return words("Photos of this dataset are not shown here (parameter show_photos).")
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
        return words("Photos of this dataset are not shown here (parameter show_photos).")
    if examples.empty:
        return words("No photo with something to tell can be shown.")
    rows = -(-len(examples) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(10.5, 2.5 * rows), squeeze=False, layout="constrained")
    _hide_frames(axes)
    for ax, row in zip(axes.flat, examples.itertuples(index=False)):
        ax.imshow(picture(Path(data_dir) / row.path, pictures))
        ax.set_title("\n".join(textwrap.wrap(row.kind, 26)), fontsize=8, pad=3)
    return figure


def words(text: str) -> Figure:
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
        return words("There is no BatchNorm layer whose statistics could move.")
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


def plot_gallery(
    table: pd.DataFrame, data_dir: Path, pictures: str = "photos", n: int = 12, columns: int = 4
) -> Figure:
    """The first ``n`` photos of a failures table with label, prediction, probability and top scenes.

    ``pictures`` says what of the photos is shown (see ``pictures.picture``); with ``scenes`` bars stand in their place.
    """
    shown = table.head(n)
    height = gallery_height(len(shown), pictures, columns)
    figure = plt.figure(figsize=(10.5, height), layout="constrained")
    draw_gallery(figure, shown, data_dir, pictures, columns)
    return figure


def gallery_height(n: int, pictures: str, columns: int = 4) -> float:
    """Inches that ``draw_gallery`` needs for ``n`` photos."""
    return (1.9 if pictures == "scenes" else 3.25) * max(1, -(-n // columns))


def draw_gallery(
    figure: FigureBase, table: pd.DataFrame, data_dir: Path, pictures: str = "photos", columns: int = 4
) -> None:
    """All photos of ``table`` as ``plot_gallery`` shows them, into a figure or a part of one."""
    axes = figure.subplots(max(1, -(-len(table) // columns)), columns, squeeze=False)
    _hide_frames(axes)
    for ax, row in zip(axes.flat, table.itertuples(index=False)):
        image = picture(Path(data_dir) / row.path, pictures)
        if image is None:
            _draw_scenes(ax, row)
        else:
            ax.imshow(image)
            ax.set_xlabel(row.top_scenes.replace(", ", "\n"), fontsize=8, labelpad=3)
        ax.set_title(f"{row.label}, called {row.prediction} ({row.confidence:.2f})", fontsize=9, pad=3)


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


def plot_baselines(table: pd.DataFrame, published: dict[str, dict] | None = None) -> Figure:
    """Balanced accuracy and private recall of each model on test, in percent, with an open marker where published.

    ``table`` is that of ``baselines.fit_baselines`` (fractions), ``published`` of ``baselines.published_percent``
    (percent; figures that are bounds in text are not drawn).
    """
    figure, ax = plt.subplots(figsize=(9, 0.38 * len(table) + 1.6), layout="constrained")
    place = np.arange(len(table))
    styles = {"balanced_accuracy": ("o", "black", -0.13), "private_recall": ("s", COLOURS["private"], 0.13)}
    for name, (marker, colour, offset) in styles.items():
        label = name.replace("_", " ")
        ax.plot(100 * table[name], place + offset, marker, color=colour, ms=6, label=label)
        known = [(published or {}).get(model, {}).get(name, "") for model in table["model"]]
        drawn = [(value, y + offset) for value, y in zip(known, place) if not isinstance(value, str)]
        if drawn:
            ax.plot(*zip(*drawn), marker, color=colour, ms=10, mfc="none", mew=1.5, label=f"{label}, published")
    ax.set_yticks(place, table["model"])
    ax.set(xlabel="test split, percent", xlim=(-2, 102))
    ax.invert_yaxis()
    figure.legend(loc="outside lower center", ncols=4, fontsize=9)
    return figure


def plot_slices(table: pd.DataFrame) -> Figure:
    """Share called private in each slice of the failure statements, with its 95 % interval, by finding.

    ``table`` as from ``slices.judge_slices``. A difference of shares has another scale and is left to the table.
    """
    shown = table[~table["measure"].str.startswith("difference") | table["value"].isna()].reset_index(drop=True)
    styles = {"holds": ("o", "#009E73"), "contradicted": ("X", "#CC79A7"), "undecided": ("D", NEUTRAL)}
    figure, ax = plt.subplots(figsize=(9, 0.45 * len(shown) + 1.4), layout="constrained")
    ax.axvline(50, color=NEUTRAL, ls="--", lw=1)
    for finding, (marker, colour) in styles.items():
        rows = shown[(shown["finding"] == finding) & shown["value"].notna()]
        value, low, high = (100 * rows[name] for name in ("value", "low", "high"))
        ax.hlines(rows.index, low, high, color=colour, lw=2)
        ax.plot(value, rows.index, marker, color=colour, ms=8, label=finding)
    for place, row in shown[shown["value"].isna()].iterrows():
        ax.text(50, place, row["finding"], ha="center", va="center", color=NEUTRAL, backgroundcolor="white")
    names = [
        row.statement
        if row.finding == "not testable"
        else "\n".join(textwrap.wrap(f"{row.statement}: {row.slice} ({row.photos:,}\N{NO-BREAK SPACE}photos)", 48))
        for row in shown.itertuples()
    ]
    ax.set_yticks(range(len(shown)), names, fontsize=9)
    ax.set(xlabel="called private, percent", xlim=(-3, 103), ylim=(len(shown) - 0.5, -0.5))
    figure.legend(loc="outside lower center", ncols=len(styles), fontsize=9)
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


def plot_card_range(table: pd.DataFrame, by_factor: pd.DataFrame) -> Figure:
    """The card's carbon estimate with each input varied; ``carbon.card_range()`` and ``carbon.card_by_factor()``."""
    figure, (ax, small) = plt.subplots(
        1, 2, figsize=(11, 0.45 * len(by_factor) + 1.2), width_ratios=[3, 2], layout="constrained"
    )
    low, high = table["co2eq_kg_low"], table["co2eq_kg_high"]
    ax.barh(table["input"], high - low, left=low, color=COLOURS["public"], height=0.6)
    for place, (start, end) in enumerate(zip(low, high)):
        ax.text(start, place, f"{start:.2f} ", ha="right", va="center", fontsize=9)
        ax.text(end, place, f" {end:.2f}", ha="left", va="center", fontsize=9)
    inputs = by_factor["co2eq_kg"].iloc[0]
    ax.axvline(inputs, color="black", lw=1.5, label=f"from the card's inputs: {inputs:.4f}")
    ax.axvline(CARD_CO2EQ, color=COLOURS["private"], ls="--", lw=1.5, label=f"printed on the card: {CARD_CO2EQ:.2f}")
    ax.set(xlabel="kg CO2eq, one input varied", xlim=(0, 1.12 * high.max()))
    bars = small.barh(by_factor["factor"], by_factor["co2eq_kg"], color=TRAIN, height=0.6)
    small.bar_label(bars, [f"{kg:.2f}" for kg in by_factor["co2eq_kg"]], padding=3, fontsize=9)
    small.set(xlabel="kg CO2eq by the UK's factor of a year", xlim=(0, 1.2 * by_factor["co2eq_kg"].max()))
    for axes in (ax, small):
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
    figure.legend(loc="outside lower center", ncols=2, fontsize=9)
    return figure


def plot_protocols(table: pd.DataFrame) -> Figure:
    """Energy of the card's and the released code's protocol, kWh; ``table`` as of ``estimate.cost_of_protocols``."""
    if table.empty:
        return words("Not measured: this run looks at no photo.")
    energy, names = table["energy_kwh"], table["photos"] + "\n" + table["protocol"]
    figure, ax = plt.subplots(figsize=(9, 0.62 * len(table) + 1), layout="constrained")
    bars = ax.barh(names, energy, color=[MODE_COLOURS[name] for name in table["protocol"]], height=0.6)
    labels = [f"{e:.3g} kWh, {h:.3g} h" for e, h in zip(energy, table["hours"])]
    ax.bar_label(bars, labels, padding=4, fontsize=9)
    ax.set(xscale="log", xlim=(energy.min() / 3, 30 * energy.max()), xlabel="energy, kWh (each step is ten times)")
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
