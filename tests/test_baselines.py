import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, recall_score
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from torch import nn

from s2p_lib import baselines, plots, training
from s2p_lib.config import Settings
from s2p_lib.metrics import CARD_PERCENT
from s2p_lib.samples import CLASSES

FEW_EPOCHS = Settings(max_epochs=3)


def made_photos(seed: int = 0, n: int = 150) -> tuple[pd.DataFrame, np.ndarray]:
    """Photos of which scene 0 tells the label, with noise; those of source a are all private, as VISPR's in IPD."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(CLASSES, n, p=[0.4, 0.6])
    logits = rng.normal(size=(n, 365)).astype(np.float32)
    logits[:, 0] += np.where(labels == "private", 2.0, -2.0)
    source = np.where((labels == "private") & (rng.random(n) < 0.7), "a", "b")
    table = pd.DataFrame({"image": [f"p{i}" for i in range(n)], "source": source, "label": labels})
    return table.assign(split=rng.choice(["train", "val", "test"], n, p=[0.5, 0.2, 0.3])), logits


def rows_of(samples: pd.DataFrame, split: str) -> np.ndarray:
    return (samples["split"] == split).to_numpy()


@pytest.fixture(scope="module")
def fitted() -> tuple[pd.DataFrame, pd.DataFrame]:
    return baselines.fit_baselines(*made_photos(), FEW_EPOCHS, "quick", workers=2)


def test_the_table_names_each_model_its_parameters_time_and_energy(fitted):
    table, _ = fitted
    parameters = dict(zip(table["model"], table["parameters_optimised"]))
    assert list(parameters) == [
        *("all private", "all public", "random", "source alone", "logistic regression"),
        *("scenes + SVM", "scenes + SVM v1.1", "scenes + SVM v1.2", "S2P-MLP", "S2P-MLP v1.1"),
    ]
    # 365 x 182 + 182 + 182 x 2 + 2, and 365 x 182 + 182 + 182 x 91 + 91 + 91 x 2 + 2, as published
    assert list(parameters.values()) == [0, 0, 0, 2, 366, 366, 366, 366, 66_978, 83_449]
    assert list(table.columns[-9:]) == list(CARD_PERCENT)
    assert (table["fit_s"] > 0).all()
    assert (table["energy_kwh"] > 0).all()


def test_figures_are_those_of_the_predictions_by_scikit_learn(fitted):
    table, predictions = fitted
    for row in table.itertuples():
        of_model = predictions[predictions["model"] == row.model]
        assert row.balanced_accuracy == pytest.approx(
            balanced_accuracy_score(of_model["label"], of_model["prediction"])
        )
        recall = recall_score(of_model["label"], of_model["prediction"], pos_label="private")
        assert row.private_recall == pytest.approx(recall)


def test_predictions_hold_each_test_photo_once_a_model_with_its_own_label(fitted):
    _, predictions = fitted
    samples, _ = made_photos()
    labels = samples[samples["split"] == "test"].set_index("image")["label"]
    for _, of_model in predictions.groupby("model"):
        assert of_model.set_index("image")["label"].sort_index().equals(labels.sort_index())


def test_a_probability_says_what_is_predicted_and_svms_and_constants_give_none(fitted):
    _, predictions = fitted
    given = predictions.dropna(subset="p_private")
    with_probability = {"source alone", "logistic regression", "S2P-MLP", "S2P-MLP v1.1"}
    assert set(given["model"]) == with_probability
    assert ((given["p_private"] >= 0.5) == (given["prediction"] == "private")).all()


def test_constants_say_one_class_and_the_source_its_majority(fitted):
    _, predictions = fitted
    by_model = {name: part.set_index("image")["prediction"] for name, part in predictions.groupby("model")}
    assert set(by_model["all private"]) == {"private"}
    assert set(by_model["all public"]) == {"public"}
    source = made_photos()[0].set_index("image")["source"]
    said = by_model["source alone"]
    assert (said == source[said.index].map({"a": "private", "b": "public"})).all()


def test_no_model_depends_on_the_order_of_test_photos(fitted):
    samples, logits = made_photos()
    order = np.arange(len(samples))
    test = np.flatnonzero(rows_of(samples, "test"))
    order[test] = test[::-1]
    _, predictions = baselines.fit_baselines(samples.iloc[order], logits[order], FEW_EPOCHS, "quick", workers=2)
    both = fitted[1].merge(predictions, on=["image", "model"], suffixes=("", "_reversed"), validate="one_to_one")
    assert (both["prediction"] == both["prediction_reversed"]).all()


def test_the_coin_is_fair_and_follows_the_seed():
    photos = baselines._Photos(pd.DataFrame({"image": [f"p{i}" for i in range(10_000)]}), np.empty((10_000, 365)))
    a, b = (baselines._coins(photos, seed) for seed in (1, 2))
    assert (a != b).any()
    # five standard deviations of a fair coin's share of heads
    assert abs((a == "private").mean() - 0.5) < 5 * 0.5 / 100


@pytest.mark.parametrize("scale", [False, True])
def test_the_grid_gives_the_first_best_of_scikit_learns_cross_validation(scale):
    samples, logits = made_photos(3)
    rows = rows_of(samples, "train")
    x, y = logits[rows, :20], samples.loc[rows, "label"].to_numpy(dtype=object)

    def model(C: float, class_weight: str | None):
        svm = LinearSVC(C=C, class_weight=class_weight, dual=False, max_iter=10_000)
        return make_pipeline(*([StandardScaler()] if scale else []), svm)

    means = {
        (C, weight): cross_val_score(model(C, weight), x, y, scoring="balanced_accuracy", cv=StratifiedKFold(5)).mean()
        for C in (0.1, 0.5, 1, 1.5, 2, 5, 10, 100, 1000)
        for weight in (None, "balanced")
    }
    best = max(means, key=means.get)  # the first of equals
    fitted, chosen = baselines.fit_svm(x, y, scale, workers=2)
    assert chosen == f"C={best[0]}, class_weight={best[1]}"
    # liblinear stops at a relative gradient of 1e-4
    np.testing.assert_allclose(fitted[-1].coef_, model(*best).fit(x, y)[-1].coef_, rtol=1e-2, atol=1e-3)


def test_the_same_grid_in_scikit_learns_own_search_gives_the_same_choice():
    samples, logits = made_photos(4)
    x, y = logits[:, :5], samples["label"].to_numpy(dtype=object)
    grid = {"C": baselines.SVM_C, "class_weight": [None, "balanced"]}
    svm = LinearSVC(dual=False, max_iter=10_000)
    search = GridSearchCV(svm, grid, scoring="balanced_accuracy", cv=5).fit(x, y)
    _, chosen = baselines.fit_svm(x, y, scale=False)
    assert chosen == ", ".join(f"{name}={value}" for name, value in search.best_params_.items())


@pytest.mark.parametrize("class_weight", [None, "balanced"])
@pytest.mark.parametrize("dual", [False, True])
def test_the_svm_has_the_optimum_of_both_of_liblinears_solvers(dual, class_weight):
    samples, logits = made_photos(5)
    x, y = logits[:, :5], samples["label"]
    ours = baselines.SquaredHingeSVM(0.5, class_weight).fit(x, y)
    given = {"C": 0.5, "class_weight": class_weight, "max_iter": 1_000_000, "tol": 1e-8, "random_state": 0}
    theirs = LinearSVC(dual=dual, **given).fit(x, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-6)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, atol=1e-6)
    assert (ours.predict(x) == theirs.predict(x)).all()


def test_features_that_go_together_do_not_slow_the_svm_down():
    """liblinear needs hundreds of steps here, each with many products of the data."""
    rng = np.random.default_rng(0)
    rotation, _ = np.linalg.qr(rng.normal(size=(50, 50)))
    x = rng.normal(size=(400, 50)) * np.logspace(1, -3, 50) @ rotation
    y = np.where(x @ rng.normal(size=50) + rng.logistic(size=400) > 0, *CLASSES)
    svm = baselines.SquaredHingeSVM(10).fit(x, y)
    sign = np.where(y == svm.classes_[1], 1, -1)
    short = np.maximum(0, 1 - sign * svm.decision_function(x))
    w = np.r_[svm.coef_[0], svm.intercept_]
    gradient = w - 2 * 10 * np.c_[x, np.ones(400)].T @ (sign * short)
    assert svm.converged_
    assert np.abs(gradient).max() < 1e-8 * 2 * 10 * 400  # as asked of the solver, which divides by the sum of the costs


def test_fewer_photos_of_a_class_than_folds_make_fewer_folds_and_one_photo_no_grid():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 6)).astype(np.float32)
    three, one = (np.where(np.arange(40) < n, "private", "public") for n in (3, 1))
    assert baselines.fit_svm(x, three, scale=True)[1].endswith("3 folds: only 3 private photos")
    assert baselines.fit_svm(x, one, scale=True)[1].endswith("no grid, no folds: only 1 private photo")


def test_fits_that_do_not_converge_are_counted_without_a_warning_each(monkeypatch):
    monkeypatch.setitem(baselines.SVM_OPTIONS, "maxiter", 1)
    samples, logits = made_photos(6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, chosen = baselines.fit_svm(logits, samples["label"], scale=False, workers=2)
    assert chosen.endswith("91 of 91 fits not converged")


def test_tags_are_the_ten_largest_scenes_also_among_equals():
    logits = np.random.default_rng(0).normal(size=(5, 365)).astype(np.float32)
    logits[4] = 1.0
    tags = baselines.top_tags(logits)
    assert (tags.sum(axis=1) == 10).all()
    for row in range(4):
        assert logits[row][tags[row] == 1].min() > logits[row][tags[row] == 0].max()


def test_mlp_weights_are_xavier_uniform_and_biases_zero():
    first, relu, second, _, last = baselines.new_mlp((182, 91), seed=1)
    assert isinstance(relu, nn.ReLU)
    for layer in (first, second, last):
        bound = (6 / (layer.in_features + layer.out_features)) ** 0.5
        largest = layer.weight.abs().max().item()
        assert 0.9 * bound < largest <= bound  # of at least 182 uniform draws one lies in the outer tenth
        assert not layer.bias.any()
    assert not torch.equal(first.weight, baselines.new_mlp((182, 91), seed=2)[0].weight)


def test_an_interrupted_mlp_training_goes_on_to_the_same_bits(tmp_path):
    samples, logits = made_photos()
    parts = [
        training.cached_part(logits[rows_of(samples, s)], samples[rows_of(samples, s)]["label"])
        for s in ("train", "val")
    ]
    head = baselines.new_mlp((182,), seed=7)
    whole = training.fit(head, *parts, Settings(max_epochs=6))
    training.fit(head, *parts, Settings(max_epochs=3), tmp_path / "state.pth")
    resumed = training.fit(head, *parts, Settings(max_epochs=6), tmp_path / "state.pth")
    assert len(resumed.history) == 6
    for name, tensor in whole.head.state_dict().items():
        assert torch.equal(tensor, resumed.head.state_dict()[name])
    np.testing.assert_array_equal(training.predict(whole.head, logits), training.predict(resumed.head, logits))


def test_an_mlp_is_trained_as_s2p_with_its_kept_epoch_chosen_on_val():
    samples, logits = made_photos()
    settings = Settings(max_epochs=25)
    table, predictions = baselines.fit_baselines(samples, logits, settings, "quick", workers=1)
    parts = [
        training.cached_part(logits[rows_of(samples, s)], samples.loc[rows_of(samples, s), "label"])
        for s in ("train", "val")
    ]
    trained = training.fit(baselines.new_mlp((182, 91), settings.seed), *parts, settings)
    chosen = table.set_index("model").loc["S2P-MLP v1.1", "chosen"]
    assert chosen == f"epoch {trained.epoch} (from 0) of 25, max_epochs reached"
    p_private = predictions.loc[predictions["model"] == "S2P-MLP v1.1", "p_private"]
    # the same steps on another number of threads add in another order
    np.testing.assert_allclose(p_private, training.predict(trained.head, logits[rows_of(samples, "test")]), atol=1e-4)


def test_without_val_the_last_epoch_and_train_decide():
    samples, logits = made_photos()
    samples["split"] = samples["split"].replace("val", "train")
    table, _ = baselines.fit_baselines(samples, logits, FEW_EPOCHS, "quick", workers=1)
    chosen = table.set_index("model")["chosen"]
    assert chosen["logistic regression"].endswith("on train")
    assert chosen["S2P-MLP"].startswith("epoch 2 (from 0) of 3")


def test_one_logit_and_one_source_work_too():
    samples, logits = made_photos()
    settings = Settings(max_epochs=3, use_bce=True)
    table, _ = baselines.fit_baselines(samples.assign(source="own"), logits, settings, "quick", workers=1)
    by_model = table.set_index("model")
    assert by_model.loc["S2P-MLP", "parameters_optimised"] == 66_978 - 183
    assert by_model.loc["source alone", "chosen"] == "own: public"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s, x: (s.drop(columns="source"), x), "lack the column"),
        (lambda s, x: (s, x[:-1]), r"\(149, 365\), samples 150 rows"),
        (lambda s, x: (s.assign(image="p0"), x), "149 image"),
        (lambda s, x: (s.assign(label="secret"), x), "secret"),
        (lambda s, x: (s, np.where(np.arange(150)[:, None] == 3, np.nan, x)), "1 of 150 photos are not finite"),
        (lambda s, x: (s[s["split"] != "test"], x[~rows_of(s, "test")]), "split 'test' has no private"),
    ],
)
def test_tables_that_do_not_fit_are_refused(spoil, message):
    with pytest.raises(ValueError, match=message):
        baselines.fit_baselines(*spoil(*made_photos()), FEW_EPOCHS, "quick")


def test_an_unknown_grid_is_refused():
    with pytest.raises(ValueError, match="allowed: published, quick"):
        baselines.fit_baselines(*made_photos(), FEW_EPOCHS, "fine")


def test_published_figures_stand_beside_ours_in_percent(fitted):
    table, _ = fitted
    ipd = baselines.beside_published(table, "ipd").set_index("model")
    alert = baselines.beside_published(table.replace("logistic regression", "S2P"), "privacyalert").set_index("model")
    svm = ["published private_recall", "published balanced_accuracy", "published accuracy"]
    assert list(ipd.loc["scenes + SVM", svm]) == ["81.42", "83.08", ""]
    assert list(alert.loc["scenes + SVM", svm]) == ["79.78", "78.48", ""]
    assert list(alert.loc["S2P", svm]) == ["", "> 75", "> 80"]
    assert (ipd.loc[["S2P-MLP", "scenes + SVM v1.1"], svm] == "").all(axis=None)
    assert ipd.loc["all private", "private_recall"] == 100


def test_the_plot_draws_a_published_figure_only_where_there_is_one(fitted):
    table, _ = fitted
    axes = plots.plot_baselines(table, baselines.published_percent(table["model"], "ipd")).axes[0]
    drawn = {line.get_label(): line.get_xdata() for line in axes.lines}
    assert list(drawn["private recall, published"]) == [81.42]
    np.testing.assert_allclose(drawn["balanced accuracy"], 100 * table["balanced_accuracy"])
    assert len(plots.plot_baselines(table).axes[0].lines) == 2


@pytest.mark.parametrize("bn_mode", ["frozen", "released"])
def test_s2p_stands_first_with_its_time_and_the_energy_of_its_stage_in_proportion(bn_mode):
    stage = {"duration_s": 40.0, "energy_kwh": 0.008, "energy_source": "NVML"}
    training = {"parameters": {"optimised": 732}, "kept_epoch": 3, "epochs": 9, "stopped": "12 hours"}
    manifest = {"stages": {"train": stage}, "training": training, "parameters": {"bn_mode": bn_mode}}
    evaluation = {"figures": {"accuracy": {"value": 0.7}}}
    others = pd.DataFrame([{"model": "random", "accuracy": 0.5}])
    table = baselines.with_s2p(others, evaluation, manifest, pd.DataFrame({"seconds": [2.0, 10.0]}))
    assert table["model"].tolist() == ["S2P", "random"]
    s2p = table.iloc[0]
    assert (s2p["fit_s"], s2p["energy_kwh"], s2p["energy_source"]) == (10.0, pytest.approx(0.002), "NVML")
    assert (s2p["parameters_optimised"], s2p["accuracy"]) == (732, 0.7)
    assert ("the backbone's passes" in s2p["chosen"]) == (bn_mode == "released")
