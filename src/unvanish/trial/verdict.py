"""Verdict: what a trial found, as plain numbers."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from unvanish.saved import Saved
from unvanish.trial.running import Run

POINTS = 50
"""Points of a learning curve that are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Both arms under one seed; ``difference`` is positive where the treated one was better.

    A run without a metric (it diverged) counts as the worst that any run reached, or as the best
    constant answer where that is worse still. ``gone``: of control and treated, the share of the
    training loss that is gone, where the differences are of that.
    """

    seed: int
    control: Run
    treated: Run
    difference: float
    gone: tuple[float, float] | None = None

    @property
    def compared(self) -> tuple[float | None, float | None]:
        """What of control and treated was compared: the metric, or the loss that is gone."""
        return self.gone or (self.control.metric, self.treated.metric)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """One arm at one factor on its learning rates: mean validation metric over the seeds.

    ``metric`` is ``None`` where every seed diverged. ``chosen`` is the factor that the arm is
    judged with.
    """

    label: str
    rate: float
    metric: float | None
    diverged: int
    chosen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict(Saved):
    """What a paired trial says. ``print`` it.

    ``word`` is ``"helped"``, ``"no effect"``, ``"worse"`` or ``"undecided"``; how it comes about
    stands in :func:`unvanish.trial.statistics.decide`. ``difference`` is the mean over the pairs in
    the unit of the metric, positive where the treated arm was better whichever way the metric goes,
    ``interval`` its 95 % interval, ``p`` the exact one-sided sign-flip probability, ``margin`` the
    smallest difference that matters. ``zero_skill`` is what the best constant answer reaches
    (``None``: not known), ``held_out`` the number of samples judged on, ``unseen`` whether those were
    kept from the training. ``planned`` is the number of seeds asked for. ``loss_word`` is the same
    word on the held-out loss, ``basis`` what the differences are of: ``"held-out"``, or
    ``"training"`` where no arm beats a constant answer on held-out samples (then they are of the
    share of the constant answer's loss that is gone from the training loss at the end).
    """

    word: str
    metric: str
    higher_is_better: bool
    pairs: tuple[Pair, ...]
    difference: float | None
    interval: tuple[float, float] | None
    p: float | None
    margin: float | None
    zero_skill: float | None
    held_out: int
    unseen: bool
    steps: int
    planned: int
    loss_word: str = "undecided"
    basis: str = "held-out"
    tuned: tuple[Tuned, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def diverged(self) -> tuple[int, int]:
        """How many runs of control and treated diverged."""
        return (
            sum(pair.control.diverged for pair in self.pairs),
            sum(pair.treated.diverged for pair in self.pairs),
        )

    @property
    def losses(self) -> tuple[float | None, float | None]:
        """The mean held-out loss of control and treated over the runs that did not diverge."""
        return (
            _mean([pair.control.loss for pair in self.pairs]),
            _mean([pair.treated.loss for pair in self.pairs]),
        )

    @property
    def means(self) -> tuple[float | None, float | None]:
        """The mean metric of control and treated over the runs that did not diverge."""
        return (
            _mean([pair.control.metric for pair in self.pairs]),
            _mean([pair.treated.metric for pair in self.pairs]),
        )

    @property
    def compared(self) -> tuple[float | None, float | None]:
        """The means of what was compared of control and treated."""
        pairs = [pair.compared for pair in self.pairs]
        return _mean([control for control, _ in pairs]), _mean([treated for _, treated in pairs])

    @property
    def curves(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Learning curves of control and treated: medians over the seeds of the training loss.

        At most fifty points, each the mean of an equal stretch of steps; as long as the shortest
        run (a run that diverged is short).
        """
        control = [pair.control.losses for pair in self.pairs]
        return _median(control), _median([pair.treated.losses for pair in self.pairs])

    def noted(self, note: str) -> "Verdict":
        """The same with one more thing to know."""
        return replace(self, notes=(*self.notes, note))

    def undecided(self, note: str) -> "Verdict":
        """The same figures without a decision, and why."""
        return replace(self.noted(note), word="undecided")

    def __str__(self) -> str:
        from unvanish.trial.text import render

        return render(self)


def thinned(run: Run) -> Run:
    """The run with at most fifty points of its learning curve, means of equal stretches."""
    every = -(-max(run.steps, 1) // POINTS)
    parts = [run.losses[at : at + every] for at in range(0, len(run.losses), every)]
    return replace(run, losses=tuple(sum(part) / len(part) for part in parts))


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def _median(curves: Sequence[Sequence[float]]) -> tuple[float, ...]:
    return tuple(statistics.median(values) for values in zip(*curves, strict=False))
