"""The card's training procedure for the 732 parameters, on cached scene logits."""

import time
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import balanced_accuracy_score
from torch import nn

from s2p_lib.progress import progress
from s2p_lib.samples import CLASSES, SPLITS


@dataclass(frozen=True)
class Settings:
    """The card's training settings; ``max_epochs``, ``max_hours`` or a learning rate below ``min_lr`` end training.

    The scheduler's factor and patience act on the validation loss; balanced accuracy picks the kept epoch.
    """

    lr: float = 0.001
    batch_size: int = 100
    patience: int = 10  # epochs without a better validation loss before the learning rate is halved
    factor: float = 0.5
    min_lr: float = 1e-5
    max_epochs: int = 1000
    max_hours: float = 12.0
    seed: int = 789
    weight_loss: bool = False  # weigh each class c by 1 - n_c / N of the training photos, as the released option does


@dataclass(frozen=True)
class Trained:
    """The kept head (365 -> 2), its epoch (from 0), its validation balanced accuracy, and one row per epoch."""

    head: nn.Linear
    epoch: int
    balanced_accuracy: float
    history: pd.DataFrame
    stopped: str


def encode_labels(labels) -> torch.Tensor:
    """Class names [N] -> int64 [N], 0 private, 1 public (the order of the privacy logits)."""
    codes = pd.Categorical(labels, categories=CLASSES).codes
    if (codes < 0).any():
        raise ValueError(f"labels hold {sorted(set(labels) - set(CLASSES))}; allowed: {CLASSES}")
    return torch.from_numpy(codes.astype(np.int64))


def split_parts(samples: pd.DataFrame, scene_logits: np.ndarray) -> dict[str, tuple[np.ndarray, pd.Series]]:
    """Per split: (scene logits [N, 365], class names [N]); row i of ``samples`` belongs to ``scene_logits[i]``."""
    return {
        split: (scene_logits[(samples["split"] == split).to_numpy()], samples.loc[samples["split"] == split, "label"])
        for split in SPLITS
    }


def fit_head(
    head: nn.Linear,
    train: tuple[np.ndarray, pd.Series],
    val: tuple[np.ndarray, pd.Series],
    settings: Settings = Settings(),
) -> Trained:
    """Fit ``head`` as the card says; ``train`` and ``val`` are (scene logits [N, 365] float32, class names [N]).

    Adam on the cross-entropy, shuffled batches with the short last one kept, epoch losses as the plain mean of
    batch means, halving of the learning rate on a plateau of the validation loss. The kept epoch has the best
    validation balanced accuracy, the later one of equals. ``head`` itself is left as it came. Runs on the CPU:
    732 parameters cannot keep a GPU busy.
    """
    head = deepcopy(head).cpu().requires_grad_(True)
    (train_x, train_y), (val_x, val_y) = _as_tensors(*train), _as_tensors(*val)
    optimiser = torch.optim.Adam(head.parameters(), lr=settings.lr)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, factor=settings.factor, patience=settings.patience)
    weights = class_weights(train_y) if settings.weight_loss else None
    # Two generators with one seed each, as the released code resets the seed before it builds each loader.
    train_order = torch.Generator().manual_seed(settings.seed)
    val_order = torch.Generator().manual_seed(settings.seed)
    rows, best, stopped, started = [], None, None, time.monotonic()
    with progress(total=settings.max_epochs, desc="epochs", unit="epoch") as bar:
        while not stopped:
            lr = optimiser.param_groups[0]["lr"]
            train_loss, train_ba = _epoch(head, train_x, train_y, settings, weights, train_order, optimiser)
            val_loss, val_ba = _epoch(head, val_x, val_y, settings, weights, val_order)
            plateau.step(val_loss)
            if best is None or val_ba >= best[1]:
                best = len(rows), val_ba, deepcopy(head)
            seconds = time.monotonic() - started
            rows.append((len(rows), lr, train_loss, val_loss, train_ba, val_ba, seconds))
            stopped = _reason_to_stop(settings, optimiser.param_groups[0]["lr"], len(rows), seconds)
            bar.set_postfix_str(f"val loss {val_loss:.4f}, val BA {val_ba:.3f}, lr {lr:.1e}", refresh=False)
            bar.update()
        bar.total = bar.n  # training ended here, so the bar is full
    epoch, balanced_accuracy, kept = best
    return Trained(kept.requires_grad_(False), epoch, balanced_accuracy, _history(rows), stopped)


def _reason_to_stop(settings: Settings, lr: float, epochs: int, seconds: float) -> str | None:
    """In words; None while training goes on. ``lr`` is that of the next epoch."""
    if lr < settings.min_lr:
        return f"learning rate below {settings.min_lr:g}"
    if seconds > settings.max_hours * 3600:
        return f"{settings.max_hours:g} h reached"
    return "max_epochs reached" if epochs >= settings.max_epochs else None


def predict(head: nn.Linear, scene_logits: np.ndarray) -> np.ndarray:
    """[N] float64 probability of private: softmax of the two privacy logits."""
    with torch.inference_mode():
        privacy_logits = head(torch.from_numpy(scene_logits)).double()
    return privacy_logits.softmax(dim=1)[:, CLASSES.index("private")].numpy()


def class_weights(labels: torch.Tensor) -> torch.Tensor:
    """[2] float32: 1 - n_c / N for private and public, from int64 labels [N]; the rarer class weighs more."""
    return 1 - torch.bincount(labels, minlength=len(CLASSES)) / len(labels)


def _epoch(head, x, y, settings: Settings, weights, order: torch.Generator, optimiser=None) -> tuple[float, float]:
    """One pass in shuffled batches; trains if there is an optimiser. Mean of batch losses, balanced accuracy."""
    permutation = torch.randperm(len(x), generator=order)
    losses, hits = [], []
    with torch.set_grad_enabled(optimiser is not None):
        for batch in permutation.split(settings.batch_size):
            logits = head(x[batch])
            loss = nn.functional.cross_entropy(logits, y[batch], weight=weights)
            if optimiser is not None:
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
            losses.append(loss.detach())
            hits.append(logits.detach().argmax(dim=1))
    predicted = torch.cat(hits)
    return float(torch.stack(losses).mean()), float(balanced_accuracy_score(y[permutation], predicted))


def _as_tensors(logits: np.ndarray, labels: pd.Series) -> tuple[torch.Tensor, torch.Tensor]:
    if not np.isfinite(logits).all():
        bad = (~np.isfinite(logits)).any(axis=1).sum()
        raise ValueError(f"scene logits of {bad} of {len(logits)} photos are not finite; leave those photos out first")
    return torch.from_numpy(np.ascontiguousarray(logits)), encode_labels(labels)


def _history(rows: list[tuple]) -> pd.DataFrame:
    columns = ["epoch", "lr", "train_loss", "val_loss", "train_balanced_accuracy", "val_balanced_accuracy", "seconds"]
    return pd.DataFrame(rows, columns=columns)


def settings_beside_card(settings: Settings, trained: Trained, parameters: dict[str, int]) -> pd.DataFrame:
    """The card's training settings and counts beside this run's, as text."""
    rows = {
        "optimiser": ("Adam", "Adam"),
        "initial learning rate": ("0.001", f"{settings.lr:g}"),
        "learning rate factor, patience": ("0.5, 10", f"{settings.factor:g}, {settings.patience}"),
        "minimum learning rate": ("1e-05", f"{settings.min_lr:g}"),
        "batch size": ("100", f"{settings.batch_size}"),
        "maximum epochs, hours": ("1000, 12", f"{settings.max_epochs}, {settings.max_hours:g}"),
        "class-weighted loss": ("no", "yes" if settings.weight_loss else "no"),
        "seed": ("789", f"{settings.seed}"),
        "epochs": ("117", f"{len(trained.history)}"),
        "parameters optimised": ("732", f"{parameters['optimised']:,}"),
        "parameters in all": ("24,256,649", f"{parameters['total']:,}"),
    }
    return pd.DataFrame(rows, index=["card", "ours"]).T
