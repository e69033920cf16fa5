"""The gradient over the order of the weight matrices: does the front fall behind the back?"""

from dataclasses import dataclass

import numpy as np

from unvanish.alarms.columns import Columns, Mask
from unvanish.alarms.series import Doubles, middle
from unvanish.slopes import theil_sen

FEWEST = 4
"""Matrices in a row that a slope over depth can be spoken of."""
MOST_POINTS = 40
FLOOR = -45.0
"""log10 of the smallest float32: what a gradient that rounded to zero counts as."""


@dataclass(frozen=True, slots=True)
class Profile:
    """log10 of gradient times weight of each matrix with a gradient, first to last.

    That product (how much the loss would change if the tensor changed by its own size) and not
    the gradient is compared: it is the same whatever the scale of a weight, also before a
    normalisation, where a large weight has a small gradient and is fine. ``front`` and ``back``
    are the medians of the first and the last third, ``places`` the columns.
    """

    places: np.ndarray
    height: Doubles
    front: float
    back: float

    @property
    def fall(self) -> float:
        """Decades from the back to the front; negative where the front is larger."""
        return self.back - self.front

    def first_third(self, size: int) -> Mask:
        """Mask over all columns of the matrices of the first third."""
        return _mask(self.places[: _third(len(self.places))], size)

    def last_third(self, size: int) -> Mask:
        """Mask over all columns of the matrices of the last third."""
        return _mask(self.places[-_third(len(self.places)) :], size)

    def compounds(self) -> bool:
        """Whether the change is a slope over depth: significant, and no single step has half of it.

        The slope is Theil and Sen's with its 95 % interval, which a few tensors out of line do not
        move; heights are smoothed by medians of three before the largest step is looked for.
        """
        height = self.height
        if len(height) >= 6:
            height = np.median(np.stack([height[:-2], height[1:-1], height[2:]]), axis=0)
        gaps = np.diff(height) * np.sign(self.fall)
        if gaps.max() >= abs(self.fall) / 2 and len(height) > FEWEST:
            return False
        thinned = self.height[:: -(-len(self.height) // MOST_POINTS)]
        slope = theil_sen(thinned.tolist())
        return slope is not None and (slope.rises if self.fall > 0 else slope.falls)


def read_profile(columns: Columns) -> Profile | None:
    """The profile of this step; ``None`` with too few matrices that have both readings."""
    logs = columns["log_gradient"]
    # An exact zero is no number of decades, unless everything came down to it by and by.
    usable = columns.matrix & columns.reached & ~columns.nonfinite
    height = np.where(columns.zero, FLOOR, logs) + columns["log_weight"]
    usable &= np.isfinite(height)
    if columns.zero.any():
        usable &= ~columns.zero | _came_down(columns, logs)
    places = np.flatnonzero(usable)
    if len(places) < FEWEST:
        return None
    height = height[places]
    third = _third(len(places))
    return Profile(places, height, middle(height[:third]), middle(height[-third:]))


def _came_down(columns: Columns, logs: Doubles) -> Mask:
    """Zero tensors in front of one whose gradient is next to the end of float32."""
    low = np.flatnonzero(columns.matrix & (logs < -30))
    return np.arange(len(columns)) < (low[0] if len(low) else 0)


def _third(many: int) -> int:
    return max(many // 3, 1)


def _mask(places: np.ndarray, size: int) -> Mask:
    mask = np.zeros(size, dtype=bool)
    mask[places] = True
    return mask
