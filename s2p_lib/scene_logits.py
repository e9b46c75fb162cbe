"""Photos -> scene logits [N, 365], computed once and kept.

The cache holds one file per shard of photos: safetensors with ``photo_sha256`` [n, 32] uint8 and
``scene_logits`` [n, 365] float32. A shard's name is the sha256 of its bytes and its folder is named after the
backbone and transform, so a stale or damaged shard can never be mistaken for a good one.
"""

import hashlib
import itertools
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import safetensors.numpy
import torch

from s2p_lib.model import S2P, SCENES, fingerprint
from s2p_lib.photos import UNREADABLE, ahead, file_sha256, open_photo, problem_of
from s2p_lib.progress import progress
from s2p_lib.samples import PROBLEM_COLUMNS

PRECISIONS = ("float32", "bfloat16")  # of the backbone's arithmetic; released: float32
BATCH_SIZE = 16  # of the pass through the backbone only: in eval mode it does not change what a photo gets
PHOTOS_PER_SHARD = 512  # a killed run loses at most this many photos' work


class SceneLogitCache:
    """Scene logits of one backbone and transform in ``folder``, found by the sha256 of a photo's file."""

    def __init__(self, folder: str | Path, key: str):
        self.folder = Path(folder) / key[:16]
        self.folder.mkdir(parents=True, exist_ok=True)
        self.damaged = []
        self._place = {}  # photo sha256 -> (shard, row)
        for shard in sorted(self.folder.glob("*.safetensors")):
            self._index(shard)

    def __contains__(self, sha256: str) -> bool:
        return sha256 in self._place

    def add(self, hashes: list[str], logits: np.ndarray) -> None:
        """Append one shard; it appears under its name only when complete."""
        digests = np.array([list(bytes.fromhex(h)) for h in hashes], dtype=np.uint8)
        content = safetensors.numpy.save({"photo_sha256": digests, "scene_logits": logits.astype(np.float32)})
        shard = self.folder / f"{hashlib.sha256(content).hexdigest()}.safetensors"
        part = shard.with_suffix(f".{os.getpid()}.part")
        part.write_bytes(content)
        os.replace(part, shard)
        self._remember(shard, hashes)

    def read(self, hashes: list[str]) -> np.ndarray:
        """[N, 365] float32 in the order of ``hashes``; KeyError for a photo that is not in the cache."""
        logits = np.empty((len(hashes), len(SCENES)), dtype=np.float32)
        wanted = pd.DataFrame([self._place[h] for h in hashes], columns=["shard", "row"])
        for shard, rows in wanted.groupby("shard"):
            logits[rows.index] = safetensors.numpy.load_file(shard)["scene_logits"][rows["row"]]
        return logits

    def _index(self, shard: Path) -> None:
        if file_sha256(shard) != shard.stem:
            self.damaged.append(shard.name)
            shard.unlink()  # its photos are computed again
            return
        digests = safetensors.numpy.load_file(shard)["photo_sha256"]
        self._remember(shard, [row.tobytes().hex() for row in digests])

    def _remember(self, shard: Path, hashes: list[str]) -> None:
        self._place |= {sha256: (shard, row) for row, sha256 in enumerate(hashes)}


def extract_scene_logits(
    samples: pd.DataFrame,
    data_dir: str | Path,
    model: S2P,
    transform,
    cache_dir: str | Path,
    device: str = "cpu",
    batch_size: int = BATCH_SIZE,
    workers: int = 1,
    precision: str = "float32",
) -> tuple[np.ndarray, dict[str, str]]:
    """Scene logits [N, 365] float32 in the order of ``samples``, and the problem of each unreadable photo by name.

    Only photos that the cache lacks pass through the backbone, in eval mode. Rows of unreadable photos are NaN.
    Memory is that of a few batches, whatever the number of photos, and the returned array. ``precision`` is one of
    ``PRECISIONS``; each has a cache of its own.
    """

    def compute(todo: dict[str, Path], failed: dict[str, str]) -> Iterator[tuple[list[str], np.ndarray]]:
        return _run_backbone(todo, failed, model, transform, device, batch_size, workers, precision)

    cache = SceneLogitCache(cache_dir, fingerprint(model, transform, precision))
    return through_cache(samples, data_dir, cache, compute, workers)


def through_cache(
    samples: pd.DataFrame, data_dir: str | Path, cache: SceneLogitCache, compute: Callable, workers: int
) -> tuple[np.ndarray, dict[str, str]]:
    """As ``extract_scene_logits``: what the cache lacks is computed and added to it.

    ``compute(todo, failed)`` takes the paths of files by their sha256, yields (hashes, logits [n, 365]) shard by shard,
    and puts the problems of files that cannot be used into ``failed``.
    """
    if cache.damaged:
        print(f"{len(cache.damaged)} damaged cache file(s) removed; their photos are computed again")
    photos = hash_files([Path(data_dir) / path for path in samples["path"]], workers)
    todo = {photo.sha256: photo.path for photo in photos if photo.sha256 and photo.sha256 not in cache}
    failed = {}
    for hashes, logits in compute(todo, failed):
        cache.add(hashes, logits)
    result = np.full((len(samples), len(SCENES)), np.nan, dtype=np.float32)
    good = [i for i, photo in enumerate(photos) if photo.sha256 in cache]
    result[good] = cache.read([photos[i].sha256 for i in good])
    problems = {
        image: photo.problem or failed[photo.sha256]
        for image, photo in zip(samples["image"], photos)
        if photo.sha256 not in cache
    }
    return result, problems


def drop_unreadable(
    samples: pd.DataFrame, logits: np.ndarray, problems: dict[str, str]
) -> tuple[pd.DataFrame, np.ndarray, pd.DataFrame]:
    """Samples and logits without the photos named in ``problems``, and one problems row for each of them."""
    bad = samples["image"].isin(list(problems))
    rows = [(image, path, problems[image], "left out") for image, path in samples.loc[bad, ["image", "path"]].values]
    return samples[~bad].reset_index(drop=True), logits[~bad.to_numpy()], pd.DataFrame(rows, columns=PROBLEM_COLUMNS)


class HashedFile(NamedTuple):
    path: Path
    sha256: str | None
    problem: str | None


def hash_files(paths: list[Path], workers: int) -> list[HashedFile]:
    with ThreadPoolExecutor(max(1, workers)) as pool:
        return list(progress(pool.map(_hash_file, paths), total=len(paths), desc="hashing files", unit="file"))


def photos_sha256(paths: list[Path], workers: int) -> str:
    """Hex sha256 of the contents of all these files in this order; a file that is gone counts as such."""
    hashes = [photo.sha256 or "gone" for photo in hash_files(paths, workers)]
    return hashlib.sha256(" ".join(hashes).encode()).hexdigest()


def _hash_file(path: Path) -> HashedFile:
    try:
        return HashedFile(path, file_sha256(path), None)
    except OSError as error:
        return HashedFile(path, None, problem_of(path, error))


def _run_backbone(
    todo: dict[str, Path],
    failed: dict[str, str],
    model: S2P,
    transform,
    device: str,
    batch_size: int,
    workers: int,
    precision: str,
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Yield (hashes, logits [n, 365]) shard by shard; photos that cannot be read go to ``failed``."""
    backbone = on_device(model.backbone, device).eval()
    hashes, logits = [], []
    with (
        ThreadPoolExecutor(max(1, workers)) as pool,
        progress(total=len(todo), desc="scene logits", unit="photo", disable=not todo) as bar,
    ):
        loaded = ahead(pool, lambda item: _load(*item, transform), todo.items(), 2 * batch_size)
        while batch := list(itertools.islice(loaded, batch_size)):
            failed |= {sha256: problem for sha256, _, problem in batch if problem}
            good = [(sha256, tensor) for sha256, tensor, problem in batch if not problem]
            if good:
                hashes += [sha256 for sha256, _ in good]
                photos = torch.stack([tensor for _, tensor in good])
                logits.append(scenes_in_parts(backbone, photos, device, precision).numpy())
            bar.update(len(batch))
            if len(hashes) >= PHOTOS_PER_SHARD:
                yield hashes, np.concatenate(logits)
                hashes, logits = [], []
    if hashes:
        yield hashes, np.concatenate(logits)


def on_device(backbone: torch.nn.Module, device: str) -> torch.nn.Module:
    """The backbone on its device, channels last: faster convolutions (see ``s2p bench``), the same figures to 1e-5."""
    return backbone.to(device, memory_format=torch.channels_last)


def scenes(backbone: torch.nn.Module, photos: torch.Tensor, device: str, precision: str = "float32") -> torch.Tensor:
    """[B, 3, H, W] -> [B, 365] float32 on the CPU, without a graph; on a GPU with deterministic kernels, as released.

    RuntimeError that names a batch size to try if memory runs out.
    """
    exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
    mixed = torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16")
    try:
        if device == "cuda":
            photos = photos.pin_memory()
        with torch.inference_mode(), exact, mixed:
            photos = photos.to(device, memory_format=torch.channels_last, non_blocking=True)
            return backbone(photos).float().cpu()
    except RuntimeError as error:
        if not _is_out_of_memory(error):
            raise
        smaller = f"batch_size={len(photos) // 2} or " if len(photos) > 1 else ""
        raise OutOfMemory(
            f"out of memory on {device} with {len(photos)} photo(s) of {tuple(photos.shape[2:])} pixels in a batch. "
            f"Try {smaller}a smaller image_size. With bn_mode=released or adapted another batch size gives other "
            "BatchNorm statistics, so it is another experiment."
        ) from None


class OutOfMemory(RuntimeError):
    """A batch of photos did not fit into the device's memory; the message names a batch size to try."""


def _is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator: can't allocate" in str(error)


def scenes_in_parts(backbone, photos: torch.Tensor, device: str, precision: str) -> torch.Tensor:
    """As ``scenes``, for a backbone in eval mode: there the batch may be halved until it fits into memory."""
    try:
        return scenes(backbone, photos, device, precision)
    except OutOfMemory:
        if len(photos) == 1:
            raise
    return torch.cat([scenes_in_parts(backbone, half, device, precision) for half in photos.chunk(2)])


def _load(sha256: str, path: Path, transform) -> tuple[str, torch.Tensor | None, str | None]:
    """(sha256, float32 tensor [3, H, W], None), or (sha256, None, problem) for an unreadable photo."""
    try:
        return sha256, transform(open_photo(path)), None
    except UNREADABLE as error:
        return sha256, None, problem_of(path, error)
