"""Clipping in the wrong line of a mixed-precision loop."""

from typing import Any

import torch
from torch import nn

from unvanish.lessons.data import clusters
from unvanish.lessons.lesson import Lesson, Program
from unvanish.lessons.question import Question


def program(seed: int, *, unscale: bool) -> Program:
    """A classifier trained with a loss scaler and clipping."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    loss = nn.CrossEntropyLoss()
    scaler = torch.amp.GradScaler("cpu")

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> None:
        inputs, labels = batch
        optimizer.zero_grad()
        scaler.scale(loss(model(inputs), labels)).backward()
        if unscale:
            scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()

    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    return {
        "model": model,
        "data": clusters(seed),
        "loss": loss,
        "optimizer": optimizer,
        "step": step,
    }


def sick(seed: int = 0) -> Program:
    """Clips gradients that are 65,536 times too large."""
    return program(seed, unscale=False)


def well(seed: int = 0) -> Program:
    """Unscales first, then clips."""
    return program(seed, unscale=True)


LESSON = Lesson(
    name="clip_before_unscale",
    finding="clip-before-unscale",
    title="Clipped at the wrong moment",
    story="You turned on mixed precision, kept the clipping line, and the loss has hardly moved since. "
    "The logged gradient norm is 20,000 and more, and clipping brings it down to 1 as it should. "
    "But that norm bears the loss scale of 65,536: the true one is below 1. Follow a gradient from "
    "backward to step: it is clipped to 1 first and divided by 65,536 afterwards.",
    cure="Call scaler.unscale_(optimizer) before clipping.",
    question=Question(
        asks="A gradient of true norm 0.4, scaled by 65,536, is clipped to 1 and then unscaled. "
        "Its norm?",
        choices=("0.4", "1", "0.000015"),
        right=2,
        because="1 / 65,536. The limit was applied to the wrong number.",
    ),
    sick=sick,
    well=well,
)
