"""Displacements in metres: gradients below Adam's epsilon."""

import torch
from torch import Tensor, nn

from unvanish.lessons.data import curve
from unvanish.lessons.lesson import Lesson, Program
from unvanish.lessons.question import Question


class Displacement(nn.Module):
    """A network that works in micrometres and answers in ``unit``."""

    def __init__(self, unit: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1)
        )
        self.unit = unit

    def forward(self, x: Tensor) -> Tensor:
        return self.unit * self.layers(x)


def program(seed: int, unit: float) -> Program:
    """A regression of displacements in this ``unit``."""
    torch.manual_seed(seed)
    model = Displacement(unit)
    inputs, micrometres = curve(seed)
    return {
        "model": model,
        "data": (inputs, unit * micrometres),
        "loss": nn.MSELoss(),
        "optimizer": torch.optim.Adam(model.parameters(), 1e-3),
        "steps": 20,
    }


def sick(seed: int = 0) -> Program:
    """In metres."""
    return program(seed, unit=1e-6)


def well(seed: int = 0) -> Program:
    """In micrometres."""
    return program(seed, unit=1.0)


LESSON = Lesson(
    name="epsilon_dominated",
    finding="epsilon-dominated",
    title="Micrometres in metres",
    story="A physical model in SI units: the displacements are a few micrometres, so the loss is "
    "1e-12, and it stays there. Adam does not care about the scale of the loss, they say. It "
    "divides the gradient by its own size plus an epsilon of 1e-8, and that is a million times "
    "this gradient: the step that should be about one learning rate long is less than a "
    "millionth of it.",
    cure="Compute the loss in a unit in which it is about one (or lower Adam's eps).",
    question=Question(
        asks="Gradients of 1e-14 and Adam's epsilon of 1e-8. How long is a step, in learning "
        "rates?",
        choices=("1", "a hundredth", "a millionth"),
        right=2,
        because="the gradient over itself plus epsilon: 1e-14 / 1e-8.",
    ),
    sick=sick,
    well=well,
)
