"""The training procedure of the card and of the released code, for the linear layer from scenes to privacy.

``fit`` trains one head and can be killed and resumed. Where its scene logits come from is the caller's choice: an
array that never changes (``cached_part``), or the photos through a backbone whose BatchNorm statistics change with
every batch (``released_part``).
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from torch import nn
from torch.optim.lr_scheduler import CyclicLR, LRScheduler, ReduceLROnPlateau

from s2p_lib import batchnorm
from s2p_lib.config import NOT_ADAM, Settings
from s2p_lib.engines import scenes, scenes_in_parts
from s2p_lib.metrics import MEASURES, measures_of_counts
from s2p_lib.model import S2P, fingerprint, read_torch_file, write_torch_file
from s2p_lib.progress import progress
from s2p_lib.samples import CLASSES, SPLITS

CARD = Settings()
INTERRUPTED = "interrupted"  # first word of the reason to stop after Ctrl-C
LIMITS = ("max_epochs", "max_hours", "min_lr")
CONVEX_C = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)  # inverse strengths of the penalty tried by fit_convex


@dataclass(frozen=True)
class Part:
    """One split: ``labels`` int64 [N] (0 private, 1 public), and ``scene_logits``, which turns batches of row numbers
    (int64 [B] each) into their scene logits ([B, 365] float32 each). ``key`` names the data, to resume only the same.
    """

    labels: torch.Tensor
    scene_logits: Callable[[Sequence[torch.Tensor]], Iterator[torch.Tensor]]
    key: str


@dataclass(frozen=True)
class Trained:
    """The kept head, its epoch (from 0), its value of the measure, and one row per epoch.

    ``statistics`` are the BatchNorm buffers of the kept epoch if training changed them. ``kind`` is ``best``, or
    ``last`` where there was no validation part to choose by.
    """

    head: nn.Module
    epoch: int
    measure: float
    history: pd.DataFrame
    stopped: str
    statistics: batchnorm.State | None
    kind: str


def encode_labels(labels) -> torch.Tensor:
    """Class names [N] -> int64 [N], 0 private, 1 public (the order of the privacy logits)."""
    codes = pd.Categorical(labels, categories=CLASSES).codes
    if (codes < 0).any():
        raise ValueError(f"labels hold {sorted(set(labels) - set(CLASSES))}; allowed: {CLASSES}")
    return torch.from_numpy(codes.astype(np.int64))


def cached_part(scene_logits: np.ndarray, labels) -> Part:
    """A split whose scene logits [N, 365] float32 never change; ``labels`` [N] are class names."""
    if not np.isfinite(scene_logits).all():
        bad = (~np.isfinite(scene_logits)).any(axis=1).sum()
        raise ValueError(f"scene logits of {bad} of {len(scene_logits)} photos are not finite; leave them out first")
    x = torch.from_numpy(np.ascontiguousarray(scene_logits))
    key = hashlib.sha256(x.numpy().tobytes()).hexdigest()
    return Part(encode_labels(labels), lambda batches: (x.index_select(0, batch) for batch in batches), key)


def released_part(
    model: S2P, photos: batchnorm.PhotoBatches, device: str, training: bool, precision: str = "float32"
) -> Part:
    """A split whose photos pass the backbone in every epoch; with ``training``, BatchNorm uses and updates batches."""
    mode = batchnorm.BatchStatistics(model.backbone) if training else nullcontext()
    forward = scenes if training else scenes_in_parts  # in eval mode the batch size changes nothing

    def scene_logits(batches: Sequence[torch.Tensor]) -> Iterator[torch.Tensor]:
        for loaded in photos(batches):
            with mode:
                logits = forward(model.backbone, loaded, device, precision)
            yield logits.clone()  # made without a graph; a copy may enter one

    key = fingerprint(model, photos.transform, precision) + photos.key
    return Part(encode_labels(photos.samples["label"]), scene_logits, key)


def split_parts(samples: pd.DataFrame, scene_logits: np.ndarray) -> dict[str, Part | None]:
    """A ``cached_part`` per split, None for an empty one; row i of ``samples`` belongs to ``scene_logits[i]``."""
    rows = {split: (samples["split"] == split).to_numpy() for split in SPLITS}
    return {s: cached_part(scene_logits[r], samples.loc[r, "label"]) if r.any() else None for s, r in rows.items()}


def fit(
    head: nn.Module,
    train: Part,
    val: Part | None,
    settings: Settings = CARD,
    state_file: Path | None = None,
    backbone: nn.Module | None = None,
) -> Trained:
    """Fit ``head`` as the card and the released code say: S2P's linear layer, or another module of that form.

    It maps scene logits [B, 365] to privacy logits [B, 2] (private, public), or to [B, 1] with ``use_bce``.
    Shuffled batches with the short last one kept, epoch losses as the plain mean of batch means. The kept epoch has
    the best value of the measure on val, the later one of equals. Without val (fold ``final``) the plateau scheduler
    follows the balanced accuracy on train, and the last epoch is kept. ``head`` itself is left as it came.
    It is fitted on the CPU: so few parameters cannot keep a GPU busy.

    With ``state_file``, all that decides the rest of the training is kept there after each epoch. A call with the same
    data and settings goes on from it and ends with the same bits. Ctrl-C ends training after the last whole epoch.
    ``backbone`` is the network whose BatchNorm statistics change with the epochs, None if there is none.
    """
    head = deepcopy(head).cpu().requires_grad_(True)
    optimizer = make_optimizer(head, settings)
    course = Course(settings, optimizer, has_val=val is not None)
    weights = class_weights(train.labels) if settings.weight_loss else None
    # Two generators with one seed each, as the released code resets the seed before it builds each loader.
    orders = [torch.Generator().manual_seed(settings.seed) for _ in range(2)]
    key = _state_key(head, train, val, settings)
    state = _read_state(state_file, key, settings.max_epochs) if state_file else None
    if state:
        head.load_state_dict(state["head"])
        optimizer.load_state_dict(state["optimizer"])
        course.load_state_dict(state["course"])
        for order, saved in zip(orders, state["orders"]):
            order.set_state(saved)
        if backbone is not None:
            batchnorm.set_statistics(backbone, state["statistics"])
        course.stopped = course.reason_to_stop()  # the limits may have been raised since
        print(f"going on after epoch {len(course.rows) - 1}, as kept in {state_file.name}")
    done = course.state_dict() if course.rows else None
    earlier_s = course.seconds
    started = time.monotonic()
    with progress(total=settings.max_epochs, initial=len(course.rows), desc="epochs", unit="epoch") as bar:
        try:
            while not course.stopped:
                figures = _epoch(head, train, settings, settings.batch_size, weights, orders[0], optimizer)
                val_figures = val and _epoch(head, val, settings, settings.val_batch_size, weights, orders[1])
                statistics = None if backbone is None else batchnorm.read_statistics(backbone)
                kept = {"head": deepcopy(head.state_dict()), "statistics": statistics}
                course.finish_epoch(figures, val_figures, kept, earlier_s + time.monotonic() - started)
                done = course.state_dict()
                if state_file:
                    state = {"key": key, "head": head.state_dict(), "optimizer": optimizer.state_dict()}
                    state |= {"course": done, "statistics": statistics}
                    write_torch_file(state_file, state | {"orders": [order.get_state() for order in orders]})
                bar.set_postfix_str(course.describe(), refresh=False)
                bar.update()
        except KeyboardInterrupt:
            if done is None:
                raise
            course.load_state_dict(done)  # Ctrl-C may have come in the middle of an epoch
            course.stopped = course.stopped or f"{INTERRUPTED} after {len(course.rows)} epochs"
        bar.total = bar.n  # training ended here, so the bar is full
    return course.trained(head)


class Course:
    """How one head's training goes: learning rate, rows of the history, kept epoch, reason to stop."""

    def __init__(self, settings: Settings, optimizer: torch.optim.Optimizer, has_val: bool):
        self.settings, self.optimizer, self.has_val = settings, optimizer, has_val
        self.scheduler = _make_scheduler(optimizer, settings, has_val)
        self.rows, self.best, self.stopped = [], None, None

    @property
    def lr(self) -> float:
        return self.optimizer.param_groups[0]["lr"]

    def finish_epoch(self, train: "Figures", val: "Figures | None", kept: dict, seconds: float) -> None:
        """Take in one epoch's figures; ``kept`` is what the head (and backbone) is now."""
        judged = val or train
        value = judged.measures[self.settings.measure]
        if self.best is None or not self.has_val or value >= self.best["value"]:
            self.best = {"epoch": len(self.rows), "value": value, "kept": kept}
        none = Figures(np.nan, np.nan, dict.fromkeys(MEASURES, np.nan))
        v = val or none
        row = len(self.rows), self.lr, train.loss, v.loss, train.measures["balanced_accuracy"]
        row += v.measures["balanced_accuracy"], seconds, v.loss_over_photos
        self.rows.append((*row, *(v.measures[name] for name in MEASURES[1:])))
        if isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step(val.loss if val else 100 * train.measures["balanced_accuracy"])
        else:
            self.scheduler.step()
        self.stopped = self.reason_to_stop()

    @property
    def seconds(self) -> float:
        """How long training has taken so far, before an interruption too."""
        return self.rows[-1][HISTORY_COLUMNS.index("seconds")] if self.rows else 0.0

    def reason_to_stop(self) -> str | None:
        """In words; None while training goes on."""
        if self.lr < self.settings.min_lr:
            return f"learning rate below {self.settings.min_lr:g}"
        if self.seconds > self.settings.max_hours * 3600:
            return f"{self.settings.max_hours:g} h reached"
        return "max_epochs reached" if len(self.rows) >= self.settings.max_epochs else None

    def trained(self, head: nn.Module) -> Trained:
        kept = deepcopy(head).requires_grad_(False)
        kept.load_state_dict(self.best["kept"]["head"])
        history = pd.DataFrame(self.rows, columns=HISTORY_COLUMNS)
        kind = "best" if self.has_val else "last"
        best = self.best
        return Trained(kept, best["epoch"], best["value"], history, self.stopped, best["kept"].get("statistics"), kind)

    def describe(self) -> str:
        _, lr, train_loss, val_loss, train_ba, val_ba, *_ = self.rows[-1]
        where, loss, ba = ("val", val_loss, val_ba) if self.has_val else ("train", train_loss, train_ba)
        return f"{where} loss {loss:.4f}, {where} BA {ba:.3f}, lr {lr:.1e}"

    def state_dict(self) -> dict:
        return {
            "rows": list(self.rows),
            "best": self.best,
            "stopped": self.stopped,
            "scheduler": self.scheduler.state_dict(),
        }

    def load_state_dict(self, state: dict) -> None:
        self.rows, self.best, self.stopped = list(state["rows"]), state["best"], state["stopped"]
        self.scheduler.load_state_dict(state["scheduler"])


HISTORY_COLUMNS = [
    *("epoch", "lr", "train_loss", "val_loss", "train_balanced_accuracy", "val_balanced_accuracy", "seconds"),
    "val_loss_over_photos",  # the mean over photos, where val_loss is the released mean of batch means
    *(f"val_{name}" for name in MEASURES[1:]),
]


@dataclass(frozen=True)
class Figures:
    """Of one pass over a split: the mean of batch means, the mean over photos, and the ``MEASURES``."""

    loss: float
    loss_over_photos: float
    measures: dict[str, float]


def make_optimizer(head: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    if settings.optimizer == "SGD":
        return torch.optim.SGD(head.parameters(), settings.lr, settings.momentum, weight_decay=settings.weight_decay)
    return torch.optim.Adam(head.parameters(), settings.lr, weight_decay=settings.weight_decay)


def _make_scheduler(optimizer: torch.optim.Optimizer, settings: Settings, has_val: bool) -> LRScheduler:
    if settings.optimizer == "SGD":
        return CyclicLR(optimizer, settings.lr, settings.max_lr, mode="triangular", cycle_momentum=False)
    mode = "min" if has_val else "max"  # of the loss on val, or of the balanced accuracy on train
    return ReduceLROnPlateau(optimizer, mode, settings.factor, settings.patience)


def class_weights(labels: torch.Tensor) -> torch.Tensor:
    """[2] float32: 1 - n_c / N for private and public, from int64 labels [N]; the rarer class weighs more."""
    return 1 - torch.bincount(labels, minlength=len(CLASSES)) / len(labels)


def photo_losses(privacy_logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """[N] cross-entropy of each photo from [N, 2] privacy logits, or from the log-odds of public [N, 1]."""
    if privacy_logits.shape[1] == 1:
        return nn.functional.binary_cross_entropy_with_logits(privacy_logits[:, 0], labels.float(), reduction="none")
    return nn.functional.cross_entropy(privacy_logits, labels, reduction="none")


def predicted_codes(privacy_logits: torch.Tensor) -> torch.Tensor:
    """int64 [..., N]: 0 private, 1 public, from [..., N, 2] or [..., N, 1]; private where both are equally likely."""
    private, public = (0, privacy_logits[..., 0]) if privacy_logits.shape[-1] == 1 else privacy_logits.unbind(-1)
    return (public > private).long()


def _epoch(head, part: Part, settings: Settings, batch_size: int, weights, order, optimizer=None) -> Figures:
    """One pass in shuffled batches; trains if there is an optimizer."""
    permutation = torch.randperm(len(part.labels), generator=order)
    batches = permutation.split(batch_size)
    counts, means, sums = torch.zeros(4, dtype=torch.int64), [], []
    with torch.set_grad_enabled(optimizer is not None):
        for batch, scene_logits in zip(batches, part.scene_logits(batches)):
            labels = part.labels[batch]
            privacy_logits = head(scene_logits)
            weight = torch.ones(len(batch)) if weights is None else weights[labels]
            total = (photo_losses(privacy_logits, labels) * weight).sum()
            loss = total / weight.sum()
            if optimizer is not None:
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
            means.append(loss.detach())
            sums.append(torch.stack([total.detach(), weight.sum()]))
            counts += torch.bincount(2 * labels + predicted_codes(privacy_logits), minlength=4)
    total, weight = torch.stack(sums).double().sum(0)
    measures = {n: float(v) for n, v in measures_of_counts(counts.reshape(2, 2).numpy()).items()}
    return Figures(float(torch.stack(means).mean()), float(total / weight), measures)


def _state_key(head: nn.Module, train: Part, val: Part | None, settings: Settings) -> str:
    """Hex sha256 of all that decides a training's epochs: data (and first backbone), first head, settings.

    The limits that end it are left out: an interrupted training may go on with others.
    """
    deciding = {name: value for name, value in asdict(settings).items() if name not in LIMITS}
    digest = hashlib.sha256(repr(deciding).encode())
    for part in (train, val):
        digest.update(b"none" if part is None else part.key.encode() + part.labels.numpy().tobytes())
    for tensor in head.state_dict().values():
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def _read_state(path: Path, key: str, max_epochs: int) -> dict | None:
    """The state of an unfinished training of the same data and settings; None (and a line of text) if there is none."""
    if not path.is_file():
        return None
    try:
        state = read_torch_file(path)
    except ValueError as error:
        print(f"{path.name} is not used, training starts anew: {error}")
        return None
    if state.get("key") != key:
        print(f"{path.name} is of another training (data, settings or first weights differ); this one starts anew")
        return None
    if len(state["course"]["rows"]) > max_epochs:
        print(f"{path.name} has more than max_epochs={max_epochs} epochs; training starts anew")
        return None
    return state


def predict(head: nn.Module, scene_logits: np.ndarray) -> np.ndarray:
    """[N] float64 probability of private: softmax of the privacy logits; 1 - sigmoid for one logit (``use_bce``)."""
    with torch.inference_mode():
        privacy_logits = head(torch.from_numpy(scene_logits)).double()
    if privacy_logits.shape[1] == 1:
        return torch.sigmoid(-privacy_logits[:, 0]).numpy()
    return privacy_logits.softmax(dim=1)[:, CLASSES.index("private")].numpy()


def fit_convex(train: tuple[np.ndarray, pd.Series], val: tuple[np.ndarray, pd.Series]) -> LogisticRegression:
    """scikit-learn's optimum of the same loss on the same logits, with the penalty that is best on val.

    Each of ``train`` and ``val`` is (scene logits [N, 365], class names [N]). Without a penalty there is no optimum
    where a plane separates the training photos, as it can with few photos. ``C`` is the choice by balanced accuracy.
    """
    fitted = [LogisticRegression(C=C, max_iter=5000).fit(*train) for C in CONVEX_C]
    return max(fitted, key=lambda model: balanced_accuracy_score(val[1], model.predict(val[0])))


def settings_beside_card(settings: Settings, trained: Trained, parameters: dict[str, int]) -> pd.DataFrame:
    """The card's training settings and counts beside this run's, as text."""
    sgd = settings.optimizer == "SGD"
    unused = f"not used: {NOT_ADAM}"
    plateau = "not used" if sgd else f"{settings.factor:g}, {settings.patience}"
    rows = {
        "optimiser": ("Adam", settings.optimizer),
        "initial learning rate": ("0.001", f"{settings.lr:g}"),
        "learning rate factor, patience": ("0.5, 10", plateau),
        "minimum learning rate": ("1e-05", f"{settings.min_lr:g}"),
        "momentum": ("0.9", f"{settings.momentum:g}" if sgd else unused),
        "maximum learning rate": ("0.1", f"{settings.max_lr:g}" if sgd else unused),
        "batch size, train and val": ("100, 100", f"{settings.batch_size}, {settings.val_batch_size}"),
        "maximum epochs, hours": ("1000, 12", f"{settings.max_epochs}, {settings.max_hours:g}"),
        "loss": ("cross-entropy", "binary cross-entropy on one logit" if settings.use_bce else "cross-entropy"),
        "class-weighted loss": ("no", "yes" if settings.weight_loss else "no"),
        "measure that picks the kept epoch": ("balanced accuracy", settings.measure.replace("_", " ")),
        "seed": ("789", f"{settings.seed}"),
        "epochs": ("117", f"{len(trained.history)}"),
        "parameters optimised": ("732", f"{parameters['optimised']:,}"),
        "parameters in all": ("24,256,649", f"{parameters['total']:,}"),
    }
    return pd.DataFrame(rows, index=["card", "ours"]).T
