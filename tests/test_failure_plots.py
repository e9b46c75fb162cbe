import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.colors import to_hex
from torch import nn

from s2p_lib import failure_plots, failures, slices
from s2p_lib.model import SCENES
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


def described_photos(n: int = 12) -> tuple[pd.DataFrame, np.ndarray]:
    """Test photos whose top scene is a bathroom, half of them public and called private; none shown is on disk."""
    scene_logits = np.zeros((n, len(SCENES)))
    scene_logits[:, SCENES.index("bathroom")] = 1
    photos = pd.DataFrame({"image": [f"p{i}" for i in range(n)], "prediction": "private", "confidence": 0.9})
    photos["path"], photos["label"] = photos["image"] + ".jpg", ["private", "public"] * (n // 2)
    photos["loss"] = np.arange(n, dtype=float)
    return photos.assign(top_scenes="bathroom, shower, attic", top_scene_p="0.7, 0.5, 0.5"), scene_logits


def test_each_statement_has_its_photos_or_says_why_not(tmp_path):
    photos, scene_logits = described_photos()
    figure = failure_plots.plot_statements(slices.photos_of_statements(photos, scene_logits), tmp_path, n=3)
    titles = {
        part.get_suptitle().split(":")[0]: (part.get_suptitle().replace("\n", " "), part) for part in figure.subfigs
    }
    assert list(titles) == [statement.id for statement in slices.STATEMENTS]
    n_drawn = {id_: sum(len(ax.images) for ax in part.axes) for id_, (_, part) in titles.items()}
    assert {id_ for id_, n in n_drawn.items() if n} == {"bathroom", "indoor-outdoor"}
    assert n_drawn["bathroom"] == 3
    assert "6 of 12 such photos called wrongly" in titles["bathroom"][0]
    assert "There is no such photo" in titles["religious"][0]
    assert "Not testable. Places365 has no escape room" in titles["escape-room"][0]


def test_the_largest_loss_is_shown_first_and_no_photo_twice(tmp_path):
    photos, scene_logits = described_photos()
    of_statements = slices.photos_of_statements(photos, scene_logits)
    of_statements["bathroom"] = pd.concat([of_statements["bathroom"]] * 2)
    figure = failure_plots.plot_statements(of_statements, tmp_path, n=2)
    (part,) = [part for part in figure.subfigs if part.get_suptitle().startswith("bathroom")]
    assert "of 12 such photos" in part.get_suptitle()
    assert [ax.get_title() for ax in part.axes] == [
        "public, called private (0.90)",  # losses 11, 10
        "private, called private (0.90)",
    ]
