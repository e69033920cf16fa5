"""UV605 stuck-saddle: factors that are zero together get no gradient, and so stay zero."""

from unvanish.alarms.dead_units import held_at_zero, stopped
from unvanish.alarms.detector import AWAY, UNSEEN, Absence, Detector, Sign
from unvanish.alarms.moment import Moment
from unvanish.causes import stuck_saddle


class _Stuck:
    """Layers that the gradient stops at, as for dead units; but what holds it are their own zeros.

    One factor of two that starts at zero is awake after a step. Two that do get gradients of zero,
    each for the other's sake, as long as the training lasts.
    """

    def see(self, moment: Moment) -> Sign | Absence:
        columns = moment.columns
        if not columns.zero.any():
            return AWAY
        stuck = stopped(moment)
        if not held_at_zero(columns, stuck):
            return UNSEEN
        run = int(columns["zero_run"][stuck].max())
        return Sign(
            severity="broken",
            where=columns.named(stuck & columns.matrix),
            onset=max(moment.step - run + 1, 0),
            evidence={"tensors": float((stuck & columns.matrix).sum())},
            detail="their weights and their gradients are all exactly zero, and stay so",
        )


DETECTOR = Detector(card=stuck_saddle.CARD, watcher=_Stuck, explains=stuck_saddle.CAUSE.explains)
