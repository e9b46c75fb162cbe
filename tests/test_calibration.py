import json

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss

from s2p_lib import calibration
from s2p_lib.samples import CLASSES


def photos(seed: int, n: int = 600, too_sure: float = 1.0) -> pd.DataFrame:
    """Labels drawn with the probabilities that belong to the logits; ``too_sure`` times these logits are predicted."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(-0.5, 1.5, n)
    labels = np.where(rng.random(n) < expit(logits), *CLASSES)
    return pd.DataFrame({"label": labels, "p_private": expit(too_sure * logits)})


def test_reliability_is_scikit_learns_calibration_curve():
    table = photos(0)
    found = calibration.reliability(table["label"], table["p_private"], n_bins=10)
    share, mean = calibration_curve(table["label"] == "private", table["p_private"], n_bins=10)
    filled = found[found["photos"] > 0]
    assert filled["share_private"].to_numpy() == pytest.approx(share, abs=1e-12)
    assert filled["mean_p_private"].to_numpy() == pytest.approx(mean, abs=1e-12)
    assert found["photos"].sum() == len(table)


def test_an_edge_belongs_to_the_bin_below_and_empty_bins_are_kept():
    found = calibration.reliability(["private", "public", "public", "private"], [0, 0.25, 0.3, 1], n_bins=4)
    assert found["photos"].tolist() == [2, 1, 0, 1]
    assert found["bin_high"].tolist() == [0.25, 0.5, 0.75, 1]
    assert found["share_private"].tolist() == pytest.approx([0.5, 0, np.nan, 1], nan_ok=True)


def test_the_calibration_error_of_four_photos_by_hand():
    labels, p_private = ["private", "public", "private", "private"], [0.1, 0.3, 0.9, 0.7]
    # lower half: mean 0.2, share 0.5; upper half: mean 0.8, share 1
    assert calibration.expected_calibration_error(labels, p_private, n_bins=2) == pytest.approx(0.3 / 2 + 0.2 / 2)


def test_predictions_that_are_all_the_same_lie_in_one_bin():
    labels = ["private"] * 3 + ["public"]
    assert calibration.expected_calibration_error(labels, [0.6] * 4) == pytest.approx(0.15)
    # the best constant is the share of private photos: logit(0.6) / T = logit(0.75)
    assert calibration.fit_temperature(labels, [0.6] * 4) == pytest.approx(logit(0.6) / logit(0.75), rel=1e-3)


@pytest.mark.parametrize("too_sure", [0.4, 1, 3])
def test_the_temperature_is_one_over_the_coefficient_of_a_logistic_regression(too_sure):
    table = photos(1, too_sure=too_sure)
    x = logit(table[["p_private"]].to_numpy())
    regression = LogisticRegression(fit_intercept=False, C=np.inf, tol=1e-10).fit(x, table["label"] == "private")
    found = calibration.fit_temperature(table["label"], table["p_private"])
    assert found == pytest.approx(1 / regression.coef_[0, 0], rel=1e-3)  # the search ends 1e-5 from it on a log scale


def test_the_temperature_lowers_log_loss_and_calibration_error_of_a_model_that_is_too_sure():
    figures = calibration.calibration_figures(photos(2, too_sure=3), photos(3, too_sure=3))
    assert figures["temperature"] == pytest.approx(3, rel=0.2)  # 600 photos
    assert figures["reason"] is None
    for name in ("ece", "brier", "log_loss"):
        assert figures["after"][name] < figures["before"][name]


def test_figures_before_the_temperature_are_scikit_learns():
    test = photos(4)
    before = calibration.calibration_figures(photos(5), test)["before"]
    is_private = test["label"] == "private"
    assert before["brier"] == pytest.approx(brier_score_loss(is_private, test["p_private"]), abs=1e-12)
    assert before["log_loss"] == pytest.approx(log_loss(is_private, test["p_private"]), abs=1e-12)


def test_no_prediction_changes_with_the_temperature():
    p_private = np.array([0, 1e-9, 0.2, 0.4999, 0.5, 0.7, 1])
    for temperature in (0.3, 1, 4):
        mended = calibration.with_temperature(p_private, temperature)
        assert ((mended >= 0.5) == (p_private >= 0.5)).all()
    assert calibration.with_temperature(p_private, 1) == pytest.approx(p_private, abs=1.01 * calibration.CLIP)


def test_val_photos_that_are_all_right_give_the_lower_bound_and_worse_than_chance_the_upper_one():
    labels = ["private"] * 5 + ["public"] * 5
    low, high = calibration.TEMPERATURES
    assert calibration.fit_temperature(labels, [0.8] * 5 + [0.3] * 5) == low
    assert calibration.fit_temperature(labels, [1.0] * 5 + [0.0] * 5) == low
    assert calibration.fit_temperature(labels, [0.3] * 5 + [0.8] * 5) == high
    assert calibration.fit_temperature(labels, [0.5] * 10) == 1


def test_one_sure_mistake_leaves_everything_finite():
    labels, p_private = ["private", "public", "private", "public"], [0.0, 0.0, 1.0, 1.0]
    split = pd.DataFrame({"label": labels, "p_private": p_private})
    figures = calibration.calibration_figures(split, split)
    assert figures["before"]["log_loss"] == pytest.approx(-np.log(calibration.CLIP) / 2, rel=1e-6)
    assert np.isfinite(list(figures["after"].values())).all()


def test_without_val_photos_of_both_classes_there_is_no_temperature_but_a_reason():
    test, val = photos(6), photos(7)
    nothing = calibration.calibration_figures(val.iloc[:0], test)
    assert (nothing["temperature"], nothing["after"]) == (None, None)
    assert "no validation photo" in nothing["reason"]
    assert nothing["before"]["ece"] > 0
    private = val[val["label"] == "private"]
    assert f"none of the {len(private)} " in calibration.calibration_figures(private, test)["reason"]


def test_the_figures_can_be_written_as_json():
    figures = calibration.calibration_figures(photos(2), photos(3))
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures
