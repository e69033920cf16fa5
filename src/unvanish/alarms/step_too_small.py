"""UV702 step-too-small: the weights stand still from the start, and no schedule says why."""

from unvanish.alarms.detector import AWAY, UNSEEN, Absence, Detector, Run, Sign
from unvanish.alarms.epsilon_dominated import swallowed
from unvanish.alarms.moment import Moment
from unvanish.alarms.pace import WINDOW, falls, steady_rate, updates
from unvanish.alarms.series import middle
from unvanish.causes import step_too_small
from unvanish.causes.cause import RESOLUTION

STANDING = 1e-6
"""Update to weight at which a million steps, all in one direction, turn a weight over."""
SOME = 1e-5
"""Where any matrix moves like this, the rate is right for some layer."""


class _TooSmall:
    """Matrices that hardly move in forty steps at the full rate, with a loss that does not fall.

    Told apart: warm-up and the end of a schedule by the rate; a net that has converged by its
    first steps, which were larger. Where no loss is known, only a change below float32's
    resolution counts, and a rate that is zero for so long is a note: someone set it.
    """

    def __init__(self) -> None:
        self._run = Run()
        self._typical: float | None = None
        self._still = False

    def see(self, moment: Moment) -> Sign | Absence:
        if "update_to_weight" in moment.reading.values:
            self._read(moment)
        typical = self._typical
        if typical is None or not moment.course.learning_rate.count:
            return UNSEEN
        if self._run.count(self._still, moment.step) < WINDOW:
            return UNSEEN if self._still else AWAY
        if not steady_rate(moment.course):
            return AWAY
        falling = falls(moment.course) if self._run.length % 10 == 0 else None
        if falling or (falling is None and typical >= RESOLUTION):
            return AWAY if falling else UNSEEN
        rate = moment.scalar("learning_rate")
        severity = "note" if rate == 0 else "broken" if typical < RESOLUTION else "harmful"
        return Sign(
            severity=severity,
            where=moment.columns.named(moment.columns.matrix & moment.columns.reached),
            onset=self._run.since,
            evidence={
                "update_to_weight": typical,
                "learning_rate": rate,
                **({"steps_needed": 1 / typical} if typical else {}),
            },
            detail=f"weights change by {typical:.2g} of their size a step at learning rate {rate:.3g}",
        )

    def _read(self, moment: Moment) -> None:
        moved = updates(moment.columns)
        if not len(moved) or swallowed(moment):
            self._typical = None
            return
        self._typical = middle(moved)
        most = moment.columns["update_most"][moment.columns.matrix]
        self._still = self._typical < STANDING and float(most.max()) < SOME


DETECTOR = Detector(card=step_too_small.CARD, watcher=_TooSmall)
