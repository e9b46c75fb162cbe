"""Does a photo called private with probability 0.8 turn out private 8 times in 10? And a temperature that mends it.

``labels`` are class names [N], ``p_private`` [N] is the probability of private. Both classes must be among the labels
(ValueError, as ``metrics.check_probabilities``).
"""

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit
from sklearn.metrics import brier_score_loss, log_loss

from s2p_lib.metrics import check_probabilities
from s2p_lib.samples import CLASSES

N_BINS = 15  # as Guo et al. 2017, On Calibration of Modern Neural Networks
CLIP = 1e-7  # about what float32 tells from 1; the logit of 0 or 1 is infinite, and so is the log loss of a miss there
TEMPERATURES = (0.01, 100.0)  # the bounds within which one is looked for


def reliability(labels, p_private, n_bins: int = N_BINS) -> pd.DataFrame:
    """Photos by their probability, in ``n_bins`` bins of equal width over [0, 1].

    Columns: bin_low, bin_high, photos, mean_p_private, share_private. A bin holds p with bin_low < p <= bin_high, the
    first also 0. An empty bin has 0 photos and NaN.
    """
    is_private, p_private = check_probabilities(labels, p_private)
    edges = np.linspace(0, 1, n_bins + 1)
    bins = np.searchsorted(edges[1:-1], p_private)
    photos = np.bincount(bins, minlength=n_bins)
    sums = {"mean_p_private": p_private, "share_private": is_private}
    means = {
        name: np.divide(np.bincount(bins, values, n_bins), photos, out=np.full(n_bins, np.nan), where=photos > 0)
        for name, values in sums.items()
    }
    return pd.DataFrame({"bin_low": edges[:-1], "bin_high": edges[1:], "photos": photos} | means)


def expected_calibration_error(labels, p_private, n_bins: int = N_BINS) -> float:
    """Mean distance of share_private from mean_p_private over the bins of ``reliability``, weighted by their photos.

    This is the binary ECE, of the probability of private over [0, 1]. Guo et al. 2017 bin the probability of the
    predicted class, over [0.5, 1] for two classes, against the share of right predictions: there, too much confidence
    in private and in public add up in one bin, here they lie at opposite ends. The two figures differ.
    """
    table = reliability(labels, p_private, n_bins)
    distance = (table["share_private"] - table["mean_p_private"]).abs()
    return float((distance * table["photos"]).sum() / table["photos"].sum())


def fit_temperature(labels, p_private) -> float:
    """The temperature T that minimises the log loss of ``with_temperature``; to be fitted on validation photos.

    Above 1 the model was too sure, below 1 not sure enough. T is looked for in ``TEMPERATURES``. Where every photo is
    on the right side of 0.5 the loss falls with T all the way, so the lower bound comes back; where the
    probabilities say no more than chance, it may be the upper one. Where T changes nothing (all p = 0.5) it is 1.
    """
    is_private, p_private = check_probabilities(labels, p_private)
    towards_label = np.where(is_private, 1, -1) * _logit(p_private)

    def loss(temperature: float) -> float:
        return np.logaddexp(0, -towards_label / temperature).mean()

    found = minimize_scalar(lambda log_t: loss(np.exp(log_t)), bounds=np.log(TEMPERATURES), method="bounded")
    # The search stops just short of a bound; in a tie, as where the loss is flat, the first of these is taken.
    return float(min((1.0, *TEMPERATURES, np.exp(found.x)), key=loss))


def with_temperature(p_private, temperature: float) -> np.ndarray:
    """[N] float64: sigmoid(logit(p) / T), with p kept ``CLIP`` away from 0 and 1.

    For two classes this is the softmax of the privacy logits divided by T. No prediction changes, as 0.5 stays 0.5.
    """
    return expit(_logit(p_private) / temperature)


def calibration_figures(val: pd.DataFrame, test: pd.DataFrame) -> dict:
    """What ``metrics.json`` holds on calibration; ``val`` and ``test`` have the columns label and p_private.

    ``temperature`` fitted on ``val``; ``before`` and ``after`` it, on ``test``: ece (``expected_calibration_error``),
    brier (mean squared error of p_private, 0 to 1) and log_loss (nats, with p kept ``CLIP`` away from 0 and 1).
    Without photos of both classes in ``val`` temperature and after are None, and ``reason`` says why; else it is None.
    """
    figures = {"n_bins": N_BINS, "temperature": None, "reason": _why_no_temperature(val)}
    figures |= {"before": _figures(test["label"], test["p_private"]), "after": None}
    if figures["reason"] is None:
        figures["temperature"] = fit_temperature(val["label"], val["p_private"])
        figures["after"] = _figures(test["label"], with_temperature(test["p_private"], figures["temperature"]))
    return figures


def _why_no_temperature(val: pd.DataFrame) -> str | None:
    if val.empty:
        return "there is no validation photo to fit a temperature on"
    if missing := [name for name in CLASSES if name not in set(val["label"])]:
        return f"none of the {len(val)} validation photos is {missing[0]}; a temperature needs both classes"
    return None


def _figures(labels, p_private) -> dict[str, float]:
    is_private, p_private = check_probabilities(labels, p_private)
    return {
        "ece": expected_calibration_error(labels, p_private),
        "brier": float(brier_score_loss(is_private, p_private)),
        "log_loss": float(log_loss(is_private, np.clip(p_private, CLIP, 1 - CLIP))),
    }


def _logit(p_private) -> np.ndarray:
    return logit(np.clip(np.asarray(p_private, dtype=float), CLIP, 1 - CLIP))
