"""Sixteen micro-batches, added up."""

from typing import Any

import torch
from torch import nn

from unvanish.lessons.data import curve
from unvanish.lessons.lesson import Lesson, Program
from unvanish.lessons.question import Question

PARTS = 16


def program(seed: int, divide_by: int) -> Program:
    """A regression whose gradient is gathered over sixteen micro-batches."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 1))
    loss = nn.MSELoss()

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> None:
        optimizer.zero_grad()
        for inputs, targets in zip(*(part.chunk(PARTS) for part in batch), strict=True):
            (loss(model(inputs), targets) / divide_by).backward()
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
    """The mean losses of the parts are summed."""
    return program(seed, divide_by=1)


def well(seed: int = 0) -> Program:
    """They are averaged."""
    return program(seed, divide_by=PARTS)


LESSON = Lesson(
    name="unscaled_accumulation",
    finding="unscaled-accumulation",
    title="Sixteen times the step",
    story="The batch no longer fits into memory, so you split it into sixteen parts and call backward on "
    "each before one step. It is the same batch and the same learning rate, and now the loss "
    "explodes. Each part's loss is a mean over its own samples, and sixteen means add up to sixteen "
    "times the mean. Look at the gradient norm at the step: it is sixteen times what it was.",
    cure="Divide each part's loss by the number of parts before backward.",
    question=Question(
        asks="Sixteen backward calls before one step, each on a mean over its part. How large is the "
        "gradient, beside that of the whole batch?",
        choices=("the same", "four times", "sixteen times"),
        right=2,
        because="the parts' means add up; only their mean would be the mean of the batch.",
    ),
    sick=sick,
    well=well,
)
