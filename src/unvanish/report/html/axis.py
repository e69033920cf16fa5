"""Axes of pictures: round places for ticks, places as per cent of the width, rows binned."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Axis:
    """A stretch of numbers that is drawn from left (``low``) to right (``high``)."""

    low: float
    high: float

    def place(self, value: float) -> float:
        """Per cent of the width, kept inside."""
        share = (value - self.low) / (self.high - self.low)
        return 100 * min(max(share, 0.0), 1.0)

    def ticks(self, most: int = 6) -> list[float]:
        """Round numbers inside, at most so many.

        >>> Axis(-7.3, 0.4).ticks(5)
        [-6.0, -4.0, -2.0, 0.0]
        """
        return self._multiples(_round_up((self.high - self.low) / most))

    def powers(self, most: int = 6) -> list[float]:
        """The same, whole numbers only: powers of ten, where the axis is a logarithm."""
        return self._multiples(max(_round_up((self.high - self.low) / most), 1.0))

    def _multiples(self, step: float) -> list[float]:
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(number * step, 12) + 0.0 for number in range(first, last + 1)]


def axis_of(values: Sequence[float], least: float = 1.0, margin: float = 0.04) -> Axis:
    """An axis that holds all finite values, and spans ``least`` at least."""
    known = [value for value in values if math.isfinite(value)] or [0.0]
    low, high = min(known), max(known)
    lacking = max(least - (high - low), 0.0) / 2
    edge = margin * max(high - low, least)
    return Axis(low - lacking - edge, high + lacking + edge)


def _round_up(step: float) -> float:
    """1, 2 or 5 times a power of ten, not below ``step``."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= step * (1 - 1e-9))


def bins(count: int, most: int) -> list[range]:
    """Neighbours put together, so that there are at most ``most``, as equal as can be.

    >>> bins(5, 2)
    [range(0, 3), range(3, 5)]
    """
    groups = min(count, most)
    edges = [-(-place * count // groups) for place in range(groups + 1)] if groups else []
    return [range(low, high) for low, high in itertools.pairwise(edges)]
