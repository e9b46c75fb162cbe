"""The decoders of ``ray_extraction``: read, hash and resize photos. Without torch, so that they start fast.

Each decodes in a process of its own: a photo that kills it is named, and the actor lives on. Ray alone would give such
a photo to one actor after another, and name none. Linux and macOS only: Windows cannot ``select`` on a pipe.
"""

import errno
import hashlib
import io
import os
import pickle
import select
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import fsspec
import numpy as np
from fsspec.implementations.local import LocalFileSystem

from s2p_lib.photos import CRASHES_DECODER, UNREADABLE, open_photo, problem_of

DECODINGS = 2  # of a photo that kills the process: once more, as the killer may have been a lack of memory
DECODING_LIMIT_S = 120  # for one photo
START_LIMIT_S = 300  # for a decoding process: many start at once, perhaps from a disk that is shared
PARENT_ASKED_S = 1  # how often a decoding process looks whether its actor is still there
NAME = "photo-without-its-own-name"  # of the copy that a problem is told of; a store's names may be no file names
# How stores call a file's hash and its time of change in fsspec's ``info``: https; S3, Azure; Google; local; Hadoop.
TELL_A_CHANGE = ("ETag", "Content-MD5", "Digest", "Last-Modified", "LastModified", "etag", "last_modified")
TELL_A_CHANGE += ("md5Hash", "updated", "mtime", "created", "modificationTime")


class Decode:
    """Actor: path, state -> path, state, sha256, problem, pixels [n, H, W, 3] uint8 of photos that are not done.

    ``state`` is made of a file's size and what the store tells a change by (see ``state_of``), empty if it tells
    nothing; a photo that still has it is done. Pixels travel as uint8, a quarter of the bytes of the network's input.
    Pixels are zeros where there is a problem; without one, ``problem`` is empty. ``resize`` makes a PIL photo a PIL
    photo. RuntimeError if a decoding process cannot start, which is no photo's fault.
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
            _check_kind_and_size(about["type"], about.get("size"))
            content = files.cat_file(place)
            _check_kind_and_size("file", len(content))  # not every store tells a size before
        except Exception as error:  # each kind of store has errors of its own
            return path, "", "", _problem_of_reading(path, error), self.nothing
        found = self.decoder.decode(Path(place).name, content)
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


def _check_kind_and_size(kind: str, size: int | None) -> None:
    """OSError for what must not be read into memory, in the words of the audit; a folder's reading has its own."""
    from s2p_lib.audit import MAX_FILE_MB  # here: decoding processes need nothing of it, and it is slow to load

    if kind not in ("file", "directory"):  # a pipe, or a device that never ends
        raise OSError(errno.EINVAL, "not a file")
    if size is not None and size > MAX_FILE_MB * 1e6:
        raise OSError(errno.EFBIG, f"larger than {MAX_FILE_MB} MB")


class DecodingProcess:
    """``decode`` photos, each within ``DECODING_LIMIT_S``, in a process that is started anew if one kills it.

    RuntimeError if the process does not start, such as when it cannot load what ``resize`` needs.
    """

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
        command = [sys.executable, "-m", "s2p_lib.ray_decoding", str(os.getpid())]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        problem = self._why_not_ready()
        if problem:
            self.stop()
            raise RuntimeError(f"a process that decodes photos does not start: {problem}")

    def _why_not_ready(self) -> str:
        """Empty if it is ready. Only then is a death a photo's fault."""
        try:
            self._send(self.resize)
            if not select.select([self.process.stdout], [], [], START_LIMIT_S)[0]:
                return f"not ready within {START_LIMIT_S} s"
            return pickle.load(self.process.stdout)
        except (EOFError, OSError, pickle.UnpicklingError):
            return f"it ended with code {self.process.wait()}; its own output says why"

    def _send(self, what) -> None:
        pickle.dump(what, self.process.stdin)
        self.process.stdin.flush()


def _problem_of_reading(path: str, error: Exception) -> str:
    if isinstance(error, FileNotFoundError) or (isinstance(error, OSError) and error.strerror):
        return problem_of(Path(path), error)
    return f"cannot be read: {type(error).__name__}: {error}".replace(path, "the file")


def _decode_until_closed(parent: int) -> None:
    """The decoding process of the actor whose process id is ``parent``."""
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    try:
        resize = _loaded(answers)
        while True:
            name, content = pickle.load(sys.stdin.buffer)
            try:
                found = _pixels_or_problem(resize, name, content)
            except Exception as error:  # not the photo's fault: the job has to end with it
                found = error
            _answer(answers, found)
    except (EOFError, BrokenPipeError):  # our actor has gone
        return


def _end_with(parent: int) -> None:
    """One that hangs in a photo does not see that its input has ended."""
    while os.getppid() == parent:
        time.sleep(PARENT_ASKED_S)
    os._exit(1)


def _loaded(answers: BinaryIO) -> Callable:
    """``resize`` as the actor has sent it. The answer says why it cannot be loaded, and is empty if it was."""
    try:
        resize = pickle.load(sys.stdin.buffer)
    except EOFError:
        raise
    except Exception as error:  # whatever the import of somebody's module raises
        _answer(answers, f"{type(error).__name__}: {error}")
        raise
    _answer(answers, "")
    return resize


def _answer(answers: BinaryIO, what) -> None:
    pickle.dump(what, answers)
    answers.flush()


def _pixels_or_problem(resize: Callable, name: str, content: bytes) -> np.ndarray | str:
    try:
        return np.asarray(resize(open_photo(io.BytesIO(content))))
    except UNREADABLE:
        return _problem_of_content(name, content)


def _problem_of_content(name: str, content: bytes) -> str:
    """In the words of the local engine, which tells the problem of a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / NAME
        path.write_bytes(content)
        try:
            open_photo(path)
        except UNREADABLE as error:
            return problem_of(path, error).replace(NAME, name)
    return "damaged: not read a first time, read a second time"


if __name__ == "__main__":
    _decode_until_closed(int(sys.argv[1]))
