"""Whether a number of the training stands above what it was: by ranks, not by size."""

import numpy as np

from unvanish.alarms.series import Series, middle

LATEST = 10
"""Values that must all stand above what came before."""
BEFORE = 20
"""Values before them that they are compared to: not more, since a loss that fell was higher once."""
FEWEST = 10
"""Fewer values before them prove nothing: of 10 and 10 alike, C(20, 10) = 184,756 orders are."""


class Rise:
    """Whether the newest values are above the older ones, and stay there.

    Were the last k and the m before them alike in any order, the last k would all be above all
    but the j largest of the others with probability C(k + j, k) / C(m + k, k): 2e-6 for k = 10,
    m = 20, j = 2, 6e-5 for 10 against 10 with j = 1. No size and no unit enters, so that noisy,
    negative and rescaled losses are judged alike. A tenth of the older values may be higher: a
    spike some time ago must not hide the rise.

    Once risen, ``reference`` is the height it rose above, and it is over when half of the last
    values are below it.
    """

    def __init__(self) -> None:
        self.reference: float | None = None
        self.since = -1

    @property
    def met(self) -> bool:
        return self.reference is not None

    def see(self, series: Series) -> None:
        """Judge the series anew; called once for each value appended."""
        latest = series.last(LATEST)
        if self.reference is not None:
            if middle(latest) <= self.reference:
                self.reference = None
            return
        before = series.last(BEFORE, LATEST)
        if len(before) < FEWEST:
            return
        outliers = len(before) // 10
        bar = float(np.partition(before, -1 - outliers)[-1 - outliers])
        if float(latest.min()) > bar:
            self.reference = bar
            self.since = int(series.steps(LATEST)[0])
