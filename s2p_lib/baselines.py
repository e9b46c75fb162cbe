"""The paper's other models that share S2P's scene logits, and models that look at no photo, on the same split.

N photos, 365 scene logits each, 2 classes. Every model is fitted on train, chosen on val or by folds of train, and
scored once on test.
"""

import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import torch
from joblib import parallel_config
from scipy.optimize import minimize
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight
from threadpoolctl import threadpool_limits
from torch import nn

from s2p_lib.carbon import measure_energy
from s2p_lib.config import Settings
from s2p_lib.metrics import CARD_PERCENT, card_metrics, compare
from s2p_lib.model import SCENES, count_parameters
from s2p_lib.progress import progress
from s2p_lib.samples import CLASSES, SPLITS, check_samples, examples
from s2p_lib.training import cached_part, fit, fit_convex, predict

SVM_C = (0.1, 0.5, 1, 1.5, 2, 5, 10, 100, 1000)
SVM_CLASS_WEIGHTS = (None, "balanced")
SVM_FOLDS = 5
# Of scipy's trust-exact; steps may be large, as a weight may be anything from 1e-6 to 1e3.
SVM_OPTIONS = {"gtol": 1e-8, "initial_trust_radius": 10.0, "max_trust_radius": 1e6, "maxiter": 10_000}
SVM_GRIDS = ("published", "quick")
N_TAGS = 10  # largest scene logits of a photo that are its tags in SVM v1.2
MLP_WIDTHS = {"S2P-MLP": (182,), "S2P-MLP v1.1": (182, 91)}

PREDICTION_COLUMNS = ["image", "model", "label", "prediction", "p_private"]

# In percent; text where only a bound is published. S2P on IPD: the model card. The others: the released
# ARTIFACT-EVALUATION.md, which does not say which of its three SVMs it means and gives no figure of S2P-MLP.
PUBLISHED = {
    "ipd": {"S2P": CARD_PERCENT, "ResNet-50 + SVM": {"private_recall": 81.42, "balanced_accuracy": 83.08}},
    "privacyalert": {
        "S2P": {"balanced_accuracy": "> 75", "accuracy": "> 80"},
        "ResNet-50 + SVM": {"private_recall": 79.78, "balanced_accuracy": 78.48},
    },
}
# Ours -> published, where they differ: our scene logits need not come from a ResNet-50.
PUBLISHED_NAMES = {f"scenes + SVM{version}": f"ResNet-50 + SVM{version}" for version in ("", " v1.1", " v1.2")}
PUBLISHED_FIGURES = ("private_recall", "balanced_accuracy", "accuracy")


def fit_baselines(
    samples: pd.DataFrame,
    scene_logits: np.ndarray,
    settings: Settings,
    svm_grid: str = "published",
    workers: int | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Fit each baseline on train and score it on test: one row a model, and one row a model and test photo.

    ``samples`` has the columns image, source, label, split; its row i belongs to ``scene_logits[i]`` ([N, 365] float32,
    by a backbone that does not change). The models, in this order:

    - ``all private``, ``all public``, ``random``: a fair coin for each test photo, drawn by ``settings.seed``.
    - ``source alone``: the majority label of the photo's source on train, private where both are as many. In IPD every
      VISPR photo is private, so the source tells much of the label without a look at the photo.
    - ``logistic regression``: ``training.fit_convex``, its C chosen on val, or on train where there is no val.
    - ``scenes + SVM`` on raw logits, ``v1.1`` on standardised ones, ``v1.2`` on the tags of ``top_tags``; see
      ``fit_svm`` for ``svm_grid`` (``published``, or ``quick``: C = 1 without a grid).
    - ``S2P-MLP``, ``S2P-MLP v1.1``: ``new_mlp``, trained as S2P with the same ``settings`` (val picks the epoch). With
      ``use_bce`` they too have one logit, hence fewer parameters than published.

    The table has the columns model, parameters_optimised, chosen (text), fit_s, energy_kwh, energy_source, then the
    nine figures of ``metrics.card_metrics`` as fractions. Time and energy are those of fitting with all choosing, not
    of the scene logits. The predictions have ``PREDICTION_COLUMNS``; p_private is NaN where a model gives no
    probability. A photo whose split is none of ``SPLITS`` is not used. ``workers`` threads fit the SVMs, one a core by
    default. ValueError for tables and logits that do not fit together or lack a class.
    """
    if svm_grid not in SVM_GRIDS:
        raise ValueError(f"svm_grid={svm_grid!r} is unknown; allowed: {', '.join(SVM_GRIDS)}")
    scene_logits = np.asarray(scene_logits, dtype=np.float32)
    _check(samples, scene_logits)
    photos = _Photos(samples, scene_logits)
    train, val, test = (photos.of(split) for split in SPLITS)
    rows, predictions = [], []
    for name, fit_model in _fits(train, val, settings, svm_grid, workers or os.cpu_count()).items():
        # One BLAS or OpenMP thread: a batch of 100 photos is too little for more, which on busy cores wait for another.
        with threadpool_limits(1), measure_energy() as used:
            fitted = fit_model()
        predicted, p_private = fitted.predict(test)
        part = test.samples[["image", "label"]].assign(model=name, prediction=predicted, p_private=p_private)
        predictions.append(part[PREDICTION_COLUMNS])
        row = {"model": name, "parameters_optimised": fitted.parameters, "chosen": fitted.chosen}
        row |= {"fit_s": used["duration_s"], **{c: used[c] for c in ("energy_kwh", "energy_source")}}
        rows.append(row | card_metrics(part["label"], predicted))
    return pd.DataFrame(rows), pd.concat(predictions, ignore_index=True)


def fit_svm(
    features: np.ndarray, labels, scale: bool, svm_grid: str = "published", workers: int = 1
) -> tuple[Pipeline, str]:
    """The linear SVM of the paper's baseline on [N, D] features and class names [N], and what was chosen, as text.

    ``published``: every C of ``SVM_C`` with each of ``SVM_CLASS_WEIGHTS`` by 5 stratified, unshuffled folds of train
    (fewer where a class has fewer photos), then refit on all of train with the best mean balanced accuracy, the first
    of equals. ``scale`` standardises the features, within the folds too. ``quick``, or a class with a single photo:
    C = 1 without a grid. ``chosen`` counts the fits that did not converge. The ``workers`` threads share the features.
    """
    model = make_pipeline(*([StandardScaler()] if scale else []), SquaredHingeSVM())
    counts = pd.Series(np.asarray(labels)).value_counts()
    folds = min(SVM_FOLDS, counts.min())
    if svm_grid == "quick" or folds < 2:
        few = f", no folds: only 1 {counts.idxmin()} photo" if folds < 2 else ""
        model.fit(features, labels)
        return model, "C=1, class_weight=None, no grid" + few + _failures(not model[-1].converged_, 1)
    prefix = "squaredhingesvm__"
    grid = {f"{prefix}C": SVM_C, f"{prefix}class_weight": SVM_CLASS_WEIGHTS}
    n_fits = len(SVM_C) * len(SVM_CLASS_WEIGHTS) * folds
    given_up = []
    with progress(total=n_fits, desc="SVM grid", unit="fit") as bar:

        def score(fitted: Pipeline, x: np.ndarray, y: np.ndarray) -> float:
            given_up.append(not fitted[-1].converged_)
            with bar.get_lock():
                bar.update()
            return balanced_accuracy_score(y, fitted.predict(x))

        cv = StratifiedKFold(folds)
        search = GridSearchCV(model, grid, scoring=score, cv=cv, n_jobs=workers, error_score="raise")
        with parallel_config("threading"):
            search.fit(features, labels)
    best = search.best_estimator_
    chosen = ", ".join(f"{name.removeprefix(prefix)}={value}" for name, value in search.best_params_.items())
    fewer = "" if folds == SVM_FOLDS else f", {folds} folds: only {counts.min()} {counts.idxmin()} photos"
    return best, chosen + fewer + _failures(sum(given_up) + (not best[-1].converged_), n_fits + 1)


class SquaredHingeSVM(ClassifierMixin, BaseEstimator):
    """The problem of scikit-learn's LinearSVC (squared hinge, L2 penalty on weights and bias), at its optimum.

    The released code leaves it to LinearSVC, which minimises

        |w|^2 / 2 + b^2 / 2 + C sum_i v_i max(0, 1 - s_i (w x_i + b))^2,   s_i = +1 or -1, v_i the class weight,

    by liblinear. On scene logits that is slow or inexact: its dual solver (the old default, so the released one) is far
    from the optimum after 10,000 iterations, its primal one takes ten times as long where scenes go together. The loss
    is quadratic between kinks, so a few Newton steps of ``scipy.optimize`` reach the optimum whatever the features are.

    ``fit`` takes features [N, D] and two classes [N]; sets ``coef_`` [1, D], ``intercept_`` [1], ``classes_`` (the
    second is the positive one) and ``converged_``.
    """

    def __init__(self, C: float = 1.0, class_weight: str | None = None):
        self.C, self.class_weight = C, class_weight

    def fit(self, features: np.ndarray, labels) -> "SquaredHingeSVM":
        self.classes_ = np.unique(labels)
        x = np.c_[np.asarray(features, dtype=np.float64), np.ones(len(features))]
        sign = np.where(np.asarray(labels) == self.classes_[1], 1.0, -1.0)
        cost = 2 * self.C * compute_sample_weight(self.class_weight, labels)
        decay = 1 / cost.sum()  # all is divided by this sum, so that the gradient's tolerance means the same for any C
        cost = cost * decay

        def loss_and_gradient(w: np.ndarray) -> tuple[float, np.ndarray]:
            short = np.maximum(0, 1 - sign * (x @ w))  # of the margin
            return (decay * w @ w + (cost * short**2).sum()) / 2, decay * w - x.T @ (cost * sign * short)

        def hessian(w: np.ndarray) -> np.ndarray:
            inside = sign * (x @ w) < 1
            part = x[inside] * np.sqrt(cost[inside])[:, None]
            return decay * np.eye(len(w)) + part.T @ part

        start = np.zeros(x.shape[1])
        found = minimize(
            loss_and_gradient, start, jac=True, hess=hessian, method="trust-exact", options=dict(SVM_OPTIONS)
        )
        self.coef_, self.intercept_, self.converged_ = found.x[None, :-1], found.x[-1:], bool(found.success)
        return self

    def decision_function(self, features: np.ndarray) -> np.ndarray:
        """[N]: above 0 for the second of ``classes_``."""
        return np.asarray(features, dtype=np.float64) @ self.coef_[0] + self.intercept_[0]

    def predict(self, features: np.ndarray) -> np.ndarray:
        return self.classes_[(self.decision_function(features) > 0).astype(int)]


def top_tags(scene_logits: np.ndarray) -> np.ndarray:
    """[N, 365] float32: 1 for the ``N_TAGS`` largest scene logits of a photo (the first of equals), else 0."""
    largest = np.argsort(-scene_logits, axis=1, kind="stable")[:, :N_TAGS]
    tags = np.zeros(scene_logits.shape, dtype=np.float32)
    np.put_along_axis(tags, largest, 1, axis=1)
    return tags


def new_mlp(widths: tuple[int, ...], seed: int, use_bce: bool = False) -> nn.Sequential:
    """Scene logits [B, 365] -> privacy logits [B, 2] (private, public), or [B, 1] with ``use_bce``.

    Hidden layers of these ``widths``, ReLU between; Xavier uniform weights drawn from ``seed``, zero biases.
    """
    sizes = [len(SCENES), *widths, 1 if use_bce else len(CLASSES)]
    generator = torch.Generator().manual_seed(seed)
    layers = []
    for n_in, n_out in itertools.pairwise(sizes):
        layer = nn.Linear(n_in, n_out)
        nn.init.xavier_uniform_(layer.weight, generator=generator)
        nn.init.zeros_(layer.bias)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def with_s2p(table: pd.DataFrame, evaluation: dict, manifest: dict, history: pd.DataFrame) -> pd.DataFrame:
    """``fit_baselines``'s table with the run's S2P before it, from metrics.json, manifest.json and history.csv.

    Its time is that of all epochs of a training, resumed or not, in ``bn_mode=released`` with the backbone's passes,
    which ``chosen`` then says; its energy is this time at the mean power of the stage in which training ended.
    """
    stage, training = manifest["stages"]["train"], manifest["training"]
    fit_s = float(history["seconds"].iloc[-1])
    passes = "; time with the backbone's passes" if manifest["parameters"]["bn_mode"] == "released" else ""
    row = {
        "model": "S2P",
        "parameters_optimised": training["parameters"]["optimised"],
        "chosen": f"epoch {training['kept_epoch']} (from 0) of {training['epochs']}, {training['stopped']}{passes}",
        "fit_s": fit_s,
        "energy_kwh": fit_s * stage["energy_kwh"] / stage["duration_s"],
        "energy_source": stage["energy_source"],
    }
    figures = {name: figure["value"] for name, figure in evaluation["figures"].items()}
    return pd.concat([pd.DataFrame([row | figures]), table], ignore_index=True)


def compare_with_s2p(s2p: pd.DataFrame, predictions: pd.DataFrame) -> pd.DataFrame:
    """Each model of ``fit_baselines``'s predictions against S2P (image, label, prediction), joined by image name.

    One row per model: model, n, only_model_right, only_s2p_right, mcnemar_p, then for balanced_accuracy, private_recall
    and accuracy _difference (model minus S2P), _low, _high; see ``metrics.compare``.
    """
    rows = []
    for model, of_model in predictions.groupby("model", sort=False):
        both = of_model.merge(s2p[["image", "prediction"]], on="image", suffixes=("", "_s2p"), validate="one_to_one")
        if len(both) != len(s2p):
            raise ValueError(f"{model} has predictions for {len(both)} of the {len(s2p)} photos of S2P")
        compared = compare(both["label"], both["prediction"], both["prediction_s2p"])
        row = {"model": model, "n": compared["n"], "only_model_right": compared["only_a_right"]}
        row |= {"only_s2p_right": compared["only_b_right"], "mcnemar_p": compared["mcnemar_p"]}
        for name in ("balanced_accuracy", "private_recall", "accuracy"):
            row |= {f"{name}_{part}": compared[name][part] for part in ("difference", "low", "high")}
        rows.append(row)
    return pd.DataFrame(rows)


def beside_published(table: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """``fit_baselines``'s table in percent beside the published figures, for display.

    Columns model, parameters, private_recall, balanced_accuracy, accuracy, the same three with ``published`` before
    them (text, empty where none is published), fit_s, energy_wh. PrivacyAlert has its own published figures; beside
    any other dataset stand those of IPD, which only a run on IPD may be compared with. A row ``S2P`` may be added to
    the table by the caller.
    """
    published = published_percent(table["model"], dataset)
    shown = pd.DataFrame({"model": table["model"], "parameters": table["parameters_optimised"]})
    for figure in PUBLISHED_FIGURES:
        shown[figure] = (100 * table[figure]).round(2)
    for figure in PUBLISHED_FIGURES:
        values = [published[model].get(figure, "") for model in table["model"]]
        shown[f"published {figure}"] = [v if isinstance(v, str) else f"{v:.2f}" for v in values]
    return shown.assign(fit_s=table["fit_s"], energy_wh=1000 * table["energy_kwh"])


def published_percent(models, dataset: str) -> dict[str, dict[str, float | str]]:
    """``PUBLISHED`` for each of our names; empty where nothing is published, IPD's for any dataset but PrivacyAlert.

    The SVM figures stand beside v1.0, as the source does not name a version.
    """
    of_dataset = PUBLISHED.get(dataset, PUBLISHED["ipd"])
    return {model: of_dataset.get(PUBLISHED_NAMES.get(model, model), {}) for model in models}


@dataclass(frozen=True)
class _Photos:
    """Rows of the samples table and their scene logits."""

    samples: pd.DataFrame
    scene_logits: np.ndarray

    def of(self, split: str) -> "_Photos":
        rows = (self.samples["split"] == split).to_numpy()
        return _Photos(self.samples[rows].reset_index(drop=True), self.scene_logits[rows])

    @property
    def labels(self) -> np.ndarray:
        return self.samples["label"].to_numpy(dtype=object)


@dataclass(frozen=True)
class _Fitted:
    """A model: its number of fitted parameters, what was chosen, and what gives class names and p_private of photos."""

    parameters: int
    chosen: str
    predict: Callable[[_Photos], tuple[np.ndarray, np.ndarray | float]]


def _check(samples: pd.DataFrame, scene_logits: np.ndarray) -> None:
    if missing := [c for c in ("image", "source", "label", "split") if c not in samples]:
        raise ValueError(f"samples lack the column(s) {missing}; needed: image, source, label, split")
    if np.shape(scene_logits) != (len(samples), len(SCENES)):
        raise ValueError(
            f"scene_logits have shape {np.shape(scene_logits)}, samples {len(samples)} rows; expected "
            f"({len(samples)}, {len(SCENES)}): one row for each row of samples, in the same order"
        )
    if (doubled := samples["image"].duplicated()).any():
        named = examples(samples.loc[doubled, "image"].unique())
        raise ValueError(f"samples name {doubled.sum()} image(s) more than once, such as {named}; each needs one row")
    cached_part(scene_logits, samples["label"])  # raises for other labels and for logits that are not finite
    check_samples(samples, 0 if (samples["split"] == "val").any() else "final")


def _fits(
    train: _Photos, val: _Photos, settings: Settings, svm_grid: str, workers: int
) -> dict[str, Callable[[], _Fitted]]:
    """What fits each model, by name, in the order of the table."""
    svm = partial(_fit_svm, train, svm_grid=svm_grid, workers=workers)
    models = {
        "all private": lambda: _Fitted(0, "", lambda photos: (_constant("private", photos), np.nan)),
        "all public": lambda: _Fitted(0, "", lambda photos: (_constant("public", photos), np.nan)),
        "random": lambda: _Fitted(0, f"seed {settings.seed}", lambda photos: (_coins(photos, settings.seed), np.nan)),
        "source alone": lambda: _fit_source(train),
        "logistic regression": lambda: _fit_logistic(train, val),
        "scenes + SVM": lambda: svm(features=np.asarray, scale=False),
        "scenes + SVM v1.1": lambda: svm(features=np.asarray, scale=True),
        "scenes + SVM v1.2": lambda: svm(features=top_tags, scale=False),
    }
    return models | {n: partial(_fit_mlp, train, val, settings, w) for n, w in MLP_WIDTHS.items()}


def _constant(label: str, photos: _Photos) -> np.ndarray:
    return np.full(len(photos.samples), label, dtype=object)


def _coins(photos: _Photos, seed: int) -> np.ndarray:
    """A fair coin a photo, thrown in the order of their names: the rows may come in any order."""
    names = photos.samples["image"].sort_values()
    coins = pd.Series(np.random.default_rng(seed).choice(CLASSES, len(names)), index=names.index)
    return coins.sort_index().to_numpy(dtype=object)


def _fit_source(train: _Photos) -> _Fitted:
    """The share of private photos of each source; that of all train photos for a source that train lacks."""
    is_private = train.samples["label"] == "private"
    shares = is_private.groupby(train.samples["source"]).mean()
    majority = ", ".join(f"{source}: {'private' if p >= 0.5 else 'public'}" for source, p in shares.items())

    def predict_source(photos: _Photos) -> tuple[np.ndarray, np.ndarray]:
        p_private = photos.samples["source"].map(shares).fillna(is_private.mean()).to_numpy(dtype=float)
        return _named(p_private), p_private

    return _Fitted(len(shares), majority, predict_source)


def _fit_logistic(train: _Photos, val: _Photos) -> _Fitted:
    judged = val if len(val.samples) else train
    model = fit_convex((train.scene_logits, train.labels), (judged.scene_logits, judged.labels))
    column = list(model.classes_).index("private")

    def predict_logistic(photos: _Photos) -> tuple[np.ndarray, np.ndarray]:
        p_private = model.predict_proba(photos.scene_logits)[:, column]
        return _named(p_private), p_private

    where = "val" if judged is val else "train"
    return _Fitted(model.coef_.size + model.intercept_.size, f"C={model.C:g} on {where}", predict_logistic)


def _fit_svm(train: _Photos, features: Callable, scale: bool, svm_grid: str, workers: int) -> _Fitted:
    model, chosen = fit_svm(features(train.scene_logits), train.labels, scale, svm_grid, workers)
    svm = model[-1]
    parameters = svm.coef_.size + svm.intercept_.size
    return _Fitted(parameters, chosen, lambda photos: (model.predict(features(photos.scene_logits)), np.nan))


def _failures(n: int, n_fits: int) -> str:
    return f", {n} of {n_fits} fits not converged" if n else ""


def _fit_mlp(train: _Photos, val: _Photos, settings: Settings, widths: tuple[int, ...]) -> _Fitted:
    parts = [cached_part(p.scene_logits, p.labels) if len(p.samples) else None for p in (train, val)]
    trained = fit(new_mlp(widths, settings.seed, settings.use_bce), *parts, settings)

    def predict_mlp(photos: _Photos) -> tuple[np.ndarray, np.ndarray]:
        p_private = predict(trained.head, photos.scene_logits)
        return _named(p_private), p_private

    chosen = f"epoch {trained.epoch} (from 0) of {len(trained.history)}, {trained.stopped}"
    return _Fitted(count_parameters(trained.head)["total"], chosen, predict_mlp)


def _named(p_private: np.ndarray) -> np.ndarray:
    return np.where(p_private >= 0.5, *CLASSES).astype(object)
