"""Published scene probabilities -> scene logits [N, 365], through the same cache as those of photos.

The published files hold one probability a scene, the sigmoid of its logit (not a softmax over scenes), printed with
six decimals. The logit is therefore known to within 5e-7 / (p (1 - p)).
"""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from s2p_lib.file_hashes import hash_files
from s2p_lib.logit_cache import open_cache
from s2p_lib.model import SCENES
from s2p_lib.photos import FileChanged, ahead, problem_of, read_hashed
from s2p_lib.progress import progress
from s2p_lib.scene_logits import through_cache

HEADER = ["scene", "conf"]
CLIP = 5e-7  # half a unit of the last printed decimal: 0.000000 and 1.000000 are taken to be this far from 0 and 1
LARGEST_FILE = 1_000_000  # bytes; a published file has about 8,000
FILES_PER_SHARD = 4096


def read_published_scenes(
    samples: pd.DataFrame, data_dir: str | Path, cache_dir: str | Path, workers: int = 1
) -> tuple[np.ndarray, dict[str, str]]:
    """Scene logits [N, 365] float32 in the order of ``samples``, and the problem of each unusable file by image name.

    The paths of ``samples`` are scene files. Each is parsed once, then kept in the cache. Rows of unusable files are
    NaN.
    """
    key = hashlib.sha256(f"published scenes, clipped at {CLIP}".encode()).hexdigest()

    def parse(todo: dict[str, Path], failed: dict[str, str]) -> Iterator[tuple[list[str], np.ndarray]]:
        hashes, logits = [], []
        with (
            ThreadPoolExecutor(max(1, workers)) as pool,
            progress(total=len(todo), desc="scene files", unit="file", disable=not todo) as bar,
        ):
            for sha256, row, problem in ahead(pool, lambda item: _load(*item), todo.items(), 64):
                if problem:
                    failed[sha256] = problem
                else:
                    hashes.append(sha256)
                    logits.append(row)
                bar.update()
                if len(hashes) == FILES_PER_SHARD:
                    yield hashes, np.stack(logits)
                    hashes, logits = [], []
        if hashes:
            yield hashes, np.stack(logits)

    files = hash_files([Path(data_dir) / path for path in samples["path"]], workers, cache_dir)
    return through_cache(samples, data_dir, files, open_cache(cache_dir, key), parse)


def audit_scene_files(
    samples: pd.DataFrame, data_dir: str | Path, cache_dir: str | Path, workers: int = 1
) -> pd.DataFrame:
    """Read every scene file once, into the cache; columns as of ``audit.audit_photos``, of which a file has no hash of
    what it shows, no size and no note.
    """
    _, problems = read_published_scenes(samples, data_dir, cache_dir, workers)
    files = hash_files([Path(data_dir) / path for path in samples["path"]], workers, cache_dir)
    table = pd.DataFrame({"image": samples["image"].to_numpy(), "sha256": [file.sha256 for file in files]})
    table[["phash", "width", "height"]] = pd.NA
    table = table.astype({"phash": "UInt64", "width": "Int64", "height": "Int64"})
    return table.assign(problem=table["image"].map(problems).astype(object), note=None)


def read_scene_file(path: str | Path) -> np.ndarray:
    """[365] float64 probabilities in the order of the scene logits, joined by scene name.

    ValueError for a file that is not as published: header ``scene;conf``, then each Places365 scene once with a number
    from 0 to 1.
    """
    _check_size(Path(path))
    return parse_scenes(Path(path).read_bytes())


def parse_scenes(content: bytes) -> np.ndarray:
    """As ``read_scene_file``, of a file's bytes."""
    lines = content.decode("utf-8").split()
    cells = [line.split(";") for line in lines]
    if not cells or cells[0] != HEADER:
        raise ValueError(f"the first line is {lines[0] if lines else ''!r}, not 'scene;conf'")
    if wrong := [n for n, row in enumerate(cells, start=1) if len(row) != 2]:
        raise ValueError(f"line {wrong[0]} is {lines[wrong[0] - 1]!r}, not a scene and a number with ';' between")
    names, values = zip(*cells[1:]) if len(cells) > 1 else ((), ())
    if names != SCENES:
        if sorted(names) != sorted(SCENES):
            missing, other = sorted(set(SCENES) - set(names)), sorted(set(names) - set(SCENES))
            raise ValueError(f"{len(names)} scenes, not the 365 of Places365: lacks {missing[:3]}, has {other[:3]}")
        values = [value for _, value in sorted(zip(map(SCENES.index, names), values))]
    p = np.array(values).astype(np.float64)
    if not ((p >= 0) & (p <= 1)).all():  # also false for NaN
        raise ValueError(f"holds {p[~((p >= 0) & (p <= 1))][0]}, a probability is from 0 to 1")
    return p


def to_logits(probabilities: np.ndarray) -> np.ndarray:
    """float32 logits ln(p / (1 - p)) of probabilities of any shape, clipped ``CLIP`` away from 0 and 1."""
    p = np.clip(probabilities, CLIP, 1 - CLIP)
    return (np.log(p) - np.log1p(-p)).astype(np.float32)


def count_clipped(scene_logits: np.ndarray) -> tuple[int, int]:
    """How many of the logits [N, 365] were clipped, and in how many of the N photos."""
    clipped = np.abs(scene_logits) >= to_logits(np.float64(1.0)) * (1 - 1e-6)  # float32 rounds in the seventh digit
    return int(clipped.sum()), int(clipped.any(axis=1).sum())


def _check_size(path: Path) -> None:
    """Before it is read into memory."""
    if path.stat().st_size > LARGEST_FILE:
        raise ValueError(f"larger than {LARGEST_FILE} bytes, where a published file has about 8,000")


def _load(sha256: str, path: Path) -> tuple[str, np.ndarray | None, str | None]:
    """Parsed are the bytes that were hashed: what is kept under a hash is of that file."""
    try:
        _check_size(path)
        return sha256, to_logits(parse_scenes(read_hashed(path, sha256))), None
    except (OSError, FileChanged) as error:
        return sha256, None, problem_of(path, error)
    except ValueError as error:
        return sha256, None, f"unusable scene file: {error}"
