"""From runs to a verdict: which step size is each arm's, what a failed run counts, what matters."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from unvanish.trial.running import Run
from unvanish.trial.statistics import Decision, decide
from unvanish.trial.task import Task
from unvanish.trial.verdict import Pair, Tuned, Verdict, thinned

Runs = Mapping[tuple[str, int, float], Run]
"""By ``"control"`` or ``"treated"``, seed and rate."""
SHARE = 0.02
"""The smallest difference that matters where it is not an accuracy: two hundredths of the skill.
A convention: for a squared error it is 0.02 of R squared. A user with another gives ``margin``."""
SIDES = ("control", "treated")
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


def judge(task: Task, plan: Plan, runs: Runs, notes: Sequence[str], seconds: float) -> Verdict:
    """The verdict of the seeds that are complete, every one of them."""
    seeds = [
        s for s in range(plan.seeds) if all((a, s, r) in runs for a in SIDES for r in plan.rates)
    ]
    tuned = _tuned(task, plan, runs, seeds)
    rate = {side: next(t.rate for t in tuned[side] if t.chosen) for side in SIDES}
    chosen = {(side, seed): runs[side, seed, rate[side]] for side in SIDES for seed in seeds}
    counted = _counted(task, chosen)
    pairs = tuple(
        Pair(
            seed=seed,
            control=thinned(chosen["control", seed]),
            treated=thinned(chosen["treated", seed]),
            difference=counted["treated", seed] - counted["control", seed],
        )
        for seed in seeds
    )
    margin = plan.margin if plan.margin is not None else _margin(task, counted)
    distinct = _distinct(pairs, chosen)
    decision = _decided(task, chosen, distinct, margin)
    if len(distinct) < len(pairs):
        notes = (*notes, _REPEATED.format(len(pairs), len(distinct)))
    zero = task.zero_skill
    return Verdict(
        word=decision.word,
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
    worst = _worst(task, values)
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


def _worst(task: Task, values: Iterable[float | None]) -> float:
    """The worst that any run reached, or the best constant answer's where that is worse still."""
    known = [value for value in values if value is not None]
    if task.zero_skill is not None and task.zero_skill.metric is not None:
        known.append(task.zero_skill.metric)
    if not known:
        return 0.0  # nobody has a number: all are equally bad
    return min(known) if task.yardstick.higher_is_better else max(known)


def _counted(task: Task, chosen: Mapping[tuple[str, int], Run]) -> dict[tuple[str, int], float]:
    """What each run counts, higher is better."""
    worst = _worst(task, (run.metric for run in chosen.values()))
    sign = 1.0 if task.yardstick.higher_is_better else -1.0
    return {
        key: sign * (worst if run.metric is None else run.metric) for key, run in chosen.items()
    }


def _margin(task: Task, counted: Mapping[tuple[str, int], float]) -> float | None:
    """The smallest difference that matters.

    - Accuracy: one standard error of a share among the held-out samples, root(p(1 - p)/n) with p
      the mean accuracy after two successes and two failures were added (Agresti and Coull 1998):
      other samples of the same kind would move the figure by as much.
    - Loss: 0.02 of the loss of the best constant answer, and where that is not known of the smaller
      mean loss. - The user's metric: 0.02 of the larger mean.
    """
    if not counted:
        return None
    if task.yardstick.kind == "accuracy":
        size = task.split.samples
        share = (statistics.fmean(counted.values()) * size + 2) / (size + 4)
        return math.sqrt(share * (1 - share) / (size + 4))
    means = [
        abs(statistics.fmean(v for (side, _), v in counted.items() if side == wanted))
        for wanted in SIDES
    ]
    if task.yardstick.kind == "metric":
        return SHARE * max(means)
    zero = task.zero_skill
    return SHARE * (abs(zero.metric) if zero is not None and zero.metric else min(means))


def _distinct(pairs: Sequence[Pair], chosen: Mapping[tuple[str, int], Run]) -> tuple[Pair, ...]:
    """Pairs of which no two are the same runs: a copy of a measurement is no second one.

    Arms that are the same bit for bit under every seed keep all their pairs: they do not differ.
    """
    losses = {p.seed: tuple(chosen[side, p.seed].losses for side in SIDES) for p in pairs}
    if all(control == treated for control, treated in losses.values()):
        return tuple(pairs)
    first = {runs: pair for pair in reversed(pairs) for runs in (losses[pair.seed],)}
    return tuple(sorted(first.values(), key=lambda pair: pair.seed))


def _decided(
    task: Task,
    chosen: Mapping[tuple[str, int], Run],
    pairs: Sequence[Pair],
    margin: float | None,
) -> Decision:
    """The decision; runs that are the same bit for bit have no rounding between them."""
    same = all(chosen["control", p.seed].losses == chosen["treated", p.seed].losses for p in pairs)
    resolution = 0.0 if same or not task.answers else 1 / task.answers
    return decide([pair.difference for pair in pairs], margin or 0.0, resolution)
