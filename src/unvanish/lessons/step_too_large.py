"""Adadelta's learning rate given to Adam."""

import torch
from torch import nn

from unvanish.lessons.data import curve
from unvanish.lessons.lesson import Lesson, Program
from unvanish.lessons.question import Question


def program(seed: int, learning_rate: float) -> Program:
    """A regression that is trained at this rate."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1)
    )
    return {
        "model": model,
        "data": curve(seed),
        "loss": nn.MSELoss(),
        "optimizer": torch.optim.Adam(model.parameters(), learning_rate),
        "steps": 20,
    }


def sick(seed: int = 0) -> Program:
    """The rate of an example that uses Adadelta."""
    return program(seed, learning_rate=1.0)


def well(seed: int = 0) -> Program:
    """Adam's usual rate."""
    return program(seed, learning_rate=1e-3)


LESSON = Lesson(
    name="step_too_large",
    finding="step-too-large",
    title="A learning rate of one",
    story="The example you started from uses Adadelta with a learning rate of 1. You changed the "
    "optimizer to Adam and left the rate. The loss jumps from one to a million and takes "
    "hundreds of steps to come back; the gradient at the start is in perfect order. Compare a "
    "step with what it changes: Adam moves every weight by about the rate, here by 1, and the "
    "weights are about 0.1.",
    cure="Lower the learning rate to Adam's usual 1e-3.",
    question=Question(
        asks="Adam with a learning rate of 1. How far does one step move a weight of 0.1?",
        choices=("by about 0.1", "by about 1", "by its gradient"),
        right=1,
        because="Adam divides by the gradient's size, so that the rate itself is the length of a"
        " step.",
    ),
    sick=sick,
    well=well,
)
