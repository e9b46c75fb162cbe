"""The sha256 of many files, remembered from run to run: photos are not read again to learn that they are known."""

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import numpy as np
import safetensors
import safetensors.numpy

from s2p_lib.photos import file_sha256, problem_of
from s2p_lib.progress import progress

MEMORY = "file_hashes.safetensors"
MEMORY_PARTS = r"file_hashes\.[0-9a-f]{32}\.part"  # a regular expression: what a killed run leaves of it
SETTLED_S = 2  # a file changed so shortly before may change again without its time stamp showing it


class HashedFile(NamedTuple):
    path: Path
    sha256: str | None
    problem: str | None


def hash_files(paths: list[Path], workers: int, memory_dir: str | Path | None = None) -> list[HashedFile]:
    """The hex sha256 of each file, or its problem.

    With ``memory_dir`` a file is read only if its path, size, time of change or ``st_ctime`` is new since its hash was
    kept there, in ``file_hashes.safetensors``. On Linux and macOS ``st_ctime`` changes with every change of a file, and
    programs cannot set it. On Windows it is the time of creation: there a program that keeps size and time of change
    can hide a change. Nowhere seen is damage that changes none of them, such as by a bad disk. To have every file read
    again, delete ``file_hashes.safetensors``.
    """
    memory = HashMemory(memory_dir) if memory_dir else None

    def work(path: Path) -> HashedFile:
        try:
            return HashedFile(path, memory.sha256(path) if memory else file_sha256(path), None)
        except OSError as error:
            return HashedFile(path, None, problem_of(path, error))

    with ThreadPoolExecutor(max(1, workers)) as pool:
        found = list(progress(pool.map(work, paths), total=len(paths), desc="hashing files", unit="file"))
    if memory:
        memory.keep()
    return found


def parse_rows(content: bytes, wanted: dict[str, tuple[str, int]]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays of a safetensors file, each [n, width] with the same n, and its metadata.

    ``wanted`` is the dtype and the width of each array. ValueError with a short reason for any other content.
    """
    try:
        arrays = safetensors.numpy.load(content)
    except (safetensors.SafetensorError, KeyError) as error:  # KeyError: of a number format that numpy lacks
        raise ValueError(f"it is no safetensors file: {error}") from None
    if any(array.ndim != 2 for array in arrays.values()) or wanted != {
        name: (str(array.dtype), array.shape[1]) for name, array in arrays.items()
    }:
        raise ValueError("it does not hold the arrays that it should")
    if len({len(array) for array in arrays.values()}) != 1:
        raise ValueError("its arrays are not of one length")
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return arrays, header.get("__metadata__") or {}


class HashMemory:
    """Hashes by what ``os.stat`` tells of a file. On disk it holds no path, only the hash of one with that.

    A memory that is damaged, or without the digest that tells so, is not used: that is printed, files are read again
    and it is written anew.
    """

    def __init__(self, folder: str | Path):
        self.file = Path(folder) / MEMORY
        self._known, self._new = {}, {}
        try:
            self._known = self._read()
        except ValueError as error:
            print(f"{self.file} is not used ({error}): files are read again, and it is written anew")

    def sha256(self, path: Path) -> str:
        key = self._key(path)
        if key in self._known:
            return self._known[key]
        started = time.time()
        sha256 = file_sha256(path)
        if started - path.stat().st_mtime > SETTLED_S and self._key(path) == key:
            self._new[key] = sha256
        return sha256

    def keep(self) -> None:
        """Add what is new to the file, with what another run has added meanwhile; without it the next run is slower."""
        if not self._new:
            return
        known = self._whole() | self._new
        arrays = {"key": np.frombuffer(b"".join(known), np.uint8).reshape(-1, 16)}
        arrays["sha256"] = np.frombuffer(bytes.fromhex("".join(known.values())), np.uint8).reshape(-1, 32)
        part = self.file.with_suffix(f".{uuid4().hex}.part")
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(safetensors.numpy.save(arrays, metadata={"sha256": _digest(arrays)}))
            os.replace(part, self.file)
        except OSError:  # full or read-only: the cache of logits, which matters, says what to do
            remove([part])

    def _whole(self) -> dict[bytes, str]:
        try:
            return self._read()
        except ValueError:  # it was told at the start
            return {}

    def _read(self) -> dict[bytes, str]:
        """What is on disk; ValueError with a short reason if that is damaged."""
        try:
            content = self.file.read_bytes()
        except OSError:  # not there yet, or not for this user: only slower
            return {}
        arrays, metadata = parse_rows(content, {"key": ("uint8", 16), "sha256": ("uint8", 32)})
        if metadata.get("sha256") != _digest(arrays):
            raise ValueError("its digest is missing or wrong")
        return {k.tobytes(): v.tobytes().hex() for k, v in zip(arrays["key"], arrays["sha256"])}

    @staticmethod
    def _key(path: Path) -> bytes:
        about = path.stat()
        text = f"{path.absolute()}\0{about.st_size} {about.st_mtime_ns} {about.st_ctime_ns}"
        return hashlib.sha256(text.encode(errors="surrogateescape")).digest()[:16]


def _digest(arrays: dict[str, np.ndarray]) -> str:
    return hashlib.sha256(arrays["key"].tobytes() + arrays["sha256"].tobytes()).hexdigest()


def remove(files: Iterable[Path]) -> None:
    """As far as it can be done: what stays is never read."""
    for file in files:
        with contextlib.suppress(OSError):
            file.unlink(missing_ok=True)
