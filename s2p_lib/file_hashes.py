"""The sha256 of many files, remembered from run to run: photos are not read again to learn that they are known."""

import hashlib
import os
import time
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
SETTLED_S = 2  # a file changed so shortly before may change again without its time stamp showing it


class HashedFile(NamedTuple):
    path: Path
    sha256: str | None
    problem: str | None


def hash_files(paths: list[Path], workers: int, memory_dir: str | Path | None = None) -> list[HashedFile]:
    """The hex sha256 of each file, or its problem.

    With ``memory_dir`` a file is read only if its path, size, time of change or inode's time of change (which no
    program can set) is new since its hash was kept there, in ``file_hashes.safetensors``. The price: damage that
    changes none of them, such as by a bad disk, is not seen. To have every file read again, delete that file.
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


def photos_sha256(paths: list[Path], workers: int) -> str:
    """Hex sha256 of the contents of all these files in this order; a file that is gone counts as such."""
    hashes = [photo.sha256 or "gone" for photo in hash_files(paths, workers)]
    return hashlib.sha256(" ".join(hashes).encode()).hexdigest()


class HashMemory:
    """Hashes by what ``os.stat`` tells of a file. On disk it holds no path, only the hash of one with that."""

    def __init__(self, folder: str | Path):
        self.file = Path(folder) / MEMORY
        self._known, self._new = self._read(), {}

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
        known = self._read() | self._new
        arrays = {"key": np.frombuffer(b"".join(known), np.uint8).reshape(-1, 16)}
        arrays["sha256"] = np.frombuffer(bytes.fromhex("".join(known.values())), np.uint8).reshape(-1, 32)
        part = self.file.with_suffix(f".{uuid4().hex}.part")
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(safetensors.numpy.save(arrays))
            os.replace(part, self.file)
        except OSError:  # full or read-only: the cache of logits, which matters, says what to do
            _remove(part)

    def _read(self) -> dict[bytes, str]:
        try:
            arrays = safetensors.numpy.load_file(self.file)
            return {k.tobytes(): v.tobytes().hex() for k, v in zip(arrays["key"], arrays["sha256"])}
        except (OSError, safetensors.SafetensorError, KeyError):  # not there yet, or damaged: files are read again
            return {}

    @staticmethod
    def _key(path: Path) -> bytes:
        about = path.stat()
        text = f"{path.absolute()}\0{about.st_size} {about.st_mtime_ns} {about.st_ctime_ns}"
        return hashlib.sha256(text.encode(errors="surrogateescape")).digest()[:16]


def _remove(file: Path) -> None:
    try:
        file.unlink(missing_ok=True)
    except OSError:
        return
