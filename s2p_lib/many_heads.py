"""Many heads trained together on cached scene logits: seeds x folds x settings as one batched tensor.

Each head has its own first weights, order of batches, learning rate, early stop and kept epoch, and ends within 1e-5
of what ``training.fit`` gives for it alone.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from torch import nn

from s2p_lib.config import Settings
from s2p_lib.metrics import measures_of_counts
from s2p_lib.model import S2P
from s2p_lib.progress import progress
from s2p_lib.training import (
    Course,
    Figures,
    Trained,
    class_weights,
    encode_labels,
    make_optimizer,
    photo_losses,
    predicted_codes,
)

HEADS_AT_ONCE = 50  # more would not fit a step's photos into the processor's cache


@dataclass(frozen=True)
class Job:
    """One head to train: its first weights, its settings, and its photos as row numbers int64 [n] of the logits."""

    head: nn.Linear
    settings: Settings
    train: np.ndarray
    val: np.ndarray


def jobs_for_seeds(
    samples: pd.DataFrame, settings: Settings, seeds: Sequence[int], head: nn.Linear | None = None
) -> list[Job]:
    """One job a seed, which draws the head's first weights (unless one is given) and the order of the batches.

    Train and val are the rows of ``samples`` with that split.
    """
    rows = {split: np.flatnonzero(samples["split"] == split) for split in ("train", "val")}
    heads = {seed: head or S2P(nn.Identity(), seed, settings.use_bce).scene_to_privacy_layer for seed in seeds}
    return [Job(heads[s], replace(settings, seed=s), rows["train"], rows["val"]) for s in seeds]


def fit_many(scene_logits: np.ndarray, labels: Sequence[str], jobs: Sequence[Job]) -> list[Trained]:
    """Train all jobs on scene logits [N, 365] float32 of photos with these class names [N]; results in their order.

    Jobs of one shape (numbers of photos, batch sizes, optimizer, loss) train together; there is no resuming.
    """
    x, y = torch.from_numpy(np.ascontiguousarray(scene_logits)), encode_labels(labels)
    groups = {}
    for number, job in enumerate(jobs):
        s = job.settings
        shape = (len(job.train), len(job.val), s.batch_size, s.val_batch_size, s.optimizer, s.use_bce)
        groups.setdefault(shape, []).append(number)
    parts = [
        numbers[start : start + HEADS_AT_ONCE]
        for numbers in groups.values()
        for start in range(0, len(numbers), HEADS_AT_ONCE)
    ]
    results = {}
    with progress(total=len(jobs), desc="heads", unit="head") as bar:
        for numbers in parts:
            group = _Group(x, y, [jobs[n] for n in numbers])
            while group.training:
                bar.update(group.run_epoch())
            results |= {n: course.trained(jobs[n].head) for n, course in zip(numbers, group.courses)}
    return [results[number] for number in range(len(jobs))]


class _Group:
    """Heads of one shape. Row i of every tensor here belongs to the i-th head that is still ``training``."""

    def __init__(self, x: torch.Tensor, y: torch.Tensor, jobs: Sequence[Job]):
        self.x, self.y, self.jobs = nn.functional.pad(x, (0, 1), value=1.0), y, jobs  # the bias is the weight of a 1
        # Each course's own optimizer only carries its learning rate; the steps are taken for all heads at once.
        self.courses = [Course(j.settings, make_optimizer(j.head, j.settings), has_val=len(j.val) > 0) for j in jobs]
        for course in self.courses:
            course.optimizer.step()  # without gradients it does nothing; a scheduler warns if it never came
        self.training = list(range(len(jobs)))
        heads = [torch.cat([job.head.weight, job.head.bias[:, None]], dim=1).detach().cpu() for job in jobs]
        self.weight = torch.stack(heads).requires_grad_(True)  # [S, 2 or 1, 366]
        self.step = _Sgd(jobs) if jobs[0].settings.optimizer == "SGD" else _Adam(jobs)
        weighted = any(job.settings.weight_loss for job in jobs)
        of_each = [class_weights(y[j.train]) if j.settings.weight_loss else torch.ones(2) for j in jobs]
        self.class_weights = torch.stack(of_each) if weighted else None
        self.rows = [torch.from_numpy(np.stack([getattr(j, part) for j in jobs])) for part in ("train", "val")]
        self.orders = [[torch.Generator().manual_seed(j.settings.seed) for j in jobs] for _ in range(2)]
        self.buffer = torch.empty(len(jobs) * jobs[0].settings.batch_size, self.x.shape[1])
        self.started = time.monotonic()

    def run_epoch(self) -> int:
        """One epoch of every head that is still training; gives how many of them stopped with it."""
        settings = self.jobs[0].settings
        lr = torch.tensor([self.courses[i].lr for i in self.training])
        train = self._pass(0, settings.batch_size, lr)
        val = self._pass(1, settings.val_batch_size) if self.rows[1].shape[1] else [None] * len(self.training)
        seconds = time.monotonic() - self.started
        for place, number in enumerate(self.training):
            weight = self.weight[place].detach().clone()
            head = {"weight": weight[:, :-1], "bias": weight[:, -1]}
            self.courses[number].finish_epoch(train[place], val[place], {"head": head}, seconds)
        going_on = torch.tensor([not self.courses[i].stopped for i in self.training])
        if not going_on.all():
            self._keep(going_on)
        return int((~going_on).sum())

    def _pass(self, part: int, batch_size: int, lr: torch.Tensor | None = None) -> list[Figures]:
        """One pass over train (0) or val (1) in each head's own order; trains if learning rates [S] are given."""
        n_heads, n_photos = self.rows[part].shape
        orders = [torch.randperm(n_photos, generator=self.orders[part][i]) for i in self.training]
        rows = self.rows[part].gather(1, torch.stack(orders))
        labels = self.y[rows]
        all_logits, totals, weights = [], [], []
        of_all = None if lr is not None else self._privacy_logits_of_all()
        heads = torch.arange(n_heads)[:, None]
        with torch.set_grad_enabled(lr is not None):
            for batch, y in zip(rows.split(batch_size, dim=1), labels.split(batch_size, dim=1)):
                logits = self._privacy_logits(batch) if of_all is None else of_all[batch, heads]
                losses = photo_losses(logits.flatten(0, 1), y.flatten()).view(n_heads, -1)
                if self.class_weights is None:
                    total, weight = losses.sum(1), torch.full((n_heads,), float(y.shape[1]))
                else:
                    of_photo = self.class_weights.gather(1, y)
                    total, weight = (losses * of_photo).sum(1), of_photo.sum(1)
                if lr is not None:
                    (gradient,) = torch.autograd.grad((total / weight).sum(), self.weight)
                    with torch.no_grad():
                        self.step(self.weight, gradient, lr)
                all_logits.append(logits.detach())
                totals.append(total.detach())
                weights.append(weight)
        cells = 2 * labels + predicted_codes(torch.cat(all_logits, dim=1))
        counts = torch.zeros(n_heads, 4, dtype=torch.int64).scatter_add_(1, cells, torch.ones_like(cells))
        total, weight = torch.stack(totals), torch.stack(weights)
        loss, over_photos = (total / weight).mean(0).tolist(), (total.double().sum(0) / weight.double().sum(0)).tolist()
        measures = pd.DataFrame(measures_of_counts(counts.view(n_heads, 2, 2).numpy())).to_dict("records")
        return [Figures(*figures) for figures in zip(loss, over_photos, measures)]

    def _privacy_logits(self, batch: torch.Tensor) -> torch.Tensor:
        """[S, B, 2] (or [S, B, 1]) of the photos in the rows [S, B] of each head."""
        with torch.no_grad():  # into one buffer: a new one for every batch would cost more than the copying
            x = torch.index_select(self.x, 0, batch.flatten(), out=self.buffer[: batch.numel()])
        return torch.bmm(self.weight, x.view(*batch.shape, -1).mT).mT.contiguous()

    def _privacy_logits_of_all(self) -> torch.Tensor:
        """[N, S, 2] (or [N, S, 1]): one product for all, cheaper than to collect each head's photos."""
        with torch.no_grad():
            return (self.x @ self.weight.flatten(0, 1).T).view(len(self.x), *self.weight.shape[:2])

    def _keep(self, going_on: torch.Tensor) -> None:
        """Forget the heads that have stopped, so that they cost nothing more."""
        self.training = [i for i, on in zip(self.training, going_on.tolist()) if on]
        self.weight, self.rows = self.weight.detach()[going_on].requires_grad_(True), [r[going_on] for r in self.rows]
        if self.class_weights is not None:
            self.class_weights = self.class_weights[going_on]
        self.step.keep(going_on)


class _Steps:
    """An optimizer's step for weights [S, ...], where each of the S heads has settings of its own."""

    def __init__(self, jobs: Sequence[Job]):
        self.momentum, decay = (
            torch.tensor([getattr(job.settings, name) for job in jobs])[:, None, None]
            for name in ("momentum", "weight_decay")
        )
        self.weight_decay = decay if decay.any() else None
        self.averages = None  # two running averages of the gradient's shape, zero at first
        self.n = 0

    def __call__(self, weight: torch.Tensor, gradient: torch.Tensor, lr: torch.Tensor) -> None:
        self.n += 1
        if self.averages is None:
            self.averages = [torch.zeros_like(gradient) for _ in range(2)]
        if self.weight_decay is not None:
            gradient = gradient + self.weight_decay * weight
        weight -= lr[:, None, None] * self.change(gradient, *self.averages)

    def keep(self, going_on: torch.Tensor) -> None:
        self.momentum, self.averages = self.momentum[going_on], [average[going_on] for average in self.averages]
        if self.weight_decay is not None:
            self.weight_decay = self.weight_decay[going_on]


class _Adam(_Steps):
    """Kingma and Ba, Adam (ICLR 2015), algorithm 1, with the usual constants; torch has one rate for all heads only."""

    def change(self, gradient, mean, mean_of_squares):
        mean.lerp_(gradient, 1 - 0.9)
        mean_of_squares.mul_(0.999).addcmul_(gradient, gradient, value=1 - 0.999)
        corrected = (mean_of_squares / (1 - 0.999**self.n)).sqrt_().add_(1e-8)
        return (mean / (1 - 0.9**self.n)).div_(corrected)


class _Sgd(_Steps):
    """Stochastic gradient descent with momentum, in torch's form: the sum decays, the new gradient counts fully."""

    def change(self, gradient, velocity, _):
        return velocity.mul_(self.momentum).add_(gradient)
