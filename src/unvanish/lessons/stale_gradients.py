"""A forgotten zero_grad."""

from typing import Any

import torch
from torch import nn

from unvanish.lessons.data import curve
from unvanish.lessons.lesson import Lesson, Program
from unvanish.lessons.question import Question


def program(seed: int, *, clear: bool) -> Program:
    """A regression, and its training step with or without ``zero_grad``."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 1))
    loss = nn.MSELoss()

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> None:
        inputs, targets = batch
        if clear:
            optimizer.zero_grad()
        loss(model(inputs), targets).backward()
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
    """No ``zero_grad`` anywhere."""
    return program(seed, clear=False)


def well(seed: int = 0) -> Program:
    """``zero_grad`` at the start of each step."""
    return program(seed, clear=True)


LESSON = Lesson(
    name="stale_gradients",
    finding="stale-gradients",
    title="A forgotten zero_grad",
    story="You moved the training loop to a new file and one line stayed behind. The loss falls for "
    "some steps, turns, swings higher and higher, and a smaller rate only makes the swings slower. "
    "No single gradient is wrong. Look at the gradient from step to step: it never starts from "
    "nothing, every step uses the sum of all gradients since the start.",
    cure="Call optimizer.zero_grad() before the backward pass of each step.",
    question=Question(
        asks="zero_grad is never called. What does the loss do?",
        choices=("it falls, too slowly", "it falls, turns and swings", "it stands still"),
        right=1,
        because="the sum of all gradients acts as a momentum that never decays.",
    ),
    sick=sick,
    well=well,
)
