import numpy as np
import pytest

from s2p_lib import claims, metrics
from s2p_lib.samples import IPD_PUBLISHED


@pytest.fixture
def facts():
    labels, predictions = [], []
    for label, row in zip(("private", "public"), claims.CARD_CONFUSION):
        labels += [label] * int(row.sum())
        predictions += ["private"] * int(row[0]) + ["public"] * int(row[1])
    return {
        "dataset": "ipd",
        "metrics": metrics.evaluate(labels, predictions),
        "test_counts": IPD_PUBLISHED["test"],
        "backbone_changed": False,
        "stopped": "learning rate below 1e-05",
        "epochs": 117,
    }


def verdicts(facts) -> dict[str, str]:
    return claims.judge_claims(facts).set_index("id")["verdict"].to_dict()


def test_the_cards_own_figures_hold(facts):
    judged = verdicts(facts)
    assert all(judged[f"test-{name}"] == "holds" for name in metrics.CARD_PERCENT)
    assert judged["test-counts"] == "holds"


def test_a_demo_run_tests_no_claim_about_ipd(facts):
    """However near the figures are: the same figures on drawn photos say nothing."""
    judged = claims.judge_claims(facts | {"dataset": "demo"}).set_index("id")
    about_ipd = judged.loc[[f"test-{name}" for name in metrics.CARD_PERCENT] + ["test-counts", "epochs"]]
    assert set(about_ipd["verdict"]) == {"not tested"}
    assert set(about_ipd["measured"]) == {""}


def test_a_figure_within_the_interval_is_consistent_and_beyond_it_contradicted(facts):
    counts = np.array([[1660, 644], [540, 4068]])
    near = {"figures": {n: {"value": float(v)} for n, v in metrics.metrics_of_counts(counts).items()}}
    for name, interval in metrics.bootstrap_intervals(counts).items():
        near["figures"][name]["interval_95"] = list(interval)
    assert verdicts(facts | {"metrics": near})["test-balanced_accuracy"] == "consistent"
    near["figures"]["balanced_accuracy"] = {"value": 0.7, "interval_95": [0.69, 0.71]}
    assert verdicts(facts | {"metrics": near})["test-balanced_accuracy"] == "contradicted"


def test_a_changed_backbone_or_other_test_photos_contradict(facts):
    judged = verdicts(facts | {"backbone_changed": True, "test_counts": {"private": 2303, "public": 4608}})
    assert judged["frozen-backbone"] == "contradicted"
    assert judged["test-counts"] == "contradicted"


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
