"""UV705 weight-decay-dominates: steps do nothing but shorten the weights, and the loss suffers."""

import math

import numpy as np

from unvanish.alarms.detector import AWAY, UNSEEN, Absence, Detector, Sign
from unvanish.alarms.moment import Moment
from unvanish.alarms.pace import falls
from unvanish.alarms.series import Doubles, middle
from unvanish.causes import weight_decay_dominates

GONE = 10.0
"""A decade of its size: what was there at the start is not what the tensor holds now."""
RADIAL = 1 / math.sqrt(2)
"""Share of a step along the weight at which that part is as long as the part across."""
PATIENCE = 20


class _Shrinking:
    """Most matrices have lost nine tenths of their size, and steps go straight towards zero.

    A step of decay alone is antiparallel to the weight, so the norm falls by exactly the length
    of the update; a gradient step at a random angle leaves the norm where it was. With both, the
    share of the fall in the length is the part that decay has; above 1/sqrt(2) it is the longer.
    Balance at the end of training is told apart by the weights, which keep their size there, and
    a scale-invariant net that may shrink for a while by its loss, which falls.
    """

    def __init__(self) -> None:
        self._start: Doubles = np.zeros(0)
        self._last: Doubles = np.zeros(0)
        self._last_step = -1
        self._radial = 0
        self._since = -1

    def see(self, moment: Moment) -> Sign | Absence:
        values = moment.reading.values
        if "weight_rms" not in values or "update_to_weight" not in values:
            return UNSEEN
        columns, step = moment.columns, moment.step
        now = columns["log_weight"].copy()
        if len(self._last) != len(now):
            self._start = np.concatenate([self._start, now[len(self._start) :]])
            self._last, self._last_step = now, step
            return UNSEEN
        between = step - self._last_step
        lost = (self._last - now) * math.log(10) / max(between, 1)
        self._last, self._last_step = now, step
        known = columns.matrix & columns.reached & np.isfinite(lost) & (columns["update"] > 0)
        if not known.any():
            return UNSEEN
        share = middle(lost[known] / columns["update"][known])
        gone = middle(self._start[known] - now[known])
        if share < RADIAL:
            self._radial = 0
            return AWAY
        self._since = self._since if self._radial else step
        self._radial += 1
        if gone < math.log10(GONE) or step - self._since < PATIENCE:
            return UNSEEN
        if falls(moment.course) is not False:
            return UNSEEN
        return self._sign(moment, share, gone, middle(lost[known]))

    def _sign(self, moment: Moment, share: float, gone: float, shrink: float) -> Sign:
        columns = moment.columns
        return Sign(
            severity="harmful",
            where=columns.named(columns.matrix & columns.reached),
            onset=self._since,
            evidence={
                "shrink": shrink,
                "radial_share": share,
                "half_life": math.log(2) / shrink if shrink > 0 else math.inf,
                "lost_factor": 10**gone,
            },
            detail=f"weights shrink by {shrink:.2g} of their size a step and are {10**gone:.3g} times "
            "smaller than at the start; the loss does not fall",
        )


DETECTOR = Detector(
    card=weight_decay_dominates.CARD,
    watcher=_Shrinking,
    # What weights do that were small from the start, these do now.
    explains=(*weight_decay_dominates.CAUSE.explains, "init-too-small", "depth-decay"),
)
