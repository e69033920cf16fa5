"""A robust slope with its confidence interval."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_NORMAL_QUANTILE = 1.96
"""Two-sided 95 % quantile of the standard normal distribution."""

_MOST_POINTS = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Slope:
    """Change of y per unit of x: estimate and 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def falls(self) -> bool:
        """Whether the whole interval lies below zero."""
        return self.high < 0

    @property
    def rises(self) -> bool:
        """Whether the whole interval lies above zero."""
        return self.low > 0


def theil_sen(values: Sequence[float]) -> Slope | None:
    """Median of the slopes between all pairs of points ``(index, value)``.

    Outliers up to 29 % of the points do not move it. The interval is Sen's: the order statistics
    of the pair slopes at the 95 % quantile of Kendall's S under no trend.

    Args:
        values: y at x = 0, 1, 2, ...; more than 400 are thinned evenly.

    Returns:
        The slope; ``None`` for fewer than three points.

    Reference: P. K. Sen, Estimates of the regression coefficient based on Kendall's tau,
    J. Amer. Statist. Assoc. 63 (1968), section 5.

    >>> round(theil_sen([0.0, 1.0, 2.0, 30.0, 4.0, 5.0]).value, 3)
    1.0
    """
    step = max(1, -(-len(values) // _MOST_POINTS))
    heights = np.asarray(values[::step], dtype=np.float64)
    count = len(heights)
    if count < 3:
        return None
    near, far = np.triu_indices(count, 1)
    with np.errstate(invalid="ignore"):  # of two infinite heights
        slopes = np.sort((heights[far] - heights[near]) / ((far - near) * step)).tolist()
    total = len(slopes)
    middle = total // 2
    median = slopes[middle] if total % 2 else (slopes[middle - 1] + slopes[middle]) / 2
    sigma = math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    reach = _NORMAL_QUANTILE * sigma
    low = max(0, math.floor((total - reach) / 2))
    high = min(total - 1, math.ceil((total + reach) / 2))
    return Slope(value=median, low=slopes[low], high=slopes[high])
