"""The play-off: what came to the end of a contest is asked again under other seeds, on other samples.

One seed and one validation part are too few to choose by: of many contenders the best score is the
luckiest one (a step size at the edge does well under one draw and badly under the next). So each
turn draws other initial values and sets another part of the samples aside, as cross-validation does,
and whoever falls behind by more than chance is not asked again (a race; Maron and Moore 1994).
"""

import math
from collections.abc import Callable, Sequence

from unvanish.errors import UnvanishError
from unvanish.treatment.clock import Clock
from unvanish.treatment.contender import Contender, best_of_levels
from unvanish.treatment.need import tolerance
from unvanish.trial import Running, Task
from unvanish.trial.split import samples_in

TURNS = 4
"""Under so many seeds, the contest's own among them; with parts of a quarter each sample is asked once."""
FEWEST, MOST = 2, 6
"""So many are asked again: the best; within reach always the smallest, and of each level its best."""
BEHIND = 2.0
"""Standard errors behind the best from which on a contender is not asked again."""
TELLING = 6
"""Answers fewer right that tell two contenders apart: all are asked the same samples, and of five on
which they differ all go one way once in sixteen times, of six once in thirty-two (sign test, both
ways). Where few samples are left over, standard errors of shares near one promise more than that."""

Begin = Callable[[Contender, int, int], Running]
"""Begins the training of a contender under a seed, with the part of a turn set aside."""


class PlayOff:
    """Asks the finalists of a contest again, and says in which order to choose them."""

    def __init__(self, task: Task, begin: Begin, steps: int, clock: Clock) -> None:
        self._task, self._begin, self._steps, self._clock = task, begin, steps, clock

    def order(self, finalists: Sequence[Contender], control: Contender) -> list[Contender]:
        """Those that beat the control: of those not behind by more than chance the smallest first.

        A larger change has to be shown to be better, not a smaller one to be as good. The control is
        asked again with the others as long as chance alone may have put it near them: a lucky run
        of it would send good ones away, and a good run of theirs is held against its mean.
        """
        floor = control.score if control.score is not None else -math.inf
        above = floor - self._near(floor, BEHIND, 1) if self._counts and self._may_race else floor
        able = [c for c in finalists if c.score is not None and c.score > above]
        racing, turns = self._race(able, control)
        # Of an accuracy the tolerance is an error of chance, of another metric a margin.
        alike = self._within(racing, BEHIND if self._counts else 1.0, turns)
        near = sorted(alike, key=lambda c: c.size)
        rest = sorted((c for c in able if c not in near), key=lambda c: -(c.score or 0.0))
        for contender in rest:
            contender.behind = True
        floor = control.score if control.score is not None else -math.inf
        return [c for c in (*near, *rest) if (c.score or 0.0) > floor]

    @property
    def _counts(self) -> bool:
        return self._task.yardstick.kind == "accuracy"

    @property
    def _may_race(self) -> bool:
        return self._task.split.turned(1) is not None and not self._clock.spent

    def _race(self, able: Sequence[Contender], control: Contender) -> tuple[list[Contender], int]:
        """Who is left when all turns are taken, or one alone, and how many turns that were."""
        racing, taken = self._first(able), 1
        asked = [control] if self._counts and control.score is not None else []
        for turn in range(1, TURNS):
            if len(racing) < 2 or self._task.split.turned(turn) is None:
                break
            near = self._within([*racing, *asked], BEHIND, taken)
            asked = [c for c in asked if c in near]
            for contender in (*racing, *asked):
                if self._clock.spent:
                    return self._first(able), taken
                self._ask(contender, turn)
            taken += 1
            racing = self._within(racing, BEHIND, taken)
        return racing, taken

    def _first(self, better: Sequence[Contender]) -> list[Contender]:
        """Who may race: those not behind by more than chance.

        In any case the smallest of them, and of each level its best.
        """
        ranked = sorted(better, key=lambda c: -(c.score or 0.0))
        able = ranked[: max(FEWEST, len(self._within(better, BEHIND, 1)))]
        sure = [*best_of_levels(able), *sorted(able, key=lambda c: c.size)[:1]]
        others = [c for c in able if c not in sure][: max(MOST - len(sure), 0)]
        return [c for c in able if c in sure or c in others]

    def _within(self, asked: Sequence[Contender], errors: float, turns: int) -> list[Contender]:
        """Those within so many standard errors of the best, or within too few answers to tell."""
        top = max((c.score or 0.0 for c in asked), default=0.0)
        bound = top - self._near(top, errors, turns)
        return [c for c in asked if (c.score or 0.0) >= bound]

    def _near(self, top: float, errors: float, turns: int) -> float:
        """How far below a score chance alone may put another of so many turns."""
        near = errors * tolerance(self._task, top, turns)
        answers = turns * sum(samples_in(batch) for batch in self._task.split.validation)
        return max(near, (TELLING - 0.5) / max(answers, 1)) if self._counts else near

    def _ask(self, contender: Contender, turn: int) -> None:
        """One more turn; the score is the mean of all."""
        remedies = " + ".join(contender.remedies) or "control"
        self._clock.tell(f"{remedies}: once more, seed {turn}")
        try:
            running = self._begin(contender, turn, turn).advance(self._steps)
            scores = (contender.score or 0.0) * turn + running.score()
        except UnvanishError:
            scores = -math.inf  # what cannot be made under another seed cures nothing
        contender.score = scores / (turn + 1)
