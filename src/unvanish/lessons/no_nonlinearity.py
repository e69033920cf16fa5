"""A deep network without activations."""

from collections.abc import Callable

import torch
from torch import nn

from unvanish.lessons.data import rings
from unvanish.lessons.lesson import Lesson, Program
from unvanish.lessons.question import Question


def program(seed: int, activation: Callable[[], nn.Module]) -> Program:
    """Four layers with this ``activation`` between them."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Linear(2, 32),
        activation(),
        nn.Linear(32, 32),
        activation(),
        nn.Linear(32, 32),
        activation(),
        nn.Linear(32, 2),
    )
    return {"model": model, "data": rings(seed), "loss": nn.CrossEntropyLoss()}


def sick(seed: int = 0) -> Program:
    """Nothing between the layers."""
    return program(seed, nn.Identity)


def well(seed: int = 0) -> Program:
    """A ReLU between the layers."""
    return program(seed, nn.ReLU)


LESSON = Lesson(
    name="no_nonlinearity",
    finding="no-nonlinearity",
    title="Four layers that are one",
    story="Two rings of points, one inside the other, and four layers to tell them apart. The "
    "accuracy stays at one half, and more layers do not help. The gradient is fine, the step size "
    "is fine. Read the model from top to bottom: between the linear layers there is nothing. A "
    "product of matrices is a matrix, so the four layers can do what one can, and one draws a "
    "straight line.",
    cure="Put an activation between the layers.",
    question=Question(
        asks="Four linear layers without activations, two rings. Which accuracy do eight layers "
        "reach?",
        choices=("a half, as four do", "three quarters", "all"),
        right=0,
        because="a product of matrices is a matrix: one straight line, whatever the number.",
    ),
    sick=sick,
    well=well,
)
