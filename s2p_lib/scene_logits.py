"""Photos -> scene logits [N, 365], computed once and kept.

The cache holds one file per shard of photos: safetensors with ``photo_sha256`` [n, 32] uint8 and
``scene_logits`` [n, 365] float32. A shard's name is the sha256 of its bytes and its folder is named after the
backbone and transform, so a stale or damaged shard can never be mistaken for a good one.
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import safetensors.numpy
import torch
from torch.utils.data import DataLoader, Dataset

from s2p_lib.model import S2P, SCENES, fingerprint
from s2p_lib.photos import UNREADABLE, file_sha256, open_photo
from s2p_lib.progress import progress
from s2p_lib.samples import PROBLEM_COLUMNS

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

    def __len__(self) -> int:
        return len(self._place)

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
    batch_size: int = 100,
    workers: int = 0,
) -> tuple[np.ndarray, dict[str, str]]:
    """Scene logits [N, 365] float32 in the order of ``samples``, and the problem of each unreadable photo by name.

    Only photos that the cache lacks pass through the backbone, in eval mode. Rows of unreadable photos are NaN.
    Memory is that of a few batches, whatever the number of photos, and the returned array.
    """
    cache = SceneLogitCache(cache_dir, fingerprint(model, transform))
    if cache.damaged:
        print(f"{len(cache.damaged)} damaged cache file(s) removed; their photos are computed again")
    photos = [_hash_photo(Path(data_dir) / path) for path in samples["path"]]
    todo = {photo.sha256: photo.path for photo in photos if photo.sha256 and photo.sha256 not in cache}
    failed = {}
    for hashes, logits in _run_backbone(todo, failed, model, transform, device, batch_size, workers):
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
    samples: pd.DataFrame, logits: np.ndarray, problems: dict[str, str], on_bad_photo: str = "report"
) -> tuple[pd.DataFrame, np.ndarray, pd.DataFrame]:
    """Samples and logits without the photos named in ``problems``, and one problems row for each of them.

    With ``on_bad_photo="stop"`` a problem raises ValueError instead.
    """
    if problems and on_bad_photo == "stop":
        image, problem = next(iter(problems.items()))
        raise ValueError(f"{len(problems)} of {len(samples)} photos cannot be read any more, first {image}: {problem}")
    bad = samples["image"].isin(list(problems))
    if bad.any():
        print(f"{bad.sum()} of {len(samples)} photos cannot be read any more and are left out, see audit.csv")
    rows = [(image, path, problems[image], "left out") for image, path in samples.loc[bad, ["image", "path"]].values]
    return samples[~bad].reset_index(drop=True), logits[~bad.to_numpy()], pd.DataFrame(rows, columns=PROBLEM_COLUMNS)


class _Photo(NamedTuple):
    path: Path
    sha256: str | None
    problem: str | None


def _hash_photo(path: Path) -> _Photo:
    try:
        return _Photo(path, file_sha256(path), None)
    except OSError as error:
        return _Photo(path, None, f"unreadable: {type(error).__name__}: {error.strerror}")


class _PhotoTensors(Dataset):
    """Item i: (sha256, float32 tensor [3, H, W], None), or (sha256, None, problem) for an unreadable photo."""

    def __init__(self, todo: dict[str, Path], transform):
        self.items, self.transform = list(todo.items()), transform

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, i: int):
        sha256, path = self.items[i]
        try:
            return sha256, self.transform(open_photo(path)), None
        except UNREADABLE as error:
            return sha256, None, f"unreadable: {type(error).__name__}"


def _run_backbone(
    todo: dict[str, Path], failed: dict[str, str], model: S2P, transform, device: str, batch_size: int, workers: int
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Yield (hashes, logits [n, 365]) shard by shard; photos that cannot be read go to ``failed``."""
    loader = DataLoader(_PhotoTensors(todo, transform), batch_size, num_workers=workers, collate_fn=list)
    backbone = model.backbone.to(device).eval()
    hashes, logits = [], []
    with progress(total=len(todo), desc="scene logits", unit="photo", disable=not todo) as bar:
        for batch in loader:
            failed |= {sha256: problem for sha256, _, problem in batch if problem}
            good = [(sha256, tensor) for sha256, tensor, problem in batch if not problem]
            if good:
                hashes += [sha256 for sha256, _ in good]
                with torch.inference_mode():
                    logits.append(backbone(torch.stack([t for _, t in good]).to(device)).float().cpu().numpy())
            bar.update(len(batch))
            if len(hashes) >= PHOTOS_PER_SHARD:
                yield hashes, np.concatenate(logits)
                hashes, logits = [], []
    if hashes:
        yield hashes, np.concatenate(logits)
