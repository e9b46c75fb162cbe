"""The S2P model: a scene backbone with 365 outputs, then one linear layer to the two privacy logits.

``load_s2p()`` gives the model and the transform that its photos need. Files from outside are read with
``weights_only=True`` and an allow-list, so that a hostile file runs nothing.
"""

import hashlib
import operator
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors
import safetensors.torch
import torch
import torchvision
from PIL import Image
from torch import nn
from torchvision import transforms

from s2p_lib.photos import file_sha256
from s2p_lib.samples import CLASSES, PRIVATE_IS_0

PACKAGE = Path(__file__).parent
SCENES = tuple((PACKAGE / "places365_categories.txt").read_text().split())  # in the order of the scene logits

HEAD_PARAMETERS = 732  # = 365 * 2 weights + 2 biases; printed on the card as "optimised"
HEAD_NAMES = ("scene_to_privacy_layer.weight", "scene_to_privacy_layer.bias")  # in released checkpoints
NO_BACKBONE = "published_scenes"  # the scene logits come from published files, so that there is no network
BCE_HEAD_PARAMETERS = 366  # = 365 weights + 1 bias: the released option use_bce has one logit
RESNET50_S2P_PARAMETERS = 24_256_649  # = 23,508,032 + (2048 * 365 + 365) + 732; the card's "trainable"

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

PLACES365_SITE = "places2.csail.mit.edu/models_places365/resnet50_places365.pth.tar"
RELEASED_CHECKPOINTS = "Zenodo record 15349470 (s2p_IPD_v1.0.0.zip)"


@dataclass(frozen=True)
class Backbone:
    """A torchvision network; ``weights`` and ``sha256`` where its weights come with the kit."""

    arch: str
    image_size: int = 448
    weights: str | None = None
    sha256: str | None = None


BACKBONES = {
    "demo": Backbone(
        "shufflenet_v2_x0_5",
        128,
        "demo_backbone.safetensors",
        "8db9d99c5b8f31c61a68aa04f35d9991bd8968e2d3a29e6ead6f8f2345ee4952",
    ),
    "resnet50": Backbone("resnet50"),
}


class S2P(nn.Module):
    """Photos [B, 3, H, W] float32 -> privacy logits [B, 2], column 0 private, column 1 public.

    With ``use_bce`` there is one logit [B, 1], the log-odds of public. The names of the two parts are those of the
    released checkpoints.
    """

    def __init__(self, backbone: nn.Module, seed: int = 789, use_bce: bool = False):
        super().__init__()
        self.backbone = backbone
        self.scene_to_privacy_layer = nn.Linear(len(SCENES), 1 if use_bce else 2)
        generator = torch.Generator().manual_seed(seed)
        nn.init.xavier_uniform_(self.scene_to_privacy_layer.weight, generator=generator)
        nn.init.zeros_(self.scene_to_privacy_layer.bias)

    def forward(self, photos: torch.Tensor) -> torch.Tensor:
        return self.scene_to_privacy_layer(self.backbone(photos))


def load_s2p(
    backbone: str = "demo",
    weights: str | Path | None = None,
    image_size: int | None = None,
    seed: int = 789,
    use_bce: bool = False,
) -> tuple[S2P, transforms.Compose | None]:
    """The model, its backbone frozen and in eval mode, its head freshly drawn from ``seed``; and its transform.

    ``backbone`` is ``demo``, ``resnet50`` or any torchvision classification network. ``weights`` is a Places365
    file (``.pth.tar``), a released S2P checkpoint, or a ``.safetensors`` file; the demo backbone brings its own.
    The transform makes a PIL photo a float32 [3, image_size, image_size] tensor. With ``NO_BACKBONE`` the model takes
    scene logits [B, 365] and there is no transform (None).
    """
    if backbone == NO_BACKBONE:
        model = S2P(nn.Identity(), seed, use_bce).eval()
        assert_parameter_counts(model, backbone)
        return model, None
    check_weights(backbone, weights)
    entry = _backbone_entry(backbone)
    net = torchvision.models.get_model(entry.arch, weights=None, num_classes=len(SCENES))
    state = read_backbone_weights(weights) if weights else _bundled_weights(entry)
    _load_strictly(net, state, backbone, weights or entry.weights)
    model = S2P(net, seed, use_bce).eval()
    model.backbone.requires_grad_(False)
    assert_parameter_counts(model, entry.arch)
    return model, photo_transform(image_size or entry.image_size)


def check_weights(backbone: str, weights: str | Path | None) -> None:
    """Raise unless the backbone is known and its weights file is there; the message says what to get from where."""
    if backbone == NO_BACKBONE:
        return
    entry = _backbone_entry(backbone)
    if weights is None and entry.weights is None:
        raise FileNotFoundError(_weights_wanted(backbone))
    if weights is not None and not Path(weights).is_file():
        raise FileNotFoundError(f"weights file {weights} not found. {_weights_wanted(backbone)}")


def image_size_of(transform: transforms.Compose | None) -> int | None:
    """Pixels of the square that a photo is resized to; None where no photo is looked at."""
    return None if transform is None else transform.transforms[0].size[0]


def photo_transform(image_size: int) -> transforms.Compose:
    """As released: squash to a square (Pillow's bilinear), scale to [0, 1], normalise by ImageNet's statistics."""
    return transforms.Compose(
        [
            transforms.Resize((image_size, image_size)),
            transforms.ToTensor(),
            transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )


def in_two_steps(transform: transforms.Compose) -> tuple[Callable[[Image.Image], Image.Image], transforms.Compose]:
    """What ``photo_transform`` does first, as Pillow's own call, for processes without torch; and what is left."""
    height, width = transform.transforms[0].size
    resize = operator.methodcaller("resize", (width, height), Image.Resampling.BILINEAR)
    return resize, transforms.Compose(transform.transforms[1:])


def count_parameters(model: nn.Module) -> dict[str, int]:
    """Numbers of parameters: ``total``, and ``optimised`` (those with a gradient)."""
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return {"total": sum(n for n, _ in sizes), "optimised": sum(n for n, grad in sizes if grad)}


def assert_parameter_counts(model: S2P, arch: str) -> None:
    """Hold the model to the counts printed on the card: 732 optimised; 24,256,649 in all for ResNet-50.

    A head of one logit (``use_bce``) has 366 parameters less.
    """
    found = count_parameters(model)
    one_logit = model.scene_to_privacy_layer.out_features == 1
    expected = {"optimised": BCE_HEAD_PARAMETERS if one_logit else HEAD_PARAMETERS}
    if arch == "resnet50":
        expected["total"] = RESNET50_S2P_PARAMETERS - HEAD_PARAMETERS + expected["optimised"]
    wrong = {name: (found[name], n) for name, n in expected.items() if found[name] != n}
    if wrong:
        raise AssertionError(f"parameter counts (found, expected by the card) differ: {wrong}")


def read_torch_file(path: str | Path) -> dict:
    """A dict of a ``.pth``, ``.pt`` or ``.pth.tar`` file, old formats included, without running any code in it."""
    allowed = [np._core.multiarray.scalar, np.dtype, np.dtypes.Float64DType, np.dtypes.Float32DType]
    try:
        with torch.serialization.safe_globals(allowed):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can make the unpickler raise anything
        raise ValueError(
            f"{path} was not read: it is damaged, no torch file, or holds more than tensors and plain values. Nothing "
            f"in it was run. Use the published file, or ask its author for a .safetensors file. ({str(error)[:200]})"
        ) from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}; expected a dict of tensors or a checkpoint.")
    return content


def read_backbone_weights(path: str | Path) -> dict[str, torch.Tensor]:
    """State dict of a backbone from a Places365 file, a released S2P checkpoint, a state dict or safetensors."""
    if str(path).endswith(".safetensors"):
        return _read_safetensors(path)
    content = read_torch_file(path)
    state = content.get("state_dict", content.get("net", content))
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise ValueError(f"{path} holds no state dict: expected names of tensors, as torch.save writes them")
    if any(name.startswith("backbone.") for name in state):  # a released S2P checkpoint holds its head too
        return {name.removeprefix("backbone."): t for name, t in state.items() if name.startswith("backbone.")}
    return {name.removeprefix("module."): tensor for name, tensor in state.items()}


def write_checkpoint(
    path: str | Path,
    model: S2P,
    measure: float,
    epoch: int,
    kind: str = "best",
    codes: Mapping[int, str] = PRIVATE_IS_0,
) -> None:
    """The released checkpoint format: ``net``, ``measure``, ``epoch``, ``type`` (``best`` or ``last``); atomic.

    The order of the privacy logits is that of the dataset's label ``codes``, as in released checkpoints, which do not
    say it. Ours do, in one key more: ``classes``.
    """
    classes = [codes[0], codes[1]]
    net = {name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()}
    net |= _in_order(net, classes)
    content = {"net": net, "measure": float(measure), "epoch": int(epoch), "type": kind}
    write_torch_file(path, content | {"classes": classes})


def _in_order(net: dict[str, torch.Tensor], classes) -> dict[str, torch.Tensor]:
    """The head's two tensors with its privacy logits turned from private, public into ``classes``, or back."""
    head = {name: net[name] for name in HEAD_NAMES}
    if tuple(classes) == CLASSES:
        return head
    one_logit = len(head[HEAD_NAMES[1]]) == 1  # the log-odds of class 1
    return {name: -tensor if one_logit else tensor.flip(0) for name, tensor in head.items()}


def write_torch_file(path: str | Path, content: dict) -> None:
    """Under its name only when complete: a killed process leaves the old file or the new one."""
    part = Path(f"{path}.part")
    torch.save(content, part)
    os.replace(part, path)


def read_checkpoint(path: str | Path) -> dict:
    """A checkpoint in the released format; ValueError if it has no S2P head."""
    content = read_torch_file(path)
    net = content.get("net")
    head = [net.get(name) for name in HEAD_NAMES] if isinstance(net, dict) else []
    shapes = [tuple(tensor.shape) for tensor in head if isinstance(tensor, torch.Tensor)]
    if shapes not in ([(n, len(SCENES)), (n,)] for n in (1, 2)):
        raise ValueError(
            f"{path} is no S2P checkpoint: it needs 'net' with scene_to_privacy_layer.weight (2 x 365, or 1 x 365 with "
            "use_bce) and scene_to_privacy_layer.bias, and backbone.* unless it is a head alone"
        )
    if not all(torch.isfinite(tensor).all() for tensor in head):
        raise ValueError(f"{path}: the weights of scene_to_privacy_layer are not all finite numbers")
    if sorted(content.get("classes", CLASSES)) != sorted(CLASSES):
        raise ValueError(f"{path}: classes are {content['classes']!r}; allowed: private and public, in either order")
    return content


def holds_backbone(path: str | Path) -> bool:
    """Whether a checkpoint holds a trained S2P's backbone; False for Places365 weights and for a head alone."""
    if str(path).endswith(".safetensors"):
        return any(name.startswith("backbone.") for name in _read_safetensors(path))
    content = read_torch_file(path)
    net = content.get("net", content)
    return isinstance(net, dict) and any(str(name).startswith("backbone.") for name in net)


def load_checkpoint(
    path: str | Path,
    backbone: str,
    image_size: int | None = None,
    weights: str | Path | None = None,
    codes: Mapping[int, str] | None = None,
) -> tuple[S2P, transforms.Compose | None]:
    """A trained model and its transform from a checkpoint in the released format.

    If it holds a head alone, the backbone is that of ``weights``, or the one that the kit brings. ``codes`` are the
    label codes of the dataset that it was trained on: they order its privacy logits, unless the file has ``classes`` as
    the kit's own do. In the model that is returned private is always first. ValueError if neither tells the order.
    """
    content = read_checkpoint(path)
    if codes is None and "classes" not in content:
        raise ValueError(
            f"{path} does not say which privacy logit is private, as released checkpoints do not. Say which dataset it "
            "was trained on (--trained-on, or the parameter init_trained_on): ipd (private first) or privacyalert "
            "(public first)"
        )
    head = _in_order(content["net"], content.get("classes") or (codes[0], codes[1]))
    head = {name.removeprefix("scene_to_privacy_layer."): tensor for name, tensor in head.items()}
    weights = path if holds_backbone(path) else weights
    model, transform = load_s2p(backbone, weights, image_size, use_bce=len(head["bias"]) == 1)
    model.scene_to_privacy_layer.load_state_dict(head)
    return model, transform


def log_odds_of_private(head: nn.Linear) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight [365] and bias [] (float64) of the linear score whose sigmoid is the probability of private.

    For two privacy logits it is private minus public; for one (``use_bce``) it is the negated logit.
    """
    weight, bias = head.weight.detach().cpu().double(), head.bias.detach().cpu().double()
    return (-weight[0], -bias[0]) if len(bias) == 1 else (weight[0] - weight[1], bias[0] - bias[1])


def fingerprint(model: S2P, transform: transforms.Compose, precision: str = "float32") -> str:
    """Hex sha256 of all that decides a photo's scene logits: backbone tensors and buffers, transform, precision."""
    digest = hashlib.sha256(f"{transform!r} {precision}".encode())
    digest.update(type(model.backbone).__name__.encode())
    for name, tensor in sorted(model.backbone.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def choose_device(wanted: str = "auto") -> str:
    """``cuda``, ``mps`` or ``cpu``; ``auto`` takes the first that is there. ValueError if ``wanted`` is not."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    found = [name for name, available in there.items() if available]
    if wanted != "auto" and wanted not in found:
        raise ValueError(f"device={wanted!r} is not on this machine; allowed here: auto, {', '.join(found)}")
    return found[0] if wanted == "auto" else wanted


def _backbone_entry(backbone: str) -> Backbone:
    if backbone in BACKBONES:
        return BACKBONES[backbone]
    known = torchvision.models.list_models(module=torchvision.models)
    if backbone not in known:
        raise ValueError(f"backbone={backbone!r} is unknown; allowed: {', '.join([*BACKBONES, *known])}")
    return Backbone(backbone)


def _bundled_weights(entry: Backbone) -> dict[str, torch.Tensor]:
    path = PACKAGE / entry.weights
    found = file_sha256(path)
    if found != entry.sha256:
        raise ValueError(f"{path} has sha256 {found}, expected {entry.sha256}. Restore it: git checkout {path.name}")
    return _read_safetensors(path)


def _read_safetensors(path: str | Path) -> dict[str, torch.Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is damaged or no safetensors file: {error}") from None


def _load_strictly(net: nn.Module, state: dict, backbone: str, path: str | Path) -> None:
    try:
        net.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise ValueError(f"{path} does not fit backbone {backbone!r} with {len(SCENES)} scenes: {error}") from None


def _weights_wanted(backbone: str) -> str:
    if backbone != "resnet50":
        return f"backbone {backbone!r} needs -p weights FILE: a state dict of that network with {len(SCENES)} scenes."
    return (
        f"backbone {backbone!r} needs a weights file: resnet50_places365.pth.tar from {PLACES365_SITE}, or a "
        f"released S2P checkpoint (.pth) from {RELEASED_CHECKPOINTS}. Put it anywhere, for example data/weights/, "
        "and pass its place: -p weights data/weights/resnet50_places365.pth.tar"
    )
