import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from s2p_lib import failures, metrics, prediction_files, training
from s2p_lib.model import SCENES


@pytest.fixture
def head():
    torch.manual_seed(3)
    return nn.Linear(365, 2)


@pytest.fixture
def logits():
    return np.random.default_rng(0).normal(size=(20, 365)).astype(np.float32)


def test_outcomes_are_named_after_label_and_prediction():
    labels, predictions = ["private", "public", "public"], ["public", "private", "public"]
    assert metrics.outcomes(labels, predictions).tolist() == ["missed private", "false private", "correct"]


def test_contributions_add_up_to_the_margin(head, logits):
    """The margin is private minus public logit; computed in one way by the head, in the other scene by scene."""
    mean = logits.mean(axis=0)
    with torch.inference_mode():
        privacy = head(torch.from_numpy(np.vstack([logits, mean]))).numpy()
    margin = privacy[:, 0] - privacy[:, 1]
    added = failures.scene_contributions(head, logits, mean).sum(axis=1)
    # 1e-5: the head adds 365 products in float32
    np.testing.assert_allclose(added, margin[:-1] - margin[-1], atol=1e-5)


def test_the_table_holds_all_failures_the_most_confident_first(head, logits):
    samples = pd.DataFrame({"image": [f"p{i}" for i in range(20)], "split": "test"})
    samples["label"] = ["private", "public"] * 10
    predictions = prediction_files.predictions_table(samples, training.predict(head, logits))
    table = failures.failures_table(predictions, head, logits, logits.mean(axis=0))
    wrong = predictions[predictions["label"] != predictions["prediction"]]
    assert set(table["image"]) == set(wrong["image"])
    assert table["confidence"].is_monotonic_decreasing
    assert table["confidence"].between(0.5, 1).all()
    first = table.iloc[0]
    row = logits[int(first["image"][1:])]
    assert first["top_scenes"] == ", ".join(SCENES[i] for i in np.argsort(-row)[:3])


def test_reasons_are_the_scenes_that_moved_the_decision_its_way():
    head = nn.Linear(365, 2)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    head.weight.data[0, 7] = 1.0  # scene 7 speaks for private
    logits = np.zeros((2, 365), np.float32)
    logits[0, 7], logits[1, 7] = 2.0, -2.0
    samples = pd.DataFrame({"image": ["a", "b"], "split": "test", "label": ["public", "private"]})
    predictions = prediction_files.predictions_table(samples, training.predict(head, logits))
    table = failures.failures_table(predictions, head, logits, np.zeros(365)).set_index("image")
    assert table.loc["a", "reasons"].split(", ")[0] == SCENES[7]
    assert table.loc["b", "reasons"].split(", ")[0] == f"no {SCENES[7]}"


def test_no_failures_give_an_empty_table_with_all_columns(head, logits):
    samples = pd.DataFrame({"image": ["a"], "split": "test", "label": ["public"]})
    predictions = prediction_files.predictions_table(samples, np.array([0.1]))
    table = failures.failures_table(predictions, head, logits[:1], logits.mean(axis=0))
    assert len(table) == 0
    assert {"outcome", "confidence", "top_scenes", "reasons"} <= set(table.columns)
