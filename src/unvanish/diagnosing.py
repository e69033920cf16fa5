"""diagnose: observe a model, judge what was seen, and try on copies what leaves a doubt."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from unvanish.batches import Forward, Loss, take_batches
from unvanish.causes import CAUSES
from unvanish.causes.cause import Case, Cause
from unvanish.diagnosis import Diagnosis, judge
from unvanish.errors import BadInput, NothingTrains
from unvanish.experiments.bench import Bench
from unvanish.experiments.laboratory import Laboratory
from unvanish.experiments.updates import read_updates
from unvanish.experiments.what_ifs import WhatIf, try_changes
from unvanish.probe.compiled import unwrapped
from unvanish.probe.observe import observe
from unvanish.trace import Trace
from unvanish.training.loss_of_step import LossOfStep, Step
from unvanish.training.optimizer import OptimizerReading, read_optimizer
from unvanish.training.optimizer_copy import OptimizerFactory, check_optimizer, over_a_copy
from unvanish.twins import twin_of


def diagnose(
    model: nn.Module | Trace,
    data: Any = None,
    loss: Loss | None = None,
    optimizer: torch.optim.Optimizer | OptimizerFactory | None = None,
    forward: Forward | None = None,
    steps: int = 0,
    seed: int = 0,
    *,
    step: Step | None = None,
    batches: int = 4,
    causes: Sequence[Cause] = CAUSES,
) -> Diagnosis:
    """Say whether the gradient arrives; if not, where it is lost and why.

    Args:
        model: the network, or a :class:`Trace` that was observed before (then nothing is run).
        data: one batch as a tuple ``(inputs, targets)``, or an iterable of batches.
        loss: ``loss(outputs, targets) -> scalar tensor``.
        optimizer: the user's optimizer, or a factory ``params -> Optimizer``; only ever stepped
            as a copy, on a copy of the model.
        forward: ``forward(model, batch) -> scalar tensor``, instead of ``loss``.
        steps: real steps a copy may take, to tell "asleep at step 0" from "dead".
        seed: of the random state while observing.
        step: one whole training step of the user's own loop, ``step(model, optimizer, batch)``: what
            it does with gradients (clipping, loss scaling, accumulating, clearing) is judged too.
            It is called a few times with copies. Without ``loss`` and ``forward``, the loss is what
            its first backward call is made on. Needs ``optimizer``.
        batches: how many batches of ``data`` to read at most.
        causes: what to look for, in order of precedence.

    Returns:
        The diagnosis; ``print`` it.

    Raises:
        BadInput: an argument or the data cannot be used.
        ModelFailed: the model or the loss raised.

    >>> import torch, unvanish
    >>> layers = [torch.nn.Linear(32, 32), torch.nn.Sigmoid()] * 0
    >>> for _ in range(20):
    ...     layers += [torch.nn.Linear(32, 32), torch.nn.Sigmoid()]
    >>> net = torch.nn.Sequential(*layers, torch.nn.Linear(32, 2))
    >>> batch = torch.randn(64, 32), torch.randint(2, (64,))
    >>> unvanish.diagnose(net, batch, torch.nn.CrossEntropyLoss()).findings[0].name
    'depth-decay'
    """
    check_optimizer(optimizer)
    if not isinstance(steps, int) or steps < 0:
        raise BadInput(f"steps must be a whole number of 0 or more, got {steps!r}.")
    if isinstance(model, Trace):
        return judge(Case(trace=model, laboratory=Laboratory()), causes)
    if not isinstance(data, tuple | Mapping | list | torch.Tensor):
        data = take_batches(data, max(batches, 1))  # an iterator can be read only once
    if step is not None:
        forward = _check_step(step, optimizer, model, loss, forward)
    try:
        trace = observe(model, data, loss, forward, seed, batches=batches)
    except NothingTrains:
        last = [cause for cause in causes if cause.card.name == "nothing-trainable"]
        if not last or not list(model.parameters()):
            raise
        trace = _observe_unfrozen(model, data, loss, forward, seed, batches)
        return judge(Case(trace=trace, laboratory=Laboratory()), last)
    bench = Bench(model, data, loss, forward, optimizer, seed, allowed=steps, step=step)
    return examine(trace, bench, model, optimizer, causes)


def examine(
    trace: Trace,
    bench: Bench,
    model: nn.Module,
    optimizer: torch.optim.Optimizer | OptimizerFactory | None = None,
    causes: Sequence[Cause] = CAUSES,
) -> Diagnosis:
    """All of a diagnosis that comes after the observation: judging, with experiments on copies.

    Args:
        trace: what was observed of the model.
        bench: made of what was given to :func:`diagnose`.
        model: the network, for which the optimizer was made.
        optimizer: the user's, or a factory.
        causes: what to look for, in order of precedence.
    """
    reading = _read(optimizer, unwrapped(model)[0], bench)
    diagnosis = judge(Case(trace=trace, laboratory=bench, optimizer=reading), causes, bench)
    known = len(bench.failures)
    tried: tuple[WhatIf, ...] = ()
    if bench.allowed and not diagnosis.healthy:
        tried = try_changes(lambda seen: _named(seen, causes), trace, bench)
    return replace(
        diagnosis,
        what_ifs=tried,
        updates=read_updates(bench),
        experiments=tuple(bench.tried),
        blind_spots=(*diagnosis.blind_spots, *bench.failures[known:]),
    )


def _named(trace: Trace, causes: Sequence[Cause]) -> tuple[str, ...]:
    """The findings of a trace alone, notes left out, each name once."""
    found = judge(Case(trace=trace, laboratory=Laboratory()), causes).findings
    return tuple(dict.fromkeys(f.name for f in found if f.severity != "note"))


def _check_step(
    step: Any,
    optimizer: torch.optim.Optimizer | OptimizerFactory | None,
    model: nn.Module,
    loss: Loss | None,
    forward: Forward | None,
) -> Forward | None:
    """The ``forward`` to observe where a training step was given.

    Raises:
        BadInput: ``step`` cannot be called, or there is no optimizer for it.
    """
    if not callable(step):
        raise BadInput(
            f"step must be callable, step(model, optimizer, batch), got {type(step).__name__}."
        )
    if optimizer is None:
        raise BadInput("step needs an optimizer to be called with: pass optimizer= too.")
    if forward is not None or loss is not None or not isinstance(model, nn.Module):
        return forward
    return LossOfStep(step, optimizer, unwrapped(model)[0])


def _read(
    optimizer: torch.optim.Optimizer | OptimizerFactory | None, model: nn.Module, bench: Bench
) -> OptimizerReading | None:
    """What the optimizer is set to; a factory is asked for one over a copy's parameters."""
    if optimizer is None:
        return None
    if isinstance(optimizer, torch.optim.Optimizer):
        return read_optimizer(optimizer, model, bench.beside, bench.loss)
    try:
        return read_optimizer(*over_a_copy(optimizer, model), loss=bench.loss)
    except (RuntimeError, TypeError, ValueError) as error:
        bench.failures.append(f"the optimizer could not be read: {error}")
        return None


def _observe_unfrozen(
    model: nn.Module,
    data: Any,
    loss: Loss | None,
    forward: Forward | None,
    seed: int,
    batches: int,
) -> Trace:
    """Of a model that is frozen as a whole: its trace as if it were not, with what is so noted."""
    twin = twin_of(unwrapped(model)[0])
    for parameter in twin.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    trace = observe(twin, data, loss, forward, seed, batches=batches)
    note = "everything is frozen: what the gradient would be was observed on an unfrozen copy"
    seen = trace.conditions
    return replace(
        trace,
        parameters=tuple(
            replace(p, state="frozen", gradient_norm=None, gradient_rms=None, gradient_max=None)
            for p in trace.parameters
        ),
        conditions=replace(seen, trainable=0, notes=(*seen.notes, note)),
    )
