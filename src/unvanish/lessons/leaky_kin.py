"""Rectifiers after one step that was too large, and their kin."""

from collections.abc import Callable

import torch
from torch import nn

from unvanish.lessons.data import clusters
from unvanish.lessons.lesson import Lesson, Program
from unvanish.lessons.question import Question


def program(seed: int, activation: Callable[[], nn.Module]) -> Program:
    """A classifier whose hidden biases were thrown to -6, with this ``activation``."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for _ in range(2):
        linear = nn.Linear(64, 64)
        nn.init.kaiming_normal_(linear.weight)
        nn.init.constant_(linear.bias, -6.0)
        layers += [linear, activation()]
    model = nn.Sequential(*layers, nn.Linear(64, 10))
    return {"model": model, "data": clusters(seed), "loss": nn.CrossEntropyLoss()}


def sick(seed: int = 0) -> Program:
    """ReLU: flat below zero."""
    return program(seed, nn.ReLU)


def well(seed: int = 0) -> Program:
    """Leaky ReLU: a tenth of the slope below zero."""
    return program(seed, lambda: nn.LeakyReLU(0.1))


LESSON = Lesson(
    name="leaky_kin",
    finding="dead-units",
    title="ReLU and its leaky kin",
    story="A training went well until one step was too large; since then the loss stands at a "
    "guess, and a smaller step size does not wake it up. The biases were thrown to -6, and every "
    "unit is below zero for every sample. There ReLU has slope zero: no gradient says that the "
    "step went too far. LeakyReLU has a tenth of the slope there, which is little and enough to "
    "come back. GELU and SiLU lie between the two: far below zero their slope is zero as well. "
    "Against depth none of them helps: at scale one they "
    "pass on hardly more than ReLU does, or less.",
    cure="Use an activation that has a slope below zero too, here LeakyReLU.",
    question=Question(
        asks="All units were thrown far below zero. With which activation can the net come back "
        "by its own gradient?",
        choices=("ReLU", "LeakyReLU", "with either, if the step is small enough"),
        right=1,
        because="ReLU has slope zero there, and no step size makes something of zero; LeakyReLU "
        "has a tenth.",
    ),
    sick=sick,
    well=well,
    steps=300,
)
