"""What a run counts, what a failed one counts, and which difference matters."""

import math
import statistics
from collections.abc import Iterable, Mapping

from unvanish.trial.running import Run
from unvanish.trial.task import Task

SHARE = 0.02
"""The smallest difference that matters where it is not an accuracy: two hundredths of the skill.
A convention: for a squared error it is 0.02 of R squared. A user with another gives ``margin``."""
SIDES = ("control", "treated")
Counted = Mapping[tuple[str, int], Run]


def worst_of(task: Task, values: Iterable[float | None]) -> float:
    """The worst that any run reached, or the best constant answer's where that is worse still."""
    known = [value for value in values if value is not None]
    if task.zero_skill is not None and task.zero_skill.metric is not None:
        known.append(task.zero_skill.metric)
    if not known:
        return 0.0  # nobody has a number: all are equally bad
    return min(known) if task.yardstick.higher_is_better else max(known)


def count_runs(task: Task, chosen: Counted) -> dict[tuple[str, int], float]:
    """What each run counts, higher is better.

    A loss above the best constant answer's counts as that: nothing was learned, and by how much a
    run fails beyond it has no upper bound, so that one such run would decide about all others.
    """
    if task.yardstick.higher_is_better:
        worst = worst_of(task, (run.metric for run in chosen.values()))
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


def any_skill(task: Task, counted: Mapping[tuple[str, int], float]) -> bool:
    """Whether any arm is better than the best constant answer, as far as that is known."""
    zero = task.zero_skill.metric if task.zero_skill is not None else None
    if zero is None or not counted:
        return True
    least = zero if task.yardstick.higher_is_better else -zero
    margin = smallest_margin(task, counted) or 0.0
    means = [
        statistics.fmean(v for (side, _), v in counted.items() if side == wanted)
        for wanted in SIDES
    ]
    return max(means) > least + margin


def count_training(task: Task, chosen: Counted) -> dict[tuple[str, int], float]:
    """The share of the training loss that is gone in the last quarter of a run.

    Of the best constant answer's loss; where that is not known, of what the control of the same seed
    began at. Not of each run's own first loss: who begins far above has much to lose and learns
    nothing by it. No less than nothing: a loss above has no bound either.
    """
    gone: dict[tuple[str, int], float] = {}
    constant = _constant_loss(task)
    for (side, seed), run in chosen.items():
        control = chosen.get(("control", seed), run)
        whole = constant if constant is not None else next(iter(control.losses), math.nan)
        late = run.losses[-max(1, len(run.losses) // 4) :]
        known = bool(late) and whole > 0 and not run.diverged
        share = 1 - statistics.fmean(late) / whole if known else 0.0
        gone[side, seed] = max(share, 0.0) if math.isfinite(share) else 0.0
    return gone


def smallest_margin(
    task: Task, counted: Mapping[tuple[str, int], float], answers: int | None = None
) -> float | None:
    """The smallest difference that matters.

    - Accuracy: one standard error of a share among the held-out samples, root(p(1 - p)/n) with p
      the mean accuracy after two successes and two failures were added (Agresti and Coull 1998):
      other samples of the same kind would move the figure by as much.
    - Loss: 0.02 of the loss of the best constant answer, and where that is not known of the smaller
      mean loss. - The user's metric: 0.02 of the larger mean.

    ``answers`` is how many an accuracy counts, those held out where nothing is said.
    """
    if not counted:
        return None
    if task.yardstick.kind == "accuracy":
        size = task.split.samples if answers is None else answers
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


def count_losses(task: Task, chosen: Counted) -> tuple[dict[tuple[str, int], float], float]:
    """What each run's held-out loss counts, and the smallest difference that matters."""
    counted = _capped({key: run.loss for key, run in chosen.items()}, _constant_loss(task))
    scale = _constant_loss(task)
    if scale is None:
        scale = statistics.fmean(-value for value in counted.values()) if counted else 0.0
    return counted, SHARE * abs(scale)
