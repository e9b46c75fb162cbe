"""Decode photos in a process of its own: one that kills it, or never ends, is a photo with a problem, and no more.

Without torch, so that it starts fast.
"""

import io
import operator
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np
from PIL import Image

from s2p_lib.photos import CRASHES_DECODER, UNREADABLE, open_photo, problem_of, problem_of_content, read_photo_file

DECODINGS = 2  # of a photo that kills the process: once more, as the killer may have been a lack of memory
DECODING_LIMIT_S = 120  # for one photo
START_LIMIT_S = 300  # many may start at once, perhaps from a disk that is shared
ENDING_LIMIT_S = 10  # from the end of its output to its own
PARENT_ASKED_S = 1  # how often a decoding process looks whether its parent is still there
TO_ONE_PIXEL = operator.methodcaller("resize", (1, 1), Image.Resampling.NEAREST)  # where a photo is only checked
DOES_NOT_START = "a process that decodes photos does not start"


class DecoderStartError(RuntimeError):
    """A decoding process cannot start, which is no photo's fault; the message says why."""


class DecodingProcess:
    """``decode`` photos, each within ``DECODING_LIMIT_S``, in a process that is started anew if one kills it.

    ``resize`` makes a PIL photo a PIL photo; what it needs is imported there. To be ended by ``with`` or ``stop``.
    DecoderStartError if the process does not start, such as when it cannot load what ``resize`` needs.
    """

    def __init__(self, resize: Callable[[Image.Image], Image.Image]):
        self.resize = resize
        self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        self.stop()

    def decode(self, content: bytes) -> np.ndarray | str:
        """Resized pixels [H, W, 3] uint8 of a file's bytes, or the photo's problem.

        What ``resize`` raises is raised here. DecoderStartError if the process died and does not start again.
        """
        for _ in range(DECODINGS):
            try:
                self._send(content)
                found = self._receive(DECODING_LIMIT_S)
            except TimeoutError:
                self._start_again()
                return f"cannot be read: not decoded within {DECODING_LIMIT_S} s"
            except (EOFError, OSError, pickle.UnpicklingError):  # it died before, or while it answered
                self._start_again()
                continue
            if isinstance(found, Exception):
                raise found
            return found
        return CRASHES_DECODER

    def decode_file(self, path: Path) -> np.ndarray | str:
        """As ``decode``, for a photo on disk."""
        try:
            content = read_photo_file(path)
        except UNREADABLE as error:
            return problem_of(path, error)
        return self.decode(content)

    def stop(self) -> None:
        self.process.kill()
        self.process.communicate()

    def _start_again(self) -> None:
        self.stop()
        self._start()

    def _start(self) -> None:
        # A fresh interpreter, not a fork: who calls may have threads. Its input ends with us, and it with its input.
        # -P: no module is taken from the current folder. In a group of its own Ctrl-C does not reach it.
        places = [str(Path(__file__).parents[1]), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "s2p_lib.decoding"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, places))},
                process_group=0,
            )
        except OSError as error:
            raise DecoderStartError(f"{DOES_NOT_START}: {error}") from None
        problem = "it was interrupted"
        try:
            problem = self._why_not_ready()
        finally:
            if problem:
                self.stop()
        if problem:
            raise DecoderStartError(f"{DOES_NOT_START}: {problem}")

    def _why_not_ready(self) -> str:
        """Empty if it is ready. Only then is a death a photo's fault."""
        try:
            self._send(self.resize)
            return self._receive(START_LIMIT_S)
        except TimeoutError:
            return f"not ready within {START_LIMIT_S} s"
        except (EOFError, OSError):
            return f"it {self._how_it_ended()}; its own output says why"
        except Exception:  # of many kinds, if something prints where an answer should be
            return "it says what it should not, perhaps by a module that prints when it is imported"

    def _how_it_ended(self) -> str:
        try:
            return f"ended with code {self.process.wait(ENDING_LIMIT_S)}"
        except subprocess.TimeoutExpired:
            return "closed its output and goes on"

    def _send(self, what) -> None:
        pickle.dump(what, self.process.stdin)
        self.process.stdin.flush()

    def _receive(self, limit_s: float):
        """The next answer. TimeoutError, and the process is killed, if it takes longer: Windows cannot ``select``."""
        process, too_late = self.process, threading.Event()
        timer = threading.Timer(limit_s, lambda: (too_late.set(), process.kill()))
        timer.daemon = True
        timer.start()
        try:
            return pickle.load(process.stdout)
        except (EOFError, pickle.UnpicklingError):
            if too_late.is_set():
                raise TimeoutError from None
            raise
        finally:
            timer.cancel()


def _decode_until_closed(parent: int) -> None:
    """The decoding process of the process whose id is ``parent``."""
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    try:
        resize = _loaded(answers)
        while True:
            content = pickle.load(sys.stdin.buffer)
            try:
                found = _pixels_or_problem(resize, content)
            except Exception as error:  # not the photo's fault: the parent raises it
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


def _pixels_or_problem(resize: Callable, content: bytes) -> np.ndarray | str:
    try:
        photo = open_photo(io.BytesIO(content))
    except Exception as error:  # what no damaged photo has made a decoder raise so far, too
        return problem_of_content(content, error)
    return np.asarray(resize(photo))


if __name__ == "__main__":
    _decode_until_closed(os.getppid())
