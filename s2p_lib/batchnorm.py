"""BatchNorm statistics of the backbone: as the released trainer changes them, or estimated once.

The card says that the backbone is fixed. In the released code its BatchNorm layers stay in train mode while the head
is trained: each batch is normalised by its own statistics, which also update the running ones. No weight changes.
"""

import hashlib
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import safetensors.torch
import torch
import torch.fx
from torch import nn

from s2p_lib.engines import on_device, scenes
from s2p_lib.file_hashes import hash_files
from s2p_lib.model import S2P, fingerprint
from s2p_lib.photos import UNREADABLE, FileChanged, ahead, open_photo, problem_of, read_hashed
from s2p_lib.progress import progress

MEMORY_FOR_PHOTOS = 1_000_000_000  # bytes of a split's resized photos kept between epochs; others are decoded again
PHOTOS_AHEAD = 32  # decoded while the backbone works on those before

State = dict[str, torch.Tensor]


def batchnorm_layers(backbone: nn.Module) -> dict[str, nn.Module]:
    """The BatchNorm layers by name, in the order of the network; ValueError if it has none."""
    layers = {n: m for n, m in backbone.named_modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)}
    if not layers:
        raise ValueError(
            f"{type(backbone).__name__} has no BatchNorm layers: nothing can be re-estimated. Use bn_mode=frozen."
        )
    return layers


def read_statistics(backbone: nn.Module) -> State:
    """Copies of the BatchNorm buffers, named as in the backbone's state dict, on the CPU."""
    buffers = {f"{layer}.{name}": b for layer, m in batchnorm_layers(backbone).items() for name, b in m.named_buffers()}
    return {name: buffer.detach().cpu().clone() for name, buffer in buffers.items()}


def set_statistics(backbone: nn.Module, statistics: State) -> None:
    """Put the buffers of ``read_statistics`` back."""
    backbone.load_state_dict(statistics, strict=False)


class BatchStatistics:
    """While it is entered, BatchNorm normalises by the batch and updates its running statistics.

    All else (dropout) stays in eval mode. The figures are those of torch's train mode, in inference only: no gradient
    can pass. Make it before other threads call any torch module: to see which layers may work in place the network is
    traced, and for that moment torch replaces what calling a module does, in every thread.
    """

    def __init__(self, backbone: nn.Module):
        self._layers = batchnorm_layers(backbone)
        self._in_place = _sole_readers_of_convolutions(backbone)

    def __enter__(self) -> None:
        try:
            for name, layer in self._layers.items():
                layer.forward = partial(_normalise_by_batch, layer, in_place=name in self._in_place)
                layer.train()
        except BaseException:  # Ctrl-C in here
            self.__exit__()
            raise

    def __exit__(self, *_) -> None:
        for layer in self._layers.values():
            layer.eval()
            vars(layer).pop("forward", None)


def _normalise_by_batch(layer: nn.Module, x: torch.Tensor, in_place: bool) -> torch.Tensor:
    """What a BatchNorm layer does in train mode, for [B, C, H, W] on the CPU in channels-last order.

    torch's own kernel for that order adds up hundreds of thousands of float32 numbers one by one, so that variances
    come out wrong by up to 1e-3, and it writes into new memory, which costs more than the arithmetic.
    """
    plain = not layer.training or not layer.affine or not layer.track_running_stats
    if plain or x.device.type != "cpu" or x.dim() != 4:
        return type(layer).forward(layer, x)
    rows = x.permute(0, 2, 3, 1)  # [B, H, W, C]: a view where the order is channels-last
    n = rows[..., 0].numel()
    if n == 1:
        raise ValueError(
            "a batch of one photo leaves one number per channel, which has no variance. Choose a batch_size that does "
            "not leave a single photo for the last batch, or a larger image_size."
        )
    mean, variance = _moments(rows)
    layer.num_batches_tracked += 1
    weight_of_new = layer.momentum if layer.momentum is not None else 1 / float(layer.num_batches_tracked)
    layer.running_mean.lerp_(mean.float(), weight_of_new)
    layer.running_var.lerp_((variance * n / (n - 1)).float(), weight_of_new)
    scale = layer.weight.double() / (variance + layer.eps).sqrt()
    shift = layer.bias.double() - mean * scale
    in_place = in_place and x.dtype == torch.float32 and x.is_contiguous(memory_format=torch.channels_last)
    out = rows if in_place else torch.empty_like(rows, dtype=torch.float32)
    return torch.addcmul(shift.float(), rows.float(), scale.float(), out=out).permute(0, 3, 1, 2).to(x.dtype)


def _moments(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and biased variance over all but the last axis of [B, H, W, C], float64 [C] each.

    Sums are products with a row of ones, which add up in blocks, photo by photo in memory that stays in the cache.
    Numbers near the mean are subtracted first, so that the squares are small.
    """
    height_width, channels = rows.shape[1] * rows.shape[2], rows.shape[3]
    ones, buffer = torch.ones(1, height_width), torch.empty(height_width, channels)
    near = rows[0].reshape(height_width, channels)[:: max(1, height_width // 64)].float().mean(0)
    sums, squares = torch.zeros(2, channels, dtype=torch.float64)
    with torch.autocast("cpu", enabled=False):  # it would add up in half precision
        for photo in rows:
            torch.sub(photo.reshape(height_width, channels), near, out=buffer)
            sums += (ones @ buffer)[0]
            squares += (ones @ buffer.square_())[0]
    offset = sums / (len(rows) * height_width)
    return near.double() + offset, squares / (len(rows) * height_width) - offset.square()


def _sole_readers_of_convolutions(backbone: nn.Module) -> frozenset[str]:
    """Names of the BatchNorm layers that alone read a convolution's output, so that they may overwrite it."""
    try:
        graph = torch.fx.symbolic_trace(backbone).graph
    except Exception:  # whatever a network's own code raises when it cannot be traced
        return frozenset()
    modules = dict(backbone.named_modules())
    return frozenset(
        node.target
        for node in graph.nodes
        if node.op == "call_module"
        for source in node.all_input_nodes
        if isinstance(modules.get(source.target), nn.Conv2d) and len(source.users) == 1
    )


class PhotoBatches:
    """The photos of one split, loaded by threads in whatever batches are asked for; hashed when this is made."""

    def __init__(self, samples: pd.DataFrame, data_dir: str | Path, transform, workers: int):
        self.samples, self.transform, self._workers = samples, transform, max(1, workers)
        self._hashed = hash_files([Path(data_dir) / path for path in samples["path"]], self._workers)
        self._kept, self._kept_bytes = {}, 0

    def __call__(self, batches: Sequence[torch.Tensor]) -> Iterator[torch.Tensor]:
        """[B, 3, H, W] float32 for each int64 [B] of row numbers. ValueError for a photo that cannot be read or
        has changed since it was hashed."""
        pool = ThreadPoolExecutor(self._workers)
        try:
            loaded = ahead(pool, self._load, torch.cat(list(batches)).tolist(), PHOTOS_AHEAD)
            for batch in batches:
                yield torch.stack([next(loaded) for _ in batch])
        finally:
            pool.shutdown(cancel_futures=True)

    @property
    def key(self) -> str:
        """Hex sha256 of names, labels, order and contents: other photos have another one."""
        contents = hashlib.sha256(" ".join(photo.sha256 or "gone" for photo in self._hashed).encode()).hexdigest()
        text = self.samples[["image", "label"]].to_csv(index=False) + contents
        return hashlib.sha256(text.encode()).hexdigest()

    def _load(self, row: int) -> torch.Tensor:
        if row in self._kept:
            return self._kept[row]
        path, sha256, problem = self._hashed[row]
        name = self.samples["path"].iloc[row]
        try:
            if sha256 is not None:
                photo = self.transform(open_photo(io.BytesIO(read_hashed(path, sha256))))
        except FileChanged:
            raise ValueError(
                f"photo {name} has changed since this began. Put the old one back, or run 01_data_splits again"
            ) from None
        except UNREADABLE as error:
            problem = problem_of(path, error)
        if problem:
            raise ValueError(
                f"photo {name} could be read before and no longer can: {problem}. Mend it, or run 01_data_splits again "
                "to leave it out."
            )
        if self._kept_bytes + photo.nbytes <= MEMORY_FOR_PHOTOS:
            self._kept[row] = photo
            self._kept_bytes += photo.nbytes
        return photo


def adapt(backbone: nn.Module, batches: Iterable[torch.Tensor], device: str = "cpu") -> None:
    """Replace the running statistics by the plain mean of the statistics of these batches [B, 3, H, W].

    As torch.optim.swa_utils.update_bn, but only BatchNorm is in train mode meanwhile.
    """
    layers = batchnorm_layers(on_device(backbone, device).eval()).values()
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # torch's word for a plain mean over all batches
    with BatchStatistics(backbone):
        for photos in batches:
            scenes(backbone, photos, device)
    for layer, momentum in zip(layers, momenta):
        layer.momentum = momentum


def adapt_to_photos(
    model: S2P, photos: PhotoBatches, cache_dir: Path, batch_size: int, seed: int, device: str = "cpu"
) -> None:
    """``adapt`` the backbone to the photos in batches shuffled by ``seed``, once: the statistics are kept on disk.

    They are named by what they were made from and by their own sha256, so neither stale nor damaged ones are used.
    """
    made_from = f"{fingerprint(model, photos.transform)} {photos.key} {batch_size} {seed}"
    key = hashlib.sha256(made_from.encode()).hexdigest()[:16]
    cache_dir.mkdir(parents=True, exist_ok=True)
    for file in cache_dir.glob(f"adapted-{key}-*.safetensors"):
        content = file.read_bytes()
        if hashlib.sha256(content).hexdigest()[:16] == file.stem.split("-")[-1]:
            set_statistics(model.backbone, safetensors.torch.load(content))
            on_device(model.backbone, device)
            return
    order = torch.randperm(len(photos.samples), generator=torch.Generator().manual_seed(seed))
    batches = order.split(batch_size)
    adapt(model.backbone, progress(photos(batches), total=len(batches), desc="BatchNorm statistics"), device)
    content = safetensors.torch.save(read_statistics(model.backbone))
    file = cache_dir / f"adapted-{key}-{hashlib.sha256(content).hexdigest()[:16]}.safetensors"
    part = file.with_suffix(".part")
    part.write_bytes(content)
    os.replace(part, file)


def count_changes(before: State, after: State) -> dict[str, int]:
    """How many tensors of a state dict differ, bit for bit: ``batchnorm_buffers`` and ``other_tensors``."""
    changed = [name for name, tensor in before.items() if not torch.equal(tensor.cpu(), after[name].cpu())]
    of_batchnorm = [name for name in changed if name.endswith(("running_mean", "running_var", "num_batches_tracked"))]
    return {"batchnorm_buffers": len(of_batchnorm), "other_tensors": len(changed) - len(of_batchnorm)}


def drift(before: State, after: State) -> pd.DataFrame:
    """How far each BatchNorm layer's statistics have moved: layer, depth (from 1), mean_shift, std_ratio.

    ``mean_shift`` is the mean over channels of |new mean - old mean| / old standard deviation, ``std_ratio`` the
    geometric mean over channels of new / old standard deviation. Channels whose old variance is 0 are left out.
    """
    rows = []
    layers = [name.removesuffix(".running_mean") for name in before if name.endswith(".running_mean")]
    for depth, layer in enumerate(layers, start=1):
        old_var, new_var = (s[f"{layer}.running_var"].cpu().double().numpy() for s in (before, after))
        old_mean, new_mean = (s[f"{layer}.running_mean"].cpu().double().numpy() for s in (before, after))
        used = (old_var > 0) & (new_var > 0)
        shift = np.abs(new_mean - old_mean)[used] / np.sqrt(old_var[used])
        ratio = np.exp(np.log(new_var[used] / old_var[used]).mean() / 2)
        rows.append((layer, depth, shift.mean(), ratio))
    return pd.DataFrame(rows, columns=["layer", "depth", "mean_shift", "std_ratio"])
