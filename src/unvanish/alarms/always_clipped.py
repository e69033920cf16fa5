"""UV703 always-clipped: with plain gradient descent, clipping has taken over the step size."""

from unvanish.alarms.detector import AWAY, UNSEEN, Absence, Detector, Sign
from unvanish.alarms.moment import Moment
from unvanish.alarms.pace import WINDOW, updates
from unvanish.alarms.series import middle
from unvanish.causes import always_clipped
from unvanish.training.optimizer import PROPORTIONAL

NEARLY_ALL = 0.9
BITES = 1e-3
"""A norm that differs by more than rounding was changed."""
FEW = 10.0
"""A step divided by less is what a limit near the usual norm does on purpose."""
SLOW = 1e-4
"""A tenth of the customary update to weight: the order of magnitude that clipping took."""


class _Clipped:
    """Nine steps of ten are divided by ten and more. Harmful where the weights crawl because of it.

    The rate is often set for it (recurrent language models are trained with a rate of 20 and a
    limit of 0.25): while the weights move at a usual pace it is a note.
    """

    def see(self, moment: Moment) -> Sign | Absence:
        if moment.optimizer not in PROPORTIONAL:
            return AWAY
        factors = moment.course.clip_factor.last(WINDOW)
        if len(factors) < WINDOW:
            return UNSEEN
        share = float((factors < 1 - BITES).mean())
        divided = 1 / max(middle(factors), 1e-30)
        if share < NEARLY_ALL or divided < FEW:
            return AWAY
        moved = updates(moment.columns)
        typical = middle(moved) if len(moved) else None
        slow = typical is not None and typical < SLOW <= typical * divided * 10
        return Sign(
            severity="harmful" if slow else "note",
            where=("training step",),
            onset=int(moment.course.clip_factor.steps(WINDOW)[0]),
            evidence={
                "share": share,
                "divided": divided,
                **({"update_to_weight": typical} if typical is not None else {}),
            },
            detail=f"{share:.0%} of the last {WINDOW} steps were clipped, to 1/{divided:.3g} in the "
            "middle",
        )


DETECTOR = Detector(
    card=always_clipped.CARD, watcher=_Clipped, explains=always_clipped.CAUSE.explains
)
