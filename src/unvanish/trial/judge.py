"""From runs to a verdict: which step size is each arm's, what a failed run counts, what matters."""

import math
import statistics
from array import array
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
Counted = Mapping[tuple[str, int], Run]
_NO_SKILL = (
    "no arm beats a constant answer on held-out samples, which therefore say nothing about training: "
    "judged by the share of the first training loss that is gone at the end"
)
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
    basis = "held-out"
    if not _any_skill(task, counted):
        counted, basis = _in_training(chosen), "training"
        notes = (*notes, _NO_SKILL)
    pairs = tuple(
        Pair(
            seed=seed,
            control=thinned(chosen["control", seed]),
            treated=thinned(chosen["treated", seed]),
            difference=counted["treated", seed] - counted["control", seed],
        )
        for seed in seeds
    )
    margin = plan.margin
    if margin is None:
        margin = SHARE if basis == "training" else _margin(task, counted)
    distinct = _distinct(pairs, chosen)
    decision = _decided(task, chosen, distinct, margin)
    if len(distinct) < len(pairs):
        notes = (*notes, _REPEATED.format(len(pairs), len(distinct)))
    zero = task.zero_skill
    return Verdict(
        word=decision.word,
        loss_word=_on_loss(task, chosen, distinct).word,
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


def _counted(task: Task, chosen: Counted) -> dict[tuple[str, int], float]:
    """What each run counts, higher is better.

    A loss above the best constant answer's counts as that: nothing was learned, and by how much a
    run fails beyond it has no upper bound, so that one such run would decide about all others.
    """
    if task.yardstick.higher_is_better:
        worst = _worst(task, (run.metric for run in chosen.values()))
        return {key: worst if r.metric is None else r.metric for key, r in chosen.items()}
    return _capped({key: run.metric for key, run in chosen.items()}, _constant_loss(task))


def _capped(
    losses: Mapping[tuple[str, int], float | None], cap: float | None
) -> dict[tuple[str, int], float]:
    """Losses with their sign turned, none worse than the cap, or than the worst that is a number."""
    known = [value for value in losses.values() if value is not None]
    most = cap if cap is not None else max(known, default=0.0)
    return {key: -min(most, most if v is None else v) for key, v in losses.items()}


def _constant_loss(task: Task) -> float | None:
    return task.zero_skill.loss if task.zero_skill is not None else None


def _any_skill(task: Task, counted: Mapping[tuple[str, int], float]) -> bool:
    """Whether any arm is better than the best constant answer, as far as that is known."""
    zero = task.zero_skill.metric if task.zero_skill is not None else None
    if zero is None or not counted:
        return True
    least = zero if task.yardstick.higher_is_better else -zero
    margin = _margin(task, counted) or 0.0
    means = [
        statistics.fmean(v for (side, _), v in counted.items() if side == wanted)
        for wanted in SIDES
    ]
    return max(means) > least + margin


def _in_training(chosen: Counted) -> dict[tuple[str, int], float]:
    """The share of its first training loss that is gone in the last quarter of a run.

    No less than nothing: a loss above where it began has no bound either.
    """
    gone: dict[tuple[str, int], float] = {}
    for key, run in chosen.items():
        losses = run.losses
        late = losses[-max(1, len(losses) // 4) :]
        first = losses[0] if losses else math.nan
        share = 1 - statistics.fmean(late) / first if first > 0 and not run.diverged else 0.0
        gone[key] = max(share, 0.0) if math.isfinite(share) else 0.0
    return gone


def _on_loss(task: Task, chosen: Counted, pairs: Sequence[Pair]) -> Decision:
    """The same decision on the held-out loss, for an accuracy that cannot rise any more."""
    counted = _capped({key: run.loss for key, run in chosen.items()}, _constant_loss(task))
    differences = [counted["treated", p.seed] - counted["control", p.seed] for p in pairs]
    scale = _constant_loss(task)
    if scale is None:
        scale = statistics.fmean(-v for v in counted.values()) if counted else 0.0
    return decide(differences, SHARE * abs(scale))


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


def _bits(run: Run) -> bytes:
    """The losses as they stand in memory: NaN is like itself there."""
    return array("d", run.losses).tobytes()


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
) -> Decision:
    """The decision; runs that are the same bit for bit have no rounding between them."""
    same = all(_bits(chosen["control", p.seed]) == _bits(chosen["treated", p.seed]) for p in pairs)
    resolution = 0.0 if same or not task.answers else 1 / task.answers
    return decide([pair.difference for pair in pairs], margin or 0.0, resolution)
