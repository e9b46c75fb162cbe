"""The three ways to treat the backbone's BatchNorm while the head is trained, on the photos of a run.

``frozen``: as the card says; nothing of the backbone changes, so its scene logits are computed once.
``released``: as the released code does; every epoch runs the photos through the backbone, whose statistics change.
``adapted``: the statistics are estimated once on the training photos, then frozen. It shows how much of the released
result they explain, for two passes of the backbone instead of one an epoch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from s2p_lib import batchnorm, many_heads, training
from s2p_lib.config import Settings
from s2p_lib.engines import on_device, precisions_on, scenes
from s2p_lib.metrics import card_metrics
from s2p_lib.model import S2P, write_checkpoint
from s2p_lib.photos import open_photo
from s2p_lib.prediction_files import predictions_table

BN_MODES = ("frozen", "adapted", "released")
FIGURES = ("balanced_accuracy", "private_recall", "public_recall", "private_precision", "accuracy")  # compared on test


@dataclass(frozen=True)
class Outcome:
    """A trained model, its photos and their scene logits [N, 365] by its final backbone, and what training changed.

    ``drift`` has the columns of ``batchnorm.drift``; it is empty for a backbone without BatchNorm.
    """

    bn_mode: str
    precision: str
    model: S2P
    transform: object
    samples: pd.DataFrame
    scene_logits: np.ndarray
    trained: training.Trained
    changes: dict[str, int]
    drift: pd.DataFrame

    def predictions(self, split: str) -> pd.DataFrame:
        """As predictions.csv, for one split."""
        table = predictions_table(self.samples, training.predict(self.trained.head, self.scene_logits))
        return table[table["split"] == split]


def train_s2p(
    run,
    samples: pd.DataFrame,
    settings: Settings,
    bn_mode: str,
    precision: str | None = None,
    checkpoint: Path | None = None,
) -> Outcome:
    """Train S2P on the photos of ``samples`` in one of ``BN_MODES``; a killed training goes on where it stopped.

    The trained model is written to ``checkpoint`` as soon as there is one, also after Ctrl-C. ``run`` is the run.Run
    of the notebook. In ``released`` mode the scene logits are computed once more at the end, by the statistics of the
    kept epoch, as validation and test of the released code do.
    """
    model, transform = run.load_model()
    precision = precision or run.p.precision
    before = {name: tensor.clone() for name, tensor in model.backbone.state_dict().items()}
    state_file = run.path(f"training_state_{bn_mode}_{precision}.pth")
    if bn_mode == "adapted":
        photos = _photos(run, samples, "train", transform)
        cache = run.path("scene_logits")
        batchnorm.adapt_to_photos(model, photos, cache, settings.batch_size, settings.seed, run.device)
    if bn_mode == "released":
        batchnorm.batchnorm_layers(model.backbone)  # raises where there are none
        on_device(model.backbone, run.device).eval()
        parts = {
            split: training.released_part(
                model, _photos(run, samples, split, transform), run.device, split == "train", precision
            )
            for split in ("train", "val")
        }
        val = parts["val"] if len(parts["val"].labels) else None
        head, backbone = model.scene_to_privacy_layer, model.backbone
        trained = training.fit(head, parts["train"], val, settings, state_file, backbone)
        batchnorm.set_statistics(model.backbone, trained.statistics)
        _keep(run, model, trained, checkpoint)
    samples, logits = run.load_scene_logits(samples, model, transform, precision)
    if bn_mode != "released":
        parts = training.split_parts(samples, logits)
        trained = training.fit(model.scene_to_privacy_layer, parts["train"], parts["val"], settings, state_file)
        _keep(run, model, trained, checkpoint)
    after = model.backbone.state_dict()
    changes, moved = batchnorm.count_changes(before, after), batchnorm.drift(before, after)
    return Outcome(bn_mode, precision, model, transform, samples, logits, trained, changes, moved)


def _keep(run, model: S2P, trained: training.Trained, checkpoint: Path | None) -> None:
    model.scene_to_privacy_layer.load_state_dict(trained.head.state_dict())
    if checkpoint is not None:
        write_checkpoint(checkpoint, model, trained.measure, trained.epoch, trained.kind, run.dataset.codes)


def train_all(run, own: Outcome, settings: Settings) -> list[Outcome]:
    """``own`` and the other protocols: each BatchNorm mode, then the frozen one in the other precisions of the device.

    For a backbone without BatchNorm the modes do not differ, so only the frozen one is left; without any backbone
    (published scene probabilities) there is nothing to compare.
    """
    if not run.from_photos:
        return [own]
    modes = BN_MODES if len(own.drift) else ("frozen",)
    wanted = [(mode, own.precision) for mode in modes]
    wanted += [("frozen", precision) for precision in precisions_on(run.device) if precision != own.precision]
    return [
        own if (mode, precision) == (own.bn_mode, own.precision)
        else train_s2p(run, own.samples, settings, mode, precision)
        for mode, precision in wanted
    ]  # fmt: skip


def remove_states(run, outcomes: Sequence[Outcome]) -> None:
    """Remove what would resume a finished training; that of an interrupted one stays."""
    for outcome in outcomes:
        if not outcome.trained.stopped.startswith(training.INTERRUPTED):
            run.path(f"training_state_{outcome.bn_mode}_{outcome.precision}.pth").unlink(missing_ok=True)


def compare(outcomes: Sequence[Outcome]) -> pd.DataFrame:
    """One row per outcome: how training ended, the test figures (fractions), what changed in the backbone.

    ``predictions_changed`` counts test photos that are predicted otherwise than by the first outcome.
    """
    first = outcomes[0].predictions("test").set_index("image")["prediction"]
    rows = []
    for outcome in outcomes:
        test = outcome.predictions("test")
        figures = card_metrics(test["label"], test["prediction"])
        changed = (test.set_index("image")["prediction"] != first).sum()
        rows.append(
            {"bn_mode": outcome.bn_mode, "precision": outcome.precision, "epochs": len(outcome.trained.history)}
            | {"stopped": outcome.trained.stopped, "kept_epoch": outcome.trained.epoch}
            | {"val_measure": outcome.trained.measure}
            | {f"test_{name}": figures[name] for name in FIGURES}
            | {"predictions_changed": int(changed)}
            | {f"{name}_changed": n for name, n in outcome.changes.items()}
        )
    return pd.DataFrame(rows)


def spread_over_seeds(run, outcome: Outcome, settings: Settings) -> pd.DataFrame:
    """Heads with the run's ``n_seeds`` seeds from its own on, on the outcome's scene logits: seed, epochs,
    kept_epoch, val_measure, and the card's nine figures on test. With ``init_checkpoint`` all start from its head.

    In ``released`` mode these are heads refitted on the backbone of the kept epoch, as each would else need a training
    with the backbone.
    """
    seeds = range(settings.seed, settings.seed + run.p.n_seeds)
    given = None if run.p.init_checkpoint is None else run.load_model()[0].scene_to_privacy_layer
    jobs = many_heads.jobs_for_seeds(outcome.samples, settings, seeds, given)
    trained = many_heads.fit_many(outcome.scene_logits, outcome.samples["label"], jobs)
    test = (outcome.samples["split"] == "test").to_numpy()
    table, logits = outcome.samples[test], outcome.scene_logits[test]
    rows = []
    for seed, one in zip(seeds, trained):
        predicted = predictions_table(table, training.predict(one.head, logits))
        row = {"seed": seed, "epochs": len(one.history), "kept_epoch": one.epoch, "val_measure": one.measure}
        figures = card_metrics(predicted["label"], predicted["prediction"])
        rows.append(row | {f"test_{name}": value for name, value in figures.items()})
    return pd.DataFrame(rows)


def convex_reference(outcome: Outcome) -> dict[str, float]:
    """scikit-learn's logistic regression on the same logits: its C (chosen on val) and balanced accuracies."""
    rows = {split: (outcome.samples["split"] == split).to_numpy() for split in ("train", "val", "test")}
    if not rows["val"].any():
        rows["val"] = rows["train"]
    parts = {s: (outcome.scene_logits[r], outcome.samples.loc[r, "label"]) for s, r in rows.items()}
    fitted = training.fit_convex(parts["train"], parts["val"])
    scored = {
        f"{split}_balanced_accuracy": card_metrics(labels, fitted.predict(x))["balanced_accuracy"]
        for split, (x, labels) in parts.items()
    }
    return {"C": fitted.C} | scored


def measure_determinism(run, outcome: Outcome, n_photos: int = 8) -> pd.DataFrame:
    """How far scene logits and p_private of a few test photos move when they are computed in another way.

    One row per way: way, scene_logits (largest absolute difference), p_private (likewise), predictions_changed. No row
    where the scene logits were published, not computed.
    """
    columns = ["way", "scene_logits", "p_private", "predictions_changed"]
    if not run.from_photos:
        return pd.DataFrame(columns=columns)
    paths = outcome.samples.loc[outcome.samples["split"] == "test", "path"].head(n_photos)
    photos = torch.stack([outcome.transform(open_photo(run.data_dir / path)) for path in paths])
    backbone = on_device(outcome.model.backbone, run.device).eval()

    def logits(batch_size: int = n_photos, network: nn.Module = backbone, device: str = run.device) -> np.ndarray:
        return torch.cat(
            [scenes(network, part, device, outcome.precision) for part in photos.split(batch_size)]
        ).numpy()

    first = logits()
    ways = {"the same again": logits(), "one photo a batch": logits(1)}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    ways["one processor thread"] = logits()
    torch.set_num_threads(threads)
    if run.device != "cpu":
        ways[f"processor instead of {run.device}"] = logits(network=backbone.to("cpu"), device="cpu")
    p_first = training.predict(outcome.trained.head, first)
    rows = []
    for way, other in ways.items():
        p = training.predict(outcome.trained.head, other)
        changed = int(((p >= 0.5) != (p_first >= 0.5)).sum())
        rows.append((way, np.abs(other - first).max(), np.abs(p - p_first).max(), changed))
    return pd.DataFrame(rows, columns=columns)


def _photos(run, samples: pd.DataFrame, split: str, transform) -> batchnorm.PhotoBatches:
    of_split = samples[samples["split"] == split].reset_index(drop=True)
    return batchnorm.PhotoBatches(of_split, run.data_dir, transform, run.workers)
