import json
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest

from s2p_lib import carbon, claims, datasets, judges, metrics
from s2p_lib.baselines import PUBLISHED
from s2p_lib.config import Settings
from s2p_lib.judges import CARD_PHOTOS, MLPS, SVMS, Facts
from s2p_lib.open_questions import OPEN_QUESTIONS, questions_of
from s2p_lib.run_folder import RunFolder
from s2p_lib.samples import CLASSES
from s2p_lib.slices import STATEMENTS

FIGURES = tuple(metrics.CARD_PERCENT)


def evaluation(counts) -> dict:
    """metrics.json of test photos with these confusion counts."""
    labels = np.repeat(CLASSES, np.sum(counts, axis=1))
    return metrics.evaluate(labels, np.concatenate([np.repeat(CLASSES, row) for row in counts]))


def baseline(model: str, **figures) -> dict:
    return {"model": model, "chosen": "C=1"} | dict.fromkeys(FIGURES, 0.5) | figures


def comparison(model: str, low: float, high: float) -> dict:
    row = {"model": model, "n": 6912, "only_model_right": 400, "only_s2p_right": 300, "mcnemar_p": 0.01}
    for name in ("private_recall", "balanced_accuracy"):
        row |= {f"{name}_difference": (low + high) / 2, f"{name}_low": low, f"{name}_high": high}
    return row


def slice_row(statement: str, finding: str) -> dict:
    row = {
        "statement": statement,
        "slice": "top scene x",
        "photos": 50,
        "measure": "share called private",
        "value": 0.75,
        "low": 0.6,
        "high": 0.9,
    }
    return row | {"finding": finding, "why": "38 of 50, rule"}


@pytest.fixture
def facts() -> Facts:
    """A run that gives the card's very figures on IPD."""
    spread = pd.DataFrame({"epochs": [110, 130]} | {f"test_{n}": [v / 100, v / 100] for n, v in
                          metrics.CARD_PERCENT.items()})  # fmt: skip
    percent = {"train": 32.21, "val": 32.21, "test": 33.33}
    folds = pd.DataFrame({"fold": ["Fold 0", "Fold 1", "Fold 2"], "train": [18433, 18433, 18434]})
    folds = folds.assign(val=[9217, 9217, 9216], test=6912, same_test=True, val_seen_before=0)
    folds = folds.assign(**{f"private_percent_{split}": value for split, value in percent.items()})
    return Facts(
        dataset="ipd",
        features="photos",
        bn_mode="frozen",
        settings=Settings(),
        deviations={},
        epochs=117,
        stopped="learning rate below 1e-05",
        metrics=evaluation(metrics.CARD_CONFUSION),
        released_demo={"not run": 9},
        spread=spread,
        folds=folds,
        baselines=pd.DataFrame(
            [baseline(m, private_recall=0.8142, public_recall=0.8474, balanced_accuracy=0.8308) for m in SVMS]
            + [baseline(m) for m in MLPS]
        ),
        comparisons=pd.DataFrame([comparison(m, 0.01, 0.04) for m in (*SVMS, *MLPS)]),
        slices=pd.DataFrame([slice_row(s.id, "holds") for s in STATEMENTS]),
    )


def verdicts(facts) -> dict[str, str]:
    return claims.judge_claims(facts).set_index("id")["verdict"].to_dict()


def test_the_cards_own_figures_hold(facts):
    judged = verdicts(facts)
    assert all(judged[f"test-{name}"] == "holds" for name in metrics.CARD_PERCENT)
    assert judged["test-counts"] == judged["epochs"] == "holds"
    assert judged["svm-over-s2p-private_recall"] == judged["mlp-over-s2p-ipd-balanced_accuracy"] == "holds"
    assert all(judged[f"failure-{statement.id}"] == "holds" for statement in STATEMENTS)


def test_a_run_that_is_not_the_cards_experiment_tests_no_figure_of_it(facts):
    """However near the figures are: the same figures on other photos say nothing."""
    on_demo = replace(facts, dataset="demo", deviations={"dataset": "demo, not ipd"})
    judged = claims.judge_claims(on_demo).set_index("id")
    figures = judged.loc[[f"test-{name}" for name in FIGURES] + ["epochs", f"svm-ipd-{FIGURES[1]}"]]
    assert set(figures["verdict"]) == {"not tested"}
    assert set(figures["measured"]) == {""}
    assert figures["why"].str.contains("this run's dataset is demo").all()
    statements = judged[judged.index.str.startswith("failure-")]
    assert set(statements["verdict"]) == {"not tested"}
    assert statements["why"].str.contains("no evidence about it").all()


@pytest.fixture
def ipd_run(tmp_path) -> RunFolder:
    """A run folder as the card's experiment would leave it."""
    run = RunFolder(tmp_path)
    given = {"dataset": "ipd", "features": "photos", "fold": None, "init_checkpoint": None, "precision": "float32"}
    given["data_dir"] = str(tmp_path)
    given |= {"backbone": None, "image_size": None, "bn_mode": "frozen"}
    run.update_manifest("parameters", given)
    training = {"settings": asdict(Settings()), "stopped": "learning rate below 1e-05", "from_trained_backbone": False}
    run.update_manifest("training", training)
    counts = {(s, n): CARD_PHOTOS[p][n] for s, p in (("test", "test"), ("train", "all")) for n in CLASSES}
    for label in CLASSES:
        counts["train", label] -= counts["test", label]
    rows = [row for row, n in counts.items() for _ in range(n)]
    run.write_table("predictions.csv", pd.DataFrame(rows, columns=["split", "label"]).assign(image="x"))
    return run


def test_the_cards_experiment_has_no_deviations(ipd_run):
    assert claims.deviations_of(ipd_run) == {}


@pytest.mark.parametrize("marker", [datasets.DEMO_MARKER, datasets.MADE_MARKER])
def test_what_the_kit_made_is_never_ipd(ipd_run, marker):
    assert ipd_run.warning == ""
    (ipd_run.dir / marker).write_text("{}")
    assert set(claims.deviations_of(ipd_run)) == {"dataset"}
    assert "made by the kit" in ipd_run.tier
    assert "not results of the paper" in ipd_run.warning


def test_photos_that_privacyalert_lost_are_a_deviation(ipd_run):
    ipd_run.update_manifest("parameters", {"dataset": "privacyalert"})
    counts = {("test", "private"): 450, ("test", "public"): 1_350, ("train", "public"): 4_993}
    rows = pd.DataFrame([row for row, n in counts.items() for _ in range(n)], columns=["split", "label"])
    ipd_run.write_table("predictions.csv", rows.assign(image="x"))
    assert claims.deviations_of(ipd_run) == {}
    ipd_run.write_table("predictions.csv", rows.iloc[:-1].assign(image="x"))
    assert claims.deviations_of(ipd_run) == {"photos": "6,792, not 6,793"}


@pytest.mark.parametrize(
    ("name", "value"),
    [("backbone", "demo"), ("image_size", 224), ("fold", "final"), ("precision", "bfloat16"), ("bn_mode", "adapted")],
)
def test_another_experiment_is_a_deviation(ipd_run, name, value):
    ipd_run.update_manifest("parameters", {name: value})
    assert name in claims.deviations_of(ipd_run)


def test_published_scene_probabilities_are_a_deviation_and_leave_questions_of_their_own(ipd_run):
    assert questions_of(ipd_run) == OPEN_QUESTIONS
    ipd_run.update_manifest("parameters", {"features": "published_scenes"})
    assert claims.deviations_of(ipd_run) == {"backbone": "published_scenes, not resnet50"}
    assert questions_of(ipd_run)[2:] == OPEN_QUESTIONS
    assert "tier 2" in ipd_run.tier


@pytest.mark.parametrize(
    ("verdicts_of_photos", "verdict", "measured"),
    [
        ({"holds": 9}, "holds", "9 of 9"),
        ({"holds": 8, "contradicted": 1}, "contradicted", "8 of 9"),
        ({"holds": 8, "not run": 1}, "not tested", "8 of 8"),
        ({"contradicted": 1, "holds": 3, "not run": 5}, "contradicted", "3 of 4"),
        ({"not run": 9}, "not tested", ""),
        ({}, "not tested", ""),
    ],
)
def test_the_released_demo_holds_only_if_all_nine_do(facts, verdicts_of_photos, verdict, measured):
    row = claims.judge_claims(replace(facts, released_demo=verdicts_of_photos)).set_index("id").loc["released-demo"]
    assert (row["verdict"], row["measured"]) == (verdict, measured)


@pytest.mark.parametrize(("name", "value"), [("seed", 1), ("max_epochs", 6), ("optimizer", "SGD"), ("use_bce", True)])
def test_another_training_setting_is_a_deviation(ipd_run, name, value):
    ipd_run.update_manifest("training", {"settings": asdict(Settings(**{name: value}))})
    assert set(claims.deviations_of(ipd_run)) == {name}


@pytest.mark.parametrize(
    ("fact", "value", "name"),
    [
        ("stopped", "interrupted after 3 epochs", "training"),
        ("stopped", "12 h reached", "training"),
        ("from_trained_backbone", True, "weights"),
    ],
)
def test_an_interrupted_training_and_a_trained_backbone_are_deviations(ipd_run, fact, value, name):
    ipd_run.update_manifest("training", {fact: value})
    assert set(claims.deviations_of(ipd_run)) == {name}


def test_the_released_protocol_is_the_cards_experiment_too(ipd_run, facts):
    """Its figures come from the released code; a verdict says in which mode ours was measured."""
    ipd_run.update_manifest("parameters", {"bn_mode": "released"})
    assert claims.deviations_of(ipd_run) == {}
    why = claims.judge_claims(replace(facts, bn_mode="released")).set_index("id")["why"]
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
    near = replace(facts, metrics=evaluation([[1660, 644], [540, 4068]]))
    assert verdicts(near)["test-balanced_accuracy"] == "consistent"
    far = replace(facts, metrics=evaluation([[1560, 744], [640, 3968]]))
    far.spread["test_balanced_accuracy"] = [0.76, 0.77]
    judged = claims.judge_claims(far).set_index("id").loc["test-balanced_accuracy"]
    assert judged["verdict"] == "contradicted"
    assert "compare bn_mode=released" in judged["why"]


def test_a_figure_within_the_range_over_seeds_is_consistent(facts):
    """The card's test photos are ours, so what differs between two trainings is what the seed changes."""
    far = replace(facts, metrics=evaluation([[1560, 744], [640, 3968]]))
    far.spread["test_balanced_accuracy"] = [0.76, 0.81]
    assert verdicts(far)["test-balanced_accuracy"] == "consistent"


def test_published_scenes_support_a_figure_but_cannot_refute_it(facts):
    tier2 = {"features": "published_scenes", "deviations": {"backbone": "published_scenes, not resnet50"}}
    near, far = evaluation(metrics.CARD_CONFUSION), evaluation([[1160, 1144], [640, 3968]])
    facts.spread[[f"test_{name}" for name in FIGURES]] = 0.5
    of_near, of_far = (verdicts(replace(facts, metrics=m, **tier2)) for m in (near, far))
    assert of_near["test-private_recall"] == "consistent"  # though it is the very figure
    assert of_far["test-private_recall"] == "not tested"
    with_another_seed = tier2 | {"deviations": tier2["deviations"] | {"seed": "1, not 789"}}
    assert verdicts(replace(facts, metrics=near, **with_another_seed))["test-private_recall"] == "not tested"


@pytest.mark.parametrize(
    ("low", "high", "verdict"), [(0.001, 0.05, "holds"), (-0.01, 0.05, "consistent"), (-0.05, -0.001, "contradicted")]
)
def test_one_model_beats_another_if_the_interval_of_the_difference_says_so(facts, low, high, verdict):
    compared = pd.DataFrame([comparison(model, low, high) for model in (*SVMS, *MLPS)])
    judged = verdicts(replace(facts, comparisons=compared))
    assert judged["svm-over-s2p-balanced_accuracy"] == judged["mlp-over-s2p-ipd-private_recall"] == verdict
    assert judged["mlp-over-s2p-privacyalert-private_recall"] == "not tested"


@pytest.mark.parametrize(
    ("chosen", "better", "verdict"),
    [("C=1", (0.01, 0.05), "holds"), ("C=1", (-0.01, 0.05), "consistent"), ("no grid", (0.01, 0.05), "not tested")],
)
def test_one_version_of_three_is_enough_as_the_text_names_none(facts, chosen, better, verdict):
    """Two SVMs do worse than S2P; the third decides, and leaves it open where it is not the paper's."""
    compared = [comparison(model, -0.05, -0.01) for model in SVMS[:2]] + [comparison(SVMS[2], *better)]
    compared += [comparison(model, 0.01, 0.04) for model in MLPS]
    fitted = facts.baselines.assign(chosen=np.where(facts.baselines["model"] == SVMS[2], chosen, "C=1"))
    judged = claims.judge_claims(replace(facts, comparisons=pd.DataFrame(compared), baselines=fitted))
    row = judged.set_index("id").loc["svm-over-s2p-private_recall"]
    assert row["verdict"] == verdict
    assert row["why"].startswith(SVMS[2])
    assert row["measured"].startswith("scenes + SVM: -3.00 points; scenes + SVM v1.1: -3.00 points")


@pytest.mark.parametrize(("recall", "verdict"), [(0.8142, "holds"), (0.82, "consistent"), (0.7, "contradicted")])
def test_the_svms_figure_is_held_to_the_published_one(facts, recall, verdict):
    figures = {"private_recall": recall, "public_recall": 0.85, "balanced_accuracy": 0.83}
    table = pd.DataFrame([baseline(model, **figures) for model in SVMS])
    assert verdicts(replace(facts, baselines=table))["svm-ipd-private_recall"] == verdict


@pytest.mark.parametrize("chosen", ["C=1, class_weight=None, no grid", "C=5, 1 of 91 fits not converged"])
def test_an_svm_that_is_not_the_papers_is_not_judged(facts, chosen):
    judged = verdicts(replace(facts, baselines=facts.baselines.assign(chosen=chosen)))
    assert judged["svm-ipd-balanced_accuracy"] == judged["svm-over-s2p-balanced_accuracy"] == "not tested"
    of_released = verdicts(replace(facts, bn_mode="released"))
    assert of_released["svm-ipd-balanced_accuracy"] == of_released["mlp-over-s2p-ipd-private_recall"] == "not tested"


def test_published_scenes_cannot_refute_a_comparison_or_a_statement(facts):
    tier2 = {"features": "published_scenes", "deviations": {"backbone": "published_scenes, not resnet50"}}
    worse = pd.DataFrame([comparison(m, -0.05, -0.01) for m in SVMS] + [comparison(m, 0.01, 0.05) for m in MLPS])
    rows = pd.DataFrame([slice_row(s.id, "contradicted") for s in STATEMENTS])
    judged = verdicts(replace(facts, comparisons=worse, slices=rows, **tier2))
    assert judged["svm-over-s2p-balanced_accuracy"] == judged["failure-bathroom"] == "not tested"
    assert judged["mlp-over-s2p-ipd-balanced_accuracy"] == "holds"


def test_another_number_of_test_photos_in_the_label_file_contradicts_the_card(facts):
    assert verdicts(replace(facts, folds=facts.folds.assign(test=6900)))["test-counts"] == "contradicted"


def test_a_model_that_was_not_trained_is_not_tested(facts):
    judged = verdicts(replace(facts, baselines=facts.baselines.iloc[:0], comparisons=facts.comparisons.iloc[:0]))
    assert judged["svm-ipd-balanced_accuracy"] == judged["svm-over-s2p-balanced_accuracy"] == "not tested"


@pytest.mark.parametrize(
    ("counts", "verdict"),
    [([[300, 150], [200, 1150]], "holds"), ([[270, 180], [180, 1170]], "consistent"), ([[100, 350], [1, 1349]],
     "contradicted")],
)  # fmt: skip
def test_lower_bounds_on_privacyalert(facts, counts, verdict):
    on_privacyalert = replace(facts, dataset="privacyalert", metrics=evaluation(counts))
    assert verdicts(on_privacyalert)["s2p-privacyalert-balanced_accuracy"] == verdict


def test_the_published_folds_are_a_stratified_kfold_or_not(facts):
    assert verdicts(facts)["split-folds"] == "holds"
    for column, value in (("val_seen_before", 5), ("same_test", False), ("private_percent_val", [32.2, 32.2, 32.5])):
        assert verdicts(replace(facts, folds=facts.folds.assign(**{column: value})))["split-folds"] == "contradicted"
    assert verdicts(replace(facts, folds=facts.folds.iloc[:0]))["split-folds"] == "not tested"


def test_no_fold_of_three_is_the_cards_test_part(facts, monkeypatch):
    judged = claims.judge_claims(facts).set_index("id").loc["split-kfold"]
    assert (judged["measured"], judged["verdict"]) == ("20.0 % of all", "contradicted")
    monkeypatch.setattr(judges, "CARD_FOLDS", 5)
    assert verdicts(facts)["split-kfold"] == "holds"  # 6,912 is a fifth


def test_the_recorded_learning_rates_tell_which_measure_was_followed(facts, monkeypatch):
    assert verdicts(facts)["monitored-measure"] == "contradicted"
    halved = judges.learning_rates(judges.RECORDED["val_balanced_accuracy"], "max", judges.RECORDED_SETTINGS)
    monkeypatch.setattr(judges, "RECORDED", judges.RECORDED.assign(lr=halved))
    assert verdicts(facts)["monitored-measure"] == "holds"
    monkeypatch.setattr(judges, "RECORDED", judges.RECORDED.head(3).assign(lr=0.001))
    assert verdicts(facts)["monitored-measure"] == "not tested"


def test_the_recorded_epochs_are_those_of_the_released_trainer(reference):
    recorded = pd.DataFrame(json.loads((reference / "frozen_bn.json").read_text())["epochs"])
    recorded = recorded.rename(columns={"val_ba": "val_balanced_accuracy"})
    pd.testing.assert_frame_equal(judges.RECORDED, recorded[list(judges.RECORDED)])


def test_training_can_end_from_epoch_78_on(facts, monkeypatch):
    judged = claims.judge_claims(facts).set_index("id").loc["stopping"]
    assert (judged["measured"], judged["verdict"]) == ("from epoch 78 on", "consistent")
    monkeypatch.setattr(judges, "CARD_EPOCHS", 77)
    assert verdicts(facts)["stopping"] == "contradicted"


def test_gpu_claims_follow_the_names_and_sizes(facts, monkeypatch):
    assert verdicts(facts)["gpu-name"] == verdicts(facts)["gpu-memory"] == "contradicted"
    monkeypatch.setattr(judges, "CARD_GPUS", {"environmental impact": "GTX 1080 Ti", "hardware": "GTX 1080 Ti"})
    monkeypatch.setattr(judges, "CARD_GPU_MEMORY_GB", 11)
    assert verdicts(facts)["gpu-name"] == verdicts(facts)["gpu-memory"] == "holds"


def test_the_printed_figure_of_the_svm_contradicts_the_best_on_ipd(facts, monkeypatch):
    assert verdicts(facts)["best-on-ipd"] == "contradicted"
    for value, verdict in ((81.0, "consistent"), (80.0, "holds")):
        monkeypatch.setitem(PUBLISHED["ipd"]["ResNet-50 + SVM"], "balanced_accuracy", value)
        assert verdicts(facts)["best-on-ipd"] == verdict


@pytest.mark.parametrize(
    ("finding", "verdict"),
    [("holds", "holds"), ("contradicted", "contradicted"), ("undecided", "not tested"), ("not testable", "not tested")],
)
def test_a_failure_statement_is_judged_by_its_slices(facts, finding, verdict):
    rows = [slice_row(s.id, finding if s.id == "bathroom" else "holds") for s in STATEMENTS]
    judged = verdicts(replace(facts, slices=pd.DataFrame(rows)))
    assert judged["failure-bathroom"] == verdict


def test_other_test_photos_are_not_tested_rather_than_contradicted(facts):
    photos = {"private": 10, "public": 20}
    assert verdicts(replace(facts, metrics=facts.metrics | {"photos": photos}))["test-counts"] == "not tested"


def test_the_number_of_epochs_is_judged_by_how_training_ended(facts):
    assert verdicts(replace(facts, epochs=130))["epochs"] == "consistent"


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
    monkeypatch.setattr(judges, "SCENES", judges.SCENES[:-1])  # a backbone with 364 scenes
    judged = claims.judge_claims(facts).set_index("id")
    assert judged.loc["parameters-total", "verdict"] == "contradicted"


def test_exactly_one_confusion_matrix_gives_the_cards_figures():
    found = judges.confusions_behind(metrics.CARD_PERCENT, 2304, 4608)
    assert len(found) == 1
    assert np.array_equal(found[0], metrics.CARD_CONFUSION)


def test_a_misprinted_figure_has_no_confusion_matrix():
    assert judges.confusions_behind(metrics.CARD_PERCENT | {"accuracy": 83.99}, 2304, 4608) == []


def test_the_written_accuracy_formula_gives_another_figure(facts):
    judged = claims.judge_claims(facts).set_index("id").loc["accuracy-formula"]
    assert (judged["measured"], judged["verdict"]) == ("71.11", "contradicted")


def test_every_claim_has_one_record_with_a_reason(facts):
    table = claims.judge_claims(facts)
    assert table["id"].is_unique
    assert set(table["verdict"]) <= {"holds", "consistent", "contradicted", "not tested"}
    assert (table.drop(columns="measured").map(len) > 0).all(axis=None)
    assert set(table["tier"]) == set(claims.TIERS)
    assert list(table.columns) == claims.COLUMNS
