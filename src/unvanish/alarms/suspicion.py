"""What only a deep look can judge: worth one when it is newly met, no alarm by itself."""

import numpy as np

from unvanish.alarms.columns import LARGE, Columns
from unvanish.alarms.dead_units import ended
from unvanish.alarms.gone import Gone
from unvanish.alarms.moment import Course
from unvanish.alarms.rising import LATEST, Rise
from unvanish.alarms.series import Series

FIRST_PATIENCE = 50
"""Steps between two looks for the same reason; doubled after each, so that a loss that goes up and
down for ever, as those of two players do, is looked at a number of times that grows with the
logarithm of the steps only."""


class Suspicion:
    """Tensors that lost their gradient, all gradients gone, a loss that has risen, large steps.

    A loss rises for many reasons, and most of them are meant: another phase, another task, the
    other player's turn. Weights that are replaced in a few steps, step after step, may be meant too.
    What the training does there is seen in one step of it.
    """

    def __init__(self) -> None:
        self._gone = Gone()
        self._rise, self._risen = Rise(), _Rarely()
        self._thrown, self._ended = _Rarely(), _Rarely()

    def see(self, columns: Columns, course: Course, step: int) -> bool:
        """Whether this step shows something that is new and worth a look."""
        self._rise.see(course.loss)
        asked = (
            self._gone.see(columns, course.steps),
            self._risen.see(self._rise.met, step),
            self._thrown.see(_stays_large(course.expected_update), step),
            self._ended.see(ended(columns), step),
        )
        return any(asked)


class _Rarely:
    """Lets through what is newly met, but not again soon."""

    def __init__(self) -> None:
        self._met = False
        self._patience, self._next = FIRST_PATIENCE, 0

    def see(self, met: bool, step: int) -> bool:
        new, self._met = met and not self._met, met
        if not new or step < self._next:
            return False
        self._next, self._patience = step + self._patience, 2 * self._patience
        return True


def _stays_large(expected: Series) -> bool:
    """Whether every one of the last steps would replace the weights in twenty like it."""
    latest = expected.last(LATEST)
    return len(latest) == LATEST and bool(np.all(latest >= LARGE))
