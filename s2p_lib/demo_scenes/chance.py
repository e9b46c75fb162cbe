"""Random choices.

The order of the draws decides every picture: one draw more, or two swapped, and all that follows changes.
"""

from collections.abc import Sequence

import numpy as np

Rng = np.random.Generator


def pick(rng: Rng, options: Sequence | str):
    """Draw one of the options; a string is a list of words."""
    options = options.split() if isinstance(options, str) else options
    return options[int(rng.integers(len(options)))]


def picks(rng: Rng, options: str, n: int) -> list[str]:
    """Draw n times, with repeats."""
    return [pick(rng, options) for _ in range(n)]


def spread(rng: Rng, low: float, high: float, n: int, loose: float = 0.6) -> list[float]:
    """Return n rising positions between low and high, evenly spaced but loosened."""
    step = (high - low) / n
    return [low + step * (i + 0.5 + loose * float(rng.uniform(-0.5, 0.5))) for i in range(n)]


def some(rng: Rng, low: int, high: int) -> int:
    """Draw a count from low to high, both included."""
    return int(rng.integers(low, high + 1))
