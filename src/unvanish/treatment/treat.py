"""treat: find the smallest change that measurably helps, prove it, hand it back."""

from typing import Any

import torch
from torch import nn

from unvanish.batches import Forward, Loss, check_arguments, take_batches
from unvanish.diagnosing import diagnose
from unvanish.errors import BadInput
from unvanish.probe.compiled import unwrapped
from unvanish.remedies.ordering import KEEPS
from unvanish.remedies.remedy import Keep, Patient
from unvanish.training.optimizer_copy import OptimizerFactory, check_optimizer
from unvanish.treatment.clock import Clock, Progress
from unvanish.treatment.record import Treatment
from unvanish.treatment.visit import Visit
from unvanish.trial.schedule import check_jobs
from unvanish.trial.yardstick import Metric
from unvanish.twins import twin_of


def treat(
    model: nn.Module,
    data: Any,
    loss: Loss | None = None,
    optimizer: torch.optim.Optimizer | OptimizerFactory | None = None,
    forward: Forward | None = None,
    steps: int = 200,
    seeds: int = 5,
    keep: Keep = "function",
    budget_s: float | None = None,
    seed: int = 0,
    *,
    metric: Metric | None = None,
    jobs: int = 1,
    progress: Progress | None = None,
    program: Any = None,
) -> Treatment:
    """Find the smallest change that makes a sick network learn, and prove it by paired trials.

    Diagnoses; fixes exact faults of the wiring; lets the remedies that fit train side by side on
    short runs, smallest intervention first; puts the best on trial against the untouched model,
    on several seeds and held-out samples. What does not measurably help is not handed back. The
    model, the optimizer and the random state stay as they are.

    Args:
        model: the network; only copies are changed.
        data: one batch as a tuple ``(inputs, targets)``, or an iterable of batches.
        loss: ``loss(outputs, targets) -> scalar tensor``.
        optimizer: the user's optimizer, or a factory ``params -> Optimizer``; Adam without one.
        forward: ``forward(model, batch) -> scalar tensor``, instead of ``loss``.
        steps: of each training run of the trial.
        seeds: pairs of the trial; each draws other initial values and another order.
        keep: how far a cure may go: ``"function"`` (no module changes: initialisation, step size,
            clipping, wiring), ``"layers"`` (activations may be swapped), ``"shape"`` (norms and skips may be
            put in or taken out), ``"anything"`` (recurrent cells, too).
        budget_s: seconds that all of it may take, about; ``None``: as long as it takes.
        seed: of the random state.
        metric: ``metric(outputs, targets) -> float``, higher is better; accuracy for class
            targets, else the loss, where nothing is said.
        jobs: processes for the trial.
        progress: called with what is being done and the seconds since the start.
        program: the function that makes the model, where a patch of its source is wanted.

    Returns:
        The treatment; ``print`` it.

    Raises:
        BadInput: an argument or the data cannot be used, or the model cannot be copied.
        ModelFailed: the model or the loss raised.
    """
    clock = Clock(budget_s, progress)
    _check(model, loss, forward, optimizer, steps, seeds, keep, seed)
    check_jobs(jobs)
    batches = data if isinstance(data, tuple) else take_batches(data, max(4, 2 * steps))
    patient = _admit(model, batches, loss, forward, optimizer, seed, min(steps, 20), clock)
    visit = Visit(patient, batches, steps, seeds, keep, metric, jobs, clock)
    treatment = visit.treat()
    treatment.program = program
    return treatment


def _check(
    model: Any,
    loss: Any,
    forward: Any,
    optimizer: Any,
    steps: int,
    seeds: int,
    keep: Keep,
    seed: int,
) -> None:
    check_arguments(model, loss, forward, seed)
    check_optimizer(optimizer)
    for name, value, least in (("steps", steps, 1), ("seeds", seeds, 2)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise BadInput(f"{name} is {value!r}: pass a whole number of {least} or more.")
    if keep not in KEEPS:
        raise BadInput(f"keep is {keep!r}: pass one of {', '.join(KEEPS)}.")


def _admit(
    model: nn.Module,
    data: Any,
    loss: Loss | None,
    forward: Forward | None,
    optimizer: torch.optim.Optimizer | OptimizerFactory | None,
    seed: int,
    looked: int,
    clock: Clock,
) -> Patient:
    clock.tell("diagnosing")
    inner = unwrapped(model)[0]
    diagnosis = diagnose(inner, data, loss, optimizer, forward, looked, seed)
    try:
        twin_of(inner)
    except Exception as error:
        raise BadInput(
            f"the model cannot be copied ({error}), and only copies are treated: make it work "
            "with copy.deepcopy (no locks, no open files)."
        ) from error
    return Patient(
        model=inner,
        batches=take_batches(data, 4),
        loss=loss,
        forward=forward,
        optimizer=optimizer,
        diagnosis=diagnosis,
        seed=seed,
    )
