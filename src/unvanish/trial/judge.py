"""From runs to a verdict: which step size is each arm's, what a failed run counts, what matters."""

import math
import statistics
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from unvanish.trial.counting import (
    SHARE,
    SIDES,
    Counted,
    any_skill,
    count_losses,
    count_runs,
    count_training,
    smallest_margin,
    worst_of,
)
from unvanish.trial.running import Run
from unvanish.trial.statistics import Decision, decide
from unvanish.trial.task import Task
from unvanish.trial.verdict import Pair, Tuned, Verdict, thinned

Runs = Mapping[tuple[str, int, float], Run]
"""By ``"control"`` or ``"treated"``, seed and rate."""
_REPEATED = (
    "{} seeds gave {} different pairs of runs, which alone are counted: too little in these arms is "
    "random (nothing to draw again, one batch); pass more batches"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What was to be run."""

    steps: int
    seeds: int
    rates: tuple[float, ...]
    margin: float | None = None
    looks: int = 1


def judge(task: Task, plan: Plan, runs: Runs, notes: Sequence[str], seconds: float) -> Verdict:
    """The verdict of the seeds that are complete, every one of them."""
    seeds = [
        s for s in range(plan.seeds) if all((a, s, r) in runs for a in SIDES for r in plan.rates)
    ]
    tuned = _tuned(task, plan, runs, seeds)
    rate = {side: next(t.rate for t in tuned[side] if t.chosen) for side in SIDES}
    chosen = {(side, seed): runs[side, seed, rate[side]] for side in SIDES for seed in seeds}
    counted = count_runs(task, chosen)
    basis = "held-out"
    if not any_skill(task, counted):
        counted, basis = count_training(task, chosen), "training"
    pairs = tuple(
        Pair(
            seed=seed,
            control=thinned(chosen["control", seed]),
            treated=thinned(chosen["treated", seed]),
            difference=counted["treated", seed] - counted["control", seed],
            gone=(counted["control", seed], counted["treated", seed])
            if basis == "training"
            else None,
        )
        for seed in seeds
    )
    margin = plan.margin
    if margin is None:
        margin = SHARE if basis == "training" else smallest_margin(task, counted)
    distinct = _distinct(pairs, chosen)
    decision = _decided(task, chosen, distinct, margin, plan.looks)
    if len(distinct) < len(pairs):
        notes = (*notes, _REPEATED.format(len(pairs), len(distinct)))
    zero = task.zero_skill
    return Verdict(
        word=decision.word,
        loss_word=_on_loss(task, chosen, distinct, plan.looks).word,
        basis=basis,
        metric=task.name,
        higher_is_better=task.yardstick.higher_is_better,
        pairs=pairs,
        difference=decision.difference,
        interval=decision.interval,
        p=decision.p,
        margin=margin,
        zero_skill=zero.metric if zero is not None else None,
        held_out=task.split.samples,
        unseen=task.split.unseen,
        steps=plan.steps,
        planned=plan.seeds,
        tuned=(*tuned["control"], *tuned["treated"]) if len(plan.rates) > 1 else (),
        notes=tuple(notes),
        seconds=seconds,
    )


def _tuned(
    task: Task, plan: Plan, runs: Runs, seeds: Sequence[int]
) -> dict[str, tuple[Tuned, ...]]:
    """Of each arm the mean validation metric at every rate, and which is best.

    A run that diverged counts as the worst of its kind there too. Rates that do equally well leave
    the one nearest to the user's own.
    """
    found: dict[str, tuple[Tuned, ...]] = {}
    values = [runs[a, s, r].validation for a in SIDES for s in seeds for r in plan.rates]
    worst = worst_of(task, values)
    sign = 1.0 if task.yardstick.higher_is_better else -1.0
    for side in SIDES:
        scores: dict[float, float] = {}
        records: list[Tuned] = []
        for rate in plan.rates:
            of_rate = [runs[side, seed, rate] for seed in seeds]
            known = [r.validation for r in of_rate if r.validation is not None]
            filled = [worst if r.validation is None else r.validation for r in of_rate]
            scores[rate] = sign * statistics.fmean(filled) if filled else 0.0
            records.append(
                Tuned(
                    label=side,
                    rate=rate,
                    metric=statistics.fmean(known) if known else None,
                    diverged=sum(run.diverged for run in of_rate),
                    chosen=False,
                )
            )
        best = max(scores, key=lambda rate: (scores[rate], -abs(math.log(rate))))
        found[side] = tuple(
            Tuned(
                label=t.label,
                rate=t.rate,
                metric=t.metric,
                diverged=t.diverged,
                chosen=t.rate == best,
            )
            for t in records
        )
    return found


def _distinct(pairs: Sequence[Pair], chosen: Mapping[tuple[str, int], Run]) -> tuple[Pair, ...]:
    """Pairs of which no two are the same runs: a copy of a measurement is no second one.

    Arms that are the same bit for bit under every seed keep all their pairs: they do not differ.
    """
    losses = {p.seed: tuple(_bits(chosen[side, p.seed]) for side in SIDES) for p in pairs}
    if all(control == treated for control, treated in losses.values()):
        return tuple(pairs)
    first = {runs: pair for pair in reversed(pairs) for runs in (losses[pair.seed],)}
    return tuple(sorted(first.values(), key=lambda pair: pair.seed))


def _decided(
    task: Task,
    chosen: Mapping[tuple[str, int], Run],
    pairs: Sequence[Pair],
    margin: float | None,
    looks: int,
) -> Decision:
    """The decision; runs that are the same bit for bit have no rounding between them."""
    same = all(_bits(chosen["control", p.seed]) == _bits(chosen["treated", p.seed]) for p in pairs)
    resolution = 0.0 if same or not task.answers else 1 / task.answers
    return decide([pair.difference for pair in pairs], margin or 0.0, resolution, looks)


def _on_loss(task: Task, chosen: Counted, pairs: Sequence[Pair], looks: int) -> Decision:
    """The same decision on the held-out loss, for an accuracy that cannot rise any more."""
    counted, margin = count_losses(task, chosen)
    differences = [counted["treated", p.seed] - counted["control", p.seed] for p in pairs]
    return decide(differences, margin, looks=looks)


def _bits(run: Run) -> bytes:
    """The losses as they stand in memory: NaN is like itself there."""
    return array("d", run.losses).tobytes()
