"""Standardising a feature that never changes: zero divided by zero."""

import torch
from torch import Tensor, nn

from unvanish.lessons.data import clusters
from unvanish.lessons.lesson import Lesson, Program
from unvanish.lessons.question import Question


class Standardize(nn.Module):
    """Zero mean and unit variance for each feature of the batch."""

    def __init__(self, epsilon: float) -> None:
        super().__init__()
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        return (x - x.mean(0)) / (x.std(0) + self.epsilon)


def program(seed: int, epsilon: float) -> Program:
    """A classifier behind a standardisation, with ``epsilon`` in its division."""
    torch.manual_seed(seed)
    inputs, labels = clusters(seed)
    inputs[:, 0] = 0.0  # as the corner pixel of a scanned digit: empty on every picture
    model = nn.Sequential(Standardize(epsilon), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    return {"model": model, "data": (inputs, labels), "loss": nn.CrossEntropyLoss()}


def sick(seed: int = 0) -> Program:
    """Divides by the deviation as it is."""
    return program(seed, epsilon=0.0)


def well(seed: int = 0) -> Program:
    """Divides by the deviation plus a little."""
    return program(seed, epsilon=1e-6)


LESSON = Lesson(
    name="nonfinite_forward",
    finding="nonfinite-forward",
    title="The pixel that never changes",
    story="The loss is nan from the very first step, at any learning rate. The data has no nan in "
    "it; you checked. Ask for the first operation that turns good numbers into bad ones: a "
    "division, and the smallest number it divides by is zero. One feature is the same in every "
    "sample, so its deviation is zero, and zero divided by zero is nan for all that follows.",
    cure="Add a small number to the deviation before dividing by it.",
    question=Question(
        asks="One feature is the same in every sample, and features are divided by their deviation. How "
        "many of the weights have a usable gradient after the first step?",
        choices=("all but those of that feature", "half of them", "none"),
        right=2,
        because="NaN in one input is NaN in every sum that it enters, and after one layer that "
        "is all of them.",
    ),
    sick=sick,
    well=well,
)
