"""Fifty-six layers one behind the other, or each beside a way around it."""

import torch
from torch import Tensor, nn

from unvanish.lessons.data import clusters
from unvanish.lessons.lesson import Lesson, Program
from unvanish.lessons.question import Question


class Layer(nn.Module):
    """relu(linear(x)), with x added or not; torch's own initial values."""

    def __init__(self, width: int, skip: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.skip = skip

    def forward(self, x: Tensor) -> Tensor:
        new = self.linear(torch.relu(x))
        return x + new if self.skip else new


def program(seed: int, *, skip: bool) -> Program:
    """Fifty-six layers, with a ``skip`` around each or without."""
    torch.manual_seed(seed)
    layers = [Layer(64, skip) for _ in range(56)]
    model = nn.Sequential(*layers, nn.ReLU(), nn.Linear(64, 10))
    return {"model": model, "data": clusters(seed), "loss": nn.CrossEntropyLoss()}


def sick(seed: int = 0) -> Program:
    """One layer behind the other."""
    return program(seed, skip=False)


def well(seed: int = 0) -> Program:
    """Each layer adds to what it was given."""
    return program(seed, skip=True)


LESSON = Lesson(
    name="residual",
    finding="init-too-small",
    title="A way around every layer",
    story="Fifty-six layers as torch makes them, and the loss stays at ln(10) = 2.303, a guess "
    "among ten classes. Each layer passes on 0.41 of the gradient, since torch's initial weights "
    "are too small for ReLU, and 0.41 to the power of 56 is nothing. Write x + f(x) in place of "
    "f(x): the derivative is now 1 + f', and the 1 passes on everything, past layers that are as "
    "weak as before. It is no free lunch: with weights by He's rule the same sums would double "
    "the signal's energy at each layer.",
    cure="Add to what each layer computes what it was given: x + f(x).",
    question=Question(
        asks="Fifty-six layers, each of which passes on 0.41 of the gradient. Each becomes x + "
        "f(x). What arrives at the first one?",
        choices=(
            "0.41 to the power of 56",
            "about as much as at the last, or more",
            "1.41 times nothing",
        ),
        right=1,
        because="the derivative is 1 + f': the 1 goes past the layer, however weak it is.",
    ),
    sick=sick,
    well=well,
    steps=60,
)
