"""One progress bar for terminals, notebooks and headless runs."""

from functools import partial

# tqdm.std, not tqdm.auto: a widget bar freezes at 0 % in a notebook run by papermill.
from tqdm.std import tqdm

# A line every few seconds: a notebook keeps each of them.
progress = partial(tqdm, mininterval=5.0, dynamic_ncols=False, ncols=100, smoothing=0.1)
