"""Whether the loss is tossed about: what it is after a step has nothing to do with what it was."""

import numpy as np

from unvanish.alarms.rising import LATEST
from unvanish.alarms.series import Series, middle

APART = 5
"""Steps between losses that are compared, at most: losses that take turns come back by then."""


def tossed(losses: Series) -> bool:
    """Whether, of the newest losses, those that are one to five steps apart mostly differ tenfold.

    Batches make a loss differ by some of its own size, and learning makes it fall by a little in
    a step. Two losses of unlike size that take turns differ at odd distances only. No unit enters;
    losses that are not positive have no ratio.
    """
    newest = losses.last(LATEST + 1)
    if len(newest) <= LATEST or newest.min() <= 0:
        return False
    levels = np.log10(newest)
    differences = (np.abs(levels[apart:] - levels[:-apart]) for apart in range(1, APART + 1))
    # The upper median first: it is never below the median, and takes a tenth of its time.
    return all(middle(one) >= 1 and float(np.median(one)) >= 1 for one in differences)
