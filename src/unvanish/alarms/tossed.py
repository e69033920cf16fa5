"""Whether the loss is tossed about: what it is after a step has nothing to do with what it was."""

import numpy as np

from unvanish.alarms.rising import BEFORE, LATEST
from unvanish.alarms.series import Doubles, Series, middle

APART = 5
"""Steps between losses that are compared, at most: losses that take turns come back by then."""
DECADE = 1.0
"""What losses differ by, in logarithms to the base of ten: so much that they share nothing."""


class Tossed:
    """Of the newest losses, those that are one to five steps apart mostly differ tenfold.

    Batches make a loss differ by some of its own size, and learning makes it fall by a little in
    a step. Two losses of unlike size that take turns differ at odd distances only. No unit enters;
    losses that are not positive have no ratio.

    The loss of a net that fits its data is that of the few samples that it does not fit yet: from
    batch to batch it differs by decades too, all of them below what the net began with. Steps that
    throw weights away take a loss as far up as they take it down: one such decade up must be seen,
    above the first loss or, where that was higher, above those right before.
    """

    def __init__(self) -> None:
        self._up = False
        self.since = -1

    def see(self, losses: Series, first: float) -> bool:
        """Judge the series anew; ``since`` is the step that the first of these losses comes from."""
        newest = losses.last(LATEST + 1)
        if len(newest) <= LATEST or newest.min() <= 0 or not _apart(newest):
            self._up = False
            return False
        if not self._up:
            self._up = float(newest.max()) >= 10**DECADE * _usual(losses, first)
            jumps = np.abs(np.diff(np.log10(newest))) >= DECADE
            self.since = int(losses.steps(LATEST + 1)[int(jumps.argmax())])
        return self._up


def _apart(newest: Doubles) -> bool:
    levels = np.log10(newest)
    differences = (np.abs(levels[apart:] - levels[:-apart]) for apart in range(1, APART + 1))
    # The upper median first: it is never below the median, and takes a tenth of its time.
    return all(middle(one) >= DECADE and float(np.median(one)) >= DECADE for one in differences)


def _usual(losses: Series, first: float) -> float:
    before = losses.last(BEFORE, LATEST + 1)
    return min(first, float(before.max())) if len(before) else first
