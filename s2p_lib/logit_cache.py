"""Scene logits on disk, in append-only files that any number of runs may add to at once.

One file per shard of photos: safetensors with ``photo_sha256`` [n, 32] uint8 and ``scene_logits`` [n, 365] float32. A
shard's name is the sha256 of its bytes, and its folder is named after backbone, transform and numerics, so a stale or
damaged shard can never be mistaken for a good one. A killed run leaves at most a ``.part`` file, which is never read.
"""

import contextlib
import errno
import hashlib
import os
import re
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from uuid import uuid4

import numpy as np
import pandas as pd
import safetensors.numpy

from s2p_lib.file_hashes import MEMORY
from s2p_lib.model import SCENES
from s2p_lib.photos import file_sha256

KEY_LENGTH = 16  # hex digits of a cache's key that name its folder
STALE_S = 3600  # a .part file is written in seconds; one so old belongs to a run that was killed


class CacheNotWritten(OSError):
    """The cache's folder is read-only or its disk is full; the message says what to do."""


class ShardGone(RuntimeError):
    """Another process has removed or damaged a shard since this one looked; its photos count as unknown now."""


class SceneLogitCache:
    """Scene logits of one backbone, transform and numerics in ``folder``, found by the sha256 of a photo's file."""

    def __init__(self, folder: str | Path, key: str):
        self.folder = Path(folder) / key[:KEY_LENGTH]
        self.damaged = []
        self._place = {}  # photo sha256 -> (shard, row)
        for shard in _shards(self.folder):
            self._index(shard)

    def __contains__(self, sha256: str) -> bool:
        return sha256 in self._place

    def __iter__(self) -> Iterator[str]:
        return iter(self._place)

    @property
    def size_bytes(self) -> int:
        return _size(_shards(self.folder))

    def check_writable(self) -> None:
        """Raise CacheNotWritten now rather than after the first shard's work; old .part files are removed."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder) as probe:
                probe.write(b"\0" * 4096)
        except OSError as error:
            raise _not_written(self.folder, error) from None
        _remove(_stale_parts(self.folder))

    def add(self, hashes: list[str], logits: np.ndarray) -> None:
        """Append one shard; it appears under its name only when complete. CacheNotWritten if it cannot be."""
        digests = np.array([list(bytes.fromhex(h)) for h in hashes], dtype=np.uint8)
        content = safetensors.numpy.save({"photo_sha256": digests, "scene_logits": logits.astype(np.float32)})
        shard = self.folder / f"{hashlib.sha256(content).hexdigest()}.safetensors"
        part = shard.with_suffix(f".{uuid4().hex}.part")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            part.write_bytes(content)
            os.replace(part, shard)
        except OSError as error:
            _remove([part])
            raise _not_written(self.folder, error) from None
        self._remember(shard, hashes)

    def read(self, hashes: list[str]) -> np.ndarray:
        """[N, 365] float32 in the order of ``hashes``; KeyError for a photo that is not in the cache, ShardGone."""
        logits = np.empty((len(hashes), len(SCENES)), dtype=np.float32)
        wanted = pd.DataFrame([self._place[h] for h in hashes], columns=["shard", "row"])
        for shard, rows in wanted.groupby("shard"):
            try:
                logits[rows.index] = safetensors.numpy.load_file(shard)["scene_logits"][rows["row"]]
            except (OSError, safetensors.SafetensorError):
                self._forget(shard)
                raise ShardGone(f"{shard.name} was removed or damaged while it was in use") from None
        return logits

    def _index(self, shard: Path) -> None:
        with contextlib.suppress(FileNotFoundError):  # another run has just cleaned
            if not _is_whole(shard):
                self.damaged.append(shard.name)
                _remove([shard])  # its photos are computed again
                return
            digests = safetensors.numpy.load_file(shard)["photo_sha256"]
            self._remember(shard, [row.tobytes().hex() for row in digests])

    def _remember(self, shard: Path, hashes: list[str]) -> None:
        self._place |= {sha256: (shard, row) for row, sha256 in enumerate(hashes)}

    def _forget(self, shard: Path) -> None:
        self._place = {sha256: place for sha256, place in self._place.items() if place[0] != shard}


def list_caches(folders: Iterable[str | Path]) -> pd.DataFrame:
    """One row per cache in these folders: folder, cache (its key), shards, photos, bytes, damaged (shards that are not
    what their name says), unfinished (.part files, of a run that goes on or was killed). Nothing is changed."""
    rows = []
    for folder in folders:
        for cache in _caches(Path(folder)):
            shards = list(_shards(cache))
            whole = [shard for shard in shards if _is_whole(shard)]
            photos = {row.tobytes() for s in whole for row in safetensors.numpy.load_file(s)["photo_sha256"]}
            row = {"folder": str(folder), "cache": cache.name, "shards": len(shards), "photos": len(photos)}
            row |= {"bytes": _size(shards), "damaged": len(shards) - len(whole)}
            rows.append(row | {"unfinished": len(list(cache.glob("*.part")))})
    return pd.DataFrame(rows, columns=["folder", "cache", "shards", "photos", "bytes", "damaged", "unfinished"])


def clean_caches(folders: Iterable[str | Path], everything: bool = False) -> pd.DataFrame:
    """Remove damaged shards and .part files of killed runs; with ``everything`` all shards and remembered hashes too.

    One row per removed file: file, bytes, why. OSError for a file that cannot be removed. A run that uses a cache
    meanwhile computes again what it misses.
    """
    rows = []
    for folder in map(Path, folders):
        why = {file: "unfinished" for file in _stale_parts(folder)}
        for cache in _caches(folder):
            why |= {file: "unfinished" for file in _stale_parts(cache)}
            why |= {file: "damaged" for file in _shards(cache) if not _is_whole(file)}
            why |= {file: "all" for file in _shards(cache) if everything and file not in why}
        if everything and (folder / MEMORY).is_file():
            why[folder / MEMORY] = "all"
        for file, reason in why.items():
            rows.append((str(file), file.stat().st_size, reason))
            file.unlink()
        for cache in _caches(folder):
            with contextlib.suppress(OSError):  # it still holds something
                cache.rmdir()
    return pd.DataFrame(rows, columns=["file", "bytes", "why"])


def caches_text(table: pd.DataFrame) -> str:
    """The table of ``list_caches`` for a terminal, with its sums."""
    if table.empty:
        return "no cache of scene logits"
    shown = table.assign(MB=(table["bytes"] / 1e6).map("{:,.1f}".format)).drop(columns="bytes")
    total = f"{len(table)} cache(s), {table['photos'].sum():,} photos, {table['bytes'].sum() / 1e6:,.1f} MB"
    return f"{shown.to_string(index=False)}\n\n{total}"


def cleaned_text(table: pd.DataFrame) -> str:
    """What ``clean_caches`` has removed, for a terminal."""
    if table.empty:
        return "nothing to remove"
    lines = [f"removed {row.file} ({row.why}, {row.bytes / 1e6:,.1f} MB)" for row in table.itertuples()]
    return "\n".join([*lines, f"{len(table)} file(s), {table['bytes'].sum() / 1e6:,.1f} MB"])


def _caches(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(d for d in folder.iterdir() if re.fullmatch(f"[0-9a-f]{{{KEY_LENGTH}}}", d.name) and d.is_dir())


def _shards(cache: Path) -> list[Path]:
    return sorted(cache.glob("*.safetensors"))


def _is_whole(shard: Path) -> bool:
    return file_sha256(shard) == shard.stem


def _stale_parts(folder: Path) -> list[Path]:
    found = []
    for part in folder.glob("*.part"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - part.stat().st_mtime > STALE_S:
                found.append(part)
    return found


def _size(files: Iterable[Path]) -> int:
    total = 0
    for file in files:
        with contextlib.suppress(FileNotFoundError):
            total += file.stat().st_size
    return total


def _remove(files: Iterable[Path]) -> None:
    """As far as it can be done: what stays is never read."""
    for file in files:
        with contextlib.suppress(OSError):
            file.unlink(missing_ok=True)


def _not_written(folder: Path, error: OSError) -> CacheNotWritten:
    what = {
        errno.ENOSPC: "the disk is full: free some space",
        errno.EDQUOT: "the quota of this disk is used up: free some space",
        errno.EROFS: "it is on a read-only disk: use a run folder (--out) elsewhere",
        errno.EACCES: "this user may not write there: change its permissions, or use a run folder (--out) elsewhere",
        errno.EPERM: "this user may not write there: change its permissions, or use a run folder (--out) elsewhere",
    }.get(error.errno, f"{error.strerror}: repair that, or use a run folder (--out) elsewhere")
    return CacheNotWritten(
        f"scene logits cannot be written into {folder}: {what}. Then give the same command again: it goes on where it "
        "stopped, and every shard written so far is kept."
    )
