"""Depths: over how many layers a slope forgets, and whether a number is one."""

import math
from collections.abc import Callable
from typing import cast

from unvanish.errors import BadInput

ALWAYS = 1e-6  # a slope this near to one lasts for a million layers


def depth_of(slope: float) -> float:
    """-1/ln(slope): infinite at one, 0 where nothing is left after one layer."""
    if slope <= 0:
        return 0.0
    return math.inf if abs(slope - 1) < ALWAYS else -1 / math.log(slope)


def falling_root(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a function falls through zero, by false position with the end that stays halved."""
    below, above = function(low), function(high)
    if below <= 0 or above >= 0:
        return low if below <= 0 else high
    middle = low
    for _ in range(80):
        before, middle = middle, low + (high - low) * below / (below - above)
        at = function(middle)
        if abs(at) < 1e-12 or abs(middle - before) < 1e-13:
            break
        if at > 0:
            low, below, above = middle, at, above / 2
        else:
            high, above, below = middle, at, below / 2
    return middle


def within(value: object, low: float, high: float = math.inf) -> bool:
    """Whether this is a number at all, not below ``low`` and, if ``high`` is infinite, below that.

    >>> within(0.5, 0, 1), within("a", 0), within(float("nan"), 0), within(math.inf, 0)
    (True, False, False, False)
    """
    if isinstance(value, bool | str) or not hasattr(value, "__float__"):
        return False
    number = float(cast(float, value))
    return low <= number <= high and math.isfinite(number)


def checked_depth(layers: int) -> int:
    """The number of layers, if it is one."""
    if isinstance(layers, bool) or not isinstance(layers, int) or layers < 0:
        raise BadInput(f"layers={layers!r} is no depth: pass a whole number, zero or more.")
    return layers
