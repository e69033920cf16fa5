"""compare: does the treated model learn better than the control? Paired seeds, held-out samples."""

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from unvanish.batches import Forward, Loss, check_arguments
from unvanish.errors import BadInput, NothingTrains
from unvanish.probe.compiled import unwrapped
from unvanish.surgery.optimizers import carried
from unvanish.training.optimizer_copy import OptimizerFactory, check_optimizer
from unvanish.trial.arm import Arm
from unvanish.trial.counting import SIDES
from unvanish.trial.judge import Plan, judge
from unvanish.trial.schedule import Job, Outcome, Progress, Workers, check_jobs, perform_all
from unvanish.trial.task import Task, prepare
from unvanish.trial.verdict import Verdict
from unvanish.trial.yardstick import Metric


def compare(
    control: nn.Module | Arm,
    treated: nn.Module | Arm,
    data: Any,
    loss: Loss | None = None,
    optimizer: torch.optim.Optimizer | OptimizerFactory | None = None,
    steps: int = 200,
    seeds: int = 5,
    forward: Forward | None = None,
    metric: Metric | None = None,
    jobs: int | None = None,
    *,
    workers: Workers = "processes",
    rates: Sequence[float] = (1.0,),
    margin: float | None = None,
    most: int | None = None,
    batch_size: int | None = None,
    budget_s: float | None = None,
    progress: Progress | None = None,
) -> Verdict:
    """Train copies of two models on the same batches under several seeds, and say which learns better.

    A seed is another draw of the weights (what looks trained is kept, see
    :func:`unvanish.trial.redraw.redraw`), another order of the batches and other random numbers;
    seed 0 starts from the models as they are. A quarter of the data is held out: the last batches of
    four or more, else samples by lot, and where there are fewer than 16 or they cannot be told apart
    nothing, which the verdict says.

    Args:
        control: the model as it was, or an :class:`unvanish.trial.Arm`. It stays untouched.
        treated: the model to judge, likewise.
        data: one batch as a tuple ``(inputs, targets)``, from which minibatches are drawn, or an
            iterable of batches.
        loss: ``loss(outputs, targets) -> scalar tensor``.
        optimizer: over the control's parameters (the treated model's are matched by name, new ones
            join) or a factory ``params -> Optimizer``; ``None``: Adam. Arms bring their own.
        steps: of each training.
        seeds: how many; fewer than four cannot decide but "no effect".
        forward: ``forward(model, batch) -> scalar tensor``, instead of ``loss``.
        metric: ``metric(outputs, targets) -> float``, higher is better. Without it: the accuracy where
            targets are numbers of classes, else the loss.
        jobs: runs at a time, through joblib; ``None``: as ``joblib.parallel_config`` says, or one.
        workers: ``"processes"`` or ``"threads"``, unless ``joblib.parallel_config`` names a backend.
            Runs in threads of one process take turns, for they share its random state.
        rates: factors on the learning rate that both arms try; each is judged with the one that is
            best for it on a validation part of the training data, so that both are tuned alike.
        margin: the smallest difference that matters, in the unit of the metric; ``None``: one standard
            error of a held-out accuracy, or 0.02 of the loss of the best constant answer.
        most: seeds at most where the first ones leave it undecided and the treated arm is ahead: twice
            as many are asked then, with half the errors allowed each time; ``None``: ``seeds``.
        batch_size: of minibatches drawn from one batch; ``None``: 64, at most half of the samples.
        budget_s: seconds; what is complete then is judged.
        progress: called with what was done last and the share that is done.

    Returns:
        The verdict. After Ctrl-C, what is complete by then, as "undecided".

    Raises:
        BadInput: an argument or the data cannot be used, a model cannot be copied, a metric is NaN.
        NothingTrains: the loss requires no grad in either arm. In one of them it may.
        ModelFailed: a model or the loss raised.
        MissingExtra: ``jobs`` above one without joblib.

    >>> import torch, unvanish
    >>> net = torch.nn.Linear(4, 3)
    >>> batch = torch.randn(64, 4), torch.randint(3, (64,))
    >>> unvanish.compare(net, net, batch, torch.nn.CrossEntropyLoss(), steps=5).word
    'no effect'
    """
    started = time.perf_counter()
    _check(steps, seeds, most, rates, margin, batch_size, budget_s, jobs, workers)
    check_optimizer(optimizer)
    sides = _arms(control, treated, optimizer)
    for arm in sides.values():
        check_arguments(arm.model, loss, forward, 0)
    task = prepare(
        sides["control"].model,
        data,
        loss,
        forward,
        metric,
        steps=steps,
        size=batch_size,
        validation=len(rates) > 1,
    )
    until = math.inf if budget_s is None else time.time() + budget_s
    plan = Plan(steps=steps, seeds=seeds, rates=tuple(rates), margin=margin)
    outcome = perform_all(_jobs(sides, task, plan, until), jobs, workers, progress)
    verdict = _concluded(task, plan, outcome, time.perf_counter() - started)
    most = most or seeds
    while _open(verdict, plan, outcome) and plan.seeds < most:
        known = plan.seeds
        plan = replace(plan, seeds=min(2 * known, most), looks=plan.looks + 1)
        more = perform_all(_jobs(sides, task, plan, until, known), jobs, workers, progress)
        outcome = outcome.joined(more)
        verdict = _concluded(task, plan, outcome, time.perf_counter() - started).noted(
            f"undecided after {known} seeds, so {plan.seeds} were asked, and more certainty"
        )
    return verdict


def _open(verdict: Verdict, plan: Plan, outcome: Outcome) -> bool:
    """Whether more seeds may show a gain: ahead, undecided, and nothing stopped the runs so far."""
    ahead = verdict.difference is not None and verdict.difference > 0
    whole = len(verdict.pairs) == plan.seeds and not outcome.interrupted
    return whole and ahead and verdict.word == "undecided"


def _arms(control: nn.Module | Arm, treated: nn.Module | Arm, optimizer: Any) -> dict[str, Arm]:
    """Both sides as arms, each with an optimizer of its own."""
    for name, given in (("control", control), ("treated", treated)):
        if not isinstance(given, nn.Module | Arm):
            raise BadInput(
                f"{name} must be a torch.nn.Module or an Arm, got {type(given).__name__}."
            )
    if isinstance(control, nn.Module):
        _check_owner(control, optimizer)
    first = control if isinstance(control, Arm) else Arm(control, optimizer, label="control")
    if isinstance(treated, Arm):
        return {"control": first, "treated": treated}
    own = first.optimizer if optimizer is None else optimizer
    if isinstance(own, torch.optim.Optimizer) and treated is not first.model:
        own = carried(own, first.model, unwrapped(treated)[0])
    return {"control": first, "treated": Arm(treated, own, label="treated")}


def _check_owner(control: nn.Module, optimizer: Any) -> None:
    if not isinstance(optimizer, torch.optim.Optimizer):
        return
    own = {id(p) for p in control.parameters()}
    held = [p for group in optimizer.param_groups for p in group["params"]]
    if not any(id(p) in own for p in held):
        raise BadInput(
            f"optimizer: none of its {len(held)} tensors is a parameter of control: pass an optimizer "
            "over that model's parameters, a factory params -> Optimizer, or arms."
        )


def _jobs(sides: dict[str, Arm], task: Task, plan: Plan, until: float, first: int = 0) -> list[Job]:
    """Seed by seed from the first one on, so that pairs are complete early."""
    return [
        Job(
            side=side,
            seed=seed,
            rate=rate,
            arm=sides[side],
            control=sides["control"],
            task=task,
            steps=plan.steps,
            until=until,
        )
        for seed in range(first, plan.seeds)
        for rate in plan.rates
        for side in SIDES
    ]


def _concluded(task: Task, plan: Plan, outcome: Outcome, seconds: float) -> Verdict:
    """The verdict on what is complete, with everything there is to say about the rest."""
    notes = list(outcome.notes)
    if not task.split.unseen:
        notes.append(
            "nothing was held out (fewer than 16 samples, or they cannot be told apart): this is how "
            "well the training data are fitted"
        )
    idle = [s for s in SIDES if any(run.idle for key, run in outcome.runs.items() if key[0] == s)]
    if len(idle) == len(SIDES):
        raise NothingTrains(
            "the loss requires no grad in either arm: nothing that it is computed from trains; set "
            "requires_grad on the parameters that should, and keep the loss a tensor."
        )
    notes += [f"{side}: the loss requires no grad, nothing was trained" for side in idle]
    if len(plan.rates) > 1 and task.split.validation is task.split.training:
        notes.append("step sizes were chosen on the training part: nothing could be set aside")
    verdict = judge(task, plan, outcome.runs, notes, seconds)
    done = len(verdict.pairs)
    if outcome.interrupted:
        if not done:
            raise KeyboardInterrupt
        return verdict.undecided(f"interrupted after {done} of {plan.seeds} seeds")
    if done < plan.seeds:
        return verdict.noted(f"the time was up after {done} of {plan.seeds} seeds")
    return verdict


def _check(
    steps: Any,
    seeds: Any,
    most: Any,
    rates: Any,
    margin: Any,
    batch_size: Any,
    budget_s: Any,
    jobs: Any,
    workers: Any,
) -> None:
    counts = {"steps": steps, "seeds": seeds}
    given = {"batch_size": batch_size, "most": most}
    counts |= {name: value for name, value in given.items() if value is not None}
    for name, value in counts.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise BadInput(f"{name} must be a whole number of 1 or more, got {value!r}.")
    check_jobs(jobs)
    if workers not in ("processes", "threads"):
        raise BadInput(f"workers must be 'processes' or 'threads', got {workers!r}.")
    limits = {"margin": margin, "budget_s": budget_s}
    for name, value in limits.items():
        if value is not None and not (isinstance(value, int | float) and 0 < value < math.inf):
            raise BadInput(f"{name} must be a number above 0, got {value!r}.")
    real = [r for r in rates if isinstance(r, int | float) and 0 < r < math.inf]
    if not real or len(set(real)) < len(list(rates)):
        raise BadInput(f"rates must be different factors above 0 on the step size, got {rates!r}.")
