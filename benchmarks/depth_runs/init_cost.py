"""What ``unvanish.init.critical_`` costs, in forward-backward passes: processor time, one thread.

Plain passes and initialisations alternate in one process; each initialisation gets a fresh copy of
the model. The bar is ten passes.
"""

import copy
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from models import PROGRAMS
from torch import nn

import unvanish

Figures = dict[str, float]


def processor_seconds(call: Callable[..., Any], *arguments: Any) -> float:
    started = time.process_time()
    call(*arguments)
    return time.process_time() - started


def forward_backward(model: nn.Module, batch: Any, loss: Callable[..., torch.Tensor]) -> None:
    for parameter in model.parameters():
        parameter.grad = None
    inputs, targets = batch
    outputs = model(**inputs) if isinstance(inputs, dict) else model(inputs)
    loss(outputs, targets).backward()


def cost(name: str, rounds: int) -> Figures:
    """Initialisation over a plain pass, round by round: median and spread."""
    model, batch, loss = PROGRAMS[name]("cpu")
    forward_backward(model, batch, loss)
    plain: list[float] = []
    passes: list[float] = []
    for _ in range(rounds):
        for parameter in model.parameters():
            parameter.grad = None
        fresh = copy.deepcopy(model)
        taken = processor_seconds(unvanish.init.critical_, fresh, batch, loss)
        runs = [processor_seconds(forward_backward, model, batch, loss) for _ in range(3)]
        plain.append(statistics.median(runs))
        passes.append(taken / plain[-1])
    return {
        "rounds": rounds,
        "passes": statistics.median(passes),
        "least": min(passes),
        "largest": max(passes),
        "plain_ms": 1e3 * statistics.median(plain),
    }


def costs(rounds: int = 5) -> dict[str, Figures]:
    return {name: cost(name, rounds) for name in PROGRAMS}
