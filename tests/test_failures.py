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
    predictions = prediction_files.predictions_table(samples, training.predict(head, logits[:1]))
    predictions["label"] = predictions["prediction"]
    table = failures.failures_table(predictions, head, logits[:1], logits.mean(axis=0))
    assert len(table) == 0
    assert {"outcome", "confidence", "top_scenes", "reasons"} <= set(table.columns)


def predictions_of(head, logits):
    labels = np.resize(["private", "public", "public"], len(logits))
    samples = pd.DataFrame({"image": [f"p{i}" for i in range(len(logits))], "split": "test", "label": labels})
    return prediction_files.predictions_table(samples, training.predict(head, logits))


@pytest.mark.parametrize("n_outputs", [1, 2])
def test_the_photo_table_agrees_with_torch_and_keeps_every_row(n_outputs, logits):
    """The loss is torch's cross-entropy of the privacy logits; one logit says public (``use_bce``)."""
    torch.manual_seed(4)
    head = nn.Linear(365, n_outputs)
    predictions = predictions_of(head, logits)
    table = failures.photo_table(predictions, head, logits, logits.mean(axis=0))
    pd.testing.assert_frame_equal(table[predictions.columns], predictions)
    is_public = torch.tensor(table["label"].eq("public").tolist())
    with torch.inference_mode():
        privacy = head(torch.from_numpy(logits)).double()
    if n_outputs == 1:
        loss = nn.functional.binary_cross_entropy_with_logits(privacy[:, 0], is_public.double(), reduction="none")
    else:
        loss = nn.functional.cross_entropy(privacy, is_public.long(), reduction="none")
    # 1e-5: the head adds 365 products in float32
    np.testing.assert_allclose(table["loss"], loss, atol=1e-5)
    np.testing.assert_array_equal(table["margin"] > 0, table["outcome"] == "correct")
    assert [top.split(", ")[0] for top in table["top_scenes"]] == table["top_scene"].tolist()


def test_logits_of_other_photos_are_refused(head, logits):
    predictions = predictions_of(head, logits)
    mean = logits.mean(axis=0)
    for bad, message in [
        ((predictions, head, logits[::-1]), "20 photos have a p_private that this model does not give"),
        ((predictions, nn.Linear(365, 2), logits), "must be of one run and in one order"),
        ((predictions, head, logits[:3]), r"\(3, 365\); 20 photos need \(20, 365\)"),
        ((predictions.drop(columns="p_private"), head, logits), "lack the column.*p_private"),
    ]:
        with pytest.raises(ValueError, match=message):
            failures.photo_table(*bad, mean)


@pytest.mark.parametrize("n_outputs", [1, 2])
@pytest.mark.parametrize("scale", [0.01, 1, 1000])
@pytest.mark.parametrize("seed", range(3))
def test_an_explanation_adds_up_to_the_photos_margin(seed, scale, n_outputs):
    """Contributions and the mean photo's margin give the photo's margin, for any weights, photo and mean."""
    rng = np.random.default_rng(seed)
    head = nn.Linear(365, n_outputs)
    head.weight.data = torch.from_numpy(rng.normal(scale=scale, size=(n_outputs, 365)).astype(np.float32))
    photo, mean = rng.normal(scale=5, size=(2, 365)).astype(np.float32)
    explanation = failures.explain(head, photo, mean)
    added = explanation["contribution"].sum() + failures.margins_private(head, mean)
    # 365 float64 sums and products of about 5 * scale each, rounded at 1e-16 of it
    np.testing.assert_allclose(added, failures.margins_private(head, photo), rtol=0, atol=1e-11 * scale)
    assert sorted(explanation["scene"]) == sorted(SCENES)
    assert explanation["contribution"].abs().is_monotonic_decreasing
    by_scene = explanation.set_index("scene").loc[list(SCENES)]
    np.testing.assert_array_equal(by_scene["logit"], photo)
    np.testing.assert_array_equal(by_scene["mean"], mean)


def test_an_explanation_is_of_one_photo(head, logits):
    with pytest.raises(ValueError, match=r"scene_logits has the shape \(20, 365\)"):
        failures.explain(head, logits, logits.mean(axis=0))
    with pytest.raises(ValueError, match=r"mean_logits has the shape \(3,\)"):
        failures.explain(head, logits[0], logits[0, :3])


def test_explanations_are_found_by_image_name(head, logits):
    mean = logits.mean(axis=0)
    images = pd.Series([f"p{i}" for i in range(20)], index=range(100, 120))
    found = failures.explainer(images, head, logits, mean)("p7")
    pd.testing.assert_frame_equal(found, failures.explain(head, logits[7], mean))


def test_the_scenes_named_as_flips_turn_the_decision_and_no_fewer_do(head, logits):
    """The model itself decides on the photo with those scenes' logits set to the mean, one after the other."""
    mean = logits.mean(axis=0)
    turned = 0
    for photo in logits:
        margin = float(failures.margins_private(head, photo))
        table = failures.flips(failures.explain(head, photo, mean), margin)
        changed = photo.astype(np.float64)
        for row in table.itertuples():
            assert row.contribution * margin > 0  # in favour of the decision
            changed[SCENES.index(row.scene)] = mean[SCENES.index(row.scene)]
            after = failures.margins_private(head, changed)
            assert after == pytest.approx(row.margin_after, abs=1e-12)  # float64 sums in another order
            assert (after * margin < 0) == (row.Index == len(table) - 1)
        turned += len(table) > 0
    assert turned > 10


def test_a_decision_that_the_mean_photo_shares_by_far_has_no_flip(head, logits):
    head.bias.data = torch.tensor([1000.0, 0.0])
    mean = logits.mean(axis=0)
    table = failures.flips(failures.explain(head, logits[0], mean), float(failures.margins_private(head, logits[0])))
    assert list(table) == ["scene", "contribution", "margin_after"]
    assert len(table) == 0
    assert "still be called private" in table.attrs["reason"]


def test_a_flip_to_a_margin_of_exactly_0_is_a_flip_to_private_alone():
    explanation = pd.DataFrame({"scene": ["a", "b"], "contribution": [-2.0, 1.0]})
    assert failures.flips(explanation, -2.0)["scene"].tolist() == ["a"]  # at 0 private is predicted
    assert len(failures.flips(explanation, 1.0)) == 0


def test_weights_are_the_models_and_sorted_from_private_to_public(head, logits):
    """A logit raised by one moves the margin by its weight."""
    table = failures.scene_weights(head, logits.mean(axis=0))
    assert table["weight"].is_monotonic_decreasing
    first = SCENES.index(table["scene"][0])
    raised = logits[0].astype(np.float64)
    raised[first] += 1
    moved = failures.margins_private(head, raised) - failures.margins_private(head, logits[0])
    assert moved == pytest.approx(table["weight"][0], abs=1e-12)


def test_a_scene_that_never_varies_moves_nothing(head, logits):
    logits[:, 5] = 3.0
    table = failures.mean_abs_contribution(head, logits, logits.mean(axis=0))
    assert table.iloc[-1].tolist() == [SCENES[5], 0]
    expected = np.abs(failures.scene_contributions(head, logits, logits.mean(axis=0))).mean(axis=0)
    assert table["mean_abs_contribution"].tolist() == sorted(expected, reverse=True)
