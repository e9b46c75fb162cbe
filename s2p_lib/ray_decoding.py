"""The decoders of ``ray_extraction``: read, hash and resize photos. Without torch, so that they start fast.

Each decodes in a process of its own: a photo that kills it is named, and the actor lives on. Ray alone would give such
a photo to one actor after another, and name none.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

import fsspec
import numpy as np
from fsspec.implementations.local import LocalFileSystem

from s2p_lib.decoding import DecodingProcess
from s2p_lib.photos import check_before_reading, problem_of

# How stores call a file's hash and its time of change in fsspec's ``info``: https; S3, Azure; Google; local; Hadoop.
TELL_A_CHANGE = ("ETag", "Content-MD5", "Digest", "Last-Modified", "LastModified", "etag", "last_modified")
TELL_A_CHANGE += ("md5Hash", "updated", "mtime", "created", "modificationTime")


class Decode:
    """Actor: path, state -> path, state, sha256, problem, pixels [n, H, W, 3] uint8 of photos that are not done.

    ``state`` is made of a file's size and what the store tells a change by (see ``state_of``), empty if it tells
    nothing; a photo that still has it is done. Pixels travel as uint8, a quarter of the bytes of the network's input.
    Pixels are zeros where there is a problem; without one, ``problem`` is empty. ``resize`` makes a PIL photo a PIL
    photo. DecoderStartError as ``DecodingProcess``.
    """

    def __init__(self, resize: Callable, size: tuple[int, int]):
        self.decoder = DecodingProcess(resize)
        self.nothing = np.zeros((*size, 3), dtype=np.uint8)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        rows = [self._row(path, known) for path, known in zip(batch["path"], batch["state"])]
        rows = [row for row in rows if row is not None]
        columns = {
            name: np.array([row[i] for row in rows], dtype=object)
            for i, name in enumerate(("path", "state", "sha256", "problem"))
        }
        pixels = np.stack([row[4] for row in rows]) if rows else np.empty((0, *self.nothing.shape), dtype=np.uint8)
        return columns | {"pixels": pixels}

    def _row(self, path: str, known: str) -> tuple | None:
        try:
            # A local name may hold "::", which would be a chain of file systems in an address.
            files, place = fsspec.url_to_fs(path) if "://" in path else (LocalFileSystem(), path)
            about = files.info(place)
            state = state_of(about)
            if state and state == known:
                return None
            check_before_reading(about["type"] in ("file", "directory"), about.get("size"))
            content = files.cat_file(place)  # for a folder with an error of its own
            check_before_reading(True, len(content))  # not every store tells a size before
        except Exception as error:  # each kind of store has errors of its own
            return path, "", "", _problem_of_reading(path, error), self.nothing
        found = self.decoder.decode(content)
        sha256 = hashlib.sha256(content).hexdigest()
        if isinstance(found, str):
            return path, state, sha256, found, self.nothing
        return path, state, sha256, "", found


def state_of(about: dict) -> str:
    """A token that is another one when a file has changed, from fsspec's ``info``; empty if that tells no change.

    Not fsspec's own ``ukey``: of an https:// photo it knows the address alone.
    """
    told = {name: str(about[name]) for name in TELL_A_CHANGE if about.get(name)}
    if not told:
        return ""
    return hashlib.sha256(repr((about.get("size"), told)).encode()).hexdigest()


def _problem_of_reading(path: str, error: Exception) -> str:
    if isinstance(error, FileNotFoundError) or (isinstance(error, OSError) and error.strerror):
        return problem_of(Path(path), error)
    return f"cannot be read: {type(error).__name__}: {error}".replace(path, "the file")
