import json
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torchvision
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, log_loss
from torch import nn

from s2p_lib import batchnorm, datasets, engines, samples, scene_logits, training
from s2p_lib import model as s2p
from s2p_lib.config import Settings
from s2p_lib.metrics import MEASURES


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


def fit(head, train, val, settings, **more) -> training.Trained:
    return training.fit(head, training.cached_part(*train), val and training.cached_part(*val), settings, **more)


def without_times(history: pd.DataFrame) -> pd.DataFrame:
    return history.drop(columns="seconds")


@pytest.fixture(scope="module")
def trained():
    return fit(new_head(), made_part(1), made_part(2), Settings(max_epochs=300))


def test_same_seed_gives_the_same_bits_and_another_seed_does_not():
    parts = made_part(1), made_part(2)
    a, b, c = (fit(new_head(), *parts, Settings(max_epochs=5, seed=s)) for s in (1, 1, 2))
    assert torch.equal(a.head.weight, b.head.weight)
    assert without_times(a.history).equals(without_times(b.history))
    assert not torch.equal(a.head.weight, c.head.weight)


def test_the_given_head_stays_as_it_came():
    head = new_head()
    fit(head, made_part(1), made_part(2), Settings(max_epochs=2))
    assert torch.equal(head.weight, new_head().weight)


def test_training_ends_when_the_learning_rate_falls_below_the_minimum(trained):
    lrs = trained.history["lr"].unique()
    assert trained.stopped == "learning rate below 1e-05"
    assert lrs.min() >= 1e-5
    # 0.001 halved six times is 1.6e-5; the seventh halving ends training
    np.testing.assert_allclose(lrs, 0.001 * 0.5 ** np.arange(7))
    assert len(trained.history) >= 78


def test_the_learning_rate_follows_the_validation_loss():
    history = fit(new_head(), made_part(1), made_part(2), Settings(max_epochs=200, patience=3)).history
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
    assert trained.measure == measured.max()
    logits, labels = made_part(2)
    predicted = np.where(training.predict(trained.head, logits) >= 0.5, "private", "public")
    recalls = [(predicted == labels)[labels == name].mean() for name in samples.CLASSES]
    assert np.mean(recalls) == pytest.approx(trained.measure, abs=1e-12)


def test_training_ends_at_the_time_limit_and_at_the_last_epoch():
    parts = made_part(1, 50), made_part(2, 50)
    timed = fit(new_head(), *parts, Settings(max_hours=1e-12))
    counted = fit(new_head(), *parts, Settings(max_epochs=3))
    assert (len(timed.history), timed.stopped) == (1, "1e-12 h reached")
    assert (len(counted.history), counted.stopped) == (3, "max_epochs reached")


def test_the_epoch_loss_is_the_plain_mean_of_batch_means():
    """130 photos in batches of 100: the short batch counts as much as the full one."""
    val = made_part(2, 130)
    settings = Settings(max_epochs=1, lr=1e-12, min_lr=1e-20)
    trained = fit(new_head(), made_part(1, 100), val, settings)
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
    trained = fit(new_head(), part, part, settings)
    p_private = training.predict(new_head(), part[0])
    expected = log_loss(y, np.column_stack([p_private, 1 - p_private]), sample_weight=weights[y], labels=[0, 1])
    # 1e-5: float32 against float64
    assert trained.history["val_loss"][0] == pytest.approx(expected, rel=1e-5)
    plain = fit(new_head(), part, part, Settings(max_epochs=1, lr=1e-12, min_lr=1e-20))
    assert abs(plain.history["val_loss"][0] - expected) > 1e-3


def test_a_long_training_nears_the_convex_optimum():
    """Cross-entropy on a linear layer is convex, so scikit-learn's optimum bounds the training loss from below."""
    part = made_part(1, 1000)
    trained = fit(new_head(), part, made_part(2), Settings(lr=0.01, patience=50, max_epochs=400))
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
        fit(new_head(), (logits, labels), made_part(2), Settings(max_epochs=1))


def test_labels_are_coded_by_name():
    assert training.encode_labels(["public", "private"]).tolist() == [1, 0]
    with pytest.raises(ValueError, match=r"\['Private'\]; allowed: \('private', 'public'\)"):
        training.encode_labels(["Private", "public"])


def test_parts_are_split_by_name_of_split():
    table = pd.DataFrame({"split": ["test", "train", "test"], "label": ["public", "private", "public"]})
    parts = training.split_parts(table, np.arange(3 * 365, dtype=np.float32).reshape(3, 365))
    (rows,) = parts["train"].scene_logits([torch.tensor([0])])
    assert rows[0, 0] == 365
    assert parts["train"].labels.tolist() == [0]
    assert parts["test"].labels.tolist() == [1, 1]
    assert parts["val"] is None


def logits_of(head: nn.Linear, part) -> torch.Tensor:
    with torch.inference_mode():
        return head(torch.from_numpy(part[0]))


def test_the_history_has_the_loss_over_photos_beside_the_mean_of_batch_means(trained):
    val = made_part(2, 130)  # the last batch is a short one
    history = fit(new_head(), made_part(1), val, Settings(max_epochs=1, lr=1e-12, min_lr=1e-20)).history
    p_private = training.predict(new_head(), val[0])
    expected = log_loss(val[1] == "private", p_private)
    assert history["val_loss_over_photos"][0] == pytest.approx(expected, rel=1e-5)  # float32 against float64
    assert trained.history.columns.tolist() == training.HISTORY_COLUMNS


@pytest.mark.parametrize("measure", MEASURES)
def test_any_released_measure_picks_the_kept_epoch(measure):
    val = made_part(2, 100)
    trained = fit(new_head(), made_part(1, 100), val, Settings(max_epochs=40, measure=measure))
    measured = trained.history[f"val_{measure}"]
    assert trained.epoch == measured[measured == measured.max()].index[-1]
    predicted = np.where(training.predict(trained.head, val[0]) >= 0.5, "private", "public")
    expected = {
        "balanced_accuracy": balanced_accuracy_score(val[1], predicted),
        "accuracy": accuracy_score(val[1], predicted),
        "macro_f1_score": f1_score(val[1], predicted, average="macro"),
        "weighted_f1_score": f1_score(val[1], predicted, average="weighted"),
    }
    assert trained.measure == pytest.approx(expected[measure], abs=1e-12)


def test_bce_on_one_logit_is_the_cross_entropy_of_the_log_odds_of_public():
    val = made_part(2)
    settings = Settings(max_epochs=1, lr=1e-12, min_lr=1e-20, use_bce=True)
    head = s2p.S2P(nn.Identity(), use_bce=True).scene_to_privacy_layer
    trained = fit(head, made_part(1), val, settings)
    assert trained.head.weight.shape == (1, 365)
    p_public = torch.sigmoid(logits_of(head, val)[:, 0].double()).numpy()
    assert training.predict(head, val[0]) == pytest.approx(1 - p_public, abs=1e-12)
    expected = log_loss(val[1] == "public", p_public)
    assert trained.history["val_loss_over_photos"][0] == pytest.approx(expected, rel=1e-5)


def test_bce_and_cross_entropy_learn_the_same_task():
    train, val = made_part(1, 3000), made_part(2, 1000)
    found = {}
    for use_bce in (False, True):
        head = s2p.S2P(nn.Identity(), use_bce=use_bce).scene_to_privacy_layer
        found[use_bce] = training.predict(fit(head, train, val, Settings(max_epochs=60, use_bce=use_bce)).head, val[0])
    # Near, not equal: Adam halves the steps of the one logit, which has to go as far as the two together.
    assert np.corrcoef(found[True], found[False])[0, 1] > 0.95
    assert ((found[True] > 0.5) == (val[1] == "private")).mean() > 0.85  # 5 % of the labels are wrong


def test_sgd_takes_torchs_steps_at_the_released_cyclic_rates():
    """CyclicLR from lr to max_lr in 2000 steps, stepped once an epoch; momentum is used."""
    train, val = made_part(1, 130), made_part(2, 60)
    settings = Settings(optimizer="SGD", max_epochs=3, max_lr=0.5, momentum=0.8, weight_decay=0.01)
    history = fit(new_head(), train, val, settings, state_file=None).history
    assert history["lr"].tolist() == pytest.approx([0.001 + (0.5 - 0.001) * epoch / 2000 for epoch in range(3)])

    head = new_head().requires_grad_(True)
    optimizer = torch.optim.SGD(head.parameters(), lr=0.001, momentum=0.8, weight_decay=0.01)
    order = torch.Generator().manual_seed(settings.seed)
    x, y = torch.from_numpy(train[0]), training.encode_labels(train[1])
    for lr in history["lr"]:
        optimizer.param_groups[0]["lr"] = lr
        for batch in torch.randperm(130, generator=order).split(100):
            optimizer.zero_grad()
            nn.functional.cross_entropy(head(x[batch]), y[batch]).backward()
            optimizer.step()
    loss = nn.functional.cross_entropy(logits_of(head, val), training.encode_labels(val[1]))
    # 1e-5: float32 sums in another order
    assert history["val_loss_over_photos"].iloc[-1] == pytest.approx(float(loss), rel=1e-5)


def test_without_val_the_last_epoch_is_kept_and_train_steers_the_rate():
    trained = fit(new_head(), made_part(1), None, Settings(max_epochs=60, patience=2))
    assert (trained.epoch, trained.kind) == (len(trained.history) - 1, "last")
    assert trained.history.filter(like="val_").isna().all(axis=None)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        torch.optim.Adam([nn.Parameter(torch.zeros(1))], lr=0.001), mode="max", factor=0.5, patience=2
    )
    expected = []
    for measured in trained.history["train_balanced_accuracy"]:
        expected.append(scheduler.optimizer.param_groups[0]["lr"])
        scheduler.step(100 * measured)
    assert trained.history["lr"].tolist() == expected
    assert len(set(expected)) > 1


@pytest.mark.parametrize(("name", "value"), [("optimizer", "RMSprop"), ("measure", "recall")])
def test_an_unknown_option_names_the_known_ones(name, value):
    with pytest.raises(ValueError, match=f"{name}='{value}' is unknown; allowed: "):
        Settings(**{name: value})


def assert_same(a: training.Trained, b: training.Trained) -> None:
    """Bit for bit, times apart."""
    assert without_times(a.history).equals(without_times(b.history))
    assert (a.epoch, a.measure, a.stopped) == (b.epoch, b.measure, b.stopped)
    assert all(torch.equal(x, y) for x, y in zip(a.head.state_dict().values(), b.head.state_dict().values()))
    assert (a.statistics or {}).keys() == (b.statistics or {}).keys()
    assert all(torch.equal(tensor, b.statistics[name]) for name, tensor in (a.statistics or {}).items())


KILLED_IN_EPOCH = 7
KILLING = f"""
import os, signal, sys
from pathlib import Path
import test_training as here
from s2p_lib import training

moment, case, folder = sys.argv[1:]
write, calls = training.write_torch_file, []

def write_and_die(path, content):
    calls.append(path)
    if len(calls) < {KILLED_IN_EPOCH}:
        return write(path, content)
    if moment == "within":
        Path(f"{{path}}.part").write_bytes(b"half a state")
    if moment == "after":
        write(path, content)
    os.kill(os.getpid(), signal.SIGKILL)

training.write_torch_file = write_and_die
here.CASES[case](Path(folder) / "state.pth")
"""


def train_cached(state_file: Path | None) -> training.Trained:
    return fit(new_head(), made_part(1), made_part(2), Settings(max_epochs=20, patience=1), state_file=state_file)


def train_with_sgd(state_file: Path | None) -> training.Trained:
    settings = Settings(max_epochs=12, optimizer="SGD", weight_loss=True)
    return fit(new_head(), made_part(1), made_part(2), settings, state_file=state_file)


def train_released(state_file: Path | None) -> training.Trained:
    """A small network whose BatchNorm statistics change with every batch of random photos."""
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 365))
    model = s2p.S2P(backbone.eval().requires_grad_(False))
    photos = {name: FakePhotos(seed) for seed, name in enumerate(("train", "val"))}
    parts = {n: training.released_part(model, p, "cpu", n == "train") for n, p in photos.items()}
    settings = Settings(max_epochs=12, batch_size=30)
    return training.fit(
        model.scene_to_privacy_layer, parts["train"], parts["val"], settings, state_file, model.backbone
    )


def test_validation_in_released_mode_fits_itself_to_the_memory():
    """In eval mode a smaller batch changes nothing; a training batch must not shrink by itself."""
    model = s2p.S2P(Small(nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(192, 365)).eval()))
    train, val = (training.released_part(model, FakePhotos(0), "cpu", is_training) for is_training in (True, False))
    assert len(next(val.scene_logits([torch.arange(60)]))) == 60
    with pytest.raises(engines.OutOfMemory, match="batch_size=30"):
        next(train.scene_logits([torch.arange(60)]))


class Small(nn.Module):
    """A device whose memory holds 20 photos."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, x):
        if len(x) > 20:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return self.net(x)


class FakePhotos:
    """70 random photos of 8 x 8 pixels in place of ``batchnorm.PhotoBatches``; bright ones are private."""

    transform = "none"

    def __init__(self, seed: int):
        rng = np.random.default_rng(seed)
        self.samples = pd.DataFrame({"label": rng.choice(samples.CLASSES, 70)})
        self.key = str(seed)
        self.pixels = torch.from_numpy(rng.normal(size=(70, 3, 8, 8)).astype(np.float32))
        self.pixels += 0.3 * torch.tensor(self.samples["label"] == "private").view(-1, 1, 1, 1)

    def __call__(self, batches):
        return (self.pixels[batch] for batch in batches)


CASES = {"cached": train_cached, "sgd": train_with_sgd, "released": train_released}


@pytest.mark.parametrize("moment", ["before", "within", "after"])
@pytest.mark.parametrize("case", CASES)
def test_a_killed_training_ends_with_the_same_bits_as_one_that_was_not(case, moment, tmp_path, capsys):
    command = [sys.executable, "-c", KILLING, moment, case, str(tmp_path)]
    done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    resumed = CASES[case](tmp_path / "state.pth")
    last_whole = KILLED_IN_EPOCH - 1 if moment == "after" else KILLED_IN_EPOCH - 2
    assert f"going on after epoch {last_whole}" in capsys.readouterr().out
    assert_same(resumed, CASES[case](None))


@pytest.mark.parametrize(("owner", "name", "call"), [(FakePhotos, "__call__", 11), (training, "photo_losses", 27)])
def test_ctrl_c_gives_the_best_epoch_so_far_and_a_state_to_go_on_from(owner, name, call, tmp_path, monkeypatch):
    """In the middle of an epoch, while photos are loaded or while a step is taken."""
    calls = []
    usual = getattr(owner, name)

    def interrupted(*args):
        calls.append(0)
        if len(calls) == call:
            raise KeyboardInterrupt
        return usual(*args)

    with monkeypatch.context() as patched:
        patched.setattr(owner, name, interrupted)
        stopped = train_released(tmp_path / "state.pth")
    n = len(stopped.history)
    assert stopped.stopped == f"interrupted after {n} epochs"
    whole = train_released(None)
    assert 0 < n < len(whole.history)
    assert without_times(stopped.history).equals(without_times(whole.history).head(n))
    assert stopped.measure == stopped.history["val_balanced_accuracy"].max()
    assert_same(train_released(tmp_path / "state.pth"), whole)


def test_ctrl_c_before_the_first_epoch_ends_is_not_swallowed(monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "photo_losses", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_cached(None)


@pytest.mark.parametrize("change", ["settings", "head", "data", "damaged", "hostile", "fewer epochs"])
def test_the_state_of_another_training_is_not_used(change, tmp_path, capsys):
    state = tmp_path / "state.pth"
    train, val, settings = made_part(1), made_part(2), Settings(max_epochs=3)
    fit(new_head(), train, val, settings, state_file=state)
    head = new_head(1 if change == "head" else 0)
    if change == "settings":
        settings = Settings(max_epochs=3, lr=0.002)
    if change == "fewer epochs":
        settings = Settings(max_epochs=2)
    if change == "data":
        train[0][0, 0] += 1
    if change == "damaged":
        state.write_bytes(state.read_bytes()[:-100])
    if change == "hostile":
        state.write_bytes(pickle.dumps(Trap(tmp_path / "trapped")))
    trained = fit(head, train, val, settings, state_file=state)
    assert "anew" in capsys.readouterr().out
    assert not (tmp_path / "trapped").exists()
    assert_same(trained, fit(head, train, val, settings))


class Trap:
    """Unpickling it writes a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.write_text, (self.path, "ran")


def test_a_finished_training_is_not_trained_again(tmp_path, monkeypatch):
    first = train_cached(tmp_path / "state.pth")
    monkeypatch.setattr(training, "_epoch", None)  # an epoch would fail
    assert_same(train_cached(tmp_path / "state.pth"), first)


def test_a_training_goes_on_when_its_limit_is_raised(tmp_path):
    train, val = made_part(1), made_part(2)
    fit(new_head(), train, val, Settings(max_epochs=3), state_file=tmp_path / "state.pth")
    more = fit(new_head(), train, val, Settings(max_epochs=8, max_hours=24), state_file=tmp_path / "state.pth")
    assert_same(more, fit(new_head(), train, val, Settings(max_epochs=8)))


def test_training_in_released_mode_changes_batchnorm_and_nothing_else_of_the_backbone():
    model = s2p.S2P(nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8 * 36, 365)).eval())
    before = {name: tensor.clone() for name, tensor in model.backbone.state_dict().items()}
    train, val = (training.released_part(model, FakePhotos(i), "cpu", i == 0) for i in range(2))
    trained = training.fit(
        model.scene_to_privacy_layer, train, val, Settings(max_epochs=4, batch_size=30), backbone=model.backbone
    )
    after = model.backbone.state_dict()
    assert batchnorm.count_changes(before, after) == {"batchnorm_buffers": 3, "other_tensors": 0}
    assert after["1.num_batches_tracked"] == 4 * 3  # 70 photos in batches of 30, the short one included
    assert trained.statistics["1.num_batches_tracked"] == (trained.epoch + 1) * 3  # those of the kept epoch


@pytest.fixture(scope="module")
def reference_photos(reference, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("reference") / "ipd"
    subprocess.run([sys.executable, reference / "make_reference_ipd.py", folder], check=True)
    return folder


@pytest.mark.parametrize("bn_mode", ["frozen", "released"])
def test_training_gives_the_recorded_figures_of_the_released_trainer(bn_mode, reference, reference_photos, tmp_path):
    """An equal procedure agrees to 1e-4 on any processor: losses, rates, head, BatchNorm, logits of the test photos."""
    recorded = json.loads((reference / f"{bn_mode}_bn.json").read_text())
    table, *_ = datasets.read("ipd", reference_photos)
    torch.manual_seed(0)
    model = s2p.S2P(torchvision.models.resnet50(num_classes=365)).eval()
    model.backbone.requires_grad_(False)
    transform, head = s2p.photo_transform(448), nn.Linear(365, 2)
    head.weight.data, head.bias.data = torch.tensor(recorded["init_weight"]), torch.tensor(recorded["init_bias"])
    settings, state_file = Settings(patience=2, max_epochs=6), tmp_path / "state.pth"
    if bn_mode == "released":
        of_split = {split: table[table["split"] == split].reset_index(drop=True) for split in ("train", "val")}
        train, val = (
            training.released_part(
                model, batchnorm.PhotoBatches(rows, reference_photos, transform, 2), "cpu", split == "train"
            )
            for split, rows in of_split.items()
        )
        trained = training.fit(head, train, val, settings, state_file, model.backbone)
        # Recorded is the last epoch, the kept one may be another.
        batchnorm.set_statistics(model.backbone, s2p.read_torch_file(state_file)["statistics"])
    logits, _ = scene_logits.extract_scene_logits(table, reference_photos, model, transform, tmp_path / "cache")
    if bn_mode == "frozen":
        parts = training.split_parts(table, logits)
        trained = training.fit(head, parts["train"], parts["val"], settings, state_file)
    expected = pd.DataFrame(recorded["epochs"])
    for ours, theirs in {
        "train_loss": "train_loss",
        "val_loss": "val_loss",
        "lr": "lr",
        "train_balanced_accuracy": "train_ba",
        "val_balanced_accuracy": "val_ba",
    }.items():
        np.testing.assert_allclose(trained.history[ours], expected[theirs], rtol=1e-4, atol=1e-4, err_msg=ours)
    last = s2p.read_torch_file(state_file)["head"]
    np.testing.assert_allclose(last["weight"], recorded["final_weight"], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(last["bias"], recorded["final_bias"], rtol=1e-4, atol=1e-4)
    for name, layer in batchnorm.batchnorm_layers(model.backbone).items():
        mean, var = layer.running_mean, layer.running_var
        ours = [float(v) for v in (mean.mean(), mean.abs().sum(), var.mean(), layer.num_batches_tracked)]
        np.testing.assert_allclose(ours, recorded["batchnorm"][name], rtol=1e-4, atol=1e-4, err_msg=name)
    assert len(recorded["batchnorm"]) == 53
    head.load_state_dict(last)
    by_name = dict(zip(table["image"], logits))
    for photo in recorded["test"]:
        scene = by_name[photo["image"].split("/")[-1].removesuffix(".png")]
        with torch.inference_mode():
            privacy = head(torch.from_numpy(scene))
        np.testing.assert_allclose(privacy, photo["privacy_logits"], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(scene[:8], photo["scene_logits_head"], rtol=1e-4, atol=1e-4)
        # A sum of 365 numbers, each right to 1e-4 of its size.
        np.testing.assert_allclose(scene.sum(), photo["scene_logits_sum"], rtol=1e-4, atol=1e-4 * np.abs(scene).sum())
