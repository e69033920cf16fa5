"""The last values of one number of a training, newest last."""

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]


def middle(values: Doubles) -> float:
    """The upper median of finite values; several times cheaper than numpy's for short arrays.

    >>> middle(np.array([4.0, 1.0, 3.0, 9.0]))
    4.0
    """
    half = len(values) // 2
    return float(np.partition(values, half)[half])


class Series:
    """A window over the last ``length`` values and the steps they belong to.

    Views are handed out, not copies: appending costs the same whatever the length.

    >>> series = Series(3)
    >>> for step in range(5):
    ...     series.append(step, step / 2)
    >>> series.last(2).tolist(), series.steps(2).tolist(), series.count
    ([1.5, 2.0], [3.0, 4.0], 5)
    """

    def __init__(self, length: int) -> None:
        self._length = length
        self._rows = np.full((2, 8 * length), np.nan)
        self._end = 0
        self.count = 0

    def append(self, step: int, value: float) -> None:
        if self._end == self._rows.shape[1]:
            self._rows[:, : self._length - 1] = self._rows[:, 1 - self._length :].copy()
            self._end = self._length - 1
        self._rows[0, self._end] = step
        self._rows[1, self._end] = value
        self._end += 1
        self.count += 1

    def last(self, many: int, skipped: int = 0) -> Doubles:
        """The newest ``many`` values (or as many as there are) before the newest ``skipped``."""
        return self._cut(1, many, skipped)

    def steps(self, many: int, skipped: int = 0) -> Doubles:
        """The steps of :meth:`last`."""
        return self._cut(0, many, skipped)

    def _cut(self, row: int, many: int, skipped: int) -> Doubles:
        kept = min(self.count, self._length, self._end)
        end = max(self._end - skipped, self._end - kept)
        return self._rows[row, max(end - many, self._end - kept) : end]
