"""Scene logits on disk, in append-only files that any number of runs may add to at once.

One file per shard of photos: safetensors with ``photo_sha256`` [n, 32] uint8, ``scene_logits`` [n, 365] float32, all
finite, and in its metadata the cache's key, which stands for backbone, transform and numerics. A shard's name is the
sha256 of its bytes. So a damaged shard, or one of another cache, can never be mistaken for a good one. A killed run
leaves at most a ``.part`` file, which is never read.
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
from typing import NamedTuple
from uuid import uuid4

import numpy as np
import pandas as pd
import safetensors.numpy

from s2p_lib.file_hashes import MEMORY, MEMORY_PARTS, parse_rows, remove
from s2p_lib.model import SCENES

KEY_LENGTH = 16  # hex digits of a cache's key that name its folder
SHARD_PARTS = r"[0-9a-f]{64}\.[0-9a-f]{32}\.part"  # others' unfinished files, such as of a download, are left alone
STALE_S = 3600  # a .part file is written in seconds; one so old belongs to a run that was killed

LISTED = ["folder", "cache", "shards", "photos", "bytes", "damaged", "foreign", "unfinished"]


class CacheNotWritten(OSError):
    """The cache's folder is read-only or its disk is full; the message says what to do."""


class ShardGone(RuntimeError):
    """Another process has removed or damaged a shard since this one looked; its photos count as unknown now."""


class SceneLogitCache:
    """Scene logits of one backbone, transform and numerics in ``folder``, found by the sha256 of a photo's file.

    ``damaged`` names the shards that were not what they should be; they are removed. ``foreign`` names those of another
    key, which somebody has put here; they are left where they are and not used.
    """

    def __init__(self, folder: str | Path, key: str):
        self.folder, self._key = Path(folder) / key[:KEY_LENGTH], key
        self.damaged, self.foreign = [], []
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
        remove(_stale(_parts(self.folder, SHARD_PARTS)))

    def add(self, hashes: list[str], logits: np.ndarray) -> None:
        """Append one shard; it appears under its name only when complete. CacheNotWritten if it cannot be.

        ValueError for logits that are not finite: they would be taken for damage when they are read.
        """
        if n_bad := (~np.isfinite(logits).all(axis=1)).sum():
            raise ValueError(
                f"the backbone gives scene logits that are not finite for {n_bad:,} of {len(logits):,} photos: its "
                "weights or BatchNorm statistics are damaged. Take another checkpoint"
            )
        digests = np.array([list(bytes.fromhex(h)) for h in hashes], dtype=np.uint8)
        arrays = {"photo_sha256": digests, "scene_logits": logits.astype(np.float32)}
        content = safetensors.numpy.save(arrays, metadata={"key": self._key})
        shard = self.folder / f"{hashlib.sha256(content).hexdigest()}.safetensors"
        part = shard.with_suffix(f".{uuid4().hex}.part")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            part.write_bytes(content)
            os.replace(part, shard)
        except OSError as error:
            remove([part])
            raise _not_written(self.folder, error) from None
        self._remember(shard, hashes)

    def read(self, hashes: list[str]) -> np.ndarray:
        """[N, 365] float32 in the order of ``hashes``; KeyError for a photo that is not in the cache, ShardGone."""
        logits = np.empty((len(hashes), len(SCENES)), dtype=np.float32)
        wanted = pd.DataFrame([self._place[h] for h in hashes], columns=["shard", "row"])
        for shard, rows in wanted.groupby("shard"):
            try:
                logits[rows.index] = _content(shard).logits[rows["row"]]
            except (OSError, ValueError):
                self._forget(shard)
                raise ShardGone(f"{shard.name} was removed or damaged while it was in use") from None
        return logits

    def _index(self, shard: Path) -> None:
        with contextlib.suppress(FileNotFoundError):  # another run has just cleaned
            content = _whole_content(shard)
            if content is None:
                self.damaged.append(shard.name)
                remove([shard])  # its photos are computed again
            elif content.key != self._key:
                self.foreign.append(shard.name)
            else:
                self._remember(shard, content.hashes)

    def _remember(self, shard: Path, hashes: list[str]) -> None:
        self._place |= {sha256: (shard, row) for row, sha256 in enumerate(hashes)}

    def _forget(self, shard: Path) -> None:
        self._place = {sha256: place for sha256, place in self._place.items() if place[0] != shard}


def open_cache(folder: str | Path, key: str) -> SceneLogitCache:
    """The cache, after printing which of its files are not used."""
    cache = SceneLogitCache(folder, key)
    if cache.damaged:
        print(
            f"{len(cache.damaged)} damaged cache file(s) in {cache.folder} left out, and removed if that is allowed: "
            "their photos are computed again when needed"
        )
    if cache.foreign:
        print(
            f"{len(cache.foreign)} file(s) in {cache.folder} left out and not changed: they hold the scene logits of "
            f"another backbone, transform or precision, or do not say whose, such as {cache.foreign[0]}"
        )
    return cache


def list_caches(folders: Iterable[str | Path]) -> pd.DataFrame:
    """One row per cache in these folders and in the folder ``scene_logits`` of each. Nothing is changed.

    Columns: folder, cache (its key), shards, photos, bytes, damaged (shards that are not what their name and place
    say), foreign (shards of another cache, which are not used), unfinished (.part files, of a run that goes on or was
    killed).
    """
    rows = [_row_of(cache) for folder in _with_scene_logits(folders) for cache in _caches(folder)]
    return pd.DataFrame(rows, columns=LISTED)


def _row_of(cache: Path) -> dict:
    shards, photos = _shards(cache), set()
    counts = {"damaged": 0, "foreign": 0}
    for shard in shards:
        content = _whole_content(shard)
        if content is None:
            counts["damaged"] += 1
        elif content.key[:KEY_LENGTH] != cache.name:
            counts["foreign"] += 1
        else:
            photos |= set(content.hashes)
    row = {"folder": str(cache.parent), "cache": cache.name, "shards": len(shards), "photos": len(photos)}
    return row | {"bytes": _size(shards), **counts, "unfinished": len(_parts(cache, SHARD_PARTS))}


def clean_caches(folders: Iterable[str | Path], everything: bool = False) -> pd.DataFrame:
    """Remove damaged shards and .part files of killed runs; with ``everything`` all shards and remembered hashes too.

    Looked into are the folders of ``list_caches``; shards of another cache go with ``everything`` only. One row per
    removed file: file, bytes, why. OSError for a file that cannot be removed. A run that uses a cache meanwhile
    computes again what it misses.
    """
    rows = []
    for folder in _with_scene_logits(folders):
        why = {file: "unfinished" for file in _stale(_parts(folder, MEMORY_PARTS))}
        for cache in _caches(folder):
            why |= {file: "unfinished" for file in _stale(_parts(cache, SHARD_PARTS))}
            why |= {file: "damaged" for file in _shards(cache) if _whole_content(file) is None}
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


def _with_scene_logits(folders: Iterable[str | Path]) -> list[Path]:
    """These folders and, as a run keeps its caches there, the folder ``scene_logits`` in each; each place once."""
    return list(dict.fromkeys(place for folder in map(Path, folders) for place in (folder, folder / "scene_logits")))


def _caches(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(d for d in folder.iterdir() if re.fullmatch(f"[0-9a-f]{{{KEY_LENGTH}}}", d.name) and d.is_dir())


def _shards(cache: Path) -> list[Path]:
    return sorted(file for file in cache.glob("*.safetensors") if file.is_file())  # a folder holds no logits


class _Content(NamedTuple):
    """``hashes`` [n] in hex and ``logits`` [n, 365] float32, of the cache with this key."""

    key: str
    hashes: list[str]
    logits: np.ndarray


def _content(shard: Path) -> _Content:
    """What a shard holds, read once; ValueError if it is not what it should be, OSError if it cannot be read."""
    content = shard.read_bytes()
    if hashlib.sha256(content).hexdigest() != shard.stem:
        raise ValueError("its bytes are not those that its name says")
    # Whoever makes a shard can name it rightly: the name tells of damage, not of what is in it.
    arrays, metadata = parse_rows(content, {"photo_sha256": ("uint8", 32), "scene_logits": ("float32", len(SCENES))})
    if not np.isfinite(arrays["scene_logits"]).all():
        raise ValueError("it holds logits that are not finite")
    hashes = [row.tobytes().hex() for row in arrays["photo_sha256"]]
    return _Content(metadata.get("key", ""), hashes, arrays["scene_logits"])


def _whole_content(shard: Path) -> _Content | None:
    """None if it is damaged."""
    try:
        return _content(shard)
    except ValueError:
        return None


def _parts(folder: Path, names: str) -> list[Path]:
    """Unfinished files whose whole name this regular expression describes."""
    return [part for part in folder.glob("*.part") if re.fullmatch(names, part.name) and part.is_file()]


def _stale(parts: Iterable[Path]) -> list[Path]:
    found = []
    for part in parts:
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
