"""The photos that S2P gets wrong: their table, with the scenes behind each decision."""

import numpy as np
import pandas as pd
from torch import nn

from s2p_lib.metrics import CORRECT, outcomes
from s2p_lib.model import SCENES, log_odds_of_private


def scene_contributions(head: nn.Linear, scene_logits: np.ndarray, mean_logits: np.ndarray) -> np.ndarray:
    """[N, 365] float64: how much each scene moves a photo's margin away from that of the mean photo.

    The margin is the log-odds of private (private minus public logit). It is linear in the scene logits x: with w
    its weights, the contribution of scene s is w_s (x_s - mean_s), positive towards private. They add up to the
    margin of the photo minus the margin of ``mean_logits`` [365].
    """
    weight, _ = log_odds_of_private(head)
    return (scene_logits.astype(np.float64) - mean_logits) * weight.numpy()


def failures_table(
    predictions: pd.DataFrame, head: nn.Linear, scene_logits: np.ndarray, mean_logits: np.ndarray
) -> pd.DataFrame:
    """Misclassified rows of ``predictions``, the most confident first, with outcome, confidence and scenes.

    ``predictions`` has the columns of predictions.csv, row i belonging to ``scene_logits[i]``. Added columns:
    outcome, confidence (probability of the predicted class), top_scenes (the three highest scene logits), top_scene_p
    (their sigmoids) and reasons (the three scenes that moved the decision most the way it went; ``no x`` where scene x
    moved it by a logit below its mean, that is by seeming less present than usual).
    """
    table = predictions.assign(outcome=outcomes(predictions["label"], predictions["prediction"]))
    p_private = table["p_private"].to_numpy()
    table["confidence"] = np.maximum(p_private, 1 - p_private)
    wrong = (table["outcome"] != CORRECT).to_numpy()
    logits = scene_logits[wrong]
    towards = np.where(table.loc[wrong, "prediction"] == "private", 1.0, -1.0)[:, None]
    moved = scene_contributions(head, logits, mean_logits) * towards
    reasons = _names_of_largest(moved, absent=logits < mean_logits)
    table = table[wrong].assign(
        top_scenes=_names_of_largest(logits), top_scene_p=_p_of_largest(logits), reasons=reasons
    )
    return table.sort_values(["confidence", "image"], ascending=[False, True]).reset_index(drop=True)


def _names_of_largest(values: np.ndarray, k: int = 3, absent: np.ndarray | None = None) -> list[str]:
    """Names of the ``k`` scenes with the largest values in each row of [N, 365]; ``no`` before the absent ones."""
    largest = np.argsort(-values, axis=1, kind="stable")[:, :k]
    absent = np.zeros(values.shape, dtype=bool) if absent is None else absent
    return [", ".join(("no " if absent[n, i] else "") + SCENES[i] for i in row) for n, row in enumerate(largest)]


def _p_of_largest(logits: np.ndarray, k: int = 3) -> list[str]:
    """Sigmoids of the ``k`` largest scene logits in each row of [N, 365], as text: ``0.93, 0.85, 0.80``."""
    largest = -np.sort(-logits.astype(np.float64), axis=1)[:, :k]
    return [", ".join(f"{p:.2f}" for p in row) for row in 1 / (1 + np.exp(-largest))]
