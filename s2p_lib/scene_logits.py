"""Photos -> scene logits [N, 365], computed once by one of the ``engines`` and kept in a ``logit_cache``."""

import io
import itertools
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from s2p_lib import engines
from s2p_lib.file_hashes import HashedFile, hash_files
from s2p_lib.logit_cache import SceneLogitCache, ShardGone, open_cache
from s2p_lib.model import S2P, SCENES, fingerprint, image_size_of
from s2p_lib.photos import NOT_OPENED_KINDS, UNREADABLE, ahead, open_photo, problem_of, read_hashed
from s2p_lib.progress import progress
from s2p_lib.samples import PROBLEM_COLUMNS

BATCH_SIZE = 32  # of the pass through the backbone only: in eval mode it does not change what a photo gets
PHOTOS_PER_SHARD = 512  # a killed run loses at most this many photos' work

Compute = Callable[[dict[str, Path], dict[str, str]], Iterator[tuple[list[str], np.ndarray]]]


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
    engine: str = "auto",
    tell: Callable[[dict], None] | None = None,
) -> tuple[np.ndarray, dict[str, str]]:
    """Scene logits [N, 365] float32 in the order of ``samples``, and the problem of each unreadable photo by name.

    Only photos that the cache lacks pass through the backbone, in eval mode. Rows of unreadable photos are NaN.
    Memory is that of a few batches, whatever the number of photos, and of what is returned. ``precision`` is one of
    ``engines.PRECISIONS`` and ``engine`` one of ``engines.ENGINES``; each pair has a cache of its own. ``auto`` takes
    the engine that has the least work left with what its cache lacks of these photos (``engines.with_least_left``).
    ``tell`` gets what was done: engine, precision, device, photos, from_cache, computed (how many passed through the
    backbone; copies of one file pass once), seconds, cache_bytes. CacheNotWritten for a full or read-only disk;
    FileNotFoundError if ``data_dir`` goes away, or a photo in it that was there when it was hashed.
    """
    started = time.monotonic()
    names = engines.possible(engine, device, precision)
    caches = {
        name: open_cache(cache_dir, fingerprint(model, transform, engines.numerics(name, precision, device)))
        for name in names
    }
    photos = _hashed(samples, data_dir, cache_dir, workers)
    lacking = {name: len({p.sha256 for p in photos if p.sha256} - set(cache)) for name, cache in caches.items()}
    name = engines.with_least_left(lacking, model.backbone, image_size_of(transform))
    passed = []

    def compute(todo: dict[str, Path], failed: dict[str, str]) -> Iterator[tuple[list[str], np.ndarray]]:
        run = engines.prepare(name, model.backbone, image_size_of(transform), device, precision)
        for hashes, logits in _run_backbone(todo, failed, run, transform, batch_size, workers):
            passed.extend(hashes)
            yield hashes, logits

    n_before = sum(photo.sha256 in caches[name] for photo in photos)
    logits, problems = through_cache(samples, data_dir, photos, caches[name], compute)
    done = {"engine": name, "precision": precision, "device": device, "photos": len(samples), "from_cache": n_before}
    done |= {"computed": len(passed), "seconds": time.monotonic() - started}
    done["cache_bytes"] = caches[name].size_bytes
    print(
        f"scene logits: {n_before:,} of {len(samples):,} photos from the cache, {done['computed']:,} computed by "
        f"{name}, {precision}, {device}; the cache holds {done['cache_bytes'] / 1e6:,.1f} MB"
    )
    if tell is not None:
        tell(done)
    return logits, problems


def through_cache(
    samples: pd.DataFrame, data_dir: str | Path, photos: list[HashedFile], cache: SceneLogitCache, compute: Compute
) -> tuple[np.ndarray, dict[str, str]]:
    """As ``extract_scene_logits``: what the cache lacks of ``photos``, one a sample, is computed and added to it.

    ``compute(todo, failed)`` takes the paths of files by their sha256, yields (hashes, logits [n, 365]) shard by shard,
    and puts the problems of files that cannot be used into ``failed``.
    """
    todo = {photo.sha256: photo.path for photo in photos if photo.sha256 and photo.sha256 not in cache}
    failed = {}
    if todo:
        cache.check_writable()
        for hashes, logits in compute(todo, failed):
            cache.add(hashes, logits)
    problems = {
        image: photo.problem or failed[photo.sha256]
        for image, photo in zip(samples["image"], photos)
        if photo.sha256 not in cache
    }
    if problems:
        _check_still_there(Path(data_dir), photos, problems, failed)
    result = np.full((len(samples), len(SCENES)), np.nan, dtype=np.float32)
    good = [i for i, photo in enumerate(photos) if photo.sha256 in cache]
    try:
        result[good] = cache.read([photos[i].sha256 for i in good])
    except ShardGone as gone:
        print(f"{gone}; its photos are computed again")
        return through_cache(samples, data_dir, photos, cache, compute)
    return result, problems


def _check_still_there(
    data_dir: Path, photos: list[HashedFile], problems: dict[str, str], failed: dict[str, str]
) -> None:
    """FileNotFoundError if a file cannot be opened that was there when it was hashed, a moment ago.

    A network disk that is lost often leaves an empty folder in its place, in which every photo is merely missing.
    """
    hashed = [photo for photo in photos if photo.sha256]
    lost = {p.path: failed[p.sha256] for p in hashed if failed.get(p.sha256, "").startswith(NOT_OPENED_KINDS)}
    # os.path: for a lost network disk pathlib raises errors of many kinds
    if not lost and hashed and not os.path.exists(hashed[0].path):  # it went while others were hashed
        lost = {hashed[0].path: "missing file"}
    if not lost and os.path.isdir(data_dir):
        return
    example = "".join(f", such as {path} ({problem})" for path, problem in list(lost.items())[:1])
    raise FileNotFoundError(
        f"{data_dir} has gone away, or files in it, with {len(problems):,} of {len(photos):,} photos not read{example}"
        ". When they are back, give the same command again: what was computed so far is kept. Files that are missing "
        "or unreadable when it starts are left out"
    )


def drop_unreadable(
    samples: pd.DataFrame, logits: np.ndarray, problems: dict[str, str]
) -> tuple[pd.DataFrame, np.ndarray, pd.DataFrame]:
    """Samples and logits without the photos named in ``problems``, and one problems row for each of them."""
    bad = samples["image"].isin(list(problems))
    rows = [(image, path, problems[image], "left out") for image, path in samples.loc[bad, ["image", "path"]].values]
    return samples[~bad].reset_index(drop=True), logits[~bad.to_numpy()], pd.DataFrame(rows, columns=PROBLEM_COLUMNS)


def _hashed(samples: pd.DataFrame, data_dir: str | Path, cache_dir: str | Path, workers: int) -> list[HashedFile]:
    return hash_files([Path(data_dir) / path for path in samples["path"]], workers, cache_dir)


def _run_backbone(
    todo: dict[str, Path], failed: dict[str, str], run: engines.Engine, transform, batch_size: int, workers: int
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Yield (hashes, logits [n, 365]) shard by shard; photos that cannot be read go to ``failed``."""
    hashes, logits, under_way = [], [], deque()  # under_way: the hashes of each batch that the engine has taken
    with (
        ThreadPoolExecutor(max(1, workers)) as pool,
        progress(total=len(todo), desc="scene logits", unit="photo") as bar,
    ):
        loaded = ahead(pool, lambda item: _load(*item, transform), todo.items(), 2 * batch_size)

        def batches() -> Iterator[torch.Tensor]:
            while batch := list(itertools.islice(loaded, batch_size)):
                failed.update({sha256: problem for sha256, _, problem in batch if problem})
                good = [(sha256, tensor) for sha256, tensor, problem in batch if not problem]
                bar.update(len(batch) - len(good))
                if good:
                    under_way.append([sha256 for sha256, _ in good])
                    yield torch.stack([tensor for _, tensor in good])

        for scenes in run(batches()):
            hashes += under_way.popleft()
            logits.append(scenes.numpy())
            bar.update(len(scenes))
            if len(hashes) >= PHOTOS_PER_SHARD:
                yield hashes, np.concatenate(logits)
                hashes, logits = [], []
    if hashes:
        yield hashes, np.concatenate(logits)


def _load(sha256: str, path: Path, transform) -> tuple[str, torch.Tensor | None, str | None]:
    """(sha256, float32 tensor [3, H, W], None), or (sha256, None, problem) for an unreadable photo.

    Decoded are the bytes that were hashed: what is kept under a hash is of that file, even if it changes meanwhile.
    """
    try:
        return sha256, transform(open_photo(io.BytesIO(read_hashed(path, sha256)))), None
    except UNREADABLE as error:
        return sha256, None, problem_of(path, error)
