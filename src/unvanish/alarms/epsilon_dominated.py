"""UV704 epsilon-dominated: Adam hardly moves, because its gradients are smaller than epsilon."""

import math

import numpy as np

from unvanish.alarms.detector import AWAY, UNSEEN, Absence, Detector, Run, Sign
from unvanish.alarms.moment import EPSILON, Moment
from unvanish.alarms.pace import WINDOW, falls, updates
from unvanish.alarms.series import middle
from unvanish.causes import epsilon_dominated, step_too_small

SWALLOWED = 0.1
"""Moving by a tenth of the rate means that epsilon is nine times the gradient's own size."""


def swallowed(moment: Moment) -> bool:
    """Whether it is one of Adam's kin, with gradients below its own epsilon in most matrices."""
    columns = moment.columns
    dense = columns.matrix & columns.reached
    if moment.optimizer not in epsilon_dominated.FAMILY or not dense.any():
        return False
    return middle(columns["gradient"][dense] / np.sqrt(columns.elements[dense])) < moment.epsilon


class _Swallowed:
    """Most matrices, from the start, move a tenth of the rate or less on gradients below epsilon.

    The root mean square of a step's entries over the learning rate is about one for Adam whatever
    the scale of the loss. A net that has converged moved like that once; this one never did, and
    its loss does not fall. The gradient's size is that of all entries: a tensor with many zeros
    (an embedding) is left out. An epsilon above Adam's own was chosen, and a rate to go with it: it
    counts only where weights stand still beside their own size.
    """

    def __init__(self) -> None:
        self._run = Run()
        self._moved_once = False

    def see(self, moment: Moment) -> Sign | Absence:
        rate = moment.scalar("learning_rate")
        values = moment.reading.values
        if moment.optimizer not in epsilon_dominated.FAMILY or not rate > 0:
            return UNSEEN
        if self._moved_once:
            return AWAY
        if "update_to_weight" not in values or "weight_rms" not in values:
            return UNSEEN
        small, moved = self._read(moment, rate)
        if moved is None:
            return UNSEEN
        small = small and (moment.epsilon <= EPSILON or _stands_still(moment))
        if self._run.count(moved < SWALLOWED and small, moment.step) == 0:
            self._moved_once = moved >= SWALLOWED
            return AWAY
        if moment.step - self._run.since < WINDOW:
            return UNSEEN
        if falls(moment.course) is not False:
            return UNSEEN
        dense = moment.columns.matrix & moment.columns.reached
        return Sign(
            severity="harmful",
            where=moment.columns.named(dense),
            onset=self._run.since,
            evidence={"moved": moved, "tensors": float(dense.sum()), "weights": float(dense.sum())},
            detail=f"entries move by {moved:.2g} of the learning rate",
        )

    def _read(self, moment: Moment, rate: float) -> tuple[bool, float | None]:
        """Whether gradients are below epsilon in most matrices, and how far those move."""
        columns = moment.columns
        step = columns["update"] * 10 ** columns["log_weight"] / np.sqrt(columns.elements) / rate
        zeros = moment.reading.values.get("gradient_zeros")
        known = columns.matrix & columns.reached & ~columns.zero & np.isfinite(step)
        if zeros is not None:
            known[: len(zeros)] &= 2 * zeros < columns.elements[: len(zeros)]
        if not known.any():
            return False, None
        size = columns["gradient"][known] / np.sqrt(columns.elements[known])
        moved = middle(step[known])
        return middle(size) < moment.epsilon, moved if math.isfinite(moved) else None


def _stands_still(moment: Moment) -> bool:
    """Whether the matrices change less than where a rate is called too small."""
    moved = updates(moment.columns)
    return len(moved) > 0 and middle(moved) < step_too_small.SMALL


DETECTOR = Detector(
    card=epsilon_dominated.CARD,
    watcher=_Swallowed,
    explains=epsilon_dominated.CAUSE.explains,
)
