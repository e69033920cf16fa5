"""Does a net learn what is plainly there? Beside the best constant, a linear model, neighbours."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from unvanish.treatment.clock import Clock
from unvanish.treatment.contender import Contender
from unvanish.trial import Running, Task
from unvanish.trial.counting import SHARE, smallest_margin, worst_of
from unvanish.trial.linear_skill import LinearSkill, Unseen, linear_skill
from unvanish.trial.neighbours import from_neighbours
from unvanish.trial.ridge import left_out
from unvanish.trial.split import samples_in
from unvanish.trial.statistics import decide
from unvanish.trial.task import outputs_of

Begin = Callable[[Contender, int], Running]


class Need:
    """Whether a net that trained its steps has learned, judged without a limit of anybody's choice.

    It has not where it is no better on unseen samples than the best constant answer, and where even
    on the samples that it was trained on it answers worse than a linear model answers each of them
    without having seen it (:mod:`unvanish.trial.linear_skill`). The odds are the net's, so that a
    sound one that generalises less well than a line is left alone; and "worse" is what a trial would
    call it, were the linear model the treated arm: every seed another draw, a paired interval, and
    at least the smallest difference that matters.

    Where a line says little, the nearest other samples of each one may tell far more. A net that on
    the samples it was trained on has gained less than half of what they gain over the line, all of
    them unseen, is nearer to a line than to what is there. (Not all of it: neighbours know every
    sample by heart, and many a sound net has not come as far after the steps it is given.)
    """

    def __init__(self, task: Task, begin: Begin, steps: int, seeds: int, clock: Clock) -> None:
        self._task, self._begin, self._steps = task, begin, steps
        self._seeds, self._clock = seeds, clock
        self._known: dict[Unseen, LinearSkill | None] = {}
        self._others: tuple[Contender, list[Running]] | None = None

    def of(self, contender: Contender) -> str | None:
        """What it has not learned, as a sentence goes on; ``None``: nothing is known to be missing.

        The run of seed 0 that a contest took to its end is taken as it stands.
        """
        if self._is_constant(self._first(contender)):
            return f"{self._steps} steps teach this net nothing"
        linear = self._reference(contender)
        if linear is None:
            return None
        if self._below(contender, _metric(linear), linear.batches):
            return (
                f"after {self._steps} steps this net answers the samples it was trained on worse "
                "than a linear model answers them unseen"
            )
        near = self._reference(contender, from_neighbours)
        if near is not None and self._is_beyond(near, linear):
            half = (_metric(linear) + _metric(near)) / 2
            if self._below(contender, half, linear.batches):
                return (
                    f"after {self._steps} steps this net is nearer to what a linear model answers "
                    "than to what the nearest other samples tell of each"
                )
        return None

    def unasked(self, contender: Contender) -> bool:
        """Whether there is nothing to compare it with, so that ``None`` says nothing about it."""
        constant = self._task.zero_skill is not None and self._task.split.unseen
        return not constant and self._reference(contender) is None

    def beyond(self, contender: Contender) -> str | None:
        """Whether, though it fits what it was trained on, a line does better on what neither saw.

        By itself that is no illness; where something about the data is known to be amiss, it is.
        """
        linear, unseen = self._reference(contender), self._task.split.validation
        if linear is None or unseen is self._task.split.training:
            return None
        if not self._below(contender, _metric(linear), unseen):
            return None
        return (
            f"after {self._steps} steps a linear model answers unseen samples better than this net"
        )

    def asleep(self, contender: Contender) -> str | None:
        """Whether its first tenth of the steps ends where the best constant answer stands.

        Many a sound net takes its time; one whose start is known to be small need not.
        """
        zero, tenth = self._task.zero_skill, self._steps // 10
        if zero is None or zero.loss is None or not math.isfinite(zero.loss) or tenth < 2:
            return None
        losses = self._first(contender).losses[tenth // 2 : tenth]
        if not losses or math.fsum(losses) / len(losses) < (1 - SHARE) * zero.loss:
            return None
        return f"after its first {tenth} steps this net answers no better than a constant"

    def _first(self, contender: Contender) -> Running:
        """The run of seed 0, to its end."""
        first = contender.running
        if first is None or (len(first.losses) < self._steps and not first.diverged):
            self._clock.tell(f"does it learn? {self._steps} steps")
            first = contender.running = self._begin(contender, 0).advance(self._steps)
        return first

    def _below(self, contender: Contender, bar: float, asked: Sequence[Any]) -> bool:
        """Whether its answers are worse under the first seed, and then under all of them."""
        first = self._first(contender)
        if not self._are_below(bar, [first], asked):
            return False
        others = self._under_other_seeds(contender)
        return len(others) == self._seeds - 1 and self._are_below(bar, [first, *others], asked)

    def _under_other_seeds(self, contender: Contender) -> list[Running]:
        """Its runs of the seeds behind the first, as far as there is time; each trained once."""
        if self._others is None or self._others[0] is not contender:
            self._others = contender, []
        runs = self._others[1]
        for seed in range(1 + len(runs), self._seeds):
            if self._clock.spent:
                break
            self._clock.tell(f"does it learn? seed {seed}")
            runs.append(self._begin(contender, seed).advance(self._steps))
        return runs

    def _is_constant(self, run: Running) -> bool:
        """Whether it ends no better than the best constant answer."""
        zero = self._task.zero_skill
        if zero is None or zero.metric is None or not self._task.split.unseen:
            return False
        least = zero.metric if self._task.yardstick.higher_is_better else -zero.metric
        if run.score() <= least + tolerance(self._task, least):
            return True
        # What a difference in a metric of the user's is worth nobody knows; in the loss it is known.
        if self._task.yardstick.kind != "metric" or zero.loss is None or not zero.loss > 0:
            return False
        late = run.losses[-max(1, self._steps // 4) :]
        return not math.fsum(late) / max(len(late), 1) < (1 - SHARE) * zero.loss

    def _reference(self, contender: Contender, unseen: Unseen = left_out) -> LinearSkill | None:
        if unseen not in self._known:
            task, steps = self._task, self._steps
            plain = task.yardstick.reads_outputs
            outputs = outputs_of(contender.model, task.split.held_out[0]) if plain else None
            self._known[unseen] = (
                linear_skill(task.yardstick, task.split, outputs, steps, unseen)
                if outputs is not None
                else None
            )
        return self._known[unseen]

    def _is_beyond(self, near: LinearSkill, linear: LinearSkill) -> bool:
        """Whether neighbours answer better than a line, by what matters at least."""
        sides = {("control", 0): _metric(linear), ("treated", 0): _metric(near)}
        return self._sign * (_metric(near) - _metric(linear)) > self._margin(sides, near.batches)

    @property
    def _sign(self) -> float:
        return 1.0 if self._task.yardstick.higher_is_better else -1.0

    def _margin(self, sides: dict[tuple[str, int], float], asked: Sequence[Any]) -> float:
        answers = sum(samples_in(batch) for batch in asked)
        return smallest_margin(self._task, sides, answers) or 0.0

    def _are_below(self, bar: float, runs: list[Running], asked: Sequence[Any]) -> bool:
        """Whether they miss the bar: one run at all, more of them as a trial says."""
        measured = [None if r.diverged else r.measure(tuple(asked)).metric for r in runs]
        line, worst = self._sign * bar, self._sign * self._worst([*measured, bar])
        counted = [worst if m is None else max(self._sign * m, worst) for m in measured]
        sides = {("control", k): value for k, value in enumerate(counted)}
        sides |= {("treated", k): line for k in range(len(runs))}
        margin = self._margin(sides, asked)
        differences = [line - value for value in counted]
        if len(runs) == 1:
            return differences[0] > 0  # one draw tells little: all of them are to say
        answers = sum(samples_in(batch) for batch in asked)
        return decide(differences, margin, 1 / answers).word == "helped"

    def _worst(self, measured: list[float | None]) -> float:
        """What a run that failed counts: a loss no more than the best constant answer's."""
        zero = self._task.zero_skill
        if self._task.yardstick.kind == "loss" and zero is not None and zero.metric is not None:
            return zero.metric
        return worst_of(self._task, measured)


def _metric(reference: LinearSkill) -> float:
    return reference.score.metric or 0.0


def tolerance(task: Task, score: float, turns: int = 1) -> float:
    """How far from the best score another is as good: what chance alone makes of that many answers.

    Of an accuracy its binomial standard error on the validation part, or on as many others as there
    were turns, each with samples of its own; of another metric 2 %.
    """
    if task.yardstick.kind != "accuracy":
        return 0.02 * abs(score)
    answers = turns * sum(samples_in(batch) for batch in task.split.validation) or 1
    share = min(max(score, 1 / (answers + 2)), 1 - 1 / (answers + 2))  # Laplace: never quite sure
    return math.sqrt(share * (1 - share) / answers)
