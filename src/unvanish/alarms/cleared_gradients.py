"""UV603 not-in-optimizer: gradients arrive, and are gone when the optimizer steps."""

import numpy as np

from unvanish.alarms.detector import AWAY, UNSEEN, Absence, Detector, Run, Sign
from unvanish.alarms.moment import Moment
from unvanish.causes import not_in_optimizer

FEWEST = 10
"""Steps in a row: who guards against NaN clears the gradients of one step now and then."""


class _Cleared:
    """Backward passes reach the weights, no tensor has a gradient at the step, and none has moved.

    A ``zero_grad`` that stands between ``backward`` and ``step`` does that. An optimizer that takes
    gradients away as they arrive (to step inside of the backward pass, or on another device) moves
    the weights all the same: so the alarm waits for a reading of what a step changed.
    """

    def __init__(self) -> None:
        self._run = Run()

    def see(self, moment: Moment) -> Sign | Absence:
        columns = moment.columns
        if not moment.reading.scalars.get("backwards"):
            return UNSEEN
        if self._run.count(not columns.reached.any(), moment.step) < FEWEST:
            return UNSEEN if self._run.length else AWAY
        read = columns["update_step"] >= self._run.since
        if not read.any() or not moment.reading.scalars.get("learning_rate"):
            return UNSEEN
        if columns["update"][read].max() > 0:
            return AWAY
        return Sign(
            severity="broken",
            where=columns.named(np.ones(len(columns), dtype=bool)),
            onset=self._run.since,
            evidence={"steps": float(self._run.length)},
            detail="every gradient was cleared between the backward pass and the step, and no weight "
            "moves",
        )


DETECTOR = Detector(card=not_in_optimizer.CARD, watcher=_Cleared)
