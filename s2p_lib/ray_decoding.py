"""The decoders of ``ray_extraction``: read, hash and resize photos. Without torch, so that they start fast.

Each decodes in a process of its own: a photo that kills it is named, and the actor lives on. Ray alone would give such
a photo to one actor after another, and name none.
"""

import hashlib
import io
import os
import pickle
import select
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import fsspec
import numpy as np

from s2p_lib.photos import CRASHES_DECODER, UNREADABLE, open_photo, problem_of

DECODINGS = 2  # of a photo that kills the process: once more, as the killer may have been a lack of memory
DECODING_LIMIT_S = 120  # for one photo


class Decode:
    """Actor: path, state -> path, state, sha256, problem, pixels [n, H, W, 3] uint8 of photos that are not done.

    ``state`` is fsspec's token for a file (of size and time of change, or the store's own hash), empty if unknown; a
    photo that still has it is done. Pixels travel as uint8, a quarter of the bytes of the network's input. Pixels are
    zeros where there is a problem; without one, ``problem`` is empty. ``resize`` makes a PIL photo a PIL photo.
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
            files, place = fsspec.url_to_fs(path)
            state = files.ukey(place)
            if state == known:
                return None
            content = files.cat_file(place)
        except Exception as error:  # each kind of store has errors of its own
            return path, "", "", _problem_of_reading(path, error), self.nothing
        found = self.decoder.decode(Path(place).name, content)
        sha256 = hashlib.sha256(content).hexdigest()
        if isinstance(found, str):
            return path, state, sha256, found, self.nothing
        return path, state, sha256, "", found


class DecodingProcess:
    """``decode`` photos, each within ``DECODING_LIMIT_S``, in a process that is started anew if one kills it."""

    def __init__(self, resize: Callable):
        self.resize = resize
        self._start()

    def decode(self, name: str, content: bytes) -> np.ndarray | str:
        """Resized pixels [H, W, 3] uint8, or the photo's problem."""
        for _ in range(DECODINGS):
            try:
                self._send((name, content))
                if select.select([self.process.stdout], [], [], DECODING_LIMIT_S)[0]:
                    found = pickle.load(self.process.stdout)
                    break
                problem = f"cannot be read: not decoded within {DECODING_LIMIT_S} s"
            except (EOFError, OSError, pickle.UnpicklingError):  # it died before, or while it answered
                problem = CRASHES_DECODER
            self.stop()
            self._start()
        else:
            return problem
        if isinstance(found, Exception):
            raise found
        return found

    def stop(self) -> None:
        self.process.kill()
        self.process.communicate()

    def _start(self) -> None:
        # A fresh interpreter, not a fork: an actor has threads. Its input ends with us, and it with its input.
        command = [sys.executable, "-m", "s2p_lib.ray_decoding"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._send(self.resize)

    def _send(self, what) -> None:
        pickle.dump(what, self.process.stdin)
        self.process.stdin.flush()


def _problem_of_reading(path: str, error: Exception) -> str:
    if isinstance(error, FileNotFoundError) or (isinstance(error, OSError) and error.strerror):
        return problem_of(Path(path), error)
    return f"cannot be read: {type(error).__name__}: {error}".replace(path, "the file")


def _decode_until_closed() -> None:
    """The decoding process."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    try:
        resize = pickle.load(sys.stdin.buffer)
        while True:
            name, content = pickle.load(sys.stdin.buffer)
            try:
                found = np.asarray(resize(open_photo(io.BytesIO(content))))
            except UNREADABLE:
                found = _problem_of_content(name, content)
            except Exception as error:  # not the photo's fault: the job has to end with it
                found = error
            pickle.dump(found, answers)
            answers.flush()
    except (EOFError, BrokenPipeError):  # our actor has gone
        return


def _problem_of_content(name: str, content: bytes) -> str:
    """In the words of the local engine, which tells the problem of a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        try:
            open_photo(path)
        except UNREADABLE as error:
            return problem_of(path, error)
    return "damaged: not read a first time, read a second time"


if __name__ == "__main__":
    _decode_until_closed()
