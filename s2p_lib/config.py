"""The training settings, and the released configuration file (``s2p_v1.0.json``) read and written.

What names a parameter of the notebooks becomes that parameter; the rare options become training settings.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from s2p_lib.metrics import MEASURES

OPTIMIZERS = ("Adam", "SGD")
NOT_ADAM = "Adam and the plateau scheduler have no such setting"


@dataclass(frozen=True)
class Settings:
    """The card's training settings, then the other options of the released configuration.

    ``max_epochs``, ``max_hours`` or a learning rate below ``min_lr`` end training. With Adam the learning rate is
    multiplied by ``factor`` after more than ``patience`` epochs without a better validation loss. With SGD it rises in
    a line from ``lr`` to ``max_lr`` in 2000 epochs and falls again (CyclicLR, stepped once an epoch as released).
    """

    lr: float = 0.001
    batch_size: int = 100
    patience: int = 10
    factor: float = 0.5
    min_lr: float = 1e-5
    max_epochs: int = 1000
    max_hours: float = 12.0
    seed: int = 789
    weight_loss: bool = False  # weigh each class c by 1 - n_c / N of the training photos
    val_batch_size: int = 100
    optimizer: str = "Adam"  # or SGD
    weight_decay: float = 0.0
    momentum: float = 0.9  # of SGD only
    max_lr: float = 0.1  # of SGD only
    measure: str = "balanced_accuracy"  # on val; picks the kept epoch, one of metrics.MEASURES
    use_bce: bool = False  # binary cross-entropy on one logit, the log-odds of public

    def __post_init__(self):
        for name, allowed in (("optimizer", OPTIMIZERS), ("measure", MEASURES)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}={getattr(self, name)!r} is unknown; allowed: {', '.join(allowed)}")


EXPECTED = "give a released configuration such as s2p_v1.0.json"

# Released name -> name of our parameter, or of a field of Settings.
PARAMETERS = {
    "seed": "seed",
    "max_num_epochs": "max_epochs",
    "batch_size_train": "batch_size",
    "init_lr": "lr",
    "lr_schedule_patience": "patience",
    "min_lr": "min_lr",
    "max_time": "max_hours",
    "weight_loss": "weight_loss",
    "img_size": "image_size",
}
OPTIONS = {
    "batch_size_val": "val_batch_size",
    "optimizer": "optimizer",
    "lr_reduce_factor": "factor",
    "max_lr": "max_lr",
    "weight_decay": "weight_decay",
    "momentum": "momentum",
    "measure": "measure",
    "use_bce": "use_bce",
}


class Released(BaseModel):
    """Keys that mean something for S2P, with the values that S2P allows. ``None``: not in the file."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    seed: int | None = Field(None, ge=0)
    max_num_epochs: int | None = Field(None, ge=1)
    batch_size_train: int | None = Field(None, ge=1)
    batch_size_val: int | None = Field(None, ge=1)
    optimizer: Literal[*OPTIMIZERS] | None = None
    init_lr: float | None = Field(None, gt=0)
    lr_reduce_factor: float | None = Field(None, gt=0, lt=1)
    lr_schedule_patience: int | None = Field(None, ge=0)
    min_lr: float | None = Field(None, gt=0)
    max_lr: float | None = Field(None, gt=0)
    weight_decay: float | None = Field(None, ge=0)
    momentum: float | None = Field(None, ge=0, lt=1)
    max_time: float | None = Field(None, gt=0)
    training_mode: Literal["crossval", "final", "original"] | None = None
    fold_id: int | None = Field(None, ge=0)
    measure: Literal[*MEASURES] | None = None
    use_bce: bool | None = None
    weight_loss: bool | None = None
    img_size: int | None = Field(None, ge=32)
    num_out_classes: Literal[2] | None = None
    num_scene_cat: Literal[365] | None = None
    backbone_arch: str | None = None
    model_name: Literal["s2p"] | None = None
    net_name: Literal["S2P"] | None = None
    b_filter_imgs: Literal[False] | None = None


@dataclass(frozen=True)
class Config:
    """A configuration as our ``parameters`` and training ``options``, and the keys that S2P or the kit does not use."""

    parameters: dict
    options: dict
    unused: tuple[str, ...]


def read_config(path: str | Path) -> Config:
    """Read a released configuration; FileNotFoundError or ValueError that names what came and what is allowed."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(f"config {path} not found; {EXPECTED}") from None
    except (ValueError, OSError, RecursionError) as error:  # also a folder, or brackets without end
        raise ValueError(f"config {path} is no JSON file: {error}") from None
    sections = content if isinstance(content, dict) else {}
    for name in ("params", "net_params"):
        if not isinstance(sections.get(name, {} if name == "net_params" else None), dict):
            raise ValueError(f"config {path} has no object {name!r}; {EXPECTED}")
    flat = {k: v for k, v in sections.items() if not isinstance(v, dict)}
    flat |= {k: v for name in ("net_params", "params") for k, v in (sections.get(name) or {}).items()}
    other = {f"{name}.{k}" for name, v in sections.items() if isinstance(v, dict) for k in v}
    unused = sorted({k for k in flat if k not in Released.model_fields})
    unused += sorted(k for k in other if k.split(".")[0] not in ("params", "net_params"))
    try:
        released = Released(**{k: v for k, v in flat.items() if k in Released.model_fields})
    except ValidationError as error:
        raise ValueError("\n".join(_explain(e, path) for e in error.errors())) from None
    given = released.model_dump(exclude_none=True)
    parameters = {ours: given[theirs] for theirs, ours in PARAMETERS.items() if theirs in given}
    parameters |= _fold(given) | _backbone(given)
    options = {ours: given[theirs] for theirs, ours in OPTIONS.items() if theirs in given}
    if options.get("optimizer", "Adam") == "Adam":
        unused += [f"{k} ({NOT_ADAM})" for k in ("momentum", "max_lr") if k in given]
    return Config(parameters, options, tuple(unused))


def released_config(settings: Settings, fold: int | str, backbone: str, image_size: int) -> dict:
    """A training in the form of a released configuration, with the two keys that the released file lacks."""
    names = {theirs: ours for theirs, ours in (PARAMETERS | OPTIONS).items() if hasattr(settings, ours)}
    params = {theirs: getattr(settings, ours) for theirs, ours in names.items()}
    mode, number = ("crossval", fold) if isinstance(fold, int) else (fold, 0)
    params |= {"batch_size": settings.batch_size, "resume": False, "training_mode": mode, "fold_id": number}
    arch = {"num_out_classes": 2, "num_scene_cat": 365, "backbone_arch": backbone, "img_size": image_size}
    return {"model_name": "s2p", "net_name": "S2P", "b_filter_imgs": False, "params": params, "net_params": arch}


def _fold(given: dict) -> dict:
    mode = given.get("training_mode")
    if mode in ("final", "original"):
        return {"fold": mode}
    return {"fold": given["fold_id"]} if "fold_id" in given else {}


def _backbone(given: dict) -> dict:
    """ResNet-50 is the default wherever the photos are real; on the demo dataset its stand-in takes its place."""
    arch = given.get("backbone_arch", "resnet50")
    return {} if arch in ("resnet50", "published_scenes") else {"backbone": arch}


def _explain(error: dict, path: str | Path) -> str:
    return f"config {path}: {error['loc'][0]}={error['input']!r} is not allowed: {error['msg']}"
