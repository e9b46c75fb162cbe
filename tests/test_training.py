import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
import torchvision
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from torch import nn

from s2p_lib import model as s2p
from s2p_lib import samples, scene_logits, training
from s2p_lib.training import Settings


def made_part(seed: int, n: int = 300) -> tuple[np.ndarray, pd.Series]:
    """Scene logits whose first scene tells the label, with some labels wrong."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(samples.CLASSES, n, p=[1 / 3, 2 / 3])
    logits = rng.normal(size=(n, 365)).astype(np.float32)
    logits[:, 0] += np.where(labels == "private", 2.0, -2.0)
    flipped = rng.random(n) < 0.05
    return logits, pd.Series(np.where(flipped, "public", labels))


def new_head(seed: int = 0) -> nn.Linear:
    return s2p.S2P(nn.Identity(), seed).scene_to_privacy_layer


@pytest.fixture(scope="module")
def trained():
    return training.fit_head(new_head(), made_part(1), made_part(2), Settings(max_epochs=300))


def test_same_seed_gives_the_same_bits_and_another_seed_does_not():
    parts = made_part(1), made_part(2)
    a, b, c = (training.fit_head(new_head(), *parts, Settings(max_epochs=5, seed=s)) for s in (1, 1, 2))
    assert torch.equal(a.head.weight, b.head.weight)
    assert a.history.drop(columns="seconds").equals(b.history.drop(columns="seconds"))
    assert not torch.equal(a.head.weight, c.head.weight)


def test_the_given_head_stays_as_it_came():
    head = new_head()
    training.fit_head(head, made_part(1), made_part(2), Settings(max_epochs=2))
    assert torch.equal(head.weight, new_head().weight)


def test_training_ends_when_the_learning_rate_falls_below_the_minimum(trained):
    lrs = trained.history["lr"].unique()
    assert trained.stopped == "learning rate below 1e-05"
    assert lrs.min() >= 1e-5
    # 0.001 halved six times is 1.6e-5; the seventh halving ends training
    np.testing.assert_allclose(lrs, 0.001 * 0.5 ** np.arange(7))
    assert len(trained.history) >= 78


def test_the_learning_rate_follows_the_validation_loss():
    history = training.fit_head(new_head(), made_part(1), made_part(2), Settings(max_epochs=200, patience=3)).history
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        torch.optim.Adam([nn.Parameter(torch.zeros(1))], lr=0.001), factor=0.5, patience=3
    )
    expected = []
    for loss in history["val_loss"]:
        expected.append(scheduler.optimizer.param_groups[0]["lr"])
        scheduler.step(loss)
    assert history["lr"].tolist() == expected


def test_the_kept_epoch_is_the_last_of_the_best(trained):
    measured = trained.history["val_balanced_accuracy"]
    assert trained.epoch == measured[measured == measured.max()].index[-1]
    assert trained.balanced_accuracy == measured.max()
    logits, labels = made_part(2)
    predicted = np.where(training.predict(trained.head, logits) >= 0.5, "private", "public")
    recalls = [(predicted == labels)[labels == name].mean() for name in samples.CLASSES]
    assert np.mean(recalls) == pytest.approx(trained.balanced_accuracy, abs=1e-12)


def test_training_ends_at_the_time_limit_and_at_the_last_epoch():
    parts = made_part(1, 50), made_part(2, 50)
    timed = training.fit_head(new_head(), *parts, Settings(max_hours=1e-12))
    counted = training.fit_head(new_head(), *parts, Settings(max_epochs=3))
    assert (len(timed.history), timed.stopped) == (1, "1e-12 h reached")
    assert (len(counted.history), counted.stopped) == (3, "max_epochs reached")


def test_the_epoch_loss_is_the_plain_mean_of_batch_means():
    """130 photos in batches of 100: the short batch counts as much as the full one."""
    val = made_part(2, 130)
    settings = Settings(max_epochs=1, lr=1e-12, min_lr=1e-20)
    trained = training.fit_head(new_head(), made_part(1, 100), val, settings)
    order = torch.randperm(130, generator=torch.Generator().manual_seed(settings.seed))
    x, y = torch.from_numpy(val[0]), training.encode_labels(val[1])
    with torch.inference_mode():
        losses = [float(nn.functional.cross_entropy(new_head()(x[b]), y[b])) for b in order.split(100)]
    # 1e-6: float32; a mean over photos instead would differ in the second digit
    assert trained.history["val_loss"][0] == pytest.approx(np.mean(losses), rel=1e-6)
    assert abs(losses[0] - losses[1]) > 1e-3


def test_weighted_loss_counts_the_rarer_class_more():
    """As scikit-learn's log_loss with the weight of its class for each photo."""
    part = made_part(1, 90)
    y = training.encode_labels(part[1])
    weights = training.class_weights(y)
    assert weights.tolist() == pytest.approx([(part[1] == "public").mean(), (part[1] == "private").mean()])
    settings = Settings(max_epochs=1, lr=1e-12, min_lr=1e-20, weight_loss=True)
    trained = training.fit_head(new_head(), part, part, settings)
    p_private = training.predict(new_head(), part[0])
    expected = log_loss(y, np.column_stack([p_private, 1 - p_private]), sample_weight=weights[y], labels=[0, 1])
    # 1e-5: float32 against float64
    assert trained.history["val_loss"][0] == pytest.approx(expected, rel=1e-5)
    plain = training.fit_head(new_head(), part, part, Settings(max_epochs=1, lr=1e-12, min_lr=1e-20))
    assert abs(plain.history["val_loss"][0] - expected) > 1e-3


def test_a_long_training_nears_the_convex_optimum():
    """Cross-entropy on a linear layer is convex, so scikit-learn's optimum bounds the training loss from below."""
    part = made_part(1, 1000)
    trained = training.fit_head(new_head(), part, made_part(2), Settings(lr=0.01, patience=50, max_epochs=400))
    optimum = LogisticRegression(C=np.inf, max_iter=5000).fit(*part)
    p = optimum.predict_proba(part[0])[np.arange(1000), (part[1] == "public").astype(int)]
    best = -np.log(p).mean()
    assert trained.history["train_loss"].min() >= best - 1e-6
    assert trained.history["train_loss"].iloc[-1] < best + 0.02


def test_predict_gives_the_probability_of_private():
    head = nn.Linear(365, 2)
    nn.init.zeros_(head.weight)
    head.bias.data = torch.tensor([np.log(3.0), 0.0], dtype=torch.float32)
    assert training.predict(head, np.zeros((1, 365), np.float32)) == pytest.approx([0.75], abs=1e-7)


def test_scene_logits_of_unreadable_photos_are_refused():
    logits, labels = made_part(1, 20)
    logits[3] = np.nan
    with pytest.raises(ValueError, match="1 of 20 photos are not finite"):
        training.fit_head(new_head(), (logits, labels), made_part(2), Settings(max_epochs=1))


def test_labels_are_coded_by_name():
    assert training.encode_labels(["public", "private"]).tolist() == [1, 0]
    with pytest.raises(ValueError, match=r"\['Private'\]; allowed: \('private', 'public'\)"):
        training.encode_labels(["Private", "public"])


def test_parts_are_split_by_name_of_split():
    table = pd.DataFrame({"split": ["val", "train", "test"], "label": ["public", "private", "public"]})
    parts = training.split_parts(table, np.arange(3 * 365, dtype=np.float32).reshape(3, 365))
    assert parts["train"][0][0, 0] == 365
    assert parts["train"][1].tolist() == ["private"]


def test_frozen_training_gives_the_recorded_figures_of_the_released_trainer(reference, tmp_path):
    """Losses, learning rates, head and test logits of an equal procedure agree to 1e-4 on any processor."""
    subprocess.run([sys.executable, reference / "make_reference_ipd.py", tmp_path / "ipd"], check=True)
    recorded = json.loads((reference / "frozen_bn.json").read_text())
    torch.manual_seed(0)
    model = s2p.S2P(torchvision.models.resnet50(num_classes=365)).eval()
    table, _ = samples.read_ipd(tmp_path / "ipd")
    logits, _ = scene_logits.extract_scene_logits(
        table, tmp_path / "ipd", model, s2p.photo_transform(448), tmp_path / "cache", batch_size=8
    )
    head = nn.Linear(365, 2)
    head.weight.data, head.bias.data = torch.tensor(recorded["init_weight"]), torch.tensor(recorded["init_bias"])
    parts = training.split_parts(table, logits)
    trained = training.fit_head(head, parts["train"], parts["val"], Settings(patience=2, max_epochs=6))
    expected = pd.DataFrame(recorded["epochs"])
    for ours, theirs in {
        "train_loss": "train_loss",
        "val_loss": "val_loss",
        "lr": "lr",
        "train_balanced_accuracy": "train_ba",
        "val_balanced_accuracy": "val_ba",
    }.items():
        np.testing.assert_allclose(trained.history[ours], expected[theirs], rtol=1e-4, atol=1e-4, err_msg=ours)
    by_name = dict(zip(table["image"], logits))
    for photo in recorded["test"]:
        scene = by_name[photo["image"].split("/")[-1].removesuffix(".png")]
        np.testing.assert_allclose(scene[:8], photo["scene_logits_head"], rtol=1e-4, atol=1e-4)
