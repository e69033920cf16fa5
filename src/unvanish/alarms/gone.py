"""Tensors that had a gradient and have none any more: worth a look, no alarm by themselves."""

import math

import numpy as np

from unvanish.alarms.columns import Columns
from unvanish.alarms.confirmed import FEWEST
from unvanish.alarms.dead_units import RARELY


class Gone:
    """Asks for a deep look when a tensor loses its gradient beyond chance.

    A head, an expert or a layer that is left out now and then has no gradient in some steps. Of n
    steps it had one in k, and none in the last r: were the steps alike in any order, this would
    have probability C(n - r, k) / C(n, k). It is asked at runs of 4, 8, 16 and so on, and once for
    each run: what takes turns is soon no surprise any more.
    """

    def __init__(self) -> None:
        self._told = np.zeros(0, dtype=bool)

    def see(self, columns: Columns, steps: int) -> bool:
        """Whether any tensor is gone that was not told yet; ``steps`` were taken so far."""
        if len(self._told) < len(columns):
            more = np.zeros(len(columns) - len(self._told), dtype=bool)
            self._told = np.concatenate([self._told, more])
        run, had = columns["none_run"], columns["judged"]
        self._told &= run > 0
        asked = (run > FEWEST) & (had > 0) & ~self._told
        if not asked.any():
            return False
        asked &= np.exp2(np.round(np.log2(run))) == run
        kinds = {(int(had[place]), int(run[place])) for place in np.flatnonzero(asked)}
        rare = {kind for kind in kinds if _chance(steps, *kind) <= RARELY / len(columns) / steps}
        for place in np.flatnonzero(asked):
            self._told[place] = (int(had[place]), int(run[place])) in rare
        return bool(rare)


def _chance(steps: int, had: int, run: int) -> float:
    """Probability that the last ``run`` of these steps are all among those without a gradient."""
    without = steps - had
    if run > without:  # columns that came later than the first step
        steps, without = had + run, run
    logs = math.lgamma(without + 1) - math.lgamma(without - run + 1)
    return math.exp(logs - math.lgamma(steps + 1) + math.lgamma(steps - run + 1))
