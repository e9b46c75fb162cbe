"""Decode photos in a process of its own: one that kills it, or never ends, is a photo with a problem, and no more.

Without torch, so that it starts fast.
"""

import io
import operator
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np
from PIL import Image

from s2p_lib.photos import CRASHES_DECODER, UNREADABLE, open_photo, problem_of, read_photo_file

DECODINGS = 2  # of a photo that kills the process: once more, as the killer may have been a lack of memory
DECODING_LIMIT_S = 120  # for one photo
START_LIMIT_S = 300  # many may start at once, perhaps from a disk that is shared
PARENT_ASKED_S = 1  # how often a decoding process looks whether its parent is still there
NAME = "photo-without-its-own-name"  # of the copy that a problem is told of; a store's names may be no file names
TO_ONE_PIXEL = operator.methodcaller("resize", (1, 1), Image.Resampling.NEAREST)


class DecodingProcess:
    """``decode`` photos, each within ``DECODING_LIMIT_S``, in a process that is started anew if one kills it.

    ``resize`` makes a PIL photo a PIL photo; a module of its own is imported there. To be closed by ``with`` or
    ``stop``. RuntimeError if the process does not start, such as when it cannot load what ``resize`` needs.
    """

    def __init__(self, resize: Callable[[Image.Image], Image.Image]):
        self.resize = resize
        self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        self.stop()

    def decode(self, name: str, content: bytes) -> np.ndarray | str:
        """Resized pixels [H, W, 3] uint8, or the photo's problem."""
        for _ in range(DECODINGS):
            try:
                self._send((name, content))
                found = self._receive(DECODING_LIMIT_S)
                break
            except TimeoutError:
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

    def decode_file(self, path: Path) -> np.ndarray | str:
        """As ``decode``, for a photo on disk."""
        try:
            content = read_photo_file(path)
        except UNREADABLE as error:
            return problem_of(path, error)
        return self.decode(path.name, content)

    def stop(self) -> None:
        self.process.kill()
        self.process.communicate()

    def _start(self) -> None:
        # A fresh interpreter, not a fork: who calls may have threads. Its input ends with us, and it with its input.
        command = [sys.executable, "-m", "s2p_lib.decoding", str(os.getpid())]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        problem = self._why_not_ready()
        if problem:
            self.stop()
            raise RuntimeError(f"a process that decodes photos does not start: {problem}")

    def _why_not_ready(self) -> str:
        """Empty if it is ready. Only then is a death a photo's fault."""
        try:
            self._send(self.resize)
            return self._receive(START_LIMIT_S)
        except TimeoutError:
            return f"not ready within {START_LIMIT_S} s"
        except (EOFError, OSError, pickle.UnpicklingError):
            return f"it ended with code {self.process.wait()}; its own output says why"

    def _send(self, what) -> None:
        pickle.dump(what, self.process.stdin)
        self.process.stdin.flush()

    def _receive(self, limit_s: float):
        """The next answer. TimeoutError, and the process is killed, if it takes longer: Windows cannot ``select``."""
        too_late = threading.Event()
        timer = threading.Timer(limit_s, lambda: (too_late.set(), self.process.kill()))
        timer.daemon = True
        timer.start()
        try:
            return pickle.load(self.process.stdout)
        except (EOFError, pickle.UnpicklingError):
            if too_late.is_set():
                raise TimeoutError from None
            raise
        finally:
            timer.cancel()


def problem_of_photo(path: Path) -> str | None:
    """Why a photo cannot be used, found in a process that is started for it; None for a good one."""
    with DecodingProcess(TO_ONE_PIXEL) as decoder:
        found = decoder.decode_file(path)
    return found if isinstance(found, str) else None


def _decode_until_closed(parent: int) -> None:
    """The decoding process of the process whose id is ``parent``."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches both, and the parent ends this one
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
    except (EOFError, BrokenPipeError):  # our parent has gone
        return


def _end_with(parent: int) -> None:
    """One that hangs in a photo does not see that its input has ended."""
    while os.getppid() == parent:
        time.sleep(PARENT_ASKED_S)
    os._exit(1)


def _loaded(answers: BinaryIO) -> Callable:
    """``resize`` as the parent has sent it. The answer says why it cannot be loaded, and is empty if it was."""
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
