import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from s2p_lib import evaluation_plots, metrics
from s2p_lib.plots import COLOURS
from s2p_lib.samples import CLASSES


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


def photos(seed: int, n: int = 80) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    labels = rng.choice(CLASSES, n)
    p_private = np.clip(rng.normal(np.where(labels == "private", 0.7, 0.3), 0.25), 0, 1)
    return pd.DataFrame({"label": labels, "p_private": p_private})


def texts(figure) -> str:
    figure.draw_without_rendering()
    return " | ".join(text.get_text() for text in figure.findobj(plt.Text) if text.get_text())


def test_thresholds_show_the_curves_and_the_chosen_points():
    val, test = photos(0), photos(1)
    table = metrics.threshold_table(test["label"], test["p_private"])
    chosen = metrics.thresholds_for_recall(val, test, (0.8, 0.95))
    ax = evaluation_plots.plot_thresholds(table, chosen).axes[0]
    lines = {line.get_label(): line for line in ax.lines}
    assert lines["recall of private"].get_ydata() == pytest.approx(100 * table["private_recall"])
    assert lines["recall of private"].get_color() == COLOURS["private"]
    assert lines["recall of public"].get_color() == COLOURS["public"]
    assert lines["chosen on val for this recall"].get_xdata() == pytest.approx(chosen["threshold"])
    assert [text.get_text() for text in ax.texts] == ["80 %", "95 %"]
    styles = [line.get_linestyle() for line in ax.lines[:4]]
    assert len(set(styles)) == 4  # also told apart without colours


def test_thresholds_without_val_show_no_chosen_point():
    test = photos(1)
    table = metrics.threshold_table(test["label"], test["p_private"])
    for chosen in (None, metrics.thresholds_for_recall(test.iloc[:0], test)):
        assert "chosen" not in texts(evaluation_plots.plot_thresholds(table, chosen))


def test_reliability_has_a_panel_before_and_one_after_the_temperature():
    test = photos(2)
    both = evaluation_plots.plot_reliability(test["label"], test["p_private"], 1.5)
    assert "as predicted: calibration error" in texts(both)
    assert "temperature 1.5: calibration error" in texts(both)
    assert len(both.axes) == 4
    alone = evaluation_plots.plot_reliability(test["label"], test["p_private"], None)
    assert "temperature" not in texts(alone)
    assert len(alone.axes) == 2


def test_every_photo_is_in_the_bars_below_the_reliability():
    test = photos(3)
    _, below = evaluation_plots.plot_reliability(test["label"], test["p_private"], None).axes
    heights = [sum(bar.get_height() for bar in bars) for bars in below.containers]
    assert heights == [(test["label"] == name).sum() for name in CLASSES]


def test_predictions_that_are_all_the_same_can_be_drawn():
    labels = ["private", "public", "public"]
    evaluation_plots.plot_reliability(labels, [0.4] * 3, 2.0).draw_without_rendering()
    evaluation_plots.plot_roc_pr(labels, [0.4] * 3).draw_without_rendering()
    evaluation_plots.plot_thresholds(metrics.threshold_table(labels, [0.4] * 3)).draw_without_rendering()


def test_sources_are_named_with_their_photos_and_a_missing_class_has_no_point():
    table = pd.DataFrame({"source": ["<b>a</b>", "b", "b"], "label": ["private", "private", "public"]})
    table = metrics.by_source(table.assign(prediction="private"))
    figure = evaluation_plots.plot_by_source(table)
    assert "<b>a</b>\n1 private\n0 public" in texts(figure)
    private, both, public = (container.lines[0].get_xdata() for container in figure.axes[0].containers)
    assert private == pytest.approx([100, 100, 100])
    assert both == pytest.approx([np.nan, 50, 50], nan_ok=True)
    assert public == pytest.approx([np.nan, 0, 0], nan_ok=True)


def test_confusions_show_counts_and_shares_of_the_label():
    shown = texts(evaluation_plots.plot_confusions({"one": np.array([[3, 1], [0, 1000]])}))
    assert "3\n75.0%" in shown
    assert "1,000\n100.0%" in shown


def test_the_operating_point_is_on_the_curves():
    test = photos(4)
    roc, pr = evaluation_plots.plot_roc_pr(test["label"], test["p_private"]).axes
    figures = metrics.card_metrics(test["label"], np.where(test["p_private"] >= 0.5, *CLASSES))
    (x,), (y,) = roc.lines[-1].get_data()
    assert [x, y] == pytest.approx([1 - figures["public_recall"], figures["private_recall"]])
    assert pr.lines[-1].get_ydata() == pytest.approx([figures["private_precision"]])
