import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from s2p_lib import model as s2p
from s2p_lib import samples, training
from s2p_lib.config import Settings
from s2p_lib.many_heads import Job, fit_many, jobs_for_seeds

N = 420


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, pd.Series]:
    """Scene logits [420, 365] whose first scene tells the label."""
    rng = np.random.default_rng(0)
    labels = rng.choice(samples.CLASSES, N, p=[1 / 3, 2 / 3])
    logits = rng.normal(size=(N, 365)).astype(np.float32)
    logits[:, 0] += np.where(labels == "private", 2.0, -2.0)
    return logits, pd.Series(labels)


def job(fold: int = 0, seed: int = 789, **settings) -> Job:
    """Fold k of three, of different sizes."""
    val = np.arange(N)[fold :: 3 + fold]
    head = s2p.S2P(nn.Identity(), seed, settings.get("use_bce", False)).scene_to_privacy_layer
    return Job(head, Settings(seed=seed, **settings), np.setdiff1d(np.arange(N), val), val)


def alone(data, one: Job) -> training.Trained:
    logits, labels = data
    train, val = (
        training.cached_part(logits[rows], labels[rows]) if len(rows) else None for rows in (one.train, one.val)
    )
    return training.fit(one.head, train, val, one.settings)


def assert_near(many: training.Trained, one: training.Trained) -> None:
    """1e-5: float32 sums in another order, over some hundred steps."""
    assert (many.epoch, many.stopped, many.kind) == (one.epoch, one.stopped, one.kind)
    np.testing.assert_allclose(many.head.weight, one.head.weight, atol=1e-5)
    np.testing.assert_allclose(many.head.bias, one.head.bias, atol=1e-5)
    a, b = (t.history.drop(columns="seconds") for t in (many, one))
    np.testing.assert_allclose(a, b, atol=1e-5)
    assert many.measure == pytest.approx(one.measure, abs=1e-12)


def test_seeds_folds_and_settings_together_end_as_each_would_alone(data):
    jobs = [job(fold, seed, max_epochs=25) for fold in range(3) for seed in (1, 2)]
    jobs += [
        job(lr=0.01, patience=0, max_epochs=60),  # stops earlier than the others of its shape
        job(weight_loss=True, max_epochs=25, measure="macro_f1_score"),
        job(weight_decay=0.1, max_epochs=8),
        job(use_bce=True, weight_loss=True, max_epochs=15),
        job(optimizer="SGD", max_epochs=15, max_lr=1.0, momentum=0.5),
        job(optimizer="SGD", max_epochs=12, weight_decay=0.01),
        job(batch_size=37, val_batch_size=11, max_epochs=10),
    ]
    results = fit_many(*data, jobs)
    assert len({len(result.history) for result in results}) > 4
    for result, one in zip(results, jobs):
        assert_near(result, alone(data, one))


def test_whole_trainings_end_as_each_would_alone(data):
    jobs = [job(seed=seed, patience=4) for seed in range(4)]
    results = fit_many(*data, jobs)
    assert {result.stopped for result in results} == {"learning rate below 1e-05"}
    for result, one in zip(results, jobs):
        assert_near(result, alone(data, one))


def test_a_given_head_is_where_all_seeds_start(data):
    table = pd.DataFrame({"split": ["train", "val", "test"] * (N // 3)})
    given = s2p.S2P(nn.Identity(), 99).scene_to_privacy_layer
    jobs = jobs_for_seeds(table, Settings(max_epochs=2), range(2), given)
    assert all(torch.equal(one.head.weight, given.weight) for one in jobs)
    first, second = fit_many(*data, jobs)
    assert not torch.equal(first.head.weight, second.head.weight)  # the order of the batches differs


def test_heads_without_val_end_as_each_would_alone(data):
    jobs = [
        Job(job(seed=s).head, Settings(seed=s, max_epochs=10, patience=1), np.arange(N), np.array([], int))
        for s in (1, 2)
    ]
    for result, one in zip(fit_many(*data, jobs), jobs):
        assert result.history["val_loss"].isna().all()
        assert_near(result, alone(data, one))


def test_each_seed_draws_its_own_first_weights_and_uses_the_splits(data):
    table = pd.DataFrame({"split": ["train", "val", "test"] * (N // 3)})
    jobs = jobs_for_seeds(table, Settings(max_epochs=2), range(5, 8))
    assert [one.settings.seed for one in jobs] == [5, 6, 7]
    assert torch.equal(jobs[1].head.weight, s2p.S2P(nn.Identity(), 6).scene_to_privacy_layer.weight)
    assert set(table["split"][jobs[0].train]) == {"train"}
    assert set(table["split"][jobs[0].val]) == {"val"}


def test_the_given_heads_stay_as_they_came(data):
    one = job(max_epochs=2)
    before = one.head.weight.detach().clone()
    fit_many(*data, [one])
    assert torch.equal(one.head.weight, before)
