"""What tests put into decoding processes: these must find it by import, so ``SEARCH_PATH`` has to be PYTHONPATH."""

import os
import signal
import sys
from pathlib import Path

from PIL import Image

SEARCH_PATH = f"{Path(__file__).parents[1]}{os.pathsep}{Path(__file__).parent}"
DEADLY_WIDTH = 13  # of the photos at which a process is killed


class Resize:
    """Dies as a decoder with a wild pointer does; with ``mark`` its parent dies instead, once."""

    def __init__(self, mark: Path | None = None):
        self.mark = mark

    def __call__(self, image: Image.Image) -> Image.Image:
        if image.width == DEADLY_WIDTH and self.mark is None:
            os.kill(os.getpid(), signal.SIGSEGV)
        if image.width == DEADLY_WIDTH and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getppid(), signal.SIGKILL)
        return image.resize((32, 32), Image.Resampling.BILINEAR)


class NeverEnds:
    """Hangs in every photo; with ``kills_parent`` its parent dies first."""

    def __init__(self, kills_parent: bool = False):
        self.kills_parent = kills_parent

    def __call__(self, image: Image.Image) -> Image.Image:
        if self.kills_parent:
            os.kill(os.getppid(), signal.SIGKILL)
        while True:
            signal.pause()


class CannotBeLoaded:
    """As a class whose module is not there for decoding processes."""

    def __reduce__(self):
        return _load, ()


def _load() -> CannotBeLoaded:
    if sys.argv[0].endswith("decoding.py"):
        import no_such_module  # noqa: F401
    return CannotBeLoaded()


def save_deadly(path: Path) -> None:
    Image.new("RGB", (DEADLY_WIDTH, 20), "red").save(path)
