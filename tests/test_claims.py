from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest

from s2p_lib import carbon, claims, metrics
from s2p_lib.config import Settings
from s2p_lib.run_folder import RunFolder
from s2p_lib.samples import CLASSES


@pytest.fixture
def facts():
    labels, predictions = [], []
    for label, row in zip(("private", "public"), claims.CARD_CONFUSION):
        labels += [label] * int(row.sum())
        predictions += ["private"] * int(row[0]) + ["public"] * int(row[1])
    return {
        "metrics": metrics.evaluate(labels, predictions),
        "deviations": {},
        "bn_mode": "frozen",
        "stopped": "learning rate below 1e-05",
        "epochs": 117,
        "released_demo": {"not run": 9},
    }


def verdicts(facts) -> dict[str, str]:
    return claims.judge_claims(facts).set_index("id")["verdict"].to_dict()


def test_the_cards_own_figures_hold(facts):
    judged = verdicts(facts)
    assert all(judged[f"test-{name}"] == "holds" for name in metrics.CARD_PERCENT)
    assert judged["test-counts"] == judged["epochs"] == "holds"


def test_a_run_that_is_not_the_cards_experiment_tests_no_figure_of_it(facts):
    """However near the figures are: the same figures on other photos say nothing."""
    judged = claims.judge_claims(facts | {"deviations": {"dataset": "demo, not ipd"}}).set_index("id")
    figures = judged.loc[[f"test-{name}" for name in metrics.CARD_PERCENT] + ["epochs"]]
    assert set(figures["verdict"]) == {"not tested"}
    assert set(figures["measured"]) == {""}
    assert figures["why"].str.contains("differs in: dataset").all()


@pytest.fixture
def ipd_run(tmp_path) -> RunFolder:
    """A run folder as the card's experiment would leave it."""
    run = RunFolder(tmp_path)
    given = claims.CARD_PARAMETERS | {"dataset": "ipd", "features": "photos", "fold": None}
    given |= {"backbone": None, "image_size": None, "bn_mode": "frozen"}
    run.update_manifest("parameters", given)
    training = {"settings": asdict(Settings()), "stopped": "learning rate below 1e-05", "from_trained_backbone": False}
    run.update_manifest("training", training)
    counts = {(s, n): claims.CARD_PHOTOS[p][n] for s, p in (("test", "test"), ("train", "all")) for n in CLASSES}
    for label in CLASSES:
        counts["train", label] -= counts["test", label]
    rows = [row for row, n in counts.items() for _ in range(n)]
    run.write_table("predictions.csv", pd.DataFrame(rows, columns=["split", "label"]).assign(image="x"))
    return run


def test_the_cards_experiment_has_no_deviations(ipd_run):
    assert claims.deviations_of(ipd_run) == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [("backbone", "demo"), ("image_size", 224), ("fold", "final"), ("precision", "bfloat16"), ("bn_mode", "adapted")],
)
def test_another_experiment_is_a_deviation(ipd_run, name, value):
    ipd_run.update_manifest("parameters", {name: value})
    assert name in claims.deviations_of(ipd_run)


def test_published_scene_probabilities_are_a_deviation_and_leave_questions_of_their_own(ipd_run):
    assert claims.questions_of(ipd_run) == claims.OPEN_QUESTIONS
    ipd_run.update_manifest("parameters", {"features": "published_scenes"})
    assert claims.deviations_of(ipd_run) == {"backbone": "published_scenes, not resnet50"}
    assert claims.questions_of(ipd_run)[2:] == claims.OPEN_QUESTIONS
    assert "tier 2" in ipd_run.tier


@pytest.mark.parametrize(
    ("verdicts_of_photos", "verdict", "measured"),
    [
        ({"holds": 9}, "holds", "9 of 9"),
        ({"holds": 8, "contradicted": 1}, "contradicted", "8 of 9"),
        ({"holds": 8, "not run": 1}, "not tested", "8 of 8"),
        ({"contradicted": 1, "holds": 3, "not run": 5}, "contradicted", "3 of 4"),
        ({"not run": 9}, "not tested", ""),
    ],
)
def test_the_released_demo_holds_only_if_all_nine_do(facts, verdicts_of_photos, verdict, measured):
    row = claims.judge_claims(facts | {"released_demo": verdicts_of_photos}).set_index("id").loc["released-demo"]
    assert (row["verdict"], row["measured"]) == (verdict, measured)


@pytest.mark.parametrize(("name", "value"), [("seed", 1), ("max_epochs", 6), ("optimizer", "SGD"), ("use_bce", True)])
def test_another_training_setting_is_a_deviation(ipd_run, name, value):
    ipd_run.update_manifest("training", {"settings": asdict(Settings(**{name: value}))})
    assert set(claims.deviations_of(ipd_run)) == {name}


@pytest.mark.parametrize(
    ("fact", "value", "name"),
    [("stopped", "interrupted after 3 epochs", "training"), ("from_trained_backbone", True, "weights")],
)
def test_an_interrupted_training_and_a_trained_backbone_are_deviations(ipd_run, fact, value, name):
    ipd_run.update_manifest("training", {fact: value})
    assert set(claims.deviations_of(ipd_run)) == {name}


def test_the_released_protocol_is_the_cards_experiment_too(ipd_run, facts):
    """Its figures come from the released code; a verdict says in which mode ours was measured."""
    ipd_run.update_manifest("parameters", {"bn_mode": "released"})
    assert claims.deviations_of(ipd_run) == {}
    why = claims.judge_claims(facts | {"bn_mode": "released"}).set_index("id")["why"]
    assert "bn_mode=released" in why["test-balanced_accuracy"]


def test_the_released_code_changes_the_batchnorm_buffers_of_a_resnet50_and_nothing_else(facts):
    """159 of 320 tensors, as seen when the released code was run."""
    judged = claims.judge_claims(facts).set_index("id").loc["frozen-backbone"]
    assert (judged["measured"], judged["verdict"]) == ("159 of 320 tensors change", "contradicted")
    assert "0 of the other tensors" in judged["why"]


def test_a_part_of_ipd_is_a_deviation(ipd_run):
    ipd_run.write_table("predictions.csv", ipd_run.read_table("predictions.csv").iloc[1:])
    assert set(claims.deviations_of(ipd_run)) == {"labelled photos", "test photos"}


def test_a_figure_within_the_interval_is_consistent_and_beyond_it_contradicted(facts):
    counts = np.array([[1660, 644], [540, 4068]])
    near = facts["metrics"] | {
        "figures": {n: {"value": float(v)} for n, v in metrics.metrics_of_counts(counts).items()}
    }
    for name, interval in metrics.bootstrap_intervals(counts).items():
        near["figures"][name]["interval_95"] = list(interval)
    assert verdicts(facts | {"metrics": near})["test-balanced_accuracy"] == "consistent"
    near["figures"]["balanced_accuracy"] = {"value": 0.7, "interval_95": [0.69, 0.71]}
    assert verdicts(facts | {"metrics": near})["test-balanced_accuracy"] == "contradicted"


def test_other_test_photos_are_not_tested_rather_than_contradicted(facts):
    photos = {"private": 10, "public": 20}
    assert verdicts(facts | {"metrics": facts["metrics"] | {"photos": photos}})["test-counts"] == "not tested"


def test_the_number_of_epochs_is_judged_by_how_training_ended(facts):
    assert verdicts(facts | {"epochs": 130})["epochs"] == "consistent"
    assert verdicts(facts | {"epochs": 130, "stopped": "12 h reached"})["epochs"] == "contradicted"


@pytest.mark.parametrize(
    ("constant", "value", "claim", "verdict"),
    [
        ("CARD_CO2EQ", 0.61, "carbon-value", "holds"),
        ("CARD_CO2EQ", 0.70, "carbon-value", "contradicted"),
        ("CARD_HOURS", 0.008, "carbon-unit", "holds"),
    ],
)
def test_verdicts_on_carbon_follow_the_figures(facts, monkeypatch, constant, value, claim, verdict):
    monkeypatch.setattr(carbon, constant, value)
    assert verdicts(facts)[claim] == verdict


def test_parameter_claims_are_counted_on_the_model(facts, monkeypatch):
    monkeypatch.setattr(claims, "SCENES", claims.SCENES[:-1])  # a backbone with 364 scenes
    judged = claims.judge_claims(facts).set_index("id")
    assert judged.loc["parameters-total", "verdict"] == "contradicted"


def test_exactly_one_confusion_matrix_gives_the_cards_figures():
    found = claims.confusions_behind(metrics.CARD_PERCENT, 2304, 4608)
    assert len(found) == 1
    assert np.array_equal(found[0], claims.CARD_CONFUSION)


def test_a_misprinted_figure_has_no_confusion_matrix():
    assert claims.confusions_behind(metrics.CARD_PERCENT | {"accuracy": 83.99}, 2304, 4608) == []


def test_the_written_accuracy_formula_gives_another_figure(facts):
    judged = claims.judge_claims(facts).set_index("id").loc["accuracy-formula"]
    assert (judged["measured"], judged["verdict"]) == ("71.11", "contradicted")


def test_every_claim_has_one_record_with_a_reason(facts):
    table = claims.judge_claims(facts)
    assert table["id"].is_unique
    assert set(table["verdict"]) <= {"holds", "consistent", "contradicted", "not tested"}
    assert (table["why"].str.len() > 10).all()
    assert list(table.columns) == claims.COLUMNS
