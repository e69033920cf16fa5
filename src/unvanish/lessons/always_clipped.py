"""A clipping limit that has become the step size."""

from typing import Any

import torch
from torch import nn

from unvanish.lessons.data import curve
from unvanish.lessons.lesson import Lesson, Program
from unvanish.lessons.question import Question


def program(seed: int, limit: float) -> Program:
    """A regression by plain gradient descent, clipped at ``limit``."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 1))
    loss = nn.MSELoss()

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> None:
        inputs, targets = batch
        optimizer.zero_grad()
        loss(model(inputs), targets).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), limit)
        optimizer.step()

    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    return {
        "model": model,
        "data": curve(seed),
        "loss": loss,
        "optimizer": optimizer,
        "step": step,
    }


def sick(seed: int = 0) -> Program:
    """A limit a thousand times below the usual norm."""
    return program(seed, limit=1e-3)


def well(seed: int = 0) -> Program:
    """A limit for spikes, above the usual norm."""
    return program(seed, limit=10.0)


LESSON = Lesson(
    name="always_clipped",
    finding="always-clipped",
    title="A limit that is always reached",
    story="Somebody added clipping against a spike last year and chose a limit to be safe. The gradient "
    "norm on the board is a perfectly straight line, and the loss goes down as slowly as if the "
    "learning rate were a thousandth. It is. Look at the norm before clipping: it is far above the "
    "limit at every step, so that the limit alone decides how far a step goes.",
    cure="Set the limit near the 90th percentile of the norm before clipping.",
    question=Question(
        asks="The norm is 1 and the clipping limit 0.001. What happens if the limit is doubled?",
        choices=("nothing", "every step is twice as long"),
        right=1,
        because="the limit is reached at every step, so that it is the step size.",
    ),
    sick=sick,
    well=well,
)
