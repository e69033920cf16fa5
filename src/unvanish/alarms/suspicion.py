"""What only a deep look can judge: worth one when it is newly met, no alarm by itself."""

import math

import numpy as np

from unvanish.alarms.columns import LARGE, Columns
from unvanish.alarms.dead_units import ended
from unvanish.alarms.gone import Gone
from unvanish.alarms.moment import WINDOW, Course
from unvanish.alarms.pace import fall_beyond_chance
from unvanish.alarms.profile import Profile
from unvanish.alarms.rising import LATEST, Rise
from unvanish.alarms.series import Series
from unvanish.causes.cause import HARMFUL_DECADES

FIRST_PATIENCE = 50
"""Steps between two looks for the same reason; doubled after each, so that a loss that goes up and
down for ever, as those of two players do, is looked at a number of times that grows with the
logarithm of the steps only."""
APART = WINDOW // 4
"""Losses between two questions for a slow rise: one that takes the whole window cannot be missed."""


class Suspicion:
    """Tensors that lost their gradient, all gradients gone, a loss that rises, large steps.

    And gradients that lie otherwise over the depth than when they were last asked about. A loss
    rises for many reasons, and most of them are meant: another phase, another task, the
    other player's turn. Weights that are replaced in a few steps, step after step, may be meant too.
    What the training does there is seen in one step of it.
    """

    def __init__(self) -> None:
        self._gone = Gone()
        self._rise, self._risen = Rise(), _Rarely()
        self._thrown, self._ended = _Rarely(), _Rarely()
        self._climb, self._moved = _Climb(), _Moved()

    def see(
        self, columns: Columns, course: Course, step: int, profile: Profile | None = None
    ) -> bool:
        """Whether this step shows something that is new and worth a look."""
        self._rise.see(course.loss)
        asked = (
            self._gone.see(columns, course.steps),
            self._risen.see(step, self._rise.met, self._climb.see(course.loss)),
            self._thrown.see(step, _stays_large(course.expected_update)),
            self._ended.see(step, ended(columns)),
            self._moved.see(profile, step),
        )
        return any(asked)


class _Rarely:
    """Lets through what is newly met, but not again soon; of several signs of one thing, too."""

    def __init__(self) -> None:
        self._met: tuple[bool, ...] = ()
        self._patience, self._next = FIRST_PATIENCE, 0

    def see(self, step: int, *met: bool) -> bool:
        known, self._met = self._met or (False,) * len(met), met
        new = any(now and not before for now, before in zip(met, known, strict=True))
        if not new or step < self._next:
            return False
        self._next, self._patience = step + self._patience, 2 * self._patience
        return True


class _Climb:
    """Whether the losses of the window rise by their order: too slowly to stand above the last ones.

    Asked now and then: of 128 losses it takes as long as everything else in a step.
    """

    def __init__(self) -> None:
        self._met, self._next = False, WINDOW

    def see(self, losses: Series) -> bool:
        if losses.count >= self._next:
            self._next = losses.count + APART
            self._met = fall_beyond_chance(-losses.last(WINDOW))
        return self._met


class _Moved:
    """Whether front and back are further apart, or closer, by what harms than at first.

    From then on they are compared to what the look meets that this asks for.
    """

    def __init__(self) -> None:
        self._known = math.nan
        self._patience, self._next = FIRST_PATIENCE, 0

    def see(self, profile: Profile | None, step: int) -> bool:
        if profile is None:
            return False
        if math.isnan(self._known):
            self._known = profile.fall
        if abs(profile.fall - self._known) < HARMFUL_DECADES or step < self._next:
            return False
        self._known = profile.fall
        self._next, self._patience = step + self._patience, 2 * self._patience
        return True


def _stays_large(expected: Series) -> bool:
    """Whether every one of the last steps would replace the weights in twenty like it."""
    latest = expected.last(LATEST)
    return len(latest) == LATEST and bool(np.all(latest >= LARGE))
