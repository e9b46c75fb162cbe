"""What a run decided photo by photo, which photos it got wrong, and the scenes behind each decision, exactly.

S2P is linear in the scene logits, so a decision is a sum with one term per scene, and nothing has to be estimated.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.special import expit
from torch import nn

from s2p_lib.metrics import CORRECT, outcomes
from s2p_lib.model import SCENES, log_odds_of_private
from s2p_lib.samples import examples

SAME_P = 0.01  # float32 sums of another order differ by far less, other photos by more


def scene_contributions(head: nn.Linear, scene_logits: np.ndarray, mean_logits: np.ndarray) -> np.ndarray:
    """[N, 365] float64: how much each scene moves a photo's margin away from that of the mean photo.

    The margin is the log-odds of private (private minus public logit). It is linear in the scene logits x: with w
    its weights, the contribution of scene s is w_s (x_s - mean_s), positive towards private. They add up to the
    margin of the photo minus the margin of ``mean_logits`` [365].
    """
    weight, _ = log_odds_of_private(head)
    return (scene_logits.astype(np.float64) - mean_logits) * weight.numpy()


def photo_table(
    predictions: pd.DataFrame, head: nn.Linear, scene_logits: np.ndarray, mean_logits: np.ndarray
) -> pd.DataFrame:
    """Every row of ``predictions`` with how it came out, how far it was from right, and the scenes behind it.

    ``predictions`` has the columns of predictions.csv and may have more (path, source); row i belongs to
    ``scene_logits[i]`` [N, 365]. ``mean_logits`` [365] is the mean photo. Added columns: outcome (as
    ``metrics.outcomes``), confidence (probability of the predicted class), loss (nats, cross-entropy of the label),
    margin (log-odds of the label, positive where the decision is right), top_scene (the scene with the largest logit),
    top_scenes (the three largest), top_scene_p (their sigmoids) and reasons (the three scenes that moved the decision
    most the way it went; ``no x`` where scene x moved it by a logit below its mean, that is by seeming less present
    than usual). ValueError for logits that are not these photos' or not those that the predictions were made of.
    """
    _check_predictions(predictions, head, scene_logits)
    p_private = predictions["p_private"].to_numpy()
    margin = margins_private(head, scene_logits) * _signs(predictions["label"])
    reasons = scene_contributions(head, scene_logits, mean_logits) * _signs(predictions["prediction"])[:, None]
    top_scenes = _names_of_largest(scene_logits)
    return predictions.assign(
        outcome=outcomes(predictions["label"], predictions["prediction"]),
        confidence=np.maximum(p_private, 1 - p_private),
        loss=np.logaddexp(0, -margin),
        margin=margin,
        top_scene=[names[0] for names in top_scenes],
        top_scenes=[", ".join(names) for names in top_scenes],
        top_scene_p=_p_of_largest(scene_logits),
        reasons=[", ".join(names) for names in _names_of_largest(reasons, absent=scene_logits < mean_logits)],
    )


def failures_table(
    predictions: pd.DataFrame, head: nn.Linear, scene_logits: np.ndarray, mean_logits: np.ndarray
) -> pd.DataFrame:
    """The misclassified rows of ``photo_table``, the most confident first; without loss, margin and top_scene."""
    table = photo_table(predictions, head, scene_logits, mean_logits).drop(columns=["loss", "margin", "top_scene"])
    wrong = table[table["outcome"] != CORRECT]
    return wrong.sort_values(["confidence", "image"], ascending=[False, True]).reset_index(drop=True)


def margins_private(head: nn.Linear, scene_logits: np.ndarray) -> np.ndarray:
    """[...] float64: log-odds of private of scene logits [..., 365]; private is predicted from 0 on."""
    weight, bias = log_odds_of_private(head)
    return np.asarray(scene_logits, dtype=np.float64) @ weight.numpy() + float(bias)


def explain(head: nn.Linear, scene_logits: np.ndarray, mean_logits: np.ndarray) -> pd.DataFrame:
    """Why one photo is called what it is called: all 365 scenes, the one that matters most first.

    ``scene_logits`` [365] are the photo's, ``mean_logits`` [365] those of the mean photo. Columns: scene, logit, mean,
    contribution (log-odds, towards private positive, as ``scene_contributions``), sorted by its absolute value. The
    contributions add up to the photo's margin minus that of the mean photo (``margins_private``): nothing is left over.
    ValueError for other shapes.
    """
    for name, logits in (("scene_logits", scene_logits), ("mean_logits", mean_logits)):
        if np.shape(logits) != (len(SCENES),):
            raise ValueError(f"{name} has the shape {np.shape(logits)}; those of one photo are ({len(SCENES)},)")
    contribution = scene_contributions(head, scene_logits[None], mean_logits)[0]
    table = pd.DataFrame({"scene": SCENES, "logit": scene_logits, "mean": mean_logits, "contribution": contribution})
    return table.sort_values("contribution", key=abs, ascending=False, kind="stable", ignore_index=True)


def explainer(
    images: pd.Series, head: nn.Linear, scene_logits: np.ndarray, mean_logits: np.ndarray
) -> Callable[[str], pd.DataFrame]:
    """``explain`` by image name; ``images`` [N] are the names of ``scene_logits`` [N, 365]. KeyError for others."""
    rows = {image: row for row, image in enumerate(images)}
    return lambda image: explain(head, scene_logits[rows[image]], mean_logits)


def flips(explanation: pd.DataFrame, margin_private: float) -> pd.DataFrame:
    """The fewest scenes that, at the mean photo's level, would turn the decision; the last row is the flip.

    ``explanation`` as from ``explain``, ``margin_private`` the photo's log-odds of private. The scenes are taken from
    the largest contribution in favour of the decision on; no other choice of as few scenes moves the margin further.
    Columns: scene, contribution, margin_after (log-odds of private with this and the scenes above it at their mean).
    Empty where all of them together do not turn it: then the mean photo is decided alike, with more to spare than the
    scenes against the decision take, and ``attrs["reason"]`` says so.
    """
    is_private = margin_private >= 0
    sign = 1.0 if is_private else -1.0
    moved = explanation["contribution"] * sign
    in_favour = explanation[moved > 0].sort_values("contribution", key=lambda c: -sign * c, kind="stable")
    table = in_favour[["scene", "contribution"]].reset_index(drop=True)
    table["margin_after"] = margin_private - table["contribution"].cumsum()
    turned = np.flatnonzero((table["margin_after"] >= 0) != is_private)
    if len(turned):
        return table.head(turned[0] + 1)
    decision = "private" if is_private else "public"
    empty = table.head(0)
    empty.attrs["reason"] = (
        f"with all {len(table)} scenes in favour of {decision} at the mean photo's level it would still be called "
        f"{decision}: the mean photo itself is"
    )
    return empty


def flip_words(turned: pd.DataFrame, margin_private: float) -> str:
    """The table of ``flips`` for this ``margin_private`` in a sentence, without its scenes."""
    if turned.empty:
        reason = turned.attrs["reason"]
        return f"{reason[0].upper()}{reason[1:]}."
    other = "public" if margin_private >= 0 else "private"
    if len(turned) == 1:
        return f"With this scene at the mean photo's level it would be called {other}."
    return f"With these {len(turned)} scenes at the mean photo's level it would be called {other}; no fewer can do it."


def signed(contribution: float) -> str:
    """``+0.50`` or ``\N{MINUS SIGN}0.50``: with the minus sign that figures and pages have."""
    return with_minus_sign(f"{contribution:+.2f}")


def with_minus_sign(number: str) -> str:
    return number.replace("-", "\N{MINUS SIGN}")


def scene_weights(head: nn.Linear, mean_logits: np.ndarray) -> pd.DataFrame:
    """What the model makes of each scene, whatever the photo: 365 rows, from most private to most public.

    Columns: scene, weight (log-odds of private per unit of the scene's logit) and mean (the scene's logit in the mean
    photo, from which on a positive weight speaks for private).
    """
    weight, _ = log_odds_of_private(head)
    table = pd.DataFrame({"scene": SCENES, "weight": weight.numpy(), "mean": mean_logits})
    return table.sort_values("weight", ascending=False, kind="stable", ignore_index=True)


def mean_abs_contribution(head: nn.Linear, scene_logits: np.ndarray, mean_logits: np.ndarray) -> pd.DataFrame:
    """How much each scene moves the decisions on these photos, the one that moves most first.

    Columns: scene, mean_abs_contribution (log-odds, mean over the photos of the absolute ``scene_contributions``; NaN
    without photos). A large weight on a scene whose logit hardly varies moves little.
    """
    contribution = np.abs(scene_contributions(head, scene_logits, mean_logits))
    mean = contribution.mean(axis=0) if len(contribution) else np.full(len(SCENES), np.nan)
    table = pd.DataFrame({"scene": SCENES, "mean_abs_contribution": mean})
    return table.sort_values("mean_abs_contribution", ascending=False, kind="stable", ignore_index=True)


def _names_of_largest(values: np.ndarray, k: int = 3, absent: np.ndarray | None = None) -> list[list[str]]:
    """Names of the ``k`` scenes with the largest values in each row of [N, 365]; ``no`` before the absent ones."""
    largest = np.argsort(-values, axis=1, kind="stable")[:, :k]
    absent = np.zeros(values.shape, dtype=bool) if absent is None else absent
    return [[("no " if absent[n, i] else "") + SCENES[i] for i in row] for n, row in enumerate(largest)]


def _p_of_largest(logits: np.ndarray, k: int = 3) -> list[str]:
    """Sigmoids of the ``k`` largest scene logits in each row of [N, 365], as text: ``0.93, 0.85, 0.80``."""
    largest = -np.sort(-logits.astype(np.float64), axis=1)[:, :k]
    return [", ".join(f"{p:.2f}" for p in row) for row in expit(largest)]


def _signs(classes: pd.Series) -> np.ndarray:
    """[N] float64: 1 for private, -1 for public."""
    return np.where(classes == "private", 1.0, -1.0)


def _check_predictions(predictions: pd.DataFrame, head: nn.Linear, scene_logits: np.ndarray) -> None:
    if missing := [c for c in ("image", "label", "prediction", "p_private") if c not in predictions]:
        raise ValueError(f"the predictions lack the column(s) {missing}; they have {list(predictions)}")
    if scene_logits.shape != (len(predictions), len(SCENES)):
        raise ValueError(
            f"scene_logits have the shape {scene_logits.shape}; {len(predictions)} photos need "
            f"{(len(predictions), len(SCENES))}"
        )
    # A mix-up of rows or runs would give explanations of other photos, and nothing else would show it.
    p_here = expit(margins_private(head, scene_logits))
    other = ~(np.abs(p_here - predictions["p_private"].to_numpy()) < SAME_P)
    if other.any():
        raise ValueError(
            f"{other.sum():,} of {len(other):,} photos have a p_private that this model does not give from their scene "
            f"logits, such as {examples(predictions.loc[other, 'image'])}: predictions, model and scene "
            "logits must be of one run and in one order"
        )
