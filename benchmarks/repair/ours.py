"""unvanish.treat as a judge: called once on the first seed, its edits replayed on every seed."""

from collections.abc import Callable
from typing import Any

import unvanish
from repair.cure import Cure, left_alone
from repair.programs import Built, Program
from unvanish.surgery import apply
from unvanish.surgery.controls import Controls
from unvanish.surgery.edits import ARCHITECTURE, Edit
from unvanish.surgery.optimizers import carried


def ours(keep: str, budget_s: float | None) -> Callable[[Program, int], Cure]:
    """``keep`` and ``budget_s`` as ``treat`` takes them; it keeps its own budget of trials."""

    def judge(program: Program, budget: int) -> Cure:
        built = program.build(0)
        treat: Any = unvanish.treat
        options: dict[str, Any] = {"metric": explained} if built.task.classes is None else {}
        treatment = treat(
            **built.mapping(),
            steps=built.steps,
            seeds=5,
            keep=keep,
            budget_s=budget_s,
            **options,
        )
        runs = spent(treatment, built.steps)
        if not treatment.edits:
            return left_alone(treatment.said, runs)
        edits = tuple(treatment.edits)
        changes = any(edit.action in ARCHITECTURE for edit in edits)
        names = " + ".join(treatment.remedies) or treatment.said
        return Cure(names, replayed(edits), True, changes, runs)

    return judge


def explained(outputs: Any, targets: Any) -> float:
    """The share of the variance of the targets that is explained, as the benchmark counts it."""
    return float(1 - (outputs - targets).square().mean() / targets.var(correction=0))


def replayed(edits: tuple[Edit, ...]) -> Callable[[Program, int], Built]:
    """The edits on the program of any seed, with its optimizer and training step."""

    def perform(program: Program, seed: int) -> Built:
        built = program.build(seed)
        # As after a patch: what the program's author runs first is one batch of the data.
        treated = apply(built.model, edits, batch=built.data[0], loss=built.loss, seed=seed)
        built.optimizer = carried(built.optimizer, built.model, treated, edits)
        built.controls = Controls.from_edits(edits)
        built.model = treated
        return built

    return perform


def spent(treatment: Any, steps: int) -> float:
    """Full training runs that the search and the proof took, by the steps that it has on record."""
    searched = sum(max(tried.losses, default=0) for tried in treatment.trials) / steps
    return searched + (10.0 if treatment.verdict is not None else 0.0)
