import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.colors import to_hex
from torch import nn

from s2p_lib import failure_plots, failures, slices
from s2p_lib.plots import COLOURS


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture
def head():
    torch.manual_seed(3)
    return nn.Linear(365, 2)


@pytest.fixture
def logits():
    return np.random.default_rng(0).normal(size=(20, 365)).astype(np.float32)


def bars(figure):
    """(name, value, colour) of each bar, from top to bottom."""
    (ax,) = figure.axes
    names = [text.get_text() for text in ax.get_yticklabels()]
    return [(name, bar.get_width(), to_hex(bar.get_facecolor()).upper()) for name, bar in zip(names, ax.patches)]


@pytest.mark.parametrize("n", [1, 10, 365, 400])
def test_the_bars_of_an_explanation_add_up_to_its_sum(head, logits, n):
    explanation = failures.explain(head, logits[0], logits.mean(axis=0))
    drawn = bars(failure_plots.plot_explanation(explanation, n))
    assert sum(value for _, value, _ in drawn) == pytest.approx(explanation["contribution"].sum())
    assert len(drawn) == min(n + 1, 365)
    if n < 365:
        assert drawn[-1][0] == f"the other {365 - n} scenes"


def test_private_is_orange_to_the_right_and_public_blue_to_the_left(head, logits):
    mean = logits.mean(axis=0)
    figures = [
        failure_plots.plot_explanation(failures.explain(head, logits[0], mean)),
        failure_plots.plot_scene_weights(failures.scene_weights(head, mean)),
    ]
    for figure in figures:
        drawn = bars(figure)
        assert {value > 0 for _, value, _ in drawn} == {True, False}
        for _, value, colour in drawn:
            assert colour == COLOURS["private" if value > 0 else "public"]


def test_the_strongest_scenes_of_each_side_are_drawn(head, logits):
    mean = logits.mean(axis=0)
    weights = failures.scene_weights(head, mean)
    names = [name for name, _, _ in bars(failure_plots.plot_scene_weights(weights, n=3))]
    assert names == weights["scene"].tolist()[:3] + weights["scene"].tolist()[-3:]
    table = weights.merge(failures.mean_abs_contribution(head, logits, mean), on="scene")
    first, *_ = bars(failure_plots.plot_scene_weights(table, n=3))
    of_private = table[table["weight"] > 0].nlargest(1, "mean_abs_contribution")
    assert first[:2] == (of_private["scene"].item(), pytest.approx(of_private["mean_abs_contribution"].item()))


def slices_of(n):
    rng = np.random.default_rng(1)
    photos = pd.DataFrame({name: rng.choice(values, n) for name, values in {
        "top_scene": ("kitchen", "street"), "source": ("picalert", "vispr"), "label": ("private", "public"),
        "prediction": ("private", "public"),
    }.items()})  # fmt: skip
    return photos, slices.slice_table(photos)


def test_slices_have_a_line_each_and_the_rate_of_all_photos():
    photos, table = slices_of(200)
    (ax,) = failure_plots.plot_slice_table(table, n=5).axes
    assert len(ax.get_yticklabels()) == 5
    failed = (photos["label"] != photos["prediction"]).mean()
    assert ax.lines[0].get_xdata()[0] == pytest.approx(100 * failed)
    drawn = sorted(x for line in ax.lines[1:] for x in line.get_xdata())
    assert drawn == pytest.approx(sorted(100 * table["error_rate"].head(5)))


def test_no_photo_at_all_gives_a_figure():
    _, table = slices_of(0)
    assert failure_plots.plot_slice_table(table).axes
