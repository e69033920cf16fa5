"""Predictions of shape (N, 1) against targets of shape (N)."""

import torch
from torch import nn

from unvanish.lessons.data import curve
from unvanish.lessons.lesson import Lesson, Program
from unvanish.lessons.question import Question


def program(seed: int, *, flat_targets: bool) -> Program:
    """A regression whose targets come as a column or flat."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1)
    )
    inputs, targets = curve(seed)
    if flat_targets:
        targets = targets.squeeze(1)  # (N), as a column of a table is read; outputs are (N, 1)
    return {"model": model, "data": (inputs, targets), "loss": nn.MSELoss()}


def sick(seed: int = 0) -> Program:
    """Targets of another shape than the outputs."""
    return program(seed, flat_targets=True)


def well(seed: int = 0) -> Program:
    """Both of one shape."""
    return program(seed, flat_targets=False)


LESSON = Lesson(
    name="broadcast_loss",
    finding="broadcast-loss",
    title="(N, 1) against (N)",
    story="A regression whose loss falls to the variance of the targets and stays there, whatever "
    "the size of the network. Its predictions are all the same: the mean. torch says something "
    "about target sizes once, far up in the output. Print outputs.shape and targets.shape: (N, 1) "
    "and (N) are broadcast to (N, N), so that every prediction is compared with every target, and "
    "the mean is the best answer to that.",
    cure="Bring predictions and targets to one shape: leave out the squeeze, or squeeze both.",
    question=Question(
        asks="Predictions of shape (N, 1), targets of shape (N). What does the best network "
        "predict?",
        choices=("each its own target", "the mean of the targets for all", "zero"),
        right=1,
        because="each prediction is compared with every target, and the mean is nearest to all "
        "of them.",
    ),
    sick=sick,
    well=well,
)
