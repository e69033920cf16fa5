"""The contest: candidates train side by side on the same batches, and fewer go on at each rung.

Successive halving (Jamieson and Talwalkar 2016, arXiv:1502.07943): the cost grows with the number
of candidates, not with that of their combinations. The control trains along with them, so that
every comparison is paired.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from unvanish.errors import UnvanishError
from unvanish.remedies.ordering import LEVELS
from unvanish.remedies.remedy import Patient
from unvanish.surgery.edits import Edit
from unvanish.treatment.clock import Clock
from unvanish.treatment.contender import Contender, best_of_levels, operate
from unvanish.treatment.record import THE_SAME
from unvanish.treatment.settings import factor_of
from unvanish.trial import Running

RUNGS = (20, 50, 150)
"""Steps at which the field is halved. Loss after 50 steps ranks final accuracy well, after 20 only
roughly: the first rung gives up nothing but the worse half."""
FEWEST = 3
"""So many go on at least."""
RATES = (1 / 3, 3.0)
"""Other step sizes that the leaders are tried at: every contender deserves its own."""
LEADERS = {RUNGS[1]: FEWEST, RUNGS[2]: 1}
"""How many are tried at other step sizes behind a rung: at the second time those around the first."""
FURTHER = 4
"""So many more where the best step size is the last one that was tried: two decades."""
BRAKE = 0.1
"""The step size that a contender which diverges at once is given a second chance at."""
NO_TIME = "no time was left"

Begin = Callable[[Contender], Running]


class Contest:
    """One field of contenders, from the first rung to the last step."""

    def __init__(self, patient: Patient, begin: Begin, steps: int, clock: Clock) -> None:
        self._patient, self._begin, self._clock = patient, begin, clock
        self._rungs = (*(rung for rung in RUNGS if rung < steps), steps)
        self._steps = steps
        self.seen: list[Contender] = []
        self._behind: list[Contender] = []

    def hold(self, control: Contender, field: Iterable[Contender]) -> list[Contender]:
        """Train, halve, train on; those that reach the last step, with their scores."""
        self._train(control, self._steps)
        going = list(field)
        self.seen += going
        for rung in self._rungs:
            for contender in list(going):
                self._train(contender, rung)
            if rung == self._rungs[0]:
                going += self._second_chances(going, rung)
            going = self._survivors(going, control, rung)
            if rung in LEADERS and rung != self._rungs[-1]:
                going += self._at_rates(leaders(going, LEADERS[rung]), RATES, rung)
        ended = [*going, *self._beyond(going)]
        return [*ended, *self._brought_back(ended)]

    def stopped(self, control: Contender) -> list[Contender]:
        """Those that the end of the time stopped below the control's loss, the best first.

        By the loss behind as many steps as all of them, and the control, have taken.
        """
        ended = {id(c): c for c in self.seen if c.out == NO_TIME and c.losses}
        courses = {key: c.running.losses for key, c in ended.items() if c.running is not None}
        if control.running is None or not courses:
            return []
        steps = min(len(course) for course in (control.running.losses, *courses.values()))
        losses = {key: _recent(course[:steps]) for key, course in courses.items()}
        floor = _recent(control.running.losses[:steps])
        better = [
            ended[key] for key in sorted(losses, key=losses.__getitem__) if losses[key] < floor
        ]
        for contender in better:
            contender.out = None
        return better

    def _brought_back(self, ended: Sequence[Contender]) -> list[Contender]:
        """Who was behind and is all that another at the end is but for its step size, now there, too.

        A slow start is no low score, and another step size is a larger change than none: it has to
        be shown to be better than the same edits without it.
        """
        rated = [_without_factor(c.edits) for c in ended if c.out is None]
        cores = [edits for edits, factor in rated if factor != 1]
        back = [c for c in self._behind if c.edits in cores]
        for contender in back:
            contender.out = None
            self._train(contender, self._steps)
        return [contender for contender in back if contender.out is None]

    def _beyond(self, going: Sequence[Contender]) -> list[Contender]:
        """Where the best stands at the end of its step sizes: further ones, as long as they help."""
        made: list[Contender] = []
        best = min(going, key=lambda c: c.loss_at(self._steps), default=None)
        while best is not None and best.out is None and len(made) < FURTHER:
            further = self._at_rates([best], outward(best, self.seen), self._steps)
            made += further
            better = [c for c in further if c.loss_at(self._steps) < best.loss_at(self._steps)]
            best = better[0] if better else None
        return made

    def _train(self, contender: Contender, rung: int) -> None:
        """Bring a contender to this rung; without time left, it stays where it is."""
        if contender.out is not None or rung in contender.losses:
            return
        if self._clock.spent:
            contender.out = NO_TIME
            return
        self._clock.tell(f"{' + '.join(contender.remedies) or 'control'}: {rung} steps")
        try:
            if contender.running is None:
                contender.running = self._begin(contender)
            contender.running.advance(rung - len(contender.running.losses))
        except (RuntimeError, TypeError, ValueError, UnvanishError) as error:
            contender.out = f"training failed: {error}"
            return
        contender.losses[rung] = _recent(contender.running.losses)
        if contender.running.diverged:
            contender.losses[rung] = math.inf
        if rung == self._steps:
            contender.score = contender.running.score()

    def _survivors(
        self, going: Sequence[Contender], control: Contender, rung: int
    ) -> list[Contender]:
        """The better half, and of each level its best: a smaller cure must not be outrun early."""
        ranked = sorted(
            (c for c in going if c.out is None), key=lambda c: (c.loss_at(rung), c.size)
        )
        alive = _different([c for c in ranked if math.isfinite(c.loss_at(rung))])
        count = max(FEWEST, math.ceil(len(ranked) / 2)) if rung != self._steps else len(ranked)
        kept = alive[:count]
        kept += [best for best in best_of_levels(alive) if best not in kept]
        for contender in ranked:
            if contender not in kept and contender.out is None:
                fell = not math.isfinite(contender.loss_at(rung))
                contender.out = "diverged" if fell else f"behind after {rung} steps"
                self._behind += [] if fell else [contender]
        return kept

    def _second_chances(self, going: Sequence[Contender], rung: int) -> list[Contender]:
        fallen = [c for c in going if c.out is None and not math.isfinite(c.loss_at(rung))]
        return self._at_rates(fallen, (BRAKE,), rung)

    def _at_rates(
        self, contenders: Iterable[Contender], factors: Iterable[float], rung: int
    ) -> list[Contender]:
        """The same edits with the step size multiplied, once each, trained up to here."""
        made: list[Contender] = []
        for contender in contenders:
            edits, own = _without_factor(contender.edits)
            if any("lr_factor" in edit.options or "lr" in edit.options for edit in edits):
                continue
            names = contender.remedies if own != 1 else (*contender.remedies, "step-size")
            for factor in factors:
                plan = (*edits, Edit(action="optimizer", options={"lr_factor": own * factor}))
                if own * factor != 1 and not any(c.edits == plan for c in (*self.seen, *made)):
                    rated = operate(self._patient, names, contender.level, plan)
                    made.append(replace(rated, faults=contender.faults))
        for contender in made:
            self._train(contender, rung)
        self.seen += made
        return made


def _recent(losses: Sequence[float]) -> float:
    """The mean of the last quarter."""
    recent = losses[-max(1, len(losses) // 4) :]
    return math.fsum(recent) / len(recent)


def leaders(going: Sequence[Contender], count: int) -> list[Contender]:
    """The first of a field in order, and of each level below theirs the best.

    A larger change has to be shown to be better than a smaller one at its own step size, not than
    one that stands at a step size which suits the larger.
    """
    first = list(going[:count])
    largest = max((LEVELS.index(c.level) for c in first), default=0)
    smaller = [c for c in best_of_levels(going) if LEVELS.index(c.level) < largest]
    return [*first, *(c for c in smaller if c not in first)]


def outward(best: Contender, seen: Iterable[Contender]) -> tuple[float, ...]:
    """The factor that leads past the step sizes that these edits were tried at, from the last one."""
    edits, own = _without_factor(best.edits)
    others = [factor for core, factor in (_without_factor(c.edits) for c in seen) if core == edits]
    if len(set(others)) < 2 or min(others) < own < max(others):
        return ()
    return (RATES[1],) if own >= max(others) else (RATES[0],)


def _without_factor(edits: Sequence[Edit]) -> tuple[tuple[Edit, ...], float]:
    """The edits without a last one that only multiplies the step size, and its factor."""
    factor = factor_of(edits[-1]) if edits else None
    return (tuple(edits), 1.0) if factor is None else (tuple(edits[:-1]), factor)


def _different(ranked: Sequence[Contender]) -> list[Contender]:
    """One of each course of training: edits that come to the same bits are one candidate."""
    seen: dict[tuple[float, ...], Contender] = {}
    for contender in ranked:
        losses = tuple(contender.running.losses) if contender.running is not None else ()
        if losses in seen:
            contender.out = THE_SAME
        seen.setdefault(losses, contender)
    return list(seen.values())
